//! The server of a host: who is registered here, and answers about it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad_wire::esrd::{self, Packet, PacketSplit, Route, reason, split};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{EmbeddedOptions, encode};

/// How long a client may take to send its registration.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(1);

/// How many nodes a host may register, and how many routes each of them.
const MAX_NODES: usize = 4096;
const MAX_ROUTES: usize = 16;

/// How many questions are answered in a second. Answers go to whatever address
/// a question claims to come from, so they must not be a useful flood.
const ANSWERS_PER_SECOND: u32 = 5000;

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    nodes: Arc<Nodes>,
    _running: DropGuard,
}

#[derive(Debug, Default)]
struct Nodes(Mutex<HashMap<String, Vec<Route>>>);

impl Server {
    /// Takes both sockets of the port, or neither.
    pub(super) async fn start(
        options: &EmbeddedOptions,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let socket = UdpSocket::bind((options.answer_on, options.port)).await?;
        let nodes = Arc::new(Nodes::default());
        let stop = CancellationToken::new();
        let (accept, answer) = (nodes.clone(), nodes.clone());
        let (tcp, udp) = (stop.clone(), stop.clone());
        runtime
            .spawn(async move { tcp.clone().run_until_cancelled(accept_all(listener, accept, tcp)).await });
        runtime.spawn(async move { udp.run_until_cancelled(answer_all(socket, answer)).await });
        Ok(Self { nodes, _running: stop.drop_guard() })
    }

    /// Registers the node that runs this server.
    pub(super) fn register(&self, node: &str, routes: Vec<Route>) {
        if !routes.is_empty() {
            self.nodes.0.lock().insert(node.to_owned(), routes);
        }
    }

    pub(super) fn routes_of(&self, node: &str) -> Option<Vec<Route>> {
        self.nodes.0.lock().get(node).cloned()
    }
}

async fn accept_all(listener: TcpListener, nodes: Arc<Nodes>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_NODES));
    loop {
        match listener.accept().await {
            Ok((link, from)) => {
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                let (nodes, stop) = (nodes.clone(), stop.clone());
                tokio::spawn(async move {
                    let _place = place;
                    stop.run_until_cancelled(serve(link, from, nodes)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "registrar cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A node's registration: it lasts as long as the connection.
async fn serve(mut link: TcpStream, from: SocketAddr, nodes: Arc<Nodes>) {
    let registered = match tokio::time::timeout(REGISTER_TIMEOUT, read_register(&mut link)).await {
        Ok(Ok(Some((node, routes)))) => nodes.enter(node, routes),
        Ok(Ok(None)) => Err(reason::INCORRECT),
        Ok(Err(error)) => return tracing::debug!(%from, %error, "registration failed"),
        Err(_) => return tracing::debug!(%from, "no registration in time"),
    };
    let error = registered.as_ref().err().map(|reason| (*reason).to_owned());
    let Ok(reply) = encode(&Packet::RegisterReply { error }) else { return };
    if link.write_all(&reply).await.is_err() || registered.is_err() {
        return;
    }
    let mut ignored = [0; 512];
    while matches!(link.read(&mut ignored).await, Ok(read) if read > 0) {}
}

/// Reads one Register; nothing if something else came.
async fn read_register(link: &mut TcpStream) -> io::Result<Option<(String, Vec<Route>)>> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        match split(&bytes) {
            Ok(PacketSplit::Packet { packet, .. }) => {
                return Ok(match Packet::decode(packet) {
                    Ok(Packet::Register { node, routes }) => Some((node, routes)),
                    Ok(_) | Err(_) => None,
                });
            }
            Ok(PacketSplit::Need { .. }) if bytes.len() < esrd::MAX_REGISTER => {}
            Ok(_) | Err(_) => return Ok(None),
        }
        if link.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Nodes {
    fn enter(self: &Arc<Self>, node: String, routes: Vec<Route>) -> Result<Registered, &'static str> {
        if crate::node::node_name(&node).is_err() || routes.is_empty() || routes.len() > MAX_ROUTES {
            return Err(reason::INCORRECT);
        }
        let mut nodes = self.0.lock();
        if nodes.contains_key(&node) || nodes.len() >= MAX_NODES {
            return Err(reason::TAKEN);
        }
        nodes.insert(node.clone(), routes);
        Ok(Registered { nodes: self.clone(), node })
    }
}

/// A node's entry, gone when this is dropped.
struct Registered {
    nodes: Arc<Nodes>,
    node: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.nodes.0.lock().remove(&self.node);
    }
}

async fn answer_all(socket: UdpSocket, nodes: Arc<Nodes>) {
    let own_port = socket.local_addr().map_or(0, |address| address.port());
    let mut buffer = [0; esrd::MAX_RESOLVE];
    let mut second = Instant::now();
    let mut answered = 0;
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // For example that an earlier answer reached nobody.
                tracing::trace!(%error, "registrar cannot receive");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, answered) = (Instant::now(), 0);
        }
        answered += 1;
        // Two registrars must not be made to talk to each other.
        if from.port() == own_port || answered > ANSWERS_PER_SECOND {
            continue;
        }
        if let Some(answer) = nodes.answer(&buffer[..length]) {
            // A full send buffer loses the answer, as the network may: the asker repeats.
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

impl Nodes {
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let answer = match Packet::decode(question).ok()? {
            Packet::Resolve { node } => match self.0.lock().get(&node) {
                Some(routes) => Packet::ResolveReply { routes: routes.clone(), error: None },
                None => Packet::ResolveReply { routes: Vec::new(), error: Some(reason::UNKNOWN.to_owned()) },
            },
            Packet::Nodes => {
                // As many as fit into a datagram that askers read.
                let mut room = esrd::MAX_RESOLVE_REPLY - 128;
                let nodes = self.0.lock();
                let fitting = nodes.keys().take_while(|node| {
                    let fits = node.len() + 2 <= room;
                    room = room.saturating_sub(node.len() + 2);
                    fits
                });
                Packet::NodesReply { nodes: fitting.cloned().collect() }
            }
            _ => return None,
        };
        let bytes = encode(&answer).ok()?;
        (bytes.len() <= esrd::MAX_RESOLVE_REPLY).then_some(bytes)
    }
}
