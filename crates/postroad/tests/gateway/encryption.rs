//! From end to end: what the gateway cannot read, and cannot change unnoticed.

use std::time::Duration;

use postroad::network::{
    AttemptError, NetworkEvent, NetworkMode, NetworkProxyRoute, NetworkRoute, ProxyFlags, Stage,
    TransitOptions, TransitRule, TunnelRefusal, exact,
};
use postroad::tls::TlsOptions;
use postroad::{Node, NodeBuilder, Pid};
use postroad_wire::tunnel::{Answer, Operations};

use crate::liar;
use crate::support::authority::Authority;
use crate::support::log::Log;
use crate::support::scripted::{Caller, introduction};
use crate::support::{COOKIE, EVERYTHING, builder, next, node, port, probe, unique};
use crate::tap::Tap;
use crate::{answers, gateway, knows, open, refusal, refused, stop, target};

/// What nobody on the way is to read.
const SECRET: &str = "meet me behind the old post office at nine";

fn encrypted(gateway: &Node) -> NetworkProxyRoute {
    let flags = ProxyFlags { encryption: true, ..ProxyFlags::default() };
    NetworkProxyRoute::via(gateway.name().as_str()).flags(flags)
}

/// A client, a tap, a gateway, and a target with a certificate.
async fn tapped(route: impl FnOnce(&Node) -> NetworkProxyRoute) -> (Node, Tap, Node, Node, Pid) {
    let authority = Authority::new("ours");
    let certified = builder("target").tls(TlsOptions::new().identity(authority.identity()));
    row(&authority, certified, |to| to.tls(true).trust(authority.trust()), route).await
}

/// A client, a tap, a gateway and a target, one link between the ends.
async fn row(
    authority: &Authority,
    target: NodeBuilder,
    onward: impl FnOnce(NetworkRoute) -> NetworkRoute,
    route: impl FnOnce(&Node) -> NetworkProxyRoute,
) -> (Node, Tap, Node, Node, Pid) {
    let (target, echo) = crate::target(target.pool_size(1)).await;
    let gateway = gateway("gateway", open()).await;
    let to = onward(NetworkRoute::to("127.0.0.1", port(&target)));
    gateway.network().add_route(&exact(target.name().as_str()), to, 1).unwrap();
    let tap = Tap::to(&gateway).await;
    // Who waits for an answer that was spoiled on the way shall not wait long.
    let second = Duration::from_secs(1);
    let client = builder("client").tls(TlsOptions::new().trust(authority.trust()));
    let client = client.timeouts(second, 2 * second, 3 * second).start().await.unwrap();
    let to_tap = NetworkRoute::to("127.0.0.1", tap.port);
    client.network().add_route(&exact(gateway.name().as_str()), to_tap, 1).unwrap();
    client.network().add_proxy_route(&exact(target.name().as_str()), route(&gateway), 1).unwrap();
    (client, tap, gateway, target, echo)
}

#[tokio::test]
async fn the_gateway_sees_no_plaintext() {
    let (client, tap, gateway, target, echo) = tapped(encrypted).await;
    let (far, mut inbox) = probe(&target).await;
    client.send(far, SECRET.to_owned()).await.unwrap();
    assert_eq!(next::<String>(&mut inbox).await, SECRET);
    answers(&client, echo, 1).await;
    assert!(client.network().peer(target.name().as_str()).unwrap().operations.unwrap().encryption);
    assert!(tap.saw(client.name().as_str()), "the tap sees what passes");
    assert!(!tap.saw(SECRET));
    stop([client, gateway, target]).await;
}

/// The same without encryption: so this test and the next one show something.
#[tokio::test]
async fn without_encryption_the_gateway_reads_and_changes_everything() {
    let plain = |gateway: &Node| NetworkProxyRoute::via(gateway.name().as_str());
    let row = row(&Authority::new("ours"), builder("target"), |to| to, plain).await;
    let (client, tap, gateway, target, echo) = row;
    answers(&client, echo, 1).await;
    let (far, mut inbox) = probe(&target).await;
    tap.tamper(true);
    client.send(far, SECRET.to_owned()).await.unwrap();
    assert_eq!(next::<String>(&mut inbox).await, SECRET.replace("nine", "nind"));
    assert!(tap.saw(SECRET));
    stop([client, gateway, target]).await;
}

/// What was changed between the two ends is an error, and no message. What the
/// gateway itself is told stays as it is.
#[tokio::test]
async fn a_gateway_that_tampers_is_found_out() {
    let log = Log::start();
    let (client, tap, gateway, target, echo) = tapped(encrypted).await;
    answers(&client, echo, 1).await;
    let (far, mut inbox) = probe(&target).await;
    let mut events = client.network().subscribe();
    tap.tamper(true);
    client.send(far, SECRET.to_owned()).await.unwrap();
    log.says(&["link closed", client.name().as_str(), "cannot decrypt peer's message"]).await;
    let lost = |event| matches!(event, NetworkEvent::Disconnected { peer, .. } if peer == target.name());
    while !lost(events.recv().await.unwrap()) {}
    let attempt = refused(&client, target.name().as_str()).await;
    assert_eq!(attempt.stage, Stage::Tls, "{attempt}");
    assert!(matches!(attempt.error, AttemptError::Tls(_)), "{attempt}");
    assert!(inbox.try_recv().is_err(), "nothing of it arrived");
    assert!(client.network().peer(gateway.name().as_str()).is_some());
    tap.tamper(false);
    client.network().connect(target.name().as_str()).await.unwrap();
    client.send(far, "untouched".to_owned()).await.unwrap();
    assert_eq!(next::<String>(&mut inbox).await, "untouched");
    stop([client, gateway, target]).await;
}

