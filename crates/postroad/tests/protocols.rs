//! Another way to lay frames on links beside ENP's, chosen by route, acceptor
//! and registrar.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postroad::network::{
    AcceptorOptions, AddRouteError, AttemptError, DownReason, FrameReader, FrameWriter, InvalidRoute,
    MemoryNetwork, NetworkEvent, NetworkProxyRoute, NetworkRoute, Protocol, ProtocolError, Stage,
    TransitOptions, TransitRule, exact,
};
use postroad::registrar::{BoxFuture, Endpoint, ResolveError, Resolver};
use postroad::tls::TlsOptions;
use postroad::{Atom, Down, ExitReason, Message, Node, NodeBuilder, Pid, StartError, Watched};
use postroad_wire::Version;
use support::authority::Authority;
use support::forwarder::Forwarder;
use support::log::Log;
use support::puppet::{Notice, Wish, puppet, wish};
use support::{COOKIE, Echo, all_links, builder, dial, next, node, port, probe, unique};

/// Frames are said backwards, behind a length and a sum that depends on how many
/// there were before: what is lost, repeated or out of order on a link breaks it.
#[derive(Debug, Clone, Default)]
struct Sums {
    /// Has the next sum that is written be wrong.
    spoil: Arc<AtomicBool>,
    /// What to panic at, each once.
    panics: Arc<Panics>,
}

#[derive(Debug, Default)]
struct Panics {
    write: AtomicBool,
    read: AtomicBool,
    link: AtomicBool,
}

fn version() -> Version {
    Version::new("SUMS", "R1")
}

struct Link {
    sums: Sums,
    count: u32,
    /// The reader takes what it gets and keeps what is no frame yet.
    kept: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("the sum is wrong")]
struct WrongSum;

const HEADER: usize = 8;

