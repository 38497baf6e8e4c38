//! Processes of one node: life, messages, calls, names, timers.

mod support;

use std::future::Future;
use std::sync::OnceLock;
use std::task::{self, Poll, Waker};
use std::time::Duration;

use postroad::edf::ErrorValue;
use postroad::{
    Actor, Answer, CallError, Context, Exit, ExitReason, Handle, NameError, Node, Payload, Pid, Priority,
    Reply, SendError, SpawnError, SpawnOptions,
};
use support::puppet::puppet;
use support::{Adder, Echo, next, node, probe};
use tokio::sync::{mpsc, oneshot};

#[tokio::test]
async fn messages_arrive_in_order_and_calls_are_answered() {
    let node = node("order").await;
    let adder = node.spawn::<Adder>(0).await.unwrap();
    for number in 1..=1000i64 {
        node.send(adder, number).await.unwrap();
    }
    let sum: i64 = node.call(adder, false).await.unwrap();
    assert_eq!(sum, 500_500);
    node.stop().await;
}

#[tokio::test]
async fn every_way_to_answer() {
    let node = node("answers").await;
    let adder = node.spawn::<Adder>(5).await.unwrap();
    node.call::<()>(adder, "nil".to_owned()).await.unwrap();
    let later: i64 = node.call(adder, "later".to_owned()).await.unwrap();
    assert_eq!(later, 7);
    let error = node.call::<()>(adder, "no such thing".to_owned()).await.unwrap_err();
    assert!(matches!(error, CallError::Answer(error) if *error.text() == "no such thing"));
    assert!(matches!(node.call::<()>(adder, "never".to_owned()).await, Err(CallError::NoAnswer)));
    assert!(matches!(
        node.call::<String>(adder, false).await,
        Err(CallError::UnexpectedAnswer { expected, got }) if expected.ends_with("String") && &*got == "i64"
    ));
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let error = ErrorValue::new("out of stock");
    let told = node.call::<i64>(echo, error.clone()).await.unwrap_err();
    assert!(matches!(told, CallError::Answer(text) if text == error), "an answer that is an error is one");
    assert_eq!(node.call::<ErrorValue>(echo, error.clone()).await.unwrap(), error, "if asked for");
    let unhandled = node.call::<()>(adder, 1u8).await.unwrap_err();
    assert!(matches!(unhandled, CallError::Answer(error) if *error.text() == "not supported"));
    let last: i64 = node.call(adder, true).await.unwrap();
    assert_eq!(last, 5);
    assert!(matches!(
        node.call::<i64>(adder, false).await,
        Err(CallError::Send(SendError::ProcessUnknown) | CallError::NoAnswer)
    ));
    node.stop().await;
}

#[tokio::test]
async fn a_call_ends_when_the_callee_does() {
    let node = node("callee-ends").await;
    for how in ["panic", "exit"] {
        let adder = node.spawn::<Adder>(0).await.unwrap();
        let error = node.call::<()>(adder, how.to_owned()).await.unwrap_err();
        assert!(matches!(error, CallError::NoAnswer), "{how}: {error}");
    }
    let adder = node.spawn::<Adder>(0).await.unwrap();
    let (caller, victim) = (node.clone(), adder);
    let call = tokio::spawn(async move { caller.call::<()>(victim, "hang".to_owned()).await });
    let queued = tokio::spawn({
        let node = node.clone();
        async move { node.call::<i64>(adder, false).await }
    });
    while node.mailbox_len(adder) != Some(1) {
        tokio::task::yield_now().await;
    }
    assert!(node.kill(adder), "in the middle of a handler");
    assert!(matches!(call.await.unwrap(), Err(CallError::NoAnswer)));
    assert!(
        matches!(queued.await.unwrap(), Err(CallError::NoAnswer)),
        "what lies in the mailbox is answered too"
    );
    assert!(!node.kill(adder));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_times_out() {
    let node = Node::builder(support::unique("timeout"))
        .network(postroad::NetworkMode::Disabled)
        .start()
        .await
        .unwrap();
    let adder = node.spawn::<Adder>(0).await.unwrap();
    let patience = Duration::from_millis(1500);
    let error = node.call_with_timeout::<()>(adder, "hang".to_owned(), patience).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(after) if after == patience));
    node.kill(adder);
    node.stop().await;
}

