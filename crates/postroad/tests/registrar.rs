//! Registrars that others have written: what they hand out is taken, and
//! whatever they do, the node lives.

mod support;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad::application::{ApplicationSpec, MemberSpec};
use postroad::network::{
    AcceptorOptions, ConnectError, NetworkProxyRoute, NetworkRoute, ProxyFlags, Reason, Stage, exact,
};
use postroad::registrar::{
    BoxFuture, Endpoint, RegisterError, Registered, Registrar, RegistrarError, Registration, ResolveError,
    Resolver, StaticRoute,
};
use postroad::tls::Trust;
use postroad::{Actor, Atom, Context, ExitReason, Node, SpawnOptions, StartError};
use tokio::sync::{Notify, mpsc};

use support::log::Log;
use support::{COOKIE, Echo, builder, dead_port, node, port, unique};

type Register = dyn Fn(Registration) -> BoxFuture<'static, Result<Registered, RegisterError>> + Send + Sync;
type Resolve = dyn Fn(Atom) -> BoxFuture<'static, Result<Vec<Endpoint>, ResolveError>> + Send + Sync;
type Leave = dyn Fn() -> BoxFuture<'static, ()> + Send + Sync;

/// A registrar that does what the test says, and remembers what it was told.
struct Scripted {
    register: Box<Register>,
    resolve: Box<Resolve>,
    leave: Box<Leave>,
    registered: Mutex<Vec<Registration>>,
    left: Mutex<usize>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            register: Box::new(|_| Box::pin(async { Ok(Registered::default()) })),
            resolve: Box::new(|_| Box::pin(async { Err(ResolveError::Unknown) })),
            leave: Box::new(|| Box::pin(async {})),
            registered: Mutex::default(),
            left: Mutex::default(),
        }
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Resolver for Scripted {
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        (self.resolve)(name)
    }

    fn describe(&self) -> String {
        "scripted".to_owned()
    }
}

impl Registrar for Scripted {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        self.registered.lock().push(registration.clone());
        (self.register)(registration)
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        *self.left.lock() += 1;
        (self.leave)()
    }
}

#[tokio::test]
async fn what_a_registrar_does_not_do_it_says() {
    let a = builder("a").registrar(Arc::new(Scripted::default())).start().await.unwrap();
    let registrar = a.network().registrar().unwrap();
    assert!(matches!(registrar.nodes().await, Err(RegistrarError::NotSupported)));
    assert!(matches!(registrar.config(&["x"]).await, Err(RegistrarError::NotSupported)));
    assert!(matches!(registrar.config_item("x").await, Err(RegistrarError::NotSupported)));
    assert!(matches!(registrar.unregister_application(a.name()).await, Err(RegistrarError::NotSupported)));
    assert!(matches!(registrar.subscribe(), Err(RegistrarError::NotSupported)));
    assert!(matches!(registrar.resolve_application(a.name()).await, Err(ResolveError::NotSupported)));
    assert_eq!(registrar.info().server, "scripted");
    assert!(node("b").await.network().registrar().is_none());
}

#[tokio::test]
async fn routes_that_are_handed_out_are_added_unless_their_pattern_is_taken() {
    let b = node("b").await;
    let route = |pattern: &str, port, weight| StaticRoute {
        pattern: pattern.to_owned(),
        route: NetworkRoute::to("127.0.0.1", port),
        weight,
    };
    let routes = vec![
        route("^b-", port(&b), 0),
        route("^b-", 1, 5),
        route("(", 1, 0),
        route("x", 0, 0),
        route("^c-", 2, 7),
    ];
    let register = move |_| -> BoxFuture<'static, _> {
        let routes = routes.clone();
        Box::pin(async { Ok(Registered::with_routes(routes)) })
    };
    let registrar = Scripted { register: Box::new(register), ..Scripted::default() };
    let a = builder("a").registrar(Arc::new(registrar)).start().await.unwrap();
    let routes: Vec<_> =
        a.network().routes().iter().map(|entry| (entry.pattern().to_owned(), entry.weight())).collect();
    assert_eq!(routes, [("^b-".to_owned(), 0), ("^c-".to_owned(), 7)]);
    a.network().connect(b.name().as_str()).await.unwrap();
}

