//! Connections through gateways: real sockets, several nodes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod discovery;
mod encryption;
mod failover;
mod first_words;
mod hops;
mod liar;
mod limits;
mod operations;
mod passing;
mod policy;
mod summons;
#[path = "../support/mod.rs"]
mod support;
mod tap;
mod trust;

use std::time::Duration;

use postroad::network::{
    AcceptorOptions, AttemptError, ConnectError, FailedAttempt, NetworkProxyRoute, NetworkRoute,
    TransitOptions, TransitRule, TunnelError, TunnelRefusal, exact,
};
use postroad::{Atom, Node, NodeBuilder, Pid};

use self::support::{Echo, builder, node, port};

/// A cookie that only gateways and those beyond them know.
const INNER: &str = "the cookie of the private network";

/// Anybody may go anywhere, from gateways too.
fn open() -> TransitOptions {
    TransitOptions::new().allow(TransitRule::new(".*", ".*").unwrap().through(".*").unwrap())
}

async fn gateway(name: &str, transit: TransitOptions) -> Node {
    builder(name).transit(transit).start().await.unwrap()
}

/// A node that is reached by nobody who has no route to it, with an echo.
async fn target(builder: NodeBuilder) -> (Node, Pid) {
    let node = builder.start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    (node, echo)
}

/// `from` knows where `to` is.
fn knows(from: &Node, to: &Node) {
    let route = NetworkRoute::to("127.0.0.1", port(to));
    let _ = from.network().remove_route(&exact(to.name().as_str()));
    from.network().add_route(&exact(to.name().as_str()), route, 1).unwrap();
}

/// `from` goes through `gateway` to reach `to`.
fn through(from: &Node, gateway: &Node, to: &Node) -> NetworkProxyRoute {
    knows(from, gateway);
    let _ = from.network().remove_proxy_route(&exact(to.name().as_str()));
    via(from, gateway, to, NetworkProxyRoute::via(gateway.name().as_str()))
}

fn via(from: &Node, gateway: &Node, to: &Node, route: NetworkProxyRoute) -> NetworkProxyRoute {
    assert!(route.to_string().contains(gateway.name().as_str()));
    from.network().add_proxy_route(&exact(to.name().as_str()), route.clone(), 1).unwrap();
    route
}

/// A client, a gateway and a target beyond it.
async fn three() -> (Node, Node, Node, Pid) {
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let (target, echo) = target(builder("target")).await;
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    (client, gateway, target, echo)
}

/// An echo there answers.
async fn answers(from: &Node, echo: Pid, number: i64) {
    assert_eq!(from.call::<i64>(echo, number).await.unwrap(), number);
}

/// How the only attempt to connect failed.
async fn refused(from: &Node, to: &str) -> FailedAttempt {
    let error = from.network().connect(to).await.unwrap_err();
    let ConnectError::NoRoute(no_route) = &error else { panic!("{error}") };
    let [attempt] = &no_route.attempts[..] else { panic!("{error}") };
    attempt.clone()
}

/// By whom a tunnel was refused, and why.
async fn refusal(from: &Node, to: &str) -> (Atom, TunnelRefusal) {
    match refused(from, to).await.error {
        AttemptError::Tunnel(TunnelError::Refused { hop, reason }) => (hop, reason),
        error => panic!("{error}"),
    }
}

/// Waits until a gateway carries nothing any more.
async fn has_ended(gateway: &Node) {
    let ended = async {
        while !gateway.network().tunnels().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the tunnels end");
}

async fn stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.stop().await;
    }
}

fn inner_door() -> AcceptorOptions {
    AcceptorOptions::bind("127.0.0.1", 0).cookie(INNER)
}
