//! A running actor: its mailbox, its run loop and where it is found.

mod contained;
mod ending;
mod environment;
mod mailbox;
mod origin;
mod relations;
mod runner;
mod table;
mod watches;

use std::any::{Any, type_name};
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postroad_edf::Payload;
use postroad_wire::enp::Method;
pub use postroad_wire::enp::Method as CompressionMethod;
pub use postroad_wire::enp::compress::Level as CompressionLevel;
use tokio::sync::{mpsc, oneshot};

use crate::actor::{Actor, Down, Exit, ExitReason, ReplyTo, Watched};
use crate::error::RelationError;
use crate::event::{Published, Topic};
use crate::inspect::{InspectError, Item};
use crate::node::NodeInner;
use crate::{Alias, Atom, Pid};

pub(crate) use contained::{caught, discard};
pub(crate) use ending::{Ended, Ending, LeftBehind, end};
pub use environment::Environment;
pub(crate) use mailbox::{MOST_ASKERS, Mailbox, PushError, Refused};
pub(crate) use origin::Origin;
pub(crate) use relations::{Relations, Watchers, notify, own_event, own_name, withdraw};
pub use runner::SpawnOptions;
pub(crate) use runner::{delete_alias, register_name, spawn, unregister_event, unregister_name};
pub(crate) use table::ProcessTable;
use watches::Watches;
pub(crate) use watches::{Due, Over, Relation};

/// How urgent a message is: which lane of the receiver's mailbox it takes.
/// Lanes are emptied in the order urgent, system, main, log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// The log lane: after everything else. Travels between nodes as normal.
    Low,
    /// The main lane.
    #[default]
    Normal,
    /// The system lane: before everything normal.
    High,
    /// The urgent lane: before everything else.
    Max,
}

/// How a process packs what it sends to other nodes
/// (`docs/wire/ENP.md` section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The format.
    pub method: CompressionMethod,
    /// How hard gzip tries; the others know one level.
    pub level: CompressionLevel,
    /// Frames longer than this, in bytes, are packed.
    pub threshold: usize,
}

impl Default for Compression {
    /// Gzip, the middle way, above 1024 bytes: Ergo's defaults.
    fn default() -> Self {
        Self {
            method: Method::Gzip,
            level: CompressionLevel::Default,
            threshold: postroad_wire::enp::compress::DEFAULT_THRESHOLD,
        }
    }
}

/// What lies in a mailbox.
#[derive(Debug)]
pub(crate) enum Envelope {
    Message {
        from: Pid,
        payload: Payload,
    },
    Request {
        from: Pid,
        payload: Payload,
        reply: ReplyTo,
    },
    Exit(Box<Exit>),
    Down(Box<Down>),
    Event(Published),
    /// Whether anybody subscribes to this event may have changed.
    Demand(Arc<Topic>),
    Inspect(Asker),
}

/// Somebody who wants to know what a process says of itself.
pub(crate) type Asker = oneshot::Sender<Result<Vec<Item>, InspectError>>;

/// What became of an envelope: it lies in a mailbox.
#[must_use]
pub(crate) struct Delivered {
    /// How many envelopes wait in its lane.
    depth: usize,
    /// The process, if nobody works for it yet.
    due: Option<Arc<Process>>,
}

impl Delivered {
    /// Starts a run if one is due. Returns how many envelopes wait.
    #[inline]
    pub(crate) fn start(self) -> usize {
        if let Some(process) = self.due {
            (process.kind.run)(process.clone());
        }
        self.depth
    }
}

/// A process, whatever its actor is. The actor's state is in here only while
/// the process is idle; a run takes it out and puts it back.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    pub(crate) node: Arc<NodeInner>,
    pub(crate) mailbox: Mailbox,
    actor: Mutex<Option<Box<dyn Any + Send>>>,
    kind: &'static Kind,
    /// How long the node had been running when this began, in milliseconds.
    born: u64,
    /// Wakes the run to end it, even in the middle of a handler.
    kill: tokio::sync::Notify,
    /// The priority of what it sends, and the bits [`TRAPS`], [`PACKS`] and
    /// [`IMPORTANT`].
    sending: AtomicU8,
    extras: Mutex<Extras>,
}

/// What processes of one type of actor share.
struct Kind {
    /// Starts a run.
    run: fn(Arc<Process>),
    actor_type: fn() -> &'static str,
}

