//! What can go wrong with certificates, keys, and handshakes that use them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::{AlertDescription, CertificateError, Error as Rustls, OtherError};

use super::certificate::Date;

/// Why a certificate chain, a key or roots cannot be used. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file is too long for what it should be.
    #[error("{} is longer than {limit} bytes: this is no PEM file of certificates or keys", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// The text is not PEM, or ends in the middle of a section.
    #[error("not PEM, or cut off in the middle: {0}")]
    Pem(Arc<rustls_pki_types::pem::Error>),
    /// The PEM text has no certificate.
    #[error("no certificate: the PEM text has no `BEGIN CERTIFICATE` section")]
    NoCertificate,
    /// The PEM text has no private key.
    #[error(
        "no private key: the PEM text has no `BEGIN PRIVATE KEY` section (nor `RSA` or `EC PRIVATE KEY`); \
         keys with a passphrase are not supported"
    )]
    NoKey,
    /// A certificate is damaged.
    #[error("certificate {number} of the PEM text is damaged")]
    Damaged {
        /// Which one, counted from 1.
        number: usize,
    },
    /// The key is of a kind that cannot be used.
    #[error("this private key cannot be used (RSA from 2048 bits, ECDSA P-256 or P-384, or Ed25519): {0}")]
    UnusableKey(Rustls),
    /// The key is that of another certificate.
    #[error("the private key is not that of the first certificate of the chain")]
    KeyMismatch,
    /// There is nothing to reload: it did not come from files or the system.
    #[error("there is nothing to reload from: it was given by the program")]
    NothingToReload,
    /// The system has no root certificates.
    #[error("the system has no root certificates; install them (`ca-certificates`), or give trust roots")]
    NoSystemRoots,
    /// TLS was asked for without a certificate to show.
    #[error("an acceptor with TLS needs an identity (certificate and key), its own or the node's")]
    NoIdentity,
    /// Client certificates cannot be checked against nothing.
    #[error("client certificates are asked for, but there are no trust roots to check them against")]
    NoTrust,
    /// An acceptor says whom to trust, or what certificates must have, and asks
    /// nobody for one.
    #[error(
        "the acceptor says which certificates of clients are good (trust, verify), but asks for none; set \
         client_auth to optional or required, or leave these out"
    )]
    ClientsNotAsked,
    /// An acceptor is plain and says something about TLS.
    #[error(
        "the acceptor is plain, and yet has TLS settings of its own (an identity, required, trust, verify or \
         client_auth), which would have no effect; leave out one or the other"
    )]
    PlainWithTls,
}

/// Why there is no secure connection. Nothing of the cookie was shown.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsHandshakeError {
    /// What this node would use cannot be used.
    #[error(transparent)]
    Own(#[from] TlsError),
    /// The dialed host is nothing that a certificate can be for.
    #[error("{host:?} is neither a host name nor an IP address, so no certificate can be for it")]
    ServerName {
        /// The host.
        host: String,
    },
    /// The peer's certificate was not accepted.
    #[error("the peer's certificate {0}")]
    Certificate(#[from] CertificateFault),
    /// The peer showed no certificate, and must.
    #[error("the peer showed no certificate, and this acceptor requires one (client_auth)")]
    NoClientCertificate,
    /// The peer demands a certificate, and this node showed none.
    #[error("the peer requires a certificate of this node: give the node or the route an identity")]
    CertificateRequired,
    /// The peer did not accept the certificate of this node.
    #[error("the peer refused the certificate of this node: {}", Alert(*alert))]
    CertificateRefused {
        /// What it said, the number of a TLS alert.
        alert: u8,
    },
    /// The peer answers without TLS.
    #[error("the peer does not speak TLS: a plain port where TLS was expected")]
    PlainPeer,
    /// The peer speaks TLS where it was not expected.
    #[error(
        "the peer speaks TLS to a plain acceptor: give the acceptor an identity, or turn TLS off where it dials"
    )]
    PeerSpeaksTls,
    /// The peer closed instead of answering.
    #[error(
        "the peer closed during the TLS handshake; a plain acceptor does that, check that TLS is on there"
    )]
    Closed,
    /// Who dialed closed instead of going on.
    #[error("whoever dialed closed during the TLS handshake")]
    DialerClosed,
    /// The two sides have nothing in common, or one of them broke the protocol.
    #[error("no TLS session: {0}")]
    Protocol(Rustls),
    /// The stream broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Io(Arc<io::Error>),
    /// The peer took too long.
    #[error("no TLS handshake within {0:?}: the other side is connected, but silent or too slow")]
    Timeout(Duration),
}

