//! A publication on its way into mailboxes.

use tokio::task::yield_now;

use super::subscribers::Snapshot;
use super::{Evicted, Published};
use crate::process::{Envelope, Priority};

/// So many chunks get a publication before others may run.
const AT_ONCE: usize = 16;

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
    fn go_on(&mut self) -> bool {
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

    /// Whether it is for so many that others should run meanwhile.
    pub(crate) fn is_wide(&self) -> bool {
        self.to.len() > AT_ONCE
    }

    /// Hands it to everybody, without a pause.
    pub(crate) fn reach_all_at_once(&mut self) {
        while self.go_on() {}
    }

    /// Hands it to everybody, and lets others run in between.
    ///
    /// Cancel safe: what is left is done at once when this is dropped.
    pub(crate) async fn reach_all(&mut self) {
        while self.go_on() {
            if self.done.is_multiple_of(AT_ONCE) {
                yield_now().await;
            }
        }
    }

    /// How many had no room for it.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        self.reach_all_at_once();
    }
}
