//! How a tunnel is asked for, carried on and accepted (`docs/wire/TUNNEL.md`):
//! postroad's own, spoken only with peers that announce
//! [`NetworkFlags::TUNNELS`](crate::NetworkFlags::TUNNELS).
//!
//! Two connected nodes open one more stream. On it they first prove to each
//! other, by the cookie of their connection, that they are its two ends:
//! [`Knock`] is the side that dialed, [`Admit`] the other one. Then one side
//! asks ([`Request`]) and the other one answers ([`Answer`]), both by way of a
//! [`Talk`]. After that the stream belongs to the two ends of the tunnel.
//!
//! The machines are driven like those of [`ehs`](crate::ehs): send what
//! `poll_transmit` yields, give `receive` what arrives. Each message is waited
//! for before the next one is sent, so bytes behind one are an error (but for a
//! request that follows Welcome).

mod admit;
mod error;
mod knock;
mod message;
mod proof;

use std::fmt;

use postroad_edf::Atom;

pub use admit::{Admit, Visitor};
pub use error::{NegotiationError, Refusal, Stage, Who};
pub use knock::Knock;
pub use message::{Answer, Kind, Open, Request, Talk};

/// The first byte of every message: that of neither a handshake nor TLS.
pub const MAGIC: u8 = 0x50;

/// The version of the negotiation.
pub const VERSION: u8 = 1;

/// The longest body of a message, in bytes.
pub const MAX_BODY: u16 = 16 << 10;

/// The most nodes a tunnel may touch, both ends included.
pub const MAX_PATH: usize = 34;

/// Random bytes that are used once.
pub type Nonce = [u8; 32];

/// By which a stream that was asked for is told from others.
pub type Token = [u8; 16];

/// What may be done through a tunnel, as a set of bits
/// (`docs/wire/TUNNEL.md` section 5). Messages always may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Operations(u16);

impl Operations {
    /// Nothing but messages and calls.
    pub const NONE: Self = Self(0);
    /// Links, and asking processes to end.
    pub const LINK: Self = Self(1);
    /// Monitors.
    pub const MONITOR: Self = Self(1 << 1);
    /// Spawning processes on the other node.
    pub const SPAWN: Self = Self(1 << 2);
    /// Starting applications on the other node.
    pub const APPLICATION_START: Self = Self(1 << 3);
    /// Messages whose arrival is confirmed.
    pub const IMPORTANT_DELIVERY: Self = Self(1 << 4);
    /// Encryption between the two ends.
    pub const ENCRYPTION: Self = Self(1 << 5);
    /// All of them.
    pub const ALL: Self = Self(0x3f);

    /// The operations with these bits; bits without a meaning are dropped.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// These and those of `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These, but none of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both allow.
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn allow(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operations({:#x})", self.0)
    }
}

/// The two nodes that a stream is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    dialer: Atom,
    acceptor: Atom,
}
