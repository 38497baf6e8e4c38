//! Who is let in by an acceptor, and what for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postroad_wire::Cookie;
use postroad_wire::ehs::{Introduction, JoinRequest};
use postroad_wire::tunnel::Visitor;

use super::Acceptor;
use crate::Atom;
use crate::network::connection::{Connection, Lock, Reservation, Terms};
use crate::network::demands::Shown;
use crate::network::handshake::{Doorkeeper, HandshakeError};
use crate::network::transport::Stream;
use crate::registrar::BoxFuture;

/// How long a link may wait until it can join. The peer is often a little ahead:
/// it joins as soon as the handshake is finished for its side, and brings a new
/// link as soon as it has noticed the end of the old one. A stock node waits one
/// second for the answer.
const JOIN_PATIENCE: Duration = Duration::from_millis(500);

/// A stream that was accepted, until it is known what it is.
pub(super) struct Visit<'a> {
    pub(super) acceptor: &'a Acceptor,
    pub(super) terms: &'a Terms,
    pub(super) lock: Lock,
    /// The peer, once it was let in to make a connection.
    pub(super) admitted: OnceLock<Atom>,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.admitted.get() {
            self.acceptor.node.network.has_met(*peer);
        }
    }
}

impl Visit<'_> {
    /// Whether it is that connection, and came in here: what one acceptor
    /// demands is not to be got around by way of another. Nobody brings anything
    /// to a connection that this node dialed.
    fn is_meant(&self, connection: &Connection, id: &str) -> bool {
        connection.id == id && connection.door == self.terms.door && !connection.was_dialed()
    }

    /// Whether a link of the connection may come this way: a direct one of a
    /// direct connection, and through a tunnel one that allows no less.
    fn leads_as_far(&self, connection: &Connection) -> bool {
        match (&self.terms.through, connection.through()) {
            (None, None) => true,
            (Some(way), Some(_)) => way.operations.allow(connection.permitted()),
            _ => false,
        }
    }
}

impl Doorkeeper for Visit<'_> {
    fn made_with(&self, connection_id: &str) -> Option<Cookie> {
        let network = &self.acceptor.node.network;
        let connection = network.connected(network.joinable.peer(connection_id)?)?;
        self.is_meant(&connection, connection_id).then(|| connection.lock.cookie.clone())
    }

    fn admit_link<'a>(&'a self, request: &'a JoinRequest) -> BoxFuture<'a, Option<Reservation>> {
        let network = &self.acceptor.node.network;
        let admitted = async move {
            let wanted = |connection: &Connection| {
                self.is_meant(connection, &request.connection_id)
                    && self.leads_as_far(connection)
                    && connection.lock.cookie == request.cookie
            };
            let connection = network.arrival(request.node, wanted).await;
            if connection.join_salt_is_new(&request.salt) { connection.reserve().await } else { None }
        };
        Box::pin(async { tokio::time::timeout(JOIN_PATIENCE, admitted).await.unwrap_or(None) })
    }

    fn admit_side<'a>(&'a self, visitor: &'a Visitor) -> BoxFuture<'a, Option<Arc<Connection>>> {
        let network = &self.acceptor.node.network;
        Box::pin(async move {
            let wanted = |connection: &Connection| {
                self.is_meant(connection, &visitor.connection_id)
                    && self.leads_as_far(connection)
                    && connection.lock.cookie == visitor.cookie
            };
            let arrival = network.arrival(visitor.node, wanted);
            tokio::time::timeout(JOIN_PATIENCE, arrival).await.ok()
        })
    }

    fn expects(&self, node: Atom) -> bool {
        self.terms.through.as_ref().is_none_or(|through| through.client() == Some(node))
    }

    fn admit_peer<'a>(
        &'a self,
        peer: &'a Introduction,
        stream: &'a Stream,
    ) -> BoxFuture<'a, Result<(), HandshakeError>> {
        Box::pin(self.admit_peer(peer, stream))
    }

    fn admitted(&self) -> Option<Atom> {
        self.admitted.get().copied()
    }

    fn pool(&self, stream: &Stream) -> (u16, Vec<String>) {
        let links = self.acceptor.node.network.options.pool_size;
        let Some(info) = &self.acceptor.info else { return (links, Vec::new()) };
        let address = match (&info.advertise_host, stream.local_addr()) {
            (Some(host), _) => format!("{host}:{}", info.advertise_port),
            (None, Ok(address)) => address.to_string(),
            (None, Err(_)) => info.address.to_string(),
        };
        (links, vec![address])
    }
}

impl Visit<'_> {
    async fn admit_peer(&self, peer: &Introduction, stream: &Stream) -> Result<(), HandshakeError> {
        let (node, peer, creation) = (&self.acceptor.node, peer.node, peer.creation);
        let shown = Shown {
            tls: stream.has_tls(),
            cookie: &self.lock.cookie,
            own_cookie: self.acceptor.info.as_ref().is_some_and(|info| info.own_cookie),
            checked_by: self.acceptor.tls.as_ref().filter(|_| stream.client_has_shown_certificate()),
        };
        if !self.acceptor.weaker_than_routes
            && let Some((pattern, demand)) = node.network.demanded(node.name, peer, &shown)
        {
            return Err(HandshakeError::WeakerThanRoute { peer, pattern, demand });
        }
        // A handshake that asks twice is owed one end.
        let first = self.admitted.get().is_none();
        let admitted = first && node.network.admits(node, peer, creation, &self.lock).await;
        if admitted && self.admitted.set(peer).is_ok() {
            Ok(())
        } else {
            Err(HandshakeError::Duplicate(peer))
        }
    }
}
