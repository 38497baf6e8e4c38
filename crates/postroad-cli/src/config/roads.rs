//! Makes of a configuration what the library takes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::Context as _;
use postroad::edf::AtomMapping;
use postroad::network::routes::{AddRouteError, Pattern, RouteChanges, RoutingTable};
use postroad::network::{
    AcceptorOptions, InvalidProxyRoute, NetworkOptions, NetworkProxyRoute, NetworkRoute, Plan, PlanOptions,
};
use postroad::registrar::{
    self, BoxFuture, EmbeddedOptions, Endpoint, ProxyEndpoint, RegisterError, Registered, Registration,
    ResolveError, Resolver, StaticRoute,
};
use postroad::tls::TlsOptions;
use postroad::{Atom, Network, Node, NodeBuilder};
use postroad_wire::Version;

use super::certificates::Certificates;
use super::route::{OWN_REGISTRAR, Release, RouteTls};
use super::{
    Acceptor, Change, Config, Described, Difference, Embedded, NodeSettings, ProxyRoute, Registrar, Route,
    Transit,
};

/// The registrar and the resolvers of a node: made once, because routes that
/// come later share them.
pub(crate) struct Roads {
    registrar: Option<Arc<dyn registrar::Registrar>>,
    resolvers: BTreeMap<String, Arc<dyn Resolver>>,
    pub(crate) certificates: Certificates,
}

