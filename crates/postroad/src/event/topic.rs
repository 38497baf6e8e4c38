//! One event of this node: what was published last, and who gets what comes.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::subscribers::Snapshot;
use super::{EventInfo, EventOptions, EventToken, Evicted, Published, Subscribers};
use crate::actor::Watched;
use crate::error::RelationError;
use crate::network::{Connection, Refusal};
use crate::process::{Delivered, Envelope, Over, Priority, Process, Relation, Watchers};
use crate::{Atom, Event, Pid};

/// An event of this node.
pub(crate) struct Topic {
    pub(crate) name: Atom,
    /// Tells it from former ones of the same name.
    number: u64,
    pub(super) producer: Pid,
    pub(super) token: EventToken,
    /// The producer, if it wants to be told whether anybody subscribes.
    told: Option<Arc<Process>>,
    buffer: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: bool,
    /// The last publications, oldest first.
    last: VecDeque<Published>,
    subscribers: Subscribers,
    /// Nodes with subscribers, each by its connection.
    peers: Arc<Vec<Arc<Connection>>>,
    published: u64,
    missed_here: u64,
    missed_there: u64,
    demand: Demand,
}

/// What the producer knows of its subscribers.
#[derive(Default)]
struct Demand {
    /// It was told that there are some.
    known: bool,
    /// It will look again: that lies in its mailbox once, however often
    /// subscribers come and go.
    pending: bool,
}

impl State {
    fn is_wanted(&self) -> bool {
        !self.subscribers.is_empty() || !self.peers.is_empty()
    }
}

/// Where a publication goes.
pub(super) struct Reach {
    pub(super) subscribers: Snapshot,
    pub(super) peers: Arc<Vec<Arc<Connection>>>,
}

impl Topic {
    pub(super) fn new(
        name: Atom,
        number: u64,
        producer: Pid,
        process: Option<&Arc<Process>>,
        token: EventToken,
        options: EventOptions,
    ) -> Self {
        Self {
            name,
            number,
            producer,
            token,
            told: process.filter(|_| options.notify).cloned(),
            buffer: options.buffer,
            state: Mutex::default(),
        }
    }

    /// Where its subscribers watch it.
    pub(crate) fn place(&self) -> Over {
        Over::number(self.number)
    }

    /// Adds a subscription of a process of this node; what was published last.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        process: &Arc<Process>,
        relation: Relation,
    ) -> Result<Vec<Published>, RelationError> {
        self.add(|state| {
            state.subscribers.insert(process, relation);
            Ok(())
        })
    }

    /// Ends a subscription, if there is one.
    pub(super) fn unsubscribe(self: &Arc<Self>, process: u64, relation: Relation) {
        self.change(|state| {
            state.subscribers.remove(process, relation);
        });
    }

    /// Adds a subscription of a process of a peer; what was published last,
    /// if that is kept.
    pub(super) fn subscribe_peer(
        self: &Arc<Self>,
        peer: &Arc<Connection>,
        watcher: u64,
        relation: Relation,
    ) -> Result<Option<Vec<Published>>, Refusal> {
        let last = self.add(|state| {
            peer.note_watcher(self.watched(), watcher, relation)?;
            if state.peers.iter().all(|known| known.number != peer.number) {
                Arc::make_mut(&mut state.peers).push(peer.clone());
            }
            Ok(())
        });
        last.map(|last| (self.buffer > 0).then_some(last))
    }

    /// Removes a node, unless it has subscribed anew.
    pub(super) fn unsubscribe_peer(self: &Arc<Self>, peer: &Connection) {
        let event = self.watched();
        self.change(|state| {
            if !peer.is_watched_by_peer(&event) {
                Arc::make_mut(&mut state.peers).retain(|known| known.number != peer.number);
            }
        });
    }

    fn watched(&self) -> Watched {
        Watched::Event(Event { name: self.name, node: self.producer.node })
    }

    fn add<E: From<RelationError>>(
        self: &Arc<Self>,
        add: impl FnOnce(&mut State) -> Result<(), E>,
    ) -> Result<Vec<Published>, E> {
        self.change(|state| {
            if state.ended {
                return Err(RelationError::EventUnknown.into());
            }
            add(state)?;
            Ok(state.last.iter().cloned().collect())
        })
    }

    /// Changes who subscribes, and tells the producer if it wants to know.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let outcome = change(&mut state);
        // Handed over under the lock, so that the producer's last look comes after the last change.
        let delivered = self.look_again(&mut state);
        drop(state);
        if let Some(delivered) = delivered {
            delivered.start();
        }
        outcome
    }

    fn look_again(self: &Arc<Self>, state: &mut State) -> Option<Delivered> {
        let producer = self.told.as_ref()?;
        if state.demand.pending || state.ended || state.is_wanted() == state.demand.known {
            return None;
        }
        state.demand.pending = true;
        producer.push(Envelope::Demand(self.clone()), Priority::High).ok()
    }

    /// Whether there are subscribers now, if the producer does not know yet.
    pub(crate) fn demand(&self) -> Option<bool> {
        let mut state = self.state.lock();
        state.demand.pending = false;
        let wanted = state.is_wanted();
        if state.ended || wanted == state.demand.known {
            return None;
        }
        state.demand.known = wanted;
        Some(wanted)
    }

    /// Keeps a publication, and says where it goes; `None` if the event has ended.
    pub(super) fn accept(&self, published: &Published) -> Option<Reach> {
        let mut state = self.state.lock();
        if state.ended {
            return None;
        }
        state.published += 1;
        let mut evicted = Evicted(None);
        if self.buffer > 0 {
            if state.last.len() >= self.buffer {
                evicted.0 = state.last.pop_front();
            }
            state.last.push_back(published.clone());
        }
        let reach = Reach { subscribers: state.subscribers.snapshot(), peers: state.peers.clone() };
        drop(state);
        drop(evicted);
        Some(reach)
    }

    /// Notes that a publication did not reach so many subscribers of this node.
    pub(super) fn missed_here(&self, count: u64) {
        self.state.lock().missed_here += count;
    }

    /// Notes that a publication did not reach a node; how often that was so.
    pub(super) fn missed_there(&self) -> u64 {
        let mut state = self.state.lock();
        state.missed_there += 1;
        state.missed_there
    }

    /// Ends it: who is to be told, and what was published last, to be dropped
    /// when no lock is held.
    pub(super) fn end(&self) -> (Watchers, VecDeque<Published>) {
        let mut state = self.state.lock();
        let State { last, subscribers, peers, .. } =
            mem::replace(&mut *state, State { ended: true, ..State::default() });
        let watchers = Watchers::of(self.place(), subscribers.processes(), peers.to_vec());
        (watchers.taken_out(&self.watched()), last)
    }

    pub(super) fn info(&self) -> EventInfo {
        let state = self.state.lock();
        EventInfo {
            name: self.name,
            producer: self.producer,
            subscriptions: state.subscribers.len(),
            nodes: state.peers.len(),
            published: state.published,
            missed: state.missed_here + state.missed_there,
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name)
    }
}
