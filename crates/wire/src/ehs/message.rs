//! The messages of the handshake and their frame (`docs/wire/EHS.md`
//! sections 2, 3 and 11).

use std::borrow::Cow;
use std::fmt;

use super::digest::Digest;
use super::error::{HandshakeError, Stage};
use super::introduction::Introduction;
use crate::body::{BodyError, Fields, Writer};

const MAGIC: u8 = 87;
const VERSION: u8 = 1;
const HEADER: usize = 6;

/// The longest body of a Hello, Join, Accept or Reject that is taken, and the
/// longest of any message that is sent: v3.2.0 refuses more.
pub const MAX_CONTROL: u32 = 65_535;

/// The longest body of an Introduce that is taken; 3.3.0 sends that much.
pub const MAX_INTRODUCE: u32 = 256 * 1024;

/// Which message of the handshake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Opens a handshake, and answers that.
    Hello,
    /// Opens a further link of a connection.
    Join,
    /// Names a node and its tables.
    Introduce,
    /// Agrees.
    Accept,
    /// Refuses (3.3.0).
    Reject,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Hello, Self::Join, Self::Introduce, Self::Accept, Self::Reject];

    const fn type_name(self) -> &'static str {
        match self {
            Self::Hello => "#ergo.services/ergo/net/handshake/MessageHello",
            Self::Join => "#ergo.services/ergo/net/handshake/MessageJoin",
            Self::Introduce => "#ergo.services/ergo/net/handshake/MessageIntroduce",
            Self::Accept => "#ergo.services/ergo/net/handshake/MessageAccept",
            Self::Reject => "#ergo.services/ergo/net/handshake/MessageReject",
        }
    }

    fn of(type_name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_name().as_bytes() == type_name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "a Hello",
            Self::Join => "a Join",
            Self::Introduce => "an Introduce",
            Self::Accept => "an Accept",
            Self::Reject => "a Reject",
        })
    }
}

/// A message that arrived, its texts still where they were read. An Introduce
/// is kept as the fields it has, because its digest comes last.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    Hello(Hello<'a>),
    Join(Join<'a>),
    Introduce(Fields<'a>),
    Accept(Accept<'a>),
    Reject { reason: Cow<'a, str> },
}

#[derive(Debug)]
pub(super) struct Hello<'a> {
    pub(super) salt: Cow<'a, str>,
    pub(super) digest: Cow<'a, str>,
    pub(super) certificate: Cow<'a, str>,
}

#[derive(Debug)]
pub(super) struct Join<'a> {
    pub(super) node: &'a str,
    pub(super) connection_id: Cow<'a, str>,
    pub(super) salt: Cow<'a, str>,
    pub(super) digest: Cow<'a, str>,
}

#[derive(Debug)]
pub(super) struct Accept<'a> {
    pub(super) connection_id: Cow<'a, str>,
    pub(super) pool_size: i64,
    pub(super) dsn: Vec<Cow<'a, str>>,
    pub(super) digest: Cow<'a, str>,
    pub(super) certificate: Cow<'a, str>,
}

impl<'a> Incoming<'a> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Join(_) => Kind::Join,
            Self::Introduce(_) => Kind::Introduce,
            Self::Accept(_) => Kind::Accept,
            Self::Reject { .. } => Kind::Reject,
        }
    }

    /// Reads a message that must take up the whole body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let (name, mut fields) = Fields::of_registered(body)?;
        let incoming = match Kind::of(name).ok_or(BodyError::UnknownType)? {
            Kind::Hello => Self::Hello(Hello {
                salt: fields.text()?,
                digest: fields.text()?,
                certificate: fields.text()?,
            }),
            Kind::Join => Self::Join(Join {
                node: fields.atom_text()?,
                connection_id: fields.text()?,
                salt: fields.text()?,
                digest: fields.text()?,
            }),
            Kind::Introduce => return Ok(Self::Introduce(fields)),
            Kind::Accept => Self::Accept(Accept {
                connection_id: fields.text()?,
                pool_size: fields.i64()?,
                dsn: (0..fields.slice(2)?).map(|_| fields.text()).collect::<Result<_, _>>()?,
                digest: fields.text()?,
                certificate: fields.text()?,
            }),
            Kind::Reject => Self::Reject { reason: fields.text()? },
        };
        fields.end()?;
        Ok(incoming)
    }
}

