//! `postroad info`, `ps`, `tree` and `connections` of a running node.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::process::Output;

use postroad::edf::{Edf as _, EncodeTables, Encoder, ErrorValue, Opaque};
use postroad::inspect::{ListProcesses, ProcessSummary};
use postroad::network::AcceptorOptions;
use postroad::supervisor::{ChildSpec, Strategy, Supervisor, SupervisorSpec};
use postroad::{Actor, Context, ExitReason, Message, Payload, Reply, SpawnOptions};
use program::{Node, postroad, run, stderr, stdout};
use serde_json::Value as Json;

const INSPECTOR: &str = "postroad.inspector";

/// Asks a node that registers nowhere.
fn ask(node: &Node, command: &str, more: &[&str]) -> Output {
    ask_at(&node.name, &node.port, command, more)
}

fn ask_at(name: &str, port: impl std::fmt::Display, command: &str, more: &[&str]) -> Output {
    let route = format!("^{}$=127.0.0.1:{port}", name.replace('.', "[.]"));
    postroad(&[command, name, "--no-registrar", "--route", &route])
        .args(more)
        .env("POSTROAD_COOKIE", "a cookie")
        .output()
        .unwrap()
}

fn told(output: &Output) -> Vec<&str> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().collect()
}

fn json(output: &Output) -> Json {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_running_node_is_described() {
    let node = Node::start("described", &["--no-registrar"]);
    let output = ask(&node, "info", &[]);
    let lines = told(&output);
    assert_eq!(cells(lines[0]), ["node", &node.name]);
    let line = |key: &str| *lines.iter().find(|line| line.starts_with(key)).unwrap();
    assert!(line("processes").contains("2, "), "{lines:?}");
    assert!(line("listens on").ends_with(&format!("127.0.0.1:{}", node.port)), "{lines:?}");
    assert!(line("registrar").ends_with("none"), "{lines:?}");
    assert!(!stdout(&output).contains("a cookie"));

    let json = json(&ask(&node, "info", &["--json"]));
    assert_eq!(json["node"], node.name);
    assert_eq!((&json["processes"], &json["names"]), (&2.into(), &2.into()));
    // The guest of the command before may still be waited for.
    assert!(json["connections"].as_u64().unwrap() >= 1);
    assert_eq!(json["registrar"], Json::Null);
    assert!(!cfg!(target_os = "linux") || json["memory_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn the_processes_of_a_running_node_are_listed() {
    let node = Node::start("listed", &["--no-registrar"]);
    let output = ask(&node, "ps", &[]);
    let lines = told(&output);
    assert_eq!(cells(lines[0]), ["PID", "NAME", "ACTOR", "STATE", "MAILBOX", "UPTIME", "PARENT"]);
    let named: Vec<_> = lines[1..].iter().map(|line| (cells(line)[0], cells(line)[1])).collect();
    assert_eq!(named, [("1001", INSPECTOR), ("1002", "echo")]);
    let echo = cells(lines[2]);
    assert_eq!((&echo[2..5], echo[6]), (&["Echo", "idle", "0"][..], "1"));

    let output = ask(&node, "ps", &["--prefix", "ec"]);
    assert_eq!(told(&output).len(), 2);
    let output = ask(&node, "ps", &["--sort", "name"]);
    assert_eq!(cells(told(&output)[1])[1], "echo");

    let json = json(&ask(&node, "ps", &["--json"]));
    let echo = &json.as_array().unwrap()[1];
    assert_eq!((&echo["name"], &echo["state"]), (&"echo".into(), &"idle".into()));
    assert!(echo["actor"].as_str().unwrap().ends_with("::Echo"));
    assert_eq!(echo["mailbox"], serde_json::json!({"urgent": 0, "system": 0, "main": 0, "log": 0}));
    assert_eq!(echo["parent"]["node"], node.name);
}

#[test]
fn one_process_of_a_running_node_is_described() {
    let node = Node::start("one", &["--no-registrar"]);
    let output = ask(&node, "info", &["echo"]);
    let lines = told(&output);
    assert!(lines[0].starts_with("process      1002 <"), "{lines:?}");
    assert_eq!(cells(lines[1]), ["name", "echo"]);
    assert!(lines.iter().any(|line| line.starts_with("links ") && line.ends_with("none")), "{lines:?}");
    let output = ask(&node, "info", &["1001", "--json"]);
    let json = json(&output);
    assert_eq!((&json["name"], &json["mailbox_capacity"]), (&INSPECTOR.into(), &1024.into()));
    assert_eq!(json["state_of_its_own"], serde_json::json!({"answers on their way": "1"}));
    assert_eq!(json["silent"], Json::Null);

    for nobody in ["nobody", "7"] {
        let output = ask(&node, "info", &[nobody]);
        assert!(!output.status.success());
        assert!(stderr(&output).contains("unknown process"), "{}", stderr(&output));
    }
}

#[test]
fn the_tree_of_a_running_node_is_shown() {
    let node = Node::start("planted", &["--no-registrar"]);
    let output = ask(&node, "tree", &[]);
    let lines = told(&output);
    assert_eq!(lines[0], node.name);
    assert!(lines[1].starts_with("├─ 1001 postroad.inspector [Inspector] running"), "{lines:?}");
    assert_eq!(lines[2], "└─ 1002 echo [Echo] idle");
    let json = json(&ask(&node, "tree", &["--json"]));
    assert_eq!(json["processes"][1]["name"], "echo");
    assert_eq!(json["processes"][1]["children"], serde_json::json!([]));
}

/// Does nothing.
struct Child;

impl Actor for Child {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

#[test]
fn the_tree_of_a_supervised_node_has_branches() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let name = format!("supervised-{}@127.0.0.1", std::process::id());
    let children = |names: [&str; 2]| {
        let child = |name| ChildSpec::new::<Child>(name, ());
        SupervisorSpec::new(Strategy::OneForOne).child(child(names[0])).child(child(names[1]))
    };
    let node = runtime.block_on(async {
        let builder = postroad::Node::builder(&name).cookie("a cookie").without_registrar().inspector(true);
        let node = builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).start().await.unwrap();
        for (supervisor, names) in [("tills", ["left", "right"]), ("shelves", ["upper", "lower"])] {
            let options = SpawnOptions::new().name(supervisor);
            node.spawn_with::<Supervisor>(children(names), options).await.unwrap();
        }
        node
    });
    let port = node.network().acceptors()[0].address.port();
    let output = ask_at(&name, port, "tree", &[]);
    let lines = told(&output);
    assert_eq!(lines[0], name);
    // All but the inspector are idle as soon as they have nothing to do.
    let places: Vec<_> = lines[1..].iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let expected = [
        "├─ 1001 postroad.inspector [Inspector]",
        "├─ 1002 tills [Supervisor]",
        "│  ├─ 1003 left [Child]",
        "│  └─ 1004 right [Child]",
        "└─ 1005 shelves [Supervisor]",
        "   ├─ 1006 upper [Child]",
        "   └─ 1007 lower [Child]",
    ];
    assert_eq!(places, expected);

    let json = json(&ask_at(&name, port, "tree", &["--json"]));
    let processes = json["processes"].as_array().unwrap();
    let children: Vec<_> = processes.iter().map(|process| process["children"].clone()).collect();
    assert_eq!(Json::from(children), serde_json::json!([[], [1003, 1004], [], [], [1006, 1007], [], []]));
    assert_eq!((&processes[2]["name"], &processes[2]["parent"]["pid"]), (&"left".into(), &1002.into()));
    runtime.block_on(node.stop());
}

#[test]
fn the_connections_of_a_running_node_are_listed() {
    let node = Node::start("visited", &["--no-registrar"]);
    let output = ask(&node, "connections", &[]);
    let lines = told(&output);
    assert_eq!(cells(lines[0])[..2], ["NODE", "VERSION"]);
    assert_eq!(lines.len(), 2, "only the guest: {lines:?}");
    assert!(lines[1].starts_with("connections-") && lines[1].ends_with("in"), "{lines:?}");
    let json = json(&ask(&node, "connections", &["--json"]));
    // The guest of the command before may still be waited for, without a link.
    let mut guests = json.as_array().unwrap().iter();
    let guest = guests.find(|guest| guest["links"].as_u64().unwrap() > 0).unwrap();
    assert_eq!((&guest["dialed"], &guest["road"]), (&false.into(), &Json::Null));
}

#[test]
fn who_cannot_be_asked_is_said() {
    let node = Node::start("silent", &["--no-registrar", "--no-inspector"]);
    for command in ["info", "ps", "tree", "connections"] {
        let output = ask(&node, command, &[]);
        assert!(!output.status.success());
        let errors = stderr(&output);
        assert!(errors.contains("has no inspector") && errors.contains("inspector(true)"), "{errors}");
        assert!(stdout(&output).is_empty());
    }
    let output = run(&["ps", "a@b", "--no-registrar", "--cookie", "c"]);
    assert!(stderr(&output).contains("no route to a@b"), "{}", stderr(&output));
    let output = run(&["ps", "a@b", "--no-registrar"]);
    assert!(stderr(&output).contains("no cookie"), "{}", stderr(&output));
}

/// An inspector of a version to come.
struct Successor(Answer);

/// How it may answer who asks as version 1 does.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Refusal,
    /// Under the next version's name.
    NextVersion,
    /// Under the name of version 1, with a field that this has not.
    FurtherField,
}

/// A row with a further field.
#[derive(Debug, Message)]
#[message(name = "#postroad-cli/inspection/Row")]
struct Row {
    summary: ProcessSummary,
    restarts: u64,
}

impl Actor for Successor {
    type Args = Answer;
    type Messages = ();
    type Requests = ();

    async fn init(answer: Answer, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(answer))
    }

    async fn answer_other(&mut self, _: Payload, ctx: &mut Context) -> Result<Reply<Payload>, ExitReason> {
        let page = ctx.node().processes(&ListProcesses::default());
        let rows = page.processes.into_iter().map(|summary| Row { summary, restarts: 0 });
        let (mut bytes, tables) = (Vec::new(), EncodeTables::default());
        let rows: Vec<Row> = rows.collect();
        let mut out = Encoder::new(&mut bytes, &tables);
        rows.encode(&mut out).unwrap();
        page.next.encode(&mut out).unwrap();
        let named = |name: &str| Reply::Now(Payload::new(Opaque::new(name, bytes)));
        Ok(match self.0 {
            Answer::Refusal => Reply::Error(ErrorValue::new("not supported")),
            Answer::NextVersion => named("#postroad/inspect/v2/ProcessPage"),
            Answer::FurtherField => named("#postroad/inspect/v1/ProcessPage"),
        })
    }
}

#[test]
fn an_inspector_of_another_version_is_named_as_such() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for answer in [Answer::Refusal, Answer::NextVersion, Answer::FurtherField] {
        let name = format!("successor-{answer:?}-{}@127.0.0.1", std::process::id());
        let node = runtime.block_on(async {
            let builder = postroad::Node::builder(&name).cookie("a cookie").without_registrar();
            let node = builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).start().await.unwrap();
            node.spawn_with::<Successor>(answer, SpawnOptions::new().name(INSPECTOR)).await.unwrap();
            node.spawn::<Successor>(answer).await.unwrap();
            node
        });
        let output = ask_at(&name, node.network().acceptors()[0].address.port(), "ps", &[]);
        assert!(!output.status.success(), "{answer:?}: {}", stdout(&output));
        let error = stderr(&output);
        assert!(
            error.contains(&format!("the inspector of {name} is of another version")),
            "{answer:?}: {error}"
        );
        assert!(error.contains("use the `postroad` of that node's version"), "{answer:?}: {error}");
        runtime.block_on(node.stop());
    }
}
