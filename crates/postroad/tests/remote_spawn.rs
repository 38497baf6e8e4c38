//! Processes that one node has another one start.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::sync::mpsc;
use std::time::Duration;

use postroad::inspect::{ListProcesses, ProcessState};
use postroad::network::{
    DisableError, EnableError, MemoryNetwork, NetworkRoute, Nodes, OfferedTo, RemoteNode, RemoteSpawnError,
    RemoteStartError,
};
use postroad::{
    Actor, Answer, Atom, Context, Environment, ExitReason, Message, NetworkFlags, Node, NodeBuilder, Payload,
    Pid, Reply, SpawnOptions, Watched,
};
use postroad_wire::enp::any::{self, Request, Spawn};
use support::puppet::{Wish, puppet, wish};
use support::scripted::{Desk, Link, introduction};
use support::{Adder, COOKIE, Echo, builder, node, port};
use tokio::sync::Notify;

/// Tells where it comes from and what it was given.
struct Worker(String);

/// What a worker is.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(name = "#postroad/remote_spawn/Origin")]
struct Origin {
    given: String,
    parent: Pid,
    leader: Pid,
    variables: Vec<String>,
}

/// Wants to know that.
#[derive(Debug, Message)]
#[message(name = "#postroad/remote_spawn/WhoAreYou")]
struct WhoAreYou;

/// Spawn a worker on that node, and tell its pid or why not.
#[derive(Debug, Message)]
#[message(name = "#postroad/remote_spawn/SpawnOn")]
struct SpawnOn(String, String, String);

/// Spawn a worker on that node: linked to its parent, or the parent to it.
#[derive(Debug, Message)]
#[message(name = "#postroad/remote_spawn/SpawnLinked")]
struct SpawnLinked {
    node: String,
    link_parent: bool,
}

impl Actor for Worker {
    type Args = String;
    type Messages = ();
    type Requests = (WhoAreYou, SpawnOn, SpawnLinked);

    async fn init(given: String, _: &mut Context) -> Result<Self, ExitReason> {
        match given.as_str() {
            "fail" => Err(ExitReason::error("out of coffee")),
            "panic" => panic!("asked to"),
            _ => Ok(Self(given)),
        }
    }
}

impl Answer<WhoAreYou> for Worker {
    type Reply = Origin;

    async fn answer(&mut self, _: WhoAreYou, ctx: &mut Context) -> Result<Reply<Origin>, ExitReason> {
        Ok(Reply::Now(Origin {
            given: self.0.clone(),
            parent: ctx.parent(),
            leader: ctx.leader(),
            variables: ctx.environment().names().map(str::to_owned).collect(),
        }))
    }
}

impl Answer<SpawnOn> for Worker {
    type Reply = Pid;

    async fn answer(
        &mut self,
        SpawnOn(node, actor, register): SpawnOn,
        ctx: &mut Context,
    ) -> Result<Reply<Pid>, ExitReason> {
        let mut options = SpawnOptions::new();
        if !register.is_empty() {
            options = options.name(register);
        }
        match ctx.spawn_on(&node, &actor, options, "by a process".to_owned()).await {
            Ok(pid) => Ok(Reply::Now(pid)),
            Err(error) => Ok(Reply::Error(postroad::edf::ErrorValue::new(error.to_string()))),
        }
    }
}

impl Answer<SpawnLinked> for Worker {
    type Reply = Pid;

    async fn answer(
        &mut self,
        SpawnLinked { node, link_parent }: SpawnLinked,
        ctx: &mut Context,
    ) -> Result<Reply<Pid>, ExitReason> {
        let options = SpawnOptions::new();
        let options = if link_parent { options.link_parent() } else { options.link_child() };
        Ok(Reply::Now(ctx.spawn_on(&node, "worker", options, "linked".to_owned()).await?))
    }
}

fn variables(names: &[&str]) -> Environment {
    let mut environment = Environment::new();
    for name in names {
        environment.set(name, &true).unwrap();
    }
    environment
}

