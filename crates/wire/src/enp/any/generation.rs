//! Which layout of the structs that changed a peer has.

use crate::NetworkFlags;
use crate::ehs::Introduction;

/// The releases of Ergo that differ in the layout of spawn and application
/// start (`docs/wire/EDF.md` section 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// Before 3.2.0, and nodes that are not Ergo's.
    V320Dev,
    /// 3.2.0, and nodes of this library.
    V320,
    /// 3.3.0 and later.
    V330,
}

impl Generation {
    const SINCE_V320: &'static str = "#ergo.services/ergo/net/proto/MessageApplicationInfo";
    const SINCE_V330: &'static str = "#ergo.services/ergo/gen/Tracing";

    /// The generation of a peer: an Ergo node announces all types that its
    /// release registers, so those that were added in a release give it away.
    ///
    /// A postroad node announces none of them. It is known by its
    /// [`TUNNELS`](NetworkFlags::TUNNELS), which it cannot be made to leave out,
    /// and is written to and read as [`V320`](Self::V320), by both sides alike.
    pub fn of(peer: &Introduction) -> Self {
        let announces = |name: &str| peer.types.iter().any(|(_, announced)| &**announced == name);
        if announces(Self::SINCE_V330) {
            Self::V330
        } else if announces(Self::SINCE_V320) || peer.flags.allows(NetworkFlags::TUNNELS) {
            Self::V320
        } else {
            Self::V320Dev
        }
    }
}
