//! Ergo's protocols as state machines without I/O: bytes in, bytes and events
//! out. No socket, no clock, no task; time and randomness are arguments.
//!
//! | module | protocol | specified in |
//! |---|---|---|
//! | [`ehs`] | the handshake on a fresh link | `docs/wire/EHS.md` |
//! | [`enp`] | the frames that follow it | `docs/wire/ENP.md` |
//! | [`esrd`] | the packets of the embedded registrar | `docs/wire/ESRD.md` |
//! | [`tunnel`] | how tunnels through other nodes are agreed on; our own | `docs/wire/TUNNEL.md` |
//! | [`stored`] | what registrars with a store keep there | `docs/discovery.md` |
//!
//! Whatever a peer sends ends in a value or in a named error: it never panics,
//! and it never costs more memory than the peer has sent or a stated limit
//! allows.

mod body;
pub mod ehs;
pub mod enp;
pub mod esrd;
pub mod flags;
pub mod secret;
pub mod stored;
pub mod tunnel;
mod version;

pub use body::BodyError;
pub use flags::NetworkFlags;
pub use secret::Cookie;
pub use version::Version;
