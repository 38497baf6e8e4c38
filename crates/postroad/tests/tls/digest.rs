//! The certificate is bound to the cookie (`docs/wire/EHS.md` section 4).

use std::sync::Arc;

use postroad::network::{AttemptError, HandshakeError, NetworkRoute, Stage};
use postroad::tls::TlsOptions;
use postroad_wire::ehs::HandshakeError as Ehs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::{Authority, Issued, Leaf};
use crate::support::port;
use crate::{answers, dial, node, refused};

/// Ends TLS with a certificate of its own, and goes on with TLS to `target`:
/// a load balancer, or somebody who listens in. Runs until the test ends.
async fn in_between(target: u16, shows: &Issued, authority: &Authority) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let outward = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let chain = vec![CertificateDer::from_pem_slice(shows.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(shows.key.as_bytes()).unwrap();
    let inward = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (acceptor, connector) = (TlsAcceptor::from(Arc::new(inward)), TlsConnector::from(Arc::new(outward)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(near).await else { return };
                let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let name = ServerName::try_from("127.0.0.1").unwrap();
                let mut far = connector.connect(name, far).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    port
}

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
