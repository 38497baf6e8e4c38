//! The junction where local and remote part ways.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postroad_edf::{Message, Payload};
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use super::{NodeInner, Target};
use crate::actor::{Answered, ExitReason, ReplyTo, Timer};
use crate::error::{CallError, SendError};
use crate::network::Outgoing;
use crate::process::{Compression, Envelope, Priority, Process, PushError};
use crate::{Atom, Pid};

/// Who sends.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    Node,
    Process(&'a Arc<Process>),
    /// A process that is not at hand, by its timer.
    Pid(Pid),
}

impl From<'_> {
    fn pid(&self, node: &NodeInner) -> Pid {
        match self {
            Self::Node => node.core(),
            Self::Process(process) => process.pid,
            Self::Pid(pid) => *pid,
        }
    }

    fn priority(&self) -> Priority {
        match self {
            Self::Process(process) => process.priority(),
            Self::Node | Self::Pid(_) => Priority::Normal,
        }
    }

    fn compression(&self) -> Option<Compression> {
        match self {
            Self::Process(process) => process.compression(),
            Self::Node | Self::Pid(_) => None,
        }
    }

    fn outgoing(&self, node: &NodeInner) -> Outgoing {
        Outgoing { from: self.pid(node).id, priority: self.priority(), compression: self.compression() }
    }
}

pub(crate) async fn send<M: Message>(
    node: &Arc<NodeInner>,
    from: From<'_>,
    to: Target,
    message: M,
) -> Result<(), SendError> {
    // A sender that never waits would keep its thread from the receiver.
    consume_budget().await;
    match remote(node, &to)? {
        None => {
            let depth = deliver(node, &to, local_message(node, &from, message), from.priority())?;
            if depth > PATIENT_DEPTH && depth.is_multiple_of(PATIENT_EVERY) {
                // A receiver that lags is given time; what waits stays warm in the cache.
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        Some(peer) => {
            let outgoing = from.outgoing(node);
            // Most often there is a connection with room: that needs no reference to it.
            let placed = node.network.with_connected(peer, |connection| {
                let left = connection.place_message(outgoing, to, &message)?;
                // What is encoded for one connection means something else on another.
                Ok(left.map(|frame| (frame, connection.clone())))
            });
            match placed {
                Some(Ok(None)) => Ok(()),
                Some(Err(error)) => Err(error),
                Some(Ok(Some((frame, connection)))) => {
                    drop(message);
                    connection.place_late(outgoing.from, frame).await
                }
                None => node.network.connection(node, peer).await?.send(outgoing, to, message).await,
            }
        }
    }
}

pub(crate) fn try_send<M: Message>(
    node: &Arc<NodeInner>,
    from: From<'_>,
    to: Target,
    message: M,
) -> Result<(), SendError> {
    match remote(node, &to)? {
        None => deliver(node, &to, local_message(node, &from, message), from.priority()).map(drop),
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
) -> Result<R, CallError> {
    let answer = match remote(node, &to)? {
        None => {
            let (reply, receiver) = oneshot::channel();
            let envelope = Envelope::Request {
                from: from.pid(node),
                payload: Payload::new(request),
                reply: ReplyTo::local(reply),
            };
            deliver(node, &to, envelope, from.priority())?;
            answer_within(timeout, receiver).await?
        }
        Some(peer) => {
            if let Err(error) = node.registry.register::<R>() {
                tracing::warn!(answer = std::any::type_name::<R>(), %error, "answer type not registered");
            }
            call_remote(node, from.outgoing(node), peer, to, request, timeout).await?
        }
    };
    answer.downcast().map_err(|answer| CallError::UnexpectedAnswer {
        expected: std::any::type_name::<R>(),
        got: answer.type_name(),
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
    let reference = [node.new_reference(), 0, deadline(timeout)];
    let exchange = async {
        let connection = node.network.connection(node, peer).await.map_err(SendError::from)?;
        let (_pending, receiver) = node.calls.wait(reference, connection.number, peer);
        connection.request(outgoing, to, reference, request).await?;
        // The connection may have ended before it knew of this request.
        if connection.is_down() {
            node.calls.connection_lost(connection.number);
        }
        receiver.await.unwrap_or(Err(CallError::NoAnswer))
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
fn deadline(timeout: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_add(timeout).as_secs().saturating_add(1)
}

pub(crate) async fn send_exit(
    node: &Arc<NodeInner>,
    from: Pid,
    to: Pid,
    reason: ExitReason,
) -> Result<(), SendError> {
    let target = Target::Pid(to);
    match remote(node, &target)? {
        None => deliver(node, &target, Envelope::Exit { from, reason }, Priority::Max).map(drop),
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
        if let Err(error) = send(&sender, From::Pid(from), to, message).await {
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
    crate::actor::every(&node.runtime, node.stopping.clone(), period, move || {
        let (sender, message) = (sender.clone(), message.clone());
        async move {
            if from.id != Pid::CORE && sender.processes.with(from.id, |_| ()).is_none() {
                return false;
            }
            match send(&sender, From::Pid(from), to, message).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%from, ?to, %error, "periodic message not sent");
                    !matches!(
                        error,
                        SendError::ProcessUnknown | SendError::Incarnation { .. } | SendError::Encode(_)
                    )
                }
            }
        }
    })
}

/// The node a target lives on, if it is another one.
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

fn local_message<M: Message>(node: &NodeInner, from: &From<'_>, message: M) -> Envelope {
    Envelope::Message { from: from.pid(node), payload: Payload::new(message) }
}

/// A sender that finds more than this waiting in a mailbox lets others run
/// now and then before it goes on.
const PATIENT_DEPTH: usize = 4096;
const PATIENT_EVERY: usize = 64;

/// Puts an envelope into the mailbox of a local process. Returns how many wait
/// there.
#[inline]
pub(crate) fn deliver(
    node: &NodeInner,
    to: &Target,
    envelope: Envelope,
    priority: Priority,
) -> Result<usize, SendError> {
    let pushed = match to {
        Target::Pid(pid) if pid.creation == node.creation => {
            node.processes.with(pid.id, |process| process.deliver(envelope, priority))
        }
        Target::Pid(_) => None,
        Target::Name(process) => {
            node.processes.by_name(process.name, |process| process.deliver(envelope, priority))
        }
        Target::Alias(alias) => {
            node.processes.by_alias(*alias, |process| process.deliver(envelope, priority))
        }
    };
    match pushed {
        Some(Ok(depth)) => Ok(depth),
        Some(Err(PushError::Full)) => Err(SendError::MailboxFull),
        Some(Err(PushError::Closed)) | None => Err(SendError::ProcessUnknown),
    }
}
