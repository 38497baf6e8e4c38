//! From loaded to running to ended (M).

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad::application::{ApplicationError, ApplicationMode, ApplicationSpec, MemberSpec, StartOptions};
use postroad::registrar::ApplicationState;
use postroad::{Actor, Context, Environment, ExitReason, Pid, SpawnError, StartError};

use super::support::{builder, node};
use super::{Member, Settings, member, names, settled, three};

#[tokio::test]
async fn conformance_m01_m02_m03_an_application_starts_with_the_node_and_its_processes_know_it() {
    let spec = three("shop").0.version("1.2").description("sells").weight(3).depends_on("store");
    let currency = |currency: &str| {
        let mut environment = Environment::new();
        environment.set("currency", &currency.to_owned()).unwrap();
        environment
    };
    let spec = spec.environment(currency("guilder"));
    let store = ApplicationSpec::new("store").member(member("db"));
    let node = builder("apps").environment(currency("florin"));
    let node = node.application(spec).application(store).start().await.unwrap();
    assert_eq!(names(node.applications()), ["shop", "store"]);
    assert_eq!(names(node.running_applications()), ["store", "shop"], "in the order they were started");
    let info = node.application_info("shop").unwrap();
    assert_eq!((info.version.as_str(), info.description.as_str(), info.weight), ("1.2", "sells", 3));
    assert_eq!((info.state, info.mode), (ApplicationState::Running, ApplicationMode::Temporary));
    assert_eq!(names(info.depends), ["store"]);
    assert!(info.uptime.is_some());
    assert_eq!(info.members, ["a", "b", "c"].map(|name| node.whereis(name).unwrap()));
    assert_eq!(node.call::<String>("b", 0u8).await.unwrap(), "shop guilder");
    assert_eq!(node.call::<String>("db", 0u8).await.unwrap(), "store florin");
    let child: Pid = node.call("b", true).await.unwrap();
    assert_eq!(node.call::<String>(child, 0u8).await.unwrap(), "shop guilder");
    node.stop().await;
}

#[tokio::test]
async fn conformance_m04_m05_what_runs_is_stopped_before_it_is_unloaded() {
    let node = node("apps").await;
    let (spec, mut ends) = three("shop");
    node.load_application(spec.clone()).unwrap();
    assert!(matches!(node.load_application(spec), Err(ApplicationError::Taken { .. })));
    node.stop_application("shop").await.unwrap();
    node.start_application("shop").await.unwrap();
    let again = node.start_application("shop").await;
    assert!(matches!(again, Err(ApplicationError::Running { .. })), "{again:?}");
    assert!(matches!(node.unload_application("shop"), Err(ApplicationError::Running { .. })));
    node.stop_application("shop").await.unwrap();
    assert_eq!(ends.recv().await, Some(ExitReason::Shutdown));
    assert_eq!(node.process_count(), 0);
    assert_eq!(node.application_info("shop").unwrap().state, ApplicationState::Loaded);
    node.start_application("shop").await.unwrap();
    node.kill_application("shop").await.unwrap();
    assert_eq!(ends.recv().await, Some(ExitReason::Kill));
    node.unload_application("shop").unwrap();
    assert!(matches!(node.unload_application("shop"), Err(ApplicationError::Unknown { .. })));
    assert!(matches!(node.start_application("shop").await, Err(ApplicationError::Unknown { .. })));
    assert!(node.applications().is_empty());
    node.stop().await;
}

#[tokio::test]
async fn conformance_m06_m07_what_is_needed_is_started_first() {
    let node = node("apps").await;
    node.load_application(three("shop").0.depends_on("store")).unwrap();
    let missing = node.start_application("shop").await.unwrap_err();
    assert_eq!(missing.to_string(), "dependency fail: shop needs store, which is not loaded");
    let settings = Settings::default();
    settings.refuses.store(true, Ordering::SeqCst);
    let store = ApplicationSpec::new("store").member(MemberSpec::new::<Member>(settings.clone()));
    node.load_application(store).unwrap();
    let failed =
        node.start_application_with("shop", StartOptions::new().mode(ApplicationMode::Permanent)).await;
    assert!(matches!(failed, Err(ApplicationError::Dependency { .. })), "{failed:?}");
    assert!(node.running_applications().is_empty());
    settings.refuses.store(false, Ordering::SeqCst);
    node.start_application_with("shop", StartOptions::new().mode(ApplicationMode::Permanent)).await.unwrap();
    assert_eq!(names(node.running_applications()), ["store", "shop"]);
    assert_eq!(node.application_info("shop").unwrap().mode, ApplicationMode::Permanent);
    node.stop().await;
}

