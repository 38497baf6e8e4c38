//! Tunnels over which nothing comes.

use std::io::{BufRead, Read};

use postroad::NetworkFlags;
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
    Idle { tunnels, before, after: carrier.resident() }
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
