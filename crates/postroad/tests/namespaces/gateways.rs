//! Nodes on networks without a road to each other, but for gateways.

use std::thread::JoinHandle;
use std::time::Duration;

use postroad::network::{
    AcceptorOptions, AttemptError, ConnectError, NetworkProxyRoute, NetworkRoute, Nodes, ProxyFlags,
    TransitOptions, TransitRule, TunnelError, TunnelRefusal, exact,
};
use postroad::tls::TlsOptions;
use postroad::{Atom, Down, Exit, ExitReason, NetworkMode, Node, NodeBuilder, SpawnOptions, Watched};
use tokio::sync::oneshot;

use crate::capture::{Capture, contains};
use crate::lab::{Host, Lab};
use crate::support::authority::{Authority, Leaf};
use crate::support::puppet::{Notice, Wish, puppet, wish};
use crate::support::{EVERYTHING, Echo, next, probe};
use crate::{PATIENCE, PORT, builder};

/// What nobody on the way is to read.
const SECRET: &str = "meet me behind the old post office at nine";

/// A node on a host.
struct Resident {
    node: Node,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Resident {
    fn start(host: &Host, builder: NodeBuilder) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = host.start(move || async move {
            let node = builder.start().await.unwrap();
            ready.send(node.clone()).unwrap();
            let _ = stopped.await;
            node.stop().await;
        });
        Self { node: is_ready.recv().unwrap(), stop, thread }
    }

    /// One that listens, with an echo of that name, which others may spawn too.
    async fn listening(host: &Host, builder: NodeBuilder) -> Self {
        let builder = builder.acceptor(AcceptorOptions::bind(&host.address, PORT));
        let resident = Self::start(host, builder);
        let node = &resident.node;
        node.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
        node.network().enable_spawn::<Echo>("echo", Nodes::Any).unwrap();
        resident
    }

    /// One that lets everybody pass.
    async fn gateway(host: &Host, name: &str) -> Self {
        let flags = ProxyFlags { encryption: true, ..EVERYTHING };
        let rule = TransitRule::new(".*", ".*").unwrap().through(".*").unwrap().operations(flags);
        // Longer than a sign of life takes.
        let transit = TransitOptions::new().allow(rule).idle(PATIENCE);
        Self::listening(host, builder(name).transit(transit)).await
    }

    fn client(host: &Host, builder: NodeBuilder) -> Self {
        Self::start(host, builder.network(NetworkMode::Hidden))
    }

    fn name(&self) -> Atom {
        self.node.name()
    }

    fn knows(&self, name: &str, host: &Host) {
        let route = NetworkRoute::to(&host.address, PORT);
        self.node.network().add_route(&exact(name), route, 1).unwrap();
    }

    fn goes(&self, to: &str, via: &str, weight: i64) {
        let route = NetworkProxyRoute::via(via).flags(EVERYTHING);
        self.node.network().add_proxy_route(&format!("{}|{weight}", exact(to)), route, weight).unwrap();
    }

    /// It cannot be dialed there.
    async fn cannot_dial(&self, name: &str, address: &str) {
        let direct = NetworkRoute::to(address, PORT);
        let error = self.node.network().connect_with(name, direct).await.unwrap_err();
        let ConnectError::NoRoute(no_route) = &error else { panic!("{error}") };
        assert!(matches!(no_route.attempts[0].error, AttemptError::Dial(_)), "{error}");
    }

    async fn echoes(&self, name: &str, number: u64) -> bool {
        let answer = self.node.call_with_timeout::<u64>(("echo", name), number, PATIENCE).await;
        answer.is_ok_and(|answer| answer == number)
    }

    /// By which nodes it is connected with that one.
    fn path(&self, name: &str) -> Vec<String> {
        let path = self.node.network().peer(name).unwrap().path;
        path.iter().map(ToString::to_string).collect()
    }