/// A message to send.
pub(super) enum Outgoing<'a> {
    Hello { salt: &'a str, digest: &'a Digest, certificate: Option<&'a Digest> },
    Join { node: &'a str, connection_id: &'a str, salt: &'a str, digest: &'a Digest },
    Introduce { introduction: &'a Introduction, digest: Option<&'a Digest> },
    Accept { connection_id: &'a str, pool_size: u16, dsn: &'a [String] },
    JoinReply { digest: &'a Digest, certificate: Option<&'a Digest> },
    Reject { reason: &'a str },
}

impl Outgoing<'_> {
    /// Appends the message in its frame.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[MAGIC, VERSION, 0, 0, 0, 0]);
        let mut body = Writer::of_registered(out, self.kind().type_name());
        match *self {
            Self::Hello { salt, digest, certificate } => {
                body.text(salt);
                body.text(digest.as_str());
                body.text(certificate.map_or("", Digest::as_str));
            }
            Self::Join { node, connection_id, salt, digest } => {
                body.text(node);
                body.text(connection_id);
                body.text(salt);
                body.text(digest.as_str());
            }
            Self::Introduce { introduction, digest } => {
                introduction.write(&mut body, digest.map_or("", Digest::as_str));
            }
            Self::Accept { connection_id, pool_size, dsn } => {
                body.text(connection_id);
                body.i64(i64::from(pool_size));
                body.slice(dsn.len());
                dsn.iter().for_each(|address| body.text(address));
                body.text("");
                body.text("");
            }
            Self::JoinReply { digest, certificate } => {
                body.text("");
                body.i64(0);
                body.slice(0);
                body.text(digest.as_str());
                body.text(certificate.map_or("", Digest::as_str));
            }
            Self::Reject { reason } => body.text(reason),
        }
        let len = (out.len() - start - HEADER) as u32;
        out[start + 2..start + HEADER].copy_from_slice(&len.to_be_bytes());
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Hello { .. } => Kind::Hello,
            Self::Join { .. } => Kind::Join,
            Self::Introduce { .. } => Kind::Introduce,
            Self::Accept { .. } | Self::JoinReply { .. } => Kind::Accept,
            Self::Reject { .. } => Kind::Reject,
        }
    }
}

/// Bytes that arrived, cut into messages.
///
/// A message is refused as soon as its header is: by its first byte, its
/// second, or its announced length. So no more than one message of the length
/// allowed at a stage is ever kept.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How many bytes at the front belong to messages that were read.
    read: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message. Reading fails if it is not what may arrive at
    /// this stage, which a Reject in place of an answer always may.
    pub(super) fn next(&mut self, stage: Stage) -> Result<Option<Incoming<'_>>, HandshakeError> {
        let rest = &self.bytes[self.read..];
        let limit = if stage == Stage::Introduce { MAX_INTRODUCE } else { MAX_CONTROL };
        match *rest {
            [got, ..] if got != MAGIC => return Err(HandshakeError::WrongMagic { stage, got }),
            [_, got, ..] if got != VERSION => return Err(HandshakeError::WrongVersion { stage, got }),
            _ => {}
        }
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [_, _, len @ ..] = *header;
        let announced = u32::from_be_bytes(len);
        if announced > limit {
            return Err(HandshakeError::TooLong { stage, announced, limit });
        }
        let Some(body) = rest.get(..announced as usize) else { return Ok(None) };
        self.read += HEADER + body.len();
        Incoming::read(body).map(Some).map_err(|source| HandshakeError::Malformed { stage, source })
    }

    /// What followed the last message: it belongs to ENP.
    pub(super) fn into_tail(mut self) -> Vec<u8> {
        self.bytes.drain(..self.read);
        self.bytes
    }
}
