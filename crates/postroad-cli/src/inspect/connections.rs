//! `postroad connections`: whom a running node is connected with.

use std::process::ExitCode;
use std::time::Duration;

use postroad::inspect::{ConnectionPage, ConnectionSummary, ListConnections};
use serde_json::{Value as Json, json};

use super::table::Table;
use super::{Asked, Visit, bytes, span};

/// Lists the nodes that a running node is connected with.
///
/// The guest that asks is one of them. ROAD is why which address was dialed;
/// `in` came in by itself. The node needs an inspector: `postroad node` has one.
#[derive(clap::Args)]
pub(crate) struct Connections {
    #[command(flatten)]
    asked: Asked,
}

impl Connections {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let visit = self.asked.visit("connections").await?;
        let connections = all(&visit).await;
        visit.leave().await;
        let connections = connections?;
        if self.asked.json {
            println!("{}", Json::Array(connections.iter().map(connection_json).collect()));
        } else {
            print!("{}", table(&connections));
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn all(visit: &Visit<'_>) -> anyhow::Result<Vec<ConnectionSummary>> {
    let mut all = Vec::new();
    let mut list = ListConnections::default();
    loop {
        let page: ConnectionPage = visit.ask(list.clone()).await?;
        all.extend(page.connections);
        // A page that does not lead further is the last one, whatever it says.
        if page.next <= list.after {
            return Ok(all);
        }
        list.after = page.next;
    }
}

fn table(connections: &[ConnectionSummary]) -> Table {
    let mut table = Table::new([
        "NODE",
        "VERSION",
        " CONNECTED",
        " LINKS",
        " FRAMES IN",
        " FRAMES OUT",
        " IN",
        " OUT",
        "ROAD",
    ]);
    for connection in connections {
        table.row([
            connection.peer.to_string(),
            connection.version.clone(),
            span(Duration::from_secs(connection.connected)),
            format!("{}/{}", connection.links, connection.pool_size),
            connection.frames_in.to_string(),
            connection.frames_out.to_string(),
            bytes(connection.bytes_in),
            bytes(connection.bytes_out),
            if connection.dialed { connection.road.clone() } else { "in".to_owned() },
        ]);
    }
    table
}

fn connection_json(connection: &ConnectionSummary) -> Json {
    json!({
        "node": connection.peer.as_str(),
        "creation": connection.creation,
        "version": connection.version,
        "uptime_s": connection.uptime,
        "connected_s": connection.connected,
        "dialed": connection.dialed,
        "road": connection.dialed.then_some(&connection.road),
        "links": connection.links,
        "pool_size": connection.pool_size,
        "frames_in": connection.frames_in,
        "frames_out": connection.frames_out,
        "bytes_in": connection.bytes_in,
        "bytes_out": connection.bytes_out,
    })
}
