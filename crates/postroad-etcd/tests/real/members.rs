//! Several members, and one that comes back.

use std::collections::BTreeSet;

use postroad::registrar::{Registrar, RegistrarEvent, Resolver};

use crate::etcd::Etcd;
use crate::{Member, atom, unique};

#[tokio::test]
async fn one_of_three_members_is_killed() {
    let mut etcd = Etcd::of(3);
    let mut a = Member::start(&unique("a"), etcd.options()).await;
    let mut b = Member::start(&unique("b"), etcd.options()).await;
    a.event(&RegistrarEvent::NodeJoined { node: b.name() }).await;
    // All ask the first one first.
    etcd.kill(0);
    let c = Member::start(&unique("c"), etcd.options()).await;
    for member in [&mut a, &mut b] {
        let before = member.event(&RegistrarEvent::NodeJoined { node: c.name() }).await;
        let left = before.iter().any(|event| matches!(event, RegistrarEvent::NodeLeft { .. }));
        assert!(!left, "nobody seems to leave: {before:?}");
    }
    assert_eq!(c.nodes().await, BTreeSet::from([a.name(), b.name()]));
    c.node.network().connect(a.name().as_str()).await.unwrap();
    etcd.restart(0);
    a.node.stop().await;
    b.event(&RegistrarEvent::NodeLeft { node: a.name() }).await;
    assert_eq!(etcd.leases().len(), 2);
}

#[tokio::test]
async fn etcd_is_restarted_with_its_data() {
    let mut etcd = Etcd::start();
    etcd.put("services/ergo/config/global/x", "int:1");
    let mut a = Member::start(&unique("a"), etcd.options()).await;
    let mut b = Member::start(&unique("b"), etcd.options()).await;
    a.event(&RegistrarEvent::NodeJoined { node: b.name() }).await;
    b.event(&RegistrarEvent::Connected).await;
    etcd.kill(0);
    a.disconnected().await;
    b.disconnected().await;
    assert!(!a.registrar.is_connected());

    // The nodes live on, with what they know.
    assert_eq!(a.nodes().await, BTreeSet::from([b.name()]));
    assert_eq!(a.registrar.config_item("x").await.unwrap().as_int(), Some(1));
    a.node.network().connect(b.name().as_str()).await.unwrap();
    let unknown = a.registrar.resolve(atom("new@127.0.0.1")).await.unwrap_err().to_string();
    assert!(unknown.contains("etcd is gone"), "{unknown}");

    etcd.restart(0);
    for member in [&mut a, &mut b] {
        let meanwhile = member.event(&RegistrarEvent::Connected).await;
        assert_eq!(meanwhile, [], "nobody left, nothing changed, and it was said once");
        assert!(member.registrar.is_connected());
    }
    let c = Member::start(&unique("c"), etcd.options()).await;
    assert_eq!(a.event(&RegistrarEvent::NodeJoined { node: c.name() }).await, []);
    assert_eq!(b.event(&RegistrarEvent::NodeJoined { node: c.name() }).await, []);
}
