//! Plans of generated tables against a simple model: what is asked, dialed and
//! gone through, in which order, with which cookie and demands, until something
//! succeeds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postroad::network::routes::RoutingTable;
use postroad::network::{
    AttemptError, HandshakeError, NetworkProxyRoute, NetworkRoute, OnFailure, Plan, PlanOptions, ProxyFlags,
    ProxyOrder, Step,
};
use postroad::registrar::{BoxFuture, Endpoint, ProxyEndpoint, ResolveError, Resolver};
use postroad::{Atom, Cookie, NetworkFlags};
use postroad_wire::Version;
use postroad_wire::ehs::{HandshakeError as EhsError, Proof};
use proptest::prelude::*;

const OWN: &str = "app@localhost";
const NAME: &str = "db@nowhere";

/// Where things lead: an address or a proxy. Few, so that tables repeat them.
type Place = u8;
const PLACES: Place = 5;

/// A static route: whether its pattern matches, and what it says.
#[derive(Debug, Clone)]
struct Direct {
    matches: bool,
    weight: i64,
    on_failure: Option<OnFailure>,
    host: Option<Place>,
    port: u16,
    resolver: Option<Result<Vec<Address>, ()>>,
    pins: Pins,
}

/// What a route demands of every address.
#[derive(Debug, Clone, Copy, Default)]
struct Pins {
    tls: bool,
    own_cookie: bool,
    flags: bool,
    timeout: bool,
    /// A handshake that the node speaks, whatever the resolver says.
    version: bool,
}

/// What a resolver says of an address; with a handshake that nobody speaks, or not.
#[derive(Debug, Clone, Copy)]
struct Address {
    host: Option<Place>,
    port: u16,
    tls: bool,
    klingon: bool,
}

