//! What a node says when it does not do what another one asks for.

use std::fmt;

use postroad_edf::ErrorValue;

use crate::error::RelationError;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why a node did not do what another one asked for. It travels as its
        /// text, which is Ergo's too.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Refusal {
            $($(#[$doc])* $name,)*
            /// Anything else.
            Other(ErrorValue),
        }

        impl From<ErrorValue> for Refusal {
            fn from(error: ErrorValue) -> Self {
                match error.text().as_str() {
                    $(Some($text) => Self::$name,)*
                    _ => Self::Other(error),
                }
            }
        }

        impl From<Refusal> for ErrorValue {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    $(Refusal::$name => Self::new($text),)*
                    Refusal::Other(error) => error,
                }
            }
        }

        #[cfg(test)]
        const TEXTS: &[(Refusal, &str)] = &[$((Refusal::$name, $text)),*];
    };
}

refusals! {
    NotAllowed = "not allowed";
    NotSupported = "not supported";
    NameUnknown = "unknown name";
    Taken = "resource is taken";
    Incorrect = "incorrect value or argument";
    ProcessUnknown = "unknown process";
    ProcessTerminated = "process terminated";
    AliasUnknown = "unknown alias";
    EventUnknown = "unknown event";
    /// There is such a link or monitor already.
    TargetExists = "target is already exist";
    /// There is no such link or monitor.
    TargetUnknown = "unknown target";
    ApplicationUnknown = "unknown application";
    ApplicationRunning = "application is still running";
    ApplicationState = "application is in running/stopping state";
    NodeTerminated = "node terminated";
    TimedOut = "timed out";
    Internal = "internal error";
}

impl From<RelationError> for Refusal {
    fn from(error: RelationError) -> Self {
        match error {
            RelationError::ProcessTerminated => Self::ProcessTerminated,
            RelationError::AliasUnknown => Self::AliasUnknown,
            RelationError::EventUnknown => Self::EventUnknown,
            _ => Self::ProcessUnknown,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ErrorValue::from(self.clone()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_understood_as_it_was_said() {
        for (refusal, text) in TEXTS.iter().cloned() {
            let said = ErrorValue::from(refusal.clone());
            assert_eq!(said, ErrorValue::new(text));
            assert_eq!(Refusal::from(said), refusal);
        }
        let other = ErrorValue::new("out of coffee");
        assert_eq!(Refusal::from(other.clone()), Refusal::Other(other.clone()));
        assert_eq!(ErrorValue::from(Refusal::Other(other.clone())), other);
    }
}
