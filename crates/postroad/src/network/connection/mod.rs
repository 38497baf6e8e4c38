//! One peer: its links, and what goes out and comes in over them.

mod dispatch;
mod keepalive;
mod link;
mod redial;
mod requests;
mod slot;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use postroad_edf::{
    AtomMapping, DecodeTables, EncodeError, EncodeTables, Encoder, ErrorValue, Message, Payload,
};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::any::Generation;
use postroad_wire::enp::{self, Code, Delivery, Head};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::link::Link;
use self::slot::{Appended, Slot};
use super::event::Road;
use super::log::{Log, log};
use super::transport::Stream;
use crate::actor::ExitReason;
use crate::error::SendError;
use crate::node::{NodeInner, Target};
use crate::process::{Compression, Priority};
use crate::{Atom, Pid};

pub(super) use keepalive::Keepalive;
pub(super) use redial::Redial;

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
    /// Notified when a link is lost.
    vacated: Notify,
    /// Salts of joins that were accepted: none is accepted twice (`docs/wire/EHS.md` section 10).
    join_salts: Mutex<HashSet<String>>,
    encode: EncodeTables,
    decode: DecodeTables,
    keepalive: Option<Keepalive>,
    /// What the peer may do here.
    allowed: NetworkFlags,
    pub(super) log: Log,
    counters: Counters,
    /// How to get further links, if we are the side that dialed.
    redial: Option<Redial>,
    ended: CancellationToken,
    end_reason: OnceLock<DownReason>,
    down: AtomicBool,
}

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

/// What the sender adds to a message that leaves the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing {
    pub(crate) from: u64,
    pub(crate) priority: Priority,
    pub(crate) compression: Option<Compression>,
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

/// What the route or the acceptor says of a connection, on this side of it.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) mapping: Option<AtomMapping>,
    pub(super) log: Log,
}

/// What is needed to make a connection out of a finished handshake.
pub(super) struct Agreement {
    pub(super) peer: Peer,
    pub(super) id: String,
    pub(super) limits: Limits,
    pub(super) pool_size: usize,
    pub(super) encode: EncodeTables,
    pub(super) decode: DecodeTables,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) redial: Option<Redial>,
    /// What we said that the peer may do.
    pub(super) allowed: NetworkFlags,
    pub(super) log: Log,
}

impl Connection {
    pub(super) fn new(node: &Arc<NodeInner>, agreement: Agreement) -> Arc<Self> {
        let Agreement { peer, id, limits, pool_size, encode, decode, keepalive, redial, allowed, log } =
            agreement;
        Arc::new(Self {
            number: node.new_reference(),
            peer,
            id,
            limits,
            since: Instant::now(),
            node: node.clone(),
            slots: (0..pool_size).map(|_| Slot::new()).collect(),
            links: Mutex::new(vec![None; pool_size]),
            vacated: Notify::new(),
            join_salts: Mutex::default(),
            encode,
            decode,
            keepalive,
            allowed,
            log,
            counters: Counters::default(),
            redial,
            ended: CancellationToken::new(),
            end_reason: OnceLock::new(),
            down: AtomicBool::new(false),
        })
    }

    fn node(&self) -> &Arc<NodeInner> {
        &self.node
    }

    /// Puts a link to work in the first slot that waits for one. False if none
    /// does, or the connection has ended.
    pub(super) fn add_link(self: &Arc<Self>, stream: Stream, tail: Vec<u8>) -> bool {
        self.add_link_to(0..self.slots.len(), stream, tail)
    }

    /// Puts a link to work in the first of these slots that waits for one.
    fn add_link_to(self: &Arc<Self>, mut slots: Range<usize>, stream: Stream, tail: Vec<u8>) -> bool {
        let mut links = self.links.lock();
        if self.is_down() {
            return false;
        }
        let Some(index) = slots.find(|index| self.slots[*index].link()) else { return false };
        let elders = links.iter().flatten().cloned().collect();
        links[index] = Some(link::start(self, index, stream, tail, elders));
        true
    }

    /// Waits until a further link would find a place; false when the connection
    /// has ended.
    pub(super) async fn has_room(&self) -> bool {
        let vacancy = async {
            loop {
                let mut vacated = std::pin::pin!(self.vacated.notified());
                vacated.as_mut().enable();
                if self.slots.iter().any(|slot| slot.awaits().is_some()) {
                    return;
                }
                vacated.await;
            }
        };
        self.ended.run_until_cancelled(vacancy).await.is_some()
    }

    /// Remembers the salt of a join; false if it was used before, or if there
    /// were so many that no more are remembered.
    pub(super) fn join_salt_is_new(&self, salt: &str) -> bool {
        let mut salts = self.join_salts.lock();
        salts.len() < MAX_JOINS && salts.insert(salt.to_owned())
    }

