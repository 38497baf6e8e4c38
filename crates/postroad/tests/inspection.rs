//! What processes say of themselves, lists in pages, and what other nodes are told.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use postroad::inspect::{
    self, CloseTunnel, ConnectionPage, DescribeNode, DescribeProcess, DrainTransit, InspectError, Inspector,
    Item, Items, ListConnections, ListProcesses, ListTunnels, NodeInfo, ProcessPage, ProcessReport,
    ProcessState, TunnelPage,
};
use postroad::network::{AcceptorOptions, NetworkRoute, TransitOptions};
use postroad::{
    Actor, CallError, Context, ExitReason, Handle, NetworkMode, Node, Pid, SendError, SpawnError,
    SpawnOptions,
};
use postroad_wire::enp::{Frame, Head};
use support::scripted::{Link, introduction};
use support::{COOKIE, Echo, builder, fill, node, port, unique};
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(60);

/// Counts messages. A message holds it up until the test lets it go on.
struct Talkative {
    handled: u64,
    begun: mpsc::UnboundedSender<()>,
    gates: mpsc::UnboundedReceiver<oneshot::Receiver<()>>,
}

struct Gates {
    pid: Pid,
    begun: mpsc::UnboundedReceiver<()>,
    gates: mpsc::UnboundedSender<oneshot::Receiver<()>>,
}

impl Actor for Talkative {
    type Args = (mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<oneshot::Receiver<()>>);
    type Messages = (u8, String);
    type Requests = ();

    async fn init((begun, gates): Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { handled: 0, begun, gates })
    }

    fn inspect(&self, items: &mut Items) {
        assert!(self.handled != 13, "asked to");
        items.add("handled", self.handled);
        items.add("kind", "talkative");
    }
}

impl Handle<u8> for Talkative {
    async fn handle(&mut self, _: u8, _: &mut Context) -> Result<(), ExitReason> {
        self.handled += 1;
        Ok(())
    }
}

impl Handle<String> for Talkative {
    async fn handle(&mut self, _: String, _: &mut Context) -> Result<(), ExitReason> {
        let gate = self.gates.recv().await.unwrap();
        self.begun.send(()).unwrap();
        let _ = gate.await;
        Ok(())
    }
}

