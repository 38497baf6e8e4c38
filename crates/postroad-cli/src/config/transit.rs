//! Who may pass through a node, in a configuration file.

use std::time::Duration;

use postroad::network::routes::check_pattern;
use postroad::network::{ProxyFlags, TransitOptions, TransitRule};

use super::facts::Facts;
use super::operations;
use super::patterns;
use super::section::{At, Section};
use super::units::{show_limit, show_size};

/// What `[transit]` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Transit {
    /// The first one that fits holds.
    pub(crate) rules: Vec<Rule>,
    max_hop: Option<u8>,
    max_tunnels: Option<usize>,
    max_tunnels_per_client: Option<usize>,
    requests_per_second: Option<u32>,
    bytes_per_second: Option<u64>,
    clients_per_gateway: Option<u32>,
    announce: Option<bool>,
    /// None within: tunnels may be idle forever.
    idle: Option<Option<Duration>>,
}

/// Who may go where, and what for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    from: String,
    to: String,
    through: Option<String>,
    operations: Option<ProxyFlags>,
}

impl Transit {
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let rules = section.sections("rule").into_iter().filter_map(Rule::read).collect();
        let transit = Self {
            rules,
            max_hop: section.number("max_hop", 1..=u8::MAX).map(At::into_inner),
            max_tunnels: section.number("max_tunnels", 1..=1_000_000).map(At::into_inner),
            max_tunnels_per_client: section
                .number("max_tunnels_per_client", 1..=1_000_000)
                .map(At::into_inner),
            requests_per_second: section.number("requests_per_second", 1..=1_000_000).map(At::into_inner),
            bytes_per_second: bytes_per_second(&mut section),
            clients_per_gateway: section.number("clients_per_gateway", 1..=1_000_000).map(At::into_inner),
            announce: section.bool("announce").map(At::into_inner),
            idle: section.duration_or_false("idle").map(At::into_inner),
        };
        section.finish();
        transit
    }

    /// What the library takes.
    pub(crate) fn make(&self) -> anyhow::Result<TransitOptions> {
        let rules = self.rules.iter().map(Rule::make).collect::<anyhow::Result<Vec<_>>>()?;
        let mut options = rules.into_iter().fold(TransitOptions::new(), TransitOptions::allow);
        options.max_hop = self.max_hop.unwrap_or(options.max_hop);
        options.max_tunnels = self.max_tunnels.unwrap_or(options.max_tunnels);
        options.max_tunnels_per_client =
            self.max_tunnels_per_client.unwrap_or(options.max_tunnels_per_client);
        options.requests_per_second = self.requests_per_second.unwrap_or(options.requests_per_second);
        options.bytes_per_second = self.bytes_per_second;
        options.clients_per_gateway = self.clients_per_gateway.unwrap_or(options.clients_per_gateway);
        options.announce = self.announce.unwrap_or(options.announce);
        options.idle = self.idle.unwrap_or(options.idle);
        Ok(options)
    }

    /// All but the rules.
    pub(crate) fn facts(&self) -> Facts {
        Facts::default()
            .with("max_hop", &self.max_hop)
            .with("max_tunnels", &self.max_tunnels)
            .with("max_tunnels_per_client", &self.max_tunnels_per_client)
            .with("requests_per_second", &self.requests_per_second)
            .with("bytes_per_second", &self.bytes_per_second.map(show_size))
            .with("clients_per_gateway", &self.clients_per_gateway)
            .with("announce", &self.announce)
            .with("idle", &self.idle.map(show_limit))
    }
}

impl Rule {
    fn read(mut section: Section<'_>) -> Option<Self> {
        for (key, who) in [("from", "which clients may pass"), ("to", "which nodes they may reach")] {
            if !section.has(key) {
                section.error(format!("the rule has no `{key}`: a pattern that says {who}"));
            }
        }
        let (from, to) = (names(&mut section, "from"), names(&mut section, "to"));
        let through = names(&mut section, "through");
        let operations = operations::read(&mut section, "operations");
        section.finish();
        Some(Self { from: from?, to: to?, through, operations })
    }

    fn make(&self) -> anyhow::Result<TransitRule> {
        let mut rule = TransitRule::new(&self.from, &self.to)?;
        if let Some(through) = &self.through {
            rule = rule.through(through)?;
        }
        Ok(match self.operations {
            Some(operations) => rule.operations(operations),
            None => rule,
        })
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.from)?;
        if let Some(through) = &self.through {
            write!(f, " also through `{through}`")?;
        }
        write!(f, " to `{}`", self.to)?;
        let Some(operations) = self.operations else { return Ok(()) };
        let names = operations::names(operations);
        write!(f, ", operations {}", if names.is_empty() { "none".to_owned() } else { names.join(" ") })
    }
}

/// A pattern of whole names.
fn names(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    match check_pattern(text.get_ref()) {
        // That it matches more than it seems to does not go for whole names.
        Ok(_) => Some(text.into_inner()),
        Err(error) => {
            section.reader.error(patterns::place(section.reader, &text, &error), error.to_string());
            None
        }
    }
}

fn bytes_per_second(section: &mut Section<'_>) -> Option<u64> {
    let bytes = section.size("bytes_per_second")?;
    if *bytes.get_ref() == 0 {
        section.reader.error(bytes.span(), "`bytes_per_second` must be above 0; leave it out for no limit");
    }
    Some(bytes.into_inner())
}
