//! What is logged, and how that is changed.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The filter of the program's log.
pub(crate) struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    default: &'static str,
    /// Given on the command line or in the environment: it stays.
    pinned: bool,
}

impl Logging {
    /// Begins to log to the standard error.
    pub(crate) fn begin(given: Option<&str>, default: &'static str) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(EnvFilter::try_new(given.unwrap_or(default))?);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        tracing_subscriber::registry().with(filter).with(lines).init();
        Ok(Self { filter: handle, default, pinned: given.is_some() })
    }

    /// Logs what a configuration file says, unless it was said before.
    pub(crate) fn set(&self, filter: Option<&str>) {
        if self.pinned {
            return;
        }
        let set = EnvFilter::try_new(filter.unwrap_or(self.default))
            .map_err(anyhow::Error::from)
            .and_then(|filter| Ok(self.filter.reload(filter)?));
        if let Err(error) = set {
            tracing::error!(%error, "the log filter stays as it was");
        }
    }
}
