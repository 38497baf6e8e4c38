//! Static routes and proxy routes in a configuration file.

use std::time::Duration;

use postroad::network::{InvalidProxyRoute, NetworkRoute, OnFailure, ProxyFlags};
use postroad::{Cookie, NetworkFlags};
use postroad_wire::Version;
use toml::de::DeValue;
use tracing::level_filters::LevelFilter;

use super::Reading;
use super::facts::Facts;
use super::patterns::Patterns;
use super::section::{At, Reader, Section};
use super::tls::{Side, Tls};
use super::units::show_duration;
use super::{atoms, flags, operations, secret};

/// The weight of a route that does not say.
pub(crate) const DEFAULT_WEIGHT: i64 = 100;

/// The resolver of a route that means the node's own registrar.
pub(crate) const OWN_REGISTRAR: &str = "registrar";

pub(crate) const ON_FAILURE: [(&str, OnFailure); 2] =
    [("fail", OnFailure::Fail), ("discover", OnFailure::Discover)];

pub(crate) const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// A static route.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    pub(crate) pattern: String,
    pub(crate) weight: i64,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) resolver: Option<String>,
    pub(crate) tls: Option<RouteTls>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) handshake: Option<Release>,
    pub(crate) protocol: Option<Release>,
    pub(crate) flags: Option<NetworkFlags>,
    pub(crate) atoms: Vec<(String, String)>,
    pub(crate) log: Option<LevelFilter>,
}

/// What a route says about TLS.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RouteTls {
    /// Nothing is demanded.
    Off,
    /// With the node's settings.
    On,
    /// With settings of its own, laid over the node's.
    With(Box<Tls>),
}

/// A name and a release, such as `EHS R1`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) release: String,
}

/// A proxy route.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProxyRoute {
    pub(crate) pattern: String,
    pub(crate) weight: i64,
    pub(crate) via: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) resolver: Option<String>,
    pub(crate) max_hop: Option<u8>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) flags: Option<ProxyFlags>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_failure: Option<OnFailure>,
}

impl Route {
    /// A route to an address that says nothing else.
    pub(crate) fn to(pattern: &str, host: &str, port: u16) -> Self {
        Self {
            pattern: pattern.to_owned(),
            weight: DEFAULT_WEIGHT,
            host: Some(host.to_owned()),
            port: Some(port),
            resolver: None,
            tls: None,
            cookie: None,
            timeout: None,
            on_failure: None,
            handshake: None,
            protocol: None,
            flags: None,
            atoms: Vec::new(),
            log: None,
        }
    }

    pub(crate) fn read(
        mut section: Section<'_>,
        reading: &Reading<'_>,
        patterns: &mut Patterns,
    ) -> Option<Self> {
        let reader = section.reader;
        let pattern = patterns.read(&mut section);
        let host = section.text("host");
        if let Some(host) = &host
            && let Err(error) = NetworkRoute::to(host.get_ref().as_str(), 1).check()
        {
            reader.error(host.span(), error.to_string());
        }
        let port = section.number("port", 1..=u16::MAX).map(At::into_inner);
        let resolver = section.text("resolver");
        if let Some(resolver) = &resolver {
            reading.check_resolver(resolver);
        } else if port.is_none() && !section.has("port") {
            section.error("the route leads nowhere: give it a `port` (and a `host`), or a `resolver`");
        }
        let route = Self {
            pattern: pattern.clone().unwrap_or_default(),
            weight: weight(&mut section),
            host: host.map(At::into_inner),
            port,
            resolver: resolver.map(At::into_inner),
            tls: RouteTls::read(&mut section, Side::Dialing),
            cookie: secret::cookie(&mut section, reading),
            timeout: section.duration("timeout").map(At::into_inner),
            on_failure: section.word("on_failure", &ON_FAILURE).map(At::into_inner),
            handshake: Release::known(&mut section, "handshake", "handshake", Version::ehs()),
            protocol: Release::known(&mut section, "protocol", "proto", Version::enp()),
            flags: flags::read(&mut section),
            atoms: atoms::read(&mut section),
            log: section.word("log", &LEVELS).map(At::into_inner),
        };
        section.finish();
        pattern.map(|_| route)
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::default()
            .with("weight", &Some(self.weight))
            .with("host", &self.host)
            .with("port", &self.port)
            .with("resolver", &self.resolver)
            .and(self.tls.as_ref().map(RouteTls::facts).unwrap_or_default())
            .cookie(&self.cookie)
            .with("timeout", &self.timeout.map(show_duration))
            .with("on_failure", &self.on_failure)
            .with("handshake", &self.handshake)
            .with("protocol", &self.protocol)
            .list("flags", self.flags.map(flags::names).as_deref())
            .and(atoms::facts(&self.atoms))
            .with("log", &self.log)
    }
}

