//! What hostile clients and gateways may say ("Bad input" of the issue): each
//! ends in a named error, and in nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postroad::network::{
    AttemptError, NegotiationError, NetworkProxyRoute, NetworkRoute, ProxyFlags, Stage, TunnelError,
    TunnelRefusal, exact,
};
use postroad::tls::TlsOptions;
use postroad::{Atom, NetworkFlags};
use postroad_wire::tunnel::{Answer, Open, Operations, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::liar::{Client, Gateway, heard, read};
use crate::support::log::Log;
use crate::support::scripted::{Caller, Desk, Wire, introduction};
use crate::support::{builder, node, port, unique};
use crate::tap::Tap;
use crate::{answers, gateway, has_ended, knows, open, refused, stop, target, through};

fn atom(name: &str) -> Atom {
    Atom::new(name).unwrap()
}

#[tokio::test]
async fn a_request_before_authentication_is_not_even_read() {
    let log = Log::start();
    let gateway = gateway("gateway", open()).await;
    let client = Client::of(&gateway).await;
    let (_, talk) = client.stream(&gateway).await;
    let asked = talk.ask(&Request::Open(client.open(atom("db@private"))));
    let mut wire = Wire::to(&gateway).await;
    wire.send(&asked).await;
    wire.expect_close().await;
    log.says(&["WARN", "handshake failed", "waiting for Knock: the peer sent Open"]).await;
    stop([gateway]).await;
}

#[tokio::test]
async fn who_does_not_know_the_cookie_opens_nothing() {
    let log = Log::start();
    let gateway = gateway("gateway", open()).await;
    let client = Client::of(&gateway).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port(&gateway))).await.unwrap();
    let mut knock = client.knock(&gateway, "guessed", None);
    stream.write_all(&knock.poll_transmit().unwrap()).await.unwrap();
    assert!(knock.receive(&read(&mut stream).await).unwrap().is_none());
    stream.write_all(&knock.poll_transmit().unwrap()).await.unwrap();
    assert!(read(&mut stream).await.is_empty(), "no proof of its own");
    log.says(&["handshake failed", "the proof of the dialing side is wrong"]).await;
    stop([gateway]).await;
}

