//! Measures postroad in the shape of `interop/bench`, which measures Ergo, and
//! prints the same JSON lines: messages and calls within a node, and between
//! two processes over loopback on a static route; processes and what they care
//! about; routes. `interop/bench/side-by-side` runs both in turns. An argument
//! chooses the benches that have it in their names.

mod lines;
mod processes;
mod roads;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postroad::network::{AcceptorOptions, NetworkRoute, exact};
use postroad::{Actor, Answer, Context, ExitReason, Handle, Node, Pid, Reply, ReplyTo, SpawnOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HERE: &str = "here@127.0.0.1";
const THERE: &str = "there@127.0.0.1";
const COOKIE: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(120);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve().await;
    }
    let runs = 5;
    let only = arguments.first().cloned().unwrap_or_default();
    let (here, there, mut other) = set_up().await?;
    let outcome = measure(&here, there, runs, &only).await;
    other.kill()?;
    other.wait()?;
    outcome
}

async fn measure(here: &Node, there: Pid, runs: usize, only: &str) -> Result<(), Failure> {
    processes::measure_memory(here, only).await?;
    let stage = here.spawn::<Stage>(()).await?;
    for (name, to, pairs, count, bytes) in [
        ("local_send_1_1/int", stage, 1, 1_000_000, 0),
        ("local_send_n_n/int", stage, 2, 1_000_000, 0),
        ("remote_send_1_1/int", there, 1, 1_000_000, 0),
        ("remote_send_1_1/1KiB", there, 1, 300_000, 1 << 10),
        ("remote_send_1_1/64KiB", there, 1, 5_000, 64 << 10),
        ("remote_send_n_n/int", there, 2, 500_000, 0),
        ("remote_send_n_n/1KiB", there, 2, 150_000, 1 << 10),
        ("remote_send_n_n/64KiB", there, 2, 2_500, 64 << 10),
    ] {
        if !name.contains(only) {
            continue;
        }
        let mut rates = Vec::new();
        for _ in 0..runs {
            let took = flood(here, to, pairs as usize, count, bytes).await?;
            rates.push((count * pairs) as f64 / took.as_secs_f64());
        }
        lines::rates(name, rates, bytes);
    }
    for (name, to, count) in [("local_call", stage, 200_000), ("remote_call", there, 10_000)] {
        if !name.contains(only) {
            continue;
        }
        let mut calls = Vec::new();
        for _ in 0..runs {
            let job = Job { pid: to, count };
            calls.extend(here.call_with_timeout::<Vec<u64>>("caller", job, PATIENCE).await?);
        }
        lines::calls(name, calls);
    }
    roads::measure(only).await?;
    processes::measure(here, there, runs, only).await
}

/// Whether benches of this group are to run.
fn chosen(group: &str, only: &str) -> bool {
    group.contains(only) || only.starts_with(group)
}

