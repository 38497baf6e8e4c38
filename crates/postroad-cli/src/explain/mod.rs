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

/// What registrars hand out is not known before a node registers.
const HANDED_OUT: &str = "what the registrar hands out to nodes that register is not shown: it counts where no route or \
                          proxy route of the file matches";

impl Explain {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.guest.config()?;
        let plan = self.plan(&config).await?;
        let note = matches!(config.registrar, Registrar::Etcd(_)).then_some(HANDED_OUT);
        if !self.json {
            println!("{plan}");
            if let Some(note) = note {
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

    async fn plan(&self, config: &Config) -> anyhow::Result<Plan> {
        let own = config.node.name.clone().unwrap_or_else(|| guest_name("explain"));
        let mut plan = Roads::of(config)?.plan(config, &own, &self.guest.name)?;
        while !self.offline
            && let Some((at, resolve)) = plan.ask_ahead()
        {
            let answer = resolve.ask().await;
            plan.answer_ahead(at, resolve, answer);
        }
        Ok(plan)
    }
}
