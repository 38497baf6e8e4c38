//! Links and monitors across a connection (`docs/wire/ENP.md` section 8).
//!
//! They belong to the connection and end with it: a peer that is restarted
//! within the same second is another one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use postroad_edf::{ErrorValue, Payload};
use postroad_wire::enp::any::{Verb, Watch};
use postroad_wire::enp::{self, Head, Subject};

use super::dispatch::Dropped;
use super::events::last_events;
use super::{Connection, log};
use crate::actor::{ExitReason, Watched};
use crate::error::{RelationError, SendError};
use crate::event::{Snapshot, Subscribers};
use crate::network::Refusal;
use crate::process::{Due, Over, Process, Relation, notify};
use crate::{Alias, Atom, Event, Pid, ProcessId};

/// A peer may watch this much here. It costs us memory as long as the
/// connection lives.
const MAX_WATCHED_BY_PEER: usize = 1 << 18;

/// Who watches whom across a connection.
#[derive(Debug, Default)]
pub(super) struct Relations {
    /// What is here, and which processes of the peer watch it.
    theirs: Mutex<Theirs>,
    /// What is there, and which processes of this node watch it.
    ours: Mutex<Ours>,
}

#[derive(Debug, Default)]
struct Theirs {
    targets: HashMap<Watched, HashMap<u64, Due, FixedState>, FixedState>,
    /// How many relations that are.
    count: usize,
}

#[derive(Debug, Default)]
struct Ours {
    targets: HashMap<Watched, HashSet<u64, FixedState>, FixedState>,
    /// Of its events, who gets what it publishes.
    events: HashMap<Atom, Subscribers, FixedState>,
    /// The connection has ended: nothing can be watched over it.
    closed: bool,
}

impl Ours {
    /// Takes out who watches something that has ended.
    fn take(&mut self, target: &Watched) -> Vec<u64> {
        match target {
            Watched::Event(event) => {
                self.events.remove(&event.name).map_or_else(Vec::new, |all| all.processes().collect())
            }
            _ => self.targets.remove(target).into_iter().flatten().collect(),
        }
    }
}

impl Theirs {
    fn add(&mut self, target: Watched, watcher: u64, relation: Relation) -> Result<(), Refusal> {
        if self.count >= MAX_WATCHED_BY_PEER {
            let why = format!("too many relations: a node may have {MAX_WATCHED_BY_PEER} here");
            return Err(Refusal::Other(ErrorValue::new(why)));
        }
        let due = self.targets.entry(target).or_default().entry(watcher).or_default();
        if due.of(relation) {
            // Since 3.2.0 Ergo asks as its core, once and again, for all of its processes. Before,
            // a process that asks again has lost the answer: it does not know that it is told.
            return Ok(());
        }
        *due.of_mut(relation) = true;
        self.count += 1;
        Ok(())
    }

    /// Whether the relation was there, and whether the peer watches the target
    /// no more.
    fn remove(&mut self, target: &Watched, watcher: u64, relation: Relation) -> (bool, bool) {
        let due = self.targets.get_mut(target).and_then(|watchers| watchers.get_mut(&watcher));
        let was_there = due.is_some_and(|due| std::mem::take(due.of_mut(relation)));
        self.count -= usize::from(was_there);
        self.tidy(target, watcher);
        (was_there, was_there && !self.targets.contains_key(target))
    }

    /// Forgets a target; whether it was watched.
    fn remove_target(&mut self, target: &Watched) -> bool {
        let Some(watchers) = self.targets.remove(target) else { return false };
        let relations = |due: &Due| usize::from(due.link) + usize::from(due.monitor);
        self.count -= watchers.values().map(relations).sum::<usize>();
        true
    }

    fn tidy(&mut self, target: &Watched, watcher: u64) {
        if let Entry::Occupied(mut watchers) = self.targets.entry(*target) {
            if watchers.get().get(&watcher) == Some(&Due::default()) {
                watchers.get_mut().remove(&watcher);
            }
            if watchers.get().is_empty() {
                watchers.remove();
            }
        }
    }
}

impl Relations {
    /// While this is held no process of this node gets any further that begins to
    /// watch something of the peer.
    pub(super) fn hold_wishes(&self) -> impl Sized + '_ {
        self.ours.lock()
    }
}

