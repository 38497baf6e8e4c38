//! Where a node listens, in a configuration file.

use std::collections::HashMap;

use postroad::{Cookie, NetworkFlags};
use postroad_wire::Version;
use tracing::level_filters::LevelFilter;

use super::Reading;
use super::facts::Facts;
use super::route::{LEVELS, Release, RouteTls};
use super::section::{At, Reader, Section};
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

/// The ports that acceptors take on each host, and where the file says so.
#[derive(Default)]
pub(crate) struct Ports(HashMap<String, HashMap<u16, usize>>);

impl Ports {
    /// The first port that is left is taken, as a node does.
    fn take(&mut self, reader: &Reader, listen: &At<Address>, count: u16) {
        let Address { host, port: first } = listen.get_ref();
        let taken = self.0.entry(host.clone()).or_default();
        let last = first.saturating_add(count.saturating_sub(1));
        match (*first..=last).find(|port| *port == 0 || !taken.contains_key(port)) {
            Some(0) => {}
            Some(port) => {
                taken.insert(port, listen.span().start);
            }
            None => {
                let (line, _) = reader.source.position(taken[first]);
                reader.error_with_help(
                    listen.span(),
                    format!("the acceptor of line {line} listens on {} already", listen.get_ref()),
                    "give each acceptor a port of its own",
                );
            }
        }
    }
}

impl Acceptor {
    pub(crate) fn read(mut section: Section<'_>, reading: &Reading<'_>, ports: &mut Ports) -> Self {
        let reader = section.reader;
        if !section.has("listen") {
            section.error("the acceptor has no `listen`: where it listens, such as \"0.0.0.0:11144\"");
        }
        let listen = section.parsed("listen");
        let count = section.number("ports", 1..=u16::MAX).map(At::into_inner);
        if let Some(listen) = &listen {
            ports.take(reader, listen, count.unwrap_or(1));
        }
        let advertise: Option<At<Address>> = section.parsed("advertise");
        if let Some(advertise) = advertise.as_ref().filter(|advertise| advertise.get_ref().port == 0) {
            reader.error_with_help(
                advertise.span(),
                format!("nobody can dial {}: it has no port", advertise.get_ref()),
                "say the port by which others reach the acceptor",
            );
        }
        let acceptor = Self {
            listen: listen.map(At::into_inner),
            ports: count,
            advertise: advertise.map(At::into_inner),
            cookie: secret::cookie(&mut section, reading),
            tls: RouteTls::read(&mut section, Side::Both),
            weaker_than_routes: section.bool("weaker_than_routes").map(At::into_inner),
            handshake: Release::known(&mut section, "handshake", "handshake", Version::ehs()),
            protocol: Release::known(&mut section, "protocol", "proto", Version::enp()),
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

impl std::fmt::Display for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key())?;
        let facts = self.facts().to_string();
        if facts.is_empty() { Ok(()) } else { write!(f, " ({facts})") }
    }
}
