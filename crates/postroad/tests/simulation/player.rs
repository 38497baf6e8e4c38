//! A process of the simulation: it does what it is ordered to, and writes down
//! what happens to it.

use std::time::Duration;

use postroad::{
    Actor, Alias, Answer, Atom, CallError, Context, Down, Event, EventOptions, EventToken, Exit, ExitReason,
    Handle, Published, RelationError, Reply, ReplyTo, SendError, Target, Watched,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ledger::{Ledger, Who};
use crate::publications::{KEPT, Registration};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Link,
    Monitor,
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    AtOnce,
    Later,
    Never,
    Fatal,
}

impl Fate {
    pub const ALL: [Self; 4] = [Self::AtOnce, Self::Later, Self::Never, Self::Fatal];

    pub fn answers(self) -> bool {
        matches!(self, Self::AtOnce | Self::Later)
    }
}

#[derive(Debug, Clone)]
pub enum Order {
    Watch(Watched, By),
    Unwatch(Watched, By),
    Send {
        to: Target,
        who: Who,
        important: bool,
    },
    Ask {
        to: Target,
        question: u64,
        fate: Fate,
        limit: Duration,
    },
    /// Publishes its event, which it registers if it has none.
    Publish,
    Withdraw,
    MakeAlias,
    ReleaseAlias,
    Report,
    End(ExitReason),
    Panic,
}

/// There is an order.
#[derive(Debug, postroad::Message)]
#[message(name = "#postroad/simulation/Wake")]
pub struct Wake;

#[derive(Debug, postroad::Message)]
#[message(name = "#postroad/simulation/Note")]
pub struct Note {
    from: u32,
    number: u64,
}

#[derive(Debug, postroad::Message)]
#[message(name = "#postroad/simulation/Question")]
pub struct Question {
    number: u64,
    fate: u8,
}

/// What is published.
#[derive(Debug, postroad::Message)]
#[message(name = "#postroad/simulation/Issue")]
pub struct Issue {
    registration: Registration,
    number: u64,
}

pub struct Player {
    who: Who,
    ledger: Ledger,
    event: String,
    registered: Option<(EventToken, Registration)>,
    aliases: Vec<Alias>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Questions that are never answered.
    open: Vec<ReplyTo>,
}

pub struct Begin {
    pub who: Who,
    pub node: usize,
    /// The name of its event.
    pub event: String,
    pub traps: bool,
    pub ledger: Ledger,
    pub orders: mpsc::UnboundedReceiver<Order>,
}

impl Actor for Player {
    type Args = Begin;
    type Messages = (Wake, Note);
    type Requests = (Question,);

    async fn init(begin: Begin, ctx: &mut Context) -> Result<Self, ExitReason> {
        let Begin { who, node, event, traps, ledger, orders } = begin;
        ctx.set_trap_exit(traps);
        ledger.born(who, ctx.pid(), node);
        Ok(Self { who, ledger, event, registered: None, aliases: Vec::new(), orders, open: Vec::new() })
    }

    async fn handle_exit(&mut self, exit: Exit, _: &mut Context) -> Result<(), ExitReason> {
        if !exit.requested {
            self.ledger.told(self.who, exit.subject, By::Link, &exit.reason);
        }
        Ok(())
    }

    async fn handle_down(&mut self, down: Down, _: &mut Context) -> Result<(), ExitReason> {
        self.ledger.told(self.who, down.subject, By::Monitor, &down.reason);
        Ok(())
    }

    async fn handle_event(&mut self, published: Published, _: &mut Context) -> Result<(), ExitReason> {
        match issue(&published) {
            Some(issue) => self.ledger.issue_came(self.who, published.event(), issue),
            None => self.ledger.fault(format!("{} gets {published:?}", self.who)),
        }
        Ok(())
    }

    async fn handle_event_start(&mut self, _: Atom, _: &mut Context) -> Result<(), ExitReason> {
        self.wanted(true);
        Ok(())
    }

