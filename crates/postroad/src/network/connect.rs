//! Executes plans: one attempt per peer at a time, everyone else waits for the
//! same outcome.
//!
//! What sends goes by the node's routes and is told at once of a plan that
//! failed a moment ago; who asks for a connection by name has it tried anyway.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::Cookie;
use postroad_wire::ehs::Established;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::{Connection, Redial, Terms};
use super::dialing::{Course, Flight, Outcome, Underway};
use super::event::{NetworkEvent, Road};
use super::handshake;
use super::log::{Log, log};
use super::plan::{Attempt, AttemptError, NoRoute, OwnName, Plan, PlanOptions, Stage, Step, Tunnel};
use super::route::{InvalidRoute, NetworkRoute};
use super::stack::Stack;
use super::transport::{Address, DialError, Stream};
use super::tunnel::{Passage, Through};
use super::way::Way;
use super::{NetworkInner, NetworkMode, NetworkOptions};
use crate::Atom;
use crate::error::InvalidName;
use crate::node::NodeInner;
use crate::registrar::Resolver;
use crate::tls::{Asking, TlsOptions, Trust, Watched};

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing led there; says what was tried.
    #[error(transparent)]
    NoRoute(Arc<NoRoute>),
    /// The route that was given cannot be used.
    #[error(transparent)]
    Route(#[from] InvalidRoute),
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

/// A peer that was dialed, after the handshake.
pub(super) struct Met {
    stream: Stream,
    pub(super) established: Established,
    stack: Stack,
    way: Way,
    pub(super) through: Option<Arc<Through>>,
    cookie: Cookie,
}

impl NetworkInner {
    /// The connection with a node, for a sender: the one there is, or a new
    /// one, unless that was tried in vain a moment ago.
    pub(crate) async fn connection(&self, node: &Arc<NodeInner>, peer: Atom) -> Outcome {
        self.reach(node, peer, Course::Sending).await
    }

    /// Begins to connect for a sender, unless somebody has begun already.
    pub(crate) fn connect_in_background(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
    ) -> Result<(), ConnectError> {
        self.take_off(node, peer, &Course::Sending).map(drop)
    }

    /// The connection with a node: the one there is, or a new one.
    pub(super) async fn connect(&self, node: &Arc<NodeInner>, peer: Atom) -> Outcome {
        self.reach(node, peer, Course::Routes).await
    }

    /// The connection with a node: the one there is, or a new one by `route`.
    pub(super) async fn connect_with(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        route: NetworkRoute,
    ) -> Outcome {
        route.check_with(&self.options)?;
        Watched::add(node, &route.pins.tls);
        self.reach(node, peer, Course::Given(Arc::new(route))).await
    }

    /// The connection with a node: the one there is, or a new one by the node's
    /// routes, with this cookie in place of theirs.
    pub(super) async fn connect_by_cookie(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        cookie: Option<Cookie>,
    ) -> Outcome {
        self.reach(node, peer, cookie.map_or(Course::Routes, Course::Keyed)).await
    }

    /// The connection with a node: the one there is, or a new one at this address.
    pub(super) async fn connect_by(&self, node: &Arc<NodeInner>, peer: Atom, attempt: Attempt) -> Outcome {
        self.reach(node, peer, Course::Address(Arc::new(attempt))).await
    }

    async fn reach(&self, node: &Arc<NodeInner>, peer: Atom, course: Course) -> Outcome {
        match self.live(peer) {
            Some(connection) => Ok(connection),
            // Boxed, because who sends must not carry all that dialing needs.
            None => Box::pin(self.reach_anew(node, peer, course)).await,
        }
    }

    /// Waits for dials of other courses as long as a dial may take, all together.
    async fn reach_anew(&self, node: &Arc<NodeInner>, peer: Atom, course: Course) -> Outcome {
        let mut patience = pin!(tokio::time::sleep(self.options.connect_timeout));
        loop {
            if let Some(connection) = self.live(peer) {
                return Ok(connection);
            }
            let (mut outcome, counts) = self.take_off(node, peer, &course)?;
            let outcome = tokio::select! {
                biased;
                outcome = outcome.wait_for(Option::is_some) => match outcome {
                    Ok(outcome) => outcome.clone().unwrap_or(Err(ConnectError::Stopped)),
                    Err(_) => Err(ConnectError::Stopped),
                },
                () = &mut patience, if !counts => {
                    let no_route = self.plan_of(node, peer, &course)?.give_up();
                    return Err(ConnectError::NoRoute(Arc::new(no_route)));
                }
            };
            if counts || outcome.is_ok() {
                return outcome;
            }
        }
    }

    /// Begins to dial, or joins the dial that is under way: one at a time for
    /// each peer. Where to wait for its outcome, and whether a failure is the
    /// answer for this course too.
    fn take_off(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        course: &Course,
    ) -> Result<(watch::Receiver<Option<Outcome>>, bool), ConnectError> {
        if self.mode == NetworkMode::Disabled || node.is_stopping() {
            return Err(ConnectError::Stopped);
        }
        if peer == node.name {
            return Err(ConnectError::OwnName(peer));
        }
        let mut peers = self.dialing.peers.lock();
        if let Some(flight) = peers.get(&peer) {
            return Ok((flight.outcome.clone(), flight.course.is_as_good_as(course)));
        }
        if let Course::Sending = course
            && let Some(no_route) = self.dialing.unreachable.recently(peer)
        {
            return Err(ConnectError::NoRoute(Arc::new(no_route)));
        }
        let (publish, outcome) = watch::channel(None);
        peers.insert(peer, Flight { course: course.clone(), outcome: outcome.clone() });
        let (dialer, course) = (node.clone(), course.clone());
        node.tasks.spawn_on(
            async move {
                let network = &dialer.network;
                let underway = Underway { dialing: &network.dialing, peer };
                let result = tokio::select! {
                    biased;
                    () = dialer.stopping.cancelled() => Err(ConnectError::Stopped),
                    // A dial that ended since the caller looked may have made the connection
                    // already, and the peer may come by itself while an attempt leads nowhere.
                    connection = network.arrival(peer, |connection| !connection.is_down()) => Ok(connection),
                    result = network.execute(&dialer, peer, &course) => result,
                };
                drop(underway);
                publish.send_replace(Some(result));
            },
            &node.runtime,
        );
        Ok((outcome, true))
    }

    /// How this node would reach another one now.
    pub(super) fn plan(&self, node: &NodeInner, peer: Atom) -> Result<Plan, ConnectError> {
        let (routes, proxies) = self.tables.lookup(peer);
        let registrar = self.registrar.clone().map(|registrar| registrar as Arc<dyn Resolver>);
        let connected = self.connections.load().keys().copied().collect();
        let options = PlanOptions { connected, ..PlanOptions::from(&self.options) };
        Ok(Plan::new(node.name, peer, &routes, &proxies, registrar, options)?)
    }

    fn plan_of(&self, node: &NodeInner, peer: Atom, course: &Course) -> Result<Plan, ConnectError> {
        let options = || PlanOptions::from(&self.options);
        Ok(match course {
            Course::Sending | Course::Routes | Course::Keyed(_) => self.plan(node, peer)?,
            Course::Address(attempt) => Plan::at(node.name, peer, attempt, options())?,
            Course::Given(route) => Plan::along(node.name, peer, route, options())?,
        })
    }

    /// The plan for a node, with all resolvers asked.
    pub(super) async fn explain(&self, node: &NodeInner, peer: Atom) -> Result<Plan, ConnectError> {
        let mut plan = self.plan(node, peer)?;
        while let Some((at, resolve)) = plan.ask_ahead() {
            let answer = resolve.ask().await;
            plan.answer_ahead(at, resolve, answer);
        }
        plan.paused(self.dialing.unreachable.pause(peer));
        Ok(plan)
    }

    async fn execute(&self, node: &Arc<NodeInner>, peer: Atom, course: &Course) -> Outcome {
        let epoch = self.dialing.unreachable.epoch();
        let mut plan = self.plan_of(node, peer, course)?;
        // More time than a clock can express is no limit.
        let deadline = Instant::now().checked_add(self.options.connect_timeout);
        let left =
            || deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let mut told = 0;
        while !left().is_zero()
            && let Some(step) = plan.next_step()
        {
            match step {
                Step::Attempt(mut attempt) => {
                    course.rekey(&mut attempt);
                    match self.attempt(node, peer, &attempt, None, left()).await {
                        Ok(connection) => return Ok(connection),
                        Err(error) => {
                            if let Some(connection) = self.late(peer, &attempt, &error, left()).await {
                                return Ok(connection);
                            }
                            plan.failed(attempt, error);
                        }
                    }
                }
                Step::Tunnel(mut tunnel) => {
                    course.rekey(&mut tunnel.ends);
                    match self.attempt(node, peer, &tunnel.ends, Some(&tunnel), left()).await {
                        Ok(connection) => return Ok(connection),
                        Err(error) => {
                            if let Some(connection) = self.late(peer, &tunnel.ends, &error, left()).await {
                                return Ok(connection);
                            }
                            plan.tunnel_failed(tunnel, error);
                        }
                    }
                }
                Step::Resolve(resolve) => {
                    let answer = resolve.ask_within(left()).await;
                    plan.resolved(resolve, answer);
                }
            }
            told = self.tell(peer, &plan, told);
        }
        self.tell(peer, &plan, told);
        let no_route = Arc::new(plan.give_up());
        let _ = self.events.send(NetworkEvent::PlanFailed { peer, no_route: no_route.clone() });
        if course.is_shared() {
            self.dialing.unreachable.remember(epoch, no_route.clone(), self.options.retry_pause);
        }
        Err(ConnectError::NoRoute(no_route))
    }

    /// After an attempt that failed: the connection that is there all the same.
    async fn late(
        &self,
        peer: Atom,
        attempt: &Attempt,
        error: &AttemptError,
        left: Duration,
    ) -> Option<Arc<Connection>> {
        // Both nodes dial at once and the other's dial wins: it is on its way,
        // and ends this when it arrives.
        if error.yields() {
            tokio::time::sleep(ARRIVAL.min(left)).await;
        }
        let connection = self.live(peer);
        if connection.is_none() {
            log!(Log::new(attempt.log_level), DEBUG, %peer, reason = %attempt.reason, %error, "attempt failed");
        }
        connection
    }

    /// Announces what failed beyond the first `told`; how many that are now.
    fn tell(&self, peer: Atom, plan: &Plan, told: usize) -> usize {
        for attempt in &plan.failures()[told..] {
            let _ = self.events.send(NetworkEvent::RouteFailed { peer, attempt: Arc::new(attempt.clone()) });
        }
        plan.failures().len()
    }

    async fn attempt(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        attempt: &Attempt,
        tunnel: Option<&Tunnel>,
        left: Duration,
    ) -> Result<Arc<Connection>, AttemptError> {
        let mut knocking = None;
        let proceed = || {
            knocking = self.dialing.knock(peer);
            knocking.is_some() && self.live(peer).is_none()
        };
        let begun = Instant::now();
        let Met { stream, established, stack, way, through, cookie } =
            self.meet(node, peer, attempt, tunnel, left, |_| (), proceed).await?;
        let way = match (way, &through) {
            (Way::Tunnel(passage), Some(through)) => Way::Tunnel(Arc::new(passage.after(through))),
            (way, _) => way,
        };
        let road = Road {
            reason: attempt.reason.clone(),
            endpoint: through.is_none().then(|| attempt.endpoint.clone()),
            path: through.as_ref().map_or_else(Vec::new, |through| through.path.clone()),
        };
        let redial = Redial {
            way,
            cookie,
            dial_timeout: attempt.dial_timeout,
            handshake_timeout: attempt.handshake_timeout,
            road: Arc::new(road),
        };
        let log = Log::new(attempt.log_level);
        let (mapping, flags) = (attempt.mapping.clone().map(Arc::new), attempt.flags);
        let terms = Terms { mapping, log, door: None, stack, flags, through };
        Ok(self.dialed(node, stream, established, redial, terms, begun.elapsed()))
    }

    /// Dials, or goes through another node, and shakes hands; tells which stages
    /// were reached. When the peer has proved the cookie `proceed` says whether
    /// to go on.
    #[allow(clippy::too_many_arguments, reason = "what is tried, by whom, and who is told of it")]
    pub(super) async fn meet(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        attempt: &Attempt,
        tunnel: Option<&Tunnel>,
        left: Duration,
        mut reached: impl FnMut(Stage) + Send,
        mut proceed: impl FnMut() -> bool + Send,
    ) -> Result<Met, AttemptError> {
        let Attempt { endpoint, cookie, flags, dial_timeout, handshake_timeout, .. } = attempt;
        let log = Log::new(attempt.log_level);
        let cookie = cookie.clone().unwrap_or_else(|| self.cookie());
        let stack = self.options.stack(endpoint)?;
        let started = Instant::now();
        let way = match tunnel {
            None => {
                log!(log, DEBUG, %peer, host = %endpoint.host, port = endpoint.port, tls = endpoint.tls, reason = %attempt.reason, "dialing");
                Way::Address(self.address(attempt)?)
            }
            Some(tunnel) => {
                log!(log, DEBUG, %peer, proxy = %tunnel.proxy, reason = %attempt.reason, "asking for a tunnel");
                Way::Tunnel(Arc::new(self.passage(tunnel)?))
            }
        };
        let (mut stream, through) = way.open(node, peer, left.min(*dial_timeout), &mut reached).await?;
        let flags = through.as_ref().map_or(*flags, |through| Some(through.limit(*flags)));
        let introduction = self.introduction(node, flags);
        let left = left.saturating_sub(started.elapsed()).min(*handshake_timeout);
        log!(log, TRACE, %peer, elapsed = ?started.elapsed(), "dialed; shaking hands");
        let proved = || {
            reached(Stage::Hello);
            proceed()
        };
        let established =
            handshake::dial(&stack, &mut stream, introduction, peer, cookie.clone(), left, proved).await?;
        reached(Stage::Introduce);
        Ok(Met { stream, established, stack, way, through, cookie })
    }

    /// How a tunnel is asked for.
    pub(super) fn passage(&self, tunnel: &Tunnel) -> Result<Passage, AttemptError> {
        let ends = &tunnel.ends;
        let tls = if ends.endpoint.tls { Some(self.asking(&ends.tls)?) } else { None };
        Ok(Passage::new(tunnel, tls))
    }

    /// Where an attempt dials, and how.
    pub(super) fn address(&self, attempt: &Attempt) -> Result<Address, AttemptError> {
        let Attempt { endpoint, tls, .. } = attempt;
        Ok(Address {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: if endpoint.tls { Some(self.asking(tls)?) } else { None },
        })
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

    /// Waits for a connection with that peer that is as wanted.
    pub(super) async fn arrival(&self, peer: Atom, wanted: impl Fn(&Connection) -> bool) -> Arc<Connection> {
        loop {
            let mut connected = pin!(self.dialing.connected.notified());
            connected.as_mut().enable();
            if let Some(connection) = self.connected(peer).filter(|connection| wanted(connection)) {
                return connection;
            }
            connected.await;
        }
    }
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
            proxy_order: options.proxy_order,
            dial_timeout: options.dial_timeout,
            handshake_timeout: options.handshake_timeout,
            tls: options.tls.clone(),
            handshakes: options.handshakes.versions(),
            protocols: options.protocols.versions(),
            connected: HashSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::Node;

    const DEAD: &str = "dead@127.0.0.1";

    /// A node, and what it would dial for [`DEAD`] if somebody listened there.
    async fn node(name: &str, connect: Duration) -> (Node, TcpListener, Vec<Attempt>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = format!("{name}-{}@127.0.0.1", std::process::id());
        let patience = Duration::from_secs(60);
        let node = Node::builder(name).cookie("a cookie").without_registrar();
        let node = node.timeouts(patience, patience, connect).network(NetworkMode::Hidden);
        let node = node.start().await.unwrap();
        let network = node.network();
        for (pattern, weight) in [("^dead@", 3), ("dead@", 2), ("dead@127", 1)] {
            network.add_route(pattern, NetworkRoute::to("127.0.0.1", port), weight).unwrap();
        }
        let mut plan = network.inner().plan(network.node(), Atom::new(DEAD).unwrap()).unwrap();
        let attempt = |step| match step {
            Step::Attempt(attempt) => attempt,
            step => panic!("{step}"),
        };
        let attempts = std::iter::from_fn(|| plan.next_step()).map(attempt).collect();
        (node, listener, attempts)
    }

    fn no_route(outcome: Outcome) -> NoRoute {
        match outcome {
            Err(ConnectError::NoRoute(no_route)) => NoRoute::clone(&no_route),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("nobody is there"),
        }
    }

    #[tokio::test]
    async fn who_wants_the_same_address_does_not_dial_it_again() {
        let (node, listener, attempts) = node("same-address", Duration::from_secs(60)).await;
        let (network, peer) = (node.network(), Atom::new(DEAD).unwrap());
        let dial = || network.inner().connect_by(network.node(), peer, attempts[0].clone());
        let hang_up = async { listener.accept().await.map(drop).unwrap() };
        let (first, second, third, ()) = tokio::join!(dial(), dial(), dial(), hang_up);
        for outcome in [first, second, third] {
            assert_eq!(no_route(outcome).attempts.len(), 1);
        }
        let again = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(again.is_err(), "one dial is the answer for all of them");
        node.stop().await;
    }

    #[tokio::test]
    async fn dials_of_others_are_not_waited_for_without_end() {
        let (node, _listener, attempts) = node("other-address", Duration::from_millis(200)).await;
        let (network, peer) = (node.network(), Atom::new(DEAD).unwrap());
        let dial = |at: usize| network.inner().connect_by(network.node(), peer, attempts[at].clone());
        let (first, second, third) = tokio::join!(dial(0), dial(1), dial(2));
        let untried = [first, second, third].map(no_route).map(|no_route| {
            assert_eq!(no_route.attempts.len() + no_route.untried, 1, "{no_route}");
            no_route.untried
        });
        assert!(untried.contains(&1), "all three waited for their turn");
        node.stop().await;
    }
}
