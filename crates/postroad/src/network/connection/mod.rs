//! One peer: its links, and what goes out and comes in over them.

mod aside;
mod asking;
mod assembly;
mod backlog;
mod describing;
mod dispatch;
mod ends;
mod events;
mod important;
mod keepalive;
mod link;
mod parts;
mod redial;
mod relations;
mod requests;
mod reservation;
mod send;
mod slot;
mod spawning;
mod subscriptions;
mod through;
mod watching;
mod withdrawn;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use postroad_edf::{AtomMapping, DecodeTables, EncodeTables};
use postroad_wire::enp;
use postroad_wire::enp::any::Generation;
use postroad_wire::{Cookie, NetworkFlags};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::assembly::Assembly;
use self::backlog::Unsent;
use self::ends::RecentEnds;
use self::link::Link;
use self::parts::Parts;
use self::relations::Relations;
use self::slot::Slot;
use self::withdrawn::Withdrawn;
use super::event::Road;
use super::log::{Log, log};
use super::protocol::{Mismatch, Misreading, Spoken};
use super::stack::Stack;
use super::transport::Stream;
use super::tunnel::Through;
use crate::Atom;
use crate::node::NodeInner;

pub(crate) use asking::AskError;
pub(super) use describing::understood;
pub(super) use keepalive::Keepalive;
pub(super) use redial::{Redial, patience};
pub(super) use reservation::Reservation;
pub(crate) use send::{Outgoing, WayBack};
pub(super) use spawning::init_limit;

/// A connection with a peer: one or more links, alive until the last is lost
/// for good.
///
/// Frames are encoded straight into the buffer of the link that the sender
/// uses; each link has a task that writes what has gathered, and one that reads
/// and hands over what comes in.
pub(crate) struct Connection {
    /// Tells it from all others of this node, those with the same peer included.
    pub(crate) number: u64,
    pub(super) peer: Peer,
    /// What identifies the connection when further links join it.
    pub(super) id: String,
    pub(super) limits: Limits,
    pub(super) since: Instant,
    node: Arc<NodeInner>,
    slots: Box<[Slot]>,
    links: Mutex<Vec<Option<Link>>>,
    /// Notified when a link is lost, or one that was expected does not come.
    vacated: Notify,
    /// Frames that come in fragments, if the two sides have agreed on that.
    assembly: Option<Assembly>,
    relations: Relations,
    /// What the peer was told by way of each slot.
    ends: Box<[RecentEnds]>,
    withdrawn: Withdrawn,
    /// Salts of joins that were accepted: none is accepted twice (`docs/wire/EHS.md` section 10).
    /// As digests: a peer may make a salt as long as it likes.
    join_salts: Mutex<HashSet<[u8; 32]>>,
    encode: EncodeTables,
    decode: DecodeTables,
    /// For what the two nodes ask each other, if the mapping has their own names:
    /// there they say who asks, and about whom.
    asking: Option<Box<(EncodeTables, DecodeTables)>>,
    keepalive: Option<Keepalive>,
    /// What the peer may do here.
    allowed: NetworkFlags,
    pub(super) log: Log,
    /// The acceptor that it came in by, and further links too: what that one
    /// demands is not to be got around. Nobody brings links if we dialed.
    pub(super) door: Option<SocketAddr>,
    pub(super) lock: Lock,
    /// What all its links speak.
    pub(super) stack: Stack,
    /// By which nodes it leads, if it is not direct.
    through: Option<Arc<Through>>,
    counters: Counters,
    /// How many processes are beginning here for the peer.
    beginning: AtomicUsize,
    /// How to get further links, if we are the side that dialed.
    pub(super) redial: Option<Redial>,
    /// How long the dialing side may take to bring a link.
    patience: Duration,
    ended: CancellationToken,
    end_reason: OnceLock<DownReason>,
    down: AtomicBool,
}

/// The slot of the link that a connection is made on.
const FIRST: usize = 0;

