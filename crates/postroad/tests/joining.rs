//! Links that join a connection sooner than the node knows that there is a
//! place for them.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::Node;
use support::scripted::{Caller, Link, Wire, introduction, join};
use support::{Echo, builder};
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

/// The node has waited for a link, which came and went: it waits as long for
/// the next one.
#[tokio::test]
async fn after_another_one_was_lost() {
    let node = builder("node").pool_size(2).start().await.unwrap();
    let first = link(&node).await;
    let name = first.local.node;
    let links = async |wanted| {
        while node.network().peer(name.as_str()).is_none_or(|peer| peer.links != wanted) {
            tokio::task::yield_now().await;
        }
    };
    let mut second = Wire::to(&node).await;
    second.send(&first.join()).await;
    links(2).await;

    pause();
    advance(Duration::from_millis(900)).await;
    drop(second);
    links(1).await;
    advance(Duration::from_millis(200)).await;
    resume();

    let mut third = Wire::to(&node).await;
    third.send(&first.join()).await;
    third.expect_answer().await;
    links(2).await;
    node.stop().await;
}
