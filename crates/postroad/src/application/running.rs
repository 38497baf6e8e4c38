//! The life of one application: from loaded to running to ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::error::ApplicationError;
use super::publisher::News;
use super::spec::{ApplicationSpec, StartOptions};
use crate::actor::ExitReason;
use crate::error::InvalidName;
use crate::node::{Node, process_name};
use crate::process::{Ended, Environment, Origin, caught};
use crate::registrar::{ApplicationMode, ApplicationRoute, ApplicationState};
use crate::{Atom, Pid};

/// An application that is loaded.
pub(super) struct Application {
    pub(super) names: Names,
    pub(super) spec: ApplicationSpec,
    /// Its phase. All changes are made in here, one after the other.
    phase: watch::Sender<Phase>,
    news: mpsc::UnboundedSender<News>,
}

/// The names in a spec.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) own: Atom,
    pub(super) depends: Vec<Atom>,
    pub(super) roles: BTreeMap<String, Atom>,
}

impl Names {
    /// Checks all of them: tags and roles are names too, on the wire.
    pub(super) fn of(spec: &ApplicationSpec) -> Result<Self, InvalidName> {
        let depends = spec.depends.iter().map(|name| process_name(name));
        let roles = spec.roles.iter().map(|(role, name)| {
            process_name(role)?;
            Ok((role.clone(), process_name(name)?))
        });
        spec.tags.iter().try_for_each(|tag| process_name(tag).map(drop))?;
        Ok(Self {
            own: process_name(&spec.name)?,
            depends: depends.collect::<Result<_, _>>()?,
            roles: roles.collect::<Result<_, InvalidName>>()?,
        })
    }
}

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Loaded,
    Starting,
    /// It could not be started, and members that were killed are still there:
    /// they block their threads.
    Blocked,
    Running(Run),
    /// And with what reason it ends.
    Stopping(Run, ExitReason),
    Unloaded,
}

/// One run of an application.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) mode: ApplicationMode,
    /// The node that wanted it.
    pub(super) by: Atom,
    pub(super) since: Instant,
    pub(super) members: Arc<[Pid]>,
    /// Later ones have greater numbers.
    pub(super) number: u64,
}

/// The node that has an application started.
#[derive(Debug, Clone)]
pub(crate) struct Starter {
    /// Its PID 1: parent and leader of the members.
    pub(crate) core: Pid,
    /// What it exposes of its environment to another node. The lowest layer: it
    /// only fills in what nobody here says.
    pub(crate) environment: Environment,
}

impl Starter {
    pub(super) fn local(node: &Node) -> Self {
        Self { core: node.pid(), environment: Environment::new() }
    }
}

impl Phase {
    pub(super) fn run(&self) -> Option<&Run> {
        match self {
            Self::Running(run) | Self::Stopping(run, _) => Some(run),
            Self::Loaded | Self::Starting | Self::Blocked | Self::Unloaded => None,
        }
    }

    pub(super) fn state(&self) -> ApplicationState {
        match self {
            Self::Loaded | Self::Starting | Self::Blocked | Self::Unloaded => ApplicationState::Loaded,
            Self::Running(_) => ApplicationState::Running,
            Self::Stopping(..) => ApplicationState::Stopping,
        }
    }
}

