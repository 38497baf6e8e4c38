//! Handlers that block their thread: nothing can end them, and they hold nobody
//! else up.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use postroad::application::{ApplicationError, ApplicationSpec, MemberSpec};
use postroad::supervisor::{ChildSpec, Restart, Strategy, Supervisor, SupervisorError, SupervisorSpec};
use postroad::{Actor, Context, ExitReason, Handle, Message, NetworkMode, Node, Pid};
use support::{Echo, builder};
use tokio::sync::mpsc as events;

/// Blocks by its first message until the test opens the gate.
struct Blocker(Gate);

#[derive(Clone)]
struct Gate {
    opened: Arc<Mutex<mpsc::Receiver<()>>>,
    /// Told when somebody waits.
    blocks: events::UnboundedSender<()>,
}

#[derive(Debug, Message)]
#[message(name = "#postroad/blocking/Block")]
struct Block;

impl Actor for Blocker {
    type Args = Gate;
    type Messages = (Block,);
    type Requests = ();

    async fn init(gate: Gate, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(gate))
    }
}

impl Handle<Block> for Blocker {
    async fn handle(&mut self, _: Block, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.blocks.send(());
        let _ = self.0.opened.lock().unwrap().recv();
        Ok(())
    }
}

/// A gate, what opens it when it is dropped, and who waits at it.
fn gate() -> (Gate, mpsc::Sender<()>, events::UnboundedReceiver<()>) {
    let (open, opened) = mpsc::channel();
    let (blocks, blocked) = events::unbounded_channel();
    (Gate { opened: Arc::new(Mutex::new(opened)), blocks }, open, blocked)
}

async fn start(name: &str) -> Node {
    let builder = builder(name).network(NetworkMode::Disabled);
    builder.shutdown_timeout(Duration::from_secs(1)).start().await.unwrap()
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_needs_its_end_ends_and_says_why() {
    let node = start("supervisor").await;
    let (gate, open, mut blocked) = gate();
    let spec = SupervisorSpec::new(Strategy::AllForOne).restart(Restart::Permanent);
    let spec = spec
        .child(ChildSpec::new::<Blocker>("blocker", gate).shutdown_timeout(Duration::ZERO))
        .child(ChildSpec::new::<Echo>("echo", ()));
    let supervisor = node.spawn::<Supervisor>(spec).await.unwrap();
    let (blocker, echo) = (node.whereis("blocker").unwrap(), node.whereis("echo").unwrap());
    node.send(blocker, Block).await.unwrap();
    blocked.recv().await.unwrap();

    let ended = tokio::spawn({
        let node = node.clone();
        async move { node.ended(supervisor).await }
    });
    assert!(node.kill(echo));
    let refused = node.supervisor(supervisor).disable_child("echo").await;
    assert!(matches!(refused, Err(SupervisorError::StrategyActive)), "{refused:?}");
    let reason = in_time("the supervisor does not wait for ever", ended).await.unwrap();
    let expected = format!(
        "child {} does not end: {blocker} blocks its thread; do in spawn_blocking what blocks",
        postroad::Atom::new("blocker").unwrap()
    );
    assert_eq!(reason, Some(ExitReason::error(expected)));
    assert_eq!(node.process_count(), 1);
    drop(open);
    node.ended(blocker).await;
    node.stop().await;
}

/// Has the blocker block, then refuses to start.
struct Unwilling;

type Other = (String, Arc<tokio::sync::Mutex<events::UnboundedReceiver<()>>>);

impl Actor for Unwilling {
    type Args = Other;
    type Messages = ();
    type Requests = ();

    async fn init((blocker, blocked): Other, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.send(blocker.as_str(), Block).await?;
        blocked.lock().await.recv().await;
        Err(ExitReason::error("not today"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_busy_until_its_last_member_has_ended() {
    let node = start("application").await;
    let (gate, open, blocked) = gate();
    let other: Other = ("blocker".into(), Arc::new(tokio::sync::Mutex::new(blocked)));
    let spec = ApplicationSpec::new("shop")
        .member(MemberSpec::new::<Blocker>(gate).name("blocker"))
        .member(MemberSpec::new::<Unwilling>(other));
    node.load_application(spec).unwrap();
    let failed = in_time("the start is given up", node.start_application("shop")).await;
    assert!(matches!(failed, Err(ApplicationError::Member { member: 1, .. })), "{failed:?}");
    let busy = node.start_application("shop").await;
    assert!(matches!(busy, Err(ApplicationError::Busy { .. })), "{busy:?}");
    assert_eq!(node.process_count(), 1);
    node.load_application(
        ApplicationSpec::new("mall").depends_on("shop").member(MemberSpec::new::<Echo>(())),
    )
    .unwrap();
    let needs_it = in_time("nor is it waited for", node.start_application("mall")).await.unwrap_err();
    let ApplicationError::Dependency { source, .. } = needs_it else { panic!("{needs_it}") };
    assert!(matches!(*source, ApplicationError::Busy { .. }), "{source}");
    drop(open);
    let again = loop {
        match node.start_application("shop").await.unwrap_err() {
            ApplicationError::Busy { .. } => tokio::task::yield_now().await,
            error => break error,
        }
    };
    assert!(matches!(again, ApplicationError::Member { member: 1, .. }), "{again:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_and_leaves_it_behind() {
    let node = start("node").await;
    let (gate, open, mut blocked) = gate();
    let blocker: Pid = node.spawn::<Blocker>(gate).await.unwrap();
    node.send(blocker, Block).await.unwrap();
    blocked.recv().await.unwrap();
    in_time("the node stops", node.stop()).await;
    assert_eq!(node.process_count(), 1);
    drop(open);
    node.ended(blocker).await;
    assert_eq!(node.process_count(), 0);
}
