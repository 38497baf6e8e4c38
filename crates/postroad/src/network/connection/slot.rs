//! What waits to be written to one link.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::aside::{Aside, Encoding, Over};
use super::backlog::{Backlog, HIGH_WATER, Unsent, taken_whole};
use super::parts::Parts;

/// One place in the pool of a connection: a buffer that senders append frames
/// to, and at most one link that takes them away in batches.
///
/// A sender always uses the same slot, so its messages stay in order, also
/// while the slot changes its link.
#[derive(Debug)]
pub(super) struct Slot {
    out: Mutex<Out>,
    /// What encoders sent while they held the lock.
    aside: Aside,
    /// How many frames senders have appended; changed behind the lock.
    frames: AtomicU64,
    /// Wakes the writer.
    wake: Notify,
    /// Wakes senders that wait for room.
    room: Notify,
    /// How many links in a row died as soon as they were there.
    early_deaths: AtomicUsize,
    /// Publishers have waited for it in vain.
    lags: AtomicBool,
}

#[derive(Debug)]
struct Out {
    backlog: Backlog,
    road: Road,
    /// How many links there were.
    links: u64,
    /// A place is kept for a link that is shaking hands.
    reserved: bool,
    /// Nobody tries any more to get a link: the next one of another slot will do.
    given_up: bool,
    /// The writer found nothing and sleeps.
    idle: bool,
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
    pub(super) fn new(parts: Parts) -> Self {
        let out = Out {
            backlog: Backlog::new(parts),
            road: Road::Awaited,
            links: 0,
            reserved: false,
            given_up: false,
            idle: false,
        };
        Self {
            out: Mutex::new(out),
            aside: Aside::default(),
            frames: AtomicU64::new(0),
            wake: Notify::new(),
            room: Notify::new(),
            early_deaths: AtomicUsize::new(0),
            lags: AtomicBool::new(false),
        }
    }

    /// Lets `write` append to the buffer, unless too much waits there: what is
    /// `patient` can come again. If `write` fails or panics the buffer is as it
    /// was. It may send in turn, by way of this slot too.
    #[inline]
    pub(super) fn append<E>(
        &self,
        sender: u64,
        patient: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Appended, E> {
        let Some(mut guard) = self.lock_unless_encoding() else {
            let mut frame = Vec::new();
            write(&mut frame)?;
            return Ok(self.put_aside(sender, &mut frame));
        };
        let out = &mut *guard;
        if let Some(elsewhere) = out.leads_elsewhere() {
            return Ok(elsewhere);
        }
        if !out.backlog.append(sender, patient, write)? {
            return Ok(Appended::Full);
        }
        self.appended(guard, 1);
        Ok(Appended::Done)
    }

    /// Appends a frame that waited for room, and takes it if there is some.
    pub(super) fn append_late(&self, sender: u64, frame: &mut Vec<u8>) -> Appended {
        let Some(mut guard) = self.lock_unless_encoding() else { return self.put_aside(sender, frame) };
        let out = &mut *guard;
        if let Some(elsewhere) = out.leads_elsewhere() {
            return elsewhere;
        }
        if !out.backlog.append_whole(sender, frame) {
            return Appended::Full;
        }
        self.appended(guard, 1);
        Appended::Done
    }

    /// Appends a frame that there are only so many of, whatever waits already.
    pub(super) fn append_at_once(&self, sender: u64, frame: &mut Vec<u8>) -> Appended {
        let Some(mut guard) = self.lock_unless_encoding() else { return self.put_aside(sender, frame) };
        let out = &mut *guard;
        if let Some(elsewhere) = out.leads_elsewhere() {
            return elsewhere;
        }
        out.backlog.append_at_once(sender, frame);
        self.appended(guard, 1);
        Appended::Done
    }

    /// The lock, with everything behind it that was put aside; nothing if that
    /// would have to be waited for by an encoder, which may have it itself.
    #[inline]
    fn lock_unless_encoding(&self) -> Option<MutexGuard<'_, Out>> {
        let mut out = match self.out.try_lock() {
            Some(out) => out,
            None if Encoding::is_under_way() => return None,
            None => self.out.lock(),
        };
        if !self.aside.is_empty() {
            self.fetch_aside(&mut out, self.aside.take());
        }
        Some(out)
    }

