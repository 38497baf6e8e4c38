//! Applications: processes that start and end together, under one name.
//!
//! A node [loads](Node::load_application) an [`ApplicationSpec`], and starts it
//! after all that it depends on. What the end of a member means is its
//! [`ApplicationMode`]. The node's registrar is told what its applications do;
//! a [`WeightedRouter`] finds the nodes that run one. Applications of a
//! [`NodeBuilder`](crate::NodeBuilder::application) start with the node in their
//! order, and end with it in the opposite one, before other processes.

mod error;
mod order;
mod publisher;
mod router;
mod running;
mod spec;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::node::{Node, process_name};
use crate::registrar::{ApplicationState, MAX_TAGS};
use crate::{Atom, Pid};

pub use crate::registrar::ApplicationMode;
pub use error::ApplicationError;
pub use router::{RouteError, WeightedRouter};
pub use spec::{ApplicationSpec, MemberSpec, StartOptions};

use order::start_order;
use publisher::{News, publish};
pub(crate) use running::Starter;
use running::{Application, Names, Phase};

/// How long members may take to end when their application is stopped, unless
/// it is said.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The applications of a node, in the order in which they were loaded.
#[derive(Default)]
pub(crate) struct Applications {
    loaded: Mutex<Vec<Arc<Application>>>,
    news: OnceLock<mpsc::UnboundedSender<News>>,
}

/// An application of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplicationInfo {
    /// Its name.
    pub name: Atom,
    /// What it is, for people.
    pub description: String,
    /// Its version, for people.
    pub version: String,
    /// What it needs.
    pub depends: Vec<Atom>,
    /// What the end of a member means; while it does not run, what its spec says.
    pub mode: ApplicationMode,
    /// How much of the work this node wants.
    pub weight: i64,
    /// Its labels. None of an Ergo node before 3.2.0.
    pub tags: Vec<String>,
    /// The names of its processes by their roles. None of an Ergo node before
    /// 3.2.0.
    pub roles: BTreeMap<String, Atom>,
    /// What it is doing.
    pub state: ApplicationState,
    /// The node that had it started, if it runs.
    pub started_by: Option<Atom>,
    /// For how long it has been running, if it does.
    pub uptime: Option<Duration>,
    /// The processes it was started with, those included that have ended since.
    pub members: Vec<Pid>,
}

/// Applications.
impl Node {
    /// Makes an application known to the node, and to its registrar. It does not
    /// run yet.
    pub fn load_application(&self, spec: ApplicationSpec) -> Result<Atom, ApplicationError> {
        let names = Names::of(&spec)?;
        let name = names.own;
        if spec.members.is_empty() {
            return Err(ApplicationError::Empty { name });
        }
        if spec.tags.len() > MAX_TAGS {
            return Err(ApplicationError::Tags { name, tags: spec.tags.len() });
        }
        let Applications { loaded, news } = &self.inner().applications;
        let mut loaded = loaded.lock();
        if loaded.iter().any(|application| application.names.own == name) {
            return Err(ApplicationError::Taken { name });
        }
        let news = news.get_or_init(|| publish(self)).clone();
        loaded.push(Arc::new(Application::new(self.name(), names, spec, news)));
        Ok(name)
    }

    /// Starts an application in the mode of its spec, after all that it depends
    /// on and that does not run yet. Returns when all its members run.
    ///
    /// Cancellation: a dropped future leaves none of its members; what it
    /// depends on may have been started.
    pub async fn start_application(&self, name: &str) -> Result<(), ApplicationError> {
        self.start_application_with(name, StartOptions::new()).await
    }

    /// [`start_application`](Self::start_application), but as the options say.
    pub async fn start_application_with(
        &self,
        name: &str,
        options: StartOptions,
    ) -> Result<(), ApplicationError> {
        self.start_requested(process_name(name)?, options, Starter::local(self)).await
    }

    /// Starts an application on behalf of a node that may do that.
    pub(crate) async fn start_requested(
        &self,
        name: Atom,
        options: StartOptions,
        starter: Starter,
    ) -> Result<(), ApplicationError> {
        let mut order = start_order(name, |name| Some(self.application(name).ok()?.names.depends.clone()))?;
        order.pop();
        tracing::debug!(application = %name, by = %starter.core.node, needs = ?order, "application is to start");
        // Only this one is enabled for the starter: what it needs is this node's.
        let own = Starter { core: self.pid(), environment: starter.environment.clone() };
        for dependency in order {
            let started = self.start_dependency(dependency, &own).await;
            started.map_err(|error| ApplicationError::Dependency { dependency, source: Box::new(error) })?;
        }
        self.application(name)?.start(self, &options, &starter).await
    }

