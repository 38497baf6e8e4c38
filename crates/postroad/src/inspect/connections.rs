//! Connections in a line each.

use postroad_edf::Message;

use super::MAX_PAGE;
use super::tunnels::operation_names;
use crate::Atom;
use crate::network::{Network, PeerInfo};

/// A connection in a line.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ConnectionSummary")]
#[non_exhaustive]
pub struct ConnectionSummary {
    /// The node at the other end.
    pub peer: Atom,
    /// Its incarnation: Unix seconds at its start.
    pub creation: i64,
    /// What it says it runs.
    pub version: String,
    /// How long it has been running, in seconds by its own clock.
    pub uptime: u64,
    /// How long the connection has existed, in seconds.
    pub connected: u64,
    /// Whether the node that was asked dialed.
    pub dialed: bool,
    /// Why the node that was asked dialed which address; empty if it did not.
    pub road: String,
    /// How many links the connection has.
    pub links: u64,
    /// How many it should have.
    pub pool_size: u64,
    /// Frames that came in.
    pub frames_in: u64,
    /// Frames that went out.
    pub frames_out: u64,
    /// Bytes that came in behind the handshakes.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// All nodes on the way, the end that dialed first; empty if there is no
    /// other. Whoever stands between this node's neighbour and the peer is there
    /// by their word.
    pub path: Vec<Atom>,
    /// What may be done besides messages, as in
    /// [`TunnelSummary::operations`](super::TunnelSummary::operations), if the
    /// connection leads through other nodes. Of a direct one this says nothing:
    /// there the flags of the door or route tell.
    pub operations: Vec<String>,
    /// Bytes that came from the peer in tunnels that the node that was asked carries
    /// for others. It begins anew for a node that has no tunnel open if there have been
    /// more than a thousand others.
    pub transit_in: u64,
    /// Bytes that went to the peer in such tunnels.
    pub transit_out: u64,
}

/// Which connections to list: pages of them, by the names of the peers.
/// Answered with a [`ConnectionPage`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ListConnections")]
pub struct ListConnections {
    /// Those with peers of later names only: [`ConnectionPage::next`], or empty.
    pub after: String,
    /// How many at most; [`MAX_PAGE`] whatever is said here.
    pub limit: u32,
}

impl Default for ListConnections {
    /// The first page.
    fn default() -> Self {
        Self { after: String::new(), limit: MAX_PAGE }
    }
}

/// Some connections.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ConnectionPage")]
#[non_exhaustive]
pub struct ConnectionPage {
    /// The connections, by the names of the peers.
    pub connections: Vec<ConnectionSummary>,
    /// Where the next page begins: what to say as [`ListConnections::after`].
    /// Empty if this was the last one.
    pub next: String,
}

pub(super) fn list_connections(network: &Network, list: &ListConnections) -> ConnectionPage {
    let mut peers = network.peers();
    peers.retain(|peer| peer.name.as_str() > list.after.as_str());
    peers.sort_unstable_by_key(|peer| peer.name.as_str());
    let limit = list.limit.clamp(1, MAX_PAGE) as usize;
    let more = peers.len() > limit;
    peers.truncate(limit);
    let next = peers.last().filter(|_| more).map_or_else(String::new, |peer| peer.name.to_string());
    ConnectionPage { connections: peers.into_iter().map(ConnectionSummary::from).collect(), next }
}

impl From<PeerInfo> for ConnectionSummary {
    fn from(peer: PeerInfo) -> Self {
        Self {
            peer: peer.name,
            creation: peer.creation,
            version: peer.version,
            uptime: peer.uptime.as_secs(),
            connected: peer.connected.as_secs(),
            dialed: peer.dialed,
            road: peer.road.map_or_else(String::new, |road| road.to_string()),
            links: peer.links as u64,
            pool_size: peer.pool_size as u64,
            frames_in: peer.frames_in,
            frames_out: peer.frames_out,
            bytes_in: peer.bytes_in,
            bytes_out: peer.bytes_out,
            path: peer.path,
            operations: peer.operations.map_or_else(Vec::new, operation_names),
            transit_in: peer.transit_in,
            transit_out: peer.transit_out,
        }
    }
}
