//! What may be done through a tunnel, at both ends.

use postroad::network::{NetworkProxyRoute, ProxyFlags, TransitOptions, TransitRule, exact};
use postroad::{NetworkFlags, Node, Pid};

use crate::support::{builder, node};
use crate::{answers, gateway, knows, stop, target};

const NOTHING: ProxyFlags = ProxyFlags {
    link: false,
    monitor: false,
    spawn: false,
    application_start: false,
    important_delivery: false,
    encryption: false,
};

const EVERYTHING: ProxyFlags = ProxyFlags {
    link: true,
    monitor: true,
    spawn: true,
    application_start: true,
    important_delivery: true,
    encryption: false,
};

/// A client with these flags in its route, and gateways that allow these.
async fn row(client_flags: ProxyFlags, gateways: &[ProxyFlags]) -> (Vec<Node>, Node, Node, Pid) {
    let client = node("client").await;
    let (target, echo) = target(builder("target")).await;
    let mut row: Vec<Node> = Vec::new();
    for flags in gateways {
        let rule = TransitRule::new(".*", ".*").unwrap().through(".*").unwrap().operations(*flags);
        row.push(gateway("gateway", TransitOptions::new().allow(rule)).await);
    }
    let pattern = exact(target.name().as_str());
    let add = |from: &Node, to: &Node, flags| {
        knows(from, to);
        let route = NetworkProxyRoute::via(to.name().as_str()).flags(flags);
        from.network().add_proxy_route(&pattern, route, 1).unwrap();
    };
    add(&client, &row[0], client_flags);
    for pair in row.windows(2) {
        add(&pair[0], &pair[1], EVERYTHING);
    }
    knows(row.last().unwrap(), &target);
    (row, client, target, echo)
}

/// > The `Flags` control what operations the proxy allows. Maybe your gateway
/// > allows monitoring remote processes but doesn't allow spawning processes
/// > through the proxy.
#[tokio::test]
async fn seed_operations_are_those_that_all_on_the_way_allow() {
    let without = |change: fn(&mut ProxyFlags)| {
        let mut flags = EVERYTHING;
        change(&mut flags);
        flags
    };
    let first = without(|flags| flags.spawn = false);
    let second = without(|flags| flags.link = false);
    let client_flags = without(|flags| flags.important_delivery = false);
    let (gateways, client, target, echo) = row(client_flags, &[first, second]).await;
    answers(&client, echo, 1).await;
    let expected = ProxyFlags { monitor: true, application_start: true, ..NOTHING };
    let seen = [&client, &target].map(|node| node.network().peers());
    let operations = seen.iter().flatten().filter_map(|peer| peer.operations);
    assert_eq!(operations.collect::<Vec<_>>(), [expected, expected], "both ends agree");
    assert_eq!(gateways[1].network().tunnels()[0].operations, expected);
    stop(gateways.into_iter().chain([client, target])).await;
}

/// > `EnableSpawn: false, // don't allow spawning through proxy`
///
/// What is not allowed is not even announced, so an end that does not know of
/// the tunnel holds to it as well.
#[tokio::test]
async fn seed_what_is_not_allowed_is_not_announced() {
    let all = NetworkFlags::from_bits(u64::MAX);
    let (gateways, client, target, echo) = row(NOTHING, &[EVERYTHING]).await;
    answers(&client, echo, 1).await;
    let barred = [
        NetworkFlags::REMOTE_SPAWN,
        NetworkFlags::REMOTE_APPLICATION_START,
        NetworkFlags::IMPORTANT_DELIVERY,
    ];
    for (node, peer) in [(&client, &target), (&target, &client)] {
        let flags = node.network().peer(peer.name().as_str()).unwrap().flags;
        assert!(flags.allows(NetworkFlags::ENABLE) && all.allows(flags));
        assert!(barred.iter().all(|flag| !flags.allows(*flag)), "{flags:?}");
    }
    stop(gateways.into_iter().chain([client, target])).await;
}

/// A gateway that grants more than it was asked for grants nothing.
#[tokio::test]
async fn nobody_gets_more_than_was_asked_for() {
    let (gateways, client, target, echo) = row(ProxyFlags { monitor: true, ..NOTHING }, &[EVERYTHING]).await;
    answers(&client, echo, 1).await;
    let operations = target.network().peer(client.name().as_str()).unwrap().operations;
    assert_eq!(operations, Some(ProxyFlags { monitor: true, ..NOTHING }));
    stop(gateways.into_iter().chain([client, target])).await;
}

/// A direct connection is not affected by what a tunnel of others allows.
#[tokio::test]
async fn a_direct_connection_has_no_such_limits() {
    let (client, target) = (node("client").await, node("target").await);
    knows(&client, &target);
    client.network().connect(target.name().as_str()).await.unwrap();
    let peer = client.network().peer(target.name().as_str()).unwrap();
    assert_eq!((peer.operations, peer.path), (None, Vec::new()));
    stop([client, target]).await;
}
