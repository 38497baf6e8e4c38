//! From end to end: what the gateway cannot read, and cannot change unnoticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postroad::network::{NetworkProxyRoute, NetworkRoute, ProxyFlags, TunnelRefusal, exact};
use postroad::tls::TlsOptions;
use postroad::{Node, Pid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::authority::Authority;
use crate::support::{builder, next, node, port, probe};
use crate::{answers, gateway, knows, open, refusal, stop, target, through};

/// What nobody on the way is to read.
const SECRET: &str = "meet me behind the old post office at nine";

/// Sits between two nodes: keeps what passes, and changes it if told to.
struct Tap {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    tampers: Arc<AtomicBool>,
}

impl Tap {
    async fn to(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), port(node));
        let (seen, tampers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let tap = Self { port, seen: seen.clone(), tampers: tampers.clone() };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                for (mut source, mut sink) in [(near_in, far_out), (far_in, near_out)] {
                    let (seen, tampers) = (seen.clone(), tampers.clone());
                    tokio::spawn(async move {
                        let mut buffer = vec![0; 65536];
                        while let Ok(read @ 1..) = source.read(&mut buffer).await {
                            seen.lock().extend_from_slice(&buffer[..read]);
                            if tampers.load(Ordering::Relaxed) {
                                buffer[read - 1] ^= 1;
                            }
                            if sink.write_all(&buffer[..read]).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        });
        tap
    }

    fn saw(&self, text: &str) -> bool {
        self.seen.lock().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

fn encrypted(gateway: &Node) -> NetworkProxyRoute {
    let flags = ProxyFlags { encryption: true, ..ProxyFlags::default() };
    NetworkProxyRoute::via(gateway.name().as_str()).flags(flags)
}

/// A client, a tap, a gateway, and a target with a certificate.
async fn tapped(route: impl FnOnce(&Node) -> NetworkProxyRoute) -> (Node, Tap, Node, Node, Pid) {
    let authority = Authority::new("ours");
    let (target, echo) =
        target(builder("target").tls(TlsOptions::new().identity(authority.identity()))).await;
    let gateway = gateway("gateway", open()).await;
    let to = NetworkRoute::to("127.0.0.1", port(&target)).tls(true).trust(authority.trust());
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

/// The same without encryption: so the test above shows something.
#[tokio::test]
async fn without_encryption_the_gateway_sees_everything() {
    let (client, gateway) = (node("client").await, gateway("gateway", open()).await);
    let (target, _) = target(builder("target")).await;
    let tap = Tap::to(&target).await;
    let to_tap = NetworkRoute::to("127.0.0.1", tap.port);
    gateway.network().add_route(&exact(target.name().as_str()), to_tap, 1).unwrap();
    through(&client, &gateway, &target);
    let (far, mut inbox) = probe(&target).await;
    client.send(far, SECRET.to_owned()).await.unwrap();
    assert_eq!(next::<String>(&mut inbox).await, SECRET);
    assert!(tap.saw(SECRET));
    stop([client, gateway, target]).await;
}

/// What was changed on the way is an error, and no message.
#[tokio::test]
async fn a_gateway_that_tampers_is_found_out() {
    let (client, tap, gateway, target, echo) = tapped(encrypted).await;
    answers(&client, echo, 1).await;
    let mut events = client.network().subscribe();
    tap.tampers.store(true, Ordering::Relaxed);
    let _ = client.send(echo, SECRET.to_owned()).await;
    loop {
        if let postroad::network::NetworkEvent::Disconnected { peer, .. } = events.recv().await.unwrap()
            && peer == target.name()
        {
            break;
        }
    }
    let error = client.network().connect(target.name().as_str()).await.unwrap_err();
    assert!(error.to_string().contains("no route"), "{error}");
    stop([client, gateway, target]).await;
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
