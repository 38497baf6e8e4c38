//! Pools (semantics/TESTS.md O).
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postroad::pool::{Pool, PoolError, PoolSpec};
use postroad::{
    Actor, Answer, Atom, CallError, Context, Event, EventOptions, ExitReason, Handle, NetworkMode, Node, Pid,
    Priority, Published, Reply, SpawnError,
};
use support::puppet::{Strings, puppet};
use support::{builder, node};
use tokio::sync::mpsc;

type Seen = (Pid, Pid, u32);

/// Says who it is, who sent and what.
struct Worker(mpsc::UnboundedSender<Seen>);

impl Actor for Worker {
    type Args = mpsc::UnboundedSender<Seen>;
    type Messages = (u32, bool);
    type Requests = (u32,);

    async fn init(seen: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(seen))
    }

    async fn handle_event(&mut self, published: Published, ctx: &mut Context) -> Result<(), ExitReason> {
        let number = published.downcast_ref::<u32>().copied().unwrap_or_default();
        let _ = self.0.send((ctx.pid(), ctx.sender(), number));
        Ok(())
    }
}

impl Handle<u32> for Worker {
    async fn handle(&mut self, number: u32, ctx: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.send((ctx.pid(), ctx.sender(), number));
        Ok(())
    }
}

impl Handle<bool> for Worker {
    /// Is busy for ever.
    async fn handle(&mut self, _: bool, ctx: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.send((ctx.pid(), ctx.sender(), 0));
        std::future::pending().await
    }
}

impl Answer<u32> for Worker {
    type Reply = Pid;

    async fn answer(&mut self, _: u32, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        Ok(Reply::Now(ctx.pid()))
    }
}

struct Stage {
    node: Node,
    pool: Pid,
    seen: mpsc::UnboundedReceiver<Seen>,
    sender: Strings,
}

async fn stage(size: usize, capacity: Option<usize>) -> Stage {
    let node = node("pool").await;
    let (sender, seen) = mpsc::unbounded_channel();
    let mut spec = PoolSpec::new::<Worker>(sender.clone()).size(size);
    if let Some(capacity) = capacity {
        spec = spec.worker_mailbox_capacity(capacity);
    }
    // The manager is of the same kind: what it handles, the pool itself has handled.
    let pool = node.spawn::<Pool<Worker>>((spec, sender)).await.unwrap();
    let sender = puppet(&node).await;
    Stage { node, pool, seen, sender }
}

impl Stage {
    async fn send(&mut self, number: u32) -> Pid {
        let pool = self.pool;
        self.sender
            .act(move |ctx| {
                let sent = ctx.try_send(pool, number);
                Box::pin(async move { sent.unwrap() })
            })
            .await;
        let (worker, from, seen) = self.seen.recv().await.unwrap();
        assert_eq!((from, seen), (self.sender.pid, number), "the sender is the original one");
        worker
    }

    async fn call(&self) -> Pid {
        self.node.call(self.pool, 7u32).await.unwrap()
    }
}

