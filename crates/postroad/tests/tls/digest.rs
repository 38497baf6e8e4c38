//! The certificate is bound to the cookie (`docs/wire/EHS.md` section 4).

use postroad::network::{AttemptError, HandshakeError, NetworkRoute, Stage};
use postroad::tls::TlsOptions;
use postroad_wire::ehs::HandshakeError as Ehs;

use crate::support::authority::{Authority, Leaf};
use crate::support::between::in_between;
use crate::support::port;
use crate::{answers, dial, node, refused};

/// Somebody with a certificate that is as good as the node's own, for the same
/// name and from the same authority, but without the cookie.
#[tokio::test]
async fn who_stands_in_between_is_found_out() {
    let authority = Authority::new("ours");
    let (there, _) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let listener = in_between(port(&there), &authority.issue(Leaf::local()), &authority).await;
    let route = || NetworkRoute::to("127.0.0.1", listener).tls(true);
    // Also where certificates are not checked at all.
    for route in [route(), route().insecure_skip_verify(true)] {
        let attempt = refused(&here, &there, route).await;
        assert!(
            matches!(attempt.error, AttemptError::Handshake(HandshakeError::Protocol(Ehs::WrongCertificate))),
            "{attempt}"
        );
        assert_eq!(attempt.stage, Stage::Hello);
        assert!(attempt.error.is_distrust());
    }
    assert!(there.network().peers().is_empty());
}

/// Where a load balancer ends TLS, that is as it should be.
#[tokio::test]
async fn a_load_balancer_may_end_tls() {
    let authority = Authority::new("ours");
    let (there, echo) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let listener = in_between(port(&there), &authority.issue(Leaf::local()), &authority).await;
    let route = || NetworkRoute::to("127.0.0.1", listener).tls(true);
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    dial(&here, &there, route().certificate_digest(false)).await.unwrap();
    answers(&here, echo).await;
    // The other links go the same way.
    let joined = async {
        while here.network().peer(there.name().as_str()).unwrap().links < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), joined).await.unwrap();
    // As an option of the node it can be taken back by a route.
    let lax = TlsOptions::new().trust(authority.trust()).certificate_digest(false);
    let (here, _) = node("here", lax).await;
    refused(&here, &there, route().certificate_digest(true)).await;
    dial(&here, &there, route()).await.unwrap();
}