/// Two nodes, of which the second is connected as the handle says.
async fn pair(here: NodeBuilder) -> (Node, Node, RemoteNode) {
    let here = here.start().await.unwrap();
    let there = builder("there").environment(variables(&["theirs"])).start().await.unwrap();
    let route = NetworkRoute::to("127.0.0.1", port(&there));
    let remote = here.network().connect_with(there.name().as_str(), route).await.unwrap();
    (here, there, remote)
}

async fn origin(node: &Node, worker: Pid) -> Origin {
    node.call(worker, WhoAreYou).await.unwrap()
}

#[tokio::test]
async fn conformance_t01_t02_a_node_has_a_process_started() {
    let exposing = builder("here").environment(variables(&["ours"])).expose_env_remote_spawn(true);
    let (here, there, remote) = pair(exposing).await;
    there.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let options = SpawnOptions::new().environment(variables(&["own"])).name("foreman");
    let worker = remote.spawn("worker", options, "work".to_owned()).await.unwrap();
    assert_eq!(worker.node, there.name());
    assert_eq!(there.whereis("foreman"), Some(worker));
    let expected = Origin {
        given: "work".into(),
        parent: here.pid(),
        leader: here.pid(),
        variables: vec!["OURS".into(), "OWN".into()],
    };
    assert_eq!(origin(&here, worker).await, expected);
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn conformance_t03_t04_t05_a_process_has_a_process_started() {
    let exposing = builder("here").environment(variables(&["ours"])).expose_env_remote_spawn(true);
    let (here, there, _) = pair(exposing).await;
    there.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let leader = here.spawn::<Worker>("leader".into()).await.unwrap();
    let options = SpawnOptions::new().leader(leader).environment(variables(&["parent's"]));
    let parent = here.spawn_with::<Worker>("parent".into(), options).await.unwrap();
    let spawn = async |node: &Node, actor: &str, register: &str| {
        let wish = SpawnOn(node.name().to_string(), actor.into(), register.into());
        here.call::<Pid>(parent, wish).await.map_err(|error| error.to_string())
    };

    let child = spawn(&there, "worker", "child").await.unwrap();
    let variables = vec!["OURS".into(), "PARENT'S".into()];
    let expected = Origin { given: "by a process".into(), parent, leader, variables };
    assert_eq!(origin(&here, child).await, expected);
    assert_eq!(there.whereis("child"), Some(child));
    let taken = spawn(&there, "worker", "child").await.unwrap_err();
    assert!(taken.contains("resource is taken"), "{taken}");
    let unknown = spawn(&there, "wrecker", "").await.unwrap_err();
    assert!(unknown.contains("unknown name"), "{unknown}");
    let own = spawn(&here, "worker", "").await.unwrap_err();
    assert!(own.contains("not allowed"), "{own}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn conformance_t06_who_is_not_listed_is_refused_and_nothing_is_exposed() {
    let (here, there, remote) = pair(builder("here").environment(variables(&["secret"]))).await;
    let network = there.network();
    let spawn = async || remote.spawn("worker", SpawnOptions::new(), "work".to_owned()).await;
    network.enable_spawn::<Worker>("worker", Nodes::only(["somebody@else"])).unwrap();
    let error = spawn().await.unwrap_err();
    assert!(matches!(error, RemoteSpawnError::NotAllowed { .. }), "{error}");
    network.enable_spawn::<Worker>("worker", Nodes::only([here.name().as_str()])).unwrap();
    let worker = spawn().await.unwrap();
    assert_eq!(origin(&here, worker).await.variables, Vec::<String>::new());
    let offered = &network.info().spawns[0];
    assert_eq!(offered.name.as_str(), "worker");
    assert!(matches!(&offered.offered_to, OfferedTo::Nodes(nodes) if nodes.contains(&here.name())));

    network.disable_spawn("worker", Nodes::only([here.name().as_str()])).unwrap();
    assert!(matches!(spawn().await, Err(RemoteSpawnError::NotAllowed { .. })));
    network.disable_spawn("worker", Nodes::Any).unwrap();
    assert!(matches!(spawn().await, Err(RemoteSpawnError::NameUnknown { .. })));
    assert!(matches!(network.disable_spawn("worker", Nodes::Any), Err(DisableError::Unknown)));
    network.enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let other = network.enable_spawn::<Echo>("worker", Nodes::Any);
    assert!(matches!(other, Err(EnableError::Taken { .. })), "another actor");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn conformance_t06_a_peer_that_starts_nothing_is_not_asked() {
    let here = node("here").await;
    let shy = builder("shy").network_flags(NetworkFlags::ENABLE).start().await.unwrap();
    shy.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let route = NetworkRoute::to("127.0.0.1", port(&shy));
    let remote = here.network().connect_with(shy.name().as_str(), route).await.unwrap();
    let frames = here.network().peer(shy.name().as_str()).unwrap().frames_out;
    let error = remote.spawn("worker", SpawnOptions::new(), "work".to_owned()).await.unwrap_err();
    assert!(matches!(error, RemoteSpawnError::NotAllowed { .. }), "{error}");
    let error = remote.start_application("shop").await.unwrap_err();
    assert!(matches!(error, RemoteStartError::NotAllowed { .. }), "{error}");
    assert_eq!(here.network().peer(shy.name().as_str()).unwrap().frames_out, frames, "nothing was sent");
    here.stop().await;
    shy.stop().await;
}

/// A node that withholds all flags is not known as one of this library, and takes
/// the other for a stranger: both write and read what strangers do.
#[tokio::test]
async fn a_node_without_flags_asks_and_is_answered() {
    let shy = builder("shy").network_flags(NetworkFlags::NONE);
    let (shy, open, remote) = pair(shy).await;
    open.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let worker = remote.spawn("worker", SpawnOptions::new(), "work".to_owned()).await.unwrap();
    assert_eq!(worker.node, open.name());
    let back = open.network().connect(shy.name().as_str()).await.unwrap();
    let error = back.spawn("worker", SpawnOptions::new(), "work".to_owned()).await.unwrap_err();
    assert!(matches!(error, RemoteSpawnError::NotAllowed { .. }), "{error}");
    shy.stop().await;
    open.stop().await;
}

#[tokio::test]
async fn arguments_must_fit() {
    let (here, there, remote) = pair(builder("here")).await;
    let network = there.network();
    network.enable_spawn::<Echo>("echo", Nodes::Any).unwrap();
    network.enable_spawn::<Adder>("adder", Nodes::Any).unwrap();
    let sum = |list: Vec<Payload>| list.into_iter().map(|n| n.downcast::<i64>().ok()).sum::<Option<i64>>();
    network.enable_spawn_with::<Adder>("sum", Nodes::Any, sum).unwrap();
    network.enable_spawn_with::<Adder>("clumsy", Nodes::Any, |_| panic!("asked to")).unwrap();

    let echo = remote.spawn("echo", SpawnOptions::new(), ()).await.unwrap();
    assert_eq!(here.call::<u8>(echo, 7u8).await.unwrap(), 7);
    let adder = remote.spawn("adder", SpawnOptions::new(), 5i64).await.unwrap();
    assert_eq!(here.call::<i64>(adder, false).await.unwrap(), 5);
    let numbers = || [20i64, 22].map(Payload::new).into_iter().collect::<Vec<_>>();
    let adder = remote.spawn("sum", SpawnOptions::new(), numbers()).await.unwrap();
    assert_eq!(here.call::<i64>(adder, false).await.unwrap(), 42);

    let wrong = |error| assert!(matches!(error, RemoteSpawnError::Arguments { .. }), "{error}");
    wrong(remote.spawn("echo", SpawnOptions::new(), 1u8).await.unwrap_err());
    wrong(remote.spawn("adder", SpawnOptions::new(), ()).await.unwrap_err());
    wrong(remote.spawn("adder", SpawnOptions::new(), "five".to_owned()).await.unwrap_err());
    wrong(remote.spawn("adder", SpawnOptions::new(), numbers()).await.unwrap_err());
    wrong(remote.spawn("sum", SpawnOptions::new(), "five".to_owned()).await.unwrap_err());
    wrong(remote.spawn("clumsy", SpawnOptions::new(), ()).await.unwrap_err());
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn a_failed_init_says_why() {
    let (here, there, remote) = pair(builder("here")).await;
    there.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    for (given, reason) in [("fail", ExitReason::error("out of coffee")), ("panic", ExitReason::Panic)] {
        let error = remote.spawn("worker", SpawnOptions::new(), given.to_owned()).await.unwrap_err();
        assert!(matches!(&error, RemoteSpawnError::Init(why) if *why == reason), "{error}");
    }
    assert_eq!(there.process_count(), 0);
    here.stop().await;
    there.stop().await;
}

static BEGUN: Notify = Notify::const_new();
static LEFT: Notify = Notify::const_new();

/// Never begins.
struct Slow;

impl Drop for Slow {
    fn drop(&mut self) {
        LEFT.notify_one();
    }
}

impl Actor for Slow {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        let slow = Self;
        BEGUN.notify_one();
        std::future::pending::<()>().await;
        Ok(slow)
    }
}

/// Its link is read on meanwhile, and there is no process once nobody would
/// know of it.
#[tokio::test]
async fn a_process_that_does_not_begin_holds_up_nobody() {
    let (here, there, remote) = pair(builder("here")).await;
    let network = there.network();
    network.enable_spawn::<Slow>("slow", Nodes::Any).unwrap();
    network.enable_spawn::<Echo>("echo", Nodes::Any).unwrap();
    let asker = remote.clone();
    let asking = tokio::spawn(async move { asker.spawn("slow", SpawnOptions::new(), ()).await });
    BEGUN.notified().await;
    let echo = remote.spawn("echo", SpawnOptions::new(), ()).await.unwrap();
    assert_eq!(here.call::<u8>(echo, 7u8).await.unwrap(), 7);
    assert_eq!(there.process_count(), 2);

    here.network().disconnect(there.name().as_str()).await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, RemoteSpawnError::NoConnection { .. }), "{error}");
    LEFT.notified().await;
    while there.process_count() > 1 {
        tokio::task::yield_now().await;
    }
    here.stop().await;
    there.stop().await;
}

/// Who is linked ends with the other one, whichever node that is on; who is
/// not does not.
#[tokio::test]
async fn links_between_parent_and_child_hold_across_nodes() {
    let (here, there, _) = pair(builder("here")).await;
    there.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    for link_parent in [true, false] {
        let parent = here.spawn::<Worker>("parent".into()).await.unwrap();
        let wish = || SpawnLinked { node: there.name().to_string(), link_parent };
        let child: Pid = here.call(parent, wish()).await.unwrap();
        let (dies, survives) = if link_parent { (parent, child) } else { (child, parent) };
        let home = |pid: Pid| if pid.node == here.name() { &here } else { &there };
        home(dies).kill(dies);
        while home(survives).mailbox_len(survives).is_some() {
            tokio::task::yield_now().await;
        }
        let other = here.spawn::<Worker>("parent".into()).await.unwrap();
        let unlinked: Pid = here
            .call(other, SpawnOn(there.name().to_string(), "worker".into(), String::new()))
            .await
            .unwrap();
        here.kill(other);
        while here.mailbox_len(other).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(origin(&here, unlinked).await.parent, other);
    }
    here.stop().await;
    there.stop().await;
}

/// A parent that is gone by the time it is to be linked to takes the child with it.
#[tokio::test]
async fn a_child_that_cannot_be_linked_to_its_parent_does_not_live() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    node.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let arguments = vec![Payload::new("work".to_owned())];
    let name = Atom::new("worker").unwrap();
    let mut spawn = Spawn { arguments, ..Spawn::new(name, link.sender(), link.reference(1)) };
    spawn.options.link_parent = true;
    link.ask(&Request::Spawn(Box::new(spawn))).await;
    let Request::Watch(watch) = link.hears_request().await else { panic!("a link") };
    assert_eq!((watch.verb, watch.target), (any::Verb::Link, any::WatchTarget::Pid(link.sender())));
    let error = Some(postroad::edf::ErrorValue::new("unknown process"));
    let answer = any::Answer { error, result: Payload::new(()), reference: watch.reference };
    let payload = link.encode(&answer);
    link.send_frame(&postroad_wire::enp::Head::Any, &payload).await;
    let (answer, _) = link.hears_answer().await;
    assert_eq!(answer.error.unwrap().to_string(), "not linked to its parent: unknown process");
    while node.process_count() > 0 {
        tokio::task::yield_now().await;
    }
    node.stop().await;
}

