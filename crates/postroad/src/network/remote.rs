//! What this node has another node do.

mod applications;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::{Message, Payload};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::any::{self, Generation, ProcessOptions, Request, Spawn};
use postroad_wire::tunnel::Operations;

use super::connection::{Connection, init_limit};
use super::{AskError, ConnectError, PeerInfo, Refusal};
use crate::actor::Watched;
use crate::error::{InvalidName, RelationError, SendError};
use crate::node::NodeInner;
use crate::process::{
    Compression, CompressionLevel, CompressionMethod, Environment, Origin, Priority, Process, Relation,
    SpawnOptions,
};
use crate::{Atom, ExitReason, Pid};

pub use applications::{RemoteInfoError, RemoteStartError};

/// Another node, with which this one is or was connected: connected anew by
/// what needs it.
#[derive(Clone)]
pub struct RemoteNode {
    node: Arc<NodeInner>,
    info: PeerInfo,
}

/// Why another node started no process.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteSpawnError {
    /// A name is empty, too long, or not that of a node.
    #[error("not a name: {0}")]
    Name(#[from] InvalidName),
    /// There is no connection with the node.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request was not sent: the arguments cannot be encoded, or are too large.
    #[error(transparent)]
    Send(SendError),
    /// The node is this one, or it starts nothing for this one: its operator
    /// enables that, for this node or for all. Or it is reached through gateways,
    /// and they or the proxy route do not allow it.
    #[error(
        "not allowed: {node} is this node itself, does not start that for this node, or not through the gateways in between"
    )]
    NotAllowed {
        /// The other node.
        node: Atom,
    },
    /// Nothing is enabled there under this name.
    #[error("unknown name: {node} has nothing enabled as {name}")]
    NameUnknown {
        /// The other node.
        node: Atom,
        /// What was asked for.
        name: Atom,
    },
    /// A process there has the name that the new one was to have.
    #[error("resource is taken: a process of that name is running on {node}")]
    NameTaken {
        /// The other node.
        node: Atom,
    },
    /// The actor there takes other arguments, or the name that the process was
    /// to have is none.
    #[error("incorrect value or argument: {node} cannot make the process of these arguments")]
    Arguments {
        /// The other node.
        node: Atom,
    },
    /// It was not started, for this reason: most often what its `init` said.
    #[error("init failed: {0}")]
    Init(ExitReason),
    /// The `init` of the process did not end in time: there is no process.
    #[error(
        "timed out: init did not end within {limit:?} on {node}; SpawnOptions::init_timeout gives it up to 15 s"
    )]
    InitTimeout {
        /// The other node.
        node: Atom,
        /// How long it was given.
        limit: Duration,
    },
    /// The node did not answer in time. The process may have begun all the same.
    #[error("timed out: {node} did not answer within {limit:?}")]
    Timeout {
        /// The other node.
        node: Atom,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection ended before the node answered. The process may have
    /// begun all the same.
    #[error("lost the connection with {node} while waiting for its answer")]
    NoConnection {
        /// The other node.
        node: Atom,
    },
    /// The process has begun, but its parent could not be linked to it
    /// ([`SpawnOptions::link_child`]).
    #[error("{pid} has begun, but is not linked to: {error}")]
    NotLinked {
        /// The process.
        pid: Pid,
        /// Why it is not linked to: most often it has ended already.
        error: RelationError,
    },
    /// The node answered something that is no process of its own.
    #[error("{node} answered without a process of its own")]
    Malformed {
        /// The other node.
        node: Atom,
    },
}

impl RemoteNode {
    pub(super) fn new(node: Arc<NodeInner>, connection: &Connection) -> Self {
        Self { node, info: PeerInfo::of(connection) }
    }

    /// Its name.
    pub fn name(&self) -> Atom {
        self.info.name
    }

    /// What was known of it when it was connected; the present is at
    /// [`Network::peer`](super::Network::peer).
    pub fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// Has the node start a process, of what is enabled there under `name`.
    /// Returns when its `init` is done, for which it has five seconds, or what
    /// [`SpawnOptions::init_timeout`] says.
    ///
    /// A `()` stands for no argument, a `Vec<Payload>` for several, everything
    /// else for the only one. The parent of the process is this node; its
    /// environment is that of `options`, on top of this node's if that is
    /// exposed ([`NodeBuilder::expose_env_remote_spawn`](crate::NodeBuilder::expose_env_remote_spawn)).
    ///
    /// Cancellation: a dropped future leaves it open whether there is a process.
    pub async fn spawn(
        &self,
        name: &str,
        options: SpawnOptions,
        arguments: impl Message,
    ) -> Result<Pid, RemoteSpawnError> {
        let origin = Origin::of_node(&self.node);
        let (pid, _) = spawn(&self.node, self.name(), name, origin, options, arguments).await?;
        Ok(pid)
    }
}

impl fmt::Debug for RemoteNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteNode({})", self.name())
    }
}

/// Has a process of another node be the child of this one.
pub(crate) async fn spawn_child(
    parent: &Arc<Process>,
    peer: Atom,
    name: &str,
    options: SpawnOptions,
    arguments: impl Message,
) -> Result<Pid, RemoteSpawnError> {
    let link_child = options.link_child;
    let origin = Origin::of_process(parent);
    let (pid, connection) = spawn(&parent.node, peer, name, origin, options, arguments).await?;
    if link_child {
        let linked = connection.watch(parent, Watched::Pid(pid), Relation::Link).await;
        linked.map_err(|error| RemoteSpawnError::NotLinked { pid, error })?;
    }
    Ok(pid)
}

