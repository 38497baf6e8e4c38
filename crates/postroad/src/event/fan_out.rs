//! A publication on its way into mailboxes.

use super::subscribers::{CHUNK, Snapshot};
use super::{Evicted, Published};
use crate::process::{Envelope, Priority};

/// Hands one publication to the subscribers of this node. What is left when it
/// is dropped gets it then.
pub(crate) struct FanOut {
    to: Snapshot,
    /// How many chunks have got it.
    done: usize,
    published: Evicted<Published>,
    priority: Priority,
    refused: u64,
    /// How many envelopes wait in the fullest lane.
    depth: usize,
}

impl FanOut {
    pub(crate) fn new(to: Snapshot, published: Published, priority: Priority) -> Self {
        Self { to, done: 0, published: Evicted(Some(published)), priority, refused: 0, depth: 0 }
    }

    /// Hands it to some; false if everybody has it.
    pub(super) fn go_on(&mut self) -> bool {
        let (Some(chunk), Evicted(Some(published))) = (self.to.get(self.done), &self.published) else {
            return false;
        };
        self.done += 1;
        for subscription in &**chunk {
            let envelope = Envelope::Event(published.clone());
            match subscription.process.push(envelope, self.priority) {
                Ok(delivered) => self.depth = self.depth.max(delivered.start()),
                // Its message lives on here, so nothing of a user's is dropped.
                Err(_) => self.refused += 1,
            }
        }
        true
    }

    /// Hands it to everybody, and returns to how many in vain.
    pub(crate) fn finish(mut self) -> u64 {
        while self.go_on() {}
        self.refused
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// How many have got it.
    pub(super) fn reached(&self) -> usize {
        self.done * CHUNK
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        while self.go_on() {}
    }
}
