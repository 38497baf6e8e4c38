//! Nodes that could not be reached a moment ago: whoever sends to one is told
//! so at once instead of walking the same plan again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::info::RecentFailure;
use super::plan::{NoRoute, Pause};
use crate::Atom;

/// So many nodes are remembered at most. Beyond that each sender tries itself.
const MAX_REMEMBERED: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Unreachable(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    failures: HashMap<Atom, Failure>,
    /// Counts what may have made plans of before void.
    changes: u64,
}

#[derive(Debug)]
struct Failure {
    no_route: Arc<NoRoute>,
    at: Instant,
    pause: Duration,
}

impl Failure {
    fn pause(&self) -> Option<Pause> {
        let age = self.at.elapsed();
        let left = self.pause.checked_sub(age).filter(|left| !left.is_zero())?;
        Some(Pause { age, left })
    }
}

/// The state of things that a plan was made in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch(u64);

impl Unreachable {
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.0.lock().changes)
    }

    /// Remembers that a plan of that epoch failed, for so long, unless
    /// something has changed since.
    pub(super) fn remember(&self, epoch: Epoch, no_route: Arc<NoRoute>, pause: Duration) {
        let mut remembered = self.0.lock();
        if epoch.0 != remembered.changes || pause.is_zero() {
            return;
        }
        if remembered.failures.len() >= MAX_REMEMBERED {
            remembered.failures.retain(|_, failure| failure.pause().is_some());
        }
        if remembered.failures.len() < MAX_REMEMBERED {
            let failure = Failure { at: Instant::now(), pause, no_route: no_route.clone() };
            remembered.failures.insert(no_route.name, failure);
        }
    }

    /// What the last plan for that node came to, if it is not to be tried again
    /// yet.
    pub(super) fn recently(&self, peer: Atom) -> Option<NoRoute> {
        let remembered = self.0.lock();
        let failure = remembered.failures.get(&peer)?;
        // Zero is for those who have waited for it.
        let age = failure.pause()?.age.max(Duration::from_nanos(1));
        Some(NoRoute { age, ..NoRoute::clone(&failure.no_route) })
    }

    pub(super) fn pause(&self, peer: Atom) -> Option<Pause> {
        self.0.lock().failures.get(&peer)?.pause()
    }

    pub(super) fn list(&self) -> Vec<RecentFailure> {
        let of = |failure: &Failure| {
            let Pause { age, left } = failure.pause()?;
            Some(RecentFailure { no_route: failure.no_route.clone(), age, left })
        };
        self.0.lock().failures.values().filter_map(of).collect()
    }

    /// That node was reached, or has come by itself.
    pub(super) fn forget(&self, peer: Atom) {
        self.0.lock().failures.remove(&peer);
    }

    /// Routes or cookies have changed: all is to be tried again.
    pub(super) fn clear(&self) {
        let mut remembered = self.0.lock();
        remembered.failures.clear();
        remembered.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str) -> Arc<NoRoute> {
        Arc::new(NoRoute::unmatched(Atom::new(name).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_holds_for_the_pause() {
        let unreachable = Unreachable::default();
        let no_route = failed("db@host");
        let name = no_route.name;
        unreachable.remember(unreachable.epoch(), no_route, Duration::from_millis(500));
        assert!(!unreachable.recently(name).unwrap().age.is_zero());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(unreachable.recently(name).unwrap().age, Duration::from_millis(200));
        assert_eq!(unreachable.list()[0].left, Duration::from_millis(300));
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(unreachable.recently(name).is_none());
        assert!(unreachable.list().is_empty());
    }

    #[test]
    fn a_plan_of_before_a_change_is_not_remembered() {
        let unreachable = Unreachable::default();
        let (epoch, name) = (unreachable.epoch(), failed("db@host").name);
        unreachable.clear();
        unreachable.remember(epoch, failed("db@host"), Duration::from_secs(9));
        assert!(unreachable.recently(name).is_none());
        unreachable.remember(unreachable.epoch(), failed("db@host"), Duration::ZERO);
        assert!(unreachable.recently(name).is_none());
        unreachable.remember(unreachable.epoch(), failed("db@host"), Duration::MAX);
        assert!(unreachable.recently(name).is_some());
        unreachable.forget(name);
        assert!(unreachable.recently(name).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let unreachable = Unreachable::default();
        let remember = |number: usize| {
            let pause = Duration::from_secs(1);
            unreachable.remember(unreachable.epoch(), failed(&format!("n{number}@host")), pause);
        };
        (0..2 * MAX_REMEMBERED).for_each(remember);
        assert_eq!(unreachable.list().len(), MAX_REMEMBERED);
        tokio::time::advance(Duration::from_secs(1)).await;
        remember(usize::MAX);
        assert_eq!(unreachable.0.lock().failures.len(), 1, "those whose time is over make room");
    }
}
