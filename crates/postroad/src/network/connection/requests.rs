//! What the peer's node asks of this one: links and monitors, processes and
//! applications (`docs/wire/ENP.md` section 8).
//!
//! Nothing of it is granted in this version. Who asks is told so at once,
//! instead of waiting for an answer until it loses patience.

use postroad_edf::{ErrorValue, Opaque, Payload, Pid};
use postroad_wire::NetworkFlags;
use postroad_wire::enp;
use postroad_wire::enp::any::{Answer, AnyMessage, LastEvents, Request, Verb, Watch, WatchTarget};
use postroad_wire::tunnel::Operations;

use super::dispatch::Dropped;
use super::{Connection, log};
use crate::Atom;

impl Connection {
    /// Handles the payload of an Any frame.
    pub(super) fn any_in(&self, payload: &[u8]) -> Result<(), Dropped> {
        let registry = &self.node().registry;
        match AnyMessage::decode(payload, self.peer.generation, &self.decode, registry)? {
            AnyMessage::Request(request) => self.refuse(&request),
            AnyMessage::Answer(answer) => {
                log!(self.log, DEBUG, peer = %self.peer.name, reference = %answer.reference, "answer to no request");
            }
            AnyMessage::Unknown(payload) => return Err(Dropped::UnknownRequest(name(&payload))),
            other => return Err(Dropped::UnknownRequest(format!("{other:?}"))),
        }
        Ok(())
    }

    fn refuse(&self, request: &Request) {
        let Terms { asker, target, order, link, nothing } = Terms::of(request);
        // Ergo does not check these, and serves as a relay.
        let is_between_us = asker.is_none_or(|asker| asker.node == self.peer.name)
            && target.is_none_or(|node| node == self.node().name);
        let is_allowed = self.allowed.allows(permission(request)) && self.permits(operation(request));
        let why = if is_between_us && is_allowed { "not supported" } else { "not allowed" };
        let reference = request.reference();
        log!(self.log, DEBUG, peer = %self.peer.name, %reference, why, "request refused");
        let answer = Answer { error: Some(ErrorValue::new(why)), result: nothing, reference };
        self.respond_any(order, link, &answer);
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

/// What matters of a request for its answer.
struct Terms {
    /// For whom it is.
    asker: Option<Pid>,
    /// The node that what it is about is on.
    target: Option<Atom>,
    /// The order byte of the answer.
    order: u8,
    /// What the link of the answer is chosen by.
    link: u64,
    /// What the answer carries beside an error.
    nothing: Payload,
}

impl Terms {
    fn of(request: &Request) -> Self {
        let unordered = Self { asker: None, target: None, order: 0, link: 0, nothing: Payload::new(()) };
        match request {
            Request::Watch(watch) => Self::of_watch(watch),
            Request::Spawn(spawn) => Self {
                asker: Some(spawn.parent),
                order: enp::order(spawn.parent.id),
                nothing: Payload::new(Pid { node: Atom::empty(), id: 0, creation: 0 }),
                ..unordered
            },
            Request::ApplicationStart(start) => Self { asker: Some(start.core), ..unordered },
            _ => unordered,
        }
    }

    fn of_watch(watch: &Watch) -> Self {
        let (target, link) = match watch.target {
            WatchTarget::Pid(pid) => (pid.node, pid.id),
            WatchTarget::Name(process) => (process.node, 0),
            WatchTarget::Alias(alias) => (alias.node, alias.id[0]),
            WatchTarget::Event(event) => (event.node, 0),
        };
        let nothing = match (watch.verb, watch.target) {
            (Verb::Link | Verb::Monitor, WatchTarget::Event(_)) => Payload::new(LastEvents::None),
            _ => Payload::new(()),
        };
        let asker = watch.source;
        Self { asker: Some(asker), target: Some(target), order: enp::order(asker.id), link, nothing }
    }
}

/// The name of a value's type, as the peer knows it if nobody here does.
fn name(payload: &Payload) -> String {
    payload.downcast_ref::<Opaque>().map_or(payload.type_name(), |opaque| &opaque.name).to_owned()
}
