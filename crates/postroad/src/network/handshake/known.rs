//! The handshakes that a node speaks.

use std::sync::Arc;

use postroad_wire::Version;

use super::{Ehs, Handshake};

/// The handshakes that a node speaks, by version.
#[derive(Debug, Clone)]
pub(crate) struct Handshakes(Vec<Arc<dyn Handshake>>);

impl Default for Handshakes {
    /// [`Ehs`], which a node always speaks.
    fn default() -> Self {
        Self(vec![Arc::new(Ehs)])
    }
}

impl Handshakes {
    /// Adds one, in the place of another one of its version.
    pub(crate) fn add(&mut self, handshake: Arc<dyn Handshake>) {
        let version = handshake.version();
        self.0.retain(|known| !known.version().same_release(&version));
        self.0.push(handshake);
    }

    /// The one of this version. A version that was not said stands for [`Ehs`].
    pub(crate) fn get(&self, version: &Version) -> Option<Arc<dyn Handshake>> {
        let unsaid = version.name.is_empty() && version.release.is_empty();
        let version = if unsaid { &Version::ehs() } else { version };
        self.0.iter().find(|known| known.version().same_release(version)).cloned()
    }

    /// What they are called.
    pub(crate) fn versions(&self) -> Vec<Version> {
        self.0.iter().map(|known| known.version()).collect()
    }
}
