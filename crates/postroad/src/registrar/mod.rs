//! How nodes are found: registrars and resolvers.

mod embedded;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::Version;

use crate::Atom;

pub use embedded::{Embedded, EmbeddedOptions};

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An address at which a node may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host to dial; empty for the host part of the node's name.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// Whether it expects TLS.
    pub tls: bool,
    /// The handshake it speaks.
    pub handshake_version: Version,
    /// The protocol it speaks.
    pub proto_version: Version,
}

/// Why a resolver knows no address.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It was asked, and does not know the node.
    #[error("the registrar does not know this node; is it running and registered?")]
    Unknown,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It could not be asked.
    #[error("{0}")]
    Failed(Arc<str>),
}

/// Finds the addresses of nodes. Enough to back a static route.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// The addresses of a node, the best one first. What it says is a hint: the
    /// handshake decides who is there.
    ///
    /// Cancel safe.
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>>;

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// A resolver that nodes register with.
pub trait Registrar: Resolver {
    /// Registers a node, and keeps it registered until [`leave`](Self::leave).
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<(), RegisterError>>;

    /// Ends the registration.
    fn leave(&self) -> BoxFuture<'_, ()>;
}

/// What a node registers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The node.
    pub node: Atom,
    /// Where it can be reached; empty for a node that only dials.
    pub endpoints: Vec<Endpoint>,
    /// Where to run what keeps the registration up.
    pub runtime: tokio::runtime::Handle,
}

/// Why a node was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another node has this name.
    #[error("resource is taken: a node named {node} is registered already; stop it or choose another name")]
    Taken {
        /// The name.
        node: Atom,
    },
    /// The registrar's server cannot be reached.
    #[error("cannot reach the registrar's server on 127.0.0.1:{port}: {source}")]
    Unreachable {
        /// Its port.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The registrar's server does not answer.
    #[error("the registrar's server on 127.0.0.1:{port} does not answer; is something else listening there?")]
    NoAnswer {
        /// Its port.
        port: u16,
    },
    /// The registrar refused.
    #[error("the registrar refused: {0}")]
    Refused(Arc<str>),
    /// What was to be registered does not fit into its protocol.
    #[error("this cannot be registered: {0}")]
    Invalid(Arc<str>),
}
