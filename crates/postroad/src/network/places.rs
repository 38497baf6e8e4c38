//! Places for what may be done only so many times at once.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// So many places at all, and so many of them for each one.
pub(super) struct Places<K> {
    all: usize,
    each: usize,
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// One of the places, until it is dropped.
pub(super) struct Place<K: Copy + Eq + Hash> {
    places: Arc<Places<K>>,
    by: K,
}

impl<K: Copy + Eq + Hash> Places<K> {
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::new(Taken { all: 0, by: HashMap::new() }) })
    }

    /// A place for this one, if there is one and it has not too many.
    pub(super) fn take(self: &Arc<Self>, by: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock();
        if taken.all >= self.all || taken.by.get(&by).is_some_and(|count| *count >= self.each) {
            return None;
        }
        taken.all += 1;
        *taken.by.entry(by).or_default() += 1;
        Some(Place { places: self.clone(), by })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(count) = taken.by.get_mut(&self.by) {
            *count -= 1;
            if *count == 0 {
                taken.by.remove(&self.by);
            }
        }
    }
}

impl<K> fmt::Debug for Places<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("all", &self.all).field("each", &self.each).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_for_each_and_so_many_at_all() {
        let places = Places::new(3, 2);
        let first = places.take("a").unwrap();
        let second = places.take("a").unwrap();
        assert!(places.take("a").is_none(), "it has two");
        let third = places.take("b").unwrap();
        assert!(places.take("c").is_none(), "three are taken");
        drop(first);
        let fourth = places.take("c").unwrap();
        assert!(places.take("a").is_none());
        drop((second, third, fourth));
        assert!(places.taken.lock().by.is_empty(), "nobody is remembered");
        assert!(places.take("a").is_some());
    }
}