#[tokio::test]
async fn a_panic_stays_in_its_process() {
    let node = node("panic").await;
    let other = node.spawn::<Adder>(1).await.unwrap();
    let victim = node.spawn_with::<Adder>(0, SpawnOptions::new().name("victim")).await.unwrap();
    let _ = node.call::<()>(victim, "panic".to_owned()).await;
    assert_eq!(node.whereis("victim"), None, "its name is free again");
    assert!(matches!(node.send(victim, 1i64).await, Err(SendError::ProcessUnknown)));
    assert_eq!(node.call::<i64>(other, false).await.unwrap(), 1);
    node.stop().await;
}

struct Unborn;

impl Actor for Unborn {
    type Args = bool;
    type Messages = ();
    type Requests = ();

    async fn init(panic: bool, ctx: &mut Context) -> Result<Self, ExitReason> {
        assert!(!panic, "asked to");
        ctx.create_alias();
        Err(ExitReason::error("not today"))
    }
}

#[tokio::test]
async fn what_fails_to_start_never_existed() {
    let node = node("unborn").await;
    let named = || SpawnOptions::new().name("unborn");
    let error = node.spawn_with::<Unborn>(false, named()).await.unwrap_err();
    assert!(matches!(&error, SpawnError::Init(reason) if reason.as_str() == "not today"), "{error}");
    let error = node.spawn_with::<Unborn>(true, named()).await.unwrap_err();
    assert!(matches!(error, SpawnError::Init(ExitReason::Panic)));
    assert_eq!(node.process_count(), 0);
    assert_eq!(node.whereis("unborn"), None);
    assert!(matches!(
        node.spawn_with::<Echo>((), SpawnOptions::new().name("")).await,
        Err(SpawnError::Name(_))
    ));
    node.stop().await;
}

#[tokio::test]
async fn names_belong_to_one_process() {
    let node = node("names").await;
    let first = node.spawn_with::<Adder>(1, SpawnOptions::new().name("adder")).await.unwrap();
    let taken = node.spawn_with::<Adder>(2, SpawnOptions::new().name("adder")).await.unwrap_err();
    assert!(matches!(taken, SpawnError::NameTaken { .. }));
    assert_eq!(node.call::<i64>("adder", false).await.unwrap(), 1);
    assert_eq!(node.call::<i64>(("adder", node.name()), false).await.unwrap(), 1);
    let second = node.spawn::<Adder>(2).await.unwrap();
    assert!(matches!(node.register_name("adder", second), Err(NameError::Taken { .. })));
    assert_eq!(node.unregister_name("adder").unwrap(), first);
    assert!(matches!(node.unregister_name("adder"), Err(NameError::Unknown)));
    node.register_name("adder", second).unwrap();
    assert_eq!(node.call::<i64>("adder", false).await.unwrap(), 2);
    assert!(
        matches!(node.register_name("another", second), Err(NameError::Taken { .. })),
        "one name per process"
    );
    assert!(matches!(node.register_name("", first), Err(NameError::Invalid(_))));
    assert!(matches!(node.send("nobody", 1i64).await, Err(SendError::ProcessUnknown)));
    node.stop().await;
}

struct Recorder(mpsc::UnboundedSender<u32>, Option<oneshot::Receiver<()>>);

impl Actor for Recorder {
    type Args = (mpsc::UnboundedSender<u32>, Option<oneshot::Receiver<()>>);
    type Messages = (u32, bool);
    type Requests = ();

    async fn init((sender, gate): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.set_trap_exit(true);
        Ok(Self(sender, gate))
    }

    async fn handle_exit(&mut self, exit: Exit, _: &mut Context) -> Result<(), ExitReason> {
        if exit.reason.as_str() == "ignore me" { Ok(()) } else { Err(exit.reason) }
    }

    async fn terminated(&mut self, reason: &ExitReason, _: &mut Context) {
        let _ = self.0.send(if reason.is_orderly() { 1000 } else { 2000 });
    }
}

