//! What happens to connections.

use std::fmt;
use std::sync::Arc;

use super::connection::DownReason;
use super::plan::{FailedAttempt, NoRoute, Reason};
use super::route::write_address;
use crate::Atom;
use crate::registrar::Endpoint;

/// A change in who is connected, or an attempt that changed nothing.
///
/// Of one peer: each `Connected` is followed by exactly one `Disconnected`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A connection was made.
    Connected {
        /// The peer.
        peer: Atom,
        /// Whether this node dialed.
        dialed: bool,
        /// By which road this node dialed.
        road: Option<Arc<Road>>,
    },
    /// A connection ended: sent exactly once for each.
    Disconnected {
        /// The peer.
        peer: Atom,
        /// Why.
        reason: DownReason,
    },
    /// Something that was tried to reach a node failed; what is next is tried.
    RouteFailed {
        /// The node.
        peer: Atom,
        /// What was tried, how far it came, and why it failed.
        attempt: Arc<FailedAttempt>,
    },
    /// Everything that could be tried to reach a node failed. Senders are told
    /// so without another attempt for a while:
    /// [`NetworkOptions::retry_pause`](super::NetworkOptions::retry_pause).
    PlanFailed {
        /// The node.
        peer: Atom,
        /// What was tried.
        no_route: Arc<NoRoute>,
    },
}

/// By which road a connection was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Road {
    /// Why this address was dialed, or this tunnel opened.
    pub reason: Reason,
    /// The address, and whether TLS was used; nothing if the way led through
    /// other nodes.
    pub endpoint: Option<Endpoint>,
    /// All nodes on the way, both ends included; empty if there was no other.
    pub path: Vec<Atom>,
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.reason)?;
        match &self.endpoint {
            Some(endpoint) => {
                write_address(f, &endpoint.host, endpoint.port)?;
                f.write_str(if endpoint.tls { ", TLS" } else { "" })
            }
            None => {
                let between = self.path.get(1..self.path.len().saturating_sub(1)).unwrap_or_default();
                let names: Vec<_> = between.iter().map(|node| node.as_str()).collect();
                write!(f, "through {}", names.join(", "))
            }
        }
    }
}
