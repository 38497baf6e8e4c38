//! Why a process ends.

use std::fmt;
use std::sync::Arc;

use postroad_edf::ErrorValue;

/// Why a process ended, or is asked to end.
///
/// Across nodes a reason travels as its text (`docs/wire/EDF.md` section 6), so
/// two reasons with equal texts are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitReason {
    /// The process is done.
    Normal,
    /// Somebody in charge asked it to end: its parent, or the node that stops.
    Shutdown,
    /// It was killed, without a chance to clean up.
    Kill,
    /// A handler panicked.
    Panic,
    /// The name was given up, the alias deleted or the event withdrawn; its
    /// process lives on.
    Unregistered,
    /// The connection with its node was lost: whether it still runs is not
    /// known.
    NoConnection,
    /// Anything else, as a text.
    Error(Arc<str>),
}

impl ExitReason {
    /// A reason of the program's own.
    pub fn error(text: impl fmt::Display) -> Self {
        Self::from_text(&text.to_string())
    }

    /// The reason that has this text.
    pub fn from_text(text: &str) -> Self {
        match text {
            "normal" => Self::Normal,
            "shutdown" => Self::Shutdown,
            "kill" => Self::Kill,
            "panic" => Self::Panic,
            "unregistered" => Self::Unregistered,
            "no connection" => Self::NoConnection,
            other => Self::Error(other.into()),
        }
    }

    /// The text: what travels and what is logged.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Kill => "kill",
            Self::Panic => "panic",
            Self::Unregistered => "unregistered",
            Self::NoConnection => "no connection",
            Self::Error(text) => text,
        }
    }

    /// Whether nothing went wrong: `normal` or `shutdown`.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// So that `?` ends the process with the error as its reason.
impl<E: std::error::Error> From<E> for ExitReason {
    fn from(error: E) -> Self {
        Self::error(error)
    }
}

/// As other nodes are told; what is longer than an error may be is cut off.
impl From<&ExitReason> for ErrorValue {
    fn from(reason: &ExitReason) -> Self {
        ErrorValue::truncated(reason.as_str())
    }
}
