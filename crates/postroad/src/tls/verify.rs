//! Which certificates of peers are accepted.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::{CertificateInfo, has_uri};
use super::error::CertificateFault;
use super::options::{ClientAuth, Verify};
use crate::Atom;

/// Checks the certificate of a node that is dialed.
#[derive(Debug)]
pub(super) struct DialedVerifier {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) verify: Verify,
    pub(super) skip: bool,
    /// Empty if certificates are pinned or not checked.
    pub(super) roots: Arc<RootCertStore>,
    pub(super) node: Atom,
}

/// Checks the certificate of a client.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) auth: ClientAuth,
    pub(super) check: ClientCheck,
}

#[derive(Debug)]
pub(super) enum ClientCheck {
    Pinned(Vec<[u8; 32]>),
    Authority(Arc<dyn ClientCertVerifier>),
}

/// Whether a certificate names a node, see [`Verify::NodeName`].
pub(super) fn check_node_name(certificate: &CertificateDer<'_>, node: Atom) -> Result<(), CertificateFault> {
    let uri = format!("postroad:{node}");
    if has_uri(certificate, &uri) { Ok(()) } else { Err(wrong_name(certificate, uri)) }
}

fn wrong_name(certificate: &CertificateDer<'_>, expected: String) -> CertificateFault {
    let has = CertificateInfo::read(certificate).map(|info| info.names).unwrap_or_default();
    CertificateFault::WrongName { expected, has }
}

fn check_pinned(
    certificate: &CertificateDer<'_>,
    pins: &[[u8; 32]],
    now: UnixTime,
) -> Result<(), CertificateFault> {
    let sha256 = super::certificate::sha256(certificate);
    if !pins.contains(&sha256) {
        return Err(CertificateFault::NotPinned { sha256 });
    }
    let Some(info) = CertificateInfo::read(certificate) else {
        return Err(CertificateError::BadEncoding.into());
    };
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
    if now > info.not_after {
        return Err(CertificateFault::Expired { not_after: info.not_after });
    }
    if now < info.not_before {
        return Err(CertificateFault::NotYetValid { not_before: info.not_before });
    }
    Ok(())
}

impl ServerCertVerifier for DialedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let accepted = Ok(ServerCertVerified::assertion());
        if self.skip {
            return accepted;
        }
        if let Verify::Pinned(pins) = &self.verify {
            check_pinned(end_entity, pins, now)?;
            return accepted;
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        match self.verify {
            Verify::HostName if verify_server_name(&certificate, server_name).is_err() => {
                Err(wrong_name(end_entity, name(server_name)).into())
            }
            Verify::NodeName => {
                check_node_name(end_entity, self.node)?;
                accepted
            }
            Verify::HostName | Verify::AuthorityOnly | Verify::Pinned(_) => accepted,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth == ClientAuth::Required
    }

    /// None: a client has one certificate, and shows it whoever it is from.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.check {
            ClientCheck::Authority(authority) => authority.verify_client_cert(end_entity, intermediates, now),
            ClientCheck::Pinned(pins) => {
                check_pinned(end_entity, pins, now)?;
                Ok(ClientCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl From<CertificateFault> for Error {
    fn from(fault: CertificateFault) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
    }
}

fn name(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        other => other.to_str().into_owned(),
    }
}