/// A connection takes so many joins in its life: a link that flaps once a
/// second does so for a day. Then the connection is made anew.
const MAX_JOINS: usize = 100_000;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: Atom,
    pub(super) creation: i64,
    pub(super) flags: NetworkFlags,
    pub(super) generation: Generation,
    pub(super) version: String,
}

/// How long frames may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Ours: what we accept.
    pub(super) max_frame: usize,
    /// The peer's: what it accepts.
    pub(super) peer_max_frame: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames_in: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkLoss {
    #[error("closed")]
    Closed,
    #[error("the peer closed in the middle of a frame, {0} bytes of which had arrived")]
    Truncated(usize),
    #[error("the peer gave no sign of life for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] enp::SplitError),
    #[error("{spoken}: {error}")]
    Misread { spoken: Spoken, error: Misreading },
    #[error("{spoken}: its writer panicked at a frame, which is lost: {panic}")]
    NotWritten { spoken: Spoken, panic: String },
    #[error(transparent)]
    AnotherProtocol(Box<Mismatch>),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// This node closed it, or is stopping.
    Closed,
    /// The last link was lost and could not be replaced.
    Lost,
    /// The peer was restarted, or dialed anew because it had lost the connection.
    Replaced,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Replaced => "replaced by a new connection of the peer",
        })
    }
}

/// What a peer had to prove for a connection, and how well it is kept.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    pub(super) tls: bool,
    pub(super) cookie: Cookie,
}

impl Lock {
    /// Whether who came by this one may take the place of who came by `other`.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.cookie == other.cookie && (self.tls || !other.tls)
    }
}

/// What the route or the acceptor says of a connection, on this side of it.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) mapping: Option<Arc<AtomMapping>>,
    pub(super) log: Log,
    /// Where the acceptor listens, if it was one.
    pub(super) door: Option<SocketAddr>,
    pub(super) stack: Stack,
    /// What the peer may do at most, if that is limited.
    pub(super) flags: Option<NetworkFlags>,
    /// By which nodes it leads, if it is not direct.
    pub(super) through: Option<Arc<Through>>,
}

impl Terms {
    /// What the peer may do at most, whoever is in between.
    pub(super) fn most(&self) -> Option<NetworkFlags> {
        self.through.as_ref().map_or(self.flags, |through| Some(through.limit(self.flags)))
    }
}

/// What is needed to make a connection out of a finished handshake.
pub(super) struct Agreement {
    pub(super) peer: Peer,
    pub(super) id: String,
    pub(super) limits: Limits,
    pub(super) pool_size: usize,
    pub(super) encode: EncodeTables,
    pub(super) decode: DecodeTables,
    /// For what the two nodes ask each other, if the mapping has their own names.
    pub(super) asking: Option<Box<(EncodeTables, DecodeTables)>>,
    pub(super) keepalive: Option<Keepalive>,
    /// Whether both sides take frames in fragments.
    pub(super) fragmentation: bool,
    pub(super) redial: Option<Redial>,
    /// How long the dialing side may take to bring a link.
    pub(super) patience: Duration,
    /// What we said that the peer may do.
    pub(super) allowed: NetworkFlags,
    pub(super) log: Log,
    /// Where the acceptor listens that it came in by.
    pub(super) door: Option<SocketAddr>,
    pub(super) lock: Lock,
    pub(super) stack: Stack,
    pub(super) through: Option<Arc<Through>>,
}

