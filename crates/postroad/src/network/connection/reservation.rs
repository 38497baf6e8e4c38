//! Places in the pool for links that are shaking hands.

use std::sync::Arc;

use super::Connection;
use super::slot::Slot;
use crate::network::transport::Stream;

/// A slot that is kept for a link that was admitted, until that is there or
/// does not come.
#[derive(Debug)]
pub(in crate::network) struct Reservation {
    connection: Arc<Connection>,
    index: usize,
    filled: bool,
}

impl Connection {
    /// Waits until a further link would find a place, and keeps that for it;
    /// nothing when the connection has ended.
    pub(in crate::network) async fn reserve(self: Arc<Self>) -> Option<Reservation> {
        let vacancy = async {
            loop {
                let mut vacated = std::pin::pin!(self.vacated.notified());
                vacated.as_mut().enable();
                if let Some(index) = self.slots.iter().position(Slot::reserve) {
                    return index;
                }
                vacated.await;
            }
        };
        let index = self.ended.run_until_cancelled(vacancy).await?;
        Some(Reservation { connection: self, index, filled: false })
    }
}

impl Reservation {
    /// Puts the link to work.
    pub(in crate::network) fn fill(mut self, stream: Stream, tail: Vec<u8>) {
        self.filled = true;
        self.connection.add_link(self.index, stream, tail);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.filled {
            return;
        }
        let slot = &self.connection.slots[self.index];
        slot.release();
        self.connection.vacated.notify_waiters();
        if slot.is_given_up() {
            self.connection.give_up_link(self.index);
        }
    }
}
