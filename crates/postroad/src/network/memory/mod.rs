//! A network in memory: hosts, the roads between them, and what may happen to
//! these.
//!
//! Nodes are whole nodes here, from the handshake upwards; only sockets are
//! missing. With tokio's paused time and one thread a test of minutes takes
//! milliseconds, and what is left to chance follows a seed.

mod lane;
mod registrar;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use self::stream::Wire;

pub(super) use self::registrar::MemoryRegistrar;
pub(crate) use self::stream::{MemoryReadHalf, MemoryStream, MemoryWriteHalf};

/// How many streams wait to be accepted by one listener.
const BACKLOG: usize = 1024;

/// When a network in memory began, for those who ask what time it is: Unix
/// seconds, the same in each run.
const EPOCH: u64 = 1_800_000_000;

/// A network in memory, for tests: nodes that are [started on
/// it](crate::NodeBuilder::memory_network) reach each other without sockets, and
/// it can be told what goes wrong.
///
/// A node is on the host that its name says. Every host has all ports for
/// itself; the registrar that nodes have here unless they are given another one
/// knows all of them, and no partition is between them and it.
///
/// Streams are like those of TCP: bytes arrive in order or not at all, so many
/// of them may be under way as a window holds, and nobody is told of a road on
/// which nothing arrives. What has arrived is read also when the road is cut;
/// what is under way then arrives when it is healed. A silent peer is found out
/// by [signs of life](crate::NodeBuilder::keepalive) only: no system gives up
/// here.
///
/// Time is tokio's. On a current-thread runtime with paused time, and with a
/// seed, a run is the same each time as far as the network goes: what nodes
/// leave to chance in time, the clock they date by and all delays come from
/// here. The rest is up to the runtime, which has a seed of its own
/// (`rng_seed`, with `--cfg tokio_unstable`).
///
/// A handle, cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use postroad::Node;
/// use postroad::network::MemoryNetwork;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
/// let network = MemoryNetwork::new();
/// network.set_delay(Duration::from_millis(5)..=Duration::from_millis(20));
/// let node = |name| Node::builder(name).memory_network(&network).cookie("secret");
/// let (one, two) = (node("one@here").start().await?, node("two@there").start().await?);
/// one.network().connect("two@there").await?;
///
/// network.partition("here", "there");
/// while one.network().peer("two@there").is_some() {
///     tokio::time::sleep(Duration::from_secs(1)).await;
/// }
/// network.heal("here", "there");
/// one.network().connect("two@there").await?;
/// # one.stop().await;
/// # two.stop().await;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Shared>);

pub(super) struct Shared {
    state: Mutex<State>,
    /// Notified when a road is healed: who dials tries again.
    healed: Notify,
    began: OnceLock<Instant>,
}

struct State {
    chance: StdRng,
    delay: RangeInclusive<Duration>,
    hosts: BTreeMap<String, IpAddr>,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Incoming>>,
    wires: BTreeMap<u64, Wire>,
    /// From whom to whom nothing arrives.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// The hosts that have crashed.
    off: BTreeSet<IpAddr>,
    registered: registrar::Registered,
    next_wire: u64,
    last_creation: i64,
}

/// A stream that somebody dialed, and from where.
type Incoming = (MemoryStream, SocketAddr);

/// Who is to be woken when the lock is not held any more.
type Wakers = Vec<Waker>;

impl MemoryNetwork {
    /// A network on which nothing takes time and nothing goes wrong, yet.
    pub fn new() -> Self {
        Self::seeded(0)
    }

