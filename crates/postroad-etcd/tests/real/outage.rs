//! A node loses etcd, or etcd loses a node.

use std::time::{Duration, Instant};

use postroad::registrar::{
    ApplicationMode, ApplicationRoute, ApplicationState, ConfigValue, Registrar, RegistrarEvent,
};
use postroad_etcd::EtcdOptions;

use crate::etcd::Etcd;
use crate::forwarder::Forwarder;
use crate::{Member, atom, unique};

const NODES: &str = "services/ergo/cluster/default/routes/nodes/";
const ONE_ROUTE: &str = "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRlnQAAAAEAACuIAAADRUhTAAJSMQAAAANNSVQAA0VOUAACUjEAAAADTUlU";

fn webapp(node: &Member) -> ApplicationRoute {
    ApplicationRoute {
        node: node.name(),
        name: atom("webapp"),
        weight: 1,
        tags: Vec::new(),
        mode: Some(ApplicationMode::Permanent),
        state: ApplicationState::Running,
    }
}

/// With a lease that outlasts the outage, so that others need not notice it.
async fn behind(forwarder: &Forwarder, name: &str) -> Member {
    let options = EtcdOptions::new([format!("127.0.0.1:{}", forwarder.port)]);
    Member::start(&unique(name), options.lease_ttl(Duration::from_secs(60))).await
}

#[tokio::test]
async fn what_changed_during_an_outage_is_told_after_it_and_others_notice_nothing() {
    let etcd = Etcd::start();
    for node in ["stays@h", "leaves@h", "returns@h"] {
        etcd.put(&format!("{NODES}{node}"), ONE_ROUTE);
    }
    etcd.put("services/ergo/config/global/x", "int:1");
    let forwarder = Forwarder::to(etcd.client_port(0)).await;
    let mut a = behind(&forwarder, "a").await;
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    a.event(&RegistrarEvent::NodeJoined { node: watcher.name() }).await;
    a.registrar.register_application(webapp(&a)).await.unwrap();
    let started = |event: &RegistrarEvent| matches!(event, RegistrarEvent::ApplicationStarted { .. });
    a.event_that(started).await;
    watcher.event_that(started).await;

    forwarder.cut();
    a.disconnected().await;
    // An error now, and done all the same as soon as etcd is back.
    let later = ApplicationRoute { name: atom("later"), ..webapp(&a) };
    assert!(a.registrar.register_application(later).await.is_err());
    assert!(a.registrar.unregister_application(atom("webapp")).await.is_err());
    etcd.delete(&format!("{NODES}leaves@h"));
    etcd.delete(&format!("{NODES}returns@h"));
    etcd.put(&format!("{NODES}returns@h"), ONE_ROUTE);
    etcd.put(&format!("{NODES}new@h"), ONE_ROUTE);
    etcd.put("services/ergo/config/global/x", "int:2");
    // The revision to go on from is not there any more.
    etcd.compact();
    forwarder.mend();

    let mut told = a.event(&RegistrarEvent::Connected).await;
    let expected = [
        RegistrarEvent::NodeLeft { node: atom("leaves@h") },
        RegistrarEvent::NodeLeft { node: atom("returns@h") },
        RegistrarEvent::NodeJoined { node: atom("new@h") },
        RegistrarEvent::NodeJoined { node: atom("returns@h") },
        RegistrarEvent::ConfigUpdated {
            item: "x".into(),
            old: Some(ConfigValue::Int(1)),
            value: Some(ConfigValue::Int(2)),
        },
    ];
    for event in &expected {
        let at = told.iter().position(|told| told == event).unwrap_or_else(|| panic!("{event:?}: {told:?}"));
        told.remove(at);
    }
    assert_eq!(told, []);

    // Others see what changed about the applications, and no end of the node.
    let (name, node) = (atom("webapp"), a.name());
    let before = watcher.event(&RegistrarEvent::ApplicationStopped { name, node }).await;
    let of_a = |event: &RegistrarEvent| matches!(event, RegistrarEvent::NodeLeft { node } | RegistrarEvent::NodeJoined { node } if *node == a.name());
    assert!(!before.iter().any(of_a), "{before:?}");
    assert!(before.iter().any(started), "the later one: {before:?}");
}

#[tokio::test]
async fn a_compaction_during_an_outage_of_nothing_else_is_nothing() {
    let etcd = Etcd::start();
    let forwarder = Forwarder::to(etcd.client_port(0)).await;
    let mut a = behind(&forwarder, "a").await;
    a.event(&RegistrarEvent::Connected).await;
    forwarder.cut();
    a.disconnected().await;
    etcd.put("services/ergo/elsewhere", "x");
    etcd.compact();
    forwarder.mend();
    assert_eq!(a.event(&RegistrarEvent::Connected).await, []);
    etcd.put(&format!("{NODES}new@h"), ONE_ROUTE);
    assert_eq!(a.event(&RegistrarEvent::NodeJoined { node: atom("new@h") }).await, []);
}

