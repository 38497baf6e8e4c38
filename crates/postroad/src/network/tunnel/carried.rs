//! What is being carried: listed, counted, limited, closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postroad_wire::tunnel::{Operations, Refusal, Token};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limit::Limit;
use super::policy::TransitOptions;
use super::side::Side;
use crate::Atom;
use crate::network::acceptor::HANDSHAKES;
use crate::network::{Network, ProxyFlags};

/// So many streams are dialed at once because peers ask for them.
const OBEYED: usize = 64;

/// Neighbours that have nothing open are forgotten when there are more.
const REMEMBERED: usize = 1024;

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
    carried: Mutex<HashMap<u64, Arc<Carried>>>,
    accounts: Mutex<HashMap<Atom, Arc<Account>>>,
    next: AtomicU64,
    draining: AtomicBool,
    /// Notified when what the registrar was told may not hold any more.
    pub(super) announcements: Notify,
    /// Who waits for a stream that a peer was asked to dial.
    pub(super) summoned: Mutex<HashMap<Token, oneshot::Sender<Side>>>,
    pub(super) obeyed: Arc<Semaphore>,
    /// For handshakes on streams that were dialed so.
    pub(in crate::network) places: Arc<Semaphore>,
    pub(super) buffers: Buffers,
}

/// One tunnel.
#[derive(Debug)]
pub(super) struct Carried {
    id: u64,
    path: Vec<Atom>,
    operations: Operations,
    client: Arc<Account>,
    neighbour: Arc<Account>,
    pub(super) limit: Option<Duration>,
    to_target: AtomicU64,
    to_client: AtomicU64,
    since: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    pub(super) closed: CancellationToken,
}

/// What passes for one neighbour.
#[derive(Debug)]
pub(super) struct Account {
    tunnels: AtomicUsize,
    requests: Limit,
    bytes: Option<Limit>,
    pub(super) came: AtomicU64,
    pub(super) went: AtomicU64,
}

/// A tunnel's place among those of its client, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Account>);

/// A tunnel is listed until this is dropped.
pub(super) struct Listed<'a> {
    tunnels: &'a Tunnels,
    pub(super) carried: Arc<Carried>,
    _place: Place,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToTarget,
    ToClient,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self {
            carried: Mutex::default(),
            accounts: Mutex::default(),
            next: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            announcements: Notify::new(),
            summoned: Mutex::default(),
            obeyed: Arc::new(Semaphore::new(OBEYED)),
            places: Arc::new(Semaphore::new(HANDSHAKES)),
            buffers: Buffers::default(),
        }
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
        self.inner().tunnels.draining.store(drain, Ordering::Relaxed);
        self.inner().tunnels.announcements.notify_one();
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

    /// What is counted for a neighbour.
    pub(super) fn account(&self, neighbour: Atom, options: &TransitOptions) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        if accounts.len() > REMEMBERED {
            accounts.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let open = || {
            let requests = f64::from(options.requests_per_second);
            let bytes = options.bytes_per_second.map(|bytes| Limit::new(bytes as f64, bytes as f64));
            Arc::new(Account {
                tunnels: AtomicUsize::new(0),
                requests: Limit::new(requests, requests * 2.0),
                bytes,
                came: AtomicU64::new(0),
                went: AtomicU64::new(0),
            })
        };
        accounts.entry(neighbour).or_insert_with(open).clone()
    }

    /// How many bytes came from and went to a neighbour for others.
    pub(in crate::network) fn transit_of(&self, neighbour: Atom) -> (u64, u64) {
        let accounts = self.accounts.lock();
        accounts.get(&neighbour).map_or((0, 0), |account| {
            (account.came.load(Ordering::Relaxed), account.went.load(Ordering::Relaxed))
        })
    }

    /// A place for one more tunnel of this client.
    pub(super) fn place(&self, account: &Arc<Account>, options: &TransitOptions) -> Result<Place, Refusal> {
        if !account.requests.take() {
            return Err(Refusal::TooManyRequests);
        }
        let taken = account.tunnels.fetch_add(1, Ordering::Relaxed);
        let place = Place(account.clone());
        let full =
            taken >= options.max_tunnels_per_client || self.carried.lock().len() >= options.max_tunnels;
        if full { Err(Refusal::TooManyTunnels) } else { Ok(place) }
    }

    pub(super) fn add(
        &self,
        place: Place,
        neighbour: Arc<Account>,
        path: Vec<Atom>,
        operations: Operations,
        limit: Option<Duration>,
    ) -> Listed<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let carried = Arc::new(Carried {
            id,
            path,
            operations,
            client: place.0.clone(),
            neighbour,
            limit,
            to_target: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            since: Instant::now(),
            last: AtomicU64::new(0),
            closed: CancellationToken::new(),
        });
        self.carried.lock().insert(id, carried.clone());
        Listed { tunnels: self, carried, _place: place }
    }

    pub(in crate::network) fn list(&self) -> Vec<TunnelInfo> {
        let mut infos: Vec<_> = self.carried.lock().values().map(|carried| carried.info()).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.tunnels.carried.lock().remove(&self.carried.id);
    }
}

impl Carried {
    /// Counts what has been read on its way; how long to wait before more is.
    pub(super) fn passed(&self, direction: Direction, bytes: usize) -> Duration {
        let amount = bytes as u64;
        let (total, source, sink) = match direction {
            Direction::ToTarget => (&self.to_target, &self.client, &self.neighbour),
            Direction::ToClient => (&self.to_client, &self.neighbour, &self.client),
        };
        total.fetch_add(amount, Ordering::Relaxed);
        source.came.fetch_add(amount, Ordering::Relaxed);
        sink.went.fetch_add(amount, Ordering::Relaxed);
        self.last.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.client.bytes.as_ref().map_or(Duration::ZERO, |limit| limit.owe(bytes))
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

    fn info(&self) -> TunnelInfo {
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

/// What tunnels read into. Only those have one that something has come for.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    const SIZE: usize = 64 << 10;
    const KEPT: usize = 32;

    pub(super) fn take(&self) -> Box<[u8]> {
        self.0.lock().pop().unwrap_or_else(|| vec![0; Self::SIZE].into_boxed_slice())
    }

    pub(super) fn give_back(&self, buffer: Box<[u8]>) {
        let mut kept = self.0.lock();
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}
