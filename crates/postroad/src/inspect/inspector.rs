//! The process that tells other nodes about its own.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::{ErrorValue, Message};
use tokio::time::timeout;

use super::answers::Answers;
use super::connections::list_connections;
use super::tunnels::{close_tunnel, drain_transit, list_tunnels};
use super::{
    CloseTunnel, ConnectionPage, DrainTransit, InspectError, Item, ListConnections, ListProcesses,
    ListTunnels, NodeInfo, ProcessInfo, ProcessPage, ProcessSummary, TunnelPage, ask, describe_node,
    describe_process, list_processes,
};
use crate::error::SpawnError;
use crate::process::{Compression, CompressionMethod, Priority};
use crate::{Actor, Alias, Answer, Atom, Context, ExitReason, Node, Pid, Reply, SpawnOptions};

/// The registered name of a node's [`Inspector`].
pub const NAME: &str = "postroad.inspector";

/// The most aliases, events, variables, links and monitors, of each, that a [`ProcessReport`] lists.
pub const MAX_LISTED: usize = 1000;

/// How long a process is waited for that is to say something of itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long there may be no room for an answer on the road to who asked. A page
/// has some 200 kB, which a slow road takes half a minute for; one that does not
/// read has no more than its share of all answers meanwhile.
const ROAD_PATIENCE: Duration = Duration::from_secs(30);

/// How many requests may wait for the inspector itself.
const CAPACITY: usize = 1024;

/// Tells whoever may connect with the node about it: answers [`DescribeNode`],
/// [`DescribeProcess`], [`ListProcesses`], [`ListConnections`] and [`ListTunnels`].
/// Operators may change things besides, with [`CloseTunnel`] and [`DrainTransit`].
///
/// Each answer has a bound, and a process that hangs keeps nobody waiting but
/// who asks for it, and that one for a second. The names of the messages carry
/// the version of the protocol: an inspector of another version answers
/// `not supported` (`docs/inspection.md`).
#[derive(Debug)]
pub struct Inspector {
    answers: Arc<Answers>,
}

/// A request for the [`NodeInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Message)]
#[message(name = "#postroad/inspect/v1/DescribeNode")]
pub struct DescribeNode;

/// A request for everything about one process: a [`ProcessReport`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/DescribeProcess")]
pub struct DescribeProcess {
    /// Its number ([`Pid::id`]); 0 if it is asked for by its name.
    pub id: u64,
    /// Its registered name, if it has no number here.
    pub name: String,
}

/// Everything about one process.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(name = "#postroad/inspect/v1/ProcessReport")]
#[non_exhaustive]
pub struct ProcessReport {
    /// The process in a line.
    pub summary: ProcessSummary,
    /// The process that leads the group it belongs to.
    pub leader: Pid,
    /// The application it belongs to; empty if it belongs to none.
    pub application: Atom,
    /// The names of its variables, [`MAX_LISTED`] at most.
    pub variables: Vec<String>,
    /// The events it has registered, [`MAX_LISTED`] at most.
    pub events: Vec<Atom>,
    /// Its aliases, [`MAX_LISTED`] at most.
    pub aliases: Vec<Alias>,
    /// What it is linked to, as texts, [`MAX_LISTED`] at most.
    pub links: Vec<String>,
    /// What it monitors, as texts, [`MAX_LISTED`] at most.
    pub monitors: Vec<String>,
    /// How urgent what it sends is: `low`, `normal`, `high` or `max`.
    pub priority: String,
    /// How it packs what it sends to other nodes; empty if it does not.
    pub compression: String,
    /// Whether it handles exit signals instead of ending.
    pub traps_exit: bool,
    /// The most each lane of its mailbox holds; 0 if there is no bound.
    pub mailbox_capacity: u64,
    /// What it says of its own state.
    pub state: Vec<Item>,
    /// Why it says nothing, if it could not be asked: the text of an
    /// [`InspectError`].
    pub silent: String,
}

impl Inspector {
    /// Spawns the inspector of a node, under its [name](NAME).
    ///
    /// # Errors
    /// [`SpawnError::NameTaken`] if the node has one, [`SpawnError::NodeStopped`].
    pub async fn spawn(node: &Node) -> Result<Pid, SpawnError> {
        node.spawn_with::<Self>((), SpawnOptions::new().name(NAME).mailbox_capacity(CAPACITY)).await
    }
}

impl Actor for Inspector {
    type Args = ();
    type Messages = ();
    type Requests = (
        DescribeNode,
        DescribeProcess,
        ListProcesses,
        ListConnections,
        ListTunnels,
        CloseTunnel,
        DrainTransit,
    );

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self { answers: Arc::default() })
    }

    fn inspect(&self, items: &mut super::Items) {
        items.add("answers on their way", self.answers.count());
    }
}

impl Answer<DescribeNode> for Inspector {
    type Reply = NodeInfo;

    async fn answer(&mut self, _: DescribeNode, ctx: &mut Context) -> Result<Reply<NodeInfo>, ExitReason> {
        Ok(self.at_once(ctx, |ctx| describe_node(&ctx.node())))
    }
}

impl Answer<ListProcesses> for Inspector {
    type Reply = ProcessPage;

    async fn answer(
        &mut self,
        list: ListProcesses,
        ctx: &mut Context,
    ) -> Result<Reply<ProcessPage>, ExitReason> {
        Ok(self.at_once(ctx, |ctx| Ok(list_processes(&ctx.process().node, &list))))
    }
}

