//! Dials that meet: one connection comes of them, and what is announced of a
//! peer alternates.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::network::{
    AcceptorOptions, DownReason, NetworkEvent, NetworkProxyRoute, NetworkRoute, ProxyFlags, exact,
};
use postroad::{Atom, Node};
use postroad_wire::ehs::Introduction;
use support::forwarder::Forwarder;
use support::log::Log;
use support::scripted::{Caller, Desk, Link, introduction};
use support::{Adder, COOKIE, Echo, builder, node, port, unique};
use tokio::sync::broadcast::Receiver;

async fn is_in(node: &Node, link: &mut Link) {
    let echo = node.spawn::<Echo>(()).await.unwrap();
    link.send_message(echo, &7u8).await;
    assert_eq!(link.hears::<u8>().await, 7);
}

/// Dials the node, and is turned away when it introduces itself.
async fn is_turned_away(node: &Node, local: Introduction) {
    let mut caller = Caller::dial(node, local).await;
    caller.hello().await;
    caller.say().await;
    assert!(!caller.wire.hear().await, "it is let in");
}

/// What was announced of a peer so far: `None` for a connection, the reason for
/// its end.
fn announced(events: &mut Receiver<NetworkEvent>, of: Atom) -> Vec<Option<DownReason>> {
    let mut announced = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            NetworkEvent::Connected { peer, .. } if peer == of => announced.push(None),
            NetworkEvent::Disconnected { peer, reason } if peer == of => announced.push(Some(reason)),
            _ => {}
        }
    }
    announced
}

/// Two senders of a stock node dial at once: it uses the first connection and
/// leaves the second one lying.
#[tokio::test]
async fn a_second_dial_of_the_same_peer_does_not_replace_the_connection() {
    let node = node("node").await;
    let mut events = node.network().subscribe();
    let local = introduction("peer");
    let mut first = Link::to(&node, local.clone()).await;
    is_in(&node, &mut first).await;
    is_turned_away(&node, local.clone()).await;
    is_in(&node, &mut first).await;
    assert_eq!(announced(&mut events, local.node), [None]);
    node.stop().await;
}

/// Whoever knows a weaker door's secret cannot take the place of a node that was
/// reached by a better one, not even as its younger self.
#[tokio::test]
async fn a_weaker_door_does_not_undo_what_a_route_asked_for() {
    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).cookie("the partner's own");
    let partner = Node::builder(unique("partner")).cookie(COOKIE).acceptor(acceptor);
    let partner = partner.without_registrar().start().await.unwrap();
    let node = node("node").await;
    let route = NetworkRoute::to("127.0.0.1", port(&partner)).cookie("the partner's own");
    node.network().add_route(&exact(partner.name().as_str()), route, 0).unwrap();
    node.network().connect(partner.name().as_str()).await.unwrap();

    let mut events = node.network().subscribe();
    let mut impostor = introduction("impostor");
    (impostor.node, impostor.creation) = (partner.name(), partner.creation() + 1);
    is_turned_away(&node, impostor).await;
    let adder = partner.spawn::<Adder>(1).await.unwrap();
    assert_eq!(node.call::<i64>(adder, false).await.unwrap(), 1);
    assert_eq!(announced(&mut events, partner.name()), []);
    node.stop().await;
    partner.stop().await;
}