impl ProxyRoute {
    pub(crate) fn read(
        mut section: Section<'_>,
        reading: &Reading<'_>,
        patterns: &mut Patterns,
    ) -> Option<Self> {
        let reader = section.reader;
        let pattern = patterns.read(&mut section);
        let via = section.text("via");
        let resolver = section.text("resolver");
        if let Some(resolver) = &resolver {
            reading.check_resolver(resolver);
        } else if !section.has("via") {
            section.error("the proxy route has neither a `via`, the name of the gateway, nor a `resolver`");
        }
        let to = section.text("to");
        via.iter().for_each(|via| reading.wanted.borrow_mut().add(via));
        for name in [&via, &to].into_iter().flatten() {
            check_node_name(reader, name);
        }
        if let Some(via) = via.as_ref().filter(|via| reading.name.as_ref() == Some(via.get_ref())) {
            let error = InvalidProxyRoute::ProxyIsOwn { name: via.get_ref().clone() };
            reader.error(via.span(), error.to_string());
        }
        let route = Self {
            pattern: pattern.clone().unwrap_or_default(),
            weight: weight(&mut section),
            via: via.map(At::into_inner),
            to: to.map(At::into_inner),
            resolver: resolver.map(At::into_inner),
            max_hop: section.number("max_hop", 1..=u8::MAX).map(At::into_inner),
            cookie: secret::cookie(&mut section, reading),
            flags: operations::read(&mut section, "flags"),
            timeout: section.duration("timeout").map(At::into_inner),
            on_failure: section.word("on_failure", &ON_FAILURE).map(At::into_inner),
        };
        section.finish();
        pattern.map(|_| route)
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::default()
            .with("weight", &Some(self.weight))
            .with("via", &self.via)
            .with("to", &self.to)
            .with("resolver", &self.resolver)
            .with("max_hop", &self.max_hop)
            .cookie(&self.cookie)
            .list("flags", self.flags.map(operations::names).as_deref())
            .with("timeout", &self.timeout.map(show_duration))
            .with("on_failure", &self.on_failure)
    }
}

impl RouteTls {
    /// `tls = true`, `tls = false` or `tls = { … }`.
    pub(crate) fn read(section: &mut Section<'_>, side: Side) -> Option<Self> {
        let value = section.value("tls")?;
        match value.get_ref() {
            DeValue::Boolean(true) => Some(Self::On),
            DeValue::Boolean(false) => Some(Self::Off),
            _ => {
                let mut section = section.reader.section_of("tls", value)?;
                let tls = Tls::read(&mut section, side);
                section.finish();
                Some(Self::With(Box::new(tls)))
            }
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        let on = |on| Facts::default().with("tls", &Some(on));
        match self {
            Self::Off => on("off"),
            Self::On => on("on"),
            Self::With(tls) => on("on").and(tls.facts()),
        }
    }
}

impl Release {
    /// One that this program speaks.
    pub(super) fn known(
        section: &mut Section<'_>,
        key: &'static str,
        what: &str,
        known: Version,
    ) -> Option<Self> {
        let place = section.place(key);
        let release = Self::read(section, key)?;
        if (release.name.as_str(), release.release.as_str()) != (&known.name, &known.release) {
            let message = format!("no {what} handler for {}:{}", release.name, release.release);
            let help = format!("this program speaks {known}: \"{} {}\"", known.name, known.release);
            section.reader.error_with_help(place, message, help);
        }
        Some(release)
    }

    fn read(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let text = section.text(key)?;
        match text.get_ref().split_once(' ') {
            Some((name, release)) => Some(Self { name: name.to_owned(), release: release.to_owned() }),
            None => {
                section
                    .reader
                    .error(text.span(), format!("`{key}` must be a name and a release, such as \"EHS R1\""));
                None
            }
        }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.release)
    }
}

fn weight(section: &mut Section<'_>) -> i64 {
    section.number("weight", i64::MIN..=i64::MAX).map_or(DEFAULT_WEIGHT, At::into_inner)
}

/// Complains about what is no name of a node.
pub(crate) fn check_node_name(reader: &Reader, name: &At<String>) {
    let is_name = |(local, host): (&str, &str)| !local.is_empty() && !host.is_empty() && !host.contains('@');
    if !name.get_ref().split_once('@').is_some_and(is_name) {
        let message = format!("{:?} is not of the form name@host (example: node@localhost)", name.get_ref());
        reader.error(name.span(), message);
    }
}
