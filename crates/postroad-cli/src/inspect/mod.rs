//! `postroad info`, `ps`, `tree`, `connections` and `tunnels`: what a running node
//! tells about itself.

mod connections;
mod info;
mod ps;
mod table;
mod tree;
mod tunnels;

use std::time::Duration;

use postroad::inspect::{
    self, ConnectionPage, ConnectionSummary, ListConnections, ListProcesses, ProcessPage, ProcessSummary,
};
use postroad::{Atom, CallError, Message, Node, SendError};

use crate::cookie::NO_COOKIE;
use crate::guest::{GuestArgs, explain_failure};

pub(crate) use connections::Connections;
pub(crate) use info::Info;
pub(crate) use ps::Ps;
pub(crate) use tree::Tree;
pub(crate) use tunnels::Tunnels;

/// Which node to ask, and how.
#[derive(clap::Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    guest: GuestArgs,
    /// How long to wait for each answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// Joins the node as a guest that cannot be found.
    async fn visit(&self, command: &str) -> anyhow::Result<Visit<'_>> {
        let config = self.guest.config()?;
        anyhow::ensure!(config.node.cookie.is_some() || config.has_route_cookie(), NO_COOKIE);
        let guest = self.guest.start(&config, command).await?;
        if let Err(error) = guest.network().connect(&self.guest.name).await {
            guest.stop().await;
            anyhow::bail!(explain_failure(guest.name().as_str(), &error));
        }
        Ok(Visit { asked: self, guest })
    }
}

/// A node that can be asked.
struct Visit<'a> {
    asked: &'a Asked,
    guest: Node,
}

impl Visit<'_> {
    /// Asks the node's inspector.
    async fn ask<R: Message>(&self, question: impl Message) -> anyhow::Result<R> {
        let Asked { guest: GuestArgs { name, .. }, timeout, .. } = self.asked;
        let to = (inspect::NAME, name.as_str());
        let answer = self.guest.call_with_timeout(to, question, Duration::from_secs(*timeout)).await;
        answer.map_err(|error| match error {
            CallError::Send(SendError::ProcessUnknown) => anyhow::anyhow!(
                "{name} has no inspector: start it with `postroad node`, without --no-inspector, \
                 or in your own program with NodeBuilder::inspector(true)"
            ),
            CallError::Timeout(_) => anyhow::anyhow!(
                "{name} did not answer within {timeout} s: --timeout waits longer; a node of Ergo has no inspector"
            ),
            CallError::Answer(error) if *error.text() == *"not supported" => anyhow::anyhow!(
                "the inspector of {name} is of another version: use the `postroad` of that node's version"
            ),
            error @ (CallError::Decode(_) | CallError::UnexpectedAnswer { .. }) => anyhow::anyhow!(
                "the inspector of {name} is of another version ({error}): use the `postroad` of that node's version"
            ),
            CallError::Answer(error) if *error.text() == *"not allowed" => anyhow::anyhow!(
                "{name} takes no orders from who comes in here: go by its acceptor with `operators = true`, \
                 --route with its address and --cookie-file with its cookie"
            ),
            error => anyhow::anyhow!("{name}: {error}"),
        })
    }

    /// Asks for all processes, page by page.
    async fn processes(&self, name_prefix: &str) -> anyhow::Result<Vec<ProcessSummary>> {
        let mut all = Vec::new();
        let mut list = ListProcesses { name_prefix: name_prefix.to_owned(), ..ListProcesses::default() };
        loop {
            let page: ProcessPage = self.ask(list.clone()).await?;
            all.extend(page.processes);
            // A page that does not lead further is the last one, whatever it says.
            if page.next <= list.after {
                return Ok(all);
            }
            list.after = page.next;
        }
    }

    /// Asks for all connections, page by page.
    async fn connections(&self) -> anyhow::Result<Vec<ConnectionSummary>> {
        let mut all = Vec::new();
        let mut list = ListConnections::default();
        loop {
            let page: ConnectionPage = self.ask(list.clone()).await?;
            all.extend(page.connections);
            // A page that does not lead further is the last one, whatever it says.
            if page.next <= list.after {
                return Ok(all);
            }
            list.after = page.next;
        }
    }

    async fn leave(self) {
        self.guest.stop().await;
    }
}

/// The gateways on a way.
fn between(path: &[Atom]) -> Vec<&str> {
    let gateways = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
    gateways.iter().map(|node| node.as_str()).collect()
}

/// Names in one cell of a table.
fn names(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

/// The name of an actor's type without its path.
fn short(actor: &str) -> &str {
    let end = actor.find('<').unwrap_or(actor.len());
    actor[..end].rfind("::").map_or(actor, |path| &actor[path + 2..])
}

/// A time as people say it, with its two greatest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => "<1s".to_owned(),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// A number of bytes as people say it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        for (milliseconds, expected) in
            [(999, "<1s"), (59_000, "59s"), (61_000, "1m01s"), (3_660_000, "1h01m"), (90_000_000, "1d01h")]
        {
            assert_eq!(span(Duration::from_millis(milliseconds)), expected);
        }
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn types_are_shown_without_their_paths() {
        assert_eq!(short("app::shop::Cart"), "Cart");
        assert_eq!(short("app::Pool<app::Worker>"), "Pool<app::Worker>");
        assert_eq!(short("Cart"), "Cart");
    }
}
