//! A gateway: lets a client pass to a target, or to the next gateway.

use std::sync::Arc;
use std::time::Duration;

use postroad_wire::NetworkFlags;
use postroad_wire::tunnel::{Answer, MAX_PATH, Open, Operations, Refusal, Request};

use super::account::Place;
use super::carried::Tunnels;
use super::error::TunnelError;
use super::passage::Order;
use super::policy::TransitOptions;
use super::relay::{End, relay};
use super::side::Side;
use super::{Through, are_distinct, leads_on};
use crate::Atom;
use crate::network::NetworkInner;
use crate::network::complaints::Matter;
use crate::network::connect::ConnectError;
use crate::network::connection::Connection;
use crate::network::log::log;
use crate::network::plan::{Attempt, NoRoute, Step, Tunnel};
use crate::network::transport::{Address, Stream};
use crate::network::way::Way;
use crate::node::{NodeInner, node_name};

/// How much of the time that the asker waits is left to those behind us: so it
/// is the slow hop that is named, not the one before it.
const SHARE: f64 = 0.85;

/// A refusal, and whose it is.
type Refused = (Atom, Refusal);

/// What was asked for, after it was found in order.
struct Errand {
    order: Order,
    /// What it was allowed by.
    transit: Arc<TransitOptions>,
    place: Place,
    limit: Duration,
}

/// Where it goes on.
struct Onward {
    stream: Stream,
    through: Through,
}

/// Opens a tunnel for the peer of a connection; it is carried until it ends, or the
/// node stops.
pub(super) async fn carry(side: Side, from: &Arc<Connection>, open: Open) {
    let node = from.node();
    let (peer, target) = (from.peer.name, open.target);
    let mut tried = None;
    let opened = async {
        let errand = check(node, from, open).map_err(|reason| (node.name, reason))?;
        let onward = tokio::time::timeout(errand.limit, onward(node, &errand.order, &mut tried)).await;
        Ok((errand, onward.unwrap_or(Err((node.name, Refusal::TimedOut)))?))
    };
    let opened = opened.await.and_then(|(errand, Onward { stream, through })| {
        let Errand { place, transit, .. } = errand;
        let answer = Answer::Opened { operations: through.operations, path: through.path.clone() };
        let listed = Tunnels::add(node, place, [peer, next(&through, node)], through, &transit);
        Ok((listed.map_err(|reason| (node.name, reason))?, stream, answer))
    });
    let (listed, far, answer) = match opened {
        Ok(opened) => opened,
        Err((hop, reason)) => {
            if let Some(unsaid) = node.network.complaints.about((peer, Matter::Refusal)) {
                match tried {
                    // The client is not told: it is for whoever runs this gateway.
                    Some(tried) => {
                        log!(from.log, INFO, %peer, %target, %hop, %reason, %tried, unsaid, "tunnel refused");
                    }
                    None => log!(from.log, INFO, %peer, %target, %hop, %reason, unsaid, "tunnel refused"),
                }
            }
            side.reply(&Answer::Refused { hop, reason }).await;
            return;
        }
    };
    let Some(near) = side.reply(&answer).await else { return };
    let log = from.log;
    if let Some(unsaid) = node.network.complaints.about((peer, Matter::Opening)) {
        log!(log, INFO, %peer, %target, unsaid, "tunnel opened");
    }
    // By itself: a tunnel lasts, and all that was needed to open it does not.
    let gateway = node.clone();
    let carrying = async move {
        let end = relay(near, far, &listed.carried, listed.lender()).await;
        let unsaid = gateway.network.complaints.about((peer, Matter::Closing));
        // An operator's order is carried out seldom, and is to be seen.
        if let Some(unsaid) = unsaid.or(matches!(end, End::Killed).then_some(0)) {
            log!(log, INFO, %peer, %target, %end, unsaid, "tunnel closed");
        }
    };
    node.tasks.spawn_on(node.stopping.clone().run_until_cancelled_owned(carrying), &node.runtime);
}

/// The neighbour towards the target.
fn next(through: &Through, node: &NodeInner) -> Atom {
    let behind = through.path.iter().skip_while(|name| **name != node.name).nth(1);
    behind.copied().unwrap_or(node.name)
}

