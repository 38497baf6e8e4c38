//! Takes sections of a file apart, and remembers everything that is wrong.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::source::{Note, Notes, Severity, Source, closest};
use super::units;

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) source: Arc<Source>,
    notes: RefCell<Vec<Note>>,
}

/// A table of the file. Keys are taken out of it one by one; what is left when
/// it is finished was not to be there.
pub(crate) struct Section<'a> {
    pub(crate) reader: &'a Reader,
    /// What messages call it.
    name: String,
    pub(crate) span: Range<usize>,
    entries: Vec<(Spanned<String>, Spanned<DeValue<'a>>)>,
    asked: Vec<&'static str>,
    taken: Vec<&'static str>,
}

/// A value with its place.
pub(crate) type At<T> = Spanned<T>;

impl Reader {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self { source, notes: RefCell::default() }
    }

    pub(crate) fn error(&self, span: Range<usize>, message: impl Into<String>) {
        self.note(Severity::Error, span, message, None);
    }

    pub(crate) fn error_with_help(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Error, span, message, Some(help.into()));
    }

    pub(crate) fn warning(&self, span: Range<usize>, message: impl Into<String>) {
        self.note(Severity::Warning, span, message, None);
    }

    pub(crate) fn into_notes(self) -> Notes {
        Notes::new(self.source, self.notes.into_inner())
    }

    /// The file as one section. What the syntax of the file breaks is left out.
    pub(crate) fn root(&self) -> Section<'_> {
        let (root, errors) = DeTable::parse_recoverable(&self.source.text);
        for error in errors {
            self.error(error.span().unwrap_or_default(), error.message());
        }
        Section::new(self, "the file", root.span(), root.into_inner())
    }

    fn note(&self, severity: Severity, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.notes.borrow_mut().push(Note { severity, span, message: message.into(), help });
    }
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader, name: impl Into<String>, span: Range<usize>, table: DeTable<'a>) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                let span = key.span();
                (Spanned::new(span, key.into_inner().into_owned()), value)
            })
            .collect();
        Self { reader, name: name.into(), span, entries, asked: Vec::new(), taken: Vec::new() }
    }

    /// Complains about what nobody asked for.
    pub(crate) fn finish(self) {
        let mut known = self.asked;
        known.sort_unstable();
        known.dedup();
        for (key, _) in &self.entries {
            let help = match closest(key.get_ref(), known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are: {}", known.join(", ")),
            };
            let message = format!("unknown key `{}` in {}", key.get_ref(), self.name);
            self.reader.error_with_help(key.span(), message, help);
        }
    }

    /// What is wrong with the section as a whole.
    pub(crate) fn error(&self, message: impl Into<String>) {
        self.reader.error(self.span.clone(), message);
    }

    /// Something about the section as a whole that may be meant otherwise.
    pub(crate) fn warning(&self, message: impl Into<String>) {
        self.reader.warning(self.span.clone(), message);
    }

    /// Where the value of a key stands that is still in the section; the section
    /// itself if it is not.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        let found = self.entries.iter().find(|(name, _)| name.get_ref() == key);
        found.map_or_else(|| self.span.clone(), |(_, value)| value.span())
    }

    /// Whether the file says this key, whatever its value is worth.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.taken.contains(&key) || self.peek(key).is_some()
    }

    /// A value that stays in the section.
    pub(crate) fn peek(&self, key: &str) -> Option<&DeValue<'a>> {
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.get_ref())
    }

    /// A value, whatever it is.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<At<DeValue<'a>>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(name, _)| name.get_ref() == key)?;
        self.taken.push(key);
        Some(self.entries.swap_remove(at).1)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        self.reader.text_of(key, value)
    }

    pub(crate) fn bool(&mut self, key: &'static str) -> Option<At<bool>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(bool) => Some(Spanned::new(value.span(), *bool)),
            _ => self.reader.wrong(key, &value, "true or false"),
        }
    }

    /// A whole number within a range.
    pub(crate) fn number<N: TryFrom<i64> + PartialOrd + std::fmt::Display>(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<N>,
    ) -> Option<At<N>> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => whole(number).and_then(|number| N::try_from(number).ok()),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(Spanned::new(value.span(), number)),
            None => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.reader.wrong(key, &value, &expected)
            }
        }
    }

    /// A time that is not zero.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<At<Duration>> {
        let value = self.value(key)?;
        let time = match value.get_ref() {
            DeValue::String(text) => units::duration(text),
            _ => None,
        };
        match time.filter(|time| !time.is_zero()) {
            Some(time) => Some(Spanned::new(value.span(), time)),
            None => {
                self.reader.wrong(key, &value, "a time above zero, such as \"3s\", \"500ms\" or \"1m30s\"")
            }
        }
    }

    /// A time that is not zero, or `false` for none.
    pub(crate) fn duration_or_false(&mut self, key: &'static str) -> Option<At<Option<Duration>>> {
        if let Some(DeValue::Boolean(false)) = self.peek(key) {
            return self.value(key).map(|value| Spanned::new(value.span(), None));
        }
        self.duration(key).map(|time| Spanned::new(time.span(), Some(time.into_inner())))
    }

    pub(crate) fn size(&mut self, key: &'static str) -> Option<At<u64>> {
        let value = self.value(key)?;
        let bytes = match value.get_ref() {
            DeValue::String(text) => units::size(text),
            DeValue::Integer(number) => whole(number).and_then(|number| u64::try_from(number).ok()),
            _ => None,
        };
        match bytes {
            Some(bytes) => Some(Spanned::new(value.span(), bytes)),
            None => {
                self.reader.wrong(key, &value, "a size, such as \"64MiB\", \"10MB\" or a number of bytes")
            }
        }
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<At<T>> {
        let text = self.text(key)?;
        self.reader.word_of(key, &text, words).map(|word| Spanned::new(text.span(), word))
    }

    /// What can be read from a text.
    pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &'static str,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        match text.get_ref().parse() {
            Ok(value) => Some(Spanned::new(text.span(), value)),
            Err(error) => {
                self.reader.error(text.span(), format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// A list of texts; one text stands for a list of one.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let value = self.value(key)?;
        let span = value.span();
        let texts = match value.into_inner() {
            DeValue::Array(values) => {
                values.into_iter().filter_map(|value| self.reader.text_of(key, value)).collect()
            }
            other => vec![self.reader.text_of(key, Spanned::new(span.clone(), other))?],
        };
        Some(Spanned::new(span, texts))
    }

    /// A table of texts.
    pub(crate) fn text_by_text(&mut self, key: &'static str) -> Option<Vec<(At<String>, At<String>)>> {
        let value = self.value(key)?;
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            self.reader.error(span, format!("`{key}` must be a table"));
            return None;
        };
        let pairs = table.into_iter().filter_map(|(name, value)| {
            let name = Spanned::new(name.span(), name.into_inner().into_owned());
            Some((name, self.reader.text_of(key, value)?))
        });
        Some(pairs.collect())
    }

    /// A table within this one.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        self.reader.section_of(key, value)
    }

    /// The tables that are called `[[key]]`.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let span = value.span();
        let outer = self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let title = outer.map_or(key.to_owned(), |outer| format!("{outer}.{key}"));
        match value.into_inner() {
            DeValue::Array(values) => {
                values.into_iter().filter_map(|value| self.reader.section_of(&title, value)).collect()
            }
            DeValue::Table(_) => {
                self.reader.error(span, format!("there may be several of `{key}`: write [[{key}]]"));
                Vec::new()
            }
            _ => {
                self.reader.error(span, format!("`{key}` must be tables: write [[{key}]]"));
                Vec::new()
            }
        }
    }

    /// The tables that are called `[key.NAME]`.
    pub(crate) fn named_sections(&mut self, key: &'static str) -> Vec<(At<String>, Section<'a>)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let reader = section.reader;
        let named = section.entries.into_iter().filter_map(|(name, value)| {
            let title = format!("{key}.{}", name.get_ref());
            Some((name, reader.section_of(&title, value)?))
        });
        named.collect()
    }
}

