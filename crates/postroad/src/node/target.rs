//! Whom a message is for.

use postroad_edf::AtomError;

use crate::{Alias, Atom, Pid, ProcessId};

/// The address of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// This process, of this incarnation of its node.
    Pid(Pid),
    /// Whoever has this name on that node; an empty node is the local one.
    Name(ProcessId),
    /// Whoever owns this alias.
    Alias(Alias),
}

/// What can be sent to: a [`Pid`], a [`ProcessId`], an [`Alias`], a local name
/// (`"worker"`), or a name on a node (`("worker", "node@host")`).
#[diagnostic::on_unimplemented(
    message = "nothing can be sent to a `{Self}`",
    label = "not the address of a process",
    note = "an address is a `Pid`, `ProcessId`, `Alias`, `Target`, a local name as `&str` or `Atom`, or a name on a \
            node, `(\"worker\", \"node@host\")`; of a `String` that is `.as_str()`"
)]
pub trait ToTarget: Send {
    /// The target. An error if a name is too long for an atom.
    fn to_target(self) -> Result<Target, AtomError>;
}

impl ToTarget for Target {
    fn to_target(self) -> Result<Target, AtomError> {
        Ok(self)
    }
}

impl From<Pid> for Target {
    fn from(pid: Pid) -> Self {
        Self::Pid(pid)
    }
}

impl From<ProcessId> for Target {
    fn from(name: ProcessId) -> Self {
        Self::Name(name)
    }
}

impl From<Alias> for Target {
    fn from(alias: Alias) -> Self {
        Self::Alias(alias)
    }
}

impl ToTarget for Pid {
    fn to_target(self) -> Result<Target, AtomError> {
        Ok(self.into())
    }
}

impl ToTarget for ProcessId {
    fn to_target(self) -> Result<Target, AtomError> {
        Ok(self.into())
    }
}

impl ToTarget for Alias {
    fn to_target(self) -> Result<Target, AtomError> {
        Ok(self.into())
    }
}

impl ToTarget for Atom {
    fn to_target(self) -> Result<Target, AtomError> {
        Ok(Target::Name(ProcessId { name: self, node: Atom::empty() }))
    }
}

impl ToTarget for &str {
    fn to_target(self) -> Result<Target, AtomError> {
        Atom::new(self)?.to_target()
    }
}

impl ToTarget for (&str, &str) {
    fn to_target(self) -> Result<Target, AtomError> {
        (self.0, Atom::new(self.1)?).to_target()
    }
}

impl ToTarget for (&str, Atom) {
    fn to_target(self) -> Result<Target, AtomError> {
        Ok(Target::Name(ProcessId { name: Atom::new(self.0)?, node: self.1 }))
    }
}
