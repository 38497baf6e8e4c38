//! `postroad explain`: how a node would be reached, and why.

mod json;
mod probe;

use std::process::ExitCode;

use postroad::network::Plan;
use postroad::registrar::StaticRoute;
use serde_json::json;

use crate::config::{Config, Registrar, Roads};
use crate::cookie::NO_COOKIE;
use crate::guest::{GuestArgs, guest_name};
use crate::said_once;

/// Prints how a node would be reached, and why.
///
/// That is every attempt in its order, and what happens when all have failed.
/// No node is started and none is dialed. Where the plan needs a registrar or
/// resolver it is asked, for as long as a node would wait; for the routes that it
/// hands out too, unless a route of the file leads there without a gateway.
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
        let has_cookie = config.node.cookie.is_some() || config.has_route_cookie();
        anyhow::ensure!(has_cookie || !self.probe, NO_COOKIE);
        let roads = Roads::of(&config)?;
        let (handed_out, note) = self.handed_out(&roads, &config).await;
        let plan = self.plan(&roads, &config, handed_out.clone()).await?;
        if !self.json {
            println!("{plan}");
            if let Some(note) = &note {
                println!("  ({note})");
            }
        }
        let probes = match self.probe {
            true => {
                let node = self.guest.start_on(&roads, &config, "probe", handed_out).await?;
                let probes = node.network().probe(&self.guest.name).await;
                node.stop().await;
                Some(probes?)
            }
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

    /// The routes of the registrar, or why they are missing.
    async fn handed_out(&self, roads: &Roads, config: &Config) -> (Vec<StaticRoute>, Option<String>) {
        if self.offline && matches!(config.registrar, Registrar::Etcd(_)) {
            return (Vec::new(), Some("the registrar was not asked for routes that it hands out".to_owned()));
        }
        match roads.handed_out(config, &self.guest.name).await {
            Ok(routes) => (routes, None),
            Err(error) => {
                let why = said_once(&error);
                (Vec::new(), Some(format!("the registrar does not say which routes it hands out: {why}")))
            }
        }
    }

    async fn plan(
        &self,
        roads: &Roads,
        config: &Config,
        handed_out: Vec<StaticRoute>,
    ) -> anyhow::Result<Plan> {
        let own = config.node.name.clone().unwrap_or_else(|| guest_name("explain"));
        let mut plan = roads.plan(config, &own, &self.guest.name, handed_out)?;
        while !self.offline
            && let Some((at, resolve)) = plan.ask_ahead()
        {
            let answer = resolve.ask().await;
            plan.answer_ahead(at, resolve, answer);
        }
        Ok(plan)
    }
}
