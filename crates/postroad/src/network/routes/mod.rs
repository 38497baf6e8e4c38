//! The routing table: which routes hold for which node names.
//!
//! Direct and proxy routes live in tables of the same type (`DESIGN.md` D3).
//! Pure: it knows no socket and no clock.
//!
//! A route is added under a *pattern*: a regular expression in Go's syntax, as
//! the seed has it, that is searched for in a name. So `db@prod` is found in
//! `testdb@production` too; anchors (`^`, `$`) make it exact, and [`exact`]
//! writes such a pattern. The text of the pattern is the key.
//!
//! ```
//! use postroad::network::routes::{RoutingTable, exact};
//!
//! let table = RoutingTable::new();
//! table.add("prod-.*", "primary", 200).unwrap();
//! table.add(&exact("prod-db@example.com"), "backup", 100).unwrap();
//! let routes = table.lookup("prod-db@example.com");
//! assert_eq!(routes.iter().map(|entry| *entry.route()).collect::<Vec<_>>(), ["primary", "backup"]);
//! ```

mod changes;
mod error;
mod expression;
mod index;
mod matcher;
mod names;
mod pattern;
mod remembered;
mod syntax;
mod texts;
mod warning;
mod writing;

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::index::Index;
use self::matcher::{Matcher, Name, Workspace};
use self::remembered::Remembered;
use self::writing::{Writing, read};

pub use self::changes::RouteChanges;
pub use self::error::{
    AddRouteError, AddRoutesError, ChangeRoutesError, RemoveRouteError, ReplaceRouteError,
};
pub use self::names::Names;
pub(crate) use self::pattern::Written;
pub use self::pattern::{MAX_PATTERN_LEN, Pattern, check_pattern};
pub use self::syntax::PatternFault;
pub use self::warning::PatternWarning;

/// Routes by pattern and weight.
///
/// Lookups never wait for changes: they read a snapshot. A change makes a new
/// snapshot that shares almost everything with the former, so its cost hardly
/// depends on how many routes there are. What was found for a name is
/// remembered until the table changes, in bounded memory.
pub struct RoutingTable<R> {
    current: ArcSwap<Snapshot<R>>,
    writing: Mutex<Writing<R>>,
}

/// The routes for one name: the highest weight first, equal weights in the
/// order they were added.
pub type Matches<R> = Arc<[Arc<Entry<R>>]>;

/// A route in a table, with its pattern and weight.
pub struct Entry<R> {
    pattern: Box<str>,
    weight: i64,
    /// How many were added before.
    order: u64,
    handed_out: bool,
    matcher: Matcher,
    route: R,
}

