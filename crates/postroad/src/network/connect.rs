//! Executes plans: one attempt per peer at a time, everyone else waits for the
//! same outcome.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::connection::{Connection, Redial, Terms};
use super::log::{Log, log};
use super::plan::{Attempt, AttemptError, NoRoute, OwnName, Plan, PlanOptions, Resolve, Step};
use super::transport::{Address, DialError, Stream};
use super::{NetworkInner, NetworkMode, NetworkOptions, handshake};
use crate::Atom;
use crate::error::InvalidName;
use crate::node::NodeInner;
use crate::registrar::{Endpoint, ResolveError, Resolver};
use crate::tls::{Asking, TlsOptions, Trust};

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing led there; says what was tried.
    #[error(transparent)]
    NoRoute(Arc<NoRoute>),
    /// The name is no node name.
    #[error("not a node name: {0}")]
    Name(InvalidName),
    /// The name is that of this node.
    #[error("not allowed: {0} is this node itself")]
    OwnName(Atom),
    /// This node has no network, or has been stopped.
    #[error("network stack is stopped")]
    Stopped,
}

/// How long a dial that was refused in favour of the peer's waits for that one.
const ARRIVAL: Duration = Duration::from_secs(1);

type Outcome = Result<Arc<Connection>, ConnectError>;

/// Whom this node is dialing.
#[derive(Default)]
pub(super) struct Dialing {
    peers: Mutex<HashMap<Atom, watch::Receiver<Option<Outcome>>>>,
    /// With whom a handshake is under way that this node began.
    knocking: Mutex<HashSet<Atom>>,
    /// Notified whenever a connection is made.
    connected: Notify,
}

impl Dialing {
    /// Whether a handshake with the peer is under way, begun by this node. A
    /// dial that has not reached the peer says nothing: it may never do.
    pub(super) fn is_knocking(&self, peer: Atom) -> bool {
        self.knocking.lock().contains(&peer)
    }

    fn knock(&self, peer: Atom) -> Knocking<'_> {
        self.knocking.lock().insert(peer);
        Knocking { dialing: self, peer }
    }

    pub(super) fn connected(&self) {
        self.connected.notify_waiters();
    }
}

/// A handshake that this node began, until this is dropped.
struct Knocking<'a> {
    dialing: &'a Dialing,
    peer: Atom,
}

impl Drop for Knocking<'_> {
    fn drop(&mut self) {
        self.dialing.knocking.lock().remove(&self.peer);
    }
}

/// A dial that is under way, until this is dropped.
struct Underway<'a> {
    dialing: &'a Dialing,
    peer: Atom,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.dialing.peers.lock().remove(&self.peer);
    }
}

