//! Names that were looked up, with what was found, in bounded memory.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::{Entry, Matches};

const SHARDS: usize = 16;
/// How much a shard holds, in bytes, before it forgets everything.
const SHARD_SIZE: usize = 1 << 20;
/// What an entry of the map costs besides its name and its matches.
const OVERHEAD: usize = 96;

/// What was found for which name. Nobody waits here: who comes while another
/// remembers something looks the name up anew.
pub(super) struct Remembered<R> {
    hasher: RandomState,
    shards: [RwLock<Shard<R>>; SHARDS],
}

struct Shard<R> {
    names: HashMap<Box<str>, Matches<R>, RandomState>,
    size: usize,
}

impl<R> Default for Shard<R> {
    fn default() -> Self {
        Self { names: HashMap::default(), size: 0 }
    }
}

impl<R> Default for Remembered<R> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), shards: Default::default() }
    }
}

impl<R> Remembered<R> {
    pub(super) fn get(&self, name: &str) -> Option<Matches<R>> {
        self.shard(name).try_read()?.names.get(name).cloned()
    }

    pub(super) fn put(&self, name: &str, matches: &Matches<R>) {
        let size = OVERHEAD + name.len() + matches.len() * size_of::<Arc<Entry<R>>>();
        let Some(mut shard) = self.shard(name).try_write() else { return };
        if shard.size + size > SHARD_SIZE {
            *shard = Shard::default();
        }
        if size <= SHARD_SIZE && shard.names.insert(name.into(), Arc::clone(matches)).is_none() {
            shard.size += size;
        }
    }

    fn shard(&self, name: &str) -> &RwLock<Shard<R>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}
