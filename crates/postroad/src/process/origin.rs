//! Where a new process comes from.

use super::{Environment, Process};
use crate::Pid;
use crate::node::NodeInner;

/// Who spawns a process, and what it inherits.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) parent: Pid,
    /// The leader, unless it is spawned with one of its own.
    pub(crate) leader: Pid,
    /// What its own environment is laid over.
    pub(crate) environment: Environment,
}

impl Origin {
    pub(crate) fn of_node(node: &NodeInner) -> Self {
        let core = node.core();
        Self { parent: core, leader: core, environment: node.environment.lock().clone() }
    }

    pub(crate) fn of_process(process: &Process) -> Self {
        Self { parent: process.pid, leader: process.leader(), environment: process.environment() }
    }
}
