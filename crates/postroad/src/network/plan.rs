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
//!         Step::Resolve(resolve) => … plan.resolved(resolve, answer)
//!     }
//! }
//! plan.give_up()
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::AtomMapping;
use postroad_wire::ehs::{self, Proof};
use postroad_wire::{Cookie, NetworkFlags, Version};
use tracing::level_filters::LevelFilter;

use super::handshake::HandshakeError;
use super::route::{NetworkRoute, OnFailure, Pins, write_address};
use super::routes::{Entry, Matches};
use crate::Atom;
use crate::registrar::{Endpoint, ResolveError, Resolver};
use crate::tls::{Dialed, TlsHandshakeError, TlsOptions};

/// So many addresses of one resolver are tried at most. What a resolver says is
/// a hint by somebody who has proved nothing.
const MAX_ADDRESSES: usize = 64;

/// How a node would be reached.
#[derive(Debug)]
pub struct Plan {
    name: Atom,
    steps: VecDeque<Step>,
    discovery: Discovery,
    /// Asked when `steps` are used up, if nothing forbids it by then.
    fallback: Option<Resolve>,
    options: PlanOptions,
    failed: Vec<FailedAttempt>,
}

/// What a plan needs to know of the node.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// What happens when all static routes have failed, for routes that do not
    /// say.
    pub on_failure: OnFailure,
    /// How long making a TCP connection may take, and asking a resolver.
    pub dial_timeout: Duration,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// What holds for TLS where a route does not say.
    pub tls: TlsOptions,
}

/// A node does not connect with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not allowed: {0} is this node itself")]
pub struct OwnName(pub Atom);

/// What to do next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Dial an address.
    Attempt(Attempt),
    /// Ask for addresses.
    Resolve(Resolve),
}

/// One address to dial, and all that holds for it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The address; its host is not empty.
    pub endpoint: Endpoint,
    /// The cookie to use; if there is none, the node's.
    pub cookie: Option<Cookie>,
    /// What the peer may be allowed at most; if there is none, what the node allows.
    pub flags: Option<NetworkFlags>,
    /// What holds for TLS, if the endpoint is dialed with it.
    pub tls: TlsOptions,
    /// Which atoms are said otherwise to the peer.
    pub mapping: Option<AtomMapping>,
    /// How much is logged about it; if there is nothing, what the subscriber
    /// lets through.
    pub log_level: Option<LevelFilter>,
    /// How long making the TCP connection may take, TLS included.
    pub dial_timeout: Duration,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// Why this address.
    pub reason: Reason,
}

/// A resolver to ask for addresses.
#[derive(Debug, Clone)]
pub struct Resolve {
    /// Whom to ask.
    pub resolver: Arc<dyn Resolver>,
    /// How long it may take.
    pub timeout: Duration,
    /// Why.
    pub reason: Reason,
    host: String,
    port: u16,
    pins: Pins,
}

/// Why something is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A static route matches.
    Route {
        /// The pattern of the route.
        pattern: Arc<str>,
        /// The weight of the route.
        weight: i64,
    },
    /// No static route matches: the registrar was asked.
    Discovery,
    /// All static routes failed, and [`OnFailure::Discover`] is in force: the
    /// registrar was asked.
    Fallback {
        /// The pattern of the route whose demands are kept.
        pattern: Arc<str>,
        /// The weight of that route.
        weight: i64,
    },
}

/// Whether the registrar is asked for a node. The seed says both: that it is
/// never asked once a static route matches, and that it is asked when all of
/// them have failed. [`OnFailure`] decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discovery {
    /// It is: no static route matches.
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
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Finding an address.
    Resolve,
    /// Making a connection with it.
    Dial,
    /// Making it secure.
    Tls,
    /// The first half of the handshake: both prove that they know the cookie.
    Hello,
    /// The second half of the handshake: both say who they are.
    Introduce,
}

/// Why an attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The resolver gave no address.
    #[error("{resolver}: {error}")]
    Resolve {
        /// Who was asked.
        resolver: String,
        /// What it said.
        error: ResolveError,
    },
    /// The resolver knows the node, and no address of it.
    #[error("{resolver} knows the node, but no address: it accepts no connections (hidden mode)")]
    NoAddress {
        /// Who was asked.
        resolver: String,
    },
    /// The address has port 0.
    #[error("the address has port 0; give the route a port")]
    NoPort,
    /// Neither the route nor the resolver nor the node's name has a host.
    #[error("no host: neither the route nor the name of the node has one")]
    NoHost,
    /// The address is for a handshake or protocol that this node does not speak.
    #[error("the address is for {version}, which this node does not speak")]
    UnknownVersion {
        /// The handshake or protocol.
        version: Version,
    },
    /// No connection could be made.
    #[error("{0}")]
    Dial(Arc<io::Error>),
    /// The connection could not be made secure. Nothing of the cookie was sent.
    #[error("{0}")]
    Tls(TlsHandshakeError),
    /// The two nodes did not agree.
    #[error(transparent)]
    Handshake(HandshakeError),
}

