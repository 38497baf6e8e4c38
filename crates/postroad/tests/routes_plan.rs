//! What a plan tries, in which order and why, against the sentences of the
//! seed (`seed/static-routes.md`) and against a simple model.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postroad::network::routes::RoutingTable;
use postroad::network::{
    Attempt, AttemptError, Discovery, HandshakeError, InvalidRoute, NetworkRoute, NoRoute, OnFailure,
    OwnName, Plan, PlanOptions, Reason, Stage, Step,
};
use postroad::registrar::{BoxFuture, Endpoint, ResolveError, Resolver};
use postroad::tls::TlsOptions;
use postroad::{Atom, Cookie};
use postroad_wire::Version;
use postroad_wire::ehs::{self, HandshakeError as EhsError, Proof};
use proptest::prelude::*;

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
        tls: TlsOptions::default(),
    }
}

/// The plan of `app@localhost`, which has a registrar, for a name.
fn plan(routes: &[(&str, NetworkRoute, i64)], name: &str, on_failure: OnFailure) -> Plan {
    let table = RoutingTable::new();
    for (pattern, route, weight) in routes {
        route.check().expect("a usable route");
        table.add(pattern, route.clone(), *weight).expect("a valid pattern");
    }
    let matches = table.lookup(name);
    let registrar = Arc::new(Named("the registrar"));
    Plan::new(atom("app@localhost"), atom(name), &matches, Some(registrar), options(on_failure))
        .expect("another node")
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
                let answer = answers.iter().find(|(name, _)| *name == resolver);
                tried.push(format!("ask {resolver}"));
                plan.resolved(
                    resolve,
                    answer.map(|(_, endpoints)| endpoints.clone()).ok_or(ResolveError::Unknown),
                );
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
fn unusable_routes_are_refused() {
    let resolver = || NetworkRoute::resolve_with(Arc::new(Named("etcd")));
    assert_eq!(NetworkRoute::to("host", 0).check(), Err(InvalidRoute::NoPort));
    assert_eq!(NetworkRoute::to("", 4370).check(), Ok(()));
    assert_eq!(NetworkRoute::to("::1", 4370).check(), Ok(()));
    assert_eq!(resolver().check(), Ok(()));
    for host in ["db@host", "host:4370", "[::1]:4370", "a b", "http://host"] {
        assert_eq!(NetworkRoute::to(host, 1).check(), Err(InvalidRoute::InvalidHost { host: host.into() }));
    }
    assert_eq!(resolver().timeout(Duration::ZERO).check(), Err(InvalidRoute::NoTime));
    let version = Version::new("EHS", "R9");
    let error = resolver().handshake_version(version.clone()).check().unwrap_err();
    assert_eq!(error, InvalidRoute::UnknownHandshake { version });
    assert_eq!(error.to_string(), "no handshake handler for EHS:R9; this node speaks EHS:R1");
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
    let plan = Plan::new(own, own, &table.lookup("app@localhost"), None, options(OnFailure::Discover));
    assert_eq!(plan.unwrap_err(), OwnName(own));
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
    assert_eq!((no_route.attempts.len(), no_route.untried), (1, 2));
    assert!(no_route.to_string().contains("time was up with 2 more to try"), "{no_route}");
}

/// A route of a generated case: whether it matches, its weight, where it leads.
#[derive(Debug, Clone)]
struct Given {
    matches: bool,
    weight: i64,
    on_failure: Option<OnFailure>,
    tls: bool,
    own_cookie: bool,
    /// A host and port, or a resolver with overrides of both.
    host: Option<u8>,
    port: u16,
    resolver: Option<Answer>,
}

/// What a resolver answers: host, port and TLS of each address.
type Answer = Result<Vec<(Option<u8>, u16, bool)>, ()>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Refuses,
    Distrusts,
    Succeeds,
}

fn on_failure() -> impl Strategy<Value = OnFailure> {
    prop_oneof![Just(OnFailure::Fail), Just(OnFailure::Discover)]
}

fn answer() -> impl Strategy<Value = Answer> {
    let address = (prop::option::of(0..6u8), 0..3u16, prop::bool::weighted(0.2));
    prop_oneof![1 => Just(Err(())), 4 => prop::collection::vec(address, 0..4).prop_map(Ok)]
}

fn given() -> impl Strategy<Value = Given> {
    (
        prop::bool::weighted(0.8),
        -1..3i64,
        prop::option::weighted(0.3, on_failure()),
        prop::bool::weighted(0.1),
        any::<bool>(),
        prop::option::of(0..6u8),
        0..3u16,
        prop::option::of(answer()),
    )
        .prop_map(|(matches, weight, on_failure, tls, own_cookie, host, port, resolver)| {
            let port = if resolver.is_none() { port.max(1) } else { port };
            Given { matches, weight, on_failure, tls, own_cookie, host, port, resolver }
        })
}

fn host(number: Option<u8>) -> String {
    number.map(|number| format!("h{number}")).unwrap_or_default()
}

