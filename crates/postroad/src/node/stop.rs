//! How a node ends: in order, and in time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout, timeout_at};

use super::{Node, NodeInner};
use crate::Pid;
use crate::actor::ExitReason;
use crate::process::Process;

/// How long is waited for each of the things that take no time unless something
/// hangs: the registrar, processes after a kill, tasks of the network.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often is said what a node that stops still waits for.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How many processes such a report names.
const REPORTED: usize = 10;

impl Node {
    /// Stops the node in order. It leaves the registrar and takes no new
    /// connections; stops its applications, what was started last first; then
    /// asks all processes to end (reason `shutdown`), each when its parent has
    /// ended: a supervisor ends its children itself. It hands over what lies in
    /// outgoing buffers and closes all connections.
    ///
    /// Applications and processes have the node's
    /// [`shutdown_timeout`](crate::NodeBuilder::shutdown_timeout); after half of
    /// it all that are left are asked, whatever their parents do, and at its end
    /// they are killed. What is waited for is logged every five seconds.
    ///
    /// Takes seven seconds more than that timeout at the very most: a registrar
    /// that does not answer, a handler that never awaits and so cannot be killed,
    /// or a task of the network that does not end is left behind after two
    /// seconds each, and logged.
    ///
    /// Returns when all that is done, also if somebody else stops it at the
    /// same time. Not to be awaited by one of the node's own processes, which
    /// would wait for itself: spawn a task for it there.
    ///
    /// Cancellation: a dropped future leaves the node stopping, but may leave
    /// processes alive and connections open; call it again.
    pub async fn stop(&self) {
        self.0.begin_to_stop();
        self.0.at_most("the registrar", self.0.network.close_doors()).await;
        self.end_processes().await;
        self.0.network.shut_down().await;
        self.0.tasks.close();
        self.0.at_most("a task of the network", self.0.tasks.wait()).await;
        tracing::info!(node = %self.0.name, "node stopped");
    }

    async fn end_processes(&self) {
        let begin = Instant::now();
        let limit = self.0.shutdown_timeout;
        let in_order = async {
            // Those that take too long are asked like all other processes.
            let _ = timeout_at(begin + limit / 2, self.stop_applications()).await;
            end_families(&self.0, begin + limit / 2).await;
            self.0.no_process_left().await;
        };
        let reported = async {
            tokio::select! {
                () = in_order => {}
                () = self.report() => {}
            }
        };
        if timeout_at(begin + limit, reported).await.is_err() {
            for process in self.0.processes.all() {
                tracing::warn!(process = described(&process), "did not end in time: killed");
                process.kill();
            }
            self.0.at_most("a process that was killed", self.0.no_process_left()).await;
        }
    }

    /// Says again and again what is waited for.
    async fn report(&self) {
        let mut ticks = interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
        loop {
            ticks.tick().await;
            let left = self.0.processes.all();
            let some: Vec<_> = left.iter().take(REPORTED).map(described).collect();
            tracing::info!(
                node = %self.0.name,
                applications = ?self.running_applications(),
                processes = left.len(),
                among_them = some.join(", "),
                "still stopping"
            );
        }
    }
}

/// A process, as people know it.
fn described(process: &Arc<Process>) -> String {
    match process.name() {
        Some(name) => format!("{} {name} [{}]", process.pid, process.actor_type()),
        None => format!("{} [{}]", process.pid, process.actor_type()),
    }
}

/// Asks processes to end, each when its parent has ended or is none of this
/// node; from `impatient` on all that are left.
async fn end_families(node: &NodeInner, impatient: Instant) {
    let (waiting, mut ended) = mpsc::unbounded_channel();
    let mut families: BTreeMap<u64, Vec<Arc<Process>>> = BTreeMap::new();
    for process in node.processes.all() {
        let parent = if node.is_local(process.parent.node) { process.parent.id } else { Pid::CORE };
        families.entry(parent).or_default().push(process);
    }
    let mut due = Vec::new();
    for parent in families.keys() {
        let awaited = node.processes.with(*parent, Arc::clone);
        if !awaited.is_some_and(|parent| parent.await_end(waiting.clone())) {
            due.push(*parent);
        }
    }
    loop {
        for process in due.drain(..).filter_map(|parent| families.remove(&parent)).flatten() {
            process.shut_down(ExitReason::Shutdown);
        }
        if families.is_empty() {
            return;
        }
        match timeout_at(impatient, ended.recv()).await {
            Ok(parent) => due.extend(parent.map(|(pid, _)| pid.id)),
            Err(_) => due.extend(families.keys()),
        }
    }
}

impl NodeInner {
    async fn at_most(&self, what: &str, step: impl Future<Output = ()>) {
        if timeout(STEP_TIMEOUT, step).await.is_err() {
            tracing::error!(node = %self.name, after = ?STEP_TIMEOUT, "{what} does not end: left behind");
        }
    }
}
