//! The embedded registrar: nodes on one host find each other, and Ergo's,
//! without any configuration (`docs/wire/ESRD.md`).
//!
//! The first node of a host that gets the port runs the server, the others
//! register with it over TCP; anybody asks over UDP. When the server's node
//! ends, one of the others takes over. What it says is a hint: nothing about it
//! is authenticated, the handshake decides.

mod client;
mod question;
mod server;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use postroad_wire::Version;
use postroad_wire::esrd::{self, Packet, PacketError, Route};
use tokio_util::sync::CancellationToken;

use super::{
    BoxFuture, Capabilities, Endpoint, RegisterError, Registered, Registrar, RegistrarError, RegistrarInfo,
    Registration, ResolveError, Resolver,
};
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
    /// Whether a node has begun to register, and which.
    node: OnceLock<Atom>,
    stop: CancellationToken,
}

impl Embedded {
    /// An embedded registrar; it begins to listen when its node registers.
    pub fn new(options: EmbeddedOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            serving: Mutex::new(None),
            node: OnceLock::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Whether this node runs the server of its host at this moment.
    pub fn is_server(&self) -> bool {
        self.0.serving.lock().is_some()
    }
}

impl Registrar for Embedded {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async move {
            if self.0.stop.is_cancelled() || self.0.node.set(registration.node).is_err() {
                return Err(RegisterError::Used);
            }
            client::register(self.0.clone(), registration).await
        })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.0.stop.cancel();
            // Dropping the server closes its sockets.
            self.0.serving.lock().take();
        })
    }

    fn info(&self) -> RegistrarInfo {
        RegistrarInfo {
            server: format!("127.0.0.1:{}", self.0.options.port),
            embedded: self.is_server(),
            capabilities: Capabilities { nodes: true, ..Capabilities::default() },
            version: Version { license: "MIT".to_owned(), ..Version::new("ESRD", "R1") },
        }
    }

    /// The nodes of this host. When this node does not run the server, it is
    /// asked, and only servers of postroad and of Ergo 3.3 and later answer:
    /// with as many names as fit into a datagram.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Atom>, RegistrarError>> {
        Box::pin(async {
            if self.0.stop.is_cancelled() {
                return Err(RegistrarError::Terminated);
            }
            let known = self.0.serving.lock().as_ref().map(|(_, server)| server.nodes());
            let names = match known {
                Some(names) => names,
                None => question::nodes(self.0.options.port).await?,
            };
            let own = self.0.node.get();
            let names = names.iter().filter_map(|name| crate::node::node_name(name).ok());
            Ok(names.filter(|name| Some(name) != own).collect())
        })
    }
}

impl Resolver for Embedded {
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async move {
            if self.0.stop.is_cancelled() {
                return Err(ResolveError::Terminated);
            }
            let known = self.0.serving.lock().as_ref().and_then(|(own, server)| {
                (own.host() == name.host()).then(|| server.routes_of(name.as_str()))
            });
            let routes = match known {
                Some(Some(routes)) => routes,
                Some(None) => return Err(ResolveError::Unknown),
                None => question::resolve(name, self.0.options.port).await?,
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
