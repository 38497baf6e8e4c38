//! What nodes log, for tests that expect to read it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad::network::CONNECTION_LOG;
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What is logged by this thread from now on: for tests that run on a
/// `current_thread` runtime.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Vec<String>>, Notify)>);

impl Log {
    pub fn start() -> Self {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Waits for a line with all these parts, and returns the first one.
    pub async fn says(&self, parts: &[&str]) -> String {
        let said = async {
            loop {
                let mut more = std::pin::pin!(self.lines.0.1.notified());
                more.as_mut().enable();
                if let Some(line) = self.find(parts) {
                    return line;
                }
                more.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), said).await {
            Ok(line) => line,
            Err(_) => panic!("nobody says {parts:?}, but:\n{}", self.lines.0.0.lock().join("\n")),
        }
    }

    /// The first line with all these parts.
    pub fn find(&self, parts: &[&str]) -> Option<String> {
        let lines = self.lines.0.0.lock();
        lines.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned()
    }

    /// How many lines have this part.
    pub fn count(&self, part: &str) -> usize {
        self.lines.0.0.lock().iter().filter(|line| line.contains(part)).count()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let most = if target == CONNECTION_LOG { Level::TRACE } else { Level::DEBUG };
        if level > most || !target.starts_with("postroad") {
            return;
        }
        let mut line = Line(format!("{level} {target}:"));
        event.record(&mut line);
        self.0.0.lock().push(line.0);
        self.0.1.notify_waiters();
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
