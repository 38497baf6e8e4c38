//! `postroad demo`: the main job, shown and checked.

mod gateway;
mod road;
mod traffic;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use postroad::network::{AcceptorOptions, DownReason, NetworkEvent, NetworkRoute, exact};
use postroad::registrar::EmbeddedOptions;
use postroad::{Node, NodeBuilder, SpawnOptions};

use road::Road;
use traffic::{Entries, Inventory, Shop};

/// Shows what postroad does, and checks what it shows.
///
/// Several nodes in this program: roads of different weights, the preferred
/// one cut in mid-traffic, discovery, gateways. Takes a few seconds; the exit code is 0
/// only if all that it says has happened.
#[derive(clap::Args)]
pub(crate) struct Demo {}

/// So many processes order at once, and so many answers each half waits for.
const CUSTOMERS: usize = 8;
const ANSWERS: usize = 5000;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(45);

const COOKIE: &str = "the cookie of the demo";

impl Demo {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let checks = tokio::time::timeout(PATIENCE, show())
            .await
            .with_context(|| format!("the demo did not come to its end within {PATIENCE:?}"))??;
        println!("\nWhat was shown, as it was found when checked:");
        for (claim, held) in &checks.0 {
            println!("  {} {claim}", if *held { "yes" } else { "NO " });
        }
        let failed = checks.0.iter().filter(|(_, held)| !held).count();
        println!(
            "\n{} of {} hold; {:.1} s",
            checks.0.len() - failed,
            checks.0.len(),
            began.elapsed().as_secs_f64()
        );
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the demo claims, and whether it is so.
#[derive(Default)]
struct Checks(Vec<(String, bool)>);

impl Checks {
    fn add(&mut self, claim: impl Into<String>, holds: bool) {
        self.0.push((claim.into(), holds));
    }
}

async fn show() -> anyhow::Result<Checks> {
    let mut checks = Checks::default();
    let registrar = EmbeddedOptions::port(free_port()?);

    chapter("Three nodes");
    let town = node("town").embedded_registrar(registrar.clone()).start().await?;
    let village = node("village").embedded_registrar(registrar).start().await?;
    let island = node("island").without_registrar().start().await?;
    for place in [&village, &island] {
        place.spawn_with::<Shop>((), SpawnOptions::new().name("shop")).await?;
    }
    println!("  {}: its {CUSTOMERS} customers will order from the shops of others", town.name());
    println!("  {}: has a shop, and is known to the registrar that {} runs", village.name(), town.name());
    println!("  {}: has a shop, and is registered nowhere: only static routes lead there", island.name());

    chapter("Two roads to the island, two static routes in town");
    let primary = Road::open("primary", address(&island)?).await?;
    let backup = Road::open("backup", address(&island)?).await?;
    let network = town.network();
    let exactly = exact(island.name().as_str());
    network.add_route("^island@", route(&backup), 100)?;
    network.add_route(&exactly, route(&primary), 200)?;
    let plan = explain(&town, &island).await?;
    let before = position(&plan, &primary).zip(position(&plan, &backup));
    checks.add(
        "explain puts the primary road (weight 200) before the backup road (weight 100)",
        before.is_some_and(|(primary, backup)| primary < backup),
    );

    chapter("Traffic, and the primary road is cut in the middle of it");
    let mut events = network.subscribe();
    let ledger = traffic::start(&town, island.name(), CUSTOMERS).await?;
    ledger.answers_reach(ANSWERS).await;
    print_roads("while both roads are open", &[&primary, &backup]);
    checks.add(
        "while both roads were open, the primary one carried everything",
        primary.connections() > 0 && backup.connections() == 0,
    );
    primary.cut().await;
    let answers = ledger.answers();
    println!(
        "  the primary road is cut after {answers} answers: its port is closed, its connections are too"
    );
    // Each customer may have had one answer in hand that was not counted yet.
    ledger.answers_reach(answers + CUSTOMERS + ANSWERS).await;
    let resumed = ledger.answers();
    let entries = ledger.close().await;
    println!("  traffic goes on by itself: {resumed} answers now");
    print_roads("after the cut", &[&backup]);
    checks.add(
        format!("after the cut, more than {ANSWERS} orders were answered over the backup road"),
        backup.connections() > 0 && backup.bytes() > 0,
    );
    let mut downs = Vec::new();
    let mut ups = 0;
    while let Ok(event) = events.try_recv() {
        match event {
            NetworkEvent::Connected { peer, .. } if peer == island.name() => ups += 1,
            NetworkEvent::Disconnected { peer, reason } if peer == island.name() => downs.push(reason),
            _ => {}
        }
    }
    checks.add(
        "town was told that the island was lost, once, and connected again, once",
        downs == [DownReason::Lost] && ups == 2,
    );

    chapter("Every order accounted for");
    let seen: Vec<u64> = town.call(("shop", island.name()), Inventory).await?;
    account(&entries, &seen, &mut checks);

    chapter("The dead road is taken out of the plan");
    network.remove_route(&exactly)?;
    let plan = explain(&town, &island).await?;
    checks.add(
        "explain names the backup road only",
        position(&plan, &primary).is_none() && position(&plan, &backup).is_some(),
    );

    chapter("Discovery: no route leads to the village, the registrar knows it");
    let plan = explain(&town, &village).await?;
    let seen: Vec<u64> = town.call(("shop", village.name()), Inventory).await?;
    checks.add(
        "the village was found where the registrar said, and its shop answered",
        plan.contains(&address(&village)?.to_string()) && seen.is_empty(),
    );
    let nowhere = network.connect("nowhere@127.0.0.1").await;
    if let Err(error) = &nowhere {
        println!("  connect nowhere@127.0.0.1: {error}");
    }
    checks.add("a node that does not exist is an error that says who was asked", nowhere.is_err());

    gateway::show(&town, &village, &mut checks).await?;

    for node in [&town, &village, &island] {
        node.stop().await;
    }
    backup.cut().await;
    Ok(checks)
}

/// Compares what the customers noted with what the shop noted.
fn account(entries: &Entries, seen: &[u64], checks: &mut Checks) {
    let handled: BTreeSet<u64> = seen.iter().copied().collect();
    let lost_answers = entries.lost.keys().filter(|number| handled.contains(number)).count();
    println!("  {} orders sent", entries.sent);
    println!("  {} answered", entries.answered.len());
    println!("  {} lost with the primary road; what their customers were told:", entries.lost.len());
    for why in entries.lost.values().collect::<BTreeSet<_>>() {
        println!("    {why}");
    }
    println!("    {lost_answers} of these reached the shop: what got lost was the answer");
    checks.add(
        "every order ended once: with its own receipt, or with an error",
        entries.wrong == 0
            && entries.answered.len() + entries.lost.len() == entries.sent as usize
            && entries.lost.keys().all(|number| !entries.answered.contains(number)),
    );
    checks.add("the shop got every answered order, and none twice", {
        handled.len() == seen.len() && entries.answered.is_subset(&handled)
    });
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn print_roads(when: &str, roads: &[&Road]) {
    for road in roads {
        println!(
            "  {when}: the {} road {} has taken {} connections and carried {} bytes",
            road.name,
            road.entrance,
            road.connections(),
            road.bytes()
        );
    }
}

/// Prints how a node would be reached, and returns what was printed.
async fn explain(from: &Node, to: &Node) -> anyhow::Result<String> {
    let plan = from.network().explain(to.name().as_str()).await?.to_string();
    println!("  {} explains how it would reach {}:", from.name(), to.name());
    for line in plan.lines().skip(1) {
        println!("  {line}");
    }
    Ok(plan)
}

fn node(name: &str) -> NodeBuilder {
    Node::builder(format!("{name}@127.0.0.1")).cookie(COOKIE).acceptor(AcceptorOptions::bind("127.0.0.1", 0))
}

fn address(node: &Node) -> anyhow::Result<SocketAddr> {
    Ok(node.network().acceptors().first().context("the node does not listen")?.address)
}

fn route(road: &Road) -> NetworkRoute {
    NetworkRoute::to(road.entrance.ip().to_string(), road.entrance.port())
}

/// Where a plan names a road.
fn position(plan: &str, road: &Road) -> Option<usize> {
    plan.find(&format!("dial {},", road.entrance))
}

/// A port that nobody has at this moment, for TCP and UDP.
fn free_port() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = udp.local_addr()?.port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free for the registrar, for both TCP and UDP")
}
