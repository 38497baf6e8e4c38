//! Sentences of the seed (`seed/static-routes.md`) from end to end: nodes,
//! sockets, certificates. Which test shows which sentence is in
//! `docs/seed-conformance.md`.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad::network::{
    AddRouteError, AttemptError, ConnectError, Discovery, InvalidRoute, NetworkEvent, NetworkProxyRoute,
    NetworkRoute, NoRoute, OnFailure, Reason, RemoveRouteError, Stage, TunnelError, exact,
};
use postroad::registrar::{
    BoxFuture, Endpoint, ProxyEndpoint, RegisterError, Registered, Registrar, Registration, ResolveError,
    Resolver,
};
use postroad::tls::TlsOptions;
use postroad::{Atom, NetworkFlags, Node, Pid};
use postroad_wire::Version;
use postroad_wire::enp::any::{ApplicationStart, Request, Spawn};
use postroad_wire::enp::{Code, Delivery, Frame, Head, Target};
use support::authority::{Authority, Leaf};
use support::forwarder::Forwarder;
use support::scripted::{Desk, Link, introduction};
use support::{Echo, builder, dead_port, next, node, port, probe};
use tokio::net::TcpListener;

const PARTNER: &str = "shared-secret-with-partner";

/// Service discovery of this test: knows these addresses and proxies for every
/// node, and notes what it is asked.
#[derive(Debug, Default)]
struct Known {
    addresses: Mutex<Vec<Endpoint>>,
    proxies: Vec<Atom>,
    asked: Mutex<Vec<&'static str>>,
}

impl Known {
    fn at(addresses: impl IntoIterator<Item = Endpoint>) -> Arc<Self> {
        Arc::new(Self { addresses: Mutex::new(addresses.into_iter().collect()), ..Self::default() })
    }

    fn asked(&self) -> Vec<&'static str> {
        self.asked.lock().clone()
    }
}

impl Resolver for Known {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        self.asked.lock().push("addresses");
        let addresses = self.addresses.lock().clone();
        Box::pin(async { Ok(addresses) })
    }

    fn resolve_proxy(&self, to: Atom) -> BoxFuture<'_, Result<Vec<ProxyEndpoint>, ResolveError>> {
        self.asked.lock().push("proxies");
        let proxies = self.proxies.iter().map(|proxy| ProxyEndpoint { to, proxy: *proxy }).collect();
        Box::pin(async { Ok(proxies) })
    }

    fn describe(&self) -> String {
        "discovery".to_owned()
    }
}

impl Registrar for Known {
    fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async { Ok(Registered::default()) })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint {
        host: host.to_owned(),
        port,
        tls: false,
        handshake_version: Version::ehs(),
        proto_version: Version::enp(),
    }
}

fn local(port: u16) -> Endpoint {
    endpoint("127.0.0.1", port)
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

async fn stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.stop().await;
    }
}

/// > When your code sends a message to a remote process, the framework needs to
/// > establish a connection to that node. But how does it know where the node
/// > is? By default, it asks the Service Discovery system (the Registrar) to
/// > look up the node's address.
#[tokio::test]
async fn seed_a_message_is_enough_to_be_connected_by_discovery() {
    let b = node("b").await;
    let registrar = Known::at([local(port(&b))]);
    let a = builder("a").registrar(registrar.clone()).start().await.unwrap();
    let (pid, mut inbox) = probe(&b).await;
    a.send(pid, 7i64).await.unwrap();
    assert_eq!(next::<i64>(&mut inbox).await, 7);
    assert_eq!(a.network().peer(b.name().as_str()).unwrap().road.unwrap().reason, Reason::Discovery);
    assert_eq!(registrar.asked(), ["addresses"]);
    stop([a, b]).await;
}

/// > Static routes let you hardcode connection information directly, bypassing
/// > the discovery process entirely. [...] static routes are checked first,
/// > before any discovery queries.
/// >
/// > **Performance** - Static routes eliminate discovery latency. The framework
/// > connects immediately without the resolver round-trip.
#[tokio::test]
async fn seed_a_static_route_asks_nobody() {
    let b = node("b").await;
    let registrar = Known::at([local(dead_port())]);
    let a = builder("a").registrar(registrar.clone()).start().await.unwrap();
    a.network().add_route("^b-", to(port(&b)), 100).unwrap();
    let (pid, mut inbox) = probe(&b).await;
    a.send(pid, 7i64).await.unwrap();
    assert_eq!(next::<i64>(&mut inbox).await, 7);
    let road = a.network().peer(b.name().as_str()).unwrap().road.unwrap();
    assert_eq!(road.reason, Reason::Route { pattern: "^b-".into(), weight: 100 });
    assert!(registrar.asked().is_empty());
    stop([a, b]).await;
}