impl Kind {
    fn of<A: Actor>() -> &'static Self {
        const { &Self { run: runner::start::<A>, actor_type: type_name::<A> } }
    }
}

#[derive(Default)]
struct Extras {
    /// The process is about to end and gets no name or alias any more.
    unlisted: bool,
    /// It has ended, and who waited for that has been told.
    gone: bool,
    environment: Environment,
    further: Option<Box<Further>>,
}

/// What many processes never have. Those that watch something often have
/// nothing else, so that is kept apart.
#[derive(Default)]
struct Further {
    watches: Watches,
    rare: Option<Box<Rare>>,
}

/// What most processes never have.
#[derive(Default)]
struct Rare {
    name: Option<Atom>,
    aliases: Vec<Alias>,
    /// The events it has registered.
    events: Vec<Atom>,
    compression: Option<Compression>,
    /// The leader, if that is not the node.
    leader: Option<Pid>,
    /// The application it belongs to.
    application: Option<Atom>,
    /// Who waits for its end.
    awaited: Vec<mpsc::UnboundedSender<Ended>>,
}

impl Extras {
    fn further(&mut self) -> &mut Further {
        self.further.get_or_insert_default()
    }

    fn rare(&self) -> Option<&Rare> {
        self.further.as_ref()?.rare.as_deref()
    }

    fn existing_rare(&mut self) -> Option<&mut Rare> {
        self.further.as_mut()?.rare.as_deref_mut()
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.further().rare.get_or_insert_default()
    }
}

/// What a process is found by.
#[derive(Default)]
struct Listed {
    name: Option<Atom>,
    aliases: Vec<Alias>,
    events: Vec<Atom>,
}

