//! Who is connected: handshakes that end become connections, take the place of
//! others, or are turned away.

use std::sync::Arc;
use std::time::Duration;

use postroad_wire::NetworkFlags;
use postroad_wire::ehs::{Established, MAX_POOL_SIZE};
use postroad_wire::enp::any::Generation;

use super::connection::{
    Agreement, Connection, DownReason, Keepalive, Limits, Lock, Peer, Redial, Terms, patience,
};
use super::event::NetworkEvent;
use super::log::log;
use super::transport::Stream;
use super::{Connections, NetworkInner};
use crate::Atom;
use crate::node::NodeInner;

/// A handshake that ends so soon after another one with the same peer began
/// about when that one did: a stock node takes five seconds for it at most.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How long after a peer's end of a connection its last link may be noticed to
/// have ended.
const NOTICE: Duration = Duration::from_millis(500);

impl NetworkInner {
    /// Makes a connection of a handshake that this node began and that took so
    /// long, from the dial on. The connection may be another one, if the peer's
    /// own dial came first.
    pub(super) fn dialed(
        &self,
        node: &Arc<NodeInner>,
        stream: Stream,
        established: Established,
        redial: Redial,
        terms: Terms,
        took: Duration,
    ) -> Arc<Connection> {
        let tail = established.tail.clone();
        let lock = Lock { tls: redial.way.is_secure(), cookie: redial.cookie.clone() };
        let agreement = self.agreement(established, Some(redial), terms, lock, took);
        let connection = Connection::new(node, agreement);
        let (connection, adopted) = self.adopt(node, connection);
        if adopted {
            connection.start(stream, tail);
        }
        connection
    }

    /// Makes a connection of a handshake that the peer began and that took so long.
    pub(super) async fn accepted(
        &self,
        node: &Arc<NodeInner>,
        stream: Stream,
        established: Established,
        terms: Terms,
        lock: Lock,
        took: Duration,
    ) {
        let tail = established.tail.clone();
        let creation = established.peer.creation;
        let connection = Connection::new(node, self.agreement(established, None, terms, lock, took));
        let (mut there, mut adopted) = self.adopt(node, connection.clone());
        // A stock node that was dialed at the same time has kept one of the two
        // connections. If it was this one it closes the other.
        if !adopted
            && there.peer.creation == creation
            && !connection.is_down()
            && tokio::time::timeout(NOTICE, there.forsaken()).await == Ok(true)
        {
            (there, adopted) = self.adopt(node, connection.clone());
        }
        if adopted {
            there.start(stream, tail);
        }
    }

    /// The handshake of a peer that was let in has come to its end.
    pub(super) fn has_met(&self, peer: Atom) {
        self.dialing.has_met(peer);
    }

