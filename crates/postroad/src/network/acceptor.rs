//! Listens, and hands accepted streams to the handshake.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postroad_edf::AtomMapping;
use postroad_wire::ehs::{Introduction, JoinRequest};
use postroad_wire::tunnel::Visitor;
use postroad_wire::{Cookie, NetworkFlags, Version};
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::NetworkOptions;
use super::complaints::Complaints;
use super::connection::{Connection, Lock, Reservation, Terms};
use super::demands::Shown;
use super::handshake::{self, Arrived, Doorkeeper, Ehs, Handshake, HandshakeError};
use super::log::{Log, log};
use super::places::{Place, Places};
use super::transport::{Accepted, Listener, Stream};
use super::tunnel::{self, Through};
use crate::Atom;
use crate::error::StartError;
use crate::node::NodeInner;
use crate::registrar::{BoxFuture, Registrar};
use crate::tls::{Answering, ClientAuth, TlsError, TlsOptions};

/// The port acceptors try first: Ergo's default.
pub const DEFAULT_PORT: u16 = 11144;

/// Whom complaints about clients in tunnels are counted for: all of them together.
const IN_A_TUNNEL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How many handshakes an acceptor carries on at once, and how many of them
/// with one address. As many in tunnels, for all acceptors, and for one gateway. More are closed at once: the connection costs nothing yet.
pub(super) const HANDSHAKES: usize = 256;
pub(super) const HANDSHAKES_OF_ONE: usize = 64;

/// How long a link may wait until it can join. The peer is often a little ahead:
/// it joins as soon as the handshake is finished for its side, and brings a new
/// link as soon as it has noticed the end of the old one. A stock node waits one
/// second for the answer.
const JOIN_PATIENCE: Duration = Duration::from_millis(500);

/// Where a node listens, and what it tells others about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcceptorOptions {
    /// The host name or address to bind; the host part of the node's name
    /// if absent.
    pub bind_host: Option<String>,
    /// The first port to try; 0 lets the system choose one.
    pub port: u16,
    /// How many ports to try, from `port` upwards.
    pub port_count: u16,
    /// The host that others are told to dial, if it is not the host part of the
    /// node's name (NAT, containers).
    pub advertise_host: Option<String>,
    /// The port that others are told to dial, if it is not the one listened on.
    pub advertise_port: Option<u16>,
    /// The cookie of whoever comes in here; the node's if absent or empty.
    pub cookie: Option<Cookie>,
    /// What holds for TLS here; what is not said holds as the node says it. The
    /// acceptor speaks TLS if it or the node has an identity.
    pub tls: TlsOptions,
    /// Whether it is without TLS although there is an identity.
    pub plain: bool,
    /// Whether nodes are let in also if a static route to them demands more than
    /// they show here. Default false.
    pub weaker_than_routes: bool,
    /// The handshake that is spoken here, one that the node knows; [`Ehs`](super::Ehs)
    /// if absent.
    pub handshake: Option<Version>,
    /// What whoever comes in here may do at most; what the node allows if absent.
    pub flags: Option<NetworkFlags>,
    /// Which atoms are said otherwise to whoever comes in here.
    pub mapping: Option<AtomMapping>,
    /// How much is logged about who comes in here, under the target
    /// [`CONNECTION_LOG`](super::CONNECTION_LOG).
    pub log_level: Option<LevelFilter>,
    /// Whether who comes in here may change what the node does for others: close
    /// its tunnels, drain it. Default false.
    pub operators: bool,
    /// The registrar that is told about this acceptor; the node's if absent.
    pub registrar: Option<Arc<dyn Registrar>>,
}

impl Default for AcceptorOptions {
    /// Binds the node's host, ports from 11144 up to 50000, as Ergo does.
    fn default() -> Self {
        Self {
            bind_host: None,
            port: DEFAULT_PORT,
            port_count: 50000 - DEFAULT_PORT,
            advertise_host: None,
            advertise_port: None,
            cookie: None,
            tls: TlsOptions::default(),
            plain: false,
            weaker_than_routes: false,
            handshake: None,
            flags: None,
            mapping: None,
            log_level: None,
            operators: false,
            registrar: None,
        }
    }
}

impl AcceptorOptions {
    /// Listens on exactly this address. Port 0 lets the system choose.
    pub fn bind(host: impl Into<String>, port: u16) -> Self {
        Self { bind_host: Some(host.into()), port, port_count: 1, ..Self::default() }
    }

    /// Tries this many ports from the first one upwards.
    pub fn port_count(mut self, count: u16) -> Self {
        self.port_count = count;
        self
    }

