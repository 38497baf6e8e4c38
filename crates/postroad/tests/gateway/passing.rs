//! What passes through a gateway, and what is known of it.

use std::time::Duration;

use postroad::network::{HopAnswer, NetworkMode, NetworkProxyRoute, NetworkRoute, ProbeOutcome, exact};
use postroad::tls::TlsOptions;
use postroad::{Atom, NetworkFlags, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::liar::{Client, tunnel};
use crate::support::authority::Authority;
use crate::support::{COOKIE, Echo, builder, next, node, probe, unique};
use crate::tap::{Tap, room};
use crate::{INNER, answers, gateway, has_ended, inner_door, knows, open, stop, target, three, through, via};

/// > When the framework needs to connect to `backend-db@internal.local`, it
/// > establishes a connection to `gateway@dmz.example.com` first, then asks the
/// > gateway to proxy the connection to the final destination.
#[tokio::test]
async fn seed_a_gateway_is_connected_first_and_asked_for_the_target() {
    let (client, gateway, target, echo) = three().await;
    answers(&client, echo, 7).await;
    assert!(client.network().peer(gateway.name().as_str()).is_some());
    let peer = client.network().peer(target.name().as_str()).unwrap();
    let path = vec![client.name(), gateway.name(), target.name()];
    assert_eq!((&peer.path, peer.road.unwrap().path.clone()), (&path, path.clone()));
    let seen = target.network().peer(client.name().as_str()).unwrap();
    assert_eq!(seen.path, path, "the target sees who comes, and through whom");
    assert_eq!(seen.operations, peer.operations);
    stop([client, gateway, target]).await;
}

/// > The gateway handles forwarding messages between you and the backend node.
#[tokio::test]
async fn seed_messages_go_both_ways_in_order() {
    let (client, gateway, target, echo) = three().await;
    let (pid, mut inbox) = probe(&client).await;
    let (far, mut far_inbox) = probe(&target).await;
    for number in 0..1000i64 {
        client.send(far, number).await.unwrap();
    }
    for number in 0..1000 {
        assert_eq!(next::<i64>(&mut far_inbox).await, number);
    }
    target.send(pid, "back".to_owned()).await.unwrap();
    assert_eq!(next::<String>(&mut inbox).await, "back");
    let large = vec![7u8; 3 << 20];
    assert_eq!(client.call::<Vec<u8>>(echo, large.clone()).await.unwrap(), large);
    stop([client, gateway, target]).await;
}

/// The gateway is no end of the connection: it needs no cookie of the target's
/// clients, and the target's pool is filled through it.
#[tokio::test]
async fn each_link_is_a_tunnel_that_is_listed_and_counted() {
    let (client, gateway, target, echo) = three().await;
    answers(&client, echo, 1).await;
    let name = target.name().as_str();
    while client.network().peer(name).unwrap().links < 3 {
        tokio::task::yield_now().await;
    }
    let tunnels = gateway.network().tunnels();
    assert_eq!(tunnels.len(), 3);
    for tunnel in &tunnels {
        assert_eq!((tunnel.client, tunnel.target), (client.name(), target.name()));
        assert!(tunnel.bytes_to_target > 0 && tunnel.bytes_to_client > 0, "{tunnel:?}");
    }
    let [to_target, to_client] = [
        tunnels.iter().map(|tunnel| tunnel.bytes_to_target).sum::<u64>(),
        tunnels.iter().map(|tunnel| tunnel.bytes_to_client).sum::<u64>(),
    ];
    let info = gateway.network().info();
    assert_eq!(info.tunnels.len(), 3);
    let of = |node: &Node| gateway.network().peer(node.name().as_str()).unwrap();
    let (near, far) = (of(&client), of(&target));
    assert!(near.transit_in >= to_target && near.transit_out >= to_client);
    assert_eq!((near.transit_in, near.transit_out), (far.transit_out, far.transit_in));
    stop([client, gateway, target]).await;
}

/// What is closed at the gateway comes back by another tunnel, and nothing that
/// waited is lost.
#[tokio::test]
async fn a_closed_tunnel_is_replaced() {
    let (client, gateway, target, echo) = three().await;
    answers(&client, echo, 1).await;
    let network = gateway.network();
    let old = network.tunnels()[0].id;
    assert!(network.close_tunnel(old));
    while network.tunnels().iter().any(|tunnel| tunnel.id == old) || network.tunnels().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(!network.close_tunnel(old));
    for number in 0..30 {
        answers(&client, echo, number).await;
    }
    assert!(client.network().peer(target.name().as_str()).is_some());
    stop([client, gateway, target]).await;
}

/// A connection that the gateway had made serves as well as one of the client's.
#[tokio::test]
async fn a_client_that_was_dialed_by_the_gateway_summons_it() {
    let (client, gateway, target, echo) = three().await;
    client.network().remove_route(&exact(gateway.name().as_str())).unwrap();
    knows(&gateway, &client);
    let mut arrival = client.network().subscribe();
    gateway.network().connect(client.name().as_str()).await.unwrap();
    arrival.recv().await.unwrap();
    answers(&client, echo, 3).await;
    assert!(!client.network().peer(gateway.name().as_str()).unwrap().dialed);
    stop([client, gateway, target]).await;
}

/// A target behind NAT listens nowhere: it is connected with the gateway, which
/// asks it to dial back.
#[tokio::test]
async fn a_target_without_a_port_is_reached_by_dial_back() {
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let hidden = Node::builder(unique("hidden")).cookie(COOKIE).network(NetworkMode::Hidden);
    let hidden = hidden.without_registrar().start().await.unwrap();
    let echo = hidden.spawn::<Echo>(()).await.unwrap();
    assert!(hidden.network().acceptors().is_empty());
    knows(&hidden, &gateway);
    let mut arrival = gateway.network().subscribe();
    hidden.network().connect(gateway.name().as_str()).await.unwrap();
    arrival.recv().await.unwrap();
    through(&client, &gateway, &hidden);
    answers(&client, echo, 5).await;
    while client.network().peer(hidden.name().as_str()).unwrap().links < 3 {
        tokio::task::yield_now().await;
    }
    stop([client, gateway, hidden]).await;
}

/// > `Cookie: "gateway-specific-cookie", // authenticate to gateway`
///
/// And the two ends have one of their own, which the gateway does not know.
#[tokio::test]
async fn seed_the_cookie_of_the_proxy_route_is_for_the_gateway() {
    let gateway_cookie = "gateway-specific-cookie";
    let gateway = builder("gateway").cookie(INNER).transit(open());
    let gateway = gateway.acceptor(inner_door().cookie(gateway_cookie)).start().await.unwrap();
    let (target, echo) = target(builder("target").acceptor(inner_door())).await;
    let gateway_door = gateway.network().acceptors()[1].address.port();
    let target_door = target.network().acceptors()[1].address.port();
    let to_target = NetworkRoute::to("127.0.0.1", target_door);
    gateway.network().add_route(&exact(target.name().as_str()), to_target, 1).unwrap();

    let client = builder("client").cookie("something else").start().await.unwrap();
    let network = client.network();
    let to_gateway = NetworkRoute::to("127.0.0.1", gateway_door);
    network.add_route(&exact(gateway.name().as_str()), to_gateway, 1).unwrap();
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    via(&client, &gateway, &target, route.clone());
    let error = network.connect(target.name().as_str()).await.unwrap_err().to_string();
    assert!(
        error.contains("there is no connection with the proxy") && error.contains("cookies differ"),
        "{error}"
    );

    let pattern = exact(target.name().as_str());
    network.replace_proxy_route(&pattern, route.cookie(gateway_cookie), 1).unwrap();
    let error = network.connect(target.name().as_str()).await.unwrap_err().to_string();
    assert!(error.contains("hello"), "the gateway lets pass, the target does not: {error}");

    // A static route to the target says by what it is known, although nobody can dial it.
    let unreachable = NetworkRoute::to("127.0.0.1", crate::support::dead_port()).cookie(INNER);
    network.add_route(&pattern, unreachable, 1).unwrap();
    network.connect(target.name().as_str()).await.unwrap();
    answers(&client, echo, 9).await;
    stop([client, gateway, target]).await;
}

/// What a node that is asked to explain says, and one that walks there.
#[tokio::test]
async fn the_way_is_explained_and_probed() {
    let (client, gateway, target, _) = three().await;
    let name = target.name().as_str();
    let plan = client.network().explain(name).await.unwrap().to_string();
    assert!(plan.contains(&format!("through {}", gateway.name())), "{plan}");
    let probe = &client.network().probe(name).await.unwrap()[0];
    let stages: Vec<_> = probe.stages.iter().map(|(stage, _)| stage.to_string()).collect();
    assert_eq!(stages, ["tunnel", "hello", "introduce"]);
    let [to_gateway] = &probe.to_proxy[..] else { panic!("{probe:?}") };
    assert!(matches!(to_gateway.outcome, ProbeOutcome::Reached { .. }), "{to_gateway:?}");
    let [hop] = &probe.hops[..] else { panic!("{probe:?}") };
    assert_eq!((hop.node, hop.answer), (gateway.name(), HopAnswer::LeadsThere));
    stop([client, gateway, target]).await;
}

/// Who takes nothing holds back who sends: in both directions, and if the client
/// speaks TLS with the gateway. The gateway takes no more than what the system keeps
/// for it.
#[tokio::test]
async fn who_does_not_read_holds_back_who_sends() {
    let authority = Authority::new("ours");
    for (to_target, secure) in [(true, false), (false, false), (false, true)] {
        let mut gateway = builder("gateway").transit(open());
        if secure {
            gateway = gateway.tls(TlsOptions::new().identity(authority.identity()));
        }
        let (client, gateway) = (node("client").await, gateway.start().await.unwrap());
        let (target, echo) = target(builder("target").pool_size(1)).await;
        through(&client, &gateway, &target);
        let (behind, before) = if to_target { (&target, &gateway) } else { (&gateway, &client) };
        let deaf = Tap::to(behind).await;
        knows(&gateway, &target);
        let mut to_deaf = NetworkRoute::to("127.0.0.1", deaf.port);
        if secure {
            to_deaf = to_deaf.tls(true).trust(authority.trust());
        }
        let pattern = exact(behind.name().as_str());
        before.network().replace_route(&pattern, to_deaf, 1).unwrap();
        let (sender, receiver) = if to_target { (&client, &target) } else { (&target, &client) };
        let (to, _inbox) = probe(receiver).await;
        answers(&client, echo, 1).await;
        deaf.freeze(true);
        let sending = tokio::spawn({
            let sender = sender.clone();
            async move {
                for _ in 0..256 {
                    sender.send(to, vec![7u8; 1 << 20]).await.unwrap();
                }
            }
        });
        let passed = loop {
            assert!(!sending.is_finished());
            tokio::time::sleep(Duration::from_millis(20)).await;
            let [tunnel] = &gateway.network().tunnels()[..] else { panic!("one link, one tunnel") };
            let passed = tunnel.bytes_to_target.max(tunnel.bytes_to_client);
            if passed > 1 << 16 && tunnel.idle > Duration::from_millis(500) {
                break passed;
            }
        };
        let room = room().await;
        assert!(passed < 2 * room + (1 << 20), "{passed} bytes, and the system keeps {room}");
        println!("{passed} bytes passed; the system keeps {room}");
        sending.abort();
        deaf.freeze(false);
        stop([client, gateway, target]).await;
    }
}

/// One end may have said all that it has to say while the other one goes on.
#[tokio::test]
async fn what_is_half_closed_carries_the_rest() {
    let gateway = gateway("gateway", open()).await;
    let client = Client::of(&gateway).await;
    let mut target = Client::announcing(&gateway, NetworkFlags::TUNNELS | NetworkFlags::PROXY_ACCEPT).await;
    for client_is_first in [true, false] {
        let (near, far) = tunnel(&client, &mut target, &gateway).await;
        let (mut first, mut last) = if client_is_first { (near, far) } else { (far, near) };
        first.write_all(b"that was all").await.unwrap();
        first.shutdown().await.unwrap();
        let mut heard = String::new();
        last.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "that was all");
        assert_eq!(gateway.network().tunnels().len(), 1, "one direction is open");
        let rest: Vec<u8> = (0..4 << 20).map(|at| (at / 251) as u8).collect();
        let answering = async {
            last.write_all(&rest).await.unwrap();
            last.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (read, ()) = tokio::join!(first.read_to_end(&mut heard), answering);
        read.unwrap();
        assert!(heard == rest);
        has_ended(&gateway).await;
    }
    stop([gateway]).await;
}

/// Whoever was asked for comes, and nobody else.
#[tokio::test]
async fn another_node_at_the_target_s_address_is_found_out() {
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let name = Atom::new(&unique("absent")).unwrap();
    let impostor = node("impostor").await;
    let to = NetworkRoute::to("127.0.0.1", crate::support::port(&impostor));
    gateway.network().add_route(&exact(name.as_str()), to, 1).unwrap();
    knows(&client, &gateway);
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(&exact(name.as_str()), route, 1).unwrap();
    let (hop, reason) = crate::refusal(&client, name.as_str()).await;
    assert_eq!((hop, reason), (gateway.name(), postroad::network::TunnelRefusal::Unreachable));
    stop([client, gateway, impostor]).await;
}
