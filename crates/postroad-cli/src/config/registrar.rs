//! Registrars and resolvers in a configuration file.

use std::net::IpAddr;

use postroad::Cookie;

use super::Reading;
use super::facts::Facts;
use super::section::{At, Section};
use super::tls::{Side, Tls};

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

/// A cluster of etcd.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Etcd {
    pub(crate) endpoints: Vec<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Cookie>,
    pub(crate) tls: Option<Tls>,
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
            Self::Etcd(etcd) => Facts::default()
                .with("kind", &Some("etcd"))
                .list("endpoints", Some(&etcd.endpoints))
                .with("cluster", &etcd.cluster)
                .with("user", &etcd.user)
                .secret("password", &etcd.password)
                .and(etcd.tls.as_ref().map(Tls::facts).unwrap_or_default()),
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

impl Etcd {
    fn read(section: &mut Section<'_>, reading: &Reading<'_>) -> Self {
        let endpoints = section.texts("endpoints");
        if endpoints.as_ref().is_none_or(|endpoints| endpoints.get_ref().is_empty()) {
            section.error("etcd needs `endpoints`, such as [\"http://127.0.0.1:2379\"]");
        }
        let password_file = section.text("password_file");
        let password = password_file.and_then(|file| {
            let path = section.reader.source.relative(file.get_ref());
            reading.depends_on(&path);
            std::fs::read_to_string(&path)
                .map(|text| Cookie::new(text.trim()))
                .inspect_err(|error| {
                    section.reader.error(file.span(), format!("cannot read {}: {error}", path.display()));
                })
                .ok()
        });
        let tls = section.section("tls").map(|mut section| {
            let tls = Tls::read(&mut section, Side::Dialing);
            section.finish();
            tls
        });
        Self {
            endpoints: endpoints
                .map(|endpoints| endpoints.into_inner().into_iter().map(At::into_inner).collect())
                .unwrap_or_default(),
            cluster: section.text("cluster").map(At::into_inner),
            user: section.text("user").map(At::into_inner),
            password,
            tls,
        }
    }
}

impl std::fmt::Display for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts().fmt(f)
    }
}