fn sum(count: u32, frame: &[u8]) -> u32 {
    frame.iter().fold(count, |sum, byte| sum.rotate_left(5).wrapping_add(u32::from(*byte)))
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

impl Protocol for Sums {
    fn version(&self) -> Version {
        version()
    }

    fn link(&self) -> (Box<dyn FrameWriter>, Box<dyn FrameReader>) {
        assert!(!self.panics.link.swap(false, Ordering::SeqCst), "no link");
        let link = || Box::new(Link { sums: self.clone(), count: 0, kept: Vec::new() });
        (link(), link())
    }
}

impl FrameWriter for Link {
    fn write(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        self.count += 1;
        let spoiled = u32::from(self.sums.spoil.swap(false, Ordering::SeqCst));
        out.extend((frame.len() as u32).to_le_bytes());
        assert!(!self.sums.panics.write.swap(false, Ordering::SeqCst), "not written");
        out.extend((sum(self.count, frame) + spoiled).to_le_bytes());
        out.extend(frame.iter().rev());
    }
}

impl FrameReader for Link {
    fn read(&mut self, bytes: &[u8], limit: usize, frame: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        assert!(!self.sums.panics.read.swap(false, Ordering::SeqCst), "not read");
        let take = |kept: &mut Vec<u8>, until: usize, bytes: &[u8]| {
            let taken = bytes.len().min(until.saturating_sub(kept.len()));
            kept.extend(&bytes[..taken]);
            taken
        };
        let header = take(&mut self.kept, HEADER, bytes);
        if self.kept.len() < HEADER {
            return Ok(header);
        }
        let len = number(&self.kept) as usize;
        if len > limit {
            return Err(ProtocolError::TooLong { len, limit });
        }
        let body = take(&mut self.kept, HEADER + len, &bytes[header..]);
        if self.kept.len() == HEADER + len {
            self.count += 1;
            frame.extend(self.kept[HEADER..].iter().rev());
            if number(&self.kept[4..]) != sum(self.count, frame) {
                return Err(ProtocolError::broken(WrongSum));
            }
            self.kept.clear();
        }
        Ok(header + body)
    }
}

/// The same under another name.
#[derive(Debug)]
struct Words;

impl Protocol for Words {
    fn version(&self) -> Version {
        Version::new("WORDS", "R7")
    }

    fn link(&self) -> (Box<dyn FrameWriter>, Box<dyn FrameReader>) {
        Sums::default().link()
    }
}

/// A node with an acceptor for ENP and one for sums.
fn both(name: &str) -> NodeBuilder {
    let sums = AcceptorOptions::bind("127.0.0.1", 0).protocol(version());
    builder(name).protocol(Sums::default()).acceptor(sums)
}

fn ports(node: &Node) -> [u16; 2] {
    let acceptors = node.network().acceptors();
    assert!(acceptors[0].protocol.same_release(&Version::enp()));
    assert!(acceptors[1].protocol.same_release(&version()));
    [acceptors[0].address.port(), acceptors[1].address.port()]
}

fn to(port: u16) -> NetworkRoute {
    NetworkRoute::to("127.0.0.1", port)
}

/// A route on which sums are spoken.
fn by_sums(port: u16) -> NetworkRoute {
    to(port).proto_version(version())
}

/// Two nodes that speak sums, with all links between them, and a road that can
/// be cut.
struct Pair {
    here: Node,
    there: Node,
    echo: Pid,
    sums: Sums,
    road: Forwarder,
}

async fn pair() -> Pair {
    let there = both("there").start().await.unwrap();
    let echo = there.spawn::<Echo>(()).await.unwrap();
    let sums = Sums::default();
    let here = builder("here").protocol(sums.clone()).start().await.unwrap();
    let road = Forwarder::to(ports(&there)[1]).await;
    dial(&here, &there, by_sums(road.port)).await.unwrap();
    all_links(&here, &there).await;
    all_links(&there, &here).await;
    Pair { here, there, echo, sums, road }
}

impl Pair {
    async fn answers(&self) {
        assert_eq!(self.here.call::<u64>(self.echo, 7u64).await.unwrap(), 7);
    }

    /// A link is lost that `cause` is the end of, and has a successor on both
    /// sides: what is sent before it is noticed here would be lost too.
    async fn loses_a_link(&self, cause: impl Future<Output = String>) {
        let dialed = self.road.accepted();
        cause.await;
        while self.road.accepted() == dialed {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        all_links(&self.here, &self.there).await;
        all_links(&self.there, &self.here).await;
        self.answers().await;
    }

    async fn end(self) {
        stop([self.here, self.there]).await;
    }
}

async fn stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_route_and_an_acceptor_choose_another_protocol() {
    let there = both("there").start().await.unwrap();
    let echo = there.spawn::<Echo>(()).await.unwrap();
    let [enp, sums] = ports(&there);
    let here = builder("here").protocol(Sums::default()).start().await.unwrap();
    dial(&here, &there, by_sums(sums)).await.unwrap();
    let explained = here.network().explain(there.name().as_str()).await.unwrap().to_string();
    assert!(explained.contains("protocol SUMS:R1"), "{explained}");
    assert_eq!(here.call::<String>(echo, "by sums".to_owned()).await.unwrap(), "by sums");

    let beside = node("beside").await;
    dial(&beside, &there, to(enp)).await.unwrap();
    assert_eq!(beside.call::<String>(echo, "by ENP".to_owned()).await.unwrap(), "by ENP");
    for (near, far, spoken) in [(&here, &there, version()), (&beside, &there, Version::enp())] {
        for (node, peer) in [(near, far), (far, near)] {
            all_links(node, peer).await;
            let protocol = node.network().peer(peer.name().as_str()).unwrap().protocol;
            assert!(protocol.same_release(&spoken), "{protocol}");
        }
    }
    stop([here, beside, there]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_connections_do_is_done_over_it() {
    let pair = pair().await;
    // In fragments, both ways, and small ones behind large ones.
    for size in [0, 1, 300_000, 5 << 20] {
        let large: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        assert!(pair.here.call::<Vec<u8>>(pair.echo, large.clone()).await.unwrap() == large, "{size}");
        pair.answers().await;
    }
    let (mut watcher, target) = (puppet(&pair.here).await, puppet(&pair.there).await);
    wish(&watcher, Wish::Monitor, Watched::Pid(target.pid)).await.unwrap();
    pair.there.kill(target.pid);
    let killed = Down { subject: Watched::Pid(target.pid), reason: ExitReason::Kill };
    assert_eq!(watcher.told().await, Notice::Down(killed));
    pair.end().await;
}

/// So that the order can be told.
#[derive(Debug, Message)]
struct Numbered {
    number: u64,
    bytes: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_while_links_are_killed() {
    let Pair { here, there, road, .. } = pair().await;
    let (probe, mut inbox) = probe(&there).await;
    // Not a multiple: what was under way when a link died is lost, and the last one must not be.
    let count = 11_000u64;
    let (sender, receiver) = (here.clone(), there.clone());
    let sending = tokio::spawn(async move {
        for number in 0..count {
            sender.send(probe, Numbered { number, bytes: vec![0; 100] }).await.unwrap();
            if number % 4000 == 3999 {
                let made = road.accepted();
                road.cut();
                // With no link left the connection would end.
                while road.accepted() < made + 3 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                all_links(&sender, &receiver).await;
            }
        }
        road
    });
    let mut last = None;
    while last != Some(count - 1) {
        let got = tokio::time::timeout(Duration::from_secs(30), next::<Numbered>(&mut inbox)).await;
        let Numbered { number, bytes } = got.expect("more of them");
        assert!(last.is_none_or(|last| last < number) && bytes.len() == 100, "{number} after {last:?}");
        last = Some(number);
    }
    let road = sending.await.unwrap();
    assert!(road.accepted() > 3, "links were replaced");
    stop([here, there]).await;
}

#[tokio::test]
async fn a_name_that_nobody_speaks_is_an_error_early() {
    let plain = node("plain").await;
    let error = plain.network().add_route("^nobody@", by_sums(port(&plain)), 1).unwrap_err();
    assert_eq!(error, AddRouteError::Route(InvalidRoute::UnknownProtocol { version: version() }));
    assert!(error.to_string().contains("no proto handler for SUMS:R1"), "{error}");
    plain.stop().await;

    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).protocol(version());
    let started = Node::builder(unique("unknown")).cookie(COOKIE).acceptor(acceptor).start().await;
    assert!(matches!(started, Err(StartError::UnknownProtocol { .. })), "{started:?}");
}

/// Says that a node is at a port, and what is spoken there.
#[derive(Debug)]
struct Says(u16, Version);

impl Resolver for Says {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: self.0,
            tls: false,
            handshake_version: Version::default(),
            proto_version: self.1.clone(),
        };
        Box::pin(async { Ok(vec![endpoint]) })
    }

    fn describe(&self) -> String {
        "a test".to_owned()
    }
}

#[tokio::test]
async fn a_resolver_says_what_is_spoken() {
    let there = both("there").start().await.unwrap();
    let [_, sums] = ports(&there);
    let said = |version| NetworkRoute::resolve_with(Arc::new(Says(sums, version)));
    let beside = node("beside").await;
    let error = dial(&beside, &there, said(version())).await.unwrap_err();
    assert!(matches!(error.attempts[0].error, AttemptError::UnknownVersion { .. }), "{error}");
    let here = builder("here").protocol(Sums::default()).start().await.unwrap();
    dial(&here, &there, said(version())).await.unwrap();
    assert!(here.network().disconnect(there.name().as_str()).await);
    // The route goes before the resolver.
    dial(&here, &there, said(Version::enp()).proto_version(version())).await.unwrap();
    stop([here, beside, there]).await;
}

/// Acceptors announce what is spoken there.
#[tokio::test(start_paused = true)]
async fn a_registrar_is_told_what_is_spoken() {
    support::log::install();
    let network = MemoryNetwork::new();
    let node = |name: &str| {
        let acceptor = AcceptorOptions::default().protocol(version());
        Node::builder(name)
            .memory_network(&network)
            .cookie(COOKIE)
            .protocol(Sums::default())
            .acceptor(acceptor)
    };
    let (here, there) = (node("one@here").start().await.unwrap(), node("two@there").start().await.unwrap());
    here.network().connect("two@there").await.unwrap();
    let spoken = here.network().peer("two@there").unwrap().protocol;
    assert!(spoken.same_release(&version()), "{spoken}");
    stop([here, there]).await;
}

#[tokio::test]
async fn a_wrong_sum_ends_the_link_and_says_so() {
    let log = Log::start();
    let pair = pair().await;
    pair.loses_a_link(async {
        pair.sums.spoil.store(true, Ordering::SeqCst);
        pair.here.send(pair.echo, 1u64).await.unwrap();
        log.says(&["WARN", "link closed", "SUMS:R1: the peer broke its rules: the sum is wrong"]).await
    })
    .await;
    pair.end().await;
}

/// What panics takes its link along and what it was at, nothing else.
#[tokio::test]
async fn a_panic_ends_the_link_and_says_so() {
    let log = Log::start();
    let pair = pair().await;
    let panics = pair.sums.panics.clone();
    for (panics, said) in [(&panics.write, "not written"), (&panics.read, "not read")] {
        pair.loses_a_link(async {
            panics.store(true, Ordering::SeqCst);
            // It is written here, or its echo is read here.
            pair.here.send(pair.echo, 1u64).await.unwrap();
            log.says(&["WARN", "link closed", "SUMS:R1", "panicked", said]).await
        })
        .await;
    }
    let mut events = pair.here.network().subscribe();
    panics.link.store(true, Ordering::SeqCst);
    pair.road.cut();
    log.says(&["ERROR", "the protocol panicked", "no link"]).await;
    let down = events.recv().await.unwrap();
    assert!(matches!(down, NetworkEvent::Disconnected { reason: DownReason::Lost, .. }), "{down:?}");
    pair.answers().await;
    pair.end().await;
}

/// Both sides say what they speak and hear; nobody waits for long.
#[tokio::test]
async fn who_speaks_something_else_is_told_so() {
    let log = Log::start();
    let there = both("there").start().await.unwrap();
    let [enp, sums] = ports(&there);
    let here = builder("here").protocol(Sums::default()).protocol(Words).start().await.unwrap();

    let error = dial(&here, &there, by_sums(enp)).await.unwrap_err();
    assert_eq!(error.attempts[0].stage, Stage::Introduce, "{error}");
    assert!(error.to_string().contains("this side speaks SUMS:R1 here and the peer does not"), "{error}");
    log.says(&["WARN", "link closed", "this side speaks ENP:R1 here and the peer does not, but SUMS:R1"])
        .await;

    let words = to(sums).proto_version(Words.version());
    let error = dial(&here, &there, words).await.unwrap_err();
    assert!(error.to_string().contains("speaks WORDS:R7 here and the peer does not, but SUMS:R1"), "{error}");
    log.says(&["WARN", "handshake failed", "speaks SUMS:R1 here", "but WORDS:R7"]).await;

    // Who speaks ENP is connected before the other side has said a word.
    let mut events = here.network().subscribe();
    let _ = dial(&here, &there, to(sums)).await;
    let down = async { while !matches!(events.recv().await.unwrap(), NetworkEvent::Disconnected { .. }) {} };
    tokio::time::timeout(Duration::from_secs(4), down).await.expect("it does not stay");
    log.says(&["WARN", "link closed", "speaks ENP:R1 here", "but SUMS:R1"]).await;
    log.says(&["WARN", "handshake failed", "speaks SUMS:R1 here and the peer does not"]).await;
    stop([here, there]).await;
}

#[tokio::test]
async fn it_is_spoken_over_tls() {
    let authority = Authority::new("ours");
    let there = both("there").tls(TlsOptions::new().identity(authority.identity())).start().await.unwrap();
    let echo = there.spawn::<Echo>(()).await.unwrap();
    let here = builder("here").protocol(Sums::default()).tls(TlsOptions::new().trust(authority.trust()));
    let here = here.start().await.unwrap();
    let [_, sums] = ports(&there);
    dial(&here, &there, by_sums(sums).tls(true)).await.unwrap();
    let large = vec![7u8; 3 << 20];
    assert!(here.call::<Vec<u8>>(echo, large.clone()).await.unwrap() == large);
    all_links(&here, &there).await;
    stop([here, there]).await;
}

/// The two ends of a tunnel speak what the door speaks that the gateway came in
/// by; the gateway needs to know nothing of it on the client's side.
#[tokio::test]
async fn it_is_spoken_through_a_gateway() {
    let target = both("target").start().await.unwrap();
    let echo = target.spawn::<Echo>(()).await.unwrap();
    let open = TransitRule::new(".*", ".*").unwrap();
    let gateway = builder("gateway").protocol(Sums::default()).transit(TransitOptions::new().allow(open));
    let gateway = gateway.start().await.unwrap();
    dial(&gateway, &target, by_sums(ports(&target)[1])).await.unwrap();

    let client = builder("client").protocol(Sums::default()).start().await.unwrap();
    let (by, name) = (exact(gateway.name().as_str()), exact(target.name().as_str()));
    client.network().add_route(&by, to(port(&gateway)), 1).unwrap();
    let through = NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(&name, through, 1).unwrap();
    // What a static route says of the target holds for the ends of the tunnel too.
    client.network().add_route(&name, by_sums(support::dead_port()), 1).unwrap();
    assert_eq!(client.call::<u64>(echo, 7u64).await.unwrap(), 7);
    let peer = client.network().peer(target.name().as_str()).unwrap();
    assert!(peer.protocol.same_release(&version()) && peer.path.len() == 3, "{peer:?}");
    stop([client, gateway, target]).await;
}
