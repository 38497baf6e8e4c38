//! What waits to be written to one link.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use postroad_wire::enp::{self, Split};

/// A sender waits while this many bytes wait in front of it (and as many again
/// may be under way). A single message may be longer.
const HIGH_WATER: usize = 1 << 20;

/// Answers that nobody can wait with are dropped while this many bytes wait: a
/// peer that asks and does not read would have us keep them all.
const CEILING: usize = 4 << 20;

/// A buffer that grew beyond this is given back after it was written.
const KEEP: usize = 4 << 20;

/// One place in the pool of a connection: a buffer that senders append frames
/// to, and at most one link that takes them away in batches.
///
/// A sender always uses the same slot, so its messages stay in order, also
/// while the slot changes its link.
#[derive(Debug)]
pub(super) struct Slot {
    out: Mutex<Out>,
    /// Wakes the writer.
    wake: Notify,
    /// Wakes senders that wait for room.
    room: Notify,
    /// How many links in a row died as soon as they were there.
    early_deaths: AtomicUsize,
}

#[derive(Debug)]
struct Out {
    buffer: Vec<u8>,
    road: Road,
    /// How many links there were.
    links: u64,
    /// The writer found nothing and sleeps.
    idle: bool,
    /// How many frames senders have appended.
    frames: u64,
}

/// Where the frames of a slot go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    /// Nowhere yet: a link is being dialed or expected.
    Awaited,
    /// To this slot's own link.
    Linked,
    /// To another slot, because no link could be had for this one.
    Redirected(usize),
    /// Nowhere any more: the connection has ended.
    Closed,
}

/// What became of an attempt to append.
pub(super) enum Appended {
    Done,
    /// Too much waits already.
    Full,
    /// Try that slot.
    Elsewhere(usize),
    Closed,
}

impl Slot {
    pub(super) fn new() -> Self {
        let out = Out { buffer: Vec::new(), road: Road::Awaited, links: 0, idle: false, frames: 0 };
        Self {
            out: Mutex::new(out),
            wake: Notify::new(),
            room: Notify::new(),
            early_deaths: AtomicUsize::new(0),
        }
    }

    /// Lets `write` append to the buffer, unless too much waits there: what is
    /// `patient` can come again. If `write` fails the buffer is as it was.
    pub(super) fn append<E>(
        &self,
        patient: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Appended, E> {
        let mut out = self.out.lock();
        match out.road {
            Road::Awaited | Road::Linked => {}
            Road::Redirected(to) => return Ok(Appended::Elsewhere(to)),
            Road::Closed => return Ok(Appended::Closed),
        }
        if out.buffer.len() >= if patient { HIGH_WATER } else { CEILING } {
            return Ok(Appended::Full);
        }
        let before = out.buffer.len();
        if let Err(error) = write(&mut out.buffer) {
            out.buffer.truncate(before);
            return Err(error);
        }
        out.frames += 1;
        self.appended(out);
        Ok(Appended::Done)
    }

    fn appended(&self, mut out: MutexGuard<'_, Out>) {
        let wake = std::mem::replace(&mut out.idle, false);
        drop(out);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Resolves when senders should look again.
    pub(super) fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// Swaps `batch`, which must be empty, with what waits; false if nothing does.
    pub(super) fn take(&self, batch: &mut Vec<u8>) -> bool {
        if batch.capacity() > KEEP {
            *batch = Vec::new();
        }
        let mut out = self.out.lock();
        if out.buffer.is_empty() {
            out.idle = true;
            return false;
        }
        std::mem::swap(&mut out.buffer, batch);
        drop(out);
        self.room.notify_waiters();
        true
    }

    /// Resolves when something waits after [`take`](Self::take) found nothing.
    pub(super) async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Puts the frames back that a dead link has not taken whole: of `batch`,
    /// `written` bytes went out. What went out may or may not have arrived and
    /// is not sent again.
    pub(super) fn give_back(&self, batch: &[u8], written: usize) {
        let mut rest = batch;
        while let Ok(Split::Frame { rest: next, .. }) = enp::split(rest, 0)
            && batch.len() - next.len() <= written
        {
            rest = next;
        }
        let mut out = self.out.lock();
        if !rest.is_empty() && out.road != Road::Closed {
            out.buffer.splice(0..0, rest.iter().copied());
        }
    }

    /// Which link this slot waits for, counted from 0; nothing if it waits for none.
    pub(super) fn awaits(&self) -> Option<u64> {
        let out = self.out.lock();
        (out.road == Road::Awaited).then_some(out.links)
    }

    /// Whether it had a link that it has no more.
    pub(super) fn has_lost_a_link(&self) -> bool {
        let out = self.out.lock();
        out.links > u64::from(out.road == Road::Linked)
    }

    /// Whether a link may take this slot; it has it then.
    pub(super) fn link(&self) -> bool {
        let mut out = self.out.lock();
        let free = out.road == Road::Awaited;
        if free {
            out.road = Road::Linked;
            out.links += 1;
            out.idle = false;
        }
        free
    }

    /// The link is gone: frames wait for the next one.
    pub(super) fn unlink(&self) {
        let mut out = self.out.lock();
        if out.road == Road::Linked {
            out.road = Road::Awaited;
        }
    }

    /// Sends everything, also what waits, by way of slot `to` from now on.
    /// False if this slot has a link or has ended meanwhile.
    pub(super) fn redirect(&self, index: usize, target: &Self) -> bool {
        let mut out = self.out.lock();
        if out.road != Road::Awaited {
            return false;
        }
        // Two redirections never cross: the target has a link and this one has none.
        let mut there = target.out.lock();
        if there.road != Road::Linked {
            return false;
        }
        there.buffer.append(&mut out.buffer);
        out.road = Road::Redirected(index);
        drop(out);
        target.appended(there);
        self.room.notify_waiters();
        true
    }

    /// Ends the slot: what waits is dropped, senders are told.
    pub(super) fn close(&self) {
        let mut out = self.out.lock();
        out.road = Road::Closed;
        out.buffer = Vec::new();
        drop(out);
        self.room.notify_waiters();
        self.wake.notify_one();
    }

    /// Notes whether the link died as soon as it was there; how many in a row did.
    pub(super) fn count_early_death(&self, early: bool) -> usize {
        if early {
            self.early_deaths.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.early_deaths.store(0, Ordering::Relaxed);
            0
        }
    }

    pub(super) fn appended_frames(&self) -> u64 {
        self.out.lock().frames
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.out.lock().buffer.len()
    }

    /// Whether everything has been handed to the system.
    pub(super) fn is_written(&self) -> bool {
        let out = self.out.lock();
        out.buffer.is_empty() && (out.idle || out.road != Road::Linked)
    }
}
