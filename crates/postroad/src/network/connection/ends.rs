//! What the peer was told of ends lately.
//!
//! A link that is lost may have carried an end that did not arrive, and the
//! protocol has no acknowledgement of it. So the peer is told again of those
//! that went by way of that link: an end that it knows of means nothing to it,
//! unless it has begun to watch another target of the same name since.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use postroad_edf::ErrorValue;
use tokio::time::{Duration, Instant};

use super::{Connection, DownReason};
use crate::actor::Watched;

/// What was sent so long ago has arrived: a link on which nothing is taken is
/// given up long before.
pub(super) const LATELY: Duration = Duration::from_secs(120);

/// So many bytes are remembered of the ends told by one slot, some eight
/// thousand ends with short reasons: a few MiB for a connection at the very
/// most. If there were more, the connection does not outlive the loss of that
/// link.
const MOST: usize = 1 << 20;

/// The ends that went by way of one slot, wherever its frames go now.
#[derive(Debug, Default)]
pub(super) struct RecentEnds(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    told: VecDeque<Told>,
    /// How many bytes these are.
    size: usize,
    /// When the last one was told that had to be forgotten.
    forgotten: Option<Instant>,
}

#[derive(Debug)]
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
        recent.size += size(&reason);
        recent.told.push_back(Told { at: now, target, by, reason });
        while recent.size > MOST {
            recent.forgotten = recent.forget_first();
        }
    }

    /// Takes all that the peer was told lately; nothing if that is not known.
    fn take(&self) -> Option<VecDeque<Told>> {
        let mut recent = self.0.lock();
        let now = Instant::now();
        recent.forget_old(now);
        let known = recent.forgotten.is_none_or(|at| now - at > LATELY);
        known.then(|| {
            recent.size = 0;
            std::mem::take(&mut recent.told)
        })
    }
}

impl Recent {
    fn forget_old(&mut self, now: Instant) {
        while self.told.front().is_some_and(|told| now - told.at > LATELY) {
            self.forget_first();
        }
    }

    /// When it was told.
    fn forget_first(&mut self) -> Option<Instant> {
        let told = self.told.pop_front()?;
        self.size -= size(&told.reason);
        Some(told.at)
    }
}

/// What it takes to remember an end.
fn size(reason: &ErrorValue) -> usize {
    size_of::<Told>() + reason.text().as_bytes().len()
}

impl Connection {
    /// The link of a slot is lost, and nobody knows what of it arrived: the peer
    /// is told again of the ends that went by way of it. If that cannot be done,
    /// or could mean another target, the connection ends: then everybody is told
    /// that.
    pub(super) fn tell_ends_again(self: &Arc<Self>, lost: usize) {
        for slot in (0..self.slots.len()).filter(|slot| self.leads_to(*slot) == lost) {
            let known = self.ends[slot].take();
            let unmistakable =
                known.filter(|ends| ends.iter().all(|told| !self.is_watched_by_peer(&told.target)));
            let Some(ends) = unmistakable else { return self.shut_down(DownReason::Lost) };
            for Told { target, by, reason, .. } in ends {
                self.tell_end(&target, by, &reason);
            }
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

    fn targets(ends: &RecentEnds) -> Option<Vec<Watched>> {
        Some(ends.take()?.iter().map(|told| told.target).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_lately_is_known() {
        let ends = RecentEnds::default();
        ends.note(target(1), 1, ErrorValue::new("normal"));
        tokio::time::advance(Duration::from_secs(1)).await;
        ends.note(target(2), 2, ErrorValue::new("kill"));
        tokio::time::advance(LATELY).await;
        assert_eq!(targets(&ends), Some(vec![target(2)]));
        assert_eq!(targets(&ends), Some(vec![]), "it is told again, and noted then");
    }

    #[tokio::test(start_paused = true)]
    async fn that_something_was_forgotten_is_known_as_long_as_it_matters() {
        let ends = RecentEnds::default();
        let reason = ErrorValue::truncated(&"long".repeat(ErrorValue::MAX_LEN));
        let known = (MOST / size(&reason)) as u64;
        (0..known).for_each(|id| ends.note(target(id), id, reason.clone()));
        assert_eq!(targets(&ends).unwrap().len() as u64, known);
        (0..=known).for_each(|id| ends.note(target(id), id, reason.clone()));
        assert!(ends.take().is_none());
        assert!(ends.0.lock().size <= MOST);
        tokio::time::advance(LATELY + Duration::from_secs(1)).await;
        assert_eq!(targets(&ends), Some(vec![]));
        assert_eq!(ends.0.lock().size, 0);
    }
}
