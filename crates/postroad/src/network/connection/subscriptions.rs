//! Who of this node gets what the peer publishes, and who has asked for it
//! (`docs/wire/ENP.md` section 8 "Events").
//!
//! The peer sends a publication to a node once, so one subscription there brings
//! it to all subscribers here. The first ones of an event ask for themselves.
//! When an answer says that the event keeps nothing, the next one asks for all,
//! in the name of this node; from then on a subscriber is there without a
//! question, and goes without a word.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::FixedState;
use postroad_edf::Payload;
use postroad_wire::enp::any::{Generation, LastEvents};

use super::Connection;
use super::withdrawn::Withdrawal;
use crate::actor::Watched;
use crate::event::{Snapshot, Subscribers};
use crate::process::{Process, Relation};
use crate::{Atom, Event, Pid};

/// The subscriptions of this node to events of the peer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    events: HashMap<Atom, Subscribed, FixedState>,
    /// What this node's own subscriptions are at, which stand for all of their
    /// kind. Not part of the above: the peer may have one of an event that
    /// nobody here subscribes to any more.
    for_all: HashMap<(Atom, Relation), ForAll, FixedState>,
}

#[derive(Debug, Default)]
struct Subscribed {
    subscribers: Subscribers,
    sharing: Sharing,
}

/// Whether one subscription serves all: who subscribes to an event that keeps
/// publications must ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sharing {
    #[default]
    Unknown,
    Possible,
    Impossible,
}

/// A subscription for all. No two requests about it are under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ForAll {
    /// A subscriber has asked, and is still there to take the answer.
    Asked,
    /// The peer has it. There are subscribers.
    Held,
    /// Taken back, and the peer has not said that it knows.
    Withdrawn,
}

/// What is to be done for one more subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The peer is asked for it.
    Itself,
    /// The peer is asked for all; what comes of it must be
    /// [settled](Connection::settle_for_all).
    ForAll,
    /// Nothing: the peer sends already.
    Further,
}

/// What came of asking for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Granted,
    /// Granted, and the event keeps publications after all.
    Kept,
    Refused,
    /// The peer was not asked.
    NotAsked,
    /// The peer may have granted it.
    Unknown,
}

/// What has ended with an event: its subscribers, and the subscriptions for all.
pub(super) struct Taken {
    pub(super) subscribers: Subscribers,
    pub(super) for_all: Vec<Relation>,
}

impl Subscriptions {
    /// Notes one more subscription.
    pub(super) fn begin(&mut self, event: Atom, process: &Arc<Process>, relation: Relation) -> Part {
        let Subscribed { subscribers, sharing } = self.events.entry(event).or_default();
        subscribers.insert(process, relation);
        match self.for_all.entry((event, relation)) {
            Entry::Occupied(known) if *known.get() == ForAll::Held => Part::Further,
            Entry::Vacant(vacant) if *sharing == Sharing::Possible => {
                vacant.insert(ForAll::Asked);
                Part::ForAll
            }
            _ => {
                subscribers.note_asked(process.pid.id, relation);
                Part::Itself
            }
        }
    }

    /// Removes a subscription. Whether the peer was asked for it by itself, if it
    /// was there; and which ones for all are of no more use.
    fn remove(&mut self, event: Atom, process: u64, relation: Relation) -> (Option<bool>, Vec<Relation>) {
        let Some(Subscribed { subscribers, .. }) = self.events.get_mut(&event) else {
            return (None, Vec::new());
        };
        let asked = subscribers.was_asked(process, relation);
        subscribers.remove(process, relation);
        if !subscribers.is_empty() {
            return (asked, Vec::new());
        }
        (asked, self.take(event).for_all)
    }

    /// Takes out an event: it has ended, or nobody subscribes any more.
    pub(super) fn take(&mut self, event: Atom) -> Taken {
        let subscribers = self.events.remove(&event).unwrap_or_default().subscribers;
        let held = |relation: &Relation| self.for_all.get(&(event, *relation)) == Some(&ForAll::Held);
        let for_all = [Relation::Link, Relation::Monitor].into_iter().filter(held).collect();
        Taken { subscribers, for_all }
    }

