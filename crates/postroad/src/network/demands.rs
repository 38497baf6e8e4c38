//! What static routes demand of nodes that come in by themselves.
//!
//! A route says how its nodes are reached, and what they must show: TLS, a
//! cookie, a certificate. Messages to a node take whatever connection there is,
//! also one that the node has made. So it must have shown as much there. Where
//! only proxy routes lead, what they demand of the two ends holds in the same way.

use std::fmt;

use postroad_wire::Cookie;

use super::NetworkInner;
use super::route::Pins;
use super::tables::heeded;
use crate::Atom;
use crate::tls::{Answering, TlsOptions};

/// What somebody who came in has shown.
pub(super) struct Shown<'a> {
    pub(super) tls: bool,
    pub(super) cookie: &'a Cookie,
    /// Whether that is one of the acceptor's own, and not that of the node.
    pub(super) own_cookie: bool,
    /// Who checked its certificate, if there was one.
    pub(super) checked_by: Option<&'a Answering>,
}

/// What a route demands and somebody has not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demand {
    /// The route demands TLS.
    Tls,
    /// The route has a cookie of its own; the acceptor has the node's.
    Cookie,
    /// The route says how certificates are checked.
    Certificate,
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Cookie => "a cookie of its own",
            Self::Certificate => {
                "a certificate that is checked as the route says, or for the name of the node"
            }
        })
    }
}

impl NetworkInner {
    /// What the first static route to that node demands and was not shown, or
    /// the first proxy route if there is no other; nothing if as much was shown
    /// as one of them demands: this node would go any of them.
    pub(super) fn demanded(&self, own: Atom, peer: Atom, shown: &Shown<'_>) -> Option<(Box<str>, Demand)> {
        let (routes, proxies) = self.tables.lookup(peer);
        let routes = heeded(own, peer, &routes, &proxies);
        let mut lacking = None;
        for entry in routes.iter() {
            let demand = shown.lacks(&entry.route().pins, &self.options.tls)?;
            lacking.get_or_insert_with(|| (entry.pattern().into(), demand));
        }
        if !routes.is_empty() || shown.tls {
            return lacking;
        }
        let mut leading = proxies.iter().filter(|entry| entry.route().leads(own, peer)).peekable();
        let first = leading.peek()?.pattern().into();
        leading.all(|entry| entry.route().flags.encryption).then_some((first, Demand::Tls))
    }
}

impl Shown<'_> {
    fn lacks(&self, pins: &Pins, node: &TlsOptions) -> Option<Demand> {
        if pins.tls.demand_tls() && !self.tls {
            return Some(Demand::Tls);
        }
        if pins.cookie.as_ref().is_some_and(|cookie| cookie != self.cookie) && !self.own_cookie {
            return Some(Demand::Cookie);
        }
        let asked = pins.tls.over(node);
        let checks = pins.tls.trust.is_some() || pins.tls.verify.is_some();
        let skips = asked.insecure_skip_verify == Some(true);
        let is_checked = self.checked_by.is_some_and(|answering| answering.checks_as_well_as(&asked));
        (checks && !skips && !is_checked).then_some(Demand::Certificate)
    }
}
