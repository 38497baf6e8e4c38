//! How a node would be reached, and why: an ordered list of attempts.
//!
//! Pure (`DESIGN.md` D2): a plan is made of routes and options, and it is told
//! how each of its steps ended. What connects executes it, what explains
//! prints it.
//!
//! ```text
//! while let Some(step) = plan.next_step() {
//!     match step {
//!         Step::Attempt(attempt) => … return the connection, or plan.failed(attempt, error)
//!         Step::Tunnel(tunnel) => … return the connection, or plan.tunnel_failed(tunnel, error)
//!         Step::Resolve(resolve) => … plan.resolved(resolve, answer)
//!     }
//! }
//! plan.give_up()
//! ```

mod display;
mod failure;
mod step;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::Version;

use super::proxy_route::NetworkProxyRoute;
use super::route::{NetworkRoute, OnFailure, Pins};
use super::routes::{Entry, Matches};
use super::tables::heeded;
use crate::Atom;
use crate::registrar::{Endpoint, ProxyEndpoint, ResolveError, Resolver};
use crate::tls::TlsOptions;

use self::step::{Ends, Wanted};

pub use self::failure::{AttemptError, FailedAttempt, NoRoute, Stage};
pub use self::step::{Answer, Attempt, Reason, Resolve, Step, Tunnel};

/// So many addresses of one resolver are tried at most. What a resolver says is
/// a hint by somebody who has proved nothing.
const MAX_ADDRESSES: usize = 64;

/// How a node would be reached.
///
/// What was configured comes before what is discovered, direct roads before
/// those through another node:
///
/// 1. static routes, by weight, ties in the order they were added;
/// 2. static proxy routes, likewise;
/// 3. addresses that the registrar knows;
/// 4. proxies that the registrar knows: those we are connected with first.
///
/// The registrar is asked (3 and 4) only if every static route that comes
/// before allows it, see [`OnFailure`], and not any more after a peer has
/// failed to prove who it is. [`ProxyOrder::AfterDiscovery`] puts 2 behind 3.
#[derive(Debug)]
pub struct Plan {
    own: Atom,
    name: Atom,
    steps: VecDeque<Step>,
    discovery: Discovery,
    /// The reading in force, if it makes a difference: if a static proxy route matches.
    proxy_order: Option<ProxyOrder>,
    /// When this was tried last, in vain.
    pause: Option<Pause>,
    options: PlanOptions,
    /// What the static route of the highest weight says of the node.
    ends: Ends,
    failed: Vec<FailedAttempt>,
}

/// What a plan needs to know of the node.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// What happens when all static routes have failed, for routes that do not
    /// say.
    pub on_failure: OnFailure,
    /// Whether static proxy routes come before or after discovery.
    pub proxy_order: ProxyOrder,
    /// How long making a TCP connection may take, and asking a resolver.
    pub dial_timeout: Duration,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// What holds for TLS where a route does not say.
    pub tls: TlsOptions,
    /// The handshakes that the node speaks besides EHS.
    pub handshakes: Vec<Version>,
    /// The protocols that the node speaks; ENP in any case.
    pub protocols: Vec<Version>,
    /// The nodes that this one is connected with: proxies among them are
    /// preferred.
    pub connected: HashSet<Atom>,
}

/// Whether static proxy routes come before or after discovery. The seed can be
/// read both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProxyOrder {
    /// Before: whoever configured a proxy knows how the node is reached. Asking
    /// for its address would cost a timeout where it cannot be dialed, and show
    /// a digest of the node's cookie to whoever is at that address.
    #[default]
    BeforeDiscovery,
    /// After: static routes, then addresses that the registrar knows, then
    /// proxies. A matching proxy route does not keep the registrar from being
    /// asked for addresses.
    AfterDiscovery,
}

/// Whether the registrar is asked for a node. The seed says both: that it is
/// never asked once a static route matches, and that it is asked when all of
/// them have failed. [`OnFailure`] decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discovery {
    /// It is: no static route comes before.
    First,
    /// It is, after the static routes have failed: [`OnFailure::Discover`].
    AfterRoutes,
    /// It is not: static routes match and [`OnFailure::Fail`] is in force, for
    /// one of them at least.
    Withheld,
    /// It was not, although [`OnFailure::Discover`] is in force: a peer failed
    /// to prove who it is.
    Distrusted,
    /// It cannot be: the node has no registrar.
    NoRegistrar,
    /// It is not, and neither are the node's routes used: the route was given.
    RouteGiven,
}

/// A node does not connect with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not allowed: {0} is this node itself")]
pub struct OwnName(pub Atom);

/// For how long senders are told at once what the last plan came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// When that plan failed: so long ago.
    pub(super) age: Duration,
    /// How long senders will not try again.
    pub(super) left: Duration,
}

