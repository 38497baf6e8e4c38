//! Tries every way to a node without taking any.

use std::time::Duration;

use postroad_wire::Cookie;
use tokio::time::Instant;

use super::connect::Met;
use super::plan::{Attempt, AttemptError, FailedAttempt, Reason, Stage, Step, Tunnel};
use super::proxy_route::ProxyFlags;
use super::trace::{Hop, PAUSE, Trace, asked_too_often};
use super::{ConnectError, Network};
use crate::Atom;
use crate::registrar::{BoxFuture, Endpoint};

/// How one step of a plan went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Probe {
    /// Why it was tried.
    pub reason: Reason,
    /// What was dialed; nothing if somebody was asked for addresses.
    pub endpoint: Option<Endpoint>,
    /// The gateway that was to be gone through.
    pub proxy: Option<Atom>,
    /// How that gateway itself was reached; empty if there was a connection with it.
    pub to_proxy: Vec<Probe>,
    /// The gateways on the way, in order, each with its answer.
    pub hops: Vec<Hop>,
    /// The stages that were reached, and how long each took.
    pub stages: Vec<(Stage, Duration)>,
    /// Whether it leads there.
    pub outcome: ProbeOutcome,
}

/// What came of a step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// The node is there: both sides have proved the cookie and said who they are.
    Reached {
        /// What program it says it runs.
        version: String,
        /// What may be done with it, as far as the nodes on the way and it itself allow, if the
        /// way leads through other nodes. Of a direct one this says nothing: there its flags tell.
        operations: Option<ProxyFlags>,
        /// What the proxy route asks for besides, and is refused.
        withheld: ProxyFlags,
    },
    /// Somebody answered with addresses or proxies, which are the next steps.
    Answered,
    /// It leads nowhere.
    Failed {
        /// At which stage it ended.
        stage: Stage,
        /// How long that stage took to fail.
        after: Duration,
        /// Why.
        error: AttemptError,
    },
}

impl Network {
    /// Tries each step of the plan for a node, one after the other: asks its
    /// resolvers, and dials each address up to the end of the handshake, with
    /// the functions that [`connect`](Self::connect) uses; then it hangs up. It
    /// goes on after a way that leads there, so that backups are tried as well,
    /// but asks the registrar only if a node that connects would.
    ///
    /// The way through gateways is walked as well: how the first one is
    /// reached, and then one hop more at a time, with what each answers. A gateway
    /// that is asked too often by that is asked once more, a second later.
    ///
    /// The peer sees a connection with this node that ends at once, through
    /// gateways two: probe from a node with a name of its own, not from one that
    /// is connected with it. With gateways this node stays connected.
    ///
    /// Cancel safe: what was dialed is hung up.
    pub async fn probe(&self, name: &str) -> Result<Vec<Probe>, ConnectError> {
        let name = crate::node::node_name(name)?;
        self.probe_all(name, None, &[]).await
    }