impl NetworkInner {
    /// The connection with a node: the one there is, or a new one.
    pub(crate) async fn connection(&self, node: &Arc<NodeInner>, peer: Atom) -> Outcome {
        if let Some(connection) = self.connected(peer) {
            return Ok(connection);
        }
        let mut outcome = self.dial(node, peer)?;
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(ConnectError::Stopped)),
            Err(_) => Err(ConnectError::Stopped),
        }
    }

    /// Begins to connect, unless somebody has begun already.
    pub(crate) fn connect_in_background(&self, node: &Arc<NodeInner>, peer: Atom) {
        let _ = self.dial(node, peer);
    }

    fn dial(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
    ) -> Result<watch::Receiver<Option<Outcome>>, ConnectError> {
        if self.mode == NetworkMode::Disabled || node.is_stopping() {
            return Err(ConnectError::Stopped);
        }
        if peer == node.name {
            return Err(ConnectError::OwnName(peer));
        }
        let mut peers = self.dialing.peers.lock();
        if let Some(outcome) = peers.get(&peer) {
            return Ok(outcome.clone());
        }
        let (publish, outcome) = watch::channel(None);
        peers.insert(peer, outcome.clone());
        let dialer = node.clone();
        node.tasks.spawn_on(
            async move {
                let network = &dialer.network;
                // Also if a resolver panics.
                let underway = Underway { dialing: &network.dialing, peer };
                let result = tokio::select! {
                    () = dialer.stopping.cancelled() => Err(ConnectError::Stopped),
                    result = network.execute(&dialer, peer) => result,
                };
                drop(underway);
                publish.send_replace(Some(result));
            },
            &node.runtime,
        );
        Ok(outcome)
    }

    /// How this node would reach another one now.
    fn plan(&self, node: &NodeInner, peer: Atom) -> Result<Plan, ConnectError> {
        let routes = self.routes.lookup(peer.as_str());
        let registrar = self.registrar.clone().map(|registrar| registrar as Arc<dyn Resolver>);
        Ok(Plan::new(node.name, peer, &routes, registrar, PlanOptions::from(&self.options))?)
    }

    /// The plan for a node, with all resolvers asked.
    pub(super) async fn explain(&self, node: &NodeInner, peer: Atom) -> Result<Plan, ConnectError> {
        let mut plan = self.plan(node, peer)?;
        while let Some((at, resolve)) = plan.ask_ahead() {
            let answer = ask(&resolve, peer, resolve.timeout).await;
            plan.answer_ahead(at, resolve, answer);
        }
        Ok(plan)
    }

    async fn execute(&self, node: &Arc<NodeInner>, peer: Atom) -> Outcome {
        // A dial that ended since the caller looked has made the connection already.
        if let Some(connection) = self.connected(peer).filter(|connection| !connection.is_down()) {
            return Ok(connection);
        }
        let mut plan = self.plan(node, peer)?;
        let deadline = Instant::now() + self.options.connect_timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        while !left().is_zero()
            && let Some(step) = plan.next_step()
        {
            match step {
                Step::Attempt(attempt) => match self.attempt(node, peer, &attempt, left()).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => {
                        // Both nodes dial at once and the other's dial wins: it is on its way.
                        let yields = peer < node.name && error.is_refused_introduction();
                        if yields && let Some(connection) = self.dialed_by(peer).await {
                            return Ok(connection);
                        }
                        log!(Log::new(attempt.log_level), DEBUG, %peer, reason = %attempt.reason, %error, "attempt failed");
                        plan.failed(attempt, error);
                    }
                },
                Step::Resolve(resolve) => {
                    let answer = ask(&resolve, peer, resolve.timeout.min(left())).await;
                    plan.resolved(resolve, answer);
                }
            }
            // The peer may have dialed meanwhile.
            if let Some(connection) = self.connected(peer) {
                return Ok(connection);
            }
        }
        Err(ConnectError::NoRoute(Arc::new(plan.give_up())))
    }

    async fn attempt(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        attempt: &Attempt,
        left: Duration,
    ) -> Result<Arc<Connection>, AttemptError> {
        let Attempt { endpoint, cookie, flags, dial_timeout, handshake_timeout, .. } = attempt;
        let log = Log::new(attempt.log_level);
        let cookie = cookie.clone().unwrap_or_else(|| self.cookie());
        let introduction = self.introduction(node, *flags);
        let started = Instant::now();
        let address = Address {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: if endpoint.tls { Some(self.asking(&attempt.tls)?) } else { None },
        };
        log!(log, DEBUG, %peer, host = %endpoint.host, port = endpoint.port, tls = endpoint.tls, reason = %attempt.reason, "dialing");
        let mut stream = Stream::dial(&address, peer, left.min(*dial_timeout)).await?;
        let left = left.saturating_sub(started.elapsed()).min(*handshake_timeout);
        log!(log, TRACE, %peer, elapsed = ?started.elapsed(), "dialed; shaking hands");
        let _knocking = self.dialing.knock(peer);
        let established = handshake::dial(&mut stream, introduction, peer, cookie.clone(), left).await?;
        let redial =
            Redial { address, cookie, dial_timeout: *dial_timeout, handshake_timeout: *handshake_timeout };
        let terms = Terms { mapping: attempt.mapping.clone(), log };
        Ok(self.dialed(node, stream, established, redial, terms))
    }

    /// How to dial with TLS under these options.
    fn asking(&self, options: &TlsOptions) -> Result<Asking, AttemptError> {
        let system = || {
            let mut trust = self.system_trust.lock();
            match &*trust {
                Some(trust) => Ok(trust.clone()),
                None => Ok(trust.insert(Trust::system()?).clone()),
            }
        };
        Asking::new(options, system).map_err(|error| AttemptError::Tls(error.into()))
    }

    /// Waits a moment for the peer's own dial to arrive.
    async fn dialed_by(&self, peer: Atom) -> Option<Arc<Connection>> {
        tokio::time::timeout(ARRIVAL, self.arrival(peer, |_| true)).await.ok()
    }

    /// Waits for a connection with that peer that is as wanted.
    pub(super) async fn arrival(&self, peer: Atom, wanted: impl Fn(&Connection) -> bool) -> Arc<Connection> {
        loop {
            let mut connected = std::pin::pin!(self.dialing.connected.notified());
            connected.as_mut().enable();
            if let Some(connection) = self.connected(peer).filter(|connection| wanted(connection)) {
                return connection;
            }
            connected.await;
        }
    }
}

async fn ask(resolve: &Resolve, peer: Atom, timeout: Duration) -> Result<Vec<Endpoint>, ResolveError> {
    tokio::time::timeout(timeout, resolve.resolver.resolve(peer))
        .await
        .unwrap_or(Err(ResolveError::Timeout(timeout)))
}

impl From<OwnName> for ConnectError {
    fn from(OwnName(name): OwnName) -> Self {
        Self::OwnName(name)
    }
}

impl From<DialError> for AttemptError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Tcp(error) => Self::Dial(Arc::new(error)),
            DialError::Tls(error) => Self::Tls(error),
        }
    }
}

impl From<&NetworkOptions> for PlanOptions {
    fn from(options: &NetworkOptions) -> Self {
        Self {
            on_failure: options.on_failure,
            dial_timeout: options.dial_timeout,
            handshake_timeout: options.handshake_timeout,
            tls: options.tls.clone(),
        }
    }
}
