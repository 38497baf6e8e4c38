//! Places in the pool for links that are shaking hands.

use std::sync::Arc;

use super::Connection;
use super::slot::Slot;
use crate::network::transport::Stream;

/// A slot that is kept for a link that was admitted, until that is there or
/// does not come.
#[derive(Debug)]
pub(in crate::network) struct Reservation {
    connection: Arc<Connection>,
    index: usize,
    filled: bool,
}

impl Connection {
    /// Waits until a further link would find a place, and keeps that for it;
    /// nothing when the connection has ended.
    pub(in crate::network) async fn reserve(self: Arc<Self>) -> Option<Reservation> {
        let vacancy = async {
            loop {
                let mut vacated = std::pin::pin!(self.vacated.notified());
                vacated.as_mut().enable();
                if let Some(index) = self.slots.iter().position(Slot::reserve) {
                    return index;
                }
                vacated.await;
            }
        };
        let index = self.ended.run_until_cancelled(vacancy).await?;
        Some(Reservation { connection: self, index, filled: false })
    }
}

impl Reservation {
    /// Puts the link to work.
    pub(in crate::network) fn fill(mut self, stream: Stream, tail: Vec<u8>) {
        self.filled = true;
        self.connection.add_link(self.index, stream, tail);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.filled {
            return;
        }
        let slot = &self.connection.slots[self.index];
        slot.release();
        self.connection.vacated.notify_waiters();
        if slot.is_given_up() {
            self.connection.give_up_link(self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use postroad_edf::{DecodeTables, EncodeTables};
    use postroad_wire::NetworkFlags;
    use postroad_wire::enp::any::Generation;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::network::NetworkMode;
    use crate::network::connection::{Agreement, FIRST, Limits, Lock, Log, Peer};
    use crate::network::stack::Stack;
    use crate::{Atom, Node};

    /// A connection with a pool of two, as the accepting side has it.
    async fn connection(name: &str) -> (Node, Arc<Connection>) {
        let node = Node::builder(name).network(NetworkMode::Disabled).start().await.unwrap();
        let peer = Peer {
            name: Atom::new("peer@reservation").unwrap(),
            creation: 1,
            flags: NetworkFlags::NONE,
            generation: Generation::V320,
            version: String::new(),
        };
        let agreement = Agreement {
            peer,
            id: String::new(),
            limits: Limits { max_frame: 1 << 20, peer_max_frame: 1 << 20 },
            pool_size: 2,
            encode: EncodeTables::default(),
            decode: DecodeTables::default(),
            asking: None,
            keepalive: None,
            fragmentation: false,
            redial: None,
            patience: Duration::ZERO,
            allowed: NetworkFlags::NONE,
            log: Log::default(),
            door: None,
            lock: Lock { tls: false, cookie: "c".into() },
            stack: Stack::default(),
            through: None,
        };
        let connection = Connection::new(&node.network().0, agreement);
        (node, connection)
    }

    #[tokio::test]
    async fn one_place_is_given_once() {
        let (node, connection) = connection("one@reservation").await;
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(connection.clone().reserve());
        let mut second = pin!(connection.clone().reserve());
        let Poll::Ready(Some(place)) = first.as_mut().poll(&mut context) else { panic!("a place is free") };
        assert_eq!(place.index, 1, "the first one belongs to the link that the connection was made on");
        assert!(second.as_mut().poll(&mut context).is_pending(), "and there is only one");
        drop(place);
        assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(Some(_))), "it was not taken");
        node.stop().await;
    }

    #[tokio::test]
    async fn a_place_that_is_kept_gives_hope() {
        let (node, connection) = connection("hope@reservation").await;
        let place = connection.clone().reserve().await.unwrap();
        connection.slots[FIRST].release();
        connection.give_up_link(FIRST);
        connection.give_up_link(1);
        assert!(!connection.is_down(), "a link is shaking hands");
        drop(place);
        assert!(connection.is_down());
        node.stop().await;
    }

    #[tokio::test]
    async fn a_slot_without_hope_shares_the_next_link() {
        let (node, connection) = connection("next@reservation").await;
        let written = connection.slots[FIRST].append(2, true, |out| {
            out.extend_from_slice(b"waits");
            Ok::<_, std::convert::Infallible>(())
        });
        assert!(written.is_ok());
        connection.slots[FIRST].release();
        connection.give_up_link(FIRST);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = Stream::prepared(TcpStream::connect(("127.0.0.1", port)).await.unwrap()).unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        connection.add_link(1, stream, Vec::new());
        let mut heard = [0; 5];
        let read = tokio::time::timeout(Duration::from_secs(10), peer.read_exact(&mut heard));
        read.await.expect("it goes out").unwrap();
        assert_eq!(&heard, b"waits");
        connection.discard();
        node.stop().await;
    }
    /// The peer may not have read yet what came over the link that was lost.
    #[tokio::test]
    async fn what_follows_a_lost_link_by_another_one_comes_a_while_later() {
        let (node, connection) = connection("while@reservation").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut peers = Vec::new();
        for index in [FIRST, 1] {
            let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            connection.add_link(index, Stream::prepared(socket).unwrap(), Vec::new());
            peers.push(listener.accept().await.unwrap().0);
        }
        drop(peers.pop());
        while connection.slots[1].awaits().is_none() {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        while connection.slots[1].awaits().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!connection.is_down());
        assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
        tokio::time::resume();
        connection.discard();
        node.stop().await;
    }
}
