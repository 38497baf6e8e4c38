//! `postroad explain`: how a node would be reached, and why.

use std::process::ExitCode;

use postroad::Cookie;

use crate::guest::{GuestArgs, explain_failure};

/// Prints how a node would be reached, and why.
///
/// That is every attempt in its order, and what happens when all have failed.
/// Registrars are asked; the node itself is not dialed.
#[derive(clap::Args)]
pub(crate) struct Explain {
    /// The full name of the node.
    #[arg(value_name = "NAME@HOST")]
    name: String,
    #[command(flatten)]
    guest: GuestArgs,
}

impl Explain {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        // It is never used: explaining dials nobody.
        let cookie = Cookie::new("explain");
        let node = self.guest.start("explain", Some(cookie)).await?;
        let plan = node.network().explain(&self.name).await;
        node.stop().await;
        let plan = plan.map_err(|error| anyhow::anyhow!(explain_failure(&error)))?;
        println!("{plan}");
        Ok(ExitCode::SUCCESS)
    }
}