impl Roads {
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let resolvers = config.resolvers.iter().filter_map(|(name, resolver)| {
            let made = resolver.make().with_context(|| format!("resolver {name}")).transpose()?;
            Some(made.map(|made| (name.clone(), made as Arc<dyn Resolver>)))
        });
        Ok(Self {
            registrar: config.registrar.make().context("registrar")?,
            resolvers: resolvers.collect::<anyhow::Result<_>>()?,
            certificates: Certificates::default(),
        })
    }

    /// A node as it is configured.
    pub(crate) fn node(&self, config: &Config) -> anyhow::Result<NodeBuilder> {
        let name = config.node.name.as_deref().context("no name: give --name, or `name` in [node]")?;
        let mut builder = self.builder(config, name)?.network(config.node.mode);
        builder = builder.inspector(config.node.inspector.unwrap_or(true));
        builder = builder.accept_tunnels(config.node.accept_tunnels.unwrap_or(true));
        if let Some(transit) = &config.transit {
            builder = builder.transit(transit.make()?);
        }
        for acceptor in &config.acceptors {
            builder = builder.acceptor(self.acceptor(acceptor)?);
        }
        Ok(match &self.registrar {
            Some(registrar) => builder.registrar(registrar.clone()),
            None => builder.without_registrar(),
        })
    }

    /// A node under another name that dials and asks as the configured one
    /// would, with these routes of its registrar, and cannot be found.
    pub(crate) fn guest(
        &self,
        config: &Config,
        name: &str,
        handed_out: Vec<StaticRoute>,
    ) -> anyhow::Result<NodeBuilder> {
        let builder = self.builder(config, name)?.network(postroad::NetworkMode::Hidden);
        Ok(match &self.registrar {
            Some(registrar) => {
                builder.registrar(Arc::new(AskOnly { registrar: registrar.clone(), handed_out }))
            }
            None => builder.without_registrar(),
        })
    }

    fn builder(&self, config: &Config, name: &str) -> anyhow::Result<NodeBuilder> {
        let builder = config.node.builder(name).tls(self.node_tls(config)?);
        Ok(builder.routes(self.routes(config)?).proxy_routes(self.proxy_routes(config)?))
    }

    fn node_tls(&self, config: &Config) -> anyhow::Result<TlsOptions> {
        match &config.tls {
            Some(tls) => Ok(self.certificates.options(&tls.settings)?.required(tls.required)),
            None => Ok(TlsOptions::new()),
        }
    }

    /// What the registrar hands out to nodes that register, if it may matter on
    /// the way to `name`: not where a route of the file leads there and no gateway
    /// stands in between. It has the time of a dial.
    pub(crate) async fn handed_out(&self, config: &Config, name: &str) -> anyhow::Result<Vec<StaticRoute>> {
        let (Some(registrar), Registrar::Etcd(_)) = (&self.registrar, &config.registrar) else {
            return Ok(Vec::new());
        };
        let (routes, proxies) = self.tables(config)?;
        if !routes.lookup(name).is_empty() && proxies.lookup(name).is_empty() {
            return Ok(Vec::new());
        }
        let limit = config.node.dial_timeout.unwrap_or(NetworkOptions::default().dial_timeout);
        let asked = tokio::time::timeout(limit, registrar.static_routes()).await;
        Ok(asked.with_context(|| format!("no answer within {limit:?}"))??)
    }

    fn tables(
        &self,
        config: &Config,
    ) -> anyhow::Result<(RoutingTable<NetworkRoute>, RoutingTable<NetworkProxyRoute>)> {
        let (routes, proxies) = (RoutingTable::new(), RoutingTable::new());
        routes.add_all(self.routes(config)?)?;
        proxies.add_all(self.proxy_routes(config)?)?;
        Ok((routes, proxies))
    }

    /// How the configured node would reach another one, with these routes of its
    /// registrar. Nobody is asked.
    pub(crate) fn plan(
        &self,
        config: &Config,
        own: &str,
        name: &str,
        handed_out: Vec<StaticRoute>,
    ) -> anyhow::Result<Plan> {
        let (table, proxies) = self.tables(config)?;
        for StaticRoute { pattern, route, weight } in handed_out {
            // The node skips what makes no sense, too.
            let added = route.check().map_err(AddRouteError::from);
            match added.and_then(|()| table.add_handed_out(&pattern, route, weight)) {
                Ok(warnings) => {
                    for warning in warnings {
                        tracing::warn!(pattern, %warning, "check this route of the registrar");
                    }
                }
                Err(error) => tracing::warn!(pattern, %error, "route of the registrar skipped"),
            }
        }
        let defaults = NetworkOptions::default();
        let options = PlanOptions {
            on_failure: config.node.on_failure.unwrap_or_default(),
            dial_timeout: config.node.dial_timeout.unwrap_or(defaults.dial_timeout),
            handshake_timeout: config.node.handshake_timeout.unwrap_or(defaults.handshake_timeout),
            tls: self.node_tls(config)?,
            proxy_order: config.node.proxy_order.unwrap_or_default(),
            handshakes: Vec::new(),
            protocols: Vec::new(),
            connected: HashSet::new(),
        };
        let registrar = self.registrar.clone().map(|registrar| registrar as Arc<dyn Resolver>);
        Ok(Plan::new(
            Atom::new(own)?,
            Atom::new(name)?,
            &table.lookup(name),
            &proxies.lookup(name),
            registrar,
            options,
        )?)
    }

    /// Does to a running node what the difference says: all of it, or nothing.
    pub(crate) fn change(&self, difference: &Difference<'_>, network: &Network) -> anyhow::Result<()> {
        let transit =
            difference.new_transit.map(|transit| transit.map(Transit::make).transpose()).transpose()?;
        let routes = changes(&difference.routes, |route| self.route(route))?;
        let proxy_routes = changes(&difference.proxy_routes, |route| self.proxy_route(route))?;
        network.change_routes(routes, proxy_routes)?;
        if let Some(transit) = transit {
            network.set_transit(transit);
        }
        Ok(())
    }

    /// Whether a node could be started, as far as it can be known beforehand.
    pub(crate) fn check(&self, config: &Config) -> anyhow::Result<()> {
        self.routes(config)?;
        self.proxy_routes(config)?;
        for ProxyRoute { pattern, via, .. } in &config.proxy_routes {
            if let Some(own) = via.as_ref().filter(|via| config.node.name.as_ref() == Some(via)) {
                let error = InvalidProxyRoute::ProxyIsOwn { name: own.clone() };
                return Err(error).with_context(|| format!("proxy route `{pattern}`"));
            }
        }
        config.transit.as_ref().map(Transit::make).transpose()?;
        let node = self.node_tls(config)?;
        for acceptor in &config.acceptors {
            self.acceptor(acceptor)?.check_tls(&node).context("acceptor")?;
        }
        Ok(())
    }

    /// All routes, as a table takes them.
    fn routes(&self, config: &Config) -> anyhow::Result<Vec<(Pattern, NetworkRoute, i64)>> {
        let made =
            |route: &Route| Ok((config.patterns.take(&route.pattern)?, self.route(route)?, route.weight));
        config.routes.iter().map(made).collect()
    }

    fn proxy_routes(&self, config: &Config) -> anyhow::Result<Vec<(Pattern, NetworkProxyRoute, i64)>> {
        let made = |route: &ProxyRoute| {
            Ok((config.proxy_patterns.take(&route.pattern)?, self.proxy_route(route)?, route.weight))
        };
        config.proxy_routes.iter().map(made).collect()
    }

    fn route(&self, route: &Route) -> anyhow::Result<NetworkRoute> {
        let mut made =
            match &route.resolver {
                None => NetworkRoute::to("", 0),
                Some(name) => NetworkRoute::resolve_with(self.resolver(name).with_context(|| {
                    format!("route `{}`: no resolver {name:?} in this node", route.pattern)
                })?),
            };
        if let Some(host) = &route.host {
            made = made.host(host);
        }
        if let Some(port) = route.port {
            made = made.port(port);
        }
        if let Some(cookie) = &route.cookie {
            made = made.cookie(cookie.clone());
        }
        if let Some(flags) = route.flags {
            made = made.network_flags(flags);
        }
        if let Some(timeout) = route.timeout {
            made = made.timeout(timeout);
        }
        if let Some(on_failure) = route.on_failure {
            made = made.on_failure(on_failure);
        }
        if let Some(version) = &route.handshake {
            made = made.handshake_version(Version::new(&version.name, &version.release));
        }
        if let Some(version) = &route.protocol {
            made = made.proto_version(Version::new(&version.name, &version.release));
        }
        if let Some(level) = route.log {
            made = made.log_level(level);
        }
        made = made.atom_mapping(mapping(&route.atoms)?);
        match &route.tls {
            None | Some(RouteTls::Off) => {}
            Some(RouteTls::On) => made = made.tls(true),
            Some(RouteTls::With(settings)) => {
                made = with_tls(made.tls(true), self.certificates.options(settings)?)
            }
        }
        made.check().with_context(|| format!("route `{}`", route.pattern))?;
        Ok(made)
    }

    fn proxy_route(&self, route: &ProxyRoute) -> anyhow::Result<NetworkProxyRoute> {
        let mut made = NetworkProxyRoute::via(route.via.as_deref().unwrap_or_default());
        if let Some(name) = &route.resolver {
            let resolver = self.resolver(name);
            let missing = || format!("proxy route `{}`: no resolver {name:?} in this node", route.pattern);
            made = made.resolver(resolver.with_context(missing)?);
        }
        if let Some(to) = &route.to {
            made = made.to(to);
        }
        if let Some(hops) = route.max_hop {
            made = made.max_hop(hops);
        }
        if let Some(cookie) = &route.cookie {
            made = made.cookie(cookie.clone());
        }
        if let Some(flags) = route.flags {
            made = made.flags(flags);
        }
        if let Some(timeout) = route.timeout {
            made = made.timeout(timeout);
        }
        if let Some(on_failure) = route.on_failure {
            made = made.on_failure(on_failure);
        }
        made.check().with_context(|| format!("proxy route `{}`", route.pattern))?;
        Ok(made)
    }

    fn acceptor(&self, acceptor: &Acceptor) -> anyhow::Result<AcceptorOptions> {
        let mut options = match &acceptor.listen {
            Some(address) => AcceptorOptions::bind(&address.host, address.port),
            None => AcceptorOptions::default(),
        };
        if let Some(ports) = acceptor.ports {
            options = options.port_count(ports);
        }
        if let Some(advertised) = &acceptor.advertise {
            options = options.advertise(&advertised.host, advertised.port);
        }
        if let Some(cookie) = &acceptor.cookie {
            options = options.cookie(cookie.clone());
        }
        if let Some(Release { name, release }) = &acceptor.handshake {
            options = options.handshake(Version::new(name, release));
        }
        if let Some(Release { name, release }) = &acceptor.protocol {
            options = options.protocol(Version::new(name, release));
        }
        if acceptor.operators == Some(true) {
            options = options.operators();
        }
        if let Some(flags) = acceptor.flags {
            options = options.network_flags(flags);
        }
        if acceptor.weaker_than_routes == Some(true) {
            options = options.weaker_than_routes();
        }
        if let Some(level) = acceptor.log {
            options = options.log_level(level);
        }
        match &acceptor.tls {
            None => {}
            Some(RouteTls::Off) => options = options.plain(),
            Some(RouteTls::On) => options = options.tls(TlsOptions::new().required(true)),
            Some(RouteTls::With(settings)) => {
                options = options.tls(self.certificates.options(settings)?.required(true));
            }
        }
        Ok(options.atom_mapping(mapping(&acceptor.atoms)?))
    }

    fn resolver(&self, name: &str) -> Option<Arc<dyn Resolver>> {
        match name {
            OWN_REGISTRAR => self.registrar.clone().map(|registrar| registrar as Arc<dyn Resolver>),
            name => self.resolvers.get(name).cloned(),
        }
    }
}

