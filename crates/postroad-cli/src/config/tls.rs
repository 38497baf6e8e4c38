//! What a configuration says about TLS.

use std::path::PathBuf;

use super::Reading;
use super::facts::Facts;
use super::section::{At, Section};

/// Settings for TLS: of the node, of an acceptor or of a route.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tls {
    /// The files of the chain and of the key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) trust: Option<Trust>,
    pub(crate) verify: Option<Verify>,
    pub(crate) client_auth: Option<ClientAuth>,
    pub(crate) insecure_skip_verify: bool,
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
    /// Takes the keys of TLS out of a section.
    pub(crate) fn read(section: &mut Section<'_>, reading: &Reading<'_>, side: Side) -> Self {
        let reader = section.reader;
        let file = |file: At<String>| {
            let path = reader.source.relative(file.get_ref());
            reading.depends_on(&path);
            if let Err(error) = std::fs::File::open(&path) {
                reader.error(file.span(), format!("cannot read {}: {error}", path.display()));
            }
            path
        };
        let chain = section.text("chain");
        let key = section.text("key");
        let identity = match (chain, key) {
            (Some(chain), Some(key)) => Some((file(chain), file(key))),
            (Some(alone), None) => {
                reader.error(alone.span(), "`chain` without `key`: a certificate needs its private key");
                None
            }
            (None, Some(alone)) => {
                reader.error(alone.span(), "`key` without `chain`: a private key needs its certificate");
                None
            }
            (None, None) => None,
        };
        let trust = section.text("trust").map(|trust| match trust.get_ref().as_str() {
            "system" => Trust::System,
            _ => Trust::File(file(trust)),
        });
        let verify = Verify::read(section);
        let client_auth = match side {
            Side::Both => section.word("client_auth", &CLIENT_AUTH).map(At::into_inner),
            Side::Dialing => None,
        };
        let skip = section.bool("insecure_skip_verify");
        if let Some(skip) = skip.as_ref().filter(|skip| *skip.get_ref()) {
            reader.warning(
                skip.span(),
                "certificates of peers are not checked here: anybody in between can read",
            );
        }
        let insecure_skip_verify = skip.is_some_and(At::into_inner);
        Self { identity, trust, verify, client_auth, insecure_skip_verify }
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
            .with("insecure_skip_verify", &self.insecure_skip_verify.then_some("true"))
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

/// Hexadecimal digits, in pairs apart by colons or not, with `sha256:` in front or not.
fn digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).replace(':', "");
    hex::decode(digits).ok()?.try_into().ok()
}

fn name_of<T: PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}