    fn agreement(
        &self,
        established: Established,
        redial: Option<Redial>,
        terms: Terms,
        lock: Lock,
        took: Duration,
    ) -> Agreement {
        let ends = [established.local.node, established.peer.node];
        let asking = terms.mapping.as_ref().and_then(|mapping| mapping.without(ends));
        let asking = asking.map(|mapping| Box::new(established.tables(Some(mapping))));
        let allowed = self.allowed(established.local.flags, terms.most());
        let (encode, decode) = established.tables(terms.mapping.map(Arc::unwrap_or_clone));
        let keepalive = Keepalive::agreed(&established);
        let flags = established.local.flags & established.peer.flags;
        let peer = &established.peer;
        let peer_max_frame = match peer.max_message_size {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Agreement {
            peer: Peer {
                name: peer.node,
                creation: peer.creation,
                flags: peer.flags.effective(),
                generation: Generation::between(&established.local, peer),
                version: peer.version.to_string(),
            },
            limits: Limits { max_frame: self.options.max_message_size, peer_max_frame },
            pool_size: usize::from(established.pool_size.clamp(1, MAX_POOL_SIZE)),
            encode,
            decode,
            asking,
            keepalive,
            fragmentation: flags.allows(NetworkFlags::FRAGMENTATION),
            id: established.connection_id,
            redial,
            patience: patience(took, self.options.handshake_timeout),
            allowed,
            log: terms.log,
            door: terms.door,
            lock,
            stack: terms.stack,
            through: terms.through,
        }
    }

    /// Makes `new` the connection with its peer, unless the one there is stays.
    fn adopt(&self, node: &NodeInner, new: Arc<Connection>) -> (Arc<Connection>, bool) {
        let peer = new.peer.name;
        let replaced = {
            let _changing = self.changing.lock();
            if node.is_stopping() {
                new.discard();
                return (new, false);
            }
            let old = self.connected(peer);
            if let Some(old) = &old
                && self.stays(old, new.peer.creation, &new.lock)
            {
                return (old.clone(), false);
            }
            self.change(|connections| {
                connections.insert(peer, new.clone());
            });
            if let Some(old) = &old {
                self.joinable.remove(old);
            }
            self.joinable.add(&new);
            let replaced = old.filter(|old| {
                let first = old.claim_end(DownReason::Replaced);
                self.announce_end(old);
                first
            });
            let (dialed, road) = (new.was_dialed(), new.road().cloned());
            log!(new.log, INFO, node = %node.name, %peer, dialed, "connected");
            let _ = self.events.send(NetworkEvent::Connected { peer, dialed, road });
            replaced
        };
        if let Some(old) = replaced {
            old.end();
        }
        self.dialing.connected(peer);
        (new, true)
    }

    /// Lets a peer in that began a handshake, if a connection with it may be
    /// made now. Then [`has_met`](Self::has_met) is owed.
    pub(super) async fn admits(&self, node: &NodeInner, peer: Atom, creation: i64, lock: &Lock) -> bool {
        let in_the_way = || self.connected(peer).filter(|old| self.stays(old, creation, lock));
        if let Some(old) = in_the_way() {
            // The peer may have closed it, and that is just being noticed.
            let _ = tokio::time::timeout(NOTICE, old.forsaken()).await;
        }
        in_the_way().is_none() && !node.is_stopping() && self.dialing.admit(node.name, peer)
    }

    /// Whether `old` stays although a handshake with the same peer succeeded.
    ///
    /// A younger creation is that of a peer that was restarted. One that dials
    /// although it has long been connected, or has closed a link of a young
    /// connection, does not have that connection. Those make a new one right.
    ///
    /// What is left is several dials at once: the connection that was there
    /// first stays, as at a stock node. Two dials of nodes of this kind do not
    /// come so far, see [`dialing::Dialing`].
    ///
    /// None of this is for who proved another cookie, or comes without TLS where
    /// there was TLS: as long as nothing is lost of the connection, what was
    /// asked of the peer by route or acceptor is not undone by a weaker door.
    fn stays(&self, old: &Connection, creation: i64, lock: &Lock) -> bool {
        if !old.is_down() && !old.has_lost_a_link() && !lock.replaces(&old.lock) {
            return true;
        }
        if old.is_down() || old.peer.creation != creation {
            return !old.is_down() && creation < old.peer.creation;
        }
        old.since.elapsed() < AT_ONCE && !old.has_lost_a_link()
    }

    /// Forgets a connection that has ended.
    pub(super) fn forget(&self, connection: &Connection) {
        let peer = connection.peer.name;
        let _changing = self.changing.lock();
        if self.connected(peer).is_some_and(|known| std::ptr::eq(&*known, connection)) {
            self.change(|connections| {
                connections.remove(&peer);
            });
            self.joinable.remove(connection);
            self.announce_end(connection);
        }
    }

    /// Tells that a connection has ended that was known until now; the caller
    /// holds `changing`. So what is announced of a peer alternates.
    fn announce_end(&self, connection: &Connection) {
        let (peer, reason) = (connection.peer.name, connection.end_reason());
        log!(connection.log, INFO, %peer, %reason, "disconnected");
        let _ = self.events.send(NetworkEvent::Disconnected { peer, reason });
    }

    /// Replaces the snapshot that senders read; the caller holds `changing`.
    fn change(&self, change: impl FnOnce(&mut Connections)) {
        let mut connections = Connections::clone(&self.connections.load());
        change(&mut connections);
        self.connections.store(Arc::new(connections));
    }
}
