//! Which cryptography TLS uses.

use std::sync::{Arc, LazyLock};

use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{DerSignature, VerifyingKey};
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

/// *ring*, and beside it what it cannot do and Ergo nodes need: certificates
/// with keys on the curve P-521, which Ergo's own helper makes. Such a
/// certificate of a peer is understood; a node cannot have one itself.
pub(super) fn provider() -> Arc<CryptoProvider> {
    // Nothing but a constant that cannot be written as one.
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = ring::default_provider();
        let WebPkiSupportedAlgorithms { all, mapping } = provider.signature_verification_algorithms;
        provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
            all: [all, &[P521_SHA512]].concat().leak(),
            mapping: [mapping, &[(SignatureScheme::ECDSA_NISTP521_SHA512, &[P521_SHA512])]].concat().leak(),
        };
        Arc::new(provider)
    });
    PROVIDER.clone()
}

const P521_SHA512: &dyn SignatureVerificationAlgorithm = &P521;

#[derive(Debug)]
struct P521;

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = DerSignature::from_bytes(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}
