//! The junction where local and remote part ways.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use postroad_edf::{Message, Payload};
use postroad_wire::enp::Code;
use tokio::sync::oneshot;
use tokio::task::coop::poll_proceed;
use tokio::task::yield_now;

use super::{Awaited, FAR, Familiar, NodeInner, Target, ToTarget};
use crate::actor::{Answered, Exit, ExitReason, ReplyTo, Timer, Unforwarded, Watched, register};
use crate::error::{CallError, PublishError, RelationError, SendError};
use crate::event::{self, EventToken, Published};
use crate::network::{Connection, Outgoing};
use crate::process::{
    Compression, Delivered, Envelope, Priority, Process, PushError, Refused, Relation, discard,
};
use crate::registrar::BoxFuture;
use crate::{Atom, Event, Pid};

/// Who sends.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    Node,
    /// With whom it sends to again and again.
    Process(&'a Arc<Process>, &'a Familiar),
    /// A process that is not at hand, by its timer.
    Pid(Pid),
}

impl From<'_> {
    #[inline]
    fn pid(&self, node: &NodeInner) -> Pid {
        match self {
            Self::Node => node.core(),
            Self::Process(process, _) => process.pid,
            Self::Pid(pid) => *pid,
        }
    }

    #[inline]
    fn priority(&self) -> Priority {
        match self {
            Self::Process(process, _) => process.priority(),
            Self::Node | Self::Pid(_) => Priority::Normal,
        }
    }

    /// What it is told of this error: who is none of the node's processes may not
    /// have heard that the node has been stopped.
    #[cold]
    fn told(&self, node: &NodeInner, error: SendError) -> SendError {
        match (self, error) {
            (Self::Node | Self::Pid(_), SendError::ProcessUnknown) if node.is_stopping() => {
                SendError::NodeStopped
            }
            (_, error) => error,
        }
    }

    fn compression(&self) -> Option<Compression> {
        match self {
            Self::Process(process, _) => process.compression(),
            Self::Node | Self::Pid(_) => None,
        }
    }

    fn is_important(&self) -> bool {
        match self {
            Self::Process(process, _) => process.is_important(),
            Self::Node | Self::Pid(_) => false,
        }
    }

    fn outgoing(&self, node: &NodeInner) -> Outgoing {
        Outgoing {
            from: self.pid(node).id,
            priority: self.priority(),
            compression: self.compression(),
            important: self.is_important(),
        }
    }
}

/// A message on its way out.
///
/// Written out instead of an `async fn` because it is made and moved with every
/// message: that one would be three times as large.
#[must_use]
pub(crate) struct Sending<'a, T, M> {
    node: &'a Arc<NodeInner>,
    from: From<'a>,
    message: Option<(T, M)>,
    rest: Option<BoxFuture<'a, Result<(), SendError>>>,
}

impl<'a, T: ToTarget, M: Message> Sending<'a, T, M> {
    #[inline]
    pub(crate) fn new(node: &'a Arc<NodeInner>, from: From<'a>, to: T, message: M) -> Self {
        Self { node, from, message: Some((to, message)), rest: None }
    }
}

/// Nothing in it relies on its place.
impl<T, M> Unpin for Sending<'_, T, M> {}

impl<T: ToTarget, M: Message> Future for Sending<'_, T, M> {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let Some((to, message)) = self.message.take() {
            match begin_to_send(self.node, &self.from, to.to_target()?, message)? {
                Sent::Now => {}
                // A receiver that lags is given time; what waits stays warm in the cache.
                Sent::Deep => {
                    self.rest = Some(Box::pin(async {
                        yield_now().await;
                        Ok(())
                    }));
                }
                Sent::Later(rest) => self.rest = Some(rest),
            }
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll(cx),
            // A sender that never waits would keep its thread from the receiver.
            None => poll_proceed(cx).map(|budget| {
                budget.made_progress();
                Ok(())
            }),
        }
    }
}

enum Sent<'a> {
    Now,
    /// A lot waits at the receiver.
    Deep,
    /// When this is done.
    Later(BoxFuture<'a, Result<(), SendError>>),
}

