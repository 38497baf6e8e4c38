//! Processes that start others and restart them when they fail.
//!
//! A [`Supervisor`] is an actor like any other: it is linked to its children and
//! traps exits. What it does when one of them ends is said by its
//! [`SupervisorSpec`]; from outside it is spoken to through a
//! [`SupervisorHandle`].

mod children;
mod error;
mod handle;
mod spec;

use std::collections::HashMap;
use std::future::Future;

use postroad_edf::{ErrorValue, Payload};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::actor::{Actor, Arguments, Context, Exit, ExitReason, Local, Reply, Watched};
use crate::node::process_name;
use crate::process::{Ending, LeftBehind, caught, end};
use crate::{Atom, Pid};

pub use children::ChildInfo;
pub use error::SupervisorError;
pub use handle::SupervisorHandle;
pub use spec::{ChildEvent, ChildSpec, Restart, Strategy, SupervisorSpec};

use children::{Action, Children};
use handle::{Request, Response};
use spec::Hook;

/// A process that starts its children in order, restarts those that fail, and
/// ends them in the opposite order when it ends itself.
///
/// It ends when it is asked to by whomever, when a child does not start
/// (with the reason of that child's `init`), when there are too many restarts,
/// when a significant child has ended or none is left. Its children have ended
/// before it has: each is given its shutdown timeout, then it is killed. A child
/// that blocks its thread cannot be: two seconds after it was killed it is left
/// behind, and a supervisor that needs its end for a restart, or to disable it,
/// ends with [`SupervisorError::LeftBehind`].
///
/// ```
/// use postroad::supervisor::{ChildSpec, Strategy, Supervisor, SupervisorSpec};
/// # use postroad::{Actor, Context, ExitReason, Node};
/// # #[derive(Clone)]
/// # struct Settings;
/// # struct Worker;
/// # impl Actor for Worker {
/// #     type Args = Settings;
/// #     type Messages = ();
/// #     type Requests = ();
/// #     async fn init(_: Settings, _: &mut Context) -> Result<Self, ExitReason> { Ok(Worker) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Node::builder("doc-sup@localhost").network(postroad::NetworkMode::Disabled).start().await?;
/// let spec = SupervisorSpec::new(Strategy::OneForOne)
///     .child(ChildSpec::new::<Worker>("first", Settings))
///     .child(ChildSpec::new::<Worker>("second", Settings));
/// let pid = node.spawn::<Supervisor>(spec).await?;
/// let children = node.supervisor(pid).children().await?;
/// assert_eq!(children[0].pid, node.whereis("first"));
/// # node.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Supervisor {
    children: Children,
    specs: Vec<ChildSpec>,
    /// With simple-one-for-one: arguments that are not those of the spec.
    given: HashMap<Pid, Arguments>,
    on_child: Option<Hook>,
}

impl Actor for Supervisor {
    type Args = SupervisorSpec;
    type Messages = ();
    type Requests = ();

    async fn init(spec: SupervisorSpec, ctx: &mut Context) -> Result<Self, ExitReason> {
        if spec.children.is_empty() {
            return Err(SupervisorError::NoChildren.into());
        }
        let children = Children::new(spec.rules);
        let mut supervisor =
            Self { children, specs: Vec::new(), given: HashMap::new(), on_child: spec.on_child };
        for child in spec.children {
            supervisor.add(child)?;
        }
        ctx.set_trap_exit(true);
        for spec in 0..supervisor.children.initial() {
            if let Err(error) = supervisor.start(spec, None, ctx).await {
                let reason = error.into_reason();
                supervisor.end_all(&reason, ctx).await;
                return Err(reason);
            }
        }
        Ok(supervisor)
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        ctx: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        let Ok(Local(request)) = request.downcast::<Local<Request>>() else {
            return Ok(Reply::Error(ErrorValue::new("not supported")));
        };
        Ok(Reply::Now(Payload::new(Local(self.do_as_asked(request, ctx).await))))
    }

    async fn handle_exit(&mut self, exit: Exit, ctx: &mut Context) -> Result<(), ExitReason> {
        if exit.requested {
            return Err(exit.reason);
        }
        match exit.subject {
            Watched::Pid(pid) => self.child_ended(pid, &exit.reason, ctx).await,
            _ => Ok(()),
        }
    }

    async fn terminated(&mut self, reason: &ExitReason, ctx: &mut Context) {
        self.end_all(reason, ctx).await;
    }
}

impl Supervisor {
    async fn do_as_asked(&mut self, request: Request, ctx: &Context) -> Result<Response, SupervisorError> {
        Ok(match request {
            Request::Start { name, args } => Response::Started(self.start_child(name, args, ctx).await?),
            Request::Add(child) => Response::Added(self.add_child(child, ctx).await?),
            Request::Enable(name) => Response::Added(self.enable_child(name, ctx).await?),
            Request::Disable(name) => {
                let actions = self.children.disable(name)?;
                self.act(actions, ctx).await?;
                Response::Disabled
            }
            Request::List => Response::Children(self.children.list()),
        })
    }

