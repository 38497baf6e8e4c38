//! Links that join a connection sooner than the node knows that there is a
//! place for them.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::network::AcceptorOptions;
use postroad::{Atom, Node};
use postroad_wire::ehs::Join;
use support::scripted::{Caller, Desk, Link, Wire, frame, introduction, join, message_to};
use support::{Echo, builder, next, probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{advance, pause, resume};

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
    let mut first = Link::to(&node, introduction("peer")).await;
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
    let first = Link::to(&node, introduction("peer")).await;
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
    let first = Link::to(&node, introduction("peer")).await;
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

/// Only the side that dialed brings links. Whoever else knows the cookie and
/// the id would get past what the route demands of the peer.
#[tokio::test]
async fn nobody_joins_a_connection_that_this_node_dialed() {
    let node = builder("node").start().await.unwrap();
    let desk = Desk::open().await;
    let local = introduction("peer");
    let name = local.node;
    desk.leads(&node, name);
    let dialing = tokio::spawn({
        let node = node.clone();
        async move { node.network().connect(name.as_str()).await }
    });
    let mut callee = desk.called(local).await;
    callee.hello().await;
    callee.introduce().await;
    let link = callee.agreed().await;
    dialing.await.unwrap().unwrap();
    let join = link.join();
    // A place is free: the node dials for it, and nobody answers.
    drop(link);
    let mut second = Wire::to(&node).await;
    assert!(!second.is_answered(&join).await);
    node.stop().await;
}

/// What one acceptor demands is not got around by way of another one.
#[tokio::test]
async fn links_come_in_where_the_first_one_did() {
    let lax = AcceptorOptions::bind("127.0.0.1", 0).cookie("of strangers");
    let node = builder("node").acceptor(lax).pool_size(2).start().await.unwrap();
    let first = Link::to(&node, introduction("peer")).await;
    let address = node.network().acceptors()[1].address;
    let mut stranger = TcpStream::connect(address).await.unwrap();
    let name = first.local.node;
    let cookie = "of strangers".into();
    let mut machine = Join::new(name, &first.connection_id, cookie, rand::random(), None);
    stranger.write_all(&machine.poll_transmit().unwrap()).await.unwrap();
    assert_eq!(stranger.read(&mut [0; 64]).await.unwrap(), 0, "it is closed without an answer");
    let mut second = Wire::to(&node).await;
    second.send(&first.join()).await;
    second.expect_answer().await;
    node.stop().await;
}

/// The cookie was changed since: who made the connection knows the former one,
/// and who knows the new one only did not make it.
#[tokio::test]
async fn by_the_cookie_that_the_connection_was_made_with() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let first = Link::to(&node, introduction("peer")).await;
    links(&node, first.local.node, 1).await;
    node.network().set_cookie("another");
    let mut other = Wire::to(&node).await;
    let join = Join::new(first.local.node, &first.connection_id, "another".into(), rand::random(), None)
        .poll_transmit()
        .unwrap();
    other.send(&join).await;
    other.expect_close().await;
    let mut second = first.rejoin(&node).await;
    second.send_message(echo, &1u8).await;
    assert_eq!(second.hears::<u8>().await, 1);
    node.stop().await;
}
