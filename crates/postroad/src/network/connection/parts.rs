//! Large frames on their way out, in fragments (`docs/wire/ENP.md` section 15,
//! type 202).
//!
//! A frame that is longer than a batch is worth leaves the common buffer of its
//! slot and goes out piece by piece, in turns with what others send. What its own
//! sender sends after it waits behind it, so the order per sender holds. If the
//! link is lost before the last fragment was handed over, the frame goes out
//! anew, under another number: the peer never puts pieces of two attempts
//! together.

use std::collections::VecDeque;
use std::convert::Infallible;

use postroad_wire::enp::fragment::{DEFAULT_FRAGMENT_LEN, fragment};
use postroad_wire::enp::{self, Split};

use super::backlog::Unsent;

/// The longest frame that goes out whole, and how many bytes of fragments make a
/// batch worth writing. A slot holds several times as much of whole frames in any
/// case, so one that is no longer keeps nobody waiting who does not wait anyway.
const WHOLE: usize = 256 << 10;

/// A further large frame waits while others of its slot have so many bytes.
const LARGE_WATER: usize = 64 << 20;

/// What a sender sends behind its large frame waits while so many bytes wait
/// behind large frames of its slot.
const BEHIND_WATER: usize = 64 << 20;

/// How many bytes of fragments a batch has at most, but for the end of the last one.
const SHARE: usize = 512 << 10;

/// The large frames of one slot.
#[derive(Debug)]
pub(super) struct Parts {
    /// One for each sender that has a large frame here; the next in turn first.
    queues: VecDeque<Queue>,
    /// Whose fragments are in the batch that is being written, in order.
    taken: VecDeque<u64>,
    /// The longest frame that goes out whole, and what is worth a batch.
    whole: usize,
    /// How many bytes the frames that are begun may have together, unless it is
    /// only one: the peer must keep them until they are complete.
    budget: usize,
    /// How many they have.
    begun: usize,
    /// How many bytes wait here.
    waiting: usize,
    /// The number of the next frame, and what follows it.
    next: u32,
    step: u32,
}

/// A large frame, and what its sender sent after it.
#[derive(Debug)]
struct Queue {
    sender: u64,
    frame: Vec<u8>,
    /// The frame's number on the wire, once it has been begun.
    sequence: Option<u32>,
    /// How many fragments are in a batch or written.
    taken: u16,
    /// How many are written.
    written: u16,
    /// Whole frames, large ones too; the first `gone` bytes have gone on already.
    behind: Vec<u8>,
    gone: usize,
}

impl Queue {
    fn waits_behind(&self) -> &[u8] {
        &self.behind[self.gone..]
    }
}

impl Parts {
    /// For slots whose peer does not take fragments: nothing is large.
    pub(super) fn never() -> Self {
        Self::new(usize::MAX, 0, 0, 1)
    }

    /// For slot `index` of `pool`: frames of one connection have numbers of
    /// their own. `budget` is the longest frame that the peer takes.
    pub(super) fn of_slot(index: usize, pool: usize, budget: usize) -> Self {
        Self::new(WHOLE, budget, index as u32, pool as u32)
    }

