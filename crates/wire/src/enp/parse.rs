//! Reading frames (`docs/wire/ENP.md` sections 2 and 13).

use super::frame::{Code, Delivery, Frame, Head, Method, Name, Priority, Subject, Target};
use super::kind;
use super::split::HEADER_LEN;
use crate::tunnel::Refusal;

/// Why a frame is dropped. The link lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame ends before the fields of its type do, or before the payload
    /// that its type has.
    #[error("a frame of type {kind} with {len} bytes is {missing} bytes too short for its fields")]
    TooShort {
        /// The type of the frame.
        kind: u8,
        /// The length of the frame.
        len: usize,
        /// How many bytes are missing, at least.
        missing: usize,
    },
    /// A ResponseError or an Ack has a code without meaning.
    #[error("an answer with the unknown error code {0}")]
    UnknownCode(u8),
    /// A compressed frame is packed in an unknown way.
    #[error("a compressed frame with the unknown method {0}")]
    UnknownMethod(u8),
}

impl<'a> Frame<'a> {
    /// Reads a whole frame, as [`split`](super::split) cut it.
    ///
    /// # Errors
    /// The frame is to be dropped; the link lives on.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, FrameError> {
        let mut body = Body::of(frame)?;
        let b = &mut body;
        let head = match b.kind {
            kind::MESSAGE_PID | kind::MESSAGE_NAME | kind::MESSAGE_NAME_CACHE | kind::MESSAGE_ALIAS => {
                Head::Message {
                    from: b.u64()?,
                    delivery: b.delivery()?,
                    message_id: b.u64()?,
                    to: b.target(kind::MESSAGE_PID)?,
                }
            }
            kind::REQUEST_PID | kind::REQUEST_NAME | kind::REQUEST_NAME_CACHE | kind::REQUEST_ALIAS => {
                Head::Request {
                    from: b.u64()?,
                    delivery: b.delivery()?,
                    reference: b.ids()?,
                    to: b.target(kind::REQUEST_PID)?,
                }
            }
            kind::RESPONSE => {
                Head::Response { from: b.u64()?, delivery: b.delivery()?, to: b.u64()?, reference: b.ids()? }
            }
            kind::RESPONSE_ERROR => Head::ResponseError {
                from: b.u64()?,
                delivery: b.delivery()?,
                to: b.u64()?,
                reference: b.ids()?,
                code: b.code()?,
            },
            kind::ACK => {
                let from = b.u64()?;
                b.u8()?;
                Head::Ack { from, to: b.u64()?, reference: b.ids()?, code: b.code()? }
            }
            kind::EVENT | kind::EVENT_CACHE => Head::Event {
                from: b.u64()?,
                priority: Priority::from_bits(b.u8()?),
                timestamp: b.u64()? as i64,
                name: b.name(b.kind == kind::EVENT_CACHE)?,
            },
            kind::EXIT => {
                let from = b.u64()?;
                b.u8()?;
                Head::Exit { from, to: b.u64()? }
            }
            kind::TERMINATE_PID..=kind::TERMINATE_EVENT_CACHE => {
                b.u8()?;
                let subject = match b.kind {
                    kind::TERMINATE_PID => Subject::Pid(b.u64()?),
                    kind::TERMINATE_NAME => Subject::Name(b.name(false)?),
                    kind::TERMINATE_NAME_CACHE => Subject::Name(b.name(true)?),
                    kind::TERMINATE_ALIAS => Subject::Alias(b.ids()?),
                    kind::TERMINATE_EVENT => Subject::Event(b.name(false)?),
                    _ => Subject::Event(b.name(true)?),
                };
                Head::Terminate { subject }
            }
            kind::ANY => Head::Any,
            kind::COMPRESSED => Head::Compressed {
                method: b
                    .u8()
                    .and_then(|byte| Method::from_byte(byte).ok_or(FrameError::UnknownMethod(byte)))?,
                unpacked_len: b.u32()?,
            },
            kind::EXTEND => Head::Extend,
            kind::FRAGMENT => Head::Fragment { sequence: b.u32()?, index: b.u16()?, total: b.u16()? },
            kind::TRACED => Head::Traced { trace: [b.u64()?, b.u64()?], span: b.u64()? },
            kind::KEEPALIVE => Head::Keepalive,
            kind::CLOCK_SKEW => Head::ClockSkew {
                sent: b.u64()? as i64,
                received: b.u64()? as i64,
                answered: b.u64()? as i64,
            },
            kind::SUMMON => Head::Summon { token: [b.u64()?, b.u64()?] },
            kind::DECLINE => {
                Head::Decline { token: [b.u64()?, b.u64()?], reason: Refusal::from_code(b.u8()?) }
            }
            unknown => Head::Unknown(unknown),
        };
        body.need(head.least_payload())?;
        Ok(Self { order: frame[HEADER_LEN - 2], head, payload: body.rest })
    }
}