impl Connection {
    /// The peer wishes to watch something of this node, or not any more.
    pub(super) fn watch_in(self: &Arc<Self>, watch: &Watch) -> Result<Payload, Refusal> {
        let target = Watched::from(watch.target);
        let watcher = watch.source.id;
        let (relation, begins) = match watch.verb {
            Verb::Link => (Relation::Link, true),
            Verb::Monitor => (Relation::Monitor, true),
            Verb::Unlink => (Relation::Link, false),
            Verb::Demonitor => (Relation::Monitor, false),
        };
        if begins {
            return self.watched_by_peer(target, watcher, relation);
        }
        let (was_there, last) = self.relations.theirs.lock().remove(&target, watcher, relation);
        if last {
            self.peer_watches_no_more(&target);
        }
        if was_there { Ok(Payload::new(())) } else { Err(Refusal::TargetUnknown) }
    }

    fn watched_by_peer(
        self: &Arc<Self>,
        target: Watched,
        watcher: u64,
        relation: Relation,
    ) -> Result<Payload, Refusal> {
        let node = self.node();
        let answer = match target {
            Watched::Event(event) => {
                last_events(node.events.subscribe_peer(event.name, self, watcher, relation)?)
            }
            _ => Payload::new(node.relations.add_peer(node, target, self, watcher, relation)?),
        };
        // The connection may have ended before it knew of this relation.
        if self.is_down() {
            self.forget_watchers(&target);
            self.peer_watches_no_more(&target);
        }
        Ok(answer)
    }

    /// Notes that a process of the peer watches something of this node. For
    /// where it is looked for, under the lock that is held meanwhile.
    pub(crate) fn note_watcher(
        &self,
        target: Watched,
        watcher: u64,
        relation: Relation,
    ) -> Result<(), Refusal> {
        self.relations.theirs.lock().add(target, watcher, relation)
    }

    /// Forgets who of the peer watches something that ends; whether anybody did.
    pub(crate) fn forget_watchers(&self, target: &Watched) -> bool {
        self.relations.theirs.lock().remove_target(target)
    }

    /// Tells the peer that something of this node has ended which it watched.
    ///
    /// Does not wait, and is not lost: if a link is, it is told
    /// [again](Self::tell_ends_again). The frame follows what the process `by`
    /// has sent.
    pub(crate) fn tell_end(self: &Arc<Self>, target: &Watched, by: u64, reason: &ErrorValue) {
        self.ends[self.slot_of(by)].note(*target, by, reason.clone());
        let subject = match target {
            Watched::Pid(pid) => Subject::Pid(pid.id),
            Watched::Name(process) => Subject::Name(self.wire_name(process.name)),
            Watched::Alias(alias) => Subject::Alias(alias.id),
            Watched::Event(event) => Subject::Event(self.wire_name(event.name)),
            Watched::Node(_) => return,
        };
        if let Err(error) = self.place_end(by, &Head::Terminate { subject }, reason) {
            log!(self.log, WARN, peer = %self.peer.name, %target, %error, "end not told");
        }
    }

    /// Something of the peer has ended: its watchers here are told.
    pub(super) fn end_in(&self, subject: Subject<'_>, payload: &[u8]) -> Result<(), Dropped> {
        let reason: ErrorValue = self.decoder(payload).top()?;
        let reason = ExitReason::from_text(&reason.text().to_string_lossy());
        let (node, creation) = (self.peer.name, self.peer.creation);
        let name = |name: enp::Name<'_>| self.existing_name(name);
        let target = match subject {
            Subject::Pid(id) => Watched::Pid(Pid { node, id, creation }),
            Subject::Alias(id) => Watched::Alias(Alias { node, creation, id }),
            Subject::Name(wire) => match name(wire)? {
                Some(name) => Watched::Name(ProcessId { name, node }),
                None => return Ok(()),
            },
            Subject::Event(wire) => match name(wire)? {
                Some(name) => Watched::Event(Event { name, node }),
                None => return Ok(()),
            },
        };
        let watchers = self.relations.ours.lock().take(&target);
        for watcher in watchers {
            notify(self.node(), watcher, &target, Over::number(self.number), &reason);
        }
        Ok(())
    }

    /// Notes that a process of this node watches something of the peer, or is
    /// about to. An error if the connection has ended.
    pub(super) fn watch_over(
        &self,
        watcher: &Arc<Process>,
        target: Watched,
        relation: Relation,
    ) -> Result<(), RelationError> {
        let mut ours = self.relations.ours.lock();
        if ours.closed {
            return Err(SendError::NoConnection { node: self.peer.name }.into());
        }
        match target {
            Watched::Event(event) => ours.events.entry(event.name).or_default().insert(watcher, relation),
            _ => {
                ours.targets.entry(target).or_default().insert(watcher.pid.id);
            }
        }
        Ok(())
    }