/// A static proxy route.
#[derive(Debug, Clone)]
struct Through {
    matches: bool,
    weight: i64,
    on_failure: Option<OnFailure>,
    proxy: Option<Proxy>,
    /// This node, or another one.
    to: Option<bool>,
    resolver: Option<Known>,
    own_cookie: bool,
    monitor: bool,
    spawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Proxy {
    Other(Place),
    Own,
    Target,
}

/// What a resolver knows of proxies: the node they lead to (this one or
/// another), and which they are.
type Known = Result<Vec<(bool, Proxy)>, Unknown>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Unknown {
    Node,
    NotSupported,
}

/// Everything a plan depends on.
#[derive(Debug, Clone)]
struct World {
    directs: Vec<Direct>,
    throughs: Vec<Through>,
    registrar: Option<(Result<Vec<Address>, ()>, Known)>,
    on_failure: OnFailure,
    proxy_order: ProxyOrder,
    connected: Vec<Place>,
    fates: HashMap<String, Fate>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Refuses,
    Distrusts,
    Succeeds,
}

fn on_failure() -> impl Strategy<Value = OnFailure> {
    prop_oneof![Just(OnFailure::Fail), Just(OnFailure::Discover)]
}

fn addresses() -> impl Strategy<Value = Result<Vec<Address>, ()>> {
    let address =
        (prop::option::of(0..PLACES), 0..3u16, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(host, port, tls, klingon)| Address { host, port, tls, klingon });
    prop_oneof![1 => Just(Err(())), 4 => prop::collection::vec(address, 0..4).prop_map(Ok)]
}

fn proxy() -> impl Strategy<Value = Proxy> {
    prop_oneof![6 => (0..PLACES).prop_map(Proxy::Other), 1 => Just(Proxy::Own), 1 => Just(Proxy::Target)]
}

fn known() -> impl Strategy<Value = Known> {
    prop_oneof![
        1 => Just(Err(Unknown::Node)),
        1 => Just(Err(Unknown::NotSupported)),
        4 => prop::collection::vec((prop::bool::weighted(0.8), proxy()), 0..4).prop_map(Ok),
    ]
}

fn direct() -> impl Strategy<Value = Direct> {
    let pins =
        (prop::bool::weighted(0.1), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(tls, own_cookie, flags, timeout, version)| Pins { tls, own_cookie, flags, timeout, version },
        );
    (
        prop::bool::weighted(0.7),
        -1..3i64,
        prop::option::weighted(0.3, on_failure()),
        prop::option::of(0..PLACES),
        0..3u16,
        prop::option::of(addresses()),
        pins,
    )
        .prop_map(|(matches, weight, on_failure, host, port, resolver, pins)| {
            let port = if resolver.is_none() { port.max(1) } else { port };
            Direct { matches, weight, on_failure, host, port, resolver, pins }
        })
}

fn through() -> impl Strategy<Value = Through> {
    (
        prop::bool::weighted(0.7),
        -1..3i64,
        prop::option::weighted(0.3, on_failure()),
        proxy(),
        any::<bool>(),
        prop::option::weighted(0.3, prop::bool::weighted(0.7)),
        prop::option::weighted(0.4, known()),
        any::<bool>(),
        prop::bool::weighted(0.9),
        any::<bool>(),
    )
        .prop_map(
            |(matches, weight, on_failure, proxy, named, to, resolver, own_cookie, monitor, spawn)| {
                // A proxy that is also the target the route names is refused early.
                let proxy = (named || resolver.is_none()).then_some(proxy);
                let to = if proxy == Some(Proxy::Target) { None } else { to };
                Through { matches, weight, on_failure, proxy, to, resolver, own_cookie, monitor, spawn }
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    let place = prop_oneof![
        3 => (prop::option::of(0..PLACES), 1..3u16).prop_map(|(to, port)| format!("{}:{port}", host(to, "nowhere"))),
        1 => (0..PLACES).prop_map(|place| proxy_name(Proxy::Other(place)).to_string()),
    ];
    let fate = prop_oneof![4 => Just(Fate::Refuses), 2 => Just(Fate::Distrusts), 1 => Just(Fate::Succeeds)];
    (
        prop::collection::vec(direct(), 0..4),
        prop::collection::vec(through(), 0..4),
        prop::option::weighted(0.9, (addresses(), known())),
        on_failure(),
        prop_oneof![Just(ProxyOrder::BeforeDiscovery), Just(ProxyOrder::AfterDiscovery)],
        prop::collection::vec(0..PLACES, 0..3),
        prop::collection::hash_map(place, fate, 0..12),
    )
        .prop_map(|(directs, throughs, registrar, on_failure, proxy_order, connected, fates)| World {
            directs,
            throughs,
            registrar,
            on_failure,
            proxy_order,
            connected,
            fates,
        })
}

fn host(place: Option<Place>, otherwise: &str) -> String {
    place.map_or(otherwise.to_owned(), |place| format!("h{place}"))
}

fn proxy_name(proxy: Proxy) -> Atom {
    match proxy {
        Proxy::Other(place) => atom(&format!("p{place}@dmz")),
        Proxy::Own => atom(OWN),
        Proxy::Target => atom(NAME),
    }
}

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("a short name")
}

/// What the model and the plan have done until something succeeded.
#[derive(Debug, Default, PartialEq)]
struct Story {
    told: Vec<String>,
    reached: bool,
}

/// The simple model. It knows every rule in the words of the documentation, and
/// nothing of how a plan is made.
struct Model<'a> {
    world: &'a World,
    story: Story,
    distrust: bool,
}

impl Model<'_> {
    fn run(world: &World) -> Story {
        let mut model = Model { world, story: Story::default(), distrust: false };
        model.story.reached = model.walk();
        model.story
    }

    fn walk(&mut self) -> bool {
        let world = self.world;
        let mut directs: Vec<(usize, &Direct)> =
            world.directs.iter().enumerate().filter(|(_, direct)| direct.matches).collect();
        directs.sort_by_key(|(_, direct)| -direct.weight);
        let mut throughs: Vec<(usize, &Through)> =
            world.throughs.iter().enumerate().filter(|(_, through)| is_candidate(through)).collect();
        throughs.sort_by_key(|(_, through)| -through.weight);

        let discover = |own: Option<OnFailure>| own.unwrap_or(world.on_failure) == OnFailure::Discover;
        let directs_allow = directs.iter().all(|(_, direct)| discover(direct.on_failure));
        let throughs_allow =
            throughs.iter().all(|(_, through)| discover(through.on_failure) && through.monitor);
        let discovered = match (directs.first(), throughs.first()) {
            (Some((index, direct)), _) => demands(Some(*index), direct.pins),
            (None, Some((_, through))) if world.proxy_order == ProxyOrder::BeforeDiscovery => {
                format!("None flags spawn {} false", through.spawn)
            }
            _ => demands(None, Pins::default()),
        };
        let pins = directs.first().map_or(Pins::default(), |(_, direct)| direct.pins);

        for (index, direct) in &directs {
            let demands = demands(Some(*index), direct.pins);
            let reached = match &direct.resolver {
                None => {
                    let address =
                        Address { host: direct.host, port: direct.port, tls: false, klingon: false };
                    self.dial(address, direct.pins, &demands)
                }
                Some(answer) => {
                    self.story.told.push(format!("ask r{index}"));
                    answer.iter().flatten().any(|found| {
                        let host = direct.host.or(found.host);
                        let port = if direct.port > 0 { direct.port } else { found.port };
                        self.dial(Address { host, port, ..*found }, direct.pins, &demands)
                    })
                }
            };
            if reached {
                return true;
            }
        }
        match world.proxy_order {
            ProxyOrder::BeforeDiscovery => {
                self.proxies(&throughs)
                    || (directs_allow && throughs_allow && self.discover(pins, &discovered))
                    || (directs_allow && throughs_allow && self.discover_proxies(&throughs))
            }
            ProxyOrder::AfterDiscovery => {
                (directs_allow && self.discover(pins, &discovered))
                    || self.proxies(&throughs)
                    || (directs_allow && throughs_allow && self.discover_proxies(&throughs))
            }
        }
    }

