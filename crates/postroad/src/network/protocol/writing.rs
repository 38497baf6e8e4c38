//! What goes out on a link, as its protocol has it.

use std::fmt;

use postroad_wire::enp;

use super::FrameWriter;
use crate::process::{caught, discard};

/// A buffer that grew beyond this is given back.
const KEEP: usize = 4 << 20;

/// Lays batches of frames on one link.
pub(in crate::network) struct Writing {
    /// Present until this is dropped.
    writer: Option<Box<dyn FrameWriter>>,
    /// The last batch as it lies on the link.
    laid: Vec<u8>,
    /// Where each of its frames ends: there, and in the batch.
    ends: Vec<(usize, usize)>,
}

/// A frame at which a writer panicked: those behind it are not laid.
#[derive(Debug)]
pub(in crate::network) struct Stumble {
    /// Where the frame ends in the batch.
    pub(in crate::network) end: usize,
    /// The text of the panic.
    pub(in crate::network) panic: String,
}

impl Writing {
    pub(super) fn new(writer: Box<dyn FrameWriter>) -> Self {
        Self { writer: Some(writer), laid: Vec::new(), ends: Vec::new() }
    }

    /// Lays a batch of whole frames.
    ///
    /// # Errors
    /// The writer panicked: what is laid is what stands before that frame. Who
    /// knows what it would write next: the link is to be ended.
    pub(in crate::network) fn lay(&mut self, batch: &[u8]) -> Result<(), Stumble> {
        self.ends.clear();
        self.laid.clear();
        self.laid.shrink_to(KEEP);
        let mut end = 0;
        for frame in enp::frames(batch) {
            end += frame.len();
            let Some(writer) = &mut self.writer else { break };
            let before = self.laid.len();
            if let Err(panic) = caught(|| writer.write(frame, &mut self.laid)) {
                self.laid.truncate(before);
                return Err(Stumble { end, panic });
            }
            self.ends.push((self.laid.len(), end));
        }
        Ok(())
    }

    /// What was laid last.
    pub(in crate::network) fn laid(&self) -> &[u8] {
        &self.laid
    }

    /// How many bytes of the batch are frames that went out whole, if `written`
    /// bytes of what was laid did.
    pub(in crate::network) fn taken(&self, written: usize) -> usize {
        let whole = self.ends.partition_point(|(laid, _)| *laid <= written);
        whole.checked_sub(1).map_or(0, |last| self.ends[last].1)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        discard(self.writer.take());
    }
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says each byte twice; does not like 0xff.
    struct Twice;

    impl FrameWriter for Twice {
        fn write(&mut self, frame: &[u8], out: &mut Vec<u8>) {
            for byte in frame {
                assert_ne!(*byte, 0xff, "no");
                out.extend([*byte; 2]);
            }
        }
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&[0x4e, 1, 0, 0, 0, 8 + payload.len() as u8, 0, 101][..], payload].concat()
    }

    #[test]
    fn a_frame_counts_as_taken_when_all_its_bytes_are() {
        let batch = [frame(b"a"), frame(b"bc"), frame(b"")].concat();
        let mut writing = Writing::new(Box::new(Twice));
        writing.lay(&batch).unwrap();
        assert_eq!(writing.laid().len(), 2 * batch.len());
        for (written, taken) in [(0, 0), (17, 0), (18, 9), (37, 9), (38, 19), (53, 19), (54, 27), (99, 27)] {
            assert_eq!(writing.taken(written), taken, "{written}");
        }
        writing.lay(&frame(b"")).unwrap();
        assert_eq!((writing.taken(15), writing.taken(16)), (0, 8), "nothing is left of the batch before");
    }

    #[test]
    fn a_panic_costs_the_frame_at_fault() {
        let batch = [frame(b"a"), frame(&[1, 0xff]), frame(b"c")].concat();
        let mut writing = Writing::new(Box::new(Twice));
        let stumble = writing.lay(&batch).unwrap_err();
        assert_eq!(stumble.end, 19);
        assert!(stumble.panic.contains("no"), "{}", stumble.panic);
        assert_eq!(writing.laid().len(), 18, "nothing of it goes out");
        assert_eq!(writing.taken(18), 9);
    }
}
