//! Frames that are sent by an encoder that is at work.
//!
//! Messages are encoded straight into the buffer of a slot, behind its lock, by
//! code that users write. That may send in turn, also by way of the same slot.
//! Such a frame is put aside, and follows as soon as the slot is free.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::slot::Appended;

/// So many bytes are put aside at most.
const ENOUGH: usize = 4 << 20;

thread_local! {
    /// Whether this thread is encoding behind the lock of some slot: it must not
    /// wait for another one then.
    static ENCODING: Cell<bool> = const { Cell::new(false) };
}

/// This thread is encoding, until this is dropped.
pub(super) struct Encoding {
    before: bool,
}

impl Encoding {
    #[inline]
    pub(super) fn begins() -> Self {
        Self { before: ENCODING.replace(true) }
    }

    pub(super) fn is_under_way() -> bool {
        ENCODING.get()
    }
}

impl Drop for Encoding {
    #[inline]
    fn drop(&mut self) {
        ENCODING.set(self.before);
    }
}

/// What waits until a slot is free.
#[derive(Debug, Default)]
pub(super) struct Aside {
    waiting: Mutex<Waiting>,
    /// Whether there is anything; changed behind the lock.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Frames with their senders.
    frames: Vec<(u64, Vec<u8>)>,
    /// The slot takes nothing any more: where to go instead.
    over: Option<Over>,
}

/// What a slot that takes nothing any more has come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    Redirected(usize),
    Closed,
}

impl Aside {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Puts a frame aside, and takes it if there is room.
    pub(super) fn put(&self, sender: u64, frame: &mut Vec<u8>) -> Appended {
        let mut waiting = self.waiting.lock();
        match waiting.over {
            Some(Over::Redirected(to)) => return Appended::Elsewhere(to),
            Some(Over::Closed) => return Appended::Closed,
            None => {}
        }
        if waiting.frames.iter().map(|(_, frame)| frame.len()).sum::<usize>() >= ENOUGH {
            return Appended::Full;
        }
        waiting.frames.push((sender, std::mem::take(frame)));
        self.any.store(true, Ordering::Release);
        Appended::Done
    }

    /// What was put aside, with its senders, in order.
    pub(super) fn take(&self) -> Vec<(u64, Vec<u8>)> {
        let mut waiting = self.waiting.lock();
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut waiting.frames)
    }

    /// Takes what was put aside, and lets nobody put anything here any more.
    pub(super) fn end(&self, over: Over) -> Vec<(u64, Vec<u8>)> {
        self.waiting.lock().over = Some(over);
        self.take()
    }
}