    /// Starts what another application needs, unless it runs or somebody else
    /// starts it.
    async fn start_dependency(&self, name: Atom, starter: &Starter) -> Result<(), ApplicationError> {
        let options = StartOptions::new();
        loop {
            let application = self.application(name)?;
            application.settled().await;
            match application.start(self, &options, starter).await {
                Err(ApplicationError::Running { .. }) => return Ok(()),
                Err(ApplicationError::Busy { .. }) if matches!(application.phase(), Phase::Starting) => {}
                started => return started,
            }
        }
    }

    /// Stops an application: asks its members to end (reason `shutdown`), and
    /// waits for them five seconds at most. One that does not run is no error.
    ///
    /// # Errors
    /// [`ApplicationError::Stopping`] if some take longer. They go on ending.
    pub async fn stop_application(&self, name: &str) -> Result<(), ApplicationError> {
        self.stop_application_within(name, STOP_TIMEOUT).await
    }

    /// [`stop_application`](Self::stop_application) with a time limit of its own.
    pub async fn stop_application_within(
        &self,
        name: &str,
        timeout: Duration,
    ) -> Result<(), ApplicationError> {
        self.application(process_name(name)?)?.stop(self, timeout).await
    }

    /// Ends an application by killing its members. Waits for them as
    /// [`stop_application`](Self::stop_application) does: one whose handler
    /// never awaits cannot be killed.
    pub async fn kill_application(&self, name: &str) -> Result<(), ApplicationError> {
        self.application(process_name(name)?)?.kill(self, STOP_TIMEOUT).await
    }

    /// Forgets an application that does not run.
    pub fn unload_application(&self, name: &str) -> Result<(), ApplicationError> {
        let application = self.application(process_name(name)?)?;
        let mut loaded = self.inner().applications.loaded.lock();
        application.unload(self.name())?;
        loaded.retain(|other| !Arc::ptr_eq(other, &application));
        Ok(())
    }

    /// What an application is and does.
    pub fn application_info(&self, name: &str) -> Result<ApplicationInfo, ApplicationError> {
        let application = self.application(process_name(name)?)?;
        let (names, spec, phase) = (&application.names, &application.spec, application.phase());
        let run = phase.run();
        Ok(ApplicationInfo {
            name: names.own,
            description: spec.description.clone(),
            version: spec.version.clone(),
            depends: names.depends.clone(),
            mode: run.map_or(spec.mode, |run| run.mode),
            weight: spec.weight,
            tags: spec.tags.clone(),
            roles: names.roles.clone(),
            state: phase.state(),
            started_by: run.map(|run| run.by),
            uptime: run.map(|run| run.since.elapsed()),
            members: run.map_or_else(Vec::new, |run| run.members.to_vec()),
        })
    }

    /// The applications that are loaded, in the order in which they were.
    pub fn applications(&self) -> Vec<Atom> {
        self.loaded().iter().map(|application| application.names.own).collect()
    }

    /// The applications that run, in the order in which they were started.
    pub fn running_applications(&self) -> Vec<Atom> {
        self.running().iter().map(|application| application.names.own).collect()
    }

    /// Stops what runs, what was started last first.
    pub(crate) async fn stop_applications(&self) {
        for application in self.running().into_iter().rev() {
            if let Err(error) = application.stop(self, STOP_TIMEOUT).await {
                tracing::warn!(node = %self.name(), %error, "the next application is stopped meanwhile");
            }
        }
    }

    fn application(&self, name: Atom) -> Result<Arc<Application>, ApplicationError> {
        let found = self.loaded().into_iter().find(|application| application.names.own == name);
        found.ok_or(ApplicationError::Unknown { name })
    }

    fn loaded(&self) -> Vec<Arc<Application>> {
        self.inner().applications.loaded.lock().clone()
    }

    fn running(&self) -> Vec<Arc<Application>> {
        let mut running: Vec<_> = self
            .loaded()
            .into_iter()
            .filter_map(|application| Some((application.phase().run()?.number, application)))
            .collect();
        running.sort_by_key(|(number, _)| *number);
        running.into_iter().map(|(_, application)| application).collect()
    }
}
