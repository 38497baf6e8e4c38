//! Events: one process publishes, all that care get it (`docs/wire/ENP.md` section 8).

mod fan_out;
mod publish;
mod subscribers;
mod table;
mod token;
mod topic;

use std::sync::Arc;

use postroad_edf::{AtomError, Message, Payload};

use crate::process::discard;
use crate::{Atom, Event, Pid};

pub(crate) use fan_out::FanOut;
pub(crate) use publish::publish;
pub(crate) use subscribers::{Snapshot, Subscribers};
pub(crate) use table::Events;
pub use token::EventToken;
pub(crate) use topic::Topic;

/// How an event is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventOptions {
    /// Tell the producer when somebody begins to subscribe, and when nobody
    /// does any more
    /// ([`Actor::handle_event_start`](crate::Actor::handle_event_start)). Means
    /// nothing for an event of the node itself.
    pub notify: bool,
    /// How many of the last publications are kept for who subscribes later.
    pub buffer: usize,
}

impl EventOptions {
    /// Nobody is told, nothing is kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the producer whether anybody subscribes.
    pub fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    /// Keeps so many of the last publications.
    pub fn buffer(mut self, publications: usize) -> Self {
        self.buffer = publications;
        self
    }
}

/// What can be subscribed to: an [`Event`], the name of one on this node
/// (`"prices"`), or a name on a node (`("prices", "node@host")`).
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is no event",
    label = "not the address of an event",
    note = "an event is an `Event`, a local name as `&str` or `Atom`, or a name on a node, \
            `(\"prices\", \"node@host\")`; of a `String` that is `.as_str()`"
)]
pub trait ToEvent: Send {
    /// The event. An error if a name is too long for an atom.
    fn to_event(self) -> Result<Event, AtomError>;
}

impl ToEvent for Event {
    fn to_event(self) -> Result<Event, AtomError> {
        Ok(self)
    }
}

impl ToEvent for Atom {
    fn to_event(self) -> Result<Event, AtomError> {
        Ok(Event { name: self, node: Atom::empty() })
    }
}

impl ToEvent for &str {
    fn to_event(self) -> Result<Event, AtomError> {
        Atom::new(self)?.to_event()
    }
}

impl ToEvent for (&str, &str) {
    fn to_event(self) -> Result<Event, AtomError> {
        (self.0, Atom::new(self.1)?).to_event()
    }
}

impl ToEvent for (&str, Atom) {
    fn to_event(self) -> Result<Event, AtomError> {
        Ok(Event { name: Atom::new(self.0)?, node: self.1 })
    }
}

/// Something that was published. All its subscribers share the message.
#[derive(Debug, Clone)]
pub struct Published {
    event: Event,
    from: Pid,
    timestamp: i64,
    message: Arc<Payload>,
}

impl Published {
    pub(crate) fn new(event: Event, from: Pid, timestamp: i64, message: Arc<Payload>) -> Self {
        Self { event, from, timestamp, message }
    }

    /// The event, with the node it was published on.
    pub fn event(&self) -> Event {
        self.event
    }

    /// When it was published, in Unix nanoseconds, by its node's clock.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// What was published.
    pub fn message(&self) -> &Payload {
        &self.message
    }

    /// What was published, if it is a `T`.
    pub fn downcast_ref<T: Message>(&self) -> Option<&T> {
        self.message.downcast_ref()
    }

    /// Who published it; of what was buffered on another node, that node.
    pub(crate) fn from(&self) -> Pid {
        self.from
    }

    /// What was published, to be kept beyond this.
    pub(crate) fn shared(&self) -> Arc<Payload> {
        self.message.clone()
    }
}

/// What a node knows of one of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventInfo {
    /// Its name.
    pub name: Atom,
    /// The process that registered it, or the node.
    pub producer: Pid,
    /// How many subscriptions processes of this node have.
    pub subscriptions: usize,
    /// How many other nodes have subscribers. How many each has, it alone knows:
    /// they may share one subscription here.
    pub nodes: usize,
    /// How much has been published.
    pub published: u64,
    /// How many times a subscriber here or a node of subscribers missed
    /// something, because its mailbox was full or its road congested.
    pub missed: u64,
}

/// What a lock let go of: users' messages are dropped outside of it.
#[must_use]
struct Evicted<T>(Option<T>);

impl<T> Drop for Evicted<T> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}
