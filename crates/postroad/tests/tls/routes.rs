//! What routes, the node and registrars say about TLS.

use std::sync::Arc;

use postroad::network::{ConnectError, Discovery, NetworkRoute, OnFailure, exact};
use postroad::registrar::{BoxFuture, Endpoint, ResolveError, Resolver};
use postroad::tls::{CertificateFault, ClientAuth, TlsHandshakeError, TlsOptions, Verify};
use postroad::{Atom, Node};

use crate::support::authority::{Authority, Leaf};
use crate::support::{builder, port, registrar_options};
use crate::{answers, dial, fault, node, refused, tls_error, to};

/// Knows one address of whoever is asked for.
#[derive(Debug)]
struct Knows(Endpoint);

impl Knows {
    fn plainly(node: &Node) -> Arc<dyn Resolver> {
        Arc::new(Self(Endpoint {
            host: "127.0.0.1".to_owned(),
            port: port(node),
            tls: false,
            handshake_version: postroad_wire::Version::ehs(),
            proto_version: postroad_wire::Version::enp(),
        }))
    }
}

impl Resolver for Knows {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async { Ok(vec![self.0.clone()]) })
    }

    fn describe(&self) -> String {
        "a resolver".to_owned()
    }
}

/// > Different routes can use different certificates. Your production nodes
/// > might use certificates from one CA. A partner's nodes might use
/// > certificates from another CA. Each route gets its own certificate manager,
/// > allowing you to maintain separate trust chains.
#[tokio::test]
async fn seed_separate_trust_chains() {
    let (ours, theirs) = (Authority::new("production"), Authority::new("partner"));
    let asks = |authority: &Authority| {
        TlsOptions::new()
            .identity(authority.identity())
            .trust(authority.trust())
            .client_auth(ClientAuth::Required)
    };
    let (production, production_echo) = node("production", asks(&ours)).await;
    let (partner, partner_echo) = node("partner", asks(&theirs)).await;
    let options = TlsOptions::new().identity(ours.identity()).trust(ours.trust());
    let (here, _) = node("here", options).await;
    dial(&here, &production, to(&production)).await.unwrap();
    answers(&here, production_echo).await;

    let attempt = refused(&here, &partner, to(&partner)).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
    let attempt = refused(&here, &partner, to(&partner).trust(theirs.trust())).await;
    assert!(matches!(tls_error(&attempt), TlsHandshakeError::CertificateRefused { .. }), "{attempt}");
    let route = to(&partner).trust(theirs.trust()).identity(theirs.identity());
    dial(&here, &partner, route).await.unwrap();
    answers(&here, partner_echo).await;
}

/// > In this example, even if the resolver returns a non-TLS route, the
/// > framework forces TLS.
#[tokio::test]
async fn seed_tls_over_what_a_resolver_says() {
    let authority = Authority::new("ours");
    let (there, echo) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let resolved = || NetworkRoute::resolve_with(Knows::plainly(&there));
    dial(&here, &there, resolved().tls(true)).await.unwrap();
    answers(&here, echo).await;
    // What would be lost without TLS demands it as well.
    for route in [
        resolved().trust(authority.trust()),
        resolved().verify(Verify::HostName),
        resolved().identity(authority.identity()),
    ] {
        here.network().disconnect(there.name().as_str()).await;
        dial(&here, &there, route).await.unwrap();
    }
}

/// A registrar proves nothing: it may have been made to say that there is no
/// TLS. Not even the first byte of the handshake goes there without.
#[tokio::test]
async fn required_tls_is_not_talked_away() {
    let authority = Authority::new("ours");
    let here = builder("here")
        .tls(TlsOptions::new().trust(authority.trust()))
        .require_tls(true)
        .acceptor(postroad::network::AcceptorOptions::bind("127.0.0.1", 0).plain())
        .network(postroad::NetworkMode::Hidden)
        .start()
        .await
        .unwrap();
    let (plain, _) = node("plain", TlsOptions::new()).await;
    let (secure, echo) = node("secure", TlsOptions::new().identity(authority.identity())).await;
    for route in [
        NetworkRoute::resolve_with(Knows::plainly(&plain)),
        NetworkRoute::to("127.0.0.1", port(&plain)),
        NetworkRoute::to("127.0.0.1", port(&plain)).tls(false),
    ] {
        let attempt = refused(&here, &plain, route).await;
        assert!(matches!(tls_error(&attempt), TlsHandshakeError::Closed), "{attempt}");
    }
    dial(&here, &secure, NetworkRoute::resolve_with(Knows::plainly(&secure))).await.unwrap();
    answers(&here, echo).await;
}