impl Plan {
    /// Plans how `own` reaches `name`, for which these static routes and static
    /// proxy routes match. A proxy route that leads to another node, or whose
    /// proxy is one of the two ends, is left out; so is a route that was handed out
    /// where a proxy route leads.
    pub fn new(
        own: Atom,
        name: Atom,
        routes: &Matches<NetworkRoute>,
        proxies: &Matches<NetworkProxyRoute>,
        registrar: Option<Arc<dyn Resolver>>,
        options: PlanOptions,
    ) -> Result<Self, OwnName> {
        let mut plan = Self::empty(own, name, Discovery::NoRegistrar, options)?;
        let routes = heeded(own, name, routes, proxies);
        let proxies: Vec<_> = proxies.iter().filter(|entry| entry.route().leads(own, name)).collect();
        plan.proxy_order = (!proxies.is_empty()).then_some(plan.options.proxy_order);
        plan.ends = Ends::of(routes.first().map(|entry| entry.route()));
        plan.steps.extend(routes.iter().map(|entry| Step::by_route(name, entry, &plan.options)));
        let tunnels: Vec<_> = proxies
            .iter()
            .filter_map(|entry| Step::by_proxy(name, entry, &plan.ends, &plan.options))
            .collect();
        let Some(registrar) = registrar else {
            plan.steps.extend(tunnels);
            return Ok(plan);
        };

        let node = plan.options.on_failure;
        let discover = |own: Option<OnFailure>| own.unwrap_or(node) == OnFailure::Discover;
        let routes_allow = routes.iter().all(|entry| discover(entry.route().on_failure));
        let proxies_allow =
            proxies.iter().all(|entry| discover(entry.route().on_failure) && entry.route().pins().is_some());
        let before = plan.options.proxy_order == ProxyOrder::BeforeDiscovery;
        let is_first = routes.is_empty() && (proxies.is_empty() || !before);
        let allowed = routes_allow && (proxies_allow || !before);
        plan.discovery = match (is_first, allowed) {
            (true, _) => Discovery::First,
            (false, true) => Discovery::AfterRoutes,
            (false, false) => Discovery::Withheld,
        };

        let ask = |reason, wanted| {
            let resolver = Arc::clone(&registrar);
            Step::Resolve(Resolve::new(name, resolver, reason, wanted, &plan.options))
        };
        let (demanded_by, demands) = discovery_demands(&routes, &proxies);
        let (reason, pins) = if is_first { Default::default() } else { (demanded_by.clone(), demands) };
        let addresses = ask(reason, Wanted::Addresses { host: String::new(), port: 0, pins: Box::new(pins) });
        let through = proxies.first().map(|entry| entry.route().for_any_proxy());
        let through = through.unwrap_or_else(NetworkProxyRoute::unnamed);
        let through = ask(demanded_by, Wanted::Proxies(Box::new(through)));

        let (ahead, behind) = if before { (tunnels, vec![]) } else { (vec![], tunnels) };
        plan.steps.extend(ahead);
        plan.steps.extend(allowed.then_some(addresses));
        plan.steps.extend(behind);
        plan.steps.extend((routes_allow && proxies_allow).then_some(through));
        Ok(plan)
    }

    /// Plans how `own` reaches `name` by this route and no other.
    pub fn along(own: Atom, name: Atom, route: &NetworkRoute, options: PlanOptions) -> Result<Self, OwnName> {
        let mut plan = Self::empty(own, name, Discovery::RouteGiven, options)?;
        plan.steps.push_back(Step::along(name, route, Reason::Given, &plan.options));
        Ok(plan)
    }

    /// Plans how `own` reaches `name` at this address and no other.
    pub(super) fn at(
        own: Atom,
        name: Atom,
        attempt: &Attempt,
        options: PlanOptions,
    ) -> Result<Self, OwnName> {
        let mut plan = Self::empty(own, name, Discovery::RouteGiven, options)?;
        plan.steps.push_back(Step::Attempt(attempt.clone()));
        Ok(plan)
    }

    fn empty(own: Atom, name: Atom, discovery: Discovery, options: PlanOptions) -> Result<Self, OwnName> {
        if own == name {
            return Err(OwnName(name));
        }
        let (steps, failed) = (VecDeque::new(), Vec::new());
        let ends = Ends::default();
        Ok(Self { own, name, steps, discovery, proxy_order: None, pause: None, options, ends, failed })
    }

