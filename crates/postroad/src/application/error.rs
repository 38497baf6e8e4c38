//! What can go wrong with an application.

use std::time::Duration;

use crate::Atom;
use crate::error::{InvalidName, SpawnError};
use crate::registrar::MAX_TAGS;

/// Why an application was not loaded, started, stopped or unloaded.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ApplicationError {
    /// Its name is empty or too long.
    #[error("application has no name: {0}")]
    Name(#[from] InvalidName),
    /// It has no member.
    #[error("application has no items: {name}")]
    Empty {
        /// The application.
        name: Atom,
    },
    /// It has more tags than registrars publish.
    #[error("application has {tags} tags: {name}; give it {MAX_TAGS} at most")]
    Tags {
        /// The application.
        name: Atom,
        /// How many it has.
        tags: usize,
    },
    /// An application of this name is loaded.
    #[error("resource is taken: an application named {name} is loaded")]
    Taken {
        /// The name.
        name: Atom,
    },
    /// No application of this name is loaded.
    #[error("unknown application: {name}; load it first")]
    Unknown {
        /// The name.
        name: Atom,
    },
    /// It runs.
    #[error("application is still running: {name}")]
    Running {
        /// The application.
        name: Atom,
    },
    /// It is just being started or stopped: try again.
    #[error("application is in running/stopping state: {name}")]
    Busy {
        /// The application.
        name: Atom,
    },
    /// It has not ended in time. It goes on ending.
    #[error("application stopping is in progress: {name} has not ended after {after:?}")]
    Stopping {
        /// The application.
        name: Atom,
        /// How long it was waited for.
        after: Duration,
    },
    /// What it depends on is not loaded.
    #[error("dependency fail: {name} needs {dependency}, which is not loaded")]
    DependencyUnknown {
        /// The application that needs it.
        name: Atom,
        /// What it needs.
        dependency: Atom,
    },
    /// What it depends on depends on it in turn.
    #[error("dependency fail: each of these needs the next one: {}", arrows(path))]
    DependencyCycle {
        /// The way round; it ends where it begins.
        path: Vec<Atom>,
    },
    /// What it depends on did not start.
    #[error("dependency fail: {dependency} did not start: {source}")]
    Dependency {
        /// What did not start.
        dependency: Atom,
        /// Why.
        source: Box<ApplicationError>,
    },
    /// A member did not start. Those that had started were killed.
    #[error("member {member} of {name} did not start: {source}")]
    Member {
        /// The application.
        name: Atom,
        /// Its place in the spec, counted from 0.
        member: usize,
        /// Why.
        source: SpawnError,
    },
    /// The `init` of a member did not end in time. Those members that had
    /// started were killed.
    #[error("member {member} of {name} did not start: its init took longer than {limit:?}")]
    MemberTimeout {
        /// The application.
        name: Atom,
        /// Its place in the spec, counted from 0.
        member: usize,
        /// The limit of its spec.
        limit: Duration,
    },
    /// This node has been stopped.
    #[error("node terminated")]
    NodeStopped,
}

fn arrows(path: &[Atom]) -> String {
    path.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" -> ")
}
