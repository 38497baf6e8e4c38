//! The server of a host: who is registered here, and answers about it.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad_wire::esrd::{self, Packet, PacketError, PacketSplit, Proxy, Route, reason, split};
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

/// How many patterns a node may lead to, and how long they may be together, in
/// bytes.
const MAX_LEADS: usize = 16;
const MAX_LEADS_LEN: usize = 1024;

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
struct Nodes(Mutex<HashMap<String, Entry>>);

/// What is known of a node.
#[derive(Debug)]
struct Entry {
    routes: Vec<Route>,
    /// Patterns of the nodes it leads to as a proxy. They are not looked at here.
    leads: Vec<String>,
}

/// Whether a node may lead to all of these.
pub(super) fn are_few<'a>(mut leads: impl Iterator<Item = &'a str> + Clone) -> bool {
    leads.clone().count() <= MAX_LEADS
        && leads.try_fold(MAX_LEADS_LEN, |left, to| left.checked_sub(to.len())).is_some()
}

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
            self.nodes.0.lock().insert(node.to_owned(), Entry { routes, leads: Vec::new() });
        }
    }

    /// The node that runs this server leads to these.
    pub(super) fn leads(&self, node: &str, to: Vec<String>) {
        self.nodes.leads(node, to);
    }

    pub(super) fn routes_of(&self, node: &str) -> Option<Vec<Route>> {
        self.nodes.0.lock().get(node).map(|entry| entry.routes.clone())
    }

    pub(super) fn proxies(&self) -> Vec<Proxy> {
        self.nodes.proxies()
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
    let mut bytes = Vec::with_capacity(512);
    let registered = match tokio::time::timeout(REGISTER_TIMEOUT, read_packet(&mut link, &mut bytes)).await {
        Ok(Ok(Ok(Packet::Register { node, routes }))) => nodes.enter(node, routes),
        Ok(Ok(_)) => Err(reason::INCORRECT),
        Ok(Err(error)) => return tracing::debug!(%from, %error, "registration failed"),
        Err(_) => return tracing::debug!(%from, "no registration in time"),
    };
    let error = registered.as_ref().err().map(|reason| (*reason).to_owned());
    let Ok(reply) = encode(&Packet::RegisterReply { error }) else { return };
    let (Ok(()), Ok(registered)) = (link.write_all(&reply).await, registered) else { return };
    loop {
        match read_packet(&mut link, &mut bytes).await {
            Ok(Ok(Packet::Leads { to })) => nodes.leads(&registered.node, to),
            Ok(Ok(_) | Err(PacketError::UnknownType(_))) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// The next packet of a link, of which `bytes` have come already.
async fn read_packet(link: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Result<Packet, PacketError>> {
    loop {
        match split(bytes) {
            Ok(PacketSplit::Packet { packet, .. }) => {
                let (read, len) = (Packet::decode(packet), packet.len());
                bytes.drain(..len);
                return Ok(read);
            }
            Ok(PacketSplit::Need { .. }) if bytes.len() < esrd::MAX_REGISTER => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the packet is too long")),
            Err(error) => return Ok(Err(error)),
        }
        if link.read_buf(bytes).await? == 0 {
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
        nodes.insert(node.clone(), Entry { routes, leads: Vec::new() });
        Ok(Registered { nodes: self.clone(), node })
    }

    /// A node that is registered leads to these, in the place of what it said before.
    fn leads(&self, node: &str, to: Vec<String>) {
        if !are_few(to.iter().map(String::as_str)) {
            return tracing::debug!(node, "it leads to too many patterns, or too long ones: ignored");
        }
        if let Some(entry) = self.0.lock().get_mut(node) {
            entry.leads = to;
        }
    }

    /// Who leads to whom: as many as fit into a datagram that askers read.
    fn proxies(&self) -> Vec<Proxy> {
        let nodes = self.0.lock();
        let all = nodes.iter().flat_map(|(node, entry)| {
            entry.leads.iter().map(|to| Proxy { node: node.clone(), to: to.clone() })
        });
        let room = Room::default();
        all.take_while(|proxy| room.take(proxy.node.len() + proxy.to.len() + 4)).collect()
    }
}

/// What is left of a datagram.
struct Room(Cell<usize>);

impl Default for Room {
    fn default() -> Self {
        Self(Cell::new(esrd::MAX_RESOLVE_REPLY - 128))
    }
}

impl Room {
    fn take(&self, len: usize) -> bool {
        let left = self.0.get().checked_sub(len);
        self.0.set(left.unwrap_or(0));
        left.is_some()
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
        if let Some(answer) = nodes.answer(&buffer[..length], from.ip()) {
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
    fn answer(&self, question: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        let answer = match Packet::decode(question).ok()? {
            Packet::Resolve { node } => match self.0.lock().get(&node) {
                Some(entry) => Packet::ResolveReply { routes: entry.routes.clone(), error: None },
                None => Packet::ResolveReply { routes: Vec::new(), error: Some(reason::UNKNOWN.to_owned()) },
            },
            Packet::Nodes => {
                // As many as fit into a datagram that askers read.
                let room = Room::default();
                let nodes = self.0.lock();
                let fitting = nodes.keys().take_while(|node| room.take(node.len() + 2));
                Packet::NodesReply { nodes: fitting.cloned().collect() }
            }
            // Whom a gateway leads to is for nodes of this host.
            Packet::Proxies if from.is_loopback() => Packet::ProxiesReply { proxies: self.proxies() },
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
        let reply = nodes
            .answer(&encode(&Packet::Nodes).unwrap(), IpAddr::from([10, 0, 0, 1]))
            .expect("as many names as fit");
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

    #[test]
    fn gateways_are_told_to_this_host_as_far_as_they_fit() {
        let nodes = Arc::new(Nodes::default());
        let question = encode(&Packet::Proxies).unwrap();
        let asked = |from: [u8; 4]| nodes.answer(&question, IpAddr::from(from));
        let told = || match Packet::decode(&asked([127, 0, 0, 1]).unwrap()) {
            Ok(Packet::ProxiesReply { proxies }) => proxies,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked([10, 0, 0, 1]), None);
        assert_eq!(told(), []);
        let gateway = nodes.enter("gateway@localhost".to_owned(), vec![Route::to_port(1)]).unwrap();
        nodes.leads(&gateway.node, vec!["db@private".to_owned()]);
        let one = [Proxy { node: gateway.node.clone(), to: "db@private".to_owned() }];
        assert_eq!(told(), one);
        for too_much in [vec!["x".to_owned(); MAX_LEADS + 1], vec!["x".repeat(MAX_LEADS_LEN + 1)]] {
            nodes.leads(&gateway.node, too_much);
            assert_eq!(told(), one);
        }
        nodes.leads("nobody@localhost", vec!["web@private".to_owned()]);
        assert_eq!(told(), one);
        let name = |number| format!("gateway{number}@localhost");
        let all: Vec<_> =
            (0..9).filter_map(|number| nodes.enter(name(number), vec![Route::to_port(1)]).ok()).collect();
        for other in &all {
            nodes.leads(&other.node, vec!["x".repeat(MAX_LEADS_LEN)]);
        }
        assert!(asked([127, 0, 0, 1]).unwrap().len() <= esrd::MAX_RESOLVE_REPLY);
        drop((all, gateway));
        assert_eq!(told(), []);
    }
}
