//! How to make a process of some actor, again and again.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use super::{Actor, ExitReason};
use crate::Pid;
use crate::error::SpawnError;
use crate::node::NodeInner;
use crate::process::{Origin, SpawnOptions, caught, spawn, type_label};
use crate::registrar::BoxFuture;

/// An actor and how its arguments are made.
#[derive(Clone)]
pub(crate) struct Recipe {
    actor: &'static str,
    spawn: Spawn,
    args: Arguments,
}

/// How arguments are made, for each process anew.
#[derive(Clone)]
pub(crate) struct Arguments {
    of: TypeId,
    make: Arc<dyn Fn() -> Box<dyn Any + Send> + Send + Sync>,
}

type Spawn = for<'a> fn(
    &'a Arc<NodeInner>,
    Origin,
    Box<dyn Any + Send>,
    SpawnOptions,
) -> BoxFuture<'a, Result<Pid, SpawnError>>;

impl Recipe {
    pub(crate) fn new<A: Actor>(args: Arguments) -> Self {
        Self { actor: type_label::<A>(), spawn: spawn_boxed::<A>, args }
    }

    /// The name of the actor's type.
    pub(crate) fn actor(&self) -> &'static str {
        self.actor
    }

    /// The same with other arguments; nothing if the actor takes others than these.
    pub(crate) fn with_args(&self, args: Arguments) -> Option<Self> {
        (args.of == self.args.of).then(|| Self { args, ..*self })
    }

    /// Spawns a process.
    pub(crate) async fn spawn(
        &self,
        node: &Arc<NodeInner>,
        origin: Origin,
        options: SpawnOptions,
    ) -> Result<Pid, SpawnError> {
        let args = caught(|| (self.args.make)()).map_err(|panic| {
            tracing::error!(actor = self.actor, panic, "panic while arguments were made");
            SpawnError::Init(ExitReason::Panic)
        })?;
        (self.spawn)(node, origin, args, options).await
    }
}

impl Arguments {
    pub(crate) fn new<T: Send + 'static>(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { of: TypeId::of::<T>(), make: Arc::new(move || Box::new(make())) }
    }
}

fn spawn_boxed<A: Actor>(
    node: &Arc<NodeInner>,
    origin: Origin,
    args: Box<dyn Any + Send>,
    options: SpawnOptions,
) -> BoxFuture<'_, Result<Pid, SpawnError>> {
    let Ok(args) = args.downcast::<A::Args>() else {
        unreachable!("a recipe is made for the actor's own arguments, and takes others of their type only")
    };
    Box::pin(spawn::<A>(node, origin, *args, options))
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({})", self.actor)
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arguments")
    }
}
