//! The embedded registrar against those who mean no good, and when its server
//! goes away.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use postroad::network::routes::Names;
use postroad::network::{
    AcceptorOptions, NetworkEvent, NetworkRoute, Reason, TransitOptions, TransitRule, exact,
};
use postroad::registrar::{
    Embedded, EmbeddedOptions, RegisterError, Registrar, RegistrarError, Registration, ResolveError, Resolver,
};
use postroad::{Atom, Node};
use postroad_wire::esrd::{self, Packet, Route};

use support::{COOKIE, Echo, builder, port, registrar_options, unique};

/// A node, and its view of the registrar.
async fn start(name: &str, options: &EmbeddedOptions) -> (Node, Embedded) {
    let embedded = Embedded::new(options.clone());
    let builder = Node::builder(name).cookie(COOKIE).registrar(Arc::new(embedded.clone()));
    let node =
        builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).start().await.expect("the node starts");
    (node, embedded)
}

fn encode(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes).expect("it is short");
    bytes
}

fn register(name: &str, routes: usize) -> Vec<u8> {
    encode(&Packet::Register { node: name.to_owned(), routes: vec![Route::to_port(1); routes] })
}

fn resolve(name: &str) -> Vec<u8> {
    encode(&Packet::Resolve { node: name.to_owned() })
}

/// Sends bytes to the server; gives back the link and what came until it was
/// quiet, or the link's end.
fn send(port: u16, bytes: &[u8]) -> (TcpStream, Option<Packet>) {
    let mut link = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
    link.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    // The server may close before everything is written.
    let _ = link.write_all(bytes);
    let mut reply = [0; 256];
    let reply = match link.read(&mut reply) {
        Ok(length) => Packet::decode(&reply[..length]).ok(),
        Err(_) => None,
    };
    (link, reply)
}

fn refused(reply: Option<Packet>) -> bool {
    !matches!(reply, Some(Packet::RegisterReply { error: None }))
}

/// Waits until `done` says so.
async fn until(done: impl AsyncFn() -> bool) {
    let waited = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it takes too long");
}

#[tokio::test]
async fn nodes_of_the_host_are_listed_by_the_server_and_its_clients() {
    let options = registrar_options();
    let (a, serving) = start(&unique("a"), &options).await;
    let (b, asking) = start(&unique("b"), &options).await;
    let (c, _) = start(&unique("c"), &options).await;
    assert!(serving.is_server() && serving.info().embedded);
    assert!(!asking.is_server() && asking.info().capabilities.nodes);
    let nodes = async |registrar: &Embedded| BTreeSet::from_iter(registrar.nodes().await.unwrap());
    assert_eq!(nodes(&serving).await, BTreeSet::from([b.name(), c.name()]));
    assert_eq!(nodes(&asking).await, BTreeSet::from([a.name(), c.name()]));
    c.stop().await;
    until(async || nodes(&asking).await == BTreeSet::from([a.name()])).await;
    b.stop().await;
    assert!(matches!(asking.nodes().await, Err(RegistrarError::Terminated)));
    assert!(matches!(asking.resolve(a.name()).await, Err(ResolveError::Terminated)));
}

