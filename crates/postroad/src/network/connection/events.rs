//! What is published across a connection (`docs/wire/ENP.md` section 8
//! "Events"): one frame for each node, whatever the number of its subscribers.

use std::sync::Arc;

use postroad_edf::Payload;
use postroad_wire::enp::any::{LastEvents, PublishedEvent};
use postroad_wire::enp::{self, Head};

use super::dispatch::Dropped;
use super::send::Placed;
use super::{Connection, Outgoing, log};
use crate::actor::Watched;
use crate::error::{RelationError, SendError};
use crate::event::{FanOut, Published};
use crate::process::{Process, Relation};
use crate::{Event, Pid};

impl Connection {
    /// Sends a publication to the peer, now or not at all: [`SendError::Busy`]
    /// if too much waits there already. Whether its publisher should
    /// [wait](Self::catch_up).
    pub(crate) fn publish(&self, outgoing: Outgoing, published: &Published) -> Result<bool, SendError> {
        let Outgoing { from, priority, compression, .. } = outgoing;
        let name = self.wire_name(published.event().name);
        let head = Head::Event { from, priority: priority.into(), timestamp: published.timestamp(), name };
        let message = published.shared();
        match self.append(from, false, |out| self.write(out, &head, compression, &message))? {
            Placed::Done => Ok(self.slots[self.slot_of(from)].is_slow()),
            Placed::Full => Err(SendError::Busy { node: self.peer.name }),
        }
    }

    /// Waits until what was published has gone out, but for as much as any
    /// sender may leave behind.
    ///
    /// Cancel safe.
    pub(crate) async fn catch_up(&self, from: u64) {
        let slot = &self.slots[self.slot_of(from)];
        loop {
            let mut room = std::pin::pin!(slot.room());
            room.as_mut().enable();
            if !slot.is_congested() {
                return;
            }
            room.await;
        }
    }

    /// The peer has not caught up in time: it is not waited for until it has.
    pub(crate) fn note_lag(&self, from: u64) {
        self.slots[self.slot_of(from)].note_lag();
    }

    /// The peer has published something: each of its subscribers here gets it.
    /// One for very many is left in `wide`: for [`fan_out`](Self::fan_out), before
    /// anything else that comes over this link.
    pub(super) fn event_in(
        &self,
        from: u64,
        priority: enp::Priority,
        timestamp: i64,
        name: enp::Name<'_>,
        payload: &[u8],
        wide: &mut Option<FanOut>,
    ) -> Result<(), Dropped> {
        let Some(name) = self.existing_name(name)? else { return Ok(()) };
        let Some(subscribers) = self.relations.subscribers(name) else { return Ok(()) };
        let event = Event { name, node: self.peer.name };
        let message = Arc::new(self.payload(payload)?);
        let published = Published::new(event, self.peer_pid(from), timestamp, message);
        let mut fan_out = FanOut::new(subscribers, published, priority.into());
        if fan_out.is_wide() {
            *wide = Some(fan_out);
        } else {
            fan_out.reach_all_at_once();
            self.note_refused(&fan_out);
        }
        Ok(())
    }

    /// Hands a publication to very many, and lets others run in between.
    ///
    /// Cancel safe: who has not got it gets it when this is dropped.
    pub(super) async fn fan_out(&self, mut fan_out: FanOut) {
        fan_out.reach_all().await;
        self.note_refused(&fan_out);
    }

    fn note_refused(&self, fan_out: &FanOut) {
        let missed = fan_out.refused();
        if missed > 0 {
            log!(self.log, DEBUG, peer = %self.peer.name, missed, "a publication found mailboxes full");
        }
    }

    /// Has a process get what the peer publishes; what it has published last.
    ///
    /// Cancel safe: a subscription that is not made is taken back.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        process: &Arc<Process>,
        event: Event,
        relation: Relation,
    ) -> Result<Vec<Published>, RelationError> {
        let answer = self.watch(process, Watched::Event(event), relation).await?;
        let last = match answer.downcast::<LastEvents>() {
            Ok(last) => last.unwrap_or_default(),
            Err(other) => {
                log!(self.log, WARN, peer = %self.peer.name, %event, got = other.label(), "no list of publications");
                Vec::new()
            }
        };
        let core = self.peer_pid(Pid::CORE);
        let published = |PublishedEvent { timestamp, message, .. }| {
            Published::new(event, core, timestamp, Arc::new(message))
        };
        Ok(last.into_iter().map(published).collect())
    }
}

/// What was published last, as an answer carries it. By nothing at all, not
/// even an empty list, Ergo since 3.2.0 knows an event that keeps nothing, and
/// does not ask again for further subscribers.
pub(super) fn last_events(last: Option<Vec<Published>>) -> Payload {
    let event = |published: Published| PublishedEvent {
        event: published.event(),
        timestamp: published.timestamp(),
        message: Payload::new(published.shared()),
    };
    Payload::new(last.map(|last| last.into_iter().map(event).collect::<Vec<_>>()))
}