impl Reader {
    pub(crate) fn section_of<'a>(&'a self, name: &str, value: At<DeValue<'a>>) -> Option<Section<'a>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(self, format!("[{name}]"), span, table)),
            other => self.wrong(name, &Spanned::new(span, other), "a table"),
        }
    }

    /// The word's meaning; complains if it has none.
    pub(crate) fn word_of<T: Copy>(
        &self,
        key: &str,
        text: &At<String>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let found = words.iter().find(|(word, _)| word == text.get_ref());
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let help = match closest(text.get_ref(), known.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("there are: {}", known.join(", ")),
            };
            let message = format!("`{key}` cannot be {:?}", text.get_ref());
            self.error_with_help(text.span(), message, help);
        }
        found.map(|(_, meaning)| *meaning)
    }

    fn text_of(&self, key: &str, value: At<DeValue<'_>>) -> Option<At<String>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
            other => self.wrong(key, &Spanned::new(span, other), "a text in quotation marks"),
        }
    }

    fn wrong<T>(&self, key: &str, value: &At<DeValue<'_>>, expected: &str) -> Option<T> {
        let kind = match value.get_ref() {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(bool) => bool.to_string(),
            DeValue::Datetime(_) => "a date or a time of day".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.error(value.span(), format!("`{key}` must be {expected}, not {kind}"));
        None
    }
}

fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
