//! Which connections peers may bring links to.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::connection::Connection;
use crate::Atom;

/// The peer of each connection that was accepted, by the id of the connection:
/// whoever asks to join one says its id before having proved anything, and is
/// not to make the node look through all of them.
#[derive(Debug, Default)]
pub(super) struct Joinable(Mutex<HashMap<String, Atom>>);

impl Joinable {
    /// A connection is there now. If there is another one of its id, which
    /// handshakes are to make impossible, that one can be joined no more.
    pub(super) fn add(&self, connection: &Connection) {
        if !connection.was_dialed() {
            self.0.lock().insert(connection.id.clone(), connection.peer.name);
        }
    }

    /// It is there no more.
    pub(super) fn remove(&self, connection: &Connection) {
        let mut joinable = self.0.lock();
        if !connection.was_dialed() && joinable.get(&connection.id) == Some(&connection.peer.name) {
            joinable.remove(&connection.id);
        }
    }

    /// With whom the connection is that has this id.
    pub(super) fn peer(&self, id: &str) -> Option<Atom> {
        self.0.lock().get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use crate::Node;
    use crate::network::MemoryNetwork;

    fn count(node: &Node) -> usize {
        node.network().inner().joinable.0.lock().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_there_as_long_as_it_lives_where_it_was_accepted() {
        let network = MemoryNetwork::new();
        let node = |name| Node::builder(name).memory_network(&network).cookie("c").start();
        let (here, there) = (node("one@here").await.unwrap(), node("two@there").await.unwrap());
        for _ in 0..2 {
            let mut events = there.network().subscribe();
            here.network().connect("two@there").await.unwrap();
            events.recv().await.unwrap();
            assert_eq!((count(&here), count(&there)), (0, 1));
            assert!(here.network().disconnect("two@there").await);
            events.recv().await.unwrap();
            assert_eq!((count(&here), count(&there)), (0, 0));
        }
        here.stop().await;
        there.stop().await;
    }
}
