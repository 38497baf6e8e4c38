//! What a program or a protocol calls itself.

use std::fmt;

use postroad_edf::Message;

use crate::body::{BodyError, Fields, Writer};

/// `gen/Version`: a name and a release, with commit and licence
/// (`docs/wire/EDF.md` section 13). Free text, each part possibly empty.
///
/// Route versions are matched by [`Version::same_release`]; of a node's own
/// version nothing depends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Message)]
#[message(name = "#ergo.services/ergo/gen/Version", unlinked)]
pub struct Version {
    /// What it is: the name of a program, or of a protocol such as `EHS`.
    pub name: String,
    /// Which release of it, for example `R1`.
    pub release: String,
    /// The commit it was built from.
    pub commit: String,
    /// Its licence.
    pub license: String,
}

impl Version {
    /// A version of the given name and release.
    pub fn new(name: impl Into<String>, release: impl Into<String>) -> Self {
        Self { name: name.into(), release: release.into(), ..Self::default() }
    }

    /// The handshake this crate speaks, as stock routes name it
    /// (`docs/wire/ESRD.md` section 2).
    pub fn ehs() -> Self {
        Self { license: "MIT".into(), ..Self::new("EHS", "R1") }
    }

    /// The network protocol this crate speaks, as stock routes name it
    /// (`docs/wire/ESRD.md` section 2).
    pub fn enp() -> Self {
        Self { license: "MIT".into(), ..Self::new("ENP", "R1") }
    }

    /// Whether both name the same release of the same thing; commit and licence
    /// do not matter.
    pub fn same_release(&self, other: &Self) -> bool {
        self.name == other.name && self.release == other.release
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, BodyError> {
        Ok(Self {
            name: fields.text()?.into_owned(),
            release: fields.text()?.into_owned(),
            commit: fields.text()?.into_owned(),
            license: fields.text()?.into_owned(),
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        for part in [&self.name, &self.release, &self.commit, &self.license] {
            out.text(part);
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.release)
    }
}
