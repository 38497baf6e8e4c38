//! What a node, an acceptor or a route says about TLS.

use std::fmt;

use super::{Identity, Trust};

/// What a node, an acceptor or a route says about TLS. What an acceptor or a
/// route leaves out holds as the node says it, field by field.
///
/// Without any of it a node accepts without TLS and dials with TLS only where a
/// route or the registrar demands it; then the peer must have a certificate for
/// the dialed host that the system's trust store stands behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The certificate and key to show. An acceptor with one speaks TLS, unless
    /// it is [plain](crate::network::AcceptorOptions::plain); when dialing it
    /// is shown to peers that ask for one.
    pub identity: Option<Identity>,
    /// The authorities that certificates of peers must come from. Default: those
    /// of the system for dialing, none for clients.
    pub trust: Option<Trust>,
    /// What a certificate must have to be accepted. Default [`Verify::HostName`].
    pub verify: Option<Verify>,
    /// Whether who dials must show a certificate. Default [`ClientAuth::None`].
    pub client_auth: Option<ClientAuth>,
    /// Whether certificates of dialed peers are accepted without any check.
    /// `false` on a route goes before `true` on the node, and so does saying
    /// there how they are checked, by `trust` or `verify`. It never holds for
    /// the certificates of clients. Default false.
    pub insecure_skip_verify: Option<bool>,
    /// Whether a dialed peer must prove, with the cookie, that it serves the
    /// certificate that was seen (`docs/wire/EHS.md` section 4). It finds who
    /// stands in between, also where certificates are not checked. To be turned
    /// off where a load balancer ends TLS. Default true.
    pub certificate_digest: Option<bool>,
    /// Whether nothing is dialed without TLS, whatever a route or a registrar
    /// says. Default false.
    pub required: Option<bool>,
}

/// What a peer's certificate must have to be accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// A trusted root, and the dialed host among its names: a DNS name or an IP
    /// address in the subject alternative names. For clients, which are not
    /// dialed, it is the same as [`Verify::AuthorityOnly`].
    #[default]
    HostName,
    /// A trusted root, and the full name of the node among its names: the URI
    /// `postroad:name@host` in the subject alternative names
    /// (`subjectAltName=URI:postroad:db@prod` with openssl). Whatever host was
    /// dialed; so it fits clusters whose nodes move. For clients, it is the name
    /// that they introduce themselves with.
    NodeName,
    /// A trusted root, and nothing else: any node with a certificate of that
    /// authority.
    AuthorityOnly,
    /// One of these certificates, and no root: the SHA-256 of its DER form, as
    /// `openssl x509 -noout -fingerprint -sha256` prints it and
    /// [`CertificateInfo::sha256`](super::CertificateInfo::sha256) has it. It
    /// may be self-signed, must not have expired, and may have any name. Pin
    /// the next one as well before it is rotated.
    Pinned(Vec<[u8; 32]>),
}

/// Whether an acceptor asks who dials for a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// No.
    #[default]
    None,
    /// Yes, and one that is shown must be good.
    Optional,
    /// Yes, and one must be shown.
    Required,
}

impl TlsOptions {
    /// Nothing is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`identity`](Self#structfield.identity).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets [`trust`](Self#structfield.trust).
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Sets [`verify`](Self#structfield.verify).
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = Some(verify);
        self
    }

    /// Sets [`client_auth`](Self#structfield.client_auth).
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = Some(client_auth);
        self
    }

    /// Sets [`insecure_skip_verify`](Self#structfield.insecure_skip_verify).
    pub fn insecure_skip_verify(mut self, skip: bool) -> Self {
        self.insecure_skip_verify = Some(skip);
        self
    }

    /// Sets [`certificate_digest`](Self#structfield.certificate_digest).
    pub fn certificate_digest(mut self, check: bool) -> Self {
        self.certificate_digest = Some(check);
        self
    }

    /// Sets [`required`](Self#structfield.required).
    pub fn required(mut self, required: bool) -> Self {
        self.required = Some(required);
        self
    }

    /// These, and where they say nothing what `base` says. How certificates are
    /// checked is not lost by `base` accepting any.
    pub fn over(&self, base: &Self) -> Self {
        fn either<T: Clone>(own: &Option<T>, base: &Option<T>) -> Option<T> {
            own.as_ref().or(base.as_ref()).cloned()
        }
        let checks = self.trust.is_some() || self.verify.is_some();
        Self {
            identity: either(&self.identity, &base.identity),
            trust: either(&self.trust, &base.trust),
            verify: either(&self.verify, &base.verify),
            client_auth: self.client_auth.or(base.client_auth),
            insecure_skip_verify: self.insecure_skip_verify.or(base.insecure_skip_verify.filter(|_| !checks)),
            certificate_digest: self.certificate_digest.or(base.certificate_digest),
            required: self.required.or(base.required),
        }
    }

    /// Whether dialing with these is dialing with TLS: it is demanded, or
    /// something is said that would be lost without it.
    pub(crate) fn demand_tls(&self) -> bool {
        self.required == Some(true)
            || self.identity.is_some()
            || self.trust.is_some()
            || self.verify.is_some()
    }
}

/// What is said, each with a comma before it.
impl fmt::Display for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.identity.is_some() {
            f.write_str(", own certificate")?;
        }
        if self.trust.is_some() {
            f.write_str(", own trust roots")?;
        }
        if let Some(verify) = &self.verify {
            write!(f, ", checks {verify}")?;
        }
        match self.insecure_skip_verify {
            Some(true) => f.write_str(", INSECURE: accepts any certificate")?,
            Some(false) => f.write_str(", certificates are always checked")?,
            None => {}
        }
        match self.certificate_digest {
            Some(false) => f.write_str(", without certificate digest"),
            _ => Ok(()),
        }
    }
}

/// What holds for dialing with these.
pub(crate) struct Dialed<'a>(pub(crate) &'a TlsOptions);

impl fmt::Display for Dialed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TlsOptions { identity, trust, verify, insecure_skip_verify, certificate_digest, .. } = self.0;
        let verify = verify.as_ref().unwrap_or(&Verify::HostName);
        match (verify, trust) {
            _ if *insecure_skip_verify == Some(true) => f.write_str("INSECURE: accepts any certificate")?,
            (Verify::Pinned(_), _) => write!(f, "checks {verify}")?,
            (_, Some(_)) => write!(f, "checks {verify} with given roots")?,
            (_, None) => write!(f, "checks {verify} with the system's roots")?,
        }
        if *certificate_digest == Some(false) {
            f.write_str(", no certificate digest")?;
        }
        f.write_str(if identity.is_some() { ", shows a certificate" } else { ", shows none" })
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostName => f.write_str("the host name"),
            Self::NodeName => f.write_str("the node name"),
            Self::AuthorityOnly => f.write_str("the authority only"),
            Self::Pinned(pins) => write!(f, "{} pinned certificates", pins.len()),
        }
    }
}
