//! Several gateways in a row, and ways that never end.

use postroad::network::{
    HopAnswer, NetworkProxyRoute, Probe, ProbeOutcome, TransitOptions, TransitRule, TunnelRefusal, exact,
};
use postroad::{Atom, Node, Pid};

use crate::support::{builder, node};
use crate::{answers, gateway, knows, open, refusal, stop, target, through};

/// A client, gateways in a row, and a target that only the last one knows.
async fn row(gateways: usize) -> (Node, Vec<Node>, Node, Pid) {
    let client = node("client").await;
    let (target, echo) = target(builder("target")).await;
    let mut row: Vec<Node> = Vec::new();
    for _ in 0..gateways {
        row.push(gateway("gateway", open()).await);
    }
    for pair in row.windows(2) {
        through(&pair[0], &pair[1], &target);
    }
    knows(row.last().unwrap(), &target);
    through(&client, &row[0], &target);
    (client, row, target, echo)
}

async fn limited(client: &Node, gateway: &Node, target: &Node, hops: u8) {
    let pattern = exact(target.name().as_str());
    let route = NetworkProxyRoute::via(gateway.name().as_str()).max_hop(hops);
    client.network().replace_proxy_route(&pattern, route, 1).unwrap();
}

#[tokio::test]
async fn three_gateways_in_a_row() {
    let (client, gateways, target, echo) = row(3).await;
    answers(&client, echo, 1).await;
    let path = client.network().peer(target.name().as_str()).unwrap().path;
    let names = gateways.iter().map(Node::name);
    let expected: Vec<Atom> =
        std::iter::once(client.name()).chain(names).chain(std::iter::once(target.name())).collect();
    assert_eq!(path, expected);
    assert_eq!(target.network().peer(client.name().as_str()).unwrap().path, expected);
    for gateway in &gateways {
        let tunnel = &gateway.network().tunnels()[0];
        assert_eq!((&tunnel.path, tunnel.client), (&expected, client.name()));
    }
    stop(gateways.into_iter().chain([client, target])).await;
}

/// > `MaxHop` limits proxy chaining. Each proxy hop decrements the counter. When
/// > it reaches zero, the framework refuses to proxy further.
#[tokio::test]
async fn seed_max_hop_is_counted_down_and_the_hop_is_named() {
    let (client, gateways, target, echo) = row(3).await;
    let name = target.name().as_str();
    for (hops, at) in [(1, 0), (2, 1)] {
        limited(&client, &gateways[0], &target, hops).await;
        assert_eq!(refusal(&client, name).await, (gateways[at].name(), TunnelRefusal::HopsExhausted));
    }
    limited(&client, &gateways[0], &target, 3).await;
    client.network().connect(name).await.unwrap();
    answers(&client, echo, 1).await;
    stop(gateways.into_iter().chain([client, target])).await;
}

/// Each gateway has a maximum of its own: 255 hops are not granted to anybody.
#[tokio::test]
async fn a_gateway_takes_no_more_hops_than_its_own_maximum() {
    let (client, target) = (node("client").await, node("target").await);
    let transit = |hops| open().max_hop(hops);
    let (first, second) = (gateway("first", transit(1)).await, gateway("second", transit(8)).await);
    through(&client, &first, &target);
    through(&first, &second, &target);
    knows(&second, &target);
    limited(&client, &first, &target, 255).await;
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (first.name(), TunnelRefusal::HopsExhausted));
    stop([client, first, second, target]).await;
}

/// Each believes that the way leads through the other.
#[tokio::test]
async fn a_loop_of_gateways_is_refused() {
    let (client, target) = (node("client").await, node("target").await);
    let (first, second) = (gateway("first", open()).await, gateway("second", open()).await);
    through(&client, &first, &target);
    through(&first, &second, &target);
    through(&second, &first, &target);
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (second.name(), TunnelRefusal::Loop));
    stop([client, first, second, target]).await;
}