    /// Tells others to dial this address instead of the one listened on.
    pub fn advertise(mut self, host: impl Into<String>, port: u16) -> Self {
        self.advertise_host = Some(host.into());
        self.advertise_port = Some(port);
        self
    }

    /// Demands this cookie from whoever comes in here. An empty one stands for
    /// the node's.
    pub fn cookie(mut self, cookie: impl Into<Cookie>) -> Self {
        self.cookie = Some(cookie.into());
        self
    }

    /// What holds for TLS here; what is not said holds as the node says it.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = tls;
        self
    }

    /// Accepts without TLS, also if the node has an identity or asks clients
    /// for theirs. What this acceptor itself says about TLS contradicts it.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Lets nodes in also if this node's static routes to them demand more than
    /// they show here: TLS, a cookie of the route's own, a certificate that is
    /// checked as the route says. Without this they are refused, because messages
    /// to them would take the connection that they made. It is needed where a
    /// peer cannot show as much when it dials: Ergo nodes show no certificates.
    pub fn weaker_than_routes(mut self) -> Self {
        self.weaker_than_routes = true;
        self
    }

    /// Whether a node that says `node` about TLS can start with this acceptor,
    /// as far as TLS is concerned.
    ///
    /// # Errors
    /// What is missing, or would have no effect although somebody relies on it.
    pub fn check_tls(&self, node: &TlsOptions) -> Result<(), TlsError> {
        self.answering(node).map(drop)
    }

    /// How to answer with TLS, if this acceptor does.
    fn answering(&self, node: &TlsOptions) -> Result<Option<Answering>, TlsError> {
        let TlsOptions { trust, verify, client_auth, .. } = &self.tls;
        let asks = |client_auth: Option<ClientAuth>| client_auth.unwrap_or_default() != ClientAuth::None;
        let tls = self.tls.over(node);
        if self.plain && (self.tls.demand_tls() || asks(*client_auth)) {
            return Err(TlsError::PlainWithTls);
        }
        if (trust.is_some() || verify.is_some()) && !asks(tls.client_auth) {
            return Err(TlsError::ClientsNotAsked);
        }
        let wanted = tls.identity.is_some() || tls.required == Some(true) || asks(tls.client_auth);
        if self.plain || !wanted { Ok(None) } else { Answering::new(&tls).map(Some) }
    }

    /// Speaks this handshake, which the node must know
    /// ([`NodeBuilder::handshake`](crate::NodeBuilder::handshake)).
    pub fn handshake(mut self, version: Version) -> Self {
        self.handshake = Some(version);
        self
    }

    /// Allows whoever comes in here at most this. What is asked for in spite
    /// of it is refused.
    pub fn network_flags(mut self, flags: NetworkFlags) -> Self {
        self.flags = Some(flags);
        self
    }

    /// Says other names to whoever comes in here, as
    /// [`NetworkRoute::atom_mapping`](super::NetworkRoute::atom_mapping) does.
    pub fn atom_mapping(mut self, mapping: AtomMapping) -> Self {
        self.mapping = Some(mapping).filter(|mapping| !mapping.is_empty());
        self
    }

    /// Logs about the connections that come in here up to this level, as
    /// [`NetworkRoute::log_level`](super::NetworkRoute::log_level) does.
    pub fn log_level(mut self, level: LevelFilter) -> Self {
        self.log_level = Some(level);
        self
    }

    /// Takes whoever comes in here for an operator, who may close tunnels and
    /// drain the node by asking its [`Inspector`](crate::inspect::Inspector). Give
    /// the acceptor a cookie of its own, or certificates to ask for: else every
    /// peer is one. Who comes in through a tunnel is none.
    pub fn operators(mut self) -> Self {
        self.operators = true;
        self
    }

    /// Tells this registrar about the acceptor, and the node's does not hear of
    /// it. It is not asked for other nodes; routes that it hands out are dropped.
    pub fn registrar(mut self, registrar: Arc<dyn Registrar>) -> Self {
        self.registrar = Some(registrar);
        self
    }
}

/// A listening acceptor, as [`Network::acceptors`](super::Network::acceptors) shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptorInfo {
    /// The address it listens on.
    pub address: SocketAddr,
    /// The host that others are told, if it is not that of the node's name.
    pub advertise_host: Option<String>,
    /// The port that others are told.
    pub advertise_port: u16,
    /// Whether it has a cookie of its own.
    pub own_cookie: bool,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The handshake that it speaks.
    pub handshake: Version,
    /// Whether who comes in here is an operator.
    pub operators: bool,
}