    /// Nothing passes through it any more.
    async fn carries_nothing(&self) {
        while !self.node.network().tunnels().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn refusal(&self, name: &str) -> (String, TunnelRefusal) {
        let error = self.node.network().connect(name).await.unwrap_err();
        let ConnectError::NoRoute(no_route) = &error else { panic!("{error}") };
        match &no_route.attempts[0].error {
            AttemptError::Tunnel(TunnelError::Refused { hop, reason }) => (hop.to_string(), *reason),
            other => panic!("{other}"),
        }
    }

    fn end(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}

/// The private node makes the only connection that can be made: from inside to
/// the gateways. All that nodes do with each other works over it, and goes on
/// by the second gateway when the first one is gone without a word.
#[tokio::test]
async fn a_node_behind_nat_is_reached_through_gateways() {
    const PRIVATE: &str = "db@private";
    let mut lab = Lab::new();
    let [outside, first, second, nat] = [(); 4].map(|()| lab.host());
    let private = lab.behind_nat(&nat);
    let one = Resident::gateway(&first, "one@gates").await;
    let two = Resident::gateway(&second, "two@gates").await;
    let target = Resident::listening(&private, builder(PRIVATE)).await;
    let client = Resident::client(&outside, builder("client@outside"));
    for resident in [&target, &client] {
        resident.knows("one@gates", &first);
        resident.knows("two@gates", &second);
    }
    client.goes(PRIVATE, "one@gates", 200);
    client.goes(PRIVATE, "two@gates", 100);

    let neighbour = Resident::client(&nat, builder("neighbour@nat"));
    neighbour.knows(PRIVATE, &private);
    assert!(neighbour.echoes(PRIVATE, 1).await, "it listens, and its neighbours reach it");
    for address in [&private.address, &nat.address] {
        client.cannot_dial(PRIVATE, address).await;
    }
    assert!(one.node.network().peers().is_empty(), "nobody is there yet");
    for gateway in ["one@gates", "two@gates"] {
        target.node.network().connect(gateway).await.unwrap();
    }

    assert!(client.echoes(PRIVATE, 2).await);
    assert_eq!(client.path(PRIVATE), ["client@outside", "one@gates", PRIVATE]);
    let (far, mut inbox) = probe(&target.node).await;
    client.node.send(far, 3i64).await.unwrap();
    assert_eq!(next::<i64>(&mut inbox).await, 3);
    client.node.send_important(far, 4i64).await.unwrap();
    assert_eq!(next::<i64>(&mut inbox).await, 4);
    let (mut near, [linked, watched]) =
        (puppet(&client.node).await, [puppet(&target.node).await, puppet(&target.node).await]);
    near.trap_exit().await;
    let (link, monitor) = (linked.pid, watched.pid);
    near.act(move |ctx| {
        Box::pin(async move { (ctx.link(link).await.unwrap(), ctx.monitor(monitor).await.unwrap()) })
    })
    .await;
    linked.end(ExitReason::error("worn out")).await;
    assert!(matches!(near.told().await, Notice::Exit(exit) if exit.reason.to_string().contains("worn out")));
    watched.end(ExitReason::Normal).await;
    assert!(matches!(near.told().await, Notice::Down(_)));
    let remote = client.node.network().connect(PRIVATE).await.unwrap();
    let spawned = remote.spawn("echo", SpawnOptions::new(), ()).await.unwrap();
    assert_eq!(spawned.node, target.name());
    assert_eq!(client.node.call::<u64>(spawned, 5u64).await.unwrap(), 5);
    assert!(!one.node.network().tunnels().is_empty() && two.node.network().tunnels().is_empty());

    let [linked, watched] = [puppet(&target.node).await, puppet(&target.node).await];
    wish(&near, Wish::Link, Watched::Pid(linked.pid)).await.unwrap();
    wish(&near, Wish::Monitor, Watched::Pid(watched.pid)).await.unwrap();
    wish(&near, Wish::Monitor, Watched::Node(target.name())).await.unwrap();
    lab.cut_off(&first);
    while !client.echoes(PRIVATE, 6).await {}
    assert_eq!(client.path(PRIVATE), ["client@outside", "two@gates", PRIVATE]);
    assert_eq!(client.node.call::<u64>(spawned, 7u64).await.unwrap(), 7, "and it is the same node");
    let down = |subject| Notice::Down(Down { subject, reason: ExitReason::NoConnection });
    let exit = |subject| Notice::Exit(Exit { subject, reason: ExitReason::NoConnection, requested: false });
    let mut lost = vec![
        exit(Watched::Pid(linked.pid)),
        down(Watched::Pid(watched.pid)),
        down(Watched::Node(target.name())),
    ];
    while !lost.is_empty() {
        let told = near.told().await;
        let at = lost.iter().position(|notice| *notice == told).unwrap_or_else(|| panic!("{told:?}"));
        lost.remove(at);
    }

    lab.cut_off(&outside);
    for gateway in [&one, &two] {
        gateway.carries_nothing().await;
    }
    for resident in [client, neighbour, target, one, two] {
        resident.end();
    }
}

/// Each host reaches only the next one.
#[tokio::test]
async fn ways_lead_over_two_and_three_gateways_and_never_in_circles() {
    let mut lab = Lab::new();
    let hosts = [(); 5].map(|()| lab.host());
    for (at, one) in hosts.iter().enumerate() {
        hosts.iter().skip(at + 2).for_each(|other| lab.separate(one, other));
    }
    let [outside, first, second, third, far] = &hosts;
    let client = Resident::client(outside, builder("client@outside"));
    let one = Resident::gateway(first, "one@gates").await;
    let two = Resident::gateway(second, "two@gates").await;
    let three = Resident::gateway(third, "three@gates").await;
    let target = Resident::listening(far, builder("deep@far")).await;
    client.knows("one@gates", first);
    one.knows("two@gates", second);
    two.knows("three@gates", third);
    three.knows("deep@far", far);
    // Nobody dials back: each gateway is connected with the next by itself.
    for (name, host) in [("three@gates", third), ("deep@far", far)] {
        client.cannot_dial(name, &host.address).await;
        client.goes(name, "one@gates", 1);
        one.goes(name, "two@gates", 1);
    }
    two.goes("deep@far", "three@gates", 1);
    assert!(client.echoes("three@gates", 1).await);
    assert_eq!(client.path("three@gates"), ["client@outside", "one@gates", "two@gates", "three@gates"]);
    assert!(client.echoes("deep@far", 2).await);
    let path = ["client@outside", "one@gates", "two@gates", "three@gates", "deep@far"];
    assert_eq!(client.path("deep@far"), path);
    assert_eq!(target.path("client@outside"), path, "the target is told the same");

    client.node.network().disconnect("deep@far").await;
    client.node.network().remove_proxy_route(&format!("{}|1", exact("deep@far"))).unwrap();
    let short = NetworkProxyRoute::via("one@gates").max_hop(2);
    client.node.network().add_proxy_route("^deep@", short, 1).unwrap();
    let refused = client.refusal("deep@far").await;
    assert_eq!(refused, ("two@gates".to_owned(), TunnelRefusal::HopsExhausted));

    let lost = "lost@nowhere";
    three.knows("one@gates", first);
    lab.heal();
    for (from, via) in
        [(&client, "one@gates"), (&one, "two@gates"), (&two, "three@gates"), (&three, "one@gates")]
    {
        from.goes(lost, via, 1);
    }
    assert_eq!(client.refusal(lost).await, ("three@gates".to_owned(), TunnelRefusal::Loop));
    for resident in [client, one, two, three, target] {
        resident.end();
    }
}

/// What the network cards of a gateway's host see of a message that passes.
async fn captured(encryption: bool) -> Vec<u8> {
    let mut lab = Lab::new();
    let [outside, middle, nat] = [(); 3].map(|()| lab.host());
    let private = lab.behind_nat(&nat);
    let authority = Authority::new("ours");
    let tls = TlsOptions::new().trust(authority.trust());
    let client = Resident::client(&outside, builder("client@outside").tls(tls));
    let gateway = Resident::gateway(&middle, "gate@middle").await;
    let identity = authority.issue(Leaf::host("private")).identity();
    let tls = if encryption { TlsOptions::new().identity(identity) } else { TlsOptions::new() };
    let target = Resident::start(&private, builder("db@private").network(NetworkMode::Hidden).tls(tls));
    target.knows("gate@middle", &middle);
    client.knows("gate@middle", &middle);
    let route = NetworkProxyRoute::via("gate@middle").flags(ProxyFlags { encryption, ..EVERYTHING });
    client.node.network().add_proxy_route(&exact("db@private"), route, 1).unwrap();
    target.node.network().connect("gate@middle").await.unwrap();

    let capture = Capture::start(&middle);
    let (far, mut inbox) = probe(&target.node).await;
    for _ in 0..5 {
        client.node.send(far, SECRET.to_owned()).await.unwrap();
        assert_eq!(next::<String>(&mut inbox).await, SECRET);
    }
    let tunnels = gateway.node.network().tunnels();
    assert_eq!(tunnels[0].operations.encryption, encryption);
    let seen = capture.end();
    assert!(
        contains(&seen, "client@outside"),
        "the capture sees what passes: who asks the gateway for a tunnel"
    );
    for resident in [client, target, gateway] {
        resident.end();
    }
    seen
}

#[tokio::test]
async fn with_encryption_a_capture_at_the_gateway_shows_no_plaintext() {
    assert!(!contains(&captured(true).await, SECRET));
}

/// The same without: so the test above shows something.
#[tokio::test]
async fn without_encryption_a_capture_at_the_gateway_shows_the_message() {
    assert!(contains(&captured(false).await, SECRET));
}
