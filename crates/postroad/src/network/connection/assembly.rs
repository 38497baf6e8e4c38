//! Large frames that come in fragments (`docs/wire/ENP.md` section 15, type 202).

use std::sync::Arc;

use parking_lot::Mutex;
use postroad_wire::enp::fragment::{Assembler, AssemblyLimits};
use tokio::time::Instant;

use super::dispatch::Dropped;
use super::{Connection, log};

/// The frames of a connection of which not everything has come yet.
#[derive(Debug)]
pub(super) struct Assembly(Mutex<Incomplete>);

#[derive(Debug)]
struct Incomplete {
    assembler: Assembler,
    /// What its times are counted from.
    since: Instant,
    /// Somebody gives up what takes too long.
    watched: bool,
}

impl Assembly {
    /// For frames of up to `max_frame` bytes. A peer may have as much underway
    /// in fragments as it could have had in whole frames, one on each link.
    pub(super) fn new(max_frame: usize, links: usize) -> Self {
        let frame = max_frame as u64;
        let limits = AssemblyLimits { frame, open: frame.saturating_mul(links as u64) };
        Self(Mutex::new(Incomplete {
            assembler: Assembler::new(limits),
            since: Instant::now(),
            watched: false,
        }))
    }

    /// Drops what came over a link that is read to its end: the peer sends it
    /// anew by the next one, if at all.
    pub(super) fn link_lost(&self, link: usize) {
        self.0.lock().assembler.link_lost(link);
    }

    /// Drops what is there.
    pub(super) fn clear(&self) {
        self.0.lock().assembler.clear();
    }
}

impl Connection {
    /// Takes a fragment, and returns the whole frame with the last one. `link` is
    /// the link that all of the frame comes over, if that is known.
    pub(super) fn fragment_in(
        self: &Arc<Self>,
        link: Option<usize>,
        sequence: u32,
        index: u16,
        total: u16,
        part: &[u8],
    ) -> Result<Option<Vec<u8>>, Dropped> {
        let Some(assembly) = &self.assembly else { return Err(Dropped::FragmentNotAgreed) };
        let mut incomplete = assembly.0.lock();
        let now = incomplete.since.elapsed();
        let whole = incomplete.assembler.insert(now, link, sequence, index, total, part)?;
        if incomplete.assembler.next_deadline().is_some() && !incomplete.watched {
            incomplete.watched = true;
            let connection = self.clone();
            let watch = async move {
                connection.ended.run_until_cancelled(connection.expire_fragments()).await;
            };
            self.node.tasks.spawn_on(watch, &self.node.runtime);
        }
        Ok(whole)
    }

    /// Gives frames up whose fragments do not all come in time, until none is
    /// incomplete any more.
    async fn expire_fragments(&self) {
        let Some(assembly) = &self.assembly else { return };
        loop {
            let next = {
                let mut incomplete = assembly.0.lock();
                let next = incomplete.assembler.next_deadline();
                incomplete.watched = next.is_some();
                next.map(|next| incomplete.since + next)
            };
            let Some(next) = next else { return };
            tokio::time::sleep_until(next).await;
            let given_up = {
                let mut incomplete = assembly.0.lock();
                let now = incomplete.since.elapsed();
                incomplete.assembler.expire(now)
            };
            if given_up > 0 {
                log!(self.log, WARN, peer = %self.peer.name, frames = given_up, "frames given up whose fragments did not all come");
            }
        }
    }
}
