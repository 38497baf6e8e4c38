//! What is known of the network, as data.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad_wire::{NetworkFlags, Version};
use tracing::level_filters::LevelFilter;

use super::NetworkMode;
use super::acceptor::AcceptorInfo;
use super::connection::Connection;
use super::event::Road;
use super::offers::OfferInfo;
use super::plan::{NoRoute, ProxyOrder};
use super::proxy_route::{NetworkProxyRoute, ProxyFlags};
use super::route::{NetworkRoute, OnFailure};
use super::routes::Entry;
use super::tunnel::TunnelInfo;
use crate::Atom;
use crate::node::NodeInner;

/// A connected node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its name.
    pub name: Atom,
    /// Its incarnation: Unix seconds at its start.
    pub creation: i64,
    /// How long it has been running, by its own clock.
    pub uptime: Duration,
    /// What program it says it runs.
    pub version: String,
    /// What it is willing to do over this connection.
    pub flags: NetworkFlags,
    /// How long the connection has existed.
    pub connected: Duration,
    /// Whether this node dialed.
    pub dialed: bool,
    /// By which road this node dialed.
    pub road: Option<Arc<Road>>,
    /// The handshake that was spoken.
    pub handshake: Version,
    /// The protocol that is spoken on its links.
    pub protocol: Version,
    /// How many links the connection has at this moment.
    pub links: usize,
    /// How many it should have.
    pub pool_size: usize,
    /// The longest frame the peer takes, in bytes.
    pub max_message_size: usize,
    /// Frames that came in: messages, requests, answers and signals.
    pub frames_in: u64,
    /// Frames that were sent.
    pub frames_out: u64,
    /// Bytes that came in behind the handshakes.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// All nodes on the way, both ends included; empty if there is no other.
    pub path: Vec<Atom>,
    /// What may be done over the connection, if it leads through other nodes.
    pub operations: Option<ProxyFlags>,
    /// Bytes that came from it through tunnels that this node carries.
    pub transit_in: u64,
    /// Bytes that went to it through tunnels that this node carries.
    pub transit_out: u64,
    /// How much of the peer is watched by how many processes here: pairs of a
    /// process and what it links with or monitors, events aside.
    pub watching: usize,
    /// How many links and monitors the peer has here: of its processes, or one of
    /// its own that stands for several.
    pub watched: usize,
}

impl PeerInfo {
    pub(super) fn of(connection: &Connection) -> Self {
        let counters = connection.counters();
        let through = connection.through();
        let (transit_in, transit_out) = connection.node().network.tunnels.transit_of(connection.peer.name);
        let (watching, watched) = connection.relation_counts();
        Self {
            name: connection.peer.name,
            creation: connection.peer.creation,
            uptime: connection.peer_uptime(),
            version: connection.peer.version.clone(),
            flags: connection.peer.flags,
            connected: connection.since.elapsed(),
            dialed: connection.was_dialed(),
            road: connection.road().cloned(),
            handshake: connection.stack.handshake.version(),
            protocol: connection.stack.protocol.version(),
            links: connection.link_count(),
            pool_size: connection.pool_size(),
            max_message_size: connection.limits.peer_max_frame,
            frames_in: counters.frames_in.load(Ordering::Relaxed),
            frames_out: connection.frames_out(),
            bytes_in: counters.bytes_in.load(Ordering::Relaxed),
            bytes_out: counters.bytes_out.load(Ordering::Relaxed),
            path: through.map_or_else(Vec::new, |through| through.path.clone()),
            operations: through.map(|through| through.operations.into()),
            transit_in,
            transit_out,
            watching,
            watched,
        }
    }
}

/// The network of a node at one moment. It holds no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NetworkInfo {
    /// Whether the node listens, and dials.
    pub mode: NetworkMode,
    /// The registrar that is asked where no static route leads; what it is.
    pub registrar: Option<String>,
    /// Where the node listens.
    pub acceptors: Vec<AcceptorInfo>,
    /// The longest frame that is accepted, in bytes.
    pub max_message_size: usize,
    /// The handshake that is spoken where no acceptor or route names another.
    pub handshake_version: Version,
    /// The protocol that is spoken where no acceptor or route names another.
    pub proto_version: Version,
    /// What peers may do, unless an acceptor or route allows less.
    pub flags: NetworkFlags,
    /// What happens when all static routes have failed, for routes that do not say.
    pub on_failure: OnFailure,
    /// Whether static proxy routes come before or after discovery.
    pub proxy_order: ProxyOrder,
    /// The connected nodes, by name.
    pub peers: Vec<PeerInfo>,
    /// The static routes, in the order they were added.
    pub routes: Vec<RouteInfo>,
    /// The static proxy routes, in the order they were added.
    pub proxy_routes: Vec<ProxyRouteInfo>,
    /// The processes that other nodes may start here, by name.
    pub spawns: Vec<OfferInfo>,
    /// The applications that other nodes may start here, by name.
    pub applications: Vec<OfferInfo>,
    /// The nodes that could not be reached a moment ago, by name.
    pub unreachable: Vec<RecentFailure>,
    /// How many answers and acknowledgements of other nodes are waited for.
    pub requests: usize,
    /// The rules by which others may pass through this node; none if nobody may.
    pub transit_rules: Vec<String>,
    /// The tunnels that are carried for others, oldest first.
    pub tunnels: Vec<TunnelInfo>,
}

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteInfo {
    /// The pattern.
    pub pattern: String,
    /// The weight: higher ones are tried first.
    pub weight: i64,
    /// Whether the registrar has handed it out.
    pub handed_out: bool,
    /// What resolver is asked for addresses; none if the route has its own.
    pub resolver: Option<String>,
    /// The host, if the route says.
    pub host: Option<String>,
    /// The port, if the route says.
    pub port: Option<u16>,
    /// Whether TLS is demanded.
    pub tls: bool,
    /// Whether the route has a cookie of its own.
    pub own_cookie: bool,
    /// What peers may do at most, if the route says.
    pub flags: Option<NetworkFlags>,
    /// How many atoms are said otherwise to the peer.
    pub mapped_atoms: usize,
    /// How much is logged about its connections, if the route says.
    pub log_level: Option<LevelFilter>,
    /// The handshake, if the route says.
    pub handshake_version: Option<Version>,
    /// The protocol, if the route says.
    pub proto_version: Option<Version>,
    /// How long each step of an attempt may take, if the route says.
    pub timeout: Option<Duration>,
    /// What happens when all routes have failed, if the route says.
    pub on_failure: Option<OnFailure>,
}

