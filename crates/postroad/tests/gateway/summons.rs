//! The side that was dialed asks the other one to dial once more: each time it
//! gets a stream, or is told why not.

use std::time::Duration;

use postroad::network::{NetworkEvent, NetworkMode, NetworkProxyRoute, TunnelRefusal};
use postroad::{Atom, NetworkFlags, Node};
use postroad_wire::ehs::Introduction;
use postroad_wire::enp::{Frame, Head};
use postroad_wire::tunnel::{Answer, Open, Operations, Request, Talk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::liar::{Client, bytes, heard, read, summoned};
use crate::support::log::Log;
use crate::support::scripted::{Callee, Desk, Link, introduction};
use crate::support::{COOKIE, builder, node, unique};
use crate::{answers, gateway, knows, open, refusal, stop, through};

/// The token of the next Decline that comes, and its reason.
async fn declined(link: &mut Link) -> ([u64; 2], TunnelRefusal) {
    loop {
        if let Head::Decline { token, reason } = Frame::parse(&link.frame().await).unwrap().head {
            return (token, reason);
        }
    }
}

async fn says(link: &mut Link, head: Head<'_>) {
    link.send_frame(&head, &[]).await;
}

/// A target that has dialed the gateway, and does what a test says.
async fn hidden(gateway: &Node) -> Client {
    Client::announcing(gateway, NetworkFlags::TUNNELS | NetworkFlags::PROXY_ACCEPT).await
}

/// A client whose only way to this target is the gateway.
async fn client_of(gateway: &Node, target: Atom) -> Node {
    let client = node("client").await;
    knows(&client, gateway);
    let route = postroad::network::NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(target.as_str(), route, 1).unwrap();
    client
}

/// Who comes by a stream, and for what.
async fn arrival(stream: &mut TcpStream, talk: &mut Talk) -> (Operations, Vec<Atom>) {
    match heard(stream, talk).await {
        Request::Arrival { operations, path } => (operations, path),
        other => panic!("{other:?}"),
    }
}

/// A node without a port that is connected with the gateway.
async fn without_port(gateway: &Node) -> Node {
    let node = Node::builder(unique("without-port")).cookie(COOKIE).network(NetworkMode::Hidden);
    let node = node.without_registrar().start().await.unwrap();
    knows(&node, gateway);
    let mut arrivals = gateway.network().subscribe();
    node.network().connect(gateway.name().as_str()).await.unwrap();
    arrivals.recv().await.unwrap();
    node
}

/// A stream to a target through the gateway, for this.
async fn opened(client: &Client, gateway: &Node, target: Atom, operations: Operations) -> TcpStream {
    let (mut stream, mut talk) = client.stream(gateway).await;
    let open = Open { operations, ..client.open(target) };
    stream.write_all(&talk.ask(&Request::Open(open))).await.unwrap();
    let answer = talk.answer(&read(&mut stream).await).unwrap();
    assert!(matches!(answer, Some(Answer::Opened { .. })), "{answer:?}");
    stream
}

/// Only the side that dialed brings links; dial-back is no way around that.
#[tokio::test]
async fn nobody_joins_by_dial_back_what_this_node_dialed() {
    let gateway = gateway("gateway", open()).await;
    let node = without_port(&gateway).await;
    let mut peer = hidden(&gateway).await;
    let name = peer.name;
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    node.network().add_proxy_route(name.as_str(), route, 1).unwrap();
    let dialing = tokio::spawn({
        let node = node.clone();
        async move { node.network().connect(name.as_str()).await }
    });
    let (mut stream, mut talk) = peer.summoned(&gateway).await;
    let (operations, mut path) = arrival(&mut stream, &mut talk).await;
    path.push(name);
    stream.write_all(&talk.reply(&Answer::Opened { operations, path })).await.unwrap();
    let mut callee = Callee::on(stream, Introduction { node: name, ..introduction("peer") });
    callee.hello().await;
    callee.introduce().await;
    let link = callee.agreed().await;
    dialing.await.unwrap().unwrap();
    let join = link.join();
    // A place is free: the node asks for a tunnel, and nobody brings a stream.
    drop(link);
    let mut stream = opened(&peer, &gateway, node.name(), operations).await;
    stream.write_all(&join).await.unwrap();
    assert!(read(&mut stream).await.is_empty(), "closed without an answer");
    stop([gateway, node]).await;
}

/// Somebody who fails in a loop does not fill the log of who dials back.
#[tokio::test]
async fn failures_by_dial_back_are_logged_in_bounds() {
    let log = Log::start();
    let gateway = gateway("gateway", open().requests_per_second(1000)).await;
    let node = without_port(&gateway).await;
    let client = Client::of(&gateway).await;
    for _ in 0..25 {
        let mut stream = opened(&client, &gateway, node.name(), Operations::NONE).await;
        stream.write_all(b"nonsense").await.unwrap();
        assert!(read(&mut stream).await.is_empty());
    }
    log.says(&["handshake failed"]).await;
    assert_eq!(log.count("handshake failed"), 20);
    stop([gateway, node]).await;
}

/// Who dialed may not summon, and is told so.
#[tokio::test]
async fn who_dialed_may_not_summon() {
    let gateway = gateway("gateway", open()).await;
    let Client { mut link, .. } = Client::of(&gateway).await;
    says(&mut link, Head::Summon { token: [1, 2] }).await;
    assert_eq!(declined(&mut link).await, ([1, 2], TunnelRefusal::NotAccepted));
    stop([gateway]).await;
}

/// The client is told what the target has said.
#[tokio::test]
async fn a_target_that_declines_is_named() {
    let gateway = gateway("gateway", open()).await;
    let mut target = hidden(&gateway).await;
    let client = client_of(&gateway, target.name).await;
    let declining = async {
        let token = summoned(&mut target.link).await;
        says(&mut target.link, Head::Decline { token, reason: TunnelRefusal::TooManyRequests }).await;
    };
    let (refused, ()) = tokio::join!(refusal(&client, target.name.as_str()), declining);
    assert_eq!(refused, (target.name, TunnelRefusal::TooManyRequests));
    stop([client, gateway]).await;
}

/// Whoever has overheard a token can neither decline nor bring the stream.
#[tokio::test]
async fn only_who_was_summoned_answers() {
    let gateway = gateway("gateway", open()).await;
    let (mut target, mut other) = (hidden(&gateway).await, Client::of(&gateway).await);
    let client = client_of(&gateway, target.name).await;
    let declining = async {
        let token = summoned(&mut target.link).await;
        says(&mut other.link, Head::Decline { token, reason: TunnelRefusal::NotAccepted }).await;
        // When this is answered, that has been read.
        says(&mut other.link, Head::Summon { token: [1, 2] }).await;
        declined(&mut other.link).await;
        let (mut stream, _) = other.stream_for(&gateway, Some(bytes(token))).await;
        assert!(read(&mut stream).await.is_empty(), "nobody waits for it");
        says(&mut target.link, Head::Decline { token, reason: TunnelRefusal::TimedOut }).await;
    };
    let (refused, ()) = tokio::join!(refusal(&client, target.name.as_str()), declining);
    assert_eq!(refused, (target.name, TunnelRefusal::TimedOut));
    stop([client, gateway]).await;
}

/// What has been summoned is a stream as any other: the gateway speaks on it.
#[tokio::test]
async fn who_is_summoned_brings_a_stream() {
    let gateway = gateway("gateway", open()).await;
    let mut target = hidden(&gateway).await;
    let name = target.name;
    let client = client_of(&gateway, name).await;
    let bringing = async {
        let (mut stream, mut talk) = target.summoned(&gateway).await;
        let (_, path) = arrival(&mut stream, &mut talk).await;
        assert_eq!(path, [client.name(), gateway.name()]);
        let refused = Answer::Refused { hop: name, reason: TunnelRefusal::TooManyTunnels };
        stream.write_all(&talk.reply(&refused)).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    };
    let (refused, ()) = tokio::join!(refusal(&client, name.as_str()), bringing);
    assert_eq!(refused, (name, TunnelRefusal::TooManyTunnels));
    stop([client, gateway]).await;
}

/// A node that is to dial more than it will, by a peer that then does not answer:
/// each Summon is answered all the same.
#[tokio::test]
async fn every_summon_is_answered() {
    const SUMMONS: u64 = 100;
    let second = Duration::from_secs(1);
    let node = builder("node").timeouts(second, second / 4, second).start().await.unwrap();
    let mut says_of_itself = introduction("gateway");
    says_of_itself.flags = NetworkFlags::ENABLE | NetworkFlags::TUNNELS | NetworkFlags::PROXY_TRANSIT;
    let (desk, name) = (Desk::open().await, says_of_itself.node);
    desk.leads(&node, name);
    let called = async {
        let mut callee = desk.called(says_of_itself).await;
        callee.hello().await;
        callee.introduce().await;
        callee.agreed().await
    };
    let network = node.network();
    let (connected, mut link) = tokio::join!(network.connect(name.as_str()), called);
    connected.unwrap();
    for number in 0..SUMMONS {
        says(&mut link, Head::Summon { token: [7, number] }).await;
    }
    let mut answered = Vec::new();
    let mut reasons = Vec::new();
    for _ in 0..SUMMONS {
        let ([seven, number], reason) = declined(&mut link).await;
        assert_eq!(seven, 7);
        answered.push(number);
        reasons.push(reason);
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..SUMMONS).collect::<Vec<_>>());
    let count = |reason| reasons.iter().filter(|got| **got == reason).count();
    let (refused, silent) = (count(TunnelRefusal::TooManyRequests), count(TunnelRefusal::TimedOut));
    assert!(refused > 0 && silent > 0 && refused + silent == reasons.len(), "{reasons:?}");
    stop([node]).await;
}