#[tokio::test]
async fn conformance_o01_what_is_urgent_is_for_the_pool_itself() {
    let mut stage = stage(5, None).await;
    for priority in [Priority::High, Priority::Max] {
        stage
            .sender
            .act(move |ctx| {
                ctx.set_priority(priority);
                Box::pin(async {})
            })
            .await;
        assert_eq!(stage.send(1).await, stage.pool);
        let pool = stage.pool;
        let called = stage.sender.act(move |ctx| Box::pin(async move { ctx.call::<Pid>(pool, 1u32).await }));
        assert_eq!(called.await.unwrap(), stage.pool);
    }
    assert_eq!(stage.node.pool(stage.pool).info().await.unwrap().forwarded, 0);
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_o02_o03_messages_and_requests_go_round() {
    let mut stage = stage(5, None).await;
    let mut workers = Vec::new();
    for number in 0..5 {
        let worker = stage.send(number).await;
        assert!(worker != stage.pool && !workers.contains(&worker));
        workers.push(worker);
    }
    assert_eq!(stage.send(5).await, workers[0], "the sixth goes to the first");
    for turn in 1..7 {
        assert_eq!(stage.call().await, workers[turn % 5], "the worker answers");
    }
    let info = stage.node.pool(stage.pool).info().await.unwrap();
    assert_eq!((info.size, info.forwarded, info.unhandled, info.restarts), (5, 12, 0, 0));
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_o04_workers_are_added_and_removed() {
    let stage = stage(5, None).await;
    let pool = stage.node.pool(stage.pool);
    assert_eq!(pool.add_workers(3).await.unwrap(), 8);
    let mut workers = Vec::new();
    for _ in 0..8 {
        workers.push(stage.call().await);
    }
    assert_eq!(pool.remove_workers(5).await.unwrap(), 3);
    for worker in &workers[5..] {
        assert_eq!(stage.call().await, *worker, "the newest remain");
    }
    assert_eq!(pool.remove_workers(9).await.unwrap(), 0);
    assert!(matches!(pool.remove_workers(1).await, Err(PoolError::NoWorker)));
    let refused: Result<Pid, _> = stage.node.call(stage.pool, 7u32).await;
    assert!(
        matches!(&refused, Err(CallError::Answer(why)) if why.text() == "no worker process in the pool"),
        "a refusal is answered: {refused:?}"
    );
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_o05_a_dead_worker_is_replaced_when_its_turn_comes() {
    let stage = stage(2, None).await;
    let (first, second) = (stage.call().await, stage.call().await);
    assert!(stage.node.kill(first));
    while stage.node.mailbox_len(first).is_some() {
        tokio::task::yield_now().await;
    }
    let fresh = stage.call().await;
    assert!(fresh != first && fresh != second);
    assert_eq!(stage.call().await, second);
    assert_eq!(stage.call().await, fresh);
    assert_eq!(stage.node.pool(stage.pool).info().await.unwrap().restarts, 1);
    stage.node.stop().await;
}

#[tokio::test]
async fn conformance_o06_a_full_worker_is_skipped_and_a_full_pool_says_so() {
    let mut stage = stage(2, Some(1)).await;
    let (first, second) = (stage.call().await, stage.call().await);
    stage.node.send(stage.pool, true).await.unwrap();
    assert_eq!(stage.seen.recv().await.unwrap().0, first, "it is busy now");
    assert_eq!(stage.call().await, second);
    stage.node.send(stage.pool, 1u32).await.unwrap();
    let answered = stage.call().await;
    assert_eq!((answered, stage.node.mailbox_len(first)), (second, Some(1)));
    assert_eq!(stage.call().await, second, "the first one has no room");
    stage.node.send(stage.pool, true).await.unwrap();
    assert_eq!(stage.seen.recv().await.unwrap().0, second, "both are busy");
    stage.node.send(stage.pool, 2u32).await.unwrap();
    let refused: Result<Pid, _> = stage.node.call(stage.pool, 7u32).await;
    let Err(CallError::Answer(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.to_string(), "process mailbox is full");
    stage.node.send(stage.pool, 3u32).await.unwrap();
    let info = stage.node.pool(stage.pool).info().await.unwrap();
    assert_eq!(info.unhandled, 2);
    for busy in [first, second] {
        stage.node.kill(busy);
    }
    stage.node.stop().await;
}

#[tokio::test]
async fn workers_end_with_their_pool() {
    let stage = stage(3, None).await;
    stage.node.send_exit(stage.pool, ExitReason::Shutdown).await.unwrap();
    while stage.node.process_count() > 1 {
        tokio::task::yield_now().await;
    }
    stage.node.stop().await;
}

/// Has its pool subscribe, and does as a worker does.
struct Subscriber(Worker);

impl Actor for Subscriber {
    type Args = (Event, mpsc::UnboundedSender<Seen>);
    type Messages = ();
    type Requests = ();

    async fn init((event, seen): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.monitor_event(event).await?;
        Ok(Self(Worker(seen)))
    }

    async fn handle_event(&mut self, published: Published, ctx: &mut Context) -> Result<(), ExitReason> {
        self.0.handle_event(published, ctx).await
    }
}

#[tokio::test]
async fn what_is_published_to_a_pool_goes_to_a_worker_or_if_urgent_to_its_manager() {
    let node = node("pool-events").await;
    let publisher = puppet(&node).await;
    let token = publisher
        .act(|ctx| {
            let token = ctx.register_event("news", EventOptions::new()).unwrap();
            Box::pin(async move { token })
        })
        .await;
    let event = Event { name: Atom::new("news").unwrap(), node: node.name() };
    let (sender, mut seen) = mpsc::unbounded_channel();
    let spec = PoolSpec::new::<Worker>(sender.clone()).size(2);
    let pool = node.spawn::<Pool<Subscriber>>((spec, (event, sender))).await.unwrap();
    let mut by = Vec::new();
    for (number, priority) in [(1, Priority::Normal), (2, Priority::Normal), (3, Priority::High)] {
        publisher
            .act(move |ctx| {
                ctx.set_priority(priority);
                Box::pin(async move { ctx.publish("news", &token, number).await.unwrap() })
            })
            .await;
        let (handled_by, from, got) = seen.recv().await.unwrap();
        assert_eq!((from, got), (publisher.pid, number));
        by.push(handled_by);
    }
    assert!(by[0] != by[1] && by[..2].iter().all(|worker| *worker != pool), "{by:?}");
    assert_eq!(by[2], pool, "what is urgent is for the pool itself");
    assert_eq!(node.pool(pool).info().await.unwrap().forwarded, 2);
    node.stop().await;
}

/// Does not begin while it is told not to.
struct Hesitant;

impl Actor for Hesitant {
    type Args = Arc<AtomicBool>;
    type Messages = ();
    type Requests = (u32,);

    async fn init(hesitates: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        if hesitates.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        Ok(Self)
    }
}

impl Answer<u32> for Hesitant {
    type Reply = Pid;

    async fn answer(&mut self, _: u32, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        Ok(Reply::Now(ctx.pid()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_begins_does_not_hold_the_pool_up_for_ever() {
    let node = builder("hesitant").network(NetworkMode::Disabled).start().await.unwrap();
    let hesitates = Arc::new(AtomicBool::new(true));
    let spec = PoolSpec::new::<Hesitant>(hesitates.clone()).size(1);
    let Err(SpawnError::Init(reason)) = node.spawn::<Pool>((spec.clone(), ())).await else {
        panic!("it began")
    };
    assert_eq!(reason.as_str(), "a worker did not start: its init took longer than 30s");
    assert_eq!(node.process_count(), 0, "nothing is left of either");

    hesitates.store(false, Ordering::SeqCst);
    let limit = Duration::from_secs(2);
    let pid = node.spawn::<Pool>((spec.worker_init_timeout(limit), ())).await.unwrap();
    let pool = node.pool(pid);
    let worker: Pid = node.call(pid, 7u32).await.unwrap();
    hesitates.store(true, Ordering::SeqCst);
    let added = pool.add_workers(1).await;
    assert!(matches!(added, Err(PoolError::InitTimeout { limit: of }) if of == limit), "{added:?}");
    assert_eq!(node.call::<Pid>(pid, 7u32).await.unwrap(), worker, "it goes on with those it has");

    assert!(node.kill(worker));
    node.ended(worker).await;
    let unhandled = node.call::<Pid>(pid, 7u32).await;
    assert!(matches!(unhandled, Err(CallError::Answer(_))), "nobody is there in time: {unhandled:?}");
    hesitates.store(false, Ordering::SeqCst);
    assert_ne!(node.call::<Pid>(pid, 7u32).await.unwrap(), worker);
    node.stop().await;
}
