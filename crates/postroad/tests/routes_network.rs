//! Static routes between nodes over real sockets, against sentences of the seed
//! (`seed/static-routes.md`).

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postroad::network::{
    AddRouteError, ConnectError, Discovery, InvalidRoute, NetworkProxyRoute, NetworkRoute, NoRoute,
    OnFailure, Stage, exact,
};
use postroad::registrar::{
    BoxFuture, Endpoint, RegisterError, Registered, Registrar, Registration, ResolveError, Resolver,
};
use postroad::{Atom, Node};
use postroad_wire::Version;

use support::{builder, dead_port, node, port};

/// A registrar that knows one address for every node and counts who asks.
#[derive(Debug)]
struct Knows {
    port: u16,
    asked: AtomicUsize,
}

impl Resolver for Knows {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let endpoint = Endpoint {
            host: String::new(),
            port: self.port,
            tls: false,
            handshake_version: Version::ehs(),
            proto_version: Version::enp(),
        };
        Box::pin(async { Ok(vec![endpoint]) })
    }

    fn describe(&self) -> String {
        "a registrar of this test".to_owned()
    }
}

impl Registrar for Knows {
    fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async { Ok(Registered::default()) })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn knows(port: u16) -> Arc<Knows> {
    Arc::new(Knows { port, asked: AtomicUsize::new(0) })
}

async fn no_route(from: &Node, to: &str) -> Arc<NoRoute> {
    match from.network().connect(to).await {
        Err(ConnectError::NoRoute(no_route)) => no_route,
        other => panic!("{other:?}"),
    }
}

/// > The framework sorts them by weight and tries weight-200 first. If that
/// > connection fails (host unreachable, handshake failure, timeout), it tries
/// > weight-100. This gives you automatic failover.
#[tokio::test]
async fn seed_automatic_failover() {
    let (a, b, other) = (node("a").await, node("b").await, node("other").await);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let name = b.name().as_str();
    let network = a.network();
    let to = |port| NetworkRoute::to("127.0.0.1", port);
    network.add_route(name, to(dead_port()), 500).unwrap();
    network.add_route(&format!("^{name}"), to(port(&other)), 400).unwrap();
    network.add_route(&format!("{name}$"), to(silent_port).timeout(Duration::from_millis(50)), 300).unwrap();
    network.add_route("^b", to(port(&b)).cookie("another cookie"), 200).unwrap();

    let failures = no_route(&a, name).await;
    let stages: Vec<Stage> = failures.attempts.iter().map(|attempt| attempt.stage).collect();
    assert_eq!(stages, [Stage::Dial, Stage::Introduce, Stage::Hello, Stage::Hello], "{failures}");
    let distrust: Vec<bool> = failures.attempts.iter().map(|attempt| attempt.error.is_distrust()).collect();
    assert_eq!(distrust, [false, true, false, true], "{failures}");
    assert!(!failures.to_string().contains("another cookie"));

    network.add_route(&exact(name), to(port(&b)), 100).unwrap();
    let peer = network.connect(name).await.unwrap();
    assert_eq!(peer.name(), b.name());
    assert!(network.peer(other.name().as_str()).is_none());
}

/// > Removing a route doesn't affect existing connections. [...] The next time
/// > the framework needs to connect to that node, it won't find the static
/// > route and will fall back to discovery.
#[tokio::test]
async fn seed_removing_leaves_connections_alone() {
    let b = node("b").await;
    let registrar = knows(port(&b));
    let a = builder("a").registrar(registrar.clone()).start().await.unwrap();
    let (network, name) = (a.network(), b.name().as_str());
    network.add_route("^b-", NetworkRoute::to("127.0.0.1", port(&b)), 1).unwrap();
    network.connect(name).await.unwrap();
    network.remove_route("^b-").unwrap();
    assert!(network.remove_route("^b-").is_err());
    assert!(network.peer(name).is_some());
    assert_eq!(registrar.asked.load(Ordering::Relaxed), 0);

    assert!(network.disconnect(name).await);
    network.connect(name).await.unwrap();
    assert_eq!(registrar.asked.load(Ordering::Relaxed), 1);
}

/// > This queries the routing table without establishing a connection.
#[tokio::test]
async fn seed_querying_does_not_connect() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name().as_str());
    assert!(matches!(network.route(name), Err(ConnectError::NoRoute(_))));
    network.add_route("^b-", NetworkRoute::to("127.0.0.1", port(&b)), 1).unwrap();
    network.add_route("@127", NetworkRoute::to("", 4370), 2).unwrap();
    let routes = network.route(name).unwrap();
    assert_eq!(routes.iter().map(|entry| entry.pattern()).collect::<Vec<_>>(), ["@127", "^b-"]);
    assert_eq!(network.routes().len(), 2);
    let plan = network.explain(name).await.unwrap().to_string();
    assert!(plan.contains("1. route `@127` weight 2: dial 127.0.0.1:4370"), "{plan}");
    assert!(plan.contains(&format!("2. route `^b-` weight 1: dial 127.0.0.1:{}", port(&b))), "{plan}");
    assert!(network.peers().is_empty());
}

