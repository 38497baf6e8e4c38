//! Writing frames (`docs/wire/ENP.md` sections 1 and 2).

use super::frame::{Delivery, Head, Name, Priority, Subject, Target};
use super::kind;
use super::split::{HEADER_LEN, MAGIC, VERSION};

/// Why a frame was not written. The buffer is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError<E> {
    /// The payload could not be written.
    #[error(transparent)]
    Payload(E),
    /// A name has more than 255 bytes.
    #[error("a name of {0} bytes, at most 255 fit into a frame")]
    NameTooLong(usize),
    /// The frame is longer than its length field can say.
    #[error("a frame of {0} bytes, a frame can have at most 4 GiB")]
    TooLong(usize),
}

/// Appends a frame to `out` and returns its length in bytes. `payload` appends
/// what follows the head.
///
/// The order byte is [`Head::order`], or 0 if the sender does not care. Whether
/// the peer takes a frame of this length is the caller's to check, and to
/// truncate `out` if not.
///
/// # Errors
/// `out` is then as it was.
#[inline]
pub fn write<E>(
    out: &mut Vec<u8>,
    order: u8,
    head: &Head<'_>,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<usize, WriteError<E>> {
    let start = out.len();
    let outcome = append(out, order, head, payload, start);
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

#[inline]
fn append<E>(
    out: &mut Vec<u8>,
    order: u8,
    head: &Head<'_>,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    start: usize,
) -> Result<usize, WriteError<E>> {
    append_head(out, order, head).map_err(WriteError::NameTooLong)?;
    payload(out).map_err(WriteError::Payload)?;
    let written = out.len() - start;
    let len = u32::try_from(written).map_err(|_| WriteError::TooLong(written))?;
    out[start + 2..start + 6].copy_from_slice(&len.to_be_bytes());
    Ok(written)
}

/// Appends a header without its length, and the fields of the head.
#[inline]
fn append_head(out: &mut Vec<u8>, order: u8, head: &Head<'_>) -> Result<(), usize> {
    let mut fields = Fields::new(order);
    match *head {
        Head::Message { from, delivery, message_id, to } => {
            fields.kind(kind::MESSAGE_PID + to.offset());
            fields.u64(from);
            fields.delivery(delivery);
            fields.u64(message_id);
            return fields.finish_with_target(out, to);
        }
        Head::Request { from, delivery, reference, to } => {
            fields.kind(kind::REQUEST_PID + to.offset());
            fields.u64(from);
            fields.delivery(delivery);
            fields.ids(reference);
            return fields.finish_with_target(out, to);
        }
        Head::Response { from, delivery, to, reference } => {
            fields.kind(kind::RESPONSE);
            fields.u64(from);
            fields.delivery(delivery);
            fields.u64(to);
            fields.ids(reference);
        }
        Head::ResponseError { from, delivery, to, reference, code } => {
            fields.kind(kind::RESPONSE_ERROR);
            fields.u64(from);
            fields.delivery(delivery);
            fields.u64(to);
            fields.ids(reference);
            fields.u8(code.to_byte());
        }
        Head::Ack { from, to, reference, code } => {
            fields.kind(kind::ACK);
            fields.u64(from);
            fields.delivery(Delivery::default());
            fields.u64(to);
            fields.ids(reference);
            fields.u8(code.to_byte());
        }
        Head::Event { from, priority, timestamp, name } => {
            fields.kind(if name.is_cached() { kind::EVENT_CACHE } else { kind::EVENT });
            fields.u64(from);
            fields.u8(priority as u8);
            fields.u64(timestamp as u64);
            return fields.finish_with_name(out, name);
        }
        Head::Exit { from, to } => {
            fields.kind(kind::EXIT);
            fields.u64(from);
            fields.u8(Priority::Max as u8);
            fields.u64(to);
        }
        Head::Terminate { subject } => {
            fields.kind(subject.kind());
            fields.u8(Priority::High as u8);
            match subject {
                Subject::Pid(id) => fields.u64(id),
                Subject::Alias(ids) => fields.ids(ids),
                Subject::Name(name) | Subject::Event(name) => return fields.finish_with_name(out, name),
            }
        }
        Head::Any => fields.kind(kind::ANY),
        Head::Compressed { method, unpacked_len } => {
            fields.kind(kind::COMPRESSED);
            fields.u8(method as u8);
            fields.bytes(unpacked_len.to_be_bytes());
        }
        Head::Extend => fields.kind(kind::EXTEND),
        Head::Fragment { sequence, index, total } => {
            fields.kind(kind::FRAGMENT);
            fields.bytes(sequence.to_be_bytes());
            fields.bytes(index.to_be_bytes());
            fields.bytes(total.to_be_bytes());
        }
        Head::Traced { trace: [high, low], span } => {
            fields.kind(kind::TRACED);
            fields.ids([high, low, span]);
        }
        Head::Keepalive => fields.kind(kind::KEEPALIVE),
        Head::ClockSkew { sent, received, answered } => {
            fields.kind(kind::CLOCK_SKEW);
            fields.ids([sent as u64, received as u64, answered as u64]);
        }
        Head::Summon { token: [high, low] } => {
            fields.kind(kind::SUMMON);
            fields.u64(high);
            fields.u64(low);
        }
        Head::Decline { token: [high, low], reason } => {
            fields.kind(kind::DECLINE);
            fields.u64(high);
            fields.u64(low);
            fields.bytes([reason.code()]);
        }
        Head::Unknown(unknown) => fields.kind(unknown),
    }
    fields.finish(out);
    Ok(())
}

impl Target<'_> {
    /// The four types of a row, by kind of target.
    #[inline]
    const fn offset(&self) -> u8 {
        match self {
            Self::Pid(_) => 0,
            Self::Name(Name::Inline(_)) => 1,
            Self::Name(Name::Cached(_)) => 2,
            Self::Alias(_) => 3,
        }
    }
}

