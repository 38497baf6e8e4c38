//! Nodes find each other, and what Ergo nodes have written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postroad::StartError;
use postroad::network::{Discovery, NetworkRoute};
use postroad::registrar::{
    Capabilities, RegisterError, Registrar, RegistrarError, RegistrarEvent, ResolveError, Resolver,
};
use postroad_etcd::{EtcdOptions, EtcdRegistrar};

use crate::etcd::Etcd;
use crate::{Member, atom, builder, unique};

const NODES: &str = "services/ergo/cluster/default/routes/nodes/";

/// Ergo's own, with the port in the middle (`docs/discovery.md`, values).
const ONE_ROUTE: &str = "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRlnQAAAAEAACuIAAADRUhTAAJSMQAAAANNSVQAA0VOUAACUjEAAAADTUlU";

#[tokio::test]
async fn two_nodes_find_each_other() {
    let etcd = Etcd::start();
    let mut a = Member::start(&unique("a"), etcd.options()).await;
    assert_eq!(a.event(&RegistrarEvent::Connected).await, []);
    let b = Member::start(&unique("b"), etcd.options()).await;
    a.event(&RegistrarEvent::NodeJoined { node: b.name() }).await;
    assert_eq!((a.nodes().await, b.nodes().await), (BTreeSet::from([b.name()]), BTreeSet::from([a.name()])));

    let peer = a.node.network().connect(b.name().as_str()).await.unwrap();
    assert_eq!(peer.name(), b.name());
    let plan = a.node.network().explain(b.name().as_str()).await.unwrap().to_string();
    assert!(plan.contains(&format!("127.0.0.1:{}", b.port())), "{plan}");
    assert!(a.node.network().connect("nobody@127.0.0.1").await.is_err());

    let key = format!("{NODES}{}", b.name());
    assert_eq!(etcd.get(&key).map(|value| value.len()), Some(ONE_ROUTE.len()));
    assert_eq!(etcd.leases().len(), 2);
    b.node.stop().await;
    a.event(&RegistrarEvent::NodeLeft { node: b.name() }).await;
    assert_eq!((etcd.get(&key), etcd.leases().len()), (None, 1), "it leaves nothing behind");
    assert!(matches!(b.registrar.nodes().await, Err(RegistrarError::Terminated)));
    assert!(matches!(b.registrar.resolve(a.name()).await, Err(ResolveError::Terminated)));
    assert!(matches!(b.registrar.static_routes().await, Err(RegistrarError::Terminated)));
    a.node.stop().await;
}

#[tokio::test]
async fn what_ergo_has_written_is_read() {
    let etcd = Etcd::start();
    etcd.put(&format!("{NODES}demo@localhost"), ONE_ROUTE);
    etcd.put(&format!("{NODES}hidden@localhost"), "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRl/w==");
    etcd.put(&format!("{NODES}strange@localhost"), "garbage");
    etcd.put(&format!("{NODES}no-node-at-all"), ONE_ROUTE);
    let a = Member::start(&unique("a"), etcd.options()).await;
    let known = ["demo@localhost", "hidden@localhost", "strange@localhost"].map(atom);
    assert_eq!(a.nodes().await, BTreeSet::from(known));
    let apart = EtcdRegistrar::new(etcd.options()).unwrap();
    for resolver in [&a.registrar, &apart] {
        let demo = resolver.resolve(known[0]).await.unwrap();
        assert_eq!((demo.len(), demo[0].host.as_str(), demo[0].port, demo[0].tls), (1, "", 11144, false));
        assert_eq!(demo[0].handshake_version.to_string(), "EHS:R1");
        assert_eq!(resolver.resolve(known[1]).await.unwrap(), []);
        let strange = resolver.resolve(known[2]).await.unwrap_err().to_string();
        assert!(strange.contains("cannot be read"), "{strange}");
        assert!(matches!(resolver.resolve(atom("nobody@localhost")).await, Err(ResolveError::Unknown)));
    }
    assert!(matches!(apart.nodes().await, Err(RegistrarError::Terminated)), "it has no node");
    a.node.stop().await;
}

