//! In what order a node ends what runs on it.

use std::time::Duration;

use postroad::application::{ApplicationSpec, MemberSpec};
use postroad::supervisor::{ChildSpec, Strategy, Supervisor, SupervisorSpec};
use postroad::{ExitReason, NetworkMode, NodeBuilder};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::support::builder;
use super::support::puppet::{Notice, child, puppet};
use super::{Member, Settings};

fn alone(name: &str) -> NodeBuilder {
    builder(name).network(NetworkMode::Disabled)
}

#[tokio::test]
async fn applications_end_in_the_opposite_order_and_before_all_other_processes() {
    let (log, mut ends) = mpsc::unbounded_channel();
    let settings = Settings { log: Some(log), ..Settings::default() };
    let spec = |name: &str| ApplicationSpec::new(name).member(MemberSpec::new::<Member>(settings.clone()));
    let node = alone("order")
        .application(spec("first").depends_on("needed"))
        .application(spec("needed"))
        .application(spec("last"))
        .start()
        .await
        .unwrap();
    node.spawn::<Member>(settings.clone()).await.unwrap();
    node.stop().await;
    for expected in ["last", "first", "needed", "none"] {
        assert_eq!(ends.recv().await.unwrap(), expected);
    }
    assert_eq!(node.process_count(), 0);
}

#[tokio::test]
async fn a_supervisor_ends_its_children_itself_and_a_parent_goes_first() {
    let (sender, mut events) = mpsc::unbounded_channel();
    let worker = |name: &str| ChildSpec::new::<Member>(name, Settings::default());
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(worker("a")).child(worker("b"));
    let spec = spec.on_child(move |event| {
        let _ = sender.send(format!("{event:?}"));
    });
    let node = alone("families").start().await.unwrap();
    node.spawn::<Supervisor>(spec).await.unwrap();
    let mut parent = puppet(&node).await;
    let mut infant = child(&parent, postroad::SpawnOptions::new()).await.unwrap();
    let pid = parent.pid;
    infant.act(move |ctx| Box::pin(async move { ctx.monitor(pid).await })).await.unwrap();
    node.stop().await;
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[2].starts_with("Ended") && told[2].contains("'b'"), "{told:?}");
    assert!(told[3].starts_with("Ended") && told[3].contains("'a'"), "{told:?}");
    assert_eq!(parent.told().await, Notice::Terminated(ExitReason::Shutdown));
    assert!(matches!(infant.told().await, Notice::Down(_)), "it was there when its parent ended");
    assert_eq!(infant.told().await, Notice::Terminated(ExitReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_killed_and_its_children_were_asked() {
    let node = alone("clinging").shutdown_timeout(Duration::from_secs(4)).start().await.unwrap();
    let parent = puppet(&node).await;
    let mut infant = child(&parent, postroad::SpawnOptions::new()).await.unwrap();
    // Keeps its process busy for ever.
    let busy = parent.act(|_| Box::pin(std::future::pending::<()>()));
    let busy = async { tokio::time::timeout(Duration::ZERO, busy).await.unwrap_err() };
    busy.await;
    let clings = Settings { clings: true, ..Settings::default() };
    node.spawn::<Member>(clings).await.unwrap();
    let began = Instant::now();
    node.stop().await;
    assert_eq!(node.process_count(), 0);
    assert!(began.elapsed() >= Duration::from_secs(4) && began.elapsed() < Duration::from_secs(6));
    assert_eq!(infant.told().await, Notice::Terminated(ExitReason::Shutdown), "not killed");
}

#[tokio::test(start_paused = true)]
async fn applications_that_cling_leave_others_the_time_to_end() {
    let clings = Settings { clings: true, ..Settings::default() };
    let spec = |name: &str| ApplicationSpec::new(name).member(MemberSpec::new::<Member>(clings.clone()));
    let node = alone("apps").shutdown_timeout(Duration::from_secs(4));
    let node = node.application(spec("first")).application(spec("second")).start().await.unwrap();
    let mut other = puppet(&node).await;
    node.stop().await;
    assert_eq!(node.process_count(), 0);
    assert_eq!(other.told().await, Notice::Terminated(ExitReason::Shutdown), "not killed");
}
