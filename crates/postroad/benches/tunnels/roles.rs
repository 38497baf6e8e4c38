//! What the processes do that a client has to do with.

use std::io::{self, Read};
use std::net::Shutdown;

use postroad::network::{
    AcceptorOptions, NetworkProxyRoute, NetworkRoute, TransitOptions, TransitRule, exact,
};
use postroad::tls::TlsOptions;
use postroad::{Actor, Answer, Context, ExitReason, Handle, Node, NodeBuilder, Reply, SpawnOptions};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use socket2::SockRef;
use tokio::io::{Interest, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::load::SENDERS;
use crate::support::COOKIE;
use crate::support::authority::Authority;
use crate::{idle, support};

/// Plays a role until nobody listens any more; false if it is none.
pub(crate) fn play(role: &str, arguments: &[String]) -> bool {
    match role {
        "target" => run(targets(arguments[0].parse().unwrap())),
        "gateway" => run(gateway(builder(&arguments[0]), &arguments[1..])),
        "tls gateway" => {
            let tls = TlsOptions::new().identity(Authority::new("bench").identity());
            run(gateway(builder(&arguments[0]).tls(tls).pool_size(1).keepalive(None), &[]));
        }
        "relay" => run(relay(arguments[0].parse().unwrap(), copy)),
        "splicer" => run(relay(arguments[0].parse().unwrap(), splice_both)),
        "idlers" => idle::play(),
        "tls idlers" => idle::play_tls(),
        _ => return false,
    }
    true
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Begins, says that it is ready, and ends when nobody listens any more.
fn run<T>(begin: impl Future<Output = T>) {
    let runtime = runtime();
    let _playing = runtime.block_on(begin);
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

pub(crate) fn builder(name: &str) -> NodeBuilder {
    let door = AcceptorOptions::bind("127.0.0.1", 0);
    Node::builder(name).cookie(COOKIE).acceptor(door).without_registrar()
}

/// What a node is told of others: `route NAME PORT` or `via NAME GATEWAY`.
pub(crate) fn learn(node: &Node, ways: &[String]) {
    for way in ways {
        let words: Vec<&str> = way.split(' ').collect();
        match words[..] {
            ["route", name, port] => {
                let _ = node.network().remove_route(&exact(name));
                let route = NetworkRoute::to("127.0.0.1", port.parse().unwrap());
                node.network().add_route(&exact(name), route, 1).unwrap();
            }
            ["via", name, gateway] => {
                let route = NetworkProxyRoute::via(gateway);
                node.network().add_proxy_route(&exact(name), route, 1).unwrap();
            }
            _ => panic!("not a way: {way}"),
        }
    }
}

/// So many nodes with sinks; says their names, ports and sinks.
async fn targets(count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in 0..count {
        let node = builder(&format!("target-{number}@127.0.0.1")).start().await.unwrap();
        let mut line = format!("{} {} {}", node.name(), support::port(&node), node.pid().creation);
        for _ in 0..SENDERS {
            let sink = node.spawn_with::<Sink>((), SpawnOptions::new()).await.unwrap();
            line.push_str(&format!(" {}", sink.id));
        }
        println!("{line}");
        nodes.push(node);
    }
    nodes
}

/// Lets everybody pass.
async fn gateway(builder: NodeBuilder, ways: &[String]) -> Node {
    let anybody = TransitRule::new(".*", ".*").unwrap().through(".*").unwrap();
    let transit = TransitOptions::new().allow(anybody).max_tunnels(20_000).max_tunnels_per_client(20_000);
    let node = builder.transit(transit.requests_per_second(1_000_000)).start().await.unwrap();
    learn(&node, ways);
    println!("{}", support::port(&node));
    node
}

/// Passes bytes on and does nothing else.
async fn relay<F>(target: u16, pass: fn(TcpStream, TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                pass(near, far).await;
            });
        }
    });
}

async fn copy(mut near: TcpStream, mut far: TcpStream) {
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

async fn splice_both(near: TcpStream, far: TcpStream) {
    let _ = tokio::try_join!(splice_all(&near, &far), splice_all(&far, &near));
}

/// A pipe for as long as the connection lasts.
async fn splice_all(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (inner, outer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        let fill = || Ok(splice(from, None, &outer, None, 64 << 10, flags)?);
        let mut left = from.async_io(Interest::READABLE, fill).await?;
        if left == 0 {
            return SockRef::from(to).shutdown(Shutdown::Write);
        }
        while left > 0 {
            let empty = || Ok(splice(&inner, None, to, None, left, flags)?);
            left -= to.async_io(Interest::WRITABLE, empty).await?;
        }
    }
}

/// Takes messages, and answers when it has got as many as it was asked for.
#[derive(Default)]
struct Sink {
    /// Below zero if more have come than it was asked for yet.
    left: i64,
    waiting: Option<postroad::ReplyTo>,
}

impl Actor for Sink {
    type Args = ();
    type Messages = (Vec<u8>,);
    type Requests = (i64, isize);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self::default())
    }
}

impl Handle<Vec<u8>> for Sink {
    async fn handle(&mut self, _: Vec<u8>, _: &mut Context) -> Result<(), ExitReason> {
        self.left -= 1;
        if self.left == 0
            && let Some(waiting) = self.waiting.take()
        {
            waiting.answer(true).await?;
        }
        Ok(())
    }
}

/// How many to expect, those included that have come already.
impl Answer<i64> for Sink {
    type Reply = bool;

    async fn answer(&mut self, expected: i64, ctx: &mut Context) -> Result<Reply<bool>, ExitReason> {
        self.left += expected;
        if self.left == 0 {
            return Ok(Reply::Now(true));
        }
        self.waiting = ctx.reply_to();
        Ok(Reply::Later)
    }
}

impl Answer<isize> for Sink {
    type Reply = isize;

    async fn answer(&mut self, number: isize, _: &mut Context) -> Result<Reply<isize>, ExitReason> {
        Ok(Reply::Now(number))
    }
}
