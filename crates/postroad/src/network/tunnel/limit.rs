//! So much per second.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A bucket that fills at a steady rate and holds a while's worth.
#[derive(Debug)]
pub(super) struct Limit {
    per_second: f64,
    most: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: f64,
    at: Instant,
}

impl Limit {
    /// So much per second in the long run, and `most` at once.
    pub(super) fn new(per_second: f64, most: f64) -> Self {
        Self { per_second, most, state: Mutex::new(State { left: most, at: Instant::now() }) }
    }

    /// How much that is in a second, in the long run.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self) -> bool {
        let mut state = self.state.lock();
        self.fill(&mut state);
        let enough = state.left >= 1.0;
        if enough {
            state.left -= 1.0;
        }
        enough
    }

    /// Gives back one that was taken for nothing.
    pub(super) fn give_back(&self) {
        let mut state = self.state.lock();
        self.fill(&mut state);
        state.left = (state.left + 1.0).min(self.most);
    }

    /// Takes `amount`, which may leave a debt; how long to wait until that is
    /// paid.
    pub(super) fn owe(&self, amount: usize) -> Duration {
        let mut state = self.state.lock();
        self.fill(&mut state);
        state.left -= amount as f64;
        Duration::from_secs_f64((-state.left / self.per_second).max(0.0))
    }

    /// Whether there is as much as there can be.
    pub(super) fn is_full(&self) -> bool {
        let mut state = self.state.lock();
        self.fill(&mut state);
        state.left >= self.most
    }

    fn fill(&self, state: &mut State) {
        let now = Instant::now();
        let filled = state.left + (now - state.at).as_secs_f64() * self.per_second;
        *state = State { left: filled.min(self.most), at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fills_at_its_rate_and_no_further() {
        let limit = Limit::new(10.0, 20.0);
        assert_eq!((0..100).filter(|_| limit.take()).count(), 20);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!((0..100).filter(|_| limit.take()).count(), 5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..100).filter(|_| limit.take()).count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_debt_is_waited_for() {
        let limit = Limit::new(1000.0, 1000.0);
        assert_eq!(limit.owe(1000), Duration::ZERO);
        assert_eq!(limit.owe(500), Duration::from_millis(500));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(limit.owe(100), Duration::from_millis(100));
    }
}
