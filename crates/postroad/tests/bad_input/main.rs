//! What broken and hostile peers may do to a node. Each test: the error has a
//! name that somebody gets to see, and others are served meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod calling;
mod dialed;
mod frames;
mod payloads;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use postroad::network::{NetworkRoute, exact};
use postroad::{Node, NodeBuilder, Pid};
use support::log::Log;
use support::scripted::{Link, introduction};
use support::{Echo, builder, port};

/// A node with an echo, somebody who calls that, and what is logged.
struct Scene {
    log: Log,
    node: Node,
    echo: Pid,
    neighbour: Node,
}

/// With a pool of this size the echo, which is the node's first process (1001),
/// answers over the first link.
const FIRST_ANSWERS: u16 = 7;

impl Scene {
    async fn new() -> Self {
        Self::with_pool(1).await
    }

    async fn with_pool(links: u16) -> Self {
        Self::with(|builder| builder.pool_size(links)).await
    }

    async fn with(options: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let log = Log::start();
        let node = options(builder("node")).start().await.unwrap();
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let neighbour = builder("neighbour").start().await.unwrap();
        let route = NetworkRoute::to("127.0.0.1", port(&node));
        neighbour.network().add_route(&exact(node.name().as_str()), route, 1).unwrap();
        Self { log, node, echo, neighbour }
    }

    /// A node that has no patience with handshakes.
    async fn impatient() -> Self {
        let patience = Duration::from_millis(500);
        Self::with(|builder| builder.pool_size(1).timeouts(patience, patience, Duration::from_secs(10))).await
    }

    /// A peer that is connected.
    async fn link(&self) -> Link {
        let link = Link::to(&self.node, introduction("peer")).await;
        self.log.says(&["connected", link.local.node.as_str()]).await;
        link
    }

    /// The node answers this peer.
    async fn serves(&self, link: &mut Link) {
        link.send_request(self.echo, [7, 0, u64::MAX], &"still there?".to_owned()).await;
        assert_eq!(link.hears::<String>().await, "still there?");
    }

    /// The node lets others in and serves them.
    async fn serves_others(&self) {
        let node = self.node.name();
        self.neighbour.network().disconnect(node.as_str()).await;
        assert_eq!(self.neighbour.call::<u8>(self.echo, 1u8).await.unwrap(), 1);
    }

    async fn end(self) {
        self.serves_others().await;
        self.neighbour.stop().await;
        self.node.stop().await;
    }
}
