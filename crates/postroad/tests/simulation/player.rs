//! A process of the simulation: it does what it is ordered to, and writes down
//! what happens to it.

use std::time::Duration;

use postroad::{
    Actor, Answer, CallError, Context, Down, Exit, ExitReason, Handle, Pid, RelationError, Reply, ReplyTo,
    SendError, Watched,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ledger::{Ledger, Who};

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

#[derive(Debug)]
pub enum Order {
    Watch(Watched, By),
    Unwatch(Watched, By),
    Send { to: Pid, who: Who, important: bool },
    Ask { to: Pid, question: u64, fate: Fate, limit: Duration },
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

pub struct Player {
    who: Who,
    ledger: Ledger,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Questions that are never answered.
    open: Vec<ReplyTo>,
}

pub struct Begin {
    pub who: Who,
    pub node: usize,
    pub traps: bool,
    pub ledger: Ledger,
    pub orders: mpsc::UnboundedReceiver<Order>,
}

impl Actor for Player {
    type Args = Begin;
    type Messages = (Wake, Note);
    type Requests = (Question,);

    async fn init(begin: Begin, ctx: &mut Context) -> Result<Self, ExitReason> {
        let Begin { who, node, traps, ledger, orders } = begin;
        ctx.set_trap_exit(traps);
        ledger.born(who, ctx.pid(), node);
        Ok(Self { who, ledger, orders, open: Vec::new() })
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
                let outcome = watch(ctx, target, by).await;
                ledger.watched(who, target, by, begun, &outcome);
            }
            Order::Unwatch(target, by) => {
                let outcome = unwatch(ctx, target, by).await;
                ledger.unwatched(who, target, by, &outcome);
            }
            Order::Send { to, who: receiver, important } => {
                let note = Note { from: who, number: ledger.next_note(who, receiver) };
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
                if to == ctx.pid() {
                    assert!(matches!(outcome, Err(CallError::Send(SendError::NotAllowed))));
                } else {
                    ledger.answered(who, question, fate, limit, begun, &outcome);
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

async fn watch(ctx: &Context, target: Watched, by: By) -> Result<(), RelationError> {
    match (target, by) {
        (Watched::Pid(pid), By::Link) => ctx.link(pid).await,
        (Watched::Pid(pid), By::Monitor) => ctx.monitor(pid).await,
        (Watched::Name(name), By::Link) => ctx.link(name).await,
        (Watched::Name(name), By::Monitor) => ctx.monitor(name).await,
        (Watched::Node(node), By::Link) => ctx.link_node(node.as_str()).await,
        (Watched::Node(node), By::Monitor) => ctx.monitor_node(node.as_str()).await,
        (other, _) => unreachable!("players do not watch {other:?}"),
    }
}

async fn unwatch(ctx: &Context, target: Watched, by: By) -> Result<(), RelationError> {
    match (target, by) {
        (Watched::Pid(pid), By::Link) => ctx.unlink(pid).await,
        (Watched::Pid(pid), By::Monitor) => ctx.demonitor(pid).await,
        (Watched::Name(name), By::Link) => ctx.unlink(name).await,
        (Watched::Name(name), By::Monitor) => ctx.demonitor(name).await,
        (Watched::Node(node), By::Link) => ctx.unlink_node(node.as_str()).await,
        (Watched::Node(node), By::Monitor) => ctx.demonitor_node(node.as_str()).await,
        (other, _) => unreachable!("players do not watch {other:?}"),
    }
}
