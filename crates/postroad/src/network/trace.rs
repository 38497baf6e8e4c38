//! Walks a way through gateways hop by hop: asks for a tunnel through one
//! node at most, then through two, and so on. Who has no hop left for the next
//! gateway says so by name, after it has found everything else in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::tunnel::{Passage, TunnelError, TunnelRefusal};
use crate::Atom;
use crate::node::NodeInner;

/// A node on the way through gateways, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// The node.
    pub node: Atom,
    /// From the request to its answer, over all nodes before it; of the last gateway until the
    /// target was reached.
    pub after: Duration,
    /// What it does with such a request.
    pub answer: HopAnswer,
}

/// What a node on the way answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HopAnswer {
    /// It lets pass, and another gateway comes next.
    PassesOn,
    /// It lets pass, and the target comes next.
    LeadsThere,
    /// It refuses.
    Refuses,
}

/// After so long a gateway usually answers who has asked too often once more.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Whether a gateway would not hear of one request more for now. Somebody who walks
/// asks more often than a client does: that is not what it would tell a client.
pub(super) fn asked_too_often(error: &TunnelError) -> bool {
    matches!(error, TunnelError::Refused { reason: TunnelRefusal::TooManyRequests, .. })
}

/// How far a way through gateways leads.
pub(super) struct Trace {
    pub(super) hops: Vec<Hop>,
    /// Why it does not lead to the target, and how long the last request took.
    pub(super) end: Option<(TunnelError, Duration)>,
}

impl Trace {
    pub(super) async fn walk(
        node: &Arc<NodeInner>,
        target: Atom,
        passage: &Passage,
        limit: Duration,
    ) -> Self {
        let mut trace = Self { hops: Vec::new(), end: None };
        for budget in 1..=passage.hops() {
            let mut begun = Instant::now();
            let mut answer = passage.ask(node, target, budget, limit).await;
            if matches!(&answer, Err(error) if asked_too_often(error)) {
                tokio::time::sleep(PAUSE).await;
                begun = Instant::now();
                answer = passage.ask(node, target, budget, limit).await;
            }
            let after = begun.elapsed();
            let ends = budget == passage.hops();
            match answer {
                Ok(path) => {
                    trace.add_all(&path, after);
                    return trace;
                }
                Err(TunnelError::Refused { hop, reason: TunnelRefusal::HopsExhausted })
                    if !ends && trace.hops.last().is_none_or(|last| last.node != hop) =>
                {
                    trace.hops.push(Hop { node: hop, after, answer: HopAnswer::PassesOn });
                }
                Err(error) => {
                    if let TunnelError::Refused { hop, .. } = &error {
                        trace.hops.retain(|known| known.node != *hop);
                        trace.hops.push(Hop { node: *hop, after, answer: HopAnswer::Refuses });
                    }
                    trace.end = Some((error, after));
                    return trace;
                }
            }
        }
        trace
    }

    /// The gateways of a whole path that are not known yet; the last one leads there.
    fn add_all(&mut self, path: &[Atom], after: Duration) {
        let gateways = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
        for gateway in gateways {
            if self.hops.iter().all(|hop| hop.node != *gateway) {
                self.hops.push(Hop { node: *gateway, after, answer: HopAnswer::PassesOn });
            }
        }
        if let Some(last) = self.hops.last_mut() {
            last.answer = HopAnswer::LeadsThere;
        }
    }
}