impl Answer<ListConnections> for Inspector {
    type Reply = ConnectionPage;

    async fn answer(
        &mut self,
        list: ListConnections,
        ctx: &mut Context,
    ) -> Result<Reply<ConnectionPage>, ExitReason> {
        Ok(self.at_once(ctx, |ctx| Ok(list_connections(&ctx.node().network(), &list))))
    }
}

impl Answer<ListTunnels> for Inspector {
    type Reply = TunnelPage;

    async fn answer(
        &mut self,
        list: ListTunnels,
        ctx: &mut Context,
    ) -> Result<Reply<TunnelPage>, ExitReason> {
        Ok(self.at_once(ctx, |ctx| Ok(list_tunnels(&ctx.node().network(), &list))))
    }
}

impl Answer<CloseTunnel> for Inspector {
    type Reply = ();

    async fn answer(&mut self, close: CloseTunnel, ctx: &mut Context) -> Result<Reply<()>, ExitReason> {
        Ok(self.at_once(ctx, |ctx| close_tunnel(&ctx.node().network(), ctx.sender(), close.id)))
    }
}

impl Answer<DrainTransit> for Inspector {
    type Reply = u64;

    async fn answer(&mut self, order: DrainTransit, ctx: &mut Context) -> Result<Reply<u64>, ExitReason> {
        Ok(self.at_once(ctx, |ctx| drain_transit(&ctx.node().network(), ctx.sender(), order.drain)))
    }
}

impl Answer<DescribeProcess> for Inspector {
    type Reply = ProcessReport;

    async fn answer(
        &mut self,
        of: DescribeProcess,
        ctx: &mut Context,
    ) -> Result<Reply<ProcessReport>, ExitReason> {
        Ok(self.aside(ctx, |ctx| {
            let processes = &ctx.process().node.processes;
            let process = match Atom::existing(&of.name) {
                _ if of.id != 0 => processes.with(of.id, Arc::clone),
                Some(name) => processes.by_name(name, Arc::clone),
                None => None,
            };
            let process = process.ok_or(InspectError::ProcessUnknown)?;
            // Before it is asked, which makes it run.
            let info = describe_process(&process);
            Ok(async move { ProcessReport::new(info, ask(&process, PATIENCE).await) })
        }))
    }
}

impl Inspector {
    /// Like [`aside`](Self::aside), when the answer is known as soon as it is asked for.
    fn at_once<T: Message>(
        &self,
        ctx: &mut Context,
        answer: impl FnOnce(&Context) -> Result<T, InspectError>,
    ) -> Reply<T> {
        self.aside(ctx, |ctx| answer(ctx).map(ready))
    }

    /// Answers beside what else is asked: a process that hangs, or an asker that
    /// does not read, keeps nobody else waiting. Nothing is begun, and no order
    /// carried out, that could not be answered.
    fn aside<T: Message, F: Future<Output = T> + Send + 'static>(
        &self,
        ctx: &mut Context,
        begin: impl FnOnce(&Context) -> Result<F, InspectError>,
    ) -> Reply<T> {
        let turn = self.answers.begin(ctx.sender().node);
        let (turn, answer) = match turn.and_then(|turn| Ok((turn, begin(ctx)?))) {
            Ok(begun) => begun,
            Err(error) => return Reply::Error(ErrorValue::new(error.to_string())),
        };
        let Some(reply) = ctx.reply_to() else { return Reply::Later };
        let answered = async move {
            let _turn = turn;
            let answer = answer.await;
            match timeout(ROAD_PATIENCE, reply.answer(answer)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an answer was not delivered"),
                Err(_) => tracing::debug!("an answer was given up: who asked does not read"),
            }
        };
        let node = &ctx.process().node;
        node.tasks.spawn_on(answered, &node.runtime);
        Reply::Later
    }
}

impl ProcessReport {
    fn new(info: ProcessInfo, state: Result<Vec<Item>, InspectError>) -> Self {
        let texts =
            |watched: Vec<crate::Watched>| watched.iter().take(MAX_LISTED).map(ToString::to_string).collect();
        let (state, silent) = match state {
            Ok(state) => (state, String::new()),
            Err(error) => (Vec::new(), error.to_string()),
        };
        Self {
            summary: info.summary,
            leader: info.leader,
            application: info.application.unwrap_or(Atom::empty()),
            variables: info.variables.into_iter().take(MAX_LISTED).collect(),
            events: info.events.into_iter().take(MAX_LISTED).collect(),
            aliases: info.aliases.into_iter().take(MAX_LISTED).collect(),
            links: texts(info.links),
            monitors: texts(info.monitors),
            priority: priority(info.priority).to_owned(),
            compression: info.compression.map_or_else(String::new, compression),
            traps_exit: info.traps_exit,
            mailbox_capacity: info.mailbox_capacity.map_or(0, |capacity| capacity as u64),
            state,
            silent,
        }
    }
}

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
        Priority::Max => "max",
    }
}

fn compression(compression: Compression) -> String {
    let method = match compression.method {
        CompressionMethod::Gzip => "gzip",
        CompressionMethod::Zlib => "zlib",
        CompressionMethod::Lzw => "lzw",
    };
    format!("{method} above {} bytes", compression.threshold)
}