/// > This tells the framework: "When connecting to `prod-db@example.com`, use
/// > host `10.0.1.50` on port `4370` with TLS enabled. This route has weight
/// > 100."
/// >
/// > When the framework uses this route, it connects to the specified host and
/// > port with TLS.
#[tokio::test]
async fn seed_host_port_and_tls_are_what_is_dialed() {
    let authority = Authority::new("ours");
    let db = builder("prod-db").tls(TlsOptions::new().identity(authority.identity())).start().await.unwrap();
    let app = builder("app").tls(TlsOptions::new().trust(authority.trust())).start().await.unwrap();
    let echo = db.spawn::<Echo>(()).await.unwrap();
    let network = app.network();
    network.add_route(&exact(db.name().as_str()), to(port(&db)).tls(true), 100).unwrap();
    assert_eq!(app.call::<u8>(echo, 7u8).await.unwrap(), 7);
    let road = network.peer(db.name().as_str()).unwrap().road.unwrap();
    assert_eq!(
        (
            &*road.endpoint.as_ref().unwrap().host,
            road.endpoint.as_ref().unwrap().port,
            road.endpoint.as_ref().unwrap().tls
        ),
        ("127.0.0.1", port(&db), true)
    );
    stop([app, db]).await;
}

/// > The handshake and protocol versions default to the node's configured
/// > versions if you don't specify them explicitly.
#[tokio::test]
async fn seed_versions_default_to_the_nodes() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name().as_str());
    let info = network.info();
    let said =
        to(port(&b)).handshake_version(info.handshake_version.clone()).proto_version(info.proto_version);
    for route in [to(port(&b)), said] {
        let road = network.connect_with(name, route).await.unwrap().info().road.clone().unwrap();
        assert_eq!(road.endpoint.as_ref().unwrap().handshake_version, Version::ehs());
        assert_eq!(road.endpoint.as_ref().unwrap().proto_version, Version::enp());
        assert!(network.disconnect(name).await);
    }
    let version = Version::new("KHS", "R7");
    let unknown = network.add_route("^b-", to(port(&b)).handshake_version(version.clone()), 1).unwrap_err();
    assert_eq!(unknown, AddRouteError::Route(InvalidRoute::UnknownHandshake { version: version.clone() }));
    let unknown = network.add_route("^b-", to(port(&b)).proto_version(version.clone()), 1).unwrap_err();
    assert_eq!(unknown, AddRouteError::Route(InvalidRoute::UnknownProtocol { version }));
    assert!(network.routes().is_empty());
    stop([a, b]).await;
}

/// > Imagine you have a staging environment behind a bastion host. The staging
/// > nodes register themselves in the discovery system with their internal
/// > addresses, but you need to connect through a specific gateway. The resolver
/// > pattern matches staging nodes, the resolver gets you the node's details,
/// > but your route configuration redirects the connection through your gateway.
/// >
/// > In this example, even if the resolver returns a non-TLS route, the
/// > framework forces TLS.
#[tokio::test]
async fn seed_a_bastion_host() {
    let authority = Authority::new("staging");
    let staging = TlsOptions::new().identity(authority.identity());
    let db = builder("staging-db").tls(staging).start().await.unwrap();
    let app = builder("app").tls(TlsOptions::new().trust(authority.trust())).start().await.unwrap();
    let echo = db.spawn::<Echo>(()).await.unwrap();
    let (network, name) = (app.network(), db.name().as_str());
    let gateway = Forwarder::to(port(&db)).await;
    // The gateway has a port for each node, as registered, or one that the route says.
    for (registered, port) in [(gateway.port, 0), (dead_port(), gateway.port)] {
        let details = Known::at([endpoint("staging-db.invalid", registered)]);
        let route = NetworkRoute::resolve_with(details.clone()).host("127.0.0.1").port(port).tls(true);
        network.add_route("staging-.*", route, 100).unwrap();
        let before = gateway.accepted();
        assert_eq!(app.call::<u8>(echo, 7u8).await.unwrap(), 7);
        let road = network.peer(name).unwrap().road.unwrap();
        assert_eq!(
            (
                &*road.endpoint.as_ref().unwrap().host,
                road.endpoint.as_ref().unwrap().port,
                road.endpoint.as_ref().unwrap().tls
            ),
            ("127.0.0.1", gateway.port, true)
        );
        assert!(gateway.accepted() > before);
        assert_eq!(details.asked(), ["addresses"]);
        assert!(network.disconnect(name).await);
        network.remove_route("staging-.*").unwrap();
    }
    stop([app, db]).await;
}

