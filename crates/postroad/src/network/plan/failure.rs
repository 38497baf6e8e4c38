//! How plans fail: what was tried, how far it came and why it ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::Version;
use postroad_wire::ehs::{self, Proof};

use super::{Discovery, Reason};
use crate::Atom;
use crate::network::handshake::HandshakeError;
use crate::network::tunnel::TunnelError;
use crate::registrar::{Endpoint, ResolveError};
use crate::tls::TlsHandshakeError;

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Finding an address.
    Resolve,
    /// Making a connection with it.
    Dial,
    /// Making it secure.
    Tls,
    /// The first half of the handshake: both prove that they know the cookie.
    Hello,
    /// The second half of the handshake: both say who they are.
    Introduce,
    /// Opening a way through another node.
    Tunnel,
}

/// Why an attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The resolver gave no address.
    #[error("{resolver}: {error}")]
    Resolve {
        /// Who was asked.
        resolver: String,
        /// What it said.
        error: ResolveError,
    },
    /// The resolver knows the node, and no address of it.
    #[error("{resolver} knows the node, but no address: it accepts no connections (hidden mode)")]
    NoAddress {
        /// Who was asked.
        resolver: String,
    },
    /// The resolver knows no proxy that leads to the node.
    #[error("{resolver} knows no proxy that leads to the node")]
    NoProxy {
        /// Who was asked.
        resolver: String,
    },
    /// The address has port 0.
    #[error("the address has port 0; give the route a port")]
    NoPort,
    /// Neither the route nor the resolver nor the node's name has a host.
    #[error("no host: neither the route nor the name of the node has one")]
    NoHost,
    /// The address is for a handshake or protocol that this node does not speak.
    #[error("the address is for {version}, which this node does not speak")]
    UnknownVersion {
        /// The handshake or protocol.
        version: Version,
    },
    /// The way leads through another node, and that did not open it.
    #[error(transparent)]
    Tunnel(TunnelError),
    /// No connection could be made.
    #[error("{0}")]
    Dial(Arc<io::Error>),
    /// The connection could not be made secure. Nothing of the cookie was sent.
    #[error("{0}")]
    Tls(TlsHandshakeError),
    /// The two nodes did not agree.
    #[error(transparent)]
    Handshake(HandshakeError),
}

/// Something that was tried.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// Why it was tried.
    pub reason: Reason,
    /// What was dialed; nothing if no address was found, or none was needed.
    pub endpoint: Option<Endpoint>,
    /// The node through which the way would have led, if any.
    pub proxy: Option<Atom>,
    /// How far it came.
    pub stage: Stage,
    /// What went wrong.
    pub error: AttemptError,
}

/// Nothing led to a node.
#[derive(Debug, Clone, thiserror::Error)]
pub struct NoRoute {
    /// The node.
    pub name: Atom,
    /// What was tried, in this order.
    pub attempts: Vec<FailedAttempt>,
    /// Whether the registrar was asked, and why not.
    pub discovery: Discovery,
    /// How many further steps were left when time was up.
    pub untried: usize,
    /// How long ago that was. Zero for who waited for it; more for who was told
    /// afterwards, without another attempt.
    pub age: Duration,
}

impl NoRoute {
    /// No static route matches; nothing was tried.
    pub(in crate::network) fn unmatched(name: Atom) -> Self {
        Self { name, attempts: Vec::new(), discovery: Discovery::First, untried: 0, age: Duration::ZERO }
    }
}

impl AttemptError {
    /// How far the attempt came.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Resolve { .. }
            | Self::NoAddress { .. }
            | Self::NoProxy { .. }
            | Self::NoPort
            | Self::NoHost
            | Self::UnknownVersion { .. } => Stage::Resolve,
            Self::Dial(_) => Stage::Dial,
            Self::Tls(_) => Stage::Tls,
            Self::Tunnel(_) => Stage::Tunnel,
            Self::Handshake(HandshakeError::Protocol(error)) => stage_of(error),
            Self::Handshake(HandshakeError::AnotherProtocol(_)) => Stage::Introduce,
            Self::Handshake(_) => Stage::Hello,
        }
    }

    /// Whether the peer's own dial goes before this one: it was let in, or the
    /// peer closed after it had learned who dials and found the cookie right.
    pub(in crate::network) fn yields(&self) -> bool {
        use ehs::{HandshakeError as E, Stage::Accept, Stage::Introduce};
        let Self::Handshake(error) = self else { return false };
        matches!(
            error,
            HandshakeError::Duplicate(_) | HandshakeError::Protocol(E::Closed(Accept | Introduce))
        )
    }

    /// Whether the peer may be somebody else than the node, or the node does
    /// not take us for who we are: cookie, certificate or name. A node that
    /// refuses a cookie closes without a word (`docs/wire/EHS.md` section 4),
    /// so a close counts.
    pub fn is_distrust(&self) -> bool {
        use ehs::HandshakeError as E;
        match self {
            Self::Tls(error) => return error.is_distrust(),
            Self::Tunnel(error) => return error.is_distrust(),
            _ => {}
        }
        if let Self::Handshake(HandshakeError::Unproven(_) | HandshakeError::AnotherNode(_)) = self {
            return true;
        }
        matches!(
            self,
            Self::Handshake(HandshakeError::Protocol(
                E::WrongDigest(_)
                    | E::WrongCertificate
                    | E::WrongName { .. }
                    | E::SameName(_)
                    | E::InvalidName(_)
                    | E::Closed(_)
            ))
        )
    }
}

impl From<TunnelError> for AttemptError {
    fn from(error: TunnelError) -> Self {
        Self::Tunnel(error)
    }
}

impl From<HandshakeError> for AttemptError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Tls(error) => Self::Tls(error),
            other => Self::Handshake(other),
        }
    }
}

fn stage_of(error: &ehs::HandshakeError) -> Stage {
    use ehs::HandshakeError as E;
    match error {
        E::WrongMagic { stage, .. }
        | E::WrongVersion { stage, .. }
        | E::TooLong { stage, .. }
        | E::Malformed { stage, .. }
        | E::Unexpected { stage, .. }
        | E::Closed(stage)
            if matches!(stage, ehs::Stage::First | ehs::Stage::Hello) =>
        {
            Stage::Hello
        }
        E::WrongDigest(Proof::Hello | Proof::HelloReply) | E::WrongCertificate => Stage::Hello,
        _ => Stage::Introduce,
    }
}
