//! Answers to requests.

use std::sync::Arc;

use postroad_edf::{ErrorValue, Message, Payload};
use postroad_wire::enp::Code;
use tokio::sync::oneshot;

use crate::error::{CallError, SendError};
use crate::network::{Connection, WayBack};
use crate::process::{Process, discard};

/// What an actor answers to a request.
#[derive(Debug)]
pub enum Reply<T> {
    /// This value, now.
    Now(T),
    /// This error; the caller gets [`CallError::Answer`]. Never waits: a caller
    /// on another node that reads nothing misses it.
    Error(ErrorValue),
    /// Not now: whoever holds the [`ReplyTo`] taken from
    /// [`Context::reply_to`](crate::Context::reply_to) answers. If nobody took
    /// it the caller is told at once that no answer will come.
    Later,
    /// This value, and then the process ends with reason `normal`.
    Last(T),
}

impl<T: Message> Reply<T> {
    pub(crate) fn erase(self) -> Reply<Payload> {
        match self {
            Self::Now(value) => Reply::Now(Payload::new(value)),
            Self::Error(error) => Reply::Error(error),
            Self::Later => Reply::Later,
            Self::Last(value) => Reply::Last(Payload::new(value)),
        }
    }
}

/// The right to answer one request. May be sent to another task of this
/// program; dropped unused it tells the caller that no answer will come.
#[derive(Debug)]
pub struct ReplyTo(Option<Caller>);

pub(crate) type Answered = Result<Payload, CallError>;

#[derive(Debug)]
enum Caller {
    Local(oneshot::Sender<Answered>),
    Remote(Box<RemoteCaller>),
}

#[derive(Debug)]
struct RemoteCaller {
    connection: Arc<Connection>,
    back: WayBack,
    /// What the caller is told if nobody answers.
    unanswered: Code,
}

impl ReplyTo {
    pub(crate) fn local(caller: oneshot::Sender<Answered>) -> Self {
        Self(Some(Caller::Local(caller)))
    }

    pub(crate) fn remote(
        connection: Arc<Connection>,
        caller: u64,
        reference: [u64; 3],
        responder: u64,
    ) -> Self {
        Self(Some(Caller::Remote(Box::new(RemoteCaller {
            connection,
            back: WayBack { responder, caller, reference, compression: None },
            unanswered: Code::UnknownProcess,
        }))))
    }

    /// Notes what became of the request, for a caller on another node; a local
    /// one is told by the call itself.
    pub(crate) fn unanswered(&mut self, code: Code) {
        if let Some(Caller::Remote(remote)) = &mut self.0 {
            remote.unanswered = code;
        }
    }

    /// Answers with a value. Waits while the road to the caller is congested.
    ///
    /// An error means that the answer did not leave this node; a local caller
    /// that stopped waiting is no error. Cancellation: a dropped future may
    /// have sent nothing, then the caller runs into its timeout.
    pub async fn answer<T: Message>(self, value: T) -> Result<(), SendError> {
        self.send(Ok(Payload::new(value))).await
    }

    /// Answers with an error.
    pub async fn error(self, error: ErrorValue) -> Result<(), SendError> {
        self.send(Err(error)).await
    }

    /// Answers with an error without waiting: a caller that reads nothing holds
    /// up nobody.
    pub(crate) fn refuse(mut self, error: ErrorValue) {
        match self.0.take() {
            Some(Caller::Local(caller)) => discard(caller.send(Err(CallError::Answer(error)))),
            Some(Caller::Remote(to)) => to.connection.respond_now(to.back, Err(error)),
            None => {}
        }
    }

    /// [`answer`](Self::answer), and waits until the caller has it: five seconds
    /// at most.
    ///
    /// # Errors
    /// [`SendError::ResponseIgnored`] if the caller does not wait any more,
    /// [`SendError::ProcessUnknown`] if it has ended. [`SendError::Timeout`] and
    /// [`SendError::NoConnection`] mean that it is not known whether it has the
    /// answer. [`SendError::NotSupported`] if its node does not confirm
    /// anything: then it has been told that there is no answer.
    ///
    /// Cancellation: a dropped future may or may not have answered.
    pub async fn answer_important<T: Message>(self, value: T) -> Result<(), SendError> {
        self.send_important(Ok(Payload::new(value))).await
    }

    /// Answers with an error, and waits until the caller has it; see
    /// [`answer_important`](Self::answer_important).
    pub async fn error_important(self, error: ErrorValue) -> Result<(), SendError> {
        self.send_important(Err(error)).await
    }

    /// Names the process that answers, once it is known.
    pub(crate) fn answered_by(&mut self, process: &Process) {
        if let Some(Caller::Remote(remote)) = &mut self.0 {
            remote.back.responder = process.pid.id;
            remote.back.compression = process.compression();
        }
    }

    async fn send_important(mut self, answer: Result<Payload, ErrorValue>) -> Result<(), SendError> {
        if let Some(Caller::Remote(remote)) = &self.0 {
            remote.connection.check_acknowledges()?;
        }
        match self.0.take() {
            Some(Caller::Local(caller)) => match caller.send(answer.map_err(CallError::Answer)) {
                Ok(()) => Ok(()),
                unwanted => {
                    discard(unwanted);
                    Err(SendError::ResponseIgnored)
                }
            },
            Some(Caller::Remote(to)) => to.connection.respond_important(to.back, answer).await,
            None => Ok(()),
        }
    }

    async fn send(mut self, answer: Result<Payload, ErrorValue>) -> Result<(), SendError> {
        match self.0.take() {
            Some(Caller::Local(caller)) => {
                // A value that nobody waits for is dropped here, which may panic.
                discard(caller.send(answer.map_err(CallError::Answer)));
                Ok(())
            }
            Some(Caller::Remote(to)) => to.connection.respond(to.back, answer).await,
            None => Ok(()),
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Caller::Local(caller)) => {
                let _ = caller.send(Err(CallError::NoAnswer));
            }
            Some(Caller::Remote(to)) => {
                let WayBack { responder, caller, reference, .. } = to.back;
                to.connection.respond_code(responder, caller, reference, to.unanswered);
            }
            None => {}
        }
    }
}
