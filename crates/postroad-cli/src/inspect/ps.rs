//! `postroad ps`: the processes of a running node.

use std::cmp::Reverse;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use postroad::inspect::ProcessSummary;
use serde_json::{Value as Json, json};

use super::table::Table;
use super::{Asked, short, span};

/// Lists the processes of a running node.
///
/// MAILBOX is how much waits in all lanes. The node needs an inspector:
/// `postroad node` has one.
#[derive(clap::Args)]
pub(crate) struct Ps {
    #[command(flatten)]
    asked: Asked,
    /// Only those whose registered name begins so.
    #[arg(long, value_name = "NAME", default_value = "")]
    prefix: String,
    /// What to sort by.
    #[arg(long, value_enum, default_value_t = Sort::Pid)]
    sort: Sort,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sort {
    /// The order they were spawned in.
    Pid,
    /// The registered names; those without one last.
    Name,
    /// How much waits in the mailbox, most first.
    Mailbox,
}

impl Ps {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let visit = self.asked.visit("ps").await?;
        let processes = visit.processes(&self.prefix).await;
        visit.leave().await;
        let mut processes = processes?;
        match self.sort {
            Sort::Pid => {}
            Sort::Name => processes.sort_by_key(|process| (process.name.is_empty(), process.name.as_str())),
            Sort::Mailbox => processes.sort_by_key(|process| Reverse(process.mailbox.total())),
        }
        if self.asked.json {
            println!("{}", Json::Array(processes.iter().map(process_json).collect()));
        } else {
            print!("{}", table(&processes));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(processes: &[ProcessSummary]) -> Table {
    let mut table = Table::new([" PID", "NAME", "ACTOR", "STATE", " MAILBOX", " UPTIME", " PARENT"]);
    for process in processes {
        let parent = if process.parent.node == process.pid.node {
            process.parent.id.to_string()
        } else {
            format!("{}@{}", process.parent.id, process.parent.node)
        };
        table.row([
            process.pid.id.to_string(),
            if process.name.is_empty() { "-".to_owned() } else { process.name.to_string() },
            short(&process.actor).to_owned(),
            process.state.to_string(),
            process.mailbox.total().to_string(),
            span(Duration::from_millis(process.uptime)),
            parent,
        ]);
    }
    table
}

pub(super) fn process_json(process: &ProcessSummary) -> Json {
    json!({
        "pid": process.pid.id,
        "name": (!process.name.is_empty()).then(|| process.name.as_str()),
        "actor": process.actor,
        "state": process.state.to_string(),
        "mailbox": {
            "urgent": process.mailbox.urgent,
            "system": process.mailbox.system,
            "main": process.mailbox.main,
            "log": process.mailbox.log,
        },
        "received": process.received,
        "uptime_ms": process.uptime,
        "parent": { "node": process.parent.node.as_str(), "pid": process.parent.id },
        "aliases": process.aliases,
        "watches": process.watches,
    })
}
