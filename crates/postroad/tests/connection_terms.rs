//! What a route and an acceptor say of the connections they make: names, flags,
//! loudness (`seed/static-routes.md`, "Atom Mapping", "Per-Route Logging",
//! "Custom Network Flags").
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use postroad::edf::AtomMapping;
use postroad::network::{AcceptorOptions, CONNECTION_LOG, NetworkRoute, Nodes, exact};
use postroad::{Atom, Down, ExitReason, Message, NetworkFlags, Node, Pid, ProcessId, SpawnOptions, Watched};
use tracing::level_filters::LevelFilter;

use support::log::Log;
use support::puppet::{Notice, puppet};
use support::{COOKIE, Echo, Inbox, Probe, builder, next, node, port, probe, unique};

fn atom(name: &str) -> Atom {
    Atom::new(name).unwrap()
}

fn mapping(pairs: &[(&str, &str)]) -> AtomMapping {
    AtomMapping::new(pairs.iter().map(|(local, wire)| (atom(local), atom(wire)))).unwrap()
}

fn add_route(from: &Node, to: &Node, change: impl FnOnce(NetworkRoute) -> NetworkRoute) {
    let route = change(NetworkRoute::to("127.0.0.1", port(to)));
    from.network().add_route(&exact(to.name().as_str()), route, 0).unwrap();
}

async fn listening(name: &str, acceptor: AcceptorOptions) -> Node {
    let builder = Node::builder(unique(name)).cookie(COOKIE).acceptor(acceptor);
    builder.without_registrar().start().await.unwrap()
}

async fn named_probe(node: &Node, name: &str) -> Inbox {
    let (sender, inbox) = tokio::sync::mpsc::unbounded_channel();
    node.spawn_with::<Probe>(sender, SpawnOptions::default().name(name)).await.unwrap();
    inbox
}

/// Atoms wherever a value can have them.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(name = "#postroad/tests/Everywhere")]
struct Everywhere {
    plain: Atom,
    process: ProcessId,
    pid: Pid,
    list: Vec<Atom>,
    text: String,
}

fn everywhere(name: &str, node: Atom) -> Everywhere {
    Everywhere {
        plain: atom(name),
        process: ProcessId { name: atom(name), node },
        pid: Pid { node, id: 1005, creation: 7 },
        list: vec![atom(name), atom("nothing of the kind")],
        text: name.to_owned(),
    }
}

/// > When sending to this route, the framework automatically replaces
/// > `mynode@localhost` with `legacy_node` in all messages. On receiving, it
/// > reverses the mapping.
#[tokio::test]
async fn seed_atoms_are_replaced_on_the_way_out_and_back_on_the_way_in() {
    let (here, legacy) = (node("here").await, node("legacy").await);
    let map = mapping(&[("mynode@localhost", "legacy_node"), ("process_manager", "proc_mgr")]);
    add_route(&here, &legacy, |route| route.atom_mapping(map));
    let (pid, mut inbox) = probe(&here).await;
    let mut manager = named_probe(&legacy, "proc_mgr").await;

    let (ours, theirs) = (atom("mynode@localhost"), atom("legacy_node"));
    here.send(("process_manager", legacy.name()), everywhere("process_manager", ours)).await.unwrap();
    let mut expected = everywhere("proc_mgr", theirs);
    // A text is no atom.
    expected.text = "process_manager".into();
    assert_eq!(next::<Everywhere>(&mut manager).await, expected);

    legacy.send(pid, everywhere("proc_mgr", theirs)).await.unwrap();
    let mut expected = everywhere("process_manager", ours);
    expected.text = "proc_mgr".into();
    assert_eq!(next::<Everywhere>(&mut inbox).await, expected);
    here.stop().await;
    legacy.stop().await;
}

/// The same from the side that accepts, and names that are sent to.
#[tokio::test]
async fn an_acceptor_maps_likewise() {
    let map = mapping(&[("manager", "proc_mgr")]);
    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).atom_mapping(map);
    let modern = listening("modern", acceptor).await;
    let legacy = node("legacy").await;
    add_route(&legacy, &modern, |route| route);
    let mut inbox = named_probe(&modern, "manager").await;
    legacy.send(("proc_mgr", modern.name()), atom("proc_mgr")).await.unwrap();
    assert_eq!(next::<Atom>(&mut inbox).await, atom("manager"));
    modern.stop().await;
    legacy.stop().await;
}

/// The names of the two nodes may be mapped as any other: what they ask each
/// other is about themselves all the same.
#[tokio::test]
async fn nodes_whose_names_are_mapped_watch_and_spawn_for_each_other() {
    let (here, legacy) = (node("here").await, node("legacy").await);
    let (own, theirs) = (here.name(), legacy.name());
    let map = mapping(&[(own.as_str(), "legacy_node"), ("modern@host", theirs.as_str())]);
    add_route(&here, &legacy, |route| route.atom_mapping(map));
    legacy.network().enable_spawn::<Echo>("echo", Nodes::Any).unwrap();

    let remote = here.network().connect(theirs.as_str()).await.unwrap();
    let echo = remote.spawn("echo", SpawnOptions::new(), ()).await.unwrap();
    assert_eq!(echo.node, theirs, "it can be addressed");
    let (mut near, mut far) = (puppet(&here).await, puppet(&legacy).await);
    let (near_pid, far_pid) = (near.pid, far.pid);
    near.act(move |ctx| Box::pin(async move { ctx.monitor(echo).await })).await.unwrap();
    near.act(move |ctx| Box::pin(async move { ctx.monitor(far_pid).await })).await.unwrap();
    far.act(move |ctx| Box::pin(async move { ctx.monitor(near_pid).await })).await.unwrap();
    let down = |pid| Notice::Down(Down { subject: Watched::Pid(pid), reason: ExitReason::Kill });
    assert!(legacy.kill(echo));
    assert_eq!(near.told().await, down(echo));

    // And a message has them as the mapping says.
    let mut manager = named_probe(&legacy, "manager").await;
    here.send(("manager", theirs), own).await.unwrap();
    assert_eq!(next::<Atom>(&mut manager).await, atom("legacy_node"));
    assert!(here.kill(near_pid));
    assert_eq!(far.told().await, down(near_pid));
    here.stop().await;
    legacy.stop().await;
}

