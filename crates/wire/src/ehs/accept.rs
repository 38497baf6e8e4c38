//! The accepting side, of full handshakes and of joins (`docs/wire/EHS.md`
//! sections 4 and 5, side B).

use std::sync::Arc;

use postroad_edf::Atom;

use super::digest::{Digest, Fingerprint};
use super::error::{HandshakeError, Proof, Stage};
use super::message::{Inbox, Incoming, Outgoing};
use super::{Established, Introduction, Joined, rejected};
use crate::Cookie;

/// Answers a peer that dialed. See the [module](super) for how it is driven.
///
/// Twice the caller decides:
///
/// * after [`AcceptStep::JoinRequested`] by [`accept_join`](Self::accept_join),
/// * after [`AcceptStep::Introduced`] by [`accept`](Self::accept),
///
/// or against it by closing the link, with [`reject`](Self::reject) before that
/// if the peer is of a release that understands it. Bytes that arrive before
/// the decision are kept.
#[derive(Debug)]
pub struct Accept {
    local: Arc<Introduction>,
    cookie: Cookie,
    certificate: Option<Fingerprint>,
    salt: String,
    inbox: Inbox,
    transmit: Option<Vec<u8>>,
    state: State,
}

/// What came of the bytes that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptStep {
    /// The peer knows the cookie and wants to add a link to a connection.
    /// Look it up before answering: an Ergo peer that is let in and closed
    /// afterwards tries again without pause (`docs/wire/EHS.md` section 8).
    JoinRequested(JoinRequest),
    /// The peer knows the cookie and has introduced itself; its name is not
    /// ours. Whether there is a connection with it already is the caller's to
    /// know.
    Introduced(Arc<Introduction>),
    /// The peer has confirmed. The handshake is over.
    Established(Established),
}

/// A proven wish to join a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The name of the peer.
    pub node: Atom,
    /// The connection it wants to join.
    pub connection_id: String,
    /// What the peer's digest was made with. A Join that was recorded on its
    /// way can be replayed; so refuse a salt that this connection has seen.
    pub salt: String,
    /// What the peer has proved to know.
    pub cookie: Cookie,
}

#[derive(Debug)]
enum State {
    First,
    JoinRequested { digest: Digest, salt: String, cookie: Cookie },
    Introduce { digest: Digest },
    Introduced { peer: Arc<Introduction> },
    FinalAccept { peer: Arc<Introduction>, connection_id: String, pool_size: u16, dsn: Vec<String> },
    Over,
}

impl Accept {
    /// Waits for a peer's first message.
    ///
    /// * `local`: what this node says about itself. Send what
    ///   [`Introduction::fit`] left.
    /// * `salt`: 32 random bytes, never used before.
    /// * `certificate`: the fingerprint of our own leaf certificate, on TLS.
    pub fn new(
        local: Arc<Introduction>,
        cookie: Cookie,
        salt: [u8; 32],
        certificate: Option<Fingerprint>,
    ) -> Self {
        Self {
            local,
            cookie,
            certificate,
            salt: hex::encode(salt),
            inbox: Inbox::default(),
            transmit: None,
            state: State::First,
        }
    }

