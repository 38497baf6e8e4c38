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

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use postroad_wire::Version;
use postroad_wire::esrd::{self, Packet, PacketError, Proxy, Route};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    BoxFuture, Capabilities, Endpoint, ProxyEndpoint, RegisterError, Registered, Registrar, RegistrarError,
    RegistrarInfo, Registration, ResolveError, Resolver,
};
use crate::Atom;
use crate::network::routes::Names;

use server::Server;

/// For how long a server that does not know of proxies is not asked for them.
const MUTE: Duration = Duration::from_secs(60);

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
    /// To whom that node leads as a proxy.
    leads: watch::Sender<Vec<Names>>,
    /// Until when the server is not asked for proxies.
    mute: Mutex<Option<Instant>>,
    stop: CancellationToken,
}

impl Embedded {
    /// An embedded registrar; it begins to listen when its node registers.
    pub fn new(options: EmbeddedOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            serving: Mutex::new(None),
            node: OnceLock::new(),
            leads: watch::Sender::default(),
            mute: Mutex::default(),
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
            capabilities: Capabilities { nodes: true, proxies: true, ..Capabilities::default() },
            version: Version { license: "MIT".to_owned(), ..Version::new("ESRD", "R1") },
        }
    }

    /// Announced to the nodes of this host, while a node of postroad runs its
    /// server; to others it means nothing ([`RegistrarError::NotSupported`]), and it
    /// is announced when that changes. A node that cannot be dialed is not listed,
    /// and neither is what it leads to. 16 patterns of 1024 bytes together.
    fn register_proxy(&self, to: Names) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            self.check_registered()?;
            let mut fits = true;
            self.0.leads.send_if_modified(|leads| {
                if leads.contains(&to) {
                    return false;
                }
                fits = server::are_few(leads.iter().chain([&to]).map(Names::pattern));
                if fits {
                    leads.push(to.clone());
                }
                fits
            });
            if !fits {
                let why = "there are too many patterns, or they are too long together";
                return Err(RegistrarError::Name { name: to.to_string(), why });
            }
            self.0.proxies().await.map(drop).map_err(|_| RegistrarError::NotSupported)
        })
    }

    fn unregister_proxy(&self, to: Names) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            self.check_registered()?;
            let was_there = self.0.leads.send_if_modified(|leads| {
                let before = leads.len();
                leads.retain(|known| *known != to);
                leads.len() < before
            });
            if was_there { Ok(()) } else { Err(RegistrarError::Unknown) }
        })
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

impl Embedded {
    fn check_registered(&self) -> Result<(), RegistrarError> {
        let is_registered = !self.0.stop.is_cancelled() && self.0.node.get().is_some();
        if is_registered { Ok(()) } else { Err(RegistrarError::Terminated) }
    }
}

impl Inner {
    /// Who leads to whom on this host, as the server of postroad knows that runs
    /// there; another one is not asked often.
    async fn proxies(&self) -> Result<Vec<Proxy>, ResolveError> {
        if let Some((_, server)) = &*self.serving.lock() {
            return Ok(server.proxies());
        }
        if self.mute.lock().is_some_and(|until| Instant::now() < until) {
            return Err(ResolveError::NotSupported);
        }
        question::proxies(self.options.port).await.map_err(|error| {
            if error.kind() == io::ErrorKind::TimedOut {
                *self.mute.lock() = Some(Instant::now() + MUTE);
            }
            ResolveError::NotSupported
        })
    }

    fn ask_again(&self) {
        *self.mute.lock() = None;
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

    /// Among the nodes of this host, in the order of their names, as far as a node
    /// of postroad runs its server.
    fn resolve_proxy(&self, name: Atom) -> BoxFuture<'_, Result<Vec<ProxyEndpoint>, ResolveError>> {
        Box::pin(async move {
            if self.0.stop.is_cancelled() {
                return Err(ResolveError::Terminated);
            }
            let own = self.0.node.get();
            let leads = |proxy: &Proxy| {
                let to = Names::matching(&proxy.to).ok()?;
                let node = crate::node::node_name(&proxy.node).ok()?;
                (to.contains(name.as_str()) && node != name && Some(&node) != own).then_some(node)
            };
            let leading: BTreeSet<Atom> = self.0.proxies().await?.iter().filter_map(leads).collect();
            if leading.is_empty() {
                return Err(ResolveError::Unknown);
            }
            Ok(leading.into_iter().map(|proxy| ProxyEndpoint { to: name, proxy }).collect())
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
