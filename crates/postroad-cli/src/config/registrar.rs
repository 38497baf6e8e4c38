//! Registrars and resolvers in a configuration file.

use std::net::IpAddr;

use super::Reading;
use super::etcd::Etcd;
use super::facts::Facts;
use super::section::{At, Section};

/// Whom a node registers with and asks for others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Registrar {
    Embedded(Embedded),
    Etcd(Box<Etcd>),
    None,
}

/// The registrar that comes with each node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Embedded {
    pub(crate) port: Option<u16>,
    pub(crate) may_serve: Option<bool>,
    pub(crate) answer_on: Option<IpAddr>,
}

impl Default for Registrar {
    fn default() -> Self {
        Self::Embedded(Embedded::default())
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Embedded,
    Etcd,
    None,
}

impl Registrar {
    pub(crate) fn read(mut section: Section<'_>, reading: &Reading<'_>) -> Self {
        let kinds = [("embedded", Kind::Embedded), ("etcd", Kind::Etcd), ("none", Kind::None)];
        if !section.has("kind") {
            section.error("say of which `kind` it is: \"embedded\", \"etcd\" or \"none\"");
        }
        let registrar = match section.word("kind", &kinds).map(At::into_inner) {
            Some(Kind::Embedded) => Self::Embedded(Embedded::read(&mut section)),
            Some(Kind::Etcd) => Self::Etcd(Box::new(Etcd::read(&mut section, reading))),
            Some(Kind::None) => Self::None,
            // Which keys there may be is not known then.
            None => return Self::None,
        };
        section.finish();
        registrar
    }

    pub(crate) fn facts(&self) -> Facts {
        match self {
            Self::Embedded(embedded) => Facts::default()
                .with("kind", &Some("embedded"))
                .with("port", &embedded.port)
                .with("may_serve", &embedded.may_serve)
                .with("answer_on", &embedded.answer_on),
            Self::Etcd(etcd) => etcd.facts(),
            Self::None => Facts::default().with("kind", &Some("none")),
        }
    }
}

impl Embedded {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            port: section.number("port", 1..=u16::MAX).map(At::into_inner),
            may_serve: section.bool("may_serve").map(At::into_inner),
            answer_on: section.parsed("answer_on").map(At::into_inner),
        }
    }
}

impl std::fmt::Display for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts().fmt(f)
    }
}
