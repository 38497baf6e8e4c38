//! Supervisors (semantics/TESTS.md J, K and L).
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod one;
mod requests;
mod several;
mod simple;
#[path = "../support/mod.rs"]
mod support;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use postroad::supervisor::{
    ChildEvent, ChildInfo, ChildSpec, Restart, Strategy, Supervisor, SupervisorHandle, SupervisorSpec,
};
use postroad::{Actor, Answer, Context, ExitReason, NetworkMode, Node, Pid, Reply, SpawnError, Watched};
use support::puppet::{Notice, Strings, puppet};
use tokio::sync::mpsc;

/// How the next worker that is started behaves.
#[derive(Clone, Default)]
pub struct Mood(Arc<AtomicU8>);

impl Mood {
    pub const REFUSES: u8 = 1;
    pub const HANGS: u8 = 2;

    pub fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
pub struct Settings {
    pub mood: Mood,
    pub number: u32,
    /// Does not end when it is asked to.
    pub clings: bool,
}

pub struct Worker(Settings);

impl Actor for Worker {
    type Args = Settings;
    type Messages = ();
    type Requests = (bool,);

    async fn init(settings: Settings, _: &mut Context) -> Result<Self, ExitReason> {
        match settings.mood.0.load(Ordering::SeqCst) {
            Mood::REFUSES => Err(ExitReason::error("not today")),
            Mood::HANGS => pending().await,
            _ => Ok(Self(settings)),
        }
    }

    async fn terminated(&mut self, _: &ExitReason, _: &mut Context) {
        if self.0.clings {
            pending().await
        }
    }
}

impl Answer<bool> for Worker {
    type Reply = u32;

    async fn answer(&mut self, _: bool, _: &mut Context) -> Result<Reply<u32>, ExitReason> {
        Ok(Reply::Now(self.0.number))
    }
}

/// A supervisor, and what it says of its children.
pub struct Stage {
    pub node: Node,
    pub pid: Pid,
    pub supervisor: SupervisorHandle,
    events: mpsc::UnboundedReceiver<ChildEvent>,
    /// Monitors the supervisor.
    watcher: Strings,
}

pub const ENDS: [ExitReason; 3] = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Kill];

pub fn worker(name: &str) -> ChildSpec {
    ChildSpec::new::<Worker>(name, Settings::default())
}

/// Children named a, b and c.
pub fn three(strategy: Strategy, restart: Restart) -> SupervisorSpec {
    let spec = SupervisorSpec::new(strategy).restart(restart);
    spec.child(worker("a")).child(worker("b")).child(worker("c"))
}

pub async fn stage(spec: SupervisorSpec) -> Stage {
    try_stage(spec).await.unwrap()
}

pub async fn try_stage(spec: SupervisorSpec) -> Result<Stage, SpawnError> {
    let node = support::builder("supervisor").network(NetworkMode::Disabled).start().await.unwrap();
    let (sender, events) = mpsc::unbounded_channel();
    let spec = spec.on_child(move |event| {
        let _ = sender.send(event.clone());
    });
    let pid = node.spawn::<Supervisor>(spec).await?;
    let supervisor = node.supervisor(pid);
    let watcher = puppet(&node).await;
    watcher.act(move |ctx| Box::pin(async move { ctx.monitor(pid).await })).await.unwrap();
    Ok(Stage { node, pid, supervisor, events, watcher })
}

impl Stage {
    /// The next thing that happens is that this child starts.
    pub async fn started(&mut self, expected: &str) -> Pid {
        match self.events.recv().await {
            Some(ChildEvent::Started { name, pid }) if name.as_str() == expected => pid,
            other => panic!("{expected} was to start: {other:?}"),
        }
    }

    /// The next thing that happens is that this child ends.
    pub async fn ended(&mut self, expected: &str) -> ExitReason {
        match self.events.recv().await {
            Some(ChildEvent::Ended { name, reason: Some(reason), .. }) if name.as_str() == expected => reason,
            other => panic!("{expected} was to end: {other:?}"),
        }
    }

    pub async fn all_started(&mut self, names: &[&str]) -> Vec<Pid> {
        let mut pids = Vec::new();
        for name in names {
            pids.push(self.started(name).await);
        }
        pids
    }

    /// Nothing has happened that was not looked at.
    pub async fn quiet(&mut self) {
        self.supervisor.children().await.unwrap();
        assert_eq!(self.events.try_recv().ok(), None);
    }

    pub async fn children(&self) -> Vec<ChildInfo> {
        self.supervisor.children().await.unwrap()
    }

    pub fn pid_of(&self, name: &str) -> Pid {
        self.node.whereis(name).unwrap()
    }

    pub async fn end(&self, pid: Pid, reason: &ExitReason) {
        if *reason == ExitReason::Kill {
            assert!(self.node.kill(pid));
        } else {
            self.node.send_exit(pid, reason.clone()).await.unwrap();
        }
    }

    /// Why the supervisor ends, and that nothing is left of its children.
    pub async fn over(mut self) -> ExitReason {
        let Notice::Down(down) = self.watcher.told().await else { panic!("the watcher has ended") };
        assert_eq!(down.subject, Watched::Pid(self.pid));
        assert_eq!(self.node.process_count(), 1, "only the watcher is left");
        self.node.stop().await;
        down.reason
    }
}
