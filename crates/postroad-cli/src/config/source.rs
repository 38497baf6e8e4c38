//! The text of a configuration file, and what is to be said about places in it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Something to say about a place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) severity: Severity,
    /// In bytes of the text.
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// Whether the file can be used nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// All that is to be said about a file, in the order of its lines.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    source: Arc<Source>,
    notes: Vec<Note>,
}

impl Source {
    pub(crate) fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self { path: path.to_owned(), text: std::fs::read_to_string(path)? })
    }

    /// The line and the column of a place, both counted from 1; a column is a character.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..self.boundary(at)];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    /// `path`, seen from the folder of this file.
    pub(crate) fn relative(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn boundary(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        (0..=at).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0)
    }
}

impl Notes {
    pub(crate) fn new(source: Arc<Source>, mut notes: Vec<Note>) -> Self {
        notes.sort_by_key(|note| note.span.start);
        Self { source, notes }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.notes.iter().filter(|note| note.severity == severity).count()
    }
}

impl fmt::Display for Notes {
    /// Each as a compiler would show it, with an empty line between two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, note) in self.notes.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            self.source.show(note, f)?;
        }
        Ok(())
    }
}

impl Source {
    fn show(&self, note: &Note, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match note.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let start = self.boundary(note.span.start);
        let (number, column) = self.position(start);
        writeln!(f, "{severity}: {}:{number}:{column}: {}", self.path.display(), note.message)?;
        let line_start = self.text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let marked = self.text[start..self.boundary(note.span.end).max(start)].lines().next();
        let carets = marked.map_or(0, |marked| marked.chars().count()).max(1);
        // Tabs stay tabs, so that the carets stand below what they mean.
        let indent: String =
            line.chars().take(column - 1).map(|char| if char == '\t' { '\t' } else { ' ' }).collect();
        let gutter = " ".repeat(number.to_string().len());
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {line}")?;
        write!(f, "{gutter} | {indent}{}", "^".repeat(carets))?;
        match &note.help {
            Some(help) => write!(f, "\n{gutter} = {help}"),
            None => Ok(()),
        }
    }
}

/// The word among `known` that was meant, probably.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters are to be put in, left out, replaced or swapped with
/// their neighbour to make one word of the other. Case and `-` for `_` are free.
fn distance(a: &str, b: &str) -> usize {
    let letters = |word: &str| -> Vec<char> { word.to_lowercase().replace('-', "_").chars().collect() };
    let (a, b) = (letters(a), letters(b));
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(text: &str, span: Range<usize>, help: Option<&str>) -> String {
        let source = Source { path: "node.toml".into(), text: text.to_owned() };
        let note = Note {
            severity: Severity::Error,
            span,
            message: "it is wrong".to_owned(),
            help: help.map(str::to_owned),
        };
        Notes::new(source.into(), vec![note]).to_string()
    }

    #[test]
    fn the_line_is_shown_with_carets_below() {
        assert_eq!(
            notes("[node]\n\twieght = 1\n", 8..14, Some("did you mean `weight`?")),
            "error: node.toml:2:2: it is wrong\n  |\n2 | \twieght = 1\n  | \t^^^^^^\n  = did you mean `weight`?"
        );
    }

    #[test]
    fn places_at_the_edges_are_shown() {
        assert_eq!(notes("", 0..0, None), "error: node.toml:1:1: it is wrong\n  |\n1 | \n  | ^");
        assert_eq!(
            notes("ä = ö", 99..200, None),
            "error: node.toml:1:6: it is wrong\n  |\n1 | ä = ö\n  |      ^"
        );
        assert_eq!(notes("a = 1\n", 6..6, None), "error: node.toml:2:1: it is wrong\n  |\n2 | \n  | ^");
        // A place that begins within a character, and one over several lines.
        assert_eq!(notes("ä\nb", 1..4, None), "error: node.toml:1:1: it is wrong\n  |\n1 | ä\n  | ^");
    }

    #[test]
    fn the_word_that_was_meant_is_found() {
        let known = ["weight", "host", "port", "max_message_size"];
        assert_eq!(closest("wieght", known), Some("weight"));
        assert_eq!(closest("Host", known), Some("host"));
        assert_eq!(closest("max-mesage-size", known), Some("max_message_size"));
        assert_eq!(closest("cookie", known), None);
        assert_eq!(closest("x", known), None);
    }
}
