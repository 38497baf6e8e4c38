//! Links and monitors between nodes of either kind.

use postroad::{
    Alias, Atom, Down, Exit, ExitReason, Node, Pid, ProcessId, RelationError, SpawnOptions, Watched,
};
use serde_json::{Value as Json, json};

use crate::peer::{Peer, alias, by_alias, by_pid, named, pid};
use crate::road::{Dialer, end, one_link, pair};
use crate::support::puppet::{Notice, Strings, Wish, puppet, puppet_with, wish};

/// How processes end, each as its reason is written.
const ENDS: [&str; 5] = ["normal", "shutdown", "a bad day", "panic", "kill"];

/// A process of the Rust node that Go watches.
pub(crate) struct Ours {
    puppet: Strings,
    alias: Alias,
    /// By its pid, its name and its alias.
    pub(crate) ways: [Json; 3],
}

impl Ours {
    pub(crate) async fn start(node: &Node, name: &str) -> Self {
        let puppet = puppet_with(node, SpawnOptions::new().name(name)).await;
        let alias = puppet.act(|ctx| Box::pin(async { ctx.create_alias() })).await;
        let ways = [by_pid(puppet.pid), named(name, node.name()), by_alias(alias)];
        Self { puppet, alias, ways }
    }

    pub(crate) async fn end(&self, node: &Node, how: &str) {
        match how {
            "panic" => self.puppet.panic().await,
            "kill" => assert!(node.kill(self.puppet.pid)),
            reason => self.puppet.end(ExitReason::from_text(reason)).await,
        }
    }
}

/// Has processes of Go watch one of Rust: those that are named are linked with
/// it, by its pid, its name and its alias, and `echo` monitors it in every way. In
/// 3.1.0 no process can do both.
pub(crate) async fn go_watches(go: &Peer, target: &Ours, linked: [&str; 3]) {
    for (way, linked) in target.ways.iter().zip(linked) {
        go.get("link", json!({"to": way, "as": linked})).await;
        go.get("monitor", json!({"to": way, "as": "echo"})).await;
    }
}

/// Who is linked where the connection will be lost: of a pid Ergo tells that in the
/// name of its own core, and what has that for its parent, as all have that are
/// named here, ends of it though it traps exits (`docs/wire/QUIRKS.md` section 2).
pub(crate) const FAIL_ENDS: [&str; 3] = ["fail", "driver", "driver"];

/// Checks that these are told that the connection was lost.
pub(crate) async fn told_of_the_loss(go: &Peer, ways: &[Json]) {
    told(go, "down", "echo", ways, "no connection").await;
    told(go, "exit", "driver", &ways[1..], "no connection").await;
    let ended = go.event("ended").await;
    assert_eq!(ended["to"], "fail");
    assert!(ended["reason"].as_str().unwrap().ends_with(": no connection"), "{ended}");
}

/// Checks that a process of Go is told of just these ends next, in any order.
pub(crate) async fn told(go: &Peer, kind: &str, to: &str, targets: &[Json], reason: &str) {
    let mut left = targets.to_vec();
    while !left.is_empty() {
        let event = go.event(kind).await;
        assert_eq!((&event["to"], &event["reason"]), (&json!(to), &json!(reason)), "{event}");
        let place = left.iter().position(|target| *target == event["target"]);
        left.swap_remove(place.unwrap_or_else(|| panic!("{event} is not of {left:?}")));
    }
}

