//! Processes and applications that the peer's node has started here
//! (`docs/wire/ENP.md` section 8 "Remote spawn", "Remote application start").

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad_edf::{ErrorValue, Payload};
use postroad_wire::enp::any::{self, ApplicationStart, ProcessOptions, Spawn};

use super::Connection;
use super::requests::AnswerTo;
use crate::Pid;
use crate::actor::Watched;
use crate::application::{ApplicationError, StartOptions, Starter};
use crate::error::RelationError;
use crate::network::Refusal;
use crate::network::factory::Factory;
use crate::node::Node;
use crate::process::{
    Compression, CompressionLevel, CompressionMethod, Environment, Origin, Priority, Process, Relation,
    SpawnOptions,
};
use crate::registrar::ApplicationMode;

/// So many processes of one peer may be beginning at a time.
const MAX_BEGINNING: usize = 128;

/// How long the `init` of a process may take that another node wants, if it does
/// not say: Ergo's nodes wait so long.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a node may say at most, as with Ergo 3.2.0.
const MAX_INIT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the `init` may take of a process that is asked for with so many
/// seconds, on either side.
pub(in crate::network) fn init_limit(seconds: isize) -> Duration {
    match u64::try_from(seconds) {
        Ok(0) | Err(_) => INIT_TIMEOUT,
        Ok(seconds) => Duration::from_secs(seconds).min(MAX_INIT_TIMEOUT),
    }
}

impl Connection {
    /// Starts a process beside the reading of the link: its `init` may take
    /// its time.
    pub(super) fn spawn_asked(self: &Arc<Self>, spawn: Spawn, answer_to: AnswerTo) {
        let factory = match self.node().network.spawns.for_node(spawn.name, self.peer.name) {
            Ok(factory) => factory,
            Err(refusal) => return self.refuse(answer_to, refusal),
        };
        let beginning = Beginning::of(self, answer_to);
        if self.beginning.load(Ordering::Relaxed) > MAX_BEGINNING {
            return beginning.end(Err(busy()));
        }
        let node = self.node();
        node.tasks.spawn_on(beginning.run(factory, spawn), &node.runtime);
    }
}

impl Connection {
    /// Starts an application that is enabled for the peer, with what it needs.
    /// Its log level and its timeouts are not served here.
    pub(super) fn application_start_asked(self: &Arc<Self>, start: ApplicationStart, answer_to: AnswerTo) {
        let ApplicationStart { name, mode, options, core_environment, .. } = start;
        if let Err(refusal) = self.node().network.applications.for_node(name, self.peer.name) {
            return self.refuse(answer_to, refusal);
        }
        let (options, starter) =
            match start_options(mode, options.environment, self.peer_pid(Pid::CORE), core_environment) {
                Ok(understood) => understood,
                Err(refusal) => return self.refuse(answer_to, refusal),
            };
        let beginning = Beginning::of(self, answer_to);
        if self.beginning.load(Ordering::Relaxed) > MAX_BEGINNING {
            return beginning.end(Err(busy()));
        }
        let node = Node::from_inner(self.node().clone());
        let started = async move {
            let outcome = node.start_requested(name, options, starter).await;
            beginning.end(outcome.map(|()| Payload::new(())).map_err(Refusal::from));
        };
        self.node().tasks.spawn_on(started, &self.node().runtime);
    }

    /// Links a process that has begun to its parent there. Without the link it
    /// has no right to live.
    async fn link_to_parent(self: &Arc<Self>, pid: Pid, parent: Pid) -> Result<(), Refusal> {
        // A process that has ended needs no link.
        let Some(process) = self.node().processes.with(pid.id, Arc::clone) else { return Ok(()) };
        let mut unlinked = Unlinked(Some(process.clone()));
        let linked = self.watch(&process, Watched::Pid(parent), Relation::Link).await;
        linked.map_err(not_linked)?;
        unlinked.0 = None;
        if !process.is_listed() {
            // It has ended what it watches, perhaps before it watched this.
            self.watch_no_more(pid, Watched::Pid(parent), Relation::Link);
        }
        Ok(())
    }
}

/// A process that is to be linked to its parent. Dropped before, it ends.
struct Unlinked(Option<Arc<Process>>);

impl Drop for Unlinked {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.kill();
        }
    }
}

/// A process or an application that is beginning for the peer. However it ends, the peer is told.
struct Beginning {
    connection: Arc<Connection>,
    answer_to: Option<AnswerTo>,
}

impl Beginning {
    fn of(connection: &Arc<Connection>, answer_to: AnswerTo) -> Self {
        connection.beginning.fetch_add(1, Ordering::Relaxed);
        Self { connection: connection.clone(), answer_to: Some(answer_to) }
    }

