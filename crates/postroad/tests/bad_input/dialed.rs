//! Peers that the node dials and that behave badly.

use std::time::Duration;

use postroad::edf::Atom;
use postroad_wire::ehs::{Dial, Introduction, MAX_INTRODUCE};

use super::Scene;
use super::support::scripted::{Callee, Desk, introduction};

/// Lets the node dial a peer that behaves like that, and expects the error of
/// the attempt to have all these parts.
async fn fails(scene: Scene, local: Introduction, script: impl AsyncFnOnce(Callee), parts: &[&str]) {
    let desk = Desk::open().await;
    let peer = introduction("peer").node;
    desk.leads(&scene.node, peer);
    let network = scene.node.network();
    let (outcome, ()) =
        tokio::join!(network.connect(peer.as_str()), async { script(desk.called(local).await).await });
    let error = outcome.unwrap_err().to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    assert!(network.peer(peer.as_str()).is_none());
    scene.end().await;
}

/// A peer that answers the node's Hello with these bytes.
async fn answers(bytes: &[u8], parts: &[&str]) {
    let script = async |mut callee: Callee| {
        callee.hear_hello().await;
        callee.wire.send(bytes).await;
        callee.wire.expect_close().await;
    };
    fails(Scene::new().await, introduction("peer"), script, parts).await;
}

/// A peer that introduces itself like that.
async fn introduces(scene: Scene, local: Introduction, parts: &[&str]) {
    let script = async |mut callee: Callee| {
        callee.hello().await;
        callee.introduce().await;
        callee.wire.expect_close().await;
    };
    fails(scene, local, script, parts).await;
}

#[tokio::test]
async fn wrong_magic() {
    answers(b"HTTP/1.1 400 Bad Request\r\n", &["first byte is 0x48", "not the Ergo handshake"]).await;
}

#[tokio::test]
async fn wrong_version() {
    answers(&[87, 2, 0, 0, 0, 0], &["version 2 of the Ergo handshake"]).await;
}

#[tokio::test]
async fn oversized_message() {
    answers(&[87, 1, 0xff, 0xff, 0xff, 0xff], &["announces a message of 4294967295 bytes"]).await;
}

#[tokio::test]
async fn wrong_digest() {
    let stranger = introduction("stranger");
    let hello = Dial::new(stranger.into(), None, "another".into(), [1; 32], None).poll_transmit().unwrap();
    answers(&hello, &["the peer's answer to Hello is wrong", "different cookies"]).await;
}

#[tokio::test]
async fn refusal_without_a_word() {
    let script = async |mut callee: Callee| callee.hear_hello().await;
    let parts = ["the link ended while waiting for the answer to Hello", "cookies differ"];
    fails(Scene::new().await, introduction("peer"), script, &parts).await;
}

#[tokio::test]
async fn wrong_name() {
    let other = introduction("other");
    let parts = [other.node.as_str(), "answered where"];
    introduces(Scene::new().await, other, &parts).await;
}

#[tokio::test]
async fn own_name() {
    let scene = Scene::new().await;
    let own = scene.node.name();
    // Of the same length, so that one can be written over the other.
    let honest = format!("x{}", &own.as_str()[1..]);
    let mut local = introduction("peer");
    local.node = Atom::new(&honest).unwrap();
    let script = async |mut callee: Callee| {
        callee.hello().await;
        let mut said = callee.hear_introduction().await;
        let place = said.windows(honest.len()).position(|part| part == honest.as_bytes()).unwrap();
        said[place..place + honest.len()].copy_from_slice(own.as_str().as_bytes());
        callee.wire.send(&said).await;
        callee.wire.expect_close().await;
    };
    fails(scene, local, script, &["which is the name of this node"]).await;
}

#[tokio::test]
async fn no_name() {
    let mut nameless = introduction("peer");
    nameless.node = Atom::new("a@b@c").unwrap();
    introduces(Scene::new().await, nameless, &["not of the form name@host"]).await;
}

#[tokio::test]
async fn creation_zero() {
    let mut timeless = introduction("peer");
    timeless.creation = 0;
    introduces(Scene::new().await, timeless, &["announces creation 0"]).await;
}

#[tokio::test]
async fn oversized_type_cache() {
    let mut talkative = introduction("peer");
    talkative.types = (0..10_000).map(|n| (4096 + n, format!("#{n:029}").into())).collect();
    let parts = ["announces a message of", &MAX_INTRODUCE.to_string()];
    introduces(Scene::new().await, talkative, &parts).await;
}

#[tokio::test]
async fn silence() {
    let scene = Scene::impatient().await;
    let script = async |mut callee: Callee| callee.wire.expect_close().await;
    fails(scene, introduction("peer"), script, &["no handshake within"]).await;
}

#[tokio::test]
async fn truncated_message_and_silence() {
    let script = async |mut callee: Callee| {
        callee.hear_hello().await;
        callee.wire.send(&[87, 1, 0, 0, 0, 200, 131]).await;
        callee.wire.expect_close().await;
    };
    fails(Scene::impatient().await, introduction("peer"), script, &["no handshake within"]).await;
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let script = async |mut callee: Callee| {
        callee.hear_hello().await;
        let mut answer = vec![87, 1, 0, 0, 0, 200];
        answer.resize(206, 131);
        callee.wire.drip(&answer, Duration::from_millis(50)).await;
        callee.wire.expect_close().await;
    };
    fails(Scene::impatient().await, introduction("peer"), script, &["no handshake within"]).await;
}
