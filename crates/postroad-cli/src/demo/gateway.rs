//! The scene with gateways: a node without a port, and two ways to it.

use std::collections::BTreeSet;

use postroad::network::{NetworkProxyRoute, NetworkRoute, TransitOptions, TransitRule, exact};
use postroad::{NetworkMode, Node, SpawnOptions};

use super::traffic::{self, Inventory, Shop};
use super::{CUSTOMERS, Checks, address, chapter, node};

/// So many answers are waited for before and after the first gateway stops.
const ANSWERS: usize = 1000;

/// The town gets to the castle through the harbour, and when that closes through
/// the lighthouse; a stranger does not.
pub(super) async fn show(town: &Node, stranger: &Node, checks: &mut Checks) -> anyhow::Result<()> {
    chapter("Gateways: the castle has no port, and is reached all the same");
    let transit = TransitOptions::new().allow(TransitRule::new("town@.*", "castle@.*")?);
    let gateway = async |name| node(name).without_registrar().transit(transit.clone()).start().await;
    let (harbour, lighthouse) = (gateway("harbour").await?, gateway("lighthouse").await?);
    let castle = node("castle").without_registrar().network(NetworkMode::Hidden).start().await?;
    castle.spawn_with::<Shop>((), SpawnOptions::new().name("shop")).await?;
    for (gateway, weight) in [(&harbour, 200), (&lighthouse, 100)] {
        for node in [&castle, town, stranger] {
            node.network().add_route(&exact(gateway.name().as_str()), route(gateway)?, 100)?;
        }
        castle.network().connect(gateway.name().as_str()).await?;
        let through = NetworkProxyRoute::via(gateway.name().as_str());
        town.network().add_proxy_route(&format!("^castle@.*{weight}|^castle@"), through, weight)?;
    }
    println!("  {}: listens nowhere; has connected with two gateways by itself", castle.name());
    println!("  {} and {}: let town pass to the castle, and nobody else", harbour.name(), lighthouse.name());

    let ledger = traffic::start(town, castle.name(), CUSTOMERS).await?;
    ledger.answers_reach(ANSWERS).await;
    let path = |from: &Node, to: &Node| -> Vec<String> {
        let path = from.network().peer(to.name().as_str()).map(|peer| peer.path).unwrap_or_default();
        path.iter().map(ToString::to_string).collect()
    };
    let way = |gateway: &Node| [town, gateway, &castle].map(|node| node.name().to_string());
    println!("  the way of the orders: {}", path(town, &castle).join(" → "));
    checks.add(
        "orders reached the castle, which listens nowhere, through the harbour; both ends know the way",
        castle.network().acceptors().is_empty()
            && path(town, &castle) == way(&harbour)
            && path(&castle, town) == way(&harbour),
    );
    let tunnels = harbour.network().tunnels();
    for tunnel in &tunnels {
        let (there, back) = (tunnel.bytes_to_target, tunnel.bytes_to_client);
        println!("  {} carries tunnel {}: {there} bytes there, {back} back", harbour.name(), tunnel.id);
    }
    checks.add(
        "the harbour has listed and counted what passes, and the lighthouse nothing",
        tunnels.iter().any(|tunnel| tunnel.bytes_to_target > 0 && tunnel.bytes_to_client > 0)
            && lighthouse.network().tunnels().is_empty(),
    );

    let through = NetworkProxyRoute::via(harbour.name().as_str());
    stranger.network().add_proxy_route("^castle@", through, 100)?;
    let refused = match stranger.network().connect(castle.name().as_str()).await {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    println!("  {} wants to pass as well: {refused}", stranger.name());
    checks.add(
        "who may not pass was refused, and told by whom and why",
        refused.contains(&format!("{} refused: not allowed", harbour.name())),
    );

    harbour.stop().await;
    let answers = ledger.answers();
    println!("  the harbour stops after {answers} answers");
    // Each customer may have had one answer in hand that was not counted yet.
    ledger.answers_reach(answers + CUSTOMERS + ANSWERS).await;
    println!("  the way of the orders: {}", path(town, &castle).join(" → "));
    let entries = ledger.close().await;
    let seen: Vec<u64> = town.call(("shop", castle.name()), Inventory).await?;
    let handled: BTreeSet<u64> = seen.iter().copied().collect();
    println!(
        "  {} orders sent, {} answered, {} ended with an error",
        entries.sent,
        entries.answered.len(),
        entries.lost.len()
    );
    checks.add(
        format!("after the harbour stopped, more than {ANSWERS} orders were answered through the lighthouse"),
        path(town, &castle) == way(&lighthouse) && !lighthouse.network().tunnels().is_empty(),
    );
    checks.add(
        "through gateways, too, every order ended once, and the shop got none twice",
        entries.wrong == 0
            && entries.answered.len() + entries.lost.len() == entries.sent as usize
            && entries.lost.keys().all(|number| !entries.answered.contains(number))
            && handled.len() == seen.len()
            && entries.answered.is_subset(&handled),
    );
    for node in [&lighthouse, &castle] {
        node.stop().await;
    }
    Ok(())
}

fn route(to: &Node) -> anyhow::Result<NetworkRoute> {
    let address = address(to)?;
    Ok(NetworkRoute::to(address.ip().to_string(), address.port()))
}