    fn discover(&mut self, pins: Pins, demands: &str) -> bool {
        let Some((answer, _)) = &self.world.registrar else { return false };
        if self.distrust {
            return false;
        }
        self.story.told.push("ask registrar".to_owned());
        answer.iter().flatten().any(|found| self.dial(*found, pins, demands))
    }

    fn proxies(&mut self, throughs: &[(usize, &Through)]) -> bool {
        throughs.iter().any(|(index, through)| {
            let proxies = match &through.resolver {
                None => through.proxy.into_iter().collect(),
                Some(known) => {
                    self.story.told.push(format!("ask t{index} for proxies"));
                    useful(known, through)
                }
            };
            let cookie = through.own_cookie.then_some(*index);
            proxies.into_iter().any(|proxy| self.go_through(proxy, cookie, through.spawn))
        })
    }

    fn discover_proxies(&mut self, throughs: &[(usize, &Through)]) -> bool {
        let Some((_, known)) = &self.world.registrar else { return false };
        if self.distrust {
            return false;
        }
        self.story.told.push("ask registrar for proxies".to_owned());
        let anybody = Through {
            matches: true,
            weight: 0,
            on_failure: None,
            proxy: None,
            to: None,
            resolver: None,
            own_cookie: false,
            monitor: true,
            spawn: throughs.first().is_some_and(|(_, through)| through.spawn),
        };
        let is_connected =
            |proxy: &Proxy| matches!(proxy, Proxy::Other(place) if self.world.connected.contains(place));
        let (near, far): (Vec<_>, Vec<_>) = useful(known, &anybody).into_iter().partition(is_connected);
        near.into_iter().chain(far).any(|proxy| self.go_through(proxy, None, anybody.spawn))
    }

    /// Whether that was the way.
    fn dial(&mut self, address: Address, pins: Pins, demands: &str) -> bool {
        let Address { host: to, port, tls, klingon } = address;
        if port == 0 || (klingon && !pins.version) {
            return false;
        }
        let (address, tls) = (format!("{}:{port}", host(to, "nowhere")), tls || pins.tls);
        self.story.told.push(format!("{address} {demands} {tls}"));
        self.meets(&address)
    }

    fn go_through(&mut self, proxy: Proxy, cookie: Option<usize>, spawn: bool) -> bool {
        let proxy = proxy_name(proxy).to_string();
        self.story.told.push(format!("through {proxy} {cookie:?} {spawn}"));
        self.meets(&proxy)
    }

    fn meets(&mut self, place: &str) -> bool {
        let fate = self.world.fates.get(place);
        self.distrust |= fate == Some(&Fate::Distrusts);
        fate == Some(&Fate::Succeeds)
    }
}

fn is_candidate(through: &Through) -> bool {
    let leads = !matches!(through.proxy, Some(Proxy::Own | Proxy::Target));
    through.matches && leads && through.to != Some(false)
}

/// The proxies a resolver knows, under what the route says; each once.
fn useful(known: &Known, through: &Through) -> Vec<Proxy> {
    let mut useful = Vec::new();
    for (to, proxy) in known.iter().flatten() {
        let (to, proxy) = (through.to.unwrap_or(*to), through.proxy.unwrap_or(*proxy));
        if to && matches!(proxy, Proxy::Other(_)) && !useful.contains(&proxy) {
            useful.push(proxy);
        }
    }
    useful
}

