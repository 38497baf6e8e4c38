//! A node: processes, their addresses, and the network they are reached over.

mod builder;
mod calls;
mod familiar;
pub(crate) mod router;
mod stop;
mod target;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postroad_edf::{EncodeError, Message, Registry};
use postroad_wire::Version;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{Actor, ExitReason, Timer};
use crate::application::Applications;
use crate::error::{CallError, EventError, InvalidName, NameError, PublishError, SendError, SpawnError};
use crate::event::{EventInfo, EventOptions, EventToken, Events};
use crate::inspect::{self, InspectError, Item, ListProcesses, NodeInfo, ProcessInfo, ProcessPage};
use crate::network::{Network, NetworkInner};
use crate::pool::PoolHandle;
use crate::process::{Environment, Origin, Process, ProcessTable, Relations, SpawnOptions};
use crate::supervisor::SupervisorHandle;
use crate::{Alias, Atom, Pid};

pub use builder::NodeBuilder;
pub(crate) use calls::{Awaited, Calls, Pending};
pub(crate) use familiar::Familiar;
pub use target::{Target, ToTarget};

/// How long a call waits unless it says otherwise.
pub(crate) const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is further away than this never comes: thirty years. Instants that lie
/// so far ahead can still be added to.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The number of the first process; smaller ones are reserved.
const FIRST_PROCESS: u64 = 1001;

/// A handle of a running node; clones are handles of the same node.
///
/// A node runs until it is stopped: dropping the handles leaves it running,
/// because its processes and peers may still need it. Many nodes can live in
/// one program.
#[derive(Clone)]
pub struct Node(Arc<NodeInner>);

pub(crate) struct NodeInner {
    pub(crate) name: Atom,
    pub(crate) creation: i64,
    pub(crate) started: Instant,
    pub(crate) processes: ProcessTable,
    pub(crate) relations: Relations,
    pub(crate) applications: Applications,
    pub(crate) events: Events,
    pub(crate) calls: Calls,
    pub(crate) registry: Registry,
    pub(crate) version: Version,
    pub(crate) environment: Mutex<Environment>,
    pub(crate) exposes: Exposes,
    pub(crate) network: NetworkInner,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Cancelled when the node begins to stop: nothing new from here on.
    pub(crate) stopping: CancellationToken,
    /// The same for those who ask with every message.
    has_stopped: AtomicBool,
    /// Everything that serves the network.
    pub(crate) tasks: TaskTracker,
    /// How long processes may take to end when the node stops.
    shutdown_timeout: Duration,
    next_pid: AtomicU64,
    next_reference: AtomicU64,
    live: AtomicUsize,
    drained: Notify,
}

/// Whether other nodes are told the environment of who has them start something.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Exposes {
    pub(crate) remote_spawn: bool,
    pub(crate) remote_application_start: bool,
}

impl Node {
    /// Describes a node named `name@host`; [`NodeBuilder::start`] starts it.
    pub fn builder(name: impl Into<String>) -> NodeBuilder {
        NodeBuilder::new(name.into())
    }

    pub(crate) fn inner(&self) -> &Arc<NodeInner> {
        &self.0
    }

    pub(crate) fn from_inner(inner: Arc<NodeInner>) -> Self {
        Self(inner)
    }

    /// The name, `name@host`.
    pub fn name(&self) -> Atom {
        self.0.name
    }

    /// The incarnation: Unix seconds at the start, or a little more where a
    /// program starts several nodes within a second.
    pub fn creation(&self) -> i64 {
        self.0.creation
    }

    /// The pid that stands for the node itself: the sender of what is sent
    /// through this handle, and the parent of what is spawned through it.
    pub fn pid(&self) -> Pid {
        self.0.core()
    }

    /// Routes, connections and acceptors.
    pub fn network(&self) -> Network {
        Network::new(self.0.clone())
    }

    /// The types whose messages this node understands.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The variables of the node, which processes spawned through this handle
    /// inherit.
    pub fn environment(&self) -> Environment {
        self.0.environment.lock().clone()
    }

    /// The value of a variable, if there is one and it is a `T`. The case of
    /// the name does not matter.
    pub fn env<T: Message>(&self, name: &str) -> Option<T> {
        self.environment().get(name, &self.0.registry)
    }

