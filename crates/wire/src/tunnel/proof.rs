//! What proves that the two ends of a stream are those of a connection
//! (`docs/wire/TUNNEL.md` section 4).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Ends, Nonce, Token};
use crate::ehs::Fingerprint;
use crate::secret::{Cookie, same_secret};

/// 32 bytes of HMAC-SHA256 with the cookie as key.
pub(super) type Proof = [u8; 32];

/// What both sides have said, and what they must both know.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) ends: Ends,
    pub(super) connection_id: String,
    pub(super) token: Option<Token>,
    /// Of the side that dialed.
    pub(super) asked: Nonce,
    /// Of the side that was dialed.
    pub(super) challenged: Nonce,
}

impl Context {
    /// That the dialing side has dialed, and has been shown this certificate, if
    /// it looks at that.
    pub(super) fn of_dialing(&self, shown: Option<&Fingerprint>, cookie: &Cookie) -> Proof {
        match shown {
            None => self.over(&[b"dialing"], cookie),
            Some(certificate) => self.over(&[b"dialing", certificate], cookie),
        }
    }

    /// That the accepting side has accepted.
    pub(super) fn of_accepting(&self, cookie: &Cookie) -> Proof {
        self.over(&[b"accepting"], cookie)
    }

    /// That the accepting side serves this certificate.
    pub(super) fn of_certificate(&self, certificate: &Fingerprint, cookie: &Cookie) -> Proof {
        self.over(&[b"certificate", certificate], cookie)
    }

    fn over(&self, subject: &[&[u8]], cookie: &Cookie) -> Proof {
        let mut mac = Hmac::<Sha256>::new_from_slice(cookie.expose()).expect("HMAC takes keys of any length");
        let token = self.token.as_ref().map_or(&[][..], |token| token);
        let said = [
            self.ends.dialer.as_str().as_bytes(),
            self.ends.acceptor.as_str().as_bytes(),
            self.connection_id.as_bytes(),
            token,
            &self.asked,
            &self.challenged,
        ];
        mac.update(b"postroad tunnel 1");
        for field in subject.iter().copied().chain(said) {
            // With its length: no two contexts read the same.
            mac.update(&(field.len() as u32).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Compares in constant time.
pub(super) fn same(a: &Proof, b: &Proof) -> bool {
    same_secret(a, b)
}
