//! What a proxy route says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::{Cookie, NetworkFlags};

use super::route::{OnFailure, Pins};
use crate::Atom;
use crate::node::node_name;
use crate::registrar::Resolver;
use crate::tls::TlsOptions;

/// Through how many nodes a way may lead, unless the route says otherwise.
pub const DEFAULT_MAX_HOP: u8 = 8;

/// How to reach the nodes that a pattern matches through another node.
///
/// The other node must let this one pass ([`TransitOptions`](super::TransitOptions)).
/// The two ends shake hands through it as they would without it: with the cookie,
/// TLS options, flags and mapping that the static route to the target says, or the
/// node.
///
/// ```
/// use postroad::network::NetworkProxyRoute;
///
/// let backend = NetworkProxyRoute::via("gateway@dmz.example.com").max_hop(3);
/// assert_eq!(
///     backend.to_string(),
///     "through gateway@dmz.example.com, 3 hops at most, for messages, link, monitor, important_delivery"
/// );
/// ```
#[derive(Debug, Clone)]
pub struct NetworkProxyRoute {
    /// Empty if it was not said: what the resolver says.
    proxy: String,
    /// Empty for any node that the pattern matches.
    to: String,
    pub(super) resolver: Option<Arc<dyn Resolver>>,
    pub(super) cookie: Option<Cookie>,
    pub(super) max_hop: u8,
    pub(super) flags: ProxyFlags,
    pub(super) timeout: Option<Duration>,
    pub(super) on_failure: Option<OnFailure>,
}

/// What may be done through a tunnel. Both ends and the proxies between them
/// hold to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProxyFlags {
    /// Links, and asking processes to end. On unless said otherwise.
    pub link: bool,
    /// Monitors. On unless said otherwise.
    pub monitor: bool,
    /// Spawning processes on the other node. Off unless said otherwise.
    pub spawn: bool,
    /// Starting applications on the other node. Off unless said otherwise.
    pub application_start: bool,
    /// Messages whose arrival is confirmed. On unless said otherwise.
    pub important_delivery: bool,
    /// Whether the two ends insist on encryption that the proxies cannot look
    /// into: TLS from one to the other, for which the target needs a
    /// certificate. On as well if the static route to the target demands TLS, or
    /// the node. Off unless said otherwise.
    pub encryption: bool,
}

impl ProxyFlags {
    /// Nothing but messages and requests, and no encryption asked for: what to
    /// start from when a few things are to be allowed.
    pub const NONE: Self = Self {
        link: false,
        monitor: false,
        spawn: false,
        application_start: false,
        important_delivery: false,
        encryption: false,
    };

    /// What is on, besides messages, by the names that configuration files have for it.
    pub fn names(self) -> Vec<&'static str> {
        let Self { link, monitor, spawn, application_start, important_delivery, encryption } = self;
        let all = [
            (link, "link"),
            (monitor, "monitor"),
            (spawn, "spawn"),
            (application_start, "application_start"),
            (important_delivery, "important_delivery"),
            (encryption, "encryption"),
        ];
        all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect()
    }
}

impl Default for ProxyFlags {
    fn default() -> Self {
        Self {
            link: true,
            monitor: true,
            spawn: false,
            application_start: false,
            important_delivery: true,
            encryption: false,
        }
    }
}

/// Why a proxy route cannot be used, whatever node it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxyRoute {
    /// There is neither a proxy nor a resolver that would know one.
    #[error("the proxy route names no proxy; give the name of the node to go through, or a resolver")]
    NoProxy,
    /// The proxy has no node name.
    #[error("the proxy {name:?} is not of the form name@host (example: gateway@dmz.example.com)")]
    ProxyName {
        /// What was given.
        name: String,
    },
    /// The target has no node name.
    #[error("the target {name:?} is not of the form name@host; leave it out for all nodes that match")]
    TargetName {
        /// What was given.
        name: String,
    },
    /// The way to a node cannot lead through that node.
    #[error("{name} is both the proxy and the target; nobody goes through a node to reach it")]
    ProxyIsTarget {
        /// The node.
        name: String,
    },
    /// The way to another node cannot lead through the own one.
    #[error("{name} is this node itself; a proxy is another node")]
    ProxyIsOwn {
        /// The node.
        name: String,
    },
    /// No attempt could succeed within no time.
    #[error("the proxy route has a timeout of 0; leave it out for the node's own")]
    NoTime,
}

impl NetworkProxyRoute {
    /// A route through the node of this name.
    pub fn via(proxy: impl Into<String>) -> Self {
        Self { proxy: proxy.into(), ..Self::unnamed() }
    }