/// How an attempt's cookie, flags and timeout are told.
fn demands(index: Option<usize>, pins: Pins) -> String {
    let cookie = index.filter(|_| pins.own_cookie);
    let flags = if pins.flags { "flags spawn false" } else { "no flags" };
    format!("{cookie:?} {flags} {}", pins.timeout)
}

/// Answers are given by the test.
#[derive(Debug)]
struct Named(String);

impl Resolver for Named {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        unreachable!("a plan asks nobody by itself")
    }

    fn describe(&self) -> String {
        self.0.clone()
    }
}

/// The same world for a plan.
struct Stage<'a> {
    world: &'a World,
    cookies: Vec<Cookie>,
    through_cookies: Vec<Cookie>,
}

impl<'a> Stage<'a> {
    fn new(world: &'a World) -> Self {
        let cookies = |kind: &str| (0..4).map(|index| Cookie::new(format!("{kind}{index}"))).collect();
        Self { world, cookies: cookies("r"), through_cookies: cookies("t") }
    }

    fn plan(&self) -> Plan {
        let (directs, throughs) = (RoutingTable::new(), RoutingTable::new());
        // Patterns that differ and match, or do not.
        let pattern = |matches: bool, index: usize| {
            let name = if matches { "db" } else { "other" };
            format!("{name}.{{{index},}}")
        };
        for (index, direct) in self.world.directs.iter().enumerate() {
            let route = self.direct(index, direct);
            assert_eq!(route.check(), Ok(()));
            directs.add(&pattern(direct.matches, index), route, direct.weight).expect("a valid pattern");
        }
        for (index, through) in self.world.throughs.iter().enumerate() {
            let route = self.through(index, through);
            assert_eq!(route.check(), Ok(()));
            throughs.add(&pattern(through.matches, index), route, through.weight).expect("a valid pattern");
        }
        let registrar =
            self.world.registrar.as_ref().map(|_| Arc::new(Named("registrar".into())) as Arc<dyn Resolver>);
        let options = PlanOptions {
            on_failure: self.world.on_failure,
            proxy_order: self.world.proxy_order,
            dial_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(5),
            connected: self.world.connected.iter().map(|place| proxy_name(Proxy::Other(*place))).collect(),
            ..PlanOptions::default()
        };
        Plan::new(atom(OWN), atom(NAME), &directs.lookup(NAME), &throughs.lookup(NAME), registrar, options)
            .expect("another node")
    }

    fn direct(&self, index: usize, direct: &Direct) -> NetworkRoute {
        let to = host(direct.host, "");
        let mut route = match direct.resolver {
            None => NetworkRoute::to(to, direct.port),
            Some(_) => {
                let resolver = Arc::new(Named(format!("r{index}")));
                NetworkRoute::resolve_with(resolver).host(to).port(direct.port)
            }
        };
        let Pins { tls, own_cookie, flags, timeout, version } = direct.pins;
        route = route.tls(tls);
        if own_cookie {
            route = route.cookie(self.cookies[index].clone());
        }
        if flags {
            route = route.network_flags(NetworkFlags::ENABLE);
        }
        if timeout {
            route = route.timeout(Duration::from_secs(1));
        }
        if version {
            route = route.handshake_version(Version::ehs());
        }
        match direct.on_failure {
            Some(on_failure) => route.on_failure(on_failure),
            None => route,
        }
    }

    fn through(&self, index: usize, through: &Through) -> NetworkProxyRoute {
        let mut route = match through.proxy {
            Some(proxy) => NetworkProxyRoute::via(proxy_name(proxy).as_str()),
            None => NetworkProxyRoute::resolve_with(Arc::new(Named(format!("t{index}")))),
        };
        if through.resolver.is_some() {
            route = route.resolver(Arc::new(Named(format!("t{index}"))));
        }
        if let Some(this) = through.to {
            route = route.to(if this { NAME } else { "other@nowhere" });
        }
        if through.own_cookie {
            route = route.cookie(self.through_cookies[index].clone());
        }
        let flags = ProxyFlags { monitor: through.monitor, spawn: through.spawn, ..ProxyFlags::default() };
        route = route.flags(flags);
        match through.on_failure {
            Some(on_failure) => route.on_failure(on_failure),
            None => route,
        }
    }

