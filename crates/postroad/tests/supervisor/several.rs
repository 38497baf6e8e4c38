//! All-for-one and rest-for-one (L).

use postroad::ExitReason;
use postroad::supervisor::{ChildSpec, Restart, Strategy, SupervisorError, SupervisorSpec};

use super::{ENDS, Settings, Stage, Worker, stage, three, worker};

const NAMES: [&str; 3] = ["a", "b", "c"];
const BOTH: [Strategy; 2] = [Strategy::AllForOne, Strategy::RestForOne];

fn ordered(strategy: Strategy, restart: Restart) -> SupervisorSpec {
    three(strategy, restart).keep_order(true)
}

/// Which children a failure of that one concerns.
fn from(strategy: Strategy, failed: usize) -> usize {
    if strategy == Strategy::AllForOne { 0 } else { failed }
}

/// The round after the child at `failed` has ended: the others of the range end
/// from the last to the first with its reason, then all start from the first.
async fn round(stage: &mut Stage, strategy: Strategy, failed: usize, reason: &ExitReason) {
    assert_eq!(stage.ended(NAMES[failed]).await, *reason);
    let range = from(strategy, failed)..NAMES.len();
    for other in range.clone().rev().filter(|other| *other != failed) {
        assert_eq!(stage.ended(NAMES[other]).await, *reason);
    }
    stage.all_started(&NAMES[range]).await;
    stage.quiet().await;
}

#[tokio::test]
async fn conformance_l01_children_are_started_added_and_disabled_as_with_one_for_one() {
    for strategy in BOTH {
        let mut stage = stage(ordered(strategy, Restart::Permanent)).await;
        stage.all_started(&NAMES).await;
        let supervisor = stage.supervisor.clone();
        let running = supervisor.start_child("a").await;
        assert!(matches!(running, Err(SupervisorError::ChildRunning { .. })));
        let unknown = supervisor.start_child("d").await;
        assert!(matches!(unknown, Err(SupervisorError::ChildUnknown { .. })));
        supervisor.add_child(worker("d")).await.unwrap();
        stage.started("d").await;
        supervisor.disable_child("b").await.unwrap();
        assert_eq!(stage.ended("b").await, ExitReason::Shutdown);
        let refused = supervisor.start_child("b").await;
        assert!(matches!(refused, Err(SupervisorError::ChildDisabled { .. })));
        assert!(stage.children().await[1].disabled);
        stage.quiet().await;
        stage.node.stop().await;
    }
}

#[tokio::test]
async fn conformance_l02_l03_others_end_from_the_last_to_the_first_and_start_in_order() {
    for strategy in BOTH {
        for failed in 0..3 {
            let mut stage = stage(ordered(strategy, Restart::Transient)).await;
            let pids = stage.all_started(&NAMES).await;
            stage.end(pids[failed], &ExitReason::Kill).await;
            round(&mut stage, strategy, failed, &ExitReason::Kill).await;
            for earlier in 0..from(strategy, failed) {
                assert_eq!(stage.pid_of(NAMES[earlier]), pids[earlier]);
            }
            stage.node.stop().await;
        }
    }
}

