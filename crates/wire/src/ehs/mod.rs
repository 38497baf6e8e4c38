//! The handshake: what happens on a fresh link before ENP
//! (`docs/wire/EHS.md`).
//!
//! Three machines, one for each role: [`Dial`] opens a connection, [`Join`]
//! adds a link to one, [`Accept`] answers either. All are driven the same way:
//!
//! 1. send what `poll_transmit` yields until it yields nothing;
//! 2. give `receive` whatever bytes arrive, in any portions; it returns what
//!    came of them, or nothing yet;
//! 3. go back to 1, also after an error: what is still to be sent (only ever a
//!    Reject) goes out before the link is closed.
//!
//! When the link ends early, `closed` gives the error that says at what stage.
//! The caller keeps the deadline. A machine that returned an error or its last
//! result is over.
//!
//! Bytes behind the last message of the handshake belong to ENP and come back
//! as the tail. Ergo drops what arrives in the same segment behind a Hello or a
//! Join (`docs/wire/EHS.md` section 6); which bytes these are depends on how a
//! stream was cut into segments, so here they are kept: behind a Hello as the
//! next message, behind a Join as the tail.
//!
//! Before a peer has proved the cookie, nothing it says is interned, and at
//! most one message of [`MAX_CONTROL`] bytes is kept of it.

mod accept;
mod dial;
mod digest;
mod error;
mod introduction;
mod join;
mod message;
mod tables;

use std::sync::Arc;

use postroad_edf::Atom;

use crate::Cookie;

pub use accept::{Accept, AcceptStep, JoinRequest};
pub use dial::Dial;
pub use digest::{Fingerprint, fingerprint};
pub use error::{HandshakeError, Proof, Stage};
pub use introduction::Introduction;
pub use join::Join;
pub use message::{Kind, MAX_CONTROL, MAX_INTRODUCE};

/// The most links a connection may have (`docs/wire/EHS.md` section 11).
pub const MAX_POOL_SIZE: u16 = 128;

/// Two nodes have introduced themselves and agreed on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Established {
    /// What we said, as it was sent: encode with these tables.
    pub local: Arc<Introduction>,
    /// What the peer said: decode with these tables.
    pub peer: Arc<Introduction>,
    /// The id that further links join by.
    pub connection_id: String,
    /// How many links the accepting side wants, from 1 to [`MAX_POOL_SIZE`].
    pub pool_size: u16,
    /// Where further links may be opened: `host:port`, as the accepting side
    /// sees itself.
    pub dsn: Vec<String>,
    /// Bytes that arrived behind the handshake; they belong to ENP.
    pub tail: Vec<u8>,
}

/// A link has joined a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Bytes that arrived behind the handshake; they belong to ENP.
    pub tail: Vec<u8>,
}

/// A connection id from 16 random bytes, as v3.2.0 makes it
/// (`docs/wire/EHS.md` section 4).
pub fn connection_id(random: [u8; 16]) -> String {
    hex::encode(random)
}

/// A connection id that both nodes can work out, as 3.3.0 makes it: with it two
/// nodes that dial each other at once find out that they mean the same
/// connection (`docs/wire/EHS.md` section 11).
pub fn shared_connection_id(cookie: &Cookie, one: (Atom, i64), other: (Atom, i64)) -> String {
    let [(first, first_creation), (second, second_creation)] =
        if one.0.as_str() <= other.0.as_str() { [one, other] } else { [other, one] };
    digest::keyed(cookie, &format!("{first}:{first_creation}:{second}:{second_creation}"))
}

/// The reason of a Reject that says that there is no room
/// (`docs/wire/EHS.md` section 11).
pub const BUSY: &str = "busy";

/// At most 255 bytes of what a peer gave as a reason: it goes into logs.
fn rejected(reason: &str) -> HandshakeError {
    HandshakeError::PeerRejected { reason: reason[..reason.floor_char_boundary(255)].to_owned() }
}
