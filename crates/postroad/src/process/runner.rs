//! Brings a process to life, and works off its mailbox.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::Payload;
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;

use super::contained::{Cut, until_killed};
use super::mailbox::Batch;
use super::{
    Asker, Compression, Ended, Envelope, Environment, Listed, Origin, Priority, Process, Relation, Watchers,
    caught, discard, own_event, own_name, type_label, withdraw,
};
use crate::actor::{Actor, Context, Exit, ExitReason, Messages, Reply, ReplyTo, Requests, Watched};
use crate::error::{EventError, NameError, SpawnError};
use crate::inspect::{InspectError, Items};
use crate::node::NodeInner;
use crate::{Alias, Atom, Pid};

/// How a process is spawned.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SpawnOptions {
    /// Register the process under this name, before its `init` runs.
    pub name: Option<String>,
    /// The most envelopes each lane of the mailbox holds; unbounded if absent.
    /// A sender to a full mailbox gets [`SendError::MailboxFull`](crate::SendError::MailboxFull);
    /// one of 0 is always full, unlike in Ergo, where 0 is no bound.
    /// Requests to end are let in by this node's processes at any time; of
    /// other nodes' as many wait as the bound says.
    pub mailbox_capacity: Option<usize>,
    /// The new process is linked to its parent: it ends with it.
    pub link_parent: bool,
    /// The parent is linked to the new process, from the moment it has begun.
    pub link_child: bool,
    /// Variables of its own, laid over those of its parent.
    pub environment: Environment,
    /// The process that leads the group it belongs to; that of its parent if
    /// absent.
    pub leader: Option<Pid>,
    /// How urgent what it sends is, until it says otherwise.
    pub priority: Priority,
    /// How what it sends to other nodes is packed, until it says otherwise.
    pub compression: Option<Compression>,
    /// Whether what it sends is important, until it says otherwise
    /// ([`Context::set_important_delivery`](crate::Context::set_important_delivery)).
    pub important_delivery: bool,
    /// How long the `init` of a process may take that another node is to start
    /// ([`Context::spawn_on`](crate::Context::spawn_on)): five seconds if absent,
    /// fifteen at most, counted in whole seconds. Ergo's nodes before 3.2.0
    /// stay with their five. On this node the caller gives it as long as it
    /// waits for the future.
    pub init_timeout: Option<Duration>,
    /// Who is told when the new process has ended.
    pub(crate) awaited: Option<mpsc::UnboundedSender<Ended>>,
}

impl SpawnOptions {
    /// No name, no bound.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the process under `name`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bounds each lane of the mailbox.
    pub fn mailbox_capacity(mut self, envelopes: usize) -> Self {
        self.mailbox_capacity = Some(envelopes);
        self
    }

    /// Links the new process to its parent, if that is a process.
    pub fn link_parent(mut self) -> Self {
        self.link_parent = true;
        self
    }

    /// Links the parent to the new process, if the parent is a process.
    pub fn link_child(mut self) -> Self {
        self.link_child = true;
        self
    }

    /// Variables of its own, laid over those of its parent.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Another leader than that of its parent.
    pub fn leader(mut self, leader: Pid) -> Self {
        self.leader = Some(leader);
        self
    }

    /// How urgent what it sends is.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Packs what it sends to other nodes.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Makes what it sends important.
    pub fn important_delivery(mut self) -> Self {
        self.important_delivery = true;
        self
    }

    /// Limits the `init` of a process that another node is to start.
    pub fn init_timeout(mut self, limit: Duration) -> Self {
        self.init_timeout = Some(limit);
        self
    }
}