    /// Sets a variable, for processes spawned from now on.
    ///
    /// # Errors
    /// If the value has no EDF form.
    pub fn set_env<T: Message>(&self, name: &str, value: &T) -> Result<(), EncodeError> {
        self.0.overlay(&Environment::with(name, value)?);
        Ok(())
    }

    /// Removes a variable.
    pub fn remove_env(&self, name: &str) {
        self.0.overlay(&Environment::without(name));
    }

    /// How many processes live here, those included that are about to begin or end.
    pub fn process_count(&self) -> usize {
        self.0.processes.len()
    }

    /// The process that has this name.
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.0.processes.by_name(Atom::new(name).ok()?, |process| process.pid)
    }

    /// How many messages wait in the mailbox of a local process; `None` if
    /// there is no such process.
    pub fn mailbox_len(&self, pid: Pid) -> Option<usize> {
        (pid.node == self.0.name && pid.creation == self.0.creation).then_some(())?;
        self.0.processes.with(pid.id, |process| process.mailbox.len())
    }

    /// The node at a glance. Looks at every process: a matter of milliseconds
    /// where there are 100,000.
    ///
    /// # Errors
    /// [`InspectError::NodeStopped`] once it has begun to stop.
    pub fn info(&self) -> Result<NodeInfo, InspectError> {
        inspect::describe_node(self)
    }

    /// Processes, a page of them; more with [`ProcessPage::next`].
    pub fn processes(&self, list: &ListProcesses) -> ProcessPage {
        inspect::list_processes(&self.0, list)
    }

    /// Everything about a process that can be told without asking it.
    ///
    /// # Errors
    /// [`InspectError::ProcessUnknown`] if it is not a process of this node, or
    /// not any more.
    pub fn process_info(&self, pid: Pid) -> Result<ProcessInfo, InspectError> {
        self.process(pid).map(|process| inspect::describe_process(&process))
    }

    /// What a process says of its own state
    /// ([`Actor::inspect`](crate::Actor::inspect)). It is asked before anything
    /// that waits for it, but not in the middle of a handler: then this waits,
    /// for `timeout` at most. A handler that asks for its own process waits in
    /// vain.
    ///
    /// # Errors
    /// [`InspectError::Timeout`] after that time, [`InspectError::Busy`] if too
    /// many ask at once, [`InspectError::Panicked`] if the process panicked over
    /// it, [`InspectError::ProcessUnknown`] and
    /// [`InspectError::ProcessTerminated`] if there is nobody to ask.
    ///
    /// Cancel safe: who does not wait any more takes no room.
    pub async fn inspect(&self, pid: Pid, timeout: Duration) -> Result<Vec<Item>, InspectError> {
        inspect::ask(&self.process(pid)?, timeout).await
    }

    fn process(&self, pid: Pid) -> Result<Arc<Process>, InspectError> {
        self.0.process(pid).ok_or(InspectError::ProcessUnknown)
    }

    /// Spawns a process: returns when its `init` is done.
    ///
    /// Cancellation: if the future is dropped before that there is no process.
    pub async fn spawn<A: Actor>(&self, args: A::Args) -> Result<Pid, SpawnError> {
        self.spawn_with::<A>(args, SpawnOptions::default()).await
    }

    /// Spawns a process with options.
    pub async fn spawn_with<A: Actor>(
        &self,
        args: A::Args,
        options: SpawnOptions,
    ) -> Result<Pid, SpawnError> {
        crate::process::spawn::<A>(&self.0, Origin::of_node(&self.0), args, options).await
    }

    /// Sends a message; see [`Context::send`](crate::Context::send).
    pub fn send<M: Message>(
        &self,
        to: impl ToTarget,
        message: M,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        router::Sending::new(&self.0, router::From::Node, to, message)
    }

    /// Sends a message now or not at all; see
    /// [`Context::try_send`](crate::Context::try_send).
    pub fn try_send<M: Message>(&self, to: impl ToTarget, message: M) -> Result<(), SendError> {
        router::try_send(&self.0, router::From::Node, to.to_target()?, message)
    }

    /// Sends a message, and waits until it lies in the mailbox of the process;
    /// see [`Context::send_important`](crate::Context::send_important).
    pub async fn send_important<M: Message>(&self, to: impl ToTarget, message: M) -> Result<(), SendError> {
        router::send_important(&self.0, router::From::Node, to, message).await
    }

    /// Sends a request and waits for its answer, five seconds at most; see
    /// [`Context::call`](crate::Context::call).
    pub async fn call<R: Message>(&self, to: impl ToTarget, request: impl Message) -> Result<R, CallError> {
        self.call_with_timeout(to, request, DEFAULT_CALL_TIMEOUT).await
    }

    /// [`call`](Self::call) with a time limit of its own.
    pub async fn call_with_timeout<R: Message>(
        &self,
        to: impl ToTarget,
        request: impl Message,
        timeout: Duration,
    ) -> Result<R, CallError> {
        let to = to.to_target().map_err(SendError::from)?;
        router::call(&self.0, router::From::Node, to, request, timeout, false).await
    }

    /// A call whose failed delivery is reported at once; see
    /// [`Context::call_important`](crate::Context::call_important).
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
        let to = to.to_target().map_err(SendError::from)?;
        router::call(&self.0, router::From::Node, to, request, timeout, true).await
    }

    /// Asks a process to end; see [`Context::send_exit`](crate::Context::send_exit).
    pub async fn send_exit(&self, to: Pid, reason: ExitReason) -> Result<(), SendError> {
        router::send_exit(&self.0, self.pid(), to, reason).await
    }

    /// Sends a message after `delay`; see [`Context::send_after`](crate::Context::send_after).
    pub fn send_after<M: Message>(
        &self,
        to: impl ToTarget,
        message: M,
        delay: Duration,
    ) -> Result<Timer, SendError> {
        Ok(router::send_after(&self.0, self.pid(), to.to_target()?, message, delay))
    }

    /// Sends a copy of a message every `period`; see
    /// [`Context::send_every`](crate::Context::send_every).
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn send_every<M: Message + Clone + Sync>(
        &self,
        to: impl ToTarget,
        message: M,
        period: Duration,
    ) -> Result<Timer, SendError> {
        Ok(router::send_every(&self.0, self.pid(), to.to_target()?, message, period))
    }

    /// Ends a local process without asking it, even in the middle of a handler
    /// (at its next await point). False if there is no such process.
    pub fn kill(&self, pid: Pid) -> bool {
        self.process(pid).inspect(Process::kill).is_ok()
    }

    /// Waits until a local process has ended and nothing is left of it, and says
    /// why it ended; nothing at once if there is no such process.
    ///
    /// Cancel safe.
    pub async fn ended(&self, pid: Pid) -> Option<ExitReason> {
        let (waiting, mut ended) = mpsc::unbounded_channel();
        if !self.process(pid).ok()?.await_end(waiting) {
            return None;
        }
        ended.recv().await.map(|(_, reason)| reason)
    }

    /// Speaks to a supervisor of this node.
    pub fn supervisor(&self, supervisor: impl ToTarget) -> SupervisorHandle {
        SupervisorHandle::new(self.clone(), supervisor)
    }

    /// Speaks to a pool of this node.
    pub fn pool(&self, pool: impl ToTarget) -> PoolHandle {
        PoolHandle::new(self.clone(), pool)
    }

    /// Gives a local process a name.
    pub fn register_name(&self, name: &str, pid: Pid) -> Result<(), NameError> {
        let name = process_name(name)?;
        let process = self.process(pid).map_err(|_| NameError::ProcessUnknown)?;
        crate::process::register_name(&process, name)
    }

    /// Takes a name away from the local process that has it. Who watches the
    /// name is told.
    pub fn unregister_name(&self, name: &str) -> Result<Pid, NameError> {
        let name = process_name(name)?;
        let process = self.0.processes.by_name(name, Arc::clone).ok_or(NameError::Unknown)?;
        crate::process::unregister_name(&process, name)?;
        Ok(process.pid)
    }

    /// Registers an event of the node itself; see
    /// [`Context::register_event`](crate::Context::register_event). It ends when
    /// it is unregistered, or with the node.
    pub fn register_event(&self, name: &str, options: EventOptions) -> Result<EventToken, EventError> {
        self.0.events.register(&self.0, None, process_name(name)?, options)
    }

    /// Takes an event of the node back; those of processes are theirs.
    pub fn unregister_event(&self, name: &str) -> Result<(), EventError> {
        let name = Atom::existing(name).ok_or(EventError::Unknown)?;
        crate::process::unregister_event(&self.0, None, name)
    }

    /// Publishes a message to everybody who subscribes to an event of this node;
    /// see [`Context::publish`](crate::Context::publish).
    pub async fn publish<M: Message>(
        &self,
        name: &str,
        token: &EventToken,
        message: M,
    ) -> Result<(), PublishError> {
        router::publish(&self.0, router::From::Node, name, token, message).await
    }

    /// The events that are published here, in no order.
    pub fn events(&self) -> Vec<Atom> {
        self.0.events.names()
    }

    /// What is known of an event of this node.
    pub fn event_info(&self, name: &str) -> Option<EventInfo> {
        self.0.events.info(Atom::existing(name)?)
    }

    /// Whether [`stop`](Self::stop) has begun.
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }
}

