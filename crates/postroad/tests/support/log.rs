//! What nodes log, for tests that expect to read it.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::{Arc, Once};
use std::time::Duration;

use parking_lot::Mutex;
use postroad::network::CONNECTION_LOG;
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What is logged by this thread from now on: for tests that run on a
/// `current_thread` runtime.
pub struct Log {
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Vec<String>>, Notify)>);

thread_local! {
    static RECORDING: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// Installs the subscriber of all tests of this program, once. It has to be
/// there before anything is logged: `tracing` remembers for each place whether
/// anybody listens, and a subscriber that comes later may be missed there.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder)).unwrap();
    });
}

impl Log {
    pub fn start() -> Self {
        install();
        let lines = Lines::default();
        RECORDING.set(Some(lines.clone()));
        Self { lines }
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

impl Drop for Log {
    fn drop(&mut self) {
        RECORDING.set(None);
    }
}

/// Passes on what is logged to the [`Log`] of the thread.
struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let most = if metadata.target() == CONNECTION_LOG { Level::TRACE } else { Level::DEBUG };
        if *metadata.level() <= most && metadata.target().starts_with("postroad") {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, _: &Metadata<'_>, _: Context<'_, S>) -> bool {
        RECORDING.with_borrow(Option::is_some)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(format!("{} {}:", event.metadata().level(), event.metadata().target()));
        event.record(&mut line);
        RECORDING.with_borrow(|lines| {
            if let Some(Lines(lines)) = lines {
                lines.0.lock().push(line.0);
                lines.1.notify_waiters();
            }
        });
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