/// > Alternatively, use a resolver-based route. The resolver can return multiple
/// > addresses, and the framework tries them in order, letting the resolver
/// > handle failover logic.
#[tokio::test]
async fn seed_addresses_of_a_resolver_in_its_order() {
    let (a, b) = (node("a").await, node("b").await);
    let (spare, dead) = (Forwarder::to(port(&b)).await, [dead_port(), dead_port()]);
    let resolver = Known::at([dead[0], dead[1], port(&b), spare.port].map(local));
    let mut events = a.network().subscribe();
    a.network().add_route("^b-", NetworkRoute::resolve_with(resolver), 1).unwrap();
    let road = a.network().connect(b.name().as_str()).await.unwrap().info().road.clone().unwrap();
    assert_eq!(road.endpoint.as_ref().unwrap().port, port(&b));
    assert_eq!(spare.accepted(), 0);
    for port in dead {
        let event = events.recv().await.unwrap();
        let NetworkEvent::RouteFailed { attempt, .. } = event else { panic!("{event:?}") };
        assert_eq!((attempt.stage, attempt.endpoint.as_ref().unwrap().port), (Stage::Dial, port));
    }
    stop([a, b]).await;
}

/// > Now all production nodes use the static route for pattern matching, but the
/// > resolver for address lookup. You get the control of static routes
/// > (selecting which nodes use this configuration) with the dynamism of
/// > discovery (nodes can move without updating your code).
#[tokio::test]
async fn seed_a_node_may_move_behind_a_route_with_a_resolver() {
    let (a, b) = (node("a").await, node("prod-b").await);
    let (network, name) = (a.network(), b.name().as_str());
    let (old, new) = (Forwarder::to(port(&b)).await, Forwarder::to(port(&b)).await);
    let etcd = Known::at([local(old.port)]);
    network.add_route("prod-.*", NetworkRoute::resolve_with(etcd.clone()), 100).unwrap();
    assert_eq!(
        network.connect(name).await.unwrap().info().road.clone().unwrap().endpoint.as_ref().unwrap().port,
        old.port
    );
    assert!(network.disconnect(name).await);
    *etcd.addresses.lock() = vec![local(new.port)];
    assert_eq!(
        network.connect(name).await.unwrap().info().road.clone().unwrap().endpoint.as_ref().unwrap().port,
        new.port
    );
    failures(network.connect("other@127.0.0.1").await);
    assert_eq!(etcd.asked().len(), 2, "not for nodes that the pattern leaves out");
    stop([a, b]).await;
}

/// > Your internal nodes use one cookie (say, `"internal-cluster-secret"`). An
/// > external partner's nodes use a different cookie (say,
/// > `"shared-secret-with-partner"`). Without per-route cookies, you'd have to
/// > use the same cookie everywhere or give up on connecting to external
/// > systems.
#[tokio::test]
async fn seed_a_partners_cookie_beside_the_clusters() {
    let (app, internal) = (node("app").await, node("internal").await);
    let partner = builder("partner").cookie(PARTNER).start().await.unwrap();
    let network = app.network();
    let refused = failures(network.connect_with(partner.name().as_str(), to(port(&partner))).await);
    assert!(refused.attempts[0].error.is_distrust(), "{refused}");
    network.add_route("^internal-", to(port(&internal)), 1).unwrap();
    network.add_route("^partner-", to(port(&partner)).cookie(PARTNER), 1).unwrap();
    for peer in [&internal, &partner] {
        let echo = peer.spawn::<Echo>(()).await.unwrap();
        assert_eq!(app.call::<u8>(echo, 7u8).await.unwrap(), 7);
    }
    // What opens one door does not open the other.
    let stranger = node("stranger").await;
    let wrong = to(port(&internal)).cookie(PARTNER);
    let refused = failures(stranger.network().connect_with(internal.name().as_str(), wrong).await);
    assert!(refused.attempts[0].error.is_distrust(), "{refused}");
    stop([app, internal, partner, stranger]).await;
}

