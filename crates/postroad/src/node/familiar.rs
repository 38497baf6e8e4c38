//! Whom somebody sends to again and again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::process::{Process, ProcessTable};

/// The one local process that a sender sends to again and again, so that it
/// need not be looked up: a look costs two locked instructions on memory that
/// all senders share.
///
/// A process that has ended refuses by itself, so nothing has to be taken back.
/// It is kept from the second message on, and its memory with it, until
/// [`review`](Self::review) or the end of this.
#[derive(Default)]
pub(crate) struct Familiar {
    process: OnceLock<Arc<Process>>,
    /// Whom the last message was for.
    last: AtomicU64,
    /// Somebody else has become the one.
    outdated: AtomicBool,
}

impl Familiar {
    /// Calls `with` with the process of that number.
    #[inline]
    pub(crate) fn with<T>(
        &self,
        processes: &ProcessTable,
        id: u64,
        with: impl FnOnce(&Arc<Process>) -> T,
    ) -> Option<T> {
        match self.process.get() {
            Some(process) if process.pid.id == id => Some(with(process)),
            known => {
                if self.last.load(Ordering::Relaxed) != id {
                    self.last.store(id, Ordering::Relaxed);
                } else if known.is_some() {
                    self.outdated.store(true, Ordering::Relaxed);
                } else {
                    let process = processes.with(id, Arc::clone)?;
                    return Some(with(self.process.get_or_init(|| process)));
                }
                processes.with(id, with)
            }
        }
    }

    /// Makes room for another process, if another one is sent to by now.
    #[inline]
    pub(crate) fn review(&mut self) {
        if *self.outdated.get_mut() {
            *self = Self { last: std::mem::take(&mut self.last), ..Self::default() };
        }
    }
}
