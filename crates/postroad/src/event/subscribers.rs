//! Who gets what is published.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::process::{Process, Relation};

/// The subscriptions of processes of this node to one event. A publisher takes
/// a snapshot, which costs nothing, and needs no lock to go through it; a
/// change meanwhile copies one chunk.
#[derive(Default)]
pub(crate) struct Subscribers {
    chunks: Snapshot,
    places: HashMap<u64, Place, FixedState>,
}

/// Where a subscription is.
struct Place {
    /// In all chunks, one after the other.
    at: u32,
    /// The node of the event was asked for it, and not for others with it.
    asked: bool,
}

/// The subscriptions at one moment: all chunks but the last are full.
pub(crate) type Snapshot = Arc<Vec<Arc<Vec<Subscription>>>>;

pub(super) const CHUNK: usize = 256;

/// Of a process that is linked to an event and monitors it there are two.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(super) process: Arc<Process>,
    relation: Relation,
}

impl Subscription {
    fn key(&self) -> u64 {
        key(self.process.pid.id, self.relation)
    }
}

fn key(process: u64, relation: Relation) -> u64 {
    process << 1 | u64::from(relation == Relation::Link)
}

impl Subscribers {
    pub(crate) fn insert(&mut self, process: &Arc<Process>, relation: Relation) {
        let subscription = Subscription { process: process.clone(), relation };
        let place = self.len();
        match self.places.entry(subscription.key()) {
            Entry::Vacant(vacant) => vacant.insert(Place { at: place as u32, asked: false }),
            Entry::Occupied(_) => return,
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        if place.is_multiple_of(CHUNK) {
            chunks.push(Arc::default());
        }
        Arc::make_mut(&mut chunks[place / CHUNK]).push(subscription);
    }

    /// Notes that the event's node is asked for this one by itself.
    pub(crate) fn note_asked(&mut self, process: u64, relation: Relation) {
        if let Some(place) = self.places.get_mut(&key(process, relation)) {
            place.asked = true;
        }
    }

    /// Whether the event's node was asked for this one by itself; nothing if it
    /// is not there.
    pub(crate) fn was_asked(&self, process: u64, relation: Relation) -> Option<bool> {
        self.places.get(&key(process, relation)).map(|place| place.asked)
    }

    /// Ends a subscription, if there is one.
    pub(crate) fn remove(&mut self, process: u64, relation: Relation) {
        let Some(Place { at, .. }) = self.places.remove(&key(process, relation)) else { return };
        let place = at as usize;
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(tail) = chunks.last_mut().map(Arc::make_mut) else { return };
        let last = tail.pop();
        if tail.is_empty() {
            chunks.pop();
        }
        // The last one takes the free place, unless it had that itself.
        if let Some(last) = last
            && last.key() != key(process, relation)
        {
            if let Some(moved) = self.places.get_mut(&last.key()) {
                moved.at = at;
            }
            Arc::make_mut(&mut chunks[place / CHUNK])[place % CHUNK] = last;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.chunks.clone()
    }

    /// The processes, each once for each of its subscriptions.
    pub(crate) fn processes(&self) -> impl Iterator<Item = u64> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|subscription| subscription.process.pid.id)
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscribers({})", self.len())
    }
}