    /// A route through the nodes that a resolver knows as proxies, asked for
    /// each attempt to connect. What the route itself says goes before what the
    /// resolver says.
    pub fn resolve_with(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver: Some(resolver), ..Self::unnamed() }
    }

    /// Leads to the node of this name only, whatever else the pattern matches.
    pub fn to(mut self, name: impl Into<String>) -> Self {
        self.to = name.into();
        self
    }

    /// Asks this resolver for proxies. A proxy that the route names itself is
    /// taken in place of those, if the resolver knows any.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Uses this cookie for a connection that must be made with the proxy,
    /// instead of the node's. An empty one stands for the node's.
    pub fn cookie(mut self, cookie: impl Into<Cookie>) -> Self {
        self.cookie = Some(cookie.into()).filter(|cookie| !cookie.is_empty());
        self
    }

    /// Through how many nodes the way may lead at most. 0 stands for the
    /// default, [`DEFAULT_MAX_HOP`].
    pub fn max_hop(mut self, hops: u8) -> Self {
        self.max_hop = if hops == 0 { DEFAULT_MAX_HOP } else { hops };
        self
    }

    /// What may be done through the tunnel.
    pub fn flags(mut self, flags: ProxyFlags) -> Self {
        self.flags = flags;
        self
    }

    /// How long each step of an attempt may take: asking the resolver, opening
    /// the tunnel. By default the node's timeouts hold.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What happens when all matching routes have failed. By default the node's
    /// option holds.
    ///
    /// A discovered address keeps the route's timeout, its demand for encryption
    /// and what it does not allow the peer. A direct connection cannot bar links
    /// or monitors: a route that does is never left for discovery.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = Some(on_failure);
        self
    }

    /// Whether the route can be used at all.
    pub fn check(&self) -> Result<(), InvalidProxyRoute> {
        use InvalidProxyRoute as E;
        let Self { proxy, to, .. } = self;
        if proxy.is_empty() && self.resolver.is_none() {
            return Err(E::NoProxy);
        }
        if !proxy.is_empty() && self.proxy().is_none() {
            return Err(E::ProxyName { name: proxy.clone() });
        }
        if !to.is_empty() && self.target().is_none() {
            return Err(E::TargetName { name: to.clone() });
        }
        if !proxy.is_empty() && proxy == to {
            return Err(E::ProxyIsTarget { name: to.clone() });
        }
        if self.timeout == Some(Duration::ZERO) {
            return Err(E::NoTime);
        }
        Ok(())
    }

    /// Whether the route can be used by this node.
    pub(super) fn check_for(&self, own: Atom) -> Result<(), InvalidProxyRoute> {
        self.check()?;
        if self.proxy == own.as_str() {
            return Err(InvalidProxyRoute::ProxyIsOwn { name: self.proxy.clone() });
        }
        Ok(())
    }

    /// The node to go through, if the route says.
    pub(super) fn proxy(&self) -> Option<Atom> {
        node_name(&self.proxy).ok()
    }

    /// The only node that the route leads to, if it says.
    pub(super) fn target(&self) -> Option<Atom> {
        node_name(&self.to).ok()
    }

    /// Whether `own` may reach `name` by this route, if the pattern matches.
    pub(super) fn leads(&self, own: Atom, name: Atom) -> bool {
        let goes = |proxy| proxy != own && proxy != name;
        let known = self.proxy().map_or(self.resolver.is_some(), goes);
        known && (self.to.is_empty() || self.to == name.as_str())
    }

    /// What of it holds for any other proxy as well.
    pub(super) fn for_any_proxy(&self) -> Self {
        let Self { max_hop, flags, timeout, .. } = *self;
        Self { max_hop, flags, timeout, ..Self::unnamed() }
    }

    /// What it demands of a direct connection; nothing if such a one could not
    /// keep it.
    pub(super) fn pins(&self) -> Option<Pins> {
        let ProxyFlags { link, monitor, spawn, application_start, important_delivery, encryption } =
            self.flags;
        let mut flags = NetworkFlags::from_bits(u64::MAX);
        for (allowed, flag) in [
            (spawn, NetworkFlags::REMOTE_SPAWN),
            (application_start, NetworkFlags::REMOTE_APPLICATION_START),
            (important_delivery, NetworkFlags::IMPORTANT_DELIVERY),
        ] {
            flags = if allowed { flags } else { flags.without(flag) };
        }
        let tls = if encryption { TlsOptions::new().required(true) } else { TlsOptions::new() };
        let pins = Pins { tls, flags: Some(flags), timeout: self.timeout, ..Pins::default() };
        (link && monitor).then_some(pins)
    }

    /// A route that says nothing yet.
    pub(super) fn unnamed() -> Self {
        Self {
            proxy: String::new(),
            to: String::new(),
            resolver: None,
            cookie: None,
            max_hop: DEFAULT_MAX_HOP,
            flags: ProxyFlags::default(),
            timeout: None,
            on_failure: None,
        }
    }

    /// What it demands of a tunnel, each with a comma before it.
    pub(super) fn demands(&self) -> String {
        let Self { cookie, max_hop, flags, timeout, .. } = self;
        let cookie = if cookie.is_some() { ", own cookie" } else { "" };
        let timeout = timeout.map(|timeout| format!(", {timeout:?} for each step")).unwrap_or_default();
        format!("{cookie}, {max_hop} hops at most, for {flags}{timeout}")
    }

    /// The texts of proxy and target; empty if not said.
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.proxy, &self.to)
    }
}

impl fmt::Display for NetworkProxyRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resolver {
            Some(resolver) if self.proxy.is_empty() => {
                write!(f, "through proxies from {}", resolver.describe())?
            }
            Some(resolver) => write!(f, "through {}, if {} knows a proxy", self.proxy, resolver.describe())?,
            None => write!(f, "through {}", self.proxy)?,
        }
        if !self.to.is_empty() {
            write!(f, ", to {} only", self.to)?;
        }
        f.write_str(&self.demands())?;
        match self.on_failure {
            Some(on_failure) => write!(f, ", on failure {on_failure}"),
            None => Ok(()),
        }
    }
}

/// What is on, separated by commas.
impl fmt::Display for ProxyFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&[&["messages"], &self.names()[..]].concat().join(", "))
    }
}
