//! What a node is willing to do over a connection.

use std::fmt;
use std::ops::{BitAnd, BitOr};

use postroad_edf::{Marshal, MarshalError, Message};

/// `gen/NetworkFlags`: 64 bits that each side announces in its Introduce
/// (`docs/wire/EDF.md` section 9, `docs/wire/ENP.md` section 15).
///
/// Without [`ENABLE`](Self::ENABLE) no other bit counts; the questions this
/// type answers respect that. Bits without a name are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Message)]
#[message(name = "#ergo.services/ergo/gen/NetworkFlags", marshal)]
pub struct NetworkFlags(u64);

impl NetworkFlags {
    /// Nothing is announced.
    pub const NONE: Self = Self(0);
    /// The flags are in effect.
    pub const ENABLE: Self = Self(1);
    /// The peer may spawn processes here.
    pub const REMOTE_SPAWN: Self = Self(1 << 1);
    /// The peer may start applications here.
    pub const REMOTE_APPLICATION_START: Self = Self(1 << 2);
    /// Large frames may come in fragments. In force if both sides say so.
    pub const FRAGMENTATION: Self = Self(1 << 3);
    /// Connections to others may pass through here.
    pub const PROXY_TRANSIT: Self = Self(1 << 4);
    /// Connections that passed through others are accepted here.
    pub const PROXY_ACCEPT: Self = Self(1 << 5);
    /// Important messages are acknowledged here.
    pub const IMPORTANT_DELIVERY: Self = Self(1 << 6);
    /// Two nodes that dial each other at once agree by the rule of
    /// `docs/wire/EHS.md` section 11. In force if both sides say so.
    pub const SIMULTANEOUS_CONNECT: Self = Self(1 << 7);
    /// Clock skew frames are answered. In force if both sides say so.
    pub const CLOCK_SKEW: Self = Self(1 << 16);
    /// Tracing frames are understood. In force if both sides say so.
    pub const TRACING: Self = Self(1 << 17);
    /// Errors may carry the errors they wrap. In force if both sides say so.
    pub const WRAPPED_ERRORS: Self = Self(1 << 18);
    /// Struct bodies carry their length. In force if both sides say so.
    pub const SCHEMA_EVOLUTION: Self = Self(1 << 19);
    /// Important messages may be acknowledged by Ack frames here.
    pub const ACK: Self = Self(1 << 20);

    /// Streams of tunnels are opened with this node, and
    /// [`Head::Summon`](crate::enp::Head::Summon) is understood: ours, see
    /// `docs/wire/TUNNEL.md` section 1. Pointers are understood as well. Far from
    /// the bits that Ergo gives out.
    pub const TUNNELS: Self = Self(1 << 40);

    const KEEPALIVE_SHIFT: u32 = 8;

    /// The flags with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits as they are, whether in effect or not.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// These flags and those of `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These flags with the given keepalive period in seconds; 0 stands for no
    /// keepalive.
    pub const fn with_keepalive(self, seconds: u8) -> Self {
        let cleared = self.0 & !(0xff << Self::KEEPALIVE_SHIFT);
        Self(cleared | (seconds as u64) << Self::KEEPALIVE_SHIFT)
    }

    /// What of it counts: nothing at all unless [`ENABLE`](Self::ENABLE) is on.
    pub const fn effective(self) -> Self {
        if self.0 & Self::ENABLE.0 == 0 { Self::NONE } else { self }
    }

    /// These flags without those that `most` does not allow. The keepalive
    /// period and [`TUNNELS`](Self::TUNNELS), the language of tunnels, permit
    /// nothing and stay, as long as the flags are in effect.
    pub const fn at_most(self, most: Self) -> Self {
        let seconds = (self.0 >> Self::KEEPALIVE_SHIFT) as u8;
        let most = most.effective().0 | Self::TUNNELS.0;
        Self(self.effective().0 & most).with_keepalive(seconds).effective()
    }

    /// Whether all of `other` is on and in effect.
    pub const fn allows(self, other: Self) -> bool {
        self.effective().0 & other.0 == other.0
    }

    /// How often this side sends a keepalive frame, in seconds; `None` if it
    /// sends none.
    pub const fn keepalive(self) -> Option<u8> {
        match (self.effective().0 >> Self::KEEPALIVE_SHIFT) as u8 {
            0 => None,
            seconds => Some(seconds),
        }
    }
}

impl BitOr for NetworkFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl BitAnd for NetworkFlags {
    type Output = Self;

    /// What both sides announce. Keepalive periods are not a set of bits: ask
    /// each side for its own.
    fn bitand(self, other: Self) -> Self {
        Self(self.effective().0 & other.effective().0)
    }
}

impl Marshal for NetworkFlags {
    fn marshal(&self, out: &mut Vec<u8>) -> Result<(), MarshalError> {
        out.extend_from_slice(&self.effective().0.to_be_bytes());
        Ok(())
    }

    fn unmarshal(bytes: &[u8]) -> Result<Self, MarshalError> {
        let bits = bytes.first_chunk().ok_or(TooShort(bytes.len()))?;
        Ok(Self(u64::from_be_bytes(*bits)))
    }
}

/// Flags take 8 bytes; further ones are of releases to come.
#[derive(Debug, thiserror::Error)]
#[error("network flags of {0} bytes, at least 8 are needed")]
struct TooShort(usize);

impl fmt::Debug for NetworkFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkFlags({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_without_the_first_bit() {
        let flags = NetworkFlags::REMOTE_SPAWN.with_keepalive(15);
        assert!(!flags.allows(NetworkFlags::REMOTE_SPAWN));
        assert_eq!(flags.keepalive(), None);
        let flags = flags | NetworkFlags::ENABLE;
        assert!(flags.allows(NetworkFlags::REMOTE_SPAWN));
        assert!(!flags.allows(NetworkFlags::REMOTE_SPAWN | NetworkFlags::ACK));
        assert_eq!(flags.keepalive(), Some(15));
        assert_eq!(flags.with_keepalive(0).keepalive(), None);
    }

    #[test]
    fn a_limit_takes_away_and_leaves_the_period() {
        let own = (NetworkFlags::ENABLE | NetworkFlags::FRAGMENTATION).with_keepalive(15);
        assert_eq!(own.at_most(NetworkFlags::from_bits(u64::MAX)), own);
        assert_eq!(
            own.at_most(NetworkFlags::ENABLE.with_keepalive(8)),
            NetworkFlags::ENABLE.with_keepalive(15)
        );
        assert_eq!(own.at_most(NetworkFlags::ENABLE), NetworkFlags::ENABLE.with_keepalive(15));
        assert_eq!(own.at_most(NetworkFlags::NONE), NetworkFlags::NONE);
    }

    #[test]
    fn the_defaults_of_the_releases_are_read() {
        let v320 = NetworkFlags::from_bits(0x67);
        assert!(v320.allows(NetworkFlags::IMPORTANT_DELIVERY));
        assert!(!v320.allows(NetworkFlags::FRAGMENTATION));
        let v330 = NetworkFlags::from_bits(0x70fef);
        assert_eq!(v330.keepalive(), Some(15));
        assert!(v330.allows(NetworkFlags::FRAGMENTATION | NetworkFlags::WRAPPED_ERRORS));
        assert!(!v330.allows(NetworkFlags::SCHEMA_EVOLUTION));
        assert_eq!((v320 & v330).bits(), 0x67);
    }
}
