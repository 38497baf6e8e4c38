//! The messages of the negotiation and their frame
//! (`docs/wire/TUNNEL.md` sections 2 and 5).

use std::fmt;

use postroad_edf::Atom;

use super::error::{NegotiationError, Refusal, Stage};
use super::proof::Proof;
use super::{MAGIC, MAX_BODY, MAX_PATH, Nonce, Operations, Token, VERSION};
use crate::body::{BodyError, Fields, Writer};

const HEADER: usize = 5;

/// Which message of the negotiation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Says which connection the stream belongs to.
    Knock,
    /// Demands a proof.
    Challenge,
    /// Proves the side that dialed.
    Proof,
    /// Proves the side that was dialed.
    Welcome,
    /// Asks a gateway for a tunnel.
    Open,
    /// Tells a target who comes.
    Arrival,
    /// Agrees.
    Opened,
    /// Refuses.
    Refused,
}

impl Kind {
    const ALL: [(u8, Self); 8] = [
        (1, Self::Knock),
        (2, Self::Challenge),
        (3, Self::Proof),
        (4, Self::Welcome),
        (5, Self::Open),
        (6, Self::Arrival),
        (7, Self::Opened),
        (8, Self::Refused),
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == byte).map(|(_, kind)| kind)
    }

    fn to_byte(self) -> u8 {
        Self::ALL.into_iter().find(|(_, kind)| *kind == self).map_or(0, |(byte, _)| byte)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What is asked on a stream whose ends have proved themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// A gateway is asked for a tunnel.
    Open(Open),
    /// A target is told who comes.
    Arrival {
        /// What may be done, as far as the way there goes.
        operations: Operations,
        /// The client first, then the gateways; the last one speaks.
        path: Vec<Atom>,
    },
}

/// What is wanted of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The node to be reached.
    pub target: Atom,
    /// Through how many nodes the way may lead from here on, the one that is
    /// asked included. 0 is refused.
    pub hops: u8,
    /// What is wanted.
    pub operations: Operations,
    /// How long the asker waits for an answer, in milliseconds.
    pub patience: u32,
    /// The client first, then the gateways so far; the last one asks.
    pub path: Vec<Atom>,
}

/// What came of a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The stream belongs to the two ends from here on.
    Opened {
        /// What may be done: what all on the way allow.
        operations: Operations,
        /// All nodes on the way, both ends included.
        path: Vec<Atom>,
    },
    /// There is no tunnel; the stream is closed.
    Refused {
        /// The node that refused.
        hop: Atom,
        /// Why.
        reason: Refusal,
    },
}

/// The conversation after both sides have proved themselves: a request and an
/// answer, or the other way round.
#[derive(Debug)]
pub struct Talk {
    inbox: Inbox,
    over: bool,
}

impl Talk {
    /// `inbox` has what the peer has said already.
    pub(super) fn new(inbox: Inbox) -> Self {
        Self { inbox: Inbox { may_go_on: false, ..inbox }, over: false }
    }

    /// The bytes of a request to send; then its answer is waited for by
    /// [`answer`](Self::answer).
    pub fn ask(&self, request: &Request) -> Vec<u8> {
        Message::from(request).to_bytes()
    }

    /// The bytes of an answer to send.
    pub fn reply(&self, answer: &Answer) -> Vec<u8> {
        Message::from(answer).to_bytes()
    }

    /// Takes bytes that arrived, until they are a request. Begin with none: the
    /// peer may have asked already.
    ///
    /// # Errors
    /// Whatever is wrong with it; the stream is to be closed.
    pub fn request(&mut self, bytes: &[u8]) -> Result<Option<Request>, NegotiationError> {
        Ok(match self.next(bytes, Stage::Request)? {
            None => None,
            Some(Message::Open(open)) => Some(Request::Open(open)),
            Some(Message::Arrival { operations, path }) => Some(Request::Arrival { operations, path }),
            Some(other) => {
                return Err(NegotiationError::Unexpected { stage: Stage::Request, got: other.kind() });
            }
        })
    }

    /// Takes bytes that arrived, until they are an answer. Begin with none, and read
    /// no more at once than it [wants](Self::wants): what is behind an answer that
    /// agrees is not for who asked here, but for the end of the tunnel.
    ///
    /// # Errors
    /// Whatever is wrong with it; the stream is to be closed.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>, NegotiationError> {
        Ok(match self.next(bytes, Stage::Answer)? {
            None => None,
            Some(Message::Opened { operations, path }) => Some(Answer::Opened { operations, path }),
            Some(Message::Refused { hop, reason }) => Some(Answer::Refused { hop, reason }),
            Some(other) => {
                return Err(NegotiationError::Unexpected { stage: Stage::Answer, got: other.kind() });
            }
        })
    }

    /// How many bytes the message that is waited for takes at least.
    pub fn wants(&self) -> usize {
        self.inbox.wants()
    }

    fn next(&mut self, bytes: &[u8], stage: Stage) -> Result<Option<Message>, NegotiationError> {
        if self.over {
            return Err(NegotiationError::OutOfTurn(Stage::Over));
        }
        let outcome = self.inbox.receive(bytes, stage);
        self.over = !matches!(outcome, Ok(None));
        outcome
    }
}

