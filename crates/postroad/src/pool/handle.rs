//! How a pool is spoken to.

use postroad_edf::AtomError;

use super::PoolInfo;
use super::error::PoolError;
use crate::actor::Local;
use crate::error::{CallError, SendError};
use crate::node::{FAR, Node, Target, ToTarget};

/// What a pool is told to do.
#[derive(Debug)]
pub(super) enum Order {
    Add(usize),
    Remove(usize),
    Inspect,
}

pub(super) type Response = PoolInfo;

/// Speaks to a pool of this node; from [`Node::pool`].
///
/// Cancellation: a dropped future may have changed something or not.
#[derive(Debug, Clone)]
pub struct PoolHandle {
    node: Node,
    pool: Result<Target, AtomError>,
}

impl PoolHandle {
    pub(crate) fn new(node: Node, pool: impl ToTarget) -> Self {
        Self { node, pool: pool.to_target() }
    }

    /// Adds workers; returns how many there are then.
    pub async fn add_workers(&self, workers: usize) -> Result<usize, PoolError> {
        Ok(self.tell(Order::Add(workers)).await?.size)
    }

    /// Asks the workers whose turns are next to end (reason `normal`): what waits
    /// in their mailboxes is dropped. Returns how many workers are left.
    ///
    /// # Errors
    /// [`PoolError::NoWorker`] if there is none.
    pub async fn remove_workers(&self, workers: usize) -> Result<usize, PoolError> {
        Ok(self.tell(Order::Remove(workers)).await?.size)
    }

    /// How many workers there are, and what the pool has done.
    pub async fn info(&self) -> Result<PoolInfo, PoolError> {
        self.tell(Order::Inspect).await
    }

    async fn tell(&self, order: Order) -> Result<Response, PoolError> {
        let to = self.pool.map_err(|error| CallError::from(SendError::from(error)));
        // Adding takes as long as the workers' `init`s. Whatever happens to the
        // pool, the request ends with it.
        let told = async { self.node.call_with_timeout(to?, Local(order), FAR).await };
        let Local(response) = told.await.map_err(PoolError::Request)?;
        response
    }
}