    fn new(whole: usize, budget: usize, next: u32, step: u32) -> Self {
        let (queues, taken) = (VecDeque::new(), VecDeque::new());
        Self { queues, taken, whole, budget, begun: 0, waiting: 0, next, step }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether a frame of that length is one for here.
    #[inline]
    pub(super) fn are_for(&self, len: usize) -> bool {
        len > self.whole
    }

    /// Whether there is room for another sender's large frame.
    pub(super) fn have_room(&self) -> bool {
        self.waiting < LARGE_WATER
    }

    /// Whether there is room for more behind large frames.
    pub(super) fn have_room_behind(&self) -> bool {
        self.waiting_behind() < BEHIND_WATER
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.waiting_behind()
    }

    fn waiting_behind(&self) -> usize {
        self.queues.iter().map(|queue| queue.waits_behind().len()).sum()
    }

    /// What has not been handed to the system: large frames and what waits behind them.
    pub(super) fn unsent(&self) -> Unsent {
        let large = Unsent { frames: self.queues.len() as u64, bytes: self.waiting };
        self.queues.iter().fold(large, |unsent, queue| unsent.and(Unsent::of(queue.waits_behind())))
    }

    /// Where what a sender sends must wait, if a large frame of it is here, and
    /// how many bytes wait there.
    #[inline]
    pub(super) fn behind(&mut self, sender: u64) -> Option<(&mut Vec<u8>, usize)> {
        let queue = self.queues.iter_mut().find(|queue| queue.sender == sender)?;
        let waits = queue.waits_behind().len();
        Some((&mut queue.behind, waits))
    }

    /// Adds a large frame of a sender that has none here.
    pub(super) fn push(&mut self, sender: u64, frame: Vec<u8>) {
        self.waiting += frame.len();
        let (sequence, behind) = (None, Vec::new());
        self.queues.push_back(Queue { sender, frame, sequence, taken: 0, written: 0, behind, gone: 0 });
    }

    /// Adds fragments to a batch that has nothing but whole frames yet: about
    /// half as much as there is, at least what is worth a batch.
    pub(super) fn take(&mut self, batch: &mut Vec<u8>) {
        let enough = batch.len() + (batch.len() / 2).max(self.whole).min(SHARE);
        let mut skipped = 0;
        while skipped < self.queues.len() && batch.len() < enough {
            if self.take_of_first(batch) {
                skipped = 0;
            } else {
                skipped += 1;
            }
            self.queues.rotate_left(1);
        }
    }

    /// Adds a fragment of the frame that is next in turn; false if it cannot go
    /// on now.
    fn take_of_first(&mut self, batch: &mut Vec<u8>) -> bool {
        let Some(queue) = self.queues.front_mut() else { return false };
        let sequence = match queue.sequence {
            Some(sequence) => sequence,
            None if self.begun > 0 && self.begun + queue.frame.len() > self.budget => return false,
            None => {
                self.begun += queue.frame.len();
                let sequence = self.next;
                self.next = self.next.wrapping_add(self.step);
                *queue.sequence.insert(sequence)
            }
        };
        let piece = fragment(&queue.frame, sequence, queue.taken, DEFAULT_FRAGMENT_LEN);
        let Some((head, piece)) = piece else { return false };
        let copy = |out: &mut Vec<u8>| {
            out.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        };
        // A name that is too long is all that could go wrong, and a fragment has none.
        let _ = enp::write(batch, enp::order_byte(&queue.frame), &head, copy);
        queue.taken += 1;
        self.taken.push_back(queue.sender);
        true
    }

    /// The first `count` fragments of the batch have been handed over whole.
    /// Senders whose frame is complete go on by way of `buffer`; whether there
    /// are any.
    pub(super) fn written(&mut self, count: usize, buffer: &mut Vec<u8>) -> bool {
        let mut any_complete = false;
        for _ in 0..count.min(self.taken.len()) {
            let Some(sender) = self.taken.pop_front() else { break };
            let Some(at) = self.queues.iter().position(|queue| queue.sender == sender) else { continue };
            let queue = &mut self.queues[at];
            queue.written += 1;
            if fragment(&queue.frame, 0, queue.written, DEFAULT_FRAGMENT_LEN).is_none() {
                self.complete(at, buffer);
                any_complete = true;
            }
        }
        any_complete
    }

    /// All fragments of the batch have been handed over.
    pub(super) fn all_written(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.written(usize::MAX, buffer)
    }

    /// The frame of a queue has gone out: what waited behind it follows, up to
    /// the next large one.
    fn complete(&mut self, at: usize, buffer: &mut Vec<u8>) {
        let Some(queue) = self.queues.remove(at) else { return };
        self.begun -= queue.frame.len();
        self.waiting -= queue.frame.len();
        let waits = queue.waits_behind();
        let small: usize = enp::frames(waits).map(<[u8]>::len).take_while(|len| !self.are_for(*len)).sum();
        buffer.extend_from_slice(&waits[..small]);
        if let Ok(Split::Frame { frame, rest }) = enp::split(&waits[small..], 0) {
            self.push(queue.sender, frame.to_vec());
            let (mut gone, mut behind) = (queue.behind.len() - rest.len(), queue.behind);
            // What is left is moved only when it is the smaller part: a sender of
            // large frames alone would else move all of them for each.
            if gone * 2 >= behind.len() {
                behind.drain(..gone);
                gone = 0;
            }
            if let Some(queue) = self.queues.back_mut() {
                (queue.behind, queue.gone) = (behind, gone);
            }
        }
    }

    /// The link is gone: what is not complete goes out anew.
    pub(super) fn rewind(&mut self) {
        self.taken.clear();
        self.begun = 0;
        for queue in &mut self.queues {
            (queue.sequence, queue.taken, queue.written) = (None, 0, 0);
        }
    }

    /// Takes over the frames of another slot of the connection, which has no link.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.waiting += std::mem::take(&mut other.waiting);
        self.queues.append(&mut other.queues);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.queues = VecDeque::new();
        self.taken = VecDeque::new();
        (self.begun, self.waiting) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use postroad_wire::enp::fragment::{Assembler, AssemblyLimits};
    use postroad_wire::enp::{Delivery, Frame, Head, Target};
    use proptest::prelude::*;

    use super::*;
    use crate::network::connection::slot::{Appended, Slot};

    /// As for a slot, but for frames that are large sooner.
    fn parts(index: u32, pool: u32, budget: usize) -> Parts {
        Parts::new(DEFAULT_FRAGMENT_LEN, budget, index, pool)
    }

    /// A message of a sender, numbered.
    fn frame(sender: u64, number: u32, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let (delivery, to) = (Delivery::default(), Target::Pid(7));
        let head = Head::Message { from: sender, delivery, message_id: 0, to };
        enp::write::<Infallible>(&mut out, head.order(), &head, |out| {
            out.extend(number.to_be_bytes());
            out.resize(out.len() + len, number as u8);
            Ok(())
        })
        .unwrap();
        out
    }

    /// Understands whatever has come whole.
    struct Peer {
        assembler: Assembler,
        heard: Vec<(u64, u32)>,
        /// The order in which fragments came: their frame's number, and whether it was the last.
        fragments: Vec<(u32, bool)>,
    }

    impl Peer {
        fn new() -> Self {
            let limits = AssemblyLimits { frame: 0, open: u64::MAX };
            Self { assembler: Assembler::new(limits), heard: Vec::new(), fragments: Vec::new() }
        }

        fn hear(&mut self, bytes: &[u8]) {
            for bytes in enp::frames(bytes) {
                let Frame { head, payload, order } = Frame::parse(bytes).unwrap();
                match head {
                    Head::Fragment { sequence, index, total } => {
                        self.fragments.push((sequence, index + 1 == total));
                        let now = Duration::ZERO;
                        if let Some(whole) =
                            self.assembler.insert(now, None, sequence, index, total, payload).unwrap()
                        {
                            assert_eq!(enp::order_byte(&whole), order);
                            self.hear(&whole);
                        }
                    }
                    Head::Message { from, .. } => {
                        let (number, rest) = payload.split_first_chunk().unwrap();
                        let number = u32::from_be_bytes(*number);
                        assert!(rest.iter().all(|byte| *byte == number as u8));
                        self.heard.push((from, number));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Writes what waits; false if nothing does.
    fn write(slot: &Slot, peer: &mut Peer) -> bool {
        let mut batch = Vec::new();
        let Some(whole) = slot.take(&mut batch) else { return false };
        peer.hear(&batch);
        if whole < batch.len() {
            slot.fragments_written();
        }
        true
    }

    #[derive(Debug, Clone)]
    enum Step {
        Send {
            sender: u64,
            len: usize,
            late: bool,
        },
        Write,
        /// The link dies when so many thousandths of a batch have gone out.
        Cut(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = prop_oneof![3 => 0..200usize, 1 => 64_000..66_000usize, 2 => 70_000..300_000usize];
        prop_oneof![
            4 => (1..4u64, len, any::<bool>()).prop_map(|(sender, len, late)| Step::Send { sender, len, late }),
            3 => Just(Step::Write),
            1 => (0..=1000usize).prop_map(Step::Cut),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_frame_arrives_once_and_in_the_order_of_its_sender(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let slot = Slot::new(parts(1, 3, 400_000));
            let mut peer = Peer::new();
            let mut sent = Vec::new();
            prop_assert!(slot.link());
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Send { sender, len, late } => {
                        let mut frame = frame(sender, number, len);
                        let appended = if late {
                            slot.append_late(sender, &mut frame)
                        } else {
                            let write = |out: &mut Vec<u8>| {
                                out.extend_from_slice(&frame);
                                Ok::<_, Infallible>(())
                            };
                            slot.append(sender, true, write).unwrap()
                        };
                        match appended {
                            Appended::Done => sent.push((sender, number)),
                            Appended::Full => {}
                            Appended::Elsewhere(_) | Appended::Closed => prop_assert!(false, "it is open"),
                        }
                    }
                    Step::Write => {
                        write(&slot, &mut peer);
                    }
                    Step::Cut(at) => {
                        let mut batch = Vec::new();
                        if let Some(whole) = slot.take(&mut batch) {
                            let written = batch.len() * at / 1000;
                            peer.hear(&batch[..written]);
                            slot.give_back(&batch, whole, written);
                        }
                        slot.unlink();
                        prop_assert!(slot.link());
                    }
                }
            }
            while write(&slot, &mut peer) {}
            prop_assert_eq!(slot.waiting(), 0);
            for sender in 1..4 {
                let of = |all: &[(u64, u32)]| -> Vec<u32> {
                    all.iter().filter(|(from, _)| *from == sender).map(|(_, number)| *number).collect()
                };
                prop_assert_eq!(of(&peer.heard), of(&sent), "of sender {}", sender);
            }
        }
    }

    fn sends(slot: &Slot, sender: u64, len: usize) {
        let mut frame = frame(sender, 0, len);
        assert!(matches!(slot.append_late(sender, &mut frame), Appended::Done));
    }

    #[test]
    fn what_waits_behind_large_frames_of_many_senders_is_bounded() {
        let slot = Slot::new(parts(0, 1, usize::MAX));
        let size = BEHIND_WATER / 4;
        for sender in 0..6 {
            sends(&slot, sender, 70_000);
            let mut behind = frame(sender, 1, size);
            let outcome = match sender % 2 {
                0 => slot.append_late(sender, &mut behind),
                _ => {
                    let write = |out: &mut Vec<u8>| {
                        out.extend_from_slice(&behind);
                        Ok::<_, Infallible>(())
                    };
                    slot.append(sender, true, write).unwrap()
                }
            };
            assert_eq!(matches!(outcome, Appended::Done), sender < 4, "of sender {sender}");
        }
        assert!(slot.waiting() < 2 * BEHIND_WATER);
        assert!(slot.link());
        while write(&slot, &mut Peer::new()) && slot.waiting() >= BEHIND_WATER {}
        sends(&slot, 4, size);
    }

    /// Numbers of frames in the order in which they were complete.
    fn completed(budget: usize) -> Vec<u32> {
        let slot = Slot::new(parts(1, 3, budget));
        let mut peer = Peer::new();
        assert!(slot.link());
        sends(&slot, 1, 300_000);
        sends(&slot, 2, 100_000);
        while write(&slot, &mut peer) {}
        peer.fragments.iter().filter(|(_, last)| *last).map(|(sequence, _)| *sequence).collect()
    }

    #[test]
    fn large_frames_take_turns_as_far_as_the_peer_has_room() {
        assert_eq!(completed(500_000), [4, 1]);
        assert_eq!(completed(350_000), [1, 4]);
    }

    /// The last fragment is handed over, but the link dies before anything else is.
    #[test]
    fn who_waits_for_room_is_told_by_a_dying_link_too() {
        let slot = Slot::new(parts(0, 1, 1 << 20));
        assert!(slot.link());
        sends(&slot, 1, 70_000);
        assert!(write(&slot, &mut Peer::new()));
        let mut room = pin!(slot.room());
        room.as_mut().enable();
        let mut batch = Vec::new();
        let whole = slot.take(&mut batch).unwrap();
        slot.give_back(&batch, whole, batch.len());
        assert!(room.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn frames_of_a_slot_without_link_go_out_by_another_one() {
        let (lost, other) = (Slot::new(parts(0, 2, 1 << 20)), Slot::new(parts(1, 2, 1 << 20)));
        let mut peer = Peer::new();
        assert!(lost.link() && other.link());
        sends(&lost, 2, 200_000);
        sends(&lost, 2, 10);
        assert!(write(&lost, &mut peer));
        lost.unlink();
        lost.give_up();
        assert!(lost.redirect(1, &other));
        while write(&other, &mut peer) {}
        assert_eq!(peer.heard.len(), 2);
        assert_eq!((peer.fragments[0].0, peer.fragments[1].0), (0, 1), "under a number of the other slot");
    }
}
