//! The server of a host: who is registered here, and answers about it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// How many questions are answered in a second, and how many of one address.
/// Answers go to whatever address a question claims to come from, so they must
/// not be a useful flood; and who asks too often must not silence the others.
const ANSWERS_PER_SECOND: u32 = 5000;
const ANSWERS_PER_ADDRESS: u32 = 1000;

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

    pub(super) fn nodes(&self) -> Vec<String> {
        self.nodes.0.lock().keys().cloned().collect()
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
    let mut allowance = Allowance::new();
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
        // Two registrars must not be made to talk to each other.
        if from.port() == own_port || !allowance.take(from.ip(), Instant::now()) {
            continue;
        }
        if let Some(answer) = nodes.answer(&buffer[..length]) {
            // A full send buffer loses the answer, as the network may: the asker repeats.
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

/// How many answers are left in this second.
struct Allowance {
    second: Instant,
    answered: u32,
    /// Never longer than [`ANSWERS_PER_SECOND`].
    by_address: HashMap<IpAddr, u32>,
}

impl Allowance {
    fn new() -> Self {
        Self { second: Instant::now(), answered: 0, by_address: HashMap::new() }
    }

    fn take(&mut self, address: IpAddr, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self { second: now, answered: 0, by_address: HashMap::new() };
        }
        if self.answered >= ANSWERS_PER_SECOND {
            return false;
        }
        let by_address = self.by_address.entry(address).or_default();
        if *by_address >= ANSWERS_PER_ADDRESS {
            return false;
        }
        *by_address += 1;
        self.answered += 1;
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_rationed_by_address_and_in_all() {
        let mut allowance = Allowance::new();
        let now = allowance.second;
        let from = |last| IpAddr::from([10, 0, 0, last]);
        let mut granted = |last, at| (0..3000).filter(|_| allowance.take(from(last), at)).count();
        for address in 0..5 {
            assert_eq!(granted(address, now), 1000);
        }
        assert_eq!(granted(5, now), 0, "5000 in all");
        assert_eq!(granted(5, now + Duration::from_secs(1)), 1000, "another second");
    }

    #[test]
    fn ten_thousand_registrations_end_at_the_limit_and_are_gone_with_their_links() {
        let nodes = Arc::new(Nodes::default());
        let enter = |number| nodes.enter(format!("node{number}@localhost"), vec![Route::to_port(1)]);
        let held: Vec<_> = (0..10_000).filter_map(|number| enter(number).ok()).collect();
        assert_eq!(held.len(), MAX_NODES);
        let reply = nodes.answer(&encode(&Packet::Nodes).unwrap()).expect("as many names as fit");
        assert!(reply.len() <= esrd::MAX_RESOLVE_REPLY, "{}", reply.len());
        drop(held);
        assert!(nodes.0.lock().is_empty());
        assert!(enter(10_001).is_ok());
    }

    #[test]
    fn registrations_that_make_no_sense_are_refused() {
        let nodes = Arc::new(Nodes::default());
        let route = || vec![Route::to_port(1)];
        for (name, routes) in [("", route()), ("a", route()), ("a@b@c", route()), ("a@b", Vec::new())] {
            assert_eq!(nodes.enter(name.to_owned(), routes).err(), Some(reason::INCORRECT), "{name}");
        }
        let many = vec![Route::to_port(1); MAX_ROUTES + 1];
        assert_eq!(nodes.enter("a@b".to_owned(), many).err(), Some(reason::INCORRECT));
        let _held = nodes.enter("a@b".to_owned(), route()).expect("it is free");
        assert_eq!(nodes.enter("a@b".to_owned(), route()).err(), Some(reason::TAKEN));
    }
}
