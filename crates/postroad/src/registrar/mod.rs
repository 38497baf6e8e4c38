//! How nodes are found: registrars and resolvers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::Version;

use crate::Atom;

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