/// One connection has a mapping, another of the same node has none.
#[tokio::test]
async fn a_mapping_holds_for_its_connection_only() {
    let (here, legacy, other) = (node("here").await, node("legacy").await, node("other").await);
    add_route(&here, &legacy, |route| route.atom_mapping(mapping(&[("a", "b")])));
    add_route(&here, &other, |route| route);
    let (mapped, mut mapped_inbox) = probe(&legacy).await;
    let (plain, mut plain_inbox) = probe(&other).await;
    here.send(mapped, atom("a")).await.unwrap();
    here.send(plain, atom("a")).await.unwrap();
    assert_eq!(next::<Atom>(&mut mapped_inbox).await, atom("b"));
    assert_eq!(next::<Atom>(&mut plain_inbox).await, atom("a"));
    for node in [here, legacy, other] {
        node.stop().await;
    }
}

#[test]
fn a_mapping_that_cannot_be_reversed_is_refused() {
    let pairs = [(atom("one"), atom("same")), (atom("two"), atom("same"))];
    assert_eq!(AtomMapping::new(pairs).unwrap_err().to_string(), "both one and two would be sent as same");
    let pairs = [(atom("one"), atom("a")), (atom("one"), atom("b"))];
    assert_eq!(AtomMapping::new(pairs).unwrap_err().to_string(), "one is mapped twice");
}

/// > But when debugging a specific connection, you want TRACE logs for that
/// > connection without drowning in logs from all other connections. Per-route
/// > logging gives you surgical debugging.
#[tokio::test]
async fn seed_a_route_has_a_log_level_of_its_own() {
    let log = Log::start();
    let (here, loud, quiet, usual) =
        (node("here").await, node("loud").await, node("quiet").await, node("usual").await);
    add_route(&here, &loud, |route| route.log_level(LevelFilter::TRACE));
    add_route(&here, &quiet, |route| route.log_level(LevelFilter::OFF));
    add_route(&here, &usual, |route| route);
    for peer in [&loud, &quiet, &usual] {
        let (pid, mut inbox) = probe(peer).await;
        here.send(pid, 1i64).await.unwrap();
        assert_eq!(next::<i64>(&mut inbox).await, 1);
    }
    let own = |peer: &Node| format!("peer={}", peer.name());
    log.says(&[CONNECTION_LOG, "TRACE", "frame out", &own(&loud), "Message"]).await;
    log.says(&[CONNECTION_LOG, "DEBUG", "dialing", &own(&loud), "weight 0"]).await;
    log.says(&["INFO postroad::network", "connected", &own(&usual)]).await;
    assert_eq!(log.count(&own(&quiet)), 0, "nothing at all is said of it");
    assert_eq!(log.find(&[CONNECTION_LOG, &own(&usual)]), None, "it has no level of its own");
    for node in [here, loud, quiet, usual] {
        node.stop().await;
    }
}

/// > Custom flags let you expose only the features you're comfortable with for
/// > that specific connection.
#[tokio::test]
async fn seed_flags_are_announced_as_the_route_and_the_acceptor_allow() {
    let open = node("open").await;
    let acceptor = AcceptorOptions::bind("127.0.0.1", 0).network_flags(NetworkFlags::NONE);
    let closed = listening("closed", acceptor).await;
    let caller = node("caller").await;
    add_route(&caller, &closed, |route| route);
    add_route(&caller, &open, |route| route.network_flags(NetworkFlags::NONE));

    let mut arrivals = [open.network().subscribe(), closed.network().subscribe()];
    let closed_says = caller.network().connect(closed.name().as_str()).await.unwrap().info().flags;
    assert_eq!(closed_says, NetworkFlags::NONE);
    let open_says = caller.network().connect(open.name().as_str()).await.unwrap().info().flags;
    assert!(open_says.allows(NetworkFlags::ENABLE));
    for arrival in &mut arrivals {
        arrival.recv().await.unwrap();
    }
    let seen = |by: &Node| by.network().peer(caller.name().as_str()).unwrap().flags;
    assert_eq!(seen(&open), NetworkFlags::NONE);
    assert!(seen(&closed).allows(NetworkFlags::ENABLE));
    for node in [open, closed, caller] {
        node.stop().await;
    }
}

/// A route cannot give what the node withholds.
#[tokio::test]
async fn a_route_allows_no_more_than_the_node() {
    let shy = builder("shy").network_flags(NetworkFlags::NONE).start().await.unwrap();
    let peer = node("peer").await;
    add_route(&shy, &peer, |route| route.network_flags(NetworkFlags::from_bits(u64::MAX)));
    let mut arrival = peer.network().subscribe();
    shy.network().connect(peer.name().as_str()).await.unwrap();
    arrival.recv().await.unwrap();
    assert_eq!(peer.network().peer(shy.name().as_str()).unwrap().flags, NetworkFlags::NONE);
    shy.stop().await;
    peer.stop().await;
}
