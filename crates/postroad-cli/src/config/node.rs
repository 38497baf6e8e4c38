//! The node itself, in a configuration file.

use std::time::Duration;

use postroad::network::{OnFailure, ProxyOrder};
use postroad::{Cookie, NetworkFlags, NetworkMode};

use super::Reading;
use super::facts::Facts;
use super::route::{ON_FAILURE, check_node_name};
use super::section::{At, Section};
use super::units::{show_duration, show_limit, show_size};
use super::{flags, secret};

/// What `[node]` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeSettings {
    pub(crate) name: Option<String>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) mode: NetworkMode,
    pub(crate) pool_size: Option<u16>,
    /// In bytes.
    pub(crate) max_message_size: Option<u64>,
    pub(crate) dial_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    /// For how long a failure is told at once; none within: never.
    pub(crate) retry_pause: Option<Option<Duration>>,
    /// How often signs of life are given; none within: never.
    pub(crate) keepalive: Option<Option<Duration>>,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) proxy_order: Option<ProxyOrder>,
    pub(crate) flags: Option<NetworkFlags>,
    /// Whether connections are taken that come through other nodes; they are
    /// unless it is said.
    pub(crate) accept_tunnels: Option<bool>,
    /// With whom the node is to be connected all the time.
    pub(crate) keep_connected: Vec<String>,
    /// Whether other nodes are told about this one; they are unless it is said.
    pub(crate) inspector: Option<bool>,
    /// What to log, as `--log` takes it.
    pub(crate) log: Option<String>,
}

const MODES: [(&str, NetworkMode); 3] =
    [("enabled", NetworkMode::Enabled), ("hidden", NetworkMode::Hidden), ("disabled", NetworkMode::Disabled)];

const PROXY_ORDERS: [(&str, ProxyOrder); 2] =
    [("before_discovery", ProxyOrder::BeforeDiscovery), ("after_discovery", ProxyOrder::AfterDiscovery)];

impl NodeSettings {
    pub(crate) fn read(mut section: Section<'_>, reading: &Reading<'_>) -> Self {
        let name = section.text("name");
        if let Some(name) = &name {
            check_node_name(section.reader, name);
        }
        // Read before anything else, by `Reading`.
        section.bool("cookies_in_file");
        let size = section.size("max_message_size");
        let limits = 1024..=u64::from(u32::MAX);
        if let Some(size) = size.as_ref().filter(|size| !limits.contains(size.get_ref())) {
            section.reader.error(size.span(), "`max_message_size` must be from 1KiB to 4GiB less one byte");
        }
        let log = section.text("log");
        if let Some(log) = &log
            && let Err(error) = tracing_subscriber::EnvFilter::try_new(log.get_ref())
        {
            section.reader.error(log.span(), format!("`log` must be a filter such as \"info\": {error}"));
        }
        let settings = Self {
            name: name.map(At::into_inner),
            cookie: secret::cookie(&mut section, reading),
            mode: section.word("mode", &MODES).map(At::into_inner).unwrap_or_default(),
            pool_size: section.number("pool_size", 1..=128).map(At::into_inner),
            max_message_size: size.map(At::into_inner),
            dial_timeout: section.duration("dial_timeout").map(At::into_inner),
            handshake_timeout: section.duration("handshake_timeout").map(At::into_inner),
            connect_timeout: section.duration("connect_timeout").map(At::into_inner),
            retry_pause: section.duration_or_false("retry_pause").map(At::into_inner),
            keepalive: keepalive(&mut section),
            on_failure: section.word("on_failure", &ON_FAILURE).map(At::into_inner),
            proxy_order: section.word("proxy_order", &PROXY_ORDERS).map(At::into_inner),
            flags: flags::read(&mut section),
            accept_tunnels: section.bool("accept_tunnels").map(At::into_inner),
            keep_connected: keep_connected(&mut section, reading),
            inspector: section.bool("inspector").map(At::into_inner),
            log: log.map(At::into_inner),
        };
        section.finish();
        settings
    }

    /// What cannot be changed while the node runs.
    pub(crate) fn fixed_facts(&self) -> Facts {
        let mode = MODES.iter().find(|(_, mode)| *mode == self.mode).map(|(name, _)| name);
        let order = self.proxy_order.and_then(|order| PROXY_ORDERS.iter().find(|(_, known)| *known == order));
        Facts::default()
            .with("name", &self.name)
            .with("mode", &mode.filter(|_| self.mode != NetworkMode::default()))
            .with("pool_size", &self.pool_size)
            .with("max_message_size", &self.max_message_size.map(show_size))
            .with("dial_timeout", &self.dial_timeout.map(show_duration))
            .with("handshake_timeout", &self.handshake_timeout.map(show_duration))
            .with("connect_timeout", &self.connect_timeout.map(show_duration))
            .with("retry_pause", &self.retry_pause.map(show_limit))
            .with("keepalive", &self.keepalive.map(show_limit))
            .with("on_failure", &self.on_failure)
            .with("proxy_order", &order.map(|(name, _)| name))
            .with("accept_tunnels", &self.accept_tunnels)
            .with("inspector", &self.inspector)
            .list("flags", self.flags.map(flags::names).as_deref())
    }

    /// What can.
    pub(crate) fn live_facts(&self) -> Facts {
        let kept = Some(&self.keep_connected[..]).filter(|kept| !kept.is_empty());
        Facts::default().cookie(&self.cookie).with("log", &self.log).list("keep_connected", kept)
    }
}

/// `keepalive = "15s"` or `keepalive = false`.
fn keepalive(section: &mut Section<'_>) -> Option<Option<Duration>> {
    let period = section.duration_or_false("keepalive")?;
    let fits = |period: Duration| period.subsec_nanos() == 0 && period.as_secs() <= 255;
    if !period.get_ref().is_none_or(fits) {
        let message = "`keepalive` must be whole seconds from 1s to 255s, or false";
        section.reader.error(period.span(), message);
    }
    Some(period.into_inner())
}

fn keep_connected(section: &mut Section<'_>, reading: &Reading<'_>) -> Vec<String> {
    let names = section.texts("keep_connected").map(At::into_inner).unwrap_or_default();
    for name in &names {
        check_node_name(section.reader, name);
        reading.wanted.borrow_mut().add(name);
    }
    names.into_iter().map(At::into_inner).collect()
}
