//! Where processes are found: by number, by name, by alias.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::RwLock;

use super::Process;
use crate::{Alias, Atom};

type Map<K> = RwLock<HashMap<K, Arc<Process>, FixedState>>;

/// The processes of one node. Sharded by number, so that senders on different
/// cores seldom meet.
pub(crate) struct ProcessTable {
    by_id: [Map<u64>; SHARDS],
    by_name: Map<Atom>,
    by_alias: Map<Alias>,
}

const SHARDS: usize = 64;

impl ProcessTable {
    pub(crate) fn new() -> Self {
        Self {
            by_id: std::array::from_fn(|_| Map::default()),
            by_name: Map::default(),
            by_alias: Map::default(),
        }
    }

    pub(crate) fn insert(&self, process: Arc<Process>) {
        self.shard(process.pid.id).write().insert(process.pid.id, process);
    }

    /// Calls `with` with the process, without touching its reference count.
    pub(crate) fn with<T>(&self, id: u64, with: impl FnOnce(&Arc<Process>) -> T) -> Option<T> {
        self.shard(id).read().get(&id).map(with)
    }

    pub(crate) fn by_name<T>(&self, name: Atom, with: impl FnOnce(&Arc<Process>) -> T) -> Option<T> {
        self.by_name.read().get(&name).map(with)
    }

    pub(crate) fn by_alias<T>(&self, alias: Alias, with: impl FnOnce(&Arc<Process>) -> T) -> Option<T> {
        self.by_alias.read().get(&alias).map(with)
    }

    /// Gives `process` the name; false if somebody has it, or if the process
    /// has one or is about to end.
    pub(crate) fn register_name(&self, name: Atom, process: &Arc<Process>) -> bool {
        match self.by_name.write().entry(name) {
            Entry::Occupied(_) => false,
            // Under the table's lock, so that `unlist` comes before or after both.
            Entry::Vacant(place) if process.take_name(name) => {
                place.insert(process.clone());
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    /// Frees the name; false if `process` does not have it.
    pub(crate) fn unregister_name(&self, name: Atom, process: &Process) -> bool {
        let mut names = self.by_name.write();
        if names.get(&name).is_none_or(|owner| owner.pid != process.pid) {
            return false;
        }
        process.drop_name();
        names.remove(&name);
        true
    }

    /// Makes the alias lead to `process`, or nowhere if that is about to end.
    pub(crate) fn register_alias(&self, alias: Alias, process: &Arc<Process>) {
        let mut aliases = self.by_alias.write();
        if process.add_alias(alias) {
            aliases.insert(alias, process.clone());
        }
    }

    /// Frees the alias; false if `process` does not have it.
    pub(crate) fn unregister_alias(&self, alias: Alias, process: &Process) -> bool {
        let owned = process.remove_alias(alias);
        if owned {
            self.by_alias.write().remove(&alias);
        }
        owned
    }

    /// Forgets the name of a process that gets no new one.
    /// False if it was freed since, and may be somebody else's.
    pub(super) fn remove_name(&self, name: Atom, process: &Process) -> bool {
        let mut names = self.by_name.write();
        let own = names.get(&name).is_some_and(|owner| owner.pid == process.pid);
        if own {
            names.remove(&name);
        }
        own
    }

    /// Forgets the alias of a process that has taken it back or ends.
    pub(super) fn remove_alias(&self, alias: Alias) -> bool {
        self.by_alias.write().remove(&alias).is_some()
    }

    /// Forgets the number of a process.
    pub(crate) fn remove(&self, process: &Process) {
        self.shard(process.pid.id).write().remove(&process.pid.id);
    }

    /// Every process, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Process>> {
        self.by_id.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.iter().map(|shard| shard.read().len()).sum()
    }

    /// Calls `with` with every process, in no order, under the lock of its shard.
    pub(crate) fn each(&self, mut with: impl FnMut(&Arc<Process>)) {
        for shard in &self.by_id {
            shard.read().values().for_each(&mut with);
        }
    }

    /// Calls `with` with every registered name, in no order, under their lock.
    pub(crate) fn each_named(&self, mut with: impl FnMut(Atom, &Arc<Process>)) {
        self.by_name.read().iter().for_each(|(name, process)| with(*name, process));
    }

    pub(crate) fn names(&self) -> usize {
        self.by_name.read().len()
    }

    pub(crate) fn aliases(&self) -> usize {
        self.by_alias.read().len()
    }

    /// How many numbers, names and aliases lead to a process.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> usize {
        self.len() + self.names() + self.aliases()
    }

    fn shard(&self, id: u64) -> &Map<u64> {
        &self.by_id[id as usize % SHARDS]
    }
}
