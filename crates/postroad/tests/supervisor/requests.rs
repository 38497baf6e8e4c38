//! What a supervisor refuses, and what it does about children that hang.

use std::time::Duration;

use postroad::supervisor::{ChildSpec, Restart, Strategy, Supervisor, SupervisorError, SupervisorSpec};
use postroad::{CallError, ExitReason, SpawnError};

use super::{Mood, Settings, Worker, stage, three, try_stage, worker};

fn moody(name: &str) -> (Mood, ChildSpec) {
    let settings = Settings::default();
    (settings.mood.clone(), ChildSpec::new::<Worker>(name, settings))
}

fn clinging(name: &str) -> ChildSpec {
    ChildSpec::new::<Worker>(name, Settings { clings: true, ..Settings::default() })
}

#[tokio::test(start_paused = true)]
async fn while_children_are_ended_nothing_else_is_changed() {
    let spec = SupervisorSpec::new(Strategy::AllForOne).child(worker("a")).child(clinging("b"));
    let mut stage = stage(spec).await;
    let pids = stage.all_started(&["a", "b"]).await;
    stage.end(pids[0], &ExitReason::Kill).await;
    stage.ended("a").await;
    let supervisor = stage.supervisor.clone();
    for refused in [
        supervisor.start_child("a").await.err(),
        supervisor.add_child(worker("d")).await.err(),
        supervisor.enable_child("a").await.err(),
        supervisor.disable_child("a").await.err(),
    ] {
        assert!(matches!(refused, Some(SupervisorError::StrategyActive)), "{refused:?}");
    }
    stage.ended("b").await;
    stage.all_started(&["a", "b"]).await;
    assert_eq!(stage.children().await.len(), 2);
    stage.node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_ending_is_not_enabled_yet() {
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(worker("a")).child(clinging("b"));
    let mut stage = stage(spec).await;
    stage.all_started(&["a", "b"]).await;
    stage.supervisor.disable_child("b").await.unwrap();
    let early = stage.supervisor.enable_child("b").await;
    assert!(matches!(early, Err(SupervisorError::StrategyActive)), "{early:?}");
    assert_eq!(stage.ended("b").await, ExitReason::Shutdown);
    stage.supervisor.enable_child("b").await.unwrap();
    stage.started("b").await;
    stage.node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_init_never_ends_is_given_up() {
    let (mood, child) = moody("moody");
    let limit = Duration::from_secs(3);
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(worker("a")).child(child.init_timeout(limit));
    let mut stage = stage(spec).await;
    stage.all_started(&["a", "moody"]).await;
    mood.set(Mood::HANGS);
    stage.end(stage.pid_of("moody"), &ExitReason::Kill).await;
    let reason = ExitReason::error("child moody did not start: its init took longer than 3s");
    assert_eq!(stage.ended("moody").await, ExitReason::Kill);
    assert_eq!(stage.ended("a").await, reason);
    assert_eq!(stage.over().await, reason);

    let (mood, child) = moody("moody");
    mood.set(Mood::HANGS);
    let Err(SpawnError::Init(at_once)) =
        try_stage(SupervisorSpec::new(Strategy::OneForOne).child(child.init_timeout(limit))).await
    else {
        panic!("it started")
    };
    assert_eq!(at_once, reason);
}

#[tokio::test]
async fn a_child_that_is_added_or_started_in_vain_changes_nothing() {
    let mut stage = stage(three(Strategy::OneForOne, Restart::Transient)).await;
    stage.all_started(&["a", "b", "c"]).await;
    let (mood, child) = moody("moody");
    mood.set(Mood::REFUSES);
    let refused = stage.supervisor.add_child(child.clone()).await;
    let Err(SupervisorError::Start { source: SpawnError::Init(reason), .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(reason, ExitReason::error("not today"));
    assert_eq!(stage.children().await.len(), 3);
    mood.set(0);
    stage.supervisor.add_child(child).await.unwrap();
    stage.supervisor.disable_child("moody").await.unwrap();
    stage.started("moody").await;
    stage.ended("moody").await;
    mood.set(Mood::REFUSES);
    stage.supervisor.enable_child("moody").await.unwrap_err();
    assert!(stage.children().await[3].disabled);
    stage.quiet().await;
    stage.node.stop().await;
}

#[tokio::test]
async fn arguments_are_those_of_the_actor_and_are_kept() {
    let mut stage = stage(three(Strategy::OneForOne, Restart::Transient)).await;
    stage.all_started(&["a", "b", "c"]).await;
    stage.end(stage.pid_of("b"), &ExitReason::Normal).await;
    stage.ended("b").await;
    let refused = stage.supervisor.start_child_with("b", "a text").await;
    assert!(matches!(refused, Err(SupervisorError::Arguments { .. })), "{refused:?}");
    let settings = Settings { number: 7, ..Settings::default() };
    stage.supervisor.start_child_with("b", settings).await.unwrap();
    stage.started("b").await;
    stage.end(stage.pid_of("b"), &ExitReason::Kill).await;
    stage.ended("b").await;
    let again = stage.started("b").await;
    assert_eq!(stage.node.call::<u32>(again, true).await.unwrap(), 7);
    stage.node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_supervisor_is_that_of_its_children_one_by_one() {
    let inner = three(Strategy::OneForOne, Restart::Permanent);
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .child(worker("first"))
        .child(ChildSpec::new::<Supervisor>("inner", inner))
        .child(clinging("last").shutdown_timeout(Duration::from_secs(1)));
    let mut stage = stage(spec).await;
    stage.all_started(&["first", "inner", "last"]).await;
    assert_eq!(stage.node.process_count(), 8, "and the one that watches");
    stage.end(stage.pid, &ExitReason::Shutdown).await;
    let began = tokio::time::Instant::now();
    assert_eq!(stage.ended("last").await, ExitReason::Shutdown);
    assert!(began.elapsed() < Duration::from_secs(2), "it was given a second");
    assert_eq!(stage.ended("inner").await, ExitReason::Shutdown);
    assert_eq!(stage.node.whereis("c"), None, "its children have ended before it");
    assert_eq!(stage.ended("first").await, ExitReason::Shutdown);
    assert_eq!(stage.over().await, ExitReason::Shutdown);
}

#[tokio::test]
async fn a_hook_that_panics_is_only_logged() {
    let node = super::support::node("hook").await;
    let spec = three(Strategy::OneForOne, Restart::Transient).on_child(|_| panic!("the test wants it"));
    let pid = node.spawn::<Supervisor>(spec).await.unwrap();
    assert_eq!(node.supervisor(pid).children().await.unwrap().len(), 3);
    node.stop().await;
}

#[tokio::test]
async fn who_is_no_supervisor_says_so() {
    let stage = stage(three(Strategy::OneForOne, Restart::Transient)).await;
    let answer = stage.node.supervisor(stage.pid_of("a")).children().await;
    assert!(matches!(answer, Err(SupervisorError::Request(CallError::Answer(_)))), "{answer:?}");
    let answer = stage.node.supervisor("nobody").children().await;
    assert!(matches!(answer, Err(SupervisorError::Request(CallError::Send(_)))), "{answer:?}");
    stage.node.stop().await;
}
