//! Many processes behind one address.
//!
//! A [`Pool`] hands what it gets to its workers in turn. A worker sees the
//! original sender, and answers requests itself.

mod error;
mod handle;

use std::collections::VecDeque;
use std::time::Duration;

use postroad_edf::{ErrorValue, Payload};
use tokio::time::timeout;

use crate::actor::{
    Actor, Arguments, Context, Down, Exit, ExitReason, Local, Messages, Recipe, Reply, Requests, Unforwarded,
};
use crate::error::{SendError, SpawnError};
use crate::event::Published;
use crate::inspect::Items;
use crate::process::{SpawnOptions, discard};
use crate::{Atom, Pid};

pub use error::PoolError;
pub use handle::PoolHandle;

use handle::{Order, Response};

/// What a [`Pool`] is made of.
#[derive(Debug, Clone)]
pub struct PoolSpec {
    recipe: Recipe,
    size: usize,
    mailbox_capacity: Option<usize>,
    init_timeout: Duration,
}

impl PoolSpec {
    /// Three workers, each with a copy of `args`, without bounds.
    pub fn new<W: Actor>(args: W::Args) -> Self
    where
        W::Args: Clone + Sync,
    {
        Self::with::<W>(move || args.clone())
    }

    /// Three workers whose arguments are made anew for each.
    pub fn with<W: Actor>(args: impl Fn() -> W::Args + Send + Sync + 'static) -> Self {
        Self {
            recipe: Recipe::new::<W>(Arguments::new(args)),
            size: 3,
            mailbox_capacity: None,
            init_timeout: Duration::from_secs(30),
        }
    }

    /// How many workers there are at first.
    pub fn size(mut self, workers: usize) -> Self {
        self.size = workers;
        self
    }

    /// The most messages that wait for a worker; one with a full mailbox is
    /// skipped.
    pub fn worker_mailbox_capacity(mut self, envelopes: usize) -> Self {
        self.mailbox_capacity = Some(envelopes);
        self
    }

    /// How long the `init` of a worker may take: the pool does nothing else
    /// meanwhile, and what is under way to its workers waits. Default 30 s.
    pub fn worker_init_timeout(mut self, limit: Duration) -> Self {
        self.init_timeout = limit;
        self
    }

    /// Spawns a worker of the process that `ctx` is for.
    async fn spawn(&self, ctx: &Context) -> Result<Pid, PoolError> {
        let mut options = SpawnOptions::new().link_parent();
        options.mailbox_capacity = self.mailbox_capacity;
        match timeout(self.init_timeout, ctx.spawn_recipe(&self.recipe, options)).await {
            Ok(spawned) => Ok(spawned?),
            Err(_) => Err(PoolError::InitTimeout { limit: self.init_timeout }),
        }
    }
}

/// A process that hands messages, requests and what is published to it to its
/// workers in turn: one whose mailbox is full is skipped, one that has ended is
/// replaced when its turn comes. If all are full a message or a publication is
/// dropped with a log line, and a request answered with the error `process
/// mailbox is full`, or `no worker process in the pool` if all were removed or have
/// ended and cannot be replaced.
///
/// What comes with [`Priority::High`](crate::Priority::High) or
/// [`Priority::Max`](crate::Priority::Max) is for the pool itself: the manager
/// `M`, an actor that lives in the pool's process, handles it. Workers end with
/// the pool.
///
/// ```
/// use postroad::pool::{Pool, PoolSpec};
/// # use postroad::{Actor, Answer, Context, ExitReason, Node, Reply};
/// # struct Squarer;
/// # impl Actor for Squarer {
/// #     type Args = ();
/// #     type Messages = ();
/// #     type Requests = (u64,);
/// #     async fn init(_: (), _: &mut Context) -> Result<Self, ExitReason> { Ok(Squarer) }
/// # }
/// # impl Answer<u64> for Squarer {
/// #     type Reply = u64;
/// #     async fn answer(&mut self, x: u64, _: &mut Context) -> Result<Reply<u64>, ExitReason> {
/// #         Ok(Reply::Now(x * x))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let node = Node::builder("doc-pool@localhost").network(postroad::NetworkMode::Disabled).start().await?;
/// let pool = node.spawn::<Pool>((PoolSpec::new::<Squarer>(()).size(5), ())).await?;
/// let square: u64 = node.call(pool, 12u64).await?;
/// assert_eq!(square, 144);
/// # node.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Pool<M: Actor = NoManager> {
    spec: PoolSpec,
    manager: M,
    /// Whose turn it is stands in front.
    workers: VecDeque<Pid>,
    info: PoolInfo,
}

/// What a pool hands to its workers.
enum Work {
    /// A message, or a request that waits for its answer.
    Message(Payload),
    Event(Published),
}

impl Work {
    /// Gives it to a worker, or back with the reason.
    fn give(self, worker: Pid, ctx: &mut Context) -> Result<(), Box<(Self, SendError)>> {
        match self {
            Self::Message(payload) => ctx.forward(worker, payload).map_err(|refused| {
                let Unforwarded { payload, error } = *refused;
                Box::new((Self::Message(payload), error))
            }),
            Self::Event(published) => ctx
                .forward_event(worker, published.clone())
                .map_err(|error| Box::new((Self::Event(published), error))),
        }
    }
}

/// What a pool has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolInfo {
    /// How many workers it has.
    pub size: usize,
    /// How many workers were replaced.
    pub restarts: u64,
    /// How many messages, requests and publications workers were given.
    pub forwarded: u64,
    /// How many no worker had room for.
    pub unhandled: u64,
}

/// The manager of a pool that has none: it handles nothing.
#[derive(Debug)]
pub struct NoManager;

