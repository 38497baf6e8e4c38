//! What doors, flags and identities hold for, also where a tunnel is concerned.

use std::time::Duration;

use postroad::inspect::{self, DrainTransit};
use postroad::network::{
    AcceptorOptions, NetworkMode, NetworkProxyRoute, NetworkRoute, ProxyFlags, TunnelRefusal, exact,
};
use postroad::tls::TlsOptions;
use postroad::{Atom, NetworkFlags, Node, NodeBuilder};
use postroad_wire::tunnel::{Answer, Operations, Request};
use tokio::io::AsyncWriteExt;

use crate::liar::{Client, heard, read};
use crate::support::authority::Authority;
use crate::support::log::Log;
use crate::support::scripted::{Caller, Wire, introduction};
use crate::support::{COOKIE, Echo, builder, node, port, unique};
use crate::{answers, gateway, knows, open, refusal, stop, target, through};

/// A node whose only door has these flags.
pub(crate) fn behind(name: &str, flags: NetworkFlags) -> NodeBuilder {
    let door = AcceptorOptions::bind("127.0.0.1", 0).network_flags(flags);
    Node::builder(unique(name)).cookie(COOKIE).acceptor(door).without_registrar()
}

/// What a door does not announce it does not do either.
#[tokio::test]
async fn the_flags_of_a_door_bar_tunnels() {
    let node = behind("node", NetworkFlags::ENABLE).transit(open()).start().await.unwrap();
    let liar = Client::of(&node).await;
    let target = Atom::new("db@private").unwrap();
    assert_eq!(liar.is_refused(&node, liar.open(target)).await, TunnelRefusal::NoTransit);
    let arrival = Request::Arrival { operations: Operations::NONE, path: vec![target, liar.name] };
    match liar.asks(&node, arrival).await {
        Answer::Refused { reason, .. } => assert_eq!(reason, TunnelRefusal::NotAccepted),
        answer => panic!("{answer:?}"),
    }
    stop([node]).await;
}

/// A target that names the flags of its door is no Ergo node for it: it is told
/// who comes, and may refuse.
#[tokio::test]
async fn a_target_with_few_flags_is_still_asked() {
    let flags = NetworkFlags::ENABLE | NetworkFlags::FRAGMENTATION;
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let target = behind("target", flags).accept_tunnels(false).start().await.unwrap();
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (target.name(), TunnelRefusal::NotAccepted));
    let flags = flags | NetworkFlags::PROXY_ACCEPT;
    let (willing, echo) = crate::target(behind("willing", flags)).await;
    knows(&gateway, &willing);
    through(&client, &gateway, &willing);
    answers(&client, echo, 1).await;
    let path = willing.network().peer(client.name().as_str()).unwrap().path;
    assert_eq!(path, [client.name(), gateway.name(), willing.name()], "it knows who comes");
    stop([client, gateway, target, willing]).await;
}

/// A target behind NAT that demands TLS and has no certificate to answer with
/// lets nobody in, instead of letting them in without.
#[tokio::test]
async fn dial_back_does_without_no_lock() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let (client, gateway) = (node("client").await, builder("gateway").transit(open()));
    let gateway = gateway.tls(TlsOptions::new().identity(authority.identity())).start().await.unwrap();
    let tls = TlsOptions::new().trust(authority.trust()).required(true);
    let hidden = Node::builder(unique("hidden")).cookie(COOKIE).network(NetworkMode::Hidden);
    let hidden = hidden.without_registrar().tls(tls).start().await.unwrap();
    knows(&hidden, &gateway);
    let mut arrival = gateway.network().subscribe();
    hidden.network().connect(gateway.name().as_str()).await.unwrap();
    arrival.recv().await.unwrap();
    let to = NetworkRoute::to("127.0.0.1", port(&gateway)).tls(true).trust(authority.trust());
    client.network().add_route(&exact(gateway.name().as_str()), to, 1).unwrap();
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(&exact(hidden.name().as_str()), route, 1).unwrap();
    let refused = refusal(&client, hidden.name().as_str()).await;
    assert_eq!(refused, (hidden.name(), TunnelRefusal::NotAccepted));
    assert_eq!(refusal(&client, hidden.name().as_str()).await, refused);
    assert_eq!(log.count("nobody can come in through tunnels that are dialed back for"), 1, "said once");
    stop([client, gateway, hidden]).await;
}

