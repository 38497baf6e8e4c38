//! Gateways announce themselves, and are found.

use std::sync::Arc;

use postroad::Atom;
use postroad::network::routes::Names;
use postroad::network::{NetworkRoute, TransitOptions, TransitRule, exact};
use postroad::registrar::{ProxyEndpoint, Registrar, RegistrarError, RegistrarEvent, ResolveError, Resolver};
use postroad_etcd::EtcdRegistrar;

use crate::etcd::Etcd;
use crate::{Member, atom, builder, unique, within};

const PROXIES: &str = "services/ergo/cluster/default/postroad/proxies/";

/// A gateway to the nodes of the private network, that says so.
async fn gateway(etcd: &Etcd) -> Member {
    let rule = TransitRule::new(".*", "private-.*").unwrap();
    let transit = TransitOptions::new().allow(rule).announce(true);
    let registrar = EtcdRegistrar::new(etcd.options()).unwrap();
    let events = registrar.subscribe().unwrap();
    let node = builder(&unique("gateway")).transit(transit).registrar(Arc::new(registrar.clone()));
    Member { node: node.start().await.unwrap(), registrar, events }
}

/// Waits until these are the proxies to a node, as that member knows.
async fn knows(member: &Member, to: Atom, proxies: &[Atom]) {
    within(async {
        loop {
            let known = match member.registrar.resolve_proxy(to).await {
                Ok(known) => known.iter().map(|found| found.proxy).collect(),
                Err(ResolveError::Unknown) => Vec::new(),
                Err(error) => panic!("{error}"),
            };
            if known == proxies {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn conformance_z13_a_gateway_that_announces_itself_is_found_and_gone_through() {
    let etcd = Etcd::start();
    let client = Member::start(&unique("client"), etcd.options()).await;
    let target = builder(&unique("private")).without_registrar().start().await.unwrap();
    let (first, second) = (gateway(&etcd).await, gateway(&etcd).await);
    for gateway in [&first, &second] {
        let port = target.network().acceptors()[0].address.port();
        let route = NetworkRoute::to("127.0.0.1", port);
        gateway.node.network().add_route(&exact(target.name().as_str()), route, 1).unwrap();
    }
    knows(&client, target.name(), &[first.name(), second.name()]).await;
    knows(&client, atom("nobody@127.0.0.1"), &[]).await;
    let value = etcd.get(&format!("{PROXIES}{}", first.name()));
    assert_eq!(value.as_deref(), Some(r#"{"to":["private-.*"]}"#));

    // Those that one is connected with go first.
    client.node.network().connect(second.name().as_str()).await.unwrap();
    let network = client.node.network();
    let plan = network.explain(target.name().as_str()).await.unwrap().to_string();
    let through = |gateway: &Member| plan.find(&format!("discovery: through {}", gateway.name()));
    assert!(through(&second).is_some() && through(&second) < through(&first), "{plan}");
    network.connect(target.name().as_str()).await.unwrap();
    let path = || network.peer(target.name().as_str()).unwrap().path;
    assert_eq!(path(), [client.name(), second.name(), target.name()]);

    // A resolver that is nobody's registrar knows as well.
    let apart = EtcdRegistrar::new(etcd.options()).unwrap();
    let to = target.name();
    let found = apart.resolve_proxy(to).await.unwrap();
    assert_eq!(found, [&first, &second].map(|gateway| ProxyEndpoint { to, proxy: gateway.name() }));

    // Who takes no new tunnels says so, and who has gone leaves nothing behind.
    second.node.network().drain_transit(true);
    knows(&client, to, &[first.name()]).await;
    second.node.network().drain_transit(false);
    knows(&client, to, &[first.name(), second.name()]).await;
    first.node.stop().await;
    assert_eq!(etcd.get(&format!("{PROXIES}{}", first.name())), None);
    knows(&client, to, &[second.name()]).await;
}

#[tokio::test]
async fn an_announcement_that_somebody_removed_comes_back_with_its_node() {
    let etcd = Etcd::start();
    let mut client = Member::start(&unique("client"), etcd.options()).await;
    let gateway = gateway(&etcd).await;
    let joined = RegistrarEvent::NodeJoined { node: gateway.name() };
    client.event(&joined).await;
    let key = format!("{PROXIES}{}", gateway.name());
    etcd.delete(&key);
    etcd.delete(&format!("services/ergo/cluster/default/routes/nodes/{}", gateway.name()));
    client.event(&joined).await;
    knows(&client, atom("private-7@127.0.0.1"), &[gateway.name()]).await;
    assert!(etcd.get(&key).is_some());
}

/// What others have written, and what makes no sense.
#[tokio::test]
async fn announcements_are_data_of_strangers() {
    let etcd = Etcd::start();
    etcd.put(&format!("{PROXIES}no-node"), r#"{"to":[".*"]}"#);
    etcd.put(&format!("{PROXIES}b@dmz"), "garbage");
    etcd.put(&format!("{PROXIES}a@dmz"), r#"{"to":["(", "db@private"]}"#);
    let mut a = Member::start(&unique("a"), etcd.options()).await;
    knows(&a, atom("db@private"), &[atom("a@dmz")]).await;
    assert!(a.told().iter().all(|event| *event == RegistrarEvent::Connected), "no nodes are made of them");
    etcd.delete(&format!("{PROXIES}a@dmz"));
    knows(&a, atom("db@private"), &[]).await;

    let to = || Names::matching("db@private").unwrap();
    let before = EtcdRegistrar::new(etcd.options()).unwrap();
    assert!(matches!(before.register_proxy(to()).await, Err(RegistrarError::Terminated)));
    assert!(matches!(a.registrar.unregister_proxy(to()).await, Err(RegistrarError::Unknown)));
    a.registrar.register_proxy(to()).await.unwrap();
    for number in 1..16 {
        let more = Names::matching(&format!("private-{number}")).unwrap();
        a.registrar.register_proxy(more).await.unwrap();
    }
    let refused = a.registrar.register_proxy(Names::matching("too-much").unwrap()).await;
    assert!(matches!(refused, Err(RegistrarError::Name { .. })), "{refused:?}");
    a.registrar.unregister_proxy(to()).await.unwrap();
    for number in 1..16 {
        let more = Names::matching(&format!("private-{number}")).unwrap();
        a.registrar.unregister_proxy(more).await.unwrap();
    }
    assert_eq!(etcd.get(&format!("{PROXIES}{}", a.name())), None);
}
