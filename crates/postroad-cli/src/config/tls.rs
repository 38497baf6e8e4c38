//! What a configuration says about TLS.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use postroad::tls;
use postroad::tls::CertificateInfo;

use super::facts::Facts;
use super::section::{At, Reader, Section};

/// Settings for TLS: of the node, of an acceptor or of a route.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tls {
    /// The files of the chain and of the key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) trust: Option<Trust>,
    pub(crate) verify: Option<Verify>,
    pub(crate) client_auth: Option<ClientAuth>,
    pub(crate) insecure_skip_verify: Option<bool>,
    pub(crate) certificate_digest: Option<bool>,
}

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trust {
    System,
    File(PathBuf),
}

/// What a certificate must show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verify {
    Signed(Check),
    /// SHA-256 of the certificates that are accepted.
    Pinned(Vec<[u8; 32]>),
}

/// Whether who dials must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    None,
    Optional,
    Required,
}

/// Whose settings are read: a route does not ask for certificates of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Both,
    Dialing,
}

const CLIENT_AUTH: [(&str, ClientAuth); 3] =
    [("none", ClientAuth::None), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];

/// How certificates are checked that are not pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    HostName,
    NodeName,
    AuthorityOnly,
}

const CHECKS: [(&str, Check); 3] = [
    ("host_name", Check::HostName),
    ("node_name", Check::NodeName),
    ("authority_only", Check::AuthorityOnly),
];

impl Tls {
    /// Takes the keys of TLS out of a section, and loads what they name to see
    /// whether it can be used.
    pub(crate) fn read(section: &mut Section<'_>, side: Side) -> Self {
        let tls = Self {
            identity: identity(section),
            trust: trust(section),
            verify: Verify::read(section),
            client_auth: match side {
                Side::Both => section.word("client_auth", &CLIENT_AUTH).map(At::into_inner),
                Side::Dialing => None,
            },
            certificate_digest: section.bool("certificate_digest").map(At::into_inner),
            insecure_skip_verify: None,
        };
        let skip = section.bool("insecure_skip_verify");
        if let Some(skip) = skip.as_ref().filter(|skip| *skip.get_ref()) {
            let message = "certificates of peers are not checked here: anybody in between can read";
            section.reader.warning(skip.span(), message);
        }
        Self { insecure_skip_verify: skip.map(At::into_inner), ..tls }
    }

    pub(crate) fn facts(&self) -> Facts {
        let (chain, key) =
            self.identity.as_ref().map(|(chain, key)| (chain.display(), key.display())).unzip();
        let trust = self.trust.as_ref().map(|trust| match trust {
            Trust::System => "system".to_owned(),
            Trust::File(path) => path.display().to_string(),
        });
        let verify = self.verify.as_ref().map(|verify| match verify {
            Verify::Signed(check) => name_of(*check, &CHECKS).to_owned(),
            Verify::Pinned(pins) => pins.iter().map(hex::encode).collect::<Vec<_>>().join(" "),
        });
        let client_auth = self.client_auth.map(|auth| name_of(auth, &CLIENT_AUTH));
        Facts::default()
            .with("chain", &chain)
            .with("key", &key)
            .with("trust", &trust)
            .with("verify", &verify)
            .with("client_auth", &client_auth)
            .with("insecure_skip_verify", &self.insecure_skip_verify)
            .with("certificate_digest", &self.certificate_digest)
    }
}

impl Verify {
    /// `verify = "host_name"`, or `pins = ["…"]`.
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let reader = section.reader;
        let check = section.word("verify", &CHECKS);
        let pins = section.texts("pins");
        if let (Some(check), Some(_)) = (&check, &pins) {
            reader.error(check.span(), "both `verify` and `pins`: pinned certificates need no other check");
        }
        if let Some(pins) = pins {
            if pins.get_ref().is_empty() {
                reader.error(pins.span(), "`pins` is empty: no certificate would do");
            }
            let digests = pins.get_ref().iter().filter_map(|pin| {
                let digest = digest(pin.get_ref());
                if digest.is_none() {
                    let message = format!("{:?} is not the SHA-256 of a certificate", pin.get_ref());
                    let help = "64 hexadecimal digits: openssl x509 -in FILE -outform DER | sha256sum";
                    reader.error_with_help(pin.span(), message, help);
                }
                digest
            });
            return Some(Self::Pinned(digests.collect()));
        }
        check.map(|check| Self::Signed(check.into_inner()))
    }
}

/// The files of a certificate and its key.
pub(super) fn identity(section: &mut Section<'_>) -> Option<(PathBuf, PathBuf)> {
    let reader = section.reader;
    let (chain, key) = match (section.text("chain"), section.text("key")) {
        (Some(chain), Some(key)) => (chain, key),
        (Some(alone), None) => {
            reader.error(alone.span(), "`chain` without `key`: a certificate needs its private key");
            return None;
        }
        (None, Some(alone)) => {
            reader.error(alone.span(), "`key` without `chain`: a private key needs its certificate");
            return None;
        }
        (None, None) => return None,
    };
    let files = (reader.source.relative(chain.get_ref()), reader.source.relative(key.get_ref()));
    match tls::Identity::from_files(&files.0, &files.1) {
        Ok(identity) => warn_of_expiry(reader, &chain, &identity.status().certificate),
        Err(error) => reader.error(chain.span(), format!("`chain` and `key` cannot be used: {error}")),
    }
    Some(files)
}

fn trust(section: &mut Section<'_>) -> Option<Trust> {
    let trust = section.text("trust")?;
    if trust.get_ref() == "system" {
        return Some(Trust::System);
    }
    authorities(section.reader, "trust", &trust).map(Trust::File)
}

/// A file of authorities, if it can be used.
pub(super) fn authorities(reader: &Reader, key: &str, file: &At<String>) -> Option<PathBuf> {
    let path = reader.source.relative(file.get_ref());
    match tls::Trust::from_file(&path) {
        Ok(loaded) => {
            for certificate in &loaded.status().certificates {
                warn_of_expiry(reader, file, certificate);
            }
            Some(path)
        }
        Err(error) => {
            reader.error(file.span(), format!("`{key}` cannot be used: {error}"));
            None
        }
    }
}

/// How long before a certificate expires it is time to say so.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

fn warn_of_expiry(reader: &Reader, place: &At<String>, certificate: &CertificateInfo) {
    let now = SystemTime::now();
    if certificate.not_after < now {
        reader.warning(place.span(), format!("this certificate has expired: {certificate}"));
    } else if certificate.not_after < now + EXPIRES_SOON {
        reader.warning(place.span(), format!("this certificate expires soon: {certificate}"));
    } else if certificate.not_before > now {
        reader.warning(place.span(), format!("this certificate is not valid yet: {certificate}"));
    }
}

/// Hexadecimal digits, in pairs apart by colons or not, with `sha256:` in front or not.
fn digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).replace(':', "");
    hex::decode(digits).ok()?.try_into().ok()
}

fn name_of<T: PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}