/// The cookie alone is not enough: the stream must belong to a connection.
#[tokio::test]
async fn a_stream_of_no_connection_is_refused() {
    let gateway = gateway("gateway", open()).await;
    let mut client = Client::of(&gateway).await;
    client.connection = "another".to_owned();
    let mut stream = TcpStream::connect(("127.0.0.1", port(&gateway))).await.unwrap();
    let mut knock = client.knock(&gateway, crate::support::COOKIE, None);
    let error = loop {
        if let Some(bytes) = knock.poll_transmit() {
            stream.write_all(&bytes).await.unwrap();
        }
        match knock.receive(&read(&mut stream).await) {
            Ok(talk) => assert!(talk.is_none()),
            Err(error) => break error,
        }
    };
    let reason = TunnelRefusal::UnknownConnection;
    assert_eq!(error, NegotiationError::Refused { hop: gateway.name(), reason });
    stop([gateway]).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_by_name() {
    let gateway = gateway("gateway", open()).await;
    let client = Client::of(&gateway).await;
    let target = atom("db@private");
    let sane = || client.open(target);
    let cases = [
        (Open { target: gateway.name(), ..sane() }, TunnelRefusal::ToItself),
        (Open { target: client.name, ..sane() }, TunnelRefusal::Loop),
        (Open { target: atom("no-name"), ..sane() }, TunnelRefusal::InvalidTarget),
        (Open { hops: 0, ..sane() }, TunnelRefusal::HopsExhausted),
        (sane(), TunnelRefusal::Unreachable),
        (Open { hops: 255, ..sane() }, TunnelRefusal::Unreachable),
        (Open { path: vec![], ..sane() }, TunnelRefusal::ForgedPath),
        (Open { path: vec![atom("somebody@else")], ..sane() }, TunnelRefusal::ForgedPath),
        (Open { path: vec![client.name, atom("somebody@else")], ..sane() }, TunnelRefusal::ForgedPath),
        (Open { path: vec![client.name, client.name], ..sane() }, TunnelRefusal::ForgedPath),
        (Open { path: vec![gateway.name(), client.name], ..sane() }, TunnelRefusal::Loop),
    ];
    for (open, reason) in cases {
        assert_eq!(client.is_refused(&gateway, open.clone()).await, reason, "{open:?}");
    }
    stop([gateway]).await;
}

/// A node that is no gateway at all.
#[tokio::test]
async fn a_node_without_transit_carries_for_nobody() {
    let target = node("target").await;
    let client = Client::of(&target).await;
    let refused = client.is_refused(&target, client.open(atom("db@private"))).await;
    assert_eq!(refused, TunnelRefusal::NoTransit);
    stop([target]).await;
}

/// Who brings somebody must be a neighbour, and say so.
#[tokio::test]
async fn a_forged_arrival_is_refused() {
    let target = node("target").await;
    let liar = Client::of(&target).await;
    let guest = atom("guest@somewhere");
    for (path, reason) in [
        (vec![guest, atom("gateway@dmz")], TunnelRefusal::ForgedPath),
        (vec![liar.name], TunnelRefusal::ForgedPath),
        (vec![target.name(), liar.name], TunnelRefusal::Loop),
    ] {
        let arrival = Request::Arrival { operations: Operations::NONE, path };
        match liar.asks(&target, arrival).await {
            Answer::Refused { reason: got, .. } => assert_eq!(got, reason),
            answer => panic!("{answer:?}"),
        }
    }
    stop([target]).await;
}

/// The gateway says who comes; somebody else who knows the cookie does not get
/// in with what was granted to that one.
#[tokio::test]
async fn somebody_else_than_who_was_announced_is_turned_away() {
    let log = Log::start();
    let target = node("target").await;
    let carrier = Client::of(&target).await;
    let (mut stream, mut talk) = carrier.stream(&target).await;
    let path = vec![atom("guest@somewhere"), carrier.name];
    let arrival = Request::Arrival { operations: Operations::ALL.both(Operations::SPAWN), path };
    stream.write_all(&talk.ask(&arrival)).await.unwrap();
    let answer = talk.answer(&read(&mut stream).await).unwrap();
    assert!(matches!(answer, Some(Answer::Opened { .. })));
    let says = introduction("somebody-else");
    let name = says.node;
    let mut caller = Caller::on(stream, says);
    caller.hello().await;
    caller.say().await;
    caller.wire.expect_close().await;
    log.says(&["handshake failed", &format!("{name} shakes hands in a tunnel that was opened for another")])
        .await;
    stop([target]).await;
}

/// More requests than anybody needs: refused without looking at anything. Another
/// client is heard meanwhile.
#[tokio::test]
async fn a_thousand_requests_a_second_are_cut_down() {
    let gateway = gateway("gateway", open()).await;
    let (greedy, modest) = (Arc::new(Client::of(&gateway).await), Client::of(&gateway).await);
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let (greedy, gateway) = (greedy.clone(), gateway.clone());
        asking.spawn(async move {
            let mut reasons = Vec::new();
            for _ in 0..50 {
                reasons.push(greedy.is_refused(&gateway, greedy.open(atom("db@private"))).await);
            }
            reasons
        });
    }
    for _ in 0..20 {
        let heard = modest.is_refused(&gateway, modest.open(atom("db@private"))).await;
        assert_eq!(heard, TunnelRefusal::Unreachable, "its own limit is not used up");
    }
    let reasons = asking.join_all().await.concat();
    let took = begun.elapsed().as_secs_f64();
    let count = |reason| reasons.iter().filter(|got| **got == reason).count();
    let (heard, refused) = (count(TunnelRefusal::Unreachable), count(TunnelRefusal::TooManyRequests));
    assert_eq!(heard + refused, 1000, "{reasons:?}");
    // 200 at once and 100 a second: on a slow machine more of the thousand are heard.
    assert!(heard >= 200 && heard as f64 <= 201.0 + 100.0 * took, "{heard} in {took} s");
    stop([gateway]).await;
}

