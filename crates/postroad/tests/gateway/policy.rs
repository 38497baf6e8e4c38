//! Who may pass.

use std::time::{Duration, Instant};

use postroad::NetworkFlags;
use postroad::network::{AttemptError, TransitOptions, TransitRule, TunnelError, TunnelRefusal};

use crate::support::{builder, node};
use crate::trust::behind;
use crate::{answers, gateway, knows, refusal, refused, stop, target, through};

fn rule(from: &str, to: &str) -> TransitRule {
    TransitRule::new(from, to).unwrap()
}

#[tokio::test]
async fn a_node_is_no_gateway_unless_told_to() {
    let (client, other) = (node("client").await, node("other").await);
    let (target, _) = target(builder("target")).await;
    through(&client, &other, &target);
    let name = target.name().as_str();
    assert_eq!(refusal(&client, name).await, (other.name(), TunnelRefusal::NoTransit));
    // As Ergo's nodes: there is nobody to ask.
    let ignorant = behind("ignorant", NetworkFlags::NONE).start().await.unwrap();
    through(&client, &ignorant, &target);
    let attempt = refused(&client, name).await;
    assert!(matches!(attempt.error, AttemptError::Tunnel(TunnelError::NoGateway(_))), "{attempt}");
    stop([client, other, ignorant, target]).await;
}

/// Who may go where is a matter of rules, and without any nobody may.
#[tokio::test]
async fn rules_say_who_may_go_where() {
    let (client, other) = (node("client").await, node("other").await);
    let (target, echo) = target(builder("target")).await;
    let without = gateway("without", TransitOptions::new()).await;
    knows(&without, &target);
    through(&client, &without, &target);
    let name = target.name().as_str();
    assert_eq!(refusal(&client, name).await, (without.name(), TunnelRefusal::NotAllowed));
    let transit = TransitOptions::new().allow(rule("client-.*", "target-.*"));
    let gateway = gateway("gateway", transit).await;
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    through(&other, &gateway, &target);
    answers(&client, echo, 1).await;
    assert_eq!(refusal(&other, name).await, (gateway.name(), TunnelRefusal::NotAllowed));
    let rules = gateway.network().info().transit_rules;
    assert!(rules[0].starts_with("from `client-.*` to `target-.*`, for messages, link"), "{rules:?}");
    stop([client, other, without, gateway, target]).await;
}

/// A target that does not want such guests is asked, and says so.
#[tokio::test]
async fn a_target_may_accept_no_tunnels() {
    let client = node("client").await;
    let gateway = gateway("gateway", TransitOptions::new().allow(rule(".*", ".*"))).await;
    let (target, _) = target(builder("target").accept_tunnels(false)).await;
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (target.name(), TunnelRefusal::NotAccepted));
    stop([client, gateway, target]).await;
}

/// So many tunnels: further links are not there, the connection is.
#[tokio::test]
async fn a_client_has_so_many_tunnels_at_most() {
    let client = node("client").await;
    let transit = TransitOptions::new().allow(rule(".*", ".*")).max_tunnels_per_client(1);
    let gateway = gateway("gateway", transit).await;
    let ((one, echo), (two, _)) = (target(builder("one")).await, target(builder("two")).await);
    for target in [&one, &two] {
        knows(&gateway, target);
        through(&client, &gateway, target);
    }
    answers(&client, echo, 1).await;
    let refused = refusal(&client, two.name().as_str()).await;
    assert_eq!(refused, (gateway.name(), TunnelRefusal::TooManyTunnels));
    assert_eq!(gateway.network().tunnels().len(), 1);
    answers(&client, echo, 2).await;
    stop([client, gateway, one, two]).await;
}

/// Those who come by way of another gateway have so many each, and not all together.
#[tokio::test]
async fn clients_of_another_gateway_are_told_apart() {
    let rule = || rule(".*", ".*").through("outer-.*").unwrap();
    let outer = gateway("outer", TransitOptions::new().allow(rule())).await;
    let transit = TransitOptions::new().allow(rule()).max_tunnels_per_client(1).clients_per_gateway(2);
    let inner = gateway("inner", transit).await;
    let ((one, echo), (two, _)) = (target(builder("one")).await, target(builder("two")).await);
    let alone = |name| builder(name).pool_size(1);
    let mut clients = Vec::new();
    for name in ["first", "second", "third"] {
        clients.push(alone(name).start().await.unwrap());
    }
    for target in [&one, &two] {
        knows(&inner, target);
        through(&outer, &inner, target);
        clients.iter().for_each(|client| drop(through(client, &outer, target)));
    }
    let too_many = (inner.name(), TunnelRefusal::TooManyTunnels);
    answers(&clients[0], echo, 1).await;
    assert_eq!(refusal(&clients[0], two.name().as_str()).await, too_many, "its own limit");
    answers(&clients[1], echo, 2).await;
    assert_eq!(refusal(&clients[2], one.name().as_str()).await, too_many, "that of the gateway");
    let carried = inner.network().tunnels();
    assert_eq!(
        carried.iter().map(|tunnel| tunnel.client).collect::<Vec<_>>(),
        [clients[0].name(), clients[1].name()]
    );
    stop(clients.into_iter().chain([outer, inner, one, two])).await;
}

