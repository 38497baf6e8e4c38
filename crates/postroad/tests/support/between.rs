//! Somebody between two nodes.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::{Authority, Issued};

/// Ends TLS with a certificate of its own, and goes on with TLS to `target`:
/// a load balancer, or somebody who listens in. Runs until the test ends.
pub async fn in_between(target: u16, shows: &Issued, authority: &Authority) -> u16 {
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
