//! What the system and the file system tell a running node.

use std::time::Duration;

use crate::config::Files;

/// How often files are looked at. Looking costs a system call for each; unlike
/// notifications it also sees links that are replaced and files on a network.
const LOOK: Duration = Duration::from_secs(1);

/// What a running node is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Stop,
    /// Read the configuration again, if there is one.
    Reload,
}

/// Signals of the system. Listens from the time it is made.
pub(super) struct Signals {
    #[cfg(unix)]
    streams: [tokio::signal::unix::Signal; 3],
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { streams: [interrupt?, terminate?, hangup?] })
    }

    pub(super) async fn next(&mut self) -> Told {
        let [interrupt, terminate, hangup] = &mut self.streams;
        tokio::select! {
            _ = interrupt.recv() => Told::Stop,
            _ = terminate.recv() => Told::Stop,
            _ = hangup.recv() => Told::Reload,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {})
    }

    pub(super) async fn next(&mut self) -> Told {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Told::Stop,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Signals {
    /// Waits until the node is to stop.
    pub(super) async fn told_to_stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}

/// Files that are looked at for changes.
pub(super) struct Watched {
    files: Files,
    clock: tokio::time::Interval,
}

impl Watched {
    pub(super) fn new(files: Files) -> Self {
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { files, clock }
    }

    /// Returns when one of the files is not what it was.
    ///
    /// Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            self.clock.tick().await;
            if self.files.changed() {
                return;
            }
        }
    }
}