    /// If the connection ends meanwhile there will be no process: nobody would
    /// know of it.
    async fn run(self, factory: Factory, spawn: Spawn) {
        let connection = self.connection.clone();
        let node = connection.node().clone();
        let started = async {
            let limit = init_limit(spawn.options.init_timeout);
            let link_parent = spawn.options.link_parent && spawn.parent.id != Pid::CORE;
            let (origin, options, arguments) = understood(spawn)?;
            let parent = origin.parent;
            let started = async {
                let pid = factory.start(node.clone(), origin, options, arguments).await?;
                if link_parent {
                    connection.link_to_parent(pid, parent).await?;
                }
                Ok(pid)
            };
            tokio::time::timeout(limit, started).await.unwrap_or(Err(Refusal::TimedOut))
        };
        let outcome = tokio::select! {
            outcome = started => outcome,
            () = connection.ended.cancelled() => Err(Refusal::Internal),
            () = node.stopping.cancelled() => Err(Refusal::NodeTerminated),
        };
        self.end(outcome.map(Payload::new));
    }

    fn end(mut self, outcome: Result<Payload, Refusal>) {
        if let Some(answer_to) = self.answer_to.take() {
            match outcome {
                Ok(result) => self.connection.grant(answer_to, result),
                Err(refusal) => self.connection.refuse(answer_to, refusal),
            }
        }
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.connection.beginning.fetch_sub(1, Ordering::Relaxed);
        if let Some(answer_to) = self.answer_to.take() {
            self.connection.refuse(answer_to, Refusal::Internal);
        }
    }
}

/// Who asks, how the process is to run, and what it is given. Log levels,
/// fallbacks and traces are not served here.
fn understood(spawn: Spawn) -> Result<(Origin, SpawnOptions, Vec<Payload>), Refusal> {
    let Spawn { parent, parent_leader, parent_environment, register, options, arguments, .. } = spawn;
    let environment = variables(parent_environment)?;
    let origin = Origin { parent, leader: parent_leader, environment, application: None };
    let ProcessOptions { mailbox_size, leader, compression, send_priority, .. } = options;
    let options = SpawnOptions {
        name: (!register.is_empty()).then(|| register.as_str().to_owned()),
        mailbox_capacity: usize::try_from(mailbox_size).ok().filter(|size| *size > 0),
        environment: variables(options.environment)?,
        leader: (leader.id != 0).then_some(leader),
        priority: match send_priority {
            1 => Priority::High,
            2 => Priority::Max,
            _ => Priority::Normal,
        },
        compression: compression.enable.then(|| packing(&compression)),
        important_delivery: options.important_delivery,
        // Over there, the peer links; here it is done once the process has begun.
        link_child: false,
        link_parent: false,
        init_timeout: None,
        awaited: None,
    };
    Ok((origin, options, arguments))
}

/// How an application is to be started, and for whom.
fn start_options(
    mode: any::ApplicationMode,
    environment: any::Environment,
    core: Pid,
    core_environment: any::Environment,
) -> Result<(StartOptions, Starter), Refusal> {
    let mode = match mode {
        any::ApplicationMode::Unspecified => None,
        any::ApplicationMode::Temporary => Some(ApplicationMode::Temporary),
        any::ApplicationMode::Transient => Some(ApplicationMode::Transient),
        any::ApplicationMode::Permanent => Some(ApplicationMode::Permanent),
        any::ApplicationMode::Other(_) => return Err(Refusal::Incorrect),
    };
    let options = StartOptions { mode, environment: variables(environment)? };
    Ok((options, Starter { core, environment: variables(core_environment)? }))
}

impl From<ApplicationMode> for any::ApplicationMode {
    fn from(mode: ApplicationMode) -> Self {
        match mode {
            ApplicationMode::Temporary => Self::Temporary,
            ApplicationMode::Transient => Self::Transient,
            ApplicationMode::Permanent => Self::Permanent,
        }
    }
}

fn variables(wire: any::Environment) -> Result<Environment, Refusal> {
    Environment::from_wire(wire).map_err(|_| Refusal::Incorrect)
}

fn packing(wire: &any::Compression) -> Compression {
    let usual = Compression::default();
    Compression {
        method: match &*wire.method {
            "lzw" => CompressionMethod::Lzw,
            "zlib" => CompressionMethod::Zlib,
            _ => CompressionMethod::Gzip,
        },
        level: match wire.level {
            1 => CompressionLevel::BestSpeed,
            2 => CompressionLevel::BestSize,
            _ => CompressionLevel::Default,
        },
        threshold: usize::try_from(wire.threshold).unwrap_or_default().max(usual.threshold),
    }
}

fn not_linked(error: RelationError) -> Refusal {
    Refusal::Other(ErrorValue::new(format!("not linked to its parent: {error}")))
}

fn busy() -> Refusal {
    Refusal::Other(ErrorValue::new(format!(
        "more than {MAX_BEGINNING} processes are beginning for you already"
    )))
}

/// What other nodes say in these cases, in their words.
impl From<ApplicationError> for Refusal {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::Unknown { .. } => Self::ApplicationUnknown,
            ApplicationError::Running { .. } => Self::ApplicationRunning,
            ApplicationError::Busy { .. } => Self::ApplicationState,
            other => Self::Other(ErrorValue::new(other.to_string())),
        }
    }
}
