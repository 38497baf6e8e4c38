//! What goes out: values to frames in the slot of their sender.

use std::sync::Arc;

use postroad_edf::{EncodeError, Encoder, ErrorValue, Message, Payload};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::any::Answer;
use postroad_wire::enp::{self, Code, Delivery, Head};
use postroad_wire::tunnel::Operations;

use super::slot::Appended;
use super::{Connection, log};
use crate::actor::ExitReason;
use crate::error::SendError;
use crate::network::complaints::Matter;
use crate::node::Target;
use crate::process::{Compression, Priority};
use crate::{Atom, Pid};

/// What a caller is told whose request was taken, and then dropped or left behind
/// by a process that ended: it may have been handled.
pub(super) const NO_ANSWER: &str = "no answer";

/// What the sender adds to a message that leaves the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing {
    pub(crate) from: u64,
    pub(crate) priority: Priority,
    pub(crate) compression: Option<Compression>,
    /// The peer is to say whether it arrived.
    pub(crate) important: bool,
}

/// An answer's way back to its caller, and what the responder adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WayBack {
    pub(crate) responder: u64,
    pub(crate) caller: u64,
    pub(crate) reference: [u64; 3],
    pub(crate) compression: Option<Compression>,
}

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
            Placed::Full => Err(SendError::Busy { node: self.peer.name }),
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
        if outgoing.important {
            self.check_acknowledges()?;
        }
        self.check_incarnation(&to)?;
        let head = Head::Request {
            from: outgoing.from,
            delivery: Delivery { priority: outgoing.priority.into(), important: outgoing.important },
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
        back: WayBack,
        answer: Result<Payload, ErrorValue>,
    ) -> Result<(), SendError> {
        let placed = self.place_answer(back, &answer, false);
        drop(answer);
        self.place_left(back.responder, placed?).await
    }

    /// Sends an answer without waiting; what is handed back is left to be sent.
    pub(super) fn place_answer(
        &self,
        back: WayBack,
        answer: &Result<Payload, ErrorValue>,
        important: bool,
    ) -> Result<Option<Vec<u8>>, SendError> {
        let placed = self.place(back.responder, |out| self.write_answer(out, back, answer, important));
        if let Err(error @ (SendError::TooLarge { .. } | SendError::Encode(_))) = &placed {
            self.respond_now(back, Err(ErrorValue::truncated(&error.to_string())));
        }
        placed
    }

    /// Answers without waiting: for what is small and sent from where one must
    /// not wait. An answer that cannot travel becomes an error that says so.
    pub(crate) fn respond_now(&self, back: WayBack, answer: Result<Payload, ErrorValue>) {
        let back = WayBack { compression: None, ..back };
        let append = |answer| {
            let write = |out: &mut Vec<u8>| self.write_answer(out, back, &answer, false);
            self.append(back.responder, false, write)
        };
        self.log_unsent(match append(answer) {
            Err(error @ (SendError::TooLarge { .. } | SendError::Encode(_))) => {
                append(Err(ErrorValue::truncated(&error.to_string())))
            }
            appended => appended,
        });
    }

    /// Answers with nothing but a code. Does not wait.
    pub(crate) fn respond_code(&self, from: u64, to: u64, reference: [u64; 3], code: Code) {
        // Nodes of this library tell the two apart; for others it has ended.
        let code = match code {
            Code::Error if !self.peer.flags.allows(NetworkFlags::TUNNELS) => Code::Terminated,
            code => code,
        };
        let head = Head::ResponseError { from, delivery: Delivery::default(), to, reference, code };
        let write = |out: &mut Vec<u8>| {
            self.write_frame(out, &head, None, |out| match code {
                Code::Error => self.encoder(out).top(&ErrorValue::new(NO_ANSWER)),
                _ => Ok(()),
            })
        };
        self.log_unsent(self.append(from, false, write));
    }

    /// Answers what the peer's node has asked. Does not wait.
    pub(super) fn respond_any(&self, order: u8, link: u64, answer: &Answer) -> Result<Placed, SendError> {
        let write = |out: &mut Vec<u8>| {
            self.write_ordered(out, order, &Head::Any, None, |out| self.asking_encoder(out).top(answer))
        };
        self.append(link, false, write)
    }

    pub(super) fn log_unsent(&self, outcome: Result<Placed, SendError>) {
        match outcome {
            Ok(Placed::Done) => {}
            Ok(Placed::Full) => {
                if let Some(unsaid) = self.node().network.complaints.about((self.peer.name, Matter::Answer)) {
                    log!(self.log, WARN, peer = %self.peer.name, unsaid, "answer dropped: the peer does not read");
                }
            }
            Err(error) => log!(self.log, DEBUG, peer = %self.peer.name, %error, "answer not sent"),
        }
    }

    /// Asks a process of the peer to end. Where links are barred this is too: it
    /// is what they would bring.
    pub(crate) async fn send_exit(&self, from: u64, to: Pid, reason: &ExitReason) -> Result<(), SendError> {
        self.check_incarnation(&Target::Pid(to))?;
        if !self.permits(Operations::LINK) {
            return Err(SendError::NotAllowed);
        }
        let reason = ErrorValue::from(reason);
        let head = Head::Exit { from, to: to.id };
        let left = self.place(from, |out| self.write(out, &head, None, &reason))?;
        self.place_left(from, left).await
    }

    /// Tells the peer of an end. Does not wait, and is not lost.
    pub(super) fn place_end(
        self: &Arc<Self>,
        by: u64,
        head: &Head<'_>,
        reason: &ErrorValue,
    ) -> Result<(), SendError> {
        let left = self.place(by, |out| self.write(out, head, None, reason))?;
        self.place_at_once(by, left);
        Ok(())
    }

    /// Appends a frame that was handed back, however congested the link is:
    /// nobody waits with it, and what the sender says later comes behind it. There
    /// are as many such frames as there are relations, at most.
    pub(super) fn place_at_once(self: &Arc<Self>, from: u64, left: Option<Vec<u8>>) {
        let Some(mut frame) = left else { return };
        let mut slot = self.slot_of(from);
        loop {
            match self.slots[slot].append_at_once(from, &mut frame) {
                Appended::Elsewhere(other) => slot = other,
                // Of the end of the connection the peer knows by itself.
                Appended::Done | Appended::Closed => return,
                Appended::Full => break,
            }
        }
        // Somebody encodes for this slot who has come here by that.
        let connection = self.clone();
        let placed = async move { drop(connection.place_late(from, frame).await) };
        self.node().tasks.spawn_on(placed, &self.node().runtime);
    }

    fn message_head(&self, outgoing: Outgoing, to: Target) -> Head<'static> {
        Head::Message {
            from: outgoing.from,
            delivery: Delivery { priority: outgoing.priority.into(), important: false },
            message_id: 0,
            to: self.wire_target(to),
        }
    }

    fn write_answer(
        &self,
        out: &mut Vec<u8>,
        WayBack { responder: from, caller: to, reference, compression }: WayBack,
        answer: &Result<Payload, ErrorValue>,
        important: bool,
    ) -> Result<(), SendError> {
        let delivery = Delivery { important, ..Delivery::default() };
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

    pub(super) fn write<M: Message>(
        &self,
        out: &mut Vec<u8>,
        head: &Head<'_>,
        compression: Option<Compression>,
        value: &M,
    ) -> Result<(), SendError> {
        self.write_frame(out, head, compression, |out| value.encode_top(&mut self.encoder(out)))
    }

    pub(super) fn write_frame(
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
    pub(super) fn write_ordered(
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

    pub(super) fn encoder<'a>(&'a self, out: &'a mut Vec<u8>) -> Encoder<'a> {
        Encoder::new(out, &self.encode)
    }

    /// For an Any frame.
    pub(super) fn asking_encoder<'a>(&'a self, out: &'a mut Vec<u8>) -> Encoder<'a> {
        Encoder::new(out, self.asking.as_ref().map_or(&self.encode, |tables| &tables.0))
    }

    pub(super) fn wire_target(&self, to: Target) -> enp::Target<'static> {
        match to {
            Target::Pid(pid) => enp::Target::Pid(pid.id),
            Target::Alias(alias) => enp::Target::Alias(alias.id),
            Target::Name(process) => enp::Target::Name(self.wire_name(process.name)),
        }
    }

    /// The name as the peer knows it: mapped, and by its number if it has one.
    pub(super) fn wire_name(&self, name: Atom) -> enp::Name<'static> {
        let name = self.encode.mapping.as_ref().map_or(name, |mapping| mapping.wire(name));
        match self.encode.atom_id(name) {
            Some(id) => enp::Name::Cached(id),
            None => enp::Name::Inline(name.as_str().as_bytes()),
        }
    }

    /// A process of the peer's former life cannot be addressed: frames carry no
    /// incarnation (`docs/wire/ENP.md` section 2).
    pub(super) fn check_incarnation(&self, to: &Target) -> Result<(), SendError> {
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
    pub(super) fn place(
        &self,
        from: u64,
        write: impl Fn(&mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<Option<Vec<u8>>, SendError> {
        match self.append(from, true, &write)? {
            Placed::Done => Ok(None),
            Placed::Full => {
                let mut frame = Vec::new();
                write(&mut frame)?;
                Ok(Some(frame))
            }
        }
    }

    pub(super) async fn place_left(&self, from: u64, left: Option<Vec<u8>>) -> Result<(), SendError> {
        match left {
            None => Ok(()),
            Some(frame) => self.place_late(from, frame).await,
        }
    }

    /// Appends a frame that was handed back, when there is room.
    pub(crate) async fn place_late(&self, from: u64, mut frame: Vec<u8>) -> Result<(), SendError> {
        let mut slot = self.slot_of(from);
        loop {
            let mut room = std::pin::pin!(self.slots[slot].room());
            room.as_mut().enable();
            match self.slots[slot].append_late(from, &mut frame) {
                Appended::Done => return Ok(()),
                Appended::Full => room.await,
                Appended::Elsewhere(other) => slot = other,
                Appended::Closed => return Err(SendError::NoConnection { node: self.peer.name }),
            }
        }
    }

    #[inline]
    pub(super) fn append(
        &self,
        from: u64,
        patient: bool,
        write: impl Fn(&mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<Placed, SendError> {
        let mut slot = self.slot_of(from);
        loop {
            match self.slots[slot].append(from, patient, &write)? {
                Appended::Done => return Ok(Placed::Done),
                Appended::Full => return Ok(Placed::Full),
                Appended::Elsewhere(other) => slot = other,
                Appended::Closed => return Err(SendError::NoConnection { node: self.peer.name }),
            }
        }
    }

    /// The slot that a process uses all its life.
    #[inline]
    pub(super) fn slot_of(&self, from: u64) -> usize {
        (from % self.slots.len() as u64) as usize
    }

    /// By way of which slot the frames of a slot go out.
    pub(super) fn leads_to(&self, mut slot: usize) -> usize {
        while let Some(other) = self.slots[slot].redirected_to() {
            slot = other;
        }
        slot
    }
}

pub(super) enum Placed {
    Done,
    Full,
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
