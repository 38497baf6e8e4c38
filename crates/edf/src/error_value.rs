//! Errors as values on the wire.

use std::fmt;

use crate::Text;

/// An error that travels: a text, and since Ergo 3.3.0 the errors it wraps
/// (`docs/wire/EDF.md` sections 6 and 14). It has no identity but its text.
/// Nil, Go's "no error", is `None` of an `Option<ErrorValue>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErrorValue {
    text: Text,
    wrapped: Vec<ErrorValue>,
}

impl ErrorValue {
    /// The longest text, in bytes.
    pub const MAX_LEN: usize = 32767;
    pub(crate) const NIL: u16 = 0xffff;
    pub(crate) const WRAPPED: u16 = 0xfffe;

    /// An error with this text.
    pub fn new(text: impl Into<Text>) -> Self {
        Self { text: text.into(), wrapped: Vec::new() }
    }

    /// An error with as much of a text as can travel: the first
    /// [`MAX_LEN`](Self::MAX_LEN) bytes, up to the end of a character.
    pub fn truncated(text: &str) -> Self {
        Self::new(&text[..text.floor_char_boundary(Self::MAX_LEN)])
    }

    /// Adds an error that this one wraps. Peers before Ergo 3.3.0 get the text
    /// alone.
    #[must_use]
    pub fn wrapping(mut self, error: Self) -> Self {
        self.wrapped.push(error);
        self
    }

    /// The text.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The errors that this one wraps directly.
    pub fn wrapped(&self) -> &[Self] {
        &self.wrapped
    }
}

impl fmt::Display for ErrorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

impl std::error::Error for ErrorValue {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.wrapped.first().map(|wrapped| wrapped as _)
    }
}

impl From<&str> for ErrorValue {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
