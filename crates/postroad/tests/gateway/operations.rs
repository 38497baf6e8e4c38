//! What may be done through a tunnel, at both ends.

use postroad::application::{ApplicationSpec, MemberSpec};
use postroad::edf::ErrorValue;
use postroad::network::{
    NetworkProxyRoute, Nodes, ProxyFlags, RemoteSpawnError, RemoteStartError, TransitOptions, TransitRule,
    exact,
};
use postroad::{
    Atom, Down, Exit, ExitReason, NetworkFlags, Node, Pid, Ref, RelationError, SendError, SpawnOptions,
    Watched,
};
use postroad_wire::enp::any::{ApplicationStart, Request, Spawn, Verb, Watch, WatchTarget};
use postroad_wire::enp::{Delivery, Head, Target};
use postroad_wire::tunnel;
use tokio::io::AsyncWriteExt;

use crate::liar::{Client, Gateway, read};
use crate::support::puppet::{Notice, Strings, Wish, puppet, wish};
use crate::support::scripted::{Callee, Caller, Desk, SENDER, introduction};
use crate::support::{EVERYTHING, Echo, builder, node};
use crate::{answers, gateway, knows, stop, target};

/// A client with these flags in its route, and gateways that allow these.
async fn row(client_flags: ProxyFlags, gateways: &[ProxyFlags]) -> (Vec<Node>, Node, Node, Pid) {
    let client = node("client").await;
    let (target, echo) = target(builder("target")).await;
    let mut row: Vec<Node> = Vec::new();
    for flags in gateways {
        let rule = TransitRule::new(".*", ".*").unwrap().through(".*").unwrap().operations(*flags);
        row.push(gateway("gateway", TransitOptions::new().allow(rule)).await);
    }
    let pattern = exact(target.name().as_str());
    let add = |from: &Node, to: &Node, flags| {
        knows(from, to);
        let route = NetworkProxyRoute::via(to.name().as_str()).flags(flags);
        from.network().add_proxy_route(&pattern, route, 1).unwrap();
    };
    add(&client, &row[0], client_flags);
    for pair in row.windows(2) {
        add(&pair[0], &pair[1], EVERYTHING);
    }
    knows(row.last().unwrap(), &target);
    (row, client, target, echo)
}

/// > The `Flags` control what operations the proxy allows. Maybe your gateway
/// > allows monitoring remote processes but doesn't allow spawning processes
/// > through the proxy.
#[tokio::test]
async fn seed_operations_are_those_that_all_on_the_way_allow() {
    let without = |change: fn(&mut ProxyFlags)| {
        let mut flags = EVERYTHING;
        change(&mut flags);
        flags
    };
    let first = without(|flags| flags.spawn = false);
    let second = without(|flags| flags.link = false);
    let client_flags = without(|flags| flags.important_delivery = false);
    let (gateways, client, target, echo) = row(client_flags, &[first, second]).await;
    answers(&client, echo, 1).await;
    let expected = ProxyFlags { monitor: true, application_start: true, ..ProxyFlags::NONE };
    let seen = [&client, &target].map(|node| node.network().peers());
    let operations = seen.iter().flatten().filter_map(|peer| peer.operations);
    assert_eq!(operations.collect::<Vec<_>>(), [expected, expected], "both ends agree");
    assert_eq!(gateways[1].network().tunnels()[0].operations, expected);
    stop(gateways.into_iter().chain([client, target])).await;
}

/// > `EnableSpawn: false, // don't allow spawning through proxy`
///
/// What is not allowed is not even announced, so an end that does not know of
/// the tunnel holds to it as well.
#[tokio::test]
async fn seed_what_is_not_allowed_is_not_announced() {
    let all = NetworkFlags::from_bits(u64::MAX);
    let (gateways, client, target, echo) = row(ProxyFlags::NONE, &[EVERYTHING]).await;
    answers(&client, echo, 1).await;
    let barred = [
        NetworkFlags::REMOTE_SPAWN,
        NetworkFlags::REMOTE_APPLICATION_START,
        NetworkFlags::IMPORTANT_DELIVERY,
    ];
    for (node, peer) in [(&client, &target), (&target, &client)] {
        let flags = node.network().peer(peer.name().as_str()).unwrap().flags;
        assert!(flags.allows(NetworkFlags::ENABLE) && all.allows(flags));
        assert!(barred.iter().all(|flag| !flags.allows(*flag)), "{flags:?}");
    }
    stop(gateways.into_iter().chain([client, target])).await;
}