/// A gate that the `init` of a late one waits at, and that it has got there.
static LATE: Notify = Notify::const_new();
static ON: Notify = Notify::const_new();

/// Takes its time to begin.
struct Late;

impl Actor for Late {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        LATE.notify_one();
        ON.notified().await;
        Ok(Self)
    }
}

/// The parent ends while its child begins on another node: linked to it, the
/// child does not live; otherwise it does, and nothing is left of the parent's
/// link.
#[tokio::test]
async fn a_parent_that_ends_while_its_child_begins_takes_along_who_is_linked_to_it() {
    let (here, there, _) = pair(builder("here")).await;
    there.network().enable_spawn::<Late>("late", Nodes::Any).unwrap();
    for linked in [true, false] {
        let parent = puppet(&here).await;
        let name = there.name().to_string();
        let options = SpawnOptions::new();
        let options = if linked { options.link_parent() } else { options.link_child() };
        let spawning = tokio::spawn(async move {
            let pid = parent.pid;
            let spawned = parent.act(move |ctx| {
                Box::pin(async move { ctx.spawn_on(&name, "late", options, ()).await.is_ok() })
            });
            (pid, spawned.await)
        });
        LATE.notified().await;
        let parent = here.processes(&ListProcesses::default()).processes[0].pid;
        assert!(here.kill(parent));
        while here.process_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(spawning.await.is_err(), "nobody is told");
        assert_eq!(there.process_count(), 1, "it is still beginning");
        ON.notify_one();
        if linked {
            while there.process_count() > 0 {
                tokio::task::yield_now().await;
            }
            continue;
        }
        let child = there.processes(&ListProcesses::default()).processes[0].pid;
        while there.process_info(child).unwrap().summary.state != ProcessState::Idle {
            tokio::task::yield_now().await;
        }
        let witness = puppet(&here).await;
        wish(&witness, Wish::Monitor, Watched::Pid(child)).await.unwrap();
        let counts = |node: &Node, peer: &Node| {
            let peer = node.network().peer(peer.name().as_str()).unwrap();
            (peer.watching, peer.watched)
        };
        assert_eq!(counts(&here, &there), (1, 0), "what the witness watches");
        assert_eq!(counts(&there, &here), (0, 1));
    }
    here.stop().await;
    there.stop().await;
}

