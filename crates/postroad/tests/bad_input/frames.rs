//! Peers that are connected and send what are no frames, or not for long.

use std::time::Duration;

use postroad::network::{DownReason, NetworkEvent};
use postroad::{NodeBuilder, SendError};
use postroad_wire::enp::Head;
use postroad_wire::enp::Method;
use postroad_wire::enp::compress::{Level, pack};

use super::support::scripted::{Link, SENDER, Wire, frame, message_to};
use super::support::{next, probe};
use super::{FIRST_ANSWERS, Scene};

/// Lets a peer send bytes after which the node closes the link, and expects a
/// line in the log with this part. Another link of the connection goes on.
async fn costs_the_link(options: impl FnOnce(NodeBuilder) -> NodeBuilder, bytes: &[u8], part: &str) {
    let scene = Scene::with(|builder| options(builder.pool_size(FIRST_ANSWERS))).await;
    let mut link = scene.link().await;
    let mut second = Wire::to(&scene.node).await;
    second.send(&link.join()).await;
    second.expect_answer().await;
    second.send(bytes).await;
    second.expect_close().await;
    scene.log.says(&["link closed", link.local.node.as_str(), part]).await;
    scene.serves(&mut link).await;
    scene.end().await;
}

/// Lets a peer send a frame that the node drops, and expects a line in the log
/// with this part. The link goes on.
async fn costs_the_frame(scene: &Scene, link: &mut Link, bytes: &[u8], part: &str) {
    link.wire.send(bytes).await;
    scene.log.says(&["frame dropped", link.local.node.as_str(), part]).await;
    scene.serves(link).await;
}

#[tokio::test]
async fn length_below_8() {
    costs_the_link(|builder| builder, &[0x4e, 1, 0, 0, 0, 7, 0, 101], "claims a length of 7 bytes").await;
}

#[tokio::test]
async fn oversized_frame() {
    let limit = |builder: NodeBuilder| builder.max_message_size(1 << 20);
    let part = "a frame of 1048577 bytes, at most 1048576 are taken";
    costs_the_link(limit, &[0x4e, 1, 0, 16, 0, 1, 0, 101], part).await;
}

#[tokio::test]
async fn wrong_magic_in_midstream() {
    let keepalive = frame(&Head::Keepalive, &[]);
    let bytes = [&keepalive[..], b"GET / HTTP/1.1"].concat();
    costs_the_link(|builder| builder, &bytes, "begins with 0x47 and not with 0x4e").await;
}

#[tokio::test]
async fn wrong_version_in_midstream() {
    costs_the_link(|builder| builder, &[0x4e, 2], "version 2, only version 1").await;
}

#[tokio::test]
async fn truncated_frame_and_close() {
    let scene = Scene::new().await;
    let link = scene.link().await;
    let mut events = scene.node.network().subscribe();
    let (peer, mut wire) = (link.local.node, link.wire);
    wire.send(&[0x4e, 1, 0, 0, 1, 0, 0, 101, 1, 2, 3]).await;
    drop(wire);
    scene.log.says(&["link closed", peer.as_str(), "in the middle of a frame", "11 bytes"]).await;
    let lost = async {
        loop {
            match events.recv().await.unwrap() {
                NetworkEvent::Disconnected { peer: lost, reason } if lost == peer => return reason,
                _ => {}
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(10), lost).await.expect("it ends in time");
    assert_eq!(reason, DownReason::Lost);
    scene.end().await;
}

#[tokio::test]
async fn unknown_type() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let unknown = frame(&Head::Unknown(77), b"whatever");
    costs_the_frame(&scene, &mut link, &unknown, "frames of type 77 are not handled").await;
    scene.end().await;
}

/// As many bytes as v3.2.0 checks for and then panics, and fewer.
#[tokio::test]
async fn too_short_for_their_type() {
    let scene = Scene::new().await;
    let types = [
        (101, 32),
        (102, 25),
        (103, 26),
        (104, 48),
        (105, 25),
        (106, 26),
        (107, 24),
        (121, 48),
        (122, 41),
        (123, 42),
        (124, 64),
        (129, 48),
        (130, 49),
        (131, 49),
        (181, 16),
        (182, 9),
        (183, 10),
        (184, 32),
        (185, 9),
        (186, 10),
        (199, 8),
        (200, 12),
        (202, 15),
        (204, 31),
        (209, 31),
    ];
    // There are not so many lines about one peer.
    for types in types.chunks(10) {
        let mut link = scene.link().await;
        for (kind, len) in types {
            let mut short = vec![0x4e, 1, 0, 0, 0, *len, 0, *kind];
            // Wherever a compressed frame has its method, this is one.
            short.resize(usize::from(*len), Method::Gzip as u8);
            let part = format!("a frame of type {kind} with {len} bytes is");
            costs_the_frame(&scene, &mut link, &short, &part).await;
        }
    }
    scene.end().await;
}

/// A name that is longer than the frame that it stands in.
#[tokio::test]
async fn name_longer_than_its_frame() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let mut short = vec![0x4e, 1, 0, 0, 0, 30, 0, 102];
    short.resize(25, 0);
    short.extend([200, b'e', b'c', b'h', b'o']);
    costs_the_frame(&scene, &mut link, &short, "a frame of type 102 with 30 bytes is").await;
    scene.end().await;
}

