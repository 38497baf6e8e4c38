//! Tunnels over which nothing comes.

use std::io::{BufRead, Read};
use std::time::Duration;

use postroad::network::{NetworkProxyRoute, NetworkRoute, exact};
use postroad::{NetworkFlags, NetworkMode, Node, NodeBuilder};
use postroad_wire::tunnel::{Answer, Knock, Open, Operations, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Process;
use crate::report::Idle;
use crate::roles;
use crate::support::COOKIE;
use crate::support::scripted::{Caller, Desk, introduction};

/// How many are opened at once.
const AT_ONCE: usize = 16;

/// How many tunnels one connection has where there is TLS: its links. An acceptor
/// lets one address shake hands 64 times at once, and both ends dial.
const LINKS: u16 = 20;

/// So long the links of a connection are waited for: on a busy machine some are
/// given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process has open besides, at most.
const OTHER_FILES: usize = 64;

/// What a gateway needs for so many tunnels, or for as many as this machine allows:
/// each is two files at the gateway, and two at the ends.
pub(crate) fn measure(tunnels: usize) -> Idle {
    let mut idlers = Process::start("idlers", &[]);
    let target = idlers.ready().remove(0);
    let tunnels = tunnels.min((idlers.files() - OTHER_FILES) / 2);
    let gateway = "gateway-of-idlers@127.0.0.1";
    let carrier = Process::start("gateway", &[gateway.to_owned(), target]);
    let port = carrier.ready().remove(0);
    let before = carrier.resident();
    idlers.tell(&format!("{gateway} {port} {tunnels}"));
    idlers.ready();
    Idle { tls: false, tunnels, before, after: carrier.resident() }
}

/// The same with TLS between the gateway and both ends, which real nodes are: the
/// targets have dialed the gateway, and dial back.
pub(crate) fn measure_tls(tunnels: usize) -> Idle {
    let carrier = Process::start("tls gateway", &[TLS_GATEWAY.to_owned()]);
    let port = carrier.ready().remove(0);
    let mut idlers = Process::start("tls idlers", &[]);
    let most = (carrier.files().min(idlers.files()) - OTHER_FILES) / 2;
    let connections = tunnels.min(most - most / LINKS as usize).div_ceil(LINKS.into());
    idlers.tell(&format!("{port} {connections}"));
    idlers.ready();
    let before = carrier.resident();
    idlers.tell("open");
    let tunnels = idlers.ready().remove(0).parse().unwrap();
    Idle { tls: true, tunnels, before, after: carrier.resident() }
}

const TLS_GATEWAY: &str = "tls-gateway-of-idlers@127.0.0.1";

/// A client and so many targets without a port.
pub(crate) fn play_tls() {
    let runtime = roles::runtime();
    let mut lines = std::io::stdin().lock().lines();
    let mut hears = || lines.next().unwrap().unwrap();
    let line = hears();
    let (port, connections) = line.split_once(' ').unwrap();
    let connections: usize = connections.parse().unwrap();
    let gateway = NetworkRoute::to("127.0.0.1", port.parse().unwrap()).tls(true).insecure_skip_verify(true);
    let start = async |name: String, builder: fn(NodeBuilder) -> NodeBuilder| -> Node {
        let node = Node::builder(name).cookie(COOKIE).network(NetworkMode::Hidden).without_registrar();
        let node = builder(node.keepalive(None)).start().await.unwrap();
        node.network().add_route(&exact(TLS_GATEWAY), gateway.clone(), 1).unwrap();
        node.network().connect(TLS_GATEWAY).await.unwrap();
        node
    };
    let (client, targets) = runtime.block_on(async {
        let client = start("client@127.0.0.1".to_owned(), |builder| builder).await;
        let mut targets = Vec::new();
        for number in 0..connections {
            targets
                .push(start(format!("idler-{number}@127.0.0.1"), |builder| builder.pool_size(LINKS)).await);
        }
        (client, targets)
    });
    println!("ready");
    hears();
    runtime.block_on(async {
        client.network().add_proxy_route("^idler-", NetworkProxyRoute::via(TLS_GATEWAY), 1).unwrap();
        for target in &targets {
            client.network().connect(target.name().as_str()).await.unwrap();
            let _ = tokio::time::timeout(PATIENCE, async {
                while client.network().peer(target.name().as_str()).unwrap().links < LINKS.into() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
    });
    let peers = client.network().peers();
    let links = peers.iter().filter(|peer| peer.name.as_str() != TLS_GATEWAY).map(|peer| peer.links);
    println!("{}\nready", links.sum::<usize>());
    lines.for_each(drop);
}

/// Both ends of all of them: a client, and a target that knows of no tunnels.
pub(crate) fn play() {
    let runtime = roles::runtime();
    let _open = runtime.block_on(async {
        let (desk, target) = (Desk::open().await, introduction("target"));
        println!("route {} {}", target.node, desk.port());
        println!("ready");
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).unwrap();
        let words: Vec<&str> = line.trim().split(' ').collect();
        let gateway = postroad::Atom::new(words[0]).unwrap();
        let (port, tunnels): (u16, usize) = (words[1].parse().unwrap(), words[2].parse().unwrap());

        let name = target.node;
        let accepting = tokio::spawn(async move {
            let mut callee = desk.called(target.clone()).await;
            callee.hello().await;
            callee.introduce().await;
            let connection = callee.agreed().await;
            let mut ends = Vec::new();
            while ends.len() < tunnels {
                ends.push(desk.called(target.clone()).await);
            }
            (connection, ends)
        });
        let mut says = introduction("client");
        says.flags = NetworkFlags::ENABLE | NetworkFlags::TUNNELS;
        let client = says.node;
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut caller = Caller::on(stream, says);
        caller.hello().await;
        let link = caller.introduce().await;

        let opened = futures_of(tunnels, || {
            let connection = link.connection_id.clone();
            async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let mut knock =
                    Knock::new(client, gateway, &connection, None, COOKIE.into(), rand::random(), None);
                let mut talk = loop {
                    if let Some(bytes) = knock.poll_transmit() {
                        stream.write_all(&bytes).await.unwrap();
                    }
                    if let Some(talk) = knock.receive(&read(&mut stream).await).unwrap() {
                        break talk;
                    }
                };
                let (operations, path) = (Operations::NONE, vec![client]);
                let open = Open { target: name, hops: 8, operations, patience: 30_000, path };
                stream.write_all(&talk.ask(&Request::Open(open))).await.unwrap();
                let answer = talk.answer(&read(&mut stream).await).unwrap();
                assert!(matches!(answer, Some(Answer::Opened { .. })), "{answer:?}");
                stream
            }
        });
        let opened = opened.await;
        let accepted = accepting.await.unwrap();
        (link, opened, accepted)
    });
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Does something so many times, a few at once.
async fn futures_of<F: Future<Output: Send + 'static> + Send + 'static>(
    count: usize,
    mut begin: impl FnMut() -> F,
) -> Vec<F::Output> {
    let (mut running, mut done) = (tokio::task::JoinSet::new(), Vec::new());
    for _ in 0..count {
        if running.len() == AT_ONCE {
            done.push(running.join_next().await.unwrap().unwrap());
        }
        running.spawn(begin());
    }
    while let Some(ended) = running.join_next().await {
        done.push(ended.unwrap());
    }
    done
}

async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the gateway has closed");
    bytes
}
