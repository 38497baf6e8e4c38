//! The patterns of routes in a configuration file.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use postroad::network::routes::Pattern;
use postroad::network::{AddRouteError, exact};

use super::route::check_node_name;
use super::section::{At, Reader, Section};

/// The patterns of one table.
#[derive(Default)]
pub(crate) struct Patterns {
    /// Where each of them is first.
    first: HashMap<String, usize>,
    /// Those that somebody wrote as such: what is made of a name needs no check.
    written: Vec<At<String>>,
}

type Verdict = Result<Pattern, AddRouteError>;

/// Patterns that were read while the file was checked. Each is there once: for
/// who adds its route, or for nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Understood(Arc<Mutex<HashMap<String, Pattern>>>);

impl Understood {
    /// That pattern, read.
    pub(super) fn take(&self, text: &str) -> Result<Pattern, AddRouteError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(text);
        known.map_or_else(|| Pattern::read(text), Ok)
    }
}

/// What a file says does not depend on what was read beforehand.
impl PartialEq for Understood {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Patterns {
    /// The pattern of a route, given as `pattern` or, for one node, as `name`.
    pub(crate) fn read(&mut self, section: &mut Section<'_>) -> Option<String> {
        let reader = section.reader;
        let (text, pattern) = match (section.text("pattern"), section.text("name")) {
            (Some(pattern), None) => {
                self.written.push(pattern.clone());
                (pattern.clone(), pattern.into_inner())
            }
            (None, Some(name)) => {
                check_node_name(reader, &name);
                let pattern = exact(name.get_ref());
                (name, pattern)
            }
            (Some(_), Some(name)) => {
                reader.error(name.span(), "both `pattern` and `name`: a route has one of them");
                return None;
            }
            (None, None) => {
                if !section.has("pattern") && !section.has("name") {
                    section.error("for which nodes? Give a `pattern`, or the `name` of one node");
                }
                return None;
            }
        };
        if let Some(first) = self.first.insert(pattern.clone(), text.span().start) {
            let (line, _) = reader.source.position(first);
            reader.error_with_help(
                text.span(),
                format!("resource is taken: line {line} has a route for `{pattern}` already"),
                "write a different pattern that matches the same names",
            );
        }
        Some(pattern)
    }

    /// Whether all of them are patterns; those that are. Of a large file this is
    /// most of the work, so all processors have a part in it.
    pub(crate) fn check(self, reader: &Reader) -> Understood {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let share = self.written.len().div_ceil(processors).max(1000);
        let verdicts: Vec<Verdict> = thread::scope(|scope| {
            let parts: Vec<_> =
                self.written.chunks(share).map(|part| scope.spawn(|| verdicts(part))).collect();
            parts
                .into_iter()
                .flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        let mut understood = HashMap::new();
        for (text, verdict) in self.written.into_iter().zip(verdicts) {
            match verdict {
                Ok(pattern) => {
                    for warning in pattern.warnings() {
                        reader.warning(text.span(), warning.to_string());
                    }
                    understood.insert(text.into_inner(), pattern);
                }
                Err(error) => reader.error(place(reader, &text, &error), error.to_string()),
            }
        }
        Understood(Arc::new(Mutex::new(understood)))
    }
}

fn verdicts(patterns: &[At<String>]) -> Vec<Verdict> {
    patterns.iter().map(|text| Pattern::read(text.get_ref())).collect()
}

/// The character that an error is about, if the pattern stands in the file as it is.
pub(super) fn place(reader: &Reader, text: &At<String>, error: &AddRouteError) -> std::ops::Range<usize> {
    let (span, pattern) = (text.span(), text.get_ref());
    let inside = span.start + 1;
    match error {
        AddRouteError::InvalidPattern { position, .. }
            if reader.source.text.get(inside..).is_some_and(|rest| rest.starts_with(pattern)) =>
        {
            let before: usize = pattern.chars().take(position - 1).map(char::len_utf8).sum();
            let len = pattern[before..].chars().next().map_or(1, char::len_utf8);
            inside + before..inside + before + len
        }
        _ => span,
    }
}