    fn add(&mut self, child: ChildSpec) -> Result<usize, SupervisorError> {
        let spec = self.children.add(process_name(&child.name)?, child.significant)?;
        self.specs.push(child);
        Ok(spec)
    }

    /// Starts a child, with arguments of its own if there are any.
    async fn start(
        &mut self,
        spec: usize,
        args: Option<Arguments>,
        ctx: &Context,
    ) -> Result<Pid, SupervisorError> {
        let (name, simple) = (self.children.name(spec), self.children.is_simple());
        let child = &self.specs[spec];
        let recipe = match &args {
            Some(args) => child.recipe.with_args(args.clone()).ok_or(SupervisorError::Arguments { name })?,
            None => child.recipe.clone(),
        };
        let spawned = ctx.spawn_recipe(&recipe, child.spawn_options(!simple));
        let pid = match timeout(child.init_timeout, spawned).await {
            Ok(spawned) => spawned.map_err(|source| SupervisorError::Start { name, source })?,
            Err(_) => return Err(SupervisorError::InitTimeout { name, limit: child.init_timeout }),
        };
        match args {
            Some(args) if simple => drop(self.given.insert(pid, args)),
            _ => self.specs[spec].recipe = recipe,
        }
        self.children.started(spec, pid);
        self.tell(&ChildEvent::Started { name, pid });
        Ok(pid)
    }

    async fn start_child(
        &mut self,
        name: Atom,
        args: Option<Arguments>,
        ctx: &Context,
    ) -> Result<Pid, SupervisorError> {
        let spec = self.children.may_start(name)?;
        self.start(spec, args, ctx).await
    }

    async fn add_child(&mut self, child: ChildSpec, ctx: &Context) -> Result<Option<Pid>, SupervisorError> {
        let spec = self.add(child)?;
        if self.children.is_simple() {
            return Ok(None);
        }
        let started = self.start(spec, None, ctx).await;
        if started.is_err() {
            self.children.remove_last();
            self.specs.pop();
        }
        started.map(Some)
    }

    async fn enable_child(&mut self, name: Atom, ctx: &Context) -> Result<Option<Pid>, SupervisorError> {
        let Some(spec) = self.children.enable(name)? else { return Ok(None) };
        let started = self.start(spec, None, ctx).await;
        if started.is_err() {
            self.children.keep_disabled(spec);
        }
        started.map(Some)
    }

    async fn child_ended(&mut self, pid: Pid, reason: &ExitReason, ctx: &Context) -> Result<(), ExitReason> {
        if let Some(spec) = self.children.spec_of(pid) {
            let name = self.children.name(spec);
            self.tell(&ChildEvent::Ended { name, pid, reason: Some(reason.clone()) });
        }
        let actions = self.children.ended(pid, reason, Instant::now())?;
        let acted = self.act(actions, ctx).await;
        self.given.remove(&pid);
        acted.map_err(SupervisorError::into_reason)
    }

    /// Carries out what was decided.
    async fn act(&mut self, actions: Vec<Action>, ctx: &Context) -> Result<(), SupervisorError> {
        for action in actions {
            match action {
                Action::Stop { spec, pid, reason } => {
                    let ending = self.ending(spec, pid, &reason, ctx);
                    let (name, supervisor) = (self.children.name(spec), ctx.process().clone());
                    tokio::spawn(async move {
                        if let Err(LeftBehind) = ending.await {
                            supervisor.shut_down(SupervisorError::LeftBehind { name, pid }.into());
                        }
                    });
                }
                Action::Start { spec, instead } => {
                    let args = instead.and_then(|pid| self.given.get(&pid).cloned());
                    self.start(spec, args, ctx).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks every child to end and waits for it, one after the other; those of
    /// simple-one-for-one are not ordered.
    async fn end_all(&mut self, reason: &ExitReason, ctx: &Context) {
        let mut endings = JoinSet::new();
        for (spec, pid) in self.children.left() {
            let ending = self.ending(spec, pid, reason, ctx);
            endings.spawn(async move { (spec, pid, ending.await) });
            if !self.children.is_simple() {
                self.all_have_ended(&mut endings).await;
            }
        }
        self.all_have_ended(&mut endings).await;
    }

    async fn all_have_ended(&self, endings: &mut JoinSet<(usize, Pid, Ending)>) {
        while let Some(Ok((spec, pid, ended))) = endings.join_next().await {
            if let Ok(reason) = ended {
                self.tell(&ChildEvent::Ended { name: self.children.name(spec), pid, reason });
            }
        }
    }

    /// The end of a child that is asked to, and killed if it takes too long.
    fn ending(
        &self,
        spec: usize,
        pid: Pid,
        reason: &ExitReason,
        ctx: &Context,
    ) -> impl Future<Output = Ending> + Send + 'static {
        end(ctx.process().node.clone(), pid, reason.clone(), self.specs[spec].shutdown_timeout)
    }

    fn tell(&self, event: &ChildEvent) {
        if let Some(hook) = &self.on_child
            && let Err(panic) = caught(|| hook(event))
        {
            tracing::error!(?event, panic, "panic in a supervisor's on_child");
        }
    }
}