/// Something that was tried.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// Why it was tried.
    pub reason: Reason,
    /// What was dialed; nothing if no address was found.
    pub endpoint: Option<Endpoint>,
    /// How far it came.
    pub stage: Stage,
    /// What went wrong.
    pub error: AttemptError,
}

/// Nothing led to a node.
#[derive(Debug, Clone, thiserror::Error)]
pub struct NoRoute {
    /// The node.
    pub name: Atom,
    /// What was tried, in this order.
    pub attempts: Vec<FailedAttempt>,
    /// Whether the registrar was asked, and why not.
    pub discovery: Discovery,
    /// How many further steps were left when time was up.
    pub untried: usize,
}

impl Plan {
    /// Plans how `own` reaches `name`, for which these static routes match.
    pub fn new(
        own: Atom,
        name: Atom,
        routes: &Matches<NetworkRoute>,
        registrar: Option<Arc<dyn Resolver>>,
        options: PlanOptions,
    ) -> Result<Self, OwnName> {
        if own == name {
            return Err(OwnName(name));
        }
        let allowed = routes
            .iter()
            .all(|entry| entry.route().on_failure.unwrap_or(options.on_failure) == OnFailure::Discover);
        let discovery = match (&registrar, routes.first()) {
            (None, _) => Discovery::NoRegistrar,
            (Some(_), None) => Discovery::First,
            (Some(_), Some(_)) if allowed => Discovery::AfterRoutes,
            (Some(_), Some(_)) => Discovery::Withheld,
        };
        let mut steps: VecDeque<_> = routes.iter().map(|entry| Step::of(name, entry, &options)).collect();
        let resolve = |resolver, reason, pins| Resolve::new(resolver, reason, ("", 0), pins, &options);
        let mut fallback = None;
        match (registrar, routes.first()) {
            (Some(registrar), None) => {
                steps.push_back(Step::Resolve(resolve(registrar, Reason::Discovery, Pins::default())));
            }
            (Some(registrar), Some(entry)) if discovery == Discovery::AfterRoutes => {
                let reason = Reason::Fallback { pattern: entry.pattern().into(), weight: entry.weight() };
                fallback = Some(resolve(registrar, reason, entry.route().pins.clone()));
            }
            _ => {}
        }
        Ok(Self { name, steps, discovery, fallback, options, failed: Vec::new() })
    }

    /// What to do next; nothing when all has failed.
    pub fn next_step(&mut self) -> Option<Step> {
        loop {
            let Some(step) = self.steps.pop_front() else {
                let fallback = self.fallback.take()?;
                if self.failed.iter().any(|failed| failed.error.is_distrust()) {
                    self.discovery = Discovery::Distrusted;
                    return None;
                }
                return Some(Step::Resolve(fallback));
            };
            match step {
                Step::Attempt(attempt) => match attempt.check() {
                    Ok(()) => return Some(Step::Attempt(attempt)),
                    Err(error) => self.failed(attempt, error),
                },
                resolve => return Some(resolve),
            }
        }
    }

    /// Tells how an attempt ended that did not succeed.
    pub fn failed(&mut self, attempt: Attempt, error: AttemptError) {
        let Attempt { reason, endpoint, .. } = attempt;
        self.failed.push(FailedAttempt { reason, endpoint: Some(endpoint), stage: error.stage(), error });
    }

    /// Tells what a resolver said. Its addresses are tried next, in its order.
    pub fn resolved(&mut self, resolve: Resolve, answer: Result<Vec<Endpoint>, ResolveError>) {
        self.answer_ahead(0, resolve, answer);
    }

    /// Takes out the first resolver whose turn has not come, and its place: to
    /// explain a plan without executing it.
    pub fn ask_ahead(&mut self) -> Option<(usize, Resolve)> {
        let at = self.steps.iter().position(|step| matches!(step, Step::Resolve(_)))?;
        match self.steps.remove(at)? {
            Step::Resolve(resolve) => Some((at, resolve)),
            Step::Attempt(_) => None,
        }
    }

