//! Registering, and staying registered.

use std::sync::Arc;
use std::time::Duration;

use postroad_wire::esrd::{Packet, PacketSplit, Route, reason, split};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::server::Server;
use super::{Inner, RegisterError, Registered, Registration, encode, question};
use crate::Atom;
use crate::network::routes::Names;

/// How long the server may take to answer a registration.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// Pauses between attempts to register again after the server was lost.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Registers, as the server or with it, and keeps the registration up until
/// the registrar is left.
pub(super) async fn register(
    inner: Arc<Inner>,
    registration: Registration,
) -> Result<Registered, RegisterError> {
    let mut held = enter(&inner, &registration).await?;
    let runtime = registration.runtime.clone();
    runtime.spawn(async move {
        loop {
            let lost = async {
                match held {
                    Held::Server => lead_here(&inner, registration.node).await,
                    Held::Client(link) => stay(&inner, link).await,
                }
            };
            tokio::select! {
                () = inner.stop.cancelled() => return,
                () = lost => {}
            }
            tracing::info!(node = %registration.node, "lost the registrar's server; registering again");
            held = tokio::select! {
                () = inner.stop.cancelled() => return,
                held = enter_again(&inner, &registration) => held,
            };
        }
    });
    Ok(Registered::default())
}

/// What keeps the registration up.
enum Held {
    Server,
    Client(TcpStream),
}

/// Becomes the server, or registers with the one there is.
async fn enter(inner: &Inner, registration: &Registration) -> Result<Held, RegisterError> {
    if inner.options.may_serve
        && let Ok(server) = Server::start(&inner.options, &registration.runtime).await
    {
        server.register(registration.node.as_str(), routes(registration));
        let mut serving = inner.serving.lock();
        // The node may have left meanwhile; then the server ends here.
        if !inner.stop.is_cancelled() {
            *serving = Some((registration.node, server));
        }
        return Ok(Held::Server);
    }
    if registration.endpoints.is_empty() {
        // A node that cannot be dialed has nothing to register.
        return Ok(Held::Server);
    }
    let attempt = tokio::time::timeout(REPLY_TIMEOUT, enter_as_client(inner, registration));
    attempt.await.unwrap_or(Err(RegisterError::NoAnswer { port: inner.options.port }))
}

async fn enter_again(inner: &Inner, registration: &Registration) -> Held {
    let mut pause = FIRST_PAUSE;
    loop {
        match enter(inner, registration).await {
            Ok(held) => return held,
            Err(error) => tracing::debug!(node = %registration.node, %error, "not registered yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn enter_as_client(inner: &Inner, registration: &Registration) -> Result<Held, RegisterError> {
    let port = inner.options.port;
    let unreachable = |source| RegisterError::Unreachable { port, source };
    let mut link = TcpStream::connect(("127.0.0.1", port)).await.map_err(unreachable)?;
    let packet =
        Packet::Register { node: registration.node.as_str().to_owned(), routes: routes(registration) };
    // In one write: some servers read once.
    link.write_all(&encode(&packet).map_err(|error| RegisterError::Invalid(error.to_string().into()))?)
        .await
        .map_err(unreachable)?;
    let mut reply = Vec::new();
    loop {
        let whole = split(&reply).map_err(|error| RegisterError::Refused(error.to_string().into()))?;
        if let PacketSplit::Packet { packet, rest } = whole {
            match Packet::decode(packet) {
                Ok(Packet::RegisterReply { error: None }) => return Ok(Held::Client(link)),
                Ok(Packet::RegisterReply { error: Some(error) }) if error == reason::TAKEN => {
                    return Err(RegisterError::Taken { node: registration.node });
                }
                Ok(Packet::RegisterReply { error: Some(error) }) => {
                    return Err(RegisterError::Refused(error.into()));
                }
                // News about other nodes may come first.
                Ok(_) | Err(_) => {
                    reply = rest.to_vec();
                    continue;
                }
            }
        }
        if link.read_buf(&mut reply).await.map_err(unreachable)? == 0 {
            return Err(RegisterError::Refused("the registrar closed the connection".into()));
        }
    }
}

/// Lets the own server know to whom this node leads, for as long as it serves.
async fn lead_here(inner: &Inner, node: Atom) {
    let mut leads = inner.leads.subscribe();
    loop {
        let to = patterns(&leads.borrow_and_update());
        if let Some((_, server)) = &*inner.serving.lock() {
            server.leads(node.as_str(), to);
        }
        if leads.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps a registration until the server is gone.
async fn stay(inner: &Inner, mut link: TcpStream) {
    // It may be another server than before.
    inner.ask_again();
    let (mut news, mut out) = link.split();
    tokio::select! {
        () = wait_for_end(&mut news) => {}
        () = lead_there(inner, &mut out) => {}
    }
}

/// Lets the server know to whom this node leads, if it understands that: one of
/// Ergo would complain of it.
async fn lead_there(inner: &Inner, link: &mut WriteHalf<'_>) {
    let mut leads = inner.leads.subscribe();
    let mut told = Vec::new();
    loop {
        let to = patterns(&leads.borrow_and_update());
        if to != told && question::proxies(inner.options.port).await.is_ok() {
            let Ok(packet) = encode(&Packet::Leads { to: to.clone() }) else { return };
            if link.write_all(&packet).await.is_err() {
                return;
            }
            told = to;
        }
        if leads.changed().await.is_err() {
            return;
        }
    }
}

fn patterns(leads: &[Names]) -> Vec<String> {
    leads.iter().map(ToString::to_string).collect()
}

/// Reads, and ignores, what the server says until it is gone.
async fn wait_for_end(link: &mut ReadHalf<'_>) {
    let mut news = [0; 512];
    while matches!(link.read(&mut news).await, Ok(read) if read > 0) {}
}

fn routes(registration: &Registration) -> Vec<Route> {
    registration
        .endpoints
        .iter()
        .map(|endpoint| Route {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: endpoint.tls,
            handshake_version: endpoint.handshake_version.clone(),
            proto_version: endpoint.proto_version.clone(),
        })
        .collect()
}
