//! `postroad explain`: how a node would be reached, and why.

mod json;
mod probe;

use std::process::ExitCode;

use postroad::network::{Plan, Probe};
use serde_json::json;

use crate::config::{Config, Registrar, Roads};
use crate::cookie::NO_COOKIE;
use crate::guest::{GuestArgs, guest_name};

/// Prints how a node would be reached, and why.
///
/// That is every attempt in its order, and what happens when all have failed.
/// No node is started and none is dialed. Where the plan needs a registrar or
/// resolver it is asked, for as long as a node would wait.
#[derive(clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    guest: GuestArgs,
    /// Asks nobody: says where somebody would be asked.
    #[arg(long)]
    offline: bool,
    /// Walks every road up to the end of the handshake, under a name of its own,
    /// and hangs up. The exit code is 0 only if the node was reached.
    #[arg(long, conflicts_with = "offline")]
    probe: bool,
    /// Prints one object of JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.guest.config()?;
        let (plan, note) = self.plan(&config).await?;
        if !self.json {
            println!("{plan}");
            if let Some(note) = &note {
                println!("  ({note})");
            }
        }
        let probes = match self.probe {
            true => Some(self.probed(&config).await?),
            false => None,
        };
        if self.json {
            let probes = probes.as_deref().map(json::probes);
            let plan = json::plan(&plan);
            println!("{}", json!({"node": self.guest.name, "plan": plan, "note": note, "probe": probes}));
        } else if let Some(probes) = &probes {
            probe::report(probes);
        }
        Ok(match probes {
            Some(probes) if !probes.iter().any(probe::is_reached) => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        })
    }

    async fn probed(&self, config: &Config) -> anyhow::Result<Vec<Probe>> {
        anyhow::ensure!(config.node.cookie.is_some() || config.has_route_cookie(), NO_COOKIE);
        let node = self.guest.start(config, "probe").await?;
        let probes = node.network().probe(&self.guest.name).await;
        node.stop().await;
        Ok(probes?)
    }

    /// The plan, and what it may lack.
    async fn plan(&self, config: &Config) -> anyhow::Result<(Plan, Option<String>)> {
        let own = config.node.name.clone().unwrap_or_else(|| guest_name("explain"));
        let roads = Roads::of(config)?;
        let (handed_out, note) = match &config.registrar {
            Registrar::Etcd(_) if self.offline => {
                (Vec::new(), Some("the registrar was not asked for routes that it hands out".to_owned()))
            }
            _ => match roads.handed_out().await {
                Ok(routes) => (routes, None),
                Err(error) => (
                    Vec::new(),
                    Some(format!("the registrar does not say which routes it hands out: {error}")),
                ),
            },
        };
        let mut plan = roads.plan(config, &own, &self.guest.name, handed_out)?;
        while !self.offline
            && let Some((at, resolve)) = plan.ask_ahead()
        {
            let answer = resolve.ask().await;
            plan.answer_ahead(at, resolve, answer);
        }
        Ok((plan, note))
    }
}
