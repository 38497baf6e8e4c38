//! How a node reaches other nodes: routes, connections and acceptors.

mod acceptor;
mod admission;
mod complaints;
mod connect;
mod connection;
mod demands;
mod dialing;
mod event;
mod factory;
mod ground;
mod handshake;
mod info;
mod introducing;
mod joinable;
mod log;
mod memory;
mod offers;
mod places;
mod plan;
mod probe;
mod protocol;
mod proxy_route;
mod refusal;
mod remote;
mod route;
pub mod routes;
mod routing;
mod stack;
mod tables;
mod trace;
mod transport;
mod tunnel;
mod unreachable;
mod way;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use parking_lot::{Mutex, RwLock};
use postroad_wire::{Cookie, NetworkFlags};
use rand::Rng;
use rand::distr::Alphanumeric;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::error::InvalidName;
use crate::node::NodeInner;
use crate::registrar::{
    Broken, Endpoint, LEAVE_PATIENCE, REGISTER_PATIENCE, RegisterError, Registered, Registrar, Registration,
    StaticRoute, guarded,
};
use crate::tls::{TlsOptions, Trust, Watched};
use crate::{Atom, Pid};

use self::complaints::{Complaints, Matter};
use self::factory::Factory;
use self::joinable::Joinable;
use self::offers::Offers;
use self::tables::Tables;

pub use self::acceptor::{AcceptorInfo, AcceptorOptions, DEFAULT_PORT};
pub(crate) use self::acceptor::{Bound, bind};
pub use self::connect::ConnectError;
pub(crate) use self::connection::AskError;
pub use self::connection::DownReason;
pub(crate) use self::connection::{Connection, Outgoing, WayBack};
pub use self::demands::Demand;
pub use self::event::{NetworkEvent, Road};
pub(crate) use self::ground::Ground;
pub(crate) use self::handshake::Handshakes;
pub use self::handshake::{
    Accepted, Admission, Dialer, Door, Ehs, Handshake, HandshakeError, HandshakeStream, Joiner, Place,
};
pub use self::info::{NetworkInfo, PeerInfo, ProxyRouteInfo, RecentFailure, RouteInfo};
pub use self::log::CONNECTION_LOG;
pub use self::memory::MemoryNetwork;
pub use self::offers::{DisableError, EnableError, Nodes, OfferInfo, OfferedTo};
pub use self::plan::{
    Answer, Attempt, AttemptError, Discovery, FailedAttempt, NoRoute, OwnName, Plan, PlanOptions, ProxyOrder,
    Reason, Resolve, Stage, Step, Tunnel,
};
pub use self::probe::{Probe, ProbeOutcome};
pub(crate) use self::protocol::Protocols;
pub use self::protocol::{FrameReader, FrameWriter, Mismatch, Protocol, ProtocolError};
pub use self::proxy_route::{DEFAULT_MAX_HOP, InvalidProxyRoute, NetworkProxyRoute, ProxyFlags};
pub(crate) use self::refusal::Refusal;
pub(crate) use self::remote::spawn_child;
pub use self::remote::{RemoteInfoError, RemoteNode, RemoteSpawnError, RemoteStartError};
pub use self::route::{InvalidRoute, NetworkRoute, OnFailure};
pub(crate) use self::routes::Written;
pub use self::routes::{
    AddRouteError, AddRoutesError, ChangeRoutesError, PatternWarning, RemoveRouteError, ReplaceRouteError,
    RouteChanges, exact,
};
pub use self::trace::{Hop, HopAnswer};
pub(crate) use self::transport::{ReadHalf, Stream, WriteHalf};
pub use self::tunnel::{
    NegotiationError, TransitOptions, TransitRule, TunnelError, TunnelInfo, TunnelRefusal,
};

/// Whether a node uses the network, and how openly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// It listens, registers and dials.
    #[default]
    Enabled,
    /// It dials, but does not listen and cannot be found.
    Hidden,
    /// It has no network: only local processes can be reached.
    Disabled,
}