/// A bound listener that does not accept yet.
pub(crate) struct Bound {
    listener: Listener,
    cookie: Option<Cookie>,
    tls: Option<Answering>,
    weaker_than_routes: bool,
    handshake: Arc<dyn Handshake>,
    terms: Terms,
    pub(super) registrar: Option<Arc<dyn Registrar>>,
    pub(crate) info: AcceptorInfo,
}

/// Binds the first free port of the range.
pub(crate) async fn bind(
    node_host: &str,
    network: &NetworkOptions,
    options: &AcceptorOptions,
) -> Result<Bound, StartError> {
    let NetworkOptions { ground, handshakes, tls: node_tls, .. } = network;
    let version = options.handshake.clone().unwrap_or_default();
    let Some(handshake) = handshakes.get(&version) else {
        return Err(StartError::UnknownHandshake { version, known: handshakes.versions() });
    };
    let host = options.bind_host.as_deref().unwrap_or(node_host);
    let tls = options.answering(node_tls).map_err(|source| StartError::Tls {
        host: host.to_owned(),
        port: options.port,
        source,
    })?;
    let cookie = options.cookie.clone().filter(|cookie| !cookie.is_empty());
    let last = options.port.saturating_add(options.port_count.saturating_sub(1));
    let failed = |source| StartError::Listen { host: host.to_owned(), first: options.port, last, source };
    let addresses = ground.look_up(host, options.port).await.map_err(failed)?;
    let mut error = std::io::Error::new(std::io::ErrorKind::NotFound, "the host name has no address");
    for port in options.port..=last {
        for address in &addresses {
            match ground.listen(SocketAddr::new(address.ip(), port)) {
                Ok(listener) => {
                    let address = listener.local_addr().map_err(failed)?;
                    let info = AcceptorInfo {
                        address,
                        advertise_host: options.advertise_host.clone(),
                        advertise_port: options.advertise_port.unwrap_or(address.port()),
                        own_cookie: cookie.is_some(),
                        tls: tls.is_some(),
                        handshake: handshake.version(),
                        operators: options.operators,
                    };
                    let log = Log::new(options.log_level);
                    return Ok(Bound {
                        listener,
                        cookie,
                        registrar: options.registrar.clone(),
                        weaker_than_routes: options.weaker_than_routes,
                        handshake,
                        terms: Terms {
                            mapping: options.mapping.clone(),
                            log,
                            door: Some(address),
                            flags: options.flags,
                            through: None,
                        },
                        tls,
                        info,
                    });
                }
                Err(busy) => error = busy,
            }
        }
    }
    Err(failed(error))
}

/// Accepts until the node stops. Each handshake runs by itself, within one
/// deadline: a silent or slow client holds up nobody.
pub(crate) fn run(node: &Arc<NodeInner>, bound: Bound) {
    let acceptor = Arc::new(Acceptor {
        node: node.clone(),
        cookie: bound.cookie,
        tls: bound.tls,
        weaker_than_routes: bound.weaker_than_routes,
        handshake: bound.handshake,
        terms: bound.terms,
        info: Some(bound.info),
        places: Places::new(HANDSHAKES, HANDSHAKES_OF_ONE),
        complaints: Arc::default(),
    });
    let doors = node.network.doors.clone();
    node.tasks.spawn_on(
        async move {
            tokio::select! {
                () = doors.cancelled() => {}
                () = acceptor.accept_all(bound.listener) => {}
            }
        },
        &node.runtime,
    );
}

/// Where handshakes are answered.
pub(super) struct Acceptor {
    node: Arc<NodeInner>,
    cookie: Option<Cookie>,
    tls: Option<Answering>,
    weaker_than_routes: bool,
    handshake: Arc<dyn Handshake>,
    terms: Terms,
    /// Absent if nobody listens: for streams that this node dialed.
    info: Option<AcceptorInfo>,
    places: Arc<Places<IpAddr>>,
    complaints: Arc<Complaints>,
}

