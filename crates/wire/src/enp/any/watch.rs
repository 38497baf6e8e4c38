//! Links and monitors over the network (`docs/wire/ENP.md` section 8).

use postroad_edf::{Alias, Edf as _, EncodeError, Encoder, Event, Message, Payload, Pid, ProcessId, Ref};

use crate::enp::order;

/// A wish to be told when something ends, or to be told no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// What is wished.
    pub verb: Verb,
    /// The process of the asking node that will be told.
    pub source: Pid,
    /// What is to be watched.
    pub target: WatchTarget,
    /// What the answer brings back.
    pub reference: Ref,
}

/// What is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// The source ends when the target does.
    Link,
    /// Not any more.
    Unlink,
    /// The source is told when the target ends.
    Monitor,
    /// Not any more.
    Demonitor,
}

/// What is to be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchTarget {
    /// A process.
    Pid(Pid),
    /// A registered name.
    Name(ProcessId),
    /// An alias.
    Alias(Alias),
    /// An event, which is also received from then on.
    Event(Event),
}

impl Watch {
    pub(super) fn order(&self) -> u8 {
        match (self.verb, self.target) {
            (Verb::Link | Verb::Unlink, WatchTarget::Pid(target)) => order(target.id),
            (_, WatchTarget::Alias(target)) => order(target.id[0]),
            _ => 0,
        }
    }
}

/// One struct for each verb and kind of target: so they are on the wire.
macro_rules! on_the_wire {
    ($($verb:ident $target:ident: $name:ident($of:ty) = $wire:literal;)*) => {
        $(
            #[derive(Message)]
            #[message(name = $wire)]
            struct $name {
                source: Pid,
                target: $of,
                reference: Ref,
            }
        )*

        impl Watch {
            /// Takes a watch out of a decoded payload; others come back whole.
            pub(super) fn from_payload(payload: Payload) -> Result<Self, Payload> {
                $(
                    let payload = match payload.downcast::<$name>() {
                        Ok($name { source, target, reference }) => {
                            let target = WatchTarget::$target(target);
                            return Ok(Self { verb: Verb::$verb, source, target, reference });
                        }
                        Err(other) => other,
                    };
                )*
                Err(payload)
            }

            pub(super) fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                let Self { source, reference, .. } = *self;
                match (self.verb, self.target) {
                    $(
                        (Verb::$verb, WatchTarget::$target(target)) => {
                            $name { source, target, reference }.encode_top(out)
                        }
                    )*
                }
            }
        }
    };
}

on_the_wire! {
    Link Pid: LinkPid(Pid) = "#ergo.services/ergo/net/proto/MessageLinkPID";
    Unlink Pid: UnlinkPid(Pid) = "#ergo.services/ergo/net/proto/MessageUnlinkPID";
    Link Name: LinkName(ProcessId) = "#ergo.services/ergo/net/proto/MessageLinkProcessID";
    Unlink Name: UnlinkName(ProcessId) = "#ergo.services/ergo/net/proto/MessageUnlinkProcessID";
    Link Alias: LinkAlias(Alias) = "#ergo.services/ergo/net/proto/MessageLinkAlias";
    Unlink Alias: UnlinkAlias(Alias) = "#ergo.services/ergo/net/proto/MessageUnlinkAlias";
    Link Event: LinkEvent(Event) = "#ergo.services/ergo/net/proto/MessageLinkEvent";
    Unlink Event: UnlinkEvent(Event) = "#ergo.services/ergo/net/proto/MessageUnlinkEvent";
    Monitor Pid: MonitorPid(Pid) = "#ergo.services/ergo/net/proto/MessageMonitorPID";
    Demonitor Pid: DemonitorPid(Pid) = "#ergo.services/ergo/net/proto/MessageDemonitorPID";
    Monitor Name: MonitorName(ProcessId) = "#ergo.services/ergo/net/proto/MessageMonitorProcessID";
    Demonitor Name: DemonitorName(ProcessId) = "#ergo.services/ergo/net/proto/MessageDemonitorProcessID";
    Monitor Alias: MonitorAlias(Alias) = "#ergo.services/ergo/net/proto/MessageMonitorAlias";
    Demonitor Alias: DemonitorAlias(Alias) = "#ergo.services/ergo/net/proto/MessageDemonitorAlias";
    Monitor Event: MonitorEvent(Event) = "#ergo.services/ergo/net/proto/MessageMonitorEvent";
    Demonitor Event: DemonitorEvent(Event) = "#ergo.services/ergo/net/proto/MessageDemonitorEvent";
}