/// Makes a process: name, table, `init`, first run. On any failure, also when
/// this future is dropped, nothing of it is left.
pub(crate) async fn spawn<A: Actor>(
    node: &Arc<NodeInner>,
    origin: Origin,
    args: A::Args,
    options: SpawnOptions,
) -> Result<Pid, SpawnError> {
    if node.is_stopping() {
        return Err(SpawnError::NodeStopped);
    }
    A::Messages::register(&node.registry);
    A::Requests::register(&node.registry);
    let process = Process::new::<A>(node.clone(), &origin, &options);
    let mut life = Life::of(process.clone());
    if let Some(name) = &options.name {
        let name = crate::node::process_name(name)?;
        if !node.processes.register_name(name, &process) {
            return Err(SpawnError::NameTaken { name });
        }
    }
    if let Some(application) = origin.application {
        process.join_application(application);
    }
    if let Some(waiting) = &options.awaited {
        process.await_end(waiting.clone());
    }
    node.processes.insert(process.clone());
    // A node that began to stop meanwhile may not have seen this process.
    if node.is_stopping() {
        return Err(SpawnError::NodeStopped);
    }

    let family = Family::of(&process, &options)?;
    let mut ctx = Context::new(process.clone());
    let actor = match until_killed(&process, A::init(args, &mut ctx)).await {
        Ok(Ok(actor)) => actor,
        Ok(Err(reason)) => {
            life.reason = reason.clone();
            return Err(SpawnError::Init(reason));
        }
        Err(Cut::Killed) => return Err(SpawnError::Init(ExitReason::Kill)),
        Err(Cut::Panicked(panic)) => {
            tracing::error!(pid = %process.pid, actor = type_label::<A>(), panic, "panic in init");
            life.reason = ExitReason::Panic;
            return Err(SpawnError::Init(ExitReason::Panic));
        }
    };
    family.found();
    life.goes_on = true;
    *process.actor.lock() = Some(Box::new(actor));
    if process.mailbox.open() {
        (process.kind.run)(process.clone());
    }
    Ok(process.pid)
}

/// The life of a process while it is not idle. Ends it when dropped, however
/// that comes: a failed or abandoned `init`, any end of a run, a runtime that is
/// shut down.
struct Life {
    process: Arc<Process>,
    /// The process lives on without this.
    goes_on: bool,
    /// Why it ends, if it does.
    reason: ExitReason,
    /// Who is to be told of the ends of the addresses that are its alone.
    watchers: Vec<(Watched, Watchers)>,
}

impl Life {
    fn of(process: Arc<Process>) -> Self {
        Self { process, goes_on: false, reason: ExitReason::Kill, watchers: Vec::new() }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.goes_on {
            return;
        }
        leave(&self.process, &self.reason, &mut self.watchers);
        // It is here if a run was due that never began.
        let actor = self.process.actor.lock().take();
        discard(actor);
        let Process { pid, node, .. } = &*self.process;
        node.processes.remove(&self.process);
        // Who is told finds nothing left of it.
        for (subject, watchers) in self.watchers.drain(..) {
            watchers.tell(node, &subject, pid.id, &self.reason);
        }
        self.process.has_ended(&self.reason);
        node.process_gone();
    }
}

/// The links between a new process and its parent. The parent's is taken back
/// when this is dropped before the process has begun: who spawns is told by the
/// error.
struct Family<'a> {
    child: &'a Process,
    parent: Option<Arc<Process>>,
}

impl<'a> Family<'a> {
    fn of(child: &'a Arc<Process>, options: &SpawnOptions) -> Result<Self, SpawnError> {
        let mut family = Self { child, parent: None };
        let node = &child.node;
        if child.parent.id == Pid::CORE || !node.is_local(child.parent.node) {
            return Ok(family);
        }
        let terminated = |_| SpawnError::ParentTerminated;
        if options.link_parent {
            child.watch_here(Watched::Pid(child.parent), Relation::Link).map_err(terminated)?;
        }
        if options.link_child {
            let parent =
                node.processes.with(child.parent.id, Arc::clone).ok_or(SpawnError::ParentTerminated)?;
            parent.watch_here(Watched::Pid(child.pid), Relation::Link).map_err(terminated)?;
            family.parent = Some(parent);
        }
        Ok(family)
    }

    fn found(mut self) {
        self.parent = None;
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.take() {
            // It may have been told already, if the child was killed.
            let _ = parent.unwatch(&Watched::Pid(self.child.pid), Relation::Link);
        }
    }
}

/// Starts a run of a process whose mailbox says that one is due.
pub(super) fn start<A: Actor>(process: Arc<Process>) {
    let runtime = process.node.runtime.clone();
    // A runtime that is shut down drops the run before it begins.
    runtime.spawn(run::<A>(Life::of(process)));
}