/// Who is told that a way is open looks at where it leads, and whether it may be
/// encrypted.
#[tokio::test]
async fn a_gateway_that_lies_about_the_way_is_named() {
    let gateway = Gateway::open().await;
    let skip = TlsOptions::new().insecure_skip_verify(true);
    let client = builder("client").tls(skip).start().await.unwrap();
    gateway.leads(&client);
    let (own, proxy, target, other) =
        (client.name(), gateway.name(), atom(&unique("target")), atom("other@private"));
    let flags = ProxyFlags { encryption: true, ..ProxyFlags::default() };
    let route = NetworkProxyRoute::via(proxy.as_str()).flags(flags);
    client.network().add_proxy_route(&exact(target.as_str()), route, 1).unwrap();
    let network = client.network();
    let (connected, _link) = tokio::join!(network.connect(proxy.as_str()), gateway.meets());
    connected.unwrap();
    let foreign = [
        vec![],
        vec![own, target],
        vec![own, proxy],
        vec![own, proxy, other],
        vec![own, other, target],
        vec![other, proxy, target],
        vec![own, proxy, own, target],
    ];
    for path in foreign {
        let opening = gateway.opens(Operations::ALL, path.clone());
        let (attempt, _stream) = tokio::join!(refused(&client, target.as_str()), opening);
        let wrong = matches!(attempt.error, AttemptError::Tunnel(TunnelError::WrongPath(by)) if by == proxy);
        assert!(wrong, "{path:?}: {attempt}");
    }
    let opening = gateway.opens(Operations::LINK.with(Operations::MONITOR), vec![own, proxy, target]);
    let (attempt, _stream) = tokio::join!(refused(&client, target.as_str()), opening);
    let narrowed = matches!(attempt.error, AttemptError::Tunnel(TunnelError::Narrowed(by)) if by == proxy);
    assert!(narrowed, "{attempt}");
    stop([client]).await;
}

/// A target that agrees to something else than it was told is not believed: the
/// client gets no more than it asked for, by no other way.
#[tokio::test]
async fn a_target_that_lies_about_the_way_is_not_believed() {
    let gateway = gateway("gateway", open()).await;
    let client = Client::of(&gateway).await;
    let mut target = Client::announcing(&gateway, NetworkFlags::TUNNELS | NetworkFlags::PROXY_ACCEPT).await;
    let (way, other) = ([client.name, gateway.name(), target.name], atom("other@private"));
    let unreachable = Answer::Refused { hop: gateway.name(), reason: TunnelRefusal::Unreachable };
    let opened = Answer::Opened { operations: Operations::MONITOR, path: way.to_vec() };
    for (path, expected) in [
        (vec![way[0], way[2]], &unreachable),
        (vec![way[0], way[1], other, way[2]], &unreachable),
        (vec![way[0], way[1], other], &unreachable),
        (way.to_vec(), &opened),
    ] {
        let open = Open { operations: Operations::MONITOR, ..client.open(target.name) };
        let agreeing = async {
            let (mut stream, mut talk) = target.summoned(&gateway).await;
            heard(&mut stream, &mut talk).await;
            let opened = Answer::Opened { operations: Operations::ALL, path };
            stream.write_all(&talk.reply(&opened)).await.unwrap();
            stream
        };
        let (answer, _stream) = tokio::join!(client.asks(&gateway, Request::Open(open)), agreeing);
        assert_eq!(answer, *expected);
    }
    stop([gateway]).await;
}

/// At each place where a client may fall silent somebody stops waiting.
#[tokio::test]
async fn a_client_that_never_speaks_is_hung_up_on() {
    let log = Log::start();
    let second = Duration::from_secs(1);
    let hasty = |name| builder(name).timeouts(second, second / 4, second);
    let gateway = hasty("gateway").transit(open().idle(second)).start().await.unwrap();
    let (target, _) = target(hasty("target")).await;
    knows(&gateway, &target);
    let client = Client::of(&gateway).await;

    let (mut stream, _) = client.stream(&gateway).await;
    assert!(read(&mut stream).await.is_empty());
    log.says(&["a stream for a tunnel came to nothing", "did not answer within 250ms"]).await;

    let (mut stream, mut talk) = client.stream(&gateway).await;
    stream.write_all(&talk.ask(&Request::Open(client.open(target.name())))).await.unwrap();
    let answer = talk.answer(&read(&mut stream).await).unwrap();
    assert!(matches!(answer, Some(Answer::Opened { .. })), "{answer:?}");
    assert!(read(&mut stream).await.is_empty(), "the target does not wait for ever");
    log.says(&["handshake failed", "no handshake within 250ms"]).await;
    // It has not closed either: the gateway waits no longer than for anybody else.
    has_ended(&gateway).await;
    log.says(&["tunnel closed", "nothing came for 1s"]).await;
    stop([gateway, target]).await;
}

