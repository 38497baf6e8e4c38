//! Peers that dial the node and behave badly before they are let in.

use std::time::Duration;

use postroad::edf::Atom;
use postroad::tls::TlsOptions;
use postroad_wire::ehs::{Introduction, MAX_CONTROL, MAX_INTRODUCE};

use super::support::authority::Authority;
use super::support::builder;
use super::support::log::Log;
use super::support::scripted::{Caller, Link, Wire, introduction, join};
use super::{FIRST_ANSWERS, Scene};

/// Says these bytes to a node, which must close and log all these parts.
async fn refused(bytes: &[u8], parts: &[&str]) {
    let scene = Scene::new().await;
    let mut wire = Wire::to(&scene.node).await;
    wire.send(bytes).await;
    wire.expect_close().await;
    scene.log.says(&[&["handshake failed"], parts].concat()).await;
    scene.end().await;
}

/// Introduces itself as somebody to whom the node must close.
async fn refused_introduction(scene: Scene, introduction: Introduction, parts: &[&str]) {
    let mut caller = Caller::dial(&scene.node, introduction).await;
    caller.hello().await;
    caller.say().await;
    caller.wire.expect_close().await;
    scene.log.says(&[&["handshake failed"], parts].concat()).await;
    scene.end().await;
}

#[tokio::test]
async fn wrong_magic() {
    refused(b"GET / HTTP/1.1\r\n\r\n", &["first byte is 0x47", "not the Ergo handshake"]).await;
}

#[tokio::test]
async fn wrong_version() {
    refused(&[87, 2, 0, 0, 0, 1, 0], &["version 2 of the Ergo handshake"]).await;
}

#[tokio::test]
async fn oversized_message() {
    let header = [&[87, 1][..], &(MAX_CONTROL + 1).to_be_bytes()].concat();
    refused(&header, &["announces a message of 65536 bytes"]).await;
}

#[tokio::test]
async fn malformed_message() {
    refused(&[87, 1, 0, 0, 0, 3, 1, 2, 3], &["malformed"]).await;
}

#[tokio::test]
async fn wrong_digest() {
    let scene = Scene::new().await;
    let mut caller = Caller::with_cookie(&scene.node, introduction("caller"), "another cookie").await;
    caller.say().await;
    caller.wire.expect_close().await;
    scene.log.says(&["handshake failed", "different cookies"]).await;
    scene.end().await;
}

#[tokio::test]
async fn wrong_name() {
    for name in ["no host", "more\nlines@host"] {
        let mut nameless = introduction("caller");
        nameless.node = Atom::new(name).unwrap();
        refused_introduction(Scene::new().await, nameless, &["not of the form name@host"]).await;
    }
}

#[tokio::test]
async fn own_name() {
    let scene = Scene::new().await;
    let mut impostor = introduction("caller");
    impostor.node = scene.node.name();
    refused_introduction(scene, impostor, &["which is the name of this node"]).await;
}

#[tokio::test]
async fn creation_zero() {
    let mut timeless = introduction("caller");
    timeless.creation = 0;
    refused_introduction(Scene::new().await, timeless, &["announces creation 0"]).await;
}

#[tokio::test]
async fn oversized_type_cache() {
    let mut talkative = introduction("caller");
    talkative.types = (0..10_000).map(|n| (4096 + n, format!("#{n:029}").into())).collect();
    let parts = ["waiting for Introduce", "announces a message of", &MAX_INTRODUCE.to_string()];
    refused_introduction(Scene::new().await, talkative, &parts).await;
}

#[tokio::test]
async fn type_cache_of_10_000_names() {
    let scene = Scene::new().await;
    let mut well_read = introduction("caller");
    well_read.types = (0..10_000).map(|n| (4096 + n, format!("#{n:019}").into())).collect();
    let mut link = Link::to(&scene.node, well_read).await;
    scene.serves(&mut link).await;
    scene.end().await;
}

#[tokio::test]
async fn silence() {
    let scene = Scene::impatient().await;
    let mut wire = Wire::to(&scene.node).await;
    scene.serves_others().await;
    wire.expect_close().await;
    scene.log.says(&["handshake failed", "no handshake within 500ms"]).await;
    scene.end().await;
}

#[tokio::test]
async fn truncated_message_and_silence() {
    let scene = Scene::impatient().await;
    let mut caller = Caller::dial(&scene.node, introduction("caller")).await;
    let hello = caller.due();
    caller.wire.send(&hello[..hello.len() / 2]).await;
    caller.wire.expect_close().await;
    scene.log.says(&["handshake failed", "no handshake within 500ms"]).await;
    scene.end().await;
}

