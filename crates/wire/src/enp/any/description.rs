//! What a node tells of an application (`docs/wire/EDF.md` sections 13 and 14).

use std::collections::BTreeMap;

use postroad_edf::{Atom, Message, Pid};

use super::Environment;
use crate::Version;

/// `gen/ApplicationInfo` since 3.2.0: the answer to a request for the
/// description of an application. Not linked: the name of the type stays free
/// for types of the program, and [`AnyMessage::decode`](super::AnyMessage::decode)
/// reads it all the same.
#[derive(Debug, Message)]
#[message(name = "#ergo.services/ergo/gen/ApplicationInfo", unlinked)]
pub struct ApplicationDescription {
    /// The application.
    pub name: Atom,
    /// How much of the work its node wants.
    pub weight: isize,
    /// Labels.
    pub tags: Vec<Atom>,
    /// Processes by their roles.
    pub roles: BTreeMap<String, Atom>,
    /// What it is, for people.
    pub description: String,
    /// Its version.
    pub version: Version,
    /// Its environment, if its node shows that.
    pub environment: Environment,
    /// What it needs.
    pub depends: ApplicationDepends,
    /// `gen/ApplicationMode`: 1 temporary, 2 transient, 3 permanent; of a node
    /// before 3.3.0 also 0, which it takes for temporary.
    pub mode: isize,
    /// `gen/ApplicationState`: 1 loaded, 2 running, 3 stopping.
    pub state: i32,
    /// The node that has started it; empty if it does not run.
    pub parent: Atom,
    /// For how many seconds it has been running.
    pub uptime: i64,
    /// Its processes.
    pub group: Vec<Pid>,
}

/// `gen/ApplicationDepends`: what an application needs.
#[derive(Debug, Default, Message)]
#[message(name = "#ergo.services/ergo/gen/ApplicationDepends", unlinked)]
pub struct ApplicationDepends {
    /// Other applications, which are started before.
    pub applications: Vec<Atom>,
    /// Whether it needs a network.
    pub network: bool,
}
