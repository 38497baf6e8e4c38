//! What the peer was told of ends lately.
//!
//! A link that is lost may have carried an end that did not arrive, and the
//! protocol has no acknowledgement of it. So the peer is told again: an end that
//! it knows of means nothing to it, unless it has begun to watch another target
//! of the same name since.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use postroad_edf::ErrorValue;
use tokio::time::{Duration, Instant};

use super::{Connection, DownReason};
use crate::actor::Watched;

/// What was sent so long ago has arrived: a link on which nothing is taken is
/// given up long before.
const LATELY: Duration = Duration::from_secs(120);

/// So many are remembered. If there were more the connection does not outlive
/// the loss of a link.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct RecentEnds(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    told: VecDeque<Told>,
    /// When the last one was told that had to be forgotten.
    forgotten: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Told {
    at: Instant,
    target: Watched,
    by: u64,
    reason: ErrorValue,
}

impl RecentEnds {
    pub(super) fn note(&self, target: Watched, by: u64, reason: ErrorValue) {
        let mut recent = self.0.lock();
        let now = Instant::now();
        recent.forget_old(now);
        if recent.told.len() >= MOST {
            recent.forgotten = recent.told.pop_front().map(|told| told.at);
        }
        recent.told.push_back(Told { at: now, target, by, reason });
    }

    /// All that the peer was told lately; nothing if that is not known.
    fn all(&self) -> Option<Vec<Told>> {
        let mut recent = self.0.lock();
        let now = Instant::now();
        recent.forget_old(now);
        let known = recent.forgotten.is_none_or(|at| now - at > LATELY);
        known.then(|| recent.told.iter().cloned().collect())
    }
}

impl Recent {
    fn forget_old(&mut self, now: Instant) {
        while self.told.front().is_some_and(|told| now - told.at > LATELY) {
            self.told.pop_front();
        }
    }
}

impl Connection {
    /// A link is lost, and nobody knows what of it arrived: the peer is told of
    /// ends again. If that cannot be done, or could mean another target, the
    /// connection ends: then everybody is told that.
    pub(super) fn tell_ends_again(self: &Arc<Self>) {
        let all = self.ends.all().filter(|all| all.iter().all(|told| !self.is_watched_by_peer(&told.target)));
        match all {
            Some(all) => all.iter().for_each(|told| self.send_end(&told.target, told.by, &told.reason)),
            None => self.shut_down(DownReason::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Atom, Pid};

    fn target(id: u64) -> Watched {
        Watched::Pid(Pid { node: Atom::new("a@ends").unwrap(), id, creation: 1 })
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_lately_is_known() {
        let ends = RecentEnds::default();
        ends.note(target(1), 1, ErrorValue::new("normal"));
        tokio::time::advance(LATELY).await;
        ends.note(target(2), 2, ErrorValue::new("kill"));
        assert_eq!(ends.all().unwrap().len(), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ends.all().unwrap().iter().map(|told| told.target).collect::<Vec<_>>(), [target(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn that_something_was_forgotten_is_known_as_long_as_it_matters() {
        let ends = RecentEnds::default();
        for id in 0..=MOST as u64 {
            ends.note(target(id), id, ErrorValue::new("normal"));
        }
        assert!(ends.all().is_none());
        tokio::time::advance(LATELY + Duration::from_secs(1)).await;
        assert!(ends.all().unwrap().is_empty());
    }
}