/// Each end is told before the next process is watched: what is told twice is
/// found among what is told of the next one.
#[tokio::test]
async fn conformance_x01_x02_x03_x11_go_is_told_of_ends_in_rust() {
    for dialer in Dialer::BOTH {
        let (node, go) = one_link(dialer).await;
        assert_ne!(node.creation(), go.creation());
        // 3.1.0 does not forget the name of what has ended: each time another one.
        for how in ENDS.into_iter().chain(["the last"]) {
            let target = Ours::start(&node, &format!("target {how}")).await;
            go_watches(&go, &target, ["driver"; 3]).await;
            for way in &target.ways {
                let again = go.refusal("monitor", json!({"to": way, "as": "echo"})).await;
                assert_eq!(again, "target is already exist");
            }
            target.end(&node, how).await;
            told(&go, "exit", "driver", &target.ways, how).await;
            told(&go, "down", "echo", &target.ways, how).await;
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_is_told_what_is_not_there_and_what_is_taken_back() {
    let (node, go) = pair(Dialer::Rust).await;
    let target = Ours::start(&node, "target").await;
    let (puppet, alias) = (&target.puppet, target.alias);
    let nobody = named("nobody", node.name());
    let no_alias = by_alias(Alias { id: [1, 2, 3], ..alias });
    for command in ["link", "monitor"] {
        let refusal = async |to: &Json| go.refusal(command, json!({ "to": to })).await;
        assert_eq!(refusal(&nobody).await, "unknown process");
        assert_eq!(refusal(&by_pid(Pid { id: 999_999, ..puppet.pid })).await, "unknown process");
        assert_eq!(refusal(&no_alias).await, "unknown alias");
        let event = json!({"event": {"name": "tick", "node": node.name().as_str()}});
        assert_eq!(go.refusal(command, event).await, "unknown event");
    }
    let ways = &target.ways;
    for way in ways {
        go.get("monitor", json!({ "to": way })).await;
    }
    go.get("demonitor", json!({ "to": ways[0] })).await;
    node.unregister_name("target").unwrap();
    told(&go, "down", "driver", &ways[1..2], "unregistered").await;
    puppet.act(move |ctx| Box::pin(async move { ctx.delete_alias(alias) })).await.unwrap();
    told(&go, "down", "driver", &ways[2..], "unregistered").await;
    go.get("monitor", json!({ "to": ways[0] })).await;
    target.end(&node, "normal").await;
    told(&go, "down", "driver", &ways[..1], "normal").await;
    end(node, go).await;
}

fn name_of(go: &Peer, name: &str) -> Watched {
    Watched::Name(ProcessId { name: Atom::new(name).unwrap(), node: go.atom() })
}

/// Starts a process of the Go node that Rust watches: the ways to it by which
/// its end is told, which are its name, its pid and its alias. 3.1.0 tells the
/// ends of names only, unless both nodes have started in the same second
/// (`docs/wire/QUIRKS.md` section 2).
pub(crate) async fn theirs(go: &Peer, name: &str) -> Vec<Watched> {
    let target = go.ask("spawn", json!({"kind": "echo", "name": name})).await;
    let mut ways = vec![name_of(go, name)];
    if !go.is_of_310() {
        ways.extend([Watched::Pid(pid(&target["pid"])), Watched::Alias(alias(&target["alias"]))]);
    }
    ways
}

/// Ends such a process; it has told everybody when this returns.
pub(crate) async fn end_theirs(go: &Peer, name: &str, how: &str) {
    match how {
        "kill" => go.ask("kill", json!({ "process": name })).await,
        reason => go.ask("exit", json!({"process": name, "reason": reason})).await,
    };
    assert_eq!(go.event("ended").await["to"], name);
}

pub(crate) async fn watch(watcher: &Strings, ways: &[Watched]) {
    for way in ways {
        wish(watcher, Wish::Link, *way).await.unwrap();
        wish(watcher, Wish::Monitor, *way).await.unwrap();
    }
}

/// Checks that a process that is linked to all this and monitors it is told of
/// each end for both, in any order, and of nothing else.
pub(crate) async fn told_both(watcher: &mut Strings, ways: &[Watched], reason: &str) {
    let reason = ExitReason::from_text(reason);
    let mut left: Vec<Notice> = ways.iter().flat_map(|way| both(*way, &reason)).collect();
    while !left.is_empty() {
        let notice = watcher.told().await;
        let place = left.iter().position(|expected| *expected == notice);
        left.swap_remove(place.unwrap_or_else(|| panic!("{notice:?} is not among {left:?}")));
    }
    assert_eq!(watcher.told_so_far().await, []);
}

fn both(subject: Watched, reason: &ExitReason) -> [Notice; 2] {
    let exit = Exit { subject, reason: reason.clone(), requested: false };
    [Notice::Exit(exit), Notice::Down(Down { subject, reason: reason.clone() })]
}

/// A process that outlives those it is linked to.
pub(crate) async fn watcher(node: &Node) -> Strings {
    let watcher = puppet(node).await;
    watcher.trap_exit().await;
    watcher
}

/// As in the other direction, what is told twice is found by the next one.
#[tokio::test]
async fn conformance_x01_x02_x03_x11_rust_is_told_of_ends_in_go() {
    for dialer in Dialer::BOTH {
        let (node, go) = one_link(dialer).await;
        assert_ne!(node.creation(), go.creation());
        let mut watcher = watcher(&node).await;
        for how in ENDS.into_iter().chain(["the last"]) {
            let name = format!("target {how}");
            let ways = theirs(&go, &name).await;
            watch(&watcher, &ways).await;
            end_theirs(&go, &name, how).await;
            told_both(&mut watcher, &ways, how).await;
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn rust_is_told_what_go_takes_back_and_what_is_not_there() {
    for dialer in Dialer::BOTH {
        let (node, go) = one_link(dialer).await;
        let mut watcher = watcher(&node).await;
        let ways = theirs(&go, "target").await;
        watch(&watcher, &ways).await;
        go.ask("unregister_name", json!({"process": "target"})).await;
        told_both(&mut watcher, &ways[..1], "unregistered").await;
        if let [_, pid, alias] = ways[..] {
            go.ask("delete_alias", json!({"process": "target"})).await;
            told_both(&mut watcher, &[alias], "unregistered").await;
            end_theirs(&go, "target", "normal").await;
            told_both(&mut watcher, &[pid], "normal").await;
        }
        for gone in [name_of(&go, "nobody"), ways[0]] {
            for relation in [Wish::Link, Wish::Monitor] {
                let error = wish(&watcher, relation, gone).await;
                assert!(matches!(error, Err(RelationError::ProcessUnknown)), "{error:?}");
            }
        }
        end(node, go).await;
    }
}

/// Go has nobody to tell of the end of what was taken back.
#[tokio::test]
async fn conformance_x12_go_forgets_what_rust_takes_back() {
    for dialer in Dialer::BOTH {
        let (node, go) = one_link(dialer).await;
        let mut watcher = watcher(&node).await;
        let ways = theirs(&go, "target").await;
        watch(&watcher, &ways).await;
        for way in ways {
            wish(&watcher, Wish::Unlink, way).await.unwrap();
            wish(&watcher, Wish::Demonitor, way).await.unwrap();
        }
        let sent = async || go.info(node.name()).await["messages_out"].as_u64().unwrap();
        let before = sent().await;
        end_theirs(&go, "target", "a bad day").await;
        assert_eq!(sent().await, before);
        let marker = theirs(&go, "marker").await;
        watch(&watcher, &marker).await;
        end_theirs(&go, "marker", "normal").await;
        told_both(&mut watcher, &marker, "normal").await;
        assert!(sent().await > before);
        end(node, go).await;
    }
}

#[tokio::test]
async fn conformance_x05_x06_x07_x09_the_end_of_a_connection_is_told_on_both_sides() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let target = Ours::start(&node, "target").await;
        go_watches(&go, &target, FAIL_ENDS).await;
        let name = node.name();
        go.get("link", json!({"node": name.as_str()})).await;
        go.get("monitor", json!({"node": name.as_str(), "as": "echo"})).await;
        let mut watcher = watcher(&node).await;
        let watched = [
            Watched::Pid(go.pid("echo")),
            name_of(&go, "echo"),
            Watched::Alias(go.alias("echo")),
            Watched::Node(go.atom()),
        ];
        watch(&watcher, &watched).await;
        assert!(node.network().disconnect(go.name()).await);
        told_both(&mut watcher, &watched, "no connection").await;
        let mut theirs = target.ways.to_vec();
        theirs.push(json!({"node": name.as_str()}));
        told_of_the_loss(&go, &theirs).await;
        end(node, go).await;
    }
}