    /// Tries each step of the plan for a node, with this cookie if there is one.
    /// The way leads to the nodes before it: none of those is gone through.
    ///
    /// Boxed, because gateways are reached by plans of their own.
    fn probe_all<'a>(
        &'a self,
        name: Atom,
        cookie: Option<Cookie>,
        before: &'a [Atom],
    ) -> BoxFuture<'a, Result<Vec<Probe>, ConnectError>> {
        Box::pin(async move {
            let mut plan = self.inner().plan(self.node(), name)?;
            let mut probes = Vec::new();
            let mut led = false;
            let mut told = 0;
            while let Some(step) = plan.next_step() {
                // What needed no trying to fail.
                probes.extend(plan.failures()[told..].iter().map(Probe::untried));
                let begun = Instant::now();
                match step {
                    Step::Attempt(mut attempt) => {
                        attempt.cookie = cookie.clone().or(attempt.cookie);
                        let probe = self.walk(name, &attempt, None).await;
                        match &probe.outcome {
                            ProbeOutcome::Failed { error, .. } => plan.failed(attempt, error.clone()),
                            _ => led = true,
                        }
                        probes.push(probe);
                    }
                    Step::Resolve(resolve) if led && resolve.is_discovery() => break,
                    Step::Resolve(resolve) => {
                        let answer = resolve.ask().await;
                        let (reason, before) = (resolve.reason.clone(), plan.failures().len());
                        plan.resolved(resolve, answer);
                        let outcome = match plan.failures().get(before) {
                            Some(failed) => ProbeOutcome::failed(failed, begun.elapsed()),
                            None => ProbeOutcome::Answered,
                        };
                        probes.push(Probe { outcome, ..Probe::of(reason) });
                    }
                    Step::Tunnel(mut tunnel) => {
                        tunnel.ends.cookie = cookie.clone().or(tunnel.ends.cookie);
                        let probe = self.walk_through(name, &tunnel, before).await;
                        match &probe.outcome {
                            ProbeOutcome::Failed { error, .. } => plan.tunnel_failed(tunnel, error.clone()),
                            _ => led = true,
                        }
                        probes.push(probe);
                    }
                }
                told = plan.failures().len();
            }
            probes.extend(plan.failures()[told..].iter().map(Probe::untried));
            Ok(probes)
        })
    }

    /// Walks a way through gateways: to the first one, hop by hop to the target,
    /// and then as any other.
    async fn walk_through(&self, name: Atom, tunnel: &Tunnel, before: &[Atom]) -> Probe {
        let network = self.inner();
        let proxy = tunnel.proxy;
        let mut probe = Probe { proxy: Some(proxy), ..Probe::of(tunnel.reason.clone()) };
        if network.live(proxy).is_none() && !before.contains(&proxy) {
            let before = [before, &[name]].concat();
            let walked = self.probe_all(proxy, tunnel.cookie.clone(), &before).await;
            probe.to_proxy = walked.unwrap_or_default();
        }
        let passage = match network.passage(tunnel) {
            Ok(passage) => passage,
            Err(error) => {
                probe.outcome = ProbeOutcome::Failed { stage: error.stage(), after: Duration::ZERO, error };
                return probe;
            }
        };
        let limit = network.options.connect_timeout;
        let trace = Trace::walk(self.node(), name, &passage, limit).await;
        probe.hops = trace.hops;
        if let Some((error, after)) = trace.end {
            probe.outcome = ProbeOutcome::Failed { stage: Stage::Tunnel, after, error: error.into() };
            return probe;
        }
        let mut walked = self.walk(name, &tunnel.ends, Some(tunnel)).await;
        if matches!(&walked.outcome, ProbeOutcome::Failed { error: AttemptError::Tunnel(error), .. } if asked_too_often(error))
        {
            tokio::time::sleep(PAUSE).await;
            walked = self.walk(name, &tunnel.ends, Some(tunnel)).await;
        }
        Probe { stages: walked.stages, outcome: walked.outcome, ..probe }
    }

    async fn walk(&self, name: Atom, attempt: &Attempt, tunnel: Option<&Tunnel>) -> Probe {
        let mut stages = Vec::new();
        let mut last = Instant::now();
        let reached = |stage| {
            let now = Instant::now();
            stages.push((stage, now - last));
            last = now;
        };
        let left = self.inner().options.connect_timeout;
        let met = self.inner().meet(self.node(), name, attempt, tunnel, left, reached, || true).await;
        let outcome = match met {
            Ok(met) => ProbeOutcome::reached(&met, tunnel),
            Err(error) => {
                ProbeOutcome::Failed { stage: stage_behind(&stages, &error), after: last.elapsed(), error }
            }
        };
        let endpoint = tunnel.is_none().then(|| attempt.endpoint.clone());
        Probe { endpoint, stages, outcome, ..Probe::of(attempt.reason.clone()) }
    }
}

/// The stage that an attempt ended in: not before one that it had reached. A
/// name that was not found ended while it was resolved.
fn stage_behind(reached: &[(Stage, Duration)], error: &AttemptError) -> Stage {
    match (reached.last(), error) {
        (None, AttemptError::Dial(_)) => Stage::Resolve,
        (Some((Stage::Hello, _)), _) => error.stage().max(Stage::Introduce),
        _ => error.stage(),
    }
}

impl Probe {
    fn untried(failed: &FailedAttempt) -> Self {
        Self {
            endpoint: failed.endpoint.clone(),
            outcome: ProbeOutcome::failed(failed, Duration::ZERO),
            ..Self::of(failed.reason.clone())
        }
    }

    /// Nothing but the reason yet.
    fn of(reason: Reason) -> Self {
        Self {
            reason,
            endpoint: None,
            proxy: None,
            to_proxy: Vec::new(),
            hops: Vec::new(),
            stages: Vec::new(),
            outcome: ProbeOutcome::Answered,
        }
    }
}

impl ProbeOutcome {
    fn reached(met: &Met, tunnel: Option<&Tunnel>) -> Self {
        let peer = &met.established.peer;
        let operations = met.through.as_ref().map(|through| through.asked_of(peer.flags));
        let asked = tunnel.map_or(ProxyFlags::NONE, |tunnel| tunnel.flags).operations();
        let withheld = asked.without(operations.unwrap_or(ProxyFlags::NONE).operations()).into();
        Self::Reached { version: peer.version.to_string(), operations, withheld }
    }

    fn failed(failed: &FailedAttempt, after: Duration) -> Self {
        Self::Failed { stage: failed.stage, after, error: failed.error.clone() }
    }
}
