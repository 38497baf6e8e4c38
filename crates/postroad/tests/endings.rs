//! How processes and nodes end: kills, hanging clean-up, panics in drops.

mod support;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use postroad::registrar::{
    BoxFuture, Endpoint, RegisterError, Registered, Registrar, Registration, ResolveError, Resolver,
};
use postroad::{
    Actor, Answer, Atom, CallError, Context, ExitReason, Handle, NameError, NetworkMode, Node, Reply,
    SendError, SpawnError, SpawnOptions,
};
use support::{Adder, Echo, unique};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

async fn node(name: &str) -> Node {
    Node::builder(unique(name)).network(NetworkMode::Disabled).start().await.expect("a node")
}

async fn no_process_left(node: &Node) {
    while node.process_count() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Stops a node in no time: nothing hangs. For paused clocks.
async fn stops_at_once(node: Node) {
    let begun = Instant::now();
    node.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// Never gets done with cleaning up.
struct Tidy(mpsc::UnboundedSender<&'static str>);

impl Actor for Tidy {
    type Args = mpsc::UnboundedSender<&'static str>;
    type Messages = ();
    type Requests = ();

    async fn init(tell: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(tell))
    }

    async fn terminated(&mut self, _: &ExitReason, ctx: &mut Context) {
        assert!(matches!(ctx.register_name("late"), Err(NameError::ProcessTerminated)));
        self.0.send("tidying").expect("the test listens");
        pending().await
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        self.0.send("gone").expect("the test listens");
    }
}

#[tokio::test]
async fn a_process_that_cleans_up_can_be_killed() {
    let node = node("tidy").await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let named = SpawnOptions::new().name("tidy");
    let tidy = node.spawn_with::<Tidy>(tell, named).await.unwrap();
    node.send_exit(tidy, ExitReason::Shutdown).await.unwrap();
    assert_eq!(told.recv().await, Some("tidying"));
    assert_eq!(node.whereis("tidy"), None);
    assert!(matches!(node.register_name("late", tidy), Err(NameError::ProcessTerminated)));
    assert!(matches!(node.send(tidy, 1u8).await, Err(SendError::ProcessTerminated)));
    assert_eq!(node.process_count(), 1, "about to end");
    assert!(node.kill(tidy));
    assert_eq!(told.recv().await, Some("gone"));
    no_process_left(&node).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_kills_what_does_not_end_and_keeps_its_deadline() {
    let node = node("deadline").await;
    let (tell, mut told) = mpsc::unbounded_channel();
    node.spawn::<Tidy>(tell).await.unwrap();
    let hanging = tokio::spawn({
        let node = node.clone();
        async move { node.spawn::<Hatching>(Hatch::Never).await }
    });
    while node.process_count() < 2 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    node.stop().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(told.recv().await, Some("tidying"));
    assert_eq!(told.recv().await, Some("gone"));
    assert!(matches!(hanging.await.unwrap(), Err(SpawnError::Init(ExitReason::Kill))));
    assert_eq!(node.process_count(), 0);
}

/// Registers at once or never, and never gets done with leaving.
#[derive(Debug)]
struct Sticky {
    registers: bool,
    registering: mpsc::UnboundedSender<Endpoint>,
    leaving: Notify,
}

impl Resolver for Sticky {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async { Err(ResolveError::Unknown) })
    }

    fn describe(&self) -> String {
        "a registrar that hangs".to_owned()
    }
}

impl Registrar for Sticky {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async move {
            for endpoint in registration.endpoints {
                self.registering.send(endpoint).expect("the test listens");
            }
            if self.registers { Ok(Registered::default()) } else { pending().await }
        })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.leaving.notify_one();
            pending().await
        })
    }
}

fn sticky(registers: bool) -> (Arc<Sticky>, mpsc::UnboundedReceiver<Endpoint>) {
    let (registering, registered) = mpsc::unbounded_channel();
    (Arc::new(Sticky { registers, registering, leaving: Notify::new() }), registered)
}

