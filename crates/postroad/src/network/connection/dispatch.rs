//! What comes in: frames to mailboxes.

use std::sync::Arc;

use postroad_edf::{DecodeError, Decoder, ErrorValue, Payload};
use postroad_wire::enp::fragment::AssemblyError;
use postroad_wire::enp::{self, Code, Delivery, Frame, Head, Name};
use postroad_wire::tunnel::Operations;

use super::important::verdict;
use super::send::NO_ANSWER;
use super::send::WayBack;
use super::{Connection, log};
use crate::actor::{Answered, Exit, ExitReason, ReplyTo, Watched};
use crate::error::{CallError, SendError};
use crate::event::FanOut;
use crate::network::complaints::Matter;
use crate::network::tunnel;
use crate::node::{Awaited, Target, router};
use crate::process::{Envelope, Priority, caught, discard};
use crate::{Alias, Atom, Pid, ProcessId};

/// Why a frame was dropped. It costs the sender that frame, nobody else anything.
#[derive(Debug, thiserror::Error)]
pub(super) enum Dropped {
    #[error(transparent)]
    Frame(#[from] enp::FrameError),
    #[error("the payload cannot be decoded: {0}")]
    Payload(#[from] DecodeError),
    #[error("it names the atom {0}, which the peer has not announced")]
    UnknownAtom(u16),
    #[error("its name is not UTF-8")]
    NameNotUtf8,
    #[error("it cannot be unpacked: {0}")]
    Unpack(#[from] enp::compress::UnpackError),
    #[error("it asks for {0}, which is nothing known")]
    UnknownRequest(String),
    #[error("it is a fragment, although the two sides have not agreed on any")]
    FragmentNotAgreed,
    #[error("it is a fragment that cannot be used: {0}")]
    Fragment(#[from] AssemblyError),
    #[error("it asks for what the flags of this side, or the gateways in between, do not allow")]
    NotPermitted,
    #[error("decoding it panicked: {0}")]
    Panicked(String),
    #[error("frames of type {0} are not handled here")]
    Unhandled(u8),
}

/// What a frame came out of. A packed frame may come in fragments, but neither
/// the other way round nor twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Layer {
    /// The link of this number.
    Link(usize),
    Fragments,
    Packed,
}

impl Connection {
    /// Handles one complete frame, which came over this link. A publication for
    /// very many is returned: for [`fan_out`](Self::fan_out), before the next frame.
    pub(super) fn handle_frame(self: &Arc<Self>, link: usize, frame: &[u8]) -> Option<FanOut> {
        let mut wide = None;
        if let Err(dropped) = contained(|| self.dispatch(frame, Layer::Link(link), &mut wide))
            && let Some(unsaid) = self.node().network.complaints.about((self.peer.name, Matter::Frame))
        {
            log!(self.log, WARN, peer = %self.peer.name, reason = %dropped, unsaid, "frame dropped");
        }
        wide
    }

    fn dispatch(
        self: &Arc<Self>,
        frame: &[u8],
        layer: Layer,
        wide: &mut Option<FanOut>,
    ) -> Result<(), Dropped> {
        let Frame { head, payload, order } = Frame::parse(frame)?;
        log!(self.log, TRACE, peer = %self.peer.name, bytes = frame.len(), ?head, "frame in");
        match head {
            Head::Message { from, delivery, message_id, to } => {
                self.message(from, delivery, message_id, to, payload)
            }
            Head::Request { from, delivery, reference, to } => {
                self.request_in(from, delivery, reference, to, payload)
            }
            Head::Response { from, delivery, to, reference } => {
                let answer = || self.payload(payload).map_err(CallError::from);
                self.answered(from, to, delivery, reference, Code::Ok, answer);
                Ok(())
            }
            Head::ResponseError { from, delivery, to, reference, code } => {
                if !self.acknowledged_in(to, reference, code, payload) {
                    let answer = || match self.refusal(code, payload) {
                        // What a process itself answers important is its own word.
                        Err(CallError::Answer(error)) if !delivery.important && error.text() == NO_ANSWER => {
                            Err(CallError::NoAnswer)
                        }
                        answer => answer,
                    };
                    self.answered(from, to, delivery, reference, code, answer);
                }
                Ok(())
            }
            Head::Ack { from, to, reference, code } => {
                // That a request was delivered is no answer to it; that it was not is one.
                if !self.acknowledged_in(to, reference, code, payload) && code != Code::Ok {
                    let refusal = || self.refusal(code, payload);
                    self.answered(from, to, Delivery::default(), reference, code, refusal);
                }
                Ok(())
            }
            Head::Exit { from, to } => self.exit_in(from, to, payload),
            Head::Event { from, priority, timestamp, name } => {
                self.event_in(from, priority, timestamp, name, payload, wide)
            }
            Head::Terminate { subject } => self.end_in(subject, payload),
            Head::Compressed { method, unpacked_len } if layer < Layer::Packed => {
                let inner =
                    enp::compress::unpack(method, unpacked_len, payload, self.limits.max_frame as u64)?;
                self.dispatch(&inner, Layer::Packed, wide)
            }
            Head::Fragment { sequence, index, total } => {
                let Layer::Link(link) = layer else { return Err(Dropped::Unhandled(frame[7])) };
                let link = (order != 0).then_some(link);
                match self.fragment_in(link, sequence, index, total, payload)? {
                    Some(whole) => self.dispatch(&whole, Layer::Fragments, wide),
                    None => Ok(()),
                }
            }
            Head::Any => self.any_in(payload),
            Head::Keepalive => Ok(()),
            Head::Summon { token } => {
                tunnel::obey(self, super::through::token(token));
                Ok(())
            }
            Head::Decline { token, reason } => {
                tunnel::declined(self, super::through::token(token), reason);
                Ok(())
            }
            _ => Err(Dropped::Unhandled(frame[7])),
        }
    }

    fn message(
        &self,
        from: u64,
        delivery: Delivery,
        message_id: u64,
        to: enp::Target<'_>,
        payload: &[u8],
    ) -> Result<(), Dropped> {
        let permitted = !delivery.important || self.takes_important();
        let deliver = || {
            if !permitted {
                return Err(Dropped::NotPermitted);
            }
            let Some(target) = self.own(to)? else { return Ok(Err(SendError::ProcessUnknown)) };
            let envelope = Envelope::Message { from: self.peer_pid(from), payload: self.payload(payload)? };
            Ok(router::deliver(self.node(), &target, envelope, delivery.priority.into()))
        };
        let delivered = if delivery.important {
            let delivered = contained(deliver);
            self.acknowledge_message(to, from, message_id, delivery, &delivered);
            delivered
        } else {
            deliver()
        };
        if let Err(error) = delivered? {
            log!(self.log, DEBUG, peer = %self.peer.name, ?to, %error, "message for nobody");
        }
        Ok(())
    }

    fn request_in(
        self: &Arc<Self>,
        from: u64,
        delivery: Delivery,
        reference: [u64; 3],
        to: enp::Target<'_>,
        payload: &[u8],
    ) -> Result<(), Dropped> {
        let understood = contained(|| Ok((self.own(to)?, self.payload(payload)?)));
        let (target, payload) = match understood {
            Ok(understood) => understood,
            Err(dropped) => {
                // The caller gets an answer where a plain drop would leave it to its timeout.
                let reason = ErrorValue::new(format!("malformed value: {dropped}"));
                let responder = addressed(to);
                let back = WayBack { responder, caller: from, reference, compression: None };
                self.respond_now(back, Err(reason));
                return Err(dropped);
            }
        };
        let reply = ReplyTo::remote(self.clone(), from, reference, addressed(to));
        let envelope = Envelope::Request { from: self.peer_pid(from), payload, reply };
        // A request that cannot be delivered is answered by the end of its envelope.
        let delivered = match &target {
            Some(target) => router::deliver(self.node(), target, envelope, delivery.priority.into()),
            None => {
                discard(envelope);
                Err(SendError::ProcessUnknown)
            }
        };
        if let Err(error) = delivered {
            log!(self.log, DEBUG, peer = %self.peer.name, ?to, %error, "request for nobody");
        }
        Ok(())
    }

    fn exit_in(&self, from: u64, to: u64, payload: &[u8]) -> Result<(), Dropped> {
        if !self.permits(Operations::LINK) {
            return Err(Dropped::NotPermitted);
        }
        let reason: ErrorValue = self.decoder(payload).top()?;
        let exit = Exit {
            subject: Watched::Pid(self.peer_pid(from)),
            reason: ExitReason::from_text(&reason.text().to_string_lossy()),
            requested: true,
        };
        // An exit for a process that is gone has what it wanted.
        let _ = router::deliver(
            self.node(),
            &Target::Pid(self.own_pid(to)),
            Envelope::Exit(Box::new(exit)),
            Priority::Max,
        );
        Ok(())
    }

    /// Hands an answer that came with this code to whoever waits for it.
    fn answered(
        &self,
        from: u64,
        to: u64,
        delivery: Delivery,
        reference: [u64; 3],
        code: Code,
        answer: impl FnOnce() -> Answered,
    ) {
        let mut taken = None;
        let is_wanted = self.node().calls.answer(Awaited::Call(reference), || {
            let answer = answer();
            taken = delivery.important.then(|| verdict(code, &answer));
            answer
        });
        if delivery.important {
            self.acknowledge_answer(to, from, reference, delivery, taken.filter(|_| is_wanted));
        }
        if !is_wanted {
            log!(self.log, DEBUG, peer = %self.peer.name, "answer that nobody waits for");
        }
    }

    pub(super) fn refusal(&self, code: Code, payload: &[u8]) -> Answered {
        match code {
            Code::Ok => Ok(Payload::new(())),
            Code::UnknownProcess => Err(SendError::ProcessUnknown.into()),
            Code::MailboxFull => Err(SendError::MailboxFull.into()),
            Code::Terminated => Err(SendError::ProcessTerminated.into()),
            Code::Error => Err(CallError::Answer(self.decoder(payload).top()?)),
        }
    }

    pub(super) fn payload(&self, bytes: &[u8]) -> Result<Payload, DecodeError> {
        let mut decoder = self.decoder(bytes);
        let payload = decoder.payload()?;
        if !decoder.remaining().is_empty() {
            self.complain_of_more(&payload, decoder.remaining().len());
        }
        Ok(payload)
    }

    /// A value was read and bytes are left (`docs/wire/EDF.md` section 1): it may
    /// be one of a type that has got further fields at its end, but as well one
    /// that means something else here.
    #[cold]
    fn complain_of_more(&self, payload: &Payload, left: usize) {
        if let Some(unsaid) = self.node().network.complaints.about((self.peer.name, Matter::LeftOver)) {
            let (peer, value) = (self.peer.name, payload.label());
            log!(
                self.log, WARN, %peer, value, left, unsaid,
                "bytes follow the value, which may be wrong: compare the fields of this type, their order and \
                 their widths with those of the peer's"
            );
        }
    }

    pub(super) fn decoder<'a>(&'a self, bytes: &'a [u8]) -> Decoder<'a> {
        Decoder::new(bytes, &self.decode, &self.node().registry)
    }

    pub(super) fn peer_pid(&self, id: u64) -> Pid {
        Pid { node: self.peer.name, id, creation: self.peer.creation }
    }

    fn own_pid(&self, id: u64) -> Pid {
        Pid { node: self.node().name, id, creation: self.node().creation }
    }

    /// What the peer addresses here; nothing if nobody here ever had that name.
    fn own(&self, to: enp::Target<'_>) -> Result<Option<Target>, Dropped> {
        Ok(Some(match to {
            enp::Target::Pid(id) => Target::Pid(self.own_pid(id)),
            enp::Target::Alias(id) => {
                Target::Alias(Alias { node: self.node().name, creation: self.node().creation, id })
            }
            enp::Target::Name(name) => {
                let Some(name) = self.existing_name(name)? else { return Ok(None) };
                Target::Name(ProcessId { name, node: Atom::empty() })
            }
        }))
    }

    /// A name in a frame, as it is known here; nothing if nobody here ever had
    /// that name.
    pub(super) fn existing_name(&self, name: Name<'_>) -> Result<Option<Atom>, Dropped> {
        let wire = match name {
            Name::Cached(id) => self.decode.atom(id).ok_or(Dropped::UnknownAtom(id))?,
            Name::Inline(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| Dropped::NameNotUtf8)?;
                // Not interned: a peer's guesses fill no table.
                let Some(name) = Atom::existing(text) else { return Ok(None) };
                name
            }
        };
        Ok(Some(self.decode.mapping.as_ref().map_or(wire, |mapping| mapping.local(wire))))
    }
}

/// Decoding runs what users wrote: a panic of theirs costs that frame, not the
/// link and what else has come over it.
fn contained<T>(work: impl FnOnce() -> Result<T, Dropped>) -> Result<T, Dropped> {
    caught(work).unwrap_or_else(|panic| Err(Dropped::Panicked(panic)))
}

/// The number of the addressed process, if it was addressed by number.
pub(super) fn addressed(to: enp::Target<'_>) -> u64 {
    match to {
        enp::Target::Pid(id) => id,
        enp::Target::Name(_) | enp::Target::Alias(_) => 0,
    }
}
