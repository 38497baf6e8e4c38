//! Which etcd, and how.

use std::fmt;
use std::time::Duration;

use postroad_wire::stored::ErgoRelease;
use zeroize::Zeroizing;

/// Which etcd to use, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// `host:port` of the members, with or without `http://` or `https://`.
    /// Default `localhost:2379`.
    pub endpoints: Vec<String>,
    /// The cluster: nodes see those of their own only. Default `default`.
    pub cluster: String,
    /// How long making a connection to a member may take. Default 3 s.
    pub dial_timeout: Duration,
    /// How long a request may take, with all members that are tried for it.
    /// Default 10 s.
    pub request_timeout: Duration,
    /// How long the node stays registered when it is gone without a word, in
    /// whole seconds. It gives a sign of life three times as often. Default 10 s.
    pub lease_ttl: Duration,
    /// Which Ergo nodes are to read what is published of this node's
    /// applications. Default [`ErgoRelease::V3_2`]. Nodes of this kind read both.
    pub ergo_release: ErgoRelease,
    pub(crate) user: Option<User>,
    pub(crate) tls: Option<EtcdTls>,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self::new(["localhost:2379"])
    }
}

impl EtcdOptions {
    /// The etcd with these members; any of them will do.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            cluster: "default".to_owned(),
            dial_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            lease_ttl: Duration::from_secs(10),
            ergo_release: ErgoRelease::default(),
            user: None,
            tls: None,
        }
    }

    /// Uses this cluster.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// Logs in to etcd. Without TLS the password travels as plain text.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some(User { name: name.into(), password: Zeroizing::new(password.into()) });
        self
    }

    /// Uses TLS for all endpoints.
    pub fn tls(mut self, tls: EtcdTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long making a connection, and a whole request, may take.
    pub fn timeouts(mut self, dial: Duration, request: Duration) -> Self {
        self.dial_timeout = dial;
        self.request_timeout = request;
        self
    }

    /// How long the node stays registered when it is gone without a word.
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Publishes applications so that Ergo nodes of this release read them.
    pub fn ergo_release(mut self, release: ErgoRelease) -> Self {
        self.ergo_release = release;
        self
    }
}

/// Who the node is to etcd. Its password is never shown.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: Zeroizing<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, ***)", self.name)
    }
}

/// How etcd proves who it is, and this node to etcd.
#[derive(Clone)]
pub struct EtcdTls {
    pub(crate) ca: Vec<u8>,
    pub(crate) identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    pub(crate) server_name: Option<String>,
}

impl EtcdTls {
    /// Trusts the certificates that these authorities (PEM) have signed, and
    /// no others.
    pub fn new(ca: impl Into<Vec<u8>>) -> Self {
        Self { ca: ca.into(), identity: None, server_name: None }
    }

    /// Shows this certificate chain (PEM), with its key (PEM).
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), Zeroizing::new(key.into())));
        self
    }

    /// Expects this name in etcd's certificate instead of the endpoint's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls")
            .field("server_name", &self.server_name)
            .field("identity", &self.identity.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}
