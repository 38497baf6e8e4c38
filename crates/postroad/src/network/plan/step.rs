//! What there is to do, and why.

use std::sync::Arc;
use std::time::Duration;

use postroad_edf::AtomMapping;
use postroad_wire::{Cookie, NetworkFlags, Version};
use tracing::level_filters::LevelFilter;

use super::{AttemptError, PlanOptions};
use crate::Atom;
use crate::network::proxy_route::{NetworkProxyRoute, ProxyFlags};
use crate::network::route::{NetworkRoute, Pins};
use crate::network::routes::Entry;
use crate::registrar::{Broken, Endpoint, ProxyEndpoint, ResolveError, Resolver, guarded};
use crate::tls::TlsOptions;

/// What to do next.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a plan has few steps, and each lives for one attempt")]
pub enum Step {
    /// Dial an address.
    Attempt(Attempt),
    /// Go through another node.
    Tunnel(Tunnel),
    /// Ask for addresses, or for proxies.
    Resolve(Resolve),
}

/// One address to dial, and all that holds for it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The address; its host is not empty.
    pub endpoint: Endpoint,
    /// The cookie to use; if there is none, the node's.
    pub cookie: Option<Cookie>,
    /// What the peer may be allowed at most; if there is none, what the node allows.
    pub flags: Option<NetworkFlags>,
    /// What holds for TLS, if the endpoint is dialed with it.
    pub tls: TlsOptions,
    /// Which atoms are said otherwise to the peer.
    pub mapping: Option<AtomMapping>,
    /// How much is logged about it; if there is nothing, what the subscriber
    /// lets through.
    pub log_level: Option<LevelFilter>,
    /// How long making the TCP connection may take, TLS included.
    pub dial_timeout: Duration,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// Why this address.
    pub reason: Reason,
    /// What the address is for and this node does not speak.
    unknown: Option<Version>,
}

/// A node to go through, and all that holds for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tunnel {
    /// The node to go through. It is reached by a plan of its own.
    pub proxy: Atom,
    /// The cookie for the connection with that node; if there is none, the
    /// node's.
    pub cookie: Option<Cookie>,
    /// Through how many nodes the way may lead at most.
    pub max_hop: u8,
    /// What may be done through the tunnel.
    pub flags: ProxyFlags,
    /// How long opening the tunnel may take.
    pub timeout: Duration,
    /// Why this way.
    pub reason: Reason,
    /// What holds between the two ends: cookie, TLS, flags, mapping. Of its
    /// endpoint only the host counts, for the certificate, and whether there is TLS.
    pub ends: Attempt,
}

/// A resolver to ask for addresses, or for proxies.
#[derive(Debug, Clone)]
pub struct Resolve {
    /// Whom to ask.
    pub resolver: Arc<dyn Resolver>,
    /// How long it may take.
    pub timeout: Duration,
    /// Why.
    pub reason: Reason,
    name: Atom,
    pub(super) wanted: Wanted,
}

/// What a static route says of a node, whichever way it is reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    host: String,
    pins: Pins,
}

impl Ends {
    pub(super) fn of(route: Option<&NetworkRoute>) -> Self {
        let said = |route: &NetworkRoute| Self { host: route.host.clone(), pins: route.pins.clone() };
        route.map(said).unwrap_or_default()
    }
}

/// What a resolver is asked for, and what goes before its answer.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Addresses { host: String, port: u16, pins: Box<Pins> },
    Proxies(Box<NetworkProxyRoute>),
}

/// What a resolver said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Answer {
    /// About addresses.
    Addresses(Result<Vec<Endpoint>, ResolveError>),
    /// About proxies.
    Proxies(Result<Vec<ProxyEndpoint>, ResolveError>),
}

/// Why something is tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reason {
    /// A static route matches.
    Route {
        /// The pattern of the route.
        pattern: Arc<str>,
        /// The weight of the route.
        weight: i64,
    },
    /// A static route matches that the registrar has handed out, and none of the
    /// node's own.
    HandedOut {
        /// The pattern of the route.
        pattern: Arc<str>,
        /// The weight of the route.
        weight: i64,
    },
    /// A static proxy route matches.
    ProxyRoute {
        /// The pattern of the route.
        pattern: Arc<str>,
        /// The weight of the route.
        weight: i64,
    },
    /// No static route comes before: the registrar was asked.
    #[default]
    Discovery,
    /// All static routes failed, and [`OnFailure::Discover`] is in force: the
    /// registrar was asked.
    ///
    /// [`OnFailure::Discover`]: crate::network::OnFailure::Discover
    Fallback {
        /// The pattern of the route whose demands are kept.
        pattern: Arc<str>,
        /// The weight of that route.
        weight: i64,
    },
    /// [`Network::connect_with`](crate::Network::connect_with) was given the route.
    Given,
}

