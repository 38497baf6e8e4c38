//! The dialing side of one more link (`docs/wire/EHS.md` section 5, side A).

use postroad_edf::Atom;

use super::digest::{Digest, Fingerprint};
use super::error::{HandshakeError, Proof, Stage};
use super::message::{Inbox, Incoming, Outgoing};
use super::{Joined, rejected};
use crate::Cookie;

/// Adds a link to a connection. See the [module](super) for how it is driven.
///
/// An Ergo peer agrees before it looks the connection up: a link that joined
/// and ends at once was refused (`docs/wire/EHS.md` section 8).
#[derive(Debug)]
pub struct Join {
    cookie: Cookie,
    certificate: Option<Fingerprint>,
    salt: String,
    digest: Digest,
    inbox: Inbox,
    transmit: Option<Vec<u8>>,
    over: bool,
}

impl Join {
    /// Asks to join the connection `connection_id`.
    ///
    /// * `node`: our own name.
    /// * `salt`: 32 random bytes, never used before.
    /// * `cookie`, `certificate`: those of the route that the connection was
    ///   made with.
    pub fn new(
        node: Atom,
        connection_id: &str,
        cookie: Cookie,
        salt: [u8; 32],
        certificate: Option<Fingerprint>,
    ) -> Self {
        let salt = hex::encode(salt);
        let digest = Digest::join(connection_id, &salt, &cookie);
        let mut join = Vec::new();
        Outgoing::Join { node: node.as_str(), connection_id, salt: &salt, digest: &digest }.write(&mut join);
        Self { cookie, certificate, salt, digest, inbox: Inbox::default(), transmit: Some(join), over: false }
    }

    /// The next bytes to send, if any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.take()
    }

    /// Takes bytes that arrived. `None`: go on.
    ///
    /// # Errors
    /// Whatever is wrong with the peer's side; the link is to be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Joined>, HandshakeError> {
        self.inbox.push(bytes);
        let outcome = self.advance();
        self.over = !matches!(outcome, Ok(None));
        outcome
    }

    /// What is being waited for.
    pub fn stage(&self) -> Stage {
        if self.over { Stage::Over } else { Stage::Join }
    }

    /// The error for a link that ended now.
    pub fn closed(&self) -> HandshakeError {
        HandshakeError::Closed(self.stage())
    }

    fn advance(&mut self) -> Result<Option<Joined>, HandshakeError> {
        let stage = self.stage();
        if self.over {
            return Err(HandshakeError::OutOfTurn(stage));
        }
        let accept = match self.inbox.next(stage)? {
            None => return Ok(None),
            Some(Incoming::Accept(accept)) => accept,
            Some(Incoming::Reject { reason }) => return Err(rejected(&reason)),
            Some(other) => return Err(HandshakeError::Unexpected { stage, got: other.kind() }),
        };
        if !Digest::join_reply(&self.digest, &self.cookie).is(&accept.digest) {
            return Err(HandshakeError::WrongDigest(Proof::JoinReply));
        }
        if let Some(certificate) = &self.certificate
            && !Digest::join_certificate(&self.digest, &self.salt, &self.cookie, certificate)
                .is(&accept.certificate)
        {
            return Err(HandshakeError::WrongCertificate);
        }
        Ok(Some(Joined { tail: std::mem::take(&mut self.inbox).into_tail() }))
    }
}