/// What a peer may ask for that lies, and what it gets.
#[tokio::test]
async fn a_peer_asks_for_itself_only() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    node.network().enable_spawn::<Worker>("worker", Nodes::Any).unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let name = Atom::new("worker").unwrap();
    let third = Pid { node: Atom::new("third@127.0.0.1").unwrap(), ..link.sender() };
    let spawn = Spawn::new(name, third, link.reference(1));
    link.ask(&Request::Spawn(Box::new(spawn))).await;
    let (answer, _) = link.hears_answer().await;
    assert_eq!(answer.error.unwrap().to_string(), "not allowed");

    let arguments = vec![Payload::new("work".to_owned())];
    let spawn = Spawn { arguments, ..Spawn::new(name, link.sender(), link.reference(2)) };
    link.ask(&Request::Spawn(Box::new(spawn))).await;
    let (answer, _) = link.hears_answer().await;
    assert_eq!((answer.error, answer.reference), (None, link.reference(2)));
    let worker = answer.result.downcast::<Pid>().unwrap();
    assert_eq!(origin(&node, worker).await.parent, link.sender());
    node.stop().await;
}

/// Takes so many seconds to begin.
struct Tardy;

impl Actor for Tardy {
    type Args = u64;
    type Messages = ();
    type Requests = ();

