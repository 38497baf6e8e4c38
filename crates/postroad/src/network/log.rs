//! What is said about connections, and how loudly.

use tracing::level_filters::LevelFilter;

/// The target of what is logged about connections with a level of their own:
/// let it through at `trace` in the subscriber, once, and the routes decide how
/// much each connection says. Connections without a level of their own log
/// under `postroad::network`, as everything else here does.
pub const CONNECTION_LOG: &str = "postroad::connection";

/// How much is logged about one connection, from its route or acceptor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Log(Option<LevelFilter>);

impl Log {
    pub(crate) fn new(level: Option<LevelFilter>) -> Self {
        Self(level)
    }

    /// Whether the connection has a level of its own, and if so whether it lets
    /// this pass.
    pub(crate) fn passes(self, level: tracing::Level) -> Option<bool> {
        self.0.map(|most| level <= most)
    }
}

/// Logs an event about a connection at the level its route has set.
macro_rules! log {
    ($log:expr, $level:ident, $($event:tt)+) => {
        match $log.passes(tracing::Level::$level) {
            None => tracing::event!(tracing::Level::$level, $($event)+),
            Some(true) => {
                tracing::event!(target: $crate::network::CONNECTION_LOG, tracing::Level::$level, $($event)+)
            }
            Some(false) => {}
        }
    };
}

pub(crate) use log;