impl Step {
    pub(super) fn by_route(name: Atom, entry: &Entry<NetworkRoute>, options: &PlanOptions) -> Self {
        let (pattern, weight) = (entry.pattern().into(), entry.weight());
        let reason = match entry.is_handed_out() {
            false => Reason::Route { pattern, weight },
            true => Reason::HandedOut { pattern, weight },
        };
        Self::along(name, entry.route(), reason, options)
    }

    pub(super) fn along(name: Atom, route: &NetworkRoute, reason: Reason, options: &PlanOptions) -> Self {
        match &route.resolver {
            Some(resolver) => {
                let pins = Box::new(route.pins.clone());
                let wanted = Wanted::Addresses { host: route.host.clone(), port: route.port, pins };
                Self::Resolve(Resolve::new(name, Arc::clone(resolver), reason, wanted, options))
            }
            None => {
                let endpoint = Endpoint {
                    host: route.host.clone(),
                    port: route.port,
                    tls: false,
                    handshake_version: Version::ehs(),
                    proto_version: Version::enp(),
                };
                Self::Attempt(Attempt::new(name, endpoint, reason, &route.pins, options))
            }
        }
    }

    pub(super) fn by_proxy(
        name: Atom,
        entry: &Entry<NetworkProxyRoute>,
        ends: &Ends,
        options: &PlanOptions,
    ) -> Option<Self> {
        let route = entry.route();
        let reason = Reason::ProxyRoute { pattern: entry.pattern().into(), weight: entry.weight() };
        Some(match &route.resolver {
            Some(resolver) => {
                let wanted = Wanted::Proxies(Box::new(route.clone()));
                Self::Resolve(Resolve::new(name, Arc::clone(resolver), reason, wanted, options))
            }
            None => Self::Tunnel(Tunnel::new(name, route.proxy()?, reason, route, ends, options)),
        })
    }
}

impl Resolve {
    pub(super) fn new(
        name: Atom,
        resolver: Arc<dyn Resolver>,
        reason: Reason,
        wanted: Wanted,
        options: &PlanOptions,
    ) -> Self {
        let timeout = match &wanted {
            Wanted::Addresses { pins, .. } => pins.timeout,
            Wanted::Proxies(route) => route.timeout,
        };
        let timeout = timeout.unwrap_or(options.dial_timeout);
        Self { resolver, timeout, reason, name, wanted }
    }

    /// Asks, for [`timeout`](Self::timeout) at most.
    ///
    /// Cancel safe.
    pub async fn ask(&self) -> Answer {
        self.ask_within(self.timeout).await
    }

    /// Asks, for `limit` at most if that is less than [`timeout`](Self::timeout).
    ///
    /// Cancel safe.
    pub async fn ask_within(&self, limit: Duration) -> Answer {
        let limit = limit.min(self.timeout);
        match self.wanted {
            Wanted::Addresses { .. } => {
                let answer = guarded(limit, || self.resolver.resolve(self.name)).await;
                Answer::Addresses(answer.unwrap_or_else(|broken| Err(broken_off(broken, limit))))
            }
            Wanted::Proxies(_) => {
                let answer = guarded(limit, || self.resolver.resolve_proxy(self.name)).await;
                Answer::Proxies(answer.unwrap_or_else(|broken| Err(broken_off(broken, limit))))
            }
        }
    }

    /// Whether it is the node's registrar that would be asked.
    pub(in crate::network) fn is_discovery(&self) -> bool {
        matches!(self.reason, Reason::Discovery | Reason::Fallback { .. })
    }

    pub(super) fn is_fallback(&self) -> bool {
        matches!(self.reason, Reason::Fallback { .. })
    }

    /// Whether proxies are wanted, rather than addresses.
    pub fn asks_for_proxies(&self) -> bool {
        matches!(self.wanted, Wanted::Proxies(_))
    }

    /// An address it was told, under what the route says.
    pub(super) fn attempt(&self, mut endpoint: Endpoint, options: &PlanOptions) -> Option<Attempt> {
        let Wanted::Addresses { host, port, pins } = &self.wanted else { return None };
        if !host.is_empty() {
            endpoint.host.clone_from(host);
        }
        if *port != 0 {
            endpoint.port = *port;
        }
        Some(Attempt::new(self.name, endpoint, self.reason.clone(), pins, options))
    }

