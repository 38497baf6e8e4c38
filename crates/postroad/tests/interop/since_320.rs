//! What Ergo cannot do before 3.2.0 (`docs/wire/releases.md`): a 3.1.0 node
//! links children and parents on different nodes only at its own side, and does
//! not ask for descriptions of applications.

use postroad::network::Nodes;
use postroad::{Down, Exit, ExitReason, Pid, SpawnOptions, Watched};
use serde_json::json;

use crate::peer::{Peer, by_pid, pid, pid_json};
use crate::road::{Dialer, end, pair};
use crate::spawning::Hatchling;
use crate::support::puppet::{Notice, Strings, Wish, puppet, wish};
use crate::within;

/// The child is on the Go node.
#[tokio::test]
async fn children_in_go_are_linked() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        go.ask("enable_spawn", json!({"name": "hatchling"})).await;
        let (mut parent, mut witness) = (puppet(&node).await, puppet(&node).await);
        parent.trap_exit().await;
        let child = spawn(&parent, &go, SpawnOptions::new().link_child()).await;
        let reason = ExitReason::error("a bad day");
        let why = reason.clone();
        witness.act(move |ctx| Box::pin(ctx.send_exit(child, why))).await.unwrap();
        let subject = Watched::Pid(child);
        assert_eq!(parent.told().await, Notice::Exit(Exit { subject, reason, requested: false }));

        let child = spawn(&parent, &go, SpawnOptions::new().link_parent()).await;
        wish(&witness, Wish::Monitor, Watched::Pid(child)).await.unwrap();
        parent.end(ExitReason::Shutdown).await;
        let Notice::Down(down) = witness.told().await else { panic!("something else") };
        assert_eq!((down.subject, down.reason), (Watched::Pid(child), ExitReason::Shutdown));
        end(node, go).await;
    }
}

/// Has a process start another one on the Go node.
async fn spawn(parent: &Strings, go: &Peer, options: SpawnOptions) -> Pid {
    let there = go.name().to_owned();
    let spawned =
        parent.act(move |ctx| Box::pin(async move { ctx.spawn_on(&there, "hatchling", options, ()).await }));
    spawned.await.unwrap()
}

/// The child is on the Rust node.
#[tokio::test]
async fn parents_in_go_are_linked() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        node.network().enable_spawn::<Hatchling>("hatchling", Nodes::Any).unwrap();
        go.ask("spawn", json!({"kind": "driver", "name": "parent"})).await;
        let spawn = async |which: &str| {
            let mut wish = json!({"node": node.name().as_str(), "name": "hatchling", "as": "parent"});
            wish[which] = json!(true);
            pid(&go.ask("spawn_on", wish).await)
        };
        let child = spawn("link_child").await;
        assert!(node.kill(child));
        let exit = go.event("exit").await;
        assert_eq!((&exit["to"], &exit["target"]), (&json!("parent"), &by_pid(child)), "{exit}");
        assert_eq!(exit["reason"], "kill");

        let child = spawn("link_parent").await;
        let mut witness = puppet(&node).await;
        wish(&witness, Wish::Monitor, Watched::Pid(child)).await.unwrap();
        go.ask("exit", json!({"process": "parent", "reason": "a bad day"})).await;
        let down = within("the end of the child", witness.told()).await;
        let (subject, reason) = (Watched::Pid(child), ExitReason::error("a bad day"));
        assert_eq!(down, Notice::Down(Down { subject, reason }));
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_has_applications_described() {
    let (node, go) = pair(Dialer::Go).await;
    let of = |name: &str| json!({"node": node.name().as_str(), "name": name});
    assert_eq!(go.refusal("application_info", of("shop")).await, "unknown application");
    crate::applications::load(&node);
    let told = go.ask("application_info", of("shop")).await;
    assert_eq!((&told["state"], &told["mode"]), (&json!("loaded"), &json!("permanent")));
    assert_eq!((&told["parent"], &told["group"]), (&json!(""), &json!([])));
    node.start_application("shop").await.unwrap();
    let mut told = go.ask("application_info", of("shop")).await;
    let version = told["version"].take();
    assert_eq!((&version["Name"], &version["Release"]), (&json!("shop"), &json!("R7")));
    let teller = node.whereis("teller").unwrap();
    let expected = json!({
        "name": "shop", "description": "what Rust runs", "version": null, "weight": 5, "depends": [],
        "tags": ["blue", "eu"], "map": {"till": "teller"},
        "mode": "permanent", "state": "running", "parent": node.name().as_str(), "group": [pid_json(teller)],
    });
    assert_eq!(told, expected);
    end(node, go).await;
}
