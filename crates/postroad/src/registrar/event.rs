//! What registrars tell.

use std::fmt;
use std::sync::Arc;

use super::ApplicationMode;
use crate::Atom;

/// A change that a registrar has noticed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RegistrarEvent {
    /// A node has registered. Once for each registration, not when one is renewed.
    NodeJoined {
        /// The node.
        node: Atom,
    },
    /// A node's registration has ended.
    NodeLeft {
        /// The node.
        node: Atom,
    },
    /// The value of an item of this node's configuration is another one now.
    ConfigUpdated {
        /// The item.
        item: Arc<str>,
        /// What it was; nothing if it was not there.
        old: Option<ConfigValue>,
        /// What it is; nothing if it is gone.
        value: Option<ConfigValue>,
    },
    /// A node has loaded an application, or has ended it and keeps it loaded.
    ApplicationLoaded {
        /// The application.
        name: Atom,
        /// Where.
        node: Atom,
        /// The weight it is offered with.
        weight: i64,
    },
    /// A node runs an application, or something about one that runs is different:
    /// its tags say [`resolve_application`](super::Resolver::resolve_application).
    ApplicationStarted {
        /// The application.
        name: Atom,
        /// Where.
        node: Atom,
        /// The weight it is offered with.
        weight: i64,
        /// How it was started; nothing if the registrar was told no mode there is.
        mode: Option<ApplicationMode>,
    },
    /// An application is about to end on a node.
    ApplicationStopping {
        /// The application.
        name: Atom,
        /// Where.
        node: Atom,
    },
    /// A node does not have an application any more.
    ApplicationStopped {
        /// The application.
        name: Atom,
        /// Where.
        node: Atom,
    },
    /// The registrar can be reached, for the first time or again. What has
    /// changed meanwhile is told before this.
    Connected,
    /// The registrar cannot be reached any more. It tries again by itself.
    Disconnected {
        /// Why, for people.
        reason: Arc<str>,
    },
}

/// A value of a node's configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConfigValue {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl ConfigValue {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Self::Int(number) => Some(number),
            _ => None,
        }
    }

    /// The number, if it is one, whole or not.
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Self::Float(number) => Some(number),
            Self::Int(number) => Some(number as f64),
            _ => None,
        }
    }

    /// Yes or no, if it is that.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}
