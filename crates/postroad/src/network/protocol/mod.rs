//! How the frames of a connection lie on its links.
//!
//! Slots, order, fragments, links that replace others and answers to requests
//! are made of ENP frames (`docs/wire/ENP.md`), whatever the protocol. ENP
//! itself, which is there in any case, puts them on a link as they are; another
//! [`Protocol`] is registered with
//! [`NodeBuilder::protocol`](crate::NodeBuilder::protocol), and routes,
//! acceptors and registrars name it by its [`Version`].

mod greeting;
mod reading;
mod spoken;
mod writing;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use postroad_wire::Version;

pub(super) use self::greeting::MAGIC as GREETING;
pub(super) use self::reading::{Misreading, Reading};
pub(crate) use self::spoken::Protocols;
pub(super) use self::spoken::Spoken;
pub(super) use self::writing::{Stumble, Writing};

/// A way to lay the frames of a connection on its links: other headers,
/// checksums, padding, packing.
///
/// Before anything else, and only where another protocol than ENP is spoken,
/// each side says on each link which one it is: byte 0x50, the length of the
/// name in one byte, the name, such as `SUMS:R1`. That is done by the node,
/// within the time for the handshake: two sides that do not speak the same part
/// with an error, which says what the other one has said. A side that speaks ENP
/// says nothing of the kind: it is connected first, and loses the connection then.
///
/// What is written here may panic. It ends the link then. A frame that a writer
/// always panics at is lost with it; in a message that goes out in fragments it
/// ends one link after the other, and the connection with the last.
///
/// ```
/// use postroad::network::{FrameReader, FrameWriter, Protocol, ProtocolError};
/// use postroad_wire::Version;
///
/// /// Each frame behind its length and the sum of its bytes.
/// #[derive(Debug)]
/// struct Sums;
///
/// struct Link;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the bytes of a frame have the sum {is} and not {said}")]
/// struct WrongSum { is: u32, said: u32 }
///
/// fn sum(bytes: &[u8]) -> u32 {
///     bytes.iter().fold(0, |sum, byte| sum.wrapping_add(u32::from(*byte)))
/// }
///
/// impl Protocol for Sums {
///     fn version(&self) -> Version {
///         Version::new("SUMS", "R1")
///     }
///
///     fn link(&self) -> (Box<dyn FrameWriter>, Box<dyn FrameReader>) {
///         (Box::new(Link), Box::new(Link))
///     }
/// }
///
/// impl FrameWriter for Link {
///     fn write(&mut self, frame: &[u8], out: &mut Vec<u8>) {
///         out.extend((frame.len() as u32).to_be_bytes());
///         out.extend(sum(frame).to_be_bytes());
///         out.extend(frame);
///     }
/// }
///
/// impl FrameReader for Link {
///     fn read(&mut self, bytes: &[u8], limit: usize, frame: &mut Vec<u8>) -> Result<usize, ProtocolError> {
///         let Some((header, rest)) = bytes.split_at_checked(8) else { return Ok(0) };
///         let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
///         let (len, said) = (number(0) as usize, number(4));
///         if len > limit {
///             return Err(ProtocolError::TooLong { len, limit });
///         }
///         let Some(body) = rest.get(..len) else { return Ok(0) };
///         if sum(body) != said {
///             return Err(ProtocolError::broken(WrongSum { is: sum(body), said }));
///         }
///         frame.extend(body);
///         Ok(8 + len)
///     }
/// }
///
/// let node = postroad::Node::builder("app@localhost").protocol(Sums);
/// ```
pub trait Protocol: fmt::Debug + Send + Sync {
    /// The name and release that routes, acceptors and registrars know it by, of
    /// 255 bytes at most as `NAME:RELEASE`. Asked once, when it is registered.
    fn version(&self) -> Version;

    /// The two directions of a new link, each with what it remembers.
    fn link(&self) -> (Box<dyn FrameWriter>, Box<dyn FrameReader>);
}

/// What goes out on one link.
pub trait FrameWriter: Send {
    /// Appends to `out` how this frame lies on the link: all of it, because
    /// nothing may come for long. `frame` is one ENP frame with its header; it
    /// may be a part of a large one, or packed.
    ///
    /// What the link had not taken whole when it died is given to the writer of
    /// its successor.
    fn write(&mut self, frame: &[u8], out: &mut Vec<u8>);
}

