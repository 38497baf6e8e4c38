//! Signs of life, and peers that give none. Time is paused where nothing else
//! is to be waited for.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::network::{DownReason, NetworkEvent, NetworkRoute, exact};
use postroad::{Node, NodeBuilder};
use postroad_wire::NetworkFlags;
use postroad_wire::ehs::Introduction;
use postroad_wire::enp::Head;
use support::log::Log;
use support::scripted::{Desk, Link, frame, introduction};
use support::{Echo, builder, port};
use tokio::sync::broadcast;
use tokio::time::{Instant, pause, resume, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// A peer that promises a sign of life every so many seconds.
fn lively(seconds: u8) -> Introduction {
    let mut introduction = introduction("peer");
    introduction.flags = NetworkFlags::ENABLE.with_keepalive(seconds);
    introduction
}

async fn link(log: &Log, node: &Node, introduction: Introduction) -> Link {
    let link = Link::to(node, introduction).await;
    log.says(&["connected", link.local.node.as_str()]).await;
    link
}

fn sign() -> Vec<u8> {
    frame(&Head::Keepalive, &[])
}

async fn lost(events: &mut broadcast::Receiver<NetworkEvent>) -> DownReason {
    loop {
        if let NetworkEvent::Disconnected { reason, .. } = events.recv().await.unwrap() {
            return reason;
        }
    }
}

#[tokio::test]
async fn the_period_is_announced() {
    let period = async |options: fn(NodeBuilder) -> NodeBuilder| {
        let node = options(builder("node")).start().await.unwrap();
        let announced = Link::to(&node, introduction("peer")).await.peer.flags.keepalive();
        node.stop().await;
        announced
    };
    assert_eq!(period(|builder| builder).await, Some(15));
    assert_eq!(period(|builder| builder.keepalive(Duration::from_millis(1500))).await, Some(2));
    assert_eq!(period(|builder| builder.keepalive(Duration::ZERO)).await, Some(1));
    assert_eq!(period(|builder| builder.keepalive(Duration::MAX)).await, Some(255));
    assert_eq!(period(|builder| builder.keepalive(None)).await, None);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_lost() {
    let log = Log::start();
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut link = link(&log, &node, lively(10)).await;
    let mut events = node.network().subscribe();
    pause();
    let silent_since = Instant::now();
    assert_eq!(lost(&mut events).await, DownReason::Lost);
    let patience = silent_since.elapsed();
    assert!((29 * SECOND..33 * SECOND).contains(&patience), "{patience:?}");
    log.find(&["link closed", link.local.node.as_str(), "no sign of life for 30s"]).expect("it says why");
    resume();
    assert_eq!(link.frame().await, sign(), "meanwhile the node gave its own");
    node.stop().await;
}

#[tokio::test]
async fn a_dialed_peer_that_falls_silent_is_lost() {
    let log = Log::start();
    let node = builder("node").start().await.unwrap();
    let desk = Desk::open().await;
    let local = lively(10);
    let peer = local.node;
    desk.leads(&node, peer);
    let mut events = node.network().subscribe();
    let network = node.network();
    let (connected, _link) = tokio::join!(network.connect(peer.as_str()), async {
        let mut callee = desk.called(local).await;
        callee.hello().await;
        callee.introduce().await;
        callee.agreed().await
    });
    connected.unwrap();
    pause();
    let silent_since = Instant::now();
    assert_eq!(lost(&mut events).await, DownReason::Lost);
    let patience = silent_since.elapsed();
    assert!(patience < 90 * SECOND, "further links are dialed, but not for ever: {patience:?}");
    assert!(log.find(&["link closed", "no sign of life for 30s"]).is_some());
    resume();
    node.stop().await;
}

#[tokio::test]
async fn signs_of_life_keep_an_idle_link() {
    let log = Log::start();
    let node = builder("node").pool_size(1).keepalive(5 * SECOND).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut link = link(&log, &node, lively(10)).await;
    pause();
    for _ in 0..20 {
        sleep(20 * SECOND).await;
        link.wire.send(&sign()).await;
    }
    resume();
    for _ in 0..400 / 5 - 1 {
        assert_eq!(link.frame().await, sign());
    }
    link.send_request(echo, [7, 0, u64::MAX], &1u8).await;
    let answer = async {
        loop {
            let next = link.frame().await;
            if next != sign() {
                return next;
            }
        }
    };
    assert_eq!(answer.await[7], 129, "the link lives");
    assert!(log.find(&["link closed"]).is_none());
    node.stop().await;
}

#[tokio::test]
async fn no_signs_unless_both_want_them() {
    let log = Log::start();
    for (own, peers) in [(None, 1), (Some(SECOND), 0), (None, 0)] {
        let node = builder("node").pool_size(1).keepalive(own).start().await.unwrap();
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let mut link = link(&log, &node, lively(peers)).await;
        pause();
        sleep(1000 * SECOND).await;
        resume();
        link.send_request(echo, [7, 0, u64::MAX], &1u8).await;
        assert_eq!(link.hears::<u8>().await, 1, "nothing came before the answer, and the link lives");
        node.stop().await;
    }
}

#[tokio::test]
async fn two_nodes_keep_all_links_of_their_pool() {
    let log = Log::start();
    let start = async |name| builder(name).keepalive(SECOND).start().await.unwrap();
    let (a, b) = (start("a").await, start("b").await);
    let route = NetworkRoute::to("127.0.0.1", port(&b));
    a.network().add_route(&exact(b.name().as_str()), route, 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
    let links = |node: &Node| node.network().peers().first().map_or(0, |peer| peer.links);
    while links(&a) < 3 || links(&b) < 3 {
        tokio::task::yield_now().await;
    }
    pause();
    sleep(100 * SECOND).await;
    resume();
    assert_eq!((links(&a), links(&b)), (3, 3));
    assert!(log.find(&["link closed"]).is_none());
    let frames = a.network().peers()[0].frames_in;
    assert!((3 * 95..=3 * 100).contains(&frames), "{frames}");
    a.stop().await;
    b.stop().await;
}
