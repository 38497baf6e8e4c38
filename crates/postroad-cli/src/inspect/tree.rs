//! `postroad tree`: who spawned whom.

use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;

use postroad::inspect::ProcessSummary;
use postroad::{Atom, Pid};
use serde_json::{Value as Json, json};

use super::ps::process_json;
use super::{Asked, short};
use crate::output::plain;

/// Shows the processes of a running node under those that spawned them.
///
/// A process whose parent has ended, or lives on another node, stands at the
/// top, with its parent. The node needs an inspector: `postroad node` has one.
#[derive(clap::Args)]
pub(crate) struct Tree {
    #[command(flatten)]
    asked: Asked,
}

impl Tree {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let visit = self.asked.visit("tree").await?;
        let processes = visit.processes("").await;
        visit.leave().await;
        let processes = processes?;
        let family = Family::of(&processes);
        if self.asked.json {
            println!("{}", json!({ "node": self.asked.guest.name, "processes": family.json() }));
        } else {
            print!("{}\n{}", self.asked.guest.name, family.text());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Processes by their parents.
struct Family<'a> {
    /// Those without a parent among them.
    top: Vec<&'a ProcessSummary>,
    children: BTreeMap<u64, Vec<&'a ProcessSummary>>,
}

/// A place in the tree that is shown next: the process, and what stands before it.
type Place<'a> = (&'a ProcessSummary, String, bool);

impl<'a> Family<'a> {
    fn of(processes: &'a [ProcessSummary]) -> Self {
        let known: HashSet<(Atom, u64)> = processes.iter().map(|process| key(process.pid)).collect();
        let mut family = Self { top: Vec::new(), children: BTreeMap::new() };
        for process in processes {
            // A parent is older than its children, so nobody is its own ancestor.
            if known.contains(&key(process.parent)) && process.parent.id < process.pid.id {
                family.children.entry(process.parent.id).or_default().push(process);
            } else {
                family.top.push(process);
            }
        }
        family
    }

    fn children(&self, of: u64) -> &[&'a ProcessSummary] {
        self.children.get(&of).map_or(&[], Vec::as_slice)
    }

    /// A line each, with a stack of our own: a tree may be as deep as it has
    /// processes.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut places: Vec<Place<'a>> = Vec::new();
        push_all(&mut places, &self.top, "");
        while let Some((process, before, last)) = places.pop() {
            let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            text += &format!("{before}{branch}{}", label(process));
            if before.is_empty() && process.parent.id != Pid::CORE {
                text += &format!("  (spawned by {})", parent_label(process));
            }
            text.push('\n');
            push_all(&mut places, self.children(process.pid.id), &(before + below));
        }
        text
    }

    /// Flat, each process with the numbers of its children: no parser minds
    /// how deep the tree is.
    fn json(&self) -> Json {
        let everybody = self.top.iter().chain(self.children.values().flatten());
        let mut everybody: Vec<&&ProcessSummary> = everybody.collect();
        everybody.sort_by_key(|process| process.pid.id);
        let one = |process: &&ProcessSummary| {
            let mut json = process_json(process);
            let children = self.children(process.pid.id);
            json["children"] = children.iter().map(|child| child.pid.id).collect();
            json
        };
        everybody.into_iter().map(one).collect()
    }
}

fn key(pid: Pid) -> (Atom, u64) {
    (pid.node, pid.id)
}

/// Puts siblings on the stack, the first one on top.
fn push_all<'a>(places: &mut Vec<Place<'a>>, siblings: &[&'a ProcessSummary], before: &str) {
    let siblings = siblings.iter().enumerate().rev();
    let count = siblings.len();
    places.extend(siblings.map(|(number, process)| (*process, before.to_owned(), number + 1 == count)));
}

fn label(process: &ProcessSummary) -> String {
    let mut label = process.pid.id.to_string();
    if !process.name.is_empty() {
        label += &format!(" {}", process.name);
    }
    label += &format!(" [{}] {}", short(&process.actor), process.state);
    let label = plain(&label);
    match process.mailbox.total() {
        0 => label,
        waiting => format!("{label}, {waiting} waiting"),
    }
}

fn parent_label(process: &ProcessSummary) -> String {
    if process.parent.node == process.pid.node {
        format!("{}, which has ended", process.parent.id)
    } else {
        format!("{} of {}", process.parent.id, process.parent.node)
    }
}