    /// A process has one relation less to something of the peer; `last` if it
    /// was the last one.
    pub(crate) fn forget_watcher(&self, watcher: u64, target: &Watched, relation: Relation, last: bool) {
        let mut ours = self.relations.ours.lock();
        if let Watched::Event(event) = target {
            if let Some(subscribers) = ours.events.get_mut(&event.name) {
                subscribers.remove(watcher, relation);
                if subscribers.is_empty() {
                    ours.events.remove(&event.name);
                }
            }
        } else if last && let Some(watchers) = ours.targets.get_mut(target) {
            watchers.remove(&watcher);
            if watchers.is_empty() {
                ours.targets.remove(target);
            }
        }
    }

    /// Ends all relations across the connection, which has ended. In an order
    /// that does not depend on addresses: a simulated run can be repeated.
    pub(super) fn end_relations(&self) {
        self.peer_watches_nothing();
        let Ours { targets, events, .. } =
            std::mem::replace(&mut *self.relations.ours.lock(), Ours { closed: true, ..Ours::default() });
        let lost = |target: Watched, watcher| {
            notify(self.node(), watcher, &target, Over::number(self.number), &ExitReason::NoConnection);
        };
        let mut targets: Vec<_> = targets.into_iter().collect();
        targets.sort_unstable_by_key(|(target, _)| *target);
        for (target, watchers) in targets {
            watchers.into_iter().for_each(|watcher| lost(target, watcher));
        }
        let mut events: Vec<_> = events.into_iter().collect();
        events.sort_unstable_by_key(|(name, _)| *name);
        for (name, subscribers) in events {
            let event = Watched::Event(Event { name, node: self.peer.name });
            subscribers.processes().for_each(|watcher| lost(event, watcher));
        }
    }

    /// Who gets what the peer publishes as this event; nobody, if nobody does.
    pub(super) fn subscribers(&self, event: Atom) -> Option<Snapshot> {
        self.relations.ours.lock().events.get(&event).map(Subscribers::snapshot)
    }

    /// How many relations processes of this node have to something of the peer,
    /// events aside, and the peer's to something here.
    pub(in crate::network) fn relation_counts(&self) -> (usize, usize) {
        let ours = self.relations.ours.lock().targets.values().map(HashSet::len).sum();
        (ours, self.relations.theirs.lock().count)
    }

    #[cfg(test)]
    pub(super) fn watches_nothing(&self) -> bool {
        let ours = self.relations.ours.lock();
        ours.targets.is_empty() && ours.events.is_empty()
    }

    fn peer_watches_nothing(&self) {
        let watched = std::mem::take(&mut *self.relations.theirs.lock());
        for target in watched.targets.keys() {
            self.peer_watches_no_more(target);
        }
    }

    fn peer_watches_no_more(&self, target: &Watched) {
        match target {
            Watched::Event(event) => self.node().events.unsubscribe_peer(event.name, self),
            _ => self.node().relations.remove_peer(target, self),
        }
    }

    /// Whether the peer watches something of this node.
    pub(crate) fn is_watched_by_peer(&self, target: &Watched) -> bool {
        self.relations.theirs.lock().targets.contains_key(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(id: u64) -> Watched {
        Watched::Pid(Pid { node: Atom::new("bound@relations").unwrap(), id, creation: 1 })
    }

    #[test]
    fn a_peer_has_as_many_relations_as_it_may() {
        let mut theirs = Theirs::default();
        let watchers = 4;
        for number in 0..MAX_WATCHED_BY_PEER as u64 {
            let relation = if number % 2 == 0 { Relation::Link } else { Relation::Monitor };
            theirs.add(target(number / (2 * watchers)), number / 2 % watchers, relation).unwrap();
        }
        let refused = |theirs: &mut Theirs| {
            let Err(Refusal::Other(error)) = theirs.add(target(0), watchers, Relation::Link) else {
                panic!("it has all that it may")
            };
            let error = error.to_string();
            assert!(error.contains("a node may have 262144 here"), "{error}");
        };
        refused(&mut theirs);
        assert_eq!(theirs.remove(&target(0), 0, Relation::Link), (true, false));
        assert_eq!(theirs.remove(&target(0), 0, Relation::Link), (false, false), "it counts once");
        theirs.add(target(0), watchers, Relation::Link).unwrap();
        refused(&mut theirs);
        assert!(theirs.remove_target(&target(1)));
        assert_eq!(theirs.count, MAX_WATCHED_BY_PEER - 2 * watchers as usize);
        assert!(!theirs.remove_target(&target(1)));
        for watcher in 0..2 * watchers {
            theirs.add(target(1), watcher, Relation::Monitor).unwrap();
        }
        assert_eq!(theirs.count, MAX_WATCHED_BY_PEER);
    }
}