impl Handle<u32> for Recorder {
    async fn handle(&mut self, number: u32, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.send(number);
        Ok(())
    }
}

impl Handle<bool> for Recorder {
    async fn handle(&mut self, _: bool, _: &mut Context) -> Result<(), ExitReason> {
        if let Some(gate) = self.1.take() {
            let _ = gate.await;
        }
        Ok(())
    }
}

/// Sends with a priority: 3 numbers to a pid.
struct Urgent;

impl Actor for Urgent {
    type Args = Pid;
    type Messages = ();
    type Requests = ();

    async fn init(to: Pid, ctx: &mut Context) -> Result<Self, ExitReason> {
        let lanes = [(1u32, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Max)];
        for (number, priority) in lanes {
            ctx.set_priority(priority);
            ctx.send(to, number).await?;
        }
        Ok(Self)
    }
}

#[tokio::test]
async fn urgent_lanes_overtake() {
    let node = node("lanes").await;
    let (sender, mut received) = mpsc::unbounded_channel();
    let (open, gate) = oneshot::channel();
    let recorder = node.spawn::<Recorder>((sender, Some(gate))).await.unwrap();
    node.send(recorder, true).await.unwrap();
    node.spawn::<Urgent>(recorder).await.unwrap();
    open.send(()).unwrap();
    for expected in [4, 3, 2, 1] {
        assert_eq!(received.recv().await, Some(expected));
    }
    node.stop().await;
    assert_eq!(received.recv().await, Some(1000), "stopped in order, told so");
}

#[tokio::test]
async fn a_bounded_mailbox_says_when_it_is_full() {
    let node = node("bounded").await;
    let (sender, mut received) = mpsc::unbounded_channel();
    let (open, gate) = oneshot::channel();
    let options = SpawnOptions::new().mailbox_capacity(2);
    let recorder = node.spawn_with::<Recorder>((sender, Some(gate)), options).await.unwrap();
    node.send(recorder, true).await.unwrap();
    while node.mailbox_len(recorder) != Some(0) {
        tokio::task::yield_now().await;
    }
    node.send(recorder, 1u32).await.unwrap();
    node.send(recorder, 2u32).await.unwrap();
    assert!(matches!(node.send(recorder, 3u32).await, Err(SendError::MailboxFull)));
    assert!(matches!(node.try_send(recorder, 3u32), Err(SendError::MailboxFull)));
    let stranger = puppet(&node).await;
    let ignored = ExitReason::error("ignore me");
    stranger.act(move |ctx| Box::pin(async move { ctx.send_exit(recorder, ignored).await.unwrap() })).await;
    open.send(()).unwrap();
    assert_eq!(received.recv().await, Some(1));
    assert_eq!(received.recv().await, Some(2));
    node.send(recorder, 4u32).await.unwrap();
    assert_eq!(received.recv().await, Some(4), "there is room again, and the exit was refused");
    node.send_exit(recorder, ExitReason::error("now")).await.unwrap();
    assert_eq!(received.recv().await, Some(2000));
    node.stop().await;
}

