//! What a handler can do.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::{EncodeError, Message, Payload};

use super::{Actor, ExitReason, Recipe, ReplyTo, Timer, Unforwarded};
use crate::error::{CallError, NameError, SendError, SpawnError};
use crate::event::Published;
use crate::network::{RemoteSpawnError, spawn_child};
use crate::node::{DEFAULT_CALL_TIMEOUT, Familiar, Node, Target, ToTarget, router};
use crate::process::{Compression, Environment, Origin, Priority, Process, SpawnOptions};
use crate::{Alias, Atom, Pid};

/// A process as its own handlers see it: who sent what they are handling, and
/// everything the process can do.
pub struct Context {
    process: Arc<Process>,
    sender: Pid,
    reply: Option<ReplyTo>,
    familiar: Familiar,
    urgent: bool,
}

impl Context {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        let sender = process.parent;
        Self { process, sender, reply: None, familiar: Familiar::default(), urgent: false }
    }

    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Notes what is handled next.
    pub(crate) fn begin(&mut self, sender: Pid, reply: Option<ReplyTo>) {
        self.sender = sender;
        self.reply = reply;
        self.familiar.review();
    }

    /// Notes which lane what is handled next lay in.
    #[inline]
    pub(crate) fn set_urgent(&mut self, urgent: bool) {
        self.urgent = urgent;
    }

    /// This process.
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Who sent the message or request at hand; the parent during `init`.
    pub fn sender(&self) -> Pid {
        self.sender
    }

    /// Who spawned this process: another process, or the node itself
    /// ([`Node::pid`]).
    pub fn parent(&self) -> Pid {
        self.process.parent
    }

    /// The process that leads the group this one belongs to: that of the
    /// parent, unless it was spawned with another one
    /// ([`SpawnOptions::leader`]).
    pub fn leader(&self) -> Pid {
        self.process.leader()
    }

    /// The variables of this process.
    pub fn environment(&self) -> Environment {
        self.process.environment()
    }

    /// The value of a variable, if there is one and it is a `T`. The case of
    /// the name does not matter.
    pub fn env<T: Message>(&self, name: &str) -> Option<T> {
        self.environment().get(name, &self.process.node.registry)
    }

    /// Sets a variable, for this process and those it spawns from now on.
    ///
    /// # Errors
    /// If the value has no EDF form.
    pub fn set_env<T: Message>(&self, name: &str, value: &T) -> Result<(), EncodeError> {
        self.process.overlay(&Environment::with(name, value)?);
        Ok(())
    }

    /// Removes a variable.
    pub fn remove_env(&self, name: &str) {
        self.process.overlay(&Environment::without(name));
    }

    /// The registered name, if there is one.
    pub fn name(&self) -> Option<Atom> {
        self.process.name()
    }

    /// The application that this process belongs to, as its children will.
    pub fn application(&self) -> Option<Atom> {
        self.process.application()
    }

    /// Whether the message or request at hand was sent with
    /// [`Priority::High`] or [`Priority::Max`].
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// The node this process lives on.
    pub fn node(&self) -> Node {
        Node::from_inner(self.process.node.clone())
    }

    /// Takes the right to answer the request at hand, to be used later or
    /// elsewhere; the handler then returns [`Reply::Later`](crate::Reply::Later).
    /// Nothing while a message is handled, or if it was taken already.
    pub fn reply_to(&mut self) -> Option<ReplyTo> {
        self.reply.take()
    }

    /// Hands the message or request at hand on to a process of this node, which
    /// gets it as if its sender had sent it there, and answers in this one's
    /// place: the handler then returns [`Reply::Later`](crate::Reply::Later).
    ///
    /// # Errors
    /// [`Unforwarded`] gives the message back; a request can still be answered.
    pub fn forward(&mut self, to: Pid, message: Payload) -> Result<(), Box<Unforwarded>> {
        router::forward(&self.process.node, self.sender, to, message, &mut self.reply)
    }

    /// Hands a publication on to a process of this node, which gets it as if it
    /// had subscribed.
    pub(crate) fn forward_event(&self, to: Pid, published: Published) -> Result<(), SendError> {
        router::forward_event(&self.process.node, to, published)
    }

    /// Sends a message. Returns when it lies in a local mailbox, or has been
    /// handed to the connection with the target's node, which is dialed first
    /// if need be. Waits while that road is congested.
    ///
    /// `Ok` does not mean that a remote process got it. Messages of one process
    /// to another arrive in the order they were sent.
    ///
    /// Cancel safe: a dropped future has sent the message or not, never a part.
    pub fn send<M: Message>(
        &self,
        to: impl ToTarget,
        message: M,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        router::Sending::new(&self.process.node, self.from(), to, message)
    }

    /// Sends a message now or not at all: [`SendError::Busy`] if there is no
    /// connection yet or the road is congested.
    pub fn try_send<M: Message>(&self, to: impl ToTarget, message: M) -> Result<(), SendError> {
        router::try_send(&self.process.node, self.from(), to.to_target()?, message)
    }

    /// Sends a message, and waits until it lies in the mailbox of the process,
    /// wherever that is: five seconds at most after it was handed to the
    /// connection.
    ///
    /// `Ok` means that it is there. [`SendError::ProcessUnknown`],
    /// [`ProcessTerminated`](SendError::ProcessTerminated),
    /// [`MailboxFull`](SendError::MailboxFull) and
    /// [`Refused`](SendError::Refused) mean that it is not, and so does
    /// [`NotSupported`](SendError::NotSupported): that node acknowledges
    /// nothing, and nothing was sent. After
    /// [`Timeout`](SendError::Timeout) and
    /// [`NoConnection`](SendError::NoConnection) it is not known.
    ///
    /// Within a node this is [`send`](Self::send). Cancellation: a dropped
    /// future may or may not have sent the message.
    pub async fn send_important<M: Message>(&self, to: impl ToTarget, message: M) -> Result<(), SendError> {
        router::send_important(&self.process.node, self.from(), to, message).await
    }

    /// Sends a request and waits for its answer, five seconds at most.
    ///
    /// This process handles nothing else meanwhile; a request to itself is
    /// refused. Cancellation: a dropped future stops waiting, the answer is
    /// dropped when it comes.
    pub async fn call<R: Message>(&self, to: impl ToTarget, request: impl Message) -> Result<R, CallError> {
        self.call_with_timeout(to, request, DEFAULT_CALL_TIMEOUT).await
    }

    /// [`call`](Self::call) with a time limit of its own. On the wire the limit
    /// is rounded up to full seconds.
    pub async fn call_with_timeout<R: Message>(
        &self,
        to: impl ToTarget,
        request: impl Message,
        timeout: Duration,
    ) -> Result<R, CallError> {
        self.call_within(to, request, timeout, false).await
    }

    /// [`call`](Self::call), of which the callee's node says at once if it could
    /// not be delivered: [`SendError::ProcessUnknown`] and its kin instead of
    /// a timeout. Nodes of postroad do that for every call.
    ///
    /// [`SendError::NotSupported`] if the callee's node does not do that at all;
    /// then nothing was sent.
    pub async fn call_important<R: Message>(
        &self,
        to: impl ToTarget,
        request: impl Message,
    ) -> Result<R, CallError> {
        self.call_important_with_timeout(to, request, DEFAULT_CALL_TIMEOUT).await
    }

    /// [`call_important`](Self::call_important) with a time limit of its own.
    pub async fn call_important_with_timeout<R: Message>(
        &self,
        to: impl ToTarget,
        request: impl Message,
        timeout: Duration,
    ) -> Result<R, CallError> {
        self.call_within(to, request, timeout, true).await
    }

    async fn call_within<R: Message>(
        &self,
        to: impl ToTarget,
        request: impl Message,
        timeout: Duration,
        important: bool,
    ) -> Result<R, CallError> {
        let to = to.to_target().map_err(SendError::from)?;
        if to == Target::Pid(self.pid()) {
            return Err(SendError::NotAllowed.into());
        }
        router::call(&self.process.node, self.from(), to, request, timeout, important).await
    }

    /// Asks a process to end. It may refuse, if it [traps](Self::set_trap_exit)
    /// exits and this is not its parent. While the same request of this process
    /// waits there, it is not repeated. Asking oneself or one's parent is
    /// refused; an unknown remote process is no error.
    pub async fn send_exit(&self, to: Pid, reason: ExitReason) -> Result<(), SendError> {
        if to == self.pid() || to == self.parent() {
            return Err(SendError::NotAllowed);
        }
        router::send_exit(&self.process.node, self.pid(), to, reason).await
    }

    /// Sends a message after `delay`. Errors of that send are logged at debug level.
    pub fn send_after<M: Message>(
        &self,
        to: impl ToTarget,
        message: M,
        delay: Duration,
    ) -> Result<Timer, SendError> {
        Ok(router::send_after(&self.process.node, self.pid(), to.to_target()?, message, delay))
    }

    /// Sends a copy of a message every `period`, first after one period, until
    /// it is cancelled, this process has ended or a send fails for good.
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn send_every<M: Message + Clone + Sync>(
        &self,
        to: impl ToTarget,
        message: M,
        period: Duration,
    ) -> Result<Timer, SendError> {
        Ok(router::send_every(&self.process.node, self.pid(), to.to_target()?, message, period))
    }

    /// Spawns a child: returns when its `init` is done.
    pub async fn spawn<A: Actor>(&self, args: A::Args) -> Result<Pid, SpawnError> {
        self.spawn_with::<A>(args, SpawnOptions::default()).await
    }

    /// Spawns a child with options.
    pub async fn spawn_with<A: Actor>(
        &self,
        args: A::Args,
        options: SpawnOptions,
    ) -> Result<Pid, SpawnError> {
        let origin = Origin::of_process(&self.process);
        crate::process::spawn::<A>(&self.process.node, origin, args, options).await
    }

    /// Spawns a child of the actor that the recipe is for.
    pub(crate) async fn spawn_recipe(
        &self,
        recipe: &Recipe,
        options: SpawnOptions,
    ) -> Result<Pid, SpawnError> {
        recipe.spawn(&self.process.node, Origin::of_process(&self.process), options).await
    }

    /// Has another node start a process, of what is enabled there under `actor`;
    /// see [`RemoteNode::spawn`](crate::network::RemoteNode::spawn). This
    /// process is its parent, and leader and exposed environment are this one's.
    /// Links between the two are made if `options` say so.
    pub async fn spawn_on(
        &self,
        node: &str,
        actor: &str,
        options: SpawnOptions,
        arguments: impl Message,
    ) -> Result<Pid, RemoteSpawnError> {
        let peer = crate::node::node_name(node)?;
        spawn_child(&self.process, peer, actor, options, arguments).await
    }

    /// Gives this process a name. A process has at most one.
    pub fn register_name(&self, name: &str) -> Result<(), NameError> {
        crate::process::register_name(&self.process, crate::node::process_name(name)?)
    }

    /// Gives up the registered name. Who watches it is told.
    pub fn unregister_name(&self) -> Result<(), NameError> {
        let name = self.name().ok_or(NameError::Unknown)?;
        crate::process::unregister_name(&self.process, name)
    }

    /// Makes a further address of this process, which can be given away and
    /// taken back. Leads nowhere if the process is about to end.
    pub fn create_alias(&self) -> Alias {
        let alias = self.process.node.new_alias();
        self.process.node.processes.register_alias(alias, &self.process);
        alias
    }

    /// Takes an alias of this process back. Who watches it is told.
    pub fn delete_alias(&self, alias: Alias) -> Result<(), NameError> {
        crate::process::delete_alias(&self.process, alias)
    }

    /// How urgent the messages and requests of this process are from now on.
    pub fn set_priority(&self, priority: Priority) {
        self.process.set_priority(priority);
    }

    /// Whether everything this process [sends](Self::send) and
    /// [calls](Self::call) from now on is [important](Self::send_important).
    /// Timers and [`try_send`](Self::try_send), which do not wait, stay as they
    /// are; so do answers ([`ReplyTo::answer_important`]).
    pub fn set_important_delivery(&self, important: bool) {
        self.process.set_important(important);
    }

    /// Packs what this process sends to other nodes from now on, if it is
    /// longer than the threshold in bytes; `None` sends it as it is.
    pub fn set_compression(&self, compression: Option<Compression>) {
        self.process.set_compression(compression);
    }

    pub(super) fn from(&self) -> router::From<'_> {
        router::From::Process(&self.process, &self.familiar)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("process", &self.process)
            .field("sender", &self.sender)
            .field("reply", &self.reply)
            .finish()
    }
}
