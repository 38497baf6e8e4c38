//! The protocols that a node speaks, and the one that a connection speaks.

use std::fmt;
use std::sync::Arc;

use postroad_wire::Version;

use super::{Protocol, Reading, Writing, greeting};
use crate::network::handshake::HandshakeError;
use crate::network::transport::Stream;
use crate::process::caught;

/// The protocol of a connection.
#[derive(Debug, Clone, Default)]
pub(in crate::network) enum Spoken {
    /// Frames lie on the links as they are: nothing stands between.
    #[default]
    Enp,
    Other(Arc<Other>),
}

/// A protocol that was registered.
#[derive(Debug)]
pub(in crate::network) struct Other {
    version: Version,
    protocol: Box<dyn Protocol>,
}

impl Spoken {
    pub(in crate::network) fn version(&self) -> Version {
        match self {
            Self::Enp => Version::enp(),
            Self::Other(other) => other.version.clone(),
        }
    }

    /// Makes sure, behind a handshake, that the peer speaks it too. `ahead` is
    /// what has come in behind the handshake, and afterwards what of it belongs
    /// to frames.
    pub(in crate::network) async fn greet(
        &self,
        stream: &mut Stream,
        ahead: &mut Vec<u8>,
    ) -> Result<(), HandshakeError> {
        match self {
            Self::Enp => Ok(()),
            Self::Other(other) => greeting::exchange(stream, ahead, &other.version).await,
        }
    }

    /// What stands between a new link and its frames: nothing for ENP.
    ///
    /// # Errors
    /// The text of a panic.
    pub(in crate::network) fn link(&self) -> Result<Option<(Writing, Reading)>, String> {
        let Self::Other(other) = self else { return Ok(None) };
        let (writer, reader) = caught(|| other.protocol.link())?;
        Ok(Some((Writing::new(writer), Reading::new(reader))))
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version().fmt(f)
    }
}

/// The protocols that a node speaks besides ENP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protocols(Vec<Arc<Other>>);

impl Protocols {
    /// Adds one, in the place of another one of its version.
    pub(crate) fn add(&mut self, protocol: impl Protocol + 'static) {
        let version = protocol.version();
        self.0.retain(|known| !known.version.same_release(&version));
        self.0.push(Arc::new(Other { version, protocol: Box::new(protocol) }));
    }

    /// The one of this version. A version that was not said stands for ENP.
    pub(in crate::network) fn get(&self, version: &Version) -> Option<Spoken> {
        let unsaid = version.name.is_empty() && version.release.is_empty();
        if unsaid || version.same_release(&Version::enp()) {
            return Some(Spoken::Enp);
        }
        self.0.iter().find(|known| known.version.same_release(version)).cloned().map(Spoken::Other)
    }

    /// What all of them are called, ENP too.
    pub(in crate::network) fn versions(&self) -> Vec<Version> {
        [Version::enp()].into_iter().chain(self.0.iter().map(|known| known.version.clone())).collect()
    }
}
