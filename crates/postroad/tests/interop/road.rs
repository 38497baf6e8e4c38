//! One node of each kind, and a road between them.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use postroad::network::{DownReason, NetworkEvent, NetworkRoute, exact};
use postroad::registrar::BoxFuture;
use postroad::{Actor, Atom, Context, ExitReason, Node, Payload, Pid};
use serde_json::json;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::peer::Peer;
use crate::support::{Inbox, builder, node, port, unique};
use crate::within;

/// Who makes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialer {
    Rust,
    Go,
}

impl Dialer {
    pub(crate) const BOTH: [Self; 2] = [Self::Rust, Self::Go];
}

/// A node of each kind, connected with all links.
pub(crate) async fn pair(dialer: Dialer) -> (Node, Peer) {
    let (node, go) = tokio::join!(node("rust"), Peer::start("go"));
    connect(dialer, &node, &go).await;
    (node, go)
}

/// The same with one link, so that nothing overtakes anything, and with nodes
/// that have started in different seconds, which is the rule outside of tests
/// and matters to 3.1.0 (`docs/wire/QUIRKS.md` section 2).
pub(crate) async fn one_link(dialer: Dialer) -> (Node, Peer) {
    let go = Peer::named(&unique("go"), &["-pool", "1"]).await;
    let start = || builder("rust").pool_size(1).start();
    let mut node = start().await.unwrap();
    while node.creation() == go.creation() {
        node.stop().await;
        node = start().await.unwrap();
    }
    connect(dialer, &node, &go).await;
    (node, go)
}

/// Connects two nodes over a static route, and waits for all links: while a
/// pool fills, Ergo moves its senders from link to link, and their messages
/// overtake each other.
pub(crate) async fn connect(dialer: Dialer, node: &Node, go: &Peer) {
    match dialer {
        Dialer::Rust => {
            rust_route(node, go, go.port());
            node.network().connect(go.name()).await.unwrap();
        }
        Dialer::Go => {
            go_route(go, node, port(node)).await;
            go.ask("connect", json!({"node": node.name().as_str()})).await;
        }
    }
    all_links(node, go).await;
}

/// A static route from the Rust node to the Go node, through a port.
pub(crate) fn rust_route(node: &Node, go: &Peer, port: u16) {
    node.network().add_route(&exact(go.name()), NetworkRoute::to("127.0.0.1", port), 100).unwrap();
}

/// A static route from the Go node to the Rust node, through a port.
pub(crate) async fn go_route(go: &Peer, node: &Node, port: u16) {
    let route = json!({"pattern": exact(node.name().as_str()), "host": "127.0.0.1", "port": port});
    go.ask("add_route", route).await;
}

/// Waits until both nodes see all links of their connection. Nobody tells when a
/// link has joined.
pub(crate) async fn all_links(node: &Node, go: &Peer) {
    let ours = || node.network().peer(go.name()).is_some_and(|peer| peer.links == peer.pool_size);
    let theirs = async || go.try_ask("node_info", json!({"node": node.name().as_str()})).await;
    within("all links", async {
        while !ours() || !theirs().await.is_ok_and(|info| info["links"] == info["pool_size"]) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Waits until the connection with that node has ended, and tells why.
pub(crate) async fn lost(events: &mut broadcast::Receiver<NetworkEvent>, name: &str) -> DownReason {
    within("the end of the connection", async {
        loop {
            match events.recv().await.unwrap() {
                NetworkEvent::Disconnected { peer, reason } if peer == name => return reason,
                _ => {}
            }
        }
    })
    .await
}

/// A process that does one thing when it begins, and then passes on to the test
/// what it is sent.
struct Courier(mpsc::UnboundedSender<(Pid, Payload)>);

type Errand = Box<dyn for<'a> FnOnce(&'a mut Context) -> BoxFuture<'a, ()> + Send>;

impl Actor for Courier {
    type Args = (Errand, mpsc::UnboundedSender<(Pid, Payload)>);
    type Messages = ();
    type Requests = ();

    async fn init((errand, inbox): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        errand(ctx).await;
        Ok(Self(inbox))
    }

    async fn handle_other(&mut self, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.send((ctx.sender(), message));
        Ok(())
    }
}

/// Has a new process do something; its result, its pid, and what it is sent.
pub(crate) async fn courier<T: Send + 'static>(
    node: &Node,
    errand: impl for<'a> FnOnce(&'a mut Context) -> BoxFuture<'a, T> + Send + 'static,
) -> (T, Pid, Inbox) {
    let (done, result) = oneshot::channel();
    let (sender, inbox) = mpsc::unbounded_channel();
    let errand: Errand = Box::new(move |ctx| {
        Box::pin(async move {
            let _ = done.send(errand(ctx).await);
        })
    });
    let pid = node.spawn::<Courier>((errand, sender)).await.unwrap();
    (result.await.unwrap(), pid, inbox)
}

/// Stops both nodes.
pub(crate) async fn end(node: Node, go: Peer) {
    go.stop().await;
    node.stop().await;
}

/// Whether the Rust node is connected with one of that name.
pub(crate) fn is_connected(node: &Node, peer: &str) -> bool {
    node.network().peer(peer).is_some()
}

/// A name on a node, as Rust addresses it.
pub(crate) fn at(name: &'static str, node: Atom) -> (&'static str, Atom) {
    (name, node)
}

/// A port that is free for TCP and UDP and stays so: above those that Go's
/// acceptors try, below those that the system gives away.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 31_100;
    const COUNT: u16 = 1600;
    // Several runs of these tests begin at different places, far from each other.
    let start = (std::process::id() % u32::from(COUNT) * 97 % u32::from(COUNT)) as u16;
    loop {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let udp = UdpSocket::bind(("0.0.0.0", port));
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && udp.is_ok() {
            return port;
        }
    }
}
