//! What a node tells of an application (`docs/wire/EDF.md` sections 13 and 14).

use std::collections::BTreeMap;

use postroad_edf::{Atom, Edf as _, EncodeError, EncodeTables, Encoder, Opaque, Payload, Pid};

use super::Environment;
use crate::Version;

const TYPE_NAME: &str = "#ergo.services/ergo/gen/ApplicationInfo";

/// `gen/ApplicationInfo` since 3.2.0: the answer to a request for the
/// description of an application.
#[derive(Debug)]
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
    /// What it needs: other applications, which are started before.
    pub depends: Vec<Atom>,
    /// Whether it needs a network.
    pub needs_network: bool,
    /// `gen/ApplicationMode`: 1 temporary, 2 transient, 3 permanent.
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

impl ApplicationDescription {
    /// As the result of an [`Answer`](super::Answer). The name of the type stays
    /// free for types of the program.
    ///
    /// # Errors
    /// If a text or a variable in it cannot be encoded.
    pub fn to_payload(&self) -> Result<Payload, EncodeError> {
        let (mut bytes, tables) = (Vec::new(), EncodeTables::default());
        let out = &mut Encoder::new(&mut bytes, &tables);
        self.name.encode(out)?;
        self.weight.encode(out)?;
        self.tags.encode(out)?;
        self.roles.encode(out)?;
        self.description.encode(out)?;
        let Version { name, release, commit, license } = &self.version;
        for part in [name, release, commit, license] {
            part.encode(out)?;
        }
        self.environment.encode(out)?;
        self.depends.encode(out)?;
        self.needs_network.encode(out)?;
        self.mode.encode(out)?;
        self.state.encode(out)?;
        self.parent.encode(out)?;
        self.uptime.encode(out)?;
        self.group.encode(out)?;
        Ok(Payload::new(Opaque::new(TYPE_NAME, bytes)))
    }
}
