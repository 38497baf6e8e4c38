//! Messages that are sent later.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

/// A message that is sent later, or again and again.
///
/// Dropping the handle leaves the timer running; it ends with its node.
#[derive(Debug)]
pub struct Timer(JoinHandle<()>);

impl Timer {
    /// Stops the timer. True if the message, or the next one of a series, was
    /// prevented; false if the timer had already done its work.
    pub fn cancel(self) -> bool {
        let pending = !self.0.is_finished();
        self.0.abort();
        pending
    }
}

pub(crate) fn after(
    runtime: &tokio::runtime::Handle,
    stopping: tokio_util::sync::CancellationToken,
    delay: Duration,
    send: impl Future<Output = ()> + Send + 'static,
) -> Timer {
    Timer(runtime.spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = async { sleep(delay).await; send.await } => {}
        }
    }))
}

pub(crate) fn every<F: Future<Output = bool> + Send>(
    runtime: &tokio::runtime::Handle,
    stopping: tokio_util::sync::CancellationToken,
    period: Duration,
    mut send: impl FnMut() -> F + Send + 'static,
) -> Timer {
    Timer(runtime.spawn(async move {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = ticks.tick() => if !send().await { return },
            }
        }
    }))
}