#[inline]
fn begin_to_send<'a, M: Message>(
    node: &'a Arc<NodeInner>,
    from: &From<'_>,
    to: Target,
    message: M,
) -> Result<Sent<'a>, SendError> {
    let Some(peer) = remote(node, &to)? else {
        let envelope = Envelope::Message { from: from.pid(node), payload: Payload::new(message) };
        let depth = deliver_from(node, from, &to, envelope)?;
        let deep = depth > PATIENT_DEPTH && depth.is_multiple_of(PATIENT_EVERY);
        return Ok(if deep { Sent::Deep } else { Sent::Now });
    };
    let outgoing = from.outgoing(node);
    if outgoing.important {
        return Ok(Sent::Later(Box::pin(send_acknowledged(node, outgoing, peer, to, message))));
    }
    // Most often there is a connection with room: that needs no reference to it.
    let placed = node.network.with_connected(peer, |connection| {
        let left = connection.place_message(outgoing, to, &message)?;
        // What is encoded for one connection means something else on another.
        Ok::<_, SendError>(left.map(|frame| (frame, connection.clone())))
    });
    match placed.transpose()? {
        Some(None) => Ok(Sent::Now),
        Some(Some((frame, connection))) => {
            Ok(Sent::Later(Box::pin(async move { connection.place_late(outgoing.from, frame).await })))
        }
        None => Ok(Sent::Later(Box::pin(async move {
            node.network.connection(node, peer).await?.send(outgoing, to, message).await
        }))),
    }
}

/// Sends a message, and waits until it lies in the mailbox, wherever that is.
pub(crate) async fn send_important<T: ToTarget, M: Message>(
    node: &Arc<NodeInner>,
    from: From<'_>,
    to: T,
    message: M,
) -> Result<(), SendError> {
    let to = to.to_target()?;
    match remote(node, &to)? {
        None => Sending::new(node, from, to, message).await,
        Some(peer) => Box::pin(send_acknowledged(node, from.outgoing(node), peer, to, message)).await,
    }
}

async fn send_acknowledged(
    node: &Arc<NodeInner>,
    outgoing: Outgoing,
    peer: Atom,
    to: Target,
    message: impl Message,
) -> Result<(), SendError> {
    node.network.connection(node, peer).await?.send_important(outgoing, to, message).await
}

pub(crate) fn try_send<M: Message>(
    node: &Arc<NodeInner>,
    from: From<'_>,
    to: Target,
    message: M,
) -> Result<(), SendError> {
    match remote(node, &to)? {
        None => {
            let envelope = Envelope::Message { from: from.pid(node), payload: Payload::new(message) };
            deliver_from(node, &from, &to, envelope).map(drop)
        }
        Some(peer) => match node.network.connected(peer) {
            Some(connection) => connection.try_send(from.outgoing(node), to, &message),
            None => {
                node.network.connect_in_background(node, peer)?;
                Err(SendError::Busy { node: peer })
            }
        },
    }
}

pub(crate) async fn call<R: Message>(
    node: &Arc<NodeInner>,
    from: From<'_>,
    to: Target,
    request: impl Message,
    timeout: Duration,
    important: bool,
) -> Result<R, CallError> {
    let answer = match remote(node, &to)? {
        None => {
            let (reply, receiver) = oneshot::channel();
            let envelope = Envelope::Request {
                from: from.pid(node),
                payload: Payload::new(request),
                reply: ReplyTo::local(reply),
            };
            deliver(node, &to, envelope, from.priority()).map_err(|error| from.told(node, error))?;
            answer_within(timeout, receiver).await?
        }
        Some(peer) => {
            register::<R>(&node.registry);
            let mut outgoing = from.outgoing(node);
            outgoing.important |= important;
            Box::pin(call_remote(node, outgoing, peer, to, request, timeout)).await?
        }
    };
    answer.downcast().map_err(|answer| match answer.downcast() {
        Ok(error) => CallError::Answer(error),
        Err(answer) => {
            CallError::UnexpectedAnswer { expected: std::any::type_name::<R>(), got: answer.label().into() }
        }
    })
}

async fn call_remote(
    node: &Arc<NodeInner>,
    outgoing: Outgoing,
    peer: Atom,
    to: Target,
    request: impl Message,
    timeout: Duration,
) -> Result<Payload, CallError> {
    let reference = [node.new_reference(), 0, deadline(node, timeout)];
    let exchange = async {
        let connection = node.network.connection(node, peer).await.map_err(SendError::from)?;
        let pending = node.calls.wait(Awaited::Call(reference), connection.number, peer);
        connection.request(outgoing, to, reference, request).await?;
        // The connection may have ended before it knew of this request.
        if connection.is_down() {
            node.calls.connection_lost(connection.number);
        }
        pending.answered().await
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(CallError::Timeout(timeout)))
}

async fn answer_within(timeout: Duration, receiver: oneshot::Receiver<Answered>) -> Answered {
    match tokio::time::timeout(timeout, receiver).await {
        Ok(answer) => answer.unwrap_or(Err(CallError::NoAnswer)),
        Err(_) => Err(CallError::Timeout(timeout)),
    }
}

/// When the caller stops waiting, in Unix seconds (`docs/wire/ENP.md` section 4).
pub(crate) fn deadline(node: &NodeInner, timeout: Duration) -> u64 {
    let now = node.network.options.ground.unix_time();
    now.saturating_add(timeout.min(FAR)).as_secs().saturating_add(1)
}

