//! A postroad node and a real Ergo node with Ergo's etcd registrar, in one
//! cluster: `interop/registrar/run CHECKOUT`.
#![allow(clippy::unwrap_used)]

#[path = "real/etcd.rs"]
#[allow(dead_code)]
mod etcd;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use postroad::network::{AcceptorOptions, NetworkEvent};
use postroad::registrar::{
    ApplicationMode, ApplicationRoute, ApplicationState, ConfigValue, Registrar, RegistrarEvent, Resolver,
};
use postroad::{Atom, Node};
use postroad_etcd::EtcdRegistrar;
use serde_json::{Value as Json, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::mpsc;

use self::etcd::Etcd;

const COOKIE: &str = "a cookie for tests";
const PATIENCE: Duration = Duration::from_secs(60);
const PROGRAM: &str = "POSTROAD_ERGO_ETCD_PEER";

/// An Ergo node. Dropped, it is killed.
struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<Json>,
    /// What was told while something else was waited for.
    told: Vec<Json>,
}

impl Peer {
    async fn start(name: &str, etcd: &Etcd) -> Self {
        let program = std::env::var(PROGRAM).unwrap_or_else(|_| panic!("{PROGRAM} names no program"));
        let endpoint = format!("127.0.0.1:{}", etcd.client_port(0));
        let mut child = Command::new(program)
            .args(["-name", name, "-cookie", COOKIE, "-etcd", &endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (send, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        let mut peer = Self { child, stdin, lines, told: Vec::new() };
        for event in ["ready", "listening"] {
            peer.wait(|line| line["event"] == event).await;
        }
        peer
    }

    /// Waits for a line.
    async fn wait(&mut self, wanted: impl Fn(&Json) -> bool) -> Json {
        if let Some(at) = self.told.iter().position(&wanted) {
            return self.told.remove(at);
        }
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
            let line = line
                .unwrap_or_else(|_| panic!("it told only of {:?}", self.told))
                .expect("the Ergo node runs");
            if wanted(&line) {
                return line;
            }
            self.told.push(line);
        }
    }

    /// Waits until exactly that is told.
    async fn told(&mut self, event: Json) {
        self.wait(|line| *line == event).await;
    }

    async fn ask(&mut self, command: &str, name: &str) -> Json {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", json!({"cmd": command, "name": name})).unwrap();
        let mut reply = self.wait(|line| line["reply"] == command).await;
        assert_eq!(reply.get("error"), None, "{command} {name}");
        reply["ok"].take()
    }

    /// It stops in good order: at the end of its input.
    async fn stop(mut self) {
        self.stdin.take();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

async fn start(name: &str, etcd: &Etcd) -> (Node, EtcdRegistrar, Receiver<RegistrarEvent>) {
    let registrar = EtcdRegistrar::new(etcd.options()).unwrap();
    let events = registrar.subscribe().unwrap();
    let node = Node::builder(name).cookie(COOKIE).acceptor(AcceptorOptions::bind("127.0.0.1", 0));
    let node = node.registrar(Arc::new(registrar.clone())).start().await.unwrap();
    (node, registrar, events)
}

/// Waits for an event of the registrar.
async fn event(events: &mut Receiver<RegistrarEvent>, wanted: &RegistrarEvent) {
    within(async { while events.recv().await.unwrap() != *wanted {} }).await;
}

fn atom(name: &str) -> Atom {
    Atom::new(name).unwrap()
}

#[tokio::test]
async fn they_find_each_other_and_connect_either_way() {
    let etcd = Etcd::start();
    let (rust, registrar, mut events) = start("rust@127.0.0.1", &etcd).await;
    let mut ergo = Peer::start("ergo@127.0.0.1", &etcd).await;
    event(&mut events, &RegistrarEvent::NodeJoined { node: atom("ergo@127.0.0.1") }).await;
    assert_eq!(registrar.nodes().await.unwrap(), [atom("ergo@127.0.0.1")]);
    assert_eq!(ergo.ask("nodes", "").await, json!(["rust@127.0.0.1"]));
    let peer = rust.network().connect("ergo@127.0.0.1").await.unwrap();
    assert_eq!(peer.name(), atom("ergo@127.0.0.1"));

    // And one that Ergo finds and dials.
    let (late, _, _events) = start("late@127.0.0.1", &etcd).await;
    ergo.told(json!({"event": "joined", "node": "late@127.0.0.1"})).await;
    let mut connections = late.network().subscribe();
    assert_eq!(ergo.ask("connect", "late@127.0.0.1").await, json!("late@127.0.0.1"));
    let connected = within(connections.recv()).await.unwrap();
    assert!(
        matches!(connected, NetworkEvent::Connected { peer, .. } if peer == atom("ergo@127.0.0.1")),
        "{connected:?}"
    );

    late.stop().await;
    ergo.told(json!({"event": "left", "node": "late@127.0.0.1"})).await;
    ergo.stop().await;
    event(&mut events, &RegistrarEvent::NodeLeft { node: atom("ergo@127.0.0.1") }).await;
    rust.stop().await;
}

#[tokio::test]
async fn each_hears_of_the_others_applications() {
    let etcd = Etcd::start();
    let (rust, registrar, mut events) = start("rust@127.0.0.1", &etcd).await;
    let mut ergo = Peer::start("ergo@127.0.0.1", &etcd).await;
    let (name, node, weight) = (atom("shop"), atom("ergo@127.0.0.1"), 30);
    let mode = Some(ApplicationMode::Temporary);
    ergo.ask("start_application", "shop").await;
    event(&mut events, &RegistrarEvent::ApplicationStarted { name, node, weight, mode }).await;
    let found = registrar.resolve_application(name).await.unwrap();
    let state = ApplicationState::Running;
    let tags = vec!["blue".to_owned(), "eu".to_owned()];
    assert_eq!(found, [ApplicationRoute { node, name, weight, tags, mode, state }]);
    ergo.ask("stop_application", "shop").await;
    event(&mut events, &RegistrarEvent::ApplicationLoaded { name, node, weight }).await;

    let (name, mode) = (atom("bakery"), Some(ApplicationMode::Permanent));
    let tags = vec!["green".to_owned()];
    let own = ApplicationRoute { node: rust.name(), name, weight: 7, tags, mode, state };
    registrar.register_application(own).await.unwrap();
    let rust_name = "rust@127.0.0.1";
    ergo.told(
        json!({"event": "started", "name": "bakery", "node": rust_name, "weight": 7, "mode": "permanent"}),
    )
    .await;
    let found = ergo.ask("resolve_application", "bakery").await;
    assert_eq!(
        found,
        json!([{"node": rust_name, "weight": 7, "tags": ["green"], "mode": "permanent", "state": "running"}])
    );
    rust.stop().await;
    ergo.told(json!({"event": "stopped", "name": "bakery", "node": rust_name})).await;
}

#[tokio::test]
async fn both_read_the_same_configuration() {
    let etcd = Etcd::start();
    etcd.put("services/ergo/config/global/port", "int:4370");
    etcd.put("services/ergo/cluster/default/config/*/port", "int:4371");
    let (rust, registrar, mut events) = start("rust@127.0.0.1", &etcd).await;
    let mut ergo = Peer::start("ergo@127.0.0.1", &etcd).await;
    assert_eq!(registrar.config_item("port").await.unwrap(), ConfigValue::Int(4371));
    assert_eq!(ergo.ask("config", "port").await, json!(4371));
    etcd.put("services/ergo/cluster/default/config/*/port", "int:4372");
    let (old, value) = (Some(ConfigValue::Int(4371)), Some(ConfigValue::Int(4372)));
    event(&mut events, &RegistrarEvent::ConfigUpdated { item: "port".into(), old, value }).await;
    ergo.told(json!({"event": "config", "item": "port", "value": 4372})).await;
    rust.stop().await;
}

#[tokio::test]
async fn what_only_postroad_writes_does_not_disturb_ergo() {
    let etcd = Etcd::start();
    let mut ergo = Peer::start("ergo@127.0.0.1", &etcd).await;
    etcd.put(
        "services/ergo/cluster/default/postroad/routes/db",
        r#"{"pattern": "^db@", "host": "10.0.0.9", "port": 1}"#,
    );
    etcd.put("services/ergo/cluster/default/postroad/proxies/g@h", r#"{"to": ["db@.*"]}"#);
    let (rust, _, _events) = start("rust@127.0.0.1", &etcd).await;
    ergo.told(json!({"event": "joined", "node": "rust@127.0.0.1"})).await;
    assert_eq!(ergo.ask("nodes", "").await, json!(["rust@127.0.0.1"]));
    ergo.told.retain(|told| told["node"] != "ergo@127.0.0.1");
    assert_eq!(ergo.told, Vec::<Json>::new(), "it is told of nothing else");
    rust.stop().await;
}