/// The simple model: what is asked and dialed (address and cookie) until
/// something succeeds, and whether something did.
fn model(
    routes: &[Given],
    registrar: &Option<Answer>,
    node: OnFailure,
    fates: &HashMap<String, Fate>,
) -> (Vec<String>, bool) {
    let mut matching: Vec<(usize, &Given)> =
        routes.iter().enumerate().filter(|(_, route)| route.matches).collect();
    matching.sort_by_key(|(_, route)| -route.weight);
    let own_cookie = |(index, route): &(usize, &Given)| route.own_cookie.then_some(*index);
    let mut todo: Vec<(String, Given, Option<usize>)> =
        matching.iter().map(|found| (format!("r{}", found.0), found.1.clone(), own_cookie(found))).collect();
    if let Some(answer) = registrar
        && matching.iter().all(|(_, route)| route.on_failure.unwrap_or(node) == OnFailure::Discover)
    {
        let discovery = Given {
            matches: true,
            weight: 0,
            on_failure: None,
            tls: matching.first().is_some_and(|(_, route)| route.tls),
            own_cookie: false,
            host: None,
            port: 0,
            resolver: Some(answer.clone()),
        };
        todo.push(("registrar".into(), discovery, matching.first().and_then(own_cookie)));
    }
    let (mut events, mut distrust) = (Vec::new(), false);
    for (number, (resolver, route, cookie)) in todo.into_iter().enumerate() {
        if number >= matching.len() && distrust {
            break;
        }
        let addresses = match route.resolver {
            None => vec![(route.host, route.port, route.tls)],
            Some(answer) => {
                events.push(format!("ask {resolver}"));
                let overlaid = |(host, port, tls): (Option<u8>, u16, bool)| {
                    (route.host.or(host), if route.port > 0 { route.port } else { port }, tls || route.tls)
                };
                answer.unwrap_or_default().into_iter().map(overlaid).collect()
            }
        };
        for (to, port, tls) in addresses {
            if tls || port == 0 {
                continue;
            }
            let address = format!("{}:{port}", if to.is_none() { "nowhere".to_owned() } else { host(to) });
            events.push(format!("{address} {cookie:?}"));
            match fates.get(&address) {
                Some(Fate::Succeeds) => return (events, true),
                Some(Fate::Distrusts) => distrust = true,
                _ => {}
            }
        }
    }
    (events, false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn tries_what_the_model_tries(
        routes in prop::collection::vec(given(), 0..5),
        registrar in prop::option::weighted(0.8, answer()),
        node in on_failure(),
        fates in prop::collection::hash_map(
            (prop::option::of(0..6u8), 1..3u16)
                .prop_map(|(to, port)| format!("{}:{port}", to.map_or("nowhere".to_owned(), |to| host(Some(to))))),
            prop_oneof![4 => Just(Fate::Refuses), 2 => Just(Fate::Distrusts), 1 => Just(Fate::Succeeds)],
            0..14,
        ),
    ) {
        const NAMES: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];
        let table = RoutingTable::new();
        let mut answers = HashMap::new();
        for (index, given) in routes.iter().enumerate() {
            let mut route = match &given.resolver {
                None => NetworkRoute::to(host(given.host), given.port),
                Some(answer) => {
                    answers.insert(NAMES[index].to_owned(), answer.clone());
                    NetworkRoute::resolve_with(Arc::new(Named(NAMES[index]))).host(host(given.host)).port(given.port)
                }
            };
            route = route.tls(given.tls);
            if given.own_cookie {
                route = route.cookie(index.to_string());
            }
            if let Some(on_failure) = given.on_failure {
                route = route.on_failure(on_failure);
            }
            prop_assert_eq!(route.check(), Ok(()));
            let pattern = if given.matches { format!("db.{{{index},}}") } else { format!("other.{{{index},}}") };
            table.add(&pattern, route, given.weight).unwrap();
        }
        let has_registrar = registrar.clone().map(|answer| {
            answers.insert("registrar".to_owned(), answer);
            Arc::new(Named("registrar")) as Arc<dyn Resolver>
        });
        let name = "db@nowhere";
        let mut plan = Plan::new(
            atom("app@localhost"), atom(name), &table.lookup(name), has_registrar, options(node),
        ).unwrap();

        let cookies: HashMap<usize, Cookie> = (0..5).map(|index| (index, Cookie::new(index.to_string()))).collect();
        let (mut events, mut connected) = (Vec::new(), false);
        while let Some(step) = plan.next_step() {
            match step {
                Step::Attempt(attempt) => {
                    let address = format!("{}:{}", attempt.endpoint.host, attempt.endpoint.port);
                    let cookie = attempt.cookie.as_ref()
                        .and_then(|cookie| cookies.iter().find(|(_, known)| *known == cookie).map(|(index, _)| *index));
                    events.push(format!("{address} {cookie:?}"));
                    match fates.get(&address) {
                        Some(Fate::Succeeds) => {
                            connected = true;
                            break;
                        }
                        Some(Fate::Distrusts) => plan.failed(attempt, wrong_cookie()),
                        _ => plan.failed(attempt, refused()),
                    }
                }
                Step::Resolve(resolve) => {
                    let resolver = resolve.resolver.describe();
                    events.push(format!("ask {resolver}"));
                    let answer = answers[&resolver].clone().map_err(|()| ResolveError::Unknown).map(|addresses| {
                        addresses.into_iter().map(|(to, port, tls)| Endpoint { tls, ..endpoint(&host(to), port) }).collect()
                    });
                    plan.resolved(resolve, answer);
                }
            }
        }
        let dialed = events.iter().filter(|event| !event.starts_with("ask")).count();
        let no_route = plan.give_up();
        prop_assert!(no_route.attempts.len() + usize::from(connected) >= dialed);
        prop_assert!(connected || no_route.untried == 0);
        prop_assert_eq!((events, connected), model(&routes, &registrar, node, &fates));
    }
}