pub(crate) async fn send_exit(
    node: &Arc<NodeInner>,
    from: Pid,
    to: Pid,
    reason: ExitReason,
) -> Result<(), SendError> {
    let target = Target::Pid(to);
    match remote(node, &target)? {
        None => {
            let exit = Exit { subject: Watched::Pid(from), reason, requested: true };
            deliver(node, &target, Envelope::Exit(Box::new(exit)), Priority::Max).map(drop)
        }
        Some(peer) => node.network.connection(node, peer).await?.send_exit(from.id, to, &reason).await,
    }
}

pub(crate) fn send_after<M: Message>(
    node: &Arc<NodeInner>,
    from: Pid,
    to: Target,
    message: M,
    delay: Duration,
) -> Timer {
    let sender = node.clone();
    crate::actor::after(&node.runtime, node.stopping.clone(), delay, async move {
        if let Err(error) = Sending::new(&sender, From::Pid(from), to, message).await {
            tracing::debug!(%from, ?to, %error, "delayed message not sent");
        }
    })
}

pub(crate) fn send_every<M: Message + Clone + Sync>(
    node: &Arc<NodeInner>,
    from: Pid,
    to: Target,
    message: M,
    period: Duration,
) -> Timer {
    assert!(!period.is_zero(), "a period of nothing");
    let sender = node.clone();
    crate::actor::every(&node.runtime, node.stopping.clone(), period.min(FAR), move || {
        let (sender, message) = (sender.clone(), message.clone());
        async move {
            if from.id != Pid::CORE && sender.processes.with(from.id, |_| ()).is_none() {
                return false;
            }
            match Sending::new(&sender, From::Pid(from), to, message).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%from, ?to, %error, "periodic message not sent");
                    !matches!(
                        error,
                        SendError::ProcessUnknown
                            | SendError::ProcessTerminated
                            | SendError::Incarnation { .. }
                            | SendError::Encode(_)
                    )
                }
            }
        }
    })
}

/// Has a process told of the end of something, here or elsewhere.
pub(crate) async fn watch(
    process: &Arc<Process>,
    target: Watched,
    relation: Relation,
) -> Result<(), RelationError> {
    let node = &process.node;
    let target = target.or_on(node.name);
    let peer = target.node();
    if node.is_local(peer) {
        return process.watch_here(target, relation);
    }
    let connection = connection(node, peer).await?;
    Box::pin(connection.watch(process, target, relation)).await.map(drop)
}

/// Has a process told of the end of an event, and of what is published until
/// then; what was published last.
pub(crate) async fn subscribe(
    process: &Arc<Process>,
    event: Event,
    relation: Relation,
) -> Result<Vec<Published>, RelationError> {
    let node = &process.node;
    if node.is_local(event.node) {
        return process.subscribe_here(Event { node: node.name, ..event }, relation);
    }
    let connection = connection(node, event.node).await?;
    Box::pin(connection.subscribe(process, event, relation)).await
}

/// The connection with another node that a relation is to be made over.
async fn connection(node: &Arc<NodeInner>, peer: Atom) -> Result<Arc<Connection>, RelationError> {
    if node.is_stopping() {
        return Err(SendError::NodeStopped.into());
    }
    Ok(node.network.connection(node, peer).await.map_err(SendError::from)?)
}

/// Publishes a message as an event of this node.
pub(crate) async fn publish<M: Message>(
    node: &Arc<NodeInner>,
    from: From<'_>,
    name: &str,
    token: &EventToken,
    message: M,
) -> Result<(), PublishError> {
    let name = Atom::existing(name).ok_or(PublishError::EventUnknown)?;
    event::publish(node, from.pid(node), from.outgoing(node), name, token, message).await
}

/// Has a process told no more.
pub(crate) async fn unwatch(
    process: &Arc<Process>,
    target: Watched,
    relation: Relation,
) -> Result<(), RelationError> {
    let target = target.or_on(process.node.name);
    if let Some(connection) = process.unwatch(&target, relation)? {
        Box::pin(connection.unwatch(process.pid, target, relation)).await;
    }
    Ok(())
}

/// The node a target lives on, if it is another one.
#[inline]
fn remote(node: &NodeInner, to: &Target) -> Result<Option<Atom>, SendError> {
    let there = match to {
        Target::Pid(pid) => pid.node,
        Target::Name(process) => process.node,
        Target::Alias(alias) => alias.node,
    };
    if node.is_local(there) {
        return Ok(None);
    }
    if node.is_stopping() { Err(SendError::NodeStopped) } else { Ok(Some(there)) }
}

