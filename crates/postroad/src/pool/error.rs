//! What can go wrong with a pool.

use std::time::Duration;

use crate::error::{CallError, SpawnError};

/// Why a pool did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// There is none to be removed.
    #[error("no worker process in the pool")]
    NoWorker,
    /// A worker did not start. Those that were added before it stay.
    #[error("a worker did not start: {0}")]
    Start(#[from] SpawnError),
    /// The `init` of a worker did not end in time. Those that were added before
    /// it stay.
    #[error("a worker did not start: its init took longer than {limit:?}")]
    InitTimeout {
        /// The limit of the pool's spec.
        limit: Duration,
    },
    /// The request did not reach a pool, or it ended before it answered.
    #[error("no answer of the pool: {0}")]
    Request(CallError),
}