/// A gateway that grants more than it was asked for gives the client no more.
#[tokio::test]
async fn nobody_gets_more_than_was_asked_for() {
    let (gateway, client) = (Gateway::open().await, node("client").await);
    gateway.leads(&client);
    let (proxy, peer) = (gateway.name(), introduction("target"));
    let (name, asked) = (peer.node, ProxyFlags { monitor: true, ..ProxyFlags::NONE });
    let route = NetworkProxyRoute::via(proxy.as_str()).flags(asked);
    client.network().add_proxy_route(&exact(name.as_str()), route, 1).unwrap();
    let meeting = async {
        let with_gateway = gateway.meets().await;
        let path = vec![client.name(), proxy, name];
        let mut callee = Callee::on(gateway.opens(tunnel::Operations::ALL, path).await, peer);
        callee.hello().await;
        callee.introduce().await;
        (with_gateway, callee.agreed().await)
    };
    let network = client.network();
    let (connected, _links) = tokio::join!(network.connect(name.as_str()), meeting);
    connected.unwrap();
    assert_eq!(network.peer(name.as_str()).unwrap().operations, Some(asked));
    stop([client]).await;
}

/// Refused before anything is sent.
#[tokio::test]
async fn what_is_not_allowed_is_refused_at_the_near_end() {
    let (gateways, client, target, echo) = row(ProxyFlags::NONE, &[EVERYTHING]).await;
    answers(&client, echo, 1).await;
    let puppet = puppet(&client).await;
    let sent = client.network().peer(target.name().as_str()).unwrap().frames_out;
    let (linked, monitored) =
        puppet.act(move |ctx| Box::pin(async move { (ctx.link(echo).await, ctx.monitor(echo).await) })).await;
    for refused in [linked, monitored] {
        assert!(
            matches!(refused, Err(RelationError::WayForbids { node }) if node == target.name()),
            "{refused:?}"
        );
    }
    let important = client.send_important(echo, 1i64).await.unwrap_err();
    assert!(matches!(important, SendError::NotSupported { .. }), "{important}");
    let after = client.network().peer(target.name().as_str()).unwrap().frames_out;
    assert_eq!(after, sent, "nothing of it went out");
    stop(gateways.into_iter().chain([client, target])).await;
}

