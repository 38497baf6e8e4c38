//! A client that speaks through the machines of postroad-wire, and says what a
//! test wants.

use std::time::Duration;

use postroad::network::TunnelRefusal;
use postroad::{Atom, Node};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::{Frame, Head};
use postroad_wire::tunnel::{Answer, Knock, Open, Operations, Request, Talk, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::scripted::{Caller, Link, introduction};
use crate::support::{COOKIE, port};

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
        let mut caller = Caller::dial(gateway, says).await;
        caller.hello().await;
        let link = caller.introduce().await;
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
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut bytes));
    reading.await.expect("it says something, or closes").unwrap();
    bytes
}
