//! `postroad node`: a node with a process that echoes.

mod echo;
mod kept;
mod signals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use postroad::{NetworkMode, Node, SpawnOptions};

use crate::address::{Address, RouteArg};
use crate::config::{Acceptor, Config, Difference, Files, Loaded, Roads, Said, Severity};
use crate::cookie::{CookieArgs, NO_COOKIE};
use crate::guest::has_registrar;
use crate::logging::Logging;
use crate::output::mention;
use crate::said_once;

use echo::Echo;
use kept::Kept;
use signals::{Signals, Told, Watched};

/// Runs a node with a process that echoes.
///
/// The process `echo` answers any request with the request and returns any
/// message to its sender. The process `postroad.inspector` tells whoever may
/// connect about the node: `postroad info`, `ps`, `tree`, `connections`,
/// `tunnels`. SIGINT and SIGTERM stop the node in order.
///
/// With --config the node is as the file says (docs/configuration.md);
/// options and environment go before it. When the file changes, or on SIGHUP,
/// it is read again: routes, transit rules, cookies and the log level change, live
/// connections stay, and a file with errors changes nothing.
#[derive(clap::Args)]
pub(crate) struct RunNode {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "POSTROAD_CONFIG")]
    config: Option<PathBuf>,
    /// Prints what the node would be started with, and does not start it.
    #[arg(long, requires = "config")]
    dry_run: bool,
    /// Reads the file again on SIGHUP only, not when it changes.
    #[arg(long)]
    no_watch: bool,
    #[command(flatten)]
    options: NodeOptions,
}

/// What may also stand in the file.
#[derive(clap::Args)]
struct NodeOptions {
    /// The full name of the node.
    #[arg(long, value_name = "NAME@HOST", env = "POSTROAD_NAME")]
    name: Option<String>,
    #[command(flatten)]
    cookie: CookieArgs,
    /// Where to listen; port 0 lets the system choose one. May be repeated.
    /// Default: the host part of the name, the first free port from 11144.
    #[arg(long, value_name = "HOST:PORT", env = "POSTROAD_LISTEN", value_delimiter = ',')]
    listen: Vec<Address>,
    /// What others are told to dial instead of the (first) address listened on:
    /// for nodes behind NAT or in containers.
    #[arg(long, value_name = "HOST:PORT", env = "POSTROAD_ADVERTISE")]
    advertise: Option<Address>,
    /// The port of the embedded registrar, the same on all hosts. Default: 4499.
    #[arg(long, value_name = "PORT", env = "POSTROAD_REGISTRAR_PORT")]
    registrar_port: Option<u16>,
    /// Registers nowhere and discovers nothing: only static routes lead out.
    #[arg(long, conflicts_with = "registrar_port")]
    no_registrar: bool,
    /// Tells other nodes nothing about this one: `postroad ps` and its kin cannot ask it.
    #[arg(long)]
    no_inspector: bool,
    /// A static route to nodes whose name matches the pattern (a regular
    /// expression); may be repeated. A cookie in it is as visible to others as
    /// one in --cookie.
    #[arg(long = "route", value_name = "PATTERN=HOST:PORT[,weight=N][,cookie=COOKIE]")]
    routes: Vec<RouteArg>,
}

impl RunNode {
    pub(crate) async fn run(self, logging: Logging) -> anyhow::Result<ExitCode> {
        // Before the node can be seen: whoever sees it may stop it.
        let mut signals = Signals::listen()?;
        let (config, files) = match &self.config {
            Some(path) => {
                let loaded = Config::load(path, &self.options.said())?;
                show_warnings(&loaded);
                let (config, files) = loaded.parts();
                (self.options.over(config?)?, files)
            }
            None => (self.options.over(Config::default())?, Files::default()),
        };
        if self.dry_run {
            Roads::of(&config)?.check(&config)?;
            println!("{}", Difference::between(&Config::default(), &config));
            return Ok(ExitCode::SUCCESS);
        }
        let mut running = Running::start(config, logging).await?;
        let mut watched = Watched::new(files);
        loop {
            let told = tokio::select! {
                told = signals.next() => told,
                () = watched.changed(), if !self.no_watch => Told::Reload,
            };
            match (told, self.config.as_deref()) {
                (Told::Stop, _) => break,
                (Told::Reload, Some(path)) => {
                    if let Some(files) = self.reload(path, &mut running) {
                        watched = Watched::new(files);
                    }
                }
                (Told::Reload, None) => tracing::warn!("there is no configuration file to read again"),
            }
        }
        running.kept = Kept::default();
        mention(format_args!("{} stops", running.node.name()));
        tokio::select! {
            () = running.node.stop() => Ok(ExitCode::SUCCESS),
            () = signals.told_to_stop() => {
                mention(format_args!("{} ends at once", running.node.name()));
                // Without waiting for anything: whoever insists does not want that.
                std::process::exit(1)
            }
        }
    }