#[tokio::test]
async fn a_client_is_not_faster_than_it_may_be() {
    let client = node("client").await;
    let transit = TransitOptions::new().allow(rule(".*", ".*")).bytes_per_second(400_000);
    let gateway = gateway("gateway", transit).await;
    let (target, echo) = target(builder("target")).await;
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    answers(&client, echo, 1).await;
    let begun = Instant::now();
    let large = vec![7u8; 400_000];
    // There and back: twice as much, of which a second's worth may pass at once.
    assert_eq!(client.call::<Vec<u8>>(echo, large.clone()).await.unwrap(), large);
    assert!(begun.elapsed() > Duration::from_millis(600), "{:?}", begun.elapsed());
    stop([client, gateway, target]).await;
}

/// An unknown node: the gateway has no way to it either.
#[tokio::test]
async fn the_reason_of_a_dead_end_is_told() {
    let client = node("client").await;
    let gateway = gateway("gateway", TransitOptions::new().allow(rule(".*", ".*"))).await;
    knows(&client, &gateway);
    let absent = "absent@localhost";
    let route = postroad::network::NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(absent, route, 1).unwrap();
    let attempt = refused(&client, absent).await;
    assert!(
        matches!(&attempt.error, postroad::network::AttemptError::Tunnel(TunnelError::Refused { hop, reason })
            if *hop == gateway.name() && *reason == TunnelRefusal::Unreachable),
        "{attempt}"
    );
    stop([client, gateway]).await;
}

/// Who is connected with a node that becomes a gateway need not connect anew.
#[tokio::test]
async fn a_node_that_becomes_a_gateway_is_one_for_its_peers_too() {
    let (client, gateway) = (node("client").await, node("gateway").await);
    let barred = behind("barred", NetworkFlags::ENABLE).start().await.unwrap();
    let (target, echo) = target(builder("target")).await;
    let name = target.name().as_str();
    for gateway in [&gateway, &barred] {
        knows(gateway, &target);
        through(&client, gateway, &target);
        assert_eq!(refusal(&client, name).await, (gateway.name(), TunnelRefusal::NoTransit));
        gateway.network().set_transit(Some(TransitOptions::new().allow(rule(".*", ".*"))));
    }
    assert_eq!(
        refusal(&client, name).await,
        (barred.name(), TunnelRefusal::NoTransit),
        "a door that bars passing does so for good"
    );
    let connected = || client.network().peer(gateway.name().as_str()).unwrap().connected;
    let before = connected();
    through(&client, &gateway, &target);
    answers(&client, echo, 1).await;
    assert!(connected() > before, "over the same connection");
    stop([client, gateway, barred, target]).await;
}

/// Rules change for those who come; those who are there stay.
#[tokio::test]
async fn rules_change_while_tunnels_are_open() {
    let client = node("client").await;
    let transit = TransitOptions::new().allow(rule("client-.*", "one-.*"));
    let gateway = gateway("gateway", transit).await;
    let ((one, echo), (two, other)) = (target(builder("one")).await, target(builder("two")).await);
    for target in [&one, &two] {
        knows(&gateway, target);
        through(&client, &gateway, target);
    }
    let network = gateway.network();
    let (one_name, two_name) = (one.name().as_str(), two.name().as_str());
    let not_allowed = (gateway.name(), TunnelRefusal::NotAllowed);
    answers(&client, echo, 1).await;
    assert_eq!(refusal(&client, two_name).await, not_allowed);

    let limited = TransitOptions::new().allow(rule("client-.*", "two-.*")).bytes_per_second(400_000);
    network.set_transit(Some(limited));
    client.network().connect(two_name).await.unwrap();
    answers(&client, other, 1).await;
    assert!(network.tunnels().iter().any(|tunnel| tunnel.target == one.name()));
    let begun = Instant::now();
    let large = vec![7u8; 400_000];
    assert_eq!(client.call::<Vec<u8>>(echo, large.clone()).await.unwrap(), large);
    assert!(begun.elapsed() > Duration::from_millis(600), "the new limit holds for tunnels that are open");

    network.set_transit(None);
    answers(&client, echo, 2).await;
    answers(&client, other, 2).await;
    client.network().disconnect(one_name).await;
    assert_eq!(refusal(&client, one_name).await, (gateway.name(), TunnelRefusal::NoTransit));
    stop([client, gateway, one, two]).await;
}