    #[cold]
    fn put_aside(&self, sender: u64, frame: &mut Vec<u8>) -> Appended {
        let put = self.aside.put(sender, frame);
        // Whoever has the lock may have looked already.
        self.wake.notify_one();
        put
    }

    #[cold]
    fn fetch_aside(&self, out: &mut Out, aside: Vec<(u64, Vec<u8>)>) {
        self.count(aside.len() as u64);
        for (sender, frame) in aside {
            out.backlog.admit(sender, frame);
        }
    }

    /// Counts frames; behind the lock, so that nobody else does.
    #[inline]
    fn count(&self, frames: u64) {
        self.frames.store(self.frames.load(Ordering::Relaxed) + frames, Ordering::Relaxed);
    }

    fn appended(&self, mut out: MutexGuard<'_, Out>, frames: u64) {
        self.count(frames);
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

    /// Puts what waits into `batch`, which must be empty: first whole frames,
    /// whose length in bytes is returned, then fragments. Nothing if nothing
    /// waits.
    pub(super) fn take(&self, batch: &mut Vec<u8>) -> Option<usize> {
        let mut out = self.out.lock();
        if !self.aside.is_empty() {
            self.fetch_aside(&mut out, self.aside.take());
        }
        let Some(whole) = out.backlog.take(batch) else {
            out.idle = true;
            return None;
        };
        drop(out);
        if whole > 0 {
            self.room.notify_waiters();
        }
        Some(whole)
    }

    /// Resolves when something waits after [`take`](Self::take) found nothing.
    pub(super) async fn filled(&self) {
        self.wake.notified().await;
    }

    /// The fragments of the last batch have been handed over.
    pub(super) fn fragments_written(&self) {
        let any_complete = self.out.lock().backlog.fragments_written();
        if any_complete {
            self.room.notify_waiters();
        }
    }

    /// Puts the frames back that a dead link has not taken whole: of `batch`,
    /// which began with `whole` bytes of whole frames, `written` bytes went out.
    /// What went out may or may not have arrived and is not sent again. What can
    /// be put back nowhere because the slot has ended is returned.
    pub(super) fn give_back(&self, batch: &[u8], whole: usize, written: usize) -> Unsent {
        let mut out = self.out.lock();
        if out.road == Road::Closed {
            // Frames that were begun in fragments were counted when the slot ended.
            return Unsent::of(&batch[taken_whole(&batch[..whole], written)..whole]);
        }
        let any_complete = out.backlog.give_back(batch, whole, written);
        drop(out);
        if any_complete {
            self.room.notify_waiters();
        }
        Unsent::default()
    }

    /// Which link this slot waits for, counted from 0; nothing if it waits for none.
    pub(super) fn awaits(&self) -> Option<u64> {
        let out = self.out.lock();
        (out.road == Road::Awaited).then_some(out.links)
    }

    /// Keeps this slot for a link that is on its way; false if it waits for
    /// none, or for another one.
    pub(super) fn reserve(&self) -> bool {
        let mut out = self.out.lock();
        let free = out.road == Road::Awaited && !out.reserved;
        out.reserved |= free;
        free
    }

    /// The link that the slot was kept for does not come.
    pub(super) fn release(&self) {
        self.out.lock().reserved = false;
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
            (out.reserved, out.given_up) = (false, false);
        }
        free
    }

    /// The link is gone: frames wait for the next one.
    pub(super) fn unlink(&self) {
        let mut out = self.out.lock();
        if out.road == Road::Linked {
            out.road = Road::Awaited;
            out.backlog.rewind();
        }
    }

    /// Nobody tries any more to get the link that the slot waits for.
    pub(super) fn give_up(&self) {
        let mut out = self.out.lock();
        out.given_up = out.road == Road::Awaited;
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.out.lock().given_up
    }

    /// Whether there is a link, or one may still come.
    pub(super) fn has_hope(&self) -> bool {
        let out = self.out.lock();
        match out.road {
            Road::Awaited => !out.given_up || out.reserved,
            Road::Linked => true,
            Road::Redirected(_) | Road::Closed => false,
        }
    }

