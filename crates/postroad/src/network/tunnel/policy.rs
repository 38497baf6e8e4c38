//! Who may pass through this node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::tunnel::Operations;

use super::carried::Tunnels;
use crate::Atom;
use crate::network::Network;
use crate::network::proxy_route::{DEFAULT_MAX_HOP, ProxyFlags};
use crate::network::routes::{AddRouteError, Names};

/// Who may reach whom through this node, and how much of it. A node without
/// such options lets nobody pass, and one without rules neither.
///
/// ```
/// use postroad::network::{TransitOptions, TransitRule};
///
/// let transit = TransitOptions::new()
///     .allow(TransitRule::new("app-.*@edge", "db@private")?)
///     .max_tunnels_per_client(16);
/// # Ok::<(), postroad::network::AddRouteError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransitOptions {
    /// Who may go where: the first rule that fits holds. Default: none.
    pub rules: Vec<TransitRule>,
    /// Through how many nodes a way may lead from here on, this one included,
    /// whatever was asked for. Default 8.
    pub max_hop: u8,
    /// How many tunnels are carried at once. Default 16384.
    pub max_tunnels: usize,
    /// How many of them for one client. A connection has as many tunnels as
    /// links. Default 1024.
    pub max_tunnels_per_client: usize,
    /// How many tunnels one client may ask for in a second, in the long run; twice
    /// as many at once. Default 100.
    pub requests_per_second: u32,
    /// How many bytes per second pass for one client, both ways and all its
    /// tunnels together; a second's worth may pass at once. Default: no limit.
    pub bytes_per_second: Option<u64>,
    /// How many clients' worth of tunnels, requests and bytes one other gateway may
    /// bring ([`TransitRule::through`]). It is the one that says who its clients
    /// are: what it makes up is charged to it. Default 16.
    pub clients_per_gateway: u32,
    /// A tunnel over which nothing has come for so long is closed. Nodes give
    /// signs of life on each link, see
    /// [`NetworkOptions::keepalive`](crate::network::NetworkOptions::keepalive).
    /// Default 5 minutes.
    pub idle: Option<Duration>,
    /// Whether the node's registrar is told to whom this node leads: the target
    /// pattern of each rule (those of postroad take 16 of them). Others then find
    /// the way by themselves, see
    /// [`Registrar::register_proxy`](crate::registrar::Registrar::register_proxy).
    /// Default: no.
    pub announce: bool,
}

impl Default for TransitOptions {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            max_hop: DEFAULT_MAX_HOP,
            max_tunnels: 16_384,
            max_tunnels_per_client: 1024,
            requests_per_second: 100,
            bytes_per_second: None,
            clients_per_gateway: 16,
            idle: Some(Duration::from_secs(300)),
            announce: false,
        }
    }
}

impl TransitOptions {
    /// Nobody may pass yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule behind those that are there.
    pub fn allow(mut self, rule: TransitRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets [`max_hop`](Self#structfield.max_hop); 0 stands for 1.
    pub fn max_hop(mut self, hops: u8) -> Self {
        self.max_hop = hops.max(1);
        self
    }

    /// Sets [`max_tunnels`](Self#structfield.max_tunnels).
    pub fn max_tunnels(mut self, tunnels: usize) -> Self {
        self.max_tunnels = tunnels;
        self
    }

    /// Sets [`max_tunnels_per_client`](Self#structfield.max_tunnels_per_client).
    pub fn max_tunnels_per_client(mut self, tunnels: usize) -> Self {
        self.max_tunnels_per_client = tunnels;
        self
    }

    /// Sets [`requests_per_second`](Self#structfield.requests_per_second); 0 stands for 1.
    pub fn requests_per_second(mut self, requests: u32) -> Self {
        self.requests_per_second = requests.max(1);
        self
    }

    /// Sets [`bytes_per_second`](Self#structfield.bytes_per_second); 0 stands for 1.
    pub fn bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.bytes_per_second = bytes.into().map(|bytes| bytes.max(1));
        self
    }

    /// Sets [`clients_per_gateway`](Self#structfield.clients_per_gateway); 0 stands for 1.
    pub fn clients_per_gateway(mut self, clients: u32) -> Self {
        self.clients_per_gateway = clients.max(1);
        self
    }

    /// Sets [`idle`](Self#structfield.idle).
    pub fn idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle = limit.into();
        self
    }

    /// Sets [`announce`](Self#structfield.announce).
    pub fn announce(mut self, announce: bool) -> Self {
        self.announce = announce;
        self
    }

    /// To whom this node leads, each once.
    pub(super) fn targets(&self) -> Vec<Names> {
        let mut targets: Vec<Names> = Vec::new();
        for rule in &self.rules {
            if !targets.contains(&rule.to) {
                targets.push(rule.to.clone());
            }
        }
        targets
    }

    /// Whether this neighbour may say for whom it comes: some rule lets clients pass
    /// by way of it.
    pub(super) fn believes(&self, neighbour: Atom) -> bool {
        self.rules.iter().any(|rule| rule.brings(neighbour))
    }

