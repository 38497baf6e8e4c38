//! Connecting by routes: given ones, changed ones, failures that are
//! remembered, and what can be seen of all that.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postroad::network::{
    AddRouteError, AttemptError, ConnectError, Discovery, InvalidProxyRoute, InvalidRoute, NetworkEvent,
    NetworkProxyRoute, NetworkRoute, NoRoute, OnFailure, ProxyOrder, Reason, RemoveRouteError,
    ReplaceRouteError, Stage, TunnelError, TunnelRefusal, exact,
};
use postroad::registrar::{
    BoxFuture, Endpoint, RegisterError, Registered, Registrar, Registration, ResolveError, Resolver,
};
use postroad::{Atom, Network, Node, SendError};
use postroad_wire::Version;
use support::forwarder::Forwarder;
use support::scripted::{Desk, Link, introduction};
use support::{COOKIE, builder, dead_port, node, port};

/// A registrar that behaves like that, and counts who asks.
#[derive(Debug)]
struct Scripted {
    behaviour: Behaviour,
    asked: AtomicUsize,
}

#[derive(Debug, Clone)]
enum Behaviour {
    Knows(Vec<u16>),
    Fails,
    Hangs,
    Panics,
}

impl Scripted {
    fn new(behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self { behaviour, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Resolver for Scripted {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let endpoint = |port: &u16| Endpoint {
            host: "127.0.0.1".to_owned(),
            port: *port,
            tls: false,
            handshake_version: Version::ehs(),
            proto_version: Version::enp(),
        };
        Box::pin(async move {
            match &self.behaviour {
                Behaviour::Knows(ports) => Ok(ports.iter().map(endpoint).collect()),
                Behaviour::Fails => Err(ResolveError::Failed("out of order".into())),
                Behaviour::Hangs => std::future::pending().await,
                Behaviour::Panics => panic!("as the test wants it"),
            }
        })
    }

    fn describe(&self) -> String {
        "a registrar of this test".to_owned()
    }
}

impl Registrar for Scripted {
    fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async { Ok(Registered::default()) })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn to(port: u16) -> NetworkRoute {
    NetworkRoute::to("127.0.0.1", port)
}

fn failures<T: std::fmt::Debug>(outcome: Result<T, ConnectError>) -> Arc<NoRoute> {
    match outcome {
        Err(ConnectError::NoRoute(no_route)) => no_route,
        other => panic!("{other:?}"),
    }
}

async fn send(from: &Node, to: &str) -> Result<(), ConnectError> {
    match from.send(("nobody", Atom::new(to).unwrap()), 1u8).await {
        Ok(()) => Ok(()),
        Err(SendError::Connect(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_given_route_is_taken_whatever_the_table_says() {
    let b = builder("b").cookie("shared-secret-with-partner").start().await.unwrap();
    let a = node("a").await;
    let (network, name) = (a.network(), b.name().as_str());
    network.add_route("^b-", to(dead_port()), 1).unwrap();
    failures(network.connect(name).await);
    let peer = network.connect_with(name, to(port(&b)).cookie("shared-secret-with-partner")).await.unwrap();
    let road = peer.info().road.clone().unwrap();
    assert_eq!(
        (&road.reason, road.endpoint.as_ref().map(|endpoint| endpoint.port)),
        (&Reason::Given, Some(port(&b)))
    );
    assert_eq!(road.to_string(), format!("the given route: 127.0.0.1:{}", port(&b)));
    assert_eq!(network.routes().len(), 1, "it is not added");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_given_route_tries_every_address_of_its_resolver_and_says_how_each_failed() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name().as_str());
    let dead = [dead_port(), dead_port()];
    let resolve = |ports: &[u16]| NetworkRoute::resolve_with(Scripted::new(Behaviour::Knows(ports.to_vec())));
    let no_route = failures(network.connect_with(name, resolve(&dead)).await);
    let tried: Vec<_> =
        no_route.attempts.iter().map(|attempt| attempt.endpoint.as_ref().unwrap().port).collect();
    assert_eq!(tried, dead);
    assert!(no_route.attempts.iter().all(|attempt| attempt.stage == Stage::Dial));
    assert_eq!(no_route.discovery, Discovery::RouteGiven);

    let peer = network.connect_with(name, resolve(&[dead[0], port(&b), dead[1]])).await.unwrap();
    assert_eq!(peer.info().road.clone().unwrap().endpoint.as_ref().unwrap().port, port(&b));
    let unusable = network.connect_with("c@host", to(0)).await.unwrap_err();
    assert!(matches!(unusable, ConnectError::Route(InvalidRoute::NoPort)), "{unusable}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_given_route_dials_nobody_who_is_connected() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name().as_str());
    network.add_route("^b-", to(port(&b)), 1).unwrap();
    network.connect(name).await.unwrap();
    let road = Forwarder::to(port(&b)).await;
    let peer = network.connect_with(name, to(road.port)).await.unwrap();
    assert_eq!(peer.info().road.clone().unwrap().endpoint.as_ref().unwrap().port, port(&b));
    assert_eq!(road.accepted(), 0);
    a.stop().await;
    b.stop().await;
}

/// There is one dial at a time. Who waits for another one's is not told that
/// its own road failed.
#[tokio::test]
async fn a_given_route_waits_for_the_dial_under_way_and_comes_after_it() {
    let (a, b) = (node("a").await, builder("b").pool_size(1).start().await.unwrap());
    let (network, name) = (a.network(), b.name());
    let (desk, road) = (Desk::open().await, Forwarder::to(port(&b)).await);
    desk.leads(&a, name);
    let by_table = tokio::spawn({
        let network = network.clone();
        async move { network.connect(name.as_str()).await }
    });
    let mut silent = desk.called(introduction("silent")).await;
    silent.hear_hello().await;
    let given = network.connect_with(name.as_str(), to(road.port));
    let mut given = std::pin::pin!(given);
    assert!(futures_poll(given.as_mut()).await.is_none());
    assert_eq!(road.accepted(), 0);
    drop(silent);
    failures(by_table.await.unwrap());
    assert!(given.await.unwrap().info().dialed);
    assert_eq!(road.accepted(), 1);
    a.stop().await;
    b.stop().await;
}

/// Polls once, after whatever else is ready has run.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut once = async || {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    };
    for _ in 0..100 {
        if let Some(output) = once().await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// A node with a registrar that knows a dead port, and a pause that lasts.
async fn patient(pause: Duration) -> (Node, Arc<Scripted>) {
    let registrar = Scripted::new(Behaviour::Knows(vec![dead_port()]));
    let node = builder("a").registrar(registrar.clone()).retry_pause(pause).start().await.unwrap();
    (node, registrar)
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn senders_are_told_of_a_recent_failure_at_once() {
    let (a, registrar) = patient(LONG).await;
    let name = "gone@127.0.0.1";
    let first = failures(send(&a, name).await);
    assert!(first.age.is_zero());
    let second = failures(send(&a, name).await);
    assert_eq!(registrar.asked(), 1, "nothing was tried again");
    assert!(!second.age.is_zero());
    assert_eq!(second.attempts.len(), first.attempts.len());
    let text = second.to_string();
    assert!(text.contains(" ago, not tried again yet)"), "{text}");
    assert!(text.contains("1. discovery: 127.0.0.1:"), "{text}");
    let at_once = a.try_send(("nobody", Atom::new(name).unwrap()), 1u8).unwrap_err();
    assert!(matches!(at_once, SendError::Connect(ConnectError::NoRoute(_))), "{at_once}");

    let info = a.network().info();
    assert_eq!(info.unreachable.len(), 1);
    assert_eq!(info.unreachable[0].no_route.name.as_str(), name);
    assert!(info.unreachable[0].left > LONG / 2);
    let plan = a.network().explain(name).await.unwrap().to_string();
    assert!(plan.contains("this failed ") && plan.contains("senders are told so at once"), "{plan}");

    let asked = registrar.asked();
    failures(a.network().connect(name).await);
    assert_eq!(registrar.asked(), asked + 1, "who asks by name has it tried");
    a.stop().await;
}

#[tokio::test]
async fn a_change_of_routes_or_cookie_ends_the_pause() {
    let (a, registrar) = patient(LONG).await;
    let network = a.network();
    let name = "gone@127.0.0.1";
    type Change = fn(&Network);
    let changes: [(&str, Change); 7] = [
        ("add_route", |network| drop(network.add_route("other", to(1), 1).unwrap())),
        ("replace_route", |network| network.replace_route("other", to(2), 1).unwrap()),
        ("remove_route", |network| network.remove_route("other").unwrap()),
        ("add_proxy_route", |network| {
            drop(network.add_proxy_route("other", NetworkProxyRoute::via("x@y"), 1).unwrap());
        }),
        ("replace_proxy_route", |network| {
            network.replace_proxy_route("other", NetworkProxyRoute::via("y@y"), 1).unwrap();
        }),
        ("remove_proxy_route", |network| network.remove_proxy_route("other").unwrap()),
        ("set_cookie", |network| network.set_cookie(COOKIE)),
    ];
    failures(send(&a, name).await);
    for (what, change) in changes {
        let asked = registrar.asked();
        failures(send(&a, name).await);
        assert_eq!(registrar.asked(), asked);
        change(&network);
        assert!(network.info().unreachable.is_empty(), "{what}");
        failures(send(&a, name).await);
        assert_eq!(registrar.asked(), asked + 1, "{what}");
    }
    a.stop().await;
}

#[tokio::test]
async fn a_call_of_the_node_itself_ends_the_pause() {
    let (a, registrar) = patient(LONG).await;
    let local = introduction("peer");
    failures(send(&a, local.node.as_str()).await);
    let mut events = a.network().subscribe();
    let link = Link::to(&a, local.clone()).await;
    while !matches!(events.recv().await.unwrap(), NetworkEvent::Connected { .. }) {}
    assert!(a.network().info().unreachable.is_empty());
    drop(link);
    while !matches!(events.recv().await.unwrap(), NetworkEvent::Disconnected { .. }) {}
    failures(send(&a, local.node.as_str()).await);
    assert_eq!(registrar.asked(), 2);
    a.stop().await;
}

#[tokio::test]
async fn without_a_pause_every_sender_tries() {
    let (a, registrar) = patient(Duration::ZERO).await;
    for _ in 0..3 {
        assert!(failures(send(&a, "gone@127.0.0.1").await).age.is_zero());
    }
    assert_eq!(registrar.asked(), 3);
    a.stop().await;
}

/// A failover can be seen: what failed, and by which road the peer was reached.
#[tokio::test]
async fn events_tell_of_roads() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name());
    let mut events = network.subscribe();
    network.add_route("^b-", to(dead_port()), 2).unwrap();
    failures(network.connect(name.as_str()).await);
    network.add_route(&exact(name.as_str()), to(port(&b)), 1).unwrap();
    network.connect(name.as_str()).await.unwrap();

    for round in 0..2 {
        match events.recv().await.unwrap() {
            NetworkEvent::RouteFailed { peer, attempt } => {
                assert_eq!((peer, attempt.stage), (name, Stage::Dial));
                assert_eq!(attempt.reason, Reason::Route { pattern: "^b-".into(), weight: 2 });
            }
            other => panic!("{other:?}"),
        }
        if round == 0 {
            match events.recv().await.unwrap() {
                NetworkEvent::PlanFailed { peer, no_route } => {
                    assert_eq!((peer, no_route.attempts.len()), (name, 1));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    match events.recv().await.unwrap() {
        NetworkEvent::Connected { peer, dialed: true, road: Some(road) } => {
            assert_eq!((peer, road.endpoint.as_ref().unwrap().port), (name, port(&b)));
            assert_eq!(road.reason, Reason::Route { pattern: exact(name.as_str()).into(), weight: 1 });
        }
        other => panic!("{other:?}"),
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_replaced_route_holds_for_the_next_connection() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name().as_str());
    let (old, new) = (Forwarder::to(port(&b)).await, Forwarder::to(port(&b)).await);
    network.add_route("^b-", to(old.port), 1).unwrap();
    network.connect(name).await.unwrap();
    network.replace_route("^b-", to(new.port), 5).unwrap();
    assert!(network.peer(name).is_some(), "live connections stay");
    let entry = &network.route(name).unwrap()[0];
    assert_eq!((entry.weight(), network.routes().len()), (5, 1));

    let invalid = network.replace_route("^b-", to(0), 1).unwrap_err();
    assert_eq!(invalid, ReplaceRouteError::Route(InvalidRoute::NoPort));
    assert_eq!(network.route(name).unwrap()[0].weight(), 5, "the former one stays");
    let unknown = network.replace_route("b-", to(1), 1).unwrap_err();
    assert_eq!(unknown, ReplaceRouteError::Unknown { pattern: "b-".into() });

    assert!(network.disconnect(name).await);
    assert_eq!(
        network.connect(name).await.unwrap().info().road.clone().unwrap().endpoint.as_ref().unwrap().port,
        new.port
    );
    a.stop().await;
    b.stop().await;
}

/// > Proxy routes have the same pattern matching and weight semantics as direct
/// > routes. You can define multiple proxy routes for the same pattern with
/// > different weights for failover.
#[tokio::test]
async fn seed_proxy_routes_are_kept_like_direct_ones() {
    let a = node("a").await;
    let network = a.network();
    let via = NetworkProxyRoute::via;
    let name = "backend-db@internal.local";
    assert!(matches!(network.proxy_route(name), Err(ConnectError::NoRoute(_))));
    assert_eq!(network.add_proxy_route("^backend-", via("one@dmz"), 100).unwrap(), []);
    assert_eq!(network.add_proxy_route("backend-*", via("two@dmz"), 200).unwrap().len(), 1);
    let taken = network.add_proxy_route("^backend-", via("two@dmz"), 1).unwrap_err();
    assert_eq!(taken, AddRouteError::Taken { pattern: "^backend-".into() });
    network.add_route("^backend-", to(1), 1).expect("the other table");
    let bad = network.add_proxy_route("backend-(", via("two@dmz"), 1).unwrap_err();
    assert!(matches!(bad, AddRouteError::InvalidPattern { position: 9, .. }), "{bad:?}");
    let nobody = network.add_proxy_route("x", via("nobody"), 1).unwrap_err();
    assert!(matches!(nobody, AddRouteError::ProxyRoute(InvalidProxyRoute::ProxyName { .. })), "{nobody}");
    let own = network.add_proxy_route("x", via(a.name().as_str()), 1).unwrap_err();
    assert!(matches!(own, AddRouteError::ProxyRoute(InvalidProxyRoute::ProxyIsOwn { .. })), "{own}");

    let patterns: Vec<_> =
        network.proxy_route(name).unwrap().iter().map(|entry| entry.pattern().to_owned()).collect();
    assert_eq!(patterns, ["backend-*", "^backend-"]);
    assert_eq!(network.proxy_routes().len(), 2);
    network.replace_proxy_route("backend-*", via("two@dmz"), 50).unwrap();
    assert_eq!(network.proxy_route(name).unwrap()[0].pattern(), "^backend-");
    network.remove_proxy_route("backend-*").unwrap();
    let unknown = network.remove_proxy_route("backend-*").unwrap_err();
    assert_eq!(unknown, RemoveRouteError::Unknown { pattern: "backend-*".into() });
    a.stop().await;
}

/// Whoever is no gateway is told apart, and nobody is dialed in its place.
#[tokio::test]
async fn a_way_through_a_proxy_fails_by_name() {
    let gateway = node("gateway").await;
    let registrar = Scripted::new(Behaviour::Knows(vec![dead_port()]));
    let start = |order| builder("a").registrar(registrar.clone()).proxy_order(order).start();
    let name = "backend-db@internal.local";
    let a = start(ProxyOrder::BeforeDiscovery).await.unwrap();
    let route = || NetworkProxyRoute::via(gateway.name().as_str());
    a.network().add_proxy_route("^backend-", route(), 1).unwrap();
    let to_gateway = NetworkRoute::to("127.0.0.1", port(&gateway));
    a.network().add_route(&exact(gateway.name().as_str()), to_gateway, 1).unwrap();
    let no_route = failures(a.network().connect(name).await);
    assert_eq!(no_route.attempts.len(), 1);
    let attempt = &no_route.attempts[0];
    let AttemptError::Tunnel(TunnelError::Refused { hop, reason }) = &attempt.error else {
        panic!("{attempt}")
    };
    assert_eq!((*hop, *reason), (gateway.name(), TunnelRefusal::NoTransit));
    assert_eq!((attempt.stage, attempt.proxy), (Stage::Tunnel, Some(gateway.name())));
    let text = attempt.to_string();
    assert!(
        text.starts_with(&format!("proxy route `^backend-` weight 1: through {}: tunnel: ", gateway.name()))
    );
    assert_eq!(registrar.asked(), 0);
    a.stop().await;

    let a = start(ProxyOrder::AfterDiscovery).await.unwrap();
    a.network().add_proxy_route("^backend-", route(), 1).unwrap();
    let to_gateway = NetworkRoute::to("127.0.0.1", port(&gateway));
    a.network().add_route(&exact(gateway.name().as_str()), to_gateway, 1).unwrap();
    let stages: Vec<_> =
        failures(a.network().connect(name).await).attempts.iter().map(|attempt| attempt.stage).collect();
    assert_eq!(stages, [Stage::Dial, Stage::Tunnel]);
    assert_eq!(registrar.asked(), 1);
    a.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn info_shows_everything_but_secrets() {
    let registrar = Scripted::new(Behaviour::Fails);
    let a = builder("a")
        .cookie("hush-node")
        .registrar(registrar)
        .on_failure(OnFailure::Discover)
        .proxy_order(ProxyOrder::AfterDiscovery)
        .start()
        .await
        .unwrap();
    let b = builder("b").cookie("hush-route").start().await.unwrap();
    let network = a.network();
    network.add_route("^b-", to(port(&b)).cookie("hush-route").timeout(LONG), 7).unwrap();
    let resolver = Scripted::new(Behaviour::Fails);
    let resolved = NetworkRoute::resolve_with(resolver).tls(true).on_failure(OnFailure::Fail);
    network.add_route("^staging-", resolved, -1).unwrap();
    let proxy = NetworkProxyRoute::via("gateway@dmz").to("db@internal").cookie("hush-proxy").max_hop(3);
    network.add_proxy_route("internal$", proxy, 9).unwrap();
    network.connect(b.name().as_str()).await.unwrap();
    failures(send(&a, "staging-db@host").await);

    let info = network.info();
    assert_eq!(info.registrar.as_deref(), Some("a registrar of this test"));
    assert_eq!((info.on_failure, info.proxy_order), (OnFailure::Discover, ProxyOrder::AfterDiscovery));
    assert_eq!(
        (info.handshake_version.clone(), info.proto_version.clone()),
        (Version::ehs(), Version::enp())
    );
    assert_eq!(info.acceptors.len(), 1);
    assert_eq!(info.max_message_size, 128 << 20);
    assert_eq!(info.peers[0].name, b.name());
    let [direct, staging] = &info.routes[..] else { panic!("{:?}", info.routes) };
    assert_eq!((direct.pattern.as_str(), direct.weight, direct.own_cookie), ("^b-", 7, true));
    assert_eq!((direct.host.as_deref(), direct.port), (Some("127.0.0.1"), Some(port(&b))));
    assert_eq!((direct.resolver.as_deref(), direct.timeout, direct.on_failure), (None, Some(LONG), None));
    assert_eq!((staging.host.as_deref(), staging.port, staging.tls), (None, None, true));
    assert_eq!(staging.resolver.as_deref(), Some("a registrar of this test"));
    let proxy = &info.proxy_routes[0];
    assert_eq!((proxy.proxy.as_deref(), proxy.to.as_deref()), (Some("gateway@dmz"), Some("db@internal")));
    assert_eq!((proxy.max_hop, proxy.own_cookie, proxy.weight), (3, true, 9));
    assert_eq!(info.unreachable[0].no_route.name.as_str(), "staging-db@host");
    let printed = format!("{info:?} {:?} {:?}", network.routes(), network.proxy_routes());
    assert!(!printed.contains("hush"), "{printed}");
    a.stop().await;
    b.stop().await;
}

/// What a resolver may do, and what the attempt says then.
#[tokio::test]
async fn resolvers_that_misbehave_cost_an_attempt() {
    let (a, other) = (node("a").await, node("other").await);
    let network = a.network();
    let dead = dead_port();
    let attempts = async |behaviour| {
        let route = NetworkRoute::resolve_with(Scripted::new(behaviour)).timeout(Duration::from_millis(50));
        failures(network.connect_with("db@127.0.0.1", route).await).attempts.clone()
    };
    let one = async |behaviour, part: &str| {
        let attempts = attempts(behaviour).await;
        assert_eq!((attempts.len(), attempts[0].stage), (1, Stage::Resolve));
        let text = attempts[0].to_string();
        assert!(text.contains(part), "{text}");
    };
    one(Behaviour::Fails, "a registrar of this test: out of order").await;
    one(Behaviour::Hangs, "a registrar of this test: no answer within 50ms").await;
    one(Behaviour::Panics, "panicked").await;
    one(Behaviour::Knows(vec![]), "knows the node, but no address").await;

    let lie = attempts(Behaviour::Knows(vec![port(&other)])).await;
    assert_eq!(lie[0].stage, Stage::Introduce);
    assert!(lie[0].error.is_distrust());
    assert!(lie[0].to_string().contains("answered where db@127.0.0.1 was expected"), "{}", lie[0]);
    assert!(network.peers().is_empty());
    assert_eq!(attempts(Behaviour::Knows(vec![dead; 10_000])).await.len(), 64);
    a.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn the_whole_plan_has_a_deadline() {
    let hangs = || NetworkRoute::resolve_with(Scripted::new(Behaviour::Hangs));
    let (second, whole) = (Duration::from_secs(1), Duration::from_millis(100));
    let a = builder("a").timeouts(second, second, whole).start().await.unwrap();
    for pattern in ["db", "d", "b"] {
        a.network().add_route(pattern, hangs(), 1).unwrap();
    }
    let begun = std::time::Instant::now();
    let no_route = failures(a.network().connect("db@host").await);
    assert!(begun.elapsed() < second, "{:?}", begun.elapsed());
    assert_eq!((no_route.attempts.len(), no_route.untried), (1, 2), "{no_route}");
    a.stop().await;
}

#[tokio::test]
async fn no_limit_is_a_limit_too() {
    let b = node("b").await;
    let forever = Duration::MAX;
    let a = builder("a").timeouts(forever, forever, forever).retry_pause(forever).start().await.unwrap();
    let network = a.network();
    failures(send(&a, "gone@127.0.0.1").await);
    assert!(!failures(send(&a, "gone@127.0.0.1").await).age.is_zero());
    network.add_route("^b-", to(port(&b)).timeout(forever), 1).unwrap();
    network.connect(b.name().as_str()).await.unwrap();
    a.stop().await;
    b.stop().await;
}
