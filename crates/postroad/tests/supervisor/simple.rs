//! Simple-one-for-one (J).

use postroad::supervisor::{Restart, Strategy, SupervisorError, SupervisorSpec};
use postroad::{ExitReason, Pid};

use super::{ENDS, Settings, Stage, stage, worker};

fn spec(restart: Restart) -> SupervisorSpec {
    SupervisorSpec::new(Strategy::SimpleOneForOne)
        .restart(restart)
        .child(worker("a"))
        .child(worker("b"))
        .intensity(10, std::time::Duration::from_secs(5))
}

async fn five(stage: &mut Stage) -> Vec<Pid> {
    let mut pids = Vec::new();
    for number in 1..=5 {
        let settings = Settings { number, ..Settings::default() };
        let pid = stage.supervisor.start_child_with("a", settings).await.unwrap();
        assert_eq!(stage.started("a").await, pid);
        assert_eq!(stage.node.call::<u32>(pid, true).await.unwrap(), number);
        pids.push(pid);
    }
    pids
}

#[tokio::test]
async fn conformance_j01_j02_j03_children_are_started_by_request_only() {
    let mut stage = stage(spec(Restart::Transient)).await;
    assert!(stage.children().await.iter().all(|child| child.pid.is_none()));
    let unknown = stage.supervisor.start_child("nobody").await;
    assert!(matches!(unknown, Err(SupervisorError::ChildUnknown { .. })), "{unknown:?}");
    let pid = stage.supervisor.start_child("b").await.unwrap();
    assert_eq!(stage.started("b").await, pid);
    assert_eq!(stage.node.whereis("b"), None, "instances have no name");
    assert_eq!(stage.supervisor.add_child(worker("aa")).await.unwrap(), None);
    let again = stage.supervisor.add_child(worker("aa")).await;
    assert!(matches!(again, Err(SupervisorError::Duplicate { .. })));
    stage.quiet().await;
    let added = stage.supervisor.start_child("aa").await.unwrap();
    let list: Vec<_> = stage.children().await.iter().map(|child| (child.name.as_str(), child.pid)).collect();
    assert_eq!(list, [("a", None), ("b", Some(pid)), ("aa", Some(added))]);
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_j04_j09_a_disabled_child_does_not_start_and_does_not_hold_up_the_end() {
    let mut stage = stage(spec(Restart::Permanent)).await;
    let unknown = stage.supervisor.disable_child("nobody").await;
    assert!(matches!(unknown, Err(SupervisorError::ChildUnknown { .. })));
    let pids = five(&mut stage).await;
    let kept = stage.supervisor.start_child("b").await.unwrap();
    stage.started("b").await;
    stage.supervisor.disable_child("a").await.unwrap();
    for _ in &pids {
        assert_eq!(stage.ended("a").await, ExitReason::Shutdown);
    }
    let refused = stage.supervisor.start_child("a").await;
    assert!(matches!(refused, Err(SupervisorError::ChildDisabled { .. })));
    assert!(stage.children().await[0].disabled);
    assert_eq!(stage.supervisor.enable_child("a").await.unwrap(), None);
    stage.supervisor.start_child("a").await.unwrap();
    stage.started("a").await;
    assert!(stage.node.mailbox_len(kept).is_some());
    stage.end(stage.pid, &ExitReason::Shutdown).await;
    assert_eq!(stage.over().await, ExitReason::Shutdown);
}

#[tokio::test]
async fn conformance_j05_j06_j07_an_instance_is_restarted_by_the_table_with_its_own_arguments() {
    for restart in [Restart::Transient, Restart::Temporary, Restart::Permanent] {
        let mut stage = stage(spec(restart)).await;
        let pids = five(&mut stage).await;
        for (reason, pid) in ENDS.iter().zip(&pids) {
            let number: u32 = stage.node.call(*pid, true).await.unwrap();
            stage.end(*pid, reason).await;
            assert_eq!(stage.ended("a").await, *reason);
            let due = match restart {
                Restart::Transient => *reason == ExitReason::Kill,
                Restart::Temporary => false,
                Restart::Permanent => true,
            };
            if due {
                let again = stage.started("a").await;
                assert_eq!(stage.node.call::<u32>(again, true).await.unwrap(), number);
            }
            stage.quiet().await;
        }
        stage.node.stop().await;
    }
}

#[tokio::test]
async fn conformance_j08_the_supervisor_ends_with_the_reason_it_was_given() {
    let mut stage = stage(spec(Restart::Transient)).await;
    five(&mut stage).await;
    let reason = ExitReason::error("of its own");
    stage.end(stage.pid, &reason).await;
    for _ in 0..5 {
        assert_eq!(stage.ended("a").await, reason);
    }
    assert_eq!(stage.over().await, reason);
}
