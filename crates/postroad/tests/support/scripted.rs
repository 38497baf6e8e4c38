//! A peer that follows a test's script instead of the rules. It speaks through
//! the machines of postroad-wire, and says whatever else it is told to.
//!
//! ```ignore
//! let mut caller = Caller::dial(&node, introduction("caller")).await;
//! caller.hello().await;
//! let mut link = caller.introduce().await;
//! link.send_message(echo, &1u8).await;
//! assert_eq!(link.hears::<u8>().await, 1);
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postroad::edf::{DecodeTables, Decoder, EncodeTables, Encoder, Registry};
use postroad::network::{NetworkRoute, exact};
use postroad::{Atom, Message, Node, Pid, Ref};
use postroad_wire::NetworkFlags;
use postroad_wire::ehs::{self, Accept, AcceptStep, Dial, Established, Introduction, Join, Stage};
use postroad_wire::enp::{self, Delivery, Frame, Head, Split, Target, any};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{COOKIE, port, unique};

/// What a well-behaved peer would say about itself.
pub fn introduction(name: &str) -> Introduction {
    let mut introduction = Introduction::new(Atom::new(&unique(name)).unwrap(), 1_700_000_000);
    introduction.flags = NetworkFlags::ENABLE;
    introduction
}

/// How long a peer waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} in time"))
}

/// A socket without any manners.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What has arrived and has not been looked at.
    arrived: Vec<u8>,
}

impl Wire {
    /// Connects to a node's acceptor.
    pub async fn to(node: &Node) -> Self {
        Self::from_host("127.0.0.1", node).await.expect("the acceptor takes connections")
    }

    /// Connects to a node's acceptor from another address of this host.
    pub async fn from_host(host: &str, node: &Node) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(host.parse().unwrap(), 0))?;
        let stream = socket.connect(SocketAddr::new("127.0.0.1".parse().unwrap(), port(node))).await?;
        Ok(Self::new(stream))
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, arrived: Vec::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the node reads");
    }

    /// Sends as many bytes as the system takes, without letting anybody else run.
    pub fn send_at_once(&mut self, bytes: &[u8]) -> usize {
        self.stream.try_write(bytes).expect("the node reads")
    }

    /// Closes in such a way that the node's next write fails.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends bytes as they are, until the node does not take them any more;
    /// one at a time, with a pause after each.
    pub async fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for something to arrive; false if the node has closed.
    pub async fn hear(&mut self) -> bool {
        self.arrived.reserve(64 << 10);
        match in_time("the node says something", self.stream.read_buf(&mut self.arrived)).await {
            Ok(n) => n > 0,
            Err(error) => panic!("the connection broke: {error}"),
        }
    }

    /// Waits for the node to say something.
    pub async fn expect_answer(&mut self) {
        assert!(self.hear().await, "the node has closed");
    }

    /// Says something; whether the node answers instead of closing.
    pub async fn is_answered(&mut self, bytes: &[u8]) -> bool {
        let exchange = async {
            self.stream.write_all(bytes).await?;
            self.stream.read_buf(&mut self.arrived).await
        };
        matches!(in_time("the node answers or closes", exchange).await, Ok(1..))
    }

    /// Waits until the node closes. What it says before is not looked at.
    pub async fn expect_close(&mut self) {
        let mut nothing = [0; 4096];
        let closed = async { while !matches!(self.stream.read(&mut nothing).await, Ok(0) | Err(_)) {} };
        in_time("the node closes", closed).await;
    }
}

/// A peer that dials a node.
pub struct Caller {
    pub wire: Wire,
    dial: Dial,
}

impl Caller {
    /// Connects, and says nothing yet.
    pub async fn dial(node: &Node, local: Introduction) -> Self {
        Self::with_cookie(node, local, COOKIE).await
    }

    pub async fn with_cookie(node: &Node, local: Introduction, cookie: &str) -> Self {
        let dial = Dial::new(local.into(), None, cookie.into(), rand::random(), None);
        Self { wire: Wire::to(node).await, dial }
    }

    /// Speaks on a stream that is there already.
    pub fn on(stream: TcpStream, local: Introduction) -> Self {
        let dial = Dial::new(local.into(), None, COOKIE.into(), rand::random(), None);
        Self { wire: Wire::new(stream), dial }
    }

    /// What this side would say next.
    pub fn due(&mut self) -> Vec<u8> {
        self.dial.poll_transmit().expect("it is our turn")
    }

    /// Says what is due and waits for no answer.
    pub async fn say(&mut self) {
        let due = self.due();
        self.wire.send(&due).await;
    }

    /// Says Hello, and hears the answer.
    pub async fn hello(&mut self) {
        self.say().await;
        while self.dial.stage() != Stage::Accept {
            assert_eq!(self.hear().await, None);
        }
    }

