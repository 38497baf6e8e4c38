//! What an application is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Actor, Arguments, ExitReason, Recipe};
use crate::process::{Environment, SpawnOptions};
use crate::registrar::ApplicationMode;

/// An application: processes that start and end together, and what they need.
#[derive(Clone)]
pub struct ApplicationSpec {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) version: String,
    pub(super) depends: Vec<String>,
    pub(super) mode: ApplicationMode,
    pub(super) weight: i64,
    pub(super) tags: Vec<String>,
    pub(super) roles: Vec<(String, String)>,
    pub(super) environment: Environment,
    pub(super) members: Vec<MemberSpec>,
    pub(super) on_start: Option<OnStart>,
    pub(super) on_end: Option<OnEnd>,
}

type OnStart = Arc<dyn Fn(ApplicationMode) + Send + Sync>;
type OnEnd = Arc<dyn Fn(&ExitReason) + Send + Sync>;

impl ApplicationSpec {
    /// No members yet; temporary, of weight 0, and in need of nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            version: String::new(),
            depends: Vec::new(),
            mode: ApplicationMode::Temporary,
            weight: 0,
            tags: Vec::new(),
            roles: Vec::new(),
            environment: Environment::new(),
            members: Vec::new(),
            on_start: None,
            on_end: None,
        }
    }

    /// Adds a process behind those that are there: they start in this order.
    pub fn member(mut self, member: MemberSpec) -> Self {
        self.members.push(member);
        self
    }

    /// Needs another application, which is started before this one if it does
    /// not run.
    pub fn depends_on(mut self, application: impl Into<String>) -> Self {
        self.depends.push(application.into());
        self
    }

    /// What the end of a member means, unless the start says otherwise. Default
    /// [`ApplicationMode::Temporary`].
    pub fn mode(mut self, mode: ApplicationMode) -> Self {
        self.mode = mode;
        self
    }

    /// How much of the work this node wants, compared with others that run the
    /// application. Default 0.
    pub fn weight(mut self, weight: i64) -> Self {
        self.weight = weight;
        self
    }

    /// Adds a label of this instance, such as `canary`: registrars publish it, and a
    /// [`WeightedRouter`](super::WeightedRouter::tagged) chooses by it. At most
    /// [`MAX_TAGS`](crate::registrar::MAX_TAGS), each as long as a name.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Says under which name the process is registered that has this role, for
    /// those who have the application [described](super::ApplicationInfo::roles).
    /// Of a role that is said twice the second one counts.
    pub fn role(mut self, role: impl Into<String>, process: impl Into<String>) -> Self {
        self.roles.push((role.into(), process.into()));
        self
    }

    /// Variables of its processes, laid over those of the node; each member's own
    /// are laid over these.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// What it is, for people.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Its version, for people.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Has a function called when all members run: quickly, for the start waits
    /// for it. If it panics, that is logged.
    pub fn on_start(mut self, hook: impl Fn(ApplicationMode) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(hook));
        self
    }

    /// Has a function called when the last member has ended, with the reason of
    /// the application: `shutdown` or `kill` if it was stopped, that of the
    /// member that ended it, or `normal`. If it panics, that is logged.
    pub fn on_end(mut self, hook: impl Fn(&ExitReason) + Send + Sync + 'static) -> Self {
        self.on_end = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for ApplicationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationSpec")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("depends", &self.depends)
            .field("mode", &self.mode)
            .field("weight", &self.weight)
            .field("tags", &self.tags)
            .field("roles", &self.roles)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// How an application is started.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    pub(crate) mode: Option<ApplicationMode>,
    pub(crate) environment: Environment,
}

impl StartOptions {
    /// In the mode of its spec, with no variables but its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the end of a member means in this run, whatever the spec says.
    pub fn mode(mut self, mode: ApplicationMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Variables laid over those of the spec in this run; each member's own are
    /// laid over these. What the application depends on does not get them.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }
}

/// A process of an application: its actor, and how its arguments are made.
/// Often a [`Supervisor`](crate::supervisor::Supervisor).
#[derive(Debug, Clone)]
pub struct MemberSpec {
    pub(super) recipe: Recipe,
    pub(super) options: SpawnOptions,
    pub(super) init_timeout: Duration,
}

impl MemberSpec {
    /// A member that gets a copy of `args` whenever the application starts.
    pub fn new<A: Actor>(args: A::Args) -> Self
    where
        A::Args: Clone + Sync,
    {
        Self::with::<A>(move || args.clone())
    }

    /// A member whose arguments are made anew whenever the application starts.
    pub fn with<A: Actor>(args: impl Fn() -> A::Args + Send + Sync + 'static) -> Self {
        Self {
            recipe: Recipe::new::<A>(Arguments::new(args)),
            options: SpawnOptions::new(),
            init_timeout: Duration::from_secs(30),
        }
    }

    /// Registers its process under `name`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// How its process is spawned. It has no parent that it could be linked to.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.options = options;
        self
    }

    /// How long its `init` may take. Default 30 s.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }
}
