//! What can go wrong, one type per operation.

use std::sync::Arc;
use std::time::Duration;

use postroad_edf::{AtomError, DecodeError, EncodeError, ErrorValue};
use postroad_wire::Version;

use crate::Atom;
use crate::actor::ExitReason;
use crate::network::ConnectError;

/// Why a message was not sent. The message is gone; unless the error says
/// otherwise nothing else happened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No such process, name or alias on this node.
    #[error("unknown process")]
    ProcessUnknown,
    /// The process is about to end and takes nothing more.
    #[error("process terminated")]
    ProcessTerminated,
    /// The mailbox of the process is bounded and full.
    #[error("process mailbox is full")]
    MailboxFull,
    /// The target is a process of a node's earlier life: that node was
    /// restarted since.
    #[error("process ID belongs to the previous incarnation of {node}")]
    Incarnation {
        /// The node that was restarted.
        node: Atom,
    },
    /// No road to the target's node; says what was tried.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection to the target's node ended before the message was handed
    /// over; of an important one: before it was acknowledged, so that it may
    /// have arrived.
    #[error("no connection with {node}")]
    NoConnection {
        /// The node that was lost.
        node: Atom,
    },
    /// Only what is important: the target's node does not acknowledge anything,
    /// so nothing was sent. Send it as a plain message, or let that node (or
    /// the acceptor or route in between) announce important delivery.
    #[error("not supported: {node} does not acknowledge important messages")]
    NotSupported {
        /// The target's node.
        node: Atom,
    },
    /// Only what is important: no acknowledgement came in time. It may or may
    /// not have arrived.
    #[error("timed out: {node} did not acknowledge within {limit:?}")]
    Timeout {
        /// The target's node.
        node: Atom,
        /// How long was waited.
        limit: Duration,
    },
    /// Only what is important: the target's node did not deliver it, for a
    /// reason of its own.
    #[error("{node} did not deliver it: {error}")]
    Refused {
        /// The target's node.
        node: Atom,
        /// What it says.
        error: ErrorValue,
    },
    /// Only important answers: the caller does not wait for it any more.
    #[error("response ignored")]
    ResponseIgnored,
    /// Only `try_send`: sending would have to wait, because there is no
    /// connection yet or the road is congested.
    #[error("the road to {node} is busy")]
    Busy {
        /// The node in question.
        node: Atom,
    },
    /// The message has no EDF form that the peer can read.
    #[error("the message cannot be encoded: {0}")]
    Encode(Arc<EncodeError>),
    /// The message is longer than the peer accepts.
    #[error(
        "too large: a frame of {size} bytes, {node} accepts {limit}; send it in parts, or let that node accept more (`max_message_size`)"
    )]
    TooLarge {
        /// The peer.
        node: Atom,
        /// The length of the frame, in bytes.
        size: usize,
        /// The longest frame the peer accepts, in bytes.
        limit: usize,
    },
    /// The target is no valid name.
    #[error("not a target: {0}")]
    Target(#[from] AtomError),
    /// A process may not ask this of itself, or, if it is to end, of its parent;
    /// or the gateways that the target's node is reached through do not allow it.
    #[error(
        "not allowed: a process cannot ask this of itself or its parent, and gateways on the way to another node may forbid it"
    )]
    NotAllowed,
    /// This node has been stopped.
    #[error("node terminated")]
    NodeStopped,
}

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No answer came in time. The request may or may not have been handled.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// The callee ended, or dropped the request without an answer.
    #[error("the process ended or dropped the request without an answer")]
    NoAnswer,
    /// The connection was lost while waiting. The request may or may not have
    /// been handled.
    #[error("lost the connection with {node} while waiting for the answer")]
    NoConnection {
        /// The node that was lost.
        node: Atom,
    },
    /// The callee answered with this error; or its answer is an error, as Ergo's
    /// actors give it (`return err, nil`), and something else was asked for.
    #[error("answered with an error: {0}")]
    Answer(ErrorValue),
    /// The answer is of another type than the caller asked for.
    #[error("the answer is a {got}, not a {expected}")]
    UnexpectedAnswer {
        /// The type that was asked for.
        expected: &'static str,
        /// The type that came: its name on the wire, if no type of this program
        /// has that. A type has the same name on both nodes if they have it from
        /// one package, or if its `#[message(name = "..")]` says so.
        got: Box<str>,
    },
    /// The answer could not be decoded.
    #[error("the answer cannot be decoded: {0}")]
    Decode(Arc<DecodeError>),
}

impl From<DecodeError> for CallError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(Arc::new(error))
    }
}

/// Why a process is not linked to something or does not monitor it, or why a
/// relation was not ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RelationError {
    /// There is no such process or name.
    #[error("unknown process")]
    ProcessUnknown,
    /// The process is about to end.
    #[error("process terminated")]
    ProcessTerminated,
    /// There is no such alias.
    #[error("unknown alias")]
    AliasUnknown,
    /// There is no such event.
    #[error("unknown event")]
    EventUnknown,
    /// The process has this relation already.
    #[error("target is already exist")]
    Exists,
    /// There is no relation to end.
    #[error("unknown target")]
    TargetUnknown,
    /// A process cannot be linked to itself, and a node has no connection with
    /// itself.
    #[error("not allowed: nothing watches itself, and a node has no connection with itself")]
    Itself,
    /// The way to the target's node leads through gateways and was not opened
    /// for this; the node was not asked.
    #[error(
        "not allowed: the way to {node} is not open for this: its proxy route or the rules of a gateway do not allow it"
    )]
    WayForbids {
        /// The target's node.
        node: Atom,
    },
    /// The target's node does not allow it.
    #[error("not allowed: {node} refused")]
    NotAllowed {
        /// The node that was asked.
        node: Atom,
    },
    /// The target's node was not asked: no road to it, or the target is of its
    /// earlier life.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The connection was lost before the target's node had answered. There is
    /// no relation.
    #[error("no connection with {node}")]
    NoConnection {
        /// The node that was lost.
        node: Atom,
    },
    /// The target's node did not answer in time. There is no relation.
    #[error("timed out: {node} did not answer")]
    Timeout {
        /// The node that was asked.
        node: Atom,
    },
    /// The target's node refused with this error.
    #[error("{node} refused: {error}")]
    Refused {
        /// The node that was asked.
        node: Atom,
        /// What it said.
        error: ErrorValue,
    },
}

