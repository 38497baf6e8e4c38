//! The node that a command acts from: it dials and cannot be dialed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use postroad::network::ConnectError;
use postroad::registrar::EmbeddedOptions;
use postroad::{Cookie, NetworkMode, Node};

use crate::address::RouteArg;

/// How a command finds other nodes.
#[derive(clap::Args)]
pub(crate) struct GuestArgs {
    /// A static route to nodes whose name matches the pattern (a regular
    /// expression); may be repeated. Of several that match, the one with the
    /// highest weight (100 unless given) is tried first. A cookie in it is as
    /// visible to others as one in --cookie.
    #[arg(long = "route", value_name = "PATTERN=HOST:PORT[,weight=N][,cookie=COOKIE]")]
    routes: Vec<RouteArg>,
    /// The port of the registrars that are asked where no route leads.
    #[arg(long, value_name = "PORT", default_value_t = EmbeddedOptions::default().port)]
    registrar_port: u16,
    /// Asks no registrar: only static routes lead anywhere.
    #[arg(long, conflicts_with = "registrar_port")]
    no_registrar: bool,
}

impl GuestArgs {
    /// Whether a route brings a cookie of its own.
    pub(crate) fn have_cookie(&self) -> bool {
        self.routes.iter().any(RouteArg::has_cookie)
    }

    /// Starts the node, under a name that nobody else has.
    pub(crate) async fn start(&self, command: &str, cookie: Option<Cookie>) -> anyhow::Result<Node> {
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{command}-{}-{nanoseconds:x}@localhost", std::process::id());
        let mut builder = Node::builder(name).network(NetworkMode::Hidden);
        builder = if self.no_registrar {
            builder.without_registrar()
        } else {
            builder.embedded_registrar(EmbeddedOptions::port(self.registrar_port))
        };
        if let Some(cookie) = cookie {
            builder = builder.cookie(cookie);
        }
        let node = builder.start().await?;
        for route in &self.routes {
            route.add_to(&node.network()).context("--route")?;
        }
        Ok(node)
    }
}

/// What was tried to connect and why it failed, one line for each attempt, and
/// what is left to do.
pub(crate) fn explain_failure(error: &ConnectError) -> String {
    let ConnectError::NoRoute(no_route) = error else { return error.to_string() };
    let mut text = format!("no route to {}", no_route.name);
    for (number, attempt) in (1..).zip(&no_route.attempts) {
        text.push_str(&format!("\n  {number}. {attempt}"));
    }
    if no_route.untried > 0 {
        text.push_str(&format!("\n  time was up with {} more to try", no_route.untried));
    }
    text.push_str(&format!("\n  {}", no_route.discovery));
    text
}
