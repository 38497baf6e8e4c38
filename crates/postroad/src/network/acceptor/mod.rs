//! Listens, and hands accepted streams to the handshake.

mod options;
mod visit;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postroad_wire::Cookie;
use tokio::time::Instant;

use super::NetworkOptions;
use super::complaints::Complaints;
use super::connection::{Lock, Terms};
use super::handshake::{self, Arrived, HandshakeError};
use super::introducing::Introducing;
use super::log::{Log, log};
use super::places::{Place, Places};
use super::stack::Stack;
use super::transport::{Accepted, Listener, Stream};
use super::tunnel::{self, Through};
use crate::Atom;
use crate::error::StartError;
use crate::node::NodeInner;
use crate::registrar::Registrar;
use crate::tls::{Answering, TlsError};

use self::visit::Visit;

pub use self::options::{AcceptorInfo, AcceptorOptions, DEFAULT_PORT};

/// Whom complaints about clients in tunnels are counted for: all of them together.
const IN_A_TUNNEL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How many handshakes an acceptor carries on at once, and how many of them
/// with one address. As many in tunnels, for all acceptors, and for one gateway.
/// More are closed at once: the connection costs nothing yet.
pub(super) const HANDSHAKES: usize = 256;
pub(super) const HANDSHAKES_OF_ONE: usize = 64;

/// A bound listener that does not accept yet.
pub(crate) struct Bound {
    listener: Listener,
    cookie: Option<Cookie>,
    tls: Option<Answering>,
    weaker_than_routes: bool,
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
    let NetworkOptions { ground, handshakes, protocols, tls: node_tls, .. } = network;
    let version = options.handshake.clone().unwrap_or_default();
    let Some(handshake) = handshakes.get(&version) else {
        return Err(StartError::UnknownHandshake { version, known: handshakes.versions() });
    };
    let version = options.protocol.clone().unwrap_or_default();
    let Some(protocol) = protocols.get(&version) else {
        return Err(StartError::UnknownProtocol { version, known: protocols.versions() });
    };
    let host = options.bind_host.as_deref().unwrap_or(node_host);
    if options.advertise_port == Some(0) {
        let host = options.advertise_host.as_deref().unwrap_or(node_host).to_owned();
        return Err(StartError::NoAdvertisedPort { host });
    }
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
                        protocol: protocol.version(),
                        operators: options.operators,
                    };
                    let log = Log::new(options.log_level);
                    return Ok(Bound {
                        listener,
                        cookie,
                        registrar: options.registrar.clone(),
                        weaker_than_routes: options.weaker_than_routes,
                        terms: Terms {
                            mapping: options.mapping.clone().map(Arc::new),
                            log,
                            door: Some(address),
                            stack: Stack { handshake, protocol },
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
        terms: bound.terms,
        info: Some(bound.info),
        introducing: Introducing::default(),
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
    terms: Terms,
    /// Absent if nobody listens: for streams that this node dialed.
    info: Option<AcceptorInfo>,
    introducing: Introducing,
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
            let local = self.introducing.introduction(&node, terms.most());
            let timeout = node.network.options.handshake_timeout;
            handshake::accept(&self.terms.stack, stream, self.tls.as_ref(), local, cookie, timeout, &visit)
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
            // A load balancer asks whether the port is open; a node that leaves was dialing on.
            Err(error @ HandshakeError::NothingSaid) => {
                log!(self.terms.log, DEBUG, %from, %error, "no handshake")
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
            terms: Terms {
                mapping: None,
                log: Log::default(),
                door: None,
                stack: Stack::default(),
                flags: None,
                through: None,
            },
            info: None,
            introducing: Introducing::default(),
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
