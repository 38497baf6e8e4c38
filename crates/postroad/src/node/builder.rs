//! What a node is started with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;

use parking_lot::Mutex;
use postroad_edf::Registry;
use postroad_wire::Version;
use postroad_wire::enp::any;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Calls, Exposes, FAR, FIRST_PROCESS, Node, NodeInner, node_name};
use crate::application::{ApplicationError, ApplicationSpec, Applications};
use crate::error::StartError;
use crate::inspect::Inspector;
use crate::network::routes::Pattern;
use crate::network::{
    AcceptorOptions, AddRouteError, Ground, Handshake, MemoryNetwork, NetworkInner, NetworkMode,
    NetworkOptions, NetworkProxyRoute, NetworkRoute, OnFailure, Protocol, ProxyOrder, TransitOptions,
    Written, invented_cookie,
};
use crate::process::{Environment, ProcessTable, Relations};
use crate::registrar::{Embedded, EmbeddedOptions, Registrar};
use crate::tls::{TlsOptions, Watched};
use crate::{Cookie, NetworkFlags};

/// What a node is started with; from [`Node::builder`].
#[derive(Debug)]
pub struct NodeBuilder {
    name: String,
    cookie: Option<Cookie>,
    mode: NetworkMode,
    acceptors: Option<Vec<AcceptorOptions>>,
    routes: Vec<(Written, NetworkRoute, i64)>,
    proxy_routes: Vec<(Written, NetworkProxyRoute, i64)>,
    registrar: Discovery,
    options: NetworkOptions,
    version: Version,
    inspector: bool,
    registry: Registry,
    applications: Vec<ApplicationSpec>,
    shutdown_timeout: Duration,
    environment: Environment,
    exposes: Exposes,
    memory: Option<MemoryNetwork>,
}

#[derive(Debug)]
enum Discovery {
    Embedded(EmbeddedOptions),
    Custom(Arc<dyn Registrar>),
    None,
}

