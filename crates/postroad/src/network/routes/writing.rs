//! What those who change a table have between them.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::index::Index;
use super::pattern::Pattern;
use super::texts::{Required, strip};
use super::{
    AddRouteError, AddRoutesError, Entry, PatternWarning, RemoveRouteError, ReplaceRouteError, syntax,
};

/// All routes by their patterns. What changes them changes the index that
/// readers will see likewise.
pub(super) struct Writing<R> {
    /// Those of the node itself.
    own: HashSet<ByPattern<R>, RandomState>,
    /// Those of its registrar, which may have the same patterns.
    handed_out: HashSet<ByPattern<R>, RandomState>,
    added: u64,
}

impl<R> Default for Writing<R> {
    fn default() -> Self {
        Self { own: HashSet::default(), handed_out: HashSet::default(), added: 0 }
    }
}

impl<R> Clone for Writing<R> {
    fn clone(&self) -> Self {
        Self { own: self.own.clone(), handed_out: self.handed_out.clone(), added: self.added }
    }
}

/// A route whose pattern was read.
pub(super) struct Fresh<R> {
    pub(super) pattern: Pattern,
    pub(super) route: R,
    pub(super) weight: i64,
}

/// Routes whose patterns were read, and what is surprising about those, each
/// with its place.
type Understood<R> = (Vec<Fresh<R>>, Vec<(usize, PatternWarning)>);

/// Reads the patterns of routes, which is most of the work of adding them.
pub(super) fn read<P, R>(
    routes: impl IntoIterator<Item = (P, R, i64)>,
) -> Result<Understood<R>, AddRoutesError>
where
    P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
{
    let (mut fresh, mut warnings) = (Vec::new(), Vec::new());
    for (index, (pattern, route, weight)) in routes.into_iter().enumerate() {
        let written: Box<str> = pattern.as_ref().into();
        let mut pattern: Pattern = pattern.try_into().map_err(|source| AddRoutesError {
            index,
            pattern: written,
            source: Box::new(source.into()),
        })?;
        warnings.extend(std::mem::take(&mut pattern.warnings).into_iter().map(|warning| (index, warning)));
        fresh.push(Fresh { pattern, route, weight });
    }
    Ok((fresh, warnings))
}

impl<R> Writing<R> {
    pub(super) fn len(&self) -> usize {
        self.own.len() + self.handed_out.len()
    }

    /// Adds all of them, or none.
    pub(super) fn add(
        &mut self,
        index: &mut Index<Arc<Entry<R>>>,
        fresh: Vec<Fresh<R>>,
        handed_out: bool,
    ) -> Result<(), AddRoutesError> {
        let entries = if handed_out { &mut self.handed_out } else { &mut self.own };
        let mut seen = HashSet::new();
        let patterns = fresh.iter().map(|fresh| &*fresh.pattern.text);
        let taken = patterns.enumerate().find(|(_, text)| entries.contains(*text) || !seen.insert(*text));
        if let Some((index, pattern)) = taken {
            let source = Box::new(AddRouteError::Taken { pattern: pattern.into() });
            return Err(AddRoutesError { index, pattern: pattern.into(), source });
        }
        for Fresh { pattern: Pattern { text, required, matcher, .. }, route, weight } in fresh {
            let order = self.added;
            self.added += 1;
            let entry = Arc::new(Entry { pattern: text, weight, order, handed_out, matcher, route });
            for text in &required {
                index.insert(text, Arc::clone(&entry));
            }
            entries.insert(ByPattern(entry));
        }
        Ok(())
    }

    /// Removes the node's own route of this pattern, or else the one that was
    /// handed out.
    pub(super) fn remove(
        &mut self,
        index: &mut Index<Arc<Entry<R>>>,
        pattern: &str,
    ) -> Result<Arc<Entry<R>>, RemoveRouteError> {
        let unknown = || RemoveRouteError::Unknown { pattern: pattern.into() };
        let found = self.own.take(pattern).or_else(|| self.handed_out.take(pattern));
        let ByPattern(entry) = found.ok_or_else(unknown)?;
        let expression = syntax::read(pattern).map_err(|_| unknown())?;
        for text in &Required::by(&strip(expression)).into_texts() {
            index.remove(text, |other| Arc::ptr_eq(other, &entry));
        }
        Ok(entry)
    }

    /// Puts another route in the place of the node's own one of this pattern;
    /// returns that one.
    pub(super) fn replace(
        &mut self,
        index: &mut Index<Arc<Entry<R>>>,
        pattern: &str,
        route: R,
        weight: i64,
    ) -> Result<Arc<Entry<R>>, ReplaceRouteError> {
        let unknown = || ReplaceRouteError::Unknown { pattern: pattern.into() };
        let Pattern { required, matcher, .. } = Pattern::read(pattern).map_err(|_| unknown())?;
        let ByPattern(former) = self.own.take(pattern).ok_or_else(unknown)?;
        let entry = Arc::new(Entry {
            pattern: pattern.into(),
            weight,
            order: former.order,
            handed_out: false,
            matcher,
            route,
        });
        self.own.insert(ByPattern(Arc::clone(&entry)));
        for text in &required {
            index.remove(text, |other| Arc::ptr_eq(other, &former));
            index.insert(text, Arc::clone(&entry));
        }
        Ok(former)
    }
}

struct ByPattern<R>(Arc<Entry<R>>);

impl<R> Clone for ByPattern<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

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
