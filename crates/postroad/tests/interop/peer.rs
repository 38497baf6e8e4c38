//! A real Ergo node: the program `ergo-peer`, driven by JSON lines
//! (`interop/README.md`).

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use postroad::{Alias, Atom, Pid};
use serde_json::{Value as Json, json};
use tokio::sync::{Notify, oneshot};

use crate::support::{COOKIE, unique};
use crate::within;

/// A running Ergo node. Dropping it kills it.
pub(crate) struct Peer {
    child: Mutex<Child>,
    stdin: Mutex<ChildStdin>,
    lines: Arc<Lines>,
    next: AtomicU64,
    ready: Json,
}

impl Peer {
    /// Starts a node of that name, which is made unique, without registrar.
    pub(crate) async fn start(name: &str) -> Self {
        Self::named(&unique(name), &[]).await
    }

    /// Starts a node of exactly that name, with further flags of `ergo-peer`.
    pub(crate) async fn named(name: &str, flags: &[&str]) -> Self {
        Self::try_named(name, flags).await.unwrap_or_else(|error| panic!("{name} did not start: {error}"))
    }

    /// The same; the error is Ergo's.
    pub(crate) async fn try_named(name: &str, flags: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(program())
            .args(["-name", name, "-cookie", COOKIE, "-log", "disabled"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM}={}: {error}", program()));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let lines = Arc::new(Lines::default());
        let reader = lines.clone();
        std::thread::spawn(move || reader.read(stdout));
        let mut peer = Self {
            child: Mutex::new(child),
            stdin: Mutex::new(stdin),
            lines,
            next: AtomicU64::new(1),
            ready: Json::Null,
        };
        let first = within("the peer's first line", peer.lines.take(|_| true)).await;
        if first["event"] != "ready" {
            return Err(first["error"].as_str().unwrap_or("it ended").to_owned());
        }
        peer.ready = first;
        Ok(peer)
    }

    pub(crate) fn name(&self) -> &str {
        self.ready["name"].as_str().unwrap()
    }

    pub(crate) fn atom(&self) -> Atom {
        Atom::new(self.name()).unwrap()
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.ready["port"].as_u64().unwrap() as u16
    }

    /// Whether it is of 3.1.0, the oldest release that is tested against
    /// (`docs/wire/releases.md`).
    pub(crate) fn is_of_310(&self) -> bool {
        self.ready["framework"] == "3.1.0"
    }

    /// The longest message up to `len` bytes that it can receive: 3.1.0 loses the
    /// link on a frame of more than 65,535.
    pub(crate) fn longest(&self, len: usize) -> usize {
        if self.is_of_310() { len.min(60_000) } else { len }
    }

    pub(crate) fn creation(&self) -> i64 {
        number(&self.ready["creation"])
    }

    /// One of its own processes.
    pub(crate) fn pid(&self, process: &str) -> Pid {
        pid(&self.ready["processes"][process]["pid"])
    }

    pub(crate) fn alias(&self, process: &str) -> Alias {
        alias(&self.ready["processes"][process]["alias"])
    }

    /// Has it do something; the error is Ergo's.
    pub(crate) async fn try_ask(&self, command: &str, fields: Json) -> Result<Json, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, replied) = oneshot::channel();
        self.lines.asked.lock().insert(id, reply);
        let mut line = json!({"id": id, "cmd": command});
        line.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap_or_default());
        writeln!(self.stdin.lock(), "{line}").unwrap_or_else(|error| panic!("{command}: {error}"));
        let reply = within(command, replied).await;
        let mut reply = reply.unwrap_or_else(|_| panic!("{} ended before it replied to {line}", self.name()));
        match reply["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(reply["ok"].take()),
        }
    }

    /// Has it do something that works.
    pub(crate) async fn ask(&self, command: &str, fields: Json) -> Json {
        let reply = self.try_ask(command, fields.clone()).await;
        reply.unwrap_or_else(|error| panic!("{command} {fields}: {error}"))
    }

    /// Has it ask for something, and again if it is not told what came of it: an
    /// answer that comes fast may be lost on Ergo (`docs/wire/QUIRKS.md`).
    async fn answered(&self, command: &str, fields: &Json) -> Result<Json, String> {
        for _ in 0..4 {
            match self.try_ask(command, fields.clone()).await {
                Err(error) if error == "timed out" => {}
                reply => return reply,
            }
        }
        panic!("{command} {fields}: no answer")
    }

    /// Has it ask for something that it gets.
    pub(crate) async fn get(&self, command: &str, fields: Json) -> Json {
        let answer = self.answered(command, &fields).await;
        answer.unwrap_or_else(|error| panic!("{command} {fields}: {error}"))
    }

    /// Has it ask for something that it does not get; what it is told.
    pub(crate) async fn refusal(&self, command: &str, fields: Json) -> String {
        match self.answered(command, &fields).await {
            Err(error) => error,
            Ok(granted) => panic!("{command} {fields}: {granted}"),
        }
    }

    /// Has its driver call a process, and waits for the answer longer than any
    /// machine is slow.
    pub(crate) async fn call(&self, to: Json, value: Json) -> Result<Json, String> {
        self.try_ask("call", json!({"to": to, "value": value, "timeout": 50})).await
    }

    pub(crate) async fn send(&self, to: Json, value: Json) {
        self.ask("send", json!({"to": to, "value": value})).await;
    }

    /// The next event of that kind; others stay for later.
    pub(crate) async fn event(&self, kind: &str) -> Json {
        within(kind, self.lines.take(|event| event["event"] == kind)).await
    }

    /// What it knows of its connection with a node.
    pub(crate) async fn info(&self, node: Atom) -> Json {
        self.ask("node_info", json!({"node": node.as_str()})).await
    }

    /// Stops it in order, and returns when the process has ended.
    pub(crate) async fn stop(self) {
        self.ask("stop", json!({})).await;
        within("the end of the peer", self.lines.end()).await;
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock();
        // An error means that it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

const PROGRAM: &str = "POSTROAD_ERGO_PEER";

fn program() -> String {
    std::env::var(PROGRAM).unwrap_or_else(|_| {
        panic!("{PROGRAM} is not set: build interop/peer (interop/README.md) and name the program there")
    })
}

/// What the peer has written and nobody has taken yet.
#[derive(Default)]
struct Lines {
    asked: Mutex<HashMap<u64, oneshot::Sender<Json>>>,
    events: Mutex<Events>,
    changed: Notify,
}

#[derive(Default)]
struct Events {
    waiting: VecDeque<Json>,
    ended: bool,
}

impl Lines {
    fn read(&self, stdout: ChildStdout) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str::<Json>(&line) else {
                eprintln!("a peer wrote what is no JSON, it is not listened to any more: {line}");
                break;
            };
            match line["id"].as_u64() {
                Some(id) => {
                    if let Some(reply) = self.asked.lock().remove(&id) {
                        let _ = reply.send(line);
                    }
                }
                None => self.events.lock().waiting.push_back(line),
            }
            self.changed.notify_waiters();
        }
        self.asked.lock().clear();
        self.events.lock().ended = true;
        self.changed.notify_waiters();
    }

    /// The first event that is wanted; null when there will be none.
    async fn take(&self, wanted: impl Fn(&Json) -> bool) -> Json {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut events = self.events.lock();
                if let Some(place) = events.waiting.iter().position(&wanted) {
                    return events.waiting.remove(place).unwrap();
                }
                if events.ended {
                    return Json::Null;
                }
            }
            changed.await;
        }
    }

    async fn end(&self) {
        while !self.take(|_| true).await.is_null() {}
    }
}

