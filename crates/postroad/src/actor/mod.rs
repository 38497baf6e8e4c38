//! What a user of postroad writes: actors and their handlers.

mod context;
mod events;
mod exit;
mod forward;
mod local;
mod notice;
mod recipe;
mod reply;
mod sets;
mod timer;
mod watching;

use std::future::Future;

use postroad_edf::{Message, Payload};

pub use context::Context;
pub use exit::ExitReason;
pub use forward::Unforwarded;
pub(crate) use local::Local;
pub use notice::{Down, Exit, Watched};
pub(crate) use recipe::{Arguments, Recipe};
pub(crate) use reply::Answered;
pub use reply::{Reply, ReplyTo};
pub(crate) use sets::register;
pub use sets::{Messages, Requests};
pub use timer::Timer;
pub(crate) use timer::{after, every};

use crate::Atom;
use crate::event::Published;
use crate::inspect::Items;
use crate::process::type_label;

/// A process: a state, and what it does with the messages it gets.
///
/// One message is handled at a time. Which messages and requests an actor
/// understands is part of its type: each type named in [`Messages`](Self::Messages)
/// needs a [`Handle`], each one in [`Requests`](Self::Requests) an [`Answer`];
/// everything else reaches [`handle_other`](Self::handle_other) and
/// [`answer_other`](Self::answer_other).
///
/// An idle actor costs its state and an empty mailbox: no task waits for it.
///
/// ```
/// use postroad::{Actor, Answer, Context, ExitReason, Handle, Node, Reply};
///
/// struct Counter(u64);
///
/// impl Actor for Counter {
///     type Args = u64;
///     type Messages = (u32,);
///     type Requests = (bool,);
///
///     async fn init(start: u64, _: &mut Context) -> Result<Self, ExitReason> {
///         Ok(Counter(start))
///     }
/// }
///
/// impl Handle<u32> for Counter {
///     async fn handle(&mut self, more: u32, _: &mut Context) -> Result<(), ExitReason> {
///         self.0 += u64::from(more);
///         Ok(())
///     }
/// }
///
/// impl Answer<bool> for Counter {
///     type Reply = u64;
///
///     async fn answer(&mut self, _: bool, _: &mut Context) -> Result<Reply<u64>, ExitReason> {
///         Ok(Reply::Now(self.0))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder("doc-counter@localhost").network(postroad::NetworkMode::Disabled).start().await?;
/// let counter = node.spawn::<Counter>(40).await?;
/// node.send(counter, 2u32).await?;
/// let total: u64 = node.call(counter, true).await?;
/// assert_eq!(total, 42);
/// # node.stop().await;
/// # Ok(())
/// # }
/// ```
pub trait Actor: Sized + Send + 'static {
    /// What [`init`](Self::init) is given.
    type Args: Send + 'static;
    /// The messages it handles, as a tuple: `(Tick, Stop)`, `(Tick,)` or `()`.
    type Messages: Messages<Self>;
    /// The requests it answers, as a tuple.
    type Requests: Requests<Self>;

    /// Makes the state of a new process. Whoever spawns waits for it; an error
    /// is what `spawn` returns, and the process never existed.
    ///
    /// Messages to the name or pid of the new process queue up meanwhile.
    fn init(args: Self::Args, ctx: &mut Context) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Gets the messages of a type that is not among [`Messages`](Self::Messages):
    /// other Rust types, dynamic [`Value`](crate::edf::Value)s and
    /// [`Opaque`](crate::edf::Opaque) ones of a type nobody here knows.
    /// Logs a warning unless overridden.
    fn handle_other(
        &mut self,
        message: Payload,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        tracing::warn!(pid = %ctx.pid(), from = %ctx.sender(), actor = type_label::<Self>(), payload = message.label(), "unhandled message");
        async { Ok(()) }
    }

    /// Gets the requests of a type that is not among [`Requests`](Self::Requests).
    /// Unless overridden logs a warning and answers with the error `not supported`.
    fn answer_other(
        &mut self,
        request: Payload,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<Reply<Payload>, ExitReason>> + Send {
        tracing::warn!(pid = %ctx.pid(), from = %ctx.sender(), actor = type_label::<Self>(), payload = request.label(), "unhandled request");
        async { Ok(Reply::Error(postroad_edf::ErrorValue::new("not supported"))) }
    }

    /// Gets exit signals while the process [traps](Context::set_trap_exit) them;
    /// otherwise they end it with their reason. Signals of the parent always do.
    /// Logs a warning unless overridden.
    fn handle_exit(
        &mut self,
        exit: Exit,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        tracing::warn!(pid = %ctx.pid(), subject = %exit.subject, reason = %exit.reason, actor = type_label::<Self>(), "unhandled exit");
        async { Ok(()) }
    }

    /// Is told of the end of what the process [monitors](Context::monitor).
    /// Logs a warning unless overridden.
    fn handle_down(
        &mut self,
        down: Down,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        tracing::warn!(pid = %ctx.pid(), subject = %down.subject, reason = %down.reason, actor = type_label::<Self>(), "unhandled down");
        async { Ok(()) }
    }

    /// Gets what is published as an event that the process is
    /// [linked](Context::link_event) to or [monitors](Context::monitor_event);
    /// [`Context::sender`] tells who published it. Logs a warning unless
    /// overridden.
    fn handle_event(
        &mut self,
        published: Published,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        tracing::warn!(pid = %ctx.pid(), event = %published.event(), payload = published.message().label(), actor = type_label::<Self>(), "unhandled event");
        async { Ok(()) }
    }

    /// Is told that somebody subscribes to an event of this process now, if it
    /// was registered with [`notify`](crate::EventOptions::notify). What came and went
    /// before it could be told is not told.
    fn handle_event_start(
        &mut self,
        event: Atom,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        let _ = (event, ctx);
        async { Ok(()) }
    }

    /// Is told that nobody subscribes to the event any more, for whatever
    /// reason; see [`handle_event_start`](Self::handle_event_start).
    fn handle_event_stop(
        &mut self,
        event: Atom,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send {
        let _ = (event, ctx);
        async { Ok(()) }
    }

    /// Says what the actor wants to be seen of its state, by
    /// [`Node::inspect`](crate::Node::inspect) and, where the node has an
    /// [`Inspector`](crate::inspect::Inspector), by whoever may connect with the
    /// node: no secrets. Nothing unless overridden.
    ///
    /// Runs between two handlers, before anything that waits.
    ///
    /// ```
    /// # use postroad::{Actor, Context, ExitReason};
    /// # struct Cache { hits: u64, entries: Vec<u8> }
    /// # impl Actor for Cache {
    /// #     type Args = ();
    /// #     type Messages = ();
    /// #     type Requests = ();
    /// #     async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
    /// #         Ok(Cache { hits: 0, entries: Vec::new() })
    /// #     }
    /// fn inspect(&self, items: &mut postroad::inspect::Items) {
    ///     items.add("hits", self.hits);
    ///     items.add("entries", self.entries.len());
    /// }
    /// # }
    /// ```
    fn inspect(&self, items: &mut Items) {
        let _ = items;
    }

    /// The last thing that runs, with the reason of the end. Not called after a
    /// kill, a panic or a failed [`init`](Self::init). The process has no name
    /// and no alias by then, and gets none: it can still send, but be reached
    /// only by a kill, which drops this at its next await point.
    fn terminated(&mut self, reason: &ExitReason, ctx: &mut Context) -> impl Future<Output = ()> + Send {
        let _ = (reason, ctx);
        async {}
    }
}

/// How an actor handles messages of type `M`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle messages of type `{M}`",
    label = "no handler for `{M}`",
    note = "add `impl Handle<{M}> for {Self}`, or take it out of `Messages`"
)]
pub trait Handle<M: Message>: Actor {
    /// Handles one message; [`Context::sender`] tells whose. An error ends the
    /// process with that reason.
    ///
    /// Dropped at an await point if the process is killed meanwhile.
    fn handle(
        &mut self,
        message: M,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), ExitReason>> + Send;
}

/// How an actor answers requests of type `R`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not answer requests of type `{R}`",
    label = "no answer to `{R}`",
    note = "add `impl Answer<{R}> for {Self}`, or take it out of `Requests`"
)]
pub trait Answer<R: Message>: Actor {
    /// What the answer is made of.
    type Reply: Message;

    /// Answers one request: now, later ([`Context::reply_to`]), or with an
    /// error. An `Err` ends the process, and the caller is told so.
    fn answer(
        &mut self,
        request: R,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<Reply<Self::Reply>, ExitReason>> + Send;
}