impl Actor for NoManager {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl<M: Actor> Actor for Pool<M> {
    type Args = (PoolSpec, M::Args);
    type Messages = ();
    type Requests = ();

    async fn init((spec, args): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        M::Messages::register(ctx.node().registry());
        M::Requests::register(ctx.node().registry());
        let manager = M::init(args, ctx).await?;
        let size = spec.size;
        let mut pool = Self { spec, manager, workers: VecDeque::new(), info: PoolInfo::default() };
        match pool.add(size, ctx).await {
            Ok(()) => Ok(pool),
            Err(PoolError::Start(SpawnError::Init(reason))) => Err(reason),
            Err(error) => Err(error.into()),
        }
    }

    async fn handle_other(&mut self, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
        if ctx.is_urgent() {
            return M::Messages::handle(&mut self.manager, message, ctx).await;
        }
        if let Err((Work::Message(message), why)) = self.hand_on(Work::Message(message), ctx).await {
            tracing::error!(pool = %ctx.pid(), payload = message.label(), %why, "message dropped");
            discard(message);
        }
        Ok(())
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        ctx: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        let request = match request.downcast::<Local<Order>>() {
            Ok(Local(order)) => return Ok(Reply::Now(Payload::new(Local(self.obey(order, ctx).await)))),
            Err(request) => request,
        };
        if ctx.is_urgent() {
            return M::Requests::answer(&mut self.manager, request, ctx).await;
        }
        Ok(match self.hand_on(Work::Message(request), ctx).await {
            Ok(()) => Reply::Later,
            Err((refused, why)) => {
                discard(refused);
                Reply::Error(why)
            }
        })
    }

    async fn handle_exit(&mut self, exit: Exit, ctx: &mut Context) -> Result<(), ExitReason> {
        self.manager.handle_exit(exit, ctx).await
    }

    async fn handle_down(&mut self, down: Down, ctx: &mut Context) -> Result<(), ExitReason> {
        self.manager.handle_down(down, ctx).await
    }

    async fn handle_event(&mut self, published: Published, ctx: &mut Context) -> Result<(), ExitReason> {
        if ctx.is_urgent() {
            return self.manager.handle_event(published, ctx).await;
        }
        if let Err((Work::Event(published), why)) = self.hand_on(Work::Event(published), ctx).await {
            let event = published.event();
            tracing::error!(pool = %ctx.pid(), %event, %why, "publication dropped");
            discard(published);
        }
        Ok(())
    }

    async fn handle_event_start(&mut self, event: Atom, ctx: &mut Context) -> Result<(), ExitReason> {
        self.manager.handle_event_start(event, ctx).await
    }

    async fn handle_event_stop(&mut self, event: Atom, ctx: &mut Context) -> Result<(), ExitReason> {
        self.manager.handle_event_stop(event, ctx).await
    }

    fn inspect(&self, items: &mut Items) {
        items.add("pool_size", self.workers.len());
        items.add("worker_behavior", self.spec.recipe.actor());
        items.add("worker_mailbox_size", self.spec.mailbox_capacity.unwrap_or(0));
        items.add("worker_restarts", self.info.restarts);
        items.add("messages_forwarded", self.info.forwarded);
        items.add("messages_unhandled", self.info.unhandled);
        self.manager.inspect(items);
    }

    async fn terminated(&mut self, reason: &ExitReason, ctx: &mut Context) {
        self.manager.terminated(reason, ctx).await;
    }
}

impl<M: Actor> Pool<M> {
    async fn obey(&mut self, order: Order, ctx: &Context) -> Result<Response, PoolError> {
        match order {
            Order::Add(workers) => self.add(workers, ctx).await?,
            Order::Remove(_) if self.workers.is_empty() => return Err(PoolError::NoWorker),
            Order::Remove(workers) => {
                for _ in 0..workers {
                    let Some(worker) = self.workers.pop_front() else { break };
                    // One that has ended is gone all the same.
                    let _ = ctx.send_exit(worker, ExitReason::Normal).await;
                }
            }
            Order::Inspect => {}
        }
        Ok(PoolInfo { size: self.workers.len(), ..self.info })
    }

    async fn add(&mut self, workers: usize, ctx: &Context) -> Result<(), PoolError> {
        for _ in 0..workers {
            let worker = self.spec.spawn(ctx).await?;
            self.workers.push_back(worker);
        }
        Ok(())
    }

    /// Gives something to the next worker that has room. It comes back if there
    /// is none, with the reason: no worker is there at all, or those that are have
    /// full mailboxes.
    async fn hand_on(&mut self, mut work: Work, ctx: &mut Context) -> Result<(), (Work, ErrorValue)> {
        let mut some_are_full = false;
        for _ in 0..self.workers.len() {
            let Some(mut worker) = self.workers.pop_front() else { break };
            let mut given = work.give(worker, ctx);
            if let Err(refused) = given {
                given = if let SendError::MailboxFull = refused.1 {
                    some_are_full = true;
                    Err(refused)
                } else {
                    match self.spec.spawn(ctx).await {
                        Ok(fresh) => {
                            worker = fresh;
                            self.info.restarts += 1;
                            refused.0.give(worker, ctx)
                        }
                        Err(error) => {
                            tracing::error!(pool = %ctx.pid(), %error, "a worker that has ended is not replaced");
                            Err(refused)
                        }
                    }
                };
            }
            self.workers.push_back(worker);
            match given {
                Ok(()) => {
                    self.info.forwarded += 1;
                    return Ok(());
                }
                Err(refused) => work = refused.0,
            }
        }
        self.info.unhandled += 1;
        let why = match some_are_full {
            true => SendError::MailboxFull.to_string(),
            false => PoolError::NoWorker.to_string(),
        };
        Err((work, ErrorValue::new(why)))
    }
}
