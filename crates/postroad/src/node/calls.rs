//! Requests to other nodes that wait for their answers.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Atom;
use crate::actor::Answered;
use crate::error::CallError;
use crate::process::discard;

/// Who waits for which answer, by the reference of the request.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: Mutex<HashMap<[u64; 3], Waiting, FixedState>>,
}

struct Waiting {
    /// The connection the request went out on.
    connection: u64,
    /// The node the request went to. The answer may come from another one, if
    /// the callee passed the request on.
    node: Atom,
    answer: oneshot::Sender<Answered>,
}

impl Calls {
    /// Waits for an answer until the returned guard is dropped.
    pub(crate) fn wait(
        &self,
        reference: [u64; 3],
        connection: u64,
        node: Atom,
    ) -> (Pending<'_>, oneshot::Receiver<Answered>) {
        let (answer, receiver) = oneshot::channel();
        self.waiting.lock().insert(reference, Waiting { connection, node, answer });
        (Pending { calls: self, reference }, receiver)
    }

    /// Hands an answer over; false if nobody waits for it (any more).
    pub(crate) fn answer(&self, reference: [u64; 3], answer: impl FnOnce() -> Answered) -> bool {
        let waiting = self.waiting.lock().remove(&reference);
        let Some(waiting) = waiting else { return false };
        let unwanted = waiting.answer.send(answer());
        let wanted = unwanted.is_ok();
        discard(unwanted);
        wanted
    }

    /// Tells everybody whose request went out on that connection that it is lost.
    pub(crate) fn connection_lost(&self, connection: u64) {
        let lost: Vec<_> =
            self.waiting.lock().extract_if(|_, waiting| waiting.connection == connection).collect();
        for (_, Waiting { node, answer, .. }) in lost {
            let _ = answer.send(Err(CallError::NoConnection { node }));
        }
    }
}

/// Stops waiting when it is dropped.
pub(crate) struct Pending<'a> {
    calls: &'a Calls,
    reference: [u64; 3],
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // Dropped outside of the lock: it wakes whoever waits for the answer.
        let _waiting = self.calls.waiting.lock().remove(&self.reference);
    }
}

#[cfg(test)]
mod tests {
    use postroad_edf::Payload;

    use super::*;

    fn node(name: &str) -> Atom {
        Atom::new(name).unwrap()
    }

    #[test]
    fn an_answer_reaches_who_waits_once() {
        let calls = Calls::default();
        let (_pending, mut receiver) = calls.wait([1, 0, 9], 1, node("a@calls"));
        assert!(!calls.answer([1, 0, 8], || Ok(Payload::new(1u8))), "another deadline is another request");
        assert!(calls.answer([1, 0, 9], || Ok(Payload::new(1u8))));
        assert!(!calls.answer([1, 0, 9], || Ok(Payload::new(1u8))));
        assert!(receiver.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_lost_connection_ends_the_waiting_for_it_only() {
        let calls = Calls::default();
        let (_a, mut lost) = calls.wait([1, 0, 0], 1, node("a@calls"));
        let (_b, mut kept) = calls.wait([2, 0, 0], 2, node("a@calls"));
        calls.connection_lost(1);
        assert!(matches!(lost.try_recv().unwrap(), Err(CallError::NoConnection { .. })));
        assert!(kept.try_recv().is_err());
    }

    #[test]
    fn who_stops_waiting_leaves_nothing() {
        let calls = Calls::default();
        drop(calls.wait([1, 0, 0], 1, node("a@calls")));
        assert!(calls.waiting.lock().is_empty());
    }
}
