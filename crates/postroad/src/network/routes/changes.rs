//! Several changes of a table that are made in one step.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::index::Index;
use super::pattern::{Pattern, Written};
use super::writing::{Writing, read};
use super::{
    AddRouteError, AddRoutesError, ChangeRoutesError, Entry, PatternWarning, ReplaceRouteError, RoutingTable,
};

/// What is to become of routes: which are removed, which take the place of
/// others, and which are added, all of it in one step.
///
/// A route that is removed and added comes behind all others of its weight; one
/// that is replaced keeps its place.
#[derive(Debug)]
pub struct RouteChanges<R> {
    removed: Vec<Box<str>>,
    replaced: Vec<(Box<str>, R, i64)>,
    added: Vec<(Written, R, i64)>,
}

impl<R> Default for RouteChanges<R> {
    fn default() -> Self {
        Self { removed: Vec::new(), replaced: Vec::new(), added: Vec::new() }
    }
}

impl<R> RouteChanges<R> {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes the route that was added under exactly this pattern.
    pub fn remove(mut self, pattern: impl Into<Box<str>>) -> Self {
        self.removed.push(pattern.into());
        self
    }

    /// Replaces the route that was added under exactly this pattern and is not
    /// removed.
    pub fn replace(mut self, pattern: impl Into<Box<str>>, route: R, weight: i64) -> Self {
        self.replaced.push((pattern.into(), route, weight));
        self
    }

    /// Adds a route, when those to be removed are gone.
    pub fn add<P>(mut self, pattern: P, route: R, weight: i64) -> Self
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        self.added.push((Written::of(pattern), route, weight));
        self
    }

    /// The routes that would be in the table.
    pub(in crate::network) fn routes(&self) -> impl Iterator<Item = &R> {
        let replaced = self.replaced.iter().map(|(_, route, _)| route);
        replaced.chain(self.added.iter().map(|(_, route, _)| route))
    }

    /// Whether all new routes can be used.
    pub(in crate::network) fn check<E>(
        &self,
        check: impl Fn(&R) -> Result<(), E>,
    ) -> Result<(), ChangeRoutesError>
    where
        AddRouteError: From<E>,
        ReplaceRouteError: From<E>,
    {
        for (pattern, route, _) in &self.replaced {
            check(route).map_err(ReplaceRouteError::from).map_err(refused(pattern))?;
        }
        for (index, (pattern, route, _)) in self.added.iter().enumerate() {
            check(route).map_err(|error| AddRoutesError {
                index,
                pattern: pattern.as_ref().into(),
                source: Box::new(error.into()),
            })?;
        }
        Ok(())
    }
}

fn refused(pattern: &str) -> impl Fn(ReplaceRouteError) -> ChangeRoutesError {
    move |source| ChangeRoutesError::Replace { pattern: pattern.into(), source: Box::new(source) }
}

/// Changes that can be made. Until then nobody else changes the table.
pub(in crate::network) struct Prepared<'t, R> {
    table: &'t RoutingTable<R>,
    writing: MutexGuard<'t, Writing<R>>,
    draft: Writing<R>,
    index: Index<Arc<Entry<R>>>,
    pub(in crate::network) warnings: Vec<PatternWarning>,
}

impl<R> RoutingTable<R> {
    /// Makes all of these changes in one step, or none of them: lookups find
    /// the routes from before or those from after.
    ///
    /// Says what is surprising about the patterns that were added.
    pub fn change(&self, changes: RouteChanges<R>) -> Result<Vec<PatternWarning>, ChangeRoutesError> {
        let mut prepared = self.prepare(changes)?;
        let warnings = std::mem::take(&mut prepared.warnings);
        drop(prepared.publish());
        Ok(warnings)
    }

    pub(in crate::network) fn prepare(
        &self,
        changes: RouteChanges<R>,
    ) -> Result<Prepared<'_, R>, ChangeRoutesError> {
        let RouteChanges { removed, replaced, added } = changes;
        let (added, warnings) = read(added)?;
        let writing = self.writing.lock();
        let (mut draft, mut index) = (writing.clone(), self.current.load().index.clone());
        for pattern in &removed {
            draft.remove(&mut index, pattern)?;
        }
        for (pattern, route, weight) in replaced {
            draft.replace(&mut index, &pattern, route, weight).map_err(refused(&pattern))?;
        }
        draft.add(&mut index, added, false)?;
        let warnings = warnings.into_iter().map(|(_, warning)| warning).collect();
        Ok(Prepared { table: self, writing, draft, index, warnings })
    }
}

impl<R> Prepared<'_, R> {
    /// Gives back what was there before, for the caller to drop when it holds no
    /// lock: what users wrote may be in it.
    pub(in crate::network) fn publish(self) -> impl Sized + use<R> {
        let Self { table, mut writing, draft, index, .. } = self;
        (table.publish(index), std::mem::replace(&mut *writing, draft))
    }
}
