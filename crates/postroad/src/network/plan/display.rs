//! Plans and failures, for people.

use std::fmt;
use std::time::Duration;

use postroad_wire::Version;

use super::step::Wanted;
use super::{
    Attempt, Discovery, FailedAttempt, NoRoute, Plan, ProxyOrder, Reason, Resolve, Stage, Step, Tunnel,
};
use crate::network::route::write_address;
use crate::registrar::Endpoint;
use crate::tls::Dialed;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { pattern, weight } => write!(f, "route `{pattern}` weight {weight}"),
            Self::HandedOut { pattern, weight } => {
                write!(f, "route of the registrar `{pattern}` weight {weight}")
            }
            Self::ProxyRoute { pattern, weight } => write!(f, "proxy route `{pattern}` weight {weight}"),
            Self::Discovery => f.write_str("discovery"),
            Self::Fallback { pattern, .. } => write!(f, "discovery, as route `{pattern}` demands"),
            Self::Given => f.write_str("the given route"),
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
            Self::Tunnel => "tunnel",
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
            Self::RouteGiven => "this route was given; no other one is tried",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(attempt) => attempt.fmt(f),
            Self::Tunnel(tunnel) => tunnel.fmt(f),
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
        write!(f, "{}", Unusual(&self.endpoint))?;
        write!(f, ", {cookie}, at most {:?} + {:?}", self.dial_timeout, self.handshake_timeout)?;
        match self.check() {
            Ok(()) => Ok(()),
            Err(error) => write!(f, ": will fail: {error}"),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxy, cookie, max_hop, flags, timeout, reason, ends } = self;
        write!(f, "{reason}: through {proxy}, ")?;
        let cookie = if cookie.is_some() { "the route's cookie" } else { "the node's cookie" };
        write!(f, "{cookie}, {max_hop} hops at most, for {flags}, at most {timeout:?}")?;
        let cookie = if ends.cookie.is_some() { "its route's cookie" } else { "the node's cookie" };
        write!(f, "; to the target {cookie}")?;
        if ends.endpoint.tls {
            write!(f, ", TLS ({})", Dialed(&ends.tls))?;
        }
        write!(f, "{}, at most {:?}", Unusual(&ends.endpoint), ends.handshake_timeout)
    }
}

/// What is spoken to an address, as far as it is not what all nodes speak.
struct Unusual<'a>(&'a Endpoint);

impl fmt::Display for Unusual<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { handshake_version, proto_version, .. } = self.0;
        let said =
            |version: &Version, usual: &Version| !version.name.is_empty() && !version.same_release(usual);
        if said(handshake_version, &Version::ehs()) {
            write!(f, ", handshake {handshake_version}")?;
        }
        if said(proto_version, &Version::enp()) {
            write!(f, ", protocol {proto_version}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ask {}", self.reason, self.resolver.describe())?;
        match &self.wanted {
            Wanted::Addresses { host, port, pins } => {
                f.write_str(" and dial each address it gives")?;
                if !host.is_empty() {
                    write!(f, ", at host {host}")?;
                }
                if *port != 0 {
                    write!(f, ", at port {port}")?;
                }
                write!(f, "{pins}")
            }
            Wanted::Proxies(route) => {
                write!(f, " for proxies and go through each{}", route.demands())
            }
        }
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
        if let Some(pause) = self.pause {
            let (age, left) = (rounded(pause.age), rounded(pause.left));
            writeln!(f, "  this failed {age:?} ago; for another {left:?} senders are told so at once")?;
        }
        if let Some(order) = self.proxy_order {
            writeln!(f, "  {}", reading(order))?;
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
        if let Some(proxy) = self.proxy {
            write!(f, "through {proxy}: ")?;
        }
        write!(f, "{}: {}", self.stage, self.error)
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no route to {}", self.name)?;
        if !self.age.is_zero() {
            write!(f, " (tried {:?} ago, not tried again yet)", rounded(self.age))?;
        }
        for (number, attempt) in (1..).zip(&self.attempts) {
            write!(f, "; {number}. {attempt}")?;
        }
        if self.untried > 0 {
            write!(f, "; time was up with {} more to try", self.untried)?;
        }
        match self.discovery {
            Discovery::First | Discovery::AfterRoutes | Discovery::RouteGiven => Ok(()),
            discovery => write!(f, "; {discovery}"),
        }
    }
}

/// What a proxy order means for a plan in which a static proxy route matches.
fn reading(order: ProxyOrder) -> &'static str {
    match order {
        ProxyOrder::BeforeDiscovery => {
            "proxy_order is `before-discovery`: static proxy routes come before what the registrar knows"
        }
        ProxyOrder::AfterDiscovery => {
            "proxy_order is `after-discovery`: static proxy routes come after the addresses that the registrar knows"
        }
    }
}

/// To milliseconds.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1))
}