    /// Puts the addresses in that place.
    pub fn answer_ahead(&mut self, at: usize, resolve: Resolve, answer: Result<Vec<Endpoint>, ResolveError>) {
        let resolver = || resolve.resolver.describe();
        let error = match answer {
            Ok(endpoints) if !endpoints.is_empty() => {
                for (at, endpoint) in (at..).zip(endpoints.into_iter().take(MAX_ADDRESSES)) {
                    let attempt = resolve.attempt(self.name, endpoint, &self.options);
                    self.steps.insert(at, Step::Attempt(attempt));
                }
                return;
            }
            Ok(_) => AttemptError::NoAddress { resolver: resolver() },
            Err(error) => AttemptError::Resolve { resolver: resolver(), error },
        };
        let reason = resolve.reason;
        self.failed.push(FailedAttempt { reason, endpoint: None, stage: error.stage(), error });
    }

    /// Ends the plan: because nothing is left, or because time is up.
    pub fn give_up(self) -> NoRoute {
        let untried = self.steps.len() + usize::from(self.fallback.is_some());
        NoRoute { name: self.name, attempts: self.failed, discovery: self.discovery, untried }
    }
}

impl NoRoute {
    /// No static route matches; nothing was tried.
    pub(super) fn unmatched(name: Atom) -> Self {
        Self { name, attempts: Vec::new(), discovery: Discovery::First, untried: 0 }
    }
}

impl Step {
    fn of(name: Atom, entry: &Entry<NetworkRoute>, options: &PlanOptions) -> Self {
        let route = entry.route();
        let reason = Reason::Route { pattern: entry.pattern().into(), weight: entry.weight() };
        match &route.resolver {
            Some(resolver) => {
                let address = (route.host.as_str(), route.port);
                Self::Resolve(Resolve::new(
                    Arc::clone(resolver),
                    reason,
                    address,
                    route.pins.clone(),
                    options,
                ))
            }
            None => {
                let endpoint = Endpoint {
                    host: route.host.clone(),
                    port: route.port,
                    tls: false,
                    handshake_version: Version::ehs(),
                    proto_version: Version::enp(),
                };
                Self::Attempt(Attempt::new(name, endpoint, reason, &route.pins, options))
            }
        }
    }
}

impl Resolve {
    fn new(
        resolver: Arc<dyn Resolver>,
        reason: Reason,
        (host, port): (&str, u16),
        pins: Pins,
        options: &PlanOptions,
    ) -> Self {
        let timeout = pins.timeout.unwrap_or(options.dial_timeout);
        Self { resolver, timeout, reason, host: host.to_owned(), port, pins }
    }

    /// An address it was told, under what the route says.
    fn attempt(&self, name: Atom, mut endpoint: Endpoint, options: &PlanOptions) -> Attempt {
        if !self.host.is_empty() {
            endpoint.host.clone_from(&self.host);
        }
        if self.port != 0 {
            endpoint.port = self.port;
        }
        Attempt::new(name, endpoint, self.reason.clone(), &self.pins, options)
    }
}

impl Attempt {
    fn new(name: Atom, mut endpoint: Endpoint, reason: Reason, pins: &Pins, options: &PlanOptions) -> Self {
        if endpoint.host.is_empty() {
            endpoint.host = name.host().to_owned();
        }
        endpoint.tls |= pins.tls.demand_tls() || options.tls.required == Some(true);
        if let Some(version) = &pins.handshake_version {
            endpoint.handshake_version.clone_from(version);
        }
        if let Some(version) = &pins.proto_version {
            endpoint.proto_version.clone_from(version);
        }
        Self {
            endpoint,
            cookie: pins.cookie.clone(),
            flags: pins.flags,
            tls: pins.tls.over(&options.tls),
            mapping: pins.mapping.clone(),
            log_level: pins.log_level,
            dial_timeout: pins.timeout.unwrap_or(options.dial_timeout),
            handshake_timeout: pins.timeout.unwrap_or(options.handshake_timeout),
            reason,
        }
    }

    /// What can be known without trying.
    fn check(&self) -> Result<(), AttemptError> {
        let Endpoint { host, port, handshake_version, proto_version, .. } = &self.endpoint;
        if host.is_empty() {
            return Err(AttemptError::NoHost);
        }
        if *port == 0 {
            return Err(AttemptError::NoPort);
        }
        for (version, ours) in [(handshake_version, Version::ehs()), (proto_version, Version::enp())] {
            let unsaid = version.name.is_empty() && version.release.is_empty();
            if !unsaid && !version.same_release(&ours) {
                return Err(AttemptError::UnknownVersion { version: version.clone() });
            }
        }
        Ok(())
    }
}