/// A process by its name on a node.
pub(crate) fn named(name: &str, node: Atom) -> Json {
    json!({"name": name, "node": node.as_str()})
}

/// A process by its pid.
pub(crate) fn by_pid(pid: Pid) -> Json {
    json!({ "pid": pid_json(pid) })
}

/// A process by an alias.
pub(crate) fn by_alias(alias: Alias) -> Json {
    let id = alias.id.map(|part| part.to_string());
    json!({"alias": {"node": alias.node.as_str(), "creation": alias.creation.to_string(), "id": id}})
}

pub(crate) fn pid_json(pid: Pid) -> Json {
    json!({"node": pid.node.as_str(), "id": pid.id.to_string(), "creation": pid.creation.to_string()})
}

pub(crate) fn pid(json: &Json) -> Pid {
    Pid { node: atom(&json["node"]), id: number(&json["id"]), creation: number(&json["creation"]) }
}

pub(crate) fn alias(json: &Json) -> Alias {
    let id = [number(&json["id"][0]), number(&json["id"][1]), number(&json["id"][2])];
    Alias { node: atom(&json["node"]), creation: number(&json["creation"]), id }
}

fn atom(json: &Json) -> Atom {
    Atom::new(json.as_str().unwrap()).unwrap()
}

/// Numbers that JSON may not hold come as texts.
fn number<T: std::str::FromStr>(json: &Json) -> T {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{json} is no number"))
}
