//! What a plan tries, in which order and why, against the sentences of the
//! seed (`seed/static-routes.md`) and against a simple model.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postroad::edf::AtomMapping;
use postroad::network::routes::RoutingTable;
use postroad::network::{
    Attempt, AttemptError, Discovery, HandshakeError, InvalidProxyRoute, InvalidRoute, NetworkProxyRoute,
    NetworkRoute, NoRoute, OnFailure, OwnName, Plan, PlanOptions, ProxyFlags, ProxyOrder, Reason, Stage,
    Step, TunnelError,
};
use postroad::registrar::{BoxFuture, Endpoint, ProxyEndpoint, ResolveError, Resolver};
use postroad::{Atom, Cookie};
use postroad_wire::ehs::{self, HandshakeError as EhsError, Proof};
use postroad_wire::{NetworkFlags, Version};
use tracing::level_filters::LevelFilter;

/// A resolver that is never asked: plans are pure, and the tests answer.
#[derive(Debug)]
struct Named(&'static str);

impl Resolver for Named {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        unreachable!("a plan asks nobody by itself")
    }

    fn describe(&self) -> String {
        self.0.to_owned()
    }
}

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("a short name")
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

fn options(on_failure: OnFailure) -> PlanOptions {
    PlanOptions {
        on_failure,
        dial_timeout: Duration::from_secs(3),
        handshake_timeout: Duration::from_secs(5),
        ..PlanOptions::default()
    }
}

/// The plan of `app@localhost`, which has a registrar, for a name.
fn plan(routes: &[(&str, NetworkRoute, i64)], name: &str, on_failure: OnFailure) -> Plan {
    plan_with(routes, &[], name, options(on_failure))
}

fn plan_with(
    routes: &[(&str, NetworkRoute, i64)],
    proxies: &[(&str, NetworkProxyRoute, i64)],
    name: &str,
    options: PlanOptions,
) -> Plan {
    let (table, proxy_table) = (RoutingTable::new(), RoutingTable::new());
    for (pattern, route, weight) in routes {
        route.check().expect("a usable route");
        table.add(pattern, route.clone(), *weight).expect("a valid pattern");
    }
    for (pattern, route, weight) in proxies {
        route.check().expect("a usable proxy route");
        proxy_table.add(pattern, route.clone(), *weight).expect("a valid pattern");
    }
    let registrar = Arc::new(Named("the registrar"));
    let (matches, through) = (table.lookup(name), proxy_table.lookup(name));
    Plan::new(atom("app@localhost"), atom(name), &matches, &through, Some(registrar), options)
        .expect("another node")
}

/// Also in a plan that somebody makes who has no node: `postroad explain`.
#[test]
fn what_is_handed_out_says_so_and_gives_way_to_proxies() {
    let (table, proxies) = (RoutingTable::new(), RoutingTable::new());
    table.add_handed_out("^db@", NetworkRoute::to("10.0.0.9", 4370), 7).expect("a valid pattern");
    let plan = |proxies: &RoutingTable<NetworkProxyRoute>| {
        let (matches, through) = (table.lookup("db@prod"), proxies.lookup("db@prod"));
        let options = options(OnFailure::Fail);
        Plan::new(atom("app@localhost"), atom("db@prod"), &matches, &through, None, options).expect("a plan")
    };
    let first = |plan: Plan| plan.steps().next().expect("a step").to_string();
    let expected = "route of the registrar `^db@` weight 7: dial 10.0.0.9:4370,";
    assert!(first(plan(&proxies)).starts_with(expected));
    proxies.add("^db@", NetworkProxyRoute::via("gate@dmz"), 1).expect("a valid pattern");
    let plan = plan(&proxies);
    assert_eq!(plan.steps().count(), 1, "{plan}");
    assert!(first(plan).starts_with("proxy route `^db@` weight 1: through gate@dmz"));
}

fn no_gateway() -> AttemptError {
    AttemptError::Tunnel(TunnelError::NoGateway(Atom::new("proxy@dmz").expect("a short name")))
}

fn refused() -> AttemptError {
    AttemptError::Dial(Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)))
}

fn protocol(error: EhsError) -> AttemptError {
    HandshakeError::Protocol(error).into()
}

fn wrong_cookie() -> AttemptError {
    protocol(EhsError::WrongDigest(Proof::HelloReply))
}

