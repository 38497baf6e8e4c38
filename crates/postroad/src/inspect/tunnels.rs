//! What passes through the node: listed, closed, drained.

use postroad_edf::Message;

use super::{InspectError, MAX_PAGE};
use crate::network::{Network, ProxyFlags, TunnelInfo};
use crate::{Atom, Pid};

/// A tunnel in a line.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/TunnelSummary")]
#[non_exhaustive]
pub struct TunnelSummary {
    /// What it is closed by.
    pub id: u64,
    /// All nodes on the way, the client first and the target last. Whoever
    /// stands before the neighbour of the node that was asked is there by that
    /// one's word.
    pub path: Vec<Atom>,
    /// What may be done through it, besides messages: `link`, `monitor`, `spawn`,
    /// `application_start`, `important_delivery`; `encryption`: the two ends
    /// encrypt.
    pub operations: Vec<String>,
    /// Bytes that went from the client to the target.
    pub bytes_to_target: u64,
    /// Bytes that went from the target to the client.
    pub bytes_to_client: u64,
    /// How long it has been open, in milliseconds.
    pub open: u64,
    /// For how long nothing has come, from neither end, in milliseconds.
    pub idle: u64,
}

/// Which tunnels to list: pages of them, oldest first. Answered with a
/// [`TunnelPage`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ListTunnels")]
pub struct ListTunnels {
    /// Those with a greater number only: [`TunnelPage::next`], or 0.
    pub after: u64,
    /// How many at most; [`MAX_PAGE`] whatever is said here.
    pub limit: u32,
}

impl Default for ListTunnels {
    /// The first page.
    fn default() -> Self {
        Self { after: 0, limit: MAX_PAGE }
    }
}

/// Some tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/TunnelPage")]
#[non_exhaustive]
pub struct TunnelPage {
    /// The tunnels, by number.
    pub tunnels: Vec<TunnelSummary>,
    /// Where the next page begins: what to say as [`ListTunnels::after`]. 0 if this
    /// was the last one.
    pub next: u64,
    /// Whether anybody may pass at all.
    pub gateway: bool,
    /// Whether no new tunnels are taken.
    pub draining: bool,
}

/// Closes a tunnel at once; its client may ask for another one. For
/// [operators](crate::network::AcceptorOptions::operators). Answered with nothing, or with
/// the error `not allowed` or `unknown tunnel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/CloseTunnel")]
pub struct CloseTunnel {
    /// Its number.
    pub id: u64,
}

/// Takes no new tunnels and finishes those that are open, or takes new ones
/// again. For [operators](crate::network::AcceptorOptions::operators). Answered with the
/// number of tunnels that are open (`u64`), or with the error `not allowed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/DrainTransit")]
pub struct DrainTransit {
    /// Whether to take no new ones.
    pub drain: bool,
}

pub(super) fn list_tunnels(network: &Network, list: &ListTunnels) -> TunnelPage {
    let mut tunnels = network.tunnels();
    tunnels.retain(|tunnel| tunnel.id > list.after);
    let limit = list.limit.clamp(1, MAX_PAGE) as usize;
    let more = tunnels.len() > limit;
    tunnels.truncate(limit);
    let next = tunnels.last().filter(|_| more).map_or(0, |tunnel| tunnel.id);
    TunnelPage {
        tunnels: tunnels.into_iter().map(TunnelSummary::from).collect(),
        next,
        gateway: network.transit().is_some(),
        draining: network.is_draining_transit(),
    }
}

pub(super) fn close_tunnel(network: &Network, asker: Pid, id: u64) -> Result<(), InspectError> {
    check_operator(network, asker)?;
    if network.close_tunnel(id) { Ok(()) } else { Err(InspectError::TunnelUnknown) }
}

pub(super) fn drain_transit(network: &Network, asker: Pid, drain: bool) -> Result<u64, InspectError> {
    check_operator(network, asker)?;
    network.drain_transit(drain);
    Ok(network.tunnels().len() as u64)
}

fn check_operator(network: &Network, asker: Pid) -> Result<(), InspectError> {
    if network.is_operator(asker) { Ok(()) } else { Err(InspectError::NotAllowed) }
}

pub(super) fn operation_names(operations: ProxyFlags) -> Vec<String> {
    operations.names().into_iter().map(str::to_owned).collect()
}

impl From<TunnelInfo> for TunnelSummary {
    fn from(tunnel: TunnelInfo) -> Self {
        let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: tunnel.id,
            path: tunnel.path,
            operations: operation_names(tunnel.operations),
            bytes_to_target: tunnel.bytes_to_target,
            bytes_to_client: tunnel.bytes_to_client,
            open: milliseconds(tunnel.open),
            idle: milliseconds(tunnel.idle),
        }
    }
}
