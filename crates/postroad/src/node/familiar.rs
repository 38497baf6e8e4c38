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
    /// The process of that number, if it is the one.
    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<&Arc<Process>> {
        self.process.get().filter(|process| process.pid.id == id)
    }

    /// Notes a message to somebody else. Whoever is sent to twice in a row
    /// becomes the one, if there is none yet.
    pub(crate) fn note(&self, id: u64, processes: &ProcessTable) {
        if self.last.load(Ordering::Relaxed) != id {
            self.last.store(id, Ordering::Relaxed);
        } else if self.process.get().is_some() {
            self.outdated.store(true, Ordering::Relaxed);
        } else if let Some(process) = processes.with(id, Arc::clone) {
            let _ = self.process.set(process);
        }
    }

    /// Makes room for another one, if another process is sent to by now.
    #[inline]
    pub(crate) fn review(&mut self) {
        if *self.outdated.get_mut() {
            *self = Self { last: std::mem::take(&mut self.last), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Node;
    use crate::{Actor, Context, ExitReason, NetworkMode};

    struct Idle;

    impl Actor for Idle {
        type Args = ();
        type Messages = ();
        type Requests = ();

        async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
            Ok(Self)
        }
    }

    #[tokio::test]
    async fn the_one_is_who_was_sent_to_twice_until_another_is() {
        let node = Node::builder("familiar@localhost").network(NetworkMode::Disabled).start().await.unwrap();
        let processes = &node.0.processes;
        let first = node.spawn::<Idle>(()).await.unwrap().id;
        let second = node.spawn::<Idle>(()).await.unwrap().id;
        let mut familiar = Familiar::default();
        familiar.note(first, processes);
        assert!(familiar.get(first).is_none(), "once is not again");
        familiar.note(second, processes);
        familiar.note(first, processes);
        familiar.note(first, processes);
        assert!(familiar.get(first).is_some_and(|process| process.pid.id == first));
        assert!(familiar.get(second).is_none());
        familiar.note(second, processes);
        familiar.review();
        assert!(familiar.get(first).is_some(), "a message to another one changes nothing");
        familiar.note(second, processes);
        familiar.review();
        assert!(familiar.get(first).is_none());
        familiar.note(second, processes);
        assert!(familiar.get(second).is_some());
        familiar.note(999, processes);
        familiar.note(999, processes);
        assert!(familiar.get(999).is_none(), "nobody");
        node.stop().await;
    }
}
