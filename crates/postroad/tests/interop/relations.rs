//! Links and monitors between nodes of either kind.

use postroad::{
    Alias, Atom, Down, Exit, ExitReason, Node, Pid, ProcessId, RelationError, SpawnOptions, Watched,
};
use serde_json::{Value as Json, json};

use crate::peer::{Peer, by_alias, by_pid, named};
use crate::road::{Dialer, end, pair};
use crate::support::puppet::{Notice, Strings, Wish, puppet, puppet_with, wish};

/// A named process with an alias.
async fn target(node: &Node) -> (Strings, Alias) {
    let target = puppet_with(node, SpawnOptions::new().name("target")).await;
    let alias = target.act(|ctx| Box::pin(async { ctx.create_alias() })).await;
    (target, alias)
}

/// Checks that a process is told of just these ends next, in any order.
async fn told(go: &Peer, kind: &str, to: &str, targets: &[Json], reason: &str) {
    let mut left = targets.to_vec();
    while !left.is_empty() {
        let event = go.event(kind).await;
        assert_eq!((&event["to"], &event["reason"]), (&json!(to), &json!(reason)), "{event}");
        let place = left.iter().position(|target| *target == event["target"]);
        left.swap_remove(place.unwrap_or_else(|| panic!("{event} is not of {left:?}")));
    }
}

#[tokio::test]
async fn conformance_x01_x02_x03_x11_go_is_told_of_ends_in_rust() {
    // 3.1.0 does not forget the name of what has ended: each time another node.
    for (how, reason) in [(ExitReason::Shutdown, "shutdown"), (ExitReason::error("a bad day"), "a bad day")] {
        for dialer in Dialer::BOTH {
            let (node, go) = pair(dialer).await;
            let (target, alias) = target(&node).await;
            let ways = [by_pid(target.pid), named("target", node.name()), by_alias(alias)];
            for way in &ways {
                go.ask("link", json!({ "to": way })).await;
                // In 3.1.0 no process can do both.
                let by_another = json!({"to": way, "as": "echo"});
                go.ask("monitor", by_another.clone()).await;
                let again = go.try_ask("monitor", by_another).await.unwrap_err();
                assert_eq!(again, "target is already exist");
            }
            target.end(how.clone()).await;
            told(&go, "exit", "driver", &ways, reason).await;
            told(&go, "down", "echo", &ways, reason).await;
            end(node, go).await;
        }
    }
}

#[tokio::test]
async fn go_is_told_what_is_not_there_and_what_is_taken_back() {
    let (node, go) = pair(Dialer::Rust).await;
    let (target, alias) = target(&node).await;
    let nobody = named("nobody", node.name());
    let no_alias = by_alias(Alias { id: [1, 2, 3], ..alias });
    for command in ["link", "monitor"] {
        let refusal = async |to: &Json| go.try_ask(command, json!({ "to": to })).await.unwrap_err();
        assert_eq!(refusal(&nobody).await, "unknown process");
        assert_eq!(refusal(&by_pid(Pid { id: 999_999, ..target.pid })).await, "unknown process");
        assert_eq!(refusal(&no_alias).await, "unknown alias");
        let event = json!({"event": {"name": "tick", "node": node.name().as_str()}});
        assert_eq!(go.try_ask(command, event).await.unwrap_err(), "unknown event");
    }
    let ways = [by_pid(target.pid), named("target", node.name()), by_alias(alias)];
    for way in &ways {
        go.ask("monitor", json!({ "to": way })).await;
    }
    go.ask("demonitor", json!({ "to": ways[0] })).await;
    node.unregister_name("target").unwrap();
    told(&go, "down", "driver", &ways[1..2], "unregistered").await;
    target.act(move |ctx| Box::pin(async move { ctx.delete_alias(alias) })).await.unwrap();
    told(&go, "down", "driver", &ways[2..], "unregistered").await;
    go.ask("monitor", json!({ "to": ways[0] })).await;
    target.end(ExitReason::Normal).await;
    told(&go, "down", "driver", &ways[..1], "normal").await;
    end(node, go).await;
}

fn name_of(go: &Peer, name: &str) -> Watched {
    Watched::Name(ProcessId { name: Atom::new(name).unwrap(), node: go.atom() })
}

/// 3.1.0 tells only the ends of names, unless both nodes have
/// started in the same second (`docs/wire/QUIRKS.md` section 2).
#[tokio::test]
async fn conformance_x02_rust_is_told_of_ends_in_go() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        go.ask("spawn", json!({"kind": "echo", "name": "target"})).await;
        let mut watcher = puppet(&node).await;
        watcher.trap_exit().await;
        let subject = name_of(&go, "target");
        wish(&watcher, Wish::Monitor, subject).await.unwrap();
        wish(&watcher, Wish::Link, subject).await.unwrap();
        let (pid, alias) = (Watched::Pid(go.pid("echo")), Watched::Alias(go.alias("echo")));
        for way in [pid, alias] {
            wish(&watcher, Wish::Monitor, way).await.unwrap();
            wish(&watcher, Wish::Demonitor, way).await.unwrap();
            wish(&watcher, Wish::Link, way).await.unwrap();
        }
        go.ask("exit", json!({"process": "target", "reason": "a bad day"})).await;
        told_both(&mut watcher, subject, "a bad day").await;

        let nobody = wish(&watcher, Wish::Monitor, name_of(&go, "nobody")).await;
        assert!(matches!(nobody, Err(RelationError::ProcessUnknown)), "{nobody:?}");
        let gone = wish(&watcher, Wish::Link, subject).await;
        assert!(matches!(gone, Err(RelationError::ProcessUnknown)), "{gone:?}");
        end(node, go).await;
    }
}

#[tokio::test]
async fn conformance_x05_x06_x07_x09_the_end_of_a_connection_is_told_on_both_sides() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (target, alias) = target(&node).await;
        let mut ways = vec![by_pid(target.pid), named("target", node.name()), by_alias(alias)];
        for way in &ways {
            go.ask("monitor", json!({ "to": way })).await;
        }
        go.ask("monitor", json!({"node": node.name().as_str()})).await;
        let mut watcher = puppet(&node).await;
        let watched = [
            Watched::Pid(go.pid("echo")),
            name_of(&go, "echo"),
            Watched::Alias(go.alias("echo")),
            Watched::Node(go.atom()),
        ];
        for way in watched {
            wish(&watcher, Wish::Monitor, way).await.unwrap();
        }
        assert!(node.network().disconnect(go.name()).await);
        let mut told_here = Vec::new();
        for _ in watched {
            let Notice::Down(Down { subject, reason: ExitReason::NoConnection }) = watcher.told().await
            else {
                panic!("every end is that of the connection");
            };
            told_here.push(subject);
        }
        assert!(watched.iter().all(|way| told_here.contains(way)), "{told_here:?}");
        ways.push(json!({"node": node.name().as_str()}));
        told(&go, "down", "driver", &ways, "no connection").await;
        end(node, go).await;
    }
}

/// Checks that a process that is linked to something and monitors it is told of
/// its end for both.
pub(crate) async fn told_both(watcher: &mut Strings, subject: Watched, reason: &str) {
    let reason = ExitReason::error(reason);
    let mut notices = [watcher.told().await, watcher.told().await];
    notices.sort_by_key(|notice| matches!(notice, Notice::Exit(_)));
    let exit = Exit { subject, reason: reason.clone(), requested: false };
    assert_eq!(notices, [Notice::Down(Down { subject, reason }), Notice::Exit(exit)]);
}