#[tokio::test(start_paused = true)]
async fn a_registrar_that_hangs_does_not_hold_a_node() {
    let (registrar, _registered) = sticky(true);
    let builder = Node::builder(unique("sticky")).network(NetworkMode::Hidden).cookie("c");
    let node = builder.registrar(registrar).start().await.unwrap();
    let begun = Instant::now();
    node.stop().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn an_abandoned_start_leaves_nothing_behind() {
    let (registrar, mut registered) = sticky(false);
    let start = support::builder("abandoned").registrar(registrar.clone()).start();
    let endpoint = tokio::select! {
        _ = start => unreachable!("the registrar never answers"),
        endpoint = registered.recv() => endpoint.unwrap(),
    };
    registrar.leaving.notified().await;
    while tokio::net::TcpStream::connect(("127.0.0.1", endpoint.port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[derive(Clone, Copy)]
enum Hatch {
    Never,
    Killed,
}

/// Does not come to life.
struct Hatching;

impl Actor for Hatching {
    type Args = Hatch;
    type Messages = ();
    type Requests = ();

    async fn init(how: Hatch, ctx: &mut Context) -> Result<Self, ExitReason> {
        match how {
            Hatch::Never => pending().await,
            Hatch::Killed => {
                assert!(ctx.node().kill(ctx.pid()));
                Ok(Self)
            }
        }
    }
}

/// Is killed by the last thing it handles, without a pause after it.
struct Suicidal;

impl Actor for Suicidal {
    type Args = ();
    type Messages = (u8,);
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Handle<u8> for Suicidal {
    async fn handle(&mut self, _: u8, ctx: &mut Context) -> Result<(), ExitReason> {
        assert!(ctx.node().kill(ctx.pid()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_not_lost_beside_init_or_the_end_of_a_run() {
    let node = node("kills").await;
    let _ = node.spawn::<Hatching>(Hatch::Killed).await;
    no_process_left(&node).await;
    let suicidal = node.spawn::<Suicidal>(()).await.unwrap();
    node.send(suicidal, 1u8).await.unwrap();
    no_process_left(&node).await;
    stops_at_once(node).await;
}

/// Goes off when it is dropped, if it is live.
#[derive(postroad::Message)]
struct Grenade {
    live: bool,
}

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(!self.live || std::thread::panicking(), "a grenade goes off");
    }
}

fn grenade() -> Grenade {
    Grenade { live: true }
}

/// Carries a grenade, and gets others.
struct Soldier {
    _own: Grenade,
    answering: Arc<Notify>,
}

impl Actor for Soldier {
    type Args = (bool, Arc<Notify>);
    type Messages = (Grenade,);
    type Requests = (u8, u16);

    async fn init((live, answering): Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { _own: Grenade { live }, answering })
    }
}

impl Handle<Grenade> for Soldier {
    async fn handle(&mut self, grenade: Grenade, _: &mut Context) -> Result<(), ExitReason> {
        let _held = grenade;
        pending().await
    }
}

/// Answers with a grenade, when it may.
impl Answer<u8> for Soldier {
    type Reply = Grenade;

    async fn answer(&mut self, _: u8, _: &mut Context) -> Result<Reply<Grenade>, ExitReason> {
        self.answering.notified().await;
        Ok(Reply::Now(grenade()))
    }
}

impl Answer<u16> for Soldier {
    type Reply = u16;

    async fn answer(&mut self, number: u16, _: &mut Context) -> Result<Reply<u16>, ExitReason> {
        Ok(Reply::Now(number))
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_an_actor_stays_there() {
    let node = node("actor-drop").await;
    for reason in [ExitReason::Normal, ExitReason::Kill] {
        let soldier = node.spawn::<Soldier>((true, Arc::default())).await.unwrap();
        match reason {
            ExitReason::Kill => assert!(node.kill(soldier)),
            reason => node.send_exit(soldier, reason).await.unwrap(),
        }
        no_process_left(&node).await;
    }
    stops_at_once(node).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_message_stays_there() {
    let node = node("message-drop").await;
    let soldier = node
        .spawn_with::<Soldier>((false, Arc::default()), SpawnOptions::new().mailbox_capacity(2))
        .await
        .unwrap();
    node.send(soldier, grenade()).await.unwrap();
    while node.mailbox_len(soldier) != Some(0) {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        node.send(soldier, grenade()).await.unwrap();
    }
    assert!(matches!(node.send(soldier, grenade()).await, Err(SendError::MailboxFull)));
    assert!(node.kill(soldier), "one is being handled, two wait");
    no_process_left(&node).await;
    assert!(matches!(node.send(soldier, grenade()).await, Err(SendError::ProcessUnknown)));
    stops_at_once(node).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_an_answer_stays_there() {
    let node = node("answer-drop").await;
    let answering = Arc::new(Notify::new());
    let soldier = node.spawn::<Soldier>((false, answering.clone())).await.unwrap();
    let timeout = Duration::from_millis(1);
    let unheard = node.call_with_timeout::<Grenade>(soldier, 1u8, timeout).await;
    assert!(matches!(unheard, Err(CallError::Timeout(_))));
    answering.notify_one();
    let next: u16 = node.call(soldier, 7u16).await.unwrap();
    assert_eq!(next, 7, "the answer that nobody heard has not ended the process");
    stops_at_once(node).await;
}

#[tokio::test]
async fn no_duration_is_too_long() {
    let start = |name| support::builder(name).timeouts(Duration::MAX, Duration::MAX, Duration::MAX).start();
    let (here, there) = (start("patient").await.unwrap(), start("slow").await.unwrap());
    let route =
        postroad::network::NetworkRoute::to("127.0.0.1", support::port(&there)).timeout(Duration::MAX);
    here.network().add_route(&postroad::network::exact(there.name().as_str()), route, 1).unwrap();
    let adder = there.spawn::<Adder>(1).await.unwrap();
    let near = here.spawn::<Adder>(2).await.unwrap();
    assert_eq!(here.call_with_timeout::<i64>(adder, false, Duration::MAX).await.unwrap(), 1);
    assert_eq!(here.call_with_timeout::<i64>(near, false, Duration::MAX).await.unwrap(), 2);
    let echo = here.spawn::<Echo>(()).await.unwrap();
    let late = here.send_after(echo, 1u8, Duration::MAX).unwrap();
    let seldom = here.send_every(echo, 1u8, Duration::MAX).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(late.cancel());
    assert!(seldom.cancel());
    here.stop().await;
    there.stop().await;
}

#[test]
fn a_process_whose_runtime_is_gone_ends_when_it_is_needed() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (gone, here) = (runtime(), runtime());
    let (tell, mut told) = mpsc::unbounded_channel();
    let (node, idle) = gone.block_on(async {
        let node = node("gone").await;
        let idle = node.spawn::<Tidy>(tell).await.unwrap();
        (node, idle)
    });
    drop(gone);
    assert_eq!(node.process_count(), 1, "nothing of an idle process runs");
    here.block_on(node.send(idle, 1u8)).unwrap();
    assert_eq!(node.process_count(), 0, "nobody can run it");
    assert_eq!(told.try_recv(), Ok("gone"));
    assert!(matches!(here.block_on(node.send(idle, 1u8)), Err(SendError::ProcessUnknown)));
}