/// Whether what was asked for may be done at all.
fn check(node: &NodeInner, from: &Connection, open: Open) -> Result<Errand, Refusal> {
    let Open { target, hops, operations, patience, path } = open;
    let neighbour = from.peer.name;
    let network = &node.network;
    let transit = network.tunnels.transit.load_full().filter(|_| from.allows(NetworkFlags::PROXY_TRANSIT));
    let transit = transit.ok_or(Refusal::NoTransit)?;
    let client = path.first().copied().unwrap_or(neighbour);
    let place = network.tunnels.place(client, neighbour, &transit)?;
    if path.last() != Some(&neighbour) || !are_distinct(&path) {
        return Err(Refusal::ForgedPath);
    }
    if target == node.name {
        return Err(Refusal::ToItself);
    }
    if path.contains(&node.name) || path.contains(&target) {
        return Err(Refusal::Loop);
    }
    if node_name(target.as_str()).is_err() {
        return Err(Refusal::InvalidTarget);
    }
    // This node and the target belong to the path as well.
    if hops == 0 || path.len() + 2 > MAX_PATH {
        return Err(Refusal::HopsExhausted);
    }
    let allowed = transit.allowed(client, neighbour, target);
    // Encryption is between the ends, whatever the client is reached through.
    let permitted = from.permitted().with(Operations::ENCRYPTION);
    let allowed = allowed.ok_or(Refusal::NotAllowed)?.both(permitted);
    if operations.allow(Operations::ENCRYPTION) && !allowed.allow(Operations::ENCRYPTION) {
        return Err(Refusal::NoEncryption);
    }
    let limit = Duration::from_millis(patience.into()).mul_f64(SHARE).min(network.options.connect_timeout);
    let hops = hops.min(transit.max_hop);
    let order = Order { target, hops, operations: operations.both(allowed), path };
    Ok(Errand { order, place, limit, transit })
}

/// Goes on by this node's own plan; `tried` is what that came to, if it led nowhere.
async fn onward(
    node: &Arc<NodeInner>,
    order: &Order,
    tried: &mut Option<NoRoute>,
) -> Result<Onward, Refused> {
    let network = &node.network;
    let mut why = (node.name, Refusal::Unreachable);
    let mut note = |refused: Refused| {
        // What somebody has said is more than that there is no way.
        if why.1 == Refusal::Unreachable {
            why = refused;
        }
    };
    // What the target itself has said it says by whichever address it is found.
    let answered = |(hop, _): &Refused| *hop == order.target;
    let mut has_answered = false;
    if let Some(connection) = network.live(order.target).filter(|connection| connection.is_direct()) {
        match step_out(node, order, &connection, None).await {
            Ok(onward) => return Ok(onward),
            Err(refused) => {
                has_answered = answered(&refused);
                note(refused);
            }
        }
    }
    let Ok(mut plan) = network.plan(node, order.target) else { return Err(why) };
    while let Some(step) = plan.next_step() {
        let outcome = match step {
            Step::Attempt(_) if has_answered => continue,
            Step::Attempt(attempt) => match network.connect_by(node, order.target, attempt.clone()).await {
                Ok(connection) if connection.is_direct() => {
                    step_out(node, order, &connection, Some(&attempt)).await
                }
                // The plan must know: after a failed identity check the registrar is not asked.
                Err(ConnectError::NoRoute(mut no_route)) => {
                    let last = Arc::make_mut(&mut no_route).attempts.pop();
                    last.into_iter().for_each(|failed| plan.failed(attempt.clone(), failed.error));
                    Err((node.name, Refusal::Unreachable))
                }
                _ => Err((node.name, Refusal::Unreachable)),
            },
            Step::Tunnel(tunnel) => pass_on(node, order, &tunnel).await.map_err(|error| {
                let refused = refusal(node.name, &error);
                plan.tunnel_failed(tunnel, error.into());
                refused
            }),
            Step::Resolve(resolve) => {
                let answer = resolve.ask().await;
                plan.resolved(resolve, answer);
                continue;
            }
        };
        match outcome {
            Ok(onward) => return Ok(onward),
            Err(refused) => {
                has_answered |= answered(&refused);
                note(refused);
            }
        }
    }
    *tried = Some(plan.give_up());
    Err(why)
}