    /// Says Introduce, hears Accept and Introduce, and agrees.
    pub async fn introduce(mut self) -> Link {
        let established = self.hear_introduction().await;
        self.say().await;
        Link::new(self.wire, established)
    }

    /// Says Introduce, and hears Accept and Introduce; to agree is due.
    pub async fn hear_introduction(&mut self) -> Established {
        self.say().await;
        loop {
            if let Some(established) = self.hear().await {
                return established;
            }
        }
    }

    async fn hear(&mut self) -> Option<Established> {
        assert!(self.wire.hear().await, "{}", self.dial.closed());
        self.dial.receive(&std::mem::take(&mut self.wire.arrived)).expect("the node follows the rules")
    }
}

/// Where a peer listens that nodes dial.
pub struct Desk(TcpListener);

impl Desk {
    pub async fn open() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Leads a node here for the peer of this name.
    pub fn leads(&self, node: &Node, name: Atom) {
        let route = NetworkRoute::to("127.0.0.1", self.port());
        node.network().add_route(&exact(name.as_str()), route, 1).unwrap();
    }

    /// Waits for a node to connect.
    pub async fn called(&self, local: Introduction) -> Callee {
        let (stream, _) = in_time("a node dials", self.0.accept()).await.unwrap();
        Callee::on(stream, local)
    }
}

/// A peer that a node has dialed.
pub struct Callee {
    pub wire: Wire,
    accept: Accept,
}

impl Callee {
    /// Answers on a stream that is there already.
    pub fn on(stream: TcpStream, local: Introduction) -> Self {
        let accept = Accept::new(local.into(), COOKIE.into(), rand::random(), None);
        Self { wire: Wire::new(stream), accept }
    }

    /// Hears the node's Hello, and does not answer.
    pub async fn hear_hello(&mut self) {
        while self.accept.stage() == Stage::First {
            assert_eq!(self.hear().await, None);
        }
    }

    /// Hears the node's Hello and answers.
    pub async fn hello(&mut self) {
        self.hear_hello().await;
        let due = self.due();
        self.wire.send(&due).await;
    }

    /// Hears Introduce, says Accept and Introduce; the node may or may not agree.
    pub async fn introduce(&mut self) {
        let due = self.hear_introduction().await;
        self.wire.send(&due).await;
    }

    /// Hears Introduce, and does not answer; what the answer would be.
    pub async fn hear_introduction(&mut self) -> Vec<u8> {
        loop {
            match self.hear().await {
                None => {}
                Some(AcceptStep::Introduced(_)) => break,
                Some(step) => panic!("{step:?}"),
            }
        }
        self.accept.accept(ehs::connection_id(rand::random()), 1, Vec::new()).unwrap();
        self.due()
    }

    /// Hears the node agree.
    pub async fn agreed(mut self) -> Link {
        loop {
            match self.hear().await {
                None => {}
                Some(AcceptStep::Established(established)) => return Link::new(self.wire, established),
                Some(step) => panic!("{step:?}"),
            }
        }
    }

    fn due(&mut self) -> Vec<u8> {
        self.accept.poll_transmit().expect("it is our turn")
    }

    async fn hear(&mut self) -> Option<AcceptStep> {
        assert!(self.wire.hear().await, "{}", self.accept.closed());
        self.accept.receive(&std::mem::take(&mut self.wire.arrived)).expect("the node follows the rules")
    }
}

/// A peer with which a node is connected.
pub struct Link {
    pub wire: Wire,
    pub local: Arc<Introduction>,
    pub peer: Arc<Introduction>,
    pub connection_id: String,
    encode: EncodeTables,
    decode: DecodeTables,
    registry: Registry,
}

/// The process of the scripted peer that sends and calls.
pub const SENDER: u64 = 1001;

impl Link {
    /// Dials a node, shakes hands and tells who it is.
    pub async fn to(node: &Node, local: Introduction) -> Self {
        let mut caller = Caller::dial(node, local).await;
        caller.hello().await;
        caller.introduce().await
    }

    /// A reference of this peer, without a deadline.
    pub fn reference(&self, number: u64) -> Ref {
        Ref { node: self.local.node, creation: self.local.creation, id: [number, 0, u64::MAX] }
    }

    fn new(mut wire: Wire, established: Established) -> Self {
        let (encode, decode) = established.tables(None);
        wire.arrived = established.tail;
        let registry = Registry::new();
        any::register(&registry).unwrap();
        let Established { local, peer, connection_id, .. } = established;
        Self { wire, local, peer, connection_id, encode, decode, registry }
    }

    /// The sending process.
    pub fn sender(&self) -> Pid {
        Pid { node: self.local.node, id: SENDER, creation: self.local.creation }
    }