impl Head<'_> {
    /// How many bytes must follow the head at least: an EDF value has a tag, an
    /// error value a tag and a length, a frame a header.
    const fn least_payload(&self) -> usize {
        const VALUE: usize = 1;
        const ERROR: usize = 3;
        match self {
            Self::Message { .. }
            | Self::Request { .. }
            | Self::Response { .. }
            | Self::Event { .. }
            | Self::Any
            | Self::Fragment { .. }
            | Self::Compressed { .. } => VALUE,
            Self::Exit { .. }
            | Self::Terminate { .. }
            | Self::ResponseError { code: Code::Error, .. }
            | Self::Ack { code: Code::Error, .. } => ERROR,
            Self::Traced { .. } => HEADER_LEN,
            Self::ResponseError { .. }
            | Self::Ack { .. }
            | Self::Extend
            | Self::Keepalive
            | Self::ClockSkew { .. }
            | Self::Summon { .. }
            | Self::Decline { .. }
            | Self::Unknown(_) => 0,
        }
    }
}

struct Body<'a> {
    kind: u8,
    len: usize,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    #[inline]
    fn of(frame: &'a [u8]) -> Result<Self, FrameError> {
        let Some((header, rest)) = frame.split_first_chunk::<HEADER_LEN>() else {
            return Err(FrameError::TooShort {
                kind: 0,
                len: frame.len(),
                missing: HEADER_LEN - frame.len(),
            });
        };
        Ok(Self { kind: header[HEADER_LEN - 1], len: frame.len(), rest })
    }

    #[inline]
    fn need(&self, len: usize) -> Result<(), FrameError> {
        match len.checked_sub(self.rest.len()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(FrameError::TooShort { kind: self.kind, len: self.len, missing }),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        match self.rest.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => {
                Err(FrameError::TooShort { kind: self.kind, len: self.len, missing: N - self.rest.len() })
            }
        }
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    fn ids(&mut self) -> Result<[u64; 3], FrameError> {
        Ok([self.u64()?, self.u64()?, self.u64()?])
    }

    #[inline]
    fn delivery(&mut self) -> Result<Delivery, FrameError> {
        self.u8().map(Delivery::from_byte)
    }

    fn code(&mut self) -> Result<Code, FrameError> {
        let byte = self.u8()?;
        Code::from_byte(byte).ok_or(FrameError::UnknownCode(byte))
    }

    #[inline]
    fn name(&mut self, cached: bool) -> Result<Name<'a>, FrameError> {
        if cached {
            return self.u16().map(Name::Cached);
        }
        let len = usize::from(self.u8()?);
        self.need(len)?;
        let (name, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(Name::Inline(name))
    }

    /// Four types in a row differ by their kind of target, from `first` on.
    #[inline]
    fn target(&mut self, first: u8) -> Result<Target<'a>, FrameError> {
        match self.kind - first {
            0 => self.u64().map(Target::Pid),
            1 => self.name(false).map(Target::Name),
            2 => self.name(true).map(Target::Name),
            _ => self.ids().map(Target::Alias),
        }
    }
}