/// A sender that finds more than this waiting in a mailbox lets others run
/// now and then before it goes on.
const PATIENT_DEPTH: usize = 4096;
const PATIENT_EVERY: usize = 64;

#[inline]
fn deliver_from(
    node: &NodeInner,
    from: &From<'_>,
    to: &Target,
    envelope: Envelope,
) -> Result<usize, SendError> {
    match from {
        From::Process(process, familiar) => {
            deliver_familiar(node, to, envelope, process.priority(), familiar)
        }
        From::Node | From::Pid(_) => {
            deliver(node, to, envelope, Priority::Normal).map_err(|error| from.told(node, error))
        }
    }
}

/// [`deliver`] for somebody who sends to one process again and again.
pub(crate) fn deliver_familiar(
    node: &NodeInner,
    to: &Target,
    envelope: Envelope,
    priority: Priority,
    familiar: &Familiar,
) -> Result<usize, SendError> {
    if let Target::Pid(pid) = to
        && pid.creation == node.creation
    {
        if let Some(process) = familiar.get(pid.id) {
            return match process.push(envelope, priority) {
                // The tables know whether it is about to end or gone.
                Err(Refused { envelope, error: Some(PushError::Closed) }) => {
                    deliver(node, to, envelope, priority)
                }
                pushed => delivered(pushed),
            };
        }
        familiar.note(pid.id, &node.processes);
    }
    deliver(node, to, envelope, priority)
}

/// Puts an envelope into the mailbox of a local process. Returns how many wait
/// there.
pub(crate) fn deliver(
    node: &NodeInner,
    to: &Target,
    envelope: Envelope,
    priority: Priority,
) -> Result<usize, SendError> {
    let mut envelope = Some(envelope);
    let push = |process: &Arc<Process>| envelope.take().map(|envelope| process.push(envelope, priority));
    let pushed = match to {
        Target::Pid(pid) if pid.creation == node.creation => node.processes.with(pid.id, push),
        Target::Pid(_) => None,
        Target::Name(process) => node.processes.by_name(process.name, push),
        Target::Alias(alias) => node.processes.by_alias(*alias, push),
    };
    match pushed.flatten() {
        Some(pushed) => delivered(pushed),
        None => {
            discard(envelope);
            Err(SendError::ProcessUnknown)
        }
    }
}

/// Puts what `from` has sent to somebody else into the mailbox of a local
/// process, with the right to answer it, or gives both back.
pub(crate) fn forward(
    node: &NodeInner,
    from: Pid,
    to: Pid,
    payload: Payload,
    reply: &mut Option<ReplyTo>,
) -> Result<(), Box<Unforwarded>> {
    let Some(process) = node.process(to) else {
        return Err(Box::new(Unforwarded { payload, error: SendError::ProcessUnknown }));
    };
    let envelope = match reply.take() {
        Some(reply) => Envelope::Request { from, payload, reply },
        None => Envelope::Message { from, payload },
    };
    let Refused { envelope, error } = match process.push(envelope, Priority::Normal) {
        Ok(delivered) => {
            delivered.start();
            return Ok(());
        }
        Err(refused) => refused,
    };
    let error = match error {
        Some(PushError::Full) => SendError::MailboxFull,
        Some(PushError::Closed) | None => SendError::ProcessTerminated,
    };
    let payload = match envelope {
        Envelope::Message { payload, .. } => payload,
        Envelope::Request { payload, reply: back, .. } => {
            *reply = Some(back);
            payload
        }
        _ => unreachable!("what comes back is what was put in"),
    };
    Err(Box::new(Unforwarded { payload, error }))
}

/// Puts a publication into the mailbox of a local process.
pub(crate) fn forward_event(node: &NodeInner, to: Pid, published: Published) -> Result<(), SendError> {
    deliver(node, &Target::Pid(to), Envelope::Event(published), Priority::Normal).map(drop)
}

/// What became of an envelope, outside of all locks: starts the run that is
/// due, or drops what was refused.
#[inline]
fn delivered(pushed: Result<Delivered, Refused>) -> Result<usize, SendError> {
    match pushed {
        Ok(delivered) => Ok(delivered.start()),
        Err(refused) => turned_away(refused),
    }
}

#[cold]
fn turned_away(Refused { mut envelope, error }: Refused) -> Result<usize, SendError> {
    if let (Some(PushError::Closed), Envelope::Request { reply, .. }) = (error, &mut envelope) {
        reply.unanswered(Code::Terminated);
    }
    discard(envelope);
    match error {
        None => Ok(0),
        Some(PushError::Full) => Err(SendError::MailboxFull),
        Some(PushError::Closed) => Err(SendError::ProcessTerminated),
    }
}
