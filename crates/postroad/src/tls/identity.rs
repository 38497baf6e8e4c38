//! Who a node is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls::{Error as Rustls, InconsistentKeys};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};
use tokio::sync::watch;

use super::certificate::{CertificateInfo, certificates};
use super::error::TlsError;
use super::kept::{Kept, Material, ReloadFailure, Source};
use super::provider::provider;

/// A certificate chain and its private key, as a node shows them to others.
///
/// A handle: clones are handles of the same thing, and nodes, acceptors and
/// routes can share it. When it is replaced, connections made from then on use
/// the new one and live ones stay. What cannot be used never replaces what is
/// in use.
///
/// ```no_run
/// use postroad::tls::{Identity, TlsOptions, Trust};
/// # fn main() -> Result<(), postroad::tls::TlsError> {
/// let identity = Identity::from_files("/run/tls/tls.crt", "/run/tls/tls.key")?;
/// let trust = Trust::from_file("/run/tls/ca.crt")?;
/// let node = postroad::Node::builder("db@db.example.com")
///     .tls(TlsOptions::new().identity(identity.clone()).trust(trust));
/// println!("{}", identity.status().certificate);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Identity(Arc<Kept<Shown>>);

/// What an [`Identity`] holds at the moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// Where it came from.
    pub source: Source,
    /// What the first certificate of the chain says: the node's own.
    pub certificate: CertificateInfo,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// Why it was not replaced, if what is at its source now cannot be used.
    pub failure: Option<ReloadFailure>,
}

pub(super) struct Shown {
    key: Arc<CertifiedKey>,
    info: CertificateInfo,
}

impl Identity {
    /// Takes PEM texts: the certificate of the node with those between it and
    /// the root behind it, and the private key (PKCS#8, PKCS#1 or SEC1).
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Kept::of_texts(&[chain, key]).map(Self)
    }

    /// Reads PEM files. While a node uses it the files are watched, and read
    /// again when their content has changed, also behind symbolic links. Until
    /// certificate and key fit together the ones in use stay.
    pub fn from_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        Kept::of_files(vec![chain.into(), key.into()]).map(Self)
    }

    /// Replaces chain and key. From then on they are the program's: files they
    /// may have come from before are not looked at any more.
    pub fn update_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.0.update(&[chain, key])
    }

    /// Reads the files again, now; whether chain and key were replaced. Reads
    /// files, so it may block for a moment.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.0.reload()
    }

    /// What is in use, and whether replacing it has failed.
    pub fn status(&self) -> CertificateStatus {
        let current = self.0.current();
        CertificateStatus {
            source: self.0.source(),
            certificate: current.material.info.clone(),
            loaded: current.at,
            failure: self.0.failure(),
        }
    }

    /// Changes when the identity was replaced, could not be replaced for a new
    /// reason, or is as its files are again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.news()
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.0.current().material.key.clone()
    }

    pub(super) fn kept(&self) -> &Arc<Kept<Shown>> {
        &self.0
    }
}

impl Material for Shown {
    const WHAT: &'static str = "identity";

    fn parse(texts: &[&[u8]]) -> Result<Self, TlsError> {
        let chain = certificates(texts[0])?;
        let key = PrivateKeyDer::from_pem_slice(texts[1]).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey,
            other => TlsError::Pem(other.into()),
        })?;
        for (number, certificate) in (1..).zip(&chain) {
            CertificateInfo::read(certificate).ok_or(TlsError::Damaged { number })?;
        }
        let info = CertificateInfo::read(&chain[0]).ok_or(TlsError::Damaged { number: 1 })?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Rustls::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch,
            Rustls::InvalidCertificate(_) => TlsError::Damaged { number: 1 },
            other => TlsError::UnusableKey(other),
        })?;
        Ok(Self { key: Arc::new(key), info })
    }

    fn of_system() -> Result<(Self, [u8; 32]), TlsError> {
        Err(TlsError::NothingToReload)
    }
}

impl PartialEq for Identity {
    /// Whether both are handles of the same thing.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0.current().material.info)
    }
}