/// Calls another node before anybody can have added a route to it.
struct Caller;

impl Actor for Caller {
    type Args = Atom;
    type Messages = ();
    type Requests = ();

    async fn init(other: Atom, ctx: &mut Context) -> Result<Self, ExitReason> {
        let answer: u64 = ctx.call(("echo", other.as_str()), 7u64).await?;
        assert_eq!(answer, 7);
        Ok(Self)
    }
}

/// > Static routes always win.
#[tokio::test]
async fn an_application_that_calls_while_it_starts_takes_the_static_route() {
    let b = builder("b").cookie("another cookie").start().await.unwrap();
    b.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
    let unasked: Box<Resolve> = Box::new(|name| panic!("asked for {name}"));
    let member = MemberSpec::new::<Caller>(b.name());
    let route = NetworkRoute::to("127.0.0.1", port(&b)).cookie("another cookie");
    let a = builder("a")
        .registrar(Arc::new(Scripted { resolve: unasked, ..Scripted::default() }))
        .application(ApplicationSpec::new("caller").member(member))
        .route(exact(b.name().as_str()), route, 100);
    a.start().await.unwrap();
}

/// The doors are open before a registrar has answered; what routes demand of
/// who comes in holds by then.
#[tokio::test]
async fn who_comes_in_before_the_node_has_started_shows_what_its_route_demands() {
    let log = Log::start();
    let (told, mut listens) = mpsc::unbounded_channel();
    let registered = Arc::new(Notify::new());
    let proceed = registered.clone();
    let register = move |registration: Registration| -> BoxFuture<'static, _> {
        let (told, proceed) = (told.clone(), proceed.clone());
        Box::pin(async move {
            told.send(registration.endpoints[0].port).unwrap();
            proceed.notified().await;
            Ok(Registered::default())
        })
    };
    let (b, c) = (node("b").await, node("c").await);
    let name = unique("a");
    let a = Node::builder(name.clone())
        .cookie(COOKIE)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .registrar(Arc::new(Scripted { register: Box::new(register), ..Scripted::default() }))
        .route(exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", port(&b)).tls(true), 100)
        .proxy_route(
            exact(c.name().as_str()),
            NetworkProxyRoute::via("gate@dmz").flags(ProxyFlags { encryption: true, ..ProxyFlags::NONE }),
            100,
        );
    let a = tokio::spawn(a.start());
    let to = NetworkRoute::to("127.0.0.1", listens.recv().await.unwrap());
    for plain in [&b, &c] {
        assert!(plain.network().connect_with(&name, to.clone()).await.is_err());
        log.says(&["handshake failed", plain.name().as_str(), "demands TLS"]).await;
    }
    registered.notify_one();
    a.await.unwrap().unwrap().stop().await;
}

