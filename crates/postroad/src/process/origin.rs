//! Where a new process comes from.

use super::{Environment, Process};
use crate::node::NodeInner;
use crate::{Atom, Pid};

/// Who spawns a process, and what it inherits.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) parent: Pid,
    /// The leader, unless it is spawned with one of its own.
    pub(crate) leader: Pid,
    /// What its own environment is laid over.
    pub(crate) environment: Environment,
    /// The application that it belongs to.
    pub(crate) application: Option<Atom>,
}

impl Origin {
    pub(crate) fn of_node(node: &NodeInner) -> Self {
        let core = node.core();
        Self { parent: core, leader: core, environment: node.environment.lock().clone(), application: None }
    }

    pub(crate) fn of_process(process: &Process) -> Self {
        Self {
            parent: process.pid,
            leader: process.leader(),
            environment: process.environment(),
            application: process.application(),
        }
    }
}
