//! Order per sender while links are being killed, both ways.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad::{Actor, Context, ExitReason, Handle, Node, Pid};
use serde_json::json;
use tokio::sync::Notify;

use crate::bridge::Bridge;
use crate::peer::{self, Peer, by_pid};
use crate::road::{Dialer, all_links, end, is_connected, pair, rust_route};
use crate::support::node;
use crate::within;

/// Sends numbers from 0 up until it is killed; a Go `int` is an `isize`.
struct Numbers;

impl Actor for Numbers {
    type Args = Pid;
    type Messages = (Pid,);
    type Requests = ();

    async fn init(to: Pid, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.send(ctx.pid(), to).await?;
        Ok(Self)
    }
}

impl Handle<Pid> for Numbers {
    async fn handle(&mut self, to: Pid, ctx: &mut Context) -> Result<(), ExitReason> {
        for number in 0isize.. {
            ctx.send(to, number).await?;
            if number % 50 == 0 {
                // Faster than Go takes them, they would only pile up there.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(())
    }
}

const SENDERS: usize = 5;

/// Has processes send to Go's recorder until more than 100,000 messages have
/// arrived, and kills a link after every 5000. No sender's messages may have
/// been reordered or doubled; those that were under way on a killed link are
/// lost, which is one gap for each sender on it.
pub(crate) async fn go_records(node: &Node, go: &Peer, kill: impl AsyncFn()) {
    let recorder = go.pid("recorder");
    let mut senders = Vec::new();
    for _ in 0..SENDERS {
        senders.push(node.spawn::<Numbers>(recorder).await.unwrap());
    }
    let kills = 20;
    for arrived in (1..=kills).map(|kill| 5000 * kill) {
        go.ask("recorder_wait", json!({"count": arrived, "timeout_ms": 50_000})).await;
        kill().await;
    }
    go.ask("recorder_wait", json!({"count": 5000 * (kills + 1), "timeout_ms": 50_000})).await;
    for sender in senders {
        assert!(node.kill(sender), "it still sends");
    }
    let report = go.ask("recorder_report", json!({})).await;
    let records = report["senders"].as_array().unwrap();
    assert_eq!(records.len(), SENDERS);
    for record in records {
        assert_eq!(record["backwards"], 0, "{report}");
        assert!(record["gaps"].as_u64().unwrap() <= kills, "{report}");
    }
    assert!(is_connected(node, go.name()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_sends_on_links_it_dialed_while_they_are_killed() {
    let (node, go) = tokio::join!(node("rust"), Peer::start("go"));
    let bridge = Bridge::to(go.port()).await;
    rust_route(&node, &go, bridge.port);
    node.network().connect(go.name()).await.unwrap();
    all_links(&node, &go).await;
    go_records(&node, &go, async || {
        bridge.cut().await;
        all_links(&node, &go).await;
    })
    .await;
    end(node, go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_sends_on_links_it_accepted_while_they_are_killed() {
    let (node, go) = pair(Dialer::Go).await;
    go_records(&node, &go, async || kill_link(&node, &go, 0).await).await;
    end(node, go).await;
}

/// Has Go kill one of its links, and waits for its successor.
pub(crate) async fn kill_link(node: &Node, go: &Peer, link: usize) {
    go.ask("kill_link", json!({"node": node.name().as_str(), "link": link})).await;
    all_links(node, go).await;
}

/// What has arrived at a [`Recorder`].
#[derive(Default)]
struct Ledger {
    /// How many numbers of each sender came, all in order and none missing.
    counts: Mutex<HashMap<Pid, isize>>,
    disorder: Mutex<Vec<String>>,
    changed: Notify,
}

impl Ledger {
    /// Waits until the counts are as wanted.
    async fn until(&self, wanted: impl Fn(&HashMap<Pid, isize>) -> bool) {
        within("more numbers", async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if wanted(&self.counts.lock()) {
                    return;
                }
                changed.await;
            }
        })
        .await;
        assert_eq!(*self.disorder.lock(), Vec::<String>::new());
    }

    async fn until_arrived(&self, count: isize) {
        self.until(|counts| counts.values().sum::<isize>() >= count).await;
    }
}

/// Takes numbers that each sender counts up from 0.
struct Recorder(Arc<Ledger>);

impl Actor for Recorder {
    type Args = Arc<Ledger>;
    type Messages = (isize,);
    type Requests = ();

    async fn init(ledger: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(ledger))
    }
}

impl Handle<isize> for Recorder {
    async fn handle(&mut self, number: isize, ctx: &mut Context) -> Result<(), ExitReason> {
        if !has_order(&ctx.sender()) {
            return Ok(());
        }
        {
            let mut counts = self.0.counts.lock();
            let expected = counts.entry(ctx.sender()).or_default();
            if number == *expected {
                *expected += 1;
            } else {
                let disorder = format!("{} sent {number} where {expected} was due", ctx.sender());
                self.0.disorder.lock().push(disorder);
            }
        }
        self.0.changed.notify_waiters();
        Ok(())
    }
}

/// Ergo keeps no order for ids that 255 divides (`docs/wire/QUIRKS.md` section 2).
fn has_order(sender: &Pid) -> bool {
    !sender.id.is_multiple_of(255)
}

/// Has processes of Go send numbers.
async fn send_many(go: &Peer, to: Pid, senders: usize, count: isize) -> Vec<Pid> {
    let to = by_pid(to);
    let plan = json!({"to": to, "senders": senders, "count": count, "pause_every": 50, "pause_us": 2000});
    let sent = go.ask("send_many", plan).await;
    assert_eq!(sent["sent"], senders as isize * count, "{sent}");
    sent["senders"].as_array().unwrap().iter().map(peer::pid).collect()
}

/// After a link that it had dialed broke and was dialed again, Ergo writes to
/// the dead socket for ever: what its senders put on that link vanishes
/// (`docs/wire/QUIRKS.md` section 2). So one and the same place in its pool is
/// killed three times: the senders on the other two must not notice, and those
/// on that one must get through in order what they get through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_sends_on_links_it_dialed_while_they_are_killed() {
    let (node, go) = pair(Dialer::Go).await;
    let ledger = Arc::new(Ledger::default());
    let recorder = node.spawn::<Recorder>(ledger.clone()).await.unwrap();
    let count = 10_000;
    let killing = async {
        ledger.until_arrived(20_000).await;
        kill_link(&node, &go, 0).await;
        // The successor of a link is the last of the peer's list.
        for arrived in [40_000, 60_000] {
            ledger.until_arrived(arrived).await;
            kill_link(&node, &go, 2).await;
        }
    };
    let (senders, ()) = tokio::join!(send_many(&go, recorder, 18, count), killing);
    let whole = |counts: &HashMap<Pid, isize>, place| {
        let mut on_it = senders.iter().filter(|sender| sender.id % 255 % 3 == place && has_order(sender));
        on_it.all(|sender| counts.get(sender) == Some(&count))
    };
    ledger.until(|counts| (0..3).filter(|wanted| whole(counts, *wanted)).count() >= 2).await;
    assert!(ledger.counts.lock().values().sum::<isize>() > 100_000);
    assert!(is_connected(&node, go.name()));
    end(node, go).await;
}

/// Where Ergo accepted, a killed link leaves its pool and the successor joins at
/// the end: senders change links meanwhile and overtake themselves. From then
/// on everything arrives, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_sends_on_links_it_accepted_after_they_were_killed() {
    let (node, go) = pair(Dialer::Rust).await;
    for round in 0..10 {
        kill_link(&node, &go, round % 3).await;
        let ledger = Arc::new(Ledger::default());
        let recorder = node.spawn::<Recorder>(ledger.clone()).await.unwrap();
        let senders = send_many(&go, recorder, 10, 1000).await;
        let ordered = senders.iter().filter(|sender| has_order(sender)).count();
        ledger.until_arrived(ordered as isize * 1000).await;
    }
    end(node, go).await;
}
