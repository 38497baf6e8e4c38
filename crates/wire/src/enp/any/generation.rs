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
    /// Nodes of this library announce none of them.
    pub fn of(peer: &Introduction) -> Self {
        let announces = |name: &str| peer.types.iter().any(|(_, announced)| &**announced == name);
        if announces(Self::SINCE_V330) {
            Self::V330
        } else if announces(Self::SINCE_V320) {
            Self::V320
        } else {
            Self::V320Dev
        }
    }

    /// What two nodes speak: the peer's generation, and [`V320`](Self::V320) if
    /// both are nodes of this library. Either side knows that by the
    /// [`TUNNELS`](NetworkFlags::TUNNELS) of both: one whose flags are all
    /// withheld is taken for a stranger, and takes the other for one.
    pub fn between(ours: &Introduction, peer: &Introduction) -> Self {
        let of_own = if Self::are_own(ours, peer) { Self::V320 } else { Self::V320Dev };
        Self::of(peer).max(of_own)
    }

    /// Whether both are nodes of this library, and tell each other so.
    pub(crate) fn are_own(ours: &Introduction, peer: &Introduction) -> bool {
        [ours, peer].iter().all(|node| node.flags.allows(NetworkFlags::TUNNELS))
    }
}
