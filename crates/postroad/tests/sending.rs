//! Messages and requests to pids, names and aliases, here and on another node
//! (semantics/TESTS.md D, E, V and W).
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postroad::network::{NetworkRoute, exact};
use postroad::{
    Actor, Alias, Answer, Atom, CallError, Context, Exit, ExitReason, Handle, Message, Node, Pid, ProcessId,
    Reply, ReplyTo, SendError, SpawnOptions, Target, Watched,
};
use support::puppet::{Notice, puppet};
use support::{node, port, probe};
use tokio::sync::mpsc;

/// Two nodes; the first one knows the way to the second.
async fn pair(name: &str) -> (Node, Node) {
    let (near, far) = (node(name).await, node(name).await);
    let route = NetworkRoute::to("127.0.0.1", port(&far));
    near.network().add_route(&exact(far.name().as_str()), route, 100).unwrap();
    (near, far)
}

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#sending/Chain")]
struct Chain {
    id: u32,
    next: Option<Box<Self>>,
}

#[tokio::test]
async fn what_is_behind_pointers_arrives() {
    let (near, far) = pair("pointers").await;
    let (probe, mut inbox) = probe(&far).await;
    let chain = Chain { id: 1, next: Some(Box::new(Chain { id: 2, next: None })) };
    near.send_important(probe, chain.clone()).await.unwrap();
    let (_, payload) = inbox.recv().await.unwrap();
    assert_eq!(payload.downcast_ref(), Some(&chain));
    near.stop().await;
    far.stop().await;
}

/// Keeps what it is sent for the test, and answers requests with one more: a
/// request that is even is its last one.
struct Clerk(mpsc::UnboundedSender<(Pid, u32)>);

impl Actor for Clerk {
    type Args = mpsc::UnboundedSender<(Pid, u32)>;
    type Messages = (u32,);
    type Requests = (u32, bool);

    async fn init(kept: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(kept))
    }
}

impl Handle<u32> for Clerk {
    async fn handle(&mut self, number: u32, ctx: &mut Context) -> Result<(), ExitReason> {
        self.0.send((ctx.sender(), number)).unwrap();
        Ok(())
    }
}

impl Answer<u32> for Clerk {
    type Reply = u32;

    async fn answer(&mut self, number: u32, _: &mut Context) -> Result<Reply<u32>, ExitReason> {
        let answer = number + 1;
        Ok(if number.is_multiple_of(2) { Reply::Last(answer) } else { Reply::Now(answer) })
    }
}

impl Answer<bool> for Clerk {
    type Reply = Alias;

    async fn answer(&mut self, _: bool, ctx: &mut Context) -> Result<Reply<Alias>, ExitReason> {
        Ok(Reply::Now(ctx.create_alias()))
    }
}

struct Desk {
    ways: [Target; 3],
    pid: Pid,
    kept: mpsc::UnboundedReceiver<(Pid, u32)>,
}

/// A clerk, and the three ways to reach it.
async fn clerk(node: &Node, name: &str) -> Desk {
    let (keeps, kept) = mpsc::unbounded_channel();
    let pid = node.spawn_with::<Clerk>(keeps, SpawnOptions::new().name(name)).await.unwrap();
    let alias: Alias = node.call(pid, true).await.unwrap();
    let name = ProcessId { name: Atom::new(name).unwrap(), node: node.name() };
    Desk { ways: [Target::Pid(pid), Target::Name(name), Target::Alias(alias)], pid, kept }
}

/// Three ways to nobody on a node.
fn nobody(node: &Node) -> [Target; 3] {
    let (name, creation) = (node.name(), node.creation());
    [
        Target::Pid(Pid { node: name, id: 999_999, creation }),
        Target::Name(ProcessId { name: Atom::new("nobody").unwrap(), node: name }),
        Target::Alias(Alias { node: name, creation, id: [9, 9, 9] }),
    ]
}

