//! `postroad explain`: how a node would be reached, and why.

use std::process::ExitCode;

use postroad::Atom;
use postroad::network::Plan;
use postroad::registrar::ResolveError;

use crate::config::{Config, Roads};
use crate::cookie::CookieArgs;
use crate::guest::{GuestArgs, guest_name};

/// Prints how a node would be reached, and why.
///
/// That is every attempt in its order, and what happens when all have failed.
/// No node is started and none is dialed. Where the plan needs a registrar or
/// resolver it is asked, for as long as a node would wait.
#[derive(clap::Args)]
pub(crate) struct Explain {
    /// The full name of the node.
    #[arg(value_name = "NAME@HOST")]
    name: String,
    #[command(flatten)]
    cookie: CookieArgs,
    #[command(flatten)]
    guest: GuestArgs,
    /// Asks nobody: says where somebody would be asked.
    #[arg(long)]
    offline: bool,
}

impl Explain {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.guest.config(&self.cookie)?;
        println!("{}", self.plan(&config).await?);
        Ok(ExitCode::SUCCESS)
    }

    async fn plan(&self, config: &Config) -> anyhow::Result<Plan> {
        let name = Atom::new(&self.name)?;
        let own = config.node.name.clone().unwrap_or_else(|| guest_name("explain"));
        let mut plan = Roads::of(config)?.plan(config, &own, &self.name)?;
        while !self.offline
            && let Some((at, resolve)) = plan.ask_ahead()
        {
            let answer = tokio::time::timeout(resolve.timeout, resolve.resolver.resolve(name))
                .await
                .unwrap_or(Err(ResolveError::Timeout(resolve.timeout)));
            plan.answer_ahead(at, resolve, answer);
        }
        Ok(plan)
    }
}
