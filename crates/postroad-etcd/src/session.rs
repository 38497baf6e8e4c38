//! A node's membership: its lease, its keys, and what it follows.
//!
//! ```text
//! enter ──▶ follow ──▶ (lost: the watch, the lease, all members) ──▶ enter …
//! ```
//!
//! Entering makes etcd hold what the node wants to be there, on a lease that
//! lives, and compares all that etcd holds with what was known. It does the
//! same the first time and every other time, and changes nothing that is right
//! already: so others see neither end nor beginning of a node that only lost
//! its connection with etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postroad::Atom;
use postroad::network::routes::Names;
use postroad::registrar::{ApplicationRoute, RegistrarEvent};
use postroad_wire::stored::ErgoRelease;
use rand::Rng;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::api::{Compare, DeleteRangeRequest, Event, KeyValue, Operation, PutRequest};
use crate::client::Client;
use crate::keys::{Keys, Subject};
use crate::mirror::Mirror;
use crate::{EtcdError, EtcdOptions};
use crate::{proxy, value};

/// How many operations a transaction has at most: fewer than etcd allows.
const OPERATIONS: usize = 100;

/// How often entering begins again because somebody changed the node's keys.
const ROUNDS: usize = 5;

/// How many leases are remembered. A new one is only asked for when the former
/// one has ended, so that those before it are long gone.
const MAX_LEASES: usize = 8;

/// Pauses between attempts to enter again, each up to twice as long by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A connection that lasted so long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// How long the lease of a node that had this name is waited for, and how often
/// it is looked at. A living node renews it within a third of its time.
const STALE_PATIENCE: Duration = Duration::from_secs(30);
const STALE_LOOK: Duration = Duration::from_millis(250);

/// By how much the end of a lease that nobody renews may seem to move away: etcd
/// says 0 for up to a second after the end, and an answer may be late.
const STALE_SLACK: Duration = Duration::from_secs(2);

/// A node's membership of a cluster.
pub(crate) struct Session {
    pub(crate) node: Atom,
    pub(crate) keys: Keys,
    pub(crate) client: Arc<Client>,
    pub(crate) mirror: Mutex<Mirror>,
    /// Whether etcd answered last.
    pub(crate) connected: AtomicBool,
    routes: Vec<u8>,
    lease_ttl: Duration,
    /// Who can read what it publishes.
    ergo_release: ErgoRelease,
    /// What this node publishes.
    applications: Mutex<BTreeMap<Atom, ApplicationRoute>>,
    /// To whom it leads.
    proxied: Mutex<Vec<Names>>,
    /// Locked while etcd is brought in line with that.
    publishing: tokio::sync::Mutex<()>,
    leases: Mutex<Leases>,
    events: broadcast::Sender<RegistrarEvent>,
}

#[derive(Default)]
struct Leases {
    current: Option<i64>,
    /// Those that may still exist, the current one last.
    granted: Vec<i64>,
}

/// Why a node is not in the cluster.
pub(crate) enum EnterError {
    /// Its name is another one's, who has it on this lease (0: on none).
    Taken {
        lease: i64,
    },
    Etcd(EtcdError),
}

impl From<EtcdError> for EnterError {
    fn from(error: EtcdError) -> Self {
        Self::Etcd(error)
    }
}

impl Session {
    pub(crate) fn new(
        node: Atom,
        options: &EtcdOptions,
        client: Arc<Client>,
        routes: Vec<u8>,
        events: broadcast::Sender<RegistrarEvent>,
    ) -> Self {
        let keys = Keys::new(&options.cluster, node.as_str());
        Self {
            node,
            mirror: Mutex::new(Mirror::new(node, keys.clone())),
            keys,
            client,
            connected: AtomicBool::new(false),
            routes,
            lease_ttl: options.lease_ttl,
            ergo_release: options.ergo_release,
            applications: Mutex::default(),
            proxied: Mutex::default(),
            publishing: tokio::sync::Mutex::default(),
            leases: Mutex::default(),
            events,
        }
    }