/// A message, whichever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Knock { node: Atom, connection_id: String, token: Option<Token>, nonce: Nonce },
    Challenge { nonce: Nonce },
    Proof { proof: Proof },
    Welcome { proof: Proof, certificate: Option<Proof> },
    Open(Open),
    Arrival { operations: Operations, path: Vec<Atom> },
    Opened { operations: Operations, path: Vec<Atom> },
    Refused { hop: Atom, reason: Refusal },
}

impl Message {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Knock { .. } => Kind::Knock,
            Self::Challenge { .. } => Kind::Challenge,
            Self::Proof { .. } => Kind::Proof,
            Self::Welcome { .. } => Kind::Welcome,
            Self::Open(_) => Kind::Open,
            Self::Arrival { .. } => Kind::Arrival,
            Self::Opened { .. } => Kind::Opened,
            Self::Refused { .. } => Kind::Refused,
        }
    }

    /// The message in its frame.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![MAGIC, VERSION, self.kind().to_byte(), 0, 0];
        let mut out = Writer::new(&mut bytes);
        match self {
            Self::Knock { node, connection_id, token, nonce } => {
                out.bytes(nonce);
                out.text(node.as_str());
                out.text(connection_id);
                optional(&mut out, token.as_ref().map(|token| &token[..]));
            }
            Self::Challenge { nonce } => out.bytes(nonce),
            Self::Proof { proof } => out.bytes(proof),
            Self::Welcome { proof, certificate } => {
                out.bytes(proof);
                optional(&mut out, certificate.as_ref().map(|proof| &proof[..]));
            }
            Self::Open(Open { target, hops, operations, patience, path }) => {
                out.text(target.as_str());
                out.u8(*hops);
                out.u16(operations.bits());
                out.u32(*patience);
                write_path(&mut out, path);
            }
            Self::Arrival { operations, path } | Self::Opened { operations, path } => {
                out.u16(operations.bits());
                write_path(&mut out, path);
            }
            Self::Refused { hop, reason } => {
                out.text(hop.as_str());
                out.u8(reason.code());
            }
        }
        let len = (bytes.len() - HEADER) as u16;
        bytes[3..HEADER].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    fn read(kind: Kind, stage: Stage, body: &[u8]) -> Result<Self, NegotiationError> {
        let mut fields = Fields::new(body);
        let message = Self::read_fields(kind, stage, &mut fields)?;
        fields.end().map_err(|source| NegotiationError::Malformed { stage, source })?;
        Ok(message)
    }

    fn read_fields(kind: Kind, stage: Stage, fields: &mut Fields<'_>) -> Result<Self, NegotiationError> {
        let malformed = |source| NegotiationError::Malformed { stage, source };
        Ok(match kind {
            Kind::Knock => Self::read_knock(fields).map_err(malformed)?,
            Kind::Challenge => Self::Challenge { nonce: array(fields).map_err(malformed)? },
            Kind::Proof => Self::Proof { proof: array(fields).map_err(malformed)? },
            Kind::Welcome => Self::Welcome {
                proof: array(fields).map_err(malformed)?,
                certificate: read_optional(fields).map_err(malformed)?,
            },
            Kind::Open => Self::Open(Open {
                target: atom(fields).map_err(malformed)?,
                hops: fields.u8().map_err(malformed)?,
                operations: Operations::from_bits(fields.u16().map_err(malformed)?),
                patience: fields.u32().map_err(malformed)?,
                path: read_path(fields, stage)?,
            }),
            Kind::Arrival => Self::Arrival {
                operations: Operations::from_bits(fields.u16().map_err(malformed)?),
                path: read_path(fields, stage)?,
            },
            Kind::Opened => Self::Opened {
                operations: Operations::from_bits(fields.u16().map_err(malformed)?),
                path: read_path(fields, stage)?,
            },
            Kind::Refused => Self::Refused {
                hop: atom(fields).map_err(malformed)?,
                reason: Refusal::from_code(fields.u8().map_err(malformed)?),
            },
        })
    }

    /// A stranger may have sent it. So a name that nobody here has is not kept:
    /// whoever is connected has been heard of.
    fn read_knock(fields: &mut Fields<'_>) -> Result<Self, BodyError> {
        let nonce = array(fields)?;
        let node = Atom::existing(fields.atom_text()?).unwrap_or_else(Atom::empty);
        let connection_id = fields.text()?.into_owned();
        Ok(Self::Knock { node, connection_id, token: read_optional(fields)?, nonce })
    }
}

