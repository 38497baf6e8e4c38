//! TLS handshakes, on either side.

use std::sync::Arc;

use postroad_wire::ehs::{Fingerprint, fingerprint};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::error::{CertificateFault, TlsError, TlsHandshakeError};
use super::options::{ClientAuth, TlsOptions, Verify};
use super::provider::provider;
use super::verify::{ClientCheck, ClientVerifier, DialedVerifier, check_node_name};
use super::{Identity, Trust};
use crate::Atom;
use crate::network::Stream;

/// How a node is dialed with TLS: for the first link and those that follow,
/// with what is in use at the time of each.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    identity: Option<Identity>,
    /// Absent if certificates are pinned or not checked.
    trust: Option<Trust>,
    verify: Verify,
    skip: bool,
    digest: bool,
}

/// How an acceptor answers with TLS.
#[derive(Debug, Clone)]
pub(crate) struct Answering {
    identity: Identity,
    trust: Option<Trust>,
    verify: Verify,
    client_auth: ClientAuth,
}

/// A stream with TLS, and what its handshake showed.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<Stream>,
    /// Of the certificate that the accepting side served in this handshake, if
    /// the cookie is to be bound to it.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether it was this node that answered, and the client showed a certificate.
    pub(crate) client_has_shown: bool,
    /// The certificate of the client, if names of nodes are to be found in it.
    named_by: Option<CertificateDer<'static>>,
    /// Whether it is with a gateway, and not with the peer.
    pub(crate) with_neighbour: bool,
}

impl Secured {
    /// What its handshake showed is about a gateway.
    pub(crate) fn is_with_neighbour(&mut self) {
        (self.fingerprint, self.client_has_shown, self.named_by) = (None, false, None);
        self.with_neighbour = true;
    }

    /// Whether the certificate that the client showed names this node, if it
    /// has to.
    pub(crate) fn check_node_name(&self, node: Atom) -> Result<(), CertificateFault> {
        self.named_by.as_ref().map_or(Ok(()), |certificate| check_node_name(certificate, node))
    }
}

impl Asking {
    /// From what holds for an attempt. The system's trust store is asked for if
    /// it is needed.
    pub(crate) fn new(
        options: &TlsOptions,
        system: impl FnOnce() -> Result<Trust, TlsError>,
    ) -> Result<Self, TlsError> {
        let verify = options.verify.clone().unwrap_or_default();
        let skip = options.insecure_skip_verify.unwrap_or_default();
        let trust = match &options.trust {
            _ if skip || matches!(verify, Verify::Pinned(_)) => None,
            Some(trust) => Some(trust.clone()),
            None => Some(system()?),
        };
        let digest = options.certificate_digest.unwrap_or(true);
        Ok(Self { identity: options.identity.clone(), trust, verify, skip, digest })
    }

    /// Makes a dialed stream secure.
    pub(crate) async fn secure(
        &self,
        socket: Stream,
        host: &str,
        node: Atom,
    ) -> Result<Secured, TlsHandshakeError> {
        let server_name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsHandshakeError::ServerName { host: host.to_owned() })?;
        let connecting = TlsConnector::from(self.config(node)?).connect(server_name, socket);
        let stream = connecting.await.map_err(TlsHandshakeError::of_io)?;
        let (_, session) = stream.get_ref();
        let served = session.peer_certificates().and_then(<[_]>::first);
        let fingerprint = served.filter(|_| self.digest).map(|served| fingerprint(served));
        Ok(Secured {
            stream: stream.into(),
            fingerprint,
            client_has_shown: false,
            named_by: None,
            with_neighbour: false,
        })
    }

    fn config(&self, node: Atom) -> Result<Arc<ClientConfig>, TlsHandshakeError> {
        let provider = provider();
        let verifier = DialedVerifier {
            provider: provider.clone(),
            verify: self.verify.clone(),
            skip: self.skip,
            roots: self.trust.as_ref().map_or_else(|| Arc::new(RootCertStore::empty()), Trust::roots),
            node,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Shows(self.identity.as_ref().map(Identity::key))));
        // A session that is resumed shows no certificate: neither could it be
        // checked against new roots, nor would it be the one that is served now.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl Answering {
    /// From what holds for an acceptor.
    pub(crate) fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let Some(identity) = options.identity.clone() else { return Err(TlsError::NoIdentity) };
        let verify = options.verify.clone().unwrap_or_default();
        let client_auth = options.client_auth.unwrap_or_default();
        let pinned = matches!(verify, Verify::Pinned(_));
        if client_auth != ClientAuth::None && options.trust.is_none() && !pinned {
            return Err(TlsError::NoTrust);
        }
        Ok(Self { identity, trust: options.trust.clone(), verify, client_auth })
    }

    /// Whether certificates of clients are checked here as those of dialed peers
    /// are under these options, or for the name of the node.
    pub(crate) fn checks_as_well_as(&self, asked: &TlsOptions) -> bool {
        match (&self.verify, asked.verify.as_ref().unwrap_or(&Verify::HostName)) {
            (Verify::NodeName, _) => true,
            (Verify::Pinned(pins), Verify::Pinned(asked)) => pins.iter().all(|pin| asked.contains(pin)),
            (verify, asked_verify) => verify == asked_verify && self.trust == asked.trust,
        }
    }

    /// Makes an accepted stream secure.
    pub(crate) async fn secure(&self, socket: Stream) -> Result<Secured, TlsHandshakeError> {
        let key = self.identity.key();
        let fingerprint = key.cert.first().map(|served| fingerprint(served));
        let accepting = TlsAcceptor::from(self.config(key)?).accept(socket);
        let stream = accepting.await.map_err(|error| match TlsHandshakeError::of_io(error) {
            TlsHandshakeError::Closed => TlsHandshakeError::DialerClosed,
            other => other,
        })?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let named_by =
            shown.filter(|_| self.verify == Verify::NodeName).map(|shown| shown.clone().into_owned());
        let client_has_shown = shown.is_some();
        Ok(Secured { stream: stream.into(), fingerprint, client_has_shown, named_by, with_neighbour: false })
    }

    fn config(&self, key: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, TlsHandshakeError> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match self.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            _ => builder.with_client_cert_verifier(Arc::new(self.client_verifier()?)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Shows(Some(key))));
        // As on the dialing side.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn client_verifier(&self) -> Result<ClientVerifier, TlsHandshakeError> {
        let check = match (&self.verify, &self.trust) {
            (Verify::Pinned(pins), _) => ClientCheck::Pinned(pins.clone()),
            (_, None) => return Err(TlsError::NoTrust.into()),
            (_, Some(trust)) => ClientCheck::Authority(
                WebPkiClientVerifier::builder_with_provider(trust.roots(), provider())
                    .build()
                    .map_err(|_| TlsError::NoTrust)?,
            ),
        };
        Ok(ClientVerifier { provider: provider(), auth: self.client_auth, check })
    }
}

/// Shows one certificate, whoever asks: the one that was in use when the
/// handshake began.
#[derive(Debug)]
struct Shows(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
