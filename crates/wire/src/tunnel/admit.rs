//! The side that is dialed for one more stream of a connection.

use postroad_edf::Atom;

use super::error::{NegotiationError, Refusal, Stage, Who};
use super::message::{Answer, Inbox, Message, Talk};
use super::proof::{Context, same};
use super::{Ends, Nonce, Token};
use crate::Cookie;
use crate::ehs::Fingerprint;

/// Has whoever dialed prove that it is the other end of a connection. See the
/// [module](super) for how it is driven.
#[derive(Debug)]
pub struct Admit {
    own: Atom,
    cookie: Cookie,
    certificate: Option<Fingerprint>,
    nonce: Nonce,
    context: Option<Context>,
    inbox: Inbox,
    transmit: Option<Vec<u8>>,
    stage: Stage,
    /// What the visitor has proved to know.
    proved: Option<Cookie>,
}

/// Who has proved to know a cookie, and which connection it means. Whether
/// there is such a connection, made with that cookie, is the caller's to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The node that the stream comes from.
    pub node: Atom,
    /// The connection that it belongs to.
    pub connection_id: String,
    /// What was sent along when the stream was asked for, if it was.
    pub token: Option<Token>,
    /// What it has proved to know.
    pub cookie: Cookie,
}

impl Admit {
    /// Waits for Knock.
    ///
    /// * `cookie`: what is to be proved for a connection of which
    ///   [`receive_for`](Self::receive_for) is told nothing else.
    /// * `nonce`: random bytes, never used before.
    /// * `certificate`: the fingerprint of our own leaf certificate, on TLS.
    pub fn new(own: Atom, cookie: Cookie, nonce: Nonce, certificate: Option<Fingerprint>) -> Self {
        let (context, transmit) = (None, None);
        Self {
            own,
            cookie,
            certificate,
            nonce,
            context,
            inbox: Inbox::default(),
            transmit,
            stage: Stage::Knock,
            proved: None,
        }
    }

    /// The next bytes to send, if any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.take()
    }

    /// Takes bytes that arrived. `None`: send what is to be sent, and go on.
    /// A visitor is answered by [`welcome`](Self::welcome) or
    /// [`refuse`](Self::refuse).
    ///
    /// # Errors
    /// Whatever is wrong with the peer's side; the stream is to be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Visitor>, NegotiationError> {
        self.receive_for(bytes, |_| None)
    }

    /// As [`receive`](Self::receive), where the visitor has to prove the cookie
    /// that its connection was made with: what `made_with` says of its id, and
    /// this side's own if that says nothing.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive).
    pub fn receive_for(
        &mut self,
        bytes: &[u8],
        made_with: impl Fn(&str) -> Option<Cookie>,
    ) -> Result<Option<Visitor>, NegotiationError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if stage == Stage::Over {
            return Err(NegotiationError::OutOfTurn(stage));
        }
        match (self.inbox.receive(bytes, stage)?, &self.context) {
            (None, _) => self.stage = stage,
            (Some(Message::Knock { node, connection_id, token, nonce }), _) => {
                self.context = Some(Context {
                    ends: Ends { dialer: node, acceptor: self.own },
                    connection_id,
                    token,
                    asked: nonce,
                    challenged: self.nonce,
                });
                self.transmit = Some(Message::Challenge { nonce: self.nonce }.to_bytes());
                self.stage = Stage::Proof;
            }
            (Some(Message::Proof { proof }), Some(context)) => {
                let cookie = made_with(&context.connection_id).unwrap_or_else(|| self.cookie.clone());
                // The dialing side may not look at certificates, or have been shown this one.
                let mut seen = [None, self.certificate.as_ref()].into_iter();
                if !seen.any(|shown| same(&proof, &context.of_dialing(shown, &cookie))) {
                    return Err(NegotiationError::WrongProof { who: Who::Dialing });
                }
                self.proved = Some(cookie.clone());
                return Ok(Some(Visitor {
                    node: context.ends.dialer,
                    connection_id: context.connection_id.clone(),
                    token: context.token,
                    cookie,
                }));
            }
            (Some(other), _) => return Err(NegotiationError::Unexpected { stage, got: other.kind() }),
        }
        Ok(None)
    }

    /// Lets the visitor in: our own proof is to be sent, then either side asks.
    ///
    /// # Errors
    /// [`NegotiationError::OutOfTurn`] if nobody has proved anything.
    pub fn welcome(mut self) -> Result<(Vec<u8>, Talk), NegotiationError> {
        let (context, cookie) = self.visited()?;
        let proof = context.of_accepting(&cookie);
        let certificate = self.certificate.as_ref().map(|own| context.of_certificate(own, &cookie));
        Ok((Message::Welcome { proof, certificate }.to_bytes(), Talk::new(self.inbox)))
    }

    /// Turns the visitor away: what is to be sent before the stream is closed.
    ///
    /// # Errors
    /// [`NegotiationError::OutOfTurn`] if nobody has proved anything.
    pub fn refuse(mut self, reason: Refusal) -> Result<Vec<u8>, NegotiationError> {
        self.visited()?;
        Ok(Message::from(&Answer::Refused { hop: self.own, reason }).to_bytes())
    }

    /// The error for a stream that ended now.
    pub fn closed(&self) -> NegotiationError {
        NegotiationError::Closed(self.stage)
    }

    fn visited(&mut self) -> Result<(Context, Cookie), NegotiationError> {
        let cookie = self.proved.take().ok_or(NegotiationError::OutOfTurn(self.stage))?;
        let context = self.context.take().ok_or(NegotiationError::OutOfTurn(Stage::Over))?;
        Ok((context, cookie))
    }
}
