//! Roads through networks that this test makes itself. `./test namespaces` runs
//! it: it needs root, `ip` and `nft`.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod capture;
mod gateways;
mod lab;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postroad::network::{AcceptorOptions, NetworkEvent, NetworkRoute};
use postroad::{Actor, Answer, Atom, Context, ExitReason, Node, NodeBuilder, Reply, SpawnOptions};
use tokio::sync::{mpsc, oneshot};

use lab::{Host, Lab};

const DATABASE: &str = "prod-db@example.com";
const PORT: u16 = 4370;
const CALLERS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(2);

/// A data centre's database: notes what it is asked, and answers where it is.
struct Database {
    place: Atom,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Actor for Database {
    type Args = (Atom, Arc<Mutex<Vec<u64>>>);
    type Messages = ();
    type Requests = (u64,);

    async fn init((place, asked): Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { place, asked })
    }
}

impl Answer<u64> for Database {
    type Reply = Atom;

    async fn answer(&mut self, number: u64, _: &mut Context) -> Result<Reply<Atom>, ExitReason> {
        self.asked.lock().push(number);
        Ok(Reply::Now(self.place))
    }
}

fn builder(name: &str) -> NodeBuilder {
    let second = Duration::from_secs(1);
    Node::builder(name).cookie("data centres").without_registrar().keepalive(second).timeouts(
        second,
        second,
        5 * second,
    )
}

/// Starts a database on a host; it runs until the sender is dropped.
fn database(host: &Host, place: &str) -> (Arc<Mutex<Vec<u64>>>, oneshot::Sender<()>, impl FnOnce()) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (address, place, notes) = (host.address.clone(), Atom::new(place).unwrap(), asked.clone());
    let thread = host.start(move || async move {
        let acceptor = AcceptorOptions::bind(address, PORT);
        let node = builder(DATABASE).acceptor(acceptor).start().await.unwrap();
        node.spawn_with::<Database>((place, notes), SpawnOptions::default().name("db")).await.unwrap();
        ready.send(()).unwrap();
        let _ = stopped.await;
        node.stop().await;
    });
    is_ready.recv().unwrap();
    (asked, stop, move || thread.join().unwrap())
}

/// What became of a request: who answered, or that nobody did.
type Outcome = (u64, Option<Atom>);

/// Asks one request after the other until told to stop.
async fn ask(node: Node, caller: u64, outcomes: mpsc::UnboundedSender<Outcome>, enough: Arc<AtomicBool>) {
    let mut number = caller << 32;
    while !enough.load(Ordering::Relaxed) {
        number += 1;
        let answer = node.call_with_timeout::<Atom>(("db", atom(DATABASE)), number, PATIENCE).await;
        outcomes.send((number, answer.ok())).unwrap();
    }
}

fn atom(name: &str) -> Atom {
    Atom::new(name).unwrap()
}

/// > If you have two routes for `"prod-.*"` - one with weight 100 (the default
/// > datacenter) and one with weight 200 (a faster backup datacenter) - the
/// > framework tries weight 200 first. [...] If that connection fails (host
/// > unreachable, handshake failure, timeout), it tries weight-100. This gives
/// > you automatic failover.
#[test]
fn seed_traffic_resumes_on_the_backup_route_when_a_data_centre_is_cut_off() {
    let mut lab = Lab::new();
    let (client, first, second) = (lab.host(), lab.host(), lab.host());
    let (asked_first, stop_first, join_first) = database(&first, "first");
    let (asked_second, stop_second, join_second) = database(&second, "second");

    let (outcomes, mut incoming) = mpsc::unbounded_channel();
    let (events, mut network_events) = mpsc::unbounded_channel();
    let enough = Arc::new(AtomicBool::new(false));
    let (primary, backup, callers_enough) = (first.address.clone(), second.address.clone(), enough.clone());
    let callers = client.start(move || async move {
        let node = builder("client@example.org").acceptor(AcceptorOptions::bind("0.0.0.0", PORT));
        let node = node.start().await.unwrap();
        let network = node.network();
        network.add_route("^prod-db@.*", NetworkRoute::to(primary, PORT), 200).unwrap();
        network.add_route("prod-db@example.com", NetworkRoute::to(backup, PORT), 100).unwrap();
        let mut changes = network.subscribe();
        let forward = tokio::spawn(async move {
            while let Ok(event) = changes.recv().await {
                let _ = events.send(event);
            }
        });
        let all: Vec<_> = (0..CALLERS)
            .map(|caller| tokio::spawn(ask(node.clone(), caller, outcomes.clone(), callers_enough.clone())))
            .collect();
        for caller in all {
            caller.await.unwrap();
        }
        forward.abort();
        node.stop().await;
    });

    let mut seen = BTreeMap::new();
    let mut count = BTreeMap::<Atom, usize>::new();
    let mut answered = |place: &str, enough: usize| {
        let place = atom(place);
        while count.get(&place).copied().unwrap_or_default() < enough {
            let (number, who) = incoming.blocking_recv().unwrap();
            assert!(seen.insert(number, who).is_none());
            *count.entry(who.unwrap_or(Atom::empty())).or_default() += 1;
        }
        seen.clone()
    };
    let before = answered("first", 2000);
    assert!(before.values().all(Option::is_some), "nothing is lost while the road is good");
    let cut = Instant::now();
    lab.cut_off(&first);
    answered("second", 1);
    let gap = cut.elapsed();
    answered("second", 2000);
    enough.store(true, Ordering::Relaxed);
    callers.join().unwrap();
    while let Ok((number, who)) = incoming.try_recv() {
        seen.insert(number, who);
    }

    lab.heal();
    drop((stop_first, stop_second));
    join_first();
    join_second();
    let asked = [asked_first.lock().clone(), asked_second.lock().clone()];
    let arrived: BTreeSet<u64> = asked.iter().flatten().copied().collect();
    assert_eq!(arrived.len(), asked[0].len() + asked[1].len(), "nothing arrives twice");
    for numbers in &asked {
        for caller in 0..CALLERS {
            let own: Vec<_> = numbers.iter().filter(|number| *number >> 32 == caller).collect();
            assert!(own.is_sorted(), "in order for each caller");
        }
    }
    for (number, who) in &seen {
        let Some(who) = who else { continue };
        let place = usize::from(*who == atom("second"));
        assert!(asked[place].contains(number), "{number} was acknowledged by {who} and never arrived there");
    }
    let unacknowledged: BTreeSet<_> = seen.iter().filter(|(_, who)| who.is_none()).map(|(n, _)| *n).collect();
    let lost: BTreeSet<_> = seen.keys().filter(|number| !arrived.contains(number)).copied().collect();
    assert!(lost.is_subset(&unacknowledged), "what was lost is what was not acknowledged");
    assert!(!unacknowledged.is_empty(), "the cut hit something that was under way");
    assert!(
        unacknowledged.len() as u64 <= 10 * CALLERS,
        "only what was under way is lost: {unacknowledged:?}"
    );

    let mut changes = Vec::new();
    while let Ok(event) = network_events.try_recv() {
        changes.push(match event {
            NetworkEvent::Connected { .. } => "connected",
            NetworkEvent::Disconnected { .. } => "disconnected",
            _ => continue,
        });
    }
    assert_eq!(changes, ["connected", "disconnected", "connected"], "node-down fires exactly once");
    println!(
        "asked {}: acknowledged {}, not acknowledged {}, of which lost {}; {gap:?} without an answer",
        seen.len(),
        seen.len() - unacknowledged.len(),
        unacknowledged.len(),
        lost.len(),
    );
}