impl Subject<'_> {
    const fn kind(&self) -> u8 {
        match self {
            Self::Pid(_) => kind::TERMINATE_PID,
            Self::Name(Name::Inline(_)) => kind::TERMINATE_NAME,
            Self::Name(Name::Cached(_)) => kind::TERMINATE_NAME_CACHE,
            Self::Alias(_) => kind::TERMINATE_ALIAS,
            Self::Event(Name::Inline(_)) => kind::TERMINATE_EVENT,
            Self::Event(Name::Cached(_)) => kind::TERMINATE_EVENT_CACHE,
        }
    }
}

impl Name<'_> {
    const fn is_cached(&self) -> bool {
        matches!(self, Self::Cached(_))
    }
}

/// The longest head: a request to an alias.
const MAX_HEAD: usize = HEADER_LEN + 8 + 1 + 24 + 24;

/// A head, put together on the stack so that it goes into the buffer at once.
struct Fields {
    bytes: [u8; MAX_HEAD],
    len: usize,
}

impl Fields {
    #[inline(always)]
    fn new(order: u8) -> Self {
        let mut bytes = [0; MAX_HEAD];
        bytes[0] = MAGIC;
        bytes[1] = VERSION;
        bytes[HEADER_LEN - 2] = order;
        Self { bytes, len: HEADER_LEN }
    }

    #[inline(always)]
    fn kind(&mut self, kind: u8) {
        self.bytes[HEADER_LEN - 1] = kind;
    }

    #[inline(always)]
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }

    #[inline(always)]
    fn u8(&mut self, value: u8) {
        self.bytes([value]);
    }

    #[inline(always)]
    fn u64(&mut self, value: u64) {
        self.bytes(value.to_be_bytes());
    }

    #[inline(always)]
    fn ids(&mut self, ids: [u64; 3]) {
        for id in ids {
            self.u64(id);
        }
    }

    #[inline(always)]
    fn delivery(&mut self, delivery: Delivery) {
        self.u8(delivery.to_byte());
    }

    #[inline(always)]
    fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.len]);
    }

    #[inline(always)]
    fn finish_with_name(mut self, out: &mut Vec<u8>, name: Name<'_>) -> Result<(), usize> {
        match name {
            Name::Cached(id) => {
                self.bytes(id.to_be_bytes());
                self.finish(out);
            }
            Name::Inline(name) => {
                self.u8(u8::try_from(name.len()).map_err(|_| name.len())?);
                self.finish(out);
                out.extend_from_slice(name);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn finish_with_target(mut self, out: &mut Vec<u8>, to: Target<'_>) -> Result<(), usize> {
        match to {
            Target::Pid(id) => self.u64(id),
            Target::Alias(ids) => self.ids(ids),
            Target::Name(name) => return self.finish_with_name(out, name),
        }
        self.finish(out);
        Ok(())
    }
}