/// What holds for all connections of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NetworkOptions {
    /// How many links (sockets) connections that are accepted have. The
    /// accepting side decides. Default 3.
    pub pool_size: u16,
    /// The longest frame that is accepted, in bytes, unpacked too. Default 128 MiB.
    pub max_message_size: usize,
    /// How long a TCP connection may take to be made. Default 3 s.
    pub dial_timeout: Duration,
    /// How long a whole handshake may take. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long connecting may take, all attempts together. Default 15 s.
    pub connect_timeout: Duration,
    /// How often a sign of life is given on each link, in whole seconds from 1
    /// to 255. With a peer that does the same, a link on which nothing came for
    /// three of the peer's periods is dead. Without it only the system's own
    /// probes notice a peer that is gone without a word. Default 15 s.
    pub keepalive: Option<Duration>,
    /// What happens when all static routes to a node have failed. Default
    /// [`OnFailure::Fail`]: the registrar is not asked.
    pub on_failure: OnFailure,
    /// TLS: certificates, whom to trust, and how peers are checked. Default:
    /// accepts without, dials with it where a route or registrar says so.
    pub tls: TlsOptions,
    /// What peers may do at most. What this version does not do stays off.
    /// Default: all of it.
    pub flags: NetworkFlags,
    /// The handshakes that routes and acceptors may name.
    pub(crate) handshakes: Handshakes,
    /// The protocols that they may name.
    pub(crate) protocols: Protocols,
    /// What the node stands on.
    pub(crate) ground: Ground,
    /// Whether static proxy routes come before or after discovery. Default
    /// [`ProxyOrder::BeforeDiscovery`].
    pub proxy_order: ProxyOrder,
    /// For how long senders to a node that could not be reached are told so at
    /// once, instead of trying everything again: a node that is down would else
    /// be dialed for each message to it. Changing routes or the cookie, and the
    /// node's own call, end the pause; [`Network::connect`] takes no notice of
    /// it. Zero for no pause. Default 500 ms.
    pub retry_pause: Duration,
    /// Who may pass through this node to others, to begin with; later see
    /// [`Network::set_transit`]. Default: nobody.
    pub transit: Option<TransitOptions>,
    /// Whether connections are accepted that come through other nodes, whose
    /// ends prove the cookie here as all others do. Default: yes.
    pub accept_tunnels: bool,
    /// How many links, monitors and subscriptions each peer may have here: they
    /// cost memory as long as the connection lives. Further ones are refused.
    /// Default 262,144.
    pub max_relations: usize,
    /// The errors of the program, by their texts, that peers know as their own:
    /// see [`NodeBuilder::errors`](crate::NodeBuilder::errors). Default: none.
    pub errors: Vec<Box<str>>,
}

/// What this version does for peers.
const OFFERED: NetworkFlags = NetworkFlags::ENABLE
    .with(NetworkFlags::FRAGMENTATION)
    .with(NetworkFlags::REMOTE_SPAWN)
    .with(NetworkFlags::REMOTE_APPLICATION_START)
    .with(NetworkFlags::IMPORTANT_DELIVERY)
    .with(NetworkFlags::ACK)
    .with(NetworkFlags::TUNNELS);

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            pool_size: 3,
            max_message_size: 128 << 20,
            dial_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(15),
            keepalive: Some(Duration::from_secs(15)),
            on_failure: OnFailure::Fail,
            tls: TlsOptions::default(),
            flags: OFFERED.with(NetworkFlags::PROXY_TRANSIT).with(NetworkFlags::PROXY_ACCEPT),
            handshakes: Handshakes::default(),
            protocols: Protocols::default(),
            ground: Ground::default(),
            proxy_order: ProxyOrder::BeforeDiscovery,
            retry_pause: Duration::from_millis(500),
            transit: None,
            accept_tunnels: true,
            max_relations: 1 << 18,
            errors: Vec::new(),
        }
    }
}

/// The network of a node: a handle, cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<NodeInner>);

impl Network {
    pub(crate) fn new(node: Arc<NodeInner>) -> Self {
        Self(node)
    }

    fn inner(&self) -> &NetworkInner {
        &self.0.network
    }

    fn node(&self) -> &Arc<NodeInner> {
        &self.0
    }