    /// Enters for the first time. If a node of this name seems to have died
    /// without a word, the end of its lease is waited for. Gives back what etcd
    /// holds, and the revision of that.
    pub(crate) async fn enter_first(&self) -> Result<(Vec<KeyValue>, i64), EnterError> {
        loop {
            match self.enter().await {
                Err(EnterError::Taken { lease }) if self.is_stale(lease).await? => {}
                entered => {
                    let entered = entered?;
                    self.connected();
                    return Ok(entered);
                }
            }
        }
    }

    /// Follows what happens, and enters again when that ends.
    pub(crate) async fn run(&self, mut revision: i64) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let end = self.follow(revision).await;
            tracing::debug!(node = %self.node, end, "entering the cluster in etcd again");
            if began.elapsed() > STABLE {
                pause = FIRST_PAUSE;
            }
            let mut is_lost = false;
            revision = loop {
                sleep(&mut pause).await;
                let error = match self.enter().await {
                    Ok((_, revision)) => break revision,
                    Err(EnterError::Etcd(error)) => error,
                    Err(EnterError::Taken { .. }) => EtcdError::Taken { key: self.keys.own_node() },
                };
                if !std::mem::replace(&mut is_lost, true) {
                    tracing::warn!(node = %self.node, %error, end, "not registered with etcd any more; trying again, what is known stays");
                    self.connected.store(false, Ordering::Release);
                    let _ =
                        self.events.send(RegistrarEvent::Disconnected { reason: error.to_string().into() });
                } else {
                    tracing::debug!(node = %self.node, %error, "not in the cluster in etcd yet");
                }
            };
            if is_lost {
                tracing::info!(node = %self.node, "etcd is back");
                self.connected();
            }
        }
    }

    /// Gives up all leases, and with them all keys of this node.
    pub(crate) async fn revoke_all(&self) -> Result<(), EtcdError> {
        let granted = std::mem::take(&mut self.leases.lock().granted);
        for lease in granted {
            self.client.revoke(lease).await?;
        }
        Ok(())
    }

    /// Publishes an application, now and with every lease to come.
    pub(crate) async fn publish(&self, route: ApplicationRoute) -> Result<(), EtcdError> {
        let name = route.name;
        self.applications.lock().insert(name, route);
        let _publishing = self.publishing.lock().await;
        // Somebody may have been faster with something newer.
        let Some(route) = self.applications.lock().get(&name).cloned() else { return Ok(()) };
        let key = self.keys.own_application(name.as_str());
        let lease = self.leases.lock().current;
        self.client
            .put(key, value::encode_application(&route, self.ergo_release), lease.unwrap_or_default())
            .await
    }

    /// Withdraws an application; false if there is none.
    pub(crate) async fn withdraw(&self, name: Atom) -> Result<bool, EtcdError> {
        if self.applications.lock().remove(&name).is_none() {
            return Ok(false);
        }
        let _publishing = self.publishing.lock().await;
        if !self.applications.lock().contains_key(&name) {
            self.client.delete(self.keys.own_application(name.as_str())).await?;
        }
        Ok(true)
    }

    /// Says that this node leads to nodes of these names, now and with every lease
    /// to come.
    pub(crate) async fn announce(&self, to: Names) -> Result<(), EtcdError> {
        {
            let mut proxied = self.proxied.lock();
            if !proxied.contains(&to) {
                if proxied.len() >= proxy::MAX_PATTERNS {
                    let why = "the node leads to as many patterns as others look at";
                    return Err(EtcdError::Name { name: to.to_string(), why });
                }
                proxied.push(to);
            }
        }
        self.publish_proxied().await
    }

    /// Takes that back; false if it was not said.
    pub(crate) async fn recall(&self, to: &Names) -> Result<bool, EtcdError> {
        let is_known = {
            let mut proxied = self.proxied.lock();
            let before = proxied.len();
            proxied.retain(|known| known != to);
            proxied.len() < before
        };
        if is_known {
            self.publish_proxied().await?;
        }
        Ok(is_known)
    }

    async fn publish_proxied(&self) -> Result<(), EtcdError> {
        let _publishing = self.publishing.lock().await;
        let lease = self.leases.lock().current;
        match self.proxied() {
            Some((key, value)) => self.client.put(key, value, lease.unwrap_or_default()).await,
            None => self.client.delete(self.keys.own_proxy()).await,
        }
    }

    /// Key and value that say to whom this node leads; nothing if to nobody.
    fn proxied(&self) -> Option<(String, Vec<u8>)> {
        let proxied = self.proxied.lock();
        let value = || proxy::encode(proxied.iter().map(Names::pattern));
        (!proxied.is_empty()).then(|| (self.keys.own_proxy(), value()))
    }

    fn connected(&self) {
        self.connected.store(true, Ordering::Release);
        let _ = self.events.send(RegistrarEvent::Connected);
    }

    async fn enter(&self) -> Result<(Vec<KeyValue>, i64), EnterError> {
        let _publishing = self.publishing.lock().await;
        for _ in 0..ROUNDS {
            let lease = self.living_lease().await?;
            let read = self.client.read(&[&self.keys.cluster_prefix, &self.keys.config_prefix]).await;
            let (all, revision) = match read {
                Err(EtcdError::Compacted) => continue,
                read => read?,
            };
            let compare = self.claim(&all)?;
            if !self.bring_in_line(&all, lease, compare).await? {
                continue;
            }
            self.drop_old_leases().await;
            for event in self.mirror.lock().replace(&all) {
                let _ = self.events.send(event);
            }
            return Ok((all, revision));
        }
        Err(EtcdError::Contended.into())
    }

    /// The lease, if it lives, or a new one.
    async fn living_lease(&self) -> Result<i64, EtcdError> {
        let current = self.leases.lock().current;
        if let Some(lease) = current
            && self.client.keep_alive(lease).await?
        {
            return Ok(lease);
        }
        let lease = self.client.grant(self.lease_ttl).await?;
        let mut leases = self.leases.lock();
        leases.current = Some(lease);
        leases.granted.push(lease);
        let excess = leases.granted.len().saturating_sub(MAX_LEASES);
        leases.granted.drain(..excess);
        Ok(lease)
    }

    /// What must hold for the node's key to be this node's.
    fn claim(&self, all: &[KeyValue]) -> Result<Compare, EnterError> {
        let key = self.keys.own_node();
        match all.iter().find(|kv| kv.key == key.as_bytes()) {
            None => Ok(Compare::absent(&key)),
            Some(kv) if self.leases.lock().granted.contains(&kv.lease) => Ok(Compare::lease(&key, kv.lease)),
            Some(kv) => Err(EnterError::Taken { lease: kv.lease }),
        }
    }

    /// Changes those keys of this node that are not as they should be. False if
    /// somebody else changed them meanwhile.
    async fn bring_in_line(
        &self,
        all: &[KeyValue],
        lease: i64,
        mut compare: Compare,
    ) -> Result<bool, EtcdError> {
        let node_key = self.keys.own_node();
        let mut wanted = vec![(node_key.clone(), self.routes.clone())];
        wanted.extend(self.applications.lock().values().map(|route| {
            (
                self.keys.own_application(route.name.as_str()),
                value::encode_application(route, self.ergo_release),
            )
        }));
        wanted.extend(self.proxied());
        let is_own = |kv: &&KeyValue| {
            let subject = std::str::from_utf8(&kv.key).ok().and_then(|key| self.keys.read(key));
            let own = |node| node == self.node.as_str();
            matches!(subject, Some(Subject::Application { node, .. } | Subject::Node(node) | Subject::Proxy(node)) if own(node))
        };
        let mut own: BTreeMap<&[u8], &KeyValue> =
            all.iter().filter(is_own).map(|kv| (kv.key.as_slice(), kv)).collect();
        let mut operations = Vec::new();
        for (key, value) in wanted {
            let is_right = |kv: &KeyValue| kv.value == value && kv.lease == lease;
            if !own.remove(key.as_bytes()).is_some_and(is_right) {
                operations.push(Operation::Put(PutRequest { key: key.into_bytes(), value, lease }));
            }
        }
        let excess = own.into_keys().map(|key| Operation::Delete(DeleteRangeRequest { key: key.to_vec() }));
        operations.extend(excess);
        while !operations.is_empty() {
            let rest = operations.split_off(operations.len().min(OPERATIONS));
            if !self.client.transact(compare, operations).await? {
                return Ok(false);
            }
            // The node's own key goes first: from now on it is on this lease.
            compare = Compare::lease(&node_key, lease);
            operations = rest;
        }
        Ok(true)
    }

    /// Revokes former leases. Nothing is attached to them any more; a failure
    /// costs nothing but the time until they end by themselves.
    async fn drop_old_leases(&self) {
        let old: Vec<i64> = {
            let leases = self.leases.lock();
            leases.granted.iter().copied().filter(|lease| Some(*lease) != leases.current).collect()
        };
        for lease in old {
            match self.client.revoke(lease).await {
                Ok(()) => {
                    self.leases.lock().granted.retain(|granted| *granted != lease);
                }
                Err(error) => tracing::debug!(node = %self.node, %error, "a former lease was not revoked"),
            }
        }
    }

    /// Whether a lease came to its end while it was looked at. If it has more
    /// time left than it can have, it was renewed: its owner lives.
    async fn is_stale(&self, lease: i64) -> Result<bool, EnterError> {
        if lease == 0 {
            return Err(EnterError::Taken { lease });
        }
        tracing::info!(node = %self.node, "the name is registered; waiting whether its owner is still there");
        let began = Instant::now();
        let mut ends_after = None;
        while began.elapsed() < STALE_PATIENCE {
            let left = self.client.time_to_live(lease).await?;
            let Ok(left) = u64::try_from(left) else { return Ok(true) };
            // etcd rounds down.
            let left = Duration::from_secs(left);
            let ends_after = *ends_after.get_or_insert(began.elapsed() + left + Duration::from_secs(1));
            if began.elapsed() + left > ends_after + STALE_SLACK {
                break;
            }
            tokio::time::sleep(STALE_LOOK).await;
        }
        Err(EnterError::Taken { lease })
    }

    /// Takes in what changes, until that is not possible any more; says why.
    async fn follow(&self, revision: i64) -> String {
        let prefixes = [self.keys.cluster_prefix.as_str(), self.keys.config_prefix.as_str()];
        let mut watch = match self.client.watch(&prefixes, revision + 1).await {
            Ok(watch) => watch,
            Err(error) => return error.to_string(),
        };
        let own = self.keys.own_node();
        let mut lost = std::pin::pin!(self.stay_alive());
        loop {
            let changes = tokio::select! {
                end = &mut lost => return end,
                changes = watch.next() => changes,
            };
            let changes = match changes {
                Ok(changes) => changes,
                Err(end) => return end.to_string(),
            };
            for change in &changes {
                if let Some(event) = self.mirror.lock().apply(change) {
                    let _ = self.events.send(event);
                }
            }
            let is_removal = |change: &Event| {
                change.kind == Event::DELETE && change.kv.as_ref().is_some_and(|kv| kv.key == own.as_bytes())
            };
            if changes.iter().any(is_removal) {
                return "somebody has removed this node's key".to_owned();
            }
        }
    }

    /// Keeps the lease alive; says why it cannot any more.
    async fn stay_alive(&self) -> String {
        let mut beat = tokio::time::interval(self.lease_ttl / 3);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            beat.tick().await;
            let Some(lease) = self.leases.lock().current else { return "there is no lease".to_owned() };
            match self.client.keep_alive(lease).await {
                Ok(true) => last = Instant::now(),
                Ok(false) => return "the lease has ended".to_owned(),
                Err(error) if last.elapsed() > self.lease_ttl => return error.to_string(),
                Err(error) => tracing::debug!(node = %self.node, %error, "no sign of life to etcd"),
            }
        }
    }
}

async fn sleep(pause: &mut Duration) {
    let longer = rand::rng().random_range(1.0..2.0);
    tokio::time::sleep(pause.mul_f64(longer)).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}