#[tokio::test]
async fn aliases_reach_their_process_until_taken_back() {
    struct Aliased;
    impl Actor for Aliased {
        type Args = ();
        type Messages = ();
        type Requests = ();
        async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
            Ok(Self)
        }
        async fn answer_other(
            &mut self,
            request: Payload,
            ctx: &mut Context,
        ) -> Result<Reply<Payload>, ExitReason> {
            Ok(match request.downcast::<postroad::Alias>() {
                Ok(alias) => {
                    ctx.delete_alias(alias)?;
                    Reply::Now(Payload::new(true))
                }
                Err(_) => Reply::Now(Payload::new(ctx.create_alias())),
            })
        }
    }
    let node = node("aliases").await;
    let pid = node.spawn::<Aliased>(()).await.unwrap();
    let first: postroad::Alias = node.call(pid, 0u8).await.unwrap();
    let second: postroad::Alias = node.call(first, 0u8).await.unwrap();
    assert_ne!(first, second);
    assert!(node.call::<bool>(pid, first).await.unwrap());
    assert!(matches!(node.call::<bool>(first, 0u8).await, Err(CallError::Send(SendError::ProcessUnknown))));
    assert!(node.call::<postroad::Alias>(second, 0u8).await.is_ok());
    node.kill(pid);
    while node.process_count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(node.call::<bool>(second, 0u8).await, Err(CallError::Send(SendError::ProcessUnknown))));
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn timers_send_later_and_again_and_stop() {
    let node = Node::builder(support::unique("timers"))
        .network(postroad::NetworkMode::Disabled)
        .start()
        .await
        .unwrap();
    let (pid, mut inbox) = probe(&node).await;
    let begun = tokio::time::Instant::now();
    let cancelled = node.send_after(pid, 1u8, Duration::from_secs(1)).unwrap();
    node.send_after(pid, 2u8, Duration::from_secs(2)).unwrap();
    assert!(cancelled.cancel());
    assert_eq!(next::<u8>(&mut inbox).await, 2);
    assert_eq!(begun.elapsed().as_secs(), 2);
    let series = node.send_every(pid, 3u8, Duration::from_secs(10)).unwrap();
    for _ in 0..3 {
        assert_eq!(next::<u8>(&mut inbox).await, 3);
    }
    assert_eq!(begun.elapsed().as_secs(), 32);
    assert!(series.cancel());
    node.send_after(pid, 4u8, Duration::from_secs(60)).unwrap();
    assert_eq!(next::<u8>(&mut inbox).await, 4, "the series has ended");
    node.stop().await;
}

#[tokio::test]
async fn a_stopped_node_takes_nothing_more() {
    let node = node("stopped").await;
    let echo = node.spawn::<Echo>(()).await.unwrap();
    node.stop().await;
    assert_eq!(node.process_count(), 0);
    assert!(matches!(node.spawn::<Echo>(()).await, Err(SpawnError::NodeStopped)));
    assert!(node.send(echo, 1u8).await.is_err());
    assert!(matches!(node.send(("x", "other@host"), 1u8).await, Err(SendError::NodeStopped)));
    assert!(matches!(node.send("x", 1u8).await, Err(SendError::NodeStopped)));
    let called = node.call::<u8>("x", 1u8).await;
    assert!(matches!(called, Err(CallError::Send(SendError::NodeStopped))), "{called:?}");
    node.stop().await;
}