impl NodeInner {
    pub(crate) fn core(&self) -> Pid {
        Pid { node: self.name, id: Pid::CORE, creation: self.creation }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.has_stopped.load(Ordering::Acquire)
    }

    /// Lays these variables over those of the node.
    fn overlay(&self, over: &Environment) {
        let mut environment = self.environment.lock();
        *environment = environment.overlaid(over);
    }

    /// From here on nothing new begins.
    fn begin_to_stop(&self) {
        self.has_stopped.store(true, Ordering::Release);
        self.stopping.cancel();
    }

    /// The process of this incarnation that has this pid.
    pub(crate) fn process(&self, pid: Pid) -> Option<Arc<Process>> {
        self.processes.with(pid.id, Arc::clone).filter(|process| process.pid == pid)
    }

    /// Whether a target on `node` is here.
    pub(crate) fn is_local(&self, node: Atom) -> bool {
        node == self.name || node.is_empty()
    }

    /// The pid of a process that begins; [`Self::process_gone`] ends it.
    pub(crate) fn new_pid(&self) -> Pid {
        self.live.fetch_add(1, Ordering::Relaxed);
        Pid { node: self.name, id: self.next_pid.fetch_add(1, Ordering::Relaxed), creation: self.creation }
    }

    pub(crate) fn process_gone(&self) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drained.notify_waiters();
        }
    }

    /// A number that this incarnation of the node has not used in a reference yet.
    pub(crate) fn new_reference(&self) -> u64 {
        self.next_reference.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn new_alias(&self) -> Alias {
        Alias { node: self.name, creation: self.creation, id: [self.new_reference(), 0, 0] }
    }

    async fn no_process_left(&self) {
        loop {
            let drained = self.drained.notified();
            if self.live.load(Ordering::Acquire) == 0 {
                return;
            }
            drained.await;
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.0.name)
    }
}

