//! Where a node can be reached.

use crate::Version;
use crate::body::{BodyError, Fields, Writer};

/// `gen/Route`: one way to reach a node (`docs/wire/ESRD.md` section 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The host; empty for the host part of the node's name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the node speaks TLS there.
    pub tls: bool,
    /// The handshake it speaks.
    pub handshake_version: Version,
    /// The protocol it speaks after that.
    pub proto_version: Version,
}

impl Route {
    /// The fewest bytes a route takes: with all its nine texts empty.
    pub(crate) const MIN_LEN: usize = 2 + 2 + 1 + 8 + 8;

    /// A route to a stock node on the host of its name.
    pub fn to_port(port: u16) -> Self {
        Self {
            host: String::new(),
            port,
            tls: false,
            handshake_version: Version::ehs(),
            proto_version: Version::enp(),
        }
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, BodyError> {
        Ok(Self {
            host: fields.text()?.into_owned(),
            port: fields.u16()?,
            tls: fields.bool()?,
            handshake_version: Version::read(fields)?,
            proto_version: Version::read(fields)?,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.text(&self.host);
        out.u16(self.port);
        out.bool(self.tls);
        self.handshake_version.write(out);
        self.proto_version.write(out);
    }
}
