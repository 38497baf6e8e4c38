//! What is spoken on a road: a handshake, and a protocol behind it.

use std::sync::Arc;

use postroad_wire::Version;

use super::NetworkOptions;
use super::handshake::{Ehs, Handshake};
use super::plan::AttemptError;
use super::protocol::Spoken;
use crate::registrar::Endpoint;

/// What a route or an acceptor has chosen.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    pub(super) handshake: Arc<dyn Handshake>,
    pub(super) protocol: Spoken,
}

impl Default for Stack {
    /// That of Ergo's nodes.
    fn default() -> Self {
        Self { handshake: Arc::new(Ehs), protocol: Spoken::Enp }
    }
}

impl NetworkOptions {
    /// What is spoken to an address.
    pub(super) fn stack(&self, endpoint: &Endpoint) -> Result<Stack, AttemptError> {
        let Endpoint { handshake_version, proto_version, .. } = endpoint;
        let unknown = |version: &Version| AttemptError::UnknownVersion { version: version.clone() };
        Ok(Stack {
            handshake: self.handshakes.get(handshake_version).ok_or_else(|| unknown(handshake_version))?,
            protocol: self.protocols.get(proto_version).ok_or_else(|| unknown(proto_version))?,
        })
    }
}
