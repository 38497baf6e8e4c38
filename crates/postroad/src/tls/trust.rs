//! Whom a node trusts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use tokio::sync::watch;

use super::certificate::{CertificateInfo, certificates};
use super::error::TlsError;
use super::kept::{Kept, Material, ReloadFailure, Source, digest};

/// Root certificates: the authorities that certificates of peers must come from.
///
/// A handle like [`Identity`](super::Identity), replaceable the same way.
#[derive(Clone)]
pub struct Trust(Arc<Kept<Roots>>);

/// What a [`Trust`] holds at the moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrustStatus {
    /// Where it came from.
    pub source: Source,
    /// What the root certificates say.
    pub certificates: Vec<CertificateInfo>,
    /// When they were loaded.
    pub loaded: SystemTime,
    /// Why they were not replaced, if what is at their source now cannot be used.
    pub failure: Option<ReloadFailure>,
}

pub(super) struct Roots {
    store: Arc<RootCertStore>,
    infos: Vec<CertificateInfo>,
}

impl Trust {
    /// Takes a PEM text with one or more root certificates.
    pub fn from_pem(roots: &[u8]) -> Result<Self, TlsError> {
        Kept::of_texts(&[roots]).map(Self)
    }

    /// Reads a PEM file. While a node uses it the file is watched, and read
    /// again when its content has changed.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, TlsError> {
        Kept::of_files(vec![path.into()]).map(Self)
    }

    /// Takes the trust store of the system: what everybody trusts on the web.
    /// It is read again by [`reload`](Self::reload) only.
    pub fn system() -> Result<Self, TlsError> {
        Kept::of_system().map(Self)
    }

    /// Replaces the roots. From then on they are the program's: a file they may
    /// have come from before is not looked at any more.
    pub fn update_pem(&self, roots: &[u8]) -> Result<(), TlsError> {
        self.0.update(&[roots])
    }

    /// Reads the file or the system's store again, now; whether the roots were
    /// replaced. Reads files, so it may block for a moment.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.0.reload()
    }

    /// What is in use, and whether replacing it has failed.
    pub fn status(&self) -> TrustStatus {
        let current = self.0.current();
        TrustStatus {
            source: self.0.source(),
            certificates: current.material.infos.clone(),
            loaded: current.at,
            failure: self.0.failure(),
        }
    }

    /// Changes when the roots were replaced, could not be replaced for a new
    /// reason, or are as their file is again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.news()
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.0.current().material.store.clone()
    }

    pub(super) fn kept(&self) -> &Arc<Kept<Roots>> {
        &self.0
    }
}

impl Material for Roots {
    const WHAT: &'static str = "trust roots";

    fn parse(texts: &[&[u8]]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        let mut infos = Vec::new();
        for (number, certificate) in (1..).zip(certificates(texts[0])?) {
            infos.push(CertificateInfo::read(&certificate).ok_or(TlsError::Damaged { number })?);
            store.add(certificate).map_err(|_| TlsError::Damaged { number })?;
        }
        Ok(Self { store: Arc::new(store), infos })
    }

    /// A system's store may have certificates that nobody can use any more.
    fn of_system() -> Result<(Self, [u8; 32]), TlsError> {
        let mut store = RootCertStore::empty();
        let mut infos = Vec::new();
        for certificate in rustls_native_certs::load_native_certs().certs {
            if let Some(info) = CertificateInfo::read(&certificate)
                && store.add(certificate).is_ok()
            {
                infos.push(info);
            }
        }
        if store.is_empty() {
            return Err(TlsError::NoSystemRoots);
        }
        let digest = digest(&infos.iter().map(|info| info.sha256.as_slice()).collect::<Vec<_>>());
        Ok((Self { store: Arc::new(store), infos }, digest))
    }
}

impl PartialEq for Trust {
    /// Whether both are handles of the same thing.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} certificates)", self.0.current().material.infos.len())
    }
}
