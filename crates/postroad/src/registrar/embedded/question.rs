//! Questions over UDP (`docs/wire/ESRD.md` sections 4 and 8).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use postroad_wire::esrd::{self, Packet, Proxy, Route, reason};
use tokio::net::UdpSocket;

use super::{RegistrarError, ResolveError, encode};
use crate::Atom;

/// How often and how long a question is repeated; then the host has no registrar.
const QUESTIONS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1500)];

/// How long what is known of this host may take: names of nodes, or proxies. A
/// server older than Ergo 3.3 never answers.
const NODES_PATIENCE: Duration = Duration::from_secs(1);

/// Asks the registrar on the host of `name` where that node is.
pub(super) async fn resolve(name: Atom, port: u16) -> Result<Vec<Route>, ResolveError> {
    let host = name.host();
    let question = encode(&Packet::Resolve { node: name.as_str().to_owned() })
        .map_err(|error| ResolveError::Failed(error.to_string().into()))?;
    let failed = |error: io::Error| ResolveError::Failed(format!("{host}:{port}: {error}").into());
    let address = tokio::net::lookup_host((host, port))
        .await
        .map_err(failed)?
        // Registrars listen on IPv4 only.
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| ResolveError::Failed(format!("{host} has no IPv4 address").into()))?;
    let socket = connected(address).await.map_err(failed)?;
    for patience in QUESTIONS {
        if let Err(error) = socket.send(&question).await
            && error.kind() != io::ErrorKind::ConnectionRefused
        {
            return Err(failed(error));
        }
        match tokio::time::timeout(patience, answer(&socket, routes)).await {
            Ok(Ok(outcome)) => return outcome,
            // Nobody listens at this moment: the next server may be about to.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tokio::time::sleep(patience / 2).await;
            }
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => {}
        }
    }
    Err(ResolveError::Failed(format!("no registrar answers at {host}:{port} (UDP)").into()))
}

/// Asks the registrar of this host who is registered there.
pub(super) async fn nodes(port: u16) -> Result<Vec<String>, RegistrarError> {
    let names = |packet| match packet {
        Packet::NodesReply { nodes } => Some(nodes),
        _ => None,
    };
    match tokio::time::timeout(NODES_PATIENCE, ask_here(port, &Packet::Nodes, names)).await {
        Ok(names) => names.map_err(|error| RegistrarError::Backend(std::sync::Arc::new(error))),
        Err(_) => Err(RegistrarError::Timeout(NODES_PATIENCE)),
    }
}

/// Asks the registrar of this host who leads to whom (`docs/wire/ESRD.md`
/// section 9). One that is not postroad's never answers: then the time is out.
pub(super) async fn proxies(port: u16) -> io::Result<Vec<Proxy>> {
    let proxies = |packet| match packet {
        Packet::ProxiesReply { proxies } => Some(proxies),
        _ => None,
    };
    tokio::time::timeout(NODES_PATIENCE, ask_here(port, &Packet::Proxies, proxies)).await?
}

async fn ask_here<T>(port: u16, question: &Packet, read: impl Fn(Packet) -> Option<T>) -> io::Result<T> {
    let socket = connected((Ipv4Addr::LOCALHOST, port).into()).await?;
    let question = encode(question).map_err(io::Error::other)?;
    socket.send(&question).await?;
    answer(&socket, read).await
}

/// A socket that hears nobody else. Each question has one of its own, because
/// answers carry no number.
async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// The first datagram that is an answer; others are ignored.
async fn answer<T>(socket: &UdpSocket, read: impl Fn(Packet) -> Option<T>) -> io::Result<T> {
    let mut buffer = [0; esrd::MAX_RESOLVE_REPLY];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = Packet::decode(&buffer[..length]).ok().and_then(&read) {
            return Ok(answer);
        }
    }
}

fn routes(packet: Packet) -> Option<Result<Vec<Route>, ResolveError>> {
    Some(match packet {
        Packet::ResolveReply { routes, error: None } if !routes.is_empty() => Ok(routes),
        Packet::ResolveReply { error: None, .. } => Err(ResolveError::Unknown),
        Packet::ResolveReply { error: Some(error), .. } if error == reason::UNKNOWN => {
            Err(ResolveError::Unknown)
        }
        Packet::ResolveReply { error: Some(error), .. } => Err(ResolveError::Failed(error.into())),
        _ => return None,
    })
}