    async fn handle_event_stop(&mut self, _: Atom, _: &mut Context) -> Result<(), ExitReason> {
        self.wanted(false);
        Ok(())
    }

    async fn terminated(&mut self, reason: &ExitReason, _: &mut Context) {
        self.ledger.may_end(self.who, reason.clone());
    }
}

impl Handle<Wake> for Player {
    async fn handle(&mut self, _: Wake, ctx: &mut Context) -> Result<(), ExitReason> {
        let Ok(order) = self.orders.try_recv() else { return Ok(()) };
        let (begun, what) = (Instant::now(), format!("{order:?}"));
        let outcome = self.follow(order, ctx).await;
        self.ledger.finished(self.who, &what, begun);
        outcome
    }
}

impl Player {
    async fn follow(&mut self, order: Order, ctx: &mut Context) -> Result<(), ExitReason> {
        let Self { who, ledger, .. } = self;
        let (who, begun) = (*who, Instant::now());
        match order {
            Order::Watch(target, by) => {
                if let Watched::Event(event) = target {
                    ledger.subscribes(who, event);
                }
                let outcome = watch(ctx, target, by).await;
                ledger.watched(who, target, by, begun, &outcome);
                match (target, outcome) {
                    (Watched::Event(event), Ok(kept)) => {
                        ledger.subscribed(who, event, &kept.iter().filter_map(issue).collect::<Vec<_>>());
                    }
                    // It has the relation that it asked for.
                    (Watched::Event(_), Err(RelationError::Exists)) => {}
                    (Watched::Event(event), Err(_)) => ledger.not_subscribed(who, event),
                    _ => {}
                }
            }
            Order::Unwatch(target, by) => {
                let outcome = unwatch(ctx, target, by).await;
                ledger.unwatched(who, target, by, &outcome);
            }
            Order::Send { to, who: receiver, important } => {
                let note = Note { from: who, number: ledger.next_note(who, receiver, to) };
                let number = note.number;
                let outcome = match important {
                    true => ctx.send_important(to, note).await,
                    false => ctx.send(to, note).await,
                };
                ledger.sent(who, number, important, &outcome);
            }
            Order::Ask { to, question, fate, limit } => {
                let asked = Question { number: question, fate: fate as u8 };
                let outcome: Result<u64, CallError> = ctx.call_with_timeout(to, asked, limit).await;
                if to == Target::Pid(ctx.pid()) {
                    assert!(matches!(outcome, Err(CallError::Send(SendError::NotAllowed))));
                } else {
                    ledger.answered(who, question, fate, limit, begun, &outcome);
                }
            }
            Order::Publish => self.publish(ctx).await,
            Order::Withdraw => {
                if let Some((_, registration)) = self.registered.take() {
                    ctx.unregister_event(&self.event).unwrap();
                    ledger.withdrawn(who, registration);
                }
            }
            Order::MakeAlias => {
                let alias = ctx.create_alias();
                self.aliases.push(alias);
                ledger.alias_made(who, alias);
            }
            Order::ReleaseAlias => {
                if let Some(alias) = self.aliases.pop() {
                    ctx.delete_alias(alias).unwrap();
                    ledger.alias_released(who, alias);
                }
            }
            Order::Report => ledger.reported(who, ctx.links(), ctx.monitors()),
            Order::End(reason) => return Err(reason),
            Order::Panic => {
                ledger.may_end(who, ExitReason::Panic);
                std::panic::panic_any("the simulation wants it");
            }
        }
        Ok(())
    }