/// Encryption is between the two ends; that the gateway is itself reached without
/// any takes nothing away.
#[tokio::test]
async fn a_gateway_that_is_reached_by_a_plain_tunnel_carries_encrypted_ones() {
    let authority = Authority::new("ours");
    let tls = TlsOptions::new().identity(authority.identity());
    let (target, echo) = target(builder("target").tls(tls)).await;
    let (outer, inner) = (gateway("outer", open()).await, gateway("inner", open()).await);
    let to = NetworkRoute::to("127.0.0.1", port(&target)).tls(true).trust(authority.trust());
    inner.network().add_route(&exact(target.name().as_str()), to, 1).unwrap();
    knows(&outer, &inner);
    let client = builder("client").tls(TlsOptions::new().trust(authority.trust())).start().await.unwrap();
    through(&client, &outer, &inner);
    let flags = ProxyFlags { encryption: true, ..ProxyFlags::default() };
    let route = NetworkProxyRoute::via(inner.name().as_str()).flags(flags);
    client.network().add_proxy_route(&exact(target.name().as_str()), route, 1).unwrap();
    answers(&client, echo, 1).await;
    let operations = |name: Atom| client.network().peer(name.as_str()).unwrap().operations.unwrap();
    assert!(!operations(inner.name()).encryption && operations(target.name()).encryption);
    stop([client, outer, inner, target]).await;
}

/// In a tunnel that was opened for one node another one brings no stream either.
#[tokio::test]
async fn a_tunnel_is_for_who_was_announced() {
    let log = Log::start();
    let target = node("target").await;
    let (carrier, other) = (Client::of(&target).await, Client::of(&target).await);
    let (mut stream, mut talk) = carrier.stream(&target).await;
    let path = vec![Atom::new("guest@somewhere").unwrap(), carrier.name];
    let arrival = Request::Arrival { operations: Operations::NONE, path };
    stream.write_all(&talk.ask(&arrival)).await.unwrap();
    assert!(matches!(talk.answer(&read(&mut stream).await).unwrap(), Some(Answer::Opened { .. })));
    let mut knock = other.knock(&target, COOKIE, None);
    while let Some(said) = knock.poll_transmit() {
        stream.write_all(&said).await.unwrap();
        let heard = read(&mut stream).await;
        if heard.is_empty() {
            break;
        }
        assert!(knock.receive(&heard).unwrap().is_none(), "not welcome");
    }
    log.says(&[&format!("{} shakes hands in a tunnel that was opened for another", other.name)]).await;
    stop([target]).await;
}

/// Operators are those who come in by their door themselves, not those whom one of
/// them brings.
#[tokio::test]
async fn no_operator_comes_through_a_tunnel() {
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let door = AcceptorOptions::bind("127.0.0.1", 0).operators();
    let target = Node::builder(unique("target")).cookie(COOKIE).acceptor(door).without_registrar();
    let target = target.transit(open()).inspector(true).start().await.unwrap();
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    let drain = async |node: &Node| {
        let order = DrainTransit { drain: true };
        node.call::<u64>((inspect::NAME, target.name()), order).await.map_err(|error| error.to_string())
    };
    assert!(drain(&client).await.unwrap_err().contains("not allowed"));
    assert!(!target.network().is_draining_transit());
    assert_eq!(drain(&gateway).await, Ok(0), "which has come in there itself");
    stop([client, gateway, target]).await;
}

/// Who has proved itself and asks for nothing has its place until it does.
#[tokio::test]
async fn silent_streams_are_counted() {
    let node = node("node").await;
    let client = Client::of(&node).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(client.stream(&node).await);
    }
    Wire::to(&node).await.expect_close().await;
    drop(silent);
    // Their ends are noticed one by one.
    loop {
        let mut caller = Caller::dial(&node, introduction("caller")).await;
        let hello = caller.due();
        if caller.wire.is_answered(&hello).await {
            break;
        }
    }
    stop([node]).await;
}

