//! Certificates and authorities of a node, each file loaded once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use postroad::tls::{self, Identity, TlsError, TlsOptions};

use super::tls::{Check, ClientAuth, Tls, Trust, Verify};

/// What was loaded: acceptors and routes that name the same files share it, and
/// it can be loaded again.
#[derive(Default)]
pub(crate) struct Certificates {
    identities: RefCell<BTreeMap<(PathBuf, PathBuf), Identity>>,
    trusts: RefCell<BTreeMap<Option<PathBuf>, tls::Trust>>,
}

impl Certificates {
    /// What the library takes.
    pub(crate) fn options(&self, settings: &Tls) -> anyhow::Result<TlsOptions> {
        let mut options = TlsOptions::new();
        if let Some(files) = &settings.identity {
            options = options.identity(self.identity(files)?);
        }
        if let Some(trust) = &settings.trust {
            options = options.trust(self.trust(trust)?);
        }
        options.verify = settings.verify.as_ref().map(Verify::made);
        options.client_auth = settings.client_auth.map(ClientAuth::made);
        options.insecure_skip_verify = settings.insecure_skip_verify;
        options.certificate_digest = settings.certificate_digest;
        Ok(options)
    }

    /// Loads all files again; a line for each that was replaced or could not be.
    pub(crate) fn reload(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((chain, _), identity) in &*self.identities.borrow() {
            let certificate = || identity.status().certificate.to_string();
            lines.extend(outcome(&chain.display().to_string(), identity.reload(), certificate));
        }
        for (file, trust) in &*self.trusts.borrow() {
            let file = file.as_ref().map_or("system".to_owned(), |file| file.display().to_string());
            let count = || format!("{} authorities", trust.status().certificates.len());
            lines.extend(outcome(&file, trust.reload(), count));
        }
        lines
    }

    /// A line for each certificate: whose it is, and until when it is valid.
    pub(crate) fn summary(&self) -> Vec<String> {
        let identities = self.identities.borrow();
        let shown = identities
            .iter()
            .map(|((chain, _), identity)| format!("{}: {}", chain.display(), identity.status().certificate));
        shown.collect()
    }

    fn identity(&self, files: &(PathBuf, PathBuf)) -> anyhow::Result<Identity> {
        if let Some(identity) = self.identities.borrow().get(files) {
            return Ok(identity.clone());
        }
        let (chain, key) = files;
        let identity = Identity::from_files(chain, key).with_context(|| chain.display().to_string())?;
        self.identities.borrow_mut().insert(files.clone(), identity.clone());
        Ok(identity)
    }

    fn trust(&self, trust: &Trust) -> anyhow::Result<tls::Trust> {
        let file = match trust {
            Trust::System => None,
            Trust::File(path) => Some(path.clone()),
        };
        if let Some(trust) = self.trusts.borrow().get(&file) {
            return Ok(trust.clone());
        }
        let loaded = match &file {
            None => tls::Trust::system()?,
            Some(path) => tls::Trust::from_file(path).with_context(|| path.display().to_string())?,
        };
        self.trusts.borrow_mut().insert(file, loaded.clone());
        Ok(loaded)
    }
}

fn outcome(file: &str, reloaded: Result<bool, TlsError>, now: impl Fn() -> String) -> Option<String> {
    match reloaded {
        Ok(true) => Some(format!("~ certificate {file}: {}", now())),
        Ok(false) => None,
        Err(error) => Some(format!("! certificate {file}: {error}; {} stays", now())),
    }
}

impl Verify {
    fn made(&self) -> tls::Verify {
        match self {
            Self::Signed(Check::HostName) => tls::Verify::HostName,
            Self::Signed(Check::NodeName) => tls::Verify::NodeName,
            Self::Signed(Check::AuthorityOnly) => tls::Verify::AuthorityOnly,
            Self::Pinned(pins) => tls::Verify::Pinned(pins.clone()),
        }
    }
}

impl ClientAuth {
    fn made(self) -> tls::ClientAuth {
        match self {
            Self::None => tls::ClientAuth::None,
            Self::Optional => tls::ClientAuth::Optional,
            Self::Required => tls::ClientAuth::Required,
        }
    }
}