/// A static proxy route.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyRouteInfo {
    /// The pattern.
    pub pattern: String,
    /// The weight: higher ones are tried first.
    pub weight: i64,
    /// What resolver is asked for proxies, if any.
    pub resolver: Option<String>,
    /// The node to go through, if the route says.
    pub proxy: Option<String>,
    /// The only node that the route leads to, if it says.
    pub to: Option<String>,
    /// Whether the route has a cookie of its own.
    pub own_cookie: bool,
    /// What may be done through the tunnel.
    pub flags: ProxyFlags,
    /// Through how many nodes the way may lead at most.
    pub max_hop: u8,
    /// How long each step of an attempt may take, if the route says.
    pub timeout: Option<Duration>,
    /// What happens when all routes have failed, if the route says.
    pub on_failure: Option<OnFailure>,
}

/// A node that could not be reached a moment ago.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecentFailure {
    /// What was tried.
    pub no_route: Arc<NoRoute>,
    /// How long ago that was.
    pub age: Duration,
    /// For how long senders are still told so at once.
    pub left: Duration,
}

impl NetworkInfo {
    pub(super) fn of(node: &NodeInner) -> Self {
        let network = &node.network;
        let mut peers: Vec<PeerInfo> =
            network.connections.load().values().map(|connection| PeerInfo::of(connection)).collect();
        peers.sort_by_key(|peer| peer.name);
        let mut unreachable = network.dialing.unreachable.list();
        unreachable.sort_by_key(|failure| failure.no_route.name);
        let transit = network.tunnels.transit();
        let rules = transit.as_ref().map_or(&[][..], |transit| &transit.rules);
        Self {
            mode: network.mode,
            registrar: network.registrar.as_ref().map(|registrar| registrar.describe()),
            acceptors: network.acceptors.read().clone(),
            max_message_size: network.options.max_message_size,
            handshake_version: Version::ehs(),
            proto_version: Version::enp(),
            flags: network.offered(None),
            on_failure: network.options.on_failure,
            proxy_order: network.options.proxy_order,
            peers,
            routes: network.tables.routes.list().iter().map(|entry| RouteInfo::of(entry)).collect(),
            proxy_routes: network
                .tables
                .proxy_routes
                .list()
                .iter()
                .map(|entry| ProxyRouteInfo::of(entry))
                .collect(),
            spawns: network.spawns.list(),
            applications: network.applications.list(),
            unreachable,
            requests: node.calls.len(),
            transit_rules: rules.iter().map(ToString::to_string).collect(),
            tunnels: network.tunnels.list(),
        }
    }
}

impl RouteInfo {
    fn of(entry: &Entry<NetworkRoute>) -> Self {
        let NetworkRoute { host, port, resolver, on_failure, pins } = entry.route();
        Self {
            pattern: entry.pattern().to_owned(),
            weight: entry.weight(),
            handed_out: entry.is_handed_out(),
            resolver: resolver.as_ref().map(|resolver| resolver.describe()),
            host: said(host),
            port: Some(*port).filter(|port| *port != 0),
            tls: pins.tls.demand_tls(),
            own_cookie: pins.cookie.is_some(),
            flags: pins.flags,
            mapped_atoms: pins.mapping.as_ref().map_or(0, |mapping| mapping.len()),
            log_level: pins.log_level,
            handshake_version: pins.handshake_version.clone(),
            proto_version: pins.proto_version.clone(),
            timeout: pins.timeout,
            on_failure: *on_failure,
        }
    }
}

impl ProxyRouteInfo {
    fn of(entry: &Entry<NetworkProxyRoute>) -> Self {
        let route = entry.route();
        let (proxy, to) = route.names();
        Self {
            pattern: entry.pattern().to_owned(),
            weight: entry.weight(),
            resolver: route.resolver.as_ref().map(|resolver| resolver.describe()),
            proxy: said(proxy),
            to: said(to),
            own_cookie: route.cookie.is_some(),
            flags: route.flags,
            max_hop: route.max_hop,
            timeout: route.timeout,
            on_failure: route.on_failure,
        }
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
