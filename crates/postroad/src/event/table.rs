//! The events of a node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::RwLock;

use super::{EventInfo, EventOptions, EventToken, Published, Topic};
use crate::error::{EventError, RelationError};
use crate::network::{Connection, Refusal};
use crate::node::NodeInner;
use crate::process::{Over, Process, Relation, Watchers, discard};
use crate::{Atom, Pid};

/// The events that are published on a node, by name.
#[derive(Default)]
pub(crate) struct Events(RwLock<HashMap<Atom, Arc<Topic>, FixedState>>);

impl Events {
    /// Registers an event of a process, or of the node.
    pub(crate) fn register(
        &self,
        node: &NodeInner,
        process: Option<&Arc<Process>>,
        name: Atom,
        options: EventOptions,
    ) -> Result<EventToken, EventError> {
        let token = EventToken::new(node);
        let producer = process.map_or_else(|| node.core(), |process| process.pid);
        let topic = Topic::new(name, node.new_reference(), producer, process, token, options);
        match self.0.write().entry(name) {
            Entry::Occupied(_) => Err(EventError::Taken { name }),
            // Under the lock, so that the end of the process comes before or after both.
            Entry::Vacant(place) if process.is_none_or(|process| process.add_event(name)) => {
                place.insert(Arc::new(topic));
                Ok(token)
            }
            Entry::Vacant(_) => Err(EventError::ProcessTerminated),
        }
    }

    /// Takes an event out, if it is of that producer; who is to be told.
    pub(crate) fn end(&self, name: Atom, producer: Pid) -> Result<Watchers, EventError> {
        let mut table = self.0.write();
        // Ended before there can be another of its name.
        let (watchers, last) = match table.entry(name) {
            Entry::Vacant(_) => return Err(EventError::Unknown),
            Entry::Occupied(place) if place.get().producer != producer => return Err(EventError::NotOwner),
            Entry::Occupied(place) => place.remove().end(),
        };
        drop(table);
        last.into_iter().for_each(discard);
        Ok(watchers)
    }

    pub(crate) fn get(&self, name: Atom) -> Option<Arc<Topic>> {
        self.0.read().get(&name).cloned()
    }

    /// Ends a subscription of a process to the event that was there.
    pub(crate) fn unsubscribe(&self, name: Atom, place: Over, process: u64, relation: Relation) {
        if let Some(topic) = self.get(name)
            && topic.place() == place
        {
            topic.unsubscribe(process, relation);
        }
    }

    /// Has a process of a peer get what is published; what was published last.
    pub(crate) fn subscribe_peer(
        &self,
        name: Atom,
        peer: &Arc<Connection>,
        watcher: u64,
        relation: Relation,
    ) -> Result<Vec<Published>, Refusal> {
        let topic = self.get(name).ok_or(RelationError::EventUnknown)?;
        topic.subscribe_peer(peer, watcher, relation)
    }

    /// Has a node get nothing more, unless it has subscribed anew.
    pub(crate) fn unsubscribe_peer(&self, name: Atom, peer: &Connection) {
        if let Some(topic) = self.get(name) {
            topic.unsubscribe_peer(peer);
        }
    }

    pub(crate) fn info(&self, name: Atom) -> Option<EventInfo> {
        self.get(name).map(|topic| topic.info())
    }

    pub(crate) fn names(&self) -> Vec<Atom> {
        self.0.read().keys().copied().collect()
    }
}
