//! What bytes pass through at a gateway: lent to a tunnel while some are under
//! way. One over which nothing comes has none.

use std::ops::{Deref, DerefMut};

use parking_lot::Mutex;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::splice::Pipes;

/// All that a node lends.
#[derive(Debug, Default)]
pub(super) struct Lender {
    buffers: Mutex<Vec<Box<[u8]>>>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) pipes: Pipes,
}

/// What is read into; given back when it is dropped.
pub(super) struct Buffer<'a> {
    lender: &'a Lender,
    bytes: Box<[u8]>,
}

impl Lender {
    /// So many bytes are read at once.
    const SIZE: usize = 64 << 10;
    /// So many buffers are kept for the next one.
    const KEPT: usize = 32;

    pub(super) fn buffer(&self) -> Buffer<'_> {
        let kept = self.buffers.lock().pop();
        Buffer { lender: self, bytes: kept.unwrap_or_else(|| vec![0; Self::SIZE].into_boxed_slice()) }
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut kept = self.lender.buffers.lock();
        if kept.len() < Lender::KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
