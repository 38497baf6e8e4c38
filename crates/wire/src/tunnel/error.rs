//! Why there is no tunnel.

use std::fmt;

use postroad_edf::Atom;

use super::message::Kind;
use super::{MAX_BODY, MAX_PATH};
use crate::BodyError;

/// Which message of the negotiation was being waited for
/// (`docs/wire/TUNNEL.md` section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The accepting side waits for Knock.
    Knock,
    /// The dialing side waits for Challenge.
    Challenge,
    /// The accepting side waits for Proof.
    Proof,
    /// The dialing side waits for Welcome.
    Welcome,
    /// Either side waits for what the other one wants.
    Request,
    /// Either side waits for the answer to what it wants.
    Answer,
    /// The negotiation is over.
    Over,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Knock => "waiting for Knock",
            Self::Challenge => "waiting for Challenge",
            Self::Proof => "waiting for Proof",
            Self::Welcome => "waiting for Welcome",
            Self::Request => "waiting for a request",
            Self::Answer => "waiting for the answer to a request",
            Self::Over => "after the negotiation",
        })
    }
}

/// What is wrong with what the other side said. The stream is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// What arrives is not the negotiation of a tunnel.
    #[error("{stage}: the first byte is {got:#04x}; this is not the negotiation of a tunnel")]
    WrongMagic {
        /// What was being waited for.
        stage: Stage,
        /// The byte.
        got: u8,
    },
    /// The peer negotiates by a version that this one does not know.
    #[error("{stage}: version {got} of the negotiation; this node speaks {}", super::VERSION)]
    WrongVersion {
        /// What was being waited for.
        stage: Stage,
        /// The version.
        got: u8,
    },
    /// A message is longer than any may be.
    #[error("{stage}: a message of {announced} bytes, at most {MAX_BODY} are taken")]
    TooLong {
        /// What was being waited for.
        stage: Stage,
        /// How long it is said to be.
        announced: u16,
    },
    /// A message is not laid out as specified.
    #[error("{stage}: the message is malformed: {source}")]
    Malformed {
        /// What was being waited for.
        stage: Stage,
        /// What is wrong with it.
        source: BodyError,
    },
    /// A path of more nodes than any tunnel may touch.
    #[error("{stage}: a path of {len} nodes, at most {MAX_PATH} are possible")]
    PathTooLong {
        /// What was being waited for.
        stage: Stage,
        /// How many nodes it has.
        len: u8,
    },
    /// A message, but not one whose turn it is.
    #[error("{stage}: the peer sent {got}; it does not follow the order of the negotiation")]
    Unexpected {
        /// What was being waited for.
        stage: Stage,
        /// What arrived.
        got: Kind,
    },
    /// A message of a kind that is not known.
    #[error("{stage}: a message of kind {got}, which is none")]
    UnknownKind {
        /// What was being waited for.
        stage: Stage,
        /// The kind.
        got: u8,
    },
    /// Bytes behind a message that is to be answered first.
    #[error("{stage}: {bytes} bytes follow a message that had to be answered first")]
    SpokeAhead {
        /// What was being waited for.
        stage: Stage,
        /// How many.
        bytes: usize,
    },
    /// The peer does not know the cookie of the connection, or means another
    /// connection.
    #[error(
        "the proof of the {who} side is wrong: it is not the other end of this connection, or has another \
             cookie for it"
    )]
    WrongProof {
        /// Which side.
        who: Who,
    },
    /// The proof over the certificate does not fit the certificate that the TLS
    /// stream showed.
    #[error(
        "the peer did not prove the certificate of this TLS stream; something in between ends TLS with a \
             certificate of its own"
    )]
    WrongCertificate,
    /// The stream ended before the negotiation did.
    #[error("the stream ended while {0}")]
    Closed(Stage),
    /// The peer refused.
    #[error("{hop} refused: {reason}")]
    Refused {
        /// The node that refused.
        hop: Atom,
        /// Why.
        reason: Refusal,
    },
    /// The machine was used after its end. An error of the caller.
    #[error("the negotiation was driven on while {0}")]
    OutOfTurn(Stage),
}

/// Which side of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The one that dialed.
    Dialing,
    /// The one that was dialed.
    Accepting,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialing => "dialing",
            Self::Accepting => "accepting",
        })
    }
}

/// Why a node on the way does not open, carry or accept a tunnel
/// (`docs/wire/TUNNEL.md` section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Connections to others do not pass through it.
    #[error("it lets no connections pass through it (transit is off)")]
    NoTransit,
    /// Its rules do not let this client go there.
    #[error("not allowed: its rules do not let this client go to that node")]
    NotAllowed,
    /// The way may not lead through any more nodes.
    #[error("the hop budget is used up (max_hop); give the route more hops, or a shorter way")]
    HopsExhausted,
    /// The way would lead through a node twice.
    #[error("the way would lead through a node twice: proxy routes form a loop")]
    Loop,
    /// The path does not end with the node that is connected.
    #[error("the path of the request is not that of the node that sent it")]
    ForgedPath,
    /// The target is the gateway itself.
    #[error("it is the target itself; connect with it instead of going through it")]
    ToItself,
    /// The target has no name of a node.
    #[error("the target has no name of the form name@host")]
    InvalidTarget,
    /// It could not connect with the target.
    #[error("it has no way to that node, or none that works now")]
    Unreachable,
    /// It could not connect with the target in time.
    #[error("it could not reach that node in the time that was left")]
    TimedOut,
    /// The client has as many tunnels as it may have, or the gateway has.
    #[error("there are as many tunnels as it carries at once, for this client or at all")]
    TooManyTunnels,
    /// The client asks too often.
    #[error("too many requests of this client in a short time")]
    TooManyRequests,
    /// The gateway finishes what is open and takes nothing new.
    #[error("it takes no new tunnels: it is being drained")]
    Draining,
    /// The target accepts no connections through others.
    #[error("it accepts no connections that come through other nodes")]
    NotAccepted,
    /// The target demands encryption between the two ends.
    #[error(
        "not allowed without encryption between the two ends: set the encryption flag of the proxy route, \
             and give the target a certificate"
    )]
    EncryptionRequired,
    /// Encryption between the two ends was asked for and cannot be had.
    #[error("encryption between the two ends is not allowed on the way, or the target has no certificate")]
    NoEncryption,
    /// The connection that the stream is said to belong to is not there.
    #[error("it knows no such connection; connect anew")]
    UnknownConnection,
    /// A reason of a release to come.
    #[error("reason {0}, which this version does not know")]
    Other(u8),
}

impl Refusal {
    const ALL: [(u8, Self); 16] = [
        (1, Self::NoTransit),
        (2, Self::NotAllowed),
        (3, Self::HopsExhausted),
        (4, Self::Loop),
        (5, Self::ForgedPath),
        (6, Self::ToItself),
        (7, Self::InvalidTarget),
        (8, Self::Unreachable),
        (9, Self::TimedOut),
        (10, Self::TooManyTunnels),
        (11, Self::TooManyRequests),
        (12, Self::Draining),
        (13, Self::NotAccepted),
        (14, Self::EncryptionRequired),
        (15, Self::NoEncryption),
        (16, Self::UnknownConnection),
    ];

    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|(known, _)| *known == code)
            .map_or(Self::Other(code), |(_, refusal)| refusal)
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Other(code) => code,
            known => Self::ALL.into_iter().find(|(_, refusal)| *refusal == known).map_or(0, |(code, _)| code),
        }
    }
}
