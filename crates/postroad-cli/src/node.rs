//! `postroad node`: a node with a process that echoes.

use std::process::ExitCode;

use anyhow::Context as _;
use postroad::network::AcceptorOptions;
use postroad::registrar::EmbeddedOptions;
use postroad::{Actor, Context, ExitReason, Node, Payload, Reply, SpawnOptions};

use crate::address::{Address, RouteArg};
use crate::cookie::CookieArgs;

/// Runs a node with a process that echoes.
///
/// The process `echo` answers any request with the request and returns any
/// message to its sender. SIGINT and SIGTERM stop the node in order.
#[derive(clap::Args)]
pub(crate) struct RunNode {
    /// The full name of the node.
    #[arg(long, value_name = "NAME@HOST")]
    name: String,
    #[command(flatten)]
    cookie: CookieArgs,
    /// Where to listen; port 0 lets the system choose one. May be repeated.
    /// Default: the host part of the name, the first free port from 11144.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<Address>,
    /// What others are told to dial instead of the (first) address listened on:
    /// for nodes behind NAT or in containers.
    #[arg(long, value_name = "HOST:PORT", requires = "listen")]
    advertise: Option<Address>,
    /// The port of the embedded registrar, the same on all hosts.
    #[arg(long, value_name = "PORT", default_value_t = EmbeddedOptions::default().port)]
    registrar_port: u16,
    /// Registers nowhere and discovers nothing: only static routes lead out.
    #[arg(long, conflicts_with = "registrar_port")]
    no_registrar: bool,
    /// A static route to nodes whose name matches the pattern (a regular
    /// expression); may be repeated. A cookie in it is as visible to others as
    /// one in --cookie.
    #[arg(long = "route", value_name = "PATTERN=HOST:PORT[,weight=N][,cookie=COOKIE]")]
    routes: Vec<RouteArg>,
}

impl RunNode {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        // Before the node can be seen: whoever sees it may stop it.
        let stopped = stop_signal()?;
        let mut builder = Node::builder(&self.name).cookie(self.cookie.require()?);
        for (number, address) in self.listen.iter().enumerate() {
            let mut acceptor = AcceptorOptions::bind(&address.host, address.port);
            if let (0, Some(advertised)) = (number, &self.advertise) {
                acceptor = acceptor.advertise(&advertised.host, advertised.port);
            }
            builder = builder.acceptor(acceptor);
        }
        builder = if self.no_registrar {
            builder.without_registrar()
        } else {
            builder.embedded_registrar(EmbeddedOptions::port(self.registrar_port))
        };
        let node = builder.start().await?;
        for route in &self.routes {
            route.add_to(&node.network()).context("--route")?;
        }
        node.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await?;
        for acceptor in node.network().acceptors() {
            println!("{} listens on {}", node.name(), acceptor.address);
        }
        println!("{} is ready; its process `echo` answers", node.name());
        stopped.await;
        println!("{} stops", node.name());
        node.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Resolves when somebody wants the program to end. Listens from this call on.
#[cfg(unix)]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves when somebody wants the program to end.
#[cfg(not(unix))]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Gives back whatever it gets.
struct Echo;

impl Actor for Echo {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_other(&mut self, message: Payload, ctx: &mut Context) -> Result<(), ExitReason> {
        if let Err(error) = ctx.send(ctx.sender(), message).await {
            tracing::warn!(to = %ctx.sender(), %error, "a message could not be returned");
        }
        Ok(())
    }

    async fn answer_other(
        &mut self,
        request: Payload,
        _: &mut Context,
    ) -> Result<Reply<Payload>, ExitReason> {
        Ok(Reply::Now(request))
    }
}
