//! Publishing: to subscribers of one node, and to a million on ten nodes.
//!
//! mimalloc, as in the program that postroad ships. A publication is done when
//! every subscriber has handled it. `EVENTS_SUBSCRIBERS` sets how many there
//! are on the ten nodes together.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postroad::network::{AcceptorOptions, NetworkRoute, exact};
use postroad::{Actor, Context, Event, EventOptions, EventToken, ExitReason, Node, Published};
use tokio::sync::Notify;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAME: &str = "bench";
const NODES: usize = 10;

/// No case takes much longer than this, its preparation not counted.
const LIMIT: Duration = Duration::from_secs(5);

/// Counts what all subscribers have handled.
#[derive(Default)]
struct Tally {
    left: AtomicU64,
    done: Notify,
}

impl Tally {
    fn expect(&self, count: u64) {
        self.left.store(count, Ordering::Relaxed);
    }

    fn count(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

struct Subscriber(Arc<Tally>);

impl Actor for Subscriber {
    type Args = (Option<Event>, Arc<Tally>);
    type Messages = ();
    type Requests = ();

    async fn init((event, tally): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        if let Some(event) = event {
            ctx.monitor_event(event).await?;
        }
        Ok(Self(tally))
    }

    async fn handle_event(&mut self, _: Published, _: &mut Context) -> Result<(), ExitReason> {
        self.0.count();
        Ok(())
    }
}

async fn node(name: &str) -> Node {
    Node::builder(format!("{name}@127.0.0.1"))
        .cookie("bench")
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .without_registrar()
        .start()
        .await
        .expect("a node")
}

/// The memory of this program, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// Spawns processes on a node, with or without a subscription.
async fn spawn(node: &Node, count: usize, event: Option<Event>, tally: &Arc<Tally>) {
    const TASKS: usize = 64;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (node, tally) = (node.clone(), tally.clone());
        let share = count / TASKS + usize::from(task < count % TASKS);
        tasks.spawn(async move {
            for _ in 0..share {
                node.spawn::<Subscriber>((event, tally.clone())).await.expect("a subscriber");
            }
        });
    }
    tasks.join_all().await;
}

/// Publishes again and again until the time is up, and says how that went.
async fn measure(what: &str, producer: &Node, token: EventToken, subscribers: u64, tally: &Tally) {
    let (begun, mut rounds, mut publishing) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < LIMIT && rounds < 100_000 {
        tally.expect(subscribers);
        let called = Instant::now();
        producer.publish(NAME, &token, rounds).await.expect("published");
        publishing += called.elapsed();
        tally.done.notified().await;
        rounds += 1;
    }
    let each = begun.elapsed() / rounds;
    println!(
        "{what:<32} {:>10.1} µs until all have handled it, {:>10.1} µs in publish, {:>6.0} ns per subscriber",
        each.as_secs_f64() * 1e6,
        (publishing / rounds).as_secs_f64() * 1e6,
        each.as_secs_f64() * 1e9 / subscribers as f64,
    );
}

async fn local(subscribers: usize) {
    let node = node(&format!("bench-local-{subscribers}")).await;
    let token = node.register_event(NAME, EventOptions::new()).expect("a new event");
    let event = Event { name: postroad::Atom::new(NAME).expect("a name"), node: node.name() };
    let tally = Arc::new(Tally::default());
    let before = resident();
    spawn(&node, subscribers, None, &tally).await;
    let processes = resident();
    spawn(&node, subscribers, Some(event), &tally).await;
    let all = resident();
    measure(&format!("local, {subscribers}"), &node, token, subscribers as u64, &tally).await;
    if subscribers >= 100_000 {
        let (bare, subscribed) = ((processes - before) / subscribers, (all - processes) / subscribers);
        println!("    {bare} bytes per process, {} more per subscription", subscribed.saturating_sub(bare));
    }
    node.stop().await;
}

async fn across(subscribers: usize) {
    let producer = node("bench-producer").await;
    let token = producer.register_event(NAME, EventOptions::new()).expect("a new event");
    let event = Event { name: postroad::Atom::new(NAME).expect("a name"), node: producer.name() };
    let port = producer.network().acceptors()[0].address.port();
    let tally = Arc::new(Tally::default());
    let begun = Instant::now();
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let node = node(&format!("bench-subscribers-{number}")).await;
        let route = NetworkRoute::to("127.0.0.1", port);
        node.network().add_route(&exact(producer.name().as_str()), route, 1).expect("a route");
        spawn(&node, subscribers / NODES, Some(event), &tally).await;
        nodes.push(node);
    }
    println!("{subscribers} subscribed from {NODES} nodes in {:.1} s", begun.elapsed().as_secs_f64());
    let all = (subscribers / NODES * NODES) as u64;
    measure(&format!("{NODES} nodes, {all}"), &producer, token, all, &tally).await;
    let info = producer.event_info(NAME).expect("the event");
    println!("    {} frames for each publication, {} missed", info.nodes, info.missed);
    for node in nodes {
        node.stop().await;
    }
    producer.stop().await;
}

fn main() {
    // Cargo passes options of its own; as a test this runs nothing.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let subscribers = std::env::var("EVENTS_SUBSCRIBERS").ok().and_then(|count| count.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for subscribers in [1, 1_000, 100_000] {
            local(subscribers).await;
        }
        across(subscribers.unwrap_or(1_000_000)).await;
    });
}