/// Two proxies that are each reached through the other: nothing waits for ever.
#[tokio::test]
async fn proxies_that_are_reached_through_each_other_are_told_apart() {
    let (client, target) = (node("client").await, node("target").await);
    let (first, second) = (gateway("first", open()).await, gateway("second", open()).await);
    let network = client.network();
    let add = |to: &Node, proxy: &Node| {
        let route = NetworkProxyRoute::via(proxy.name().as_str());
        network.add_proxy_route(&exact(to.name().as_str()), route, 1).unwrap();
    };
    add(&target, &first);
    add(&first, &second);
    add(&second, &first);
    let error = network.connect(target.name().as_str()).await.unwrap_err().to_string();
    assert!(error.contains("proxy routes form a circle"), "{error}");
    stop([client, first, second, target]).await;
}

/// Who the client is, another gateway says: that takes a rule.
#[tokio::test]
async fn clients_of_other_gateways_need_a_rule() {
    let (client, target) = (node("client").await, node("target").await);
    let rule = TransitRule::new(".*", ".*").unwrap();
    let first = gateway("first", open()).await;
    let second = gateway("second", TransitOptions::new().allow(rule)).await;
    through(&client, &first, &target);
    through(&first, &second, &target);
    knows(&second, &target);
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (second.name(), TunnelRefusal::NotAllowed));
    stop([client, first, second, target]).await;
}

/// A gateway that is itself behind another one: a tunnel to it, and one more
/// through that.
#[tokio::test]
async fn a_gateway_may_be_reached_through_another_one() {
    let client = node("client").await;
    let (outer, inner) = (gateway("outer", open()).await, gateway("inner", open()).await);
    let (target, echo) = target(builder("target")).await;
    through(&client, &outer, &inner);
    knows(&outer, &inner);
    let route = NetworkProxyRoute::via(inner.name().as_str());
    client.network().add_proxy_route(&exact(target.name().as_str()), route, 1).unwrap();
    knows(&inner, &target);
    answers(&client, echo, 1).await;
    let path = client.network().peer(target.name().as_str()).unwrap().path;
    assert_eq!(path, [client.name(), inner.name(), target.name()]);
    let peer = client.network().peer(inner.name().as_str()).unwrap();
    assert_eq!(peer.path, [client.name(), outer.name(), inner.name()]);
    stop([client, outer, inner, target]).await;
}

/// What each gateway on the only way answers, and why it ends, if it does.
async fn walked(client: &Node, target: &Node) -> (Vec<(Atom, HopAnswer)>, Option<String>) {
    let probes = client.network().probe(target.name().as_str()).await.unwrap();
    let [Probe { hops, outcome, .. }] = &probes[..] else { panic!("{probes:?}") };
    let hops = hops.iter().map(|hop| (hop.node, hop.answer)).collect();
    match outcome {
        ProbeOutcome::Failed { error, .. } => (hops, Some(error.to_string())),
        _ => (hops, None),
    }
}

#[tokio::test]
async fn a_probe_walks_from_gateway_to_gateway() {
    use HopAnswer::{LeadsThere, PassesOn, Refuses};
    let (client, gateways, target, _) = row(3).await;
    let [first, second, third] = [0, 1, 2].map(|at| gateways[at].name());
    let whole = vec![(first, PassesOn), (second, PassesOn), (third, LeadsThere)];
    assert_eq!(walked(&client, &target).await, (whole, None));
    limited(&client, &gateways[0], &target, 2).await;
    let (hops, end) = walked(&client, &target).await;
    assert_eq!(hops, [(first, PassesOn), (second, Refuses)]);
    assert!(end.unwrap().contains(&format!("{second} refused: the hop budget is used up")));
    limited(&client, &gateways[0], &target, 8).await;
    gateways[1].network().set_transit(Some(open().max_hop(1)));
    assert_eq!(walked(&client, &target).await.0, [(first, PassesOn), (second, Refuses)]);
    gateways[1].network().set_transit(Some(open()));
    gateways[2].network().set_transit(Some(TransitOptions::new()));
    let (hops, end) = walked(&client, &target).await;
    assert_eq!(hops, [(first, PassesOn), (second, PassesOn), (third, Refuses)]);
    assert!(end.unwrap().contains(&format!("{third} refused: not allowed")));
    stop(gateways.into_iter().chain([client, target])).await;
}