/// The node's cookie is changed while connections are open: they go on, and so do
/// the streams that belong to them, whoever dials these.
#[tokio::test]
async fn a_connection_keeps_its_cookie_for_its_streams() {
    let (client, gateway, target, echo) = crate::three().await;
    gateway.network().remove_route(&postroad::network::exact(target.name().as_str())).unwrap();
    knows(&target, &gateway);
    let mut arrivals = gateway.network().subscribe();
    target.network().connect(gateway.name().as_str()).await.unwrap();
    while !matches!(arrivals.recv().await.unwrap(), NetworkEvent::Connected { peer, .. } if peer == target.name())
    {
    }
    answers(&client, echo, 1).await;
    gateway.network().set_cookie("another");
    assert!(client.network().disconnect(target.name().as_str()).await);
    while !gateway.network().tunnels().is_empty() {
        tokio::task::yield_now().await;
    }
    answers(&client, echo, 2).await;
    while client.network().peer(target.name().as_str()).unwrap().links < 3 {
        tokio::task::yield_now().await;
    }
    let stranger = node("stranger").await;
    through(&stranger, &gateway, &target);
    let error = stranger.network().connect(target.name().as_str()).await.unwrap_err().to_string();
    assert!(error.contains("cookies differ"), "new connections prove the new one: {error}");
    stop([client, gateway, target, stranger]).await;
}