#[tokio::test]
async fn a_resolver_backs_a_static_route_of_a_node_without_registrar() {
    let etcd = Etcd::start();
    let b = Member::start(&unique("b"), etcd.options()).await;
    let resolver = Arc::new(EtcdRegistrar::new(etcd.options()).unwrap());
    let a = builder(&unique("a")).without_registrar().start().await.unwrap();
    a.network().add_route("^b-", NetworkRoute::resolve_with(resolver), 1).unwrap();
    a.network().connect(b.name().as_str()).await.unwrap();
    assert_eq!(etcd.leases().len(), 1, "only b has registered");
    b.node.stop().await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_its_owner_is_not_disturbed() {
    let etcd = Etcd::start();
    let ttl = Duration::from_secs(3);
    let mut watcher = Member::start(&unique("watcher"), etcd.options()).await;
    let first = Member::start(&unique("a"), etcd.options().lease_ttl(ttl)).await;
    watcher.event(&RegistrarEvent::NodeJoined { node: first.name() }).await;
    let began = Instant::now();
    let second = Member::try_start(first.name().as_str(), etcd.options()).await.err().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "its owner is seen to live: {:?}", began.elapsed());
    assert!(matches!(second, StartError::Register(RegisterError::Taken { node }) if node == first.name()));
    assert_eq!(etcd.leases().len(), 2, "the second one leaves nothing behind");
    watcher.node.network().connect(first.name().as_str()).await.unwrap();
    assert_eq!(watcher.told(), []);

    etcd.put(&format!("{NODES}fixed@127.0.0.1"), ONE_ROUTE);
    let fixed = Member::try_start("fixed@127.0.0.1", etcd.options()).await.err().unwrap();
    assert!(matches!(fixed, StartError::Register(RegisterError::Taken { .. })), "it never ends");
}

#[tokio::test]
async fn a_node_that_died_without_a_word_leaves_when_its_lease_ends_and_can_come_back() {
    let etcd = Etcd::start();
    let mut a = Member::start(&unique("a"), etcd.options()).await;
    let name = unique("dead");
    let lease = etcd.lease(3);
    etcd.ctl(&["put", "--lease", &lease, &format!("{NODES}{name}"), ONE_ROUTE]);
    a.event(&RegistrarEvent::NodeJoined { node: atom(&name) }).await;
    let began = Instant::now();
    let back = Member::start(&name, etcd.options()).await;
    assert!(began.elapsed() > Duration::from_secs(1), "it waited for the lease");
    a.event(&RegistrarEvent::NodeLeft { node: atom(&name) }).await;
    a.event(&RegistrarEvent::NodeJoined { node: atom(&name) }).await;
    a.node.network().connect(back.name().as_str()).await.unwrap();
}