/// Executes a plan in which nothing succeeds, or `good` only. What was tried,
/// and how it ended.
fn execute(
    mut plan: Plan,
    answers: &[(&str, Vec<Endpoint>)],
    good: &str,
    error: impl Fn(&Attempt) -> AttemptError,
) -> (Vec<String>, Result<Attempt, NoRoute>) {
    let mut tried = Vec::new();
    while let Some(step) = plan.next_step() {
        match step {
            Step::Attempt(attempt) => {
                let address = format!("{}:{}", attempt.endpoint.host, attempt.endpoint.port);
                tried.push(address.clone());
                if address == good {
                    return (tried, Ok(attempt));
                }
                let error = error(&attempt);
                plan.failed(attempt, error);
            }
            Step::Resolve(resolve) => {
                let resolver = resolve.resolver.describe();
                if resolve.asks_for_proxies() {
                    plan.resolved(resolve, Err::<Vec<ProxyEndpoint>, _>(ResolveError::NotSupported));
                    continue;
                }
                let answer = answers.iter().find(|(name, _)| *name == resolver);
                tried.push(format!("ask {resolver}"));
                plan.resolved(
                    resolve,
                    answer.map(|(_, endpoints)| endpoints.clone()).ok_or(ResolveError::Unknown),
                );
            }
            Step::Tunnel(tunnel) => {
                tried.push(format!("through {}", tunnel.proxy));
                plan.tunnel_failed(tunnel, no_gateway());
            }
        }
    }
    (tried, Err(plan.give_up()))
}

/// > This tells the framework: "When connecting to `prod-db@example.com`, use
/// > host `10.0.1.50` on port `4370` [...] This route has weight 100."
#[test]
fn seed_a_route_says_host_and_port() {
    let plan = plan(
        &[("prod-db@example.com", NetworkRoute::to("10.0.1.50", 4370), 100)],
        "prod-db@example.com",
        OnFailure::Fail,
    );
    let (tried, end) = execute(plan, &[], "10.0.1.50:4370", |_| refused());
    assert_eq!(tried, ["10.0.1.50:4370"]);
    assert_eq!(end.unwrap().reason, Reason::Route { pattern: "prod-db@example.com".into(), weight: 100 });
}

/// > Both patterns match `prod-db@example.com`. The framework sorts them by
/// > weight and tries weight-200 first. If that connection fails (host
/// > unreachable, handshake failure, timeout), it tries weight-100.
#[test]
fn seed_failover_by_weight() {
    let routes = [
        ("prod-db@example.com", NetworkRoute::to("10.0.2.50", 4370), 100),
        ("^prod-db@.*", NetworkRoute::to("10.0.1.50", 4370), 200),
    ];
    for error in [
        refused(),
        wrong_cookie(),
        HandshakeError::Timeout(Duration::from_secs(5)).into(),
        protocol(EhsError::Closed(ehs::Stage::Hello)),
    ] {
        let plan = plan(&routes, "prod-db@example.com", OnFailure::Fail);
        let (tried, end) = execute(plan, &[], "10.0.2.50:4370", |_| error.clone());
        assert_eq!(tried, ["10.0.1.50:4370", "10.0.2.50:4370"]);
        assert!(end.is_ok());
    }
}

/// > If you've defined a route for `"prod-*"` that matches
/// > `prod-db@example.com`, the framework uses your route and never asks the
/// > Registrar.
#[test]
fn seed_static_routes_win() {
    let plan =
        plan(&[("prod-*", NetworkRoute::to("10.0.1.50", 4370), 1)], "prod-db@example.com", OnFailure::Fail);
    let registrar = [("the registrar", vec![endpoint("10.9.9.9", 1)])];
    let (tried, end) = execute(plan, &registrar, "", |_| refused());
    assert_eq!(tried, ["10.0.1.50:4370"]);
    let no_route = end.unwrap_err();
    assert_eq!(no_route.discovery, Discovery::Withheld);
    assert_eq!(
        no_route.to_string(),
        "no route to prod-db@example.com; 1. route `prod-*` weight 1: 10.0.1.50:4370: dial: connection refused; \
         on_failure is `fail`: static routes match, so the registrar is not asked even if all of them fail"
    );
}

/// > **Query discovery** - If no static route exists or all failed, ask the
/// > Registrar
#[test]
fn seed_discovery_after_all_failed_is_an_option() {
    let routes = [
        ("prod-.*", NetworkRoute::to("10.0.1.50", 4370), 2),
        ("prod-db", NetworkRoute::to("10.0.2.50", 4370), 1),
    ];
    let plan = plan(&routes, "prod-db@example.com", OnFailure::Discover);
    let registrar = [("the registrar", vec![endpoint("10.9.9.9", 1), endpoint("", 2)])];
    let (tried, end) = execute(plan, &registrar, "example.com:2", |_| refused());
    assert_eq!(
        tried,
        ["10.0.1.50:4370", "10.0.2.50:4370", "ask the registrar", "10.9.9.9:1", "example.com:2"]
    );
    assert_eq!(end.unwrap().reason, Reason::Fallback { pattern: "prod-.*".into(), weight: 2 });
}

/// > **Falls back to discovery** - If no static route exists, queries the
/// > Registrar
#[test]
fn seed_discovery_without_a_static_route() {
    let routes = [("prod-.*", NetworkRoute::to("10.0.1.50", 4370), 1)];
    let registrar = [("the registrar", vec![endpoint("", 11144)])];
    let (tried, end) =
        execute(plan(&routes, "db@other", OnFailure::Fail), &registrar, "other:11144", |_| refused());
    assert_eq!(tried, ["ask the registrar", "other:11144"]);
    assert_eq!(end.unwrap().reason, Reason::Discovery);
}