/// What comes in on one link.
pub trait FrameReader: Send {
    /// Takes the next frame off the front of what has arrived: appends it to
    /// `frame`, which is empty, and says how many of `bytes` that were.
    ///
    /// 0 means that more must arrive: the same bytes are given again then, with
    /// what came behind them. So nothing has to be kept here, and what is kept
    /// and appended must be no longer than `bytes`, or than `limit`: the longest
    /// frame that the node takes, in bytes. Bytes that carry no frame may be
    /// taken as well; `frame` stays empty then.
    ///
    /// A frame that is complete must not be held back until more arrives. If
    /// 64 KiB more than twice the limit have arrived and hold no frame, the link
    /// ends.
    ///
    /// # Errors
    /// The link ends with this error, and the peer's frames that were not taken
    /// are lost with it.
    fn read(&mut self, bytes: &[u8], limit: usize, frame: &mut Vec<u8>) -> Result<usize, ProtocolError>;
}

/// Why a link can hold no more frames of a protocol.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The peer broke the rules of the protocol.
    #[error("the peer broke its rules: {0}")]
    Broken(Arc<dyn Error + Send + Sync>),
    /// A frame is longer than this side takes.
    #[error(
        "a frame of {len} bytes, at most {limit} are taken; check the maximum message size of both nodes"
    )]
    TooLong {
        /// The length that was announced, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Two sides that do not speak the same protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this side speaks {ours} here and the peer does not{}: name one protocol in the route and at the acceptor",
    theirs.as_ref().map_or_else(String::new, |theirs| format!(", but {theirs}"))
)]
#[non_exhaustive]
pub struct Mismatch {
    /// What this side speaks.
    pub ours: Version,
    /// What the peer speaks, if it said.
    pub theirs: Option<Version>,
}

impl ProtocolError {
    /// The peer broke the rules of the protocol.
    pub fn broken(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken(why.into().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Each frame behind its length, said backwards.
    struct Backwards;

    impl FrameWriter for Backwards {
        fn write(&mut self, frame: &[u8], out: &mut Vec<u8>) {
            out.extend((frame.len() as u16).to_be_bytes());
            out.extend(frame.iter().rev());
        }
    }

    impl FrameReader for Backwards {
        fn read(&mut self, bytes: &[u8], _: usize, frame: &mut Vec<u8>) -> Result<usize, ProtocolError> {
            let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(0) };
            let Some(body) = rest.get(..u16::from_be_bytes(*len).into()) else { return Ok(0) };
            frame.extend(body.iter().rev());
            Ok(2 + body.len())
        }
    }

    fn laid(batch: &[u8]) -> Writing {
        let mut writing = Writing::new(Box::new(Backwards));
        writing.lay(batch).unwrap();
        writing
    }

    /// The frames that come out one after the other when the stream comes in
    /// these pieces.
    fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut reading = Reading::new(Box::new(Backwards));
        let (mut waiting, mut frames) = (Vec::new(), Vec::new());
        for piece in pieces {
            waiting.extend(piece);
            loop {
                let (taken, frame) = reading.next(&waiting, 1 << 16).unwrap();
                frames.extend(frame.unwrap_or_default());
                waiting.drain(..taken);
                if taken == 0 {
                    break;
                }
            }
        }
        frames
    }

    fn batch() -> impl Strategy<Value = Vec<u8>> {
        let frame = |payload: Vec<u8>| {
            let len = (8 + payload.len() as u32).to_be_bytes();
            [&[0x4e, 1], &len[..], &[0, 101], &payload[..]].concat()
        };
        vec(vec(any::<u8>(), 0..300).prop_map(frame), 0..8).prop_map(|frames| frames.concat())
    }

    proptest! {
        /// However the stream is cut, the same frames come out.
        #[test]
        fn any_pieces_make_the_same_frames(batch in batch(), len in 1usize..400) {
            let writing = laid(&batch);
            prop_assert_eq!(read(writing.laid().chunks(len)), batch);
        }

        /// Wherever a link dies, what counts as taken is what the peer can have:
        /// the successor sends the rest, no frame twice and none not at all.
        #[test]
        fn what_is_taken_is_what_can_be_read(batch in batch(), dies in any::<prop::sample::Index>()) {
            let writing = laid(&batch);
            let written = dies.index(writing.laid().len() + 1);
            let arrived = read([&writing.laid()[..written]].into_iter());
            prop_assert_eq!(&arrived[..], &batch[..writing.taken(written)]);
        }
    }
}
