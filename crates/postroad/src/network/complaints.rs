//! What is logged about those who dial or ask in vain.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many lines there are about one source in [`A_WHILE`].
const LINES: u32 = 20;
const A_WHILE: Duration = Duration::from_secs(10);

/// How many sources are told apart.
const SOURCES: usize = 1024;

/// What is logged about a peer: each of these has its lines for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Matter {
    /// It asked for a tunnel and got none.
    Refusal,
    /// A stream for a tunnel came to nothing.
    Stream,
    /// A tunnel was opened.
    Opening,
    /// A tunnel was closed.
    Closing,
    /// An answer to it was dropped.
    Answer,
    /// A frame of it was dropped.
    Frame,
    /// More came than the value in a frame.
    LeftOver,
}

/// Lets so many lines into the log for each source, an address or a node:
/// somebody who asks in a loop is not to fill a disk.
#[derive(Debug)]
pub(super) struct Complaints<K = IpAddr>(Mutex<HashMap<Option<K>, Said>>);

#[derive(Debug)]
struct Said {
    since: Instant,
    lines: u32,
    unsaid: u64,
}

impl<K> Default for Complaints<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Complaints<K> {
    /// Whether something about this source is to be logged; how much was left
    /// out since the last time.
    pub(super) fn about(&self, source: K) -> Option<u64> {
        let now = Instant::now();
        let source = Some(source);
        let mut sources = self.0.lock();
        if sources.len() >= SOURCES && !sources.contains_key(&source) {
            sources.retain(|_, said| now.duration_since(said.since) < A_WHILE);
        }
        let is_known = sources.len() < SOURCES || sources.contains_key(&source);
        let said =
            sources.entry(source.filter(|_| is_known)).or_insert(Said { since: now, lines: 0, unsaid: 0 });
        if now.duration_since(said.since) >= A_WHILE {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines == LINES {
            said.unsaid += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_lines_for_each_address() {
        let complaints = Complaints::default();
        for _ in 0..LINES {
            assert_eq!(complaints.about(address(1)), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(complaints.about(address(1)), None);
        }
        assert_eq!(complaints.about(address(2)), Some(0), "others are heard");
        tokio::time::advance(A_WHILE).await;
        assert_eq!(complaints.about(address(1)), Some(5));
        assert_eq!(complaints.about(address(1)), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_many_addresses_has_no_more_lines_for_it() {
        let complaints = Complaints::default();
        let said = |from| (from..from + 10_000).filter_map(|n| complaints.about(address(n))).count();
        assert_eq!(said(0), SOURCES + LINES as usize);
        assert_eq!(complaints.0.lock().len(), SOURCES + 1);
        tokio::time::advance(A_WHILE).await;
        assert_eq!(complaints.about(address(20_000)), Some(0), "nor do they stay");
        assert_eq!(complaints.0.lock().len(), 1);
    }
}