async fn talkative(node: &Node, options: SpawnOptions) -> Gates {
    let ((begun, begins), (gates, gated)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let pid = node.spawn_with::<Talkative>((begun, gated), options).await.unwrap();
    Gates { pid, begun: begins, gates }
}

impl Gates {
    /// Has the process wait in a handler; dropping what is returned ends that.
    async fn hold(&mut self, node: &Node) -> oneshot::Sender<()> {
        let (gate, gated) = oneshot::channel();
        self.gates.send(gated).unwrap();
        node.send(self.pid, String::new()).await.unwrap();
        self.begun.recv().await.unwrap();
        gate
    }
}

async fn offline(name: &str) -> Node {
    Node::builder(unique(name)).network(NetworkMode::Disabled).start().await.unwrap()
}

fn handled(count: u64) -> Vec<Item> {
    let item = |key: &str, value: String| Item { key: key.into(), value };
    vec![item("handled", count.to_string()), item("kind", "talkative".into())]
}

#[tokio::test]
async fn a_process_says_what_it_will_of_its_state() {
    let node = offline("talks").await;
    let process = talkative(&node, SpawnOptions::new()).await;
    assert_eq!(node.inspect(process.pid, PATIENCE).await.unwrap(), handled(0));
    node.send(process.pid, 1u8).await.unwrap();
    let quiet = node.spawn::<Echo>(()).await.unwrap();
    assert_eq!(node.inspect(quiet, PATIENCE).await.unwrap(), [], "what says nothing is no error");
    while node.process_info(process.pid).unwrap().summary.state != ProcessState::Idle {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.inspect(process.pid, PATIENCE).await.unwrap(), handled(1));
    node.stop().await;
}

#[tokio::test]
async fn a_process_is_asked_before_what_waits_whatever_its_bound() {
    let node = offline("first").await;
    let mut process = talkative(&node, SpawnOptions::new().mailbox_capacity(2)).await;
    let gate = process.hold(&node).await;
    for _ in 0..2 {
        node.send(process.pid, 1u8).await.unwrap();
    }
    assert!(matches!(node.send(process.pid, 1u8).await, Err(SendError::MailboxFull)));
    let asked = tokio::spawn({
        let (node, pid) = (node.clone(), process.pid);
        async move { node.inspect(pid, PATIENCE).await }
    });
    // The state is only looked at: who asks is no message.
    let info = node.process_info(process.pid).unwrap();
    assert_eq!((info.summary.state, info.summary.mailbox.main), (ProcessState::Running, 2));
    assert_eq!(info.summary.received, 3, "the one it is at, and two that wait");
    tokio::task::yield_now().await;
    drop(gate);
    assert_eq!(asked.await.unwrap().unwrap(), handled(0));
    while node.process_info(process.pid).unwrap().summary.state != ProcessState::Idle {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.process_info(process.pid).unwrap().summary.received, 3);
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_blocks_keeps_nobody_waiting_for_ever() {
    let node = offline("blocked").await;
    let mut process = talkative(&node, SpawnOptions::new()).await;
    let gate = process.hold(&node).await;
    let patience = Duration::from_secs(3);
    // More, one after the other, than may wait at a time: who gave up takes no room.
    for _ in 0..40 {
        let error = node.inspect(process.pid, patience).await.unwrap_err();
        assert_eq!(error, InspectError::Timeout(patience));
    }
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let (node, pid) = (node.clone(), process.pid);
            tokio::spawn(async move { node.inspect(pid, PATIENCE).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let error = node.inspect(process.pid, patience).await.unwrap_err();
    assert_eq!(error, InspectError::Busy { waiting: 16 });
    drop(gate);
    for asked in waiting {
        assert_eq!(asked.await.unwrap().unwrap(), handled(0));
    }
    assert_eq!(node.inspect(process.pid, patience).await.unwrap(), handled(0));
    node.stop().await;
}

#[tokio::test]
async fn a_panic_while_it_tells_costs_the_answer_only() {
    let node = offline("superstitious").await;
    let process = talkative(&node, SpawnOptions::new()).await;
    for _ in 0..13 {
        node.send(process.pid, 1u8).await.unwrap();
    }
    while node.process_info(process.pid).unwrap().summary.state != ProcessState::Idle {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.inspect(process.pid, PATIENCE).await.unwrap_err(), InspectError::Panicked);
    node.send(process.pid, 1u8).await.unwrap();
    while node.process_info(process.pid).unwrap().summary.state != ProcessState::Idle {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.inspect(process.pid, PATIENCE).await.unwrap(), handled(14));
    node.stop().await;
}

#[tokio::test]
async fn the_end_of_a_process_ends_the_waiting_for_it() {
    let node = offline("ends").await;
    let mut process = talkative(&node, SpawnOptions::new()).await;
    let _gate = process.hold(&node).await;
    let asked = tokio::spawn({
        let (node, pid) = (node.clone(), process.pid);
        async move { node.inspect(pid, PATIENCE).await }
    });
    tokio::task::yield_now().await;
    assert!(node.kill(process.pid));
    let error = asked.await.unwrap().unwrap_err();
    // The kill may have come before the question.
    assert!(matches!(error, InspectError::ProcessTerminated | InspectError::ProcessUnknown), "{error}");
    node.stop().await;
}

async fn all_pages(node: &Node, mut list: ListProcesses) -> (Vec<u64>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let page = node.processes(&list);
        assert!(page.processes.len() <= list.limit.clamp(1, inspect::MAX_PAGE) as usize);
        all.extend(page.processes.iter().map(|process| process.pid.id));
        pages += 1;
        if page.next == 0 {
            return (all, pages);
        }
        list.after = page.next;
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let node = offline("pages").await;
    let mut spawned = Vec::new();
    for number in 0..2500 {
        let options = match number % 10 {
            0 => SpawnOptions::new().name(format!("ten-{number}")),
            _ => SpawnOptions::new(),
        };
        spawned.push(node.spawn_with::<Echo>((), options).await.unwrap().id);
    }
    for (limit, pages) in [(1000, 3), (u32::MAX, 3), (2500, 3), (625, 4), (999, 3)] {
        let list = ListProcesses { limit, ..ListProcesses::default() };
        assert_eq!(all_pages(&node, list).await, (spawned.clone(), pages), "{limit} at a time");
    }
    let first = node.processes(&ListProcesses { limit: 0, ..ListProcesses::default() });
    assert_eq!((first.processes.len(), first.next), (1, spawned[0]), "a page is never empty");
    let named = ListProcesses { name_prefix: "ten-".into(), limit: 100, ..ListProcesses::default() };
    let tens: Vec<u64> = spawned.iter().copied().step_by(10).collect();
    assert_eq!(all_pages(&node, named).await, (tens, 3));
    let none = ListProcesses { name_prefix: "eleven-".into(), ..ListProcesses::default() };
    assert_eq!(all_pages(&node, none).await, (vec![], 1));
    assert_eq!(node.info().unwrap().processes, 2500);
    node.stop().await;
}

/// A node with an inspector, and one that can ask it.
async fn pair(name: &str) -> (Node, Node) {
    let told = builder(name).inspector(true).start().await.unwrap();
    let asking = node(&format!("{name}-guest")).await;
    asking.network().add_route(name, NetworkRoute::to("127.0.0.1", port(&told)), 100).unwrap();
    (told, asking)
}

fn inspector_of(node: &Node) -> (&'static str, &'static str) {
    (inspect::NAME, node.name().as_str())
}

#[tokio::test]
async fn other_nodes_are_told_if_there_is_an_inspector() {
    let (told, asking) = pair("told").await;
    let to = inspector_of(&told);
    told.network().add_route("^nobody@", NetworkRoute::to("127.0.0.1", 1), 100).unwrap();
    let node: NodeInfo = asking.call(to, DescribeNode).await.unwrap();
    assert_eq!(node.name, told.name());
    assert_eq!((node.processes, node.names, node.connections, node.routes), (1, 1, 1, 1));
    assert_eq!(node.listens, [format!("127.0.0.1:{}", port(&told))]);

    for _ in 0..1500 {
        told.spawn::<Echo>(()).await.unwrap();
    }
    let mut list = ListProcesses::default();
    let mut seen = BTreeSet::new();
    for expected in [1000, 501] {
        let page: ProcessPage = asking.call(to, list.clone()).await.unwrap();
        assert_eq!(page.processes.len(), expected);
        assert_eq!(page.next == 0, expected == 501);
        seen.extend(page.processes.iter().map(|process| process.pid));
        list.after = page.next;
    }
    assert_eq!(seen.len(), 1501);

    let page: ConnectionPage = asking.call(to, ListConnections::default()).await.unwrap();
    let [peer] = &page.connections[..] else { panic!("{page:?}") };
    assert_eq!((peer.peer, peer.dialed, page.next.as_str()), (asking.name(), false, ""));
    assert!(peer.links > 0 && peer.frames_in > 0 && peer.bytes_out > 0, "{peer:?}");
    Inspector::spawn(&asking).await.unwrap();
    let page: ConnectionPage = asking.call(inspect::NAME, ListConnections::default()).await.unwrap();
    let peer = &page.connections[0];
    assert!(peer.dialed && peer.road.starts_with("route `told` weight 100"), "{peer:?}");

    let everything = format!("{node:?} {page:?} {seen:?}");
    assert!(!everything.contains(COOKIE));
    asking.stop().await;
    told.stop().await;
}

#[tokio::test]
async fn connections_come_in_pages() {
    let (told, asking) = pair("crowded").await;
    let mut guests = vec![asking.name().to_string()];
    for _ in 0..2 {
        let guest = node("crowded-other").await;
        guest.network().add_route("crowded-", NetworkRoute::to("127.0.0.1", port(&told)), 100).unwrap();
        guest.network().connect(told.name().as_str()).await.unwrap();
        guests.push(guest.name().to_string());
    }
    guests.sort();
    let mut list = ListConnections { limit: 1, ..ListConnections::default() };
    let mut seen = Vec::new();
    loop {
        let page: ConnectionPage = asking.call(inspector_of(&told), list.clone()).await.unwrap();
        seen.extend(page.connections.iter().map(|connection| connection.peer.to_string()));
        if page.next.is_empty() {
            break;
        }
        list.after = page.next;
    }
    assert_eq!(seen, guests);
    told.stop().await;
}

#[tokio::test]
async fn a_process_is_described_to_other_nodes_even_if_it_hangs() {
    let (told, asking) = pair("hanging").await;
    let to = inspector_of(&told);
    let mut process = talkative(&told, SpawnOptions::new().name("slow").mailbox_capacity(9)).await;
    let by_name = DescribeProcess { id: 0, name: "slow".into() };
    let report: ProcessReport = asking.call(to, by_name.clone()).await.unwrap();
    assert_eq!((report.summary.pid, &report.state[..]), (process.pid, &handled(0)[..]));
    assert_eq!((report.silent.as_str(), report.mailbox_capacity), ("", 9));
    assert_eq!((report.priority.as_str(), report.compression.as_str()), ("normal", ""));
    assert_eq!((report.leader, report.application.as_str()), (told.pid(), ""));

    let gate = process.hold(&told).await;
    let by_number = DescribeProcess { id: process.pid.id, name: String::new() };
    let report = asking.call::<ProcessReport>(to, by_number);
    let others = async {
        // Who asks for something else does not wait for it.
        asking.call_with_timeout::<NodeInfo>(to, DescribeNode, PATIENCE).await.unwrap()
    };
    let (report, node) = tokio::join!(report, others);
    let report = report.unwrap();
    assert_eq!(report.summary.state, ProcessState::Running);
    assert!(report.state.is_empty() && report.silent.starts_with("timed out"), "{report:?}");
    assert_eq!(node.running, 2, "it, and the inspector");
    drop(gate);

    let nobody = DescribeProcess { id: 0, name: "nobody at all".into() };
    let error = asking.call::<ProcessReport>(to, nobody).await.unwrap_err();
    assert!(matches!(&error, CallError::Answer(error) if *error.text() == *"unknown process"), "{error}");
    asking.stop().await;
    told.stop().await;
}

#[tokio::test]
async fn the_inspector_can_be_asked_for_itself_and_is_there_once() {
    let (told, asking) = pair("self").await;
    let itself = DescribeProcess { id: 0, name: inspect::NAME.into() };
    let report: ProcessReport = asking.call(inspector_of(&told), itself).await.unwrap();
    assert_eq!(report.state, [Item { key: "answers on their way".into(), value: "1".into() }]);
    assert!(matches!(Inspector::spawn(&told).await, Err(SpawnError::NameTaken { .. })));
    let error = asking.call::<NodeInfo>(inspector_of(&told), 1u8).await.unwrap_err();
    assert!(matches!(&error, CallError::Answer(error) if *error.text() == *"not supported"), "{error}");
    asking.stop().await;
    told.stop().await;
}

#[tokio::test]
async fn a_node_without_an_inspector_tells_others_nothing() {
    let silent = node("silent").await;
    let asking = node("curious").await;
    asking.network().add_route("silent", NetworkRoute::to("127.0.0.1", port(&silent)), 100).unwrap();
    let error = asking.call::<NodeInfo>(inspector_of(&silent), DescribeNode).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{error}");
    Inspector::spawn(&silent).await.unwrap();
    asking.call::<NodeInfo>(inspector_of(&silent), DescribeNode).await.unwrap();
    asking.stop().await;
    silent.stop().await;
}

/// The word of an operator counts by where it came in, not by its name.
#[tokio::test]
async fn orders_are_taken_from_operators_only() {
    let door = AcceptorOptions::bind("127.0.0.1", 0).cookie("operators").operators();
    let gateway = builder("gateway").acceptor(door).transit(TransitOptions::new()).inspector(true);
    let gateway = gateway.start().await.unwrap();
    let name = gateway.name();
    let [usual, orders] = [0, 1].map(|at| gateway.network().acceptors()[at].address.port());
    let drain = async |node: &Node, drain: bool| {
        node.call::<u64>((inspect::NAME, name), DrainTransit { drain })
            .await
            .map_err(|error| error.to_string())
    };
    let (peer, operator) = (node("peer").await, node("operator").await);
    let routes = [
        (&peer, NetworkRoute::to("127.0.0.1", usual)),
        (&operator, NetworkRoute::to("127.0.0.1", orders).cookie("operators")),
    ];
    for (node, route) in routes {
        node.network().add_route(name.as_str(), route, 1).unwrap();
    }
    assert!(drain(&peer, true).await.unwrap_err().contains("not allowed"));
    assert!(!gateway.network().is_draining_transit());
    assert_eq!(drain(&operator, true).await, Ok(0));
    assert!(gateway.network().is_draining_transit());
    assert!(drain(&peer, false).await.unwrap_err().contains("not allowed"));
    assert_eq!(drain(&gateway, false).await, Ok(0), "and from its own processes");
    let page: TunnelPage = peer.call((inspect::NAME, name), ListTunnels::default()).await.unwrap();
    assert!(page.gateway && !page.draining && page.tunnels.is_empty());
    let close = operator.call::<()>((inspect::NAME, name), CloseTunnel { id: 7 }).await;
    assert!(close.unwrap_err().to_string().contains("unknown tunnel"));
    for node in [peer, operator, gateway] {
        node.stop().await;
    }
}

/// It has its share of the answers under way, and gets those when it reads, however late.
#[tokio::test]
async fn who_does_not_read_keeps_no_other_from_being_told() {
    let told = builder("unread").pool_size(1).keepalive(None).inspector(true).start().await.unwrap();
    let mut link = Link::to(&told, introduction("peer")).await;
    let inspector = told.whereis(inspect::NAME).unwrap();
    link.send_request(inspector, [1, 0, u64::MAX], &DescribeNode).await;
    link.hears::<NodeInfo>().await;
    fill(&told, link.sender()).await;
    for number in 2..=40 {
        link.send_request(inspector, [number, 0, u64::MAX], &DescribeNode).await;
    }
    let on_their_way = async || told.inspect(inspector, PATIENCE).await.unwrap()[0].value.clone();
    let read = || told.network().peer(link.local.node.as_str()).unwrap().frames_in;
    while read() < 40 || told.process_info(inspector).unwrap().summary.mailbox.total() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(on_their_way().await, "16", "the others are refused");
    let asking = node("unread-guest").await;
    asking.network().add_route("unread", NetworkRoute::to("127.0.0.1", port(&told)), 100).unwrap();
    for _ in 0..100 {
        asking.call::<NodeInfo>(inspector_of(&told), DescribeNode).await.unwrap();
    }
    assert_eq!(on_their_way().await, "16");

    // It was only slow.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    let mut answered = Vec::new();
    while answered.len() < 16 {
        let frame = link.frame().await;
        if let Head::Response { reference, .. } = Frame::parse(&frame).unwrap().head {
            answered.push(reference[0]);
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, (2..18).collect::<Vec<_>>(), "each once, in their order of asking");
    while on_their_way().await != "0" {
        tokio::task::yield_now().await;
    }
    asking.stop().await;
    told.stop().await;
}

/// It would never know what came of it.
#[tokio::test]
async fn who_cannot_be_answered_gives_no_orders() {
    let door = AcceptorOptions::bind("127.0.0.1", 0).operators();
    let gateway = postroad::Node::builder(unique("told")).cookie(COOKIE).without_registrar().acceptor(door);
    let gateway = gateway.transit(TransitOptions::new()).pool_size(1).keepalive(None).inspector(true);
    let gateway = gateway.start().await.unwrap();
    let mut link = Link::to(&gateway, introduction("operator")).await;
    let inspector = gateway.whereis(inspect::NAME).unwrap();
    link.send_request(inspector, [1, 0, u64::MAX], &DrainTransit { drain: true }).await;
    link.hears::<u64>().await;
    assert!(gateway.network().is_draining_transit(), "it is an operator");
    fill(&gateway, link.sender()).await;
    for number in 2..18 {
        link.send_request(inspector, [number, 0, u64::MAX], &DescribeNode).await;
    }
    link.send_request(inspector, [18, 0, u64::MAX], &DrainTransit { drain: false }).await;
    let read = || gateway.network().peer(link.local.node.as_str()).unwrap().frames_in;
    while read() < 18 || gateway.process_info(inspector).unwrap().summary.mailbox.total() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.inspect(inspector, PATIENCE).await.unwrap()[0].value, "16", "it has had its share");
    assert!(gateway.network().is_draining_transit(), "it stays as it was");
    gateway.stop().await;
}
