//! What proves the cookie (`docs/wire/EHS.md` section 4 "Digests", section 5).
//!
//! Every digest is the lower-case hexadecimal form of a SHA-256 over texts with
//! `:` between them; the cookie is always the last text.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::secret::{Cookie, same_secret};

/// The SHA-1 of a certificate's DER bytes, as the handshake uses it.
pub type Fingerprint = [u8; 20];

/// The fingerprint of a leaf certificate, given its DER bytes
/// (`docs/wire/EHS.md` section 4).
pub fn fingerprint(certificate_der: &[u8]) -> Fingerprint {
    sha1::Sha1::digest(certificate_der).into()
}

/// 64 hexadecimal characters.
#[derive(Debug)]
pub(super) struct Digest(String);

impl Digest {
    /// Of A's Hello.
    pub(super) fn hello(salt1: &str, cookie: &Cookie) -> Self {
        Self::over(&[salt1], cookie, &[])
    }

    /// Of B's Hello.
    pub(super) fn hello_reply(salt2: &str, hello: &Self, cookie: &Cookie) -> Self {
        Self::over(&[salt2, &hello.0], cookie, &[])
    }

    /// Of the certificate, in B's Hello.
    pub(super) fn certificate(salt2: &str, salt1: &str, cookie: &Cookie, certificate: &Fingerprint) -> Self {
        Self::over(&[salt2, salt1], cookie, certificate)
    }

    /// Of A's Introduce.
    pub(super) fn introduce(salt2: &str, cookie: &Cookie) -> Self {
        Self::over(&[salt2], cookie, &[])
    }

    /// Of a Join.
    pub(super) fn join(connection_id: &str, salt: &str, cookie: &Cookie) -> Self {
        Self::over(&[connection_id, salt], cookie, &[])
    }

    /// Of the Accept that answers a Join.
    pub(super) fn join_reply(join: &Self, cookie: &Cookie) -> Self {
        Self::over(&[&join.0], cookie, &[])
    }

    /// Of the certificate, in the Accept that answers a Join.
    pub(super) fn join_certificate(
        join: &Self,
        salt: &str,
        cookie: &Cookie,
        certificate: &Fingerprint,
    ) -> Self {
        Self::over(&[&join.0, salt], cookie, certificate)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a peer sent this very digest.
    pub(super) fn is(&self, got: &str) -> bool {
        same_secret(self.0.as_bytes(), got.as_bytes())
    }

    fn over(texts: &[&str], cookie: &Cookie, behind: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for text in texts {
            hash.update(text);
            hash.update(":");
        }
        hash.update(cookie.expose());
        hash.update(behind);
        Self(hex::encode(hash.finalize()))
    }
}

/// The hexadecimal form of HMAC-SHA256 over `text`, with the cookie as key.
pub(super) fn keyed(cookie: &Cookie, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(cookie.expose()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let cookie = Cookie::new("vector-cookie");
        let salt1 = "8fce7f502c1a5bc0d68b9663ca7ace47af832b64c00efc31a8ccdefc1d898e8a";
        let salt2 = "daad854139b29c1393c5e1c7b20c0385d2eea127d382e9114535fd4a37da1c07";
        let hello = Digest::hello(salt1, &cookie);
        assert_eq!(hello.as_str(), "b5cc13ee181aa97ed9343b77cd337093bdeb355a7402b6220ab09f709fdb72d0");
        let reply = Digest::hello_reply(salt2, &hello, &cookie);
        assert_eq!(reply.as_str(), "535ecfff08d6365bdc52bff0459fead609479626d3b9ac9938244b33103bdf58");
        assert!(Digest::introduce(salt2, &cookie).as_str().starts_with("7d4e8c6dc24fc520"));
    }

    #[test]
    fn keyed_hash_is_that_of_the_rfc() {
        // RFC 4231, test case 2.
        assert_eq!(
            keyed(&Cookie::new("Jefe"), "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