/// > The `Route` fields override any values returned by the resolver. [...] If
/// > the resolver returns `staging-db@internal` but you've specified `Host:
/// > "custom.example.com"`, the framework connects to your specified host instead.
#[test]
fn seed_a_route_overrides_its_resolver() {
    let route =
        NetworkRoute::resolve_with(Arc::new(Named("etcd"))).host("custom.example.com").cookie("staging");
    let answers = [("etcd", vec![endpoint("internal", 1), endpoint("", 2)])];
    let name = "staging-db@internal";
    let (tried, end) = execute(
        plan(&[("staging-.*", route.clone(), 1)], name, OnFailure::Fail),
        &answers,
        "custom.example.com:2",
        |_| refused(),
    );
    assert_eq!(tried, ["ask etcd", "custom.example.com:1", "custom.example.com:2"]);
    assert_eq!(end.unwrap().cookie, Some(Cookie::new("staging")));

    let (tried, _) =
        execute(plan(&[("staging-.*", route.port(4370), 1)], name, OnFailure::Fail), &answers, "", |_| {
            refused()
        });
    assert_eq!(tried, ["ask etcd", "custom.example.com:4370", "custom.example.com:4370"]);
}

/// What a route says holds for each address that its resolver returns.
#[test]
fn conformance_sr06_a_route_lies_over_each_candidate() {
    let mapping = AtomMapping::new([(atom("here"), atom("there"))]).unwrap();
    let route = NetworkRoute::resolve_with(Arc::new(Named("etcd")))
        .host("custom.example.com")
        .tls(true)
        .insecure_skip_verify(true)
        .cookie("staging")
        .network_flags(NetworkFlags::ENABLE)
        .atom_mapping(mapping.clone())
        .log_level(LevelFilter::TRACE)
        .timeout(Duration::from_millis(1234));
    let candidates = Cell::new(0);
    let answers = [("etcd", vec![endpoint("internal", 1), endpoint("", 2), endpoint("10.0.0.1", 3)])];
    let plan = plan(&[("db", route.clone(), 1)], "db@host", OnFailure::Fail);
    let (tried, end) = execute(plan, &answers, "", |attempt| {
        candidates.set(candidates.get() + 1);
        assert!(attempt.endpoint.tls);
        assert_eq!(attempt.tls.insecure_skip_verify, Some(true));
        assert_eq!(attempt.cookie, Some(Cookie::new("staging")));
        assert_eq!(attempt.flags, Some(NetworkFlags::ENABLE));
        assert_eq!(attempt.mapping, Some(mapping.clone()));
        assert_eq!(attempt.log_level, Some(LevelFilter::TRACE));
        assert_eq!(attempt.dial_timeout, Duration::from_millis(1234));
        refused()
    });
    assert_eq!(tried[1..], ["custom.example.com:1", "custom.example.com:2", "custom.example.com:3"]);
    assert_eq!(candidates.get(), 3);
    assert_eq!(end.unwrap_err().attempts.len(), 3);
}

/// > In this example, even if the resolver returns a non-TLS route, the
/// > framework forces TLS.
#[test]
fn seed_tls_is_forced_on_and_never_off() {
    let etcd = || NetworkRoute::resolve_with(Arc::new(Named("etcd")));
    let secure = Endpoint { tls: true, ..endpoint("10.0.0.1", 1) };
    for (route, answer) in [
        (etcd().tls(true), endpoint("10.0.0.1", 1)),
        (etcd(), secure.clone()),
        (etcd().tls(false), secure),
        (NetworkRoute::to("10.0.0.1", 1).tls(true), endpoint("", 0)),
    ] {
        let (tried, end) = execute(
            plan(&[("db", route, 1)], "db@host", OnFailure::Fail),
            &[("etcd", vec![answer])],
            "10.0.0.1:1",
            |_| refused(),
        );
        assert!(end.unwrap().endpoint.tls, "nothing is sent without TLS: {tried:?}");
    }
}

/// > The resolver can return multiple addresses, and the framework tries them
/// > in order, letting the resolver handle failover logic.
#[test]
fn seed_failover_by_resolver() {
    let routes = [
        ("db", NetworkRoute::resolve_with(Arc::new(Named("etcd"))), 2),
        ("db@", NetworkRoute::to("last", 9), 1),
    ];
    let answers = [("etcd", (1..=100).map(|port| endpoint("h", port)).collect())];
    let (tried, end) = execute(plan(&routes, "db@host", OnFailure::Fail), &answers, "", |_| refused());
    assert_eq!(tried[..3], ["ask etcd", "h:1", "h:2"]);
    assert_eq!(tried.len(), 1 + 64 + 1, "a resolver's addresses are bounded");
    assert_eq!(tried.last().unwrap(), "last:9");
    assert_eq!(end.unwrap_err().attempts.len(), 65);

    let (tried, end) = execute(plan(&routes, "db@host", OnFailure::Fail), &[], "last:9", |_| refused());
    assert_eq!(tried, ["ask etcd", "last:9"]);
    assert!(end.is_ok());
}

