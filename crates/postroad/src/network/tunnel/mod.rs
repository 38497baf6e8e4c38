//! Connections through other nodes: asking for a tunnel, carrying one,
//! accepting one (`docs/wire/TUNNEL.md`).
//!
//! | module | role |
//! |---|---|
//! | `side` | one more stream of a connection, dialed by whichever end can |
//! | `passage` | the client: a stream to the target through a gateway |
//! | `carry` | the gateway: on to the target or to the next gateway |
//! | `relay` | the gateway: bytes both ways |
//! | `splice` | the same without having them here, where the system can |
//! | `lent` | what they pass through |
//! | `arrive` | the target: who comes, through whom, and what it may do |
//! | `policy` | who may pass |
//! | `announce` | the registrar is told to whom the gateway leads |
//! | `carried` | what is being carried |
//! | `account` | for whom, within which limits, and how many bytes |

mod account;
mod announce;
mod arrive;
mod carried;
mod carry;
mod error;
mod lent;
mod limit;
mod passage;
mod policy;
mod relay;
mod side;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod splice;

use postroad_wire::NetworkFlags;
use postroad_wire::tunnel::Operations;

use super::proxy_route::ProxyFlags;
use crate::Atom;

pub use self::carried::TunnelInfo;
pub use self::error::TunnelError;
pub use self::policy::{TransitOptions, TransitRule};
pub use postroad_wire::tunnel::{NegotiationError, Refusal as TunnelRefusal};

pub(super) use self::announce::announce;
pub(super) use self::carried::Tunnels;
pub(super) use self::passage::Passage;
pub(super) use self::side::{Guest, admit, declined, obey, received};

/// By which nodes a connection came, and what may be done over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Through {
    /// All of them, both ends included, the client first.
    pub(super) path: Vec<Atom>,
    /// What all of them allow, in both directions.
    pub(super) operations: Operations,
}

impl Through {
    /// Operations that ends of a connection announce as well, and how.
    const ANNOUNCED: [(Operations, NetworkFlags); 3] = [
        (Operations::SPAWN, NetworkFlags::REMOTE_SPAWN),
        (Operations::APPLICATION_START, NetworkFlags::REMOTE_APPLICATION_START),
        (Operations::IMPORTANT_DELIVERY, NetworkFlags::IMPORTANT_DELIVERY),
    ];

    /// The end that asked for the tunnel.
    pub(super) fn client(&self) -> Option<Atom> {
        self.path.first().copied()
    }

    /// What either end may announce over such a connection at most.
    pub(super) fn limit(&self, flags: Option<NetworkFlags>) -> NetworkFlags {
        let all = NetworkFlags::from_bits(u64::MAX);
        Self::ANNOUNCED
            .into_iter()
            .filter(|(operation, _)| !self.operations.allow(*operation))
            .fold(flags.unwrap_or(all), |flags, (_, flag)| flags.without(flag))
    }

    /// What may be asked of a peer at the other end that announces these flags.
    pub(super) fn asked_of(&self, peer: NetworkFlags) -> ProxyFlags {
        // Who does not say what it offers is asked, but acknowledges only what it says it does.
        let silent = !peer.allows(NetworkFlags::ENABLE);
        let offers =
            |flag| peer.effective().allows(flag) || silent && flag != NetworkFlags::IMPORTANT_DELIVERY;
        let refused = Self::ANNOUNCED.into_iter().filter(|(_, flag)| !offers(*flag));
        let refused = refused.fold(Operations::NONE, |all, (operation, _)| all.with(operation));
        self.operations.without(refused).into()
    }
}

impl ProxyFlags {
    const OPERATIONS: [Operations; 6] = [
        Operations::LINK,
        Operations::MONITOR,
        Operations::SPAWN,
        Operations::APPLICATION_START,
        Operations::IMPORTANT_DELIVERY,
        Operations::ENCRYPTION,
    ];

    pub(super) fn operations(self) -> Operations {
        let Self { link, monitor, spawn, application_start, important_delivery, encryption } = self;
        Self::OPERATIONS
            .into_iter()
            .zip([link, monitor, spawn, application_start, important_delivery, encryption])
            .filter(|(_, on)| *on)
            .fold(Operations::NONE, |all, (operation, _)| all.with(operation))
    }
}

impl From<Operations> for ProxyFlags {
    fn from(operations: Operations) -> Self {
        let [link, monitor, spawn, application_start, important_delivery, encryption] =
            Self::OPERATIONS.map(|operation| operations.allow(operation));
        Self { link, monitor, spawn, application_start, important_delivery, encryption }
    }
}

/// Whether a way that somebody claims goes on from `path` to `next`, and ends at the
/// target.
fn leads_on(way: &[Atom], path: &[Atom], next: Atom, target: Atom) -> bool {
    way.starts_with(path)
        && way.get(path.len()) == Some(&next)
        && way.last() == Some(&target)
        && are_distinct(way)
}

/// Whether every name is there once.
fn are_distinct(path: &[Atom]) -> bool {
    path.iter().enumerate().all(|(at, node)| !path[..at].contains(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_asked_for_what_the_way_and_it_itself_allow() {
        let way = Operations::LINK.with(Operations::SPAWN).with(Operations::IMPORTANT_DELIVERY);
        let through = Through { path: vec![], operations: way };
        let asked = |flags| through.asked_of(flags).names();
        let announced = NetworkFlags::ENABLE.with(NetworkFlags::REMOTE_APPLICATION_START);
        assert_eq!(asked(announced), ["link"]);
        assert_eq!(asked(announced.with(NetworkFlags::REMOTE_SPAWN)), ["link", "spawn"]);
        let all = NetworkFlags::from_bits(u64::MAX);
        assert_eq!(asked(all), ["link", "spawn", "important_delivery"]);
        assert_eq!(asked(NetworkFlags::NONE), ["link", "spawn"], "it does not say what it offers");
    }
}
