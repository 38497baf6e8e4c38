//! Clients, targets and gateways that speak through the machines of postroad-wire,
//! and say what a test wants.

use std::time::Duration;

use postroad::network::{NetworkRoute, TunnelRefusal, exact};
use postroad::{Atom, Node};
use postroad_wire::NetworkFlags;
use postroad_wire::ehs::Introduction;
use postroad_wire::enp::{Frame, Head};
use postroad_wire::tunnel::{Admit, Answer, Knock, Open, Operations, Request, Talk, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::scripted::{Callee, Link, introduction};
use crate::support::{COOKIE, port};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that says what a test wants.
pub(crate) struct Client {
    pub(crate) name: Atom,
    pub(crate) connection: String,
    /// Of the connection that the streams belong to.
    pub(crate) link: Link,
}

impl Client {
    pub(crate) async fn of(gateway: &Node) -> Self {
        Self::announcing(gateway, NetworkFlags::TUNNELS).await
    }

    pub(crate) async fn announcing(gateway: &Node, flags: NetworkFlags) -> Self {
        let mut says = introduction("liar");
        says.flags = NetworkFlags::ENABLE | flags;
        let name = says.node;
        let mut arrivals = gateway.network().subscribe();
        let link = Link::to(gateway, says).await;
        arrivals.recv().await.unwrap();
        Self { name, connection: link.connection_id.clone(), link }
    }

    pub(crate) fn knock(&self, gateway: &Node, cookie: &str, token: Option<Token>) -> Knock {
        let nonce = rand::random();
        Knock::new(self.name, gateway.name(), &self.connection, token, cookie.into(), nonce, None)
    }

    /// One more stream, let in.
    pub(crate) async fn stream(&self, gateway: &Node) -> (TcpStream, Talk) {
        self.stream_for(gateway, None).await
    }

    /// One more stream that was summoned by this token, let in.
    pub(crate) async fn stream_for(&self, gateway: &Node, token: Option<Token>) -> (TcpStream, Talk) {
        let mut stream = TcpStream::connect(("127.0.0.1", port(gateway))).await.unwrap();
        let mut knock = self.knock(gateway, COOKIE, token);
        loop {
            if let Some(bytes) = knock.poll_transmit() {
                stream.write_all(&bytes).await.unwrap();
            }
            if let Some(talk) = knock.receive(&read(&mut stream).await).unwrap() {
                return (stream, talk);
            }
        }
    }

    /// Waits until the gateway wants a stream, and brings it.
    pub(crate) async fn summoned(&mut self, gateway: &Node) -> (TcpStream, Talk) {
        let token = summoned(&mut self.link).await;
        self.stream_for(gateway, Some(bytes(token))).await
    }

    /// What the gateway answers to a request on a new stream.
    pub(crate) async fn asks(&self, gateway: &Node, request: Request) -> Answer {
        let (mut stream, mut talk) = self.stream(gateway).await;
        stream.write_all(&talk.ask(&request)).await.unwrap();
        let answer = talk.answer(&read(&mut stream).await).unwrap().expect("a whole answer");
        if let Answer::Refused { .. } = answer {
            assert!(read(&mut stream).await.is_empty(), "then it closes");
        }
        answer
    }

    pub(crate) async fn is_refused(&self, gateway: &Node, open: Open) -> TunnelRefusal {
        match self.asks(gateway, Request::Open(open)).await {
            Answer::Refused { hop, reason } => {
                assert_eq!(hop, gateway.name());
                reason
            }
            answer => panic!("{answer:?}"),
        }
    }

    pub(crate) fn open(&self, target: Atom) -> Open {
        let operations = Operations::NONE;
        Open { target, hops: 8, operations, patience: 5000, path: vec![self.name] }
    }
}

/// A gateway that says what a test wants.
pub(crate) struct Gateway {
    says: Introduction,
    listener: TcpListener,
}

impl Gateway {
    pub(crate) async fn open() -> Self {
        let mut says = introduction("gateway");
        says.flags = NetworkFlags::ENABLE | NetworkFlags::TUNNELS | NetworkFlags::PROXY_TRANSIT;
        Self { says, listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn name(&self) -> Atom {
        self.says.node
    }

    /// Tells a node where it is.
    pub(crate) fn leads(&self, node: &Node) {
        let route = NetworkRoute::to("127.0.0.1", self.listener.local_addr().unwrap().port());
        node.network().add_route(&exact(self.name().as_str()), route, 1).unwrap();
    }

    /// A node connects.
    pub(crate) async fn meets(&self) -> Link {
        let mut callee = Callee::on(self.called().await, self.says.clone());
        callee.hello().await;
        callee.introduce().await;
        callee.agreed().await
    }

    /// A node that is connected brings one more stream.
    pub(crate) async fn stream(&self) -> (TcpStream, Talk) {
        let mut stream = self.called().await;
        let mut admit = Admit::new(self.name(), COOKIE.into(), rand::random(), None);
        while admit.receive(&read(&mut stream).await).unwrap().is_none() {
            if let Some(bytes) = admit.poll_transmit() {
                stream.write_all(&bytes).await.unwrap();
            }
        }
        let (welcome, talk) = admit.welcome().unwrap();
        stream.write_all(&welcome).await.unwrap();
        (stream, talk)
    }

    /// A node asks for a way, and is told that it is open: with these operations,
    /// over these nodes.
    pub(crate) async fn opens(&self, operations: Operations, path: Vec<Atom>) -> TcpStream {
        let (mut stream, mut talk) = self.stream().await;
        heard(&mut stream, &mut talk).await;
        stream.write_all(&talk.reply(&Answer::Opened { operations, path })).await.unwrap();
        stream
    }

    /// Has the node at the other end of a link dial once more, and tells it who
    /// comes; what it answers.
    pub(crate) async fn brings(
        &self,
        link: &mut Link,
        operations: Operations,
        path: Vec<Atom>,
    ) -> (TcpStream, Answer) {
        link.send_frame(&Head::Summon { token: rand::random() }, &[]).await;
        let (mut stream, mut talk) = self.stream().await;
        stream.write_all(&talk.ask(&Request::Arrival { operations, path })).await.unwrap();
        let answer = talk.answer(&read(&mut stream).await).unwrap().expect("a whole answer");
        (stream, answer)
    }

    async fn called(&self) -> TcpStream {
        let called = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        called.expect("a node dials").unwrap().0
    }
}

/// Both ends of a tunnel from a client to a target that was summoned.
pub(crate) async fn tunnel(client: &Client, target: &mut Client, gateway: &Node) -> (TcpStream, TcpStream) {
    let (mut near, mut talk) = client.stream(gateway).await;
    near.write_all(&talk.ask(&Request::Open(client.open(target.name)))).await.unwrap();
    let (mut far, mut theirs) = target.summoned(gateway).await;
    heard(&mut far, &mut theirs).await;
    let path = vec![client.name, gateway.name(), target.name];
    let opened = Answer::Opened { operations: Operations::NONE, path };
    far.write_all(&theirs.reply(&opened)).await.unwrap();
    let answer = talk.answer(&read(&mut near).await).unwrap();
    assert!(matches!(answer, Some(Answer::Opened { .. })), "{answer:?}");
    (near, far)
}

/// What the other side asks on a stream.
pub(crate) async fn heard(stream: &mut TcpStream, talk: &mut Talk) -> Request {
    let mut heard = talk.request(&[]).unwrap();
    while heard.is_none() {
        heard = talk.request(&read(stream).await).unwrap();
    }
    heard.expect("it was heard")
}

/// Writes until nobody takes it any more; how much was taken, in bytes.
pub(crate) async fn fill(stream: &TcpStream) -> u64 {
    let mut taken = 0;
    while tokio::time::timeout(Duration::from_millis(300), stream.writable()).await.is_ok() {
        taken += stream.try_write(&[7; 64 << 10]).unwrap_or(0) as u64;
        assert!(taken < 256 << 20, "somebody takes it all");
    }
    taken
}

/// The token of the next Summon that comes.
pub(crate) async fn summoned(link: &mut Link) -> [u64; 2] {
    loop {
        if let Head::Summon { token } = Frame::parse(&link.frame().await).unwrap().head {
            return token;
        }
    }
}

/// A token as the negotiation has it.
pub(crate) fn bytes(token: [u64; 2]) -> Token {
    token.map(u64::to_be_bytes).concat().try_into().unwrap()
}

/// What has arrived; nothing at the end.
pub(crate) async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4096);
    let reading = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes));
    reading.await.expect("it says something, or closes").unwrap();
    bytes
}