#[tokio::test]
async fn node_names_are_checked() {
    for name in ["", "a", "a@", "@b", "a@b@c"] {
        let error = Node::builder(name).start().await.unwrap_err();
        assert!(error.to_string().contains("name@host"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_lose_nothing() {
    let node = node("many").await;
    let adder = node.spawn::<Adder>(0).await.unwrap();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move {
                for _ in 0..20_000 {
                    node.send(adder, 1i64).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(node.call::<i64>(adder, false).await.unwrap(), 160_000);
    node.stop().await;
}

/// The node that [`Clingy`] uses.
static CLINGS_TO: OnceLock<Node> = OnceLock::new();

/// Spawns processes and registers a name when it is dropped: that changes every
/// table of the node.
#[derive(postroad::Message)]
struct Clingy(u8);

impl Drop for Clingy {
    fn drop(&mut self) {
        let node = CLINGS_TO.get().expect("set by the test");
        for _ in 0..64 {
            let mut spawn = std::pin::pin!(node.spawn::<Echo>(()));
            let Poll::Ready(echo) = spawn.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) else {
                panic!("its init does not wait");
            };
            let _ = node.register_name("clingy", echo.expect("a process"));
        }
        node.unregister_name("clingy").expect("one of them has it");
    }
}

#[test]
fn what_is_refused_may_use_the_node_when_it_is_dropped() {
    let (done, refused) = std::sync::mpsc::channel();
    // A thread of its own: a deadlock must fail the test, not hang it.
    let test = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = node("clingy").await;
            CLINGS_TO.set(node.clone()).unwrap();
            let nobody = Pid { id: 1, ..node.pid() };
            assert!(matches!(node.send(nobody, Clingy(1)).await, Err(SendError::ProcessUnknown)));
            assert!(matches!(node.send("nobody", Clingy(2)).await, Err(SendError::ProcessUnknown)));
            let full = SpawnOptions::new().name("full").mailbox_capacity(0);
            let full = node.spawn_with::<Echo>((), full).await.unwrap();
            assert!(matches!(node.send(full, Clingy(3)).await, Err(SendError::MailboxFull)));
            assert!(matches!(node.send("full", Clingy(4)).await, Err(SendError::MailboxFull)));
            let request = node.call::<u8>(full, Clingy(5)).await.unwrap_err();
            assert!(matches!(request, CallError::Send(SendError::MailboxFull)));
        });
        done.send(()).unwrap();
    });
    refused.recv_timeout(Duration::from_secs(30)).expect("no deadlock");
    test.join().unwrap();
}

/// Sends what it is told to, many times, to one and then to another.
struct Persistent;

impl Actor for Persistent {
    type Args = ();
    type Messages = ();
    type Requests = (Vec<Pid>,);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Answer<Vec<Pid>> for Persistent {
    type Reply = u32;

    async fn answer(&mut self, targets: Vec<Pid>, ctx: &mut Context) -> Result<Reply<u32>, ExitReason> {
        let (mortal, other) = (targets[0], targets[1]);
        for number in 0..5i64 {
            ctx.send(mortal, number).await?;
        }
        let former = Pid { creation: mortal.creation - 1, ..mortal };
        assert!(matches!(ctx.send(former, 1i64).await, Err(SendError::ProcessUnknown)));
        ctx.node().kill(mortal);
        let mut after = 0;
        while ctx.send(mortal, 1i64).await.is_ok() {
            after += 1;
            tokio::task::yield_now().await;
        }
        for number in 0..5i64 {
            ctx.send(other, number).await?;
            assert!(matches!(ctx.send(mortal, number).await, Err(SendError::ProcessUnknown)));
        }
        Ok(Reply::Now(after))
    }
}

#[tokio::test]
async fn who_sends_again_and_again_notices_the_end_of_the_receiver() {
    let node = node("persistent").await;
    let persistent = node.spawn::<Persistent>(()).await.unwrap();
    for _ in 0..3 {
        let (mortal, other) = (node.spawn::<Adder>(0).await.unwrap(), node.spawn::<Adder>(0).await.unwrap());
        let _: u32 = node.call(persistent, vec![mortal, other]).await.unwrap();
        assert_eq!(node.call::<i64>(other, false).await.unwrap(), 10, "all that came for the other one");
    }
    node.stop().await;
}

/// Its second message is its last, and it lingers.
struct Lingering(mpsc::UnboundedReceiver<()>);

impl Actor for Lingering {
    type Args = mpsc::UnboundedReceiver<()>;
    type Messages = (bool,);
    type Requests = ();

    async fn init(gate: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(gate))
    }

    async fn terminated(&mut self, _: &ExitReason, _: &mut Context) {
        self.0.recv().await;
    }
}

impl Handle<bool> for Lingering {
    async fn handle(&mut self, last: bool, _: &mut Context) -> Result<(), ExitReason> {
        if last {
            return Err(ExitReason::Normal);
        }
        self.0.recv().await;
        Ok(())
    }
}

#[tokio::test]
async fn who_waits_for_a_process_is_told_before_it_cleans_up() {
    let node = node("lingering").await;
    let (gate, opens) = mpsc::unbounded_channel();
    let lingering = node.spawn::<Lingering>(opens).await.unwrap();
    node.send(lingering, false).await.unwrap();
    tokio::task::yield_now().await;
    // Both wait for the next run, which takes them together.
    node.send(lingering, true).await.unwrap();
    let call = node.call::<u8>(lingering, 1u8);
    let opened = async {
        tokio::task::yield_now().await;
        gate.send(()).unwrap();
    };
    let (answer, ()) = tokio::join!(call, opened);
    assert!(matches!(answer, Err(CallError::NoAnswer)), "{answer:?}");
    assert!(node.process_count() > 0, "it has not cleaned up");
    gate.send(()).unwrap();
    node.ended(lingering).await;
    node.stop().await;
}