/// > Each route can override the node's default authentication cookie
#[test]
fn seed_a_cookie_per_route() {
    let routes = [
        ("partner", NetworkRoute::to("partner.external.com", 4370).cookie("shared-secret-with-partner"), 1),
        ("db", NetworkRoute::to("10.0.0.1", 4370), 1),
    ];
    let cookie = |name, address| {
        execute(plan(&routes, name, OnFailure::Fail), &[], address, |_| refused()).1.unwrap().cookie
    };
    assert_eq!(
        cookie("x@partner", "partner.external.com:4370"),
        Some(Cookie::new("shared-secret-with-partner"))
    );
    assert_eq!(cookie("db@host", "10.0.0.1:4370"), None, "the node's");
}

#[test]
fn a_discovered_address_never_has_a_weaker_lock() {
    let flags = postroad_wire::NetworkFlags::ENABLE;
    let strict = NetworkRoute::to("10.0.1.50", 4370)
        .cookie("secret")
        .network_flags(flags)
        .timeout(Duration::from_secs(9))
        .on_failure(OnFailure::Discover);
    let routes = [("^db@host$", strict.clone(), 2)];
    let registrar = [("the registrar", vec![endpoint("10.9.9.9", 1)])];
    let (_, end) =
        execute(plan(&routes, "db@host", OnFailure::Fail), &registrar, "10.9.9.9:1", |_| refused());
    let attempt = end.unwrap();
    assert_eq!(attempt.cookie, Some(Cookie::new("secret")));
    assert_eq!(attempt.flags, Some(flags));
    assert_eq!(attempt.handshake_timeout, Duration::from_secs(9));

    let routes = [("^db@host$", strict.tls(true), 2)];
    let (_, end) =
        execute(plan(&routes, "db@host", OnFailure::Fail), &registrar, "10.9.9.9:1", |_| refused());
    assert!(end.unwrap().endpoint.tls, "an address without TLS is not dialed without");
}

#[test]
fn one_route_that_says_fail_forbids_discovery() {
    let routes = [
        ("db", NetworkRoute::to("a", 1), 2),
        ("@host", NetworkRoute::to("b", 1).on_failure(OnFailure::Fail), 1),
    ];
    let (tried, end) = execute(plan(&routes, "db@host", OnFailure::Discover), &[], "", |_| refused());
    assert_eq!(tried, ["a:1", "b:1"]);
    assert_eq!(end.unwrap_err().discovery, Discovery::Withheld);
}

#[test]
fn a_failed_check_of_identity_never_falls_back() {
    let routes = [("db", NetworkRoute::to("a", 1), 2), ("@host", NetworkRoute::to("b", 1), 1)];
    for error in [
        wrong_cookie(),
        protocol(EhsError::Closed(ehs::Stage::Hello)),
        protocol(EhsError::WrongCertificate),
        protocol(EhsError::WrongName { expected: atom("db@host"), got: atom("other@host") }),
        protocol(EhsError::SameName(atom("app@localhost"))),
    ] {
        assert!(error.is_distrust());
        let (tried, end) = execute(plan(&routes, "db@host", OnFailure::Discover), &[], "", |attempt| {
            if attempt.endpoint.host == "a" { error.clone() } else { refused() }
        });
        assert_eq!(tried, ["a:1", "b:1"], "the other static route is tried, the registrar is not asked");
        assert_eq!(end.unwrap_err().discovery, Discovery::Distrusted);
    }
}

#[test]
fn errors_say_how_far_an_attempt_came() {
    let stage = |error: EhsError| protocol(error).stage();
    assert_eq!(refused().stage(), Stage::Dial);
    assert_eq!(wrong_cookie().stage(), Stage::Hello);
    assert_eq!(stage(EhsError::Closed(ehs::Stage::Hello)), Stage::Hello);
    assert_eq!(stage(EhsError::Closed(ehs::Stage::Introduce)), Stage::Introduce);
    assert_eq!(stage(EhsError::WrongMagic { stage: ehs::Stage::Hello, got: 1 }), Stage::Hello);
    assert_eq!(stage(EhsError::WrongName { expected: atom("a@b"), got: atom("c@d") }), Stage::Introduce);
    assert_eq!(AttemptError::NoPort.stage(), Stage::Resolve);
}

#[test]
fn useless_answers_of_a_resolver_are_named() {
    let routes = [("db", NetworkRoute::resolve_with(Arc::new(Named("etcd"))), 1)];
    let errors = |name: &str, answer: Vec<Endpoint>| {
        let (tried, end) =
            execute(plan(&routes, name, OnFailure::Fail), &[("etcd", answer)], "", |_| refused());
        assert_eq!(tried, ["ask etcd"]);
        end.unwrap_err().attempts.iter().map(|attempt| attempt.to_string()).collect::<Vec<_>>()
    };
    let klingon = Endpoint { handshake_version: Version::new("KHS", "R7"), ..endpoint("a", 1) };
    assert_eq!(
        errors("db@host", vec![endpoint("a", 0), klingon]),
        [
            "route `db` weight 1: a:0: resolve: the address has port 0; give the route a port",
            "route `db` weight 1: a:1: resolve: the address is for KHS:R7, which this node does not speak",
        ]
    );
    assert_eq!(
        errors("db@host", vec![]),
        [
            "route `db` weight 1: resolve: etcd knows the node, but no address: it accepts no connections (hidden mode)"
        ]
    );
    assert_eq!(
        errors("db", vec![endpoint("", 1)]),
        ["route `db` weight 1: :1: resolve: no host: neither the route nor the name of the node has one"]
    );
}