/// Writes the pattern that matches `name` and nothing else.
pub fn exact(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() + 8);
    pattern.push('^');
    for char in name.chars() {
        if r"\.+*?()|[]{}^$".contains(char) {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('$');
    pattern
}

impl<R> RoutingTable<R> {
    /// A table without routes.
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot {
                index: Index::default(),
                remembered: Remembered::default(),
            }),
            writing: Mutex::default(),
        }
    }

    /// Adds a route for the names that `pattern` is found in. Holds for
    /// lookups from now on.
    ///
    /// Says what is surprising about the pattern, if anything is.
    pub fn add(&self, pattern: &str, route: R, weight: i64) -> Result<Vec<PatternWarning>, AddRouteError> {
        match self.add_all([(pattern, route, weight)]) {
            Ok(warnings) => Ok(warnings.into_iter().map(|(_, warning)| warning).collect()),
            Err(error) => Err(*error.source),
        }
    }

    /// Adds several routes, each with its pattern and weight, as
    /// [`add`](Self::add) does: all in one step, or none of them.
    ///
    /// Says what is surprising about the patterns, each with the place of its
    /// route among those given, counted from 0.
    pub fn add_all<P>(
        &self,
        routes: impl IntoIterator<Item = (P, R, i64)>,
    ) -> Result<Vec<(usize, PatternWarning)>, AddRoutesError>
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        let (fresh, warnings) = read(routes)?;
        let mut writing = self.writing.lock();
        let mut index = self.current.load().index.clone();
        writing.add(&mut index, fresh, false)?;
        self.publish(index);
        Ok(warnings)
    }

    /// Adds a route that was not written for this node, but handed out to it.
    /// It counts for names for which no other route does, and may have the
    /// pattern of one that does.
    pub fn add_handed_out(
        &self,
        pattern: &str,
        route: R,
        weight: i64,
    ) -> Result<Vec<PatternWarning>, AddRouteError> {
        let added = || {
            let (fresh, warnings) = read([(pattern, route, weight)])?;
            let mut writing = self.writing.lock();
            let mut index = self.current.load().index.clone();
            writing.add(&mut index, fresh, true)?;
            self.publish(index);
            Ok(warnings.into_iter().map(|(_, warning)| warning).collect())
        };
        added().map_err(|error: AddRoutesError| *error.source)
    }

    /// Removes the route that was added under exactly this pattern; one that
    /// was handed out only if there is no other.
    pub fn remove(&self, pattern: &str) -> Result<Arc<Entry<R>>, RemoveRouteError> {
        let mut writing = self.writing.lock();
        let mut index = self.current.load().index.clone();
        let entry = writing.remove(&mut index, pattern)?;
        self.publish(index);
        Ok(entry)
    }

    /// Replaces the route that was added under exactly this pattern; returns
    /// that one. Lookups find either the former or the new one, and never
    /// neither. Among routes of equal weight it keeps its place.
    pub fn replace(&self, pattern: &str, route: R, weight: i64) -> Result<Arc<Entry<R>>, ReplaceRouteError> {
        let mut writing = self.writing.lock();
        let mut index = self.current.load().index.clone();
        let former = writing.replace(&mut index, pattern, route, weight)?;
        self.publish(index);
        Ok(former)
    }

    /// All routes whose pattern is found in `name`; empty if there is none. Those
    /// that were handed out are found where there are no others.
    pub fn lookup(&self, name: &str) -> Matches<R> {
        let snapshot = self.current.load();
        snapshot.remembered.get(name).unwrap_or_else(|| {
            let matches = snapshot.find(name);
            snapshot.remembered.put(name, &matches);
            matches
        })
    }

    /// All routes in the order they were added.
    pub fn list(&self) -> Vec<Arc<Entry<R>>> {
        let snapshot = self.current.load();
        let mut entries = Vec::new();
        snapshot.index.all(&mut |entry| entries.push(Arc::clone(entry)));
        entries.sort_unstable_by_key(|entry| entry.order);
        entries.dedup_by_key(|entry| entry.order);
        entries
    }

    /// The former snapshot is given back.
    fn publish(&self, index: Index<Arc<Entry<R>>>) -> Arc<Snapshot<R>> {
        self.current.swap(Arc::new(Snapshot { index, remembered: Remembered::default() }))
    }
}

impl<R> Default for RoutingTable<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> fmt::Debug for RoutingTable<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutingTable").field("len", &self.writing.lock().len()).finish_non_exhaustive()
    }
}

impl<R> Entry<R> {
    /// The pattern, as it was added.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The weight: of several routes for one name the one with the highest
    /// weight comes first.
    pub fn weight(&self) -> i64 {
        self.weight
    }

    /// Whether it was handed out to the node, rather than written for it.
    pub fn is_handed_out(&self) -> bool {
        self.handed_out
    }

    /// The route.
    pub fn route(&self) -> &R {
        &self.route
    }
}

impl<R: fmt::Debug> fmt::Debug for Entry<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("pattern", &self.pattern)
            .field("weight", &self.weight)
            .field("route", &self.route)
            .finish()
    }
}

impl<R: fmt::Display> fmt::Display for Entry<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` weight {}: {}", self.pattern, self.weight, self.route)
    }
}

/// What readers see: never changed, only replaced.
struct Snapshot<R> {
    index: Index<Arc<Entry<R>>>,
    remembered: Remembered<R>,
}

impl<R> Snapshot<R> {
    fn find(&self, name: &str) -> Matches<R> {
        let name = Name::new(name);
        let mut entries: Vec<&Arc<Entry<R>>> = Vec::new();
        self.index.find(&name.chars, &mut |entry| entries.push(entry));
        entries.sort_unstable_by_key(|entry| Arc::as_ptr(entry));
        entries.dedup_by_key(|entry| Arc::as_ptr(entry));
        let mut workspace = Workspace::default();
        entries.retain(|entry| entry.matcher.matches(&name, &mut workspace));
        if entries.iter().any(|entry| !entry.handed_out) {
            entries.retain(|entry| !entry.handed_out);
        }
        entries.sort_unstable_by_key(|entry| (Reverse(entry.weight), entry.order));
        entries.into_iter().cloned().collect()
    }
}
