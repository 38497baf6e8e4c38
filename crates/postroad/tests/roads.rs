//! Nodes that talk to each other over real sockets.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postroad::network::{AcceptorOptions, DownReason, NetworkEvent, NetworkRoute, exact};
use postroad::{
    Actor, CallError, Context, ExitReason, Handle, NetworkMode, Node, Pid, SendError, SpawnOptions,
};
use support::forwarder::Forwarder;
use support::scripted::{Caller, introduction};
use support::{Adder, COOKIE, Echo, builder, next, node, port, probe, registrar_options, unique};
use tokio::sync::mpsc;

/// Lets `from` reach `to` by its real address.
fn route(from: &Node, to: &Node) {
    from.network()
        .add_route(&exact(to.name().as_str()), NetworkRoute::to("127.0.0.1", port(to)), 100)
        .unwrap();
}

/// Waits until that has happened to a connection.
async fn happens(
    events: &mut tokio::sync::broadcast::Receiver<NetworkEvent>,
    wanted: impl Fn(&NetworkEvent) -> bool,
) {
    tokio::time::timeout(Duration::from_secs(20), async { while !wanted(&events.recv().await.unwrap()) {} })
        .await
        .expect("it happens in time");
}

#[tokio::test]
async fn a_static_route_carries_messages_and_calls() {
    let (a, b) = (node("a").await, node("b").await);
    route(&a, &b);
    let adder = b.spawn_with::<Adder>(0, SpawnOptions::new().name("adder")).await.unwrap();
    for number in 1..=1000i64 {
        a.send(adder, number).await.unwrap();
    }
    let sum: i64 = a.call(adder, false).await.unwrap();
    assert_eq!(sum, 500_500);
    let sum: i64 = a.call(("adder", b.name()), false).await.unwrap();
    assert_eq!(sum, 500_500);
    let (probe, mut inbox) = probe(&a).await;
    let echo = b.spawn::<Echo>(()).await.unwrap();
    let back: String = a.call(echo, "hello".to_owned()).await.unwrap();
    assert_eq!(back, "hello");
    b.send(probe, vec![1u8, 2, 3]).await.unwrap();
    assert_eq!(next::<Vec<u8>>(&mut inbox).await, [1, 2, 3], "back over the same connection");
    let (peer, back) = (&a.network().peers()[0], &b.network().peers()[0]);
    assert_eq!((peer.name, peer.dialed), (b.name(), true));
    assert_eq!((back.name, back.dialed), (a.name(), false));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn every_way_to_be_answered_from_afar() {
    let (a, b) = (node("a").await, node("b").await);
    route(&a, &b);
    let adder = b.spawn::<Adder>(5).await.unwrap();
    a.call::<()>(adder, "nil".to_owned()).await.unwrap();
    assert_eq!(a.call::<i64>(adder, "later".to_owned()).await.unwrap(), 7);
    let error = a.call::<()>(adder, "refused".to_owned()).await.unwrap_err();
    assert!(matches!(error, CallError::Answer(error) if *error.text() == "refused"));
    assert!(matches!(a.call::<()>(adder, "never".to_owned()).await, Err(CallError::NoAnswer)));
    assert!(matches!(a.call::<()>(adder, "panic".to_owned()).await, Err(CallError::NoAnswer)));
    let gone = a.call::<()>(adder, "nil".to_owned()).await.unwrap_err();
    assert!(matches!(gone, CallError::Send(SendError::ProcessUnknown)), "{gone}");
    let nobody = a.call::<()>(("nobody", b.name()), 1u8).await.unwrap_err();
    assert!(matches!(nobody, CallError::Send(SendError::ProcessUnknown)), "{nobody}");
    let hanging = b.spawn::<Adder>(0).await.unwrap();
    let patience = Duration::from_millis(50);
    let late = a.call_with_timeout::<()>(hanging, "hang".to_owned(), patience).await.unwrap_err();
    assert!(matches!(late, CallError::Timeout(_)), "{late}");
    a.stop().await;
    b.stop().await;
}

/// > If multiple routes match, they're sorted by weight (higher weights first),
/// > and the framework tries them in order until one succeeds.
#[tokio::test]
async fn seed_the_heaviest_route_is_tried_first_and_the_next_one_after_it_failed() {
    let (a, b) = (node("a").await, node("b").await);
    let echo = b.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
    let (primary, backup) = (Forwarder::to(port(&b)).await, Forwarder::to(port(&b)).await);
    let network = a.network();
    network.add_route(&exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", backup.port), 100).unwrap();
    network.add_route("^b-.*", NetworkRoute::to("127.0.0.1", primary.port), 200).unwrap();
    a.call::<u8>(echo, 1u8).await.unwrap();
    assert!(primary.accepted() > 0);
    assert_eq!(backup.accepted(), 0);

    let mut events = network.subscribe();
    drop(primary);
    happens(&mut events, |event| {
        matches!(event, NetworkEvent::Disconnected { peer, reason: DownReason::Lost } if *peer == b.name())
    })
    .await;
    a.call::<u8>(echo, 2u8).await.unwrap();
    assert!(backup.accepted() > 0, "the next message found the other road");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn nobody_is_dialed_twice_at_once() {
    let (a, b) = (node("a").await, builder("b").pool_size(1).start().await.unwrap());
    let road = Forwarder::to(port(&b)).await;
    a.network().add_route(&exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", road.port), 1).unwrap();
    let adder = b.spawn::<Adder>(0).await.unwrap();
    let senders: Vec<_> = (0..50)
        .map(|_| {
            let a = a.clone();
            tokio::spawn(async move { a.send(adder, 1i64).await })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
    assert_eq!(a.call::<i64>(adder, false).await.unwrap(), 50);
    assert_eq!(road.accepted(), 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_wrong_cookie_is_an_error_that_says_so() {
    let (a, b) = (builder("a").cookie("another").start().await.unwrap(), node("b").await);
    route(&a, &b);
    let error = a.network().connect(b.name().as_str()).await.unwrap_err().to_string();
    assert!(error.contains("cookie"), "{error}");
    assert!(b.network().peers().is_empty());
    // With the right one on the route it works.
    a.network().remove_route(&exact(b.name().as_str())).unwrap();
    let right = NetworkRoute::to("127.0.0.1", port(&b)).cookie(COOKIE);
    a.network().add_route(&exact(b.name().as_str()), right, 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn an_acceptor_may_have_a_cookie_of_its_own() {
    let partner = AcceptorOptions::bind("127.0.0.1", 0).cookie("for partners");
    let b = builder("b").acceptor(partner).start().await.unwrap();
    let a = builder("a").cookie("for partners").start().await.unwrap();
    let acceptors = b.network().acceptors();
    let (house, partners) = (acceptors[0].address.port(), acceptors[1].address.port());
    let pattern = exact(b.name().as_str());
    a.network().add_route(&pattern, NetworkRoute::to("127.0.0.1", house), 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap_err();
    a.network().remove_route(&pattern).unwrap();
    a.network().add_route(&pattern, NetworkRoute::to("127.0.0.1", partners), 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
    a.stop().await;
    b.stop().await;
}

/// A secret that was left empty by mistake is not one that everybody knows.
#[tokio::test]
async fn an_empty_cookie_opens_no_door() {
    let without = AcceptorOptions::bind("127.0.0.1", 0).cookie("");
    let node = Node::builder(unique("node")).cookie(COOKIE).acceptor(without).without_registrar();
    let node = node.start().await.unwrap();
    let is_let_in = async |cookie| {
        let mut caller = Caller::with_cookie(&node, introduction("caller"), cookie).await;
        let hello = caller.due();
        caller.wire.is_answered(&hello).await
    };
    assert!(!is_let_in("").await);
    assert!(is_let_in(COOKIE).await, "that of the node holds");
    assert!(!node.network().acceptors()[0].own_cookie);
    node.network().set_cookie("");
    assert!(!is_let_in("").await);
    assert!(!is_let_in(COOKIE).await);
}

#[tokio::test]
async fn who_answers_under_another_name_is_refused() {
    let (a, b) = (node("a").await, node("b").await);
    a.network().add_route("impostor", NetworkRoute::to("127.0.0.1", port(&b)), 1).unwrap();
    let error = a.network().connect("impostor@127.0.0.1").await.unwrap_err().to_string();
    assert!(error.contains(b.name().as_str()), "{error}");
    assert!(a.network().peers().is_empty());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn the_pool_is_filled_and_links_come_back() {
    let (a, b) = (node("a").await, node("b").await);
    let road = Forwarder::to(port(&b)).await;
    a.network().add_route(&exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", road.port), 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
    let full = async || {
        while a.network().peer(b.name().as_str()).is_none_or(|peer| peer.links < 3) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), full()).await.expect("three links");
    road.cut();
    tokio::time::timeout(Duration::from_secs(10), full()).await.expect("three links again");
    assert!(a.network().peer(b.name().as_str()).is_some());
    a.stop().await;
    b.stop().await;
}

/// Checks that the numbers of each sender only grow.
struct InOrder {
    last: std::collections::HashMap<Pid, u64>,
    report: mpsc::UnboundedSender<Result<u64, (u64, u64)>>,
}

impl Actor for InOrder {
    type Args = mpsc::UnboundedSender<Result<u64, (u64, u64)>>;
    type Messages = (u64,);
    type Requests = ();

    async fn init(report: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { last: Default::default(), report })
    }
}

impl Handle<u64> for InOrder {
    async fn handle(&mut self, number: u64, ctx: &mut Context) -> Result<(), ExitReason> {
        let last = self.last.insert(ctx.sender(), number).unwrap_or(0);
        let _ = self.report.send(if number > last { Ok(number) } else { Err((last, number)) });
        Ok(())
    }
}

/// Sends numbers from 1 up until it is killed.
struct Numbers;

impl Actor for Numbers {
    type Args = Pid;
    type Messages = (Pid,);
    type Requests = ();

    async fn init(to: Pid, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.send(ctx.pid(), to).await?;
        Ok(Self)
    }
}

impl Handle<Pid> for Numbers {
    async fn handle(&mut self, to: Pid, ctx: &mut Context) -> Result<(), ExitReason> {
        for number in 1u64.. {
            ctx.send(to, number).await?;
        }
        Ok(())
    }
}

/// 100,000 messages arrive in order per sender while links are being killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_while_links_are_killed() {
    let (a, b) = (node("a").await, node("b").await);
    let road = Forwarder::to(port(&b)).await;
    a.network().add_route(&exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", road.port), 1).unwrap();
    let (report, mut reports) = mpsc::unbounded_channel();
    let receiver = b.spawn::<InOrder>(report).await.unwrap();
    let mut senders = Vec::new();
    for _ in 0..5 {
        senders.push(a.spawn::<Numbers>(receiver).await.unwrap());
    }
    let mut cuts = 0;
    for arrived in 1..=100_000u32 {
        let report = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await;
        match report
            .unwrap_or_else(|_| panic!("nothing arrives any more after {arrived} and {cuts} cuts"))
            .unwrap()
        {
            Ok(_) => {}
            Err((last, number)) => panic!("{number} arrived after {last}, {cuts} cuts so far"),
        }
        if arrived % 5000 == 0 {
            road.cut();
            cuts += 1;
        }
    }
    for sender in senders {
        a.kill(sender);
    }
    assert!(a.network().peer(b.name().as_str()).is_some(), "the connection survived {cuts} cuts");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_lost_node_ends_calls_and_is_announced_once() {
    let (a, b) = (node("a").await, node("b").await);
    let road = Forwarder::to(port(&b)).await;
    a.network().add_route(&exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", road.port), 1).unwrap();
    let adder = b.spawn::<Adder>(0).await.unwrap();
    a.call::<i64>(adder, false).await.unwrap();
    let mut events = a.network().subscribe();
    let call = tokio::spawn({
        let a = a.clone();
        async move { a.call_with_timeout::<()>(adder, "hang".to_owned(), Duration::from_secs(60)).await }
    });
    while b.mailbox_len(adder).is_some() && b.network().peers()[0].frames_in < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(road);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::NoConnection { node } if node == b.name()), "{error}");
    happens(&mut events, |event| matches!(event, NetworkEvent::Disconnected { .. })).await;
    b.kill(adder);
    a.stop().await;
    b.stop().await;
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, NetworkEvent::Disconnected { .. }), "announced twice");
    }
}

#[tokio::test]
async fn a_restarted_node_is_another_incarnation() {
    let name = unique("phoenix");
    let start = async |port| {
        let builder = Node::builder(name.clone()).cookie(COOKIE).without_registrar();
        builder.acceptor(AcceptorOptions::bind("127.0.0.1", port)).start().await.unwrap()
    };
    let (a, b) = (node("a").await, start(0).await);
    let port = port(&b);
    route(&a, &b);
    let old = b.spawn_with::<Adder>(1, SpawnOptions::new().name("adder")).await.unwrap();
    assert_eq!(a.call::<i64>(old, false).await.unwrap(), 1);
    b.stop().await;
    let b = start(port).await;
    b.spawn_with::<Adder>(2, SpawnOptions::new().name("adder")).await.unwrap();
    let again = async {
        loop {
            match a.call::<i64>(("adder", b.name()), false).await {
                Ok(sum) => break sum,
                Err(CallError::NoConnection { .. } | CallError::Send(SendError::NoConnection { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), again).await.unwrap(), 2);
    let error = a.call::<i64>(old, false).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::Incarnation { .. })), "{error}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn large_messages_pass_and_larger_ones_are_refused() {
    let (a, b) = (node("a").await, builder("b").max_message_size(80 << 20).start().await.unwrap());
    route(&a, &b);
    let echo = b.spawn::<Echo>(()).await.unwrap();
    for size in [1 << 20, 64 << 20] {
        let sent: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        let back: Vec<u8> = a.call_with_timeout(echo, sent.clone(), Duration::from_secs(60)).await.unwrap();
        assert!(back == sent, "{size} bytes");
    }
    let error = a.send(echo, vec![0u8; 81 << 20]).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { limit, .. } if limit == 80 << 20), "{error}");
    assert_eq!(a.call::<u8>(echo, 1u8).await.unwrap(), 1, "and nothing else was lost");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_route_that_is_removed_leaves_the_connection() {
    let (a, b) = (node("a").await, node("b").await);
    route(&a, &b);
    let echo = b.spawn::<Echo>(()).await.unwrap();
    a.call::<u8>(echo, 1u8).await.unwrap();
    a.network().remove_route(&exact(b.name().as_str())).unwrap();
    a.call::<u8>(echo, 2u8).await.unwrap();
    assert!(a.network().disconnect(b.name().as_str()).await);
    assert!(!a.network().disconnect(b.name().as_str()).await);
    let error = a.call::<u8>(echo, 3u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::Connect(_))), "{error}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn nodes_of_a_host_find_each_other() {
    let registrar = registrar_options();
    let start = async |name: &str| {
        let builder = Node::builder(unique(name)).cookie(COOKIE);
        builder
            .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
            .embedded_registrar(registrar.clone())
            .start()
            .await
    };
    let (a, b) = (start("a").await.unwrap(), start("b").await.unwrap());
    let echo = b.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
    assert_eq!(a.call::<u8>(echo, 1u8).await.unwrap(), 1);
    let c = start("c").await.unwrap();
    assert_eq!(
        c.call::<u8>(("echo", b.name()), 2u8).await.unwrap(),
        2,
        "two clients of the server that a runs"
    );
    let unknown = c.network().connect("nobody@127.0.0.1").await.unwrap_err().to_string();
    assert!(unknown.contains("does not know"), "{unknown}");
    // The server's node ends: another one takes over, and the others register with it.
    a.stop().await;
    let d = start("d").await.unwrap();
    let found = async { while d.network().connect(b.name().as_str()).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("b is found again");
    for node in [b, c, d] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_name_is_registered_once_per_host() {
    let registrar = registrar_options();
    let name = unique("twin");
    let start = || {
        let builder = Node::builder(name.clone()).cookie(COOKIE);
        builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).embedded_registrar(registrar.clone())
    };
    let server = builder("server").embedded_registrar(registrar.clone()).start().await.unwrap();
    let first = start().start().await.unwrap();
    let error = start().start().await.unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    first.stop().await;
    // The registration ended with the connection.
    let again = async {
        loop {
            if let Ok(node) = start().start().await {
                break node;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.unwrap().stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_hidden_node_dials_but_does_not_listen() {
    let b = node("b").await;
    let hidden = Node::builder(unique("hidden"))
        .cookie(COOKIE)
        .network(NetworkMode::Hidden)
        .without_registrar()
        .start()
        .await
        .unwrap();
    assert!(hidden.network().acceptors().is_empty());
    route(&hidden, &b);
    let echo = b.spawn::<Echo>(()).await.unwrap();
    assert_eq!(hidden.call::<u8>(echo, 1u8).await.unwrap(), 1);
    let (probe, mut inbox) = probe(&hidden).await;
    b.send(probe, 2u8).await.unwrap();
    assert_eq!(next::<u8>(&mut inbox).await, 2, "the connection works both ways");
    hidden.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_node_without_network_says_so() {
    let node = Node::builder(unique("island")).network(NetworkMode::Disabled).start().await.unwrap();
    let error = node.send(("x", "other@host"), 1u8).await.unwrap_err();
    assert_eq!(error.to_string(), "network stack is stopped");
    let own = node.network().connect(node.name().as_str()).await.unwrap_err();
    assert!(own.to_string().contains("stopped"));
    node.stop().await;
}

#[tokio::test]
async fn try_send_never_waits() {
    let (a, b) = (node("a").await, node("b").await);
    route(&a, &b);
    let adder = b.spawn::<Adder>(0).await.unwrap();
    let mut events = a.network().subscribe();
    assert!(matches!(a.try_send(adder, 1i64), Err(SendError::Busy { .. })), "there is no connection yet");
    happens(&mut events, |event| matches!(event, NetworkEvent::Connected { .. })).await;
    a.try_send(adder, 1i64).unwrap();
    assert_eq!(a.call::<i64>(adder, false).await.unwrap(), 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn ports_of_a_range_are_tried_in_turn() {
    let first = node("first").await;
    let taken = port(&first);
    let busy = Node::builder(unique("busy")).cookie(COOKIE).without_registrar();
    let error =
        busy.acceptor(AcceptorOptions::bind("127.0.0.1", taken)).start().await.unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()), "{error}");
    let next = Node::builder(unique("next")).cookie(COOKIE).without_registrar();
    let range = AcceptorOptions::bind("127.0.0.1", taken).port_count(200).advertise("gateway.example", 7);
    let next = next.acceptor(range).start().await.unwrap();
    let acceptor = &next.network().acceptors()[0];
    assert!(acceptor.address.port() > taken);
    assert_eq!((acceptor.advertise_host.as_deref(), acceptor.advertise_port), (Some("gateway.example"), 7));
    first.stop().await;
    next.stop().await;
}

#[tokio::test]
async fn ipv6_is_a_road_too() {
    let b = Node::builder(unique("b6")).cookie(COOKIE).without_registrar();
    let b = b.acceptor(AcceptorOptions::bind("::1", 0)).start().await.unwrap();
    let a = node("a").await;
    a.network().add_route(&exact(b.name().as_str()), NetworkRoute::to("::1", port(&b)), 1).unwrap();
    let echo = b.spawn::<Echo>(()).await.unwrap();
    assert_eq!(a.call::<u8>(echo, 1u8).await.unwrap(), 1);
    a.stop().await;
    b.stop().await;
}

/// The links of a pool come one after the other; what is sent and answered
/// meanwhile must not wait for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_connection_answers_at_once() {
    let b = node("b").await;
    let echo = b.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
    for round in 0..50u32 {
        let a = node("a").await;
        route(&a, &b);
        let patience = Duration::from_secs(4);
        let back: u32 = a.call_with_timeout(("echo", b.name()), round, patience).await.unwrap();
        assert_eq!(back, round);
        let back: u32 = a.call_with_timeout(echo, round, patience).await.unwrap();
        assert_eq!(back, round);
        a.stop().await;
    }
    b.stop().await;
}
