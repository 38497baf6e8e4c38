//! What is known of a connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad_wire::NetworkFlags;

use super::connection::{Connection, uptime};
use crate::Atom;

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
}

impl PeerInfo {
    pub(super) fn of(connection: &Connection) -> Self {
        let counters = connection.counters();
        Self {
            name: connection.peer.name,
            creation: connection.peer.creation,
            uptime: uptime(connection.peer.creation),
            version: connection.peer.version.clone(),
            flags: connection.peer.flags,
            connected: connection.since.elapsed(),
            dialed: connection.was_dialed(),
            links: connection.link_count(),
            pool_size: connection.pool_size(),
            max_message_size: connection.limits.peer_max_frame,
            frames_in: counters.frames_in.load(Ordering::Relaxed),
            frames_out: connection.frames_out(),
            bytes_in: counters.bytes_in.load(Ordering::Relaxed),
            bytes_out: counters.bytes_out.load(Ordering::Relaxed),
        }
    }
}
