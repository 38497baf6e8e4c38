//! The processes of the demo, and the count of what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postroad::{Actor, Answer, Atom, Context, ExitReason, Handle, Message, Node, Reply};
use tokio::sync::watch;

/// What a customer asks for. Every order of a demo has another number.
#[derive(Debug, Message)]
#[message(name = "#postroad/demo/Order")]
pub(super) struct Order {
    number: u64,
}

/// What a customer gets for it.
#[derive(Debug, Message)]
#[message(name = "#postroad/demo/Receipt")]
pub(super) struct Receipt {
    order: u64,
}

/// Asks a shop which orders it has had, as a `Vec<u64>` with repetitions.
#[derive(Debug, Message)]
#[message(name = "#postroad/demo/Inventory")]
pub(super) struct Inventory;

/// Answers orders, and remembers them.
pub(super) struct Shop {
    orders: Vec<u64>,
}

impl Actor for Shop {
    type Args = ();
    type Messages = ();
    type Requests = (Order, Inventory);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { orders: Vec::new() })
    }
}

impl Answer<Order> for Shop {
    type Reply = Receipt;

    async fn answer(&mut self, order: Order, _: &mut Context) -> Result<Reply<Receipt>, ExitReason> {
        self.orders.push(order.number);
        Ok(Reply::Now(Receipt { order: order.number }))
    }
}

impl Answer<Inventory> for Shop {
    type Reply = Vec<u64>;

    async fn answer(&mut self, _: Inventory, _: &mut Context) -> Result<Reply<Vec<u64>>, ExitReason> {
        Ok(Reply::Now(self.orders.clone()))
    }
}

/// Orders one thing after the other from a shop, until told to stop.
struct Customer {
    shop: Atom,
    ledger: Arc<Ledger>,
}

/// A customer tells itself to go on.
#[derive(Debug, Message)]
#[message(name = "#postroad/demo/Next")]
struct Next;

impl Actor for Customer {
    type Args = (Atom, Arc<Ledger>);
    type Messages = (Next,);
    type Requests = ();

    async fn init((shop, ledger): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.send(ctx.pid(), Next).await?;
        Ok(Self { shop, ledger })
    }
}

impl Handle<Next> for Customer {
    async fn handle(&mut self, _: Next, ctx: &mut Context) -> Result<(), ExitReason> {
        let Some(number) = self.ledger.sent() else { return Err(ExitReason::Normal) };
        match ctx.call::<Receipt>(("shop", self.shop), Order { number }).await {
            Ok(receipt) => self.ledger.answered(number, receipt.order),
            Err(error) => self.ledger.lost(number, error.to_string()),
        }
        Ok(ctx.send(ctx.pid(), Next).await?)
    }
}

/// Lets `count` customers of this node order from the shop of another.
pub(super) async fn start(node: &Node, shop: Atom, count: usize) -> anyhow::Result<Arc<Ledger>> {
    let ledger = Arc::new(Ledger::default());
    for _ in 0..count {
        node.spawn::<Customer>((shop, ledger.clone())).await?;
    }
    Ok(ledger)
}

/// What became of every order.
#[derive(Default)]
pub(super) struct Ledger(watch::Sender<Entries>);

#[derive(Debug, Default, Clone)]
pub(super) struct Entries {
    /// The last number given out; numbers begin at 1.
    pub(super) sent: u64,
    pub(super) answered: BTreeSet<u64>,
    /// Orders that ended with an error, by number.
    pub(super) lost: BTreeMap<u64, String>,
    /// Receipts for another order than the one at hand.
    pub(super) wrong: u64,
    closed: bool,
}

impl Ledger {
    /// The number of the next order, unless the ledger is closed.
    fn sent(&self) -> Option<u64> {
        let mut number = None;
        self.0.send_if_modified(|entries| {
            if !entries.closed {
                entries.sent += 1;
                number = Some(entries.sent);
            }
            false
        });
        number
    }

    fn answered(&self, number: u64, receipt: u64) {
        self.0.send_modify(|entries| {
            entries.wrong += u64::from(number != receipt);
            entries.answered.insert(number);
        });
    }

    fn lost(&self, number: u64, why: String) {
        self.0.send_modify(|entries| drop(entries.lost.insert(number, why)));
    }

    /// How many orders have been answered.
    pub(super) fn answers(&self) -> usize {
        self.0.borrow().answered.len()
    }

    /// Waits until so many orders have been answered.
    pub(super) async fn answers_reach(&self, count: usize) {
        // The sender is `self`, so it does not end.
        let _ = self.0.subscribe().wait_for(|entries| entries.answered.len() >= count).await;
    }

    /// Lets no further order begin, waits for those under way, and gives the result.
    pub(super) async fn close(&self) -> Entries {
        self.0.send_modify(|entries| entries.closed = true);
        let mut entries = self.0.subscribe();
        let all_ended =
            |entries: &Entries| entries.answered.len() + entries.lost.len() >= entries.sent as usize;
        let _ = entries.wait_for(all_ended).await;
        self.0.borrow().clone()
    }
}
