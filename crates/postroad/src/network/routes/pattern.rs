//! Patterns that have been read.

use std::convert::Infallible;

use super::matcher::{self, Matcher};
use super::texts::{Required, Text, strip};
use super::{AddRouteError, PatternWarning, syntax, warning};

/// How long a pattern may be, in bytes.
pub const MAX_PATTERN_LEN: usize = 1024;

/// Whether [`RoutingTable::add`](super::RoutingTable::add) would take this pattern, and what it would say
/// about it.
pub fn check_pattern(pattern: &str) -> Result<Vec<PatternWarning>, AddRouteError> {
    Pattern::read(pattern).map(|pattern| pattern.warnings)
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
    pub(super) text: Box<str>,
    pub(super) required: Vec<Text>,
    pub(super) matcher: Matcher,
    pub(super) warnings: Vec<PatternWarning>,
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

    /// Reads a pattern, as [`RoutingTable::add`](super::RoutingTable::add) does.
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

/// A pattern that was read before there is a table for its route.
#[derive(Debug)]
pub(crate) struct Written {
    text: Box<str>,
    read: Result<Pattern, AddRouteError>,
}

impl Written {
    pub(crate) fn of<P>(pattern: P) -> Self
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        Self { text: pattern.as_ref().into(), read: pattern.try_into().map_err(Into::into) }
    }
}

impl AsRef<str> for Written {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl TryFrom<Written> for Pattern {
    type Error = AddRouteError;

    fn try_from(written: Written) -> Result<Self, AddRouteError> {
        written.read
    }
}