/// What the asker is told of a gateway further on.
fn refusal(own: Atom, error: &TunnelError) -> Refused {
    match *error {
        TunnelError::Refused { hop, reason } => (hop, reason),
        TunnelError::NoGateway(hop) => (hop, Refusal::NoTransit),
        TunnelError::Timeout { .. } => (own, Refusal::TimedOut),
        _ => (own, Refusal::Unreachable),
    }
}

/// To the next gateway, with one hop less.
async fn pass_on(node: &Arc<NodeInner>, order: &Order, tunnel: &Tunnel) -> Result<Onward, TunnelError> {
    let refuse = |reason| Err(TunnelError::Refused { hop: node.name, reason });
    if order.path.contains(&tunnel.proxy) {
        return refuse(Refusal::Loop);
    }
    if order.hops <= 1 {
        return refuse(Refusal::HopsExhausted);
    }
    let (cookie, limit) = (tunnel.cookie.clone(), tunnel.timeout);
    let proxy = node.network.connect_with_proxy(node, order.target, tunnel.proxy, cookie, limit);
    let (proxy, left) = proxy.await?;
    let next = Order {
        target: order.target,
        hops: (order.hops - 1).min(tunnel.max_hop),
        operations: order.operations.both(tunnel.flags.operations().with(Operations::ENCRYPTION)),
        path: order.path_with(node.name),
    };
    let (stream, through) = next.place(&proxy, left).await?;
    Ok(Onward { stream, through })
}

/// To the target itself, with which there is a connection.
async fn step_out(
    node: &Arc<NodeInner>,
    order: &Order,
    connection: &Arc<Connection>,
    attempt: Option<&Attempt>,
) -> Result<Onward, Refused> {
    let unreachable = (node.name, Refusal::Unreachable);
    let Order { target, operations, .. } = *order;
    let path = order.path_with(node.name);
    let limit = node.network.options.handshake_timeout;
    if !connection.peer.flags.allows(NetworkFlags::TUNNELS) {
        let address = node.network.address_of(connection, attempt).ok_or(unreachable)?;
        // Then it is the client that speaks TLS with it.
        let ends = operations.allow(Operations::ENCRYPTION);
        let address = if ends { Address { tls: None, ..address } } else { address };
        let options = &node.network.options;
        let stream = Stream::dial(&options.ground, &address, target, options.dial_timeout, |_| ()).await;
        let through = Through { path: [&path[..], &[target]].concat(), operations };
        return Ok(Onward { stream: stream.map_err(|_| unreachable)?, through });
    }
    if !connection.peer.flags.allows(NetworkFlags::PROXY_ACCEPT) || !connection.has_sides() {
        return Err((target, Refusal::NotAccepted));
    }
    let lost = |error: TunnelError| match error {
        TunnelError::Refused { hop, reason } => (hop, reason),
        TunnelError::Timeout { .. } => (node.name, Refusal::TimedOut),
        _ => unreachable,
    };
    let side = Side::open(connection, limit).await.map_err(lost)?;
    let request = Request::Arrival { operations, path: path.clone() };
    match side.ask(target, &request, limit).await.map_err(lost)? {
        (stream, Answer::Opened { operations: granted, path: whole })
            if leads_on(&whole, &path, target, target) =>
        {
            Ok(Onward { stream, through: Through { path: whole, operations: granted.both(operations) } })
        }
        (_, Answer::Refused { hop, reason }) => Err((hop, reason)),
        _ => Err(unreachable),
    }
}

impl Order {
    fn path_with(&self, own: Atom) -> Vec<Atom> {
        [&self.path[..], &[own]].concat()
    }
}

impl NetworkInner {
    /// Where a connected node without our negotiation is dialed.
    fn address_of(&self, connection: &Connection, attempt: Option<&Attempt>) -> Option<Address> {
        match (&connection.redial, attempt) {
            (Some(redial), _) => match &redial.way {
                Way::Address(address) => Some(address.clone()),
                Way::Tunnel(_) => None,
            },
            // It dialed: by a road of ours, if there is one.
            (None, Some(attempt)) => self.address(attempt).ok(),
            (None, None) => None,
        }
    }
}
