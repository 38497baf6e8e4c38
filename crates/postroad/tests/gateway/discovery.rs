//! What registrars know of gateways, and what gateways ask them.

use std::sync::Arc;

use parking_lot::Mutex;
use postroad::Atom;
use postroad::network::{NetworkProxyRoute, NetworkRoute, OnFailure, Reason, TunnelRefusal, exact};
use postroad::registrar::{
    BoxFuture, Endpoint, ProxyEndpoint, RegisterError, Registered, Registrar, Registration, ResolveError,
    Resolver,
};

use crate::support::{builder, node};
use crate::{answers, gateway, inner_door, knows, open, refusal, stop, target, through};

/// Discovery that knows no address, and a way through that node to all others;
/// it notes whom it is asked for.
#[derive(Debug, Default)]
struct Knows {
    proxy: Option<Atom>,
    asked: Mutex<Vec<Atom>>,
}

impl Resolver for Knows {
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        self.asked.lock().push(name);
        Box::pin(async { Err(ResolveError::Unknown) })
    }

    fn resolve_proxy(&self, to: Atom) -> BoxFuture<'_, Result<Vec<ProxyEndpoint>, ResolveError>> {
        self.asked.lock().push(to);
        let proxies = self.proxy.map(|proxy| ProxyEndpoint { to, proxy }).into_iter().collect();
        Box::pin(async { Ok(proxies) })
    }

    fn describe(&self) -> String {
        "discovery".to_owned()
    }
}

impl Registrar for Knows {
    fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async { Ok(Registered::default()) })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// > **Try proxy discovery** - If direct connection fails, try discovered proxy
/// > routes
#[tokio::test]
async fn seed_a_discovered_proxy_leads_there() {
    let gateway = gateway("gateway", open()).await;
    let (target, echo) = target(builder("target")).await;
    knows(&gateway, &target);
    let registrar = Arc::new(Knows { proxy: Some(gateway.name()), ..Knows::default() });
    let client = builder("client").registrar(registrar).start().await.unwrap();
    knows(&client, &gateway);
    answers(&client, echo, 1).await;
    let peer = client.network().peer(target.name().as_str()).unwrap();
    assert_eq!(peer.path, [client.name(), gateway.name(), target.name()]);
    assert_eq!(peer.road.unwrap().reason, Reason::Discovery);
    stop([client, gateway, target]).await;
}

/// Whose peer has failed to prove itself does not look for another address of it,
/// a gateway neither: it would be led wherever somebody wants who drops packets
/// and can write to the registrar.
#[tokio::test]
async fn a_gateway_asks_no_registrar_after_a_failed_identity_check() {
    let registrar = Arc::new(Knows::default());
    let asking = builder("gateway").transit(open()).registrar(registrar.clone());
    let gateway = asking.on_failure(OnFailure::Discover).start().await.unwrap();
    let client = node("client").await;
    let (stranger, _) = target(builder("target").acceptor(inner_door())).await;
    // The first acceptor of the builder has the cookie that all know.
    let door = stranger.network().acceptors()[1].address.port();
    let to_stranger = NetworkRoute::to("127.0.0.1", door);
    gateway.network().add_route(&exact(stranger.name().as_str()), to_stranger, 1).unwrap();
    through(&client, &gateway, &stranger);
    let refused = refusal(&client, stranger.name().as_str()).await;
    assert_eq!(refused, (gateway.name(), TunnelRefusal::Unreachable));
    assert!(registrar.asked.lock().is_empty(), "the target had another cookie");

    // The same for another gateway on the way that has another cookie.
    let beyond = node("beyond").await;
    through(&client, &gateway, &beyond);
    let onward = NetworkProxyRoute::via(stranger.name().as_str());
    gateway.network().add_proxy_route(&exact(beyond.name().as_str()), onward, 1).unwrap();
    let refused = refusal(&client, beyond.name().as_str()).await;
    assert_eq!(refused, (gateway.name(), TunnelRefusal::Unreachable));
    assert!(registrar.asked.lock().is_empty(), "the next gateway had another cookie");

    // Who is not there at all is another matter.
    let absent = NetworkRoute::to("127.0.0.1", crate::support::dead_port());
    let _ = gateway.network().remove_proxy_route(&exact(beyond.name().as_str()));
    gateway.network().add_route(&exact(beyond.name().as_str()), absent, 1).unwrap();
    refusal(&client, beyond.name().as_str()).await;
    assert_eq!(*registrar.asked.lock(), [beyond.name(); 2]);
    stop([client, gateway, stranger, beyond]).await;
}
