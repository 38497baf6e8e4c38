//! Relations that were taken back, until the peer has said that it knows.
//!
//! A link that is lost may have carried that a process watches something no
//! more. Nobody would ever say it again, and the peer would keep the relation
//! as long as the connection lives: publish to nobody, and take an event for
//! wanted. So it is said again.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::ends::LATELY;
use super::{Connection, DownReason};
use crate::Pid;
use crate::actor::Watched;
use crate::process::{Process, Relation};

/// So many are remembered, a few MiB for a connection at most. More wait for an
/// answer only if an event ends that more have subscribed to, or if the peer does
/// not answer: then the oldest are forgotten, and the connection does not outlive
/// the loss of a link until that one has certainly arrived.
const MOST: usize = 1 << 15;

/// What was taken back, and is not known to have arrived.
#[derive(Debug, Default)]
pub(super) struct Withdrawn(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    /// By the ids of their references, the oldest first.
    told: BTreeMap<[u64; 3], (Instant, Withdrawal)>,
    /// When the last one was told that had to be forgotten.
    forgotten: Option<Instant>,
}

/// A process of this node watches something of the peer no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Withdrawal {
    pub(super) watcher: Pid,
    pub(super) target: Watched,
    pub(super) relation: Relation,
}

impl UnderWay {
    /// Forgets the oldest one that does not stand for all: while one does, that
    /// event is not shared.
    fn forget_first(&mut self) {
        let of_one = |(_, (_, noted)): &(&_, &(_, Withdrawal))| noted.watcher.id != Pid::CORE;
        let oldest = self.told.iter().find(of_one).map(|(reference, (at, _))| (*reference, *at));
        if let Some((reference, at)) = oldest {
            self.told.remove(&reference);
            self.forgotten = Some(at);
        }
    }
}

impl Withdrawn {
    /// The peer is about to be told by a request with these ids.
    pub(super) fn note(&self, reference: [u64; 3], withdrawal: Withdrawal) {
        let mut under_way = self.0.lock();
        under_way.told.insert(reference, (Instant::now(), withdrawal));
        if under_way.told.len() > MOST {
            under_way.forget_first();
        }
    }

    /// The peer has answered: what it knows by that, if it was told so lately.
    pub(super) fn is_known(&self, reference: [u64; 3]) -> Option<Withdrawal> {
        self.0.lock().told.remove(&reference).map(|(_, withdrawal)| withdrawal)
    }

    /// Takes those of certain watchers; nothing if they are not all known.
    fn take(&self, of: impl Fn(Pid) -> bool) -> Option<Vec<Withdrawal>> {
        let mut under_way = self.0.lock();
        if under_way.forgotten.is_some_and(|at| at.elapsed() <= LATELY) {
            return None;
        }
        let told = std::mem::take(&mut under_way.told);
        let (taken, left): (BTreeMap<_, _>, _) =
            told.into_iter().partition(|(_, (_, noted))| of(noted.watcher));
        under_way.told = left;
        Some(taken.into_values().map(|(_, withdrawal)| withdrawal).collect())
    }
}

impl Connection {
    /// The link of a slot is lost, and nobody knows what of it arrived: what was
    /// taken back by way of it is so again, unless it is wanted by now. If that is
    /// not known any more, the connection ends.
    pub(super) fn withdraw_again(self: &Arc<Self>, lost: usize) {
        let lost: Vec<_> = (0..self.slots.len()).map(|slot| self.leads_to(slot) == lost).collect();
        // Of what stands for all the answer may have been lost as well, which
        // comes by another link.
        let withdrawn =
            self.withdrawn.take(|watcher| watcher.id == Pid::CORE || lost[self.slot_of(watcher.id)]);
        let Some(withdrawn) = withdrawn else { return self.shut_down(DownReason::Lost) };
        for Withdrawal { watcher, target, relation } in withdrawn {
            // Who begins to watch it now either is seen here, or asks behind this.
            let ours = self.relations.ours.lock();
            let wanted = match target {
                // Only what the peer is asked for, and what stands for all is not asked for meanwhile.
                Watched::Event(event) => {
                    ours.events.was_asked(event.name, watcher.id, relation) == Some(true)
                }
                _ => {
                    let wants = |process: &Arc<Process>| process.wants_to_watch(&target, relation);
                    self.node().processes.with(watcher.id, wants).unwrap_or(false)
                }
            };
            if !wanted {
                self.tell_watched_no_more(watcher, target, relation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Atom, ProcessId};

    #[tokio::test(start_paused = true)]
    async fn that_something_was_forgotten_is_known_as_long_as_it_matters() {
        let node = Atom::new("a@withdrawn").unwrap();
        let watcher = |id| Pid { node, id, creation: 1 };
        let target = Watched::Name(ProcessId { name: Atom::new("till").unwrap(), node });
        let withdrawn = Withdrawn::default();
        let note = |id: u64| {
            let withdrawal = Withdrawal { watcher: watcher(id), target, relation: Relation::Link };
            withdrawn.note([id, 0, 0], withdrawal);
        };
        (0..MOST as u64).for_each(note);
        assert!(withdrawn.is_known([0, 0, 0]).is_some() && withdrawn.is_known([0, 0, 0]).is_none());
        assert_eq!(withdrawn.take(|watcher| watcher.id % 2 == 0).unwrap().len(), MOST / 2 - 1);
        let for_all = Withdrawal { watcher: watcher(Pid::CORE), target, relation: Relation::Link };
        withdrawn.note([0, 1, 0], for_all);
        (0..=MOST as u64).for_each(note);
        assert!(withdrawn.is_known([0, 1, 0]).is_some(), "what stands for all is not forgotten");
        assert!(withdrawn.take(|_| true).is_none());
        tokio::time::advance(LATELY + Duration::from_secs(1)).await;
        assert_eq!(withdrawn.take(|_| true).unwrap().len(), MOST - 1);
        assert_eq!(withdrawn.take(|_| true).unwrap().len(), 0);
    }
}
