//! Who speaks first on a new tunnel, and where nobody could ask for one.

use postroad::network::{
    Accepted, AcceptorOptions, AttemptError, Dialer, Door, Ehs, Handshake, HandshakeError, HandshakeStream,
    Joiner, NetworkRoute, TunnelError, TunnelRefusal, exact,
};
use postroad::registrar::BoxFuture;
use postroad::{NetworkFlags, Node, NodeBuilder};
use postroad_wire::Version;
use postroad_wire::ehs::Established;
use postroad_wire::tunnel::{Answer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::liar::{Client, read};
use crate::support::{COOKIE, builder, node, port, unique};
use crate::{gateway, open, refusal, refused, stop, through};

const WELCOME: &[u8] = b"220 who is there?\r\n";

/// EHS behind a welcome: the side that was dialed begins.
#[derive(Debug)]
struct Welcoming;

fn version() -> Version {
    Version::new("WELCOMING", "R1")
}

async fn welcomed(stream: &mut HandshakeStream<'_>) -> Result<(), HandshakeError> {
    let mut heard = [0; WELCOME.len()];
    stream.read_exact(&mut heard).await?;
    assert_eq!(heard, WELCOME);
    Ok(())
}

impl Handshake for Welcoming {
    fn version(&self) -> Version {
        version()
    }

    fn dial<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        dialer: &'a mut Dialer<'_>,
    ) -> BoxFuture<'a, Result<Established, HandshakeError>> {
        Box::pin(async move {
            welcomed(stream).await?;
            Ehs.dial(stream, dialer).await
        })
    }

    fn join<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        joiner: &'a Joiner<'_>,
    ) -> BoxFuture<'a, Result<Vec<u8>, HandshakeError>> {
        Box::pin(async move {
            welcomed(stream).await?;
            Ehs.join(stream, joiner).await
        })
    }

    fn accept<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        door: &'a Door<'_>,
    ) -> BoxFuture<'a, Result<Accepted, HandshakeError>> {
        Box::pin(async move {
            stream.write_all(WELCOME).await?;
            stream.flush().await?;
            Ehs.accept(stream, door).await
        })
    }
}

/// A node whose only door welcomes.
fn welcoming(name: &str) -> NodeBuilder {
    let door = AcceptorOptions::bind("127.0.0.1", 0).handshake(version());
    Node::builder(unique(name)).cookie(COOKIE).handshake(Welcoming).acceptor(door).without_registrar()
}

fn knows_the_door(from: &Node, to: &Node) {
    let _ = from.network().remove_route(&exact(to.name().as_str()));
    let route = NetworkRoute::to("127.0.0.1", port(to)).handshake_version(version());
    from.network().add_route(&exact(to.name().as_str()), route, 1).unwrap();
}

/// What is behind the answer of a target is not for the gateway: in the same
/// packet, and even so it reaches the client.
#[tokio::test]
async fn what_a_target_says_at_once_reaches_the_client() {
    let gateway = gateway("gateway", open()).await;
    let flags = NetworkFlags::TUNNELS | NetworkFlags::PROXY_ACCEPT;
    let (client, mut target) = (Client::of(&gateway).await, Client::announcing(&gateway, flags).await);
    let name = target.name;
    let answering = async {
        let (mut stream, mut talk) = target.summoned(&gateway).await;
        let mut heard = talk.request(&[]).unwrap();
        while heard.is_none() {
            heard = talk.request(&read(&mut stream).await).unwrap();
        }
        let Some(Request::Arrival { operations, mut path }) = heard else { panic!("{heard:?}") };
        path.push(name);
        let opened = talk.reply(&Answer::Opened { operations, path });
        stream.write_all(&[&opened, WELCOME].concat()).await.unwrap();
        stream
    };
    let asking = async {
        let (mut stream, mut talk) = client.stream(&gateway).await;
        stream.write_all(&talk.ask(&Request::Open(client.open(name)))).await.unwrap();
        let mut answer = talk.answer(&[]).unwrap();
        while answer.is_none() {
            let mut bytes = vec![0; talk.wants()];
            stream.read_exact(&mut bytes).await.unwrap();
            answer = talk.answer(&bytes).unwrap();
        }
        assert!(matches!(answer, Some(Answer::Opened { .. })), "{answer:?}");
        let mut heard = [0; WELCOME.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, WELCOME);
    };
    let (_open, ()) = tokio::join!(answering, asking);
    stop([gateway]).await;
}

/// At a door where the accepting side begins no stream for a tunnel can be told
/// from others: connections are made there, and tunnels are refused by name.
#[tokio::test]
async fn nobody_asks_for_tunnels_where_the_door_speaks_first() {
    let (client, other) = (node("client").await, node("other").await);
    let middle = builder("middle").handshake(Welcoming).transit(open()).start().await.unwrap();
    let target = welcoming("target").start().await.unwrap();
    knows_the_door(&middle, &target);
    through(&client, &middle, &target);
    let name = target.name();
    assert_eq!(refusal(&client, name.as_str()).await, (name, TunnelRefusal::NotAccepted));
    assert!(middle.network().peer(name.as_str()).is_some(), "a connection there is");

    let unfit = welcoming("unfit").transit(open()).start().await.unwrap();
    through(&middle, &unfit, &other);
    knows_the_door(&middle, &unfit);
    let failed = refused(&middle, other.name().as_str()).await;
    let AttemptError::Tunnel(TunnelError::NoGateway(hop)) = failed.error else { panic!("{failed}") };
    assert_eq!(hop, unfit.name());
    stop([client, middle, target, other, unfit]).await;
}