/// > **Security boundaries** - Different routes can use different cookies and
/// > certificates. When integrating multiple trust domains, static routes let
/// > you configure each boundary explicitly.
/// >
/// > Setting `InsecureSkipVerify: true` disables certificate validation.
#[tokio::test]
async fn seed_each_boundary_has_a_cookie_and_trust_of_its_own() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let start = async |name: &str, issued: support::authority::Issued, cookie: &str| {
        let tls = TlsOptions::new().identity(issued.identity());
        builder(name).tls(tls).cookie(cookie).start().await.unwrap()
    };
    let production = start("production", ours.issue(Leaf::local()), support::COOKIE).await;
    let partner = start("partner", theirs.issue(Leaf::local()), PARTNER).await;
    let lab = start("lab", Leaf::host("whatever").self_signed(), "of the lab").await;
    let app = builder("app").tls(TlsOptions::new().trust(ours.trust())).start().await.unwrap();
    let network = app.network();
    let secure = |node: &Node| to(port(node)).tls(true);
    let routes = [
        (&production, secure(&production)),
        (&partner, secure(&partner).trust(theirs.trust()).cookie(PARTNER)),
        (&lab, secure(&lab).insecure_skip_verify(true).cookie("of the lab")),
    ];
    for (node, route) in routes {
        let name = node.name().as_str();
        network.add_route(&exact(name), route, 1).unwrap();
        assert!(
            network.connect(name).await.unwrap().info().road.clone().unwrap().endpoint.as_ref().unwrap().tls
        );
        assert!(network.disconnect(name).await);
    }
    // Neither the other's trust nor the other's laxity is lent out.
    for (node, route) in [
        (&production, secure(&production).trust(theirs.trust())),
        (&partner, secure(&partner).cookie(PARTNER)),
        (&lab, secure(&lab).cookie("of the lab")),
    ] {
        let refused = failures(network.connect_with(node.name().as_str(), route).await);
        assert_eq!(refused.attempts[0].stage, Stage::Tls, "{refused}");
        assert!(refused.attempts[0].error.is_distrust(), "{refused}");
    }
    stop([app, production, partner, lab]).await;
}

/// Dials a scripted peer over this route.
async fn dialed(node: &Node, desk: &Desk, route: NetworkRoute) -> Link {
    let local = introduction("readonly");
    let (network, name) = (node.network(), local.node);
    let connecting = tokio::spawn(async move { network.connect_with(name.as_str(), route).await });
    let mut callee = desk.called(local).await;
    callee.hello().await;
    callee.introduce().await;
    let link = callee.agreed().await;
    connecting.await.unwrap().unwrap();
    link
}