/// Handles envelopes until the mailbox is empty or the process ends.
async fn run<A: Actor>(mut life: Life) {
    let process = &life.process;
    let actor = process.actor.lock().take();
    let Some(mut actor) = actor.and_then(|actor| actor.downcast::<A>().ok()) else {
        unreachable!("a run is only started by the mailbox's state, and parking puts the actor back first")
    };
    let mut ctx = Context::new(process.clone());
    let mut batch = Batch::new();
    let end = until_killed(process, handle_all(process, &mut *actor, &mut batch, &mut ctx)).await;
    let reason = match end {
        Ok(Parked::Empty) => {
            // The mailbox is still marked as running: put the actor back and let go.
            life.goes_on = true;
            park::<A>(process, actor, batch);
            return;
        }
        Ok(Parked::Ended(reason)) => {
            leave(process, &reason, &mut life.watchers);
            // Who waits for an answer is told now, however long the actor cleans up.
            batch.drain(..).for_each(discard);
            ctx.begin(process.node.core(), None);
            match until_killed(process, actor.terminated(&reason, &mut ctx)).await {
                Ok(()) => {}
                Err(Cut::Killed) => {
                    tracing::warn!(pid = %process.pid, actor = type_label::<A>(), "killed in terminated");
                }
                Err(Cut::Panicked(panic)) => {
                    tracing::error!(pid = %process.pid, actor = type_label::<A>(), panic, "panic in terminated");
                }
            }
            reason
        }
        Err(Cut::Killed) => ExitReason::Kill,
        Err(Cut::Panicked(panic)) => {
            tracing::error!(pid = %process.pid, actor = type_label::<A>(), panic, "process panicked");
            ExitReason::Panic
        }
    };
    if !reason.is_orderly() {
        tracing::error!(pid = %process.pid, actor = type_label::<A>(), %reason, "process terminated abnormally");
    }
    leave(process, &reason, &mut life.watchers);
    life.reason = reason;
    batch.into_iter().for_each(discard);
    discard(actor);
}

/// How the handling of a mailbox came to rest.
enum Parked {
    Empty,
    Ended(ExitReason),
}

async fn handle_all<A: Actor>(
    process: &Process,
    actor: &mut A,
    batch: &mut Batch,
    ctx: &mut Context,
) -> Parked {
    let mut lingered = false;
    loop {
        let mut urgent = false;
        let Some(envelope) = process.mailbox.next(batch, &mut urgent) else {
            // More is often on its way: a new run costs more than one look.
            if lingered {
                return Parked::Empty;
            }
            lingered = true;
            tokio::task::yield_now().await;
            continue;
        };
        lingered = false;
        ctx.set_urgent(urgent);
        let handled = match envelope {
            Envelope::Message { from, payload } => {
                ctx.begin(from, None);
                A::Messages::handle(actor, payload, ctx).await
            }
            Envelope::Request { from, payload, reply } => answer(actor, from, payload, reply, ctx).await,
            Envelope::Exit(exit) => handle_exit(actor, *exit, ctx).await,
            Envelope::Down(down) => {
                ctx.begin(process.node.core(), None);
                actor.handle_down(*down, ctx).await
            }
            Envelope::Event(published) => {
                ctx.begin(published.from(), None);
                actor.handle_event(published, ctx).await
            }
            Envelope::Demand(topic) => match topic.demand() {
                Some(wanted) => {
                    ctx.begin(process.node.core(), None);
                    match wanted {
                        true => actor.handle_event_start(topic.name, ctx).await,
                        false => actor.handle_event_stop(topic.name, ctx).await,
                    }
                }
                None => Ok(()),
            },
            Envelope::Inspect(asker) => {
                inspect(process, actor, asker);
                Ok(())
            }
        };
        if let Err(reason) = handled {
            return Parked::Ended(reason);
        }
        consume_budget().await;
    }
}

async fn handle_exit<A: Actor>(actor: &mut A, exit: Exit, ctx: &mut Context) -> Result<(), ExitReason> {
    let process = ctx.process();
    if !process.traps_exit() || exit.subject == Watched::Pid(process.parent) {
        return Err(exit.reason);
    }
    let from = match exit.subject {
        Watched::Pid(pid) => pid,
        _ => process.node.core(),
    };
    ctx.begin(from, None);
    actor.handle_exit(exit, ctx).await
}

async fn answer<A: Actor>(
    actor: &mut A,
    from: Pid,
    request: Payload,
    mut reply: ReplyTo,
    ctx: &mut Context,
) -> Result<(), ExitReason> {
    reply.answered_by(ctx.process());
    ctx.begin(from, Some(reply));
    let answer = A::Requests::answer(actor, request, ctx).await?;
    let reply = ctx.reply_to();
    answer_with(answer, reply).await
}

/// Has the actor say what it will of its state. A panic of that costs the answer.
fn inspect<A: Actor>(process: &Process, actor: &A, asker: Asker) {
    let said = caught(|| {
        let mut items = Items::new();
        actor.inspect(&mut items);
        items.into_said()
    });
    // Who asked may have stopped waiting.
    let _ = asker.send(said.map_err(|panic| {
        tracing::error!(pid = %process.pid, actor = type_label::<A>(), panic, "panic in inspect");
        InspectError::Panicked
    }));
}

