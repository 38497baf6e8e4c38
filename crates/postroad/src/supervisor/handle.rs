//! How a supervisor is spoken to.

use postroad_edf::AtomError;

use super::children::ChildInfo;
use super::error::SupervisorError;
use super::spec::ChildSpec;
use crate::actor::{Arguments, Local};
use crate::error::{CallError, SendError};
use crate::node::{FAR, Node, Target, ToTarget, process_name};
use crate::{Atom, Pid};

/// What a supervisor is asked for.
#[derive(Debug)]
pub(super) enum Request {
    Start { name: Atom, args: Option<Arguments> },
    Add(ChildSpec),
    Enable(Atom),
    Disable(Atom),
    List,
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Response {
    Started(Pid),
    Added(Option<Pid>),
    Disabled,
    Children(Vec<ChildInfo>),
}

/// Speaks to a supervisor of this node; from [`Node::supervisor`].
///
/// Every request is answered when the supervisor has done what it says: starting
/// a child includes its `init`. A child must not ask its own supervisor during
/// its `init`: each would wait for the other until the `init` timeout. While
/// children are ended for a restart, changes are refused with
/// [`SupervisorError::StrategyActive`].
///
/// Cancellation: a dropped future may have changed something or not.
#[derive(Debug, Clone)]
pub struct SupervisorHandle {
    node: Node,
    supervisor: Result<Target, AtomError>,
}

impl SupervisorHandle {
    pub(crate) fn new(node: Node, supervisor: impl ToTarget) -> Self {
        Self { node, supervisor: supervisor.to_target() }
    }

    /// Starts a child that does not run; with
    /// [`SimpleOneForOne`](super::Strategy::SimpleOneForOne) one more of that
    /// name. Its arguments are those it had last.
    pub async fn start_child(&self, name: &str) -> Result<Pid, SupervisorError> {
        self.start(name, None).await
    }

    /// Starts a child with these arguments, which it also gets when it is
    /// restarted; other children of a simple-one-for-one spec are not affected.
    ///
    /// # Errors
    /// [`SupervisorError::Arguments`] if they are not what the child's actor
    /// takes.
    pub async fn start_child_with<T: Clone + Send + Sync + 'static>(
        &self,
        name: &str,
        args: T,
    ) -> Result<Pid, SupervisorError> {
        self.start(name, Some(Arguments::new(move || args.clone()))).await
    }

    /// Adds a child behind the others and starts it;
    /// [`SimpleOneForOne`](super::Strategy::SimpleOneForOne) only adds it. One
    /// that does not start is not added.
    pub async fn add_child(&self, child: ChildSpec) -> Result<Option<Pid>, SupervisorError> {
        self.added(Request::Add(child)).await
    }

    /// Lets a disabled child run again, and starts it, unless the strategy is
    /// [`SimpleOneForOne`](super::Strategy::SimpleOneForOne). One that does not
    /// start stays disabled.
    pub async fn enable_child(&self, name: &str) -> Result<Option<Pid>, SupervisorError> {
        self.added(Request::Enable(process_name(name)?)).await
    }

    /// Keeps a child from running until it is enabled: asks all of that name to
    /// end, with the reason `shutdown`, and restarts none of them.
    pub async fn disable_child(&self, name: &str) -> Result<(), SupervisorError> {
        self.ask(Request::Disable(process_name(name)?)).await.map(drop)
    }

    /// The children in the order of their specs.
    pub async fn children(&self) -> Result<Vec<ChildInfo>, SupervisorError> {
        match self.ask(Request::List).await? {
            Response::Children(children) => Ok(children),
            _ => unreachable!("{OTHERWISE}"),
        }
    }

    async fn start(&self, name: &str, args: Option<Arguments>) -> Result<Pid, SupervisorError> {
        match self.ask(Request::Start { name: process_name(name)?, args }).await? {
            Response::Started(pid) => Ok(pid),
            _ => unreachable!("{OTHERWISE}"),
        }
    }

    async fn added(&self, request: Request) -> Result<Option<Pid>, SupervisorError> {
        match self.ask(request).await? {
            Response::Added(pid) => Ok(pid),
            _ => unreachable!("{OTHERWISE}"),
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, SupervisorError> {
        let to = self.supervisor.map_err(|error| CallError::from(SendError::from(error)));
        // How long it takes is limited by the specs of the children. Whatever
        // happens to the supervisor, the request ends with it.
        let asked = async { self.node.call_with_timeout(to?, Local(request), FAR).await };
        let Local(response) = asked.await.map_err(SupervisorError::Request)?;
        response
    }
}

const OTHERWISE: &str = "the supervisor answers each request with its own kind of response";
