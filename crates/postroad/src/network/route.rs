//! What a route says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::AtomMapping;
use postroad_wire::{Cookie, NetworkFlags, Version};
use tracing::level_filters::LevelFilter;

use super::NetworkOptions;
use crate::registrar::Resolver;
use crate::tls::{Identity, TlsOptions, Trust, Verify};

/// How to reach the nodes that a pattern matches.
///
/// ```
/// use std::time::Duration;
/// use postroad::network::NetworkRoute;
///
/// let partner = NetworkRoute::to("partner.example.com", 4370)
///     .cookie("shared-secret-with-partner")
///     .timeout(Duration::from_secs(10));
/// assert_eq!(partner.to_string(), "partner.example.com:4370, own cookie, 10s for each step");
/// ```
#[derive(Debug, Clone)]
pub struct NetworkRoute {
    /// Empty if it was not said: what the resolver says, or the host part of
    /// the node's name.
    pub(super) host: String,
    /// 0 if it was not said: what the resolver says.
    pub(super) port: u16,
    pub(super) resolver: Option<Arc<dyn Resolver>>,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) pins: Pins,
}

/// What a route demands of a connection, whatever address it leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pins {
    pub(super) tls: TlsOptions,
    pub(super) cookie: Option<Cookie>,
    pub(super) flags: Option<NetworkFlags>,
    pub(super) timeout: Option<Duration>,
    pub(super) handshake_version: Option<Version>,
    pub(super) proto_version: Option<Version>,
    pub(super) mapping: Option<AtomMapping>,
    pub(super) log_level: Option<LevelFilter>,
}

/// What happens when all static routes to a node have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnFailure {
    /// There is no route. Who made a route fail, by dropping packets for
    /// example, cannot turn the node to another address.
    #[default]
    Fail,
    /// The registrar is asked. Its addresses are tried with everything that
    /// the matching route of the highest weight demands (cookie, TLS, flags,
    /// versions): another address, never a weaker lock. Not after a failed
    /// check of the peer's identity, and only if all matching routes allow it.
    Discover,
}

/// Why a route cannot be used, whatever node it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRoute {
    /// There is neither a port nor a resolver that would know one.
    #[error("the route has port 0; give the port that the node listens on, or a resolver")]
    NoPort,
    /// The host is not a host.
    #[error("{host:?} is not a host: give a host name or an IP address, and the port apart from it")]
    InvalidHost {
        /// What was given.
        host: String,
    },
    /// No attempt could succeed within no time.
    #[error("the route has a timeout of 0; leave it out for the node's own")]
    NoTime,
    /// The handshake is not one this node speaks.
    #[error(
        "no handshake handler for {version}; this node speaks {} and what it was built with",
        Version::ehs()
    )]
    UnknownHandshake {
        /// What the route asks for.
        version: Version,
    },
    /// The protocol is not one this node speaks.
    #[error("no proto handler for {version}; this node speaks {} and what it was built with", Version::enp())]
    UnknownProtocol {
        /// What the route asks for.
        version: Version,
    },
}