    /// Whether the peer was asked for this subscription by itself, or is about to
    /// be; nothing if it is not there.
    pub(super) fn was_asked(&self, event: Atom, process: u64, relation: Relation) -> Option<bool> {
        self.events.get(&event).and_then(|known| known.subscribers.was_asked(process, relation))
    }

    pub(super) fn snapshot(&self, event: Atom) -> Option<Snapshot> {
        self.events.get(&event).map(|known| known.subscribers.snapshot())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Everybody who subscribes to something, each once for each subscription, in
    /// the order of the names.
    pub(super) fn into_subscribers(self) -> impl Iterator<Item = (Atom, Subscribers)> {
        let mut events: Vec<_> = self.events.into_iter().collect();
        events.sort_unstable_by_key(|(name, _)| *name);
        events.into_iter().map(|(name, Subscribed { subscribers, .. })| (name, subscribers))
    }
}

impl Connection {
    /// Removes a subscription; whether the peer must be told of that.
    pub(super) fn forget_subscriber(
        self: &Arc<Self>,
        event: Event,
        process: u64,
        relation: Relation,
    ) -> bool {
        let mut ours = self.relations.ours.lock();
        let (asked, for_all) = ours.events.remove(event.name, process, relation);
        self.withdraw_for_all(&mut ours.events, event, for_all);
        // What was not there has ended: who takes that back may have asked.
        asked.unwrap_or(true)
    }

    /// The peer has answered who asked for itself: now it is known whether one
    /// subscription will do for all. Ergo before 3.2.0 says the same of an event
    /// that has nothing to give yet.
    pub(super) fn learn_sharing(&self, event: Event, process: u64, relation: Relation, answer: &Payload) {
        let mut ours = self.relations.ours.lock();
        if self.peer.generation >= Generation::V320
            && keeps_nothing(answer)
            && let Some(known) = ours.events.events.get_mut(&event.name)
            && known.sharing == Sharing::Unknown
            && known.subscribers.was_asked(process, relation).is_some()
        {
            known.sharing = Sharing::Possible;
        }
    }

    /// Ends the question for all that a subscriber has asked.
    pub(super) fn settle_for_all(
        self: &Arc<Self>,
        event: Event,
        process: u64,
        relation: Relation,
        outcome: Outcome,
    ) {
        let mut ours = self.relations.ours.lock();
        let events = &mut ours.events;
        // If it is not, the answer was about an event that has ended: whether of
        // that one or its successor, the peer has a subscription that is not counted on.
        let is_there = events.was_asked(event.name, process, relation).is_some();
        if matches!(outcome, Outcome::Kept | Outcome::Refused)
            && is_there
            && let Some(known) = events.events.get_mut(&event.name)
        {
            // That subscriber asks for itself now.
            known.sharing = Sharing::Impossible;
            known.subscribers.note_asked(process, relation);
        }
        match outcome {
            Outcome::Granted if is_there => {
                events.for_all.insert((event.name, relation), ForAll::Held);
            }
            Outcome::Granted | Outcome::Kept | Outcome::Unknown => {
                self.withdraw_for_all(events, event, [relation]);
            }
            Outcome::Refused | Outcome::NotAsked => {
                events.for_all.remove(&(event.name, relation));
            }
        }
    }

    /// Takes back what stands for all.
    pub(super) fn withdraw_for_all(
        self: &Arc<Self>,
        events: &mut Subscriptions,
        event: Event,
        relations: impl IntoIterator<Item = Relation>,
    ) {
        for relation in relations {
            events.for_all.insert((event.name, relation), ForAll::Withdrawn);
            self.tell_watched_no_more(self.node().core(), Watched::Event(event), relation);
        }
    }

    /// The peer knows that something is watched no more: what stood for all can
    /// be asked for anew.
    pub(super) fn withdrawal_is_known(&self, Withdrawal { watcher, target, relation }: Withdrawal) {
        if let Watched::Event(event) = target
            && watcher.id == Pid::CORE
        {
            self.relations.ours.lock().events.for_all.remove(&(event.name, relation));
        }
    }
}

/// Whether an answer is that of an event that keeps nothing: not even an empty
/// list.
pub(super) fn keeps_nothing(answer: &Payload) -> bool {
    matches!(answer.downcast_ref::<LastEvents>(), Some(None))
}
