//! Everything that a node can tell about itself, as data.
//!
//! Within the program: [`Node::info`](crate::Node::info),
//! [`Node::processes`](crate::Node::processes),
//! [`Node::process_info`](crate::Node::process_info), and what an actor says of
//! its own state, [`Node::inspect`](crate::Node::inspect). Of the network, more
//! than goes over it: [`Network::info`](crate::Network::info).
//!
//! To other nodes, and so to `postroad ps`, `info`, `tree`, `connections` and
//! `tunnels`, an [`Inspector`] says the same: a process that answers requests. It exists
//! only where it is asked for:
//! [`NodeBuilder::inspector`](crate::NodeBuilder::inspector).
//!
//! Nothing here holds a secret: no cookie, no key, no message.

mod answers;
mod connections;
mod inspector;
mod items;
mod node;
mod processes;
mod tunnels;

use std::time::Duration;

pub use connections::{ConnectionPage, ConnectionSummary, ListConnections};
pub use inspector::{DescribeNode, DescribeProcess, Inspector, MAX_LISTED, NAME, ProcessReport};
pub use items::{Item, Items};
pub use node::NodeInfo;
pub(crate) use node::describe_node;
pub use processes::{Depths, ListProcesses, ProcessInfo, ProcessPage, ProcessState, ProcessSummary};
pub(crate) use processes::{ask, describe_process, list_processes};
pub use tunnels::{CloseTunnel, DrainTransit, ListTunnels, TunnelPage, TunnelSummary};

/// The most entries a page has, whatever is asked for.
pub const MAX_PAGE: u32 = 1000;

/// Why a node or a process could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// No such process on this node.
    #[error("unknown process")]
    ProcessUnknown,
    /// The process ended before it told about its state.
    #[error("process terminated")]
    ProcessTerminated,
    /// As many as may ask a process at a time wait for it already.
    #[error("busy: {waiting} wait for the same process; ask again later")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// As many answers as the inspector gives at a time are on their way: to
    /// this node, or to all.
    #[error("busy: {waiting} answers are on their way to you, and others elsewhere; ask again later")]
    BusyAnswering {
        /// How many are on their way to this node.
        waiting: usize,
    },
    /// The process did not come to tell about its state in time: it is still in
    /// a handler, or in its `init`.
    #[error("timed out after {0:?}: the process is in the middle of a handler")]
    Timeout(Duration),
    /// [`Actor::inspect`](crate::Actor::inspect) panicked. The process lives on.
    #[error("the process panicked while it told about its state")]
    Panicked,
    /// There is no such tunnel.
    #[error("unknown tunnel")]
    TunnelUnknown,
    /// Who asks is no operator of this node.
    #[error("not allowed")]
    NotAllowed,
    /// This node has been stopped.
    #[error("node terminated")]
    NodeStopped,
}
