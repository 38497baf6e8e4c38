//! The embedded registrar: nodes on one host find each other, and Ergo's,
//! without any configuration (`docs/wire/ESRD.md`).
//!
//! The first node of a host that gets the port runs the server, the others
//! register with it over TCP; anybody asks over UDP. When the server's node
//! ends, one of the others takes over. What it says is a hint: nothing about it
//! is authenticated, the handshake decides.

mod client;
mod server;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad_wire::esrd::{self, Packet, PacketError, Route, reason};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{BoxFuture, Endpoint, RegisterError, Registrar, Registration, ResolveError, Resolver};
use crate::Atom;

use server::Server;

/// Where the embedded registrar listens, and whether this node may be its server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EmbeddedOptions {
    /// TCP and UDP port; it must be the same on all hosts. Default 4499, as in Ergo.
    pub port: u16,
    /// Whether this node becomes the server if the host has none. Default true.
    pub may_serve: bool,
    /// The address that questions over UDP are answered on. Default 127.0.0.1:
    /// only this host can ask. Let other hosts ask with `0.0.0.0`: everybody who
    /// reaches the port may then probe for names.
    pub answer_on: IpAddr,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { port: esrd::DEFAULT_PORT, may_serve: true, answer_on: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }
}

impl EmbeddedOptions {
    /// The defaults on another port.
    pub fn port(port: u16) -> Self {
        Self { port, ..Self::default() }
    }
}

/// The embedded registrar of one node.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: EmbeddedOptions,
    /// The server, while this node runs it, and the name it was registered under.
    serving: Mutex<Option<(Atom, Server)>>,
    stop: CancellationToken,
}

/// How often and how long a question is repeated; then the host has no registrar.
const QUESTIONS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_millis(1500)];

impl Embedded {
    /// An embedded registrar; it begins to listen when its node registers.
    pub fn new(options: EmbeddedOptions) -> Self {
        Self(Arc::new(Inner { options, serving: Mutex::new(None), stop: CancellationToken::new() }))
    }

    /// Whether this node runs the server of its host at this moment.
    pub fn is_server(&self) -> bool {
        self.0.serving.lock().is_some()
    }
}

impl Registrar for Embedded {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<(), RegisterError>> {
        Box::pin(client::register(self.0.clone(), registration))
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.0.stop.cancel();
            // Dropping the server closes its sockets.
            self.0.serving.lock().take();
        })
    }
}

impl Resolver for Embedded {
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async move {
            let known = self.0.serving.lock().as_ref().and_then(|(own, server)| {
                (own.host() == name.host()).then(|| server.routes_of(name.as_str()))
            });
            let routes = match known {
                Some(Some(routes)) => routes,
                Some(None) => return Err(ResolveError::Unknown),
                None => ask(name, self.0.options.port).await?,
            };
            Ok(routes.into_iter().map(|route| endpoint(route, name)).collect())
        })
    }

    fn describe(&self) -> String {
        format!("embedded registrar, port {}", self.0.options.port)
    }
}

fn encode(packet: &Packet) -> Result<Vec<u8>, PacketError> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes)?;
    Ok(bytes)
}

fn endpoint(route: Route, name: Atom) -> Endpoint {
    let host = if route.host.is_empty() { name.host().to_owned() } else { route.host };
    Endpoint {
        host,
        port: route.port,
        tls: route.tls,
        handshake_version: route.handshake_version,
        proto_version: route.proto_version,
    }
}

/// Asks the registrar on the host of `name`. Each question has a socket of its
/// own, because answers carry no number.
async fn ask(name: Atom, port: u16) -> Result<Vec<Route>, ResolveError> {
    let host = name.host();
    let question = encode(&Packet::Resolve { node: name.as_str().to_owned() })
        .map_err(|error| ResolveError::Failed(error.to_string().into()))?;
    let failed = |error: std::io::Error| ResolveError::Failed(format!("{host}:{port}: {error}").into());
    let address = tokio::net::lookup_host((host, port))
        .await
        .map_err(failed)?
        // Registrars listen on IPv4 only.
        .find(std::net::SocketAddr::is_ipv4)
        .ok_or_else(|| ResolveError::Failed(format!("{host} has no IPv4 address").into()))?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    let mut answer = [0; esrd::MAX_RESOLVE_REPLY];
    for patience in QUESTIONS {
        if let Err(error) = socket.send(&question).await
            && error.kind() != std::io::ErrorKind::ConnectionRefused
        {
            return Err(failed(error));
        }
        match tokio::time::timeout(patience, receive_answer(&socket, &mut answer)).await {
            Ok(Ok(outcome)) => return outcome,
            // Nobody listens at this moment: the next server may be about to.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                tokio::time::sleep(patience / 2).await;
            }
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => {}
        }
    }
    Err(ResolveError::Failed(format!("no registrar answers at {host}:{port} (UDP)").into()))
}

/// The first answer that is one; other datagrams are ignored.
async fn receive_answer(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> std::io::Result<Result<Vec<Route>, ResolveError>> {
    loop {
        let length = socket.recv(buffer).await?;
        match Packet::decode(&buffer[..length]) {
            Ok(Packet::ResolveReply { routes, error: None }) if !routes.is_empty() => return Ok(Ok(routes)),
            Ok(Packet::ResolveReply { error: None, .. }) => return Ok(Err(ResolveError::Unknown)),
            Ok(Packet::ResolveReply { error: Some(error), .. }) if error == reason::UNKNOWN => {
                return Ok(Err(ResolveError::Unknown));
            }
            Ok(Packet::ResolveReply { error: Some(error), .. }) => {
                return Ok(Err(ResolveError::Failed(error.into())));
            }
            Ok(_) | Err(_) => {}
        }
    }
}