#[tokio::test]
async fn a_registrar_registers_one_node_once() {
    let (_, embedded) = start(&unique("a"), &registrar_options()).await;
    let runtime = tokio::runtime::Handle::current();
    let another = Registration { node: Atom::new("b@localhost").unwrap(), endpoints: Vec::new(), runtime };
    assert!(matches!(embedded.register(another).await, Err(RegisterError::Used)));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_oversized_registrations_are_refused() {
    let options = registrar_options();
    let (a, serving) = start(&unique("a"), &options).await;
    let good = register("good@localhost", 1);
    let mut wrong_version = good.clone();
    wrong_version[0] = 2;
    let mut longer_than_it_is = good.clone();
    longer_than_it_is[2] = 0xff;
    let mut count = good.clone();
    let at = count.windows(5).position(|five| five == [0x9d, 0, 0, 0, 1]).unwrap();
    count[at + 1..at + 5].fill(0xff);
    let mut other_type = good.clone();
    other_type[1] = 46;
    for bytes in [
        vec![0; 64],
        vec![0xff; 100_000],
        wrong_version,
        count,
        other_type,
        register("no node", 1),
        register("a@b@c", 1),
        register("good@localhost", 0),
        register("good@localhost", 17),
        register(a.name().as_str(), 1),
        // Longer than the server reads.
        register(&format!("{}@localhost", "x".repeat(200)), 120),
        [longer_than_it_is, vec![0; 70_000]].concat(),
    ] {
        let front = bytes[..bytes.len().min(24)].to_vec();
        let (_, reply) = tokio::task::spawn_blocking(move || send(options.port, &bytes)).await.unwrap();
        assert!(refused(reply.clone()), "{front:02x?}: {reply:?}");
    }
    assert!(serving.nodes().await.unwrap().is_empty());
    let (_link, reply) = tokio::task::spawn_blocking(move || send(options.port, &good)).await.unwrap();
    assert_eq!(reply, Some(Packet::RegisterReply { error: None }));
    assert_eq!(serving.nodes().await.unwrap(), [Atom::new("good@localhost").unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_up_nobody_and_are_dropped() {
    let options = registrar_options();
    let (_a, serving) = start(&unique("a"), &options).await;
    let packet = register("slow@localhost", 1);
    let half = &packet[..packet.len() / 2];
    let mut silent: Vec<_> = (0..200)
        .map(|_| {
            let mut link = TcpStream::connect((Ipv4Addr::LOCALHOST, options.port)).unwrap();
            link.write_all(half).unwrap();
            link
        })
        .collect();
    let (b, _) = start(&unique("b"), &options).await;
    assert_eq!(serving.nodes().await.unwrap(), [b.name()]);
    let ended = tokio::task::spawn_blocking(move || {
        silent.iter_mut().all(|link| {
            link.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            matches!(link.read(&mut [0; 16]), Ok(0)) || link.read(&mut [0; 16]).is_err()
        })
    });
    assert!(ended.await.unwrap());
    assert_eq!(serving.nodes().await.unwrap(), [b.name()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_datagrams_is_answered_in_measure_and_harms_nobody() {
    let options = registrar_options();
    let (a, serving) = start(&unique("a"), &options).await;
    let answered = tokio::task::spawn_blocking({
        let (name, port) = (a.name(), options.port);
        move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let good = resolve(name.as_str());
            for number in 0..20_000_u32 {
                let packet = match number % 4 {
                    0 => good.clone(),
                    1 => number.to_be_bytes().repeat(20),
                    2 => good[..good.len() / 2].to_vec(),
                    _ => vec![1; 60_000],
                };
                let _ = socket.send(&packet);
            }
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut buffer = [0; esrd::MAX_RESOLVE_REPLY];
            let mut answered = 0;
            while let Ok(length) = socket.recv(&mut buffer) {
                let reply = Packet::decode(&buffer[..length]).unwrap();
                assert!(matches!(reply, Packet::ResolveReply { error: None, .. }), "{reply:?}");
                answered += 1;
            }
            answered
        }
    });
    let answered = answered.await.unwrap();
    assert!((1..=5000).contains(&answered), "{answered} answers");
    assert_eq!(serving.resolve(a.name()).await.unwrap().len(), 1);
    let other = Embedded::new(options.clone());
    assert_eq!(other.resolve(a.name()).await.unwrap().len(), 1, "the next second is another one");
}

#[tokio::test]
async fn answers_that_are_none_are_ignored() {
    // A registrar that says all kinds of things before it says something.
    let (a, options) = (Atom::new("a@127.0.0.1").unwrap(), registrar_options());
    let liar = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, options.port)).await.unwrap();
    let answer = async {
        let mut question = [0; esrd::MAX_RESOLVE];
        let (length, from) = liar.recv_from(&mut question).await.unwrap();
        assert_eq!(&question[..length], resolve("a@127.0.0.1"));
        let found = Packet::ResolveReply { routes: vec![Route::to_port(7)], error: None };
        let stranger = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let forged = Packet::ResolveReply { routes: vec![Route::to_port(666)], error: None };
        stranger.send_to(&encode(&forged), from).await.unwrap();
        for noise in [vec![], vec![0; 4096], resolve("x@y"), encode(&found)[..20].to_vec()] {
            liar.send_to(&noise, from).await.unwrap();
        }
        liar.send_to(&encode(&found), from).await.unwrap();
    };
    let embedded = Embedded::new(options.clone());
    let (resolved, ()) = tokio::join!(embedded.resolve(a), answer);
    assert_eq!(resolved.unwrap()[0].port, 7, "who answers from elsewhere is not heard");
}

#[tokio::test]
async fn another_node_takes_over_when_the_server_is_gone() {
    let options = registrar_options();
    let (a, _) = start(&unique("a"), &options).await;
    let (b, on_b) = start(&unique("b"), &options).await;
    let (c, on_c) = start(&unique("c"), &options).await;
    a.stop().await;
    until(async || on_b.is_server() || on_c.is_server()).await;
    assert!(on_b.is_server() != on_c.is_server());
    until(async || on_b.nodes().await.is_ok_and(|nodes| nodes == [c.name()])).await;
    until(async || on_c.nodes().await.is_ok_and(|nodes| nodes == [b.name()])).await;
    b.network().connect(c.name().as_str()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_reset_is_made_again() {
    let options = registrar_options();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).unwrap();
    let accept = move |server: TcpListener| {
        let (mut link, _) = server.accept().unwrap();
        let mut packet = [0; 4096];
        let length = link.read(&mut packet).unwrap();
        let Ok(Packet::Register { node, .. }) = Packet::decode(&packet[..length]) else {
            panic!("no registration")
        };
        link.write_all(&encode(&Packet::RegisterReply { error: None })).unwrap();
        (server, link, node)
    };
    let mut client = options.clone();
    client.may_serve = false;
    let first = tokio::task::spawn_blocking(move || accept(server));
    let (a, _) = start(&unique("a"), &client).await;
    let (server, link, node) = first.await.unwrap();
    assert_eq!(node, a.name().as_str());
    // Closed with something unread, a link is reset.
    let reset = socket2::SockRef::from(&link);
    reset.set_linger(Some(Duration::ZERO)).unwrap();
    drop(link);
    let (server, link, node) = tokio::task::spawn_blocking(move || accept(server)).await.unwrap();
    assert_eq!(node, a.name().as_str());
    // And so is one on which nonsense comes before it ends.
    (&link).write_all(&[0xff; 10_000]).unwrap();
    drop(link);
    let (_, _, node) = tokio::task::spawn_blocking(move || accept(server)).await.unwrap();
    assert_eq!(node, a.name().as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_talks_nonsense_is_not_waited_for() {
    let options = registrar_options();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).unwrap();
    std::thread::spawn(move || {
        let (mut link, _) = server.accept().unwrap();
        // More than anybody should keep, for as long as it is read.
        while link.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_ok() {}
    });
    let mut client = options.clone();
    client.may_serve = false;
    let error = Node::builder(unique("a"))
        .cookie(COOKIE)
        .embedded_registrar(client)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("is this port that of a registrar?"), "{error}");
}

/// A gateway to the nodes of the private network, that says so; and its registrar.
async fn start_gateway(options: &EmbeddedOptions) -> (Node, Embedded) {
    let embedded = Embedded::new(options.clone());
    let rule = TransitRule::new(".*", "private-.*").expect("a pattern");
    let builder = Node::builder(unique("gateway")).cookie(COOKIE).registrar(Arc::new(embedded.clone()));
    let builder = builder.transit(TransitOptions::new().allow(rule).announce(true));
    let builder = builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0));
    (builder.start().await.expect("the node starts"), embedded)
}

/// Waits until these are the proxies to a node, as that registrar knows.
async fn knows(registrar: &Embedded, to: Atom, proxies: &[Atom]) {
    until(async || match registrar.resolve_proxy(to).await {
        Ok(known) => known.iter().map(|found| found.proxy).collect::<Vec<_>>() == proxies,
        Err(ResolveError::Unknown) => proxies.is_empty(),
        Err(error) => panic!("{error}"),
    })
    .await;
}

/// > **Try proxy discovery** - If direct connection fails, try discovered proxy
/// > routes
///
/// Among the nodes of a host: whoever runs the registrar's server, and also
/// after another one has taken over.
#[tokio::test]
async fn seed_a_gateway_of_the_host_is_found_by_what_it_announces() {
    let options = registrar_options();
    let (first, serving) = start_gateway(&options).await;
    let (second, _) = start_gateway(&options).await;
    let (client, asking) = start(&unique("client"), &options).await;
    // Beyond the gateways: in no registrar that the client could ask.
    let target = builder("private").start().await.unwrap();
    let echo = target.spawn::<Echo>(()).await.unwrap();
    for gateway in [&first, &second] {
        let route = NetworkRoute::to("127.0.0.1", port(&target));
        gateway.network().add_route(&exact(target.name().as_str()), route, 1).unwrap();
    }
    let (to, both) = (target.name(), [first.name(), second.name()]);
    assert!(serving.is_server() && asking.info().capabilities.proxies);
    knows(&asking, to, &both).await;
    knows(&asking, Atom::new("other@127.0.0.1").unwrap(), &[]).await;
    knows(&serving, to, &both[1..]).await;

    assert_eq!(client.call::<u8>(echo, 7u8).await.unwrap(), 7);
    let peer = client.network().peer(to.as_str()).unwrap();
    assert_eq!(peer.path, [client.name(), first.name(), to]);
    assert_eq!(peer.road.unwrap().reason, Reason::Discovery);

    second.network().drain_transit(true);
    knows(&asking, to, &both[..1]).await;
    second.network().drain_transit(false);
    knows(&asking, to, &both).await;
    let mut events = client.network().subscribe();
    first.stop().await;
    while !matches!(events.recv().await, Ok(NetworkEvent::Disconnected { peer, .. }) if peer == to) {}
    until(async || asking.resolve_proxy(to).await.is_ok_and(|found| found[0].proxy == second.name())).await;
    assert_eq!(client.call::<u8>(echo, 8u8).await.unwrap(), 8);
    assert_eq!(client.network().peer(to.as_str()).unwrap().path, [client.name(), second.name(), to]);
    client.stop().await;
    second.stop().await;
    target.stop().await;
}

/// Its server is another program's: it is not asked again and again, and nobody
/// waits for what it does not know.
#[tokio::test]
async fn a_server_that_knows_no_proxies_is_asked_once() {
    let options = registrar_options();
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, options.port)).unwrap();
    let embedded = Embedded::new(options);
    let name = Atom::new("private-1@localhost").unwrap();
    for _ in 0..3 {
        let unknown = embedded.resolve_proxy(name).await;
        assert!(matches!(unknown, Err(ResolveError::NotSupported)), "{unknown:?}");
    }
    server.set_nonblocking(true).unwrap();
    let mut question = [0; 1024];
    assert!(server.recv(&mut question).is_ok());
    assert!(server.recv(&mut question).is_err());
    let to = Names::matching("private-.*").unwrap();
    assert!(matches!(embedded.register_proxy(to).await, Err(RegistrarError::Terminated)), "it has no node");
}

#[tokio::test]
async fn a_host_has_room_for_so_many_patterns_of_a_node() {
    let (node, embedded) = start(&unique("a"), &registrar_options()).await;
    let names = |number: usize| Names::matching(&format!("private-{number}@.*")).unwrap();
    for number in 0..16 {
        embedded.register_proxy(names(number)).await.unwrap();
    }
    embedded.register_proxy(names(3)).await.unwrap();
    let refused = embedded.register_proxy(names(16)).await;
    assert!(matches!(refused, Err(RegistrarError::Name { .. })), "{refused:?}");
    embedded.unregister_proxy(names(3)).await.unwrap();
    assert!(matches!(embedded.unregister_proxy(names(3)).await, Err(RegistrarError::Unknown)));
    embedded.register_proxy(names(16)).await.unwrap();
    node.stop().await;
}
