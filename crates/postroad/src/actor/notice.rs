//! What a process is told of the ends of others.

use std::fmt;

use super::ExitReason;
use crate::node::Target;
use crate::{Alias, Atom, Event, Pid, ProcessId};

/// What can be linked to and monitored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Watched {
    /// A process.
    Pid(Pid),
    /// A registered name: it ends with its process, and when it is given up.
    Name(ProcessId),
    /// An alias: it ends with its process, and when it is deleted.
    Alias(Alias),
    /// An event: it ends with its producer, and when it is withdrawn.
    Event(Event),
    /// A node: it ends when the connection with it does.
    Node(Atom),
}

impl Watched {
    /// The node that it is on, or that it is.
    pub fn node(&self) -> Atom {
        match self {
            Self::Pid(pid) => pid.node,
            Self::Name(process) => process.node,
            Self::Alias(alias) => alias.node,
            Self::Event(event) => event.node,
            Self::Node(node) => *node,
        }
    }

    /// The same, with `node` where no node is named.
    pub(crate) fn or_on(mut self, node: Atom) -> Self {
        let named = match &mut self {
            Self::Pid(pid) => &mut pid.node,
            Self::Name(process) => &mut process.node,
            Self::Alias(alias) => &mut alias.node,
            Self::Event(event) => &mut event.node,
            Self::Node(node) => node,
        };
        if named.is_empty() {
            *named = node;
        }
        self
    }
}

impl From<Target> for Watched {
    fn from(target: Target) -> Self {
        match target {
            Target::Pid(pid) => Self::Pid(pid),
            Target::Name(process) => Self::Name(process),
            Target::Alias(alias) => Self::Alias(alias),
        }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::Name(process) => process.fmt(f),
            Self::Alias(alias) => alias.fmt(f),
            Self::Event(event) => event.fmt(f),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// An exit signal: somebody asks the process to end, or what it is linked to
/// has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exit {
    /// What has ended; of a [request](Self::requested), the process that asks.
    pub subject: Watched,
    /// Why it ended, or with what reason this process is to end.
    pub reason: ExitReason,
    /// Whether it was sent ([`Context::send_exit`](crate::Context::send_exit)),
    /// and does not follow from a link.
    pub requested: bool,
}

/// What is monitored has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Down {
    /// What has ended.
    pub subject: Watched,
    /// Why.
    pub reason: ExitReason,
}