/// A road that swallows everything: nobody says that the client is gone. The
/// target gives it up, and then nothing comes any more.
#[tokio::test]
async fn a_client_that_is_cut_off_leaves_nothing() {
    let second = Duration::from_secs(1);
    let lively = |name| builder(name).keepalive(second);
    let gateway = lively("gateway").transit(open().idle(2 * second)).start().await.unwrap();
    let (target, echo) = target(lively("target")).await;
    let client = lively("client").start().await.unwrap();
    knows(&gateway, &target);
    through(&client, &gateway, &target);
    let tap = Tap::to(&gateway).await;
    let to_tap = NetworkRoute::to("127.0.0.1", tap.port);
    client.network().replace_route(&exact(gateway.name().as_str()), to_tap, 1).unwrap();
    answers(&client, echo, 1).await;
    assert!(!gateway.network().tunnels().is_empty());
    tap.freeze(true);
    has_ended(&gateway).await;
    let links = target.network().peer(client.name().as_str()).map_or(0, |peer| peer.links);
    assert_eq!(links, 0, "the target has given them up");
    tap.freeze(false);
    stop([client, gateway, target]).await;
}

/// A gateway that is gone in the middle of it: named, and the next one is tried.
#[tokio::test]
async fn a_gateway_that_dies_during_the_negotiation_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dying = port_of(&listener);
    let real = gateway("gateway", open()).await;
    let real_port = port(&real);
    // The first stream is the connection itself; those that follow are cut behind Knock.
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", real_port)).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        while let Ok((mut near, _)) = listener.accept().await {
            let _ = near.read(&mut [0; 10]).await;
        }
    });
    let client = node("client").await;
    let target = atom(&unique("target"));
    let to = NetworkRoute::to("127.0.0.1", dying);
    client.network().add_route(&exact(real.name().as_str()), to, 1).unwrap();
    let route = NetworkProxyRoute::via(real.name().as_str());
    client.network().add_proxy_route(&exact(target.as_str()), route, 1).unwrap();
    let attempt = refused(&client, target.as_str()).await;
    assert!(
        matches!(
            &attempt.error,
            AttemptError::Tunnel(
                TunnelError::Negotiation { error: NegotiationError::Closed(_), .. }
                    | TunnelError::Dial { .. }
            )
        ),
        "{attempt}"
    );
    stop([client, real]).await;
}

/// A gateway that takes the call and says nothing: that is over when the route's
/// time is.
#[tokio::test]
async fn a_gateway_that_says_nothing_has_the_time_of_the_route() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = node("client").await;
    let (proxy, target) = (atom(&unique("silent")), atom(&unique("target")));
    let to = postroad::network::NetworkRoute::to("127.0.0.1", port_of(&silent));
    client.network().add_route(&postroad::network::exact(proxy.as_str()), to, 1).unwrap();
    let patience = Duration::from_millis(100);
    let route = postroad::network::NetworkProxyRoute::via(proxy.as_str()).timeout(patience);
    client.network().add_proxy_route(&postroad::network::exact(target.as_str()), route, 1).unwrap();
    let attempt = refused(&client, target.as_str()).await;
    let AttemptError::Tunnel(TunnelError::Timeout { peer, limit }) = attempt.error else {
        panic!("{attempt}");
    };
    assert_eq!((peer, limit), (proxy, patience));
    stop([client]).await;
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// A gateway that is gone while the two ends shake hands: the attempt says where
/// it was, and the next gateway is tried.
#[tokio::test]
async fn a_gateway_that_dies_during_the_handshake_is_an_error() {
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let ergo = introduction("ergo");
    let (desk, name) = (Desk::open().await, ergo.node);
    desk.leads(&gateway, name);
    knows(&client, &gateway);
    let route = NetworkProxyRoute::via(gateway.name().as_str());
    client.network().add_proxy_route(&exact(name.as_str()), route, 1).unwrap();
    let dying = async {
        let mut connected = desk.called(ergo.clone()).await;
        connected.hello().await;
        connected.introduce().await;
        let _connection = connected.agreed().await;
        let mut handshake = desk.called(ergo.clone()).await;
        handshake.hear_hello().await;
        gateway.stop().await;
        handshake.wire.expect_close().await;
    };
    let (attempt, ()) = tokio::join!(refused(&client, name.as_str()), dying);
    assert_eq!((attempt.proxy, attempt.stage), (Some(gateway.name()), Stage::Hello), "{attempt}");
    assert!(matches!(attempt.error, AttemptError::Handshake(_)), "{attempt}");
    stop([client]).await;
}