    /// What to do next; nothing when all has failed.
    pub fn next_step(&mut self) -> Option<Step> {
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Attempt(attempt) => match attempt.check() {
                    Ok(()) => return Some(Step::Attempt(attempt)),
                    Err(error) => self.failed(attempt, error),
                },
                Step::Resolve(resolve) if resolve.is_discovery() && self.is_distrusted() => {
                    if !resolve.asks_for_proxies() {
                        self.discovery = Discovery::Distrusted;
                    }
                }
                step => return Some(step),
            }
        }
        None
    }

    fn is_distrusted(&self) -> bool {
        self.failed.iter().any(|failed| failed.error.is_distrust())
    }

    /// Tells how an attempt ended that did not succeed.
    pub fn failed(&mut self, attempt: Attempt, error: AttemptError) {
        let Attempt { reason, endpoint, .. } = attempt;
        self.fail(reason, Some(endpoint), None, error);
    }

    /// Tells how an attempt to go through another node ended that did not succeed.
    pub fn tunnel_failed(&mut self, tunnel: Tunnel, error: AttemptError) {
        self.fail(tunnel.reason, None, Some(tunnel.proxy), error);
    }

    fn fail(&mut self, reason: Reason, endpoint: Option<Endpoint>, proxy: Option<Atom>, error: AttemptError) {
        self.failed.push(FailedAttempt { reason, endpoint, proxy, stage: error.stage(), error });
    }

    /// Tells what a resolver said. Its addresses are tried next, in its order.
    pub fn resolved(&mut self, resolve: Resolve, answer: impl Into<Answer>) {
        self.answer_ahead(0, resolve, answer);
    }

    /// Takes out the first resolver whose turn has not come, and its place: to
    /// explain a plan without executing it. Whom a node asks only after static
    /// routes have failed stays.
    pub fn ask_ahead(&mut self) -> Option<(usize, Resolve)> {
        let asks = |step: &Step| matches!(step, Step::Resolve(resolve) if !resolve.is_fallback());
        let at = self.steps.iter().position(asks)?;
        match self.steps.remove(at)? {
            Step::Resolve(resolve) => Some((at, resolve)),
            Step::Attempt(_) | Step::Tunnel(_) => None,
        }
    }

    /// Puts what a resolver said in that place.
    pub fn answer_ahead(&mut self, at: usize, resolve: Resolve, answer: impl Into<Answer>) {
        let found = match answer.into() {
            Answer::Addresses(answer) => answer.map(|endpoints| self.attempts(&resolve, endpoints)),
            // Most nodes have no proxy, and none was asked for by name.
            Answer::Proxies(Err(ResolveError::NotSupported | ResolveError::Unknown))
                if resolve.is_discovery() =>
            {
                return;
            }
            Answer::Proxies(answer) => answer.map(|proxies| self.tunnels(&resolve, proxies)),
        };
        let resolver = || resolve.resolver.describe();
        let error = match found {
            Ok(steps) if !steps.is_empty() => {
                for (at, step) in (at..).zip(steps) {
                    self.steps.insert(at, step);
                }
                return;
            }
            Ok(_) if resolve.asks_for_proxies() => AttemptError::NoProxy { resolver: resolver() },
            Ok(_) => AttemptError::NoAddress { resolver: resolver() },
            Err(error) => AttemptError::Resolve { resolver: resolver(), error },
        };
        self.fail(resolve.reason, None, None, error);
    }

    fn attempts(&self, resolve: &Resolve, endpoints: Vec<Endpoint>) -> Vec<Step> {
        let attempt = |endpoint| resolve.attempt(endpoint, &self.options).map(Step::Attempt);
        endpoints.into_iter().take(MAX_ADDRESSES).filter_map(attempt).collect()
    }

    fn tunnels(&self, resolve: &Resolve, proxies: Vec<ProxyEndpoint>) -> Vec<Step> {
        let mut tunnels: Vec<Tunnel> = Vec::new();
        for endpoint in proxies.into_iter().take(MAX_ADDRESSES) {
            if let Some(tunnel) = resolve.tunnel(self.own, &endpoint, &self.ends, &self.options)
                && tunnels.iter().all(|known| known.proxy != tunnel.proxy)
            {
                tunnels.push(tunnel);
            }
        }
        if resolve.is_discovery() {
            tunnels.sort_by_key(|tunnel| !self.options.connected.contains(&tunnel.proxy));
        }
        tunnels.into_iter().map(Step::Tunnel).collect()
    }

    /// What is still to do, in this order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// Where the static proxy routes stand, if one leads there.
    pub fn proxy_order(&self) -> Option<ProxyOrder> {
        self.proxy_order
    }

    /// Whether the registrar is among those that are asked, and why.
    pub fn discovery(&self) -> Discovery {
        self.discovery
    }

    /// What failed so far, in this order.
    pub fn failures(&self) -> &[FailedAttempt] {
        &self.failed
    }

    /// Lets the plan say that it failed a moment ago.
    pub(super) fn paused(&mut self, pause: Option<Pause>) {
        self.pause = pause;
    }

    /// Ends the plan: because nothing is left, or because time is up.
    pub fn give_up(self) -> NoRoute {
        let untried = self.steps.len();
        NoRoute {
            name: self.name,
            attempts: self.failed,
            discovery: self.discovery,
            untried,
            age: Duration::ZERO,
        }
    }
}

/// Why the registrar would be asked, and what holds for its addresses: what the
/// matching route of the highest weight demands.
fn discovery_demands(
    routes: &Matches<NetworkRoute>,
    proxies: &[&Arc<Entry<NetworkProxyRoute>>],
) -> (Reason, Pins) {
    fn fallback<R>(entry: &Entry<R>) -> Reason {
        Reason::Fallback { pattern: entry.pattern().into(), weight: entry.weight() }
    }
    match (routes.first(), proxies.first()) {
        (Some(entry), _) => (fallback(entry), entry.route().pins.clone()),
        (None, Some(entry)) => (fallback(entry), entry.route().pins().unwrap_or_default()),
        (None, None) => Default::default(),
    }
}

impl fmt::Display for ProxyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeDiscovery => "before-discovery",
            Self::AfterDiscovery => "after-discovery",
        })
    }
}