impl Connection {
    pub(super) fn new(node: &Arc<NodeInner>, agreement: Agreement) -> Arc<Self> {
        let Agreement {
            peer,
            id,
            limits,
            pool_size,
            encode,
            decode,
            asking,
            keepalive,
            fragmentation,
            redial,
            patience,
            allowed,
            log,
            door,
            lock,
            stack,
            through,
        } = agreement;
        let parts = |index| match fragmentation {
            true => Parts::of_slot(index, pool_size, limits.peer_max_frame),
            false => Parts::never(),
        };
        let connection = Self {
            number: node.new_reference(),
            peer,
            id,
            limits,
            since: Instant::now(),
            node: node.clone(),
            slots: (0..pool_size).map(|index| Slot::new(parts(index))).collect(),
            links: Mutex::new(vec![None; pool_size]),
            vacated: Notify::new(),
            assembly: fragmentation.then(|| Assembly::new(limits.max_frame, pool_size)),
            relations: Relations::bounded(node.network.options.max_relations),
            ends: (0..pool_size).map(|_| RecentEnds::default()).collect(),
            withdrawn: Withdrawn::default(),
            join_salts: Mutex::default(),
            encode,
            decode,
            asking,
            keepalive,
            allowed,
            log,
            door,
            lock,
            stack,
            through,
            counters: Counters::default(),
            beginning: AtomicUsize::new(0),
            redial,
            patience,
            ended: CancellationToken::new(),
            end_reason: OnceLock::new(),
            down: AtomicBool::new(false),
        };
        // The link that the connection was made on is there already.
        connection.slots[FIRST].reserve();
        Arc::new(connection)
    }

    pub(super) fn node(&self) -> &Arc<NodeInner> {
        &self.node
    }

    /// Puts the link to work that the connection was made on.
    pub(super) fn start(self: &Arc<Self>, stream: Stream, tail: Vec<u8>) {
        self.add_link(FIRST, stream, tail);
        self.fill_pool();
    }

    /// Puts a link to work in a slot that waits for one; does nothing if it
    /// does not, or the connection has ended.
    fn add_link(self: &Arc<Self>, index: usize, stream: Stream, tail: Vec<u8>) {
        let between = match self.stack.protocol.link() {
            Ok(between) => between,
            Err(panic) => {
                let spoken = &self.stack.protocol;
                log!(self.log, ERROR, peer = %self.peer.name, %spoken, panic, "a link cannot be begun: the protocol panicked");
                return self.shut_down(DownReason::Lost);
            }
        };
        let mut links = self.links.lock();
        if self.is_down() || !self.slots[index].link() {
            return;
        }
        let elders = links.iter().flatten().cloned().collect();
        links[index] = Some(link::start(self, index, (stream, tail), between, elders));
        for slot in &self.slots {
            slot.redirect(index, &self.slots[index]);
        }
    }

    /// Remembers the salt of a join; false if it was used before, or if there
    /// were so many that no more are remembered.
    pub(super) fn join_salt_is_new(&self, salt: &str) -> bool {
        let mut salts = self.join_salts.lock();
        salts.len() < MAX_JOINS && salts.insert(Sha256::digest(salt).into())
    }

    /// How many links are alive.
    pub(super) fn link_count(&self) -> usize {
        self.links.lock().iter().flatten().count()
    }

    /// Whether a link of it has ended, be it replaced or not.
    pub(super) fn has_lost_a_link(&self) -> bool {
        self.slots.iter().any(Slot::has_lost_a_link)
    }

    /// Waits until a link of it has ended, or the connection has. False if it
    /// was this node that closed it.
    pub(super) async fn forsaken(&self) -> bool {
        let forsaken = async {
            loop {
                let mut vacated = std::pin::pin!(self.vacated.notified());
                vacated.as_mut().enable();
                if self.has_lost_a_link() {
                    return;
                }
                vacated.await;
            }
        };
        self.ended.run_until_cancelled(forsaken).await;
        self.end_reason.get() != Some(&DownReason::Closed)
    }

    /// A link has ended: waits for its successor, or does without.
    fn link_lost(self: &Arc<Self>, index: usize, since: Instant, loss: LinkLoss) {
        if let Some(assembly) = &self.assembly {
            assembly.link_lost(index);
        }
        {
            let mut links = self.links.lock();
            links[index] = None;
            self.slots[index].unlink();
        }
        self.vacated.notify_waiters();
        if self.is_down() {
            return;
        }
        log!(self.log, DEBUG, peer = %self.peer.name, link = index, %loss, "link lost");
        self.tell_ends_again(index);
        self.withdraw_again(index);
        self.replace_link(index, since.elapsed());
    }

