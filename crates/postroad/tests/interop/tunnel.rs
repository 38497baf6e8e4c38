//! An unmodified Ergo node behind a gateway (`docs/gateways.md`): it takes part
//! in an ordinary connection, and needs to know of nothing.

use postroad::network::{NetworkProxyRoute, NetworkRoute, TransitOptions, TransitRule, exact};
use postroad::tls::TlsOptions;
use postroad::{Node, Pid, SpawnOptions, Watched};
use serde_json::{Value as Json, json};

use crate::PATIENCE;
use crate::peer::{Peer, by_pid, pid_json};
use crate::relations::{
    FAIL_ENDS, Ours, end_theirs, go_watches, theirs, told, told_both, told_of_the_loss, watch, watcher,
};
use crate::road::{all_links, end};
use crate::spawning::text;
use crate::support::{EVERYTHING, Echo, builder, next, node, port, probe, unique};

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

/// All that a tunnel may permit: links and monitors in both directions, processes
/// started there; and the loss of the gateway is the end of what they watch.
#[tokio::test]
async fn go_is_linked_monitored_and_has_processes_started_through_a_tunnel() {
    let rule = TransitRule::new(".*", ".*").unwrap().operations(EVERYTHING);
    let gateway = builder("gateway").transit(TransitOptions::new().allow(rule)).start();
    let (gateway, go) = (gateway.await.unwrap(), Peer::start("go").await);
    leads(&gateway, &go);
    let route = NetworkProxyRoute::via(gateway.name().as_str()).flags(EVERYTHING);
    let (client, _) = client(&gateway, &go, route).await;
    let remote = client.network().connect(go.name()).await.unwrap();
    all_links(&client, &go).await;
    assert_eq!(client.network().peer(go.name()).unwrap().path, [client.name(), gateway.name(), go.atom()]);

    let mut watcher = watcher(&client).await;
    for how in ["a bad day", "kill"] {
        let ways = theirs(&go, how).await;
        watch(&watcher, &ways).await;
        end_theirs(&go, how, how).await;
        told_both(&mut watcher, &ways, how).await;

        let target = Ours::start(&client, how).await;
        go_watches(&go, &target, ["driver"; 3]).await;
        target.end(&client, how).await;
        told(&go, "exit", "driver", &target.ways, how).await;
        told(&go, "down", "echo", &target.ways, how).await;
    }

    go.ask("enable_spawn", json!({"name": "hatchling"})).await;
    let hatched = remote.spawn("hatchling", SpawnOptions::new(), "first".to_owned()).await.unwrap();
    let said: String = client.call_with_timeout(hatched, true, PATIENCE).await.unwrap();
    let said: Json = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["args"], &said["parent"]), (&json!([text("first")]), &pid_json(client.pid())));

    let mut ways = theirs(&go, "left behind").await;
    ways.push(Watched::Node(go.atom()));
    watch(&watcher, &ways).await;
    let target = Ours::start(&client, "left behind").await;
    go_watches(&go, &target, FAIL_ENDS).await;
    gateway.stop().await;
    told_both(&mut watcher, &ways, "no connection").await;
    told_of_the_loss(&go, &target.ways).await;
    end(client, go).await;
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
