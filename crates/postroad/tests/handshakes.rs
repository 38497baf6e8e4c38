//! Another way of agreeing on connections beside that of Ergo's nodes, chosen by
//! route and acceptor.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::sync::Arc;

use postroad::network::{
    Accepted, AcceptorOptions, AddRouteError, Dialer, Door, Handshake, HandshakeError, HandshakeStream,
    InvalidRoute, Joiner, NetworkRoute,
};
use postroad::registrar::BoxFuture;
use postroad::{Atom, Cookie, Node, NodeBuilder, StartError};
use postroad_wire::ehs::{Established, Introduction, JoinRequest};
use postroad_wire::{NetworkFlags, Version};
use sha2::{Digest, Sha256};
use support::{COOKIE, Echo, all_links, builder, dial, node, port, unique};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Each side proves the cookie by a digest of it with the nonces of both; the
/// dialing side first learns that the other one can.
#[derive(Debug)]
struct Sealed;

fn version() -> Version {
    Version::new("SEALED", "R1")
}

/// What a block may have: nothing here needs more.
const LONGEST: usize = 1024;

#[derive(Debug, thiserror::Error)]
#[error("{0} is wrong")]
struct Wrong(&'static str);

async fn say(stream: &mut HandshakeStream<'_>, block: &[u8]) -> Result<(), HandshakeError> {
    stream.write_u16(block.len() as u16).await?;
    stream.write_all(block).await?;
    Ok(stream.flush().await?)
}

async fn hear(stream: &mut HandshakeStream<'_>) -> Result<Vec<u8>, HandshakeError> {
    let len = usize::from(stream.read_u16().await?);
    if len > LONGEST {
        return Err(HandshakeError::broken(Wrong("a length")));
    }
    let mut block = vec![0; len];
    stream.read_exact(&mut block).await?;
    Ok(block)
}

async fn text(stream: &mut HandshakeStream<'_>) -> Result<String, HandshakeError> {
    String::from_utf8(hear(stream).await?).map_err(HandshakeError::broken)
}

fn seal(cookie: &Cookie, side: &str, nonces: [&[u8]; 2], about: &str) -> Vec<u8> {
    let parts = [cookie.expose(), side.as_bytes(), nonces[0], nonces[1], about.as_bytes()];
    parts
        .iter()
        .fold(Sha256::new(), |digest, part| digest.chain_update([part.len() as u8]).chain_update(part))
        .finalize()
        .to_vec()
}

fn check(is: &[u8], wanted: Vec<u8>) -> Result<(), HandshakeError> {
    if is == wanted { Ok(()) } else { Err(HandshakeError::unproven(Wrong("the seal"))) }
}

/// What goes into an introduction here: no tables.
async fn introduce(stream: &mut HandshakeStream<'_>, own: &Introduction) -> Result<(), HandshakeError> {
    say(stream, own.node.as_str().as_bytes()).await?;
    stream.write_i64(own.creation).await?;
    stream.write_u64(own.flags.bits()).await?;
    Ok(stream.flush().await?)
}

async fn hear_introduction(stream: &mut HandshakeStream<'_>) -> Result<Arc<Introduction>, HandshakeError> {
    let name = Atom::new(&text(stream).await?).map_err(HandshakeError::broken)?;
    let mut introduction = Introduction::new(name, stream.read_i64().await?);
    introduction.flags = NetworkFlags::from_bits(stream.read_u64().await?);
    Ok(introduction.into())
}

/// Ourselves, as far as the peer hears of it.
fn without_tables(local: &Introduction) -> Arc<Introduction> {
    let mut said = Introduction::new(local.node, local.creation);
    said.flags = local.flags;
    said.into()
}

/// Shakes hands for a connection (no id) or a link of one; the nonces of both.
async fn knock(
    stream: &mut HandshakeStream<'_>,
    connection_id: &str,
    cookie: &Cookie,
) -> Result<[[u8; 16]; 2], HandshakeError> {
    let own: [u8; 16] = rand::random();
    say(stream, connection_id.as_bytes()).await?;
    stream.write_all(&own).await?;
    stream.flush().await?;
    let mut theirs = [0; 16];
    stream.read_exact(&mut theirs).await?;
    check(&hear(stream).await?, seal(cookie, "accepts", [&own, &theirs], connection_id))?;
    Ok([own, theirs])
}

impl Handshake for Sealed {
    fn version(&self) -> Version {
        version()
    }

    fn dial<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        dialer: &'a mut Dialer<'_>,
    ) -> BoxFuture<'a, Result<Established, HandshakeError>> {
        Box::pin(async move {
            let nonces = knock(stream, "", &dialer.cookie).await?;
            dialer.proved()?;
            let local = without_tables(&dialer.local);
            say(stream, &seal(&dialer.cookie, "dials", nonces.each_ref().map(|nonce| &nonce[..]), ""))
                .await?;
            introduce(stream, &local).await?;
            let peer = hear_introduction(stream).await?;
            let connection_id = text(stream).await?;
            let pool_size = stream.read_u16().await?;
            Ok(Established { local, peer, connection_id, pool_size, dsn: Vec::new(), tail: Vec::new() })
        })
    }

    fn join<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        joiner: &'a Joiner<'_>,
    ) -> BoxFuture<'a, Result<Vec<u8>, HandshakeError>> {
        Box::pin(async move {
            let id = joiner.connection_id;
            let nonces = knock(stream, id, joiner.cookie).await?;
            say(stream, &seal(joiner.cookie, "dials", nonces.each_ref().map(|nonce| &nonce[..]), id)).await?;
            say(stream, joiner.node.as_str().as_bytes()).await?;
            assert_eq!(stream.read_u8().await?, 1);
            Ok(Vec::new())
        })
    }

    fn accept<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        door: &'a Door<'_>,
    ) -> BoxFuture<'a, Result<Accepted, HandshakeError>> {
        Box::pin(async move {
            let id = text(stream).await?;
            let cookie = door.made_with(&id).unwrap_or_else(|| door.cookie.clone());
            let (mut theirs, own): ([u8; 16], [u8; 16]) = ([0; 16], rand::random());
            stream.read_exact(&mut theirs).await?;
            stream.write_all(&own).await?;
            say(stream, &seal(&cookie, "accepts", [&theirs, &own], &id)).await?;
            check(&hear(stream).await?, seal(&cookie, "dials", [&theirs, &own], &id))?;
            if id.is_empty() {
                let peer = hear_introduction(stream).await?;
                let admission = door.admit(&peer, stream).await?;
                let local = without_tables(&door.local);
                introduce(stream, &local).await?;
                let (connection_id, pool_size) = (hex::encode(own), admission.pool_size);
                say(stream, connection_id.as_bytes()).await?;
                stream.write_u16(pool_size).await?;
                stream.flush().await?;
                let (dsn, tail) = (admission.addresses, Vec::new());
                Ok(Accepted::Connection(Established { local, peer, connection_id, pool_size, dsn, tail }))
            } else {
                let node = Atom::new(&text(stream).await?).map_err(HandshakeError::broken)?;
                let request = JoinRequest { node, connection_id: id, salt: hex::encode(theirs), cookie };
                let place = door.admit_link(&request, stream).await?;
                stream.write_u8(1).await?;
                stream.flush().await?;
                Ok(Accepted::Link { place, tail: Vec::new() })
            }
        })
    }
}

