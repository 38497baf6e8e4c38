//! Relations that were taken back, until the peer has said that it knows.
//!
//! A link that is lost may have carried that a process watches something no
//! more. Nobody would ever say it again, and the peer would keep the relation
//! as long as the connection lives: publish to nobody, and take an event for
//! wanted. So it is said again.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Connection;
use crate::Pid;
use crate::actor::Watched;
use crate::process::{Process, Relation};

/// So many are remembered, a MiB for a connection at most. More wait for an
/// answer only if somebody who watched more ends, or the peer does not answer:
/// then the oldest are forgotten.
const MOST: usize = 8192;

/// By the ids of their references, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Withdrawn(Mutex<BTreeMap<[u64; 3], Withdrawal>>);

/// A process of this node watches something of the peer no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Withdrawal {
    pub(super) watcher: Pid,
    pub(super) target: Watched,
    pub(super) relation: Relation,
}

impl Withdrawn {
    /// The peer is about to be told by a request with these ids.
    pub(super) fn note(&self, reference: [u64; 3], withdrawal: Withdrawal) {
        let mut withdrawn = self.0.lock();
        withdrawn.insert(reference, withdrawal);
        if withdrawn.len() > MOST {
            withdrawn.pop_first();
        }
    }

    /// The peer has answered.
    pub(super) fn is_known(&self, reference: [u64; 3]) {
        self.0.lock().remove(&reference);
    }

    /// Takes those of certain watchers.
    fn take(&self, of: impl Fn(Pid) -> bool) -> BTreeMap<[u64; 3], Withdrawal> {
        let mut withdrawn = self.0.lock();
        let (taken, left) =
            std::mem::take(&mut *withdrawn).into_iter().partition(|(_, noted)| of(noted.watcher));
        *withdrawn = left;
        taken
    }
}

impl Connection {
    /// The link of a slot is lost, and nobody knows what of it arrived: what was
    /// taken back by way of it is so again, unless it is wanted by now.
    pub(super) fn withdraw_again(self: &Arc<Self>, lost: usize) {
        let lost: Vec<_> = (0..self.slots.len()).map(|slot| self.leads_to(slot) == lost).collect();
        let withdrawn = self.withdrawn.take(|watcher| lost[self.slot_of(watcher.id)]);
        for Withdrawal { watcher, target, relation } in withdrawn.into_values() {
            let wants = |process: &Arc<Process>| process.wants_to_watch(&target, relation);
            // Who begins to watch it now either is seen here, or asks behind this.
            let _asking = self.relations.hold_wishes();
            if !self.node().processes.with(watcher.id, wants).unwrap_or(false) {
                self.tell_watched_no_more(watcher, target, relation);
            }
        }
    }
}