impl Acceptor {
    async fn accept_all(self: Arc<Self>, mut listener: Listener) {
        loop {
            match listener.accept().await {
                Ok((accepted, from)) => match self.places.take(from.ip()) {
                    Some(place) => {
                        let acceptor = self.clone();
                        let serve = async move { acceptor.serve(accepted, from, place).await };
                        self.node.tasks.spawn_on(serve, &self.node.runtime);
                    }
                    None => {
                        if let Some(unsaid) = self.complaints.about(from.ip()) {
                            tracing::warn!(%from, unsaid, "too many handshakes under way: connection closed");
                        }
                    }
                },
                Err(error) => {
                    tracing::warn!(address = ?self.terms.door, %error, "cannot accept");
                    // Out of file descriptors, most likely: give others time to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, accepted: Accepted, from: SocketAddr, place: Place<IpAddr>) {
        match accepted.prepare() {
            Ok(stream) => self.shake_hands(stream, &from, from.ip(), None, place).await,
            Err(error) => log!(self.terms.log, WARN, %from, %error, "handshake failed"),
        }
    }

    /// Answers somebody who dialed, or came through a tunnel.
    async fn shake_hands(
        self: Arc<Self>,
        stream: Stream,
        from: &(dyn std::fmt::Display + Sync),
        source: IpAddr,
        through: Option<Arc<Through>>,
        place: impl Send,
    ) {
        let node = self.node.clone();
        let begun = Instant::now();
        let cookie = self.cookie.clone().unwrap_or_else(|| node.network.cookie());
        let lock = Lock { tls: self.tls.is_some(), cookie: cookie.clone() };
        let terms = Terms { through, ..self.terms.clone() };
        let visit = Visit { acceptor: &self, terms: &terms, lock: lock.clone(), admitted: OnceLock::new() };
        let handshake = async {
            let local = node.network.introduction(&node, terms.most());
            let timeout = node.network.options.handshake_timeout;
            handshake::accept(&*self.handshake, stream, self.tls.as_ref(), local, cookie, timeout, &visit)
                .await
        };
        let outcome = tokio::select! {
            () = node.network.doors.cancelled() => return,
            outcome = handshake => outcome,
        };
        match outcome {
            Ok((stream, Arrived::Connection(established))) => {
                drop(place);
                let took = begun.elapsed();
                node.network.accepted(&node, stream, established, terms.clone(), lock, took).await;
            }
            Ok((stream, Arrived::Link(place, tail))) => place.0.fill(stream, tail),
            Ok((stream, Arrived::Side(guest))) => {
                let serving = tunnel::received(stream, guest, Some(&self), place);
                node.stopping.run_until_cancelled(serving).await;
            }
            Err(HandshakeError::Duplicate(peer)) => {
                log!(self.terms.log, DEBUG, %from, %peer, "second connection refused")
            }
            Err(error) => {
                if let Some(unsaid) = self.complaints.about(source) {
                    log!(self.terms.log, WARN, %from, %error, unsaid, "handshake failed");
                }
            }
        }
    }

    /// Answers whoever has come through a tunnel.
    pub(super) async fn serve_tunnel(
        self: Arc<Self>,
        stream: Stream,
        through: Arc<Through>,
        place: Place<Atom>,
    ) {
        let from = format!("{:?}", through.path);
        self.shake_hands(stream, &from, IN_A_TUNNEL, Some(through), place).await;
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The door for those who come by streams that this node dialed: what the
    /// node says holds for them. None if it cannot answer with TLS as it says:
    /// then it lets nobody in.
    pub(super) fn behind(node: &Arc<NodeInner>) -> Option<Arc<Self>> {
        let guests = &node.network.tunnels.guests;
        let tls = guests.tls.get_or_init(|| {
            let tls = AcceptorOptions::default().answering(&node.network.options.tls);
            tls.inspect_err(|error| {
                tracing::warn!(node = %node.name, %error, "nobody can come in through tunnels that are dialed back for");
            })
        });
        let tls = tls.as_ref().ok()?.clone();
        Some(Arc::new(Self {
            node: node.clone(),
            cookie: None,
            tls,
            weaker_than_routes: false,
            handshake: Arc::new(Ehs),
            terms: Terms { mapping: None, log: Log::default(), door: None, flags: None, through: None },
            info: None,
            places: Places::new(0, 0),
            complaints: guests.complaints.clone(),
        }))
    }
}

/// What those have in common who come through tunnels.
#[derive(Debug)]
pub(super) struct Guests {
    /// For their handshakes, by the gateway that brings them.
    pub(super) places: Arc<Places<Atom>>,
    complaints: Arc<Complaints>,
    /// How those are answered with TLS who come by streams that this node dialed.
    tls: OnceLock<Result<Option<Answering>, TlsError>>,
}

impl Default for Guests {
    fn default() -> Self {
        let places = Places::new(HANDSHAKES, HANDSHAKES_OF_ONE);
        Self { places, complaints: Arc::default(), tls: OnceLock::new() }
    }
}

/// A stream that was accepted, until it is known what it is.
struct Visit<'a> {
    acceptor: &'a Acceptor,
    terms: &'a Terms,
    lock: Lock,
    /// The peer, once it was let in to make a connection.
    admitted: OnceLock<Atom>,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.admitted.get() {
            self.acceptor.node.network.has_met(*peer);
        }
    }
}

impl Visit<'_> {
    /// Whether it is that connection, and came in here: what one acceptor
    /// demands is not to be got around by way of another. Nobody brings anything
    /// to a connection that this node dialed.
    fn is_meant(&self, connection: &Connection, id: &str) -> bool {
        connection.id == id && connection.door == self.terms.door && !connection.was_dialed()
    }

    /// Whether a link of the connection may come this way: a direct one of a
    /// direct connection, and through a tunnel one that allows no less.
    fn leads_as_far(&self, connection: &Connection) -> bool {
        match (&self.terms.through, connection.through()) {
            (None, None) => true,
            (Some(way), Some(_)) => way.operations.allow(connection.permitted()),
            _ => false,
        }
    }
}

impl Doorkeeper for Visit<'_> {
    fn made_with(&self, connection_id: &str) -> Option<Cookie> {
        let connections = self.acceptor.node.network.connections.load();
        let made = connections.values().find(|connection| self.is_meant(connection, connection_id));
        made.map(|connection| connection.lock.cookie.clone())
    }

