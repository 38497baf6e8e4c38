//! Large frames on their way out, in fragments (`docs/wire/ENP.md` section 15,
//! type 202).
//!
//! A frame that is longer than a fragment leaves the common buffer of its slot
//! and goes out piece by piece, in turns with what others send. What its own
//! sender sends after it waits behind it, so the order per sender holds. If the
//! link is lost before the last fragment was handed over, the frame goes out
//! anew, under another number: the peer never puts pieces of two attempts
//! together.

use std::collections::VecDeque;
use std::convert::Infallible;

use postroad_wire::enp::fragment::{DEFAULT_FRAGMENT_LEN, fragment};
use postroad_wire::enp::{self, Split};

/// A further large frame waits while others of its slot have so many bytes.
const LARGE_WATER: usize = 64 << 20;

/// How many bytes of fragments a batch has at most, beside a first one.
const SHARE: usize = 512 << 10;

/// The large frames of one slot.
#[derive(Debug)]
pub(super) struct Parts {
    /// One for each sender that has a large frame here; the next in turn first.
    queues: VecDeque<Queue>,
    /// Whose fragments are in the batch that is being written, in order.
    taken: VecDeque<u64>,
    /// The longest frame that goes out whole.
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
    /// Whole frames, large ones too.
    behind: Vec<u8>,
}

impl Parts {
    /// For slots whose peer does not take fragments: nothing is large.
    pub(super) fn never() -> Self {
        Self::new(usize::MAX, 0, 0, 1)
    }

    /// For slot `index` of `pool`: frames of one connection have numbers of
    /// their own. `budget` is the longest frame that the peer takes.
    pub(super) fn of_slot(index: usize, pool: usize, budget: usize) -> Self {
        Self::new(DEFAULT_FRAGMENT_LEN, budget, index as u32, pool as u32)
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

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.queues.iter().map(|queue| queue.behind.len()).sum::<usize>()
    }

    /// How many frames wait.
    pub(super) fn frames(&self) -> u64 {
        self.queues.iter().map(|queue| 1 + enp::frames(&queue.behind).count() as u64).sum()
    }

    /// Where what a sender sends must wait, if a large frame of it is here.
    #[inline]
    pub(super) fn behind(&mut self, sender: u64) -> Option<&mut Vec<u8>> {
        let queue = self.queues.iter_mut().find(|queue| queue.sender == sender)?;
        Some(&mut queue.behind)
    }

    /// Adds a large frame of a sender that has none here.
    pub(super) fn push(&mut self, sender: u64, frame: Vec<u8>) {
        self.waiting += frame.len();
        let (sequence, behind) = (None, Vec::new());
        self.queues.push_back(Queue { sender, frame, sequence, taken: 0, written: 0, behind });
    }

    /// Adds fragments to a batch that has nothing but whole frames yet: about
    /// half as much as there is, at least one.
    pub(super) fn take(&mut self, batch: &mut Vec<u8>) {
        let enough = batch.len() + (batch.len() / 2).clamp(1, SHARE);
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
        let Some(Queue { sender, frame, behind, .. }) = self.queues.remove(at) else { return };
        self.begun -= frame.len();
        self.waiting -= frame.len();
        let small: usize = enp::frames(&behind).map(<[u8]>::len).take_while(|len| !self.are_for(*len)).sum();
        buffer.extend_from_slice(&behind[..small]);
        if let Ok(Split::Frame { frame, rest }) = enp::split(&behind[small..], 0) {
            self.push(sender, frame.to_vec());
            if let Some(queue) = self.queues.back_mut() {
                queue.behind = rest.to_vec();
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
