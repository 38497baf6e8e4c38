//! What may be done over a connection that leads through other nodes, and what
//! tunnels need of a connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use postroad_wire::enp::{self, Head};
use postroad_wire::tunnel::{Operations, Token};

use super::Connection;
use super::slot::Appended;
use crate::network::tunnel::Through;

impl Connection {
    /// Whether this may be done over the connection: asked of the peer, and
    /// asked by it. A direct connection bars nothing here; what the peer may do
    /// is besides a matter of the flags that were announced to it.
    pub(crate) fn permits(&self, operation: Operations) -> bool {
        self.permitted().allow(operation)
    }

    /// All that may be done over the connection.
    pub(in crate::network) fn permitted(&self) -> Operations {
        self.through.as_ref().map_or(Operations::ALL, |through| through.operations)
    }

    /// Through whom the connection leads, if through anybody.
    pub(in crate::network) fn through(&self) -> Option<&Arc<Through>> {
        self.through.as_ref()
    }

    /// Whether it leads through nobody.
    pub(in crate::network) fn is_direct(&self) -> bool {
        self.through.is_none()
    }

    /// Where the acceptor listens by which the peer came in, if it dialed.
    pub(in crate::network) fn door(&self) -> Option<SocketAddr> {
        self.door
    }

    /// Resolves when the connection has ended.
    pub(in crate::network) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Asks the peer to dial one more stream; false if the connection has ended.
    pub(in crate::network) fn summon(&self, token: Token) -> bool {
        let (high, low) = token.split_at(8);
        let number = |half: &[u8]| half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let head = Head::Summon { token: [number(high), number(low)] };
        let mut slot = 0;
        loop {
            let write = |out: &mut Vec<u8>| enp::write::<Infallible>(out, 0, &head, |_| Ok(())).map(drop);
            match self.slots[slot].append(0, false, write) {
                Ok(Appended::Elsewhere(other)) => slot = other,
                Ok(Appended::Done) => return true,
                Ok(Appended::Full | Appended::Closed) | Err(_) => return false,
            }
        }
    }
}

/// The token of a Summon frame.
pub(super) fn token([high, low]: [u64; 2]) -> Token {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}