    /// Sends everything, also what waits, by way of another slot from now on.
    /// False if this slot has a link, hopes for one or has ended, or the other
    /// one has no link.
    pub(super) fn redirect(&self, index: usize, target: &Self) -> bool {
        let mut guard = self.out.lock();
        let out = &mut *guard;
        if out.road != Road::Awaited || !out.given_up || out.reserved {
            return false;
        }
        // Two redirections never cross: the target has a link and this one has none.
        let mut there = target.out.lock();
        if there.road != Road::Linked {
            return false;
        }
        self.fetch_aside(out, self.aside.end(Over::Redirected(index)));
        there.backlog.absorb(&mut out.backlog);
        out.road = Road::Redirected(index);
        drop(guard);
        target.appended(there, 0);
        self.room.notify_waiters();
        true
    }

    /// By way of which slot everything is sent, if not by this one.
    pub(super) fn redirected_to(&self) -> Option<usize> {
        match self.out.lock().road {
            Road::Redirected(to) => Some(to),
            Road::Awaited | Road::Linked | Road::Closed => None,
        }
    }

    /// Ends the slot: what waits is dropped, senders are told.
    pub(super) fn close(&self) -> Unsent {
        let mut out = self.out.lock();
        out.road = Road::Closed;
        self.fetch_aside(&mut out, self.aside.end(Over::Closed));
        let unsent = out.backlog.clear();
        drop(out);
        self.room.notify_waiters();
        self.wake.notify_one();
        unsent
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

    /// Whether a sender would wait.
    pub(super) fn is_congested(&self) -> bool {
        self.waiting() >= HIGH_WATER
    }

    /// Whether a publisher should wait: not if one has in vain, until there was
    /// room again.
    pub(super) fn is_slow(&self) -> bool {
        let congested = self.is_congested();
        if !congested {
            self.lags.store(false, Ordering::Relaxed);
        }
        congested && !self.lags.load(Ordering::Relaxed)
    }

    /// A publisher has waited in vain.
    pub(super) fn note_lag(&self) {
        self.lags.store(self.is_congested(), Ordering::Relaxed);
    }

    pub(super) fn appended_frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.out.lock().backlog.waiting()
    }

    /// Whether everything has been handed to the system.
    pub(super) fn is_written(&self) -> bool {
        let out = self.out.lock();
        out.backlog.is_empty() && self.aside.is_empty() && (out.idle || out.road != Road::Linked)
    }
}