#[tokio::test]
async fn a_peer_that_has_closed_is_let_in_again_at_once() {
    let node = node("node").await;
    let mut events = node.network().subscribe();
    let local = introduction("peer");
    let first = Link::to(&node, local.clone()).await;
    drop(first);
    let mut second = Link::to(&node, local.clone()).await;
    is_in(&node, &mut second).await;
    let announced = announced(&mut events, local.node);
    assert!(matches!(announced[..], [None, Some(_), None]), "{announced:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_restarted_peer_replaces_its_former_incarnation_at_once() {
    let node = node("node").await;
    let mut events = node.network().subscribe();
    let old = introduction("peer");
    let mut young = old.clone();
    young.creation += 1;
    let mut first = Link::to(&node, old.clone()).await;
    is_in(&node, &mut first).await;
    let mut second = Link::to(&node, young.clone()).await;
    is_in(&node, &mut second).await;
    first.wire.expect_close().await;
    assert_eq!(node.network().peer(old.node.as_str()).unwrap().creation, young.creation);

    is_turned_away(&node, old.clone()).await;
    is_in(&node, &mut second).await;
    assert_eq!(announced(&mut events, old.node), [None, Some(DownReason::Replaced), None]);
    node.stop().await;
}

/// The node's name is the smaller one, so its own dial would win.
#[tokio::test]
async fn a_dial_that_reaches_nobody_does_not_lock_out_the_peer() {
    let node = node("a").await;
    let local = introduction("peer");
    assert!(node.name() < local.node);
    let desk = Desk::open().await;
    desk.leads(&node, local.node);
    let (network, name) = (node.network(), local.node);
    let connecting = tokio::spawn(async move { network.connect(name.as_str()).await });
    // Somebody takes the connection, and says nothing.
    let mut silent = desk.called(introduction("somebody")).await;
    silent.hear_hello().await;

    let mut link = Link::to(&node, local).await;
    is_in(&node, &mut link).await;
    let peer = connecting.await.unwrap().unwrap();
    assert!(!peer.info().dialed, "who waits for a connection gets the one that came");
    silent.wire.expect_close().await;
    node.stop().await;
}

/// The node has proved itself to the peer, and its name is the smaller one.
#[tokio::test]
async fn of_two_dials_at_once_that_of_the_smaller_name_wins() {
    let node = node("a").await;
    let local = introduction("peer");
    let desk = Desk::open().await;
    desk.leads(&node, local.node);
    let (network, name) = (node.network(), local.node);
    let connecting = tokio::spawn(async move { network.connect(name.as_str()).await });
    let mut callee = desk.called(local.clone()).await;
    callee.hello().await;
    let due = callee.hear_introduction().await;
    is_turned_away(&node, local.clone()).await;
    callee.wire.send(&due).await;
    let mut link = callee.agreed().await;
    assert!(connecting.await.unwrap().unwrap().info().dialed);
    is_in(&node, &mut link).await;
    node.stop().await;
}

/// The node's name is the larger one: it yields, and nobody is told of a failure.
#[tokio::test]
async fn of_two_dials_at_once_that_of_the_larger_name_yields() {
    let node = node("z").await;
    let local = introduction("peer");
    assert!(local.node < node.name());
    let mut events = node.network().subscribe();
    let desk = Desk::open().await;
    desk.leads(&node, local.node);
    let (network, name) = (node.network(), local.node);
    let connecting = tokio::spawn(async move { network.connect(name.as_str()).await });
    let mut callee = desk.called(local.clone()).await;
    callee.hello().await;
    callee.hear_introduction().await;
    drop(callee);
    let mut link = Link::to(&node, local.clone()).await;
    assert!(!connecting.await.unwrap().unwrap().info().dialed);
    is_in(&node, &mut link).await;
    assert_eq!(announced(&mut events, local.node), [None]);
    node.stop().await;
}

/// Both nodes dial at once, many times; both end with one and the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_dial_each_other_at_once_agree() {
    for _ in 0..25 {
        let (a, b) = tokio::join!(node("a"), node("b"));
        for (from, to) in [(&a, &b), (&b, &a)] {
            let route = NetworkRoute::to("127.0.0.1", port(to));
            from.network().add_route(&exact(to.name().as_str()), route, 1).unwrap();
        }
        let (here, there) = (a.network(), b.network());
        let (there_from_here, here_from_there) =
            tokio::join!(here.connect(b.name().as_str()), there.connect(a.name().as_str()));
        there_from_here.unwrap();
        here_from_there.unwrap();
        let agreed = async {
            loop {
                let dialed = (here.peer(b.name().as_str()), there.peer(a.name().as_str()));
                if let (Some(near), Some(far)) = dialed
                    && near.dialed != far.dialed
                    && (near.links, far.links) == (3, 3)
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), agreed).await.expect("one connection");
        let adder = b.spawn::<Adder>(5).await.unwrap();
        assert_eq!(a.call::<i64>(adder, false).await.unwrap(), 5);
        a.stop().await;
        b.stop().await;
    }
}

