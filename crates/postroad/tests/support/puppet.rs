//! A process that does what a test tells it, and reports what it is told.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use postroad::{
    Actor, Atom, Context, Down, Event, Exit, ExitReason, Handle, Node, Pid, Published, RelationError,
    SpawnError, SpawnOptions, Watched,
};
use tokio::sync::{mpsc, oneshot};

pub type Act<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Job = Box<dyn for<'a> FnOnce(&'a mut Context) -> Act<'a, Result<(), ExitReason>> + Send>;

/// So long a test waits for what never comes, before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a puppet was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Exit(Exit),
    Down(Down),
    Terminated(ExitReason),
    /// What was published, if it was a number.
    Published(Event, Option<u32>),
    Start(Atom),
    Stop(Atom),
}

pub struct Puppet {
    jobs: mpsc::UnboundedReceiver<Job>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// The test's end of a puppet.
pub struct Strings {
    pub pid: Pid,
    pub notices: mpsc::UnboundedReceiver<Notice>,
    node: Node,
    jobs: mpsc::UnboundedSender<Job>,
}

impl Actor for Puppet {
    type Args = (mpsc::UnboundedReceiver<Job>, mpsc::UnboundedSender<Notice>);
    type Messages = (bool,);
    type Requests = ();

    async fn init((jobs, notices): Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { jobs, notices })
    }

    async fn handle_exit(&mut self, exit: Exit, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.notices.send(Notice::Exit(exit));
        Ok(())
    }

    async fn handle_down(&mut self, down: Down, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.notices.send(Notice::Down(down));
        Ok(())
    }

    async fn handle_event(&mut self, published: Published, _: &mut Context) -> Result<(), ExitReason> {
        let number = published.downcast_ref().copied();
        let _ = self.notices.send(Notice::Published(published.event(), number));
        Ok(())
    }

    async fn handle_event_start(&mut self, event: Atom, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.notices.send(Notice::Start(event));
        Ok(())
    }

    async fn handle_event_stop(&mut self, event: Atom, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.notices.send(Notice::Stop(event));
        Ok(())
    }

    async fn terminated(&mut self, reason: &ExitReason, _: &mut Context) {
        let _ = self.notices.send(Notice::Terminated(reason.clone()));
    }
}

impl Handle<bool> for Puppet {
    async fn handle(&mut self, _: bool, ctx: &mut Context) -> Result<(), ExitReason> {
        match self.jobs.try_recv() {
            Ok(job) => job(ctx).await,
            Err(_) => Ok(()),
        }
    }
}

impl Strings {
    /// Has the puppet do something, and waits for the outcome.
    pub async fn act<T: Send + 'static>(
        &self,
        act: impl for<'a> FnOnce(&'a mut Context) -> Act<'a, T> + Send + 'static,
    ) -> T {
        let (done, outcome) = oneshot::channel();
        self.post(Box::new(move |ctx| {
            Box::pin(async move {
                let _ = done.send(act(ctx).await);
                Ok(())
            })
        }))
        .await;
        outcome.await.expect("the puppet is alive")
    }

    /// Has the puppet end.
    pub async fn end(&self, reason: ExitReason) {
        self.post(Box::new(move |_| Box::pin(async move { Err(reason) }))).await;
    }

    /// Has the puppet panic.
    pub async fn panic(&self) {
        self.post(Box::new(move |_| Box::pin(async move { panic!("the test wants it") }))).await;
    }

    pub async fn trap_exit(&self) {
        self.act(|ctx| {
            ctx.set_trap_exit(true);
            Box::pin(async {})
        })
        .await;
    }

    /// The next thing the puppet is told.
    pub async fn told(&mut self) -> Notice {
        let told = tokio::time::timeout(PATIENCE, self.notices.recv()).await;
        told.unwrap_or_else(|_| panic!("{} is told nothing", self.pid)).expect("the puppet is alive")
    }

    /// What the puppet was told until it had done all it was given before.
    pub async fn told_so_far(&mut self) -> Vec<Notice> {
        self.act(|_| Box::pin(async {})).await;
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }

    async fn post(&self, job: Job) {
        let _ = self.jobs.send(job);
        self.node.send(self.pid, true).await.unwrap();
    }
}

pub async fn puppet(node: &Node) -> Strings {
    puppet_with(node, SpawnOptions::new()).await
}

pub async fn puppet_with(node: &Node, options: SpawnOptions) -> Strings {
    let (jobs, args) = args();
    strings(node, node.spawn_with::<Puppet>(args, options).await.unwrap(), jobs)
}

/// A puppet that another one spawns.
pub async fn child(parent: &Strings, options: SpawnOptions) -> Result<Strings, SpawnError> {
    let (jobs, args) = args();
    let spawned =
        parent.act(move |ctx| Box::pin(async move { ctx.spawn_with::<Puppet>(args, options).await }));
    Ok(strings(&parent.node, spawned.await?, jobs))
}

type Ends = (mpsc::UnboundedSender<Job>, mpsc::UnboundedReceiver<Notice>);

fn args() -> (Ends, <Puppet as Actor>::Args) {
    let ((job_sender, jobs), (notices, notice_receiver)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    ((job_sender, notice_receiver), (jobs, notices))
}

fn strings(node: &Node, pid: Pid, (jobs, notices): Ends) -> Strings {
    Strings { pid, notices, node: node.clone(), jobs }
}

/// What a puppet wishes of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Link,
    Monitor,
    Unlink,
    Demonitor,
}

/// Has a puppet watch something, or not any more.
pub async fn wish(puppet: &Strings, wish: Wish, target: Watched) -> Result<(), RelationError> {
    macro_rules! of {
        ($ctx:ident, $target:expr) => {
            match wish {
                Wish::Link => $ctx.link($target).await,
                Wish::Monitor => $ctx.monitor($target).await,
                Wish::Unlink => $ctx.unlink($target).await,
                Wish::Demonitor => $ctx.demonitor($target).await,
            }
        };
    }
    puppet
        .act(move |ctx| -> Act<'_, _> {
            Box::pin(async move {
                match target {
                    Watched::Pid(pid) => of!(ctx, pid),
                    Watched::Name(name) => of!(ctx, name),
                    Watched::Alias(alias) => of!(ctx, alias),
                    Watched::Node(node) => match wish {
                        Wish::Link => ctx.link_node(node.as_str()).await,
                        Wish::Monitor => ctx.monitor_node(node.as_str()).await,
                        Wish::Unlink => ctx.unlink_node(node.as_str()).await,
                        Wish::Demonitor => ctx.demonitor_node(node.as_str()).await,
                    },
                    Watched::Event(event) => match wish {
                        Wish::Link => ctx.link_event(event).await.map(drop),
                        Wish::Monitor => ctx.monitor_event(event).await.map(drop),
                        Wish::Unlink => ctx.unlink_event(event).await,
                        Wish::Demonitor => ctx.demonitor_event(event).await,
                    },
                }
            })
        })
        .await
}

/// Checks that a process is told of all these ends, in any order, and of nothing else.
pub async fn told_exactly(puppet: &mut Strings, mut expected: Vec<Notice>) {
    while !expected.is_empty() {
        let notice = puppet.told().await;
        let place = expected.iter().position(|expected| *expected == notice);
        expected.swap_remove(place.unwrap_or_else(|| panic!("{notice:?} is not among {expected:?}")));
    }
    assert_eq!(puppet.told_so_far().await, []);
}
