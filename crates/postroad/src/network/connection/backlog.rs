//! The frames that wait in a slot: whole ones in one buffer, large ones apart.

use postroad_wire::enp;

use super::aside::Encoding;
use super::parts::Parts;

/// A sender waits while this many bytes wait in front of it (and as many again
/// may be under way). A single message may be longer.
pub(super) const HIGH_WATER: usize = 1 << 20;

/// Answers that nobody can wait with are dropped while this many bytes wait: a
/// peer that asks and does not read would have us keep them all.
const CEILING: usize = 4 << 20;

/// A buffer that grew beyond this is given back after it was written.
const KEEP: usize = 4 << 20;

/// The frames that wait in a slot.
#[derive(Debug)]
pub(super) struct Backlog {
    buffer: Vec<u8>,
    /// What is too long for the buffer.
    parts: Parts,
}

/// What was not handed to the system. Ends are not counted: when the connection
/// has ended, whoever watched hears of that instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unsent {
    pub(super) frames: u64,
    pub(super) bytes: usize,
}

impl Unsent {
    pub(super) fn and(self, other: Self) -> Self {
        Self { frames: self.frames + other.frames, bytes: self.bytes + other.bytes }
    }

    /// Frames of a batch.
    pub(super) fn of(frames: &[u8]) -> Self {
        enp::frames(frames)
            .filter(|frame| !enp::is_end(frame))
            .fold(Self::default(), |unsent, frame| unsent.and(Self { frames: 1, bytes: frame.len() }))
    }
}

/// What is being appended to a buffer: taken back unless it is kept, also if
/// whoever writes it panics.
struct Appendix<'a> {
    buffer: &'a mut Vec<u8>,
    keep: usize,
}

impl<'a> Appendix<'a> {
    fn to(buffer: &'a mut Vec<u8>) -> Self {
        let keep = buffer.len();
        Self { buffer, keep }
    }

    /// Appends what `write` does, and keeps it unless that fails; how long it is.
    #[inline]
    fn write<E>(mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<usize, E> {
        let encoding = Encoding::begins();
        write(self.buffer)?;
        drop(encoding);
        let len = self.buffer.len() - self.keep;
        self.keep = self.buffer.len();
        Ok(len)
    }
}

impl Drop for Appendix<'_> {
    fn drop(&mut self) {
        self.buffer.truncate(self.keep);
    }
}

impl Backlog {
    pub(super) fn new(parts: Parts) -> Self {
        Self { buffer: Vec::new(), parts }
    }

    /// Appends what `write` does; false if too much waits already, for who is
    /// `patient` more than for others. If `write` fails or panics everything is
    /// as it was.
    #[inline]
    pub(super) fn append<E>(
        &mut self,
        sender: u64,
        patient: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let limit = if patient { HIGH_WATER } else { CEILING };
        let has_room = self.parts.have_room_behind();
        if let Some((behind, waits)) = self.parts.behind(sender) {
            if waits >= limit || !has_room {
                return Ok(false);
            }
            Appendix::to(behind).write(write)?;
        } else {
            if self.buffer.len() >= limit {
                return Ok(false);
            }
            let len = Appendix::to(&mut self.buffer).write(write)?;
            if self.parts.are_for(len) {
                return Ok(self.move_to_parts(sender, len));
            }
        }
        Ok(true)
    }

    /// Takes a whole frame, if there is room.
    pub(super) fn append_whole(&mut self, sender: u64, frame: &mut Vec<u8>) -> bool {
        let (is_large, has_room) = (self.parts.are_for(frame.len()), self.parts.have_room());
        let has_room_behind = self.parts.have_room_behind();
        match self.parts.behind(sender) {
            Some(_) if !has_room_behind => return false,
            None if is_large && has_room => self.parts.push(sender, std::mem::take(frame)),
            None if is_large => return false,
            behind => {
                let waits = self.buffer.len();
                let (queue, waits) = behind.unwrap_or((&mut self.buffer, waits));
                if waits >= HIGH_WATER {
                    return false;
                }
                queue.append(frame);
            }
        }
        true
    }

    /// Takes a whole frame, whatever waits already.
    pub(super) fn append_at_once(&mut self, sender: u64, frame: &mut Vec<u8>) {
        let queue = self.parts.behind(sender).map_or(&mut self.buffer, |(behind, _)| behind);
        queue.append(frame);
    }

    /// Takes a frame that was sent already: there is room for it.
    pub(super) fn admit(&mut self, sender: u64, mut frame: Vec<u8>) {
        let is_large = self.parts.are_for(frame.len());
        match self.parts.behind(sender) {
            Some((behind, _)) => behind.append(&mut frame),
            None if is_large => self.parts.push(sender, frame),
            None => self.buffer.append(&mut frame),
        }
    }

    /// Takes all that waits in another slot.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.buffer.append(&mut other.buffer);
        self.parts.absorb(&mut other.parts);
    }

    /// Moves the large frame at the end of the buffer to where it belongs; if
    /// there is no room it is dropped.
    #[cold]
    fn move_to_parts(&mut self, sender: u64, len: usize) -> bool {
        let rest = self.buffer.len() - len;
        let room = self.parts.have_room();
        if !room {
            self.buffer.truncate(rest);
        } else if rest == 0 {
            self.parts.push(sender, std::mem::take(&mut self.buffer));
        } else {
            self.parts.push(sender, self.buffer.split_off(rest));
        }
        self.buffer.shrink_to(KEEP);
        room
    }

    /// Puts what waits into `batch`, which must be empty: first whole frames,
    /// whose length in bytes is returned, then fragments. Nothing if nothing
    /// waits.
    pub(super) fn take(&mut self, batch: &mut Vec<u8>) -> Option<usize> {
        if batch.capacity() > KEEP {
            *batch = Vec::new();
        }
        if self.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.buffer, batch);
        let whole = batch.len();
        if !self.parts.is_empty() {
            self.parts.take(batch);
        }
        Some(whole)
    }

    /// The fragments of the last batch have been handed over; whether a frame is
    /// complete with that.
    pub(super) fn fragments_written(&mut self) -> bool {
        self.parts.all_written(&mut self.buffer)
    }

    /// Puts the frames back that a dead link has not taken whole: of `batch`,
    /// which began with `whole` bytes of whole frames, `written` bytes went out.
    /// Whether a frame that went out in fragments is complete.
    pub(super) fn give_back(&mut self, batch: &[u8], whole: usize, written: usize) -> bool {
        let (frames, fragments) = batch.split_at(whole);
        self.buffer.splice(0..0, frames[taken_whole(frames, written)..].iter().copied());
        let fragments = &fragments[..taken_whole(fragments, written.saturating_sub(whole))];
        self.parts.written(enp::frames(fragments).count(), &mut self.buffer)
    }

    /// The link is gone: what was begun in fragments begins anew.
    pub(super) fn rewind(&mut self) {
        self.parts.rewind();
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) -> Unsent {
        let unsent = Unsent::of(&self.buffer).and(self.parts.unsent());
        self.buffer = Vec::new();
        self.parts.clear();
        unsent
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.parts.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len() + self.parts.waiting()
    }
}

/// How many of the bytes of a batch are frames that went out whole, if
/// `written` bytes went out.
pub(super) fn taken_whole(batch: &[u8], written: usize) -> usize {
    let mut taken = 0;
    for frame in enp::frames(batch) {
        if taken + frame.len() > written {
            break;
        }
        taken += frame.len();
    }
    taken
}
