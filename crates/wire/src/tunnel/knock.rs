//! The side that dials one more stream of a connection.

use postroad_edf::Atom;

use super::error::{NegotiationError, Stage, Who};
use super::message::{Inbox, Message, Talk};
use super::proof::{Context, same};
use super::{Ends, Nonce, Token};
use crate::Cookie;
use crate::ehs::Fingerprint;

/// Proves to the other end of a connection that a new stream comes from this
/// one, and has it prove the same. See the [module](super) for how it is driven.
#[derive(Debug)]
pub struct Knock {
    context: Context,
    cookie: Cookie,
    certificate: Option<Fingerprint>,
    inbox: Inbox,
    transmit: Option<Vec<u8>>,
    stage: Stage,
}

impl Knock {
    /// Begins.
    ///
    /// * `own`, `peer`: the two ends of the connection.
    /// * `connection_id`, `cookie`: what the connection was made with.
    /// * `token`: what the peer sent along when it asked for this stream, if it did.
    /// * `nonce`: random bytes, never used before.
    /// * `certificate`: the fingerprint of the leaf certificate that the TLS
    ///   stream showed, if the peer is to prove that it serves this very one. What
    ///   this side proves is then worth nothing behind another one.
    pub fn new(
        own: Atom,
        peer: Atom,
        connection_id: &str,
        token: Option<Token>,
        cookie: Cookie,
        nonce: Nonce,
        certificate: Option<Fingerprint>,
    ) -> Self {
        let context = Context {
            ends: Ends { dialer: own, acceptor: peer },
            connection_id: connection_id.to_owned(),
            token,
            asked: nonce,
            challenged: Nonce::default(),
        };
        let knock = Message::Knock { node: own, connection_id: connection_id.to_owned(), token, nonce };
        let transmit = Some(knock.to_bytes());
        Self { context, cookie, certificate, inbox: Inbox::default(), transmit, stage: Stage::Challenge }
    }

    /// The next bytes to send, if any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.take()
    }

    /// Takes bytes that arrived. `None`: send what is to be sent, and go on.
    ///
    /// # Errors
    /// Whatever is wrong with the peer's side; the stream is to be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Talk>, NegotiationError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if stage == Stage::Over {
            return Err(NegotiationError::OutOfTurn(stage));
        }
        match self.inbox.receive(bytes, stage)? {
            None => self.stage = stage,
            Some(Message::Challenge { nonce }) => {
                self.context.challenged = nonce;
                let proof = self.context.of_dialing(self.certificate.as_ref(), &self.cookie);
                self.transmit = Some(Message::Proof { proof }.to_bytes());
                self.stage = Stage::Welcome;
                // Who asked for this stream is the one to ask on it, and need not wait.
                self.inbox.may_go_on = self.context.token.is_some();
            }
            Some(Message::Welcome { proof, certificate }) => {
                if !same(&proof, &self.context.of_accepting(&self.cookie)) {
                    return Err(NegotiationError::WrongProof { who: Who::Accepting });
                }
                if let Some(shown) = &self.certificate {
                    let expected = self.context.of_certificate(shown, &self.cookie);
                    if !certificate.is_some_and(|certificate| same(&certificate, &expected)) {
                        return Err(NegotiationError::WrongCertificate);
                    }
                }
                return Ok(Some(Talk::new(std::mem::take(&mut self.inbox))));
            }
            Some(Message::Refused { hop, reason }) => return Err(NegotiationError::Refused { hop, reason }),
            Some(other) => return Err(NegotiationError::Unexpected { stage, got: other.kind() }),
        }
        Ok(None)
    }

    /// The error for a stream that ended now.
    pub fn closed(&self) -> NegotiationError {
        NegotiationError::Closed(self.stage)
    }
}
