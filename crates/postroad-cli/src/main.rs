//! The postroad program.

// First: its macros hold in all that follow.
#[macro_use]
mod output;

mod address;
mod check;
mod config;
mod cookie;
mod decode;
mod demo;
mod explain;
mod guest;
mod inspect;
mod logging;
mod node;
mod ping;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use logging::{LogFormat, Logging};

// Messages are freed on other threads than they were made on; this allocator
// does not mind.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Distributed actors over roads you control.
#[derive(Parser)]
#[command(name = "postroad", version, propagate_version = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
    /// What to log to the standard error, such as `info` or `postroad=trace`.
    /// Default: warnings; of the demo, which makes things fail, errors.
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How each line of the log is written: for people, or as an object of JSON.
    #[arg(
        long,
        global = true,
        env = "POSTROAD_LOG_FORMAT",
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Node(node::RunNode),
    Ping(ping::Ping),
    Info(inspect::Info),
    Ps(inspect::Ps),
    Tree(inspect::Tree),
    Connections(inspect::Connections),
    Tunnels(inspect::Tunnels),
    Explain(explain::Explain),
    Check(check::Check),
    Decode(decode::Decode),
}

fn main() -> ExitCode {
    let program = Program::parse();
    match program.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postroad: {}", said_once(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it. Many say their cause themselves: it is not said again.
fn said_once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}

impl Program {
    fn run(self) -> anyhow::Result<ExitCode> {
        let default = if matches!(self.command, Command::Demo(_)) { "error" } else { "warn" };
        let logging = Logging::begin(self.log.as_deref(), default, self.log_format)?;
        let runtime = tokio::runtime::Runtime::new()?;
        match self.command {
            Command::Demo(demo) => runtime.block_on(demo.run()),
            Command::Node(node) => runtime.block_on(node.run(logging)),
            Command::Ping(ping) => runtime.block_on(ping.run()),
            Command::Info(info) => runtime.block_on(info.run()),
            Command::Ps(ps) => runtime.block_on(ps.run()),
            Command::Tree(tree) => runtime.block_on(tree.run()),
            Command::Connections(connections) => runtime.block_on(connections.run()),
            Command::Tunnels(tunnels) => runtime.block_on(tunnels.run()),
            Command::Explain(explain) => runtime.block_on(explain.run()),
            Command::Check(check) => check.run(),
            Command::Decode(decode) => decode.run(),
        }
    }
}