/// A node that stops does not wait for what nobody will say.
#[tokio::test]
async fn a_node_that_stops_hangs_up() {
    let hour = Duration::from_secs(3600);
    let node = builder("node").timeouts(hour, hour, hour).start().await.unwrap();
    let client = Client::of(&node).await;
    let (mut stream, _) = client.stream(&node).await;
    node.stop().await;
    assert!(read(&mut stream).await.is_empty());
}

/// What the target has said is not asked again at another address of it.
#[tokio::test]
async fn a_target_is_asked_once() {
    let log = Log::start();
    let gateway = gateway("gateway", open()).await;
    let (target, _) = target(builder("target")).await;
    for pattern in [exact(target.name().as_str()), "^target-".to_owned(), "get-".to_owned()] {
        let to = NetworkRoute::to("127.0.0.1", port(&target));
        gateway.network().add_route(&pattern, to, 1).unwrap();
    }
    let flags = ProxyFlags { encryption: true, ..ProxyFlags::default() };
    let tls = TlsOptions::new().insecure_skip_verify(true);
    let asking = builder("asking").tls(tls).start().await.unwrap();
    knows(&asking, &gateway);
    let route = NetworkProxyRoute::via(gateway.name().as_str()).flags(flags);
    asking.network().add_proxy_route(&exact(target.name().as_str()), route, 1).unwrap();
    let refused = refusal(&asking, target.name().as_str()).await;
    assert_eq!(refused, (target.name(), TunnelRefusal::NoEncryption));
    assert_eq!(log.count("tunnel not accepted"), 1);
    stop([asking, gateway, target]).await;
}

/// Closed at the last moment: drained while the target is being asked.
#[tokio::test]
async fn a_gateway_that_is_drained_meanwhile_opens_nothing() {
    let gateway = gateway("gateway", open()).await;
    let mut target = Client::announcing(&gateway, NetworkFlags::TUNNELS | NetworkFlags::PROXY_ACCEPT).await;
    let (client, name) = (node("client").await, target.name);
    knows(&client, &gateway);
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(&exact(name.as_str()), route, 1).unwrap();
    let draining = async {
        let (mut stream, mut talk) = target.summoned(&gateway).await;
        gateway.network().drain_transit(true);
        let path = vec![client.name(), gateway.name(), name];
        let opened = Answer::Opened { operations: Operations::NONE, path };
        heard(&mut stream, &mut talk).await;
        stream.write_all(&talk.reply(&opened)).await.unwrap();
        assert!(read(&mut stream).await.is_empty());
    };
    let (refused, ()) = tokio::join!(refusal(&client, name.as_str()), draining);
    assert_eq!(refused, (gateway.name(), TunnelRefusal::Draining));
    assert!(gateway.network().tunnels().is_empty());
    stop([client, gateway]).await;
}

/// An echo behind a node that is only dialed back for is no other echo.
#[tokio::test]
async fn a_hidden_node_with_a_certificate_is_reached_by_tls() {
    let authority = Authority::new("ours");
    let tls = TlsOptions::new().trust(authority.trust()).identity(authority.identity());
    let gateway = gateway("gateway", open()).await;
    let hidden = Node::builder(unique("hidden")).cookie(COOKIE).network(NetworkMode::Hidden);
    let hidden = hidden.without_registrar().tls(tls).start().await.unwrap();
    let echo = hidden.spawn::<Echo>(()).await.unwrap();
    knows(&hidden, &gateway);
    let mut arrival = gateway.network().subscribe();
    hidden.network().connect(gateway.name().as_str()).await.unwrap();
    arrival.recv().await.unwrap();
    let client = builder("client").tls(TlsOptions::new().trust(authority.trust())).start().await.unwrap();
    knows(&client, &gateway);
    let flags = ProxyFlags { encryption: true, ..ProxyFlags::default() };
    let route = NetworkProxyRoute::via(gateway.name().as_str()).flags(flags);
    client.network().add_proxy_route(&exact(hidden.name().as_str()), route, 1).unwrap();
    answers(&client, echo, 1).await;
    stop([client, gateway, hidden]).await;
}