impl Application {
    /// Loads it: the registrar is told.
    pub(super) fn new(
        node: Atom,
        names: Names,
        spec: ApplicationSpec,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let application = Self { names, spec, phase: watch::channel(Phase::Starting).0, news };
        application.enter(node, Phase::Loaded);
        application
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Enters the phase that `next` makes of the present one, if it makes one.
    /// The registrar is told of what others can see.
    fn change(
        &self,
        node: Atom,
        next: impl FnOnce(&Phase) -> Result<Option<Phase>, ApplicationError>,
    ) -> Result<(), ApplicationError> {
        let mut entered = Ok(());
        self.phase.send_if_modified(|phase| match next(phase) {
            Ok(Some(next)) => {
                if !matches!(next, Phase::Starting | Phase::Blocked) {
                    let _ = self.news.send(self.as_news(node, &next));
                }
                *phase = next;
                true
            }
            Ok(None) => false,
            Err(error) => {
                entered = Err(error);
                false
            }
        });
        entered
    }

    fn enter(&self, node: Atom, phase: Phase) {
        let _ = self.change(node, |_| Ok(Some(phase)));
    }

    fn as_news(&self, node: Atom, phase: &Phase) -> News {
        if let Phase::Unloaded = phase {
            return News::Gone(self.names.own);
        }
        News::Is(ApplicationRoute {
            node,
            name: self.names.own,
            weight: self.spec.weight,
            tags: self.spec.tags.clone(),
            mode: phase.run().map(|run| run.mode),
            state: phase.state(),
        })
    }

    /// Starts the members one after the other. What fails, or is given up half
    /// way, leaves none of them.
    pub(super) async fn start(
        self: &Arc<Self>,
        node: &Node,
        options: &StartOptions,
        starter: &Starter,
    ) -> Result<(), ApplicationError> {
        let name = self.names.own;
        self.change(node.name(), |phase| match phase {
            Phase::Loaded => Ok(Some(Phase::Starting)),
            Phase::Running(_) => Err(ApplicationError::Running { name }),
            Phase::Starting | Phase::Blocked | Phase::Stopping(..) => Err(ApplicationError::Busy { name }),
            Phase::Unloaded => Err(ApplicationError::Unknown { name }),
        })?;
        let (sender, ended) = mpsc::unbounded_channel();
        let mut start = Start { node, application: self, members: Vec::new(), ended: Some(ended) };
        if let Err(error) = start.members(options, starter, &sender).await {
            start.take_back();
            self.settled().await;
            return Err(error);
        }
        start.goes_on(options.mode.unwrap_or(self.spec.mode), starter.core.node);
        Ok(())
    }

    /// Waits while it is being started, or a start is taken back: not for
    /// members that cannot be killed.
    pub(super) async fn settled(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| !matches!(phase, Phase::Starting)).await;
    }

    /// Asks the members to end and waits for it.
    pub(super) async fn stop(&self, node: &Node, patience: Duration) -> Result<(), ApplicationError> {
        let name = self.names.own;
        let (mut asked, mut number) = (Vec::new(), None);
        self.change(node.name(), |phase| match phase {
            Phase::Running(run) => {
                asked = run.members.to_vec();
                number = Some(run.number);
                Ok(Some(Phase::Stopping(run.clone(), ExitReason::Shutdown)))
            }
            Phase::Stopping(run, _) => {
                number = Some(run.number);
                Ok(None)
            }
            Phase::Starting | Phase::Blocked => Err(ApplicationError::Busy { name }),
            Phase::Loaded | Phase::Unloaded => Ok(None),
        })?;
        ask_to_end(node, &asked);
        self.ended_within(number, patience).await
    }

    /// Kills the members and waits until they are gone.
    pub(super) async fn kill(&self, node: &Node, patience: Duration) -> Result<(), ApplicationError> {
        let name = self.names.own;
        let (mut members, mut number) = (Vec::new(), None);
        self.change(node.name(), |phase| match phase {
            Phase::Running(run) | Phase::Stopping(run, _) => {
                members = run.members.to_vec();
                number = Some(run.number);
                Ok(Some(Phase::Stopping(run.clone(), ExitReason::Kill)))
            }
            Phase::Starting | Phase::Blocked => Err(ApplicationError::Busy { name }),
            Phase::Loaded | Phase::Unloaded => Ok(None),
        })?;
        for member in members {
            node.kill(member);
        }
        self.ended_within(number, patience).await
    }

    /// Waits until the run of this number has ended. Its successor may run by
    /// then: not every phase is seen by who waits.
    async fn ended_within(&self, number: Option<u64>, patience: Duration) -> Result<(), ApplicationError> {
        let mut phases = self.phase.subscribe();
        let over = |phase: &Phase| phase.run().is_none_or(|run| Some(run.number) != number);
        match timeout(patience, phases.wait_for(over)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ApplicationError::Stopping { name: self.names.own, after: patience }),
        }
    }

    pub(super) fn unload(&self, node: Atom) -> Result<(), ApplicationError> {
        let name = self.names.own;
        self.change(node, |phase| match phase {
            Phase::Loaded => Ok(Some(Phase::Unloaded)),
            Phase::Running(_) | Phase::Starting | Phase::Blocked | Phase::Stopping(..) => {
                Err(ApplicationError::Running { name })
            }
            Phase::Unloaded => Err(ApplicationError::Unknown { name }),
        })
    }

    /// Watches over the members until the last one has ended.
    async fn attend(self: Arc<Self>, node: Node, run: Run, mut ended: mpsc::UnboundedReceiver<Ended>) {
        let mut left = run.members.to_vec();
        while !left.is_empty()
            && let Some((member, reason)) = ended.recv().await
        {
            left.retain(|pid| *pid != member);
            if !ends_all(run.mode, &reason) {
                continue;
            }
            let mut first = false;
            let _ = self.change(node.name(), |phase| match phase {
                Phase::Running(run) => {
                    first = true;
                    Ok(Some(Phase::Stopping(run.clone(), reason.clone())))
                }
                _ => Ok(None),
            });
            if first {
                tracing::info!(application = %self.names.own, %member, %reason, "ends because of a member");
                ask_to_end(&node, &left);
            }
        }
        let reason = match self.phase() {
            Phase::Stopping(_, reason) => reason,
            _ => ExitReason::Normal,
        };
        tracing::info!(application = %self.names.own, %reason, "application ended");
        if let Some(hook) = &self.spec.on_end
            && let Err(panic) = caught(|| hook(&reason))
        {
            tracing::error!(application = %self.names.own, panic, "panic in an application's on_end");
        }
        self.enter(node.name(), Phase::Loaded);
    }
}