/// A node that registers says that it speaks TLS, and is dialed with what the
/// node that looks for it says.
#[tokio::test]
async fn discovery_tells_of_tls() {
    let authority = Authority::new("ours");
    let registrar = registrar_options();
    let start = async |name: &str, tls| {
        let node = builder(name).embedded_registrar(registrar.clone()).tls(tls).start().await.unwrap();
        let echo = node.spawn::<crate::support::Echo>(()).await.unwrap();
        (node, echo)
    };
    let (there, echo) = start("there", TlsOptions::new().identity(authority.identity())).await;
    let (here, _) = start("here", TlsOptions::new().trust(authority.trust())).await;
    let (stranger, _) = start("stranger", TlsOptions::new().trust(Authority::new("other").trust())).await;
    answers(&here, echo).await;
    let Err(ConnectError::NoRoute(no_route)) = stranger.network().connect(there.name().as_str()).await else {
        panic!("trusts somebody else")
    };
    assert!(matches!(fault(&no_route.attempts[0]), CertificateFault::UnknownAuthority), "{no_route}");
}

/// Who shows a wrong certificate does not turn the node to another address.
#[tokio::test]
async fn a_wrong_certificate_never_falls_back() {
    let authority = Authority::new("ours");
    let registrar = registrar_options();
    let there = builder("there")
        .embedded_registrar(registrar.clone())
        .tls(TlsOptions::new().identity(authority.identity()))
        .start()
        .await
        .unwrap();
    let here = builder("here").embedded_registrar(registrar).start().await.unwrap();
    let name = there.name();
    let route = to(&there).trust(Authority::new("other").trust()).on_failure(OnFailure::Discover);
    here.network().add_route(&exact(name.as_str()), route, 1).unwrap();
    let Err(ConnectError::NoRoute(no_route)) = here.network().connect(name.as_str()).await else {
        panic!("trusts somebody else")
    };
    assert_eq!(no_route.discovery, Discovery::Distrusted, "{no_route}");
    assert_eq!(no_route.attempts.len(), 1);
}

#[tokio::test]
async fn routes_and_plans_say_what_holds() {
    let authority = Authority::new("ours");
    let options = TlsOptions::new().identity(authority.identity()).verify(Verify::NodeName);
    let (here, _) = node("here", options).await;
    let route = NetworkRoute::to("db.example.com", 4370).trust(authority.trust()).certificate_digest(false);
    assert_eq!(route.to_string(), "db.example.com:4370, TLS, own trust roots, without certificate digest");
    here.network().add_route("^db@", route, 1).unwrap();
    let plan = here.network().explain("db@example.com").await.unwrap().to_string();
    assert!(
        plan.contains(
            "TLS (checks the node name with given roots, no certificate digest, shows a certificate)"
        ),
        "{plan}"
    );
    let lax = NetworkRoute::to("lab", 1).tls(true).insecure_skip_verify(true);
    assert_eq!(lax.to_string(), "lab:1, TLS, INSECURE: accepts any certificate");
    let pinned = Verify::Pinned(vec![Leaf::local().self_signed().sha256()]);
    assert_eq!(
        NetworkRoute::to("lab", 1).verify(pinned).insecure_skip_verify(false).to_string(),
        "lab:1, TLS, checks 1 pinned certificates, certificates are always checked"
    );
    let secret = format!("{:?}", authority.identity());
    assert!(secret.starts_with("Identity(") && !secret.contains("PRIVATE"), "{secret}");
}

/// What nothing is said about stays as the node says it; a node without any of
/// it asks the system whom to trust.
#[tokio::test]
async fn the_system_s_trust_store_is_the_default() {
    let authority = Authority::new("ours");
    let (there, _) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let (here, _) = node("here", TlsOptions::new()).await;
    let attempt = refused(&here, &there, to(&there)).await;
    match tls_error(&attempt) {
        TlsHandshakeError::Certificate(CertificateFault::UnknownAuthority)
        | TlsHandshakeError::Own(postroad::tls::TlsError::NoSystemRoots) => {}
        other => panic!("{other}"),
    }
}