    /// What `client`, who comes by way of `neighbour`, may do with `target`;
    /// nothing if it may not go there.
    pub(super) fn allowed(&self, client: Atom, neighbour: Atom, target: Atom) -> Option<Operations> {
        let fits = |rule: &&TransitRule| {
            let by = client == neighbour || rule.brings(neighbour);
            by && rule.from.contains(client.as_str()) && rule.to.contains(target.as_str())
        };
        self.rules.iter().find(fits).map(|rule| rule.operations.operations())
    }
}

impl Network {
    /// Who may pass through this node; nothing if it lets nobody pass.
    pub fn transit(&self) -> Option<Arc<TransitOptions>> {
        self.inner().tunnels.transit()
    }

    /// Changes who may pass through this node, from now on. Tunnels that are
    /// open stay, also those that would not be allowed any more: close them with
    /// [`close_tunnel`](Self::close_tunnel). Limits of requests and bytes hold at
    /// once, also for clients that have tunnels; `idle` for tunnels to come.
    pub fn set_transit(&self, transit: Option<TransitOptions>) {
        self.inner().tunnels.set_transit(transit);
    }
}

impl Tunnels {
    pub(in crate::network) fn transit(&self) -> Option<Arc<TransitOptions>> {
        self.transit.load_full()
    }

    fn set_transit(&self, transit: Option<TransitOptions>) {
        let transit = transit.map(Arc::new);
        self.transit.store(transit.clone());
        if let Some(transit) = &transit {
            self.limit(transit);
        }
        self.announcements.notify_one();
    }
}

/// Which clients may reach which targets, and what they may do there.
///
/// The patterns are regular expressions as those of routes, with one
/// difference: they must match the whole name. Who may pass is not to depend
/// on a forgotten anchor.
#[derive(Clone)]
pub struct TransitRule {
    from: Names,
    to: Names,
    through: Option<Names>,
    operations: ProxyFlags,
}

impl TransitRule {
    /// Clients whose name matches `from` may reach targets whose name matches
    /// `to`. They may send and call, link, monitor, have important messages
    /// confirmed and encrypt end to end, but neither spawn nor start
    /// applications.
    ///
    /// # Errors
    /// A pattern is no regular expression.
    pub fn new(from: &str, to: &str) -> Result<Self, AddRouteError> {
        let operations = ProxyFlags { encryption: true, ..ProxyFlags::default() };
        Ok(Self { from: Names::matching(from)?, to: Names::matching(to)?, through: None, operations })
    }

    /// The rule holds also for clients that come by way of these other
    /// gateways. Who the client is, such a gateway says; the client itself has
    /// proved nothing here. Without this only clients that are connected with
    /// this node may pass.
    ///
    /// # Errors
    /// The pattern is no regular expression.
    pub fn through(mut self, gateways: &str) -> Result<Self, AddRouteError> {
        self.through = Some(Names::matching(gateways)?);
        Ok(self)
    }

    /// What they may do. [`ProxyFlags::encryption`] says whether the two ends may
    /// encrypt what passes here.
    pub fn operations(mut self, operations: ProxyFlags) -> Self {
        self.operations = operations;
        self
    }

    fn brings(&self, gateway: Atom) -> bool {
        self.through.as_ref().is_some_and(|through| through.contains(gateway.as_str()))
    }
}

impl fmt::Debug for TransitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for TransitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from `{}`", self.from)?;
        if let Some(through) = &self.through {
            write!(f, " also through `{through}`")?;
        }
        write!(f, " to `{}`, for {}", self.to, self.operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(name: &str) -> Atom {
        Atom::new(name).unwrap()
    }

    #[test]
    fn rules_match_whole_names() {
        let transit = TransitOptions::new().allow(TransitRule::new("app|web@edge", "db@private").unwrap());
        let allowed = |client, target| transit.allowed(atom(client), atom(client), atom(target)).is_some();
        assert!(allowed("web@edge", "db@private"));
        assert!(!allowed("evil-web@edge", "db@private"));
        assert!(!allowed("web@edge", "db@private.evil"));
        assert!(TransitRule::new("a)|(b", ".*").is_err());
    }

    #[test]
    fn a_claim_of_another_gateway_needs_a_rule() {
        let rule = TransitRule::new("app@edge", ".*").unwrap();
        let (app, gateway, target) = (atom("app@edge"), atom("gateway@dmz"), atom("db@private"));
        let direct = TransitOptions::new().allow(rule.clone());
        assert!(direct.allowed(app, app, target).is_some());
        assert_eq!(direct.allowed(app, gateway, target), None);
        let forwarded = TransitOptions::new().allow(rule.through("gateway@.*").unwrap());
        assert!(forwarded.allowed(app, gateway, target).is_some());
        assert_eq!(
            forwarded.allowed(gateway, gateway, target),
            None,
            "it speaks for clients, not for itself"
        );
    }

    #[test]
    fn the_first_rule_that_fits_holds() {
        let transit = TransitOptions::new()
            .allow(TransitRule::new("a@x", "b@y").unwrap().operations(ProxyFlags::NONE))
            .allow(TransitRule::new(".*", ".*").unwrap());
        let allowed = |client, target| transit.allowed(atom(client), atom(client), atom(target));
        assert_eq!(allowed("a@x", "b@y"), Some(Operations::NONE));
        assert!(allowed("a@x", "c@y").unwrap().allow(Operations::LINK));
        assert!(!allowed("a@x", "c@y").unwrap().allow(Operations::SPAWN));
    }
}
