//! A running actor: its mailbox, its run loop and where it is found.

mod contained;
mod ending;
mod mailbox;
mod relations;
mod runner;
mod table;
mod watches;

use std::any::Any;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use postroad_edf::Payload;
use postroad_wire::enp::Method;
pub use postroad_wire::enp::Method as CompressionMethod;
pub use postroad_wire::enp::compress::Level as CompressionLevel;
use tokio::sync::mpsc;

use crate::actor::{Actor, Down, Exit, ExitReason, ReplyTo, Watched};
use crate::error::RelationError;
use crate::node::NodeInner;
use crate::{Alias, Atom, Pid};

pub(crate) use contained::{caught, discard};
pub(crate) use ending::{Ended, end};
pub(crate) use mailbox::{Mailbox, PushError, Refused};
pub(crate) use relations::{Relations, Watchers, notify, own_name, withdraw};
pub use runner::SpawnOptions;
pub(crate) use runner::{delete_alias, register_name, spawn, unregister_name};
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
    Message { from: Pid, payload: Payload },
    Request { from: Pid, payload: Payload, reply: ReplyTo },
    Exit(Box<Exit>),
    Down(Box<Down>),
}

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
            (process.run)(process.clone());
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
    /// Starts a run: knows the actor's type.
    run: fn(Arc<Process>),
    /// Wakes the run to end it, even in the middle of a handler.
    kill: tokio::sync::Notify,
    /// The priority of what it sends, and the bits [`TRAPS`], [`PACKS`] and
    /// [`IMPORTANT`].
    sending: AtomicU8,
    extras: Mutex<Extras>,
}

#[derive(Default)]
struct Extras {
    /// The process is about to end and gets no name or alias any more.
    unlisted: bool,
    /// It has ended, and who waited for that has been told.
    gone: bool,
    rare: Option<Box<Rare>>,
}

/// What most processes never have.
#[derive(Default)]
struct Rare {
    name: Option<Atom>,
    aliases: Vec<Alias>,
    compression: Option<Compression>,
    watches: Watches,
    /// The application it belongs to.
    application: Option<Atom>,
    /// Who waits for its end.
    awaited: Vec<mpsc::UnboundedSender<Ended>>,
}

impl Process {
    fn new<A: Actor>(node: Arc<NodeInner>, parent: Pid, capacity: Option<usize>) -> Arc<Self> {
        let pid = node.new_pid();
        Arc::new(Self {
            pid,
            parent,
            node,
            mailbox: Mailbox::new(pid.node, capacity),
            actor: Mutex::new(None),
            run: runner::start::<A>,
            kill: tokio::sync::Notify::new(),
            sending: AtomicU8::new(Priority::Normal as u8),
            extras: Mutex::default(),
        })
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
        if let Ok(delivered) = self.push(Envelope::Exit(Box::new(exit)), Priority::Max) {
            delivered.start();
        }
    }

    /// Ends the process without asking it.
    pub(crate) fn kill(self: &Arc<Self>) {
        self.kill.notify_one();
        if self.mailbox.start_last_run() {
            (self.run)(self.clone());
        }
    }

    pub(crate) fn name(&self) -> Option<Atom> {
        self.extras.lock().rare.as_ref().and_then(|rare| rare.name)
    }

    /// Whether the process had no name and could take this one.
    fn take_name(&self, name: Atom) -> bool {
        let mut extras = self.extras.lock();
        if extras.unlisted {
            return false;
        }
        let own = &mut extras.rare.get_or_insert_default().name;
        let free = own.is_none();
        if free {
            *own = Some(name);
        }
        free
    }

    fn drop_name(&self) {
        if let Some(rare) = &mut self.extras.lock().rare {
            rare.name = None;
        }
    }

    /// Whether the process could take the alias.
    fn add_alias(&self, alias: Alias) -> bool {
        let mut extras = self.extras.lock();
        if !extras.unlisted {
            extras.rare.get_or_insert_default().aliases.push(alias);
        }
        !extras.unlisted
    }

    /// Takes the name and the aliases away for good.
    fn unlist(&self) -> (Option<Atom>, Vec<Alias>) {
        let mut extras = self.extras.lock();
        extras.unlisted = true;
        extras
            .rare
            .as_mut()
            .map_or_else(Default::default, |rare| (rare.name.take(), mem::take(&mut rare.aliases)))
    }

    /// The application it belongs to.
    pub(crate) fn application(&self) -> Option<Atom> {
        self.extras.lock().rare.as_ref().and_then(|rare| rare.application)
    }

    fn join_application(&self, application: Atom) {
        self.extras.lock().rare.get_or_insert_default().application = Some(application);
    }

    /// Whether the process may have a name and aliases: it is not about to end.
    fn is_listed(&self) -> bool {
        !self.extras.lock().unlisted
    }

    pub(crate) fn aliases(&self) -> Vec<Alias> {
        self.extras.lock().rare.as_ref().map_or_else(Vec::new, |rare| rare.aliases.clone())
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
        extras.rare.get_or_insert_default().watches.begin(target, relation, over)
    }

    fn confirmed_watch(&self, target: &Watched, relation: Relation) -> Option<ExitReason> {
        self.extras.lock().rare.as_mut()?.watches.confirm(target, relation)
    }

    pub(crate) fn forget_watch(&self, target: &Watched, relation: Relation) -> Option<(Over, bool)> {
        self.extras.lock().rare.as_mut()?.watches.forget(target, relation)
    }

    fn end_watch(&self, target: &Watched, over: Over, reason: &ExitReason) -> Due {
        let mut extras = self.extras.lock();
        extras.rare.as_mut().map_or_else(Due::default, |rare| rare.watches.end(target, over, reason))
    }

    fn take_watches(&self) -> impl Iterator<Item = (Watched, Relation, Over)> {
        let watches = self.extras.lock().rare.as_mut().map(|rare| mem::take(&mut rare.watches));
        watches.into_iter().flat_map(Watches::into_relations)
    }

    /// What the process watches, and how.
    pub(crate) fn watches(&self) -> Vec<(Watched, Relation)> {
        self.extras.lock().rare.as_ref().map_or_else(Vec::new, |rare| rare.watches.iter().collect())
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
        let Some(rare) = &mut extras.rare else { return false };
        let before = rare.aliases.len();
        rare.aliases.retain(|known| *known != alias);
        rare.aliases.len() < before
    }

    pub(crate) fn compression(&self) -> Option<Compression> {
        if self.sending.load(Ordering::Relaxed) & PACKS == 0 {
            return None;
        }
        self.extras.lock().rare.as_ref().and_then(|rare| rare.compression)
    }

    pub(crate) fn set_compression(&self, compression: Option<Compression>) {
        let mut extras = self.extras.lock();
        extras.rare.get_or_insert_default().compression = compression;
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
const IMPORTANT: u8 = 1 << 6;
/// Exit signals are handled instead of ending the process.
const TRAPS: u8 = 1 << 5;

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.pid)
    }
}

/// The name of an actor's type without its path, for logs.
pub(crate) fn type_label<A>() -> &'static str {
    let full = std::any::type_name::<A>();
    let end = full.find('<').unwrap_or(full.len());
    full[..end].rsplit_once("::").map_or(full, |(path, _)| &full[path.len() + 2..])
}
