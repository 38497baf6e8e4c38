//! Why a handshake ended without a connection.

use std::fmt;

use postroad_edf::Atom;

use super::message::Kind;
use crate::BodyError;

/// Which message of the handshake was being waited for
/// (`docs/wire/EHS.md` sections 4 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The accepting side waits for the first message: Hello or Join.
    First,
    /// The dialing side waits for the answer to its Hello.
    Hello,
    /// Either side waits for the Introduce of the other.
    Introduce,
    /// The dialing side waits for the Accept that carries the connection id.
    Accept,
    /// The accepting side waits for the empty Accept that ends the handshake.
    FinalAccept,
    /// The dialing side waits for the answer to its Join.
    Join,
    /// The accepting side has yet to decide about what it was asked for.
    Decision,
    /// The handshake is over.
    Over,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "waiting for a Hello or a Join",
            Self::Hello => "waiting for the answer to Hello",
            Self::Introduce => "waiting for Introduce",
            Self::Accept => "waiting for Accept",
            Self::FinalAccept => "waiting for the final Accept",
            Self::Join => "waiting for the answer to Join",
            Self::Decision => "deciding about the peer",
            Self::Over => "after the handshake",
        })
    }
}

/// What a digest is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Proof {
    /// The digest of the dialing side's Hello.
    Hello,
    /// The digest of the accepting side's Hello.
    HelloReply,
    /// The digest of the dialing side's Introduce.
    Introduce,
    /// The digest of a Join.
    Join,
    /// The digest of the Accept that answers a Join.
    JoinReply,
    /// The digest over the certificate of the accepting side.
    Certificate,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "the peer's Hello",
            Self::HelloReply => "the peer's answer to Hello",
            Self::Introduce => "the peer's Introduce",
            Self::Join => "the peer's Join",
            Self::JoinReply => "the peer's answer to Join",
            Self::Certificate => "the peer's certificate",
        })
    }
}

/// Why a handshake failed. Nothing is said to the peer; the link is to be
/// closed (`docs/wire/EHS.md` section 4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// What arrives is not the Ergo handshake.
    #[error(
        "{stage}: the first byte is {got:#04x} and not 0x57, so this is not the Ergo handshake; \
         check that the port is that of a node, and that TLS is on at both sides or at none"
    )]
    WrongMagic {
        /// What was being waited for.
        stage: Stage,
        /// The byte that arrived.
        got: u8,
    },
    /// The handshake has another version.
    #[error(
        "{stage}: version {got} of the Ergo handshake, only version 1 is known; check the peer's release"
    )]
    WrongVersion {
        /// What was being waited for.
        stage: Stage,
        /// The version that arrived.
        got: u8,
    },
    /// A message is announced that is longer than allowed.
    #[error("{stage}: the peer announces a message of {announced} bytes, at most {limit} are taken")]
    TooLong {
        /// What was being waited for.
        stage: Stage,
        /// The announced length of the body.
        announced: u32,
        /// The longest body that is taken at this stage.
        limit: u32,
    },
    /// A message is not laid out as specified.
    #[error("{stage}: the peer's message is malformed: {source}")]
    Malformed {
        /// What was being waited for.
        stage: Stage,
        /// What is wrong with it.
        source: BodyError,
    },
    /// A message of the handshake, but not the one whose turn it is.
    #[error("{stage}: the peer sent {got}; it does not follow the order of the handshake")]
    Unexpected {
        /// What was being waited for.
        stage: Stage,
        /// What arrived.
        got: Kind,
    },
    /// The peer does not know our cookie.
    #[error(
        "the digest of {0} is wrong: the two nodes have different cookies; compare the cookie of the \
             accepting node with that of the route or node that dials"
    )]
    WrongDigest(Proof),
    /// The digest over the certificate does not fit the certificate that the
    /// TLS link showed.
    #[error(
        "the peer did not prove the certificate of this TLS link; something between the nodes ends TLS with \
         a certificate of its own, or the peer serves several"
    )]
    WrongCertificate,
    /// The peer has our own name.
    #[error("the peer calls itself {0}, which is the name of this node; node names must differ")]
    SameName(Atom),
    /// Another node answered than the one that was dialed.
    #[error("{got} answered where {expected} was expected; check host and port of the route")]
    WrongName {
        /// The node that was to be reached.
        expected: Atom,
        /// The node that answered.
        got: Atom,
    },
    /// The peer's name is not `name@host`.
    #[error("the peer calls itself {0:?}, which is not of the form name@host")]
    InvalidName(Atom),
    /// The peer announced creation 0, which would make its process ids
    /// those of no incarnation.
    #[error("{0} announces creation 0; its clock may stand at 1970")]
    ZeroCreation(Atom),
    /// The peer refused in words (3.3.0, `docs/wire/EHS.md` section 11).
    #[error(
        "the peer refuses: {reason:?}; `busy` means that it has as many handshakes or connections as it takes"
    )]
    PeerRejected {
        /// What the peer said, at most 255 bytes of it.
        reason: String,
    },
    /// The link ended before the handshake did.
    #[error("the link ended while {0}{hint}", hint = .0.hint_at_end())]
    Closed(Stage),
    /// The machine was used after its end, or asked for something that is not
    /// its turn. An error of the caller.
    #[error("the handshake was driven on while {0}")]
    OutOfTurn(Stage),
}

impl Stage {
    /// What an operator should know about a link that ends at this stage: who
    /// refuses says nothing.
    fn hint_at_end(self) -> &'static str {
        match self {
            Self::Hello => "; a node closes without a word if the cookies differ: its log says why",
            Self::Accept | Self::Introduce => {
                "; a node closes without a word if the names of the nodes are equal, the cookies differ, or it demands \
                 more of whoever has this name, such as a certificate: its log says why"
            }
            Self::Join => "; the peer may not know the connection any more",
            _ => "",
        }
    }
}