#[test]
fn an_address_from_a_registrar_moves_no_terminal() {
    let mut plan = plan(&[], "db@prod", OnFailure::Fail);
    let (at, resolve) = plan.ask_ahead().expect("the registrar");
    plan.answer_ahead(at, resolve, Ok(vec![endpoint("h\u{1b}[2J\nx", 4370)]));
    assert!(plan.to_string().contains(r#"dial "h\u{1b}[2J\nx":4370,"#), "{plan}");
}

#[test]
fn unusable_routes_are_refused() {
    let resolver = || NetworkRoute::resolve_with(Arc::new(Named("etcd")));
    assert_eq!(NetworkRoute::to("host", 0).check(), Err(InvalidRoute::NoPort));
    assert_eq!(NetworkRoute::to("", 4370).check(), Ok(()));
    assert_eq!(NetworkRoute::to("::1", 4370).check(), Ok(()));
    assert_eq!(resolver().check(), Ok(()));
    for host in ["db@host", "host:4370", "[::1]:4370", "a b", "http://host", "h\u{1b}[2J"] {
        assert_eq!(NetworkRoute::to(host, 1).check(), Err(InvalidRoute::InvalidHost { host: host.into() }));
    }
    assert_eq!(resolver().timeout(Duration::ZERO).check(), Err(InvalidRoute::NoTime));
    let version = Version::new("EHS", "R9");
    let error = resolver().handshake_version(version.clone()).check().unwrap_err();
    assert_eq!(error, InvalidRoute::UnknownHandshake { version });
    assert_eq!(
        error.to_string(),
        "no handshake handler for EHS:R9; this node speaks EHS:R1 and what it was built with"
    );
    assert_eq!(resolver().proto_version(Version::enp()).check(), Ok(()));
    let version = Version::new("ENP", "R2");
    assert_eq!(
        resolver().proto_version(version.clone()).check(),
        Err(InvalidRoute::UnknownProtocol { version })
    );
}

#[test]
fn a_node_does_not_reach_itself() {
    let own = atom("app@localhost");
    let table = RoutingTable::new();
    table.add("", NetworkRoute::to("elsewhere", 1), 0).unwrap();
    let matches = table.lookup("app@localhost");
    let none = RoutingTable::new().lookup("app@localhost");
    let plan = Plan::new(own, own, &matches, &none, None, options(OnFailure::Discover));
    assert_eq!(plan.unwrap_err(), OwnName(own));
    let given = NetworkRoute::to("elsewhere", 1);
    assert_eq!(Plan::along(own, own, &given, options(OnFailure::Fail)).unwrap_err(), OwnName(own));
}

#[test]
fn explains_what_it_would_do_without_secrets() {
    let routes = [
        ("prod-db@example.com", NetworkRoute::to("fe80::1", 4370).cookie("hush"), 200),
        (
            "prod-.*",
            NetworkRoute::resolve_with(Arc::new(Named("etcd")))
                .host("custom.example.com")
                .tls(true)
                .cookie("hush"),
            100,
        ),
    ];
    let plan = |on_failure| plan(&routes, "prod-db@example.com", on_failure);
    assert_eq!(
        plan(OnFailure::Fail).to_string(),
        "to prod-db@example.com:\n  \
           1. route `prod-db@example.com` weight 200: dial [fe80::1]:4370, the route's cookie, at most 3s + 5s\n  \
           2. route `prod-.*` weight 100: ask etcd and dial each address it gives, at host custom.example.com, TLS, own cookie\n  \
           on_failure is `fail`: static routes match, so the registrar is not asked even if all of them fail"
    );
    assert_eq!(
        plan(OnFailure::Discover).to_string().lines().skip(3).collect::<Vec<_>>(),
        [
            "  3. discovery, as route `prod-db@example.com` demands: ask the registrar and dial each address it gives, own cookie",
            "  4. discovery, as route `prod-db@example.com` demands: ask the registrar for proxies and go through each, \
               8 hops at most, for messages, link, monitor, important_delivery",
            "  on_failure is `discover`: when all static routes have failed the registrar is asked, \
               unless a peer failed to prove who it is"
        ]
    );
    assert!(!format!("{:?} {routes:?}", plan(OnFailure::Discover)).contains("hush"));
}

#[test]
fn explains_with_the_addresses_that_resolvers_give() {
    let routes = [
        ("db@", NetworkRoute::resolve_with(Arc::new(Named("etcd"))), 3),
        ("db", NetworkRoute::to("a", 1), 2),
        ("host", NetworkRoute::resolve_with(Arc::new(Named("other"))), 1),
    ];
    let mut plan = plan(&routes, "db@host", OnFailure::Fail);
    while let Some((at, resolve)) = plan.ask_ahead() {
        assert!(!resolve.asks_for_proxies());
        let answer = match resolve.resolver.describe().as_str() {
            "etcd" => Ok(vec![endpoint("x", 1), Endpoint { tls: true, ..endpoint("y", 2) }]),
            _ => Err(ResolveError::Timeout(Duration::from_secs(3))),
        };
        plan.answer_ahead(at, resolve, answer);
    }
    assert_eq!(
        plan.to_string(),
        "to db@host:\n  \
           -  route `host` weight 1: resolve: other: no answer within 3s\n  \
           1. route `db@` weight 3: dial x:1, the node's cookie, at most 3s + 5s\n  \
           2. route `db@` weight 3: dial y:2, TLS (checks the host name with the system's roots, shows none), \
              the node's cookie, at most 3s + 5s\n  \
           3. route `db` weight 2: dial a:1, the node's cookie, at most 3s + 5s\n  \
           on_failure is `fail`: static routes match, so the registrar is not asked even if all of them fail"
    );
    let (tried, _) = execute(plan, &[], "", |_| refused());
    assert_eq!(tried, ["x:1", "y:2", "a:1"], "what was explained is what is executed");
}

#[test]
fn giving_up_early_says_what_was_left() {
    let routes = [("db", NetworkRoute::to("a", 1), 2), ("@host", NetworkRoute::to("b", 1), 1)];
    let mut plan = plan(&routes, "db@host", OnFailure::Discover);
    let Some(Step::Attempt(attempt)) = plan.next_step() else { panic!("a static route comes first") };
    plan.failed(attempt, HandshakeError::Timeout(Duration::from_secs(5)).into());
    let no_route = plan.give_up();
    // The other route, and both questions to the registrar.
    assert_eq!((no_route.attempts.len(), no_route.untried), (1, 3));
    assert!(no_route.to_string().contains("time was up with 3 more to try"), "{no_route}");
}

/// > **Falls back to discovery** - If no static route exists, queries the
/// > Registrar
/// >
/// > **Tries proxy routes** - If direct connection fails, attempts proxy routes
#[test]
fn seed_proxy_routes_after_direct_ones_in_both_readings() {
    let routes = [("^backend-", NetworkRoute::to("10.0.1.50", 4370), 1)];
    let proxies = [
        ("backend-.*", NetworkProxyRoute::via("second@dmz"), 100),
        ("backend-.*@internal.local", NetworkProxyRoute::via("first@dmz"), 200),
    ];
    let answers = [("the registrar", vec![endpoint("10.9.9.9", 1)])];
    let name = "backend-db@internal.local";
    let tried = |routes: &[_], proxy_order, on_failure| {
        let options = PlanOptions { proxy_order, ..options(on_failure) };
        execute(plan_with(routes, &proxies, name, options), &answers, "", |_| refused()).0
    };
    let before = tried(&routes, ProxyOrder::BeforeDiscovery, OnFailure::Fail);
    assert_eq!(before, ["10.0.1.50:4370", "through first@dmz", "through second@dmz"]);
    let before = tried(&[], ProxyOrder::BeforeDiscovery, OnFailure::Fail);
    assert_eq!(before, ["through first@dmz", "through second@dmz"], "a static route wins");
    let before = tried(&[], ProxyOrder::BeforeDiscovery, OnFailure::Discover);
    assert_eq!(before, ["through first@dmz", "through second@dmz", "ask the registrar", "10.9.9.9:1"]);
    let after = tried(&[], ProxyOrder::AfterDiscovery, OnFailure::Fail);
    assert_eq!(after, ["ask the registrar", "10.9.9.9:1", "through first@dmz", "through second@dmz"]);
    let after = tried(&routes, ProxyOrder::AfterDiscovery, OnFailure::Fail);
    assert_eq!(after, ["10.0.1.50:4370", "through first@dmz", "through second@dmz"]);
}

/// > To: "target@backend", Proxy: "gateway@dmz"
/// >
/// > Cookie: "gateway-specific-cookie", // authenticate to gateway
/// >
/// > EnableSpawn: false, // don't allow spawning through proxy
/// >
/// > The default is 8.
#[test]
fn seed_what_a_proxy_route_demands_of_its_tunnel() {
    let route = || NetworkProxyRoute::via("gateway@dmz").to("target@backend");
    let tunnel = |route| {
        let mut plan = plan_with(&[], &[("", route, 1)], "target@backend", options(OnFailure::Fail));
        match plan.next_step() {
            Some(Step::Tunnel(tunnel)) => tunnel,
            other => panic!("{other:?}"),
        }
    };
    let plain = tunnel(route());
    assert_eq!((plain.proxy, plain.max_hop, plain.cookie), (atom("gateway@dmz"), 8, None));
    let flags = ProxyFlags { link: true, monitor: true, spawn: false, ..ProxyFlags::default() };
    assert_eq!(plain.flags, flags, "what the seed's sample says is the default");
    let flags = ProxyFlags { monitor: false, spawn: true, ..ProxyFlags::default() };
    let said = tunnel(route().cookie("gateway-specific-cookie").max_hop(3).flags(flags));
    assert_eq!((said.max_hop, said.flags), (3, flags));
    assert_eq!(said.cookie, Some(Cookie::new("gateway-specific-cookie")));
}

/// > **Try proxy discovery** - If direct connection fails, try discovered proxy
/// > routes
#[test]
fn seed_discovered_proxies_come_last_and_connected_ones_first() {
    let name = "backend-db@internal.local";
    let through = |proxy: &str, to: &str| ProxyEndpoint { to: atom(to), proxy: atom(proxy) };
    let known = vec![
        through("far@dmz", name),
        through("near@dmz", name),
        through("app@localhost", name),
        through(name, name),
        through("liar@dmz", "other@internal.local"),
        through("far@dmz", name),
    ];
    let connected = [atom("near@dmz")].into_iter().collect();
    let mut plan = plan_with(&[], &[], name, PlanOptions { connected, ..options(OnFailure::Fail) });
    let mut tried = Vec::new();
    while let Some(step) = plan.next_step() {
        match step {
            Step::Resolve(resolve) if resolve.asks_for_proxies() => plan.resolved(resolve, Ok(known.clone())),
            Step::Resolve(resolve) => plan.resolved(resolve, Ok(vec![endpoint("10.9.9.9", 1)])),
            Step::Attempt(attempt) => {
                tried.push(attempt.endpoint.host.clone());
                plan.failed(attempt, refused());
            }
            Step::Tunnel(tunnel) => {
                assert_eq!(tunnel.reason, Reason::Discovery);
                tried.push(tunnel.proxy.to_string());
                plan.tunnel_failed(tunnel, no_gateway());
            }
        }
    }
    assert_eq!(tried, ["10.9.9.9", "near@dmz", "far@dmz"]);
    assert_eq!(plan.give_up().attempts[1].stage, Stage::Tunnel);
}

#[test]
fn a_proxy_route_to_another_node_is_no_candidate() {
    let proxies = [
        ("", NetworkProxyRoute::via("a@dmz").to("x@internal"), 5),
        (".", NetworkProxyRoute::via("db@internal"), 4),
        ("..", NetworkProxyRoute::via("app@localhost"), 3),
        ("db", NetworkProxyRoute::via("b@dmz").to("db@internal"), 2),
    ];
    let answers = [("the registrar", vec![endpoint("10.9.9.9", 1)])];
    let tried = |count: usize| {
        let plan = plan_with(&[], &proxies[..count], "db@internal", options(OnFailure::Fail));
        execute(plan, &answers, "", |_| refused()).0
    };
    assert_eq!(tried(4), ["through b@dmz"]);
    assert_eq!(tried(3), ["ask the registrar", "10.9.9.9:1"], "as if none matched");
}

#[test]
fn a_proxy_route_with_a_resolver() {
    let resolver = || Arc::new(Named("etcd"));
    let (a, b) = (atom("a@dmz"), atom("b@dmz"));
    let name = atom("db@internal");
    let tried = |route: NetworkProxyRoute, answer: Result<Vec<ProxyEndpoint>, ResolveError>| {
        let mut plan = plan_with(&[], &[("db", route, 1)], name.as_str(), options(OnFailure::Fail));
        let mut tried = Vec::new();
        while let Some(step) = plan.next_step() {
            match step {
                Step::Resolve(resolve) => plan.resolved(resolve, answer.clone()),
                Step::Tunnel(tunnel) => {
                    tried.push(tunnel.proxy);
                    plan.tunnel_failed(tunnel, no_gateway());
                }
                Step::Attempt(attempt) => panic!("{attempt}"),
            }
        }
        (tried, plan.give_up().to_string())
    };
    let both = Ok(vec![ProxyEndpoint { to: name, proxy: a }, ProxyEndpoint { to: name, proxy: b }]);
    assert_eq!(tried(NetworkProxyRoute::resolve_with(resolver()), both.clone()).0, [a, b]);
    let overridden = NetworkProxyRoute::via("c@dmz").resolver(resolver());
    assert_eq!(tried(overridden.clone(), both).0, [atom("c@dmz")]);
    let lies = Ok(vec![ProxyEndpoint { to: atom("other@internal"), proxy: a }]);
    let (none, error) = tried(overridden.clone(), lies.clone());
    assert!(none.is_empty());
    assert!(error.contains("resolve: etcd knows no proxy that leads to the node"), "{error}");
    assert_eq!(tried(overridden.to("db@internal"), lies).0, [atom("c@dmz")], "the route's own target holds");
    let (_, error) = tried(NetworkProxyRoute::resolve_with(resolver()), Err(ResolveError::NotSupported));
    assert!(error.contains("etcd: not supported by this registrar"), "asked for by name: {error}");
}

#[test]
fn a_discovered_address_keeps_what_a_proxy_route_bars() {
    let discover = |flags| NetworkProxyRoute::via("a@dmz").on_failure(OnFailure::Discover).flags(flags);
    let answers = [("the registrar", vec![endpoint("10.9.9.9", 1)])];
    let end = |flags| {
        let plan = plan_with(&[], &[("db", discover(flags), 7)], "db@internal", options(OnFailure::Fail));
        execute(plan, &answers, "10.9.9.9:1", |_| refused())
    };
    let attempt = end(ProxyFlags { spawn: true, ..ProxyFlags::default() }).1.unwrap();
    assert_eq!(attempt.reason, Reason::Fallback { pattern: "db".into(), weight: 7 });
    let flags = attempt.flags.unwrap();
    assert!(flags.allows(postroad_wire::NetworkFlags::REMOTE_SPAWN));
    assert!(!flags.allows(postroad_wire::NetworkFlags::REMOTE_APPLICATION_START));
    let (tried, end) = end(ProxyFlags { link: false, ..ProxyFlags::default() });
    assert_eq!(tried, ["through a@dmz"], "a direct connection could not bar links");
    assert_eq!(end.unwrap_err().discovery, Discovery::Withheld);
}

#[test]
fn unusable_proxy_routes_are_refused() {
    use InvalidProxyRoute as E;
    let via = NetworkProxyRoute::via;
    for (route, error) in [
        (via(""), E::NoProxy),
        (via("gateway"), E::ProxyName { name: "gateway".into() }),
        (via("a@b").to("db"), E::TargetName { name: "db".into() }),
        (via("a@b").to("a@b"), E::ProxyIsTarget { name: "a@b".into() }),
        (via("a@b").timeout(Duration::ZERO), E::NoTime),
    ] {
        assert_eq!(route.check(), Err(error));
    }
    let resolver = NetworkProxyRoute::resolve_with(Arc::new(Named("etcd")));
    assert_eq!(resolver.check(), Ok(()));
    assert_eq!(via("a@b").max_hop(0).to_string(), via("a@b").to_string(), "0 stands for the default");
    assert_eq!(
        via("a@b").to("c@d").cookie("hush").max_hop(1).to_string(),
        "through a@b, to c@d only, own cookie, 1 hops at most, for messages, link, monitor, important_delivery"
    );
}

#[test]
fn explains_proxies_and_the_reading_in_force() {
    let proxies = [("db", NetworkProxyRoute::via("a@dmz").cookie("hush").max_hop(3), 7)];
    let plan = |proxy_order| {
        let options = PlanOptions { proxy_order, ..options(OnFailure::Fail) };
        plan_with(&[], &proxies, "db@internal", options).to_string()
    };
    assert_eq!(
        plan(ProxyOrder::BeforeDiscovery),
        "to db@internal:\n  \
           1. proxy route `db` weight 7: through a@dmz, the route's cookie, 3 hops at most, \
              for messages, link, monitor, important_delivery, at most 5s; \
              to the target the node's cookie, at most 5s\n  \
           proxy_order is `before-discovery`: static proxy routes come before what the registrar knows\n  \
           on_failure is `fail`: static routes match, so the registrar is not asked even if all of them fail"
    );
    let after = plan(ProxyOrder::AfterDiscovery);
    let lines: Vec<&str> = after.lines().collect();
    assert!(lines[1].contains("1. discovery: ask the registrar"), "{after}");
    assert!(lines[2].contains("2. proxy route `db`"), "{after}");
    assert!(lines[3].contains("proxy_order is `after-discovery`"), "{after}");
    assert!(!after.contains("hush"));
}

#[test]
fn a_given_route_is_the_only_one() {
    let route = NetworkRoute::resolve_with(Arc::new(Named("etcd"))).cookie("partner");
    let plan = || Plan::along(atom("app@localhost"), atom("db@host"), &route, options(OnFailure::Discover));
    let answers = [("etcd", vec![endpoint("a", 1), endpoint("b", 2)])];
    let (tried, end) = execute(plan().unwrap(), &answers, "b:2", |_| refused());
    assert_eq!(tried, ["ask etcd", "a:1", "b:2"]);
    let attempt = end.unwrap();
    assert_eq!((attempt.reason, attempt.cookie), (Reason::Given, Some(Cookie::new("partner"))));
    let (_, end) = execute(plan().unwrap(), &answers, "", |_| refused());
    let no_route = end.unwrap_err();
    assert_eq!(no_route.discovery, Discovery::RouteGiven);
    assert!(
        no_route.to_string().ends_with("2. the given route: b:2: dial: connection refused"),
        "{no_route}"
    );
}

#[test]
fn an_empty_cookie_stands_for_the_nodes() {
    let routes = [("db", NetworkRoute::to("a", 1).cookie(""), 1)];
    let (_, end) = execute(plan(&routes, "db@host", OnFailure::Fail), &[], "a:1", |_| refused());
    assert_eq!(end.unwrap().cookie, None);
}