#[tokio::test]
async fn a_node_whose_lease_was_revoked_registers_again_with_its_applications() {
    let etcd = Etcd::start();
    let ttl = Duration::from_secs(2);
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    let before = etcd.leases();
    let a = Member::start(&unique("a"), etcd.options().lease_ttl(ttl)).await;
    a.registrar.register_application(webapp(&a)).await.unwrap();
    let node = a.name();
    let started = |event: &RegistrarEvent| matches!(event, RegistrarEvent::ApplicationStarted { .. });
    watcher.event_that(started).await;
    let lease = etcd.leases().into_iter().find(|lease| !before.contains(lease)).expect("that of a");
    etcd.ctl(&["lease", "revoke", &lease]);
    let (before, _) = watcher.event_that(|event| *event == RegistrarEvent::NodeJoined { node }).await;
    assert!(before.contains(&RegistrarEvent::NodeLeft { node }), "{before:?}");
    assert!(
        before.contains(&RegistrarEvent::ApplicationStopped { name: atom("webapp"), node }),
        "{before:?}"
    );
    watcher.event_that(started).await;
    watcher.node.network().connect(node.as_str()).await.unwrap();
}

#[tokio::test]
async fn a_key_that_somebody_removed_comes_back() {
    let etcd = Etcd::start();
    let mut a = Member::start(&unique("a"), etcd.options()).await;
    a.event(&RegistrarEvent::Connected).await;
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    let node = a.name();
    watcher.event(&RegistrarEvent::NodeJoined { node }).await;
    etcd.delete(&format!("{NODES}{node}"));
    watcher.event(&RegistrarEvent::NodeLeft { node }).await;
    watcher.event(&RegistrarEvent::NodeJoined { node }).await;
    assert_eq!(etcd.leases().len(), 2, "on the same lease");
}

#[tokio::test]
async fn a_name_lost_to_another_node_during_an_outage_is_not_taken_back() {
    let etcd = Etcd::start();
    let forwarder = Forwarder::to(etcd.client_port(0)).await;
    let mut a = behind(&forwarder, "a").await;
    forwarder.cut();
    a.disconnected().await;
    let key = format!("{NODES}{}", a.name());
    etcd.ctl(&["lease", "revoke", &etcd.leases()[0]]);
    etcd.put(&key, ONE_ROUTE);
    forwarder.mend();
    // It goes on trying; when the name is free it is its own again.
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    assert_eq!(etcd.get(&key).as_deref(), Some(ONE_ROUTE));
    etcd.delete(&key);
    watcher.event(&RegistrarEvent::NodeJoined { node: a.name() }).await;
    a.event(&RegistrarEvent::Connected).await;
    assert_ne!(etcd.get(&key).as_deref(), Some(ONE_ROUTE));
}

#[tokio::test]
async fn a_node_stops_in_time_although_etcd_hangs() {
    let etcd = Etcd::start();
    let a = Member::start(&unique("a"), etcd.options()).await;
    etcd.freeze(0);
    let began = Instant::now();
    a.node.stop().await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    etcd.thaw(0);
}

#[tokio::test]
async fn conformance_z18_a_lease_that_ends_behind_a_partition_is_replaced_when_that_heals() {
    let etcd = Etcd::start();
    let forwarder = Forwarder::to(etcd.client_port(0)).await;
    let options = EtcdOptions::new([format!("127.0.0.1:{}", forwarder.port)]);
    let mut a = Member::start(&unique("a"), options.lease_ttl(Duration::from_secs(2))).await;
    let (node, first) = (a.name(), etcd.leases());
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    watcher.event(&RegistrarEvent::NodeJoined { node }).await;
    forwarder.cut();
    a.disconnected().await;
    watcher.event(&RegistrarEvent::NodeLeft { node }).await;
    assert_eq!(etcd.get(&format!("{NODES}{node}")), None);
    forwarder.mend();
    watcher.event(&RegistrarEvent::NodeJoined { node }).await;
    assert!(!etcd.leases().contains(&first[0]), "on another lease");
    watcher.node.network().connect(node.as_str()).await.unwrap();
}

/// Whatever becomes of a node's way to etcd: as long as its lease lives, others
/// notice nothing.
#[tokio::test]
async fn conformance_z20_three_outages_in_a_row_are_no_end_of_a_node() {
    let etcd = Etcd::start();
    let forwarder = Forwarder::to(etcd.client_port(0)).await;
    let mut a = behind(&forwarder, "a").await;
    a.event(&RegistrarEvent::Connected).await;
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    watcher.event(&RegistrarEvent::NodeJoined { node: a.name() }).await;
    watcher.event(&RegistrarEvent::Connected).await;
    let lease = etcd.leases();
    for item in ["one", "two", "three"] {
        forwarder.cut();
        a.disconnected().await;
        etcd.put(&format!("services/ergo/config/global/{item}"), "x");
        forwarder.mend();
        let missed = a.event(&RegistrarEvent::Connected).await;
        let told = |event: &RegistrarEvent| matches!(event, RegistrarEvent::ConfigUpdated { item: told, .. } if **told == *item);
        assert_eq!(missed.iter().filter(|event| told(event)).count(), 1, "{missed:?}");
    }
    assert_eq!(etcd.leases(), lease);
    let last = |event: &RegistrarEvent| matches!(event, RegistrarEvent::ConfigUpdated { item, .. } if **item == *"three");
    let (before, _) = watcher.event_that(last).await;
    let about_nodes = |event: &RegistrarEvent| {
        matches!(event, RegistrarEvent::NodeLeft { .. } | RegistrarEvent::NodeJoined { .. })
    };
    assert!(!before.iter().any(about_nodes), "{before:?}");
}