    /// How many links are alive.
    pub(super) fn link_count(&self) -> usize {
        self.links.lock().iter().flatten().count()
    }

    /// Whether it has no link any more, at this moment.
    pub(super) fn is_deserted(&self) -> bool {
        let links = self.links.lock();
        let had_one = || self.slots.iter().any(|slot| slot.awaits().is_some_and(|links| links > 0));
        links.iter().all(Option::is_none) && had_one()
    }

    /// Waits until it has no link any more, or has ended.
    pub(super) async fn deserted(&self) {
        let deserted = async {
            loop {
                let mut vacated = std::pin::pin!(self.vacated.notified());
                vacated.as_mut().enable();
                if self.is_deserted() {
                    return;
                }
                vacated.await;
            }
        };
        self.ended.run_until_cancelled(deserted).await;
    }

    /// A link has ended: waits for its successor, or does without.
    fn link_lost(self: &Arc<Self>, index: usize, since: Instant, loss: LinkLoss) {
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
        self.replace_link(index, since.elapsed());
    }

    /// No further link will come for this slot: its traffic takes another one,
    /// or the connection has ended.
    fn give_up_link(self: &Arc<Self>, index: usize) {
        let links = self.links.lock();
        let other = (0..links.len()).find(|other| {
            links[*other].is_some()
                && *other != index
                && self.slots[index].redirect(*other, &self.slots[*other])
        });
        let finished =
            other.is_none() && links.iter().all(Option::is_none) && self.slots[index].awaits().is_some();
        drop(links);
        if finished {
            self.shut_down(DownReason::Lost);
        }
    }

    /// Ends a connection that nobody has seen.
    pub(super) fn discard(&self) {
        self.down.store(true, Ordering::Release);
        for slot in &self.slots {
            slot.close();
        }
        self.ended.cancel();
    }

