//! The names that a pattern matches from one end to the other.

use std::fmt;
use std::sync::Arc;

use super::matcher::{Matcher, Name, TooLarge, Workspace};
use super::texts::Required;
use super::{AddRouteError, Pattern, syntax};

/// The names that a pattern matches from one end to the other: unlike a route's
/// pattern, which is searched for in a name, it needs no anchors. For what is
/// not to depend on a forgotten one.
///
/// ```
/// use postroad::network::routes::Names;
///
/// let names = Names::matching("db-[0-9]+@private").unwrap();
/// assert!(names.contains("db-7@private"));
/// assert!(!names.contains("db-7@private.evil"));
/// ```
#[derive(Clone)]
pub struct Names {
    pattern: Arc<str>,
    matcher: Arc<Matcher>,
}

impl Names {
    /// # Errors
    /// [`AddRouteError::InvalidPattern`], [`AddRouteError::TooLong`],
    /// [`AddRouteError::TooLarge`], as for the pattern of a route.
    pub fn matching(pattern: &str) -> Result<Self, AddRouteError> {
        // By itself first: `a)|(b` is no pattern.
        Pattern::read(pattern)?;
        let too_large = || AddRouteError::TooLarge { pattern: pattern.into() };
        let whole = syntax::read(&format!("^(?:{pattern})$")).map_err(|_| too_large())?;
        let anything = Required { texts: Vec::new(), decides: false };
        let matcher = Matcher::new(&whole, &anything).map_err(|TooLarge| too_large())?;
        Ok(Self { pattern: pattern.into(), matcher: Arc::new(matcher) })
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.matcher.matches(&Name::new(name), &mut Workspace::default())
    }

    /// The pattern, as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

/// If their patterns are written the same way.
impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Names {}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Names").field(&self.pattern).finish()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}