    /// A network on which chance follows this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                chance: StdRng::seed_from_u64(seed),
                delay: Duration::ZERO..=Duration::ZERO,
                hosts: BTreeMap::new(),
                listeners: BTreeMap::new(),
                wires: BTreeMap::new(),
                cut: BTreeSet::new(),
                off: BTreeSet::new(),
                registered: Default::default(),
                next_wire: 0,
                last_creation: 0,
            }),
            healed: Notify::new(),
            began: OnceLock::new(),
        }))
    }

    /// How long what is sent from now on is under way between hosts: each
    /// portion takes a time of this range, and never overtakes another one of
    /// its stream. Default: no time.
    pub fn set_delay(&self, delay: RangeInclusive<Duration>) {
        self.0.state.lock().delay = delay;
    }

    /// Nothing gets from either host to the other one any more. Nobody is told.
    pub fn partition(&self, one: &str, other: &str) {
        self.change_roads(|state, _| {
            let (one, other) = (state.host(one), state.host(other));
            state.cut.extend([(one, other), (other, one)]);
        });
    }

    /// Nothing gets from one host to the other any more, but still the other
    /// way. Nobody is told.
    pub fn silence(&self, from: &str, to: &str) {
        self.change_roads(|state, _| {
            let road = (state.host(from), state.host(to));
            state.cut.insert(road);
        });
    }

    /// What is under way between two hosts arrives again, both ways.
    pub fn heal(&self, one: &str, other: &str) {
        self.change_roads(|state, _| {
            let (one, other) = (state.host(one), state.host(other));
            state.cut.remove(&(one, other));
            state.cut.remove(&(other, one));
        });
    }

    /// Breaks all streams between two hosts: both ends are told at once, and
    /// what is under way is lost. How many there were.
    pub fn reset(&self, one: &str, other: &str) -> usize {
        self.break_wires(one, other, |_, wires| wires)
    }

    /// Breaks one of the streams between two hosts, as [`reset`](Self::reset)
    /// does; chance says which. False if there is none.
    pub fn reset_one(&self, one: &str, other: &str) -> bool {
        let broken = self.break_wires(one, other, |chance, wires| {
            let chosen = chance.random_range(0..wires.len().max(1));
            wires.into_iter().skip(chosen).take(1).collect()
        });
        broken > 0
    }

    /// The host loses power: its streams are gone, and nothing gets in or out
    /// until it [boots](Self::boot). Others are not told; who writes to it then
    /// is told that nobody knows of the stream. What ran there is to be stopped
    /// by the caller.
    pub fn crash(&self, host: &str) {
        self.change_roads(|state, wakers| {
            let host = state.host(host);
            state.off.insert(host);
            let now = Instant::now();
            for wire in state.wires.values_mut() {
                wire.lose_end(host, now, wakers);
            }
        });
    }

    /// A host that has crashed is there again.
    pub fn boot(&self, host: &str) {
        self.change_roads(|state, _| {
            let host = state.host(host);
            state.off.remove(&host);
        });
    }

    /// How many streams there are of which an end is still held by somebody.
    pub fn streams(&self) -> usize {
        self.0.state.lock().wires.len()
    }

    /// Where a host is; it is there from now on.
    pub(super) fn host(&self, name: &str) -> IpAddr {
        self.0.state.lock().host(name)
    }

    pub(super) fn look_up(&self, host: &str, port: u16) -> io::Result<SocketAddr> {
        let known = self.0.state.lock().hosts.get(host).copied();
        let address = known.or_else(|| host.parse().ok());
        let address = address.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no node has been started on the host {host}"))
        })?;
        Ok(SocketAddr::new(address, port))
    }

    /// Listens at an address. Port 0 stands for any that is free.
    pub(super) fn listen(&self, mut address: SocketAddr) -> io::Result<MemoryListener> {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        let mut state = self.0.state.lock();
        if address.port() == 0 {
            let free = (stream::FIRST_PORT..)
                .find(|port| !state.listeners.contains_key(&SocketAddr::new(address.ip(), *port)));
            address.set_port(free.ok_or(io::ErrorKind::AddrNotAvailable)?);
        }
        if state.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listeners.insert(address, sender);
        Ok(MemoryListener { network: self.0.clone(), address, incoming })
    }

    /// Opens a stream from a host to an address. Waits as long as nobody answers.
    pub(super) async fn connect(&self, from: IpAddr, to: SocketAddr) -> io::Result<MemoryStream> {
        self.0.pass(from, to.ip()).await;
        let met = self.0.meet(from, to);
        self.0.pass(to.ip(), from).await;
        met.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    /// The time that nodes here date by, since 1970.
    pub(super) fn unix_time(&self) -> Duration {
        let began = self.0.began.get_or_init(Instant::now);
        Duration::from_secs(EPOCH) + began.elapsed()
    }

    /// Unix seconds, but never the same twice on this network.
    pub(super) fn creation(&self) -> i64 {
        let now = self.unix_time().as_secs().cast_signed();
        let mut state = self.0.state.lock();
        state.last_creation = now.max(state.last_creation + 1);
        state.last_creation
    }

    pub(super) fn factor(&self, range: RangeInclusive<f64>) -> f64 {
        self.0.state.lock().chance.random_range(range)
    }

    fn change_roads(&self, change: impl FnOnce(&mut State, &mut Wakers)) {
        let mut wakers = Wakers::new();
        {
            let mut state = self.0.state.lock();
            change(&mut state, &mut wakers);
            state.apply_cuts(Instant::now(), &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
        self.0.healed.notify_waiters();
    }

    fn break_wires(
        &self,
        one: &str,
        other: &str,
        choose: impl FnOnce(&mut StdRng, Vec<u64>) -> Vec<u64>,
    ) -> usize {
        let mut wakers = Wakers::new();
        let chosen = {
            let mut state = self.0.state.lock();
            let ends = [state.host(one), state.host(other)];
            let unbroken = |(id, wire): (&u64, &Wire)| wire.connects(ends).then_some(*id);
            let wires = state.wires.iter().filter_map(unbroken).collect();
            let chosen = choose(&mut state.chance, wires);
            for id in &chosen {
                if let Some(wire) = state.wires.get_mut(id) {
                    wire.reset(Instant::now(), &mut wakers);
                }
            }
            chosen.len()
        };
        wakers.into_iter().for_each(Waker::wake);
        chosen
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("MemoryNetwork")
            .field("hosts", &state.hosts)
            .field("streams", &state.wires.len())
            .field("cut", &state.cut)
            .field("off", &state.off)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Waits until something has got from one host to the other.
    async fn pass(&self, from: IpAddr, to: IpAddr) {
        loop {
            let mut healed = std::pin::pin!(self.healed.notified());
            healed.as_mut().enable();
            let delay = {
                let mut state = self.state.lock();
                (!state.is_cut(from, to)).then(|| state.draw_delay(from, to))
            };
            match delay {
                Some(delay) if delay.is_zero() => return,
                Some(delay) => return tokio::time::sleep(delay).await,
                None => healed.await,
            }
        }
    }

    /// Both ends of a new stream, one of which is handed to who listens there;
    /// nothing if nobody does.
    fn meet(self: &Arc<Self>, from: IpAddr, to: SocketAddr) -> Option<MemoryStream> {
        let (near, far, listener) = {
            let mut state = self.state.lock();
            let listener = state.listeners.get(&to).filter(|_| !state.off.contains(&to.ip()))?.clone();
            let (near, far) = state.new_wire(self, from, to);
            (near, far, listener)
        };
        let from = near.local_addr();
        listener.try_send((far, from)).ok()?;
        Some(near)
    }
}

impl State {
    /// Where a host is: at the address it is called by, or at one of its own.
    fn host(&mut self, name: &str) -> IpAddr {
        if let Some(known) = self.hosts.get(name) {
            return *known;
        }
        let number = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX >> 8);
        let own = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + number);
        let address = name.parse().unwrap_or(IpAddr::V4(own));
        self.hosts.insert(name.to_owned(), address);
        address
    }

    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.contains(&(from, to)) || self.off.contains(&from) || self.off.contains(&to)
    }

    /// How long something is under way. Within a host nothing takes time.
    fn draw_delay(&mut self, from: IpAddr, to: IpAddr) -> Duration {
        if from == to || self.delay.end().is_zero() {
            return Duration::ZERO;
        }
        let micros = |delay: &Duration| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let range = micros(self.delay.start())..=micros(self.delay.end());
        Duration::from_micros(if range.is_empty() { *range.end() } else { self.chance.random_range(range) })
    }

    /// Brings the streams up to date with the roads.
    fn apply_cuts(&mut self, now: Instant, wakers: &mut Wakers) {
        let mut wires = std::mem::take(&mut self.wires);
        for wire in wires.values_mut() {
            for side in [0, 1] {
                let (from, to) = wire.road(side);
                if self.is_cut(from, to) {
                    wire.cut(side, now);
                } else {
                    let delay = self.draw_delay(from, to);
                    wire.mend(side, now, delay, wakers);
                }
            }
        }
        self.wires = wires;
    }
}

/// Where streams arrive; it is free again when this is dropped.
pub(super) struct MemoryListener {
    network: Arc<Shared>,
    address: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
}

impl MemoryListener {
    /// Cancel safe.
    pub(super) async fn accept(&mut self) -> io::Result<Incoming> {
        self.incoming.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.state.lock().listeners.remove(&self.address);
    }
}