    /// Executes the plan.
    fn run(&self) -> Story {
        let mut plan = self.plan();
        let mut story = Story::default();
        let index = |cookies: &[Cookie], cookie: Option<&Cookie>| {
            cookie.and_then(|cookie| cookies.iter().position(|known| known == cookie))
        };
        while let Some(step) = plan.next_step() {
            match step {
                Step::Resolve(resolve) => {
                    let who = resolve.resolver.describe();
                    if resolve.asks_for_proxies() {
                        story.told.push(format!("ask {who} for proxies"));
                        plan.resolved(resolve, self.proxies_by(&who));
                    } else {
                        story.told.push(format!("ask {who}"));
                        plan.resolved(resolve, self.addresses_by(&who));
                    }
                }
                Step::Attempt(attempt) => {
                    let address = format!("{}:{}", attempt.endpoint.host, attempt.endpoint.port);
                    let cookie = index(&self.cookies, attempt.cookie.as_ref());
                    let flags = attempt.flags.map_or("no flags".to_owned(), |flags| {
                        format!("flags spawn {}", flags.allows(NetworkFlags::REMOTE_SPAWN))
                    });
                    let timeout = attempt.handshake_timeout == Duration::from_secs(1);
                    assert_eq!(timeout, attempt.dial_timeout == Duration::from_secs(1));
                    let tls = attempt.endpoint.tls;
                    story.told.push(format!("{address} {cookie:?} {flags} {timeout} {tls}"));
                    match self.error(&address) {
                        Some(error) => plan.failed(attempt, error),
                        None => story.reached = true,
                    }
                }
                Step::Tunnel(tunnel) => {
                    let cookie = index(&self.through_cookies, tunnel.cookie.as_ref());
                    story.told.push(format!("through {} {cookie:?} {}", tunnel.proxy, tunnel.flags.spawn));
                    match self.error(tunnel.proxy.as_str()) {
                        Some(error) => plan.tunnel_failed(tunnel, error),
                        None => story.reached = true,
                    }
                }
            }
            if story.reached {
                return story;
            }
        }
        let tried = story.told.iter().filter(|told| !told.starts_with("ask")).count();
        let no_route = plan.give_up();
        assert!(no_route.attempts.len() >= tried, "every attempt is kept: {no_route}");
        assert_eq!(no_route.untried, 0);
        story
    }

    /// How a place receives; nothing if it is the way.
    fn error(&self, place: &str) -> Option<AttemptError> {
        match self.world.fates.get(place) {
            Some(Fate::Succeeds) => None,
            Some(Fate::Distrusts) => {
                Some(HandshakeError::Protocol(EhsError::WrongDigest(Proof::HelloReply)).into())
            }
            Some(Fate::Refuses) | None => {
                Some(AttemptError::Dial(Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused))))
            }
        }
    }

    fn addresses_by(&self, who: &str) -> Result<Vec<Endpoint>, ResolveError> {
        let answer = match who.strip_prefix('r').and_then(|index| index.parse::<usize>().ok()) {
            Some(index) => self.world.directs[index].resolver.clone(),
            None => self.world.registrar.clone().map(|(addresses, _)| addresses),
        };
        let endpoint = |Address { host: to, port, tls, klingon }| Endpoint {
            host: host(to, ""),
            port,
            tls,
            handshake_version: if klingon { Version::new("KHS", "R7") } else { Version::ehs() },
            proto_version: Version::enp(),
        };
        let answer = answer.expect("asked is who is there");
        answer.map(|found| found.into_iter().map(endpoint).collect()).map_err(|()| ResolveError::Unknown)
    }

    fn proxies_by(&self, who: &str) -> Result<Vec<ProxyEndpoint>, ResolveError> {
        let known = match who.strip_prefix('t').and_then(|index| index.parse::<usize>().ok()) {
            Some(index) => self.world.throughs[index].resolver.clone(),
            None => self.world.registrar.clone().map(|(_, known)| known),
        };
        let endpoint = |(this, proxy)| ProxyEndpoint {
            to: atom(if this { NAME } else { "other@nowhere" }),
            proxy: proxy_name(proxy),
        };
        let known = known.expect("asked is who is there");
        known.map(|known| known.into_iter().map(endpoint).collect()).map_err(|unknown| match unknown {
            Unknown::Node => ResolveError::Unknown,
            Unknown::NotSupported => ResolveError::NotSupported,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_plan_tries_what_the_model_tries(world in world()) {
        prop_assert_eq!(Stage::new(&world).run(), Model::run(&world));
    }
}
