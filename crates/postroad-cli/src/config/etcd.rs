//! etcd as a registrar or resolver in a configuration file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use postroad_etcd::{ErgoRelease, EtcdOptions, EtcdRegistrar, EtcdTls};
use zeroize::Zeroizing;

use super::Reading;
use super::facts::Facts;
use super::secret::{self, Secret};
use super::section::{At, Section};
use super::tls;
use super::units::show_duration;
use crate::said_once;

const ERGO_RELEASES: [(&str, ErgoRelease); 2] = [("3.1", ErgoRelease::V3_1), ("3.2", ErgoRelease::V3_2)];

/// A cluster of etcd.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Etcd {
    endpoints: Vec<String>,
    cluster: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    tls: Option<Tls>,
    ergo_release: Option<ErgoRelease>,
    lease: Option<Duration>,
    dial_timeout: Option<Duration>,
    request_timeout: Option<Duration>,
}

/// The files by which etcd and the node know each other.
#[derive(Debug, Clone, Default, PartialEq)]
struct Tls {
    ca: PathBuf,
    /// The files of the chain and of the key.
    identity: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
}

impl Etcd {
    /// Nobody is asked, but what can be known without is checked.
    pub(super) fn read(section: &mut Section<'_>, reading: &Reading<'_>) -> Self {
        let reader = section.reader;
        let endpoints = section.texts("endpoints");
        let user = section.text("user");
        let password = secret::password(section, reading);
        let given = ["password", "password_file", "password_env"].iter().any(|key| section.has(key));
        match &user {
            Some(user) if !given => {
                reader.error(user.span(), "`user` without a password: give a `password_file`");
            }
            None if given && !section.has("user") => section.error("a password without `user`: whose is it?"),
            _ => {}
        }
        let tls_given = section.has("tls");
        let tls = section.section("tls").and_then(Tls::read);
        let etcd = Self {
            endpoints: endpoints
                .iter()
                .flat_map(|all| all.get_ref())
                .map(|one| one.get_ref().clone())
                .collect(),
            cluster: section.text("cluster").map(At::into_inner),
            user: user.map(At::into_inner),
            password,
            tls,
            ergo_release: section.word("ergo_release", &ERGO_RELEASES).map(At::into_inner),
            lease: section.duration("lease").map(At::into_inner),
            dial_timeout: section.duration("dial_timeout").map(At::into_inner),
            request_timeout: section.duration("request_timeout").map(At::into_inner),
        };
        match endpoints.filter(|endpoints| !endpoints.get_ref().is_empty()) {
            None => section.error("etcd needs `endpoints`, such as [\"http://127.0.0.1:2379\"]"),
            // Of TLS that cannot be used everything is said already.
            Some(_) if tls_given && etcd.tls.is_none() => {}
            Some(endpoints) => {
                if let Err(error) = etcd.make() {
                    reader.error(endpoints.span(), said_once(&error));
                }
            }
        }
        etcd
    }

    pub(super) fn facts(&self) -> Facts {
        Facts::default()
            .with("kind", &Some("etcd"))
            .list("endpoints", Some(&self.endpoints))
            .with("cluster", &self.cluster)
            .with("user", &self.user)
            .password(&self.password)
            .with("ergo_release", &self.shown_release())
            .with("lease", &self.lease.map(show_duration))
            .with("dial_timeout", &self.dial_timeout.map(show_duration))
            .with("request_timeout", &self.request_timeout.map(show_duration))
            .and(self.tls.as_ref().map(Tls::facts).unwrap_or_default())
    }

    fn shown_release(&self) -> Option<&'static str> {
        let (shown, _) = ERGO_RELEASES.iter().find(|(_, release)| Some(*release) == self.ergo_release)?;
        Some(shown)
    }

    /// Nothing is connected yet.
    pub(super) fn make(&self) -> anyhow::Result<EtcdRegistrar> {
        Ok(EtcdRegistrar::new(self.options()?)?)
    }

    /// Reads the files of TLS.
    pub(super) fn options(&self) -> anyhow::Result<EtcdOptions> {
        let mut options = EtcdOptions::new(&self.endpoints);
        if let Some(cluster) = &self.cluster {
            options = options.cluster(cluster);
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.user(user, password.expose());
        }
        if let Some(tls) = &self.tls {
            options = options.tls(tls.made()?);
        }
        if let Some(release) = self.ergo_release {
            options = options.ergo_release(release);
        }
        if let Some(lease) = self.lease {
            options = options.lease_ttl(lease);
        }
        options.dial_timeout = self.dial_timeout.unwrap_or(options.dial_timeout);
        options.request_timeout = self.request_timeout.unwrap_or(options.request_timeout);
        Ok(options)
    }
}

impl Tls {
    /// Nothing if it cannot be used.
    fn read(mut section: Section<'_>) -> Option<Self> {
        let ca = section.text("ca");
        if !section.has("ca") {
            section.error("TLS to etcd needs `ca`, the authorities that etcd's certificate is checked with");
        }
        let ca = ca.and_then(|ca| tls::authorities(section.reader, "ca", &ca));
        let one_sided = section.has("chain") || section.has("key");
        let identity = tls::identity(&mut section);
        let server_name = section.text("server_name").map(At::into_inner);
        section.finish();
        if one_sided && identity.is_none() {
            return None;
        }
        Some(Self { ca: ca?, identity, server_name })
    }

    fn facts(&self) -> Facts {
        let (chain, key) =
            self.identity.as_ref().map(|(chain, key)| (chain.display(), key.display())).unzip();
        Facts::default()
            .with("ca", &Some(self.ca.display()))
            .with("chain", &chain)
            .with("key", &key)
            .with("server_name", &self.server_name)
    }

    fn made(&self) -> anyhow::Result<EtcdTls> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display())).map(Zeroizing::new)
        };
        let mut tls = EtcdTls::new(read(&self.ca)?.as_slice());
        if let Some((chain, key)) = &self.identity {
            tls = tls.identity(read(chain)?.as_slice(), read(key)?.as_slice());
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        Ok(tls)
    }
}
