//! Distributed actors over roads you control.
//!
//! A process sends a message to a process on another node; postroad finds the
//! road there, opens the connection and delivers. Roads are static routes, or
//! what a registrar knows. Nodes speak Ergo's wire protocol, so an unmodified
//! Ergo (Go) node can be at the other end.
//!
//! Start at [`Node::builder`] and [`Actor`]; roads are at [`Network`].

mod actor;
pub mod application;
mod error;
mod event;
pub mod inspect;
pub mod network;
mod node;
pub mod pool;
mod process;
pub mod registrar;
pub mod supervisor;
mod sync;
pub mod tls;

/// The Ergo Data Format: terms, codec, caches and the type registry.
pub mod edf {
    pub use postroad_edf::PostroadMessage as Message;
    pub use postroad_edf::*;
}
pub use edf::Message;
pub use postroad_edf::{Alias, Atom, Event, Payload, Pid, ProcessId, Ref};
pub use postroad_wire::{Cookie, NetworkFlags};

pub use actor::{
    Actor, Answer, Context, Down, Exit, ExitReason, Handle, Messages, Reply, ReplyTo, Requests, Timer,
    Unforwarded, Watched,
};
pub use error::{
    CallError, EventError, InvalidName, NameError, PublishError, RelationError, SendError, SpawnError,
    StartError,
};
pub use event::{EventInfo, EventOptions, EventToken, Published, ToEvent};
pub use network::{Network, NetworkMode};
pub use node::{Node, NodeBuilder, Target, ToTarget};
pub use process::{Compression, CompressionLevel, CompressionMethod, Environment, Priority, SpawnOptions};

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ReadMe;

/// The example of the guide to supervision runs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/supervision.md")]
struct Supervision;

/// The example of the guide for Ergo's users compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/ergo.md")]
struct AmongErgoNodes;

/// The example for operators compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/tls.md")]
struct TlsForOperators;
