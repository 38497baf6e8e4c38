//! `postroad connections`: whom a running node is connected with.

use std::process::ExitCode;
use std::time::Duration;

use postroad::inspect::ConnectionSummary;
use serde_json::{Value as Json, json};

use super::table::Table;
use super::{Asked, between, bytes, names, span};

/// Lists the nodes that a running node is connected with.
///
/// The guest that asks is one of them. TRANSIT is what passed for others in
/// tunnels; THROUGH is all gateways on the way, and OPERATIONS what may be done on it
/// besides messages. ROAD is why which address was dialed; `in` came in by itself.
/// The node needs an inspector: `postroad node` has one.
#[derive(clap::Args)]
pub(crate) struct Connections {
    #[command(flatten)]
    asked: Asked,
}

impl Connections {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let visit = self.asked.visit("connections").await?;
        let connections = visit.connections().await;
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
        " TRANSIT IN",
        " TRANSIT OUT",
        "THROUGH",
        "OPERATIONS",
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
            bytes(connection.transit_in),
            bytes(connection.transit_out),
            names(&between(&connection.path)),
            if connection.path.is_empty() { "-".to_owned() } else { names(&connection.operations) },
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
        "through": between(&connection.path),
        "operations": (!connection.path.is_empty()).then_some(&connection.operations),
        "transit_in": connection.transit_in,
        "transit_out": connection.transit_out,
    })
}