    /// The next bytes to send, if any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.take()
    }

    /// Takes bytes that arrived, possibly none: after a decision, go on with
    /// `receive(&[])`, because the peer may have sent ahead. `None`: send what
    /// is to be sent, and go on.
    ///
    /// # Errors
    /// Whatever is wrong with the peer's side; the link is to be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<AcceptStep>, HandshakeError> {
        self.receive_joins(bytes, |_| None)
    }

    /// As [`receive`](Self::receive), where whoever joins a connection has to
    /// prove the cookie that was made with: what `made_with` says of its id, and
    /// this side's own if that says nothing.
    pub fn receive_joins(
        &mut self,
        bytes: &[u8],
        made_with: impl Fn(&str) -> Option<Cookie>,
    ) -> Result<Option<AcceptStep>, HandshakeError> {
        self.inbox.push(bytes);
        let outcome = self.advance(made_with);
        if outcome.is_err() {
            self.state = State::Over;
        }
        outcome
    }

    /// Lets the link in that asked for it by [`AcceptStep::JoinRequested`]. The
    /// handshake is over; the answer is to be sent.
    ///
    /// # Errors
    /// [`HandshakeError::OutOfTurn`] if nothing asked for it.
    pub fn accept_join(&mut self) -> Result<Joined, HandshakeError> {
        let stage = self.stage();
        let State::JoinRequested { digest, salt, cookie } = std::mem::replace(&mut self.state, State::Over)
        else {
            return Err(HandshakeError::OutOfTurn(stage));
        };
        let certificate = self
            .certificate
            .as_ref()
            .map(|certificate| Digest::join_certificate(&digest, &salt, &cookie, certificate));
        Outgoing::JoinReply {
            digest: &Digest::join_reply(&digest, &cookie),
            certificate: certificate.as_ref(),
        }
        .write(self.transmit.get_or_insert_default());
        Ok(Joined { tail: std::mem::take(&mut self.inbox).into_tail() })
    }

    /// Agrees to the connection that was asked for by
    /// [`AcceptStep::Introduced`].
    ///
    /// * `connection_id`: from [`connection_id`](super::connection_id), or what
    ///   else both sides agree on.
    /// * `pool_size`: how many links this side wants; at least 1 is announced,
    ///   because 0 kills an Ergo peer (`docs/wire/EHS.md` section 4).
    /// * `dsn`: where further links may be opened, `host:port`.
    ///
    /// # Errors
    /// [`HandshakeError::OutOfTurn`] if nothing asked for it.
    pub fn accept(
        &mut self,
        connection_id: String,
        pool_size: u16,
        dsn: Vec<String>,
    ) -> Result<(), HandshakeError> {
        let stage = self.stage();
        let State::Introduced { peer } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(HandshakeError::OutOfTurn(stage));
        };
        let pool_size = pool_size.clamp(1, super::MAX_POOL_SIZE);
        let out = self.transmit.get_or_insert_default();
        Outgoing::Accept { connection_id: &connection_id, pool_size, dsn: &dsn }.write(out);
        Outgoing::Introduce { introduction: &self.local, digest: None }.write(out);
        self.state = State::FinalAccept { peer, connection_id, pool_size, dsn };
        Ok(())
    }

    /// Refuses in words, wherever an answer of ours is due: `reason` is
    /// [`BUSY`](super::BUSY) for want of room. The handshake is over; what is
    /// to be sent goes out, then the link is closed. Releases before 3.3.0 take
    /// it for a malformed message and close as well.
    pub fn reject(&mut self, reason: &str) {
        self.state = State::Over;
        Outgoing::Reject { reason }.write(self.transmit.insert(Vec::new()));
    }

    /// What is being waited for.
    pub fn stage(&self) -> Stage {
        match self.state {
            State::First => Stage::First,
            State::JoinRequested { .. } | State::Introduced { .. } => Stage::Decision,
            State::Introduce { .. } => Stage::Introduce,
            State::FinalAccept { .. } => Stage::FinalAccept,
            State::Over => Stage::Over,
        }
    }

    /// The error for a link that ended now.
    pub fn closed(&self) -> HandshakeError {
        HandshakeError::Closed(self.stage())
    }

    fn advance(
        &mut self,
        made_with: impl Fn(&str) -> Option<Cookie>,
    ) -> Result<Option<AcceptStep>, HandshakeError> {
        loop {
            let stage = self.stage();
            match stage {
                Stage::Over => return Err(HandshakeError::OutOfTurn(stage)),
                Stage::Decision => return Ok(None),
                _ => {}
            }
            let Some(message) = self.inbox.next(stage)? else { return Ok(None) };
            match (std::mem::replace(&mut self.state, State::Over), message) {
                (State::First, Incoming::Hello(hello)) => {
                    let digest = Digest::hello(&hello.salt, &self.cookie);
                    if !digest.is(&hello.digest) {
                        return Err(HandshakeError::WrongDigest(Proof::Hello));
                    }
                    let certificate = self.certificate.as_ref().map(|certificate| {
                        Digest::certificate(&self.salt, &hello.salt, &self.cookie, certificate)
                    });
                    Outgoing::Hello {
                        salt: &self.salt,
                        digest: &Digest::hello_reply(&self.salt, &digest, &self.cookie),
                        certificate: certificate.as_ref(),
                    }
                    .write(self.transmit.get_or_insert_default());
                    self.state = State::Introduce { digest: Digest::introduce(&self.salt, &self.cookie) };
                }
                (State::First, Incoming::Join(join)) => {
                    let cookie = made_with(&join.connection_id).unwrap_or_else(|| self.cookie.clone());
                    let digest = Digest::join(&join.connection_id, &join.salt, &cookie);
                    if !digest.is(&join.digest) {
                        return Err(HandshakeError::WrongDigest(Proof::Join));
                    }
                    let node = Atom::from_peer(join.node)
                        .map_err(|source| HandshakeError::Malformed { stage, source: source.into() })?;
                    let request = JoinRequest {
                        node,
                        connection_id: join.connection_id.into_owned(),
                        salt: join.salt.into_owned(),
                        cookie: cookie.clone(),
                    };
                    self.state = State::JoinRequested { digest, salt: request.salt.clone(), cookie };
                    return Ok(Some(AcceptStep::JoinRequested(request)));
                }
                (State::Introduce { digest }, Incoming::Introduce(fields)) => {
                    let peer = Arc::new(Introduction::read(fields, Some(&digest), self.local.node)?);
                    self.state = State::Introduced { peer: peer.clone() };
                    return Ok(Some(AcceptStep::Introduced(peer)));
                }
                (State::FinalAccept { peer, connection_id, pool_size, dsn }, Incoming::Accept(_)) => {
                    return Ok(Some(AcceptStep::Established(Established {
                        local: self.local.clone(),
                        peer,
                        connection_id,
                        pool_size,
                        dsn,
                        tail: std::mem::take(&mut self.inbox).into_tail(),
                    })));
                }
                (_, Incoming::Reject { reason }) => return Err(rejected(&reason)),
                (_, other) => return Err(HandshakeError::Unexpected { stage, got: other.kind() }),
            }
        }
    }
}