/// > EnableRemoteSpawn: false, // don't let them spawn on us
/// >
/// > EnableRemoteApplicationStart: false, // don't let them start apps on us
/// >
/// > EnableImportantDelivery: true, // but do support important delivery
/// >
/// > This is about defense. [...] Custom flags let you expose only the features
/// > you're comfortable with for that specific connection.
#[tokio::test]
async fn seed_a_read_only_partner() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let desk = Desk::open().await;
    let withheld = NetworkFlags::REMOTE_SPAWN
        .with(NetworkFlags::REMOTE_APPLICATION_START)
        .with(NetworkFlags::FRAGMENTATION);
    let read_only = NetworkFlags::ENABLE.with(NetworkFlags::IMPORTANT_DELIVERY);
    let mut partner = dialed(&node, &desk, to(desk.port()).network_flags(read_only)).await;
    let other = dialed(&node, &desk, to(desk.port())).await;
    let (told, usual) = (partner.peer.flags, other.peer.flags);
    assert_eq!(told.bits() & withheld.bits(), 0, "{told:?}");
    assert!(usual.allows(NetworkFlags::FRAGMENTATION), "{usual:?}");
    assert!(told.bits() & !usual.bits() & !(0xff << 8) == 0, "a route gives nothing: {told:?}, {usual:?}");

    let source = partner.sender();
    let reference = postroad::Ref { node: source.node, creation: source.creation, id: [1, 0, u64::MAX] };
    let worker = Atom::new("worker").unwrap();
    for request in [
        Request::Spawn(Box::new(Spawn::new(worker, source, reference))),
        Request::ApplicationStart(Box::new(ApplicationStart::new(worker, source, reference))),
    ] {
        partner.ask(&request).await;
        let (answer, _) = partner.hears_answer().await;
        assert_eq!(answer.error.expect("it is refused").to_string(), "not allowed");
        assert_eq!(answer.reference, reference);
    }
    // What is important is confirmed, or not.
    let (somebody, mut inbox) = probe(&node).await;
    let nobody = Pid { id: somebody.id + 1000, ..somebody };
    for (number, pid, code) in [(8, somebody, Code::Ok), (9, nobody, Code::UnknownProcess)] {
        let delivery = Delivery { important: true, ..Delivery::default() };
        let head = Head::Message { from: source.id, delivery, message_id: number, to: Target::Pid(pid.id) };
        let payload = partner.encode(&number);
        partner.send_frame(&head, &payload).await;
        let frame = partner.frame().await;
        match Frame::parse(&frame).unwrap().head {
            Head::ResponseError { reference, code: said, .. } => {
                assert_eq!((reference, said), ([number, 0, 0], code));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(next::<u64>(&mut inbox).await, 8);
    node.stop().await;
}

/// > If that connection fails (host unreachable, handshake failure, timeout), it
/// > tries weight-100. This gives you automatic failover.
#[tokio::test]
async fn seed_every_kind_of_failure_leads_to_the_backup() {
    let (b, other) = (node("b").await, node("other").await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let waiting = to(silent.local_addr().unwrap().port()).timeout(Duration::from_millis(50));
    // Where no host can be; the system knows without asking anybody.
    let unreachable = NetworkRoute::to("255.255.255.255", 4370);
    for (primary, stage) in [
        (to(dead_port()), Stage::Dial),
        (unreachable, Stage::Dial),
        (to(port(&b)).tls(true), Stage::Tls),
        (waiting, Stage::Hello),
        (to(port(&b)).cookie("a wrong one"), Stage::Hello),
        (to(port(&other)), Stage::Introduce),
    ] {
        let a = node("a").await;
        let (network, name) = (a.network(), b.name());
        let mut events = network.subscribe();
        network.add_route("^b-.*", primary, 200).unwrap();
        network.add_route(&exact(name.as_str()), to(port(&b)), 100).unwrap();
        let road = network.connect(name.as_str()).await.unwrap().info().road.clone().unwrap();
        assert_eq!(road.reason, Reason::Route { pattern: exact(name.as_str()).into(), weight: 100 });
        let event = events.recv().await.unwrap();
        let NetworkEvent::RouteFailed { attempt, .. } = event else { panic!("{event:?}") };
        assert_eq!(attempt.stage, stage, "{attempt}");
        assert_eq!(attempt.reason, Reason::Route { pattern: "^b-.*".into(), weight: 200 });
        a.stop().await;
    }
    stop([b, other]).await;
}

/// > `AddRoute` returns `gen.ErrTaken` if the pattern already exists
/// >
/// > `RemoveRoute` [...] if err == gen.ErrUnknown { // no such route existed }
#[tokio::test]
async fn seed_a_taken_pattern_and_an_unknown_one() {
    let (a, b) = (node("a").await, node("b").await);
    let (network, name) = (a.network(), b.name().as_str());
    network.add_route(name, to(port(&b)), 100).unwrap();
    let taken = network.add_route(name, to(dead_port()), 200).unwrap_err();
    assert_eq!(taken, AddRouteError::Taken { pattern: name.into() });
    network.connect(name).await.expect("the first one is in force");
    for absent in [format!("^{name}$"), "b".to_owned()] {
        let unknown = network.remove_route(&absent).unwrap_err();
        assert_eq!(unknown, RemoveRouteError::Unknown { pattern: absent.into() });
    }
    network.remove_route(name).unwrap();
    assert!(network.routes().is_empty());
    stop([a, b]).await;
}

/// > routes, err := network.Route("prod-db@example.com")
/// >
/// > if err == gen.ErrNoRoute { // no static route defined }
#[tokio::test]
async fn seed_no_static_route_is_no_route_even_if_discovery_knows_the_node() {
    let b = node("b").await;
    let registrar = Known::at([local(port(&b))]);
    let a = builder("a").registrar(registrar.clone()).start().await.unwrap();
    let (network, name) = (a.network(), b.name().as_str());
    network.add_route("^other-", to(dead_port()), 1).unwrap();
    let none = failures(network.route(name));
    assert!(none.attempts.is_empty(), "{none}");
    assert!(registrar.asked().is_empty(), "the table is asked, and nobody else");
    network.connect(name).await.unwrap();
    stop([a, b]).await;
}

/// > 1. **Check routing table** 2. **Try static routes** - Attempt connection
/// > using matched routes (by weight order) 3. **Query discovery** - If no
/// > static route exists or all failed, ask the Registrar 4. **Try discovered
/// > routes** 5. **Try proxy discovery** - If direct connection fails, try
/// > discovered proxy routes 6. **Fail** - Return `gen.ErrNoRoute`
///
/// With the fallback that the third step wants: it is an option.
#[tokio::test]
async fn seed_the_six_steps() {
    let gateway = Atom::new("gateway@dmz").unwrap();
    let (heavy, light, found) = (dead_port(), dead_port(), dead_port());
    let registrar = Arc::new(Known {
        addresses: Mutex::new(vec![local(found)]),
        proxies: vec![gateway],
        ..Known::default()
    });
    let node = builder("a").registrar(registrar.clone());
    let a = node.on_failure(OnFailure::Discover).start().await.unwrap();
    let network = a.network();
    network.add_route("^db@", to(light), 100).unwrap();
    network.add_route("db@host$", to(heavy), 200).unwrap();
    network.add_route("other", to(dead_port()), 300).unwrap();
    network.add_proxy_route("^db", NetworkProxyRoute::via("static@dmz"), 1).unwrap();
    // The proxies themselves are looked for by plans of their own.
    network.add_route("@dmz$", to(dead_port()).on_failure(OnFailure::Fail), 1).unwrap();

    let no_route = failures(network.connect("db@host").await);
    let tried: Vec<_> = no_route
        .attempts
        .iter()
        .map(|attempt| match (&attempt.endpoint, attempt.proxy) {
            (Some(endpoint), None) => endpoint.port.to_string(),
            (_, Some(proxy)) => {
                assert!(matches!(attempt.error, AttemptError::Tunnel(TunnelError::Proxy(_))), "{attempt}");
                proxy.to_string()
            }
            (None, None) => panic!("{attempt}"),
        })
        .collect();
    let ports = [heavy, light, found].map(|port| port.to_string());
    assert_eq!(tried, [&ports[0], &ports[1], "static@dmz", &ports[2], "gateway@dmz"]);
    assert_eq!(no_route.discovery, Discovery::AfterRoutes);
    assert_eq!(registrar.asked(), ["addresses", "proxies"]);
    a.stop().await;
}

/// > **Fixed infrastructure** - If your nodes run on specific servers with
/// > static IPs, static routes are simpler than running a discovery service. Add
/// > routes for your database, cache, and API servers, and you're done.
/// >
/// > **Testing** - Hardcoding routes during development lets you point at local
/// > test nodes without configuring a full discovery system.
#[tokio::test]
async fn seed_fixed_infrastructure_needs_no_discovery() {
    let app = node("app").await;
    assert!(app.network().registrar().is_none());
    let servers = [node("database").await, node("cache").await, node("api").await];
    for server in &servers {
        app.network().add_route(&exact(server.name().as_str()), to(port(server)), 1).unwrap();
        let echo = server.spawn::<Echo>(()).await.unwrap();
        assert_eq!(app.call::<u8>(echo, 7u8).await.unwrap(), 7);
    }
    assert_eq!(app.network().peers().len(), 3);
    stop(servers.into_iter().chain([app])).await;
}

/// > **Firewall restrictions** - [...] The internal nodes discover each other
/// > normally. External access uses static routes pointing to your gateway.
/// >
/// > **External integration** - [...] You don't control their discovery system
/// > (if they even have one). You just need to reach specific addresses.
/// >
/// > Most production clusters use discovery for internal nodes (dynamic,
/// > automatic) and static routes for fixed external connections (explicit,
/// > controlled). The framework supports both, and they work together.
#[tokio::test]
async fn seed_discovery_inside_and_static_routes_outside() {
    let (internal, external) =
        (node("internal").await, builder("external").cookie(PARTNER).start().await.unwrap());
    let gateway = Forwarder::to(port(&external)).await;
    let registrar = Known::at([local(port(&internal))]);
    let app = builder("app").registrar(registrar.clone()).start().await.unwrap();
    app.network().add_route("^external-", to(gateway.port).cookie(PARTNER), 1).unwrap();
    for (peer, asked) in [(&external, 0), (&internal, 1)] {
        let echo = peer.spawn::<Echo>(()).await.unwrap();
        assert_eq!(app.call::<u8>(echo, 7u8).await.unwrap(), 7);
        assert_eq!(registrar.asked().len(), asked);
    }
    assert!(gateway.accepted() > 0);
    stop([app, internal, external]).await;
}
