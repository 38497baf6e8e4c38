//! How nodes are found: registrars and resolvers.
//!
//! A [`Resolver`] knows addresses; it can back a single static route. A
//! [`Registrar`] is a resolver that nodes register with; some know more than
//! addresses: who else is there, where applications run, configuration. What a
//! registrar does not do it answers with `NotSupported`, so an implementation
//! writes only what it has.
//!
//! All that a registrar says is a hint by somebody who has proved nothing: the
//! handshake decides who is there. Whatever one does, hanging and panicking
//! included, costs the node one attempt or one named error, never its life.

mod application;
mod embedded;
mod error;
mod event;
mod guard;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use postroad_wire::Version;
use tokio::sync::broadcast;

use crate::Atom;
use crate::network::NetworkRoute;
use crate::network::routes::Names;

pub use application::{ApplicationMode, ApplicationRoute, ApplicationState, MAX_TAGS};
pub use embedded::{Embedded, EmbeddedOptions};
pub use error::{RegisterError, RegistrarError, ResolveError};
pub use event::{ConfigValue, RegistrarEvent};
pub(crate) use guard::{Broken, guarded};

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long a node waits for [`Registrar::register`]. Longer than an etcd lease
/// of the default length, which a restarted node may have to outwait.
pub(crate) const REGISTER_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node that stops waits for [`Registrar::leave`].
pub(crate) const LEAVE_PATIENCE: Duration = Duration::from_secs(6);

/// An address at which a node may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host to dial; empty for the host part of the node's name.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// Whether it expects TLS.
    pub tls: bool,
    /// The handshake it speaks.
    pub handshake_version: Version,
    /// The protocol it speaks.
    pub proto_version: Version,
}

/// A node through which another one may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProxyEndpoint {
    /// The node that is reached.
    pub to: Atom,
    /// The node to go through.
    pub proxy: Atom,
}

/// Finds the addresses of nodes. Enough to back a static route.
///
/// The node limits how long it waits; implementations still should bound
/// every call themselves, for they know why it takes long.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// The addresses of a node, the best one first. What it says is a hint: the
    /// handshake decides who is there.
    ///
    /// Cancel safe.
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>>;

    /// Nodes through which a node can be reached, the best one first;
    /// [`ResolveError::Unknown`] if there is none. What it says is a hint, as with
    /// [`resolve`](Self::resolve).
    ///
    /// Cancel safe.
    fn resolve_proxy(&self, name: Atom) -> BoxFuture<'_, Result<Vec<ProxyEndpoint>, ResolveError>> {
        let _ = name;
        Box::pin(async { Err(ResolveError::NotSupported) })
    }

    /// Where an application is loaded or runs: running ones first, then by
    /// weight, the heaviest first. The own node is not among them.
    ///
    /// Cancel safe.
    fn resolve_application(&self, name: Atom) -> BoxFuture<'_, Result<Vec<ApplicationRoute>, ResolveError>> {
        let _ = name;
        Box::pin(async { Err(ResolveError::NotSupported) })
    }

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// A resolver that nodes register with.
///
/// Only [`register`](Self::register) can keep a node from starting. What fails
/// later is the registrar's own to repair: connections and static routes live on.
pub trait Registrar: Resolver {
    /// Registers a node, and keeps it registered until [`leave`](Self::leave).
    /// Called once.
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>>;

    /// Ends the registration. A node that stops waits six seconds for it.
    fn leave(&self) -> BoxFuture<'_, ()>;

    /// What it is and can do.
    fn info(&self) -> RegistrarInfo {
        RegistrarInfo { server: self.describe(), ..RegistrarInfo::default() }
    }