/// Checks the name of a process.
pub(crate) fn process_name(name: &str) -> Result<Atom, InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    Ok(Atom::new(name)?)
}

/// Checks the name of a node: `name@host`.
pub(crate) fn node_name(name: &str) -> Result<Atom, InvalidName> {
    match name.split_once('@') {
        Some((local, host))
            if !local.is_empty()
                && !host.is_empty()
                && !host.contains('@')
                && !name.contains(char::is_control) =>
        {
            Ok(Atom::new(name)?)
        }
        _ => Err(InvalidName::Node(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, NetworkMode};

    /// Makes addresses for itself when it ends.
    struct Late;

    impl Actor for Late {
        type Args = ();
        type Messages = ();
        type Requests = ();

        async fn init((): (), ctx: &mut Context) -> Result<Self, ExitReason> {
            ctx.create_alias();
            Ok(Self)
        }

        async fn terminated(&mut self, _: &ExitReason, ctx: &mut Context) {
            ctx.create_alias();
            let _ = ctx.register_name("late");
        }
    }

    #[tokio::test]
    async fn what_has_ended_has_no_address() {
        let node = Node::builder("late@localhost").network(NetworkMode::Disabled).start().await.unwrap();
        let late = node.spawn_with::<Late>((), SpawnOptions::new().name("punctual")).await.unwrap();
        assert_eq!(node.0.processes.addresses(), 3);
        node.send_exit(late, ExitReason::Normal).await.unwrap();
        node.0.no_process_left().await;
        assert_eq!(node.0.processes.addresses(), 0);
        node.stop().await;
    }
}
