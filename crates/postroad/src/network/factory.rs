//! What makes processes of an actor for other nodes.

use std::any::TypeId;
use std::sync::Arc;

use postroad_edf::{Message, Payload};

use super::Refusal;
use crate::Pid;
use crate::actor::Actor;
use crate::error::SpawnError;
use crate::node::NodeInner;
use crate::process::{Origin, SpawnOptions, caught, spawn};
use crate::registrar::BoxFuture;

/// Makes processes of one actor.
#[derive(Clone)]
pub(crate) struct Factory {
    /// The actor, and what makes its arguments.
    kind: [TypeId; 2],
    start: Arc<Start>,
}

type Start = dyn Fn(Arc<NodeInner>, Origin, SpawnOptions, Vec<Payload>) -> Started + Send + Sync;
type Started = BoxFuture<'static, Result<Pid, Refusal>>;

impl Factory {
    /// Makes an actor whose `Args` are made of the list by `arguments`, or not.
    pub(super) fn of<A: Actor, F>(arguments: F) -> Self
    where
        F: Fn(Vec<Payload>) -> Option<A::Args> + Send + Sync + 'static,
    {
        let kind = [TypeId::of::<A>(), TypeId::of::<F>()];
        let start = move |node: Arc<NodeInner>, origin, options, list| {
            let args = caught(|| arguments(list));
            let started: Started = Box::pin(async move {
                let Ok(Some(args)) = args else { return Err(Refusal::Incorrect) };
                spawn::<A>(&node, origin, args, options).await.map_err(Refusal::from)
            });
            started
        };
        Self { kind, start: Arc::new(start) }
    }

    /// Makes a process.
    ///
    /// Cancellation: if the future is dropped before it is done there is no process.
    pub(super) fn start(
        &self,
        node: Arc<NodeInner>,
        origin: Origin,
        options: SpawnOptions,
        arguments: Vec<Payload>,
    ) -> Started {
        (self.start)(node, origin, options, arguments)
    }
}

impl PartialEq for Factory {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl From<SpawnError> for Refusal {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::NameTaken { .. } => Self::Taken,
            SpawnError::Name(_) => Self::Incorrect,
            SpawnError::NodeStopped => Self::NodeTerminated,
            SpawnError::ParentTerminated => Self::ProcessTerminated,
            SpawnError::Init(reason) => Self::Other((&reason).into()),
        }
    }
}

/// Takes the arguments as one value: as `()` if there are none, as they are if
/// a list is asked for, and otherwise the only one there is.
pub(super) fn as_one<T: Message>(mut list: Vec<Payload>) -> Option<T> {
    let value = if TypeId::of::<T>() == TypeId::of::<Vec<Payload>>() {
        Payload::new(list)
    } else if list.len() == 1 {
        list.pop()?
    } else if list.is_empty() {
        Payload::new(())
    } else {
        return None;
    };
    value.downcast().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_the_actor_wants_or_nothing() {
        let list = |n: u8| (0..n).map(Payload::new).collect::<Vec<_>>();
        assert_eq!(as_one::<()>(list(0)), Some(()));
        assert_eq!(as_one::<()>(list(1)), None);
        assert_eq!(as_one::<u8>(list(1)), Some(0));
        assert_eq!(as_one::<u8>(list(2)), None);
        assert_eq!(as_one::<u8>(list(0)), None);
        assert_eq!(as_one::<u16>(list(1)), None);
        assert_eq!(as_one::<Vec<Payload>>(list(3)).map(|list| list.len()), Some(3));
        assert!(as_one::<Payload>(list(1)).is_some_and(|value| value.is::<u8>()));
    }
}