/// Whether the end of a member is the end of the application.
fn ends_all(mode: ApplicationMode, reason: &ExitReason) -> bool {
    match mode {
        ApplicationMode::Temporary => false,
        ApplicationMode::Transient => !reason.is_orderly(),
        ApplicationMode::Permanent => true,
    }
}

/// Asks members to end, the last one first.
fn ask_to_end(node: &Node, members: &[Pid]) {
    for member in members.iter().rev() {
        if let Some(process) = node.inner().process(*member) {
            process.shut_down(ExitReason::Shutdown);
        }
    }
}

/// An application that is being started. Dropped before it runs, its members
/// are killed.
struct Start<'a> {
    node: &'a Node,
    application: &'a Arc<Application>,
    members: Vec<Pid>,
    /// Who tells of the ends of the members; taken when that is settled.
    ended: Option<mpsc::UnboundedReceiver<Ended>>,
}

impl Start<'_> {
    async fn members(
        &mut self,
        StartOptions { environment, .. }: &StartOptions,
        starter: &Starter,
        ended: &mpsc::UnboundedSender<Ended>,
    ) -> Result<(), ApplicationError> {
        let name = self.application.names.own;
        let own = Origin::of_node(self.node.inner());
        let below = starter.environment.overlaid(&own.environment);
        let origin = Origin {
            parent: starter.core,
            leader: starter.core,
            environment: below.overlaid(&self.application.spec.environment).overlaid(environment),
            application: Some(name),
        };
        for (member, spec) in self.application.spec.members.iter().enumerate() {
            let mut options = spec.options.clone();
            options.awaited = Some(ended.clone());
            let spawned = spec.recipe.spawn(self.node.inner(), origin.clone(), options);
            let pid = timeout(spec.init_timeout, spawned)
                .await
                .map_err(|_| ApplicationError::MemberTimeout { name, member, limit: spec.init_timeout })?
                .map_err(|source| ApplicationError::Member { name, member, source })?;
            self.members.push(pid);
        }
        Ok(())
    }

    /// All members run.
    fn goes_on(mut self, mode: ApplicationMode, by: Atom) {
        let Some(ended) = self.ended.take() else { return };
        let (node, application) = (self.node, self.application);
        let number = node.inner().new_reference();
        let members = std::mem::take(&mut self.members).into();
        let run = Run { mode, by, since: Instant::now(), members, number };
        if let Some(hook) = &application.spec.on_start
            && let Err(panic) = caught(|| hook(mode))
        {
            tracing::error!(application = %application.names.own, panic, "panic in an application's on_start");
        }
        application.enter(node.name(), Phase::Running(run.clone()));
        tracing::info!(application = %application.names.own, ?mode, "application started");
        let attending = application.clone().attend(node.clone(), run, ended);
        node.inner().runtime.spawn(attending);
    }

    /// Kills the members. The application can be started again when they are
    /// gone.
    fn take_back(&mut self) {
        self.ended = None;
        let (node, application) = (self.node.clone(), self.application.clone());
        let members = std::mem::take(&mut self.members);
        for member in &members {
            node.kill(*member);
        }
        self.node.inner().runtime.spawn(async move {
            let gone = async {
                for member in members {
                    node.ended(member).await;
                }
            };
            tokio::pin!(gone);
            if timeout(KILL_TIMEOUT, &mut gone).await.is_err() {
                tracing::error!(application = %application.names.own, "a member that was killed blocks its thread: busy until it ends");
                application.enter(node.name(), Phase::Blocked);
                gone.await;
            }
            application.enter(node.name(), Phase::Loaded);
        });
    }
}

/// How long killed members are waited for: one whose handler never awaits
/// cannot be killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

impl Drop for Start<'_> {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.take_back();
        }
    }
}
