//! Where a node listens, in a configuration file.

use postroad::{Cookie, NetworkFlags};
use postroad_wire::Version;
use tracing::level_filters::LevelFilter;

use super::Reading;
use super::facts::Facts;
use super::route::{LEVELS, Release, RouteTls};
use super::section::{At, Section};
use super::tls::Side;
use super::{atoms, flags, secret};
use crate::address::Address;

/// A place to listen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Acceptor {
    pub(crate) listen: Option<Address>,
    /// How many ports to try.
    pub(crate) ports: Option<u16>,
    pub(crate) advertise: Option<Address>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) tls: Option<RouteTls>,
    pub(crate) weaker_than_routes: Option<bool>,
    pub(crate) handshake: Option<Release>,
    pub(crate) protocol: Option<Release>,
    /// Whether who comes in here may change the node.
    pub(crate) operators: Option<bool>,
    pub(crate) flags: Option<NetworkFlags>,
    pub(crate) atoms: Vec<(String, String)>,
    pub(crate) log: Option<LevelFilter>,
}

impl Acceptor {
    pub(crate) fn read(mut section: Section<'_>, reading: &Reading<'_>) -> Self {
        if !section.has("listen") {
            section.error("the acceptor has no `listen`: where it listens, such as \"0.0.0.0:11144\"");
        }
        let acceptor = Self {
            listen: section.parsed("listen").map(At::into_inner),
            ports: section.number("ports", 1..=u16::MAX).map(At::into_inner),
            advertise: section.parsed("advertise").map(At::into_inner),
            cookie: secret::cookie(&mut section, reading),
            tls: RouteTls::read(&mut section, Side::Both),
            weaker_than_routes: section.bool("weaker_than_routes").map(At::into_inner),
            handshake: spoken(&mut section, "handshake", "handshake", Version::ehs()),
            protocol: spoken(&mut section, "protocol", "proto", Version::enp()),
            operators: section.bool("operators").map(At::into_inner),
            flags: flags::read(&mut section),
            atoms: atoms::read(&mut section),
            log: section.word("log", &LEVELS).map(At::into_inner),
        };
        let has_cookie = ["cookie", "cookie_file", "cookie_env"].iter().any(|key| section.has(key));
        if acceptor.operators == Some(true) && !has_cookie {
            section.warning(
                "operators come in here with the node's own cookie: whoever knows it can close tunnels; give the \
                 acceptor a cookie of its own",
            );
        }
        section.finish();
        acceptor
    }

    /// What names it among others.
    pub(super) fn key(&self) -> String {
        self.listen.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::default()
            .with("ports", &self.ports)
            .with("advertise", &self.advertise)
            .cookie(&self.cookie)
            .and(self.tls.as_ref().map(RouteTls::facts).unwrap_or_default())
            .with("weaker_than_routes", &self.weaker_than_routes)
            .with("handshake", &self.handshake)
            .with("protocol", &self.protocol)
            .with("operators", &self.operators)
            .list("flags", self.flags.map(flags::names).as_deref())
            .and(atoms::facts(&self.atoms))
            .with("log", &self.log)
    }
}

/// One that this program speaks.
fn spoken(section: &mut Section<'_>, key: &'static str, what: &str, known: Version) -> Option<Release> {
    let place = section.place(key);
    let release = Release::read(section, key)?;
    if (release.name.as_str(), release.release.as_str()) != (&known.name, &known.release) {
        let message = format!("no {what} handler for {}:{}", release.name, release.release);
        let help = format!("this program speaks {known}: \"{} {}\"", known.name, known.release);
        section.reader.error_with_help(place, message, help);
    }
    Some(release)
}

impl std::fmt::Display for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key())?;
        let facts = self.facts().to_string();
        if facts.is_empty() { Ok(()) } else { write!(f, " ({facts})") }
    }
}