    fn admit_link<'a>(&'a self, request: &'a JoinRequest) -> BoxFuture<'a, Option<Reservation>> {
        let network = &self.acceptor.node.network;
        let admitted = async move {
            let wanted = |connection: &Connection| {
                self.is_meant(connection, &request.connection_id)
                    && self.leads_as_far(connection)
                    && connection.lock.cookie == request.cookie
            };
            let connection = network.arrival(request.node, wanted).await;
            if connection.join_salt_is_new(&request.salt) { connection.reserve().await } else { None }
        };
        Box::pin(async { tokio::time::timeout(JOIN_PATIENCE, admitted).await.unwrap_or(None) })
    }

    fn admit_side<'a>(&'a self, visitor: &'a Visitor) -> BoxFuture<'a, Option<Arc<Connection>>> {
        let network = &self.acceptor.node.network;
        Box::pin(async move {
            let wanted = |connection: &Connection| {
                self.is_meant(connection, &visitor.connection_id)
                    && self.leads_as_far(connection)
                    && connection.lock.cookie == visitor.cookie
            };
            let arrival = network.arrival(visitor.node, wanted);
            tokio::time::timeout(JOIN_PATIENCE, arrival).await.ok()
        })
    }

    fn expects(&self, node: Atom) -> bool {
        self.terms.through.as_ref().is_none_or(|through| through.client() == Some(node))
    }

    fn admit_peer<'a>(
        &'a self,
        peer: &'a Introduction,
        stream: &'a Stream,
    ) -> BoxFuture<'a, Result<(), HandshakeError>> {
        Box::pin(self.admit_peer(peer, stream))
    }

    fn admitted(&self) -> Option<Atom> {
        self.admitted.get().copied()
    }

    fn pool(&self, stream: &Stream) -> (u16, Vec<String>) {
        let links = self.acceptor.node.network.options.pool_size;
        let Some(info) = &self.acceptor.info else { return (links, Vec::new()) };
        let address = match (&info.advertise_host, stream.local_addr()) {
            (Some(host), _) => format!("{host}:{}", info.advertise_port),
            (None, Ok(address)) => address.to_string(),
            (None, Err(_)) => info.address.to_string(),
        };
        (links, vec![address])
    }
}

impl Visit<'_> {
    async fn admit_peer(&self, peer: &Introduction, stream: &Stream) -> Result<(), HandshakeError> {
        let (node, peer, creation) = (&self.acceptor.node, peer.node, peer.creation);
        let shown = Shown {
            tls: stream.has_tls(),
            cookie: &self.lock.cookie,
            own_cookie: self.acceptor.info.as_ref().is_some_and(|info| info.own_cookie),
            checked_by: self.acceptor.tls.as_ref().filter(|_| stream.client_has_shown_certificate()),
        };
        if !self.acceptor.weaker_than_routes
            && let Some((pattern, demand)) = node.network.demanded(node.name, peer, &shown)
        {
            return Err(HandshakeError::WeakerThanRoute { peer, pattern, demand });
        }
        // A handshake that asks twice is owed one end.
        let first = self.admitted.get().is_none();
        let admitted = first && node.network.admits(node, peer, creation, &self.lock).await;
        if admitted && self.admitted.set(peer).is_ok() {
            Ok(())
        } else {
            Err(HandshakeError::Duplicate(peer))
        }
    }
}