    /// The bytes of a request to join this connection by a further link.
    pub fn join(&self) -> Vec<u8> {
        join(self.local.node, &self.connection_id)
    }

    /// Loses the link, and joins the connection by another one.
    pub async fn rejoin(self, node: &Node) -> Self {
        drop(self.wire);
        let mut machine =
            Join::new(self.local.node, &self.connection_id, COOKIE.into(), rand::random(), None);
        let mut wire = Wire::to(node).await;
        wire.send(&machine.poll_transmit().unwrap()).await;
        loop {
            wire.expect_answer().await;
            if let Some(joined) = machine.receive(&std::mem::take(&mut wire.arrived)).unwrap() {
                wire.arrived = joined.tail;
                return Self { wire, ..self };
            }
        }
    }

    /// The payload of a frame with this value.
    pub fn encode(&self, value: &impl Message) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new(&mut out, &self.encode).top(value).unwrap();
        out
    }

    pub async fn send_frame(&mut self, head: &Head<'_>, payload: &[u8]) {
        self.wire.send(&frame(head, payload)).await;
    }

    pub async fn send_message(&mut self, to: Pid, message: &impl Message) {
        self.send_frame(&message_to(to), &self.encode(message)).await;
    }

    pub async fn send_request(&mut self, to: Pid, reference: [u64; 3], request: &impl Message) {
        self.send_frame(&request_to(to, reference), &self.encode(request)).await;
    }

    /// Asks the node for something that is no process's to answer.
    pub async fn ask(&mut self, request: &any::Request) {
        let mut payload = Vec::new();
        let generation = any::Generation::between(&self.peer, &self.local);
        request.encode(generation, &mut Encoder::new(&mut payload, &self.encode)).unwrap();
        self.send_frame(&Head::Any, &payload).await;
    }

    /// The answer in the next frame, and the order byte of that.
    pub async fn hears_answer(&mut self) -> (any::Answer, u8) {
        let frame = self.frame().await;
        let Frame { head, payload, order } = Frame::parse(&frame).unwrap();
        assert_eq!(head, Head::Any);
        (self.decode(payload), order)
    }

    /// What the node asks for in the next frame.
    pub async fn hears_request(&mut self) -> any::Request {
        let frame = self.frame().await;
        let Frame { head, payload, .. } = Frame::parse(&frame).unwrap();
        assert_eq!(head, Head::Any);
        let generation = any::Generation::between(&self.peer, &self.local);
        match any::AnyMessage::decode(payload, generation, &self.decode, &self.registry).unwrap() {
            any::AnyMessage::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Vec<u8> {
        loop {
            let arrived = &mut self.wire.arrived;
            if let Split::Frame { frame, .. } = enp::split(arrived, 0).expect("the node sends frames") {
                let frame = frame.to_vec();
                arrived.drain(..frame.len());
                return frame;
            }
            assert!(self.wire.hear().await, "the node has closed");
        }
    }

    /// The value in the next frame, which is a message or an answer.
    pub async fn hears<T: Message>(&mut self) -> T {
        let frame = self.frame().await;
        let Frame { head, payload, .. } = Frame::parse(&frame).unwrap();
        assert!(matches!(head, Head::Message { .. } | Head::Response { .. }), "{head:?}");
        self.decode(payload)
    }

    /// The error in the next frame, which must answer this request.
    pub async fn hears_refusal(&mut self, asked: [u64; 3]) -> String {
        let frame = self.frame().await;
        let Frame { head, payload, .. } = Frame::parse(&frame).unwrap();
        match head {
            Head::ResponseError { reference, code: enp::Code::Error, .. } if reference == asked => {
                self.decode::<postroad::edf::ErrorValue>(payload).text().to_string_lossy().into_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn decode<T: Message>(&self, payload: &[u8]) -> T {
        Decoder::new(payload, &self.decode, &self.registry).top().unwrap()
    }
}

/// A whole frame.
pub fn frame(head: &Head<'_>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    enp::write::<Infallible>(&mut out, head.order(), head, |out| {
        out.extend_from_slice(payload);
        Ok(())
    })
    .unwrap();
    out
}

pub fn message_to(to: Pid) -> Head<'static> {
    let to = Target::Pid(to.id);
    Head::Message { from: SENDER, delivery: Delivery::default(), message_id: 0, to }
}

pub fn request_to(to: Pid, reference: [u64; 3]) -> Head<'static> {
    Head::Request { from: SENDER, delivery: Delivery::default(), reference, to: Target::Pid(to.id) }
}

/// The bytes of a request to join a connection.
pub fn join(node: Atom, connection_id: &str) -> Vec<u8> {
    Join::new(node, connection_id, COOKIE.into(), rand::random(), None).poll_transmit().unwrap()
}