    /// Connects with a node, if there is no connection yet. Sending does this
    /// by itself; unlike that, this tries again also right after it failed.
    ///
    /// Cancel safe: the attempt goes on for others.
    pub async fn connect(&self, name: &str) -> Result<RemoteNode, ConnectError> {
        let name = crate::node::node_name(name)?;
        let connection = self.inner().connect(&self.0, name).await?;
        Ok(RemoteNode::new(self.0.clone(), &connection))
    }

    /// Connects with a node by this route, whatever the node's routes and
    /// registrar say; the route is not added. If there is a connection already
    /// that one is returned and nothing is dialed. A route with a resolver is
    /// tried with all addresses that it gives, in their order.
    ///
    /// Only one dial is made to a node at a time: one that is under way is
    /// waited for, and this route is tried if that one fails.
    ///
    /// # Errors
    /// [`ConnectError::Route`] if the route cannot be used at all;
    /// [`ConnectError::NoRoute`] says how each attempt ended.
    ///
    /// Cancel safe: the attempt goes on for others.
    pub async fn connect_with(&self, name: &str, route: NetworkRoute) -> Result<RemoteNode, ConnectError> {
        let name = crate::node::node_name(name)?;
        let connection = self.inner().connect_with(&self.0, name, route).await?;
        Ok(RemoteNode::new(self.0.clone(), &connection))
    }

    /// Ends the connection with a node, after handing over what was sent.
    /// False if there is none.
    pub async fn disconnect(&self, name: &str) -> bool {
        let Some(connection) = Atom::existing(name).and_then(|name| self.inner().connected(name)) else {
            return false;
        };
        connection.flush(FLUSH_PATIENCE).await;
        connection.shut_down(DownReason::Closed);
        true
    }

    /// The nodes this one is connected with.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.inner().connections.load().values().map(|connection| PeerInfo::of(connection)).collect()
    }

    /// The connection with a node, if there is one.
    pub fn peer(&self, name: &str) -> Option<PeerInfo> {
        let connection = self.inner().connected(Atom::existing(name)?)?;
        Some(PeerInfo::of(&connection))
    }

    /// Everything about the network at this moment, without secrets.
    pub fn info(&self) -> NetworkInfo {
        NetworkInfo::of(&self.0)
    }

    /// Whether the node uses the network, and how openly.
    pub fn mode(&self) -> NetworkMode {
        self.inner().mode
    }

    /// Where this node listens.
    pub fn acceptors(&self) -> Vec<AcceptorInfo> {
        self.inner().acceptors.read().clone()
    }

    /// Whether a process may change what the node does for others: it is one of
    /// this node, or its node came in by itself by an acceptor for
    /// [operators](AcceptorOptions::operators).
    pub(crate) fn is_operator(&self, asker: Pid) -> bool {
        if asker.node == self.0.name {
            return true;
        }
        let came_by = |connection: &Arc<Connection>| {
            let same = connection.peer.creation == asker.creation && connection.is_direct();
            connection.door().filter(|_| same)
        };
        let door = self.inner().with_connected(asker.node, came_by).flatten();
        let acceptors = self.inner().acceptors.read();
        door.is_some_and(|door| {
            acceptors.iter().any(|acceptor| acceptor.address == door && acceptor.operators)
        })
    }

    /// The node's registrar: who else is there, configuration, what changes.
    pub fn registrar(&self) -> Option<Arc<dyn Registrar>> {
        self.inner().registrar.clone()
    }

    /// What happens to connections from now on. A receiver that lags by more
    /// than 1024 events misses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<NetworkEvent> {
        self.inner().events.subscribe()
    }

    /// What the node says about TLS: its identity and trust, whose status tells
    /// what is loaded, and how peers are checked.
    pub fn tls(&self) -> &TlsOptions {
        &self.inner().options.tls
    }

    /// Changes the node's cookie for connections made from now on. Instead of an
    /// empty one, which everybody knows, the node invents one of its own.
    pub fn set_cookie(&self, cookie: impl Into<Cookie>) {
        let cookie = Some(cookie.into()).filter(|cookie| !cookie.is_empty());
        let cookie = cookie.unwrap_or_else(|| invented_cookie(self.0.name));
        *self.inner().cookie.write() = cookie;
        self.inner().try_again();
    }
}