/// What is wrong with a peer's certificate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Its time is over.
    #[error("expired on {}; renew it", Date(*not_after))]
    Expired {
        /// When it ended.
        not_after: SystemTime,
    },
    /// Its time has not come.
    #[error("is not valid before {}; check the clocks of both sides", Date(*not_before))]
    NotYetValid {
        /// When it begins.
        not_before: SystemTime,
    },
    /// It is for somebody else.
    #[error("is not for {expected}: it is for {}", Names(has))]
    WrongName {
        /// The name that was looked for.
        expected: String,
        /// The names it has.
        has: Vec<String>,
    },
    /// None of the trusted roots stands behind it.
    #[error(
        "is from an unknown authority: no trusted root certificate stands behind it; add its authority to the \
         trust roots, and let the peer send its intermediate certificates"
    )]
    UnknownAuthority,
    /// It is none of those that were pinned.
    #[error("is none of the pinned ones: its SHA-256 is {}", Hex(sha256))]
    NotPinned {
        /// Its SHA-256.
        sha256: [u8; 32],
    },
    /// It is an authority's own certificate.
    #[error(
        "is that of an authority (CA:TRUE), which no node can show; issue one with CA:FALSE, or pin it with \
         `Verify::Pinned`"
    )]
    IsAuthority,
    /// It is not meant for this end of a connection.
    #[error("is not meant for this use; its extended key usage needs both serverAuth and clientAuth")]
    WrongPurpose,
    /// Something else.
    #[error("cannot be accepted: {0}")]
    Other(Rustls),
}

impl TlsHandshakeError {
    /// Whether the peer may be somebody else than who was wanted, or does not
    /// take this node for who it is.
    pub fn is_distrust(&self) -> bool {
        matches!(
            self,
            Self::Certificate(_)
                | Self::NoClientCertificate
                | Self::CertificateRequired
                | Self::CertificateRefused { .. }
        )
    }

    /// What `rustls` or the stream under it said.
    pub(crate) fn of_io(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Rustls>()) {
            Some(inner) => inner.clone().into(),
            None if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
            {
                Self::Closed
            }
            None => Self::Io(Arc::new(error)),
        }
    }
}

impl From<Rustls> for TlsHandshakeError {
    fn from(error: Rustls) -> Self {
        match error {
            Rustls::InvalidCertificate(error) => Self::Certificate(error.into()),
            Rustls::NoCertificatesPresented => Self::NoClientCertificate,
            Rustls::AlertReceived(AlertDescription::CertificateRequired) => Self::CertificateRequired,
            Rustls::AlertReceived(alert) if is_about_certificates(alert) => {
                Self::CertificateRefused { alert: alert.into() }
            }
            Rustls::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Self::PlainPeer,
            other => Self::Protocol(other),
        }
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
    )
}

impl From<CertificateError> for CertificateFault {
    fn from(error: CertificateError) -> Self {
        use CertificateError as E;
        let at =
            |time: rustls_pki_types::UnixTime| SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
        match error {
            E::ExpiredContext { not_after, .. } => Self::Expired { not_after: at(not_after) },
            E::NotValidYetContext { not_before, .. } => Self::NotYetValid { not_before: at(not_before) },
            E::UnknownIssuer => Self::UnknownAuthority,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            E::Other(OtherError(other)) => match other.downcast_ref::<Self>() {
                Some(fault) => fault.clone(),
                // The crate that found it is not one that can be asked by its types.
                None if format!("{other:?}").contains("CaUsedAsEndEntity") => Self::IsAuthority,
                None => Self::Other(E::Other(OtherError(other)).into()),
            },
            other => Self::Other(other.into()),
        }
    }
}

/// A TLS alert in words.
struct Alert(u8);

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AlertDescription as A;
        match A::from(self.0) {
            A::CertificateExpired => f.write_str("it has expired"),
            A::CertificateRevoked => f.write_str("it was revoked"),
            A::UnknownCA => f.write_str("the peer does not know its authority"),
            A::BadCertificate => f.write_str("the peer finds it invalid, or does not want this node"),
            A::AccessDenied => f.write_str("this node is not allowed there"),
            other => write!(f, "TLS alert {other:?}"),
        }
    }
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no name at all (it has no subject alternative names)"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
