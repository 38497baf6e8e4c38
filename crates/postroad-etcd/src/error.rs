//! What can go wrong with etcd.

use std::fmt;
use std::time::Duration;

use postroad::registrar::{RegisterError, RegistrarError, ResolveError};

/// Why etcd was of no use.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// The options name no etcd at all.
    #[error("no etcd endpoints: give at least one, for example localhost:2379")]
    NoEndpoints,
    /// An endpoint is none.
    #[error("{endpoint:?} is not an etcd endpoint: {why}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate, a key or a server name cannot be used.
    #[error("the TLS options for etcd cannot be used: {why}")]
    Tls {
        /// What is wrong with them.
        why: String,
    },
    /// A name cannot be part of a key.
    #[error("{name:?} cannot be part of a key in etcd: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A lease time that etcd or sense refuses.
    #[error("a lease of {0:?}: give whole seconds, from 2 s to a day")]
    LeaseTtl(Duration),
    /// No endpoint answers.
    #[error("no etcd endpoint answers ({tried}); is etcd running there, and has it a leader?")]
    Unreachable {
        /// Which were tried, and what became of it.
        tried: Tried,
    },
    /// User name and password are not accepted, or are needed.
    #[error("etcd does not let this node in: {message}; check user name, password and role")]
    Denied {
        /// What etcd says.
        message: String,
    },
    /// etcd answers with an error.
    #[error("etcd refuses: {message} ({code:?})")]
    Refused {
        /// The kind of error.
        code: tonic::Code,
        /// What etcd says.
        message: String,
    },
    /// The node's key belongs to somebody else.
    #[error("resource is taken: {key} belongs to another lease; two nodes have one name")]
    Taken {
        /// The key.
        key: String,
    },
    /// The cluster holds more than is read.
    #[error("more than {keys} keys or {mebibytes} MiB in etcd: clean up, or use another cluster name")]
    TooMuch {
        /// How many keys are read.
        keys: usize,
        /// How much they and their values may be in all.
        mebibytes: usize,
    },
    /// The past that was asked for is not there any more.
    #[error("etcd has compacted what was asked for")]
    Compacted,
    /// Others changed the node's keys again and again while it registered.
    #[error("the keys of this node change all the time; do two nodes have one name?")]
    Contended,
}

/// Endpoints that were tried, with what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried(pub Vec<(String, String)>);

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (endpoint, failure)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{endpoint}: {failure}")?;
        }
        Ok(())
    }
}

impl EtcdError {
    /// Whether the answer was longer than one that is taken.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("message length too large"))
    }
}

impl From<EtcdError> for RegistrarError {
    fn from(error: EtcdError) -> Self {
        match error {
            EtcdError::Name { name, why } => Self::Name { name, why },
            error => Self::Backend(std::sync::Arc::new(error)),
        }
    }
}

impl From<EtcdError> for ResolveError {
    fn from(error: EtcdError) -> Self {
        Self::Failed(error.to_string().into())
    }
}

impl From<EtcdError> for RegisterError {
    fn from(error: EtcdError) -> Self {
        Self::Backend(std::sync::Arc::new(error))
    }
}