/// A node with an acceptor for each of the two handshakes, EHS first.
fn both(name: &str) -> NodeBuilder {
    builder(name).handshake(Sealed).acceptor(AcceptorOptions::bind("127.0.0.1", 0).handshake(version()))
}

fn ports(node: &Node) -> [u16; 2] {
    let acceptors = node.network().acceptors();
    assert!(acceptors[0].handshake.same_release(&Version::ehs()));
    assert!(acceptors[1].handshake.same_release(&version()));
    [acceptors[0].address.port(), acceptors[1].address.port()]
}

#[tokio::test]
async fn a_route_and_an_acceptor_choose_another_handshake() {
    let there = both("there").start().await.unwrap();
    let echo = there.spawn::<Echo>(()).await.unwrap();
    let [ehs, sealed] = ports(&there);
    let to = |port: u16| NetworkRoute::to("127.0.0.1", port);

    let here = builder("here").handshake(Sealed).start().await.unwrap();
    dial(&here, &there, to(sealed).handshake_version(version())).await.unwrap();
    let explained = here.network().explain(there.name().as_str()).await.unwrap().to_string();
    assert!(explained.contains("handshake SEALED"), "{explained}");
    assert_eq!(here.call::<String>(echo, "by seal".to_owned()).await.unwrap(), "by seal");
    all_links(&here, &there).await;
    all_links(&there, &here).await;

    let beside = node("beside").await;
    dial(&beside, &there, to(ehs)).await.unwrap();
    assert_eq!(beside.call::<String>(echo, "by EHS".to_owned()).await.unwrap(), "by EHS");
    all_links(&beside, &there).await;
    assert_eq!(there.network().peers().len(), 2);
    for stopped in [here, beside, there] {
        stopped.stop().await;
    }
}

#[tokio::test]
async fn who_does_not_speak_it_gets_nowhere() {
    let there = both("there").start().await.unwrap();
    let [ehs, sealed] = ports(&there);
    let here = builder("here").handshake(Sealed).start().await.unwrap();
    let to = |port: u16| NetworkRoute::to("127.0.0.1", port);

    let error =
        dial(&here, &there, to(sealed).handshake_version(version()).cookie("wrong")).await.unwrap_err();
    assert!(error.attempts[0].error.is_distrust(), "{error}");
    assert!(error.to_string().contains("did not prove who it is: the seal is wrong"), "{error}");
    // EHS answers what it does not understand by closing.
    assert!(dial(&here, &there, to(ehs).handshake_version(version())).await.is_err());
    assert!(dial(&here, &there, to(sealed)).await.is_err());
    // Another node than the one that was wanted.
    let other = both("other").start().await.unwrap();
    let elsewhere = to(ports(&other)[1]).handshake_version(version());
    let error = dial(&here, &there, elsewhere).await.unwrap_err();
    assert!(
        error.attempts[0].error.is_distrust() && error.to_string().contains(other.name().as_str()),
        "{error}"
    );
    for stopped in [here, there, other] {
        stopped.stop().await;
    }
}

#[tokio::test]
async fn a_handshake_that_the_node_does_not_speak_is_an_error_early() {
    let node = node("plain").await;
    let route = NetworkRoute::to("127.0.0.1", port(&node)).handshake_version(version());
    let error = node.network().add_route("^nobody@", route, 1).unwrap_err();
    assert_eq!(error, AddRouteError::Route(InvalidRoute::UnknownHandshake { version: version() }));
    node.stop().await;

    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).handshake(version());
    let started = Node::builder(unique("unknown")).cookie(COOKIE).acceptor(acceptor).start().await;
    assert!(matches!(started, Err(StartError::UnknownHandshake { .. })), "{started:?}");
}
