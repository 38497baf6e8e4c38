//! Large messages in fragments.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::network::{NetworkRoute, exact};
use postroad::{Node, Pid};
use postroad_wire::NetworkFlags;
use postroad_wire::ehs::Introduction;
use postroad_wire::enp::fragment::{ASSEMBLY_TIMEOUT, fragments};
use postroad_wire::enp::{Frame, Head, Method, compress, order_byte};
use support::log::Log;
use support::scripted::{Desk, Link, frame, introduction, message_to};
use support::{Echo, builder, next, port, probe};

const MIB: usize = 1 << 20;

/// A peer that takes fragments.
fn willing() -> Introduction {
    let mut introduction = introduction("peer");
    introduction.flags = NetworkFlags::ENABLE | NetworkFlags::FRAGMENTATION;
    introduction
}

async fn link(node: &Node, introduction: Introduction) -> Link {
    let link = Link::to(node, introduction).await;
    while node.network().peer(link.local.node.as_str()).is_none() {
        tokio::task::yield_now().await;
    }
    link
}

/// A process of the peer.
fn process(link: &Link) -> Pid {
    Pid { id: 2000, ..link.sender() }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// What is in a frame that a node sent: a fragment, or a message of a process.
enum Heard {
    Fragment { sequence: u32, index: u16, total: u16, part: Vec<u8> },
    Message { from: u64, payload: Vec<u8> },
}

async fn hear(link: &mut Link) -> Heard {
    let frame = link.frame().await;
    let Frame { head, payload, .. } = Frame::parse(&frame).unwrap();
    let payload = payload.to_vec();
    match head {
        Head::Fragment { sequence, index, total } => {
            Heard::Fragment { sequence, index, total, part: payload }
        }
        Head::Message { from, .. } => Heard::Message { from, payload },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn between_two_nodes_unless_one_does_not_want_them() {
    let plain = NetworkFlags::ENABLE;
    let both = plain | NetworkFlags::FRAGMENTATION;
    for (by_node, by_route) in [(both, both), (plain, both), (both, plain)] {
        let a = builder("a").pool_size(1).start().await.unwrap();
        let b = builder("b").pool_size(1).network_flags(by_node).start().await.unwrap();
        let route = NetworkRoute::to("127.0.0.1", port(&b)).network_flags(by_route);
        a.network().add_route(&exact(b.name().as_str()), route, 1).unwrap();
        let echo = b.spawn::<Echo>(()).await.unwrap();
        let sent = pattern(MIB);
        let back: Vec<u8> = a.call(echo, sent.clone()).await.unwrap();
        assert!(back == sent);
        let frames = b.network().peers()[0].frames_in;
        assert_eq!(frames > 1, by_node & by_route == both, "{frames} frames");
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_announce_them_gets_none() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut link = link(&node, introduction("peer")).await;
    assert!(link.peer.flags.allows(NetworkFlags::FRAGMENTATION), "the node announces them");
    node.send(process(&link), pattern(MIB)).await.unwrap();
    assert_eq!(link.hears::<Vec<u8>>().await, pattern(MIB));
    node.stop().await;
}

#[tokio::test]
async fn a_route_leaves_the_flag_out() {
    for (flags, announced) in [(None, true), (Some(NetworkFlags::ENABLE), false)] {
        let node = builder("node").start().await.unwrap();
        let desk = Desk::open().await;
        let local = willing();
        let name = local.node;
        let mut route = NetworkRoute::to("127.0.0.1", desk.port());
        if let Some(flags) = flags {
            route = route.network_flags(flags);
        }
        node.network().add_route(&exact(name.as_str()), route, 1).unwrap();
        let network = node.network();
        let (connected, link) = tokio::join!(network.connect(name.as_str()), async {
            let mut callee = desk.called(local).await;
            callee.hello().await;
            callee.introduce().await;
            callee.agreed().await
        });
        connected.unwrap();
        assert_eq!(link.peer.flags.allows(NetworkFlags::FRAGMENTATION), announced);
        node.stop().await;
    }
}

/// While a large message goes out over a link, others of the node use that as
/// well; what its sender sends next comes after it.
#[tokio::test]
async fn others_are_not_held_up_and_the_sender_keeps_its_order() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut link = link(&node, willing()).await;
    let to = process(&link);
    // More than fits into the sockets: it cannot be gone before it is read.
    node.send(to, pattern(32 * MIB)).await.unwrap();
    node.send(to, 1u8).await.unwrap();
    node.try_send(to, 2u8).unwrap();
    assert!(matches!(hear(&mut link).await, Heard::Fragment { index: 0, .. }));
    link.send_message(echo, &3u8).await;

    let mut said = Vec::new();
    let mut last_fragment = 0;
    while said.len() < 3 {
        match hear(&mut link).await {
            Heard::Fragment { index, total, .. } => last_fragment = total - index - 1,
            Heard::Message { from, payload } => said.push((from, link.decode::<u8>(&payload), last_fragment)),
        }
    }
    let (first, number, left) = said[0];
    assert_eq!((first, number), (echo.id, 3));
    assert!(left > 0, "the echo did not wait for the large message");
    assert_eq!(said[1..], [(node.pid().id, 1, 0), (node.pid().id, 2, 0)]);
    node.stop().await;
}

#[tokio::test]
async fn large_messages_of_two_senders_take_turns() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut link = link(&node, willing()).await;
    node.send(process(&link), pattern(16 * MIB)).await.unwrap();
    let Heard::Fragment { sequence: first, .. } = hear(&mut link).await else { panic!("it is large") };
    link.send_message(echo, &pattern(MIB)).await;
    let mut last = Vec::new();
    while last.len() < 2 {
        if let Heard::Fragment { sequence, index, total, .. } = hear(&mut link).await
            && index + 1 == total
        {
            last.push(sequence);
        }
    }
    assert!(last[0] != first && last[1] == first, "the smaller one, which began later, ends first");
    node.stop().await;
}

/// The peer never gets pieces of two attempts under one number, and the message
/// comes once.
#[tokio::test]
async fn a_lost_link_in_the_middle_of_a_message() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut first = link(&node, willing()).await;
    let to = process(&first);
    let sent = pattern(32 * MIB);
    node.send(to, sent.clone()).await.unwrap();
    node.send(to, 1u8).await.unwrap();
    let mut began = None;
    for expected in 0..3 {
        let Heard::Fragment { sequence, index, .. } = hear(&mut first).await else { panic!("it is large") };
        assert_eq!(index, expected);
        began = Some(sequence);
    }
    let mut second = first.rejoin(&node).await;
    let Heard::Fragment { sequence, index, total, part } = hear(&mut second).await else {
        panic!("it is large")
    };
    assert_eq!(index, 0, "it begins anew");
    assert_ne!(Some(sequence), began);
    let mut whole = part;
    for expected in 1..total {
        let Heard::Fragment { sequence: other, index, part, .. } = hear(&mut second).await else {
            panic!("only its sender has sent anything")
        };
        assert_eq!((other, index), (sequence, expected));
        whole.extend(part);
    }
    assert!(second.decode::<Vec<u8>>(Frame::parse(&whole).unwrap().payload) == sent);
    assert_eq!(second.hears::<u8>().await, 1);
    node.stop().await;
}

/// What has come of a frame over a lost link takes no room from the frame when
/// that comes anew.
#[tokio::test]
async fn a_message_comes_anew_after_its_link_was_lost() {
    let node = builder("node").pool_size(1).max_message_size(MIB).start().await.unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let mut link = link(&node, willing()).await;
    let sent = pattern(700_000);
    let whole = frame(&message_to(pid), &link.encode(&sent));
    let ordered = |(head, part): (Head<'_>, &[u8])| {
        let mut fragment = frame(&head, part);
        fragment[6] = order_byte(&whole);
        fragment
    };
    for fragment in fragments(&whole, 1, 65_000).take(8).map(ordered) {
        link.wire.send(&fragment).await;
    }
    let mut link = link.rejoin(&node).await;
    for fragment in fragments(&whole, 2, 65_000).map(ordered) {
        link.wire.send(&fragment).await;
    }
    assert!(next::<Vec<u8>>(&mut inbox).await == sent);
    node.stop().await;
}

#[tokio::test]
async fn a_packed_message_comes_in_fragments() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let mut link = link(&node, willing()).await;
    // Xorshift: nothing that could be packed well.
    let noise: Vec<u8> = std::iter::successors(Some(1u64), |state| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    })
    .map(|state| state as u8)
    .take(200_000)
    .collect();
    let mut packed = Vec::new();
    let whole = frame(&message_to(pid), &link.encode(&noise));
    compress::pack(&whole, Method::Zlib, compress::Level::Default, &mut packed).unwrap();
    assert!(packed.len() > 100_000);
    for (head, part) in fragments(&packed, 7, 65_000) {
        link.send_frame(&head, part).await;
    }
    assert_eq!(next::<Vec<u8>>(&mut inbox).await, noise);
    node.stop().await;
}

