//! How a lost link gets its successor.

use std::sync::Arc;
use std::time::Duration;

use postroad_wire::secret::Cookie;
use tokio::time::Instant;

use super::{Connection, log};
use crate::network::event::Road;
use crate::network::handshake::{self, Joiner};
use crate::network::way::Way;

/// What the dialing side keeps to open further links: only it may.
#[derive(Debug, Clone)]
pub(in crate::network) struct Redial {
    /// How the first link was made. What the peer advertises in its Accept is
    /// not used: it is wrong behind NAT, and a route that leads somewhere is not
    /// to be left for an address the peer names.
    pub(in crate::network) way: Way,
    pub(in crate::network) cookie: Cookie,
    pub(in crate::network) dial_timeout: Duration,
    pub(in crate::network) handshake_timeout: Duration,
    /// By which road the first link came.
    pub(in crate::network) road: Arc<Road>,
}

/// Pauses before the attempts to replace a link; after the last one its
/// traffic takes another link.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// A link that dies sooner counts as an attempt that failed: some peers accept
/// a join before they find out that they do not know the connection.
const TOO_SOON: Duration = Duration::from_millis(50);

/// How long the dialing side may take to bring a link, on a road where bytes
/// take no time: a little more than all pauses.
const EXPECTED: Duration = Duration::from_secs(1);

/// How many times that of a handshake is added: one for the dialing side to
/// notice, and one for each attempt.
const ROUNDS: u32 = 1 + PAUSES.len() as u32;

/// How long the dialing side may take to bring a link, when the first handshake
/// took so long: then it gives up, and the accepting side waits no longer. No
/// road is slower than `limit`.
pub(in crate::network) fn patience(handshake: Duration, limit: Duration) -> Duration {
    EXPECTED + (handshake * ROUNDS).min(limit)
}

impl Connection {
    /// Fills the pool after the first link has started.
    pub(super) fn fill_pool(self: &Arc<Self>) {
        for index in 0..self.slots.len() {
            self.spawn_replacement(index, 0);
        }
    }

    /// Gets a successor for a link that lived for `lived`.
    pub(super) fn replace_link(self: &Arc<Self>, index: usize, lived: Duration) {
        let first = self.slots[index].count_early_death(lived < TOO_SOON);
        self.spawn_replacement(index, first);
    }

    fn spawn_replacement(self: &Arc<Self>, index: usize, first_pause: usize) {
        let Some(awaited) = self.slots[index].awaits() else { return };
        let connection = self.clone();
        let node = self.node();
        let begun = Instant::now();
        node.tasks.spawn_on(
            async move {
                let replace = async {
                    match &connection.redial {
                        Some(redial) => connection.redial(index, redial, first_pause).await,
                        None => tokio::time::sleep(connection.patience).await,
                    }
                    // What the lost link carried is to be read before what follows it by way of
                    // a link that is there already, and so waits for no elders.
                    if awaited > 0 && connection.slots[index].awaits() == Some(awaited) {
                        tokio::time::sleep_until(begun + EXPECTED).await;
                    }
                };
                tokio::select! {
                    () = connection.ended.cancelled() => return,
                    () = replace => {}
                }
                // A link that came and went meanwhile left somebody else waiting.
                if connection.slots[index].awaits() == Some(awaited) {
                    connection.give_up_link(index);
                }
            },
            &node.runtime,
        );
    }

    /// Dials until a link has joined, the pauses are used up, or the peer has
    /// long given up waiting. A road that swallows everything is not dialed five
    /// times: the next one may be good.
    async fn redial(self: &Arc<Self>, index: usize, redial: &Redial, first_pause: usize) {
        let limit = self.patience.max(redial.dial_timeout);
        let _ = tokio::time::timeout(limit, self.redial_patiently(index, redial, first_pause)).await;
    }

    async fn redial_patiently(self: &Arc<Self>, index: usize, redial: &Redial, first_pause: usize) {
        for pause in PAUSES.iter().skip(first_pause) {
            // A little chance keeps the links of a pool from knocking at once.
            let jitter = self.node().network.options.ground.factor(0.75..=1.25);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            match self.join(index, redial).await {
                Ok(()) => return,
                Err(error) => {
                    log!(self.log, DEBUG, peer = %self.peer.name, link = index, %error, "link not joined")
                }
            }
        }
    }

    async fn join(self: &Arc<Self>, index: usize, redial: &Redial) -> Result<(), handshake::JoinError> {
        let node = self.node();
        let (stream, _) = redial.way.open(node, self.peer.name, redial.dial_timeout, |_| ()).await?;
        let joiner = Joiner { node: node.name, connection_id: &self.id, cookie: &redial.cookie };
        let join = handshake::join(&self.stack, stream, joiner, redial.handshake_timeout);
        let (stream, tail) = join.await?;
        // Each slot is filled by its own task: a link for one is not to take another's place.
        self.add_link(index, stream, tail);
        Ok(())
    }
}