    async fn init(seconds: u64, _: &mut Context) -> Result<Self, ExitReason> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(Self)
    }
}

#[tokio::test(start_paused = true)]
async fn an_init_there_has_the_time_that_was_said_and_no_more() {
    let network = MemoryNetwork::new();
    let node = |name| Node::builder(name).memory_network(&network).cookie(COOKIE).start();
    let (here, there) = (node("one@here").await.unwrap(), node("two@there").await.unwrap());
    there.network().enable_spawn::<Tardy>("tardy", Nodes::Any).unwrap();
    let remote = here.network().connect("two@there").await.unwrap();
    let usual = SpawnOptions::new();
    let patient = |seconds| usual.clone().init_timeout(Duration::from_secs(seconds));
    for (options, limit) in [(usual.clone(), 5), (patient(2), 2), (patient(12), 12), (patient(60), 15)] {
        remote.spawn("tardy", options.clone(), limit - 1).await.unwrap();
        let processes = there.process_count();
        let late = remote.spawn("tardy", options, limit + 1).await.unwrap_err();
        let said = Duration::from_secs(limit);
        assert!(matches!(late, RemoteSpawnError::InitTimeout { limit, .. } if limit == said), "{late}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(there.process_count(), processes, "nobody knows of it");
    }
    here.stop().await;
    there.stop().await;
}

/// A peer that asks for more than it may have at a time is told so.
#[tokio::test]
async fn a_peer_has_so_many_processes_begin_at_a_time() {
    /// Like the slow one, and nobody counts it.
    struct Stuck;

    impl Actor for Stuck {
        type Args = ();
        type Messages = ();
        type Requests = ();

        async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
            std::future::pending().await
        }
    }

    let node = builder("node").pool_size(1).start().await.unwrap();
    node.network().enable_spawn::<Stuck>("stuck", Nodes::Any).unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let name = Atom::new("stuck").unwrap();
    for number in 0..129 {
        let spawn = Spawn::new(name, link.sender(), link.reference(number));
        link.ask(&Request::Spawn(Box::new(spawn))).await;
    }
    let (answer, _) = link.hears_answer().await;
    assert!(answer.error.unwrap().to_string().contains("128 processes are beginning"));
    assert_eq!(answer.reference, link.reference(128), "the last one");
    drop(link);
    while node.process_count() > 0 {
        tokio::task::yield_now().await;
    }
    node.stop().await;
}