/// A cookie for a node that was given none.
pub(crate) fn invented_cookie(node: Atom) -> Cookie {
    tracing::warn!(%node, "no cookie: invented one that nobody else knows");
    Cookie::new(rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect::<String>())
}

/// How long a connection that is closed on purpose may take to hand over what
/// was sent.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

type Connections = HashMap<Atom, Arc<Connection>, FixedState>;

/// The network's part of a node.
pub(crate) struct NetworkInner {
    pub(crate) options: NetworkOptions,
    /// Cancelled when nobody is let in any more.
    pub(crate) doors: CancellationToken,
    mode: NetworkMode,
    cookie: RwLock<Cookie>,
    tables: Tables,
    registrar: Option<Arc<dyn Registrar>>,
    /// The registrars to leave: the node's, and those of acceptors.
    entered: Mutex<Vec<Arc<dyn Registrar>>>,
    /// Read by every send to another node, changed under `changing`.
    connections: ArcSwap<Connections>,
    changing: Mutex<()>,
    /// Changed with them.
    joinable: Joinable,
    dialing: dialing::Dialing,
    /// What other nodes may start here.
    spawns: Offers<Factory>,
    applications: Offers<()>,
    acceptors: RwLock<Vec<AcceptorInfo>>,
    events: broadcast::Sender<NetworkEvent>,
    /// The system's trust store, once somebody was dialed who needs it.
    system_trust: Mutex<Option<Trust>>,
    tunnels: tunnel::Tunnels,
    /// What is logged about peers that may bring it about as often as they like.
    complaints: Complaints<(Atom, Matter)>,
    /// Certificates and keys that are kept as their files are.
    pub(crate) watched: Watched,
}

impl NetworkInner {
    pub(crate) fn new(
        mode: NetworkMode,
        options: NetworkOptions,
        cookie: Cookie,
        registrar: Option<Arc<dyn Registrar>>,
    ) -> Self {
        Self {
            tunnels: tunnel::Tunnels::new(options.transit.clone()),
            options,
            doors: CancellationToken::new(),
            mode,
            cookie: RwLock::new(cookie),
            tables: Tables::default(),
            registrar,
            entered: Mutex::default(),
            connections: ArcSwap::default(),
            changing: Mutex::default(),
            joinable: Joinable::default(),
            dialing: dialing::Dialing::default(),
            spawns: Offers::default(),
            applications: Offers::default(),
            acceptors: RwLock::default(),
            events: broadcast::channel(1024).0,
            system_trust: Mutex::default(),
            complaints: Complaints::default(),
            watched: Watched::default(),
        }
    }

    pub(crate) fn cookie(&self) -> Cookie {
        self.cookie.read().clone()
    }

    /// Lets callers in, and registers what the acceptors listen on: with the
    /// node's registrar, or with the acceptor's own.
    pub(crate) async fn open(&self, node: &Arc<NodeInner>, bound: Vec<Bound>) -> Result<(), RegisterError> {
        let mut endpoints = Vec::new();
        let mut apart: Vec<(Arc<dyn Registrar>, Vec<Endpoint>)> = Vec::new();
        for bound in &bound {
            let endpoint = Endpoint {
                host: bound.info.advertise_host.clone().unwrap_or_default(),
                port: bound.info.advertise_port,
                tls: bound.info.tls,
                handshake_version: bound.info.handshake.clone(),
                proto_version: bound.info.protocol.clone(),
            };
            let Some(own) = &bound.registrar else {
                endpoints.push(endpoint);
                continue;
            };
            match apart.iter_mut().find(|(registrar, _)| Arc::ptr_eq(registrar, own)) {
                Some((_, endpoints)) => endpoints.push(endpoint),
                None => apart.push((own.clone(), vec![endpoint])),
            }
        }
        *self.acceptors.write() = bound.iter().map(|bound| bound.info.clone()).collect();
        for acceptor in bound {
            acceptor::run(node, acceptor);
        }
        if let Some(registrar) = &self.registrar {
            let registered = self.register(node, registrar, endpoints).await?;
            self.add_handed_out(node, registered);
        }
        for (registrar, endpoints) in apart {
            self.register(node, &registrar, endpoints).await?;
        }
        tunnel::announce(node).await;
        Ok(())
    }

