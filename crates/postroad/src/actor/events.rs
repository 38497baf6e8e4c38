//! What a process publishes, and what it subscribes to.

use postroad_edf::Message;

use super::Context;
use crate::error::{EventError, PublishError, RelationError};
use crate::event::{EventOptions, EventToken, Published, ToEvent};
use crate::node::router;
use crate::process::Relation;
use crate::{Atom, Event};

/// An event is published by one process and reaches all that subscribe to it,
/// on whatever node: each other node gets one copy, whatever the number of
/// subscribers there. Who subscribes is linked to the event or monitors it, and
/// so is also told of its end.
///
/// ```
/// use postroad::{Actor, Context, EventOptions, EventToken, ExitReason, Handle, Node, Published};
///
/// struct Exchange(EventToken);
///
/// impl Actor for Exchange {
///     type Args = ();
///     type Messages = (f64,);
///     type Requests = ();
///
///     async fn init((): (), ctx: &mut Context) -> Result<Self, ExitReason> {
///         Ok(Exchange(ctx.register_event("price", EventOptions::new().buffer(1))?))
///     }
/// }
///
/// impl Handle<f64> for Exchange {
///     async fn handle(&mut self, price: f64, ctx: &mut Context) -> Result<(), ExitReason> {
///         Ok(ctx.publish("price", &self.0, price).await?)
///     }
/// }
///
/// struct Trader(tokio::sync::mpsc::UnboundedSender<f64>);
///
/// impl Actor for Trader {
///     type Args = tokio::sync::mpsc::UnboundedSender<f64>;
///     type Messages = ();
///     type Requests = ();
///
///     async fn init(prices: Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
///         // What was published last is there at once. A name and a node, such as
///         // `("price", "exchange@host")`, would do as well.
///         for published in ctx.link_event("price").await? {
///             let _ = prices.send(*published.downcast_ref().unwrap_or(&f64::NAN));
///         }
///         Ok(Trader(prices))
///     }
///
///     async fn handle_event(&mut self, published: Published, _: &mut Context) -> Result<(), ExitReason> {
///         if let Some(price) = published.downcast_ref::<f64>() {
///             let _ = self.0.send(*price);
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder("doc-events@localhost").network(postroad::NetworkMode::Disabled).start().await?;
/// let exchange = node.spawn::<Exchange>(()).await?;
/// let (sender, mut prices) = tokio::sync::mpsc::unbounded_channel();
/// node.spawn::<Trader>(sender).await?;
/// node.send(exchange, 99.5).await?;
/// assert_eq!(prices.recv().await, Some(99.5));
/// # node.stop().await;
/// # Ok(())
/// # }
/// ```
impl Context {
    /// Registers an event of this process, by a name that no other event of the
    /// node has. It ends with the process, or when it is
    /// [unregistered](Self::unregister_event).
    ///
    /// Whoever has the token may publish it on this node.
    pub fn register_event(&self, name: &str, options: EventOptions) -> Result<EventToken, EventError> {
        let process = self.process();
        let name = crate::node::process_name(name)?;
        process.node.events.register(&process.node, Some(process), name, options)
    }

    /// Takes an event of this process back: its subscribers are told that it has
    /// ended ([`ExitReason::Unregistered`](crate::ExitReason::Unregistered)).
    pub fn unregister_event(&self, name: &str) -> Result<(), EventError> {
        let process = self.process();
        let name = Atom::existing(name).ok_or(EventError::Unknown)?;
        crate::process::unregister_event(&process.node, Some(process), name)
    }

    /// The events that this process has registered.
    pub fn events(&self) -> Vec<Atom> {
        self.process().events()
    }

    /// Publishes a message to everybody who subscribes to an event of this node,
    /// as urgent as this process [says](Self::set_priority).
    ///
    /// A subscriber whose mailbox is full misses it, and nobody else does. So
    /// does a node that has not read what was sent to it before: a publisher
    /// waits a moment (50 ms) for nodes that lag behind, but not again before
    /// they have caught up. What was missed is counted
    /// ([`Node::event_info`](crate::Node::event_info)).
    ///
    /// What one process publishes arrives in that order at each subscriber.
    ///
    /// Cancellation: it is published by the first poll; a dropped future only
    /// does not wait.
    pub async fn publish<M: Message>(
        &self,
        name: &str,
        token: &EventToken,
        message: M,
    ) -> Result<(), PublishError> {
        router::publish(&self.process().node, self.from(), name, token, message).await
    }

    /// Subscribes to an event and links this process to it. What is published
    /// from now on comes to [`Actor::handle_event`](crate::Actor::handle_event);
    /// what was published last, as far as its producer keeps it, is returned,
    /// oldest first. Otherwise like [`link`](Self::link).
    ///
    /// If others on this node subscribe to the same event of another node
    /// already, something that is published meanwhile may come both ways.
    pub async fn link_event(&self, event: impl ToEvent) -> Result<Vec<Published>, RelationError> {
        self.subscribe(event.to_event()?, Relation::Link).await
    }

    /// Subscribes to an event and monitors it; see
    /// [`link_event`](Self::link_event). Who is linked to an event and monitors
    /// it gets everything twice.
    pub async fn monitor_event(&self, event: impl ToEvent) -> Result<Vec<Published>, RelationError> {
        self.subscribe(event.to_event()?, Relation::Monitor).await
    }

    /// Ends the subscription of a link; see [`unlink`](Self::unlink). What was
    /// published before may still come.
    pub async fn unlink_event(&self, event: impl ToEvent) -> Result<(), RelationError> {
        self.unsubscribe(event.to_event()?, Relation::Link).await
    }

    /// Ends the subscription of a monitor; see
    /// [`unlink_event`](Self::unlink_event).
    pub async fn demonitor_event(&self, event: impl ToEvent) -> Result<(), RelationError> {
        self.unsubscribe(event.to_event()?, Relation::Monitor).await
    }

    async fn subscribe(&self, event: Event, relation: Relation) -> Result<Vec<Published>, RelationError> {
        router::subscribe(self.process(), event, relation).await
    }

    async fn unsubscribe(&self, event: Event, relation: Relation) -> Result<(), RelationError> {
        router::unwatch(self.process(), super::Watched::Event(event), relation).await
    }
}
