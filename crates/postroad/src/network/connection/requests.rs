//! What the peer's node asks of this one: links and monitors, processes and
//! applications (`docs/wire/ENP.md` section 8).
//!
//! Every request is answered: who is refused is told so at once, instead of
//! waiting for an answer until it loses patience.

use std::sync::Arc;

use postroad_edf::{Payload, Pid, Ref};
use postroad_wire::NetworkFlags;
use postroad_wire::enp;
use postroad_wire::enp::any::{Answer, AnyMessage, LastEvents, Request, Verb, Watch, WatchTarget};
use postroad_wire::tunnel::Operations;

use super::dispatch::Dropped;
use super::{Connection, log};
use crate::Atom;
use crate::actor::Watched;
use crate::error::SendError;
use crate::network::Refusal;

impl Connection {
    /// Handles the payload of an Any frame.
    pub(super) fn any_in(self: &Arc<Self>, payload: &[u8]) -> Result<(), Dropped> {
        let registry = &self.node().registry;
        let tables = self.asking.as_ref().map_or(&self.decode, |tables| &tables.1);
        match AnyMessage::decode(payload, self.peer.generation, tables, registry)? {
            AnyMessage::Request(request) => self.asked(request),
            AnyMessage::Answer(answer) => self.answer_in(answer),
            AnyMessage::Unknown(payload) => return Err(Dropped::UnknownRequest(payload.label())),
            other => return Err(Dropped::UnknownRequest(format!("{other:?}"))),
        }
        Ok(())
    }

    fn asked(self: &Arc<Self>, request: Request) {
        let answer_to = AnswerTo::of(&request);
        let allowed = self.allowed.allows(permission(&request)) && self.permits(operation(&request));
        if !self.is_between_us(&request) || !allowed {
            return self.refuse(answer_to, Refusal::NotAllowed);
        }
        match request {
            Request::Watch(watch) => match self.watch_in(&watch) {
                Ok(result) => self.grant(answer_to, result),
                Err(why) => self.refuse(answer_to, why),
            },
            Request::Spawn(spawn) => self.spawn_asked(*spawn, answer_to),
            Request::ApplicationStart(start) => self.application_start_asked(*start, answer_to),
            Request::ApplicationInfo(info) => self.application_info_asked(&info, answer_to),
            _ => self.refuse(answer_to, Refusal::NotSupported),
        }
    }

    /// Whether the peer asks for itself, about something of this node. Ergo
    /// does not check that, and serves as a relay.
    fn is_between_us(&self, request: &Request) -> bool {
        let (asker, target) = match request {
            Request::Watch(watch) => (watch.source.node, Watched::from(watch.target).node()),
            Request::Spawn(spawn) => (spawn.parent.node, self.node().name),
            Request::ApplicationStart(start) => (start.core.node, self.node().name),
            _ => (self.peer.name, self.node().name),
        };
        asker == self.peer.name && target == self.node().name
    }

    /// Tells the peer that what it asked for is done.
    pub(super) fn grant(&self, answer_to: AnswerTo, result: Payload) {
        let AnswerTo { reference, order, link, nothing } = answer_to;
        match self.respond_any(order, link, &Answer { error: None, result, reference }) {
            // What was published before may be too much for one frame. Who subscribes does so all the same.
            Err(error @ (SendError::TooLarge { .. } | SendError::Encode(_))) => {
                log!(self.log, WARN, peer = %self.peer.name, %reference, %error, "answered without its result");
                // By no list at all it would be an event that keeps nothing.
                let result = if nothing.is::<LastEvents>() {
                    Payload::new(LastEvents::Some(Vec::new()))
                } else {
                    nothing
                };
                self.log_unsent(self.respond_any(order, link, &Answer { error: None, result, reference }));
            }
            sent => self.log_unsent(sent),
        }
    }

    /// Tells the peer that it does not get what it asked for.
    pub(super) fn refuse(&self, answer_to: AnswerTo, why: Refusal) {
        let AnswerTo { reference, order, link, nothing } = answer_to;
        log!(self.log, DEBUG, peer = %self.peer.name, %reference, %why, "request refused");
        let answer = Answer { error: Some(why.into()), result: nothing, reference };
        self.log_unsent(self.respond_any(order, link, &answer));
    }
}

/// What the peer must be allowed to do for a request.
fn permission(request: &Request) -> NetworkFlags {
    match request {
        Request::Spawn(_) => NetworkFlags::REMOTE_SPAWN,
        Request::ApplicationStart(_) => NetworkFlags::REMOTE_APPLICATION_START,
        _ => NetworkFlags::NONE,
    }
}

/// What a tunnel must permit for a request.
fn operation(request: &Request) -> Operations {
    match request {
        Request::Spawn(_) => Operations::SPAWN,
        Request::ApplicationStart(_) => Operations::APPLICATION_START,
        Request::Watch(watch) if matches!(watch.verb, Verb::Link | Verb::Unlink) => Operations::LINK,
        Request::Watch(_) => Operations::MONITOR,
        _ => Operations::NONE,
    }
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub(super) struct AnswerTo {
    reference: Ref,
    /// The order byte.
    order: u8,
    /// What the link is chosen by.
    link: u64,
    /// What a refusal carries beside its reason.
    nothing: Payload,
}

impl AnswerTo {
    fn of(request: &Request) -> Self {
        let unordered = Self { reference: request.reference(), order: 0, link: 0, nothing: Payload::new(()) };
        match request {
            Request::Watch(watch) => Self::of_watch(watch),
            Request::Spawn(spawn) => Self {
                order: enp::order(spawn.parent.id),
                nothing: Payload::new(Pid { node: Atom::empty(), id: 0, creation: 0 }),
                ..unordered
            },
            _ => unordered,
        }
    }

    fn of_watch(watch: &Watch) -> Self {
        let link = match watch.target {
            WatchTarget::Pid(pid) => pid.id,
            WatchTarget::Alias(alias) => alias.id[0],
            WatchTarget::Name(_) | WatchTarget::Event(_) => 0,
        };
        let nothing = match (watch.verb, watch.target) {
            (Verb::Link | Verb::Monitor, WatchTarget::Event(_)) => Payload::new(LastEvents::None),
            _ => Payload::new(()),
        };
        Self { reference: watch.reference, order: enp::order(watch.source.id), link, nothing }
    }
}