impl AttemptError {
    /// How far the attempt came.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Resolve { .. }
            | Self::NoAddress { .. }
            | Self::NoPort
            | Self::NoHost
            | Self::UnknownVersion { .. } => Stage::Resolve,
            Self::Dial(_) => Stage::Dial,
            Self::Tls(_) => Stage::Tls,
            Self::Handshake(HandshakeError::Protocol(error)) => stage_of(error),
            Self::Handshake(_) => Stage::Hello,
        }
    }

    /// Whether the peer closed after it had learned who dials, and had found
    /// the cookie right.
    pub(super) fn is_refused_introduction(&self) -> bool {
        let closed = |stage| matches!(stage, ehs::Stage::Accept | ehs::Stage::Introduce);
        matches!(self, Self::Handshake(HandshakeError::Protocol(ehs::HandshakeError::Closed(stage))) if closed(*stage))
    }

    /// Whether the peer may be somebody else than the node, or the node does
    /// not take us for who we are: cookie, certificate or name. A node that
    /// refuses a cookie closes without a word (`docs/wire/EHS.md` section 4),
    /// so a close counts.
    pub fn is_distrust(&self) -> bool {
        use ehs::HandshakeError as E;
        if let Self::Tls(error) = self {
            return error.is_distrust();
        }
        matches!(
            self,
            Self::Handshake(HandshakeError::Protocol(
                E::WrongDigest(_)
                    | E::WrongCertificate
                    | E::WrongName { .. }
                    | E::SameName(_)
                    | E::InvalidName(_)
                    | E::Closed(_)
            ))
        )
    }
}

impl From<HandshakeError> for AttemptError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Tls(error) => Self::Tls(error),
            other => Self::Handshake(other),
        }
    }
}

fn stage_of(error: &ehs::HandshakeError) -> Stage {
    use ehs::HandshakeError as E;
    match error {
        E::WrongMagic { stage, .. }
        | E::WrongVersion { stage, .. }
        | E::TooLong { stage, .. }
        | E::Malformed { stage, .. }
        | E::Unexpected { stage, .. }
        | E::Closed(stage)
            if matches!(stage, ehs::Stage::First | ehs::Stage::Hello) =>
        {
            Stage::Hello
        }
        E::WrongDigest(Proof::Hello | Proof::HelloReply) | E::WrongCertificate => Stage::Hello,
        _ => Stage::Introduce,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { pattern, weight } => write!(f, "route `{pattern}` weight {weight}"),
            Self::Discovery => f.write_str("discovery"),
            Self::Fallback { pattern, .. } => write!(f, "discovery, as route `{pattern}` demands"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Dial => "dial",
            Self::Tls => "tls",
            Self::Hello => "hello",
            Self::Introduce => "introduce",
        })
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "no static route matches, so the registrar is asked",
            Self::AfterRoutes => {
                "on_failure is `discover`: when all static routes have failed the registrar is asked, \
                 unless a peer failed to prove who it is"
            }
            Self::Withheld => {
                "on_failure is `fail`: static routes match, so the registrar is not asked even if all of them fail"
            }
            Self::Distrusted => {
                "the registrar was not asked although on_failure is `discover`: a peer failed to prove who it is"
            }
            Self::NoRegistrar => "this node has no registrar to ask",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(attempt) => attempt.fmt(f),
            Self::Resolve(resolve) => resolve.fmt(f),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: dial ", self.reason)?;
        write_address(f, &self.endpoint.host, self.endpoint.port)?;
        let cookie = if self.cookie.is_some() { "the route's cookie" } else { "the node's cookie" };
        if self.endpoint.tls {
            write!(f, ", TLS ({})", Dialed(&self.tls))?;
        }
        write!(f, ", {cookie}, at most {:?} + {:?}", self.dial_timeout, self.handshake_timeout)?;
        match self.check() {
            Ok(()) => Ok(()),
            Err(error) => write!(f, ": will fail: {error}"),
        }
    }
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ask {} and dial each address it gives", self.reason, self.resolver.describe())?;
        if !self.host.is_empty() {
            write!(f, ", at host {}", self.host)?;
        }
        if self.port != 0 {
            write!(f, ", at port {}", self.port)?;
        }
        write!(f, "{}", self.pins)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "to {}:", self.name)?;
        for failed in &self.failed {
            writeln!(f, "  -  {failed}")?;
        }
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "  {number}. {step}")?;
        }
        if let Some(fallback) = &self.fallback {
            writeln!(f, "  {}. {fallback}", self.steps.len() + 1)?;
        }
        write!(f, "  {}", self.discovery)
    }
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.reason)?;
        if let Some(endpoint) = &self.endpoint {
            write_address(f, &endpoint.host, endpoint.port)?;
            f.write_str(": ")?;
        }
        write!(f, "{}: {}", self.stage, self.error)
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no route to {}", self.name)?;
        for (number, attempt) in (1..).zip(&self.attempts) {
            write!(f, "; {number}. {attempt}")?;
        }
        if self.untried > 0 {
            write!(f, "; time was up with {} more to try", self.untried)?;
        }
        match self.discovery {
            Discovery::First | Discovery::AfterRoutes => Ok(()),
            discovery => write!(f, "; {discovery}"),
        }
    }
}
