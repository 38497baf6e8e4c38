//! One-for-one (K).

use std::time::Duration;

use postroad::supervisor::{ChildEvent, ChildSpec, Restart, Strategy, SupervisorError, SupervisorSpec};
use postroad::{Atom, ExitReason, SpawnError};

use super::{ENDS, Mood, Settings, Worker, stage, three, try_stage, worker};

fn one(restart: Restart) -> SupervisorSpec {
    three(Strategy::OneForOne, restart)
}

#[tokio::test]
async fn conformance_k01_k02_k03_k07_children_start_in_order_under_their_names() {
    let mut stage = stage(one(Restart::Transient)).await;
    let pids = stage.all_started(&["a", "b", "c"]).await;
    let list: Vec<_> = stage.children().await.iter().map(|child| child.pid).collect();
    assert_eq!(list, pids.iter().copied().map(Some).collect::<Vec<_>>());
    assert_eq!(stage.pid_of("b"), pids[1]);
    let running = stage.supervisor.start_child("a").await;
    assert!(matches!(running, Err(SupervisorError::ChildRunning { pid, .. }) if pid == pids[0]));
    let unknown = stage.supervisor.start_child("d").await;
    assert!(matches!(unknown, Err(SupervisorError::ChildUnknown { .. })));
    let added = stage.supervisor.add_child(worker("d")).await.unwrap();
    assert_eq!(Some(stage.started("d").await), added);
    assert_eq!(stage.node.whereis("d"), added);
    let running = stage.supervisor.start_child("d").await;
    assert!(matches!(running, Err(SupervisorError::ChildRunning { .. })));
    assert_eq!(stage.children().await.len(), 4);
    stage.quiet().await;
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_k04_k05_a_disabled_child_ends_and_stays_away() {
    let mut stage = stage(one(Restart::Permanent)).await;
    stage.all_started(&["a", "b", "c"]).await;
    let unknown = stage.supervisor.disable_child("d").await;
    assert!(matches!(unknown, Err(SupervisorError::ChildUnknown { .. })));
    stage.supervisor.disable_child("b").await.unwrap();
    assert_eq!(stage.ended("b").await, ExitReason::Shutdown);
    let b = stage.children().await[1];
    assert_eq!((b.pid, b.disabled), (None, true));
    let refused = stage.supervisor.start_child("b").await;
    assert!(matches!(refused, Err(SupervisorError::ChildDisabled { .. })));
    let again = stage.supervisor.enable_child("b").await.unwrap();
    assert_eq!(again, Some(stage.started("b").await));
    stage.quiet().await;
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_k06_a_child_is_restarted_by_the_table() {
    for (restart, due) in [
        (Restart::Transient, [false, false, true]),
        (Restart::Temporary, [false, false, false]),
        (Restart::Permanent, [true, true, true]),
    ] {
        for (reason, due) in ENDS.into_iter().zip(due) {
            let mut stage = stage(one(restart)).await;
            let pids = stage.all_started(&["a", "b", "c"]).await;
            stage.end(pids[1], &reason).await;
            assert_eq!(stage.ended("b").await, reason);
            if due {
                assert_ne!(stage.started("b").await, pids[1]);
            }
            stage.quiet().await;
            assert_eq!(stage.node.whereis("b").is_some(), due);
            assert_eq!(stage.pid_of("a"), pids[0], "the others are left alone");
            stage.node.stop().await;
        }
    }
}

#[tokio::test]
async fn conformance_k08_k12_the_supervisor_ends_with_its_last_child_unless_told_otherwise() {
    for auto_shutdown in [true, false] {
        let mut stage = stage(one(Restart::Temporary).auto_shutdown(auto_shutdown)).await;
        let pids = stage.all_started(&["a", "b", "c"]).await;
        for (pid, name) in pids.iter().zip(["a", "b", "c"]) {
            stage.end(*pid, &ExitReason::error(name)).await;
            assert_eq!(stage.ended(name).await, ExitReason::error(name));
        }
        if auto_shutdown {
            assert_eq!(stage.over().await, ExitReason::error("c"));
        } else {
            stage.quiet().await;
            stage.supervisor.start_child("b").await.unwrap();
            stage.started("b").await;
            stage.node.stop().await;
        }
    }
}

/// Who was disabled does not count, however long it takes to end.
#[tokio::test(start_paused = true)]
async fn a_disabled_child_that_clings_does_not_keep_the_supervisor() {
    let clings = Settings { clings: true, ..Settings::default() };
    let spec = SupervisorSpec::new(Strategy::OneForOne);
    let spec = spec.child(ChildSpec::new::<Worker>("a", clings)).child(worker("b"));
    let mut stage = stage(spec).await;
    stage.all_started(&["a", "b"]).await;
    stage.supervisor.disable_child("a").await.unwrap();
    stage.end(stage.pid_of("b"), &ExitReason::Normal).await;
    assert_eq!(stage.ended("b").await, ExitReason::Normal);
    stage.ended("a").await;
    assert_eq!(stage.over().await, ExitReason::Normal);
}

/// The supervisor is asked to end before it has read of the end of a child.
#[tokio::test]
async fn no_reason_is_made_up_for_a_child_that_fell_unnoticed() {
    let mut stage = stage(one(Restart::Permanent)).await;
    let pids = stage.all_started(&["a", "b", "c"]).await;
    // On a runtime of one thread neither runs before both have been asked.
    stage.end(pids[1], &ExitReason::error("boom")).await;
    stage.end(stage.pid, &ExitReason::Shutdown).await;
    assert_eq!(stage.ended("c").await, ExitReason::Shutdown);
    let b = ChildEvent::Ended { name: Atom::new("b").unwrap(), pid: pids[1], reason: None };
    assert_eq!(stage.events.recv().await, Some(b));
    assert_eq!(stage.ended("a").await, ExitReason::Shutdown);
    assert_eq!(stage.over().await, ExitReason::Shutdown);
}

#[tokio::test]
async fn conformance_k09_k10_k11_the_end_of_a_significant_child_may_be_that_of_the_supervisor() {
    let custom = ExitReason::error("custom");
    for (restart, reason, ends) in [
        (Restart::Transient, custom.clone(), false),
        (Restart::Transient, ExitReason::Normal, true),
        (Restart::Temporary, custom.clone(), true),
        (Restart::Temporary, ExitReason::Shutdown, true),
        (Restart::Permanent, custom, false),
        (Restart::Permanent, ExitReason::Normal, false),
    ] {
        let spec = SupervisorSpec::new(Strategy::OneForOne).restart(restart);
        let spec = spec.child(worker("a").significant()).child(worker("b"));
        let mut stage = stage(spec).await;
        let pids = stage.all_started(&["a", "b"]).await;
        stage.end(pids[0], &reason).await;
        assert_eq!(stage.ended("a").await, reason);
        if ends {
            assert_eq!(stage.ended("b").await, reason);
            assert_eq!(stage.over().await, reason);
        } else {
            stage.started("a").await;
            stage.quiet().await;
            stage.node.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn conformance_k13_too_many_restarts_within_the_period_are_the_end() {
    let mut stage = stage(one(Restart::Transient)).await;
    stage.all_started(&["a", "b", "c"]).await;
    for _ in 0..2 {
        for _ in 0..5 {
            stage.end(stage.pid_of("b"), &ExitReason::Kill).await;
            stage.ended("b").await;
            stage.started("b").await;
        }
        // The period is over: what was before does not count.
        tokio::time::advance(Duration::from_secs(5)).await;
    }
    for _ in 0..5 {
        stage.end(stage.pid_of("c"), &ExitReason::Kill).await;
        stage.ended("c").await;
        stage.started("c").await;
    }
    stage.end(stage.pid_of("a"), &ExitReason::Kill).await;
    assert_eq!(stage.ended("a").await, ExitReason::Kill);
    let reason = ExitReason::error("restart intensity is exceeded");
    assert_eq!(stage.ended("c").await, reason);
    assert_eq!(stage.ended("b").await, reason);
    assert_eq!(stage.over().await, reason);
}

#[tokio::test]
async fn conformance_k14_a_child_that_does_not_start_again_ends_the_supervisor() {
    let mood = Mood::default();
    let settings = Settings { mood: mood.clone(), ..Settings::default() };
    let spec = SupervisorSpec::new(Strategy::OneForOne);
    let spec = spec.child(worker("a")).child(ChildSpec::new::<Worker>("moody", settings));
    let mut stage = stage(spec).await;
    stage.all_started(&["a", "moody"]).await;
    mood.set(Mood::REFUSES);
    stage.end(stage.pid_of("moody"), &ExitReason::Kill).await;
    assert_eq!(stage.ended("moody").await, ExitReason::Kill);
    assert_eq!(stage.ended("a").await, ExitReason::error("not today"));
    assert_eq!(stage.over().await, ExitReason::error("not today"));
}

#[tokio::test]
async fn a_child_that_does_not_start_at_first_is_the_end_before_the_beginning() {
    let settings = Settings::default();
    settings.mood.set(Mood::REFUSES);
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(worker("a"));
    let started = try_stage(spec.child(ChildSpec::new::<Worker>("moody", settings))).await;
    let Err(SpawnError::Init(reason)) = started else { panic!("it started") };
    assert_eq!(reason, ExitReason::error("not today"));
}

#[tokio::test]
async fn a_spec_that_makes_no_sense_is_refused() {
    for (spec, text) in [
        (SupervisorSpec::new(Strategy::OneForOne), "children list can not be empty"),
        (one(Restart::Transient).child(worker("a")), "duplicate child spec Name: a"),
        (one(Restart::Transient).child(worker("")), "invalid child spec Name: it is empty"),
    ] {
        let Err(SpawnError::Init(reason)) = try_stage(spec).await else { panic!("{text}") };
        assert_eq!(reason.as_str(), text);
    }
}
