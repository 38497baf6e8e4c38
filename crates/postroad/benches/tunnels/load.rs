//! The client: what it sends and asks.

use std::time::{Duration, Instant};

use postroad::{Actor, Atom, Context, ExitReason, Node, Pid};
use tokio::runtime::Runtime;

use crate::roles;

/// So many processes send at once, each to one of its own.
pub(crate) const SENDERS: usize = 2;

/// How long messages are, in bytes.
pub(crate) const MESSAGE: usize = 1024;

const PATIENCE: Duration = Duration::from_secs(120);

/// A way to a target of its own.
pub(crate) struct Road {
    pub(crate) label: String,
    pub(crate) hops: usize,
    sinks: Vec<Pid>,
}

/// A node with sinks.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) port: String,
    sinks: Vec<Pid>,
}

impl Target {
    /// By what it has said of itself.
    pub(crate) fn of(line: String) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, port, creation, sinks @ ..] = &words[..] else { panic!("not a target: {line}") };
        let sink = |id: &&str| Pid {
            node: Atom::new(name).unwrap(),
            id: id.parse().unwrap(),
            creation: creation.parse().unwrap(),
        };
        Self { name: (*name).to_owned(), port: (*port).to_owned(), sinks: sinks.iter().map(sink).collect() }
    }

    /// The way to it by this port.
    pub(crate) fn at(&self, port: &str) -> String {
        format!("route {} {port}", self.name)
    }
}

pub(crate) struct Client {
    runtime: Runtime,
    node: Node,
}

impl Client {
    pub(crate) fn start() -> Self {
        let runtime = roles::runtime();
        let node = runtime.block_on(roles::builder("client@127.0.0.1").start()).unwrap();
        Self { runtime, node }
    }

    /// Connects with a target by these ways.
    pub(crate) fn road(&self, label: &str, hops: usize, target: &Target, ways: &[String]) -> Road {
        roles::learn(&self.node, ways);
        self.runtime.block_on(self.node.network().connect(target.name.as_str())).unwrap();
        Road { label: label.to_owned(), hops, sinks: target.sinks.clone() }
    }

    /// How many messages a second arrive.
    pub(crate) fn flood(&self, road: &Road, messages: u64) -> f64 {
        let took = self.runtime.block_on(async {
            let begun = Instant::now();
            let expected = i64::try_from(messages).unwrap();
            let ask = |&sink| {
                let node = self.node.clone();
                tokio::spawn(async move { node.call_with_timeout::<bool>(sink, expected, PATIENCE).await })
            };
            let waiting: Vec<_> = road.sinks.iter().map(ask).collect();
            for &sink in &road.sinks {
                let node = self.node.clone();
                tokio::spawn(async move { node.spawn::<Sender>((sink, messages)).await });
            }
            for waiting in waiting {
                waiting.await.unwrap().unwrap();
            }
            begun.elapsed()
        });
        messages as f64 * road.sinks.len() as f64 / took.as_secs_f64()
    }

    /// How long a question and its answer take, in the middle of so many.
    pub(crate) fn round_trip(&self, road: &Road, calls: u32) -> Duration {
        let (node, sink) = (self.node.clone(), road.sinks[0]);
        let calling = async move {
            let mut took = Vec::new();
            for _ in 0..calls {
                let begun = Instant::now();
                node.call::<isize>(sink, 1isize).await.unwrap();
                took.push(begun.elapsed());
            }
            took.sort_unstable();
            took[took.len() / 2]
        };
        self.runtime.block_on(async { tokio::spawn(calling).await.unwrap() })
    }
}

/// Sends so many messages to a sink, and is gone.
struct Sender;

impl Actor for Sender {
    type Args = (Pid, u64);
    type Messages = ();
    type Requests = ();

    async fn init((sink, messages): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        for _ in 0..messages {
            ctx.send(sink, vec![7u8; MESSAGE]).await?;
        }
        Err(ExitReason::Normal)
    }
}
