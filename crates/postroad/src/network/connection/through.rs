//! What may be done over a connection that leads through other nodes, and what
//! tunnels need of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use postroad_wire::NetworkFlags;
use postroad_wire::enp::Head;
use postroad_wire::tunnel::{Operations, Refusal, Token};

use super::Connection;
use crate::error::SendError;
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

    /// Whether the peer was told that it may ask for this.
    pub(in crate::network) fn allows(&self, what: NetworkFlags) -> bool {
        self.allowed.allows(what)
    }

    /// Through whom the connection leads, if through anybody.
    pub(in crate::network) fn through(&self) -> Option<&Arc<Through>> {
        self.through.as_ref()
    }

    /// Whether it leads through nobody.
    pub(in crate::network) fn is_direct(&self) -> bool {
        self.through.is_none()
    }

    /// Whether more streams of it can be made: who is dialed must be able to tell by
    /// the first byte that it is one.
    pub(in crate::network) fn has_sides(&self) -> bool {
        self.stack.handshake.dialer_begins()
    }

    /// Where the acceptor listens by which the peer came in, if it dialed.
    pub(in crate::network) fn door(&self) -> Option<SocketAddr> {
        self.door
    }

    /// Resolves when the connection has ended.
    pub(in crate::network) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Asks the peer to dial one more stream.
    ///
    /// # Errors
    /// The connection has ended.
    pub(in crate::network) async fn summon(&self, token: Token) -> Result<(), SendError> {
        let head = Head::Summon { token: halves(token) };
        let left = self.place(0, |out| self.write_frame(out, &head, None, |_| Ok(())))?;
        self.place_left(0, left).await
    }

    /// Tells the peer that the stream it asked for will not come. Does not wait.
    pub(in crate::network) fn decline(&self, token: Token, reason: Refusal) {
        let head = Head::Decline { token: halves(token), reason };
        self.log_unsent(self.append(0, false, |out| self.write_frame(out, &head, None, |_| Ok(()))));
    }
}

/// A token as frames have it.
fn halves(token: Token) -> [u64; 2] {
    let token = u128::from_be_bytes(token);
    [(token >> 64) as u64, token as u64]
}

/// The token of a Summon or Decline frame.
pub(super) fn token([high, low]: [u64; 2]) -> Token {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}