impl NodeSettings {
    /// What holds for the node and for guests that dial in its place.
    pub(super) fn builder(&self, name: &str) -> NodeBuilder {
        let defaults = NetworkOptions::default();
        let mut builder = Node::builder(name).timeouts(
            self.dial_timeout.unwrap_or(defaults.dial_timeout),
            self.handshake_timeout.unwrap_or(defaults.handshake_timeout),
            self.connect_timeout.unwrap_or(defaults.connect_timeout),
        );
        if let Some(cookie) = &self.cookie {
            builder = builder.cookie(cookie.clone());
        }
        if let Some(links) = self.pool_size {
            builder = builder.pool_size(links);
        }
        if let Some(bytes) = self.max_message_size {
            builder = builder.max_message_size(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if let Some(on_failure) = self.on_failure {
            builder = builder.on_failure(on_failure);
        }
        if let Some(flags) = self.flags {
            builder = builder.network_flags(flags);
        }
        if let Some(order) = self.proxy_order {
            builder = builder.proxy_order(order);
        }
        if let Some(pause) = self.retry_pause {
            builder = builder.retry_pause(pause.unwrap_or_default());
        }
        match self.keepalive {
            None => builder,
            Some(period) => builder.keepalive(period),
        }
    }
}

impl Registrar {
    fn make(&self) -> anyhow::Result<Option<Arc<dyn registrar::Registrar>>> {
        match self {
            Self::Embedded(embedded) => Ok(Some(
                Arc::new(registrar::Embedded::new(embedded.options())) as Arc<dyn registrar::Registrar>
            )),
            Self::Etcd(etcd) => Ok(Some(Arc::new(etcd.make()?))),
            Self::None => Ok(None),
        }
    }
}

impl Embedded {
    fn options(&self) -> EmbeddedOptions {
        let mut options = EmbeddedOptions::default();
        options.port = self.port.unwrap_or(options.port);
        options.may_serve = self.may_serve.unwrap_or(options.may_serve);
        options.answer_on = self.answer_on.unwrap_or(options.answer_on);
        options
    }
}

/// A registrar of which a guest asks, without registering.
#[derive(Debug)]
struct AskOnly {
    registrar: Arc<dyn registrar::Registrar>,
    /// What a node that registers is given.
    handed_out: Vec<StaticRoute>,
}

impl Resolver for AskOnly {
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        self.registrar.resolve(name)
    }

    fn resolve_proxy(&self, name: Atom) -> BoxFuture<'_, Result<Vec<ProxyEndpoint>, ResolveError>> {
        self.registrar.resolve_proxy(name)
    }