/// What a peer answers that lies.
#[tokio::test]
async fn a_process_of_somebody_else_is_no_answer() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let desk = Desk::open().await;
    let mut local = introduction("peer");
    local.flags = local.flags.with(NetworkFlags::REMOTE_SPAWN);
    desk.leads(&node, local.node);
    let (asker, name) = (node.clone(), local.node);
    let asking = tokio::spawn(async move {
        let remote = asker.network().connect(name.as_str()).await.unwrap();
        remote.spawn("worker", SpawnOptions::new(), ()).await
    });
    let mut callee = desk.called(local).await;
    callee.hello().await;
    callee.introduce().await;
    let mut link = callee.agreed().await;
    let spawn = link.hears_request().await;
    let Request::Spawn(spawn) = spawn else { panic!("{spawn:?}") };
    let third = Pid { node: Atom::new("third@127.0.0.1").unwrap(), ..link.sender() };
    let answer = any::Answer { error: None, result: Payload::new(third), reference: spawn.reference };
    let payload = link.encode(&answer);
    link.send_frame(&postroad_wire::enp::Head::Any, &payload).await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, RemoteSpawnError::Malformed { .. }), "{error}");
    node.stop().await;
}

/// Looks at the network when it is dropped.
struct Curious(Node, mpsc::Sender<usize>);

impl Drop for Curious {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.network().info().spawns.len());
    }
}

#[tokio::test]
async fn what_is_enabled_no_more_may_use_the_network_when_it_is_dropped() {
    let node = node("curious").await;
    let (says, said) = mpsc::channel();
    let curious = Curious(node.clone(), says);
    let arguments = move |_| {
        let _ = &curious;
        Some(())
    };
    node.network().enable_spawn_with::<Echo>("worker", Nodes::Any, arguments).unwrap();
    let network = node.network();
    // A thread of its own: one that waits for itself would not let the test fail.
    std::thread::spawn(move || network.disable_spawn("worker", Nodes::Any).unwrap());
    assert_eq!(said.recv_timeout(Duration::from_secs(10)), Ok(0), "it is dropped, and waits for nobody");
    node.stop().await;
}
