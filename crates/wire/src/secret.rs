//! The cookie, and comparing what is made from it.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The secret that two nodes must share.
///
/// Cheap to clone. It cannot be printed: `Debug` shows `***`. Its memory is
/// overwritten when the last clone is dropped.
#[derive(Clone)]
pub struct Cookie(Arc<Zeroizing<Vec<u8>>>);

impl Cookie {
    /// Takes the text of a cookie.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into().into_bytes())))
    }

    /// Whether there is no secret at all. Ergo replaces an empty cookie by a
    /// random one (`docs/wire/EHS.md` section 9); the node decides, not this
    /// type.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for those who compute with it, as handshakes do. It is
    /// not to be shown, logged or kept.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Cookie {
    /// Compares in a time that depends on the lengths only.
    fn eq(&self, other: &Self) -> bool {
        same_secret(self.expose(), other.expose())
    }
}

impl Eq for Cookie {}

impl From<&str> for Cookie {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cookie {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Compares in a time that depends on the lengths only.
pub(crate) fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_not_shown() {
        assert_eq!(format!("{:?}", Cookie::new("secret")), "***");
    }

    #[test]
    fn cookies_are_equal_by_content() {
        assert_eq!(Cookie::new("secret"), Cookie::from("secret"));
        assert_ne!(Cookie::new("secret"), Cookie::new("secret "));
        assert!(Cookie::new("").is_empty());
    }
}
