//! The dialing side of a full handshake (`docs/wire/EHS.md` section 4, side A).

use std::sync::Arc;

use postroad_edf::Atom;

use super::digest::{Digest, Fingerprint};
use super::error::{HandshakeError, Proof, Stage};
use super::message::{Inbox, Incoming, Outgoing};
use super::{Established, Introduction, MAX_POOL_SIZE, rejected};
use crate::Cookie;

/// Opens a connection. See the [module](super) for how it is driven.
#[derive(Debug)]
pub struct Dial {
    local: Arc<Introduction>,
    expected: Option<Atom>,
    cookie: Cookie,
    certificate: Option<Fingerprint>,
    salt: String,
    inbox: Inbox,
    transmit: Option<Vec<u8>>,
    state: State,
}

#[derive(Debug)]
enum State {
    Hello,
    Accept,
    Introduce { connection_id: String, pool_size: u16, dsn: Vec<String> },
    Over,
}

impl Dial {
    /// Begins a handshake.
    ///
    /// * `local`: what this node says about itself. Send what
    ///   [`Introduction::fit`] left.
    /// * `expected`: the name the peer must have, if one was asked for.
    /// * `salt`: 32 random bytes, never used before.
    /// * `certificate`: the fingerprint of the leaf certificate that the TLS
    ///   link showed, if the peer is to prove that it serves this very one.
    pub fn new(
        local: Arc<Introduction>,
        expected: Option<Atom>,
        cookie: Cookie,
        salt: [u8; 32],
        certificate: Option<Fingerprint>,
    ) -> Self {
        let salt = hex::encode(salt);
        let mut hello = Vec::new();
        let digest = Digest::hello(&salt, &cookie);
        Outgoing::Hello { salt: &salt, digest: &digest, certificate: None }.write(&mut hello);
        Self {
            local,
            expected,
            cookie,
            certificate,
            salt,
            inbox: Inbox::default(),
            transmit: Some(hello),
            state: State::Hello,
        }
    }

    /// The next bytes to send, if any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.take()
    }

    /// Takes bytes that arrived. `None`: send what is to be sent, and go on.
    ///
    /// # Errors
    /// Whatever is wrong with the peer's side; the link is to be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Established>, HandshakeError> {
        self.inbox.push(bytes);
        let outcome = self.advance();
        if !matches!(outcome, Ok(None)) {
            self.state = State::Over;
        }
        outcome
    }

    /// What is being waited for.
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Hello => Stage::Hello,
            State::Accept => Stage::Accept,
            State::Introduce { .. } => Stage::Introduce,
            State::Over => Stage::Over,
        }
    }

    /// The error for a link that ended now.
    pub fn closed(&self) -> HandshakeError {
        HandshakeError::Closed(self.stage())
    }

    fn advance(&mut self) -> Result<Option<Established>, HandshakeError> {
        loop {
            let stage = self.stage();
            if stage == Stage::Over {
                return Err(HandshakeError::OutOfTurn(stage));
            }
            let Some(message) = self.inbox.next(stage)? else { return Ok(None) };
            self.state = match (std::mem::replace(&mut self.state, State::Over), message) {
                (State::Hello, Incoming::Hello(hello)) => {
                    let own = Digest::hello(&self.salt, &self.cookie);
                    if !Digest::hello_reply(&hello.salt, &own, &self.cookie).is(&hello.digest) {
                        return Err(HandshakeError::WrongDigest(Proof::HelloReply));
                    }
                    if let Some(certificate) = &self.certificate
                        && !Digest::certificate(&hello.salt, &self.salt, &self.cookie, certificate)
                            .is(&hello.certificate)
                    {
                        return Err(HandshakeError::WrongCertificate);
                    }
                    let digest = Digest::introduce(&hello.salt, &self.cookie);
                    let out = self.transmit.get_or_insert_default();
                    Outgoing::Introduce { introduction: &self.local, digest: Some(&digest) }.write(out);
                    State::Accept
                }
                (State::Accept, Incoming::Accept(accept)) => State::Introduce {
                    connection_id: accept.connection_id.into_owned(),
                    pool_size: accept.pool_size.clamp(1, i64::from(MAX_POOL_SIZE)) as u16,
                    dsn: accept.dsn.into_iter().map(Into::into).collect(),
                },
                (State::Introduce { connection_id, pool_size, dsn }, Incoming::Introduce(fields)) => {
                    let peer = Introduction::read(fields, None, self.local.node)?;
                    if let Some(expected) = self.expected
                        && peer.node != expected
                    {
                        return Err(HandshakeError::WrongName { expected, got: peer.node });
                    }
                    let out = self.transmit.get_or_insert_default();
                    Outgoing::Accept { connection_id: "", pool_size: 0, dsn: &[] }.write(out);
                    return Ok(Some(Established {
                        local: self.local.clone(),
                        peer: Arc::new(peer),
                        connection_id,
                        pool_size,
                        dsn,
                        tail: std::mem::take(&mut self.inbox).into_tail(),
                    }));
                }
                (_, Incoming::Reject { reason }) => return Err(rejected(&reason)),
                (_, other) => return Err(HandshakeError::Unexpected { stage, got: other.kind() }),
            };
        }
    }
}