    /// Publishes an application of this node, or what has changed about it.
    ///
    /// Cancel safe: it is published or it is not, and published again with the
    /// next registration.
    fn register_application(&self, route: ApplicationRoute) -> BoxFuture<'_, Result<(), RegistrarError>> {
        let _ = route;
        not_supported()
    }

    /// Withdraws an application of this node.
    fn unregister_application(&self, name: Atom) -> BoxFuture<'_, Result<(), RegistrarError>> {
        let _ = name;
        not_supported()
    }

    /// Announces that nodes of these names can be reached through this one, for
    /// [`resolve_proxy`](Resolver::resolve_proxy) of others.
    ///
    /// Cancel safe: it is announced or it is not, and announced again with the
    /// next registration.
    fn register_proxy(&self, to: Names) -> BoxFuture<'_, Result<(), RegistrarError>> {
        let _ = to;
        not_supported()
    }

    /// Takes an announcement back; [`RegistrarError::Unknown`] if there is none.
    fn unregister_proxy(&self, to: Names) -> BoxFuture<'_, Result<(), RegistrarError>> {
        let _ = to;
        not_supported()
    }

    /// The static routes that it hands out to a node that registers now. Asks
    /// without registering: to explain what a node would do.
    ///
    /// Cancel safe.
    fn static_routes(&self) -> BoxFuture<'_, Result<Vec<StaticRoute>, RegistrarError>> {
        not_supported()
    }

    /// The names of the nodes that are registered, without this one.
    ///
    /// Cancel safe.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Atom>, RegistrarError>> {
        not_supported()
    }

    /// The configuration of this node: values of the named items. Those that
    /// are not there are left out.
    ///
    /// Cancel safe.
    fn config<'a>(
        &'a self,
        items: &'a [&'a str],
    ) -> BoxFuture<'a, Result<BTreeMap<String, ConfigValue>, RegistrarError>> {
        let _ = items;
        not_supported()
    }

    /// One item of the configuration of this node; [`RegistrarError::Unknown`]
    /// if there is none of that name.
    ///
    /// Cancel safe.
    fn config_item<'a>(&'a self, item: &'a str) -> BoxFuture<'a, Result<ConfigValue, RegistrarError>> {
        let _ = item;
        not_supported()
    }

    /// What changes from now on. A receiver that lags by more than 1024 events
    /// misses the oldest.
    fn subscribe(&self) -> Result<broadcast::Receiver<RegistrarEvent>, RegistrarError> {
        Err(RegistrarError::NotSupported)
    }
}

fn not_supported<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, RegistrarError>> {
    Box::pin(async { Err(RegistrarError::NotSupported) })
}

/// What a node registers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The node.
    pub node: Atom,
    /// Where it can be reached; empty for a node that only dials.
    pub endpoints: Vec<Endpoint>,
    /// Where to run what keeps the registration up.
    pub runtime: tokio::runtime::Handle,
}

/// What a registrar hands out to a node that has registered.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Registered {
    /// Static routes, for names to which no route and no proxy route of the node's
    /// own leads. They may have the patterns of those; of two handed out with one
    /// pattern the first counts.
    pub routes: Vec<StaticRoute>,
}

impl Registered {
    /// Hands out these static routes.
    pub fn with_routes(routes: Vec<StaticRoute>) -> Self {
        Self { routes }
    }
}

/// A static route that a registrar hands out.
#[derive(Debug, Clone)]
pub struct StaticRoute {
    /// The pattern, as in [`Network::add_route`](crate::Network::add_route).
    pub pattern: String,
    /// Where it leads.
    pub route: NetworkRoute,
    /// Its weight; 0 is what registrars give unless somebody asked for more.
    pub weight: i64,
}

/// What a registrar is and can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrarInfo {
    /// The server it talks to, for people.
    pub server: String,
    /// Whether that server runs within this node.
    pub embedded: bool,
    /// What it implements, besides addresses.
    pub capabilities: Capabilities,
    /// What it is.
    pub version: Version,
}

/// What a registrar does besides knowing addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// It lists nodes.
    pub nodes: bool,
    /// It publishes applications and resolves them.
    pub applications: bool,
    /// It has configuration.
    pub config: bool,
    /// It tells what changes.
    pub events: bool,
    /// It announces proxies and resolves them.
    pub proxies: bool,
}

impl Capabilities {
    /// Everything there is.
    pub const ALL: Self = Self { nodes: true, applications: true, config: true, events: true, proxies: true };
}
