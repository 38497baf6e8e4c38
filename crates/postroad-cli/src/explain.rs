//! `postroad explain`: how a node would be reached, and why.

use std::process::ExitCode;

use postroad::network::Plan;

use crate::config::{Config, Registrar, Roads};
use crate::cookie::NO_COOKIE;
use crate::guest::{GuestArgs, guest_name};
use crate::probe::report;

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
}

impl Explain {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.guest.config()?;
        println!("{}", self.plan(&config).await?);
        if matches!(config.registrar, Registrar::Etcd(_)) {
            println!(
                "  (what the registrar hands out to nodes that register is not shown: it counts where no route or \
                 proxy route of the file matches)"
            );
        }
        if !self.probe {
            return Ok(ExitCode::SUCCESS);
        }
        anyhow::ensure!(config.node.cookie.is_some() || config.has_route_cookie(), NO_COOKIE);
        let node = self.guest.start(&config, "probe").await?;
        let probes = node.network().probe(&self.guest.name).await;
        node.stop().await;
        Ok(report(&probes?))
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
