//! Messages and calls, within a node and over loopback.
//!
//! mimalloc, as in the program that postroad ships. Each iteration of a
//! throughput bench sends a batch and waits until its last message was handled.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postroad::network::{AcceptorOptions, NetworkRoute};
use postroad::tls::{Identity, TlsOptions};
use postroad::{Actor, Answer, Context, ExitReason, Handle, Node, Pid, Reply};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 100_000;

/// Counts numbers, and answers when it has got as many as it was asked for.
struct Counter {
    left: u64,
    waiting: Option<postroad::ReplyTo>,
}

impl Actor for Counter {
    type Args = ();
    type Messages = (isize, Vec<u8>);
    type Requests = (u64, isize);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { left: 0, waiting: None })
    }
}

impl Counter {
    async fn count(&mut self) -> Result<(), ExitReason> {
        self.left -= 1;
        if self.left == 0
            && let Some(waiting) = self.waiting.take()
        {
            waiting.answer(true).await?;
        }
        Ok(())
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

/// How many to expect from now on.
impl Answer<u64> for Counter {
    type Reply = bool;

    async fn answer(&mut self, expected: u64, ctx: &mut Context) -> Result<Reply<bool>, ExitReason> {
        self.left = expected;
        self.waiting = ctx.reply_to();
        Ok(Reply::Later)
    }
}

impl Answer<isize> for Counter {
    type Reply = isize;

    async fn answer(&mut self, number: isize, _: &mut Context) -> Result<Reply<isize>, ExitReason> {
        Ok(Reply::Now(number))
    }
}

/// Sends a batch to a pid from within a process, and is gone.
struct Sender;

#[derive(Clone, Copy)]
enum Load {
    Number,
    Bytes(usize),
}

impl Actor for Sender {
    type Args = (Pid, Load, u64);
    type Messages = ();
    type Requests = ();

    async fn init((to, load, count): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        for _ in 0..count {
            match load {
                Load::Number => ctx.send(to, 42isize).await?,
                Load::Bytes(length) => ctx.send(to, vec![7u8; length]).await?,
            }
        }
        Err(ExitReason::Normal)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn node(name: &str, tls: TlsOptions) -> Node {
    Node::builder(format!("{name}@127.0.0.1"))
        .cookie("bench")
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .tls(tls)
        .without_registrar()
        .start()
        .await
        .expect("a node")
}

/// Two nodes, the second reachable from the first.
async fn pair() -> (Node, Node) {
    connected("bench", TlsOptions::new(), |route| route).await
}

/// Two nodes that speak TLS with each other.
async fn tls_pair() -> (Node, Node) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect("an identity");
    let tls = TlsOptions::new().identity(identity);
    connected("bench-tls", tls, |route| route.tls(true).insecure_skip_verify(true)).await
}

async fn connected(name: &str, tls: TlsOptions, by: fn(NetworkRoute) -> NetworkRoute) -> (Node, Node) {
    let (a, b) = (node(&format!("{name}-a"), tls.clone()).await, node(&format!("{name}-b"), tls).await);
    let port = b.network().acceptors()[0].address.port();
    let route = by(NetworkRoute::to("127.0.0.1", port));
    a.network().add_route(&postroad::network::exact(b.name().as_str()), route, 1).expect("a route");
    a.network().connect(b.name().as_str()).await.expect("a connection");
    (a, b)
}

/// Time for `pairs` senders to send `count` messages each to a counter of their own.
async fn flood(from: &Node, to: &Node, pairs: usize, count: u64, load: Load) -> Duration {
    let mut counters = Vec::new();
    for _ in 0..pairs {
        let counter = to.spawn::<Counter>(()).await.expect("a counter");
        let (node, expect) = (to.clone(), count);
        let all = tokio::spawn(async move {
            node.call_with_timeout::<bool>(counter, expect, Duration::from_secs(120))
                .await
                .expect("all arrive");
        });
        counters.push((counter, all));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    for (counter, _) in &counters {
        let (from, counter) = (from.clone(), *counter);
        tokio::spawn(async move {
            let _ = from.spawn::<Sender>((counter, load, count)).await;
        });
    }
    for (counter, all) in counters {
        all.await.expect("counted");
        to.kill(counter);
    }
    begun.elapsed()
}

fn throughput(criterion: &mut Criterion) {
    let runtime = runtime();
    let local = runtime.block_on(node("bench-local", TlsOptions::new()));
    let (a, b) = runtime.block_on(pair());
    let (c, d) = runtime.block_on(tls_pair());
    let mut group = criterion.benchmark_group("send");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    let cases = [
        ("local 1-1 int", &local, &local, 1, BATCH, Load::Number),
        ("local 2-2 int", &local, &local, 2, BATCH, Load::Number),
        ("remote 1-1 int", &a, &b, 1, BATCH, Load::Number),
        ("remote 2-2 int", &a, &b, 2, BATCH, Load::Number),
        ("remote 1-1 1 KiB", &a, &b, 1, BATCH / 4, Load::Bytes(1024)),
        ("remote 1-1 64 KiB", &a, &b, 1, BATCH / 100, Load::Bytes(64 << 10)),
        ("remote TLS 1-1 int", &c, &d, 1, BATCH, Load::Number),
        ("remote TLS 1-1 1 KiB", &c, &d, 1, BATCH / 4, Load::Bytes(1024)),
        ("remote TLS 1-1 64 KiB", &c, &d, 1, BATCH / 100, Load::Bytes(64 << 10)),
    ];
    for (name, from, to, pairs, count, load) in cases {
        group.throughput(Throughput::Elements(count * pairs as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(async {
                    tokio::spawn({
                        let (from, to) = (from.clone(), to.clone());
                        async move {
                            let mut total = Duration::ZERO;
                            for _ in 0..iterations {
                                total += flood(&from, &to, pairs, count, load).await;
                            }
                            total
                        }
                    })
                    .await
                    .expect("no panic")
                })
            });
        });
    }
    group.finish();
    runtime.block_on(async {
        for node in [local, a, b, c, d] {
            node.stop().await;
        }
    });
}

fn calls(criterion: &mut Criterion) {
    let runtime = runtime();
    let (a, b) = runtime.block_on(pair());
    let mut group = criterion.benchmark_group("call");
    group.sample_size(20);
    for (name, caller, callee) in [("local", &b, &b), ("remote", &a, &b)] {
        let counter = runtime.block_on(callee.spawn::<Counter>(())).expect("a counter");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let caller = caller.clone();
                runtime
                    .block_on(async {
                        tokio::spawn(async move {
                            let begun = Instant::now();
                            for _ in 0..iterations {
                                caller.call::<isize>(counter, 1isize).await.expect("an answer");
                            }
                            begun.elapsed()
                        })
                        .await
                    })
                    .expect("no panic")
            });
        });
    }
    group.finish();
    runtime.block_on(async {
        a.stop().await;
        b.stop().await;
    });
}

criterion_group!(benches, throughput, calls);
criterion_main!(benches);