impl Process {
    fn new<A: Actor>(node: Arc<NodeInner>, origin: &Origin, options: &SpawnOptions) -> Arc<Self> {
        let pid = node.new_pid();
        let leader = options.leader.unwrap_or(origin.leader);
        let environment = origin.environment.overlaid(&options.environment);
        let mut extras = Extras { environment, ..Extras::default() };
        if leader != node.core() {
            extras.rare_mut().leader = Some(leader);
        }
        let born = u64::try_from(node.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let process = Arc::new(Self {
            pid,
            parent: origin.parent,
            node,
            mailbox: Mailbox::new(pid.node, options.mailbox_capacity),
            actor: Mutex::new(None),
            kind: Kind::of::<A>(),
            born,
            kill: tokio::sync::Notify::new(),
            sending: AtomicU8::new(options.priority as u8),
            extras: Mutex::new(extras),
        });
        process.set_important(options.important_delivery);
        if options.compression.is_some() {
            process.set_compression(options.compression);
        }
        process
    }

    /// The process that leads the group this one belongs to.
    pub(crate) fn leader(&self) -> Pid {
        let leader = self.extras.lock().rare().and_then(|rare| rare.leader);
        leader.unwrap_or_else(|| self.node.core())
    }

    pub(crate) fn environment(&self) -> Environment {
        self.extras.lock().environment.clone()
    }

    /// Lays these variables over those of the process.
    pub(crate) fn overlay(&self, over: &Environment) {
        let mut extras = self.extras.lock();
        extras.environment = extras.environment.overlaid(over);
    }

    /// Puts an envelope into the mailbox, or gives it back. To be called under
    /// the lock of a table: nothing is dropped or started here.
    #[inline]
    pub(crate) fn push(
        self: &Arc<Self>,
        envelope: Envelope,
        priority: Priority,
    ) -> Result<Delivered, Refused> {
        let pushed = self.mailbox.push(envelope, priority)?;
        Ok(Delivered { depth: pushed.depth, due: pushed.start.then(|| self.clone()) })
    }

    /// Asks the process to end, on behalf of its parent: it must.
    pub(crate) fn shut_down(self: &Arc<Self>, reason: ExitReason) {
        let exit = Exit { subject: Watched::Pid(self.parent), reason, requested: true };
        if self.mailbox.must_end(Envelope::Exit(Box::new(exit))) {
            (self.kind.run)(self.clone());
        }
    }

    /// Ends the process without asking it.
    pub(crate) fn kill(self: &Arc<Self>) {
        self.kill.notify_one();
        if self.mailbox.start_last_run() {
            (self.kind.run)(self.clone());
        }
    }

    pub(crate) fn name(&self) -> Option<Atom> {
        self.extras.lock().rare().and_then(|rare| rare.name)
    }

    /// Whether the process had no name and could take this one.
    fn take_name(&self, name: Atom) -> bool {
        let mut extras = self.extras.lock();
        if extras.unlisted {
            return false;
        }
        let own = &mut extras.rare_mut().name;
        let free = own.is_none();
        if free {
            *own = Some(name);
        }
        free
    }

    fn drop_name(&self) {
        if let Some(rare) = self.extras.lock().existing_rare() {
            rare.name = None;
        }
    }

    /// Whether the process could take the alias.
    fn add_alias(&self, alias: Alias) -> bool {
        let mut extras = self.extras.lock();
        if !extras.unlisted {
            extras.rare_mut().aliases.push(alias);
        }
        !extras.unlisted
    }

    /// Whether the process could take the event.
    pub(crate) fn add_event(&self, event: Atom) -> bool {
        let mut extras = self.extras.lock();
        if !extras.unlisted {
            extras.rare_mut().events.push(event);
        }
        !extras.unlisted
    }

    fn drop_event(&self, event: Atom) {
        if let Some(rare) = self.extras.lock().existing_rare() {
            rare.events.retain(|known| *known != event);
        }
    }

    /// The events it has registered.
    pub(crate) fn events(&self) -> Vec<Atom> {
        self.extras.lock().rare().map_or_else(Vec::new, |rare| rare.events.clone())
    }

    /// Takes the name, the aliases and the events away for good; `None` if that
    /// has been done.
    fn unlist(&self) -> Option<Listed> {
        let mut extras = self.extras.lock();
        if mem::replace(&mut extras.unlisted, true) {
            return None;
        }
        Some(extras.existing_rare().map_or_else(Listed::default, |rare| Listed {
            name: rare.name.take(),
            aliases: mem::take(&mut rare.aliases),
            events: mem::take(&mut rare.events),
        }))
    }

    /// The application it belongs to.
    pub(crate) fn application(&self) -> Option<Atom> {
        self.extras.lock().rare().and_then(|rare| rare.application)
    }

    fn join_application(&self, application: Atom) {
        self.extras.lock().rare_mut().application = Some(application);
    }

    /// Whether the process may have a name and aliases: it is not about to end.
    pub(crate) fn is_listed(&self) -> bool {
        !self.extras.lock().unlisted
    }

    pub(crate) fn aliases(&self) -> Vec<Alias> {
        self.extras.lock().rare().map_or_else(Vec::new, |rare| rare.aliases.clone())
    }

    /// The name, and how many aliases and watched targets there are.
    pub(crate) fn belongings(&self) -> (Option<Atom>, usize, usize) {
        let extras = self.extras.lock();
        let (name, aliases) = extras.rare().map_or((None, 0), |rare| (rare.name, rare.aliases.len()));
        (name, aliases, extras.further.as_ref().map_or(0, |further| further.watches.len()))
    }

    /// The type of the actor, with its path.
    pub(crate) fn actor_type(&self) -> &'static str {
        (self.kind.actor_type)()
    }

    /// How long ago it was spawned.
    pub(crate) fn uptime(&self) -> Duration {
        self.node.started.elapsed().saturating_sub(Duration::from_millis(self.born))
    }

    /// Begins a relation, unless the process is about to end.
    pub(crate) fn begin_watch(
        &self,
        target: Watched,
        relation: Relation,
        over: Over,
    ) -> Result<(), RelationError> {
        let mut extras = self.extras.lock();
        if extras.unlisted {
            return Err(RelationError::ProcessTerminated);
        }
        extras.further().watches.begin(target, relation, over)
    }

    /// Makes a relation that holds at once, unless the process is about to end.
    fn watch(&self, target: Watched, relation: Relation, over: Over) -> Result<(), RelationError> {
        let mut extras = self.extras.lock();
        if extras.unlisted {
            return Err(RelationError::ProcessTerminated);
        }
        extras.further().watches.watch(target, relation, over)
    }

    fn confirmed_watch(&self, target: &Watched, relation: Relation) -> Option<ExitReason> {
        self.extras.lock().further.as_mut()?.watches.confirm(target, relation)
    }

