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
use super::subscriptions::{Part, Subscriptions, Taken};
use super::{Connection, log};
use crate::actor::{ExitReason, Watched};
use crate::error::{RelationError, SendError};
use crate::event::Snapshot;
use crate::network::Refusal;
use crate::process::{Due, Over, Process, Relation, notify};
use crate::{Alias, Atom, Event, Pid, ProcessId};

/// Who watches whom across a connection.
#[derive(Debug)]
pub(super) struct Relations {
    /// What is here, and which processes of the peer watch it.
    theirs: Mutex<Theirs>,
    /// What is there, and which processes of this node watch it.
    pub(super) ours: Mutex<Ours>,
}

/// Each target, and who watches it how.
type Watchers = HashMap<Watched, HashMap<u64, Due, FixedState>, FixedState>;

#[derive(Debug, Default)]
struct Theirs {
    targets: Watchers,
    /// How many relations that are.
    count: usize,
    /// How many it may have.
    max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Ours {
    targets: HashMap<Watched, HashSet<u64, FixedState>, FixedState>,
    /// Of its events, who gets what it publishes.
    pub(super) events: Subscriptions,
    /// The connection has ended: nothing can be watched over it.
    closed: bool,
}

impl Theirs {
    fn add(&mut self, target: Watched, watcher: u64, relation: Relation) -> Result<(), Refusal> {
        // Since 3.2.0 Ergo asks as its core, once and again, for all of its processes. Before,
        // a process that asks again has lost the answer: it does not know that it is told.
        let known = self.targets.get(&target).and_then(|watchers| watchers.get(&watcher));
        if known.is_some_and(|due| due.of(relation)) {
            return Ok(());
        }
        if self.count >= self.max {
            let why = format!("too many relations: a node may have {} here", self.max);
            return Err(Refusal::Other(ErrorValue::new(why)));
        }
        let due = self.targets.entry(target).or_default().entry(watcher).or_default();
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

    fn take_all(&mut self) -> Watchers {
        self.count = 0;
        std::mem::take(&mut self.targets)
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
    /// None yet; the peer may have so many here.
    pub(super) fn bounded(max: usize) -> Self {
        Self { theirs: Mutex::new(Theirs { max, ..Theirs::default() }), ours: Mutex::default() }
    }

    /// Who gets what the peer publishes as this event; nobody, if nobody does.
    pub(super) fn subscribers(&self, event: Atom) -> Option<Snapshot> {
        self.ours.lock().events.snapshot(event)
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
    pub(super) fn end_in(self: &Arc<Self>, subject: Subject<'_>, payload: &[u8]) -> Result<(), Dropped> {
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
        self.has_ended(target, &reason);
        Ok(())
    }

    fn has_ended(self: &Arc<Self>, target: Watched, reason: &ExitReason) {
        let mut ours = self.relations.ours.lock();
        if let Watched::Event(event) = target {
            let Taken { subscribers, for_all } = ours.events.take(event.name);
            self.withdraw_for_all(&mut ours.events, event, for_all);
            drop(ours);
            for watcher in subscribers.processes() {
                let asked = |relation| subscribers.was_asked(watcher, relation) == Some(true);
                self.tell_of_end(watcher, &target, reason, asked);
            }
        } else {
            let watchers = ours.targets.remove(&target);
            drop(ours);
            let may_return = matches!(target, Watched::Name(_));
            for watcher in watchers.into_iter().flatten() {
                self.tell_of_end(watcher, &target, reason, |_| may_return);
            }
        }
    }

    /// Tells a process that something of the peer has ended. And the peer that it
    /// is watched no more, where something else may be there by the same name by
    /// now: the last wish may have been granted for that.
    fn tell_of_end(
        self: &Arc<Self>,
        watcher: u64,
        target: &Watched,
        reason: &ExitReason,
        may_be_left: impl Fn(Relation) -> bool,
    ) {
        let Some(process) = self.node().processes.with(watcher, Arc::clone) else { return };
        // Who begins to watch it anew asks behind what is told here.
        let ours = self.relations.ours.lock();
        // A subscription that is there has begun since.
        let former = |relation| match target {
            Watched::Event(event) => ours.events.was_asked(event.name, watcher, relation).is_none(),
            _ => true,
        };
        let which = Due { link: former(Relation::Link), monitor: former(Relation::Monitor) };
        let due = process.end_watch(target, which, Over::number(self.number), reason);
        for relation in [Relation::Link, Relation::Monitor] {
            if due.of(relation) && may_be_left(relation) {
                self.tell_watched_no_more(process.pid, *target, relation);
            }
        }
        drop(ours);
        process.tell(target, due, reason);
    }

    /// Notes that a process of this node watches something of the peer, or is
    /// about to: what must be done for that. An error if the connection has ended.
    pub(super) fn watch_over(
        &self,
        watcher: &Arc<Process>,
        target: Watched,
        relation: Relation,
    ) -> Result<Part, RelationError> {
        let mut ours = self.relations.ours.lock();
        if ours.closed {
            return Err(SendError::NoConnection { node: self.peer.name }.into());
        }
        if let Watched::Event(event) = target {
            return Ok(ours.events.begin(event.name, watcher, relation));
        }
        ours.targets.entry(target).or_default().insert(watcher.pid.id);
        Ok(Part::Itself)
    }

    /// A process has one relation less to something of the peer; `last` if it
    /// was the last one. Whether the peer must be told.
    pub(crate) fn forget_watcher(
        self: &Arc<Self>,
        watcher: u64,
        target: &Watched,
        relation: Relation,
        last: bool,
    ) -> bool {
        if let Watched::Event(event) = target {
            return self.forget_subscriber(*event, watcher, relation);
        }
        let mut ours = self.relations.ours.lock();
        if last && let Some(watchers) = ours.targets.get_mut(target) {
            watchers.remove(&watcher);
            if watchers.is_empty() {
                ours.targets.remove(target);
            }
        }
        true
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
        for (name, subscribers) in events.into_subscribers() {
            let event = Watched::Event(Event { name, node: self.peer.name });
            subscribers.processes().for_each(|watcher| lost(event, watcher));
        }
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
        let targets = self.relations.theirs.lock().take_all();
        for target in targets.keys() {
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
        const MAX: usize = 1 << 10;
        let mut theirs = Theirs { max: MAX, ..Theirs::default() };
        let watchers = 4;
        for number in 0..MAX as u64 {
            let relation = if number % 2 == 0 { Relation::Link } else { Relation::Monitor };
            theirs.add(target(number / (2 * watchers)), number / 2 % watchers, relation).unwrap();
        }
        let refused = |theirs: &mut Theirs| {
            let Err(Refusal::Other(error)) = theirs.add(target(0), watchers + 1, Relation::Link) else {
                panic!("it has all that it may")
            };
            let error = error.to_string();
            assert!(error.contains("a node may have 1024 here"), "{error}");
        };
        refused(&mut theirs);
        assert_eq!(theirs.remove(&target(0), 0, Relation::Link), (true, false));
        assert_eq!(theirs.remove(&target(0), 0, Relation::Link), (false, false), "it counts once");
        theirs.add(target(0), watchers, Relation::Link).unwrap();
        refused(&mut theirs);
        theirs.add(target(0), watchers, Relation::Link).expect("what it has is granted again");
        assert!(theirs.remove_target(&target(1)));
        assert_eq!(theirs.count, MAX - 2 * watchers as usize);
        assert!(!theirs.remove_target(&target(1)));
        for watcher in 0..2 * watchers {
            theirs.add(target(1), watcher, Relation::Monitor).unwrap();
        }
        assert_eq!(theirs.count, MAX);
    }
}