/// A caller that finds no connection may be late: the dial that it missed has
/// made one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_right_behind_a_finished_one_finds_its_connection() {
    let b = builder("b").pool_size(1).start().await.unwrap();
    let road = Forwarder::to(port(&b)).await;
    for round in 1..=20 {
        let a = node("a").await;
        let route = NetworkRoute::to("127.0.0.1", road.port);
        a.network().add_route(&exact(b.name().as_str()), route.clone(), 1).unwrap();
        let callers: Vec<_> = (0..40)
            .map(|number| {
                let (network, name, route) = (a.network(), b.name(), route.clone());
                tokio::spawn(async move {
                    for _ in 0..number {
                        tokio::task::yield_now().await;
                    }
                    match number % 2 {
                        0 => network.connect(name.as_str()).await,
                        _ => network.connect_with(name.as_str(), route).await,
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(road.accepted(), round);
        a.stop().await;
    }
    b.stop().await;
}

/// Lets a peer of this introduction in; it is called at its end.
async fn comes_in(node: &Node, local: Introduction, cookie: &str) {
    let mut caller = Caller::with_cookie(node, local, cookie).await;
    caller.hello().await;
    let mut link = caller.introduce().await;
    is_in(node, &mut link).await;
}

/// Messages to a name take the connection there is: also one that somebody made
/// who took that name.
#[tokio::test]
async fn who_comes_in_shows_as_much_as_a_route_to_it_demands() {
    let log = Log::start();
    let with_cookie = AcceptorOptions::bind("127.0.0.1", 0).cookie("the door's own");
    for (acceptor, cookie, by_cookie) in [
        (AcceptorOptions::bind("127.0.0.1", 0), COOKIE, false),
        (with_cookie, "the door's own", true),
        (AcceptorOptions::bind("127.0.0.1", 0).weaker_than_routes(), COOKIE, true),
    ] {
        let by_anything = acceptor.weaker_than_routes;
        let node = Node::builder(unique("node")).cookie(COOKIE).acceptor(acceptor).without_registrar();
        let node = node.start().await.unwrap();
        let to = |port: u16| NetworkRoute::to("127.0.0.1", port);
        for (route, let_in, demand) in [
            (to(1), true, ""),
            (to(1).tls(true), by_anything, "demands TLS"),
            (to(1).cookie("the partner's"), by_cookie, "demands a cookie of its own"),
            (to(1).cookie(cookie), true, ""),
        ] {
            let local = introduction("peer");
            let pattern = exact(local.node.as_str());
            node.network().add_route(&pattern, route.clone(), 2).unwrap();
            if let_in {
                comes_in(&node, local, cookie).await;
                continue;
            }
            let mut caller = Caller::with_cookie(&node, local.clone(), cookie).await;
            caller.hello().await;
            caller.say().await;
            assert!(!caller.wire.hear().await, "{route} does not count");
            log.says(&["handshake failed", local.node.as_str(), demand]).await;
            // One of several routes is enough: the node would go any of them.
            node.network().add_route(&format!("{pattern}|^$"), to(1), 1).unwrap();
            comes_in(&node, local, cookie).await;
        }
        node.stop().await;
    }
}

/// Where only proxy routes lead, who comes in must encrypt if all of them do.
#[tokio::test]
async fn who_comes_in_encrypts_where_only_encrypted_proxy_routes_lead() {
    let log = Log::start();
    let node = node("node").await;
    let network = node.network();
    let through = |encryption| {
        NetworkProxyRoute::via("gateway@dmz").flags(ProxyFlags { encryption, ..ProxyFlags::default() })
    };
    let refused = introduction("peer");
    let pattern = exact(refused.node.as_str());
    network.add_proxy_route(&pattern, through(true), 3).unwrap();
    network.add_proxy_route(".*", through(false).to("other@elsewhere"), 2).unwrap();
    let mut caller = Caller::dial(&node, refused.clone()).await;
    caller.hello().await;
    caller.say().await;
    assert!(!caller.wire.hear().await, "it is let in");
    log.says(&["handshake failed", refused.node.as_str(), "demands TLS"]).await;

    // One of several is enough, and a static route goes before all of them.
    network.add_proxy_route(&format!("{pattern}|^$"), through(false), 1).unwrap();
    comes_in(&node, refused, COOKIE).await;
    let direct = introduction("peer");
    network.add_proxy_route(&exact(direct.node.as_str()), through(true), 1).unwrap();
    network.add_route(&exact(direct.node.as_str()), NetworkRoute::to("127.0.0.1", 1), 1).unwrap();
    comes_in(&node, direct, COOKIE).await;
    node.stop().await;
}