impl From<AtomError> for RelationError {
    fn from(error: AtomError) -> Self {
        SendError::Target(error).into()
    }
}

/// Why there is no new process.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another process has that name.
    #[error("resource is taken: a process named {name} is running")]
    NameTaken {
        /// The name.
        name: Atom,
    },
    /// The name is empty or too long.
    #[error("not a name: {0}")]
    Name(#[from] InvalidName),
    /// The parent that it was to be linked with has ended.
    #[error("process terminated: the parent has ended")]
    ParentTerminated,
    /// The actor's `init` refused.
    #[error("init failed: {0}")]
    Init(ExitReason),
    /// This node has been stopped.
    #[error("node terminated")]
    NodeStopped,
}

/// Why a name or alias was not (un)registered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The process has a name already, or another one has this name.
    #[error("resource is taken: {name}")]
    Taken {
        /// The name in the way.
        name: Atom,
    },
    /// The process has no such name or alias.
    #[error("unknown name")]
    Unknown,
    /// The name is empty or too long.
    #[error("not a name: {0}")]
    Invalid(#[from] InvalidName),
    /// There is no such process on this node.
    #[error("unknown process")]
    ProcessUnknown,
    /// The process is about to end.
    #[error("process terminated")]
    ProcessTerminated,
}

/// Why an event was not (un)registered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// There is an event of this name on the node.
    #[error("resource is taken: the event {name}")]
    Taken {
        /// The name in the way.
        name: Atom,
    },
    /// There is no such event.
    #[error("unknown event")]
    Unknown,
    /// Another process has registered it, or the node: only that one may
    /// unregister it.
    #[error("not an owner")]
    NotOwner,
    /// The name is empty or too long.
    #[error("not a name: {0}")]
    Invalid(#[from] InvalidName),
    /// The process is about to end.
    #[error("process terminated")]
    ProcessTerminated,
}

/// Why something was not published.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no such event on this node.
    #[error("unknown event")]
    EventUnknown,
    /// The token is not that of the event.
    #[error("not an owner")]
    NotOwner,
}

/// Why a text is no name.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// It has no character.
    #[error("it is empty")]
    Empty,
    /// It does not fit into an atom.
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// A node name is `name@host`: one `@` with something on both sides.
    #[error("{0:?} is not of the form name@host (example: node@localhost)")]
    Node(String),
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node's name.
    #[error("node name: {0}")]
    Name(#[from] InvalidName),
    /// An acceptor could not listen.
    #[error(
        "cannot listen on {host:?}, {}: {source}; give the acceptor another host, port or range",
        ports(*first, *last)
    )]
    Listen {
        /// The host of the acceptor.
        host: String,
        /// The first port that was tried.
        first: u16,
        /// The last port that was tried.
        last: u16,
        /// What the system said to the last one.
        source: std::io::Error,
    },
    /// An acceptor cannot speak TLS.
    #[error("cannot speak TLS on {host}:{port}: {source}")]
    Tls {
        /// The host of the acceptor.
        host: String,
        /// The first port of the acceptor.
        port: u16,
        /// What is missing.
        source: crate::tls::TlsError,
    },
    /// Others would be told an address that nobody can dial.
    #[error(
        "the acceptor advertises {host} with port 0; give the port by which others reach it, or advertise nothing"
    )]
    NoAdvertisedPort {
        /// The host that would be told.
        host: String,
    },
    /// An acceptor names a handshake that the node does not speak.
    #[error(
        "no handshake handler for {version}; the node speaks {known:?}: register it when the node is built"
    )]
    UnknownHandshake {
        /// What the acceptor names.
        version: Version,
        /// What the node speaks.
        known: Vec<Version>,
    },
    /// An acceptor names a protocol that the node does not speak.
    #[error("no proto handler for {version}; the node speaks {known:?}: register it when the node is built")]
    UnknownProtocol {
        /// What the acceptor names.
        version: Version,
        /// What the node speaks.
        known: Vec<Version>,
    },
    /// A static route of the node cannot be used.
    #[error("static routes: {0}")]
    Route(#[source] crate::network::AddRoutesError),
    /// A static proxy route of the node cannot be used.
    #[error("static proxy routes: {0}")]
    ProxyRoute(#[source] crate::network::AddRoutesError),
    /// The registrar refused the node.
    #[error("unable to register the node: {0}")]
    Register(#[from] crate::registrar::RegisterError),
    /// An application of the node did not start.
    #[error("application: {0}")]
    Application(#[from] crate::application::ApplicationError),
    /// The process that tells other nodes about this one.
    #[error("the inspector did not start: {0}")]
    Inspector(#[from] SpawnError),
    /// `start` was called outside of a tokio runtime.
    #[error("no tokio runtime: call start() within one")]
    NoRuntime,
}

fn ports(first: u16, last: u16) -> String {
    if first == last { format!("port {first}") } else { format!("ports {first} to {last}") }
}