/// A gateway may be told not to carry what it cannot read; it says so itself.
#[tokio::test]
async fn a_rule_without_encryption_refuses_it() {
    let (client, _, gateway, target, echo) = tapped(encrypted).await;
    let rule = |operations| {
        let rule = TransitRule::new(".*", ".*").unwrap().operations(operations);
        gateway.network().set_transit(Some(TransitOptions::new().allow(rule)));
    };
    rule(EVERYTHING);
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (gateway.name(), TunnelRefusal::NoEncryption));
    rule(ProxyFlags { encryption: true, ..ProxyFlags::NONE });
    client.network().connect(target.name().as_str()).await.unwrap();
    answers(&client, echo, 1).await;
    stop([client, gateway, target]).await;
}

/// A target that demands TLS gets it from whoever is brought, whatever the one says
/// who brings them.
#[tokio::test]
async fn a_gateway_that_lies_about_encryption_lets_nobody_in() {
    let log = Log::start();
    let tls = TlsOptions::new().identity(Authority::new("ours").identity());
    let target = Node::builder(unique("hidden")).cookie(COOKIE).network(NetworkMode::Hidden);
    let target = target.without_registrar().tls(tls).start().await.unwrap();
    let gateway = liar::Gateway::open().await;
    gateway.leads(&target);
    let network = target.network();
    let connecting = network.connect(gateway.name().as_str());
    let (connected, mut link) = tokio::join!(connecting, gateway.meets());
    connected.unwrap();
    let guest = introduction("guest");
    let path = vec![guest.node, gateway.name()];
    let (_, answer) = gateway.brings(&mut link, Operations::NONE, path.clone()).await;
    let reason = TunnelRefusal::EncryptionRequired;
    assert_eq!(answer, Answer::Refused { hop: target.name(), reason });
    let (stream, answer) = gateway.brings(&mut link, Operations::ENCRYPTION, path).await;
    assert!(matches!(answer, Answer::Opened { .. }), "{answer:?}");
    let name = guest.node;
    let mut caller = Caller::on(stream, guest);
    caller.say().await;
    caller.wire.expect_close().await;
    log.says(&["handshake failed", name.as_str(), "does not speak TLS"]).await;
    assert!(network.peer(name.as_str()).is_none());
    stop([target]).await;
}

/// A door with TLS does not let guests in who bring none.
#[tokio::test]
async fn a_door_with_tls_demands_it_of_its_guests() {
    let plain = |gateway: &Node| NetworkProxyRoute::via(gateway.name().as_str());
    let (client, _, gateway, target, _) = tapped(plain).await;
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (target.name(), TunnelRefusal::EncryptionRequired));
    stop([client, gateway, target]).await;
}

/// Who asks for encryption does not get less.
#[tokio::test]
async fn a_target_without_certificate_cannot_encrypt() {
    let gateway = gateway("gateway", open()).await;
    let (target, _) = target(builder("target")).await;
    knows(&gateway, &target);
    let skip = TlsOptions::new().insecure_skip_verify(true);
    let client = builder("client").tls(skip).start().await.unwrap();
    knows(&client, &gateway);
    let pattern = exact(target.name().as_str());
    client.network().add_proxy_route(&pattern, encrypted(&gateway), 1).unwrap();
    let refused = refusal(&client, target.name().as_str()).await;
    assert_eq!(refused, (target.name(), TunnelRefusal::NoEncryption));
    stop([client, gateway, target]).await;
}

/// The static route to the target demands TLS: through a gateway as well.
#[tokio::test]
async fn a_route_that_demands_tls_demands_it_through_a_gateway() {
    let plain = |gateway: &Node| NetworkProxyRoute::via(gateway.name().as_str());
    let (client, tap, gateway, target, echo) = tapped(plain).await;
    let dead = NetworkRoute::to("127.0.0.1", crate::support::dead_port()).tls(true);
    client.network().add_route(&exact(target.name().as_str()), dead, 1).unwrap();
    client.network().connect(target.name().as_str()).await.unwrap();
    answers(&client, echo, 1).await;
    assert!(client.network().peer(target.name().as_str()).unwrap().operations.unwrap().encryption);
    assert!(!tap.saw(SECRET));
    stop([client, gateway, target]).await;
}

/// TLS with the gateway is one thing, with the target another: without the
/// latter the two ends still shake hands, and neither takes the gateway's
/// certificate for one of the other end.
#[tokio::test]
async fn tls_with_the_gateway_is_not_tls_with_the_target() {
    let authority = Authority::new("ours");
    let gateway = builder("gateway").transit(open()).tls(TlsOptions::new().identity(authority.identity()));
    let gateway = gateway.start().await.unwrap();
    let client = node("client").await;
    let (plain, echo) = target(builder("plain")).await;
    let (hidden, far) = target(builder("hidden")).await;
    let secure = || NetworkRoute::to("127.0.0.1", port(&gateway)).tls(true).trust(authority.trust());
    for node in [&client, &hidden] {
        node.network().add_route(&exact(gateway.name().as_str()), secure(), 1).unwrap();
    }
    knows(&gateway, &plain);
    hidden.network().connect(gateway.name().as_str()).await.unwrap();
    for (target, echo) in [(&plain, echo), (&hidden, far)] {
        let route = NetworkProxyRoute::via(gateway.name().as_str());
        client.network().add_proxy_route(&exact(target.name().as_str()), route, 1).unwrap();
        answers(&client, echo, 1).await;
        assert!(!client.network().peer(target.name().as_str()).unwrap().operations.unwrap().encryption);
    }
    stop([client, gateway, plain, hidden]).await;
}