    async fn register(
        &self,
        node: &NodeInner,
        registrar: &Arc<dyn Registrar>,
        endpoints: Vec<Endpoint>,
    ) -> Result<Registered, RegisterError> {
        // To be left also if registering fails half way.
        self.entered.lock().push(registrar.clone());
        let registration = Registration { node: node.name, endpoints, runtime: node.runtime.clone() };
        match guarded(REGISTER_PATIENCE, || registrar.register(registration)).await {
            Ok(outcome) => outcome,
            Err(Broken::TimedOut) => {
                Err(RegisterError::Timeout { registrar: registrar.describe(), limit: REGISTER_PATIENCE })
            }
            Err(Broken::Panicked) => Err(RegisterError::Panicked { registrar: registrar.describe() }),
        }
    }

    /// Adds what the registrar hands out, for nodes to which nothing else leads.
    fn add_handed_out(&self, node: &Arc<NodeInner>, registered: Registered) {
        for StaticRoute { pattern, route, weight } in registered.routes {
            Watched::add(node, &route.pins.tls);
            let added = route.check_with(&self.options).map_err(AddRouteError::from);
            match added.and_then(|()| self.tables.routes.add_handed_out(&pattern, route, weight)) {
                Ok(warnings) => {
                    tracing::info!(node = %node.name, pattern, weight, "route from the registrar");
                    for warning in warnings {
                        tracing::warn!(node = %node.name, pattern, %warning, "check this route of the registrar");
                    }
                }
                Err(error) => {
                    tracing::warn!(node = %node.name, pattern, %error, "route from the registrar skipped");
                }
            }
        }
    }

    /// Leaves the registrars and lets nobody in any more.
    pub(crate) async fn close_doors(&self) {
        self.doors.cancel();
        let entered = std::mem::take(&mut *self.entered.lock());
        let patience = tokio::time::Instant::now() + LEAVE_PATIENCE;
        for registrar in entered {
            let left = patience.saturating_duration_since(tokio::time::Instant::now());
            if let Err(broken) = guarded(left, || registrar.leave()).await {
                tracing::warn!(
                    registrar = registrar.describe(),
                    ?broken,
                    "did not leave the registrar in order"
                );
            }
        }
    }

    /// Hands over what was sent, and ends all connections.
    pub(crate) async fn shut_down(&self) {
        // Behind the lock: whoever adopts a connection after this sees that the node stops.
        let mut connections: Vec<_> = {
            let _changing = self.changing.lock();
            self.connections.load().values().cloned().collect()
        };
        // In an order that does not depend on addresses: a simulated run can be repeated.
        connections.sort_unstable_by_key(|connection| connection.peer.name);
        let patience = tokio::time::Instant::now() + FLUSH_PATIENCE;
        for connection in &connections {
            connection.flush(patience.saturating_duration_since(tokio::time::Instant::now())).await;
        }
        for connection in connections {
            connection.shut_down(DownReason::Closed);
        }
    }

    /// The live connection with a node, if there is one.
    pub(crate) fn connected(&self, peer: Atom) -> Option<Arc<Connection>> {
        self.connections.load().get(&peer).cloned()
    }

    /// The connection with a node, if there is one that has not ended.
    fn live(&self, peer: Atom) -> Option<Arc<Connection>> {
        self.connected(peer).filter(|connection| !connection.is_down())
    }

    /// What could not be reached a moment ago is to be tried again.
    fn try_again(&self) {
        self.dialing.unreachable.clear();
    }

    /// Calls `with` with the live connection, without keeping it.
    pub(crate) fn with_connected<T>(
        &self,
        peer: Atom,
        with: impl FnOnce(&Arc<Connection>) -> T,
    ) -> Option<T> {
        self.connections.load().get(&peer).map(with)
    }
}

impl From<InvalidName> for ConnectError {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}
