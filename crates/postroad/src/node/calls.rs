//! What this node has asked other nodes and waits for.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tokio::sync::oneshot;

use crate::Atom;
use crate::actor::Answered;
use crate::error::CallError;
use crate::process::discard;
use crate::sync::Mutex;

/// Who waits for which answer.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: Mutex<HashMap<Awaited, Waiting, FixedState>>,
}

/// What an answer is recognized by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Awaited {
    /// The answer to a request, by its reference. It may come from another node
    /// than the one that was asked, if the callee passed the request on.
    Call([u64; 3]),
    /// What the node at the other end of this connection answers, by the
    /// reference of the question.
    Node(u64, [u64; 3]),
    /// The acknowledgement of what a process sent on this connection, by the ids
    /// that it brings back. No other peer can give it, and an Ergo node that brings
    /// back the ids of another message (`docs/wire/QUIRKS.md`) does not thereby
    /// confirm what another process has sent.
    Acknowledgement { connection: u64, to: u64, ids: [u64; 3] },
}

struct Waiting {
    /// The connection that the question went out on.
    connection: u64,
    /// The node at its other end.
    node: Atom,
    answer: oneshot::Sender<Answered>,
}

impl Calls {
    /// Waits for an answer until what is returned is dropped. Whoever waits for
    /// the same already is told that there will be none.
    pub(crate) fn wait(&self, awaited: Awaited, connection: u64, node: Atom) -> Pending<'_> {
        let (answer, receiver) = oneshot::channel();
        // Dropped outside of the lock: it wakes whoever waits for the answer.
        let _former = self.waiting.lock().insert(awaited, Waiting { connection, node, answer });
        Pending { calls: self, awaited, receiver }
    }

    /// How many answers are waited for.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Hands an answer over; false if nobody waits for it (any more).
    pub(crate) fn answer(&self, awaited: Awaited, answer: impl FnOnce() -> Answered) -> bool {
        let waiting = self.waiting.lock().remove(&awaited);
        let Some(waiting) = waiting else { return false };
        let unwanted = waiting.answer.send(answer());
        let wanted = unwanted.is_ok();
        discard(unwanted);
        wanted
    }

    /// Tells everybody whose question went out on that connection that it is lost.
    pub(crate) fn connection_lost(&self, connection: u64) {
        let lost: Vec<_> =
            self.waiting.lock().extract_if(|_, waiting| waiting.connection == connection).collect();
        for (_, Waiting { node, answer, .. }) in lost {
            let _ = answer.send(Err(CallError::NoConnection { node }));
        }
    }
}

/// Somebody who waits; stops when it is dropped.
pub(crate) struct Pending<'a> {
    calls: &'a Calls,
    awaited: Awaited,
    receiver: oneshot::Receiver<Answered>,
}

impl Pending<'_> {
    /// The answer.
    pub(crate) async fn answered(mut self) -> Answered {
        (&mut self.receiver).await.unwrap_or(Err(CallError::NoAnswer))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        let mut waiting = self.calls.waiting.lock();
        // Somebody else may wait for the same by now.
        if waiting.get(&self.awaited).is_some_and(|waiting| waiting.answer.is_closed()) {
            let _waiting = waiting.remove(&self.awaited);
            drop(waiting);
        }
        // What came and was not taken may do anything when it is dropped.
        discard(self.receiver.try_recv());
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod models;

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
        let awaited = Awaited::Call([1, 0, 9]);
        let mut pending = calls.wait(awaited, 1, node("a@calls"));
        let other = Awaited::Call([1, 0, 8]);
        assert!(!calls.answer(other, || Ok(Payload::new(1u8))), "another deadline is another request");
        assert!(calls.answer(awaited, || Ok(Payload::new(1u8))));
        assert!(!calls.answer(awaited, || Ok(Payload::new(1u8))));
        assert!(pending.receiver.try_recv().unwrap().is_ok());
    }

    #[test]
    fn another_connection_answers_a_call_but_neither_a_question_nor_an_important_message() {
        let calls = Calls::default();
        let ids = [1, 0, 0];
        let mut question = calls.wait(Awaited::Node(1, ids), 1, node("a@calls"));
        let acknowledgement = |connection, to| Awaited::Acknowledgement { connection, to, ids };
        let mut acknowledged = calls.wait(acknowledgement(1, 1001), 1, node("a@calls"));
        for foreign in
            [Awaited::Node(2, ids), acknowledgement(2, 1001), acknowledgement(1, 1002), Awaited::Call(ids)]
        {
            assert!(!calls.answer(foreign, || Ok(Payload::new(()))), "{foreign:?}");
        }
        assert!(calls.answer(Awaited::Node(1, ids), || Ok(Payload::new(()))));
        assert!(question.receiver.try_recv().is_ok());
        assert!(acknowledged.receiver.try_recv().is_err(), "an answer is no acknowledgement");
    }

    #[test]
    fn a_lost_connection_ends_the_waiting_for_it_only() {
        let calls = Calls::default();
        let mut lost = calls.wait(Awaited::Call([1, 0, 0]), 1, node("a@calls"));
        let mut kept = calls.wait(Awaited::Call([2, 0, 0]), 2, node("a@calls"));
        let mut question = calls.wait(Awaited::Node(1, [3, 0, 0]), 1, node("a@calls"));
        calls.connection_lost(1);
        for lost in [&mut lost, &mut question] {
            assert!(matches!(lost.receiver.try_recv().unwrap(), Err(CallError::NoConnection { .. })));
        }
        assert!(kept.receiver.try_recv().is_err());
    }

    #[test]
    fn who_stops_waiting_leaves_nothing() {
        let calls = Calls::default();
        drop(calls.wait(Awaited::Call([1, 0, 0]), 1, node("a@calls")));
        assert!(calls.waiting.lock().is_empty());
    }

    #[test]
    fn who_waits_for_the_same_keeps_waiting_when_the_former_stops() {
        let calls = Calls::default();
        let awaited = Awaited::Acknowledgement { connection: 1, to: 1001, ids: [1, 0, 0] };
        let mut former = calls.wait(awaited, 1, node("a@calls"));
        let mut latter = calls.wait(awaited, 1, node("a@calls"));
        assert!(former.receiver.try_recv().is_err());
        drop(former);
        assert!(calls.answer(awaited, || Ok(Payload::new(()))));
        assert!(latter.receiver.try_recv().is_ok());
    }
}
