//! What is said first on a link where another protocol than ENP is spoken.

use std::io::ErrorKind;

use postroad_wire::Version;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Mismatch;
use crate::network::handshake::HandshakeError;

/// How a greeting begins. An ENP frame begins otherwise, so whoever speaks ENP
/// notices with the first byte.
pub(in crate::network) const MAGIC: u8 = 0x50;

/// How an ENP frame begins (`docs/wire/ENP.md` section 1).
const ENP_MAGIC: u8 = 0x4e;

/// Says which protocol is spoken here, and hears whether the peer speaks it
/// too. `ahead` is what has come in already, and afterwards what has come in
/// behind the peer's greeting.
pub(super) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ahead: &mut Vec<u8>,
    ours: &Version,
) -> Result<(), HandshakeError> {
    let greeting = greeting(ours);
    stream.write_all(&greeting).await?;
    stream.flush().await?;
    while greeting.starts_with(ahead) && ahead.len() < greeting.len() {
        match stream.read_buf(ahead).await {
            Ok(0) => break,
            Ok(_) => {}
            // How a peer looks that closed because of what it was told.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if ahead.starts_with(&greeting) {
        ahead.drain(..greeting.len());
        return Ok(());
    }
    Err(Box::new(Mismatch::of(ours.clone(), ahead)).into())
}

impl Mismatch {
    /// With somebody who begins like this.
    pub(in crate::network) fn of(ours: Version, begins: &[u8]) -> Self {
        Self { ours, theirs: theirs(begins) }
    }
}

/// What somebody speaks who begins like this, as far as it can be told.
fn theirs(begins: &[u8]) -> Option<Version> {
    match begins {
        [ENP_MAGIC, ..] => Some(Version::enp()),
        [MAGIC, len, rest @ ..] => {
            let text = std::str::from_utf8(rest.get(..usize::from(*len))?).ok()?;
            let (name, release) = text.rsplit_once(':')?;
            (!text.contains(char::is_control)).then(|| Version::new(name, release))
        }
        _ => None,
    }
}

fn greeting(version: &Version) -> Vec<u8> {
    let mut name = version.to_string();
    name.truncate(name.floor_char_boundary(usize::from(u8::MAX)));
    [&[MAGIC, name.len() as u8], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn version(name: &str) -> Version {
        Version::new(name, "R1")
    }

    #[tokio::test]
    async fn who_speaks_the_same_goes_on_behind_the_greeting() {
        let (mut near, mut far) = duplex(64);
        let (mut ahead, mut nothing) = (greeting(&version("SUMS"))[..3].to_vec(), Vec::new());
        let ours = version("SUMS");
        far.write_all(&greeting(&ours)[3..]).await.unwrap();
        far.write_all(b"and more").await.unwrap();
        exchange(&mut near, &mut ahead, &ours).await.unwrap();
        assert_eq!(ahead, b"and more");
        exchange(&mut far, &mut nothing, &ours).await.unwrap();
        assert_eq!(nothing, b"");
    }

    #[tokio::test]
    async fn who_speaks_something_else_is_named() {
        let long = Version::new("a name ".repeat(100), "R1");
        for (begins, expected) in [
            (greeting(&version("WORDS")), Some("WORDS:R1")),
            (b"\x4e\x01\0\0".to_vec(), Some("ENP:R1")),
            (b"\x16\x03\x01".to_vec(), None),
            (greeting(&Version::new("bell\x07", "R1")), None),
            (greeting(&long), None),
            (b"\x50\x05SUM".to_vec(), None),
            (Vec::new(), None),
        ] {
            let (mut near, mut far) = duplex(1024);
            far.write_all(&begins).await.unwrap();
            far.shutdown().await.unwrap();
            match exchange(&mut near, &mut Vec::new(), &version("SUMS")).await.unwrap_err() {
                HandshakeError::AnotherProtocol(mismatch) => {
                    assert_eq!(mismatch.theirs.map(|theirs| theirs.to_string()).as_deref(), expected);
                }
                other => panic!("{other}"),
            }
        }
    }
}