/// An Ergo node knows nothing of the tunnel and announces all it has. It is not
/// asked all the same.
#[tokio::test]
async fn a_target_that_knows_of_no_tunnel_is_not_asked_for_what_is_not_allowed() {
    let (gateway, client) = (gateway("gateway", crate::open()).await, node("client").await);
    let mut ergo = introduction("ergo");
    ergo.flags = NetworkFlags::from_bits(u64::MAX).without(NetworkFlags::TUNNELS);
    let (desk, name) = (Desk::open().await, ergo.node);
    desk.leads(&gateway, name);
    knows(&client, &gateway);
    let route = NetworkProxyRoute::via(gateway.name().as_str()).flags(ProxyFlags::NONE);
    client.network().add_proxy_route(&exact(name.as_str()), route, 1).unwrap();
    // The gateway connects with it, and then dials it once more for the client.
    let met = async || {
        let mut callee = desk.called(ergo.clone()).await;
        callee.hello().await;
        callee.introduce().await;
        callee.agreed().await
    };
    let network = client.network();
    let (remote, (_gateways, mut link)) =
        tokio::join!(network.connect(name.as_str()), async { (met().await, met().await) });
    let remote = remote.unwrap();
    let flags = client.network().peer(name.as_str()).unwrap().flags;
    assert!(flags.allows(NetworkFlags::REMOTE_SPAWN | NetworkFlags::REMOTE_APPLICATION_START));

    let spawned = remote.spawn("worker", SpawnOptions::new(), ()).await.unwrap_err();
    assert!(matches!(spawned, RemoteSpawnError::NotAllowed { node } if node == name), "{spawned}");
    let started = remote.start_application("shop").await.unwrap_err();
    assert!(matches!(started, RemoteStartError::NotAllowed { node } if node == name), "{started}");
    let there = Pid { node: name, id: 1001, creation: ergo.creation };
    let important = client.send_important(there, 1i64).await.unwrap_err();
    assert!(matches!(important, SendError::NotSupported { .. }), "{important}");
    let puppet = puppet(&client).await;
    let (linked, monitored) = puppet
        .act(move |ctx| Box::pin(async move { (ctx.link(there).await, ctx.monitor(there).await) }))
        .await;
    for refused in [linked, monitored] {
        assert!(matches!(refused, Err(RelationError::WayForbids { node }) if node == name), "{refused:?}");
    }
    let exit = client.send_exit(there, ExitReason::Kill).await;
    assert!(matches!(exit, Err(SendError::NotAllowed)), "{exit:?}");
    client.send(there, 7i64).await.unwrap();
    assert_eq!(link.hears::<i64>().await, 7, "the first that comes: nothing of all that was sent");
    stop([client, gateway]).await;
}

/// And what is allowed works as over any connection: its loss is that of a gateway.
#[tokio::test]
async fn links_and_monitors_work_through_gateways() {
    let (mut gateways, client, target, _) = row(EVERYTHING, &[EVERYTHING, EVERYTHING]).await;
    let mut near = puppet(&client).await;
    near.trap_exit().await;
    let far = puppet(&target).await;
    let subject = Watched::Pid(far.pid);
    wish(&near, Wish::Link, subject).await.unwrap();
    wish(&near, Wish::Monitor, subject).await.unwrap();
    client.send_important(far.pid, 1i64).await.unwrap();
    let reason = ExitReason::error("of its own");
    far.end(reason.clone()).await;
    told_all(&mut near, vec![exit(subject, &reason), down(subject, &reason)]).await;

    let far = puppet(&target).await;
    let (subject, node) = (Watched::Pid(far.pid), Watched::Node(target.name()));
    wish(&near, Wish::Link, subject).await.unwrap();
    wish(&near, Wish::Monitor, subject).await.unwrap();
    wish(&near, Wish::Monitor, node).await.unwrap();
    gateways.pop().unwrap().stop().await;
    let reason = ExitReason::NoConnection;
    let lost = vec![exit(subject, &reason), down(subject, &reason), down(node, &reason)];
    told_all(&mut near, lost).await;
    stop(gateways.into_iter().chain([client, target])).await;
}

/// So do processes and applications that one end has the other one start.
#[tokio::test]
async fn processes_and_applications_are_started_through_gateways() {
    let (gateways, client, target, _) = row(EVERYTHING, &[EVERYTHING, EVERYTHING]).await;
    let clerk = MemberSpec::new::<Echo>(()).name("clerk");
    target.load_application(ApplicationSpec::new("shop").member(clerk)).unwrap();
    target.network().enable_spawn::<Echo>("echo", Nodes::Any).unwrap();
    target.network().enable_application_start("shop", Nodes::Any).unwrap();
    let remote = client.network().connect(target.name().as_str()).await.unwrap();
    let spawned = remote.spawn("echo", SpawnOptions::new(), ()).await.unwrap();
    assert_eq!(spawned.node, target.name());
    answers(&client, spawned, 1).await;
    remote.start_application("shop").await.unwrap();
    assert_eq!(target.application_info("shop").unwrap().started_by, Some(client.name()));
    assert_eq!(client.call::<i64>(("clerk", target.name()), 2i64).await.unwrap(), 2);
    stop(gateways.into_iter().chain([client, target])).await;
}

