//! A target: somebody comes through other nodes.

use std::sync::Arc;

use postroad_wire::tunnel::{Answer, Operations, Refusal};

use super::side::Side;
use super::{Through, are_distinct};
use crate::Atom;
use crate::network::acceptor::Acceptor;
use crate::network::connection::Connection;
use crate::network::log::log;

/// Lets a client shake hands that the peer of a connection has brought, if the
/// door is open to it.
pub(super) async fn arrive(
    side: Side,
    from: &Arc<Connection>,
    operations: Operations,
    path: Vec<Atom>,
    door: &Arc<Acceptor>,
) {
    let own = from.node().name;
    let gateway = from.peer.name;
    let (through, place) = match check(from, operations, path, door) {
        Ok(through) => match door.tunnel_place() {
            Some(place) => (through, place),
            None => return refuse(side, from, Refusal::TooManyTunnels).await,
        },
        Err(reason) => return refuse(side, from, reason).await,
    };
    let path = [&through.path[..], &[own]].concat();
    let through = Arc::new(Through { path: path.clone(), operations: through.operations });
    log!(from.log, DEBUG, %gateway, ?path, "somebody comes through a tunnel");
    let answer = Answer::Opened { operations: through.operations, path };
    if let Some(stream) = side.reply(&answer).await {
        door.clone().serve_tunnel(stream, through, place).await;
    }
}

async fn refuse(side: Side, from: &Connection, reason: Refusal) {
    let (own, gateway) = (from.node().name, from.peer.name);
    log!(from.log, INFO, %gateway, %reason, "tunnel not accepted");
    side.reply(&Answer::Refused { hop: own, reason }).await;
}

fn check(
    from: &Connection,
    operations: Operations,
    path: Vec<Atom>,
    door: &Acceptor,
) -> Result<Through, Refusal> {
    let node = from.node();
    if !node.network.options.accept_tunnels {
        return Err(Refusal::NotAccepted);
    }
    if path.len() < 2 || path.last() != Some(&from.peer.name) || !are_distinct(&path) {
        return Err(Refusal::ForgedPath);
    }
    if path.contains(&node.name) {
        return Err(Refusal::Loop);
    }
    // A door that asks for TLS asks for it from whoever comes through it.
    match (operations.allow(Operations::ENCRYPTION), door.has_tls()) {
        (false, true) => return Err(Refusal::EncryptionRequired),
        (true, false) => return Err(Refusal::NoEncryption),
        _ => {}
    }
    Ok(Through { path, operations: operations.both(from.permitted()) })
}
