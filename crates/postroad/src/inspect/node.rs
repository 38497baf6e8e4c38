//! A node at a glance.

use postroad_edf::Message;

use super::{InspectError, ProcessState};
use crate::network::NetworkMode;
use crate::{Atom, Node};

/// A node at a glance; what [`DescribeNode`](super::DescribeNode) is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/NodeInfo")]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its name.
    pub name: Atom,
    /// The incarnation: Unix seconds at the start, or a little more.
    pub creation: i64,
    /// What it says it runs.
    pub version: String,
    /// How long it has been running, in seconds.
    pub uptime: u64,
    /// How many processes it has, those included that begin or end.
    pub processes: u64,
    /// How many of them are in the middle of a run.
    pub running: u64,
    /// How many registered names there are.
    pub names: u64,
    /// How many aliases there are.
    pub aliases: u64,
    /// How the network is used: `enabled`, `hidden` or `disabled`.
    pub network: String,
    /// The registrar; empty if there is none.
    pub registrar: String,
    /// The addresses it listens on.
    pub listens: Vec<String>,
    /// How many nodes it is connected with.
    pub connections: u64,
    /// How many static routes there are.
    pub routes: u64,
    /// How many static proxy routes there are.
    pub proxy_routes: u64,
    /// The resident memory of the whole program, in bytes; 0 where the system
    /// does not say it at once (it is said on Linux).
    pub memory: u64,
}

pub(crate) fn describe_node(node: &Node) -> Result<NodeInfo, InspectError> {
    if node.is_stopping() {
        return Err(InspectError::NodeStopped);
    }
    let (inner, network) = (node.inner(), node.network());
    let (mut processes, mut running) = (0, 0);
    inner.processes.each(|process| {
        processes += 1;
        running += u64::from(process.mailbox.look().0 == ProcessState::Running);
    });
    Ok(NodeInfo {
        name: inner.name,
        creation: inner.creation,
        version: inner.version.to_string(),
        uptime: inner.started.elapsed().as_secs(),
        processes,
        running,
        names: inner.processes.names() as u64,
        aliases: inner.processes.aliases() as u64,
        network: mode(network.mode()).to_owned(),
        registrar: network.registrar().map_or_else(String::new, |registrar| registrar.describe()),
        listens: network.acceptors().iter().map(|acceptor| acceptor.address.to_string()).collect(),
        connections: network.peers().len() as u64,
        routes: network.routes().len() as u64,
        proxy_routes: network.proxy_routes().len() as u64,
        memory: resident_memory().unwrap_or(0),
    })
}

fn mode(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Enabled => "enabled",
        NetworkMode::Hidden => "hidden",
        NetworkMode::Disabled => "disabled",
    }
}

/// What `/proc/self/status` says, which needs no look at a disk.
#[cfg(target_os = "linux")]
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(not(target_os = "linux"))]
fn resident_memory() -> Option<u64> {
    None
}