    /// A proxy it was told, under what the route says; nothing if that is the
    /// way to another node, or starts at one of the two ends.
    pub(super) fn tunnel(
        &self,
        own: Atom,
        endpoint: &ProxyEndpoint,
        ends: &Ends,
        options: &PlanOptions,
    ) -> Option<Tunnel> {
        let Wanted::Proxies(route) = &self.wanted else { return None };
        let to = route.target().unwrap_or(endpoint.to);
        let proxy = route.proxy().unwrap_or(endpoint.proxy);
        (to == self.name && proxy != self.name && proxy != own)
            .then(|| Tunnel::new(self.name, proxy, self.reason.clone(), route, ends, options))
    }
}

fn broken_off(broken: Broken, limit: Duration) -> ResolveError {
    match broken {
        Broken::TimedOut => ResolveError::Timeout(limit),
        Broken::Panicked => ResolveError::Panicked,
    }
}

impl From<Result<Vec<Endpoint>, ResolveError>> for Answer {
    fn from(answer: Result<Vec<Endpoint>, ResolveError>) -> Self {
        Self::Addresses(answer)
    }
}

impl From<Result<Vec<ProxyEndpoint>, ResolveError>> for Answer {
    fn from(answer: Result<Vec<ProxyEndpoint>, ResolveError>) -> Self {
        Self::Proxies(answer)
    }
}

impl Attempt {
    pub(super) fn new(
        name: Atom,
        mut endpoint: Endpoint,
        reason: Reason,
        pins: &Pins,
        options: &PlanOptions,
    ) -> Self {
        if endpoint.host.is_empty() {
            endpoint.host = name.host().to_owned();
        }
        endpoint.tls |= pins.tls.demand_tls() || options.tls.required == Some(true);
        if let Some(version) = &pins.handshake_version {
            endpoint.handshake_version.clone_from(version);
        }
        if let Some(version) = &pins.proto_version {
            endpoint.proto_version.clone_from(version);
        }
        let is_known = |version: &Version, usual: &Version, others: &[Version]| {
            let unsaid = version.name.is_empty() && version.release.is_empty();
            unsaid || version.same_release(usual) || others.iter().any(|known| version.same_release(known))
        };
        let Endpoint { handshake_version, proto_version, .. } = &endpoint;
        let unknown = if !is_known(handshake_version, &Version::ehs(), &options.handshakes) {
            Some(handshake_version.clone())
        } else if !is_known(proto_version, &Version::enp(), &options.protocols) {
            Some(proto_version.clone())
        } else {
            None
        };
        Self {
            endpoint,
            unknown,
            cookie: pins.cookie.clone(),
            flags: pins.flags,
            tls: pins.tls.over(&options.tls),
            mapping: pins.mapping.clone(),
            log_level: pins.log_level,
            dial_timeout: pins.timeout.unwrap_or(options.dial_timeout),
            handshake_timeout: pins.timeout.unwrap_or(options.handshake_timeout),
            reason,
        }
    }

    /// Whether it will fail, as far as that can be known without trying.
    pub fn check(&self) -> Result<(), AttemptError> {
        let Endpoint { host, port, .. } = &self.endpoint;
        if host.is_empty() {
            return Err(AttemptError::NoHost);
        }
        if *port == 0 {
            return Err(AttemptError::NoPort);
        }
        match &self.unknown {
            Some(version) => Err(AttemptError::UnknownVersion { version: version.clone() }),
            None => Ok(()),
        }
    }
}

impl Tunnel {
    fn new(
        name: Atom,
        proxy: Atom,
        reason: Reason,
        route: &NetworkProxyRoute,
        ends: &Ends,
        options: &PlanOptions,
    ) -> Self {
        let timeout = route.timeout.unwrap_or(options.handshake_timeout);
        let endpoint = Endpoint {
            host: ends.host.clone(),
            port: 0,
            tls: route.flags.encryption,
            handshake_version: Version::ehs(),
            proto_version: Version::enp(),
        };
        let ends = Attempt::new(name, endpoint, reason.clone(), &ends.pins, options);
        let ends = Attempt { dial_timeout: timeout, ..ends };
        Self {
            proxy,
            cookie: route.cookie.clone(),
            max_hop: route.max_hop,
            flags: route.flags,
            timeout,
            reason,
            ends,
        }
    }
}