    fn describe(&self) -> String {
        self.registrar.describe()
    }
}

impl registrar::Registrar for AskOnly {
    fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(std::future::ready(Ok(Registered::with_routes(self.handed_out.clone()))))
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The changes, as a table takes them.
fn changes<R: Described, N>(
    changes: &[Change<'_, R>],
    make: impl Fn(&R) -> anyhow::Result<N>,
) -> anyhow::Result<RouteChanges<N>> {
    changes.iter().try_fold(RouteChanges::new(), |made, change| {
        Ok(match *change {
            Change::Removed(old) => made.remove(old.pattern()),
            Change::Added(new) => made.add(new.pattern(), make(new)?, new.weight()),
            Change::Changed { new, moved: false, .. } => {
                made.replace(new.pattern(), make(new)?, new.weight())
            }
            Change::Changed { new, moved: true, .. } | Change::Moved(new) => {
                made.remove(new.pattern()).add(new.pattern(), make(new)?, new.weight())
            }
        })
    })
}

/// Lays settings over a route.
fn with_tls(mut route: NetworkRoute, settings: TlsOptions) -> NetworkRoute {
    if let Some(identity) = settings.identity {
        route = route.identity(identity);
    }
    if let Some(trust) = settings.trust {
        route = route.trust(trust);
    }
    if let Some(verify) = settings.verify {
        route = route.verify(verify);
    }
    if let Some(skip) = settings.insecure_skip_verify {
        route = route.insecure_skip_verify(skip);
    }
    match settings.certificate_digest {
        Some(check) => route.certificate_digest(check),
        None => route,
    }
}

fn mapping(atoms: &[(String, String)]) -> anyhow::Result<AtomMapping> {
    let pairs: Vec<_> = atoms
        .iter()
        .map(|(local, wire)| Ok((Atom::new(local)?, Atom::new(wire)?)))
        .collect::<anyhow::Result<_>>()?;
    Ok(AtomMapping::new(pairs)?)
}
