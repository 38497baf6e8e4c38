//! What is logged, and how that is changed.

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Time, level, target, message and fields.
    #[default]
    Text,
    /// The same as an object: `timestamp`, `level`, `target`, `fields`.
    Json,
}

/// The filter of the program's log.
pub(crate) struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    default: &'static str,
    /// Given on the command line or in the environment: it stays.
    pinned: bool,
}

impl Logging {
    /// Begins to log to the standard error.
    pub(crate) fn begin(
        given: Option<&str>,
        default: &'static str,
        format: LogFormat,
    ) -> anyhow::Result<Self> {
        let filter = match given {
            Some(given) => EnvFilter::try_new(given)?,
            None => with_own_levels(default)?,
        };
        let (filter, handle) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        Ok(Self { filter: handle, default, pinned: given.is_some() })
    }

    /// Logs what a configuration file says, unless it was said before.
    pub(crate) fn set(&self, filter: Option<&str>) {
        if self.pinned {
            return;
        }
        let set = with_own_levels(filter.unwrap_or(self.default))
            .and_then(|filter| Ok(self.filter.reload(filter)?));
        if let Err(error) = set {
            tracing::error!(%error, "the log filter stays as it was");
        }
    }
}

/// Lets routes and acceptors that have a level of their own say as much as that.
fn with_own_levels(filter: &str) -> anyhow::Result<EnvFilter> {
    let own = format!("{}=trace", postroad::network::CONNECTION_LOG).parse()?;
    Ok(EnvFilter::try_new(filter)?.add_directive(own))
}
