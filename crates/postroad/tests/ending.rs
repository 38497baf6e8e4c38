//! How connections, links and nodes end: what was sent before, and who is told.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::network::{DownReason, NetworkEvent};
use postroad::{CallError, Node, Pid, SendError};
use postroad_wire::enp::{Frame, Head};
use support::log::Log;
use support::scripted::{Caller, Desk, Link, frame, introduction, message_to};
use support::{builder, fill, next, probe};
use tokio::task::yield_now;

async fn link(node: &Node, caller: Caller) -> Link {
    let mut caller = caller;
    caller.hello().await;
    let link = caller.introduce().await;
    while node.network().peer(link.local.node.as_str()).is_none() {
        yield_now().await;
    }
    link
}

async fn node_with_peer() -> (Node, Link) {
    let node = builder("node").pool_size(1).keepalive(None).start().await.unwrap();
    let link = link(&node, Caller::dial(&node, introduction("peer")).await).await;
    (node, link)
}

/// A process of the peer.
fn process(link: &Link) -> Pid {
    Pid { id: 2000, ..link.sender() }
}

/// What was flushed arrives, although the node closes a socket with unread
/// input: the system must have no reason to reset it.
#[tokio::test]
async fn what_was_sent_before_the_end_arrives() {
    const SENT: u64 = 100;
    let (node, mut link) = node_with_peer().await;
    let (to, name) = (process(&link), link.local.node);
    for _ in 0..SENT {
        node.send(to, vec![0u8; 10_000]).await.unwrap();
    }
    while node.network().peer(name.as_str()).unwrap().bytes_out < SENT * 10_000 {
        yield_now().await;
    }
    let unread = frame(&message_to(node.pid()), &link.encode(&1u8)).repeat(500);
    link.wire.send_at_once(&unread);
    assert!(node.network().disconnect(name.as_str()).await);
    for received in 0..SENT {
        assert_eq!(link.hears::<Vec<u8>>().await.len(), 10_000, "message {received}");
    }
    node.stop().await;
}

/// A peer that closed with unread input is not writable any more; what it sent
/// before is handled all the same.
#[tokio::test]
async fn the_last_words_of_a_peer_are_heard() {
    const SAID: u64 = 1000;
    let (node, mut link) = node_with_peer().await;
    let (pid, mut inbox) = probe(&node).await;
    let to = process(&link);
    let words = frame(&message_to(pid), &link.encode(&1u8)).repeat(SAID as usize);
    assert_eq!(link.wire.send_at_once(&words), words.len());
    link.wire.reset();
    node.send(to, 1u8).await.unwrap();
    let heard = async {
        for _ in 0..SAID {
            assert_eq!(next::<u8>(&mut inbox).await, 1);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("all of it is handled");
    node.stop().await;
}

/// The peer has lost the connection and dials anew, while a message waits for
/// room on the old one: that does not go out on the new one, whose tables it
/// was not encoded for, and its sender is told.
#[tokio::test]
async fn a_replaced_connection_gives_back_what_waits() {
    let log = Log::start();
    let (node, link_of_old) = node_with_peer().await;
    let to = process(&link_of_old);
    fill(&node, to).await;
    let mut waiting = Box::pin(node.send(to, vec![1u8; 50_000]));
    let still = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx)));
    assert!(still.await.is_pending(), "there is no room");
    let mut events = node.network().subscribe();

    let mut local = (*link_of_old.local).clone();
    local.creation += 1;
    let mut anew = link(&node, Caller::dial(&node, local).await).await;
    let error = waiting.await.unwrap_err();
    assert!(matches!(error, SendError::NoConnection { .. }), "{error}");
    loop {
        if let NetworkEvent::Disconnected { peer, reason } = events.recv().await.unwrap() {
            assert_eq!((peer, reason), (link_of_old.local.node, DownReason::Replaced));
            break;
        }
    }
    log.says(&["frames lost that were not sent", link_of_old.local.node.as_str(), "frames="]).await;

    node.send(process(&anew), 7u8).await.unwrap();
    assert_eq!(anew.hears::<u8>().await, 7, "and nothing else came before");
    node.stop().await;
}

/// The connection that a request went out on has ended, others with the same
/// peer and with other peers have not.
#[tokio::test]
async fn a_lost_connection_ends_its_own_calls_only() {
    let (node, mut old) = node_with_peer().await;
    let mut other = link(&node, Caller::dial(&node, introduction("other")).await).await;
    let (to, to_other) = (process(&old), process(&other));
    let call = |to: Pid| {
        let node = node.clone();
        tokio::spawn(async move { node.call::<u8>(to, 1u8).await })
    };
    let (on_old, on_other) = (call(to), call(to_other));
    old.frame().await;
    let asked = other.frame().await;
    let Head::Request { from, reference, delivery, .. } = Frame::parse(&asked).unwrap().head else {
        panic!("it is a request")
    };

    let mut local = (*old.local).clone();
    local.creation += 1;
    let _anew = link(&node, Caller::dial(&node, local).await).await;
    let lost = on_old.await.unwrap().unwrap_err();
    assert!(matches!(lost, CallError::NoConnection { .. }), "{lost}");
    let answer = Head::Response { from: to_other.id, delivery, to: from, reference };
    let payload = other.encode(&2u8);
    other.send_frame(&answer, &payload).await;
    assert_eq!(on_other.await.unwrap().unwrap(), 2);
    node.stop().await;
}

/// A handshake ends a step or two after its last word, and which of two things
/// at once comes first is left to chance.
const ROUNDS: usize = 48;
const STEPS: usize = 4;

async fn stops(node: &Node) {
    tokio::time::timeout(Duration::from_secs(10), node.stop()).await.expect("the node stops");
}

/// However far the handshake has come.
#[tokio::test]
async fn a_node_stops_beside_a_handshake_that_just_ends() {
    for round in 0..ROUNDS {
        let node = builder("node").pool_size(1).start().await.unwrap();
        let mut caller = Caller::dial(&node, introduction("peer")).await;
        caller.hello().await;
        caller.hear_introduction().await;
        caller.say().await;
        for _ in 0..round % STEPS {
            yield_now().await;
        }
        tokio::join!(stops(&node), async {
            caller.wire.expect_close().await;
            drop(caller);
        });
    }
}

#[tokio::test]
async fn a_node_stops_beside_its_own_handshake_that_just_ends() {
    for round in 0..ROUNDS {
        let node = builder("node").start().await.unwrap();
        let desk = Desk::open().await;
        let local = introduction("peer");
        let name = local.node;
        desk.leads(&node, name);
        let dialing = tokio::spawn({
            let node = node.clone();
            async move { node.network().connect(name.as_str()).await.map(drop) }
        });
        let mut callee = desk.called(local).await;
        callee.hello().await;
        callee.introduce().await;
        for _ in 0..round % STEPS {
            yield_now().await;
        }
        tokio::join!(stops(&node), async {
            callee.wire.expect_close().await;
            drop(callee);
        });
        let _ = dialing.await.unwrap();
        assert!(node.network().peers().is_empty());
    }
}
