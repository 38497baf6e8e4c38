//! An unmodified Ergo node behind a gateway (`docs/gateways.md`): it takes part
//! in an ordinary connection, and needs to know of nothing.

use postroad::network::{NetworkProxyRoute, NetworkRoute, TransitOptions, TransitRule, exact};
use postroad::tls::TlsOptions;
use postroad::{Node, Pid};
use serde_json::json;

use crate::PATIENCE;
use crate::peer::{Peer, by_pid};
use crate::support::{Echo, builder, next, node, port, probe, unique};

/// A client that knows the gateway only, and goes through it to reach the Go node.
async fn client(gateway: &Node, go: &Peer, route: NetworkProxyRoute) -> (Node, Pid) {
    let client = node("client").await;
    let echo = client.spawn::<Echo>(()).await.unwrap();
    let to = NetworkRoute::to("127.0.0.1", port(gateway));
    client.network().add_route(&exact(gateway.name().as_str()), to, 1).unwrap();
    client.network().add_proxy_route(&exact(go.name()), route, 1).unwrap();
    (client, echo)
}

async fn gateway() -> Node {
    let rule = TransitRule::new(".*", ".*").unwrap();
    builder("gateway").transit(TransitOptions::new().allow(rule)).start().await.unwrap()
}

fn leads(gateway: &Node, go: &Peer) {
    let to = NetworkRoute::to("127.0.0.1", go.port());
    gateway.network().add_route(&exact(go.name()), to, 1).unwrap();
}

async fn they_talk(client: &Node, echo: Pid, go: &Peer) {
    let text: String = client.call_with_timeout(go.pid("echo"), "there".to_owned(), PATIENCE).await.unwrap();
    assert_eq!(text, "there");
    let large: Vec<u8> = (0..go.longest(1 << 20)).map(|at| (at % 251) as u8).collect();
    let back: Vec<u8> = client.call_with_timeout(go.pid("echo"), large.clone(), PATIENCE).await.unwrap();
    assert!(back == large);
    let value = json!({"type": "uint8", "value": 7});
    assert_eq!(go.call(by_pid(echo), value.clone()).await.unwrap(), value);
    let (pid, mut inbox) = probe(client).await;
    go.send(by_pid(pid), json!({"type": "string", "value": "back"})).await;
    assert_eq!(next::<String>(&mut inbox).await, "back");
}

/// All its links are tunnels, and both sides see each other as they would
/// without a gateway.
#[tokio::test]
async fn go_is_reached_through_a_tunnel() {
    let (gateway, go) = (gateway().await, Peer::start("go").await);
    leads(&gateway, &go);
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    let (client, echo) = client(&gateway, &go, route).await;
    they_talk(&client, echo, &go).await;
    let peer = client.network().peer(go.name()).unwrap();
    assert_eq!(peer.path, [client.name(), gateway.name(), go.atom()]);
    while client.network().peer(go.name()).unwrap().links < peer.pool_size {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.network().tunnels().len(), peer.pool_size);
    assert_eq!(go.info(client.name()).await["name"], client.name().as_str());
    client.stop().await;
    while !gateway.network().tunnels().is_empty() {
        tokio::task::yield_now().await;
    }
    go.stop().await;
    gateway.stop().await;
}

/// The connection of the two is not the gateway's: it has another cookie with Go.
#[tokio::test]
async fn go_that_has_connected_with_the_gateway_is_reached_by_a_route() {
    let (gateway, go) = (gateway().await, Peer::start("go").await);
    let to_gateway =
        json!({"pattern": exact(gateway.name().as_str()), "host": "127.0.0.1", "port": port(&gateway)});
    go.ask("add_route", to_gateway).await;
    let mut arrivals = gateway.network().subscribe();
    go.ask("connect", json!({"node": gateway.name().as_str()})).await;
    arrivals.recv().await.unwrap();
    leads(&gateway, &go);
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    let (client, echo) = client(&gateway, &go, route).await;
    they_talk(&client, echo, &go).await;
    assert!(!gateway.network().peer(go.name()).unwrap().dialed);
    go.stop().await;
    client.stop().await;
    gateway.stop().await;
}

/// From the client to Go, with Go's own certificate: the gateway dials without TLS
/// and passes on what it cannot read.
#[tokio::test]
async fn go_encrypts_from_end_to_end() {
    let (gateway, go) = (gateway().await, Peer::named(&unique("go"), &["-tls"]).await);
    let skip = TlsOptions::new().insecure_skip_verify(true);
    let to = NetworkRoute::to("127.0.0.1", go.port()).tls(true).insecure_skip_verify(true);
    gateway.network().add_route(&exact(go.name()), to.clone(), 1).unwrap();
    let flags = postroad::network::ProxyFlags { encryption: true, ..Default::default() };
    let route = NetworkProxyRoute::via(gateway.name().as_str()).flags(flags);
    let client = builder("client").tls(skip).start().await.unwrap();
    let echo = client.spawn::<Echo>(()).await.unwrap();
    let to_gateway = NetworkRoute::to("127.0.0.1", port(&gateway));
    client.network().add_route(&exact(gateway.name().as_str()), to_gateway, 1).unwrap();
    client.network().add_proxy_route(&exact(go.name()), route, 1).unwrap();
    they_talk(&client, echo, &go).await;
    let operations = client.network().peer(go.name()).unwrap().operations.unwrap();
    assert!(operations.encryption);
    go.stop().await;
    client.stop().await;
    gateway.stop().await;
}
