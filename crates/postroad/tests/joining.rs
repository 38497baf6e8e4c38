//! Links that join a connection sooner than the node knows that there is a
//! place for them.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::{Atom, Node};
use support::scripted::{Caller, Link, Wire, frame, introduction, join, message_to};
use support::{Echo, builder, next, probe};
use tokio::time::{advance, pause, resume};

async fn link(node: &Node) -> Link {
    let mut caller = Caller::dial(node, introduction("peer")).await;
    caller.hello().await;
    caller.introduce().await
}

/// Has the node answer somebody else, and so look at what came before.
async fn others_are_served(node: &Node) {
    for _ in 0..3 {
        Caller::dial(node, introduction("other")).await.hello().await;
    }
}

#[tokio::test]
async fn before_the_end_of_the_link_they_replace_is_noticed() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut first = link(&node).await;
    first.send_message(echo, &1u8).await;
    assert_eq!(first.hears::<u8>().await, 1);

    let mut second = Wire::to(&node).await;
    second.send(&first.join()).await;
    others_are_served(&node).await;
    drop(first);
    second.expect_answer().await;
    node.stop().await;
}

#[tokio::test]
async fn before_the_handshake_has_ended_for_the_node() {
    let node = builder("node").pool_size(2).start().await.unwrap();
    let mut caller = Caller::dial(&node, introduction("peer")).await;
    caller.hello().await;
    let established = caller.hear_introduction().await;

    let mut second = Wire::to(&node).await;
    second.send(&join(established.local.node, &established.connection_id)).await;
    others_are_served(&node).await;
    caller.say().await;
    second.expect_answer().await;
    node.stop().await;
}

/// How many links the node has with a peer; it is given the time it needs.
async fn links(node: &Node, peer: Atom, wanted: usize) {
    while node.network().peer(peer.as_str()).is_none_or(|peer| peer.links != wanted) {
        tokio::task::yield_now().await;
    }
}

/// Has everything run that is to be run now, while the time is paused.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// The node has waited for a link, which came and went: it waits as long for
/// the next one.
#[tokio::test]
async fn after_another_one_was_lost() {
    let node = builder("node").pool_size(2).start().await.unwrap();
    let first = link(&node).await;
    let name = first.local.node;
    let mut second = Wire::to(&node).await;
    second.send(&first.join()).await;
    links(&node, name, 2).await;

    pause();
    advance(Duration::from_millis(900)).await;
    drop(second);
    links(&node, name, 1).await;
    advance(Duration::from_millis(200)).await;
    resume();

    let mut third = Wire::to(&node).await;
    third.send(&first.join()).await;
    third.expect_answer().await;
    links(&node, name, 2).await;
    node.stop().await;
}

/// No link is left, and for one of them nobody hopes any more; but for another
/// one does.
#[tokio::test]
async fn while_another_slot_still_waits() {
    let node = builder("node").pool_size(2).start().await.unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let first = link(&node).await;
    let (name, request) = (first.local.node, first.join());
    let message = frame(&message_to(pid), &first.encode(&1u8));
    links(&node, name, 1).await;
    let mut second = Wire::to(&node).await;
    second.send(&first.join()).await;
    links(&node, name, 2).await;

    pause();
    drop(first);
    links(&node, name, 1).await;
    advance(Duration::from_millis(900)).await;
    drop(second);
    links(&node, name, 0).await;
    advance(Duration::from_millis(500)).await;
    settle().await;
    resume();

    let mut third = Wire::to(&node).await;
    third.send(&request).await;
    third.expect_answer().await;
    third.send(&message).await;
    assert_eq!(next::<u8>(&mut inbox).await, 1);
    node.stop().await;
}

/// A road on which the first handshake took long is given longer for the next
/// link.
#[tokio::test]
async fn on_a_slow_road() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut caller = Caller::dial(&node, introduction("peer")).await;
    caller.hello().await;
    pause();
    advance(Duration::from_millis(500)).await;
    let established = caller.hear_introduction().await;
    let name = established.local.node;
    caller.say().await;
    links(&node, name, 1).await;
    drop(caller);
    links(&node, name, 0).await;
    advance(Duration::from_secs(3)).await;
    settle().await;
    resume();

    let mut second = Wire::to(&node).await;
    second.send(&join(name, &established.connection_id)).await;
    second.expect_answer().await;
    node.stop().await;
}
