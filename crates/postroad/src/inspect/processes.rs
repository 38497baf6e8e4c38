//! Processes: in a line each, one in full, and what one says of itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::Message;
use tokio::sync::oneshot;

use super::{InspectError, Item, MAX_PAGE};
use crate::actor::Watched;
use crate::node::NodeInner;
use crate::process::{Compression, Envelope, MOST_ASKERS, Priority, Process, PushError, Relation};
use crate::{Alias, Atom, Pid};

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ProcessState")]
#[repr(u8)]
#[non_exhaustive]
pub enum ProcessState {
    /// Its `init` has not returned yet.
    Init = 1,
    /// It has nothing to do.
    Idle = 2,
    /// It is in the middle of a run.
    Running = 4,
    /// It cleans up, and gets no messages any more.
    Terminated = 16,
    /// It was killed, and ends at its next await point.
    Killed = 32,
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Init => "init",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Terminated => "terminated",
            Self::Killed => "killed",
        })
    }
}

/// How much waits in each lane of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Message)]
#[message(name = "#postroad/inspect/v1/Depths")]
pub struct Depths {
    /// Requests to end, and what was sent with [`Priority::Max`].
    pub urgent: u64,
    /// Notices of links and monitors, and what was sent with [`Priority::High`].
    pub system: u64,
    /// What was sent as usual.
    pub main: u64,
    /// What was sent with [`Priority::Low`].
    pub log: u64,
}

impl Depths {
    /// How much waits in all lanes.
    pub fn total(&self) -> u64 {
        self.urgent + self.system + self.main + self.log
    }
}

/// A process in a line.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ProcessSummary")]
#[non_exhaustive]
pub struct ProcessSummary {
    /// The process.
    pub pid: Pid,
    /// Its registered name; empty if it has none.
    pub name: Atom,
    /// Who spawned it.
    pub parent: Pid,
    /// The type of its actor, with its path.
    pub actor: String,
    /// How far it is.
    pub state: ProcessState,
    /// How much it has been sent and has not begun to handle.
    pub mailbox: Depths,
    /// How many messages, requests and notices it has been given since it began;
    /// what waits is among them.
    pub received: u64,
    /// How long ago it was spawned, in milliseconds.
    pub uptime: u64,
    /// How many aliases it has.
    pub aliases: u64,
    /// How many things it is linked to or monitors.
    pub watches: u64,
}

/// A process in full, but for what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process in a line.
    pub summary: ProcessSummary,
    /// The process that leads the group it belongs to.
    pub leader: Pid,
    /// The application it belongs to, if it does.
    pub application: Option<Atom>,
    /// The names of its variables, in capitals and in order: not their values.
    pub variables: Vec<String>,
    /// The events it has registered, in the order it did.
    pub events: Vec<Atom>,
    /// Its aliases, in the order they were made.
    pub aliases: Vec<Alias>,
    /// What it is linked to.
    pub links: Vec<Watched>,
    /// What it monitors.
    pub monitors: Vec<Watched>,
    /// How urgent what it sends is.
    pub priority: Priority,
    /// How it packs what it sends to other nodes.
    pub compression: Option<Compression>,
    /// Whether it handles exit signals instead of ending.
    pub traps_exit: bool,
    /// The most each lane of its mailbox holds, if it is bounded.
    pub mailbox_capacity: Option<usize>,
}

/// Which processes to list: pages of them, in the order they were spawned.
/// Answered with a [`ProcessPage`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ListProcesses")]
pub struct ListProcesses {
    /// Those with a greater number only: [`ProcessPage::next`], or 0.
    pub after: u64,
    /// How many at most; [`MAX_PAGE`] whatever is said here.
    pub limit: u32,
    /// Those only whose registered name begins so; empty for all, also those
    /// without a name.
    pub name_prefix: String,
}

impl Default for ListProcesses {
    /// The first page of all.
    fn default() -> Self {
        Self { after: 0, limit: MAX_PAGE, name_prefix: String::new() }
    }
}

/// Some processes.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ProcessPage")]
#[non_exhaustive]
pub struct ProcessPage {
    /// The processes, by number.
    pub processes: Vec<ProcessSummary>,
    /// Where the next page begins: what to say as [`ListProcesses::after`].
    /// 0 if this was the last one.
    pub next: u64,
}

pub(crate) fn list_processes(node: &NodeInner, list: &ListProcesses) -> ProcessPage {
    let mut numbers = Vec::new();
    let mut note = |process: &Arc<Process>| {
        if process.pid.id > list.after {
            numbers.push(process.pid.id);
        }
    };
    if list.name_prefix.is_empty() {
        node.processes.each(note);
    } else {
        node.processes.each_named(|name, process| {
            if name.as_str().starts_with(&list.name_prefix) {
                note(process);
            }
        });
    }
    let limit = list.limit.clamp(1, MAX_PAGE) as usize;
    let more = numbers.len() > limit;
    if more {
        numbers.select_nth_unstable(limit);
        numbers.truncate(limit);
    }
    numbers.sort_unstable();
    let next = numbers.last().copied().filter(|_| more).unwrap_or(0);
    // Who has ended meanwhile is left out.
    let processes = numbers.into_iter().filter_map(|id| node.processes.with(id, Arc::clone));
    let processes = processes.map(|process| ProcessSummary::of(&process)).collect();
    ProcessPage { processes, next }
}

pub(crate) fn describe_process(process: &Process) -> ProcessInfo {
    let (mut links, mut monitors) = (Vec::new(), Vec::new());
    for (target, relation) in process.watches() {
        match relation {
            Relation::Link => links.push(target),
            Relation::Monitor => monitors.push(target),
        }
    }
    ProcessInfo {
        summary: ProcessSummary::of(process),
        leader: process.leader(),
        application: process.application(),
        variables: process.environment().names().map(str::to_owned).collect(),
        events: process.events(),
        aliases: process.aliases(),
        links,
        monitors,
        priority: process.priority(),
        compression: process.compression(),
        traps_exit: process.traps_exit(),
        mailbox_capacity: process.mailbox.capacity(),
    }
}

/// Has a process say what [`Actor::inspect`](crate::Actor::inspect) tells of it.
pub(crate) async fn ask(process: &Arc<Process>, timeout: Duration) -> Result<Vec<Item>, InspectError> {
    let (asker, answer) = oneshot::channel();
    match process.push(Envelope::Inspect(asker), Priority::Max) {
        Ok(delivered) => drop(delivered.start()),
        Err(refused) if refused.error == Some(PushError::Full) => {
            return Err(InspectError::Busy { waiting: MOST_ASKERS });
        }
        Err(_) => return Err(InspectError::ProcessTerminated),
    }
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => answer.unwrap_or(Err(InspectError::ProcessTerminated)),
        Err(_) => Err(InspectError::Timeout(timeout)),
    }
}

impl ProcessSummary {
    fn of(process: &Process) -> Self {
        let (state, mailbox, received) = process.mailbox.look();
        let (name, aliases, watches) = process.belongings();
        Self {
            pid: process.pid,
            name: name.unwrap_or(Atom::empty()),
            parent: process.parent,
            actor: process.actor_type().to_owned(),
            state,
            mailbox,
            received,
            uptime: u64::try_from(process.uptime().as_millis()).unwrap_or(u64::MAX),
            aliases: aliases as u64,
            watches: watches as u64,
        }
    }
}