impl Out {
    /// What to tell a sender that cannot append here.
    #[inline]
    fn leads_elsewhere(&self) -> Option<Appended> {
        match self.road {
            Road::Awaited | Road::Linked => None,
            Road::Redirected(to) => Some(Appended::Elsewhere(to)),
            Road::Closed => Some(Appended::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn bytes(bytes: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<(), Infallible> {
        move |out| {
            out.extend_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_panic_leaves_no_half_frame() {
        let slot = Slot::new(Parts::never());
        slot.append(1, true, bytes(b"whole")).unwrap();
        let half = |out: &mut Vec<u8>| -> Result<(), Infallible> {
            out.extend_from_slice(b"half");
            panic!("encode")
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| slot.append(1, true, half)));
        assert!(outcome.is_err());
        slot.append(1, true, bytes(b"again")).unwrap();
        let mut batch = Vec::new();
        slot.take(&mut batch);
        assert_eq!(batch, b"wholeagain");
    }

    #[test]
    fn what_is_appended_at_once_is_in_front_of_what_comes_later() {
        let slot = Slot::new(Parts::never());
        slot.append(1, true, bytes(&vec![0; HIGH_WATER])).unwrap();
        let waits = |number: u8| slot.append(1, true, bytes(&[number])).unwrap();
        assert!(matches!(waits(3), Appended::Full));
        assert!(matches!(slot.append_at_once(1, &mut vec![1]), Appended::Done));
        assert!(matches!(slot.append_at_once(1, &mut vec![2]), Appended::Done));
        let mut batch = Vec::new();
        slot.take(&mut batch);
        assert_eq!(batch[HIGH_WATER..], [1, 2]);
        assert!(matches!(waits(3), Appended::Done));
    }

    /// As an encoder that sends does: what it sends waits for it to end.
    #[test]
    fn an_encoder_may_send_by_way_of_the_slot_it_writes_to() {
        let (slot, other) = (Slot::new(Parts::never()), Slot::new(Parts::never()));
        let outer = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"out");
            assert!(matches!(slot.append(2, true, bytes(b"nested1 ")), Ok(Appended::Done)));
            let by_the_other = |there: &mut Vec<u8>| {
                assert!(matches!(slot.append_late(1, &mut b"nested2 ".to_vec()), Appended::Done));
                bytes(b"other")(there)
            };
            other.append(1, true, by_the_other).unwrap();
            assert_eq!(slot.appended_frames(), 0, "and may look on");
            out.extend_from_slice(b"er ");
            Ok::<_, Infallible>(())
        };
        slot.append(1, true, outer).unwrap();
        slot.append(1, true, bytes(b"next")).unwrap();
        let mut batch = Vec::new();
        slot.take(&mut batch);
        assert_eq!(batch, b"outer nested1 nested2 next");
        assert_eq!(slot.appended_frames(), 4);
        batch.clear();
        other.take(&mut batch);
        assert_eq!(batch, b"other");
    }

    #[test]
    fn what_an_encoder_sends_that_fails_goes_out() {
        let slot = Slot::new(Parts::never());
        let fails = |_: &mut Vec<u8>| {
            slot.append(1, true, bytes(b"nested")).unwrap();
            Err("no")
        };
        assert_eq!(slot.append(1, true, fails).err(), Some("no"));
        let mut batch = Vec::new();
        assert_eq!(slot.take(&mut batch), Some(6));
        assert_eq!(batch, b"nested");
    }

    /// While a slot is busy another thread may redirect it, once it is free.
    #[test]
    fn what_is_put_aside_follows_its_slot() {
        let (lost, other) = (Slot::new(Parts::never()), Slot::new(Parts::never()));
        assert!(other.link());
        lost.give_up();
        lost.append(1, true, |_| lost.append(1, true, bytes(b"first ")).map(drop)).unwrap();
        assert!(lost.redirect(1, &other));
        assert!(matches!(lost.put_aside(1, &mut b"late".to_vec()), Appended::Elsewhere(1)));
        let mut batch = Vec::new();
        other.take(&mut batch);
        assert_eq!(batch, b"first ");
        lost.close();
        other.close();
        assert!(matches!(other.put_aside(1, &mut b"late".to_vec()), Appended::Closed));
    }

    #[test]
    fn what_the_writer_has_in_hand_is_counted_when_it_is_lost() {
        let slot = Slot::new(Parts::never());
        let frame = [&[0x4e, 1, 0, 0, 0, 10, 0, 101][..], b"ab"].concat();
        for _ in 0..3 {
            slot.append(1, true, bytes(&frame)).unwrap();
        }
        let mut batch = Vec::new();
        let whole = slot.take(&mut batch).unwrap();
        assert_eq!(slot.close(), Unsent::default());
        assert_eq!(slot.give_back(&batch, whole, 15), Unsent { frames: 2, bytes: 20 });
    }

    #[test]
    fn ends_that_are_lost_with_the_connection_are_not_counted() {
        let slot = Slot::new(Parts::never());
        for kind in [181, 101, 186] {
            slot.append(1, true, bytes(&[0x4e, 1, 0, 0, 0, 8, 0, kind])).unwrap();
        }
        assert_eq!(slot.close(), Unsent { frames: 1, bytes: 8 });
    }

    #[test]
    fn what_is_lost_is_counted() {
        let slot = Slot::new(Parts::of_slot(0, 1, usize::MAX));
        let frame = |len: usize| {
            let len_bytes = (len as u32).to_be_bytes();
            [&[0x4e, 1], &len_bytes[..], &[0, 101], &vec![0; len - 8]].concat()
        };
        for len in [10, 300_000, 20] {
            slot.append(1, true, bytes(&frame(len))).unwrap();
        }
        let mut end = frame(8);
        end[7] = 181;
        slot.append(1, true, bytes(&end)).unwrap();
        assert_eq!(slot.close(), Unsent { frames: 3, bytes: 300_030 }, "but not the end behind it");
        assert_eq!(slot.close(), Unsent::default());
    }
}