    pub(crate) fn forget_watch(&self, target: &Watched, relation: Relation) -> Option<(Over, bool)> {
        self.extras.lock().further.as_mut()?.watches.forget(target, relation)
    }

    /// Whether it watches that, or is about to.
    pub(crate) fn wants_to_watch(&self, target: &Watched, relation: Relation) -> bool {
        let mut extras = self.extras.lock();
        extras.further.as_mut().is_some_and(|further| further.watches.has(target, relation))
    }

    /// Ends these relations with what is there; which notices are due now.
    pub(crate) fn end_watch(&self, target: &Watched, which: Due, over: Over, reason: &ExitReason) -> Due {
        let mut extras = self.extras.lock();
        let end = |further: &mut Box<Further>| further.watches.end(target, which, over, reason);
        extras.further.as_mut().map_or_else(Due::default, end)
    }

    fn take_watches(&self) -> impl Iterator<Item = (Watched, Relation, Over)> {
        let watches = self.extras.lock().further.as_mut().map(|further| mem::take(&mut further.watches));
        watches.into_iter().flat_map(Watches::into_relations)
    }

    /// What the process watches, and how.
    pub(crate) fn watches(&self) -> Vec<(Watched, Relation)> {
        let extras = self.extras.lock();
        extras.further.as_ref().map_or_else(Vec::new, |further| further.watches.iter().collect())
    }

    /// Whether exit signals are handled instead of ending the process.
    pub(crate) fn traps_exit(&self) -> bool {
        self.sending.load(Ordering::Relaxed) & TRAPS != 0
    }

    /// Called by the process's own handlers only.
    pub(crate) fn set_trap_exit(&self, trap: bool) {
        if trap {
            self.sending.fetch_or(TRAPS, Ordering::Relaxed);
        } else {
            self.sending.fetch_and(!TRAPS, Ordering::Relaxed);
        }
    }

    /// Whether the process had that alias.
    fn remove_alias(&self, alias: Alias) -> bool {
        let mut extras = self.extras.lock();
        let Some(rare) = extras.existing_rare() else { return false };
        let before = rare.aliases.len();
        rare.aliases.retain(|known| *known != alias);
        rare.aliases.len() < before
    }

    pub(crate) fn compression(&self) -> Option<Compression> {
        if self.sending.load(Ordering::Relaxed) & PACKS == 0 {
            return None;
        }
        self.extras.lock().rare().and_then(|rare| rare.compression)
    }

    pub(crate) fn set_compression(&self, compression: Option<Compression>) {
        let mut extras = self.extras.lock();
        extras.rare_mut().compression = compression;
        if compression.is_some() {
            self.sending.fetch_or(PACKS, Ordering::Relaxed);
        } else {
            self.sending.fetch_and(!PACKS, Ordering::Relaxed);
        }
    }

    pub(crate) fn priority(&self) -> Priority {
        match self.sending.load(Ordering::Relaxed) & PRIORITY {
            0 => Priority::Low,
            1 => Priority::Normal,
            2 => Priority::High,
            _ => Priority::Max,
        }
    }

    /// Called by the process's own handlers only, so it meets no other change.
    pub(crate) fn set_priority(&self, priority: Priority) {
        let rest = self.sending.load(Ordering::Relaxed) & !PRIORITY;
        self.sending.store(priority as u8 | rest, Ordering::Relaxed);
    }

    pub(crate) fn is_important(&self) -> bool {
        self.sending.load(Ordering::Relaxed) & IMPORTANT != 0
    }

    pub(crate) fn set_important(&self, important: bool) {
        if important {
            self.sending.fetch_or(IMPORTANT, Ordering::Relaxed);
        } else {
            self.sending.fetch_and(!IMPORTANT, Ordering::Relaxed);
        }
    }
}

/// The bits that are the priority of what a process sends.
const PRIORITY: u8 = 0b11;
/// It is packed.
const PACKS: u8 = 1 << 7;
/// It is acknowledged.
const IMPORTANT: u8 = 1 << 5;
/// Exit signals are handled instead of ending the process.
const TRAPS: u8 = 1 << 6;

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.pid)
    }
}

/// The name of an actor's type without its path, for logs.
pub(crate) fn type_label<A>() -> &'static str {
    let full = type_name::<A>();
    let end = full.find('<').unwrap_or(full.len());
    full[..end].rsplit_once("::").map_or(full, |(path, _)| &full[path.len() + 2..])
}