async fn answer_with(answer: Reply<Payload>, reply: Option<ReplyTo>) -> Result<(), ExitReason> {
    let last = matches!(answer, Reply::Last(_));
    let sent = match (answer, reply) {
        (Reply::Now(value) | Reply::Last(value), Some(reply)) => reply.answer(value).await,
        (Reply::Error(error), Some(reply)) => {
            reply.refuse(error);
            Ok(())
        }
        (Reply::Later, _) | (_, None) => Ok(()),
    };
    if let Err(error) = sent {
        // The caller's problem, not this process's: it runs into its timeout or
        // has been told that the connection is gone.
        tracing::debug!(%error, "answer not delivered");
    }
    if last { Err(ExitReason::Normal) } else { Ok(()) }
}

/// Puts the actor back if nothing arrived since; otherwise runs on.
fn park<A: Actor>(process: &Arc<Process>, actor: Box<A>, mut batch: Batch) {
    let mut slot = Some(actor);
    let parked = process.mailbox.park(&mut batch, || {
        *process.actor.lock() = slot.take().map(|actor| actor as Box<dyn Any + Send>);
    });
    if !parked {
        *process.actor.lock() = slot.map(|actor| actor as Box<dyn Any + Send>);
        start::<A>(process.clone());
    }
}

/// Takes the addresses of a process that ends away, drops what it has not
/// handled, and ends what it watches. Only its number remains, so that it can
/// still be killed.
///
/// Who watched its number or an alias is added to `watchers`. Who watched its
/// name or an event is told at once: both may be somebody else's from now on,
/// and a notice that came later would be taken for their end.
fn leave(process: &Process, reason: &ExitReason, watchers: &mut Vec<(Watched, Watchers)>) {
    let node = &process.node;
    let Some(Listed { name, aliases, events }) = process.unlist() else { return };
    let mut take = |target: Watched, end: &dyn Fn() -> bool| {
        let taken = node.relations.take(&target, end);
        if !taken.is_empty() {
            watchers.push((target, taken));
        }
    };
    take(Watched::Pid(process.pid), &|| true);
    for alias in aliases {
        take(Watched::Alias(alias), &|| node.processes.remove_alias(alias));
    }
    if let Some(name) = name {
        let name_of_its_own = || node.processes.remove_name(name, process);
        let target = own_name(node, name);
        node.relations.take(&target, name_of_its_own).tell(node, &target, process.pid.id, reason);
    }
    for name in events {
        // One that was given up meanwhile is somebody else's.
        let told = node.events.end(name, process.pid).unwrap_or_default();
        told.tell(node, &own_event(node, name), process.pid.id, reason);
    }
    process.watch_nothing();
    process.mailbox.close().into_iter().for_each(discard);
}

/// Gives a name of a process up.
pub(crate) fn unregister_name(process: &Arc<Process>, name: Atom) -> Result<(), NameError> {
    let node = &process.node;
    let free = || node.processes.unregister_name(name, process);
    let freed = withdraw(node, own_name(node, name), process.pid.id, free);
    if freed { Ok(()) } else { Err(NameError::Unknown) }
}

/// Takes an alias of a process back.
pub(crate) fn delete_alias(process: &Arc<Process>, alias: Alias) -> Result<(), NameError> {
    let node = &process.node;
    let free = || node.processes.unregister_alias(alias, process);
    let freed = withdraw(node, Watched::Alias(alias), process.pid.id, free);
    if freed { Ok(()) } else { Err(NameError::Unknown) }
}

/// Takes an event back that a process has registered, or the node.
pub(crate) fn unregister_event(
    node: &NodeInner,
    process: Option<&Process>,
    name: Atom,
) -> Result<(), EventError> {
    let producer = process.map_or_else(|| node.core(), |process| process.pid);
    let watchers = node.events.end(name, producer)?;
    if let Some(process) = process {
        process.drop_event(name);
    }
    watchers.tell(node, &own_event(node, name), producer.id, &ExitReason::Unregistered);
    Ok(())
}

/// Registers a name for a running process.
pub(crate) fn register_name(process: &Arc<Process>, name: Atom) -> Result<(), NameError> {
    if let Some(name) = process.name() {
        return Err(NameError::Taken { name });
    }
    if process.node.processes.register_name(name, process) {
        Ok(())
    } else if process.is_listed() {
        Err(NameError::Taken { name })
    } else {
        Err(NameError::ProcessTerminated)
    }
}
