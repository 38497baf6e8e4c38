//! What a frame says (`docs/wire/ENP.md` sections 1, 2, 5, 6 and 15).

use crate::tunnel::Refusal;

/// A frame: its head, and the bytes behind that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Frames with the same order byte other than 0 are handled in the order in
    /// which they arrive on their link (`docs/wire/ENP.md` section 3).
    pub order: u8,
    /// What kind of frame it is, with the fields of that kind.
    pub head: Head<'a>,
    /// What follows the head: an EDF value with its type, unless
    /// [`Head`] says otherwise.
    pub payload: &'a [u8],
}

/// The kinds of frames and their fields.
///
/// Identities come without node and creation: these are implied by the link
/// (`docs/wire/ENP.md` section 2 "What is implied by the link").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Head<'a> {
    /// 101..104: a message to a process of the receiver.
    Message {
        /// The sending process, of the peer.
        from: u64,
        /// Lane, and whether an acknowledgement is asked for.
        delivery: Delivery,
        /// Of an important message: the first id of the reference that its
        /// acknowledgement brings back. Of others nothing: write 0, and expect
        /// garbage from v3.2.0.
        message_id: u64,
        /// The receiver.
        to: Target<'a>,
    },
    /// 105, 106: an event of the peer was published.
    Event {
        /// The publishing process.
        from: u64,
        /// Lane.
        priority: Priority,
        /// When it was published, in Unix nanoseconds.
        timestamp: i64,
        /// The name of the event.
        name: Name<'a>,
    },
    /// 107: an exit signal; the payload is an error value.
    Exit {
        /// The sending process, of the peer.
        from: u64,
        /// The receiver.
        to: u64,
    },
    /// 121..124: a request that wants one answer.
    Request {
        /// The calling process, of the peer.
        from: u64,
        /// Lane, and whether a failed delivery is to be reported.
        delivery: Delivery,
        /// The ids of the caller's reference; the last one is its deadline in
        /// Unix seconds.
        reference: [u64; 3],
        /// The receiver.
        to: Target<'a>,
    },
    /// 129: the answer to a request.
    Response {
        /// The answering process, of the peer.
        from: u64,
        /// Lane, and whether an acknowledgement is asked for.
        delivery: Delivery,
        /// The caller, a process of the receiver.
        to: u64,
        /// The ids of the request's reference.
        reference: [u64; 3],
    },
    /// 130: a failed answer, or an acknowledgement. The payload is an error
    /// value with [`Code::Error`], otherwise nothing.
    ResponseError {
        /// The answering process, of the peer; 0 if there is none.
        from: u64,
        /// Lane, and whether an acknowledgement is asked for.
        delivery: Delivery,
        /// The caller or sender, a process of the receiver.
        to: u64,
        /// The ids of the request's reference, or the message id and zeros.
        reference: [u64; 3],
        /// What happened.
        code: Code,
    },
    /// 131: an acknowledgement, for peers that announce
    /// [`NetworkFlags::ACK`](crate::NetworkFlags::ACK). Laid out as
    /// [`Head::ResponseError`].
    Ack {
        /// The addressed process, of the peer; 0 if there is none.
        from: u64,
        /// The sender of the message, a process of the receiver.
        to: u64,
        /// The message id and zeros, or the ids of a reference.
        reference: [u64; 3],
        /// What happened.
        code: Code,
    },
    /// 181..186: something of the peer's has ended; the payload is an error
    /// value, the reason.
    Terminate {
        /// What has ended.
        subject: Subject<'a>,
    },
    /// 199: the payload is an [`AnyMessage`](super::any::AnyMessage).
    Any,
    /// 200: the payload is another frame, packed.
    Compressed {
        /// How it is packed.
        method: Method,
        /// The length of the unpacked frame, as announced.
        unpacked_len: u32,
    },
    /// 99: the dialing side is asked to fill the pool. No payload.
    Extend,
    /// 202: the payload is a part of another frame.
    Fragment {
        /// Which frame it belongs to.
        sequence: u32,
        /// Which part of it, from 0.
        index: u16,
        /// Of how many.
        total: u16,
    },
    /// 204: the payload is another frame, under a tracing span.
    Traced {
        /// The trace.
        trace: [u64; 2],
        /// The span.
        span: u64,
    },
    /// 208: a sign of life. No payload.
    Keepalive,
    /// 209: a measurement of clocks, all in Unix nanoseconds. No payload.
    ClockSkew {
        /// When the question was sent, by the asking clock.
        sent: i64,
        /// When it arrived, by the answering clock; 0 in a question.
        received: i64,
        /// When the answer was sent, by the answering clock; 0 in a question.
        answered: i64,
    },
    /// 240, ours, for peers that announce
    /// [`NetworkFlags::TUNNELS`](crate::NetworkFlags::TUNNELS): the side that
    /// dialed the connection is asked to dial one more stream
    /// (`docs/wire/TUNNEL.md` section 7). No payload.
    Summon {
        /// What the stream is to be told from others by.
        token: [u64; 2],
    },
    /// 241, ours: the stream that [`Summon`](Self::Summon) asked for will not
    /// come. No payload.
    Decline {
        /// That of the Summon.
        token: [u64; 2],
        /// Why.
        reason: Refusal,
    },
    /// Any other type: to be ignored. The payload is the whole body.
    Unknown(u8),
}