impl NodeBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            cookie: None,
            mode: NetworkMode::default(),
            acceptors: None,
            routes: Vec::new(),
            proxy_routes: Vec::new(),
            registrar: Discovery::Embedded(EmbeddedOptions::default()),
            options: NetworkOptions::default(),
            version: Version::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            inspector: false,
            registry: Registry::new(),
            applications: Vec::new(),
            shutdown_timeout: Duration::from_secs(10),
            environment: Environment::new(),
            exposes: Exposes::default(),
            memory: None,
        }
    }

    /// The secret that peers must know as well. Without one, or with an empty
    /// one, the node invents its own: it can talk to nobody but by cookies of
    /// routes and acceptors.
    pub fn cookie(mut self, cookie: impl Into<Cookie>) -> Self {
        self.cookie = Some(cookie.into());
        self
    }

    /// How the node uses the network. Default [`NetworkMode::Enabled`].
    pub fn network(mut self, mode: NetworkMode) -> Self {
        self.mode = mode;
        self
    }

    /// Adds a place to listen. The first one replaces the default, which is the
    /// host of the node's name and the first free port from 11144.
    pub fn acceptor(mut self, acceptor: AcceptorOptions) -> Self {
        self.acceptors.get_or_insert_default().push(acceptor);
        self
    }

    /// Adds a static route, behind those that are there, as
    /// [`Network::add_route`](crate::Network::add_route) does. It holds from the
    /// beginning: for whoever comes in first, and for what applications send
    /// when they start.
    pub fn route(self, pattern: impl AsRef<str>, route: NetworkRoute, weight: i64) -> Self {
        self.routes([(pattern.as_ref(), route, weight)])
    }

    /// Adds several static routes, each with its pattern and weight, as
    /// [`route`](Self::route) does. What cannot be added keeps the node from
    /// starting.
    pub fn routes<P>(mut self, routes: impl IntoIterator<Item = (P, NetworkRoute, i64)>) -> Self
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        let read = |(pattern, route, weight)| (Written::of(pattern), route, weight);
        self.routes.extend(routes.into_iter().map(read));
        self
    }

    /// Adds a static proxy route, as
    /// [`Network::add_proxy_route`](crate::Network::add_proxy_route) does; like
    /// [`route`](Self::route) it holds from the beginning.
    pub fn proxy_route(self, pattern: impl AsRef<str>, route: NetworkProxyRoute, weight: i64) -> Self {
        self.proxy_routes([(pattern.as_ref(), route, weight)])
    }

    /// Adds several static proxy routes, as [`routes`](Self::routes) does.
    pub fn proxy_routes<P>(mut self, routes: impl IntoIterator<Item = (P, NetworkProxyRoute, i64)>) -> Self
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        let read = |(pattern, route, weight)| (Written::of(pattern), route, weight);
        self.proxy_routes.extend(routes.into_iter().map(read));
        self
    }

    /// Where the embedded registrar of this node listens.
    pub fn embedded_registrar(mut self, options: EmbeddedOptions) -> Self {
        self.registrar = Discovery::Embedded(options);
        self
    }

    /// Registers with and asks this registrar instead of the embedded one.
    pub fn registrar(mut self, registrar: Arc<dyn Registrar>) -> Self {
        self.registrar = Discovery::Custom(registrar);
        self
    }

    /// Registers nowhere and discovers nothing: only static routes lead out.
    pub fn without_registrar(mut self) -> Self {
        self.registrar = Discovery::None;
        self
    }

    /// Puts the node on a network in memory, on the host of its name: no socket
    /// is used, and what happens on the roads is up to the test. Unless it is
    /// given a registrar of its own, the node finds all others there.
    pub fn memory_network(mut self, network: &MemoryNetwork) -> Self {
        self.memory = Some(network.clone());
        self
    }

    /// How many links accepted connections have, 1 to 128. Default 3.
    pub fn pool_size(mut self, links: u16) -> Self {
        self.options.pool_size = links.clamp(1, 128);
        self
    }

    /// The longest frame that is accepted, in bytes, unpacked too. Default 128 MiB.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.options.max_message_size = bytes.clamp(1024, u32::MAX as usize);
        self
    }

    /// How long a TCP connection, a whole handshake, and connecting with all
    /// its attempts may take. Defaults 3 s, 5 s and 15 s.
    pub fn timeouts(mut self, dial: Duration, handshake: Duration, connect: Duration) -> Self {
        self.options.dial_timeout = dial.min(FAR);
        self.options.handshake_timeout = handshake.min(FAR);
        self.options.connect_timeout = connect.min(FAR);
        self
    }

    /// How often a sign of life is given on each link: whole seconds from 1 to
    /// 255, a fraction counts as one more. A peer that does the same and falls
    /// silent for three of its periods is lost. `None` leaves it to the system.
    /// Default 15 s.
    pub fn keepalive(mut self, period: impl Into<Option<Duration>>) -> Self {
        let whole = |period: Duration| period.as_secs_f64().ceil().clamp(1.0, 255.0);
        self.options.keepalive = period.into().map(|period| Duration::from_secs_f64(whole(period)));
        self
    }

    /// What happens when all static routes to a node have failed, for routes
    /// that do not say. Default [`OnFailure::Fail`]: the registrar is not asked.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.options.on_failure = on_failure;
        self
    }

    /// TLS: certificates, whom to trust, and how peers are checked. With an
    /// identity the node's acceptors speak TLS. What was said before and is not
    /// said here stays.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.options.tls = tls.over(&self.options.tls);
        self
    }

    /// Whether nothing is dialed without TLS: where neither the route nor the
    /// registrar speaks of TLS, TLS is used all the same. What a registrar says
    /// is not proved, and may have been made to lead the node astray.
    pub fn require_tls(self, required: bool) -> Self {
        self.tls(TlsOptions::new().required(required))
    }

    /// What peers may do at most; acceptors and routes may allow less. What
    /// this version does not do stays off. Default: all it does.
    pub fn network_flags(mut self, flags: NetworkFlags) -> Self {
        self.options.flags = flags;
        self
    }

    /// Another way of agreeing on connections, which routes and acceptors can
    /// name by its version. [`Ehs`](crate::network::Ehs) is there in any case.
    pub fn handshake(mut self, handshake: impl Handshake + 'static) -> Self {
        self.options.handshakes.add(Arc::new(handshake));
        self
    }

    /// Another way to lay frames on links, which routes and acceptors can name by
    /// its version, in the place of another one of that version. ENP is there in
    /// any case and cannot be replaced.
    pub fn protocol(mut self, protocol: impl Protocol + 'static) -> Self {
        self.options.protocols.add(protocol);
        self
    }

    /// Whether static proxy routes come before or after discovery. Default
    /// [`ProxyOrder::BeforeDiscovery`].
    pub fn proxy_order(mut self, order: ProxyOrder) -> Self {
        self.options.proxy_order = order;
        self
    }

    /// For how long senders to a node that could not be reached are told so at
    /// once, instead of trying again. Zero for no pause. Default 500 ms.
    pub fn retry_pause(mut self, pause: Duration) -> Self {
        self.options.retry_pause = pause;
        self
    }

    /// Who may pass through this node to others: it becomes a gateway. Without
    /// this, nobody may.
    pub fn transit(mut self, transit: TransitOptions) -> Self {
        self.options.transit = Some(transit);
        self
    }

    /// Whether connections are accepted that come through other nodes. Default:
    /// yes; whoever comes proves the cookie as all others do.
    pub fn accept_tunnels(mut self, accept: bool) -> Self {
        self.options.accept_tunnels = accept;
        self
    }

    /// How many links, monitors and subscriptions each peer may have here, at
    /// least one. Default 262,144.
    pub fn max_relations(mut self, relations: usize) -> Self {
        self.options.max_relations = relations.max(1);
        self
    }

    /// Adds errors that Ergo nodes have registered (`edf.RegisterError`), by their
    /// texts: answers and reasons that are one of them arrive there as that very
    /// error, which Go compares with `==`. Others arrive as an error with the same
    /// text. Ergo's own errors are among them anyway. Some hundreds of them are
    /// announced, as far as they fit (`docs/wire/EHS.md`), before the types.
    pub fn errors(mut self, texts: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.options.errors.extend(texts.into_iter().map(Into::into));
        self
    }

    /// What the node says it runs. Default: postroad itself.
    pub fn version(mut self, name: impl Into<String>, release: impl Into<String>) -> Self {
        self.version = Version::new(name, release);
        self
    }

    /// Whether the node tells other nodes about itself: spawns an
    /// [`Inspector`] under its [name](crate::inspect::NAME), which answers
    /// whoever may connect. Default: no.
    pub fn inspector(mut self, inspector: bool) -> Self {
        self.inspector = inspector;
        self
    }

    /// The types whose messages the node understands, in addition to those of
    /// its actors. Default: all that derive [`Message`](macro@crate::Message).
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Adds an application, which starts with the node, behind those that are
    /// there; see [`application`](crate::application).
    pub fn application(mut self, application: ApplicationSpec) -> Self {
        self.applications.push(application);
        self
    }

    /// How long applications and processes may take to end when the node is
    /// [stopped](Node::stop), before they are killed. Default 10 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout.min(FAR);
        self
    }

    /// Variables of the node. Default: none.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Whether processes that this node has others start inherit the
    /// environment of who asks: a process, or the node. Default: no, variables
    /// may be secrets.
    pub fn expose_env_remote_spawn(mut self, exposed: bool) -> Self {
        self.exposes.remote_spawn = exposed;
        self
    }

    /// Whether applications that this node has others start inherit its
    /// environment. Default: no.
    pub fn expose_env_remote_application_start(mut self, exposed: bool) -> Self {
        self.exposes.remote_application_start = exposed;
        self
    }

    /// Starts the node: listens, registers, then starts its applications. What fails leaves nothing behind.
    ///
    /// # Errors
    /// See [`StartError`]. Must be called within a tokio runtime with I/O and
    /// time; the node runs there.
    ///
    /// Cancellation: a dropped future leaves nothing behind; what had begun
    /// ends in the background.
    pub async fn start(mut self) -> Result<Node, StartError> {
        let name = node_name(&self.name)?;
        if let Some(network) = self.memory {
            self.options.ground = Ground::memory(network, name);
        }
        let ground = self.options.ground.clone();
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        for conflict in self.registry.conflicts() {
            tracing::error!(node = %name, %conflict, "two message types have one name, and from other nodes only the first arrives; say another with #[message(name = \"#package/Type\")]");
        }
        if let Err(error) = any::register(&self.registry) {
            tracing::error!(node = %name, %error, "past events of other nodes cannot be read");
        }
        let cookie = match self.cookie.filter(|cookie| !cookie.is_empty()) {
            Some(cookie) => cookie,
            // Nobody is shown it.
            None if self.mode == NetworkMode::Disabled => Cookie::new(""),
            None => invented_cookie(name),
        };
        let mut bound = Vec::new();
        let mut options = vec![self.options.tls.clone()];
        if self.mode == NetworkMode::Enabled {
            for acceptor in self.acceptors.unwrap_or_else(|| vec![AcceptorOptions::default()]) {
                bound.push(crate::network::bind(name.host(), &self.options, &acceptor).await?);
                options.push(acceptor.tls);
            }
        }
        let registrar: Option<Arc<dyn Registrar>> = match (self.mode, self.registrar) {
            (NetworkMode::Disabled, _) | (_, Discovery::None) => None,
            (_, Discovery::Custom(registrar)) => Some(registrar),
            _ if ground.registrar().is_some() => ground.registrar(),
            (NetworkMode::Hidden, Discovery::Embedded(options)) => {
                Some(Arc::new(Embedded::new(EmbeddedOptions { may_serve: false, ..options })))
            }
            (_, Discovery::Embedded(options)) => Some(Arc::new(Embedded::new(options))),
        };
        let node = Arc::new(NodeInner {
            name,
            creation: ground.creation(),
            started: Instant::now(),
            version: self.version,
            environment: Mutex::new(self.environment),
            exposes: self.exposes,
            processes: ProcessTable::new(),
            relations: Relations::default(),
            applications: Applications::default(),
            shutdown_timeout: self.shutdown_timeout,
            events: Default::default(),
            calls: Calls::default(),
            registry: self.registry,
            network: NetworkInner::new(self.mode, self.options, cookie, registrar),
            runtime,
            stopping: CancellationToken::new(),
            has_stopped: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            next_pid: AtomicU64::new(FIRST_PROCESS),
            // So that those of an earlier incarnation within the same second do not come again.
            next_reference: AtomicU64::new(ground.unix_time().as_nanos() as u64),
            live: AtomicUsize::new(0),
            drained: Notify::new(),
        });
        let mut starting = Starting { node: Node::from_inner(node), done: false };
        let node = &starting.node;
        for options in &options {
            Watched::add(&node.0, options);
        }
        let opened = async {
            // Before anybody can come in or be looked for.
            let network = node.network();
            network.add_routes(self.routes).map_err(StartError::Route)?;
            network.add_proxy_routes(self.proxy_routes).map_err(StartError::ProxyRoute)?;
            if self.inspector {
                Inspector::spawn(node).await?;
            }
            Ok(node.0.network.open(&node.0, bound).await?)
        };
        if let Err(error) = opened.await {
            node.stop().await;
            starting.done = true;
            return Err(error);
        }
        if let Err(error) = start_applications(node, self.applications).await {
            node.stop().await;
            starting.done = true;
            return Err(error.into());
        }
        tracing::info!(node = %name, creation = node.creation(), "node started");
        starting.done = true;
        Ok(starting.node.clone())
    }
}

/// Loads all before the first one starts: any may depend on any.
async fn start_applications(node: &Node, specs: Vec<ApplicationSpec>) -> Result<(), ApplicationError> {
    let loaded = specs.into_iter().map(|spec| node.load_application(spec));
    for name in loaded.collect::<Result<Vec<_>, _>>()? {
        match node.start_application(name.as_str()).await {
            // Another one needed it.
            Ok(()) | Err(ApplicationError::Running { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A node that stops if nobody waits for its start any more.
struct Starting {
    node: Node,
    done: bool,
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.done {
            self.node.0.begin_to_stop();
            let node = self.node.clone();
            self.node.0.runtime.spawn(async move { node.stop().await });
        }
    }
}
