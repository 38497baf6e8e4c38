//! Gateways that go away.

use postroad::network::{
    NetworkEvent, NetworkProxyRoute, NetworkRoute, Stage, TransitOptions, TransitRule, exact,
};
use postroad::{Node, Pid};

use crate::support::{builder, dead_port, node};
use crate::{answers, gateway, knows, open, stop, target};

/// A client with two ways to one target.
async fn two_ways() -> (Node, Node, Node, Node, Pid) {
    let client = node("client").await;
    let (first, second) = (gateway("first", open()).await, gateway("second", open()).await);
    let (target, echo) = target(builder("target")).await;
    for (gateway, pattern, weight) in
        [(&first, exact(target.name().as_str()), 100), (&second, "^target-".to_owned(), 50)]
    {
        knows(&client, gateway);
        knows(gateway, &target);
        let route = NetworkProxyRoute::via(gateway.name().as_str());
        client.network().add_proxy_route(&pattern, route, weight).unwrap();
    }
    (client, first, second, target, echo)
}

/// > Proxy routes have the same pattern matching and weight semantics as direct
/// > routes. You can define multiple proxy routes for the same pattern with
/// > different weights for failover.
#[tokio::test]
async fn seed_another_gateway_takes_over() {
    let (client, first, second, target, echo) = two_ways().await;
    answers(&client, echo, 1).await;
    let path = || client.network().peer(target.name().as_str()).unwrap().path;
    assert_eq!(path(), [client.name(), first.name(), target.name()]);
    let mut events = client.network().subscribe();
    first.stop().await;
    loop {
        if let NetworkEvent::Disconnected { peer, .. } = events.recv().await.unwrap()
            && peer == target.name()
        {
            break;
        }
    }
    answers(&client, echo, 2).await;
    assert_eq!(path(), [client.name(), second.name(), target.name()]);
    stop([client, second, target]).await;
}

/// > **Tries proxy routes** - If direct connection fails, attempts proxy routes
#[tokio::test]
async fn seed_a_proxy_is_tried_when_the_direct_road_has_failed() {
    let (client, first, second, target, echo) = two_ways().await;
    let dead = NetworkRoute::to("127.0.0.1", dead_port());
    client.network().add_route(&exact(target.name().as_str()), dead, 1).unwrap();
    let mut events = client.network().subscribe();
    answers(&client, echo, 1).await;
    let NetworkEvent::RouteFailed { attempt, .. } = events.recv().await.unwrap() else { panic!() };
    assert_eq!((attempt.stage, attempt.proxy), (Stage::Dial, None));
    let path = client.network().peer(target.name().as_str()).unwrap().path;
    assert_eq!(path, [client.name(), first.name(), target.name()]);
    stop([client, first, second, target]).await;
}

/// Who refuses is passed over, and what it said is told.
#[tokio::test]
async fn a_gateway_that_refuses_is_passed_over() {
    let (client, first, second, target, echo) = two_ways().await;
    let mut events = client.network().subscribe();
    first.network().drain_transit(true);
    answers(&client, echo, 1).await;
    let failed = loop {
        if let NetworkEvent::RouteFailed { attempt, .. } = events.recv().await.unwrap() {
            break attempt.to_string();
        }
    };
    assert!(failed.contains(&format!("{} refused: it takes no new tunnels", first.name())), "{failed}");
    let path = client.network().peer(target.name().as_str()).unwrap().path;
    assert_eq!(path, [client.name(), second.name(), target.name()]);
    stop([client, first, second, target]).await;
}

/// What is open is finished, nothing new is taken, until it is taken back.
#[tokio::test]
async fn a_drained_gateway_finishes_what_is_open() {
    let (client, other) = (node("client").await, node("other").await);
    let gateway = gateway("gateway", open()).await;
    let (target, echo) = target(builder("target")).await;
    knows(&gateway, &target);
    crate::through(&client, &gateway, &target);
    crate::through(&other, &gateway, &target);
    answers(&client, echo, 1).await;
    gateway.network().drain_transit(true);
    assert!(gateway.network().is_draining_transit());
    let (hop, reason) = crate::refusal(&other, target.name().as_str()).await;
    assert_eq!((hop, reason), (gateway.name(), postroad::network::TunnelRefusal::Draining));
    answers(&client, echo, 2).await;
    gateway.network().drain_transit(false);
    other.network().connect(target.name().as_str()).await.unwrap();
    stop([client, other, gateway, target]).await;
}

/// Its tunnels end with a gateway that stops, and with an end that does.
#[tokio::test]
async fn nothing_is_left_of_a_client_that_is_gone() {
    let (client, gateway, target, echo) = crate::three().await;
    answers(&client, echo, 1).await;
    client.stop().await;
    while !gateway.network().tunnels().is_empty() {
        tokio::task::yield_now().await;
    }
    stop([gateway, target]).await;
}

/// Without signs of life a tunnel over which nothing comes is closed at last, and
/// the link that it was is replaced.
#[tokio::test]
async fn an_idle_tunnel_is_closed() {
    let transit = TransitOptions::new().allow(TransitRule::new(".*", ".*").unwrap());
    let gateway = gateway("gateway", transit.idle(std::time::Duration::from_millis(200))).await;
    let quiet = |name| builder(name).keepalive(None).pool_size(1);
    let client = quiet("client").start().await.unwrap();
    let (target, echo) = target(quiet("target")).await;
    knows(&gateway, &target);
    crate::through(&client, &gateway, &target);
    let mut events = client.network().subscribe();
    answers(&client, echo, 1).await;
    let first = gateway.network().tunnels()[0].id;
    // The client opens another one in its place.
    while gateway.network().tunnels().first().is_none_or(|tunnel| tunnel.id == first) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(matches!(events.recv().await.unwrap(), NetworkEvent::Connected { .. }));
    answers(&client, echo, 2).await;
    stop([client, gateway, target]).await;
}
