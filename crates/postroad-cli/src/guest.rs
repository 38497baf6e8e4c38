//! The node that a command acts from: it dials and cannot be dialed.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use postroad::Node;
use postroad::network::{AttemptError, ConnectError, FailedAttempt, TunnelError, TunnelRefusal};
use postroad::registrar::StaticRoute;

use crate::address::RouteArg;
use crate::config::{Config, Embedded, Registrar, Roads, Said};
use crate::cookie::CookieArgs;
use crate::said_once;

/// Which node a command is about, and how it finds it.
#[derive(clap::Args)]
pub(crate) struct GuestArgs {
    /// The full name of the node.
    #[arg(value_name = "NAME@HOST")]
    pub(crate) name: String,
    #[command(flatten)]
    cookie: CookieArgs,
    /// Acts with the routes, cookies and settings of a node's configuration
    /// file. Options and environment go before what it says.
    #[arg(long, value_name = "FILE", env = "POSTROAD_CONFIG")]
    config: Option<PathBuf>,
    /// A static route to nodes whose name matches the pattern (a regular
    /// expression); may be repeated. Of several that match, the one with the
    /// highest weight (100 unless given) is tried first. A cookie in it is as
    /// visible to others as one in --cookie.
    #[arg(long = "route", value_name = "PATTERN=HOST:PORT[,weight=N][,cookie=COOKIE]")]
    routes: Vec<RouteArg>,
    /// The port of the registrars that are asked where no route leads. Default: 4499.
    #[arg(long, value_name = "PORT", env = "POSTROAD_REGISTRAR_PORT")]
    registrar_port: Option<u16>,
    /// Asks no registrar: only static routes lead anywhere.
    #[arg(long, conflicts_with = "registrar_port")]
    no_registrar: bool,
    /// Acts under this name instead of one that nobody else has: rules of
    /// gateways go by names. No node of this name may be connected there.
    #[arg(long = "as", value_name = "NAME@HOST")]
    acts_as: Option<String>,
}

impl GuestArgs {
    /// The configuration that the arguments make.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => {
                let registrar = has_registrar(self.registrar_port, self.no_registrar);
                Config::load(path, &Said { registrar, ..Said::default() })?.config()?
            }
            None => Config::default(),
        };
        if let Some(cookie) = self.cookie.find()? {
            config.node.cookie = Some(cookie);
        }
        config.overlay(&self.routes, self.registrar_port, self.no_registrar)?;
        Ok(config)
    }

    /// Starts a node that dials in place of the configured one. A registrar that
    /// does not answer keeps nobody from dialing.
    pub(crate) async fn start(&self, config: &Config, command: &str) -> anyhow::Result<Node> {
        let roads = Roads::of(config)?;
        let handed_out = roads.handed_out(config, &self.name).await.unwrap_or_else(|error| {
            tracing::warn!(error = %said_once(&error), "no routes of the registrar");
            Vec::new()
        });
        self.start_on(&roads, config, command, handed_out).await
    }

    /// The same on roads that are there already, with these routes of the registrar.
    pub(crate) async fn start_on(
        &self,
        roads: &Roads,
        config: &Config,
        command: &str,
        handed_out: Vec<StaticRoute>,
    ) -> anyhow::Result<Node> {
        let name = self.acts_as.clone().unwrap_or_else(|| guest_name(command));
        Ok(roads.guest(config, &name, handed_out)?.start().await?)
    }
}

impl Config {
    /// Lays over it what the command line says.
    pub(crate) fn overlay(
        &mut self,
        routes: &[RouteArg],
        registrar_port: Option<u16>,
        no_registrar: bool,
    ) -> anyhow::Result<()> {
        for (number, route) in routes.iter().enumerate() {
            let route = route.route();
            let taken = routes[..number].iter().any(|other| other.route().pattern == route.pattern);
            anyhow::ensure!(!taken, "--route: resource is taken: `{}` was given twice", route.pattern);
            postroad::network::routes::check_pattern(&route.pattern)
                .map_err(|error| anyhow::anyhow!("--route: {error}"))?;
            match self.routes.iter_mut().find(|known| known.pattern == route.pattern) {
                Some(known) => *known = route,
                None => self.routes.push(route),
            }
        }
        if no_registrar {
            self.registrar = Registrar::None;
        } else if let Some(port) = registrar_port {
            self.registrar = match &self.registrar {
                Registrar::Embedded(embedded) => {
                    Registrar::Embedded(Embedded { port: Some(port), ..embedded.clone() })
                }
                _ => Registrar::Embedded(Embedded { port: Some(port), ..Embedded::default() }),
            };
        }
        Ok(())
    }

    /// Whether a route brings a cookie of its own.
    pub(crate) fn has_route_cookie(&self) -> bool {
        self.routes.iter().any(|route| route.cookie.is_some())
    }
}

/// Whether a node has a registrar, if the command line says so.
pub(crate) fn has_registrar(port: Option<u16>, none: bool) -> Option<bool> {
    if none { Some(false) } else { port.map(|_| true) }
}

/// A name for a node that nobody else has.
pub(crate) fn guest_name(command: &str) -> String {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{command}-{}-{nanoseconds:x}@localhost", std::process::id())
}

/// What was tried to connect, under the name `own`, and why it failed, one line
/// for each attempt, and what is left to do.
pub(crate) fn explain_failure(own: &str, error: &ConnectError) -> String {
    let ConnectError::NoRoute(no_route) = error else { return error.to_string() };
    let mut text = format!("no route to {}", no_route.name);
    for (number, attempt) in (1..).zip(&no_route.attempts) {
        text.push_str(&format!("\n  {number}. {attempt}"));
    }
    if no_route.untried > 0 {
        text.push_str(&format!("\n  time was up with {} more to try", no_route.untried));
    }
    text.push_str(&format!("\n  {}", no_route.discovery));
    let is_not_let_pass = |attempt: &FailedAttempt| {
        matches!(
            attempt.error,
            AttemptError::Tunnel(TunnelError::Refused { reason: TunnelRefusal::NotAllowed, .. })
        )
    };
    if no_route.attempts.iter().any(is_not_let_pass) {
        text.push_str(&format!(
            "\n  rules of gateways go by names, and this was {own}: --as NAME@HOST acts under one that they know"
        ));
    }
    text
}
