//! `postroad tunnels`: what a running gateway carries.

use std::process::ExitCode;
use std::time::Duration;

use postroad::Atom;
use postroad::inspect::{
    CloseTunnel, ConnectionSummary, DrainTransit, ListTunnels, TunnelPage, TunnelSummary,
};
use serde_json::{Value as Json, json};

use super::table::Table;
use super::{Asked, Visit, between, bytes, names, span};

/// Lists the tunnels that a running gateway carries for others, closes one, or
/// has it take no new ones.
///
/// THROUGH is all gateways on the way. Below them is what has passed by way of each
/// neighbour that is connected, in tunnels that have ended as well. The node needs an inspector:
/// `postroad node` has one. Who closes and drains must come in by an acceptor for
/// operators (docs/inspection.md).
#[derive(clap::Args)]
pub(crate) struct Tunnels {
    #[command(flatten)]
    asked: Asked,
    /// Closes this tunnel at once. Its client may ask for another one.
    #[arg(long, value_name = "ID", conflicts_with_all = ["drain", "resume"])]
    close: Option<u64>,
    /// Takes no new tunnels, and finishes those that are open. It is done when
    /// none is listed any more.
    #[arg(long, conflicts_with = "resume")]
    drain: bool,
    /// Takes new tunnels again.
    #[arg(long)]
    resume: bool,
}

impl Tunnels {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let visit = self.asked.visit("tunnels").await?;
        let said = match self.close {
            Some(id) => close(&visit, id).await,
            None if self.drain || self.resume => drain(&visit, self.drain).await,
            None => list(&visit).await,
        };
        visit.leave().await;
        print!("{}", said?);
        Ok(ExitCode::SUCCESS)
    }
}

async fn close(visit: &Visit<'_>, id: u64) -> anyhow::Result<String> {
    let () = visit.ask(CloseTunnel { id }).await?;
    Ok(match visit.asked.json {
        true => format!("{}\n", json!({ "closed": id })),
        false => format!("tunnel {id} is closed\n"),
    })
}

async fn drain(visit: &Visit<'_>, drain: bool) -> anyhow::Result<String> {
    let open: u64 = visit.ask(DrainTransit { drain }).await?;
    let name = &visit.asked.guest.name;
    Ok(match (visit.asked.json, drain) {
        (true, _) => format!("{}\n", json!({ "draining": drain, "open": open })),
        (false, true) => format!("{name} takes no new tunnels; {open} are open\n"),
        (false, false) => format!("{name} takes tunnels again; {open} are open\n"),
    })
}

async fn list(visit: &Visit<'_>) -> anyhow::Result<String> {
    let mut tunnels = Vec::new();
    let mut list = ListTunnels::default();
    let last = loop {
        let mut page: TunnelPage = visit.ask(list.clone()).await?;
        tunnels.append(&mut page.tunnels);
        // A page that does not lead further is the last one, whatever it says.
        if page.next <= list.after {
            break page;
        }
        list.after = page.next;
    };
    let mut neighbours = visit.connections().await?;
    neighbours.retain(|neighbour| neighbour.transit_in > 0 || neighbour.transit_out > 0);
    if visit.asked.json {
        let tunnels: Vec<Json> = tunnels.iter().map(tunnel_json).collect();
        let neighbours: Vec<Json> = neighbours.iter().map(neighbour_json).collect();
        let answer = json!({
            "gateway": last.gateway,
            "draining": last.draining,
            "tunnels": tunnels,
            "neighbours": neighbours,
        });
        return Ok(format!("{answer}\n"));
    }
    let name = &visit.asked.guest.name;
    let note = match (last.gateway, last.draining) {
        (false, _) => format!("{name} is no gateway: it has no transit rules\n"),
        (true, true) => format!("{name} is draining: it takes no new tunnels\n"),
        (true, false) => String::new(),
    };
    let totals = if neighbours.is_empty() { String::new() } else { format!("\n{}", totals(&neighbours)) };
    Ok(format!("{}{totals}{note}", table(&tunnels)))
}

fn table(tunnels: &[TunnelSummary]) -> Table {
    let headings =
        [" ID", "CLIENT", "THROUGH", "TARGET", " TO TARGET", " TO CLIENT", " OPEN", " IDLE", "OPERATIONS"];
    let mut table = Table::new(headings);
    for tunnel in tunnels {
        let (client, target) = ends(tunnel);
        table.row([
            tunnel.id.to_string(),
            client.to_owned(),
            names(&between(&tunnel.path)),
            target.to_owned(),
            bytes(tunnel.bytes_to_target),
            bytes(tunnel.bytes_to_client),
            span(Duration::from_millis(tunnel.open)),
            span(Duration::from_millis(tunnel.idle)),
            names(&tunnel.operations),
        ]);
    }
    table
}

/// What has passed for others by way of each neighbour that is connected.
fn totals(neighbours: &[ConnectionSummary]) -> Table {
    let mut table = Table::new(["NEIGHBOUR", " FROM IT", " TO IT"]);
    for neighbour in neighbours {
        table.row([neighbour.peer.to_string(), bytes(neighbour.transit_in), bytes(neighbour.transit_out)]);
    }
    table
}

/// The client and the target.
fn ends(tunnel: &TunnelSummary) -> (&str, &str) {
    let name = |node: Option<&Atom>| node.map_or("", |node| node.as_str());
    (name(tunnel.path.first()), name(tunnel.path.last()))
}

fn tunnel_json(tunnel: &TunnelSummary) -> Json {
    let (client, target) = ends(tunnel);
    json!({
        "id": tunnel.id,
        "client": client,
        "through": between(&tunnel.path),
        "target": target,
        "operations": tunnel.operations,
        "bytes_to_target": tunnel.bytes_to_target,
        "bytes_to_client": tunnel.bytes_to_client,
        "open_ms": tunnel.open,
        "idle_ms": tunnel.idle,
    })
}

fn neighbour_json(neighbour: &ConnectionSummary) -> Json {
    json!({
        "node": neighbour.peer.as_str(),
        "transit_in": neighbour.transit_in,
        "transit_out": neighbour.transit_out,
    })
}
