//! What can go wrong with a pool.

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
    /// The request did not reach a pool, or it ended before it answered.
    #[error("no answer of the pool: {0}")]
    Request(CallError),
}
