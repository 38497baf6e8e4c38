//! Cutting a stream into frames (`docs/wire/ENP.md` sections 1 and 12).

use super::kind;

/// The length of the header that every frame begins with: magic, version,
/// length of the whole frame, order byte, type.
pub const HEADER_LEN: usize = 8;

pub(super) const MAGIC: u8 = 78;
pub(super) const VERSION: u8 = 1;

/// What the front of a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole frame, header included.
    Frame {
        /// The frame.
        frame: &'a [u8],
        /// What follows it.
        rest: &'a [u8],
    },
    /// A part of a frame.
    Need {
        /// How many more bytes, at least, make a whole one: of a header first,
        /// then of the frame. A peer announces up to 4 GiB with 8 bytes; so
        /// let a buffer grow with what arrives, not to this size at once.
        more: usize,
    },
}

/// Why a stream can hold no more frames: the link is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A frame does not begin with 0x4e.
    #[error("a frame begins with {0:#04x} and not with 0x4e; the peer has lost track of its own stream")]
    WrongMagic(u8),
    /// A frame has an unknown version.
    #[error("a frame has version {0}, only version 1 is known; check the peer's release")]
    WrongVersion(u8),
    /// A frame claims to be shorter than its own header.
    #[error("a frame claims a length of {0} bytes, shorter than its header")]
    TooShort(u32),
    /// A frame is longer than this side takes.
    #[error(
        "a frame of {len} bytes, at most {limit} are taken; check the maximum message size of both nodes"
    )]
    TooLong {
        /// The announced length.
        len: u32,
        /// The limit.
        limit: u64,
    },
}

/// Looks for a whole frame at the front of `stream`.
///
/// `limit` is the largest frame this side takes, in bytes, as announced in
/// Introduce; 0 stands for no limit.
///
/// # Errors
/// As soon as the bytes that are there cannot become a frame.
#[inline]
pub fn split(stream: &[u8], limit: u64) -> Result<Split<'_>, SplitError> {
    let Some(header) = stream.first_chunk::<HEADER_LEN>() else {
        return match *stream {
            [magic, ..] if magic != MAGIC => Err(SplitError::WrongMagic(magic)),
            [_, version, ..] if version != VERSION => Err(SplitError::WrongVersion(version)),
            _ => Ok(Split::Need { more: HEADER_LEN - stream.len() }),
        };
    };
    let [magic, version, len @ .., _, _] = *header;
    let len = u32::from_be_bytes(len);
    if magic != MAGIC {
        return Err(SplitError::WrongMagic(magic));
    }
    if version != VERSION {
        return Err(SplitError::WrongVersion(version));
    }
    if (len as usize) < HEADER_LEN {
        return Err(SplitError::TooShort(len));
    }
    if limit != 0 && u64::from(len) > limit {
        return Err(SplitError::TooLong { len, limit });
    }
    Ok(match stream.split_at_checked(len as usize) {
        Some((frame, rest)) => Split::Frame { frame, rest },
        None => Split::Need { more: len as usize - stream.len() },
    })
}

/// The whole frames at the front of `stream`, whatever their length.
pub fn frames(mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || match split(stream, 0) {
        Ok(Split::Frame { frame, rest }) => {
            stream = rest;
            Some(frame)
        }
        _ => None,
    })
}

/// The order byte of a whole frame: what carries it in parts or packed has it too.
pub fn order_byte(frame: &[u8]) -> u8 {
    frame.get(HEADER_LEN - 2).copied().unwrap_or_default()
}

/// Whether a whole frame tells the end of something that the peer watches.
pub fn is_end(frame: &[u8]) -> bool {
    frame
        .get(HEADER_LEN - 1)
        .is_some_and(|kind| (kind::TERMINATE_PID..=kind::TERMINATE_EVENT_CACHE).contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPALIVE: [u8; 8] = [0x4e, 1, 0, 0, 0, 8, 0, 208];

    #[test]
    fn frames_are_cut_at_their_length() {
        let stream = [KEEPALIVE, KEEPALIVE].concat();
        assert_eq!(split(&stream, 0), Ok(Split::Frame { frame: &KEEPALIVE, rest: &KEEPALIVE }));
        assert_eq!(split(&stream[..3], 0), Ok(Split::Need { more: 5 }));
        assert_eq!(split(&[], 0), Ok(Split::Need { more: 8 }));
        assert_eq!(frames(&stream[..15]).collect::<Vec<_>>(), [KEEPALIVE]);
        let announced = [0x4e, 1, 0, 0, 1, 0, 0, 101];
        assert_eq!(split(&announced, 256), Ok(Split::Need { more: 248 }));
        assert_eq!(split(&announced, 255), Err(SplitError::TooLong { len: 256, limit: 255 }));
    }

    #[test]
    fn ends_are_known_by_their_kind() {
        let is_end = |kind| is_end(&[0x4e, 1, 0, 0, 0, 8, 0, kind]);
        assert_eq!(
            (0..=255).filter(|kind| is_end(*kind)).collect::<Vec<_>>(),
            (181..=186).collect::<Vec<u8>>()
        );
        assert!(!super::is_end(&KEEPALIVE[..7]));
    }

    #[test]
    fn bad_input_wrong_magic() {
        assert_eq!(split(b"G", 0), Err(SplitError::WrongMagic(b'G')));
        assert_eq!(split(b"GET / HTTP/1.1", 0), Err(SplitError::WrongMagic(b'G')));
    }

    #[test]
    fn bad_input_wrong_version() {
        assert_eq!(split(&[0x4e, 2], 0), Err(SplitError::WrongVersion(2)));
        assert_eq!(split(&[0x4e, 2, 0, 0, 0, 8, 0, 208], 0), Err(SplitError::WrongVersion(2)));
    }

    #[test]
    fn bad_input_length_below_8() {
        for len in 0..8 {
            let header = [0x4e, 1, 0, 0, 0, len, 0, 101];
            assert_eq!(split(&header, 0), Err(SplitError::TooShort(u32::from(len))));
        }
    }
}