/// The fragments of several messages may be mixed, and come in any order.
#[tokio::test]
async fn fragments_in_any_order() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let mut link = link(&node, willing()).await;
    let frames: Vec<_> = (0..3u8).map(|n| frame(&message_to(pid), &link.encode(&vec![n; 20_000]))).collect();
    let mut pieces: Vec<_> =
        (1..).zip(&frames).flat_map(|(sequence, whole)| fragments(whole, sequence, 4096)).collect();
    pieces.sort_by_key(|(head, _)| match head {
        Head::Fragment { sequence, index, .. } => (index * 7 % 5, *sequence),
        other => panic!("{other:?}"),
    });
    for (head, part) in pieces {
        link.send_frame(&head, part).await;
    }
    for n in 0..3u8 {
        assert_eq!(next::<Vec<u8>>(&mut inbox).await, vec![n; 20_000]);
    }
    node.stop().await;
}

fn piece(sequence: u32, index: u16, total: u16) -> Head<'static> {
    Head::Fragment { sequence, index, total }
}

/// A peer that sends this is heard no worse for it; the log says that a frame
/// was dropped, and why.
async fn costs_the_frame(introduction: Introduction, pieces: &[(Head<'_>, &[u8])], part: &str) {
    let log = Log::start();
    let node = builder("node").pool_size(1).max_message_size(100_000).start().await.unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let mut link = link(&node, introduction).await;
    for (head, part) in pieces {
        link.send_frame(head, part).await;
    }
    log.says(&["frame dropped", link.local.node.as_str(), part]).await;
    link.send_message(pid, &1u8).await;
    assert_eq!(next::<u8>(&mut inbox).await, 1);
    node.stop().await;
}

#[tokio::test]
async fn bad_input_fragments_without_agreement() {
    costs_the_frame(introduction("peer"), &[(piece(1, 0, 2), b"x")], "not agreed").await;
}

#[tokio::test]
async fn bad_input_fragments_out_of_range() {
    costs_the_frame(willing(), &[(piece(1, 2, 2), b"x")], "fragment 2 of 2").await;
    costs_the_frame(willing(), &[(piece(1, 0, 0), b"x")], "fragment 0 of 0").await;
    costs_the_frame(willing(), &[(piece(1, 0, 10_001), b"x")], "fragment 0 of 10001").await;
    let changed = [(piece(1, 0, 3), &b"x"[..]), (piece(1, 1, 4), b"x")];
    costs_the_frame(willing(), &changed, "says 4 where others of its frame said 3").await;
}

#[tokio::test]
async fn bad_input_fragments_that_make_up_no_frame() {
    let garbage = [(piece(1, 0, 2), &b"GET / "[..]), (piece(1, 1, 2), b"HTTP/1.1")];
    costs_the_frame(willing(), &garbage, "begins with 0x47").await;
    let inner = frame(&piece(2, 0, 1), b"x");
    costs_the_frame(willing(), &[(piece(1, 0, 1), &inner)], "type 202").await;
}

#[tokio::test]
async fn bad_input_fragments_that_are_too_much() {
    let part = vec![0; 60_000];
    let long = [(piece(1, 0, 3), &part[..]), (piece(1, 1, 3), &part)];
    costs_the_frame(willing(), &long, "120000 bytes or more, at most 100000 are taken").await;
    let open = [(piece(1, 0, 3), &part[..]), (piece(2, 0, 3), &part)];
    costs_the_frame(willing(), &open, "would take 120000 bytes, at most 100000 are kept").await;
    let many: Vec<_> = (0..1001).map(|sequence| (piece(sequence, 0, 2), &b"x"[..])).collect();
    costs_the_frame(willing(), &many, "1000 frames are incomplete").await;
}

#[tokio::test]
async fn bad_input_fragments_that_do_not_all_come() {
    let log = Log::start();
    let node = builder("node").pool_size(1).keepalive(None).start().await.unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let mut link = link(&node, willing()).await;
    link.send_frame(&piece(1, 0, 2), b"x").await;
    link.send_message(pid, &1u8).await;
    assert_eq!(next::<u8>(&mut inbox).await, 1);
    tokio::time::pause();
    tokio::time::sleep(ASSEMBLY_TIMEOUT + Duration::from_secs(1)).await;
    log.find(&["frames given up", link.local.node.as_str(), "frames=1"]).expect("nobody waits for the rest");
    tokio::time::resume();
    node.stop().await;
}
