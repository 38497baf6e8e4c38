//! What comes in on a link, as frames.

use std::fmt;

use postroad_wire::enp::{self, Split, SplitError};

use super::{FrameReader, ProtocolError};
use crate::process::{caught, discard};

/// A buffer that grew beyond this is given back.
const KEEP: usize = 1 << 20;

/// How much longer than the longest frame it may lie on the link: twice, and so
/// many bytes.
const OVERHEAD: usize = 64 << 10;

/// Finds the frames in what one link brings.
pub(in crate::network) struct Reading {
    /// Present until this is dropped.
    reader: Option<Box<dyn FrameReader>>,
    frame: Vec<u8>,
}

/// Why no more frames can be found.
#[derive(Debug, thiserror::Error)]
pub(in crate::network) enum Misreading {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("its reader panicked: {0}")]
    Panicked(String),
    #[error("its reader says that it took {taken} of {had} bytes for a frame of {frame}")]
    Impossible { taken: usize, had: usize, frame: usize },
    #[error("what its reader took for a frame is none: {0}")]
    NoFrame(#[from] SplitError),
    #[error("what its reader took for a frame are {frame} bytes that are not one whole frame")]
    NotOneFrame { frame: usize },
    #[error("{0} bytes have arrived that hold no frame")]
    TooMuch(usize),
}

impl Reading {
    pub(super) fn new(reader: Box<dyn FrameReader>) -> Self {
        Self { reader: Some(reader), frame: Vec::new() }
    }

    /// How many bytes at the front of these can be done without from now on, and
    /// the frame that they are, if they are one of at most `limit` bytes. If it
    /// is none at all more must arrive.
    pub(in crate::network) fn next(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<(usize, Option<&[u8]>), Misreading> {
        self.frame.clear();
        self.frame.shrink_to(KEEP);
        let Some(reader) = &mut self.reader else { return Ok((0, None)) };
        let read = caught(|| reader.read(bytes, limit, &mut self.frame));
        let taken = read.map_err(Misreading::Panicked)??;
        let (had, frame) = (bytes.len(), self.frame.len());
        match (taken, frame) {
            (0, 0) if had > limit.saturating_mul(2).saturating_add(OVERHEAD) => Err(Misreading::TooMuch(had)),
            (0, 1..) => Err(Misreading::Impossible { taken, had, frame }),
            _ if taken > had => Err(Misreading::Impossible { taken, had, frame }),
            (_, 0) => Ok((taken, None)),
            _ => match enp::split(&self.frame, limit as u64)? {
                Split::Frame { frame, rest: [] } => Ok((taken, Some(frame))),
                _ => Err(Misreading::NotOneFrame { frame }),
            },
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        discard(self.reader.take());
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what the first byte says, with the rest.
    struct Obedient;

    impl FrameReader for Obedient {
        fn read(&mut self, bytes: &[u8], _: usize, frame: &mut Vec<u8>) -> Result<usize, ProtocolError> {
            match bytes {
                [] | [b'w', ..] => Ok(0),
                [b'p', ..] => panic!("asked to"),
                [b'e', ..] => Err(ProtocolError::broken("asked to")),
                [b's', ..] => Ok(1),
                [b'l', ..] => Ok(bytes.len() + 1),
                [b'k', rest @ ..] => {
                    frame.extend(rest);
                    Ok(0)
                }
                [_, rest @ ..] => {
                    frame.extend(rest);
                    Ok(bytes.len())
                }
            }
        }
    }

    fn reading() -> Reading {
        Reading::new(Box::new(Obedient))
    }

    #[test]
    fn what_is_a_frame_is_handed_over() {
        let frame = [0x4e, 1, 0, 0, 0, 8, 0, 101];
        let mut reading = reading();
        let found = |reading: &mut Reading, bytes: &[u8]| {
            let (taken, frame) = reading.next(bytes, 100).unwrap();
            (taken, frame.map(<[u8]>::to_vec))
        };
        assert_eq!(found(&mut reading, b"w"), (0, None));
        assert_eq!(found(&mut reading, b"s"), (1, None));
        assert_eq!(found(&mut reading, &[b"f", &frame[..]].concat()), (9, Some(frame.to_vec())));
    }

    #[test]
    fn what_a_reader_does_wrong_is_named() {
        let whole = [0x4e, 1, 0, 0, 0, 8, 0, 101];
        let fails = |bytes: &[u8]| reading().next(bytes, 100).unwrap_err().to_string();
        assert!(fails(b"e").contains("broke its rules: asked to"));
        assert!(fails(b"p").contains("panicked: asked to"));
        assert!(fails(b"l").contains("took 2 of 1 bytes"));
        assert!(fails(b"kept").contains("took 0 of 4 bytes for a frame of 3"));
        assert!(fails(b"fno frame").contains("begins with 0x6e"));
        assert!(fails(&[b"f", &whole[..7]].concat()).contains("7 bytes that are not one whole frame"));
        assert!(fails(&[b"f", &whole[..], &whole].concat()).contains("16 bytes that are not"));
        assert!(fails(b"f\x4e\x01\0\0\0\x70\0\x65").contains("112 bytes, at most 100"));
        assert!(fails(&vec![b'w'; 70_000]).contains("70000 bytes have arrived"));
    }
}