async fn messages_arrive_by_every_way(from: &Node, to: &Node) {
    let sender = puppet(from).await;
    let mut desk = clerk(to, "desk").await;
    for (number, way) in (0u32..).zip(desk.ways) {
        sender.act(move |ctx| Box::pin(async move { ctx.send(way, number).await.unwrap() })).await;
        assert_eq!(desk.kept.recv().await.unwrap(), (sender.pid, number), "{way:?}");
    }
}

async fn requests_are_answered_by_every_way(from: &Node, to: &Node) {
    for index in 0..3 {
        let desk = clerk(to, "counter").await;
        let way = desk.ways[index];
        for number in [1u32, 3, 4] {
            assert_eq!(from.call::<u32>(way, number).await.unwrap(), number + 1, "{way:?}");
        }
        while to.process_info(desk.pid).is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn conformance_d01_d02_d03_i01_messages_arrive_by_pid_name_and_alias() {
    let node = node("here").await;
    messages_arrive_by_every_way(&node, &node).await;
    node.stop().await;
}

#[tokio::test]
async fn conformance_v01_v03_v05_messages_arrive_on_another_node() {
    let (near, far) = pair("there").await;
    messages_arrive_by_every_way(&near, &far).await;
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_e01_e02_e03_requests_are_answered_before_the_end() {
    let node = node("here").await;
    requests_are_answered_by_every_way(&node, &node).await;
    node.stop().await;
}

#[tokio::test]
async fn conformance_w01_w02_w03_requests_are_answered_by_another_node() {
    let (near, far) = pair("there").await;
    requests_are_answered_by_every_way(&near, &far).await;
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_d04_e05_nobody_is_reached_by_no_way() {
    let node = node("nobody").await;
    for way in nobody(&node) {
        assert!(matches!(node.send(way, 1u32).await, Err(SendError::ProcessUnknown)), "{way:?}");
        let error = node.call::<u32>(way, 1u32).await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{way:?}: {error}");
    }
    node.stop().await;
}

/// The reference lets the caller run into its timeout; a postroad node answers.
#[tokio::test]
async fn conformance_w07_a_request_to_nobody_ends_at_once() {
    let (near, far) = pair("nobody").await;
    for way in nobody(&far) {
        let hour = Duration::from_secs(3600);
        let error = near.call_with_timeout::<u32>(way, 1u32, hour).await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{way:?}: {error}");
    }
    near.stop().await;
    far.stop().await;
}

/// Takes the right to answer and leaves it to somebody else.
struct Front(mpsc::UnboundedSender<(ReplyTo, u32)>);

impl Actor for Front {
    type Args = mpsc::UnboundedSender<(ReplyTo, u32)>;
    type Messages = ();
    type Requests = (u32,);

    async fn init(back: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(back))
    }
}

impl Answer<u32> for Front {
    type Reply = u32;

    async fn answer(&mut self, number: u32, ctx: &mut Context) -> Result<Reply<u32>, ExitReason> {
        self.0.send((ctx.reply_to().unwrap(), number)).unwrap();
        Ok(Reply::Later)
    }
}

#[tokio::test]
async fn conformance_e04_another_process_may_answer() {
    let (near, far) = pair("front").await;
    let (passes, mut passed) = mpsc::unbounded_channel();
    let front = far.spawn::<Front>(passes).await.unwrap();
    let back = puppet(&far).await;
    for caller in [&far, &near] {
        let answered = async {
            let (reply, number) = passed.recv().await.unwrap();
            back.act(move |_| Box::pin(async move { reply.answer(number * 10).await.unwrap() })).await;
        };
        let (answer, ()) = tokio::join!(caller.call::<u32>(front, 7u32), answered);
        assert_eq!(answer.unwrap(), 70);
    }
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_v09_a_reason_is_the_same_on_another_node() {
    let (near, far) = pair("reasons").await;
    let mut target = puppet(&far).await;
    target.trap_exit().await;
    for reason in [ExitReason::error("a reason of its own"), ExitReason::Shutdown, ExitReason::Kill] {
        near.send_exit(target.pid, reason.clone()).await.unwrap();
        let exit = Exit { subject: Watched::Pid(near.pid()), reason, requested: true };
        assert_eq!(target.told().await, Notice::Exit(exit));
    }
    near.stop().await;
    far.stop().await;
}
