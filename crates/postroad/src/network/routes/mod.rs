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

mod expression;
mod index;
mod matcher;
mod remembered;
mod syntax;
mod texts;
mod warning;

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::proxy_route::InvalidProxyRoute;
use super::route::InvalidRoute;

use self::index::Index;
use self::matcher::{Matcher, Name, Workspace};
use self::remembered::Remembered;
use self::texts::{Required, strip};

pub use self::syntax::PatternFault;
pub use self::warning::PatternWarning;

/// How long a pattern may be, in bytes.
pub const MAX_PATTERN_LEN: usize = 1024;

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
    matcher: Matcher,
    route: R,
}

/// Why a route was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddRouteError {
    /// There is a route under this pattern already.
    #[error(
        "resource is taken: there is a route for `{pattern}` already; remove it first, or write a \
         different pattern that matches the same names"
    )]
    Taken {
        /// The pattern.
        pattern: Box<str>,
    },
    /// The pattern is not a regular expression.
    #[error("`{pattern}` is not a valid pattern: at character {position}, {fault}")]
    InvalidPattern {
        /// The pattern.
        pattern: Box<str>,
        /// The character it is about, counted from 1.
        position: usize,
        /// What is wrong there.
        fault: PatternFault,
    },
    /// The pattern is longer than [`MAX_PATTERN_LEN`].
    #[error("a pattern has {MAX_PATTERN_LEN} bytes at most, this one has {len}")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
    },
    /// The route itself cannot be used.
    #[error(transparent)]
    Route(#[from] InvalidRoute),
    /// The proxy route itself cannot be used.
    #[error(transparent)]
    ProxyRoute(#[from] InvalidProxyRoute),
    /// The pattern repeats so much that running it would take too long.
    #[error("`{pattern}` is too large once its repetitions are written out; use smaller counts")]
    TooLarge {
        /// The pattern.
        pattern: Box<str>,
    },
}

/// Why none of several routes was added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no route was added, because of entry {} (`{pattern}`): {source}", index + 1)]
#[non_exhaustive]
pub struct AddRoutesError {
    /// The place of the first route that cannot be added in what was given, counted from 0.
    pub index: usize,
    /// Its pattern.
    pub pattern: Box<str>,
    /// What is wrong with it. [`AddRouteError::Taken`] also if an earlier entry has the same pattern.
    pub source: Box<AddRouteError>,
}

/// Why a route was not removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveRouteError {
    /// No route was added under exactly this pattern.
    #[error("unknown: there is no route for `{pattern}`; the text must be the one it was added with")]
    Unknown {
        /// The pattern.
        pattern: Box<str>,
    },
}

/// Why a route was not replaced: the former one stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceRouteError {
    /// No route was added under exactly this pattern.
    #[error("unknown: there is no route for `{pattern}` to replace; add it")]
    Unknown {
        /// The pattern.
        pattern: Box<str>,
    },
    /// The new route cannot be used.
    #[error(transparent)]
    Route(#[from] InvalidRoute),
    /// The new proxy route cannot be used.
    #[error(transparent)]
    ProxyRoute(#[from] InvalidProxyRoute),
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

/// Whether [`RoutingTable::add`] would take this pattern, and what it would say
/// about it.
pub fn check_pattern(pattern: &str) -> Result<Vec<PatternWarning>, AddRouteError> {
    Pattern::read(pattern).map(|pattern| pattern.warnings)
}

impl<R> RoutingTable<R> {
    /// A table without routes.
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot {
                index: Index::default(),
                remembered: Remembered::default(),
            }),
            writing: Mutex::new(Writing { entries: HashSet::default(), added: 0 }),
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
        let mut warnings = Vec::new();
        let mut fresh = Vec::new();
        for (index, (pattern, route, weight)) in routes.into_iter().enumerate() {
            let written: Box<str> = pattern.as_ref().into();
            match pattern.try_into() {
                Ok(Pattern { text, required, matcher, warnings: surprises }) => {
                    warnings.extend(surprises.into_iter().map(|warning| (index, warning)));
                    fresh.push((Entry { pattern: text, weight, order: 0, matcher, route }, required));
                }
                Err(source) => {
                    let source = Box::new(source.into());
                    return Err(AddRoutesError { index, pattern: written, source });
                }
            }
        }
        let mut writing = self.writing.lock();
        if let Some((index, pattern)) = writing.taken(fresh.iter().map(|(entry, _)| &*entry.pattern)) {
            let source = Box::new(AddRouteError::Taken { pattern: pattern.into() });
            return Err(AddRoutesError { index, pattern: pattern.into(), source });
        }
        let mut index = self.current.load().index.clone();
        for (entry, required) in fresh {
            let entry = Arc::new(Entry { order: writing.added, ..entry });
            writing.added += 1;
            for text in &required {
                index.insert(text, Arc::clone(&entry));
            }
            writing.entries.insert(ByPattern(entry));
        }
        self.publish(index);
        Ok(warnings)
    }

    /// Removes the route that was added under exactly this pattern.
    pub fn remove(&self, pattern: &str) -> Result<Arc<Entry<R>>, RemoveRouteError> {
        let unknown = || RemoveRouteError::Unknown { pattern: pattern.into() };
        let expression = syntax::read(pattern).map_err(|_| unknown())?;
        let required = Required::by(&strip(expression)).into_texts();
        let mut writing = self.writing.lock();
        let ByPattern(entry) = writing.entries.take(pattern).ok_or_else(unknown)?;
        let mut index = self.current.load().index.clone();
        for text in &required {
            index.remove(text, |other| Arc::ptr_eq(other, &entry));
        }
        self.publish(index);
        Ok(entry)
    }

    /// Replaces the route that was added under exactly this pattern; returns
    /// that one. Lookups find either the former or the new one, and never
    /// neither. Among routes of equal weight it keeps its place.
    pub fn replace(&self, pattern: &str, route: R, weight: i64) -> Result<Arc<Entry<R>>, ReplaceRouteError> {
        let unknown = || ReplaceRouteError::Unknown { pattern: pattern.into() };
        let Pattern { required, matcher, .. } = Pattern::read(pattern).map_err(|_| unknown())?;
        let mut writing = self.writing.lock();
        let ByPattern(former) = writing.entries.take(pattern).ok_or_else(unknown)?;
        let order = former.order;
        let entry = Arc::new(Entry { pattern: pattern.into(), weight, order, matcher, route });
        writing.entries.insert(ByPattern(Arc::clone(&entry)));
        let mut index = self.current.load().index.clone();
        for text in &required {
            index.remove(text, |other| Arc::ptr_eq(other, &former));
            index.insert(text, Arc::clone(&entry));
        }
        self.publish(index);
        Ok(former)
    }

    /// All routes whose pattern is found in `name`; empty if there is none.
    pub fn lookup(&self, name: &str) -> Matches<R> {
        let snapshot = self.current.load();
        snapshot.remembered.get(name).unwrap_or_else(|| {
            let matches = snapshot.find(name);
            snapshot.remembered.put(name, &matches);
            matches
        })
    }

    /// As [`lookup`](Self::lookup), and does not remember the name: for tables
    /// that strangers' names are looked up in.
    pub(crate) fn find(&self, name: &str) -> Matches<R> {
        self.current.load().find(name)
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

    fn publish(&self, index: Index<Arc<Entry<R>>>) {
        self.current.store(Arc::new(Snapshot { index, remembered: Remembered::default() }));
    }
}

impl<R> Default for RoutingTable<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> fmt::Debug for RoutingTable<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutingTable")
            .field("len", &self.writing.lock().entries.len())
            .finish_non_exhaustive()
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
        entries.sort_unstable_by_key(|entry| (Reverse(entry.weight), entry.order));
        entries.into_iter().cloned().collect()
    }
}

