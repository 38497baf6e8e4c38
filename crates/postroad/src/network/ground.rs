//! What a node stands on: the system's network and clock, or a network in
//! memory with a clock of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng;

use super::memory::{MemoryNetwork, MemoryRegistrar};
use super::transport::{Listener, Stream, connect, listen};
use crate::Atom;
use crate::registrar::Registrar;

/// Where streams come from, and what time it is.
#[derive(Debug, Clone, Default)]
pub(crate) enum Ground {
    #[default]
    System,
    /// On this host of a network in memory.
    Memory(MemoryNetwork, IpAddr),
}

impl Ground {
    /// Where a node of that name stands on a network in memory.
    pub(crate) fn memory(network: MemoryNetwork, node: Atom) -> Self {
        let host = network.host(node.host());
        Self::Memory(network, host)
    }

    /// The registrar that nodes have here if none was chosen.
    pub(crate) fn registrar(&self) -> Option<Arc<dyn Registrar>> {
        match self {
            Self::System => None,
            Self::Memory(network, _) => Some(Arc::new(MemoryRegistrar::new(network.clone()))),
        }
    }

    pub(super) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            Self::Memory(network, _) => Ok(vec![network.look_up(host, port)?]),
        }
    }

    /// Connects to one of these addresses.
    pub(super) async fn connect(&self, addresses: &[SocketAddr]) -> io::Result<Stream> {
        match (self, addresses) {
            (Self::System, _) => Stream::prepared(connect(addresses).await?),
            (Self::Memory(network, host), [address, ..]) => {
                Ok(Stream::Memory(Box::new(network.connect(*host, *address).await?)))
            }
            (Self::Memory(..), []) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Listens at an address; port 0 stands for any that is free.
    pub(super) fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        match self {
            Self::System => Ok(Listener::Tcp(listen(address)?)),
            Self::Memory(network, _) => Ok(Listener::Memory(network.listen(address)?)),
        }
    }

    /// The time since 1970.
    pub(crate) fn unix_time(&self) -> Duration {
        match self {
            Self::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Memory(network, _) => network.unix_time(),
        }
    }

    /// Unix seconds, but never the same twice in this program: a node that is
    /// restarted within a second is another incarnation. (The one thing besides
    /// interned names that nodes of a program share.)
    pub(crate) fn creation(&self) -> i64 {
        static LAST: AtomicI64 = AtomicI64::new(0);
        if let Self::Memory(network, _) = self {
            return network.creation();
        }
        let now = self.unix_time().as_secs().cast_signed();
        let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        now.max(last.map_or(0, |last| last + 1))
    }

    /// A factor that is left to chance.
    pub(super) fn factor(&self, range: RangeInclusive<f64>) -> f64 {
        match self {
            Self::System => rand::rng().random_range(range),
            Self::Memory(network, _) => network.factor(range),
        }
    }
}
