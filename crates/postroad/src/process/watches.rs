//! What a process watches: the one truth about its links and monitors.
//!
//! What is kept of them elsewhere ([`Relations`](super::Relations), and each
//! connection) only says whom to look at when something ends. So a relation
//! that was taken back brings no notice, and one that was not brings one.

use std::collections::HashMap;
use std::mem;

use foldhash::fast::FixedState;

use crate::actor::{ExitReason, Watched};
use crate::error::RelationError;

/// What the end of a target means for who watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    /// An exit signal.
    Link,
    /// A message.
    Monitor,
}

/// Where a target is: over the connection of this number, or on this node in the
/// event or among the watchers of this number. What comes later under the same
/// name has another one. All are numbered together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Over(u64);

impl Over {
    pub(crate) const fn number(number: u64) -> Self {
        Self(number)
    }
}

/// Which notices are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Due {
    pub(crate) link: bool,
    pub(crate) monitor: bool,
}

impl Due {
    pub(crate) const BOTH: Self = Self { link: true, monitor: true };

    pub(crate) fn of(self, relation: Relation) -> bool {
        match relation {
            Relation::Link => self.link,
            Relation::Monitor => self.monitor,
        }
    }

    pub(crate) fn of_mut(&mut self, relation: Relation) -> &mut bool {
        match relation {
            Relation::Link => &mut self.link,
            Relation::Monitor => &mut self.monitor,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Watches(Targets);

/// The targets of one process. Most processes watch one or two, and a map costs
/// four times as much as one entry.
#[derive(Debug)]
enum Targets {
    Few(Vec<(Watched, Watch)>),
    Many(HashMap<Watched, Watch, FixedState>),
}

/// So many targets are looked through one by one.
const FEW: usize = 8;

#[derive(Debug, Default)]
struct Watch {
    link: Stage,
    monitor: Stage,
}

/// How far a relation is.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    None,
    /// It is being made. The target may have ended meanwhile: whether it was
    /// watched by then, who makes it will know.
    Asked(Over, Option<ExitReason>),
    Watching(Over),
}

impl Stage {
    /// Ends it; whether a notice is due now.
    fn end(&mut self, over: Over, reason: &ExitReason) -> bool {
        match self {
            Self::Watching(watched) if *watched == over => {
                *self = Self::None;
                true
            }
            Self::Asked(asked, ended) if *asked == over => {
                ended.get_or_insert_with(|| reason.clone());
                false
            }
            _ => false,
        }
    }

    fn over(&self) -> Option<Over> {
        match self {
            Self::None => None,
            Self::Asked(over, _) | Self::Watching(over) => Some(*over),
        }
    }
}

impl Watch {
    fn stage(&mut self, relation: Relation) -> &mut Stage {
        match relation {
            Relation::Link => &mut self.link,
            Relation::Monitor => &mut self.monitor,
        }
    }

    fn is_over(&self) -> bool {
        matches!((&self.link, &self.monitor), (Stage::None, Stage::None))
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Targets {
    fn get_mut(&mut self, target: &Watched) -> Option<&mut Watch> {
        match self {
            Self::Few(few) => few.iter_mut().find(|(known, _)| known == target).map(|(_, watch)| watch),
            Self::Many(many) => many.get_mut(target),
        }
    }

    /// Adds a target that is not there yet.
    fn add(&mut self, target: Watched, watch: Watch) {
        match self {
            Self::Few(few) if few.len() < FEW => {
                if few.len() == few.capacity() {
                    few.reserve_exact(few.len().max(1));
                }
                few.push((target, watch));
            }
            Self::Few(few) => {
                let all = mem::take(few).into_iter().chain([(target, watch)]);
                *self = Self::Many(all.collect());
            }
            Self::Many(many) => {
                many.insert(target, watch);
            }
        }
    }

    fn remove(&mut self, target: &Watched) {
        match self {
            Self::Few(few) => few.retain(|(known, _)| known != target),
            Self::Many(many) => {
                many.remove(target);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Watched, &Watch)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        few.into_iter().flatten().map(|(target, watch)| (target, watch)).chain(many.into_iter().flatten())
    }

    fn into_iter(self) -> impl Iterator<Item = (Watched, Watch)> {
        let (few, many) = match self {
            Self::Few(few) => (few, HashMap::default()),
            Self::Many(many) => (Vec::new(), many),
        };
        few.into_iter().chain(many)
    }

    fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }
}

impl Watches {
    /// Makes a relation that holds at once.
    pub(super) fn watch(
        &mut self,
        target: Watched,
        relation: Relation,
        over: Over,
    ) -> Result<(), RelationError> {
        self.begin(target, relation, over)?;
        self.confirm(&target, relation);
        Ok(())
    }

    /// Begins a relation, which [`confirm`](Self::confirm) completes.
    pub(super) fn begin(
        &mut self,
        target: Watched,
        relation: Relation,
        over: Over,
    ) -> Result<(), RelationError> {
        let Some(watch) = self.0.get_mut(&target) else {
            let mut watch = Watch::default();
            *watch.stage(relation) = Stage::Asked(over, None);
            self.0.add(target, watch);
            return Ok(());
        };
        match watch.stage(relation) {
            stage @ Stage::None => {
                *stage = Stage::Asked(over, None);
                Ok(())
            }
            Stage::Asked(..) | Stage::Watching(_) => Err(RelationError::Exists),
        }
    }

    /// The target is watched from now on. If it has ended since, the reason:
    /// then the relation is over and a notice is due.
    pub(super) fn confirm(&mut self, target: &Watched, relation: Relation) -> Option<ExitReason> {
        let stage = self.0.get_mut(target)?.stage(relation);
        match mem::take(stage) {
            Stage::Asked(over, None) => {
                *stage = Stage::Watching(over);
                None
            }
            Stage::Asked(_, ended) => {
                self.tidy(target);
                ended
            }
            other => {
                *stage = other;
                None
            }
        }
    }

    /// Ends a relation without a notice. Where the target was watched, and
    /// whether nothing watches it there any more; `None` if there was none.
    pub(super) fn forget(&mut self, target: &Watched, relation: Relation) -> Option<(Over, bool)> {
        let watch = self.0.get_mut(target)?;
        let over = mem::take(watch.stage(relation)).over();
        let last = [&watch.link, &watch.monitor].iter().all(|other| other.over() != over);
        self.tidy(target);
        over.map(|over| (over, last))
    }

    /// Whether there is a relation, or one is being made.
    pub(super) fn has(&mut self, target: &Watched, relation: Relation) -> bool {
        self.0.get_mut(target).is_some_and(|watch| watch.stage(relation).over().is_some())
    }

    /// Ends these relations with a target that has ended there.
    pub(super) fn end(&mut self, target: &Watched, which: Due, over: Over, reason: &ExitReason) -> Due {
        let Some(watch) = self.0.get_mut(target) else { return Due::default() };
        let due = Due {
            link: which.link && watch.link.end(over, reason),
            monitor: which.monitor && watch.monitor.end(over, reason),
        };
        self.tidy(target);
        due
    }

    /// All relations, each with where its target is. In an order that does not
    /// depend on addresses: a simulated run can be repeated.
    pub(super) fn into_relations(self) -> impl Iterator<Item = (Watched, Relation, Over)> {
        let mut watches: Vec<_> = self.0.into_iter().collect();
        watches.sort_unstable_by_key(|(target, _)| *target);
        watches.into_iter().flat_map(|(target, watch)| {
            let relation = move |stage: Stage, relation| stage.over().map(|over| (target, relation, over));
            [relation(watch.link, Relation::Link), relation(watch.monitor, Relation::Monitor)]
                .into_iter()
                .flatten()
        })
    }

    /// What is watched for certain, and how.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Watched, Relation)> {
        self.0.iter().flat_map(|(target, watch)| {
            let certain =
                |stage: &Stage, relation| matches!(stage, Stage::Watching(_)).then_some((*target, relation));
            [certain(&watch.link, Relation::Link), certain(&watch.monitor, Relation::Monitor)]
                .into_iter()
                .flatten()
        })
    }

    /// How many targets are watched, or about to be.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn tidy(&mut self, target: &Watched) {
        if self.0.get_mut(target).is_some_and(|watch| watch.is_over()) {
            self.0.remove(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Atom, Pid};

    const HERE: Over = Over::number(1);

    /// Below and above the number that is looked through one by one.
    #[test]
    fn each_of_many_targets_is_forgotten_or_ends_once() {
        let node = Atom::new("watches@localhost").unwrap();
        let target = |id| Watched::Pid(Pid { node, id, creation: 1 });
        let mut watches = Watches::default();
        let count = 3 * FEW as u64;
        for id in 0..count {
            watches.begin(target(id), Relation::Monitor, HERE).unwrap();
            let again = watches.begin(target(id), Relation::Monitor, HERE);
            assert!(matches!(again, Err(RelationError::Exists)), "{id}: {again:?}");
            assert_eq!(watches.confirm(&target(id), Relation::Monitor), None);
            assert_eq!(watches.len() as u64, id + 1);
            assert_eq!(watches.iter().count() as u64, id + 1);
        }
        let due = Due { link: false, monitor: true };
        for id in 0..count {
            if id % 2 == 0 {
                assert_eq!(watches.forget(&target(id), Relation::Monitor), Some((HERE, true)));
            } else {
                let link = Due { link: true, monitor: false };
                let mut end = |which| watches.end(&target(id), which, HERE, &ExitReason::Normal);
                assert_eq!(end(link), Due::default(), "the other one has begun since");
                assert_eq!(end(Due::BOTH), due);
            }
            assert_eq!(watches.forget(&target(id), Relation::Monitor), None);
            assert_eq!(watches.end(&target(id), Due::BOTH, HERE, &ExitReason::Normal), Due::default());
        }
        assert_eq!(watches.into_relations().count(), 0);
    }
}