#[tokio::test]
async fn truncated_message_and_close() {
    let scene = Scene::new().await;
    let mut caller = Caller::dial(&scene.node, introduction("caller")).await;
    let hello = caller.due();
    caller.wire.send(&hello[..hello.len() / 2]).await;
    drop(caller);
    scene.log.says(&["handshake failed", "the link ended while waiting for a Hello or a Join"]).await;
    scene.end().await;
}

/// As load balancers do that ask whether the port is open; one byte more is a failure.
#[tokio::test]
async fn who_leaves_without_a_word_has_not_failed() {
    for tls in [false, true] {
        for reset in [false, true] {
            let (log, mut node) = (Log::start(), builder("node"));
            if tls {
                node = node.tls(TlsOptions::new().identity(Authority::new("ours").identity()));
            }
            let node = node.start().await.unwrap();
            let wire = Wire::to(&node).await;
            if reset {
                wire.reset()
            } else {
                drop(wire)
            }
            log.says(&["DEBUG", "whoever dialed closed before a word was said"]).await;
            assert_eq!(log.count("WARN"), 0);
            let mut wire = Wire::to(&node).await;
            wire.send(if tls { &[22] } else { &[87] }).await;
            drop(wire);
            log.says(&["WARN", "handshake failed"]).await;
            node.stop().await;
        }
    }
}

/// The deadline is for the handshake, not for each read.
#[tokio::test]
async fn one_byte_at_a_time() {
    let scene = Scene::impatient().await;
    let mut caller = Caller::dial(&scene.node, introduction("caller")).await;
    let hello = caller.due();
    tokio::join!(caller.wire.drip(&hello, Duration::from_millis(50)), scene.serves_others());
    caller.wire.expect_close().await;
    scene.log.says(&["handshake failed", "no handshake within 500ms"]).await;
    scene.end().await;
}

#[tokio::test]
async fn join_of_an_unknown_connection() {
    let stranger = introduction("stranger").node;
    refused(&join(stranger, "nobody's"), &[stranger.as_str(), "takes no link of it"]).await;

    let scene = Scene::new().await;
    let link = scene.link().await;
    let mut wire = Wire::to(&scene.node).await;
    wire.send(&join(link.local.node, "nobody's")).await;
    wire.expect_close().await;
    scene.log.says(&["handshake failed", "takes no link of it"]).await;
    scene.end().await;
}

#[tokio::test]
async fn join_replayed() {
    let scene = Scene::with_pool(FIRST_ANSWERS).await;
    let mut link = scene.link().await;
    let join = link.join();
    let mut second = Wire::to(&scene.node).await;
    second.send(&join).await;
    second.expect_answer().await;
    let mut replayed = Wire::to(&scene.node).await;
    replayed.send(&join).await;
    replayed.expect_close().await;
    scene.log.says(&["handshake failed", "takes no link of it"]).await;
    scene.serves(&mut link).await;
    scene.end().await;
}

#[tokio::test]
async fn pool_overfull() {
    let scene = Scene::with_pool(FIRST_ANSWERS).await;
    let mut link = scene.link().await;
    let mut pool = Vec::new();
    for _ in 1..FIRST_ANSWERS {
        let mut next = Wire::to(&scene.node).await;
        next.send(&link.join()).await;
        next.expect_answer().await;
        pool.push(next);
    }
    let mut surplus = Wire::to(&scene.node).await;
    surplus.send(&link.join()).await;
    surplus.expect_close().await;
    scene.log.says(&["handshake failed", "takes no link of it"]).await;
    scene.serves(&mut link).await;
    scene.end().await;
}

/// Only Linux has addresses like 127.0.0.2 without being told.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn flood_of_handshakes() {
    const FLOODER: &str = "127.0.0.2";
    let scene = Scene::new().await;
    let mut flood = Vec::new();
    for _ in 0..64 {
        flood.push(Wire::from_host(FLOODER, &scene.node).await.unwrap());
    }
    let mut next = Wire::from_host(FLOODER, &scene.node).await.unwrap();
    next.expect_close().await;
    scene.log.says(&["too many handshakes under way", FLOODER]).await;
    scene.serves_others().await;
    // Who gives up makes room again.
    drop(flood);
    let hello = Caller::dial(&scene.node, introduction("caller")).await.due();
    let again = async {
        loop {
            let mut wire = Wire::from_host(FLOODER, &scene.node).await.unwrap();
            if wire.is_answered(&hello).await {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the address is served again");
    scene.end().await;
}
