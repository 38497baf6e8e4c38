//! Nodes and processes at a glance: names, lists, what is told of them
//! (semantics/TESTS.md A and B).
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postroad::inspect::{InspectError, ListProcesses, ProcessState};
use postroad::{
    Atom, Compression, CompressionLevel, CompressionMethod, EventOptions, ExitReason, NameError, NetworkMode,
    Node, Priority, SendError, SpawnOptions,
};
use support::puppet::{child, puppet, puppet_with};
use support::{Echo, next, node, probe, unique};

async fn offline(name: &str) -> Node {
    Node::builder(unique(name)).network(NetworkMode::Disabled).start().await.unwrap()
}

/// Waits until a process is gone.
async fn gone(node: &Node, pid: postroad::Pid) {
    while node.process_info(pid).is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn conformance_a01_a_node_has_the_name_it_was_given() {
    let name = unique("named");
    let node = Node::builder(name.clone()).network(NetworkMode::Disabled).start().await.unwrap();
    assert_eq!(node.name().as_str(), name);
    assert!(!node.is_stopping());
    let info = node.info().unwrap();
    assert_eq!(info.name.as_str(), name);
    assert_eq!(info.creation, node.creation());
    node.stop().await;
}

#[tokio::test]
async fn conformance_a02_a_fresh_node_has_nothing() {
    let node = node("fresh").await;
    let info = node.info().unwrap();
    assert_eq!((info.processes, info.running, info.names, info.aliases), (0, 0, 0, 0));
    assert_eq!((info.connections, info.routes, info.proxy_routes), (0, 0, 0));
    assert!(info.uptime < 60, "seconds");
    assert_eq!((info.network.as_str(), info.listens.len()), ("enabled", 1));
    assert!(!cfg!(target_os = "linux") || info.memory > 0);
    assert!(node.processes(&ListProcesses::default()).processes.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn conformance_a06_a07_a_name_is_given_once() {
    let node = offline("names").await;
    let first = node.spawn::<Echo>(()).await.unwrap();
    let second = node.spawn::<Echo>(()).await.unwrap();
    node.register_name("taken", first).unwrap();
    assert_eq!(node.whereis("taken"), Some(first));
    for pid in [first, second] {
        assert!(matches!(node.register_name("taken", pid), Err(NameError::Taken { .. })));
    }
    node.stop().await;
}

#[tokio::test]
async fn conformance_a08_an_unknown_process_gets_no_name() {
    let node = offline("unknown").await;
    let process = node.spawn_with::<Echo>((), SpawnOptions::new().name("taken")).await.unwrap();
    let nobody = postroad::Pid { id: process.id + 1, ..process };
    for name in ["free", "taken"] {
        let error = node.register_name(name, nobody).unwrap_err();
        assert!(matches!(error, NameError::ProcessUnknown), "{name}: {error}");
    }
    node.stop().await;
}

#[tokio::test]
async fn conformance_a09_b04_b05_what_is_told_of_a_process() {
    let node = offline("one").await;
    let puppet = puppet_with(&node, SpawnOptions::new().name("one").mailbox_capacity(7)).await;
    let info = node.process_info(puppet.pid).unwrap();
    assert_eq!(info.summary.pid, puppet.pid);
    assert_eq!(info.summary.name.as_str(), "one");
    assert_eq!(info.summary.parent, node.pid());
    assert!(info.summary.actor.ends_with("support::puppet::Puppet"), "{}", info.summary.actor);
    assert_eq!(info.summary.state, ProcessState::Idle);
    assert_eq!(info.summary.mailbox.total(), 0);
    assert_eq!(info.mailbox_capacity, Some(7));
    assert!(!info.traps_exit);
    assert_eq!((info.leader, info.application), (node.pid(), None));
    assert!(info.variables.is_empty() && info.events.is_empty());
    puppet
        .act(|ctx| {
            ctx.set_env("size", &3u32).unwrap();
            ctx.set_env("colour", &"red".to_owned()).unwrap();
            ctx.register_event("news", EventOptions::new()).unwrap();
            Box::pin(async {})
        })
        .await;
    let info = node.process_info(puppet.pid).unwrap();
    assert_eq!(info.variables, ["colour", "size"].map(str::to_uppercase));
    assert_eq!(info.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(), ["news"]);
    let (pid, parent) = puppet.act(|ctx| Box::pin(async move { (ctx.pid(), ctx.parent()) })).await;
    assert_eq!((pid, parent), (puppet.pid, node.pid()));
    puppet.trap_exit().await;
    assert!(node.process_info(puppet.pid).unwrap().traps_exit);
    node.stop().await;
}

#[tokio::test]
async fn conformance_a10_a12_one_process_is_counted_and_listed() {
    let node = offline("counted").await;
    let pid = node.spawn_with::<Echo>((), SpawnOptions::new().name("one")).await.unwrap();
    let info = node.info().unwrap();
    assert_eq!((info.processes, info.names), (1, 1));
    assert!(info.running <= 1);
    let page = node.processes(&ListProcesses::default());
    assert_eq!(page.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [pid]);
    assert_eq!(page.next, 0);
    node.stop().await;
}

#[tokio::test]
async fn conformance_a11_a_name_is_taken_back_once() {
    let node = offline("given-back").await;
    let pid = node.spawn::<Echo>(()).await.unwrap();
    node.register_name("mine", pid).unwrap();
    assert_eq!(node.unregister_name("mine").unwrap(), pid);
    assert!(matches!(node.unregister_name("mine"), Err(NameError::Unknown)));
    node.stop().await;
}

#[tokio::test]
async fn conformance_a13_a_killed_process_vanishes() {
    let node = offline("killed").await;
    let pid = node.spawn::<Echo>(()).await.unwrap();
    assert!(node.kill(pid));
    gone(&node, pid).await;
    assert_eq!(node.process_info(pid).unwrap_err(), InspectError::ProcessUnknown);
    assert_eq!(node.info().unwrap().processes, 0);
    node.stop().await;
}

#[tokio::test]
async fn conformance_a14_a16_a_name_given_at_the_spawn_is_shown_until_it_is_taken_back() {
    let node = offline("spawned-with").await;
    let pid = node.spawn_with::<Echo>((), SpawnOptions::new().name("early")).await.unwrap();
    assert_eq!(node.process_info(pid).unwrap().summary.name.as_str(), "early");
    assert_eq!(node.unregister_name("early").unwrap(), pid);
    assert!(node.process_info(pid).unwrap().summary.name.is_empty());
    assert_eq!(node.info().unwrap().names, 0);
    node.stop().await;
}

#[tokio::test]
async fn conformance_a15_messages_go_to_pids_and_names_that_are_known() {
    let node = offline("addresses").await;
    let (pid, mut inbox) = probe(&node).await;
    node.register_name("probe", pid).unwrap();
    node.send(pid, 1u8).await.unwrap();
    node.send("probe", 2u8).await.unwrap();
    assert_eq!((next::<u8>(&mut inbox).await, next::<u8>(&mut inbox).await), (1, 2));
    assert!(matches!(node.send("nobody", 3u8).await, Err(SendError::ProcessUnknown)));
    node.stop().await;
}

/// A reason that is not there, which the line forbids, cannot be written.
#[tokio::test]
async fn conformance_a17_a_process_is_asked_to_end() {
    let node = offline("asked").await;
    let pid = node.spawn::<Echo>(()).await.unwrap();
    node.send_exit(pid, ExitReason::Normal).await.unwrap();
    gone(&node, pid).await;
    node.stop().await;
}

#[tokio::test]
async fn conformance_a19_a_node_that_was_stopped_says_so() {
    let node = offline("stopped").await;
    node.spawn::<Echo>(()).await.unwrap();
    node.stop().await;
    assert!(node.is_stopping());
    assert_eq!(node.info().unwrap_err(), InspectError::NodeStopped);
    assert_eq!(node.process_count(), 0);
}

#[tokio::test]
async fn conformance_b01_a_process_knows_its_node() {
    let node = offline("home").await;
    let puppet = puppet(&node).await;
    let home = puppet.act(|ctx| Box::pin(async move { ctx.node() })).await;
    assert_eq!((home.name(), home.creation()), (node.name(), node.creation()));
    assert_eq!(home.info().unwrap().processes, 1, "it is the same node");
    node.stop().await;
}

#[tokio::test]
async fn conformance_b03_a_process_has_one_name_at_a_time() {
    let node = offline("renamed").await;
    let puppet = puppet(&node).await;
    puppet
        .act(|ctx| {
            Box::pin(async move {
                ctx.register_name("first").unwrap();
                assert!(matches!(ctx.register_name("second"), Err(NameError::Taken { .. })));
                ctx.unregister_name().unwrap();
                assert!(matches!(ctx.unregister_name(), Err(NameError::Unknown)));
                ctx.register_name("second").unwrap();
            })
        })
        .await;
    assert_eq!((node.whereis("first"), node.whereis("second")), (None, Some(puppet.pid)));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn conformance_b06_uptime_starts_at_nothing() {
    let node = offline("young").await;
    tokio::time::advance(Duration::from_millis(2_999)).await;
    let pid = node.spawn::<Echo>(()).await.unwrap();
    assert_eq!(node.process_info(pid).unwrap().summary.uptime, 0);
    tokio::time::advance(Duration::from_millis(1_500)).await;
    assert_eq!(node.process_info(pid).unwrap().summary.uptime, 1_500);
    assert_eq!(node.info().unwrap().uptime, 4);
    node.stop().await;
}

#[tokio::test]
async fn conformance_b07_a_process_runs_while_it_handles_something() {
    let node = offline("busy").await;
    let puppet = puppet(&node).await;
    let state =
        puppet.act(|ctx| Box::pin(async move { ctx.node().process_info(ctx.pid()).unwrap().summary.state }));
    assert_eq!(state.await, ProcessState::Running);
    node.stop().await;
}

#[tokio::test]
async fn conformance_b08_b09_how_a_process_sends() {
    let node = offline("sends").await;
    let puppet = puppet(&node).await;
    let info = node.process_info(puppet.pid).unwrap();
    assert_eq!((info.compression, info.priority), (None, Priority::Normal));
    assert_eq!(Compression::default().threshold, 1024);
    let hard =
        Compression { method: CompressionMethod::Zlib, level: CompressionLevel::BestSize, threshold: 4096 };
    for compression in [Some(Compression::default()), None, Some(hard)] {
        puppet.act(move |ctx| Box::pin(async move { ctx.set_compression(compression) })).await;
        assert_eq!(node.process_info(puppet.pid).unwrap().compression, compression);
    }
    for priority in [Priority::Max, Priority::Low, Priority::Normal] {
        puppet.act(move |ctx| Box::pin(async move { ctx.set_priority(priority) })).await;
        assert_eq!(node.process_info(puppet.pid).unwrap().priority, priority);
    }
    node.stop().await;
}

#[tokio::test]
async fn conformance_b10_aliases_are_listed_in_order_until_they_are_deleted() {
    let node = offline("aliases").await;
    let puppet = puppet(&node).await;
    let made = puppet
        .act(|ctx| Box::pin(async move { [ctx.create_alias(), ctx.create_alias(), ctx.create_alias()] }));
    let [first, second, third] = made.await;
    let info = node.process_info(puppet.pid).unwrap();
    assert_eq!(info.aliases, [first, second, third]);
    assert_eq!((info.summary.aliases, node.info().unwrap().aliases), (3, 3));
    puppet.act(move |ctx| Box::pin(async move { ctx.delete_alias(second).unwrap() })).await;
    assert_eq!(node.process_info(puppet.pid).unwrap().aliases, [first, third]);
    node.stop().await;
}

#[tokio::test]
async fn conformance_b12_a_child_has_its_parent_and_its_name() {
    let node = offline("family").await;
    let parent = puppet(&node).await;
    let child = child(&parent, SpawnOptions::new().name("child")).await.unwrap();
    let info = node.process_info(child.pid).unwrap();
    assert_eq!((info.summary.parent, info.summary.name.as_str()), (parent.pid, "child"));
    assert_eq!(child.act(|ctx| Box::pin(async move { ctx.parent() })).await, parent.pid);
    node.stop().await;
}

#[tokio::test]
async fn conformance_f01_the_relations_of_a_process_are_told() {
    let node = offline("relations").await;
    let mut watcher = puppet(&node).await;
    watcher.trap_exit().await;
    let (seen, bound) = (puppet(&node).await, puppet(&node).await);
    let (seen_pid, bound_pid) = (seen.pid, bound.pid);
    watcher
        .act(move |ctx| {
            Box::pin(async move {
                ctx.monitor(seen_pid).await.unwrap();
                ctx.link(bound_pid).await.unwrap();
            })
        })
        .await;
    let info = node.process_info(watcher.pid).unwrap();
    assert_eq!(info.monitors, [postroad::Watched::Pid(seen.pid)]);
    assert_eq!(info.links, [postroad::Watched::Pid(bound.pid)]);
    assert_eq!(info.summary.watches, 2);
    for target in [&seen, &bound] {
        target.end(ExitReason::Shutdown).await;
        watcher.told().await;
    }
    let info = node.process_info(watcher.pid).unwrap();
    assert_eq!((info.monitors, info.links, info.summary.watches), (vec![], vec![], 0));
    node.stop().await;
}

#[tokio::test]
async fn a_pid_of_somewhere_else_is_nobody_here() {
    let node = offline("elsewhere").await;
    let pid = node.spawn::<Echo>(()).await.unwrap();
    for stranger in [
        postroad::Pid { creation: pid.creation - 1, ..pid },
        postroad::Pid { node: Atom::new("other@localhost").unwrap(), ..pid },
    ] {
        assert_eq!(node.process_info(stranger).unwrap_err(), InspectError::ProcessUnknown);
        let asked = node.inspect(stranger, Duration::from_secs(1)).await;
        assert_eq!(asked.unwrap_err(), InspectError::ProcessUnknown);
    }
    node.stop().await;
}
