//! What processes cost, and what it costs them to care about each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use postroad::network::{NetworkRoute, exact};
use postroad::{
    Actor, Answer, Atom, Context, Event, EventOptions, ExitReason, Node, Pid, Published, Reply, SpawnOptions,
};
use tokio::sync::Notify;

use crate::{Failure, Job, PATIENCE, chosen, lines};

/// So many processes are there when memory is measured.
const CROWD: u64 = 100_000;
const SPAWNED: u64 = 50_000;
const WATCHED_HERE: u64 = 100_000;
const WATCHED_THERE: u64 = 5_000;
const IMPORTANT: u64 = 10_000;
const NODES: u64 = 10;
const PUBLICATIONS: u64 = 10;

/// What processes cost in memory. To come first, while the allocator has
/// nothing to reuse.
pub(crate) async fn measure_memory(here: &Node, only: &str) -> Result<(), Failure> {
    if !chosen("memory", only) {
        return Ok(());
    }
    let hub = here.spawn::<Member>((Tie::None, None)).await?;
    here.register_event("memory", EventOptions::new())?;
    let event = Event { name: Atom::new("memory")?, node: here.name() };
    let mut bare = 0;
    for (bench, tie) in [
        ("memory/process", Tie::None),
        ("memory/link", Tie::Link(hub)),
        ("memory/monitor", Tie::Monitor(hub)),
        ("memory/subscription", Tie::Subscription(event)),
    ] {
        let before = lines::resident()?;
        for _ in 0..CROWD {
            here.spawn::<Member>((tie, None)).await?;
        }
        let each = (lines::resident()? - before) / CROWD;
        // The others are compared with a process that has no ties.
        lines::memory(bench, CROWD, each.saturating_sub(bare));
        if let Tie::None = tie {
            bare = each;
        }
    }
    Ok(here.unregister_event("memory")?)
}

/// `there` is a process of the other node that takes numbers.
pub(crate) async fn measure(here: &Node, there: Pid, runs: usize, only: &str) -> Result<(), Failure> {
    if "spawn".contains(only) {
        let mut rates = Vec::new();
        for _ in 0..runs {
            rates.push(spawn(here).await?);
        }
        lines::rates("spawn", rates, 0);
    }
    here.spawn_with::<Watcher>((), SpawnOptions::new().name("watcher")).await?;
    let hub = here.spawn::<Member>((Tie::None, None)).await?;
    for (bench, pid, count) in
        [("monitor_demonitor/local", hub, WATCHED_HERE), ("monitor_demonitor/remote", there, WATCHED_THERE)]
    {
        if bench.contains(only) {
            let mut rates = Vec::new();
            for _ in 0..runs {
                let begun = Instant::now();
                here.call_with_timeout::<bool>("watcher", Job { pid, count }, PATIENCE).await?;
                rates.push(count as f64 / begun.elapsed().as_secs_f64());
            }
            lines::rates(bench, rates, 0);
        }
    }
    if "remote_send_important".contains(only) {
        let mut took = Vec::new();
        for _ in 0..IMPORTANT {
            let begun = Instant::now();
            here.send_important(there, 42isize).await?;
            took.push(begun.elapsed().as_nanos() as u64);
        }
        lines::calls("remote_send_important", took);
    }
    if chosen("publish", only) {
        let publisher = crate::node("publisher@127.0.0.1").await?;
        publish("publish/local", &publisher, std::slice::from_ref(&publisher)).await?;
        let port = publisher.network().acceptors()[0].address.port();
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let node = crate::node(&format!("subscribers-{number}@127.0.0.1")).await?;
            let route = NetworkRoute::to("127.0.0.1", port);
            node.network().add_route(&exact(publisher.name().as_str()), route, 1)?;
            nodes.push(node);
        }
        publish("publish/10_nodes", &publisher, &nodes).await?;
        for node in nodes.into_iter().chain([publisher]) {
            node.stop().await;
        }
    }
    Ok(())
}

/// How many processes can be spawned in a second, one after the other, each
/// when the last one has started.
async fn spawn(here: &Node) -> Result<f64, Failure> {
    let mut pids = Vec::new();
    let begun = Instant::now();
    for _ in 0..SPAWNED {
        pids.push(here.spawn::<Member>((Tie::None, None)).await?);
    }
    let rate = SPAWNED as f64 / begun.elapsed().as_secs_f64();
    for pid in pids {
        here.kill(pid);
        here.ended(pid).await;
    }
    Ok(rate)
}

/// How many subscribers get a publication in a second, when it is published
/// once all have handled the last one.
async fn publish(bench: &str, publisher: &Node, nodes: &[Node]) -> Result<(), Failure> {
    let name = Atom::new(bench)?;
    let token = publisher.register_event(bench, EventOptions::new())?;
    let event = Event { name, node: publisher.name() };
    let tally = Arc::new(Tally::default());
    let subscribers = subscribers();
    let begun = Instant::now();
    for node in nodes {
        for _ in 0..subscribers / nodes.len() as u64 {
            node.spawn::<Member>((Tie::Subscription(event), Some(tally.clone()))).await?;
        }
    }
    lines::rates(&format!("{bench}/subscribe"), vec![subscribers as f64 / begun.elapsed().as_secs_f64()], 0);
    let mut rates = Vec::new();
    for number in 0..PUBLICATIONS {
        tally.left.store(subscribers, Ordering::Relaxed);
        let begun = Instant::now();
        publisher.publish(bench, &token, number).await?;
        tokio::time::timeout(PATIENCE, tally.done.notified()).await?;
        rates.push(subscribers as f64 / begun.elapsed().as_secs_f64());
    }
    lines::rates(bench, rates, 0);
    Ok(())
}

/// How many subscribers there are of an event: as `side-by-side` says.
fn subscribers() -> u64 {
    let said = std::env::var("BENCH_SUBSCRIBERS").ok().and_then(|number| number.parse().ok());
    said.unwrap_or(100_000)
}

/// Counts what all subscribers have handled.
#[derive(Default)]
struct Tally {
    left: AtomicU64,
    done: Notify,
}

/// What a process cares about.
#[derive(Clone, Copy)]
enum Tie {
    None,
    Link(Pid),
    Monitor(Pid),
    Subscription(Event),
}

/// Does nothing, but for counting what it has subscribed to.
struct Member(Option<Arc<Tally>>);

impl Actor for Member {
    type Args = (Tie, Option<Arc<Tally>>);
    type Messages = ();
    type Requests = ();

    async fn init((tie, tally): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        match tie {
            Tie::None => {}
            Tie::Link(pid) => ctx.link(pid).await?,
            Tie::Monitor(pid) => ctx.monitor(pid).await?,
            Tie::Subscription(event) => drop(ctx.monitor_event(event).await?),
        }
        Ok(Self(tally))
    }

    async fn handle_event(&mut self, _: Published, _: &mut Context) -> Result<(), ExitReason> {
        if let Some(tally) = &self.0
            && tally.left.fetch_sub(1, Ordering::AcqRel) == 1
        {
            tally.done.notify_one();
        }
        Ok(())
    }
}

/// Monitors a process and takes that back, again and again.
struct Watcher;

impl Actor for Watcher {
    type Args = ();
    type Messages = ();
    type Requests = (Job,);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Answer<Job> for Watcher {
    type Reply = bool;

    async fn answer(&mut self, job: Job, ctx: &mut Context) -> Result<Reply<bool>, ExitReason> {
        for _ in 0..job.count {
            ctx.monitor(job.pid).await?;
            ctx.demonitor(job.pid).await?;
        }
        Ok(Reply::Now(true))
    }
}
