//! What is acknowledged: important messages and answers (`docs/wire/ENP.md`
//! section 5 "Important delivery").

use std::fmt;
use std::time::Duration;

use postroad_edf::{ErrorValue, Message, Payload};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::{self, Code, Delivery, Head};
use postroad_wire::tunnel::Operations;

use super::Connection;
use super::dispatch::{Dropped, addressed};
use super::send::{Outgoing, WayBack};
use crate::Pid;
use crate::actor::Answered;
use crate::error::{CallError, SendError};
use crate::network::Refusal;
use crate::node::{Awaited, Pending, Target};

/// How long an acknowledgement is waited for.
const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a node says if nobody waits for an answer any more.
const RESPONSE_IGNORED: &str = "response ignored";

/// What is said of an important answer that was taken: an error is repeated.
pub(super) type Verdict = (Code, Option<ErrorValue>);

impl Connection {
    /// Sends a message, and waits until the peer says that it lies in the mailbox.
    pub(crate) async fn send_important<M: Message>(
        &self,
        outgoing: Outgoing,
        to: Target,
        message: M,
    ) -> Result<(), SendError> {
        self.check_acknowledges()?;
        self.check_incarnation(&to)?;
        let id = self.node().new_reference();
        let pending = self.acknowledgement(outgoing.from, [id, 0, 0]);
        let head = Head::Message {
            from: outgoing.from,
            delivery: Delivery { priority: outgoing.priority.into(), important: true },
            message_id: id,
            to: self.wire_target(to),
        };
        let left = self.place(outgoing.from, |out| self.write(out, &head, outgoing.compression, &message))?;
        // Neither the message nor a reference to it is kept while waiting: it need not be `Sync`.
        drop(message);
        match self.acknowledged(outgoing.from, left, pending).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(self.not_delivered(error)),
        }
    }

    /// Answers a request of the peer, and waits until the peer says that the
    /// caller has the answer.
    pub(crate) async fn respond_important(
        &self,
        back: WayBack,
        answer: Result<Payload, ErrorValue>,
    ) -> Result<(), SendError> {
        let pending = self.acknowledgement(back.responder, back.reference);
        let placed = self.place_answer(back, &answer, true);
        let error = answer.err();
        match self.acknowledged(back.responder, placed?, pending).await? {
            Ok(_) => Ok(()),
            // An error is acknowledged by being repeated.
            Err(CallError::Answer(repeated))
                if repeated.text() != RESPONSE_IGNORED
                    && error.is_some_and(|error| error.text() == repeated.text()) =>
            {
                Ok(())
            }
            Err(error) => Err(self.not_delivered(error)),
        }
    }

    /// Whether the peer acknowledges what is important, and the way there allows
    /// it: otherwise nothing of it is to be sent.
    pub(crate) fn check_acknowledges(&self) -> Result<(), SendError> {
        let permitted = self.permits(Operations::IMPORTANT_DELIVERY);
        if permitted && self.peer.flags.allows(NetworkFlags::IMPORTANT_DELIVERY) {
            Ok(())
        } else {
            Err(SendError::NotSupported { node: self.peer.name })
        }
    }

    fn acknowledgement(&self, to: u64, ids: [u64; 3]) -> Pending<'_> {
        self.node().calls.wait(self.acknowledgement_of(to, ids), self.number, self.peer.name)
    }

    fn acknowledgement_of(&self, to: u64, ids: [u64; 3]) -> Awaited {
        Awaited::Acknowledgement { connection: self.number, to, ids }
    }

    async fn acknowledged(
        &self,
        from: u64,
        left: Option<Vec<u8>>,
        pending: Pending<'_>,
    ) -> Result<Answered, SendError> {
        let limit = ACKNOWLEDGEMENT_TIMEOUT;
        let answered = tokio::time::timeout(limit, self.answered_after(from, left, pending)).await;
        answered.unwrap_or(Err(SendError::Timeout { node: self.peer.name, limit }))
    }

    fn not_delivered(&self, error: CallError) -> SendError {
        match error {
            CallError::Send(error) => error,
            CallError::NoConnection { node } => SendError::NoConnection { node },
            CallError::Answer(error) if error.text() == RESPONSE_IGNORED => SendError::ResponseIgnored,
            CallError::Answer(error) => SendError::Refused { node: self.peer.name, error },
            // Two requests of the peer had one reference, and both were answered.
            _ => SendError::ResponseIgnored,
        }
    }

    /// An acknowledgement has come; false if that process does not wait for it.
    /// Only what went out on this connection can be acknowledged by it.
    pub(super) fn acknowledged_in(&self, to: u64, ids: [u64; 3], code: Code, payload: &[u8]) -> bool {
        self.node().calls.answer(self.acknowledgement_of(to, ids), || self.refusal(code, payload))
    }

    /// Tells the sender of an important message what became of it.
    pub(super) fn acknowledge_message(
        &self,
        to: enp::Target<'_>,
        sender: u64,
        message_id: u64,
        delivery: Delivery,
        delivered: &Result<Result<usize, SendError>, Dropped>,
    ) {
        let (code, error) = match delivered {
            Ok(Ok(_)) => (Code::Ok, None),
            Ok(Err(SendError::MailboxFull)) => (Code::MailboxFull, None),
            Ok(Err(SendError::ProcessTerminated)) => (Code::Terminated, None),
            Ok(Err(_)) => (Code::UnknownProcess, None),
            Err(Dropped::NotPermitted) => (Code::Error, Some(Refusal::NotAllowed.into())),
            Err(dropped) => (Code::Error, Some(malformed(dropped))),
        };
        let (from, reference) = (addressed(to), [message_id, 0, 0]);
        let head = if self.peer.flags.allows(NetworkFlags::ACK) {
            Head::Ack { from, to: sender, reference, code }
        } else {
            let delivery = Delivery { important: false, ..delivery };
            Head::ResponseError { from, delivery, to: sender, reference, code }
        };
        self.acknowledge(sender, &head, error);
    }

    /// Tells the process that gave an important answer what became of it:
    /// nothing if nobody waits for it. Whatever flags say: it has been taken.
    pub(super) fn acknowledge_answer(
        &self,
        caller: u64,
        responder: u64,
        reference: [u64; 3],
        delivery: Delivery,
        taken: Option<Verdict>,
    ) {
        let ignored = || match caller == Pid::CORE || self.has_process(caller) {
            true => (Code::Error, Some(ErrorValue::new(RESPONSE_IGNORED))),
            false => (Code::UnknownProcess, None),
        };
        let (code, error) = taken.unwrap_or_else(ignored);
        let delivery = Delivery { important: false, ..delivery };
        let head = Head::ResponseError { from: caller, delivery, to: responder, reference, code };
        self.acknowledge(caller, &head, error);
    }

    /// Whether the peer may send messages that must be acknowledged. It is told if
    /// it may not.
    pub(super) fn takes_important(&self) -> bool {
        self.allowed.allows(NetworkFlags::IMPORTANT_DELIVERY) && self.permits(Operations::IMPORTANT_DELIVERY)
    }

    /// Acknowledgements keep no order: they wait for nobody.
    fn acknowledge(&self, link_by: u64, head: &Head<'_>, error: Option<ErrorValue>) {
        self.log_unsent(self.append(link_by, false, |out| {
            self.write_ordered(out, 0, head, None, |out| match &error {
                Some(error) => self.encoder(out).top(error),
                None => Ok(()),
            })
        }));
    }

    fn has_process(&self, id: u64) -> bool {
        self.node().processes.with(id, |_| ()).is_some()
    }
}

/// What to say of an answer that came with this code.
pub(super) fn verdict(code: Code, answer: &Answered) -> Verdict {
    match answer {
        Err(CallError::Answer(error)) => (Code::Error, Some(error.clone())),
        Err(CallError::Decode(error)) => (Code::Error, Some(malformed(error))),
        _ => (code, None),
    }
}

fn malformed(why: impl fmt::Display) -> ErrorValue {
    ErrorValue::new(format!("malformed value: {why}"))
}
