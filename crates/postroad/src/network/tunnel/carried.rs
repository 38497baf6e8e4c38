//! What is being carried: listed, counted, limited, closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use postroad_wire::tunnel::{Operations, Refusal, Token};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Through;
use super::account::{Accounts, Place, Traffic};
use super::lent::Lender;
use super::policy::TransitOptions;
use super::side::Summoned;
use crate::Atom;
use crate::network::acceptor::Guests;
use crate::network::places::Places;
use crate::network::{Network, ProxyFlags};
use crate::node::NodeInner;

/// So many streams are dialed at once because peers ask for them, and so many of
/// them because one does.
const OBEYED: usize = 256;
const OBEYED_OF_ONE: usize = 64;

/// A tunnel that this node carries for others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TunnelInfo {
    /// What it is closed by.
    pub id: u64,
    /// The end that asked for it. Unless it is the first neighbour itself, the
    /// gateway before this node says so.
    pub client: Atom,
    /// The end that was asked for.
    pub target: Atom,
    /// All nodes on the way, both ends included.
    pub path: Vec<Atom>,
    /// What may be done through it.
    pub operations: ProxyFlags,
    /// Bytes that went from the client to the target.
    pub bytes_to_target: u64,
    /// Bytes that went from the target to the client.
    pub bytes_to_client: u64,
    /// How long it has been open.
    pub open: Duration,
    /// For how long nothing has come, from neither end.
    pub idle: Duration,
}

/// All that has to do with tunnels at one node.
#[derive(Debug)]
pub(in crate::network) struct Tunnels {
    /// Who may pass; nobody if there is nothing.
    pub(super) transit: ArcSwapOption<TransitOptions>,
    carried: Mutex<HashMap<u64, Arc<Carried>>>,
    accounts: Accounts,
    next: AtomicU64,
    draining: AtomicBool,
    /// Notified when what the registrar was told may not hold any more.
    pub(super) announcements: Notify,
    /// Who waits for a stream that a peer was asked to dial.
    pub(super) summoned: Mutex<HashMap<Token, Summoned>>,
    pub(super) obeyed: Arc<Places<Atom>>,
    pub(in crate::network) guests: Guests,
    lender: Lender,
}

/// One tunnel.
#[derive(Debug)]
pub(super) struct Carried {
    id: u64,
    path: Vec<Atom>,
    operations: Operations,
    place: Place,
    /// Of the neighbours towards the two ends.
    near: Arc<Traffic>,
    far: Arc<Traffic>,
    pub(super) limit: Option<Duration>,
    to_target: AtomicU64,
    to_client: AtomicU64,
    since: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    pub(super) closed: CancellationToken,
}

/// A tunnel is listed until this is dropped.
pub(super) struct Listed {
    node: Arc<NodeInner>,
    pub(super) carried: Arc<Carried>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToTarget,
    ToClient,
}

impl Tunnels {
    /// None yet, at a node that lets those pass.
    pub(in crate::network) fn new(transit: Option<TransitOptions>) -> Self {
        Self {
            transit: ArcSwapOption::new(transit.map(Arc::new)),
            carried: Mutex::default(),
            accounts: Accounts::default(),
            next: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            announcements: Notify::new(),
            summoned: Mutex::default(),
            obeyed: Places::new(OBEYED, OBEYED_OF_ONE),
            guests: Guests::default(),
            lender: Lender::default(),
        }
    }

    /// Whether anybody may pass.
    pub(in crate::network) fn has_transit(&self) -> bool {
        self.transit.load().is_some()
    }
}

impl Network {
    /// The tunnels that this node carries for others, oldest first.
    pub fn tunnels(&self) -> Vec<TunnelInfo> {
        self.inner().tunnels.list()
    }

    /// Closes a tunnel at once; false if there is none with this id. The client
    /// may ask for another one.
    pub fn close_tunnel(&self, id: u64) -> bool {
        let carried = self.inner().tunnels.carried.lock().get(&id).cloned();
        carried.inspect(|carried| carried.closed.cancel()).is_some()
    }

    /// Finishes what is open and takes nothing new, or, with `false`, takes new
    /// tunnels again. It is done when [`tunnels`](Self::tunnels) is empty.
    pub fn drain_transit(&self, drain: bool) {
        let tunnels = &self.inner().tunnels;
        // Behind the lock: what is not there afterwards does not come.
        let carried = tunnels.carried.lock();
        tunnels.draining.store(drain, Ordering::Relaxed);
        drop(carried);
        tunnels.announcements.notify_one();
    }