impl NetworkRoute {
    /// A route to one address. An empty host stands for the host part of the
    /// node's name.
    pub fn to(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, resolver: None, on_failure: None, pins: Pins::default() }
    }

    /// A route to the addresses that a resolver knows, asked for each attempt
    /// to connect. What the route itself says goes before what the resolver says.
    pub fn resolve_with(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver: Some(resolver), ..Self::to("", 0) }
    }

    /// Dials this host, whatever the resolver says.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Dials this port, whatever the resolver says.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Demands TLS, even if the resolver knows an address without. `false`
    /// demands nothing: TLS that a resolver announces stays, and so does TLS
    /// that the node requires.
    pub fn tls(mut self, tls: bool) -> Self {
        self.pins.tls.required = tls.then_some(true);
        self
    }

    /// Shows this certificate to the peer, not the node's. Demands TLS.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.pins.tls.identity = Some(identity);
        self
    }

    /// Trusts these authorities, not the node's. Demands TLS: without it the
    /// route would trust anybody.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.pins.tls.trust = Some(trust);
        self
    }

    /// What the peer's certificate must have, whatever the node says. Demands
    /// TLS.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.pins.tls.verify = Some(verify);
        self
    }

    /// Whether, on this route only, any certificate is accepted. `false` checks
    /// certificates although the node does not. Does not demand TLS by itself.
    pub fn insecure_skip_verify(mut self, skip: bool) -> Self {
        self.pins.tls.insecure_skip_verify = Some(skip);
        self
    }

    /// Whether the peer must prove, with the cookie, that the certificate is its
    /// own; `false` where a load balancer ends TLS. See
    /// [`TlsOptions::certificate_digest`](TlsOptions#structfield.certificate_digest).
    /// Does not demand TLS by itself.
    pub fn certificate_digest(mut self, check: bool) -> Self {
        self.pins.tls.certificate_digest = Some(check);
        self
    }

    /// Uses this cookie instead of the node's. An empty one stands for the node's.
    pub fn cookie(mut self, cookie: impl Into<Cookie>) -> Self {
        self.pins.cookie = Some(cookie.into()).filter(|cookie| !cookie.is_empty());
        self
    }

    /// Allows the peer at most this; what the node does not offer stays off.
    /// What the peer asks for in spite of it is refused.
    pub fn network_flags(mut self, flags: NetworkFlags) -> Self {
        self.pins.flags = Some(flags);
        self
    }

    /// How long each step of an attempt may take: asking the resolver, making
    /// the connection, the handshake. By default the node's timeouts hold.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.pins.timeout = Some(timeout);
        self
    }

    /// What happens when all matching routes have failed. By default the node's
    /// option holds.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = Some(on_failure);
        self
    }

    /// Speaks this handshake, whatever the resolver says.
    pub fn handshake_version(mut self, version: Version) -> Self {
        self.pins.handshake_version = Some(version);
        self
    }

    /// Speaks this protocol, whatever the resolver says.
    pub fn proto_version(mut self, version: Version) -> Self {
        self.pins.proto_version = Some(version);
        self
    }

    /// Says other names to the peer: each atom of a message that is a key goes
    /// out as its value, also names that are sent to, and comes in again as the
    /// key. Not the names of the two nodes in the handshake.
    pub fn atom_mapping(mut self, mapping: AtomMapping) -> Self {
        self.pins.mapping = Some(mapping).filter(|mapping| !mapping.is_empty());
        self
    }

    /// Logs about this connection up to this level, under the target
    /// [`CONNECTION_LOG`](super::CONNECTION_LOG); `TRACE` shows each frame.
    /// Without it, what the subscriber lets through is logged under
    /// `postroad::network`.
    pub fn log_level(mut self, level: LevelFilter) -> Self {
        self.pins.log_level = Some(level);
        self
    }

    /// Whether the route can be used at all, by a node that speaks no other
    /// handshake than [`Ehs`](super::Ehs) and no other protocol than ENP.
    pub fn check(&self) -> Result<(), InvalidRoute> {
        self.check_with(&NetworkOptions::default())
    }

    /// Whether a node with these options can use the route.
    pub(super) fn check_with(&self, node: &NetworkOptions) -> Result<(), InvalidRoute> {
        if self.port == 0 && self.resolver.is_none() {
            return Err(InvalidRoute::NoPort);
        }
        let is_wrong = |char: char| char.is_whitespace() || char.is_control() || "@/".contains(char);
        if self.host.contains(is_wrong) || has_port(&self.host) {
            return Err(InvalidRoute::InvalidHost { host: self.host.clone() });
        }
        let Pins { timeout, handshake_version, proto_version, .. } = &self.pins;
        if *timeout == Some(Duration::ZERO) {
            return Err(InvalidRoute::NoTime);
        }
        match (handshake_version, proto_version) {
            (Some(version), _) if node.handshakes.get(version).is_none() => {
                Err(InvalidRoute::UnknownHandshake { version: version.clone() })
            }
            (_, Some(version)) if node.protocols.get(version).is_none() => {
                Err(InvalidRoute::UnknownProtocol { version: version.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// `host:port` where a host is wanted; the colons of an IPv6 address are more.
fn has_port(host: &str) -> bool {
    host.starts_with('[') || host.matches(':').count() == 1
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Discover => "discover",
        })
    }
}

impl fmt::Display for NetworkRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resolver {
            Some(resolver) => {
                write!(f, "addresses from {}", resolver.describe())?;
                if !self.host.is_empty() {
                    write!(f, ", host {}", self.host)?;
                }
                if self.port != 0 {
                    write!(f, ", port {}", self.port)?;
                }
            }
            None if self.host.is_empty() => write!(f, "the node's host, port {}", self.port)?,
            None => write_address(f, &self.host, self.port)?,
        }
        write!(f, "{}", self.pins)?;
        match self.on_failure {
            Some(on_failure) => write!(f, ", on failure {on_failure}"),
            None => Ok(()),
        }
    }
}

/// What is demanded, each with a comma before it.
impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls.demand_tls() {
            f.write_str(", TLS")?;
        }
        write!(f, "{}", self.tls)?;
        if self.cookie.is_some() {
            f.write_str(", own cookie")?;
        }
        if let Some(flags) = self.flags {
            write!(f, ", flags {:#x}", flags.bits())?;
        }
        for version in [&self.handshake_version, &self.proto_version].into_iter().flatten() {
            write!(f, ", {version}")?;
        }
        if let Some(mapping) = &self.mapping {
            write!(f, ", {} atoms mapped", mapping.len())?;
        }
        if let Some(level) = self.log_level {
            write!(f, ", log level {level}")?;
        }
        match self.timeout {
            Some(timeout) => write!(f, ", {timeout:?} for each step"),
            None => Ok(()),
        }
    }
}

/// Hosts may come from a registrar: nothing in them moves a terminal.
pub(super) fn write_address(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(char::is_control) {
        write!(f, "{host:?}:{port}")
    } else if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}