/// Has a process started on another node; also the connection it was asked for on.
async fn spawn(
    node: &Arc<NodeInner>,
    peer: Atom,
    name: &str,
    origin: Origin,
    options: SpawnOptions,
    arguments: impl Message,
) -> Result<(Pid, Arc<Connection>), RemoteSpawnError> {
    let name = crate::node::process_name(name)?;
    let register = options.name.as_deref().map_or(Ok(Atom::empty()), crate::node::process_name)?;
    if node.is_local(peer) {
        return Err(RemoteSpawnError::NotAllowed { node: peer });
    }
    let arguments = list(arguments);
    let connection = node.network.connection(node, peer).await?;
    if !connection.may_ask_for(NetworkFlags::REMOTE_SPAWN, Operations::SPAWN) {
        return Err(RemoteSpawnError::NotAllowed { node: peer });
    }
    let exposed = if node.exposes.remote_spawn { origin.environment } else { Environment::new() };
    let parent_environment = exposed.to_wire(&node.registry);
    let environment = options.environment.to_wire(&node.registry);
    let wire = ProcessOptions { environment, ..wire_options(&options) };
    // Others are not told of it.
    let init_limit = match connection.peer.generation {
        Generation::V320Dev => init_limit(0),
        _ => init_limit(wire.init_timeout),
    };
    let asked = connection.ask_within(init_limit + ON_THE_WAY, origin.parent.id, |reference| {
        Request::Spawn(Box::new(Spawn {
            options: wire,
            parent_leader: origin.leader,
            parent_environment,
            parent_log_level: LOG_LEVEL,
            register,
            arguments,
            ..Spawn::new(name, origin.parent, reference)
        }))
    });
    let answer = asked.await.map_err(|error| match error {
        AskError::Send(SendError::NoConnection { node }) => RemoteSpawnError::NoConnection { node },
        AskError::Send(error) => RemoteSpawnError::Send(error),
        AskError::Refused(Refusal::NotAllowed) => RemoteSpawnError::NotAllowed { node: peer },
        AskError::Refused(Refusal::NameUnknown) => RemoteSpawnError::NameUnknown { node: peer, name },
        AskError::Refused(Refusal::Taken) => RemoteSpawnError::NameTaken { node: peer },
        AskError::Refused(Refusal::Incorrect) => RemoteSpawnError::Arguments { node: peer },
        AskError::Refused(Refusal::TimedOut) => {
            RemoteSpawnError::InitTimeout { node: peer, limit: init_limit }
        }
        AskError::Refused(other) => RemoteSpawnError::Init(ExitReason::error(other)),
        AskError::Timeout(limit) => RemoteSpawnError::Timeout { node: peer, limit },
        AskError::NoConnection { node } => RemoteSpawnError::NoConnection { node },
    })?;
    match answer.downcast::<Pid>() {
        Ok(pid) if pid.node == peer => Ok((pid, connection)),
        _ => Err(RemoteSpawnError::Malformed { node: peer }),
    }
}

/// So much longer than an `init` may take its outcome is waited for: the other
/// node gives up first, and says so.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// Processes here have no log level of their own: what Ergo calls info.
const LOG_LEVEL: isize = 1;

/// The arguments one by one.
fn list(arguments: impl Message) -> Vec<Payload> {
    let arguments = Payload::new(arguments);
    if arguments.is::<()>() {
        return Vec::new();
    }
    arguments.downcast::<Vec<Payload>>().unwrap_or_else(|only| vec![only])
}

fn wire_options(options: &SpawnOptions) -> ProcessOptions {
    let usual = ProcessOptions::default();
    ProcessOptions {
        mailbox_size: options.mailbox_capacity.map_or(0, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        leader: options.leader.unwrap_or(usual.leader),
        compression: options.compression.map_or_else(any::Compression::default, wire_compression),
        send_priority: match options.priority {
            Priority::Low | Priority::Normal => 0,
            Priority::High => 1,
            Priority::Max => 2,
        },
        important_delivery: options.important_delivery,
        init_timeout: options.init_timeout.map_or(0, whole_seconds),
        link_parent: options.link_parent,
        link_child: options.link_child,
        ..usual
    }
}

/// Rounded up: zero would mean that nothing is said.
fn whole_seconds(limit: Duration) -> isize {
    isize::try_from(limit.as_millis().div_ceil(1000)).unwrap_or(isize::MAX).max(1)
}

fn wire_compression(Compression { method, level, threshold }: Compression) -> any::Compression {
    any::Compression {
        enable: true,
        method: match method {
            CompressionMethod::Lzw => "lzw",
            CompressionMethod::Zlib => "zlib",
            CompressionMethod::Gzip => "gzip",
        }
        .to_owned(),
        level: match level {
            CompressionLevel::Default => 0,
            CompressionLevel::BestSpeed => 1,
            CompressionLevel::BestSize => 2,
        },
        threshold: isize::try_from(threshold).unwrap_or(isize::MAX),
    }
}
