//! What a supervisor is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Actor, Arguments, ExitReason, Recipe};
use crate::process::SpawnOptions;
use crate::{Atom, Pid};

/// Which children are restarted when one of them has ended and is to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All of them: the others are ended first.
    AllForOne,
    /// That one and those that stand behind it, which are ended first.
    RestForOne,
    /// That one. Nothing is started at first; of each spec any number of
    /// children runs, without names, by
    /// [`start_child`](super::SupervisorHandle::start_child).
    SimpleOneForOne,
}

/// After which ends a child is to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Restart {
    /// All but `normal` and `shutdown`.
    #[default]
    Transient,
    /// None.
    Temporary,
    /// All.
    Permanent,
}

impl Restart {
    pub(super) fn is_due(self, reason: &ExitReason) -> bool {
        match self {
            Self::Transient => !reason.is_orderly(),
            Self::Temporary => false,
            Self::Permanent => true,
        }
    }
}

/// What a [`Supervisor`](super::Supervisor) is spawned with.
#[derive(Clone)]
pub struct SupervisorSpec {
    pub(super) rules: Rules,
    pub(super) children: Vec<ChildSpec>,
    pub(super) on_child: Option<Hook>,
}

/// How a supervisor decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) strategy: Strategy,
    pub(super) restart: Restart,
    pub(super) intensity: usize,
    pub(super) period: Duration,
    pub(super) keep_order: bool,
    pub(super) auto_shutdown: bool,
}

pub(super) type Hook = Arc<dyn Fn(&ChildEvent) + Send + Sync>;

impl SupervisorSpec {
    /// No children yet. Those that fail are restarted ([`Restart::Transient`]),
    /// five times within five seconds at most; the supervisor ends when no child
    /// is left.
    pub fn new(strategy: Strategy) -> Self {
        let rules = Rules {
            strategy,
            restart: Restart::default(),
            intensity: 5,
            period: Duration::from_secs(5),
            keep_order: false,
            auto_shutdown: true,
        };
        Self { rules, children: Vec::new(), on_child: None }
    }

    /// Adds a child behind those that are there: they start in this order, and
    /// are ended in the opposite one.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// After which ends children are restarted. Default [`Restart::Transient`].
    pub fn restart(mut self, restart: Restart) -> Self {
        self.rules.restart = restart;
        self
    }

    /// How many restarts within `period` are too many: with one more than
    /// `restarts` the supervisor ends everything and itself, with the reason
    /// `restart intensity is exceeded`. Default 5 within 5 s.
    pub fn intensity(mut self, restarts: usize, period: Duration) -> Self {
        (self.rules.intensity, self.rules.period) = (restarts, period);
        self
    }

    /// Whether children that are ended for a restart are ended one after the
    /// other, the last one first. Default: all are asked at once.
    pub fn keep_order(mut self, keep: bool) -> Self {
        self.rules.keep_order = keep;
        self
    }

    /// Whether the supervisor ends, with the reason of its last child, when all
    /// have ended by themselves and none is to run again. Default true. Does not
    /// apply to [`Restart::Permanent`] and [`Strategy::SimpleOneForOne`], nor to
    /// children that were disabled.
    pub fn auto_shutdown(mut self, on: bool) -> Self {
        self.rules.auto_shutdown = on;
        self
    }

    /// Has a function called when a child has started or ended: quickly, for the
    /// supervisor waits for it. If it panics, that is logged.
    pub fn on_child(mut self, hook: impl Fn(&ChildEvent) + Send + Sync + 'static) -> Self {
        self.on_child = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorSpec")
            .field("rules", &self.rules)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// What became of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildEvent {
    /// It runs, for the first time or again.
    Started {
        /// The name in its spec.
        name: Atom,
        /// The process.
        pid: Pid,
    },
    /// It has ended.
    Ended {
        /// The name in its spec.
        name: Atom,
        /// The process.
        pid: Pid,
        /// Why; nothing if it had ended by itself, and the supervisor came to end
        /// it, for whatever reason, before it had read of that.
        reason: Option<ExitReason>,
    },
}

/// A child of a supervisor: its name, its actor, and how its arguments are made.
#[derive(Debug, Clone)]
pub struct ChildSpec {
    pub(super) name: String,
    pub(super) recipe: Recipe,
    pub(super) significant: bool,
    options: SpawnOptions,
    pub(super) init_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
}

impl ChildSpec {
    /// A child that gets a copy of `args` whenever it starts. Its process is
    /// registered under `name`, unless the strategy is
    /// [`SimpleOneForOne`](Strategy::SimpleOneForOne).
    pub fn new<A: Actor>(name: impl Into<String>, args: A::Args) -> Self
    where
        A::Args: Clone + Sync,
    {
        Self::with::<A>(name, move || args.clone())
    }

    /// A child whose arguments are made anew whenever it starts.
    pub fn with<A: Actor>(
        name: impl Into<String>,
        args: impl Fn() -> A::Args + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            recipe: Recipe::new::<A>(Arguments::new(args)),
            significant: false,
            options: SpawnOptions::new(),
            init_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(5),
        }
    }

    /// The supervisor ends when this child has ended and is not restarted, with
    /// the same reason. Has no effect with [`Restart::Permanent`] and
    /// [`Strategy::SimpleOneForOne`].
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// How its process is spawned. Its name and its links are the supervisor's
    /// business.
    pub fn options(mut self, options: SpawnOptions) -> Self {
        self.options = options;
        self
    }

    /// How long its `init` may take; the supervisor handles nothing else
    /// meanwhile. Default 30 s.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }

    /// How long it may take to end when it is asked to, before it is killed.
    /// Default 5 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Linked both ways: what ends one of them reaches the other.
    pub(super) fn spawn_options(&self, named: bool) -> SpawnOptions {
        let mut options = self.options.clone().link_child().link_parent();
        options.name = named.then(|| self.name.clone());
        options
    }
}