/// > If you've defined a route [...] the framework uses your route and never
/// > asks the Registrar.
#[tokio::test]
async fn seed_the_registrar_is_not_asked_when_a_route_matches() {
    let b = node("b").await;
    let registrar = knows(port(&b));
    let a = builder("a").registrar(registrar.clone()).start().await.unwrap();
    a.network().add_route("^b-", NetworkRoute::to("127.0.0.1", dead_port()), 1).unwrap();
    let failures = no_route(&a, b.name().as_str()).await;
    assert_eq!(failures.discovery, Discovery::Withheld);
    assert_eq!(registrar.asked.load(Ordering::Relaxed), 0);
}

/// > **Query discovery** - If no static route exists or all failed, ask the
/// > Registrar
///
/// The other reading, with the cookie that the route pins: the node's own would
/// not open that door.
#[tokio::test]
async fn seed_discovery_after_routes_keeps_the_cookie_of_the_route() {
    let b = builder("b").cookie("shared-secret-with-partner").start().await.unwrap();
    let registrar = knows(port(&b));
    let a = builder("a").registrar(registrar).start().await.unwrap();
    let dead = NetworkRoute::to("127.0.0.1", dead_port()).on_failure(OnFailure::Discover);
    a.network().add_route("^b-", dead.cookie("shared-secret-with-partner"), 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
}

#[tokio::test]
async fn discovery_is_withheld_after_a_wrong_cookie() {
    let b = node("b").await;
    let registrar = knows(port(&b));
    let a = builder("a").registrar(registrar.clone()).on_failure(OnFailure::Discover).start().await.unwrap();
    let route = NetworkRoute::to("127.0.0.1", port(&b)).cookie("a wrong one");
    a.network().add_route("^b-", route, 1).unwrap();
    let failures = no_route(&a, b.name().as_str()).await;
    assert_eq!(failures.discovery, Discovery::Distrusted);
    assert_eq!(registrar.asked.load(Ordering::Relaxed), 0);
}

/// > This hybrid approach uses the pattern to select which nodes use this route,
/// > then queries the resolver for connection details. The `Route` fields
/// > override any values returned by the resolver.
#[tokio::test]
async fn seed_a_route_with_a_resolver_asks_it_and_overrides_it() {
    let b = node("b").await;
    let resolver = knows(dead_port());
    let a = node("a").await;
    let route = NetworkRoute::resolve_with(resolver.clone());
    a.network().add_route("^b-", route.clone(), 1).unwrap();
    let failures = no_route(&a, b.name().as_str()).await;
    assert_eq!(failures.attempts[0].endpoint.as_ref().unwrap().host, "127.0.0.1", "the host of the name");
    a.network().add_route("^b", route.port(port(&b)), 0).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_cannot_work_is_refused_early() {
    let a = node("a").await;
    let network = a.network();
    let port_0 = network.add_route("b", NetworkRoute::to("127.0.0.1", 0), 1).unwrap_err();
    assert_eq!(port_0, AddRouteError::Route(InvalidRoute::NoPort));
    assert!(network.add_route("b(", NetworkRoute::to("127.0.0.1", 1), 1).is_err());
    assert!(matches!(network.connect(a.name().as_str()).await, Err(ConnectError::OwnName(_))));
    assert!(matches!(network.explain(a.name().as_str()).await, Err(ConnectError::OwnName(_))));
    let warnings = network.add_route("b@*", NetworkRoute::to("127.0.0.1", dead_port()), 1).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");

    let plain = node("plain").await;
    network.add_route("secure", NetworkRoute::to("127.0.0.1", port(&plain)).tls(true), 1).unwrap();
    let failures = no_route(&a, "secure@host").await;
    assert_eq!(failures.attempts[0].stage, Stage::Tls, "nothing is dialed without TLS: {failures}");
}

#[tokio::test]
async fn of_several_routes_with_a_bad_one_none_is_added() {
    let node = node("several").await;
    let network = node.network();
    let bad =
        [("^one@", NetworkRoute::to("127.0.0.1", 1), 1), ("^two@", NetworkRoute::to("127.0.0.1", 0), 1)];
    let error = network.add_routes(bad).expect_err("port 0");
    assert_eq!((error.index, &*error.pattern), (1, "^two@"));
    assert_eq!(*error.source, AddRouteError::Route(InvalidRoute::NoPort));
    let bad = [("^one@", NetworkProxyRoute::via("proxy@host"), 1), ("^two@", NetworkProxyRoute::via(""), 1)];
    assert_eq!(network.add_proxy_routes(bad).expect_err("no proxy").index, 1);
    assert!(network.routes().is_empty() && network.proxy_routes().is_empty());
    network.add_routes([("^one@", NetworkRoute::to("127.0.0.1", 1), 1)]).expect("a good one");
    network.add_proxy_routes([("^one@", NetworkProxyRoute::via("proxy@host"), 1)]).expect("a good one");
    assert_eq!((network.routes().len(), network.proxy_routes().len()), (1, 1));
    node.stop().await;
}