#[tokio::test]
async fn clusters_do_not_see_each_other() {
    let etcd = Etcd::start();
    let a = Member::start(&unique("a"), etcd.options().cluster("one")).await;
    let b = Member::start(&unique("b"), etcd.options().cluster("two")).await;
    assert!(a.nodes().await.is_empty() && b.nodes().await.is_empty());
    match a.node.network().connect(b.name().as_str()).await {
        Err(postroad::network::ConnectError::NoRoute(no_route)) => {
            assert_eq!(no_route.discovery, Discovery::First);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn static_routes_are_handed_out() {
    let etcd = Etcd::start();
    let b = builder(&unique("b")).without_registrar().start().await.unwrap();
    let port = b.network().acceptors()[0].address.port();
    let route = |name: &str, value: &str| {
        etcd.put(&format!("services/ergo/cluster/default/postroad/routes/{name}"), value);
    };
    route("b", &format!(r#"{{"pattern": "^b-", "host": "127.0.0.1", "port": {port}}}"#));
    route("again", r#"{"pattern": "^b-", "host": "10.0.0.1", "port": 1, "weight": 9}"#);
    route("x-garbage", "no JSON");
    route("x-pattern", r#"{"pattern": "(", "port": 1}"#);
    route("x-port", r#"{"pattern": "x", "port": 0}"#);
    route("z-weighty", r#"{"pattern": "^z", "host": "10.0.0.2", "port": 2, "weight": 7}"#);
    // Also to who only asks.
    let apart = EtcdRegistrar::new(etcd.options()).unwrap();
    let told = apart.static_routes().await.unwrap();
    let told: Vec<_> = told.iter().map(|route| (&*route.pattern, route.weight)).collect();
    assert_eq!(told, [("^b-", 9), ("^b-", 0), ("(", 0), ("x", 0), ("^z", 7)]);
    let a = Member::start(&unique("a"), etcd.options()).await;
    let routes: Vec<_> = a
        .node
        .network()
        .routes()
        .iter()
        .map(|entry| (entry.pattern().to_owned(), entry.weight(), entry.route().to_string()))
        .collect();
    // In the order of their keys; the pattern is the key of the table.
    assert_eq!(
        routes,
        [("^b-".to_owned(), 9, "10.0.0.1:1".to_owned()), ("^z".to_owned(), 7, "10.0.0.2:2".to_owned()),]
    );
    a.node.network().remove_route("^b-").unwrap();
    etcd.delete("services/ergo/cluster/default/postroad/routes/again");
    let c = Member::start(&unique("c"), etcd.options()).await;
    c.node.network().connect(b.name().as_str()).await.unwrap();
}

/// 12 MiB of values and 1500 nodes: more than one answer takes.
#[tokio::test]
async fn large_clusters_and_long_values_come_in_pages() {
    let etcd = Etcd::start();
    for number in 0..12 {
        etcd.put_long(&format!("services/ergo/config/global/long{number}"), &vec![b'x'; 1 << 20]);
    }
    let put = |number: usize| format!("put {NODES}node{number}@h {ONE_ROUTE}\n");
    for start in (0..1500).step_by(100) {
        let puts: String = (start..start + 100).map(put).collect();
        etcd.transact(&puts);
    }
    etcd.put("services/ergo/config/global/short", "x");
    let a = Member::start(&unique("a"), etcd.options()).await;
    assert_eq!(a.nodes().await.len(), 1500);
    assert!(a.registrar.config_item("short").await.is_ok());
    assert!(matches!(a.registrar.config_item("long1").await, Err(RegistrarError::Unknown)), "too long");
}

#[tokio::test]
async fn conformance_z02_a_registrar_says_what_it_is_and_can_do() {
    let info = EtcdRegistrar::new(EtcdOptions::new(["one:1", "two:2"])).unwrap().info();
    assert_eq!((info.server.as_str(), info.embedded), ("one:1, two:2", false));
    assert_eq!(info.capabilities, Capabilities::ALL);
    assert_eq!(info.version.to_string(), format!("postroad-etcd:{}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn conformance_z14_nothing_can_be_had_of_a_registrar_that_has_ended() {
    let etcd = Etcd::start();
    etcd.put("services/ergo/config/global/x", "int:1");
    let a = Member::start(&unique("a"), etcd.options()).await;
    a.registrar.config_item("x").await.unwrap();
    a.node.stop().await;
    assert!(matches!(a.registrar.config_item("x").await, Err(RegistrarError::Terminated)));
    assert!(matches!(a.registrar.config(&["x"]).await, Err(RegistrarError::Terminated)));
    let again = builder(&unique("again")).registrar(Arc::new(a.registrar)).start().await.err().unwrap();
    assert!(matches!(again, StartError::Register(RegisterError::Used)), "{again}");
    assert_eq!(etcd.leases(), Vec::<String>::new());
}

#[tokio::test]
async fn conformance_z17_each_of_several_hears_of_the_others_and_not_of_itself() {
    let etcd = Etcd::start();
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        members.push(Member::start(&unique(name), etcd.options()).await);
    }
    let names: Vec<_> = members.iter().map(Member::name).collect();
    // A marker that all see after everything else.
    let last = Member::start(&unique("last"), etcd.options()).await;
    for member in &mut members {
        let told = member.event(&RegistrarEvent::NodeJoined { node: last.name() }).await;
        let joined: BTreeSet<_> = told
            .iter()
            .filter_map(|event| match event {
                RegistrarEvent::NodeJoined { node } => Some(*node),
                _ => None,
            })
            .collect();
        let others = names.iter().copied().filter(|name| *name != member.name()).collect();
        assert_eq!(joined, others, "{told:?}");
    }
    let first = members.remove(0);
    let gone = first.name();
    first.node.stop().await;
    for member in &mut members {
        assert_eq!(member.event(&RegistrarEvent::NodeLeft { node: gone }).await, []);
    }
}