#[tokio::test]
async fn routes_that_cannot_be_used_keep_the_node_from_starting() {
    let good = || NetworkRoute::to("127.0.0.1", 1);
    let own = unique("own");
    for (builder, text) in [
        (builder("a").route("^x", good(), 1).route("(", good(), 1), "entry 2 (`(`)"),
        (builder("a").route("^x", good(), 1).route("^x", good(), 2), "resource is taken"),
        (builder("a").route("^x", NetworkRoute::to("127.0.0.1", 0), 1), "`^x`"),
        (
            Node::builder(own.clone()).without_registrar().proxy_route("^x", NetworkProxyRoute::via(own), 1),
            "is this node itself",
        ),
    ] {
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, StartError::Route(_) | StartError::ProxyRoute(_)), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// What the node's own routes demand holds, whatever a registrar hands out.
#[tokio::test]
async fn what_is_handed_out_counts_where_nothing_of_the_node_s_own_leads() {
    let log = Log::start();
    let (b, c, d) = (node("b").await, node("c").await, node("d").await);
    let handed_out = |to: &Node, pattern: &str| StaticRoute {
        pattern: pattern.to_owned(),
        route: NetworkRoute::to("127.0.0.1", port(to)),
        weight: 900,
    };
    let pattern = |node: &Node| exact(node.name().as_str());
    let routes = vec![
        handed_out(&b, &pattern(&b)),
        handed_out(&b, "^b-"),
        handed_out(&c, "^c-"),
        handed_out(&d, "^d-"),
    ];
    let register = move |_| -> BoxFuture<'static, _> {
        let routes = routes.clone();
        Box::pin(async { Ok(Registered::with_routes(routes)) })
    };
    let encrypted = ProxyFlags { encryption: true, ..ProxyFlags::NONE };
    let a = builder("a")
        .registrar(Arc::new(Scripted { register: Box::new(register), ..Scripted::default() }))
        .route(pattern(&b), NetworkRoute::to("127.0.0.1", dead_port()).tls(true), 1)
        .proxy_route(pattern(&c), NetworkProxyRoute::via("gate@dmz").flags(encrypted), 1)
        .start()
        .await
        .unwrap();
    let network = a.network();
    let known: Vec<_> = network.info().routes.iter().map(|route| (route.weight, route.handed_out)).collect();
    assert_eq!(known, [(1, false), (900, true), (900, true), (900, true), (900, true)]);
    for (other, own) in [(&b, "static route"), (&c, "static proxy route")] {
        let error = network.connect(other.name().as_str()).await.unwrap_err();
        let ConnectError::NoRoute(no_route) = error else { panic!("{error}") };
        assert_eq!(no_route.attempts.len(), 1, "only the {own}: {no_route}");
        let to = NetworkRoute::to("127.0.0.1", port(&a));
        assert!(other.network().connect_with(a.name().as_str(), to).await.is_err());
        log.says(&["handshake failed", other.name().as_str(), "demands TLS"]).await;
    }
    let connected = network.connect(d.name().as_str()).await.unwrap();
    let road = connected.info().road.as_ref().unwrap();
    assert_eq!(road.reason, Reason::HandedOut { pattern: "^d-".into(), weight: 900 });
    // Without the own ones those that were handed out are what there is.
    network.remove_route(&pattern(&b)).unwrap();
    network.remove_proxy_route(&pattern(&c)).unwrap();
    for other in [&b, &c] {
        network.connect(other.name().as_str()).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_is_told_an_address_without_a_port() {
    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).advertise("outside.example.com", 0);
    let error = builder("a").acceptor(acceptor).start().await.unwrap_err();
    assert!(error.to_string().contains("outside.example.com with port 0"), "{error}");
}

/// What it hands out is kept as its files are, like any other route.
#[tokio::test]
async fn certificates_of_handed_out_routes_are_looked_at_again() {
    let file = std::env::temp_dir().join(format!("postroad-handed-out-{}.pem", std::process::id()));
    let pem = |name| support::authority::Authority::new(name).pem;
    std::fs::write(&file, pem("old")).unwrap();
    let trust = Trust::from_file(&file).unwrap();
    let route = NetworkRoute::to("127.0.0.1", 1).trust(trust.clone());
    let routes = vec![StaticRoute { pattern: "^b-".to_owned(), route, weight: 0 }];
    let register = move |_| -> BoxFuture<'static, _> {
        let routes = routes.clone();
        Box::pin(async { Ok(Registered::with_routes(routes)) })
    };
    let registrar = Scripted { register: Box::new(register), ..Scripted::default() };
    let _a = builder("a").registrar(Arc::new(registrar)).start().await.unwrap();
    let mut news = trust.changes();
    std::fs::write(&file, pem("new")).unwrap();
    tokio::time::timeout(Duration::from_secs(30), news.changed()).await.expect("it is noticed").unwrap();
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn an_acceptor_with_a_registrar_of_its_own_is_told_to_that_one_only() {
    let (ours, partners) = (Arc::new(Scripted::default()), Arc::new(Scripted::default()));
    let inside = AcceptorOptions::bind("127.0.0.1", 0);
    let outside = AcceptorOptions::bind("127.0.0.1", 0).registrar(partners.clone());
    let a = builder("a").acceptor(outside.clone()).acceptor(inside).acceptor(outside);
    let a = a.registrar(ours.clone()).start().await.unwrap();
    let ports: Vec<_> = a.network().acceptors().iter().map(|info| info.address.port()).collect();
    let told = |registrar: &Scripted| -> Vec<Vec<u16>> {
        let ports = |registration: &Registration| registration.endpoints.iter().map(|end| end.port).collect();
        registrar.registered.lock().iter().map(ports).collect()
    };
    // The builder of the tests brings one of its own.
    assert_eq!(told(&ours), [vec![ports[0], ports[2]]]);
    assert_eq!(told(&partners), [vec![ports[1], ports[3]]]);
    a.stop().await;
    assert_eq!((*ours.left.lock(), *partners.left.lock()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_registrar_that_hangs_or_panics_ends_the_start_with_its_name() {
    let hangs = Scripted { register: Box::new(|_| Box::pin(std::future::pending())), ..Scripted::default() };
    let panics =
        Scripted { register: Box::new(|_| Box::pin(async { panic!("register") })), ..Scripted::default() };
    let refuses = Scripted {
        register: Box::new(|_| Box::pin(async { Err(RegisterError::Refused("no reason".into())) })),
        ..Scripted::default()
    };
    for (registrar, text) in [
        (hangs, "the registrar (scripted) did not answer within 60s"),
        (panics, "the registrar (scripted) panicked"),
        (refuses, "the registrar refused: no reason"),
    ] {
        let registrar = Arc::new(registrar);
        let error = builder("a").registrar(registrar.clone()).start().await.unwrap_err();
        assert!(matches!(error, StartError::Register(_)));
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(*registrar.left.lock(), 1, "a registration may have been made half way");
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_takes_six_seconds_at_most() {
    let hangs = || Scripted { leave: Box::new(|| Box::pin(std::future::pending())), ..Scripted::default() };
    let panics = Scripted { leave: Box::new(|| Box::pin(async { panic!("leave") })), ..Scripted::default() };
    // Another one of an acceptor does not make it longer.
    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).registrar(Arc::new(hangs()));
    for registrar in [hangs(), panics] {
        let a = builder("a").acceptor(acceptor.clone()).registrar(Arc::new(registrar)).start().await.unwrap();
        let began = tokio::time::Instant::now();
        a.stop().await;
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_resolver_that_panics_costs_one_attempt() {
    let b = node("b").await;
    let panics = || Scripted {
        resolve: Box::new(|_| Box::pin(async { panic!("resolve, later") })),
        ..Scripted::default()
    };
    let at_once = Scripted { resolve: Box::new(|_| panic!("resolve, at once")), ..Scripted::default() };
    let a = builder("a").registrar(Arc::new(panics())).start().await.unwrap();
    match a.network().connect(b.name().as_str()).await {
        Err(ConnectError::NoRoute(no_route)) => {
            assert_eq!(no_route.attempts[0].stage, Stage::Resolve);
            assert!(no_route.to_string().contains("panicked"), "{no_route}");
        }
        other => panic!("{other:?}"),
    }
    a.network().add_route("^b-", NetworkRoute::resolve_with(Arc::new(panics())), 3).unwrap();
    a.network().add_route("b-", NetworkRoute::resolve_with(Arc::new(at_once)), 2).unwrap();
    a.network().add_route("b", NetworkRoute::to("127.0.0.1", port(&b)), 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
}