/// Whom a message or a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The process with this number.
    Pid(u64),
    /// The process that registered this name.
    Name(Name<'a>),
    /// The process that made the alias with these ids.
    Alias([u64; 3]),
}

/// What has ended at the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A process.
    Pid(u64),
    /// A registered name.
    Name(Name<'a>),
    /// An alias.
    Alias([u64; 3]),
    /// An event.
    Event(Name<'a>),
}

/// A name in a frame: not an EDF atom, but mapped like one
/// (`docs/wire/ENP.md` section 2 "Names in frames").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// The name itself, at most 255 bytes; of UTF-8, if the peer is sane.
    Inline(&'a [u8]),
    /// An id from the atom cache of the sender.
    Cached(u16),
}

/// The lane a message takes at its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// The main lane.
    #[default]
    Normal = 0,
    /// The system lane.
    High = 1,
    /// The urgent lane.
    Max = 2,
}

impl Priority {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::High,
            2 => Self::Max,
            _ => Self::Normal,
        }
    }
}

/// The flags byte (`docs/wire/ENP.md` section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Delivery {
    /// The lane.
    pub priority: Priority,
    /// Whether the sender waits to hear what became of it.
    pub important: bool,
}

impl Delivery {
    const IMPORTANT: u8 = 1 << 7;

    pub(super) const fn from_byte(byte: u8) -> Self {
        Self { priority: Priority::from_bits(byte), important: byte & Self::IMPORTANT != 0 }
    }

    pub(super) const fn to_byte(self) -> u8 {
        self.priority as u8 | if self.important { Self::IMPORTANT } else { 0 }
    }
}

/// What a ResponseError says (`docs/wire/ENP.md` section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// No error: delivered, or answered with nil.
    Ok,
    /// There is no such process.
    UnknownProcess,
    /// The mailbox of the process is full.
    MailboxFull,
    /// The process has terminated.
    Terminated,
    /// The payload is an error value.
    Error,
}

impl Code {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Ok,
            1 => Self::UnknownProcess,
            2 => Self::MailboxFull,
            3 => Self::Terminated,
            255 => Self::Error,
            _ => return None,
        })
    }

    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::UnknownProcess => 1,
            Self::MailboxFull => 2,
            Self::Terminated => 3,
            Self::Error => 255,
        }
    }
}

/// How a frame is packed (`docs/wire/ENP.md` section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Method {
    /// LZW with codes of 9 to 12 bits, least significant bit first.
    Lzw = 100,
    /// The zlib format.
    Zlib = 101,
    /// The gzip format.
    #[default]
    Gzip = 102,
}

impl Method {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            100 => Self::Lzw,
            101 => Self::Zlib,
            102 => Self::Gzip,
            _ => return None,
        })
    }
}

/// The order byte for frames that must keep their order with others of the same
/// number: 1..=255 (`docs/wire/ENP.md` section 15, which keeps order for all
/// numbers, unlike section 3).
#[inline]
pub const fn order(id: u64) -> u8 {
    (id % 255 + 1) as u8
}

impl Head<'_> {
    /// The order byte of a frame whose sender keeps the order of what it sends
    /// (`docs/wire/ENP.md` section 3): by receiver where one is known by
    /// number, otherwise by sender. 0, for no order, where none is needed.
    #[inline]
    pub const fn order(&self) -> u8 {
        match *self {
            Self::Message { to: Target::Pid(id), .. }
            | Self::Request { to: Target::Pid(id), .. }
            | Self::Exit { to: id, .. }
            | Self::Response { to: id, .. }
            | Self::ResponseError { to: id, .. }
            | Self::Message { to: Target::Alias([id, ..]), .. }
            | Self::Request { to: Target::Alias([id, ..]), .. }
            | Self::Message { from: id, to: Target::Name(_), .. }
            | Self::Request { from: id, to: Target::Name(_), .. }
            | Self::Event { from: id, .. } => order(id),
            _ => 0,
        }
    }
}