    /// Ends the connection, once: links are closed, who waits is told.
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
        for slot in &self.slots {
            slot.close();
        }
        self.ended.cancel();
        self.node.network.forget(self);
        self.node.calls.connection_lost(self.number);
    }

    /// Why the connection has ended.
    pub(super) fn end_reason(&self) -> DownReason {
        self.end_reason.get().copied().unwrap_or(DownReason::Closed)
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

/// Sending.
impl Connection {
    /// Sends a message; waits while the sender's link is congested.
    pub(crate) async fn send<M: Message>(
        &self,
        outgoing: Outgoing,
        to: Target,
        message: M,
    ) -> Result<(), SendError> {
        let left = self.place_message(outgoing, to, &message)?;
        // Neither the message nor a reference to it is kept while waiting: it need not be `Sync`.
        drop(message);
        match left {
            None => Ok(()),
            Some(frame) => self.place_late(outgoing.from, frame).await,
        }
    }

    /// Sends a message without waiting. If the sender's link is congested the
    /// frame comes back, for [`place_late`](Self::place_late).
    #[inline]
    pub(crate) fn place_message<M: Message>(
        &self,
        outgoing: Outgoing,
        to: Target,
        message: &M,
    ) -> Result<Option<Vec<u8>>, SendError> {
        self.check_incarnation(&to)?;
        let head = self.message_head(outgoing, to);
        self.place(outgoing.from, |out| self.write(out, &head, outgoing.compression, message))
    }

    /// Sends a message now or not at all.
    pub(crate) fn try_send<M: Message>(
        &self,
        outgoing: Outgoing,
        to: Target,
        message: &M,
    ) -> Result<(), SendError> {
        self.check_incarnation(&to)?;
        let head = self.message_head(outgoing, to);
        let write = |out: &mut Vec<u8>| self.write(out, &head, outgoing.compression, message);
        match self.append(outgoing.from, true, write)? {
            Placed::Done => Ok(()),
            Placed::Full(_) => Err(SendError::Busy { node: self.peer.name }),
        }
    }

    /// Sends a request.
    pub(crate) async fn request<M: Message>(
        &self,
        outgoing: Outgoing,
        to: Target,
        reference: [u64; 3],
        request: M,
    ) -> Result<(), SendError> {
        self.check_incarnation(&to)?;
        let head = Head::Request {
            from: outgoing.from,
            delivery: outgoing.delivery(),
            reference,
            to: self.wire_target(to),
        };
        let left = self.place(outgoing.from, |out| self.write(out, &head, outgoing.compression, &request))?;
        drop(request);
        self.place_left(outgoing.from, left).await
    }

    /// Answers a request of the peer. An answer that cannot travel becomes an
    /// error that says so: silence would leave the caller to its timeout.
    pub(crate) async fn respond(
        &self,
        responder: u64,
        caller: u64,
        reference: [u64; 3],
        answer: Result<Payload, ErrorValue>,
        compression: Option<Compression>,
    ) -> Result<(), SendError> {
        let placed = self.place(responder, |out| {
            self.write_answer(out, responder, caller, reference, &answer, compression)
        });
        drop(answer);
        if let Err(error @ (SendError::TooLarge { .. } | SendError::Encode(_))) = &placed {
            let reason = ErrorValue::new(error.to_string());
            self.respond_now(responder, caller, reference, &Err(reason));
        }
        self.place_left(responder, placed?).await
    }

    /// Answers without waiting: for what is small and sent from where one must
    /// not wait.
    fn respond_now(
        &self,
        responder: u64,
        caller: u64,
        reference: [u64; 3],
        answer: &Result<Payload, ErrorValue>,
    ) {
        let write = |out: &mut Vec<u8>| self.write_answer(out, responder, caller, reference, answer, None);
        self.log_unsent(self.append(responder, false, write));
    }

    /// Answers with nothing but a code. Does not wait.
    pub(crate) fn respond_code(&self, from: u64, to: u64, reference: [u64; 3], code: Code) {
        let head = Head::ResponseError { from, delivery: Delivery::default(), to, reference, code };
        let write = |out: &mut Vec<u8>| self.write_frame(out, &head, None, |_| Ok(()));
        self.log_unsent(self.append(from, false, write));
    }

    fn log_unsent(&self, outcome: Result<Placed, SendError>) {
        match outcome {
            Ok(Placed::Done) => {}
            Ok(Placed::Full(_)) => {
                log!(self.log, WARN, peer = %self.peer.name, "answer dropped: the peer does not read")
            }
            Err(error) => log!(self.log, DEBUG, peer = %self.peer.name, %error, "answer not sent"),
        }
    }

    /// Asks a process of the peer to end.
    pub(crate) async fn send_exit(&self, from: u64, to: Pid, reason: &ExitReason) -> Result<(), SendError> {
        self.check_incarnation(&Target::Pid(to))?;
        let reason = ErrorValue::from(reason);
        let head = Head::Exit { from, to: to.id };
        let left = self.place(from, |out| self.write(out, &head, None, &reason))?;
        self.place_left(from, left).await
    }

    fn message_head(&self, outgoing: Outgoing, to: Target) -> Head<'static> {
        Head::Message {
            from: outgoing.from,
            delivery: outgoing.delivery(),
            message_id: 0,
            to: self.wire_target(to),
        }
    }

    fn write_answer(
        &self,
        out: &mut Vec<u8>,
        from: u64,
        to: u64,
        reference: [u64; 3],
        answer: &Result<Payload, ErrorValue>,
        compression: Option<Compression>,
    ) -> Result<(), SendError> {
        let delivery = Delivery::default();
        let failed = |code| Head::ResponseError { from, delivery, to, reference, code };
        match answer {
            // EDF has no nil at the top level: a nil answer is an error of code 0.
            Ok(value) if value.is::<()>() => self.write_frame(out, &failed(Code::Ok), None, |_| Ok(())),
            Ok(value) => {
                let head = Head::Response { from, delivery, to, reference };
                self.write_frame(out, &head, compression, |out| value.encode_top(&mut self.encoder(out)))
            }
            Err(error) => self.write(out, &failed(Code::Error), compression, error),
        }
    }

    fn write<M: Message>(
        &self,
        out: &mut Vec<u8>,
        head: &Head<'_>,
        compression: Option<Compression>,
        value: &M,
    ) -> Result<(), SendError> {
        self.write_frame(out, head, compression, |out| value.encode_top(&mut self.encoder(out)))
    }

    fn write_frame(
        &self,
        out: &mut Vec<u8>,
        head: &Head<'_>,
        compression: Option<Compression>,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        self.write_ordered(out, head.order(), head, compression, payload)
    }

    /// Writes one frame, packs it if asked to, and checks it against the
    /// peer's limit.
    fn write_ordered(
        &self,
        out: &mut Vec<u8>,
        order: u8,
        head: &Head<'_>,
        compression: Option<Compression>,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        let start = out.len();
        let mut size = match enp::write(out, order, head, payload) {
            Ok(size) => size,
            Err(enp::WriteError::Payload(error)) => return Err(SendError::Encode(Arc::new(error))),
            Err(enp::WriteError::NameTooLong(len)) => return Err(crate::edf::AtomError::TooLong(len).into()),
            Err(_) => return Err(self.too_large(usize::MAX)),
        };
        if let Some(compression) = compression
            && size > compression.threshold
        {
            let frame = out.split_off(start);
            size = enp::compress::pack(&frame, compression.method, compression.level, out)
                .map_err(|_| self.too_large(frame.len()))?;
        }
        log!(self.log, TRACE, peer = %self.peer.name, bytes = size, ?head, "frame out");
        if size > self.limits.peer_max_frame { Err(self.too_large(size)) } else { Ok(()) }
    }

    fn too_large(&self, size: usize) -> SendError {
        SendError::TooLarge { node: self.peer.name, size, limit: self.limits.peer_max_frame }
    }

    fn encoder<'a>(&'a self, out: &'a mut Vec<u8>) -> Encoder<'a> {
        Encoder::new(out, &self.encode)
    }

    fn wire_target(&self, to: Target) -> enp::Target<'static> {
        match to {
            Target::Pid(pid) => enp::Target::Pid(pid.id),
            Target::Alias(alias) => enp::Target::Alias(alias.id),
            Target::Name(process) => enp::Target::Name(self.wire_name(process.name)),
        }
    }

    /// The name as the peer knows it: mapped, and by its number if it has one.
    fn wire_name(&self, name: Atom) -> enp::Name<'static> {
        let name = self.encode.mapping.as_ref().map_or(name, |mapping| mapping.wire(name));
        match self.encode.atom_id(name) {
            Some(id) => enp::Name::Cached(id),
            None => enp::Name::Inline(name.as_str().as_bytes()),
        }
    }

    /// A process of the peer's former life cannot be addressed: frames carry no
    /// incarnation (`docs/wire/ENP.md` section 2).
    fn check_incarnation(&self, to: &Target) -> Result<(), SendError> {
        let creation = match to {
            Target::Pid(pid) => pid.creation,
            Target::Alias(alias) => alias.creation,
            Target::Name(_) => return Ok(()),
        };
        if creation == self.peer.creation {
            Ok(())
        } else {
            Err(SendError::Incarnation { node: self.peer.name })
        }
    }

    /// Appends a frame to the sender's slot; if that is full, hands the frame
    /// back for [`place_late`](Self::place_late).
    #[inline]
    fn place(
        &self,
        from: u64,
        write: impl Fn(&mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<Option<Vec<u8>>, SendError> {
        match self.append(from, true, &write)? {
            Placed::Done => Ok(None),
            Placed::Full(_) => {
                let mut frame = Vec::new();
                write(&mut frame)?;
                Ok(Some(frame))
            }
        }
    }

    async fn place_left(&self, from: u64, left: Option<Vec<u8>>) -> Result<(), SendError> {
        match left {
            None => Ok(()),
            Some(frame) => self.place_late(from, frame).await,
        }
    }

    /// Appends a frame that was handed back, when there is room.
    pub(crate) async fn place_late(&self, from: u64, frame: Vec<u8>) -> Result<(), SendError> {
        let mut slot = (from % self.slots.len() as u64) as usize;
        loop {
            let mut room = std::pin::pin!(self.slots[slot].room());
            room.as_mut().enable();
            let append = |out: &mut Vec<u8>| {
                out.extend_from_slice(&frame);
                Ok(())
            };
            match self.append(from, true, append)? {
                Placed::Done => return Ok(()),
                Placed::Full(now) if now == slot => room.await,
                Placed::Full(now) => slot = now,
            }
        }
    }

    #[inline]
    fn append(
        &self,
        from: u64,
        patient: bool,
        write: impl Fn(&mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<Placed, SendError> {
        let mut index = (from % self.slots.len() as u64) as usize;
        loop {
            match self.slots[index].append(patient, &write)? {
                Appended::Done => return Ok(Placed::Done),
                Appended::Full => return Ok(Placed::Full(index)),
                Appended::Elsewhere(other) => index = other,
                Appended::Closed => return Err(SendError::NoConnection { node: self.peer.name }),
            }
        }
    }
}

enum Placed {
    Done,
    Full(usize),
}

impl Outgoing {
    fn delivery(&self) -> Delivery {
        Delivery { priority: self.priority.into(), important: false }
    }
}

impl From<Priority> for enp::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low | Priority::Normal => Self::Normal,
            Priority::High => Self::High,
            Priority::Max => Self::Max,
        }
    }
}

impl From<enp::Priority> for Priority {
    fn from(priority: enp::Priority) -> Self {
        match priority {
            enp::Priority::Normal => Self::Normal,
            enp::Priority::High => Self::High,
            enp::Priority::Max => Self::Max,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.peer.name)
    }
}

/// How long ago a node started, from its creation.
pub(super) fn uptime(creation: i64) -> Duration {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(creation.max(0).cast_unsigned());
    SystemTime::now().duration_since(started).unwrap_or_default()
}