#[tokio::test]
async fn who_needs_each_other_is_refused_by_the_way_round() {
    let node = node("apps").await;
    for (name, needs) in [("a", "b"), ("b", "c"), ("c", "b")] {
        node.load_application(ApplicationSpec::new(name).member(member(name)).depends_on(needs)).unwrap();
    }
    let refused = node.start_application("a").await.unwrap_err();
    assert_eq!(refused.to_string(), "dependency fail: each of these needs the next one: b -> c -> b");
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[tokio::test]
async fn conformance_m08_m09_m10_what_the_end_of_a_member_means_is_the_mode() {
    use ApplicationMode::{Permanent, Temporary, Transient};
    let error = ExitReason::error("on fire");
    for (mode, reason, ends) in [
        (Temporary, ExitReason::Normal, false),
        (Temporary, error.clone(), false),
        (Transient, ExitReason::Normal, false),
        (Transient, ExitReason::Shutdown, false),
        (Transient, error.clone(), true),
        (Transient, ExitReason::Kill, true),
        (Permanent, ExitReason::Normal, true),
        (Permanent, error, true),
    ] {
        let node = node("apps").await;
        let (spec, mut end) = three("shop");
        node.load_application(spec.mode(mode)).unwrap();
        node.start_application("shop").await.unwrap();
        let all = node.application_info("shop").unwrap().members;
        let finish = async |pid| match &reason {
            ExitReason::Kill => assert!(node.kill(pid)),
            _ => node.send_exit(pid, reason.clone()).await.unwrap(),
        };
        finish(all[1]).await;
        if ends {
            assert_eq!(end.recv().await, Some(reason.clone()), "{mode:?} {reason}");
        } else {
            node.ended(all[1]).await;
            assert_eq!(names(node.running_applications()), ["shop"], "{mode:?} {reason}");
            finish(all[0]).await;
            finish(all[2]).await;
            assert_eq!(end.recv().await, Some(ExitReason::Normal), "{mode:?} {reason}");
        }
        settled(&node, "shop").await;
        assert_eq!(node.process_count(), 0);
        assert!(node.running_applications().is_empty());
        end.try_recv().unwrap_err();
        node.stop().await;
    }
}

#[tokio::test]
async fn conformance_m11_a_member_that_does_not_start_takes_the_others_back() {
    let node = node("apps").await;
    let settings = Settings::default();
    settings.refuses.store(true, Ordering::SeqCst);
    let (spec, mut ends) = three("shop");
    node.load_application(spec.member(MemberSpec::new::<Member>(settings.clone()))).unwrap();
    let failed = node.start_application("shop").await;
    let Err(ApplicationError::Member { member: 3, source: SpawnError::Init(reason), .. }) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(reason, ExitReason::error("not today"));
    assert_eq!(node.process_count(), 0, "those that had started were killed");
    assert_eq!(node.application_info("shop").unwrap().state, ApplicationState::Loaded);
    ends.try_recv().unwrap_err();
    settings.refuses.store(false, Ordering::SeqCst);
    node.start_application("shop").await.unwrap();
    node.stop().await;
}

/// Who waits for the end of one run does not see each phase that follows.
#[tokio::test(start_paused = true)]
async fn who_stops_an_application_is_not_held_up_by_its_next_run() {
    let node = builder("apps").network(postroad::NetworkMode::Disabled).start().await.unwrap();
    node.load_application(three("shop").0).unwrap();
    node.start_application("shop").await.unwrap();
    let mut stopping = std::pin::pin!(node.stop_application("shop"));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(stopping.as_mut().poll(cx).is_pending()));
    assert!(begun.await, "its members have not ended");
    while let Err(ApplicationError::Busy { .. }) = node.start_application("shop").await {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.application_info("shop").unwrap().state, ApplicationState::Running);
    stopping.await.unwrap();
    node.stop().await;
}

/// Never begins.
struct Stuck;

impl Actor for Stuck {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_init_never_ends_is_given_up() {
    let node = builder("apps").network(postroad::NetworkMode::Disabled).start().await.unwrap();
    let spec = three("shop").0.member(MemberSpec::new::<Stuck>(()).init_timeout(Duration::from_secs(2)));
    node.load_application(spec).unwrap();
    let failed = node.start_application("shop").await;
    assert!(matches!(failed, Err(ApplicationError::MemberTimeout { member: 3, .. })), "{failed:?}");
    assert_eq!(node.process_count(), 0);

    let given_up = tokio::time::timeout(Duration::from_secs(1), node.start_application("shop"));
    given_up.await.unwrap_err();
    assert_eq!(node.application_info("shop").unwrap().state, ApplicationState::Loaded);
    let again = loop {
        match node.start_application("shop").await.unwrap_err() {
            ApplicationError::Busy { .. } => tokio::task::yield_now().await,
            error => break error,
        }
    };
    assert!(matches!(again, ApplicationError::MemberTimeout { .. }), "the names are free: {again:?}");
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn conformance_m12_a_member_that_does_not_end_keeps_its_application_stopping() {
    let node = builder("apps").network(postroad::NetworkMode::Disabled).start().await.unwrap();
    let clings = Settings { clings: true, ..Settings::default() };
    node.load_application(three("shop").0.member(MemberSpec::new::<Member>(clings))).unwrap();
    node.start_application("shop").await.unwrap();
    let late = node.stop_application("shop").await.unwrap_err();
    assert_eq!(late.to_string(), "application stopping is in progress: shop has not ended after 5s");
    assert_eq!(node.application_info("shop").unwrap().state, ApplicationState::Stopping);
    let busy = node.start_application("shop").await;
    assert!(matches!(busy, Err(ApplicationError::Busy { .. })), "{busy:?}");
    node.kill_application("shop").await.unwrap();
    assert_eq!(node.process_count(), 0);
    node.stop().await;
}

#[tokio::test]
async fn what_makes_no_application_is_refused() {
    let node = node("apps").await;
    let empty = node.load_application(ApplicationSpec::new("shop"));
    assert!(matches!(empty, Err(ApplicationError::Empty { .. })));
    let nameless = node.load_application(ApplicationSpec::new("").member(member("a")));
    assert!(matches!(nameless, Err(ApplicationError::Name(_))));
    node.stop().await;
    let failed = builder("apps").application(three("shop").0.depends_on("store")).start().await;
    assert!(matches!(failed, Err(StartError::Application(_))), "{failed:?}");
}