    /// Reads the file again, and becomes what it says if it can be used; the
    /// files to watch from now on.
    fn reload(&self, path: &Path, running: &mut Running) -> Option<Files> {
        let unchanged = |error: &anyhow::Error| {
            tracing::error!(file = %path.display(), "the configuration cannot be used: everything stays as it was");
            eprintln!("postroad: everything stays as it was: {}", said_once(error));
        };
        let loaded = Config::load(path, &self.options.said()).inspect_err(unchanged).ok()?;
        show_warnings(&loaded);
        let (config, files) = loaded.parts();
        let changed = config
            .and_then(|config| self.options.over(config))
            .and_then(|config| running.change(path, config));
        if let Err(error) = &changed {
            unchanged(error);
        }
        Some(files)
    }
}

impl NodeOptions {
    /// What a file is checked with.
    fn said(&self) -> Said<'_> {
        let registrar = has_registrar(self.registrar_port, self.no_registrar);
        Said { name: self.name.as_deref(), registrar }
    }

    /// Lays the options over what a file says.
    fn over(&self, mut config: Config) -> anyhow::Result<Config> {
        if let Some(name) = &self.name {
            config.node.name = Some(name.clone());
        }
        if let Some(cookie) = self.cookie.find()? {
            config.node.cookie = Some(cookie);
        }
        if !self.listen.is_empty() {
            let listen =
                |address: &Address| Acceptor { listen: Some(address.clone()), ..Acceptor::default() };
            config.acceptors = self.listen.iter().map(listen).collect();
        }
        if let Some(advertise) = &self.advertise {
            let first = config.acceptors.first_mut();
            first.context("--advertise needs a place to listen: --listen")?.advertise =
                Some(advertise.clone());
        }
        if self.no_inspector {
            config.node.inspector = Some(false);
        }
        config.overlay(&self.routes, self.registrar_port, self.no_registrar)?;
        anyhow::ensure!(config.node.cookie.is_some() || config.node.mode == NetworkMode::Disabled, NO_COOKIE);
        Ok(config)
    }
}

/// A node, and what it was made of.
struct Running {
    node: Node,
    roads: Roads,
    config: Config,
    kept: Kept,
    logging: Logging,
}

impl Running {
    async fn start(config: Config, logging: Logging) -> anyhow::Result<Self> {
        logging.set(config.node.log.as_deref());
        let roads = Roads::of(&config)?;
        let node = roads.node(&config)?.start().await?;
        node.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await?;
        for acceptor in node.network().acceptors() {
            mention(format_args!("{} listens on {}", node.name(), acceptor.address));
        }
        mention(format_args!("{} is ready; its process `echo` answers", node.name()));
        let mut kept = Kept::default();
        kept.set(&node.network(), &config.node.keep_connected);
        Ok(Self { node, roads, config, kept, logging })
    }

    /// Becomes what the new configuration says, as far as a running node can.
    fn change(&mut self, path: &Path, new: Config) -> anyhow::Result<()> {
        let difference = Difference::between(&self.config, &new);
        self.roads.change(&difference, &self.node.network())?;
        if self.config.node.cookie != new.node.cookie
            && let Some(cookie) = &new.node.cookie
        {
            self.node.network().set_cookie(cookie.clone());
        }
        self.kept.set(&self.node.network(), &new.node.keep_connected);
        self.logging.set(new.node.log.as_deref());
        let many = if difference.live() == 1 { "change" } else { "changes" };
        mention(format_args!("{} reloaded: {} {many} in force", path.display(), difference.live()));
        if !difference.is_empty() {
            mention(format_args!("{difference}"));
        }
        for line in self.roads.certificates.reload() {
            mention(format_args!("{line}"));
        }
        for line in &difference.fixed {
            tracing::warn!(change = line, "needs a restart; left as it was");
        }
        self.config.take_live(new);
        Ok(())
    }
}

fn show_warnings(loaded: &Loaded) {
    let notes = loaded.notes();
    if notes.count(Severity::Warning) > 0 && !notes.has_errors() {
        eprintln!("{notes}\n");
    }
}
