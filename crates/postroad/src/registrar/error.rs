//! Why a registrar has no answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::Atom;

/// Why a resolver knows no address.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It was asked, and does not know the node.
    #[error("the registrar does not know this node; is it running and registered?")]
    Unknown,
    /// It does not answer questions of this kind.
    #[error("not supported by this registrar")]
    NotSupported,
    /// It has been left, or its node has not registered yet.
    #[error("the registrar has ended: its node has stopped or never registered")]
    Terminated,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It panicked. The attempt is lost, the node is not.
    #[error("the resolver panicked; this is a bug in it")]
    Panicked,
    /// It could not be asked.
    #[error("{0}")]
    Failed(Arc<str>),
}

/// Why a registrar did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrarError {
    /// There is nothing of that name.
    #[error("unknown: the registrar has nothing of that name")]
    Unknown,
    /// This registrar does not do that.
    #[error("not supported by this registrar")]
    NotSupported,
    /// It has been left, or its node has not registered yet.
    #[error("the registrar has ended: its node has stopped or never registered")]
    Terminated,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The name cannot be part of what the registrar stores.
    #[error("{name:?} cannot be stored by this registrar: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What it relies on failed.
    #[error(transparent)]
    Backend(Arc<dyn Error + Send + Sync>),
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
    /// It was registered with before, or it was left.
    #[error("already started: a registrar registers one node, once; make another one for this node")]
    Used,
    /// It did not answer in time.
    #[error("the registrar ({registrar}) did not answer within {limit:?}")]
    Timeout {
        /// What it says about itself.
        registrar: String,
        /// How long the node waited.
        limit: Duration,
    },
    /// It panicked.
    #[error("the registrar ({registrar}) panicked; this is a bug in it")]
    Panicked {
        /// What it says about itself.
        registrar: String,
    },
    /// What it relies on failed.
    #[error(transparent)]
    Backend(Arc<dyn Error + Send + Sync>),
}
