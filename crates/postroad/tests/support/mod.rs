//! What several test files use: nodes on ports of their own, and actors.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod authority;
pub mod between;
pub mod careful;
pub mod forwarder;
pub mod log;
pub mod puppet;
pub mod scripted;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postroad::network::{AcceptorOptions, ConnectError, NetworkRoute, NoRoute, ProxyFlags, exact};
use postroad::registrar::EmbeddedOptions;
use postroad::{
    Actor, Answer, Context, ExitReason, Handle, Node, NodeBuilder, Payload, Pid, Reply, SendError,
};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

pub const COOKIE: &str = "a cookie for tests";

/// All that a tunnel may permit; not that its ends encrypt.
pub const EVERYTHING: ProxyFlags = ProxyFlags {
    link: true,
    monitor: true,
    spawn: true,
    application_start: true,
    important_delivery: true,
    encryption: false,
};

/// A name that no other test has.
pub fn unique(name: &str) -> String {
    log::install();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}@127.0.0.1", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A node that listens on a port of the system's choice and registers nowhere.
pub fn builder(name: &str) -> NodeBuilder {
    Node::builder(unique(name))
        .cookie(COOKIE)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .without_registrar()
}

pub async fn node(name: &str) -> Node {
    builder(name).start().await.unwrap()
}

/// A port that was free a moment ago, for TCP and UDP, for a registrar.
pub fn registrar_options() -> EmbeddedOptions {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return EmbeddedOptions::port(port);
        }
    }
}

/// A port that refuses connections: taken, but not listened on.
pub fn dead_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}

/// Where a node listens.
pub fn port(node: &Node) -> u16 {
    node.network().acceptors()[0].address.port()
}

/// Connects by a route of its own, in place of one from before.
pub async fn dial(from: &Node, to: &Node, route: NetworkRoute) -> Result<(), Arc<NoRoute>> {
    let pattern = exact(to.name().as_str());
    let _ = from.network().remove_route(&pattern);
    from.network().add_route(&pattern, route, 1).unwrap();
    match from.network().connect(to.name().as_str()).await {
        Ok(_) => Ok(()),
        Err(ConnectError::NoRoute(no_route)) => Err(no_route),
        Err(other) => panic!("{other}"),
    }
}

/// Waits until a node has all three links with another one, of which nobody
/// tells.
pub async fn all_links(node: &Node, peer: &Node) {
    let joined = async {
        while node.network().peer(peer.name().as_str()).is_none_or(|peer| peer.links < 3) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), joined).await.expect("three links");
}

/// The peer does not read: sends to it until the road is full.
pub async fn fill(node: &Node, to: Pid) {
    let mut busy = 0;
    while busy < 1000 {
        match node.try_send(to, vec![0u8; 50_000]) {
            Ok(()) => busy = 0,
            Err(SendError::Busy { .. }) => busy += 1,
            Err(error) => panic!("{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Sends a message back to its sender, and answers with the request.
pub struct Echo;

impl Actor for Echo {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_other(&mut self, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
        Ok(ctx.send(ctx.sender(), message).await?)
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        _: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        Ok(Reply::Now(request))
    }
}

/// Passes on what it gets to the test.
pub struct Probe(mpsc::UnboundedSender<(Pid, Payload)>);

pub type Inbox = mpsc::UnboundedReceiver<(Pid, Payload)>;

impl Actor for Probe {
    type Args = mpsc::UnboundedSender<(Pid, Payload)>;
    type Messages = ();
    type Requests = ();

    async fn init(sender: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(sender))
    }

    async fn handle_other(&mut self, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.send((ctx.sender(), message));
        Ok(())
    }
}

pub async fn probe(node: &Node) -> (Pid, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (node.spawn::<Probe>(sender).await.unwrap(), receiver)
}

/// The next message, as a `T`.
pub async fn next<T: postroad::Message>(inbox: &mut Inbox) -> T {
    let (_, payload) = inbox.recv().await.expect("the probe is alive");
    payload.downcast().unwrap_or_else(|payload| panic!("got a {}", payload.type_name()))
}

/// Counts numbers.
pub struct Adder(pub i64);

impl Actor for Adder {
    type Args = i64;
    type Messages = (i64,);
    type Requests = (String, bool);

    async fn init(start: i64, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(start))
    }
}

impl Handle<i64> for Adder {
    async fn handle(&mut self, number: i64, _: &mut Context) -> Result<(), ExitReason> {
        self.0 += number;
        Ok(())
    }
}

impl Answer<bool> for Adder {
    type Reply = i64;

    async fn answer(&mut self, last: bool, _: &mut Context) -> Result<Reply<i64>, ExitReason> {
        Ok(if last { Reply::Last(self.0) } else { Reply::Now(self.0) })
    }
}

impl Answer<String> for Adder {
    type Reply = ();

    async fn answer(&mut self, what: String, ctx: &mut Context) -> Result<Reply<()>, ExitReason> {
        match what.as_str() {
            "panic" => panic!("asked to"),
            "exit" => Err(ExitReason::error("asked to")),
            "nil" => Ok(Reply::Now(())),
            "later" => {
                let reply = ctx.reply_to().unwrap();
                tokio::spawn(async move { reply.answer(7i64).await });
                Ok(Reply::Later)
            }
            "never" => Ok(Reply::Later),
            "hang" => std::future::pending().await,
            other => Ok(Reply::Error(other.into())),
        }
    }
}
