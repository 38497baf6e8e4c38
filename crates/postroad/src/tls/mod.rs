//! TLS: who a node is, whom it trusts, and how that changes while it runs.
//!
//! An [`Identity`] is a certificate chain and its key, a [`Trust`] is a set of
//! root certificates. Both are handles that can be shared, and what is behind
//! them can be replaced while nodes use them: by the files they came from, or
//! by the program. What is replaced holds for the connections made from then
//! on; live ones stay.
//!
//! [`TlsOptions`] say what holds for a node, an acceptor or a route. An
//! acceptor and a route take from the node what they leave out.
//!
//! Besides TLS itself, the handshake of the nodes binds the certificate to the
//! cookie (`docs/wire/EHS.md` section 4): whoever stands between two nodes with
//! a certificate that both trust, but without the cookie, is found out.
//!
//! For operators, `docs/tls.md` says how to make certificates and what goes
//! wrong how.

mod certificate;
mod error;
mod identity;
mod kept;
mod options;
mod provider;
mod session;
mod stream;
mod trust;
mod verify;
mod watch;

pub use certificate::CertificateInfo;
pub use error::{CertificateFault, TlsError, TlsHandshakeError};
pub use identity::{CertificateStatus, Identity};
pub use kept::{ReloadFailure, Source};
pub use options::{ClientAuth, TlsOptions, Verify};
pub use trust::{Trust, TrustStatus};

pub(crate) use options::Dialed;
pub(crate) use session::{Answering, Asking, Secured};
pub(crate) use stream::{TlsReadHalf, TlsWriteHalf, split};
pub(crate) use watch::Watched;