    /// Whether no new tunnels are taken.
    pub fn is_draining_transit(&self) -> bool {
        self.inner().tunnels.is_draining()
    }
}

impl Tunnels {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// A place for one more tunnel that the neighbour asks for, for `client` as it
    /// says.
    pub(super) fn place(
        &self,
        client: Atom,
        neighbour: Atom,
        options: &TransitOptions,
    ) -> Result<Place, Refusal> {
        let place = self.accounts.place(client, neighbour, options)?;
        // Limits that were changed meanwhile hold for this one too.
        if let Some(changed) = &*self.transit.load()
            && !std::ptr::eq(&**changed, options)
        {
            self.limit(changed);
        }
        self.check_room(&self.carried.lock(), options)?;
        Ok(place)
    }

    fn check_room(
        &self,
        carried: &HashMap<u64, Arc<Carried>>,
        options: &TransitOptions,
    ) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        if carried.len() < options.max_tunnels { Ok(()) } else { Err(Refusal::TooManyTunnels) }
    }

    /// Lets these limits hold for all from now on.
    pub(super) fn limit(&self, options: &TransitOptions) {
        self.accounts.limit(options);
    }

    /// How many bytes came from and went to a neighbour for others.
    pub(in crate::network) fn transit_of(&self, neighbour: Atom) -> (u64, u64) {
        self.accounts.transit_of(neighbour)
    }

    /// Lists a tunnel that is about to be opened.
    pub(super) fn add(
        node: &Arc<NodeInner>,
        place: Place,
        [near, far]: [Atom; 2],
        through: Through,
        options: &TransitOptions,
    ) -> Result<Listed, Refusal> {
        let tunnels = &node.network.tunnels;
        let id = tunnels.next.fetch_add(1, Ordering::Relaxed);
        let traffic = [near, far].map(|neighbour| tunnels.accounts.traffic(neighbour));
        let carried = Arc::new(Carried::new(id, place, traffic, through, options.idle));
        let mut all = tunnels.carried.lock();
        // Others may have come while this one was on its way.
        tunnels.check_room(&all, options)?;
        all.insert(id, carried.clone());
        drop(all);
        Ok(Listed { node: node.clone(), carried })
    }

    pub(in crate::network) fn list(&self) -> Vec<TunnelInfo> {
        let mut infos: Vec<_> = self.carried.lock().values().map(|carried| carried.info()).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }
}

impl Listed {
    pub(super) fn lender(&self) -> &Lender {
        &self.node.network.tunnels.lender
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.node.network.tunnels.carried.lock().remove(&self.carried.id);
    }
}

impl Carried {
    /// Between these neighbours.
    pub(super) fn new(
        id: u64,
        place: Place,
        [near, far]: [Arc<Traffic>; 2],
        Through { path, operations }: Through,
        limit: Option<Duration>,
    ) -> Self {
        Self {
            id,
            path,
            operations,
            place,
            near,
            far,
            limit,
            to_target: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            since: Instant::now(),
            last: AtomicU64::new(0),
            closed: CancellationToken::new(),
        }
    }

    /// So much is read at once.
    pub(super) fn portion(&self) -> usize {
        self.place.portion()
    }

    /// Counts what has been read on its way; how long to wait before more is.
    pub(super) fn passed(&self, direction: Direction, bytes: usize) -> Duration {
        let amount = bytes as u64;
        let (total, source, sink) = match direction {
            Direction::ToTarget => (&self.to_target, &self.near, &self.far),
            Direction::ToClient => (&self.to_client, &self.far, &self.near),
        };
        total.fetch_add(amount, Ordering::Relaxed);
        source.came.fetch_add(amount, Ordering::Relaxed);
        sink.went.fetch_add(amount, Ordering::Relaxed);
        self.last.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.place.owe(bytes)
    }

    /// Waits until nothing has come for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let left = limit.saturating_sub(self.silence());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(last)
    }

    pub(super) fn info(&self) -> TunnelInfo {
        let end = |node: Option<&Atom>| node.copied().unwrap_or_else(Atom::empty);
        TunnelInfo {
            id: self.id,
            client: end(self.path.first()),
            target: end(self.path.last()),
            path: self.path.clone(),
            operations: self.operations.into(),
            bytes_to_target: self.to_target.load(Ordering::Relaxed),
            bytes_to_client: self.to_client.load(Ordering::Relaxed),
            open: self.since.elapsed(),
            idle: self.silence(),
        }
    }
}
