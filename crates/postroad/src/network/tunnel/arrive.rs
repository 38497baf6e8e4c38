//! A target: somebody comes through other nodes.

use std::sync::Arc;

use postroad_wire::NetworkFlags;
use postroad_wire::tunnel::{Answer, MAX_PATH, Operations, Refusal};

use super::side::Side;
use super::{Through, are_distinct};
use crate::Atom;
use crate::network::acceptor::Acceptor;
use crate::network::complaints::Matter;
use crate::network::connection::Connection;
use crate::network::log::log;

/// Lets a client shake hands that the peer of a connection has brought, if the
/// door is open to it.
pub(super) async fn arrive(
    side: Side,
    from: &Arc<Connection>,
    operations: Operations,
    path: Vec<Atom>,
    door: Option<&Arc<Acceptor>>,
) {
    let own = from.node().name;
    let gateway = from.peer.name;
    let welcome = || {
        let door = door.ok_or(Refusal::NotAccepted)?;
        let through = check(from, operations, path, door)?;
        let places = &from.node().network.tunnels.guests.places;
        Ok((door, through, places.take(gateway).ok_or(Refusal::TooManyTunnels)?))
    };
    let (door, through, place) = match welcome() {
        Ok(welcome) => welcome,
        Err(reason) => return refuse(side, from, reason).await,
    };
    let path = [&through.path[..], &[own]].concat();
    let through = Arc::new(Through { path: path.clone(), operations: through.operations });
    log!(from.log, DEBUG, %gateway, ?path, "somebody comes through a tunnel");
    let answer = Answer::Opened { operations: through.operations, path };
    if let Some(stream) = side.reply(&answer).await {
        door.clone().serve_tunnel(stream.carried(), through, place).await;
    }
}

async fn refuse(side: Side, from: &Connection, reason: Refusal) {
    let (own, gateway) = (from.node().name, from.peer.name);
    if let Some(unsaid) = from.node().network.complaints.about((gateway, Matter::Refusal)) {
        log!(from.log, INFO, %gateway, %reason, unsaid, "tunnel not accepted");
    }
    side.reply(&Answer::Refused { hop: own, reason }).await;
}

fn check(
    from: &Connection,
    operations: Operations,
    path: Vec<Atom>,
    door: &Acceptor,
) -> Result<Through, Refusal> {
    let node = from.node();
    if !from.allows(NetworkFlags::PROXY_ACCEPT) {
        return Err(Refusal::NotAccepted);
    }
    if path.len() >= MAX_PATH {
        return Err(Refusal::HopsExhausted);
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
    // Encryption is between the ends, whatever the gateway is reached through.
    let permitted = from.permitted().with(Operations::ENCRYPTION);
    Ok(Through { path, operations: operations.both(permitted) })
}