/// Two nodes in two processes, connected; the stage of the other one.
async fn set_up() -> Result<(Node, Pid, Child), Failure> {
    let mut other = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(other.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let here = node(HERE).await?;
    here.network().add_route(&exact(THERE), NetworkRoute::to("127.0.0.1", line.trim().parse()?), 100)?;
    let there = here.call(("stage", THERE), true).await?;
    while here.network().peer(THERE).is_none_or(|peer| peer.links < peer.pool_size) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    here.spawn_with::<Caller>((), SpawnOptions::new().name("caller")).await?;
    Ok((here, there, other))
}

/// Is the other node, until its input ends.
async fn serve() -> Result<(), Failure> {
    let node = node(THERE).await?;
    node.spawn_with::<Stage>((), SpawnOptions::new().name("stage")).await?;
    println!("{}", node.network().acceptors()[0].address.port());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

async fn node(name: &str) -> Result<Node, Failure> {
    let acceptor = AcceptorOptions::bind("127.0.0.1", 0);
    Ok(Node::builder(name).cookie(COOKIE).acceptor(acceptor).without_registrar().start().await?)
}

/// How long `pairs` senders take to get `count` messages each to counters of their own.
async fn flood(here: &Node, stage: Pid, pairs: usize, count: u64, bytes: usize) -> Result<Duration, Failure> {
    let mut counters: Vec<Pid> = Vec::new();
    for _ in 0..pairs {
        counters.push(here.call(stage, count).await?);
    }
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for counter in counters {
        let (here, sender) = (here.clone(), here.spawn::<Sender>(bytes).await?);
        here.send(sender, Job { pid: counter, count }).await?;
        waiting
            .push(tokio::spawn(async move { here.call_with_timeout::<bool>(counter, true, PATIENCE).await }));
    }
    for counted in waiting {
        counted.await??;
    }
    Ok(begun.elapsed())
}

/// So many messages, or calls, to this process.
#[derive(postroad::Message)]
struct Job {
    pid: Pid,
    count: u64,
}

/// Makes counters, and echoes numbers.
struct Stage;

impl Actor for Stage {
    type Args = ();
    type Messages = (isize,);
    type Requests = (u64, bool, isize);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Handle<isize> for Stage {
    async fn handle(&mut self, _: isize, _: &mut Context) -> Result<(), ExitReason> {
        Ok(())
    }
}

impl Answer<u64> for Stage {
    type Reply = Pid;

    async fn answer(&mut self, count: u64, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        Ok(Reply::Now(ctx.spawn::<Counter>(count).await?))
    }
}

impl Answer<bool> for Stage {
    type Reply = Pid;

    async fn answer(&mut self, _: bool, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        Ok(Reply::Now(ctx.pid()))
    }
}

impl Answer<isize> for Stage {
    type Reply = isize;

    async fn answer(&mut self, number: isize, _: &mut Context) -> Result<Reply<isize>, ExitReason> {
        Ok(Reply::Now(number))
    }
}

/// Counts down, and answers when nothing is left.
struct Counter {
    left: u64,
    waiting: Option<ReplyTo>,
}

impl Actor for Counter {
    type Args = u64;
    type Messages = (isize, Vec<u8>);
    type Requests = (bool,);

    async fn init(left: u64, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { left, waiting: None })
    }
}

impl Counter {
    async fn count(&mut self) -> Result<(), ExitReason> {
        self.left -= 1;
        match self.waiting.take_if(|_| self.left == 0) {
            Some(waiting) => Ok(waiting.answer(true).await?),
            None => Ok(()),
        }
    }
}

impl Handle<isize> for Counter {
    async fn handle(&mut self, _: isize, _: &mut Context) -> Result<(), ExitReason> {
        self.count().await
    }
}

impl Handle<Vec<u8>> for Counter {
    async fn handle(&mut self, _: Vec<u8>, _: &mut Context) -> Result<(), ExitReason> {
        self.count().await
    }
}

impl Answer<bool> for Counter {
    type Reply = bool;

    async fn answer(&mut self, _: bool, ctx: &mut Context) -> Result<Reply<bool>, ExitReason> {
        if self.left == 0 {
            return Ok(Reply::Now(true));
        }
        self.waiting = ctx.reply_to();
        Ok(Reply::Later)
    }
}

/// Sends as many messages as it is told to, and is gone.
struct Sender(usize);

impl Actor for Sender {
    type Args = usize;
    type Messages = (Job,);
    type Requests = ();

    async fn init(bytes: usize, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(bytes))
    }
}

impl Handle<Job> for Sender {
    async fn handle(&mut self, job: Job, ctx: &mut Context) -> Result<(), ExitReason> {
        for _ in 0..job.count {
            match self.0 {
                0 => ctx.send(job.pid, 42isize).await?,
                bytes => ctx.send(job.pid, vec![7u8; bytes]).await?,
            }
        }
        Err(ExitReason::Normal)
    }
}

/// Calls one after the other, and tells how long each took, in nanoseconds.
struct Caller;

impl Actor for Caller {
    type Args = ();
    type Messages = ();
    type Requests = (Job,);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Answer<Job> for Caller {
    type Reply = Vec<u64>;

    async fn answer(&mut self, job: Job, ctx: &mut Context) -> Result<Reply<Vec<u64>>, ExitReason> {
        let mut took = Vec::new();
        for _ in 0..job.count {
            let begun = Instant::now();
            ctx.call::<isize>(job.pid, 1isize).await?;
            took.push(begun.elapsed().as_nanos() as u64);
        }
        Ok(Reply::Now(took))
    }
}
