//! `postroad info`: a running node, or one of its processes.

use std::process::ExitCode;
use std::time::Duration;

use postroad::inspect::{DescribeNode, DescribeProcess, MAX_LISTED, NodeInfo, ProcessReport};
use serde_json::{Value as Json, json};

use super::ps::process_json;
use super::{Asked, Visit, bytes, span};
use crate::output::plain;

/// Describes a running node, or one of its processes.
///
/// Of a process also what its actor says of its own state. One that is in the
/// middle of a handler is waited for a second. The node needs an inspector:
/// `postroad node` has one.
#[derive(clap::Args)]
pub(crate) struct Info {
    #[command(flatten)]
    asked: Asked,
    /// A process of the node: its number as `postroad ps` shows it, or its
    /// registered name.
    process: Option<String>,
}

impl Info {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let visit = self.asked.visit("info").await?;
        let said = match &self.process {
            Some(process) => describe_process(&visit, process).await,
            None => describe_node(&visit).await,
        };
        visit.leave().await;
        println!("{}", said?);
        Ok(ExitCode::SUCCESS)
    }
}

async fn describe_node(visit: &Visit<'_>) -> anyhow::Result<String> {
    let node: NodeInfo = visit.ask(DescribeNode).await?;
    if visit.asked.json {
        return Ok(node_json(&node).to_string());
    }
    let mut lines = Lines::default();
    lines.add("node", node.name);
    lines.add("version", &node.version);
    lines.add("uptime", span(Duration::from_secs(node.uptime)));
    lines.add("creation", node.creation);
    lines.add("processes", format_args!("{}, {} running", node.processes, node.running));
    lines.add("names", node.names);
    lines.add("aliases", node.aliases);
    if node.memory > 0 {
        lines.add("memory", format_args!("{}, of the whole program", bytes(node.memory)));
    }
    lines.add("network", &node.network);
    lines.add("listens on", or_none(&node.listens.join(", ")));
    lines.add("registrar", or_none(&node.registrar));
    lines.add("connections", node.connections);
    lines.add("routes", format_args!("{}, {} through proxies", node.routes, node.proxy_routes));
    Ok(lines.to_string())
}

async fn describe_process(visit: &Visit<'_>, process: &str) -> anyhow::Result<String> {
    let question = match process.parse() {
        Ok(id) if id > 0 => DescribeProcess { id, name: String::new() },
        _ => DescribeProcess { id: 0, name: process.to_owned() },
    };
    let report: ProcessReport = visit.ask(question).await?;
    if visit.asked.json {
        return Ok(report_json(&report).to_string());
    }
    let summary = &report.summary;
    let mailbox = summary.mailbox;
    let mut lines = Lines::default();
    lines.add("process", format_args!("{} {}", summary.pid.id, summary.pid));
    lines.add("name", or_none(summary.name.as_str()));
    lines.add("actor", &summary.actor);
    lines.add("state", summary.state);
    lines.add("uptime", span(Duration::from_millis(summary.uptime)));
    lines.add("parent", format_args!("{} of {}", summary.parent.id, summary.parent.node));
    lines.add("leader", format_args!("{} of {}", report.leader.id, report.leader.node));
    lines.add("application", or_none(report.application.as_str()));
    lines.add(
        "mailbox",
        format_args!(
            "{} (urgent {}, system {}, main {}, log {}), {}",
            mailbox.total(),
            mailbox.urgent,
            mailbox.system,
            mailbox.main,
            mailbox.log,
            match report.mailbox_capacity {
                0 => "no bound".to_owned(),
                bound => format!("{bound} in each lane at most"),
            }
        ),
    );
    lines.add("received", summary.received);
    lines.add("priority", &report.priority);
    lines.add("compression", or_none(&report.compression));
    lines.add("traps exits", if report.traps_exit { "yes" } else { "no" });
    lines.add_list("variables", &report.variables);
    let events: Vec<String> = report.events.iter().map(ToString::to_string).collect();
    lines.add_list("events", &events);
    let aliases: Vec<String> = report.aliases.iter().map(ToString::to_string).collect();
    lines.add_list("aliases", &aliases);
    lines.add_list("links", &report.links);
    lines.add_list("monitors", &report.monitors);
    if !report.silent.is_empty() {
        lines.add("state of its own", format_args!("not said: {}", report.silent));
    }
    for item in &report.state {
        lines.add(&item.key, &item.value);
    }
    Ok(lines.to_string())
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// What is said, a line each, with the values under each other.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push((plain(key), plain(&value.to_string())));
    }

    fn add_list(&mut self, key: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else { return self.add(key, "none") };
        self.add(key, first);
        rest.iter().for_each(|value| self.add("", value));
        if values.len() >= MAX_LISTED {
            self.add("", format_args!("no more than {MAX_LISTED} are listed"));
        }
    }
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.0.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> =
            self.0.iter().map(|(key, value)| format!("{key:<width$}  {value}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn node_json(node: &NodeInfo) -> Json {
    json!({
        "node": node.name.as_str(),
        "version": node.version,
        "creation": node.creation,
        "uptime_s": node.uptime,
        "processes": node.processes,
        "running": node.running,
        "names": node.names,
        "aliases": node.aliases,
        "memory_bytes": (node.memory > 0).then_some(node.memory),
        "network": node.network,
        "listens": node.listens,
        "registrar": (!node.registrar.is_empty()).then_some(&node.registrar),
        "connections": node.connections,
        "routes": node.routes,
        "proxy_routes": node.proxy_routes,
    })
}

fn report_json(report: &ProcessReport) -> Json {
    let mut json = process_json(&report.summary);
    json["leader"] = json!({ "node": report.leader.node.as_str(), "pid": report.leader.id });
    json["application"] =
        json!((!report.application.as_str().is_empty()).then_some(report.application.as_str()));
    json["variables"] = report.variables.clone().into();
    json["events"] = report.events.iter().map(ToString::to_string).collect();
    json["aliases"] = report.aliases.iter().map(ToString::to_string).collect();
    json["links"] = report.links.clone().into();
    json["monitors"] = report.monitors.clone().into();
    json["priority"] = report.priority.clone().into();
    json["compression"] = json!((!report.compression.is_empty()).then_some(&report.compression));
    json["traps_exit"] = report.traps_exit.into();
    json["mailbox_capacity"] = json!((report.mailbox_capacity > 0).then_some(report.mailbox_capacity));
    json["state_of_its_own"] =
        report.state.iter().map(|item| (item.key.clone(), Json::from(item.value.clone()))).collect();
    json["silent"] = json!((!report.silent.is_empty()).then_some(&report.silent));
    json
}
