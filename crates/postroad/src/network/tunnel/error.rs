//! Why there is no tunnel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::tunnel::{NegotiationError, Refusal};

use crate::Atom;
use crate::network::connect::ConnectError;
use crate::tls::TlsHandshakeError;

/// Why no tunnel was opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// There is no connection with the proxy.
    #[error("there is no connection with the proxy: {0}")]
    Proxy(Box<ConnectError>),
    /// To reach the proxy, the target would have to be reached first.
    #[error(
        "the proxy {0} itself is reached through the node that this is about; proxy routes form a circle"
    )]
    Circle(Atom),
    /// The proxy is no gateway, and cannot become one.
    #[error(
        "{0} lets no connections pass through it: it knows nothing of tunnels, as stock Ergo nodes do, or is \
         reached by a handshake with which nobody can ask for one"
    )]
    NoGateway(Atom),
    /// A node on the way refused.
    #[error("{hop} refused: {reason}")]
    Refused {
        /// Which node.
        hop: Atom,
        /// Why.
        reason: Refusal,
    },
    /// The proxy said something wrong, or went away in the middle of it.
    #[error("with {peer}: {error}")]
    Negotiation {
        /// The proxy.
        peer: Atom,
        /// What.
        error: NegotiationError,
    },
    /// The proxy could not be dialed once more.
    #[error("dialing {peer} once more: {error}")]
    Dial {
        /// The proxy.
        peer: Atom,
        /// Why.
        error: Arc<io::Error>,
    },
    /// One more stream to the proxy could not be made secure.
    #[error("dialing {peer} once more: {error}")]
    Tls {
        /// The proxy.
        peer: Atom,
        /// Why.
        error: TlsHandshakeError,
    },
    /// The proxy did not answer in time.
    #[error("{peer} did not answer within {limit:?}")]
    Timeout {
        /// The proxy.
        peer: Atom,
        /// How long it had.
        limit: Duration,
    },
    /// The connection with the proxy ended meanwhile.
    #[error("the connection with {0} ended meanwhile")]
    ConnectionLost(Atom),
    /// The proxy claims a way that does not lead from here to the target.
    #[error("{0} claims to have opened a way that does not lead from here to the target")]
    WrongPath(Atom),
    /// The way allows less than what the connection was made with, or would
    /// leave out the encryption that was asked for.
    #[error("the way through {0} allows less than was asked for, or than the connection has")]
    Narrowed(Atom),
}

impl TunnelError {
    /// What went wrong between this node and `peer`.
    pub(super) fn with(peer: Atom) -> impl Fn(NegotiationError) -> Self {
        move |error| match error {
            NegotiationError::Refused { hop, reason } => Self::Refused { hop, reason },
            error => Self::Negotiation { peer, error },
        }
    }

    /// Whether the proxy may be somebody else, or does not take us for who we are.
    pub(in crate::network) fn is_distrust(&self) -> bool {
        match self {
            Self::Proxy(error) => match &**error {
                ConnectError::NoRoute(no_route) => {
                    no_route.attempts.iter().any(|attempt| attempt.error.is_distrust())
                }
                _ => false,
            },
            Self::Tls { error, .. } => error.is_distrust(),
            Self::Negotiation { error, .. } => {
                matches!(error, NegotiationError::WrongProof { .. } | NegotiationError::WrongCertificate)
            }
            _ => false,
        }
    }
}