impl From<&Request> for Message {
    fn from(request: &Request) -> Self {
        match request.clone() {
            Request::Open(open) => Self::Open(open),
            Request::Arrival { operations, path } => Self::Arrival { operations, path },
        }
    }
}

impl From<&Answer> for Message {
    fn from(answer: &Answer) -> Self {
        match answer.clone() {
            Answer::Opened { operations, path } => Self::Opened { operations, path },
            Answer::Refused { hop, reason } => Self::Refused { hop, reason },
        }
    }
}

fn array<const N: usize>(fields: &mut Fields<'_>) -> Result<[u8; N], BodyError> {
    let taken = fields.take(N)?;
    taken.try_into().map_err(|_| BodyError::EndOfData { missing: N })
}

fn optional(out: &mut Writer<'_>, bytes: Option<&[u8]>) {
    out.bool(bytes.is_some());
    out.bytes(bytes.unwrap_or_default());
}

fn read_optional<const N: usize>(fields: &mut Fields<'_>) -> Result<Option<[u8; N]>, BodyError> {
    match fields.u8()? {
        0 => Ok(None),
        1 => array(fields).map(Some),
        other => Err(BodyError::OutOfRange(other.into())),
    }
}

fn atom(fields: &mut Fields<'_>) -> Result<Atom, BodyError> {
    Ok(Atom::from_peer(fields.atom_text()?)?)
}

fn write_path(out: &mut Writer<'_>, path: &[Atom]) {
    let path = &path[..path.len().min(MAX_PATH)];
    out.u8(path.len() as u8);
    path.iter().for_each(|node| out.text(node.as_str()));
}

fn read_path(fields: &mut Fields<'_>, stage: Stage) -> Result<Vec<Atom>, NegotiationError> {
    let malformed = |source| NegotiationError::Malformed { stage, source };
    let len = fields.u8().map_err(malformed)?;
    if usize::from(len) > MAX_PATH {
        return Err(NegotiationError::PathTooLong { stage, len });
    }
    (0..len).map(|_| atom(fields).map_err(malformed)).collect()
}

/// Bytes that arrived, until they are one message. It is refused as soon as its
/// header is.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Whether the next message may follow at once.
    pub(super) may_go_on: bool,
}

impl Inbox {
    /// How many bytes are missing: for the header, or for the rest of the message.
    fn wants(&self) -> usize {
        match self.bytes.split_first_chunk::<HEADER>() {
            None => HEADER - self.bytes.len(),
            Some(([_, _, _, len @ ..], body)) => {
                usize::from(u16::from_be_bytes(*len)).saturating_sub(body.len())
            }
        }
    }

    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        stage: Stage,
    ) -> Result<Option<Message>, NegotiationError> {
        self.bytes.extend_from_slice(bytes);
        match *self.bytes {
            [got, ..] if got != MAGIC => return Err(NegotiationError::WrongMagic { stage, got }),
            [_, got, ..] if got != VERSION => return Err(NegotiationError::WrongVersion { stage, got }),
            _ => {}
        }
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [_, _, kind, len @ ..] = *header;
        let got = Kind::from_byte(kind).ok_or(NegotiationError::UnknownKind { stage, got: kind })?;
        let announced = u16::from_be_bytes(len);
        if announced > MAX_BODY {
            return Err(NegotiationError::TooLong { stage, announced });
        }
        if !stage.takes(got) {
            return Err(NegotiationError::Unexpected { stage, got });
        }
        let Some((body, behind)) = rest.split_at_checked(usize::from(announced)) else { return Ok(None) };
        if !behind.is_empty() && !self.may_go_on {
            return Err(NegotiationError::SpokeAhead { stage, bytes: behind.len() });
        }
        let message = Message::read(got, stage, body)?;
        self.bytes.drain(..HEADER + usize::from(announced));
        Ok(Some(message))
    }
}

impl Stage {
    /// Nothing else is even read: what a stranger says is not interned.
    fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Knock => kind == Kind::Knock,
            Self::Challenge => kind == Kind::Challenge,
            Self::Proof => kind == Kind::Proof,
            Self::Welcome => matches!(kind, Kind::Welcome | Kind::Refused),
            Self::Request => matches!(kind, Kind::Open | Kind::Arrival),
            Self::Answer => matches!(kind, Kind::Opened | Kind::Refused),
            Self::Over => false,
        }
    }
}
