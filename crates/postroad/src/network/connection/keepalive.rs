//! Signs of life (`docs/wire/ENP.md` section 15, type 208): how a peer is
//! noticed that is gone without a word.
//!
//! Each side says in the handshake how often it gives a sign on each link, and
//! both do so if both said a period. A link on which nothing at all came for
//! three of the peer's periods is dead.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postroad_wire::ehs::Established;
use postroad_wire::enp::{self, Head};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::LinkLoss;
use super::slot::Slot;

/// How many periods of the peer may pass in silence.
const PATIENCE: u32 = 3;

/// How often each side gives a sign of life on each link.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Keepalive {
    own: Duration,
    peers: Duration,
}

impl Keepalive {
    /// What the two sides agreed on; nothing unless both want it.
    pub(in crate::network) fn agreed(established: &Established) -> Option<Self> {
        let period = |seconds| Duration::from_secs(u64::from(seconds));
        let own = established.local.flags.keepalive().map(period)?;
        let peers = established.peer.flags.keepalive().map(period)?;
        Some(Self { own, peers })
    }

    /// Gives signs of life on a slot's link, and waits until there was none of
    /// the peer for too long. `heard` is set by whoever reads, whenever
    /// something arrives.
    pub(super) async fn watch(self, slot: &Slot, heard: &AtomicBool) -> LinkLoss {
        let (mut own, mut peers) = (every(self.own), every(self.peers));
        let mut silent = 0;
        loop {
            tokio::select! {
                _ = own.tick() => give_sign(slot),
                _ = peers.tick() => {
                    silent = if heard.swap(false, Ordering::Relaxed) { 0 } else { silent + 1 };
                    if silent == PATIENCE {
                        return LinkLoss::Silent(self.peers * PATIENCE);
                    }
                }
            }
        }
    }
}

/// A program that was stopped for a while owes no ticks: the peer's signs may
/// be lying in the socket.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn give_sign(slot: &Slot) {
    // What waits there is a sign as well, or will never be read.
    if slot.waiting() == 0 {
        // A slot that has no link any more needs none, and this cannot fail otherwise.
        let _ = slot
            .append(0, false, |out| enp::write::<Infallible>(out, 0, &Head::Keepalive, |_| Ok(())).map(drop));
    }
}