    async fn publish(&mut self, ctx: &Context) {
        let (token, registration) = match self.registered {
            Some(registered) => registered,
            None => {
                // Of those that keep nothing, a node has one subscription for all.
                let kept = if self.who.is_multiple_of(2) { 0 } else { KEPT };
                let options = EventOptions::new().buffer(kept).notify();
                // Whoever sat here before may still be clearing its place.
                let Ok(token) = ctx.register_event(&self.event, options) else { return };
                let event = Event { name: Atom::new(&self.event).unwrap(), node: ctx.pid().node };
                *self.registered.insert((token, self.ledger.registered(self.who, event)))
            }
        };
        let number = self.ledger.publishes(self.who, registration);
        if let Err(error) = ctx.publish(&self.event, &token, Issue { registration, number }).await {
            self.ledger.fault(format!("{} cannot publish {number}: {error}", self.who));
        }
    }

    fn wanted(&self, wanted: bool) {
        match &self.registered {
            Some((_, registration)) => self.ledger.wanted(self.who, *registration, wanted),
            None => self.ledger.fault(format!("{} is told that nothing is wanted: {wanted}", self.who)),
        }
    }
}

fn issue(published: &Published) -> Option<(Registration, u64)> {
    published.downcast_ref::<Issue>().map(|issue| (issue.registration, issue.number))
}

impl Handle<Note> for Player {
    async fn handle(&mut self, note: Note, _: &mut Context) -> Result<(), ExitReason> {
        self.ledger.received(self.who, note.from, note.number);
        Ok(())
    }
}

impl Answer<Question> for Player {
    type Reply = u64;

    async fn answer(&mut self, question: Question, ctx: &mut Context) -> Result<Reply<u64>, ExitReason> {
        let Question { number, fate } = question;
        self.ledger.handled(self.who, number);
        match Fate::ALL[usize::from(fate)] {
            Fate::AtOnce => return Ok(Reply::Now(number)),
            Fate::Later => {
                let reply = ctx.reply_to().unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    reply.answer(number).await
                });
            }
            Fate::Never => self.open.extend(ctx.reply_to()),
            Fate::Fatal => return Err(ExitReason::error("asked to")),
        }
        Ok(Reply::Later)
    }
}

/// What was published last, if it is an event.
async fn watch(ctx: &Context, target: Watched, by: By) -> Result<Vec<Published>, RelationError> {
    let watching = match (target, by) {
        (Watched::Pid(pid), By::Link) => ctx.link(pid).await,
        (Watched::Pid(pid), By::Monitor) => ctx.monitor(pid).await,
        (Watched::Name(name), By::Link) => ctx.link(name).await,
        (Watched::Name(name), By::Monitor) => ctx.monitor(name).await,
        (Watched::Alias(alias), By::Link) => ctx.link(alias).await,
        (Watched::Alias(alias), By::Monitor) => ctx.monitor(alias).await,
        (Watched::Event(event), By::Link) => return ctx.link_event(event).await,
        (Watched::Event(event), By::Monitor) => return ctx.monitor_event(event).await,
        (Watched::Node(node), By::Link) => ctx.link_node(node.as_str()).await,
        (Watched::Node(node), By::Monitor) => ctx.monitor_node(node.as_str()).await,
    };
    watching.map(|()| Vec::new())
}

async fn unwatch(ctx: &Context, target: Watched, by: By) -> Result<(), RelationError> {
    match (target, by) {
        (Watched::Pid(pid), By::Link) => ctx.unlink(pid).await,
        (Watched::Pid(pid), By::Monitor) => ctx.demonitor(pid).await,
        (Watched::Name(name), By::Link) => ctx.unlink(name).await,
        (Watched::Name(name), By::Monitor) => ctx.demonitor(name).await,
        (Watched::Alias(alias), By::Link) => ctx.unlink(alias).await,
        (Watched::Alias(alias), By::Monitor) => ctx.demonitor(alias).await,
        (Watched::Event(event), By::Link) => ctx.unlink_event(event).await,
        (Watched::Event(event), By::Monitor) => ctx.demonitor_event(event).await,
        (Watched::Node(node), By::Link) => ctx.unlink_node(node.as_str()).await,
        (Watched::Node(node), By::Monitor) => ctx.demonitor_node(node.as_str()).await,
    }
}
