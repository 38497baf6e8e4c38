//! Waiting for the end of a process.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Process;
use crate::Pid;
use crate::actor::ExitReason;
use crate::node::NodeInner;

/// A process has ended, and why.
pub(crate) type Ended = (Pid, ExitReason);

/// How long a killed process is waited for: one whose handler never awaits
/// cannot be killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

impl Process {
    /// Has somebody told when the process has ended and nothing is left of it;
    /// false if that is so already.
    pub(crate) fn await_end(&self, waiting: mpsc::UnboundedSender<Ended>) -> bool {
        let mut extras = self.extras.lock();
        if extras.gone {
            return false;
        }
        let awaited = &mut extras.rare_mut().awaited;
        awaited.retain(|waiting| !waiting.is_closed());
        awaited.push(waiting);
        true
    }

    /// Tells who waits for the end.
    pub(super) fn has_ended(&self, reason: &ExitReason) {
        let awaited = {
            let mut extras = self.extras.lock();
            extras.gone = true;
            extras.existing_rare().map_or_else(Vec::new, |rare| mem::take(&mut rare.awaited))
        };
        for waiting in awaited {
            let _ = waiting.send((self.pid, reason.clone()));
        }
    }
}

/// A process that was killed and has not ended: one of its handlers blocks the
/// thread it runs on.
#[derive(Debug)]
pub(crate) struct LeftBehind;

/// Why a process ended that was asked to; nothing if it was gone already.
pub(crate) type Ending = Result<Option<ExitReason>, LeftBehind>;

/// Asks a process to end, on behalf of its parent, and kills it if that takes
/// longer than `patience`.
pub(crate) async fn end(node: Arc<NodeInner>, pid: Pid, reason: ExitReason, patience: Duration) -> Ending {
    let Some(process) = node.process(pid) else { return Ok(None) };
    let (waiting, mut ended) = mpsc::unbounded_channel();
    if !process.await_end(waiting) {
        return Ok(None);
    }
    process.shut_down(reason);
    let told = match timeout(patience, ended.recv()).await {
        Ok(told) => told,
        Err(_) => {
            tracing::warn!(%pid, after = ?patience, "did not end when it was asked to: killed");
            process.kill();
            timeout(KILL_TIMEOUT, ended.recv()).await.map_err(|_| {
                tracing::error!(%pid, "blocks its thread and does not end: left behind");
                LeftBehind
            })?
        }
    };
    Ok(told.map(|(_, reason)| reason))
}