/// What those who change the table have between them.
struct Writing<R> {
    entries: HashSet<ByPattern<R>, RandomState>,
    added: u64,
}

impl<R> Writing<R> {
    /// The first of these patterns that is in the table, or among those before it.
    fn taken<'p>(&self, patterns: impl Iterator<Item = &'p str>) -> Option<(usize, &'p str)> {
        let mut seen = HashSet::new();
        patterns.enumerate().find(|(_, pattern)| self.entries.contains(*pattern) || !seen.insert(*pattern))
    }
}

struct ByPattern<R>(Arc<Entry<R>>);

impl<R> Borrow<str> for ByPattern<R> {
    fn borrow(&self) -> &str {
        &self.0.pattern
    }
}

impl<R> PartialEq for ByPattern<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0.pattern == other.0.pattern
    }
}

impl<R> Eq for ByPattern<R> {}

impl<R> Hash for ByPattern<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.pattern.hash(state);
    }
}

/// A pattern that has been read, which is most of the work of adding a route:
/// to be done beforehand where there are many of them.
///
/// ```
/// use postroad::network::routes::{Pattern, RoutingTable};
///
/// let pattern = Pattern::read("^db-[0-9]+@").unwrap();
/// assert!(pattern.warnings().is_empty());
/// let table = RoutingTable::new();
/// table.add_all([(pattern, "a route", 100)]).unwrap();
/// assert_eq!(table.lookup("db-7@prod").len(), 1);
/// ```
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    required: Vec<texts::Text>,
    matcher: Matcher,
    warnings: Vec<PatternWarning>,
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl TryFrom<&str> for Pattern {
    type Error = AddRouteError;

    fn try_from(text: &str) -> Result<Self, AddRouteError> {
        Self::read(text)
    }
}

impl TryFrom<&String> for Pattern {
    type Error = AddRouteError;

    fn try_from(text: &String) -> Result<Self, AddRouteError> {
        Self::read(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = AddRouteError;

    fn try_from(text: String) -> Result<Self, AddRouteError> {
        Self::read(&text)
    }
}

impl From<Infallible> for AddRouteError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Pattern {
    /// What is surprising about it, if anything is.
    pub fn warnings(&self) -> &[PatternWarning] {
        &self.warnings
    }

    /// Reads a pattern, as [`RoutingTable::add`] does.
    pub fn read(pattern: &str) -> Result<Self, AddRouteError> {
        if pattern.len() > MAX_PATTERN_LEN {
            return Err(AddRouteError::TooLong { len: pattern.len() });
        }
        let expression = syntax::read(pattern).map_err(|(at, fault)| AddRouteError::InvalidPattern {
            pattern: pattern.into(),
            position: pattern[..at].chars().count() + 1,
            fault,
        })?;
        let core = strip(expression.clone());
        let required = Required::by(&core);
        let matcher = Matcher::new(&core, &required)
            .map_err(|matcher::TooLarge| AddRouteError::TooLarge { pattern: pattern.into() })?;
        let warnings = warning::warnings(pattern, &expression, &required);
        Ok(Self { text: pattern.into(), required: required.into_texts(), matcher, warnings })
    }
}