const METHODS: [Method; 3] = [Method::Lzw, Method::Zlib, Method::Gzip];

/// What a bomb may cost is in `bad_input_memory.rs`.
#[tokio::test]
async fn decompression_bomb() {
    let scene = Scene::with(|builder| builder.pool_size(1).max_message_size(1 << 20)).await;
    let mut link = scene.link().await;
    let bomb = frame(&message_to(scene.echo), &vec![0; 2 << 20]);
    for method in METHODS {
        let mut packed = Vec::new();
        pack(&bomb, method, Level::BestSize, &mut packed).unwrap();
        let part = format!("announces {} bytes, at most 1048576 are unpacked", bomb.len());
        costs_the_frame(&scene, &mut link, &packed, &part).await;
        // One that says it is small.
        packed[9..13].copy_from_slice(&(1000 + method as u32).to_be_bytes());
        let part = format!("announces {} bytes, but {} come out", 1000 + method as u32, 1001 + method as u32);
        costs_the_frame(&scene, &mut link, &packed, &part).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn damaged_compression() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let head = Head::Compressed { method: Method::Zlib, unpacked_len: 100 };
    costs_the_frame(&scene, &mut link, &frame(&head, b"not zlib"), "packed data is damaged").await;
    scene.end().await;
}

#[tokio::test]
async fn packed_frame_in_a_packed_frame() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let inner = frame(&message_to(scene.echo), &link.encode(&vec![0u8; 2000]));
    for method in METHODS {
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        pack(&inner, method, Level::Default, &mut once).unwrap();
        pack(&once, method, Level::Default, &mut twice).unwrap();
        costs_the_frame(&scene, &mut link, &twice, "a packed frame holds a packed frame").await;
        link.wire.send(&once).await;
        assert_eq!(link.hears::<Vec<u8>>().await, vec![0; 2000], "packed once is in order");
    }
    assert_eq!(scene.log.count("a packed frame holds a packed frame"), 3);
    scene.end().await;
}

/// Who sends to a peer that reads nothing waits; others do not.
#[tokio::test]
async fn peer_that_never_reads() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let (to, message) = (link.sender(), vec![7u8; 64 << 10]);
    let mut sent = 0;
    while scene.node.try_send(to, message.clone()).is_ok() {
        sent += 1;
        assert!(sent * message.len() < 64 << 20, "nobody reads, and still it does not say that it is busy");
        tokio::task::yield_now().await;
    }
    assert!(matches!(scene.node.try_send(to, 1u8), Err(SendError::Busy { node }) if node == to.node));
    let waiting = tokio::spawn({
        let node = scene.node.clone();
        async move { node.send(to, "at last".to_owned()).await }
    });
    scene.serves_others().await;
    assert!(!waiting.is_finished(), "the sender waits");
    for _ in 0..sent {
        assert_eq!(link.hears::<Vec<u8>>().await, message);
    }
    assert_eq!(link.hears::<String>().await, "at last");
    waiting.await.unwrap().unwrap();
    scene.end().await;
}

/// A sender that waits for a peer that never reads is told when that is gone.
#[tokio::test]
async fn peer_that_never_reads_and_goes() {
    let scene = Scene::new().await;
    let link = scene.link().await;
    let (to, message) = (link.sender(), vec![7u8; 64 << 10]);
    while scene.node.try_send(to, message.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let node = scene.node.clone();
        async move { node.send(to, 1u8).await }
    });
    drop(link);
    let lost =
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it ends in time").unwrap();
    assert!(matches!(lost, Err(SendError::NoConnection { node }) if node == to.node), "{lost:?}");
    scene.end().await;
}

/// The process of a peer is none of ours, also if the numbers are equal.
#[tokio::test]
async fn frames_come_from_who_is_connected() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let (probe, mut inbox) = probe(&scene.node).await;
    link.send_message(probe, &1u8).await;
    let (from, _) = inbox.recv().await.unwrap();
    assert_eq!((from.node, from.id), (link.local.node, SENDER));
    link.send_message(probe, &2u8).await;
    assert_eq!(next::<u8>(&mut inbox).await, 2);
    scene.end().await;
}