    /// Nobody tries any more to get a link for this slot: its traffic takes
    /// another one, as soon as there is one. The connection ends when there is
    /// none, and none is hoped for.
    fn give_up_link(self: &Arc<Self>, index: usize) {
        let links = self.links.lock();
        let slot = &self.slots[index];
        slot.give_up();
        let redirected =
            (0..links.len()).any(|other| links[other].is_some() && slot.redirect(other, &self.slots[other]));
        let finished = !redirected && !self.slots.iter().any(Slot::has_hope);
        drop(links);
        if finished {
            self.shut_down(DownReason::Lost);
        }
    }

    /// Ends a connection that nobody has seen.
    pub(super) fn discard(&self) {
        self.down.store(true, Ordering::Release);
        self.close();
    }

    /// Ends the connection, once: links are closed, who waits is told.
    ///
    /// What was not handed to the system is lost, and counted in the log. It
    /// is not moved to a connection that replaces this one: it is encoded for
    /// the tables of this one, and the peer may still read what went out here
    /// after what would go out there.
    pub(super) fn shut_down(self: &Arc<Self>, reason: DownReason) {
        if self.claim_end(reason) {
            self.end();
        }
    }

    /// Whether the connection has not ended before: then it has now, and the
    /// caller must bring it to its [end](Self::end).
    pub(super) fn claim_end(&self, reason: DownReason) -> bool {
        let first = self.end_reason.set(reason).is_ok();
        self.down.store(true, Ordering::Release);
        first
    }

    pub(super) fn end(self: &Arc<Self>) {
        self.log_lost(self.close());
        self.node.network.forget(self);
        self.node.calls.connection_lost(self.number);
        self.end_relations();
    }

    fn log_lost(&self, Unsent { frames, bytes }: Unsent) {
        if frames > 0 {
            let reason = self.end_reason();
            log!(self.log, WARN, peer = %self.peer.name, %reason, frames, bytes, "frames lost that were not sent");
        }
    }

    /// Why the connection has ended.
    pub(super) fn end_reason(&self) -> DownReason {
        self.end_reason.get().copied().unwrap_or(DownReason::Closed)
    }

    fn close(&self) -> Unsent {
        let unsent = self.slots.iter().map(Slot::close).fold(Unsent::default(), Unsent::and);
        self.ended.cancel();
        if let Some(assembly) = &self.assembly {
            assembly.clear();
        }
        unsent
    }

    /// Whether the connection has ended.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Waits until all that was sent has been handed to the system, but not for
    /// a peer that does not read.
    pub(super) async fn flush(&self, patience: Duration) {
        let written = async {
            while !self.is_down() && !self.slots.iter().all(Slot::is_written) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(patience, written).await.is_err() {
            let bytes: usize = self.slots.iter().map(Slot::waiting).sum();
            log!(self.log, WARN, peer = %self.peer.name, bytes, "the peer did not take everything that was sent");
        }
    }

    /// How many frames went out.
    pub(super) fn frames_out(&self) -> u64 {
        self.slots.iter().map(Slot::appended_frames).sum()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long ago the peer started, by its creation.
    pub(super) fn peer_uptime(&self) -> Duration {
        let started = Duration::from_secs(self.peer.creation.max(0).cast_unsigned());
        self.node.network.options.ground.unix_time().saturating_sub(started)
    }

    pub(super) fn pool_size(&self) -> usize {
        self.slots.len()
    }

    /// Whether this node dialed.
    pub(super) fn was_dialed(&self) -> bool {
        self.redial.is_some()
    }

    /// By which road this node dialed.
    pub(super) fn road(&self) -> Option<&Arc<Road>> {
        self.redial.as_ref().map(|redial| &redial.road)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.peer.name)
    }
}