/// The puppet is told of all these ends, in any order.
async fn told_all(puppet: &mut Strings, expected: Vec<Notice>) {
    let mut told = Vec::new();
    while told.len() < expected.len() {
        told.push(puppet.told().await);
    }
    assert!(expected.iter().all(|notice| told.contains(notice)), "{told:?}");
}

fn exit(subject: Watched, reason: &ExitReason) -> Notice {
    Notice::Exit(Exit { subject, reason: reason.clone(), requested: false })
}

fn down(subject: Watched, reason: &ExitReason) -> Notice {
    Notice::Down(Down { subject, reason: reason.clone() })
}

/// A client that asks all the same is refused by the target, each time.
#[tokio::test]
async fn what_is_not_allowed_is_refused_at_the_far_end() {
    let (target, echo) = target(builder("target").pool_size(1)).await;
    target.network().enable_spawn::<Echo>("echo", Nodes::Any).unwrap();
    target.network().enable_application_start("shop", Nodes::Any).unwrap();
    let carrier = Client::of(&target).await;
    let (mut stream, mut talk) = carrier.stream(&target).await;
    let says = introduction("liar");
    let path = vec![says.node, carrier.name];
    let arrival = tunnel::Request::Arrival { operations: tunnel::Operations::NONE, path };
    stream.write_all(&talk.ask(&arrival)).await.unwrap();
    assert!(matches!(talk.answer(&read(&mut stream).await).unwrap(), Some(tunnel::Answer::Opened { .. })));
    let mut caller = Caller::on(stream, says);
    caller.hello().await;
    let mut link = caller.introduce().await;
    let source = link.sender();
    for (number, verb) in [Verb::Link, Verb::Monitor].into_iter().enumerate() {
        let reference =
            Ref { node: link.local.node, creation: link.local.creation, id: [number as u64, 0, u64::MAX] };
        let watch = Watch { verb, source, target: WatchTarget::Pid(echo), reference };
        link.ask(&Request::Watch(watch)).await;
        let (answer, _) = link.hears_answer().await;
        assert_eq!(answer.error.expect("it is refused").to_string(), "not allowed", "{verb:?}");
    }
    let reference = Ref { node: source.node, creation: source.creation, id: [9, 0, u64::MAX] };
    let name = |name| Atom::new(name).unwrap();
    let asked = [
        Request::Spawn(Box::new(Spawn::new(name("echo"), source, reference))),
        Request::ApplicationStart(Box::new(ApplicationStart::new(name("shop"), source, reference))),
    ];
    for request in asked {
        link.ask(&request).await;
        let (answer, _) = link.hears_answer().await;
        assert_eq!(answer.error.expect("it is refused").to_string(), "not allowed", "{request:?}");
    }
    let head = Head::Message {
        from: SENDER,
        delivery: Delivery { important: true, ..Delivery::default() },
        message_id: 7,
        to: Target::Pid(echo.id),
    };
    let payload = link.encode(&1i64);
    link.send_frame(&head, &payload).await;
    assert_eq!(link.hears_refusal([7, 0, 0]).await, "not allowed");
    let exit = Head::Exit { from: SENDER, to: echo.id };
    let reason = link.encode(&ErrorValue::new("kill"));
    link.send_frame(&exit, &reason).await;
    link.send_message(echo, &7i64).await;
    assert_eq!(link.hears::<i64>().await, 7, "it is alive");
    stop([target]).await;
}

/// A direct connection is not affected by what a tunnel of others allows.
#[tokio::test]
async fn a_direct_connection_has_no_such_limits() {
    let (client, target) = (node("client").await, node("target").await);
    knows(&client, &target);
    client.network().connect(target.name().as_str()).await.unwrap();
    let peer = client.network().peer(target.name().as_str()).unwrap();
    assert_eq!((peer.operations, peer.path), (None, Vec::new()));
    stop([client, target]).await;
}