#[tokio::test]
async fn conformance_l04_l05_l06_the_round_is_run_by_the_table() {
    for strategy in BOTH {
        for (restart, due) in [
            (Restart::Transient, [false, false, true]),
            (Restart::Temporary, [false, false, false]),
            (Restart::Permanent, [true, true, true]),
        ] {
            for (reason, due) in ENDS.into_iter().zip(due) {
                let mut stage = stage(ordered(strategy, restart)).await;
                let pids = stage.all_started(&NAMES).await;
                stage.end(pids[1], &reason).await;
                if due {
                    round(&mut stage, strategy, 1, &reason).await;
                } else {
                    assert_eq!(stage.ended("b").await, reason);
                    stage.quiet().await;
                    assert_eq!(stage.node.whereis("b"), None);
                }
                stage.node.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn conformance_l04_a_round_starts_again_who_had_ended_before() {
    let mut stage = stage(ordered(Strategy::AllForOne, Restart::Transient)).await;
    let pids = stage.all_started(&NAMES).await;
    stage.end(pids[1], &ExitReason::Normal).await;
    stage.ended("b").await;
    stage.end(pids[0], &ExitReason::Kill).await;
    stage.ended("a").await;
    assert_eq!(stage.ended("c").await, ExitReason::Kill);
    stage.all_started(&NAMES).await;
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_l07_l08_l09_a_significant_child_may_end_them_all() {
    let custom = ExitReason::error("custom");
    for strategy in BOTH {
        for (restart, reason, ends) in [
            (Restart::Transient, custom.clone(), false),
            (Restart::Transient, ExitReason::Normal, true),
            (Restart::Temporary, custom.clone(), true),
            (Restart::Permanent, ExitReason::Normal, false),
        ] {
            let spec = SupervisorSpec::new(strategy).restart(restart).keep_order(true);
            let spec = spec.child(worker("a").significant()).child(worker("b")).child(worker("c"));
            let mut stage = stage(spec).await;
            let pids = stage.all_started(&NAMES).await;
            stage.end(pids[0], &reason).await;
            if ends {
                for name in ["a", "c", "b"] {
                    assert_eq!(stage.ended(name).await, reason);
                }
                assert_eq!(stage.over().await, reason);
            } else {
                round(&mut stage, strategy, 0, &reason).await;
                stage.node.stop().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn conformance_l10_without_order_all_are_asked_before_any_is_awaited() {
    let clings = Settings { clings: true, ..Settings::default() };
    let spec = SupervisorSpec::new(Strategy::AllForOne).child(worker("a")).child(worker("b"));
    let mut stage = stage(spec.child(ChildSpec::new::<Worker>("c", clings))).await;
    let pids = stage.all_started(&NAMES).await;
    stage.end(pids[0], &ExitReason::Kill).await;
    assert_eq!(stage.ended("a").await, ExitReason::Kill);
    assert_eq!(stage.ended("b").await, ExitReason::Kill, "it does not wait for the last one");
    let began = tokio::time::Instant::now();
    assert_eq!(stage.ended("c").await, ExitReason::Kill, "it was killed when its time was over");
    assert!(began.elapsed() > std::time::Duration::from_secs(4));
    stage.all_started(&NAMES).await;
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_l11_two_that_end_at_once_are_one_round() {
    let spec =
        ordered(Strategy::AllForOne, Restart::Transient).intensity(1, std::time::Duration::from_secs(60));
    let mut stage = stage(spec).await;
    let pids = stage.all_started(&NAMES).await;
    // On a runtime of one thread both have ended before the supervisor hears of either.
    stage.end(pids[0], &ExitReason::Kill).await;
    stage.end(pids[2], &ExitReason::Kill).await;
    assert_eq!(stage.ended("a").await, ExitReason::Kill);
    assert_eq!(stage.ended("c").await, ExitReason::Kill);
    assert_eq!(stage.ended("b").await, ExitReason::Kill);
    stage.all_started(&NAMES).await;
    stage.quiet().await;
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_l12_a_disabled_last_child_does_not_hold_the_round_up() {
    for strategy in BOTH {
        let mut stage = stage(ordered(strategy, Restart::Transient)).await;
        let pids = stage.all_started(&NAMES).await;
        stage.supervisor.disable_child("c").await.unwrap();
        stage.ended("c").await;
        stage.end(pids[0], &ExitReason::Kill).await;
        stage.ended("a").await;
        stage.ended("b").await;
        stage.all_started(&["a", "b"]).await;
        stage.quiet().await;
        assert_eq!(stage.supervisor.enable_child("c").await.unwrap(), Some(stage.started("c").await));
        stage.node.stop().await;
    }
}
