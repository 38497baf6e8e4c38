//! What travels in Any frames: requests between nodes, and their answers
//! (`docs/wire/ENP.md` section 8).
//!
//! Every request carries a reference, and its answer brings it back unchanged;
//! answer every one, also with a refusal. Check that the source of a request is
//! of the peer's node and its target of the own one: nothing here does.

mod application;
mod description;
mod generation;
mod spawn;
mod watch;

use postroad_edf::{
    DecodeError, DecodeTables, Decoder, Edf as _, EncodeError, Encoder, ErrorValue, Event, Message, Opaque,
    Payload, Ref, RegisterError, Registry,
};

pub use application::{ApplicationInfo, ApplicationMode, ApplicationOptions, ApplicationStart};
pub use description::{ApplicationDepends, ApplicationDescription};
pub use generation::Generation;
pub use spawn::{Compression, Environment, Fallback, ProcessOptions, Spawn, Tracing};
pub use watch::{Verb, Watch, WatchTarget};

/// The payload of an Any frame.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyMessage {
    /// The peer wants something, and an [`Answer`].
    Request(Request),
    /// The peer answers.
    Answer(Answer),
    /// Something else; to be ignored.
    Unknown(Payload),
}

/// What one node asks another for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// To tell when something ends, or not any more.
    Watch(Watch),
    /// To start a process.
    Spawn(Box<Spawn>),
    /// To start an application.
    ApplicationStart(Box<ApplicationStart>),
    /// To describe an application (3.2.0).
    ApplicationInfo(ApplicationInfo),
}

/// `proto/MessageResult`: the answer to a request.
#[derive(Debug, Message)]
#[message(name = "#ergo.services/ergo/net/proto/MessageResult")]
pub struct Answer {
    /// Why not, or nothing if it was done.
    pub error: Option<ErrorValue>,
    /// What came of it: `()` for nothing, the new [`Pid`](postroad_edf::Pid) of
    /// a spawn, [`LastEvents`] of an event that is watched from now on, an
    /// [`ApplicationDescription`].
    pub result: Payload,
    /// The reference of the request.
    pub reference: Ref,
}

/// `gen/MessageEvent`: something that was published as an event.
#[derive(Debug, Message)]
#[message(name = "#ergo.services/ergo/gen/MessageEvent")]
pub struct PublishedEvent {
    /// The event.
    pub event: Event,
    /// When it was published, in Unix nanoseconds.
    pub timestamp: i64,
    /// What was published.
    pub message: Payload,
}

/// The last things published as an event, oldest first; Ergo says nil for none.
pub type LastEvents = Option<Vec<PublishedEvent>>;

/// Makes `registry` read [`LastEvents`] as what they are.
///
/// # Errors
/// If the program has its own idea of a slice of published events.
pub fn register(registry: &Registry) -> Result<(), RegisterError> {
    registry.register::<LastEvents>()
}

impl AnyMessage {
    /// Reads the payload of an Any frame.
    ///
    /// `generation` is that of the peer that sent it.
    ///
    /// # Errors
    /// The message is to be dropped; the link lives on.
    pub fn decode(
        payload: &[u8],
        generation: Generation,
        tables: &DecodeTables,
        registry: &Registry,
    ) -> Result<Self, DecodeError> {
        let input = || Decoder::new(payload, tables, registry);
        // The layout of these depends on the peer's release, so whatever a
        // registry may know of them does not count.
        let Opaque { name, bytes, .. } = input().top()?;
        let mut fields = Decoder::new(&bytes, tables, registry);
        let request = match &*name {
            spawn::TYPE_NAME => Request::Spawn(Box::new(Spawn::decode(&mut fields, generation)?)),
            application::START_TYPE_NAME => {
                Request::ApplicationStart(Box::new(ApplicationStart::decode(&mut fields, generation)?))
            }
            application::INFO_TYPE_NAME => Request::ApplicationInfo(ApplicationInfo::decode(&mut fields)?),
            Answer::TYPE_NAME => return Answer::read(&mut fields).map(Self::Answer),
            _ => {
                let watch = Watch::from_payload(input().payload()?).map(Request::Watch);
                return Ok(watch.map_or_else(Self::Unknown, Self::Request));
            }
        };
        Ok(Self::Request(request))
    }
}

impl Answer {
    const TYPE_NAME: &'static str = "#ergo.services/ergo/net/proto/MessageResult";

    /// Reads the fields. Within them only registered types can be read, and the
    /// one type that comes as a result is not.
    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let error = Option::decode(input)?;
        let result = match ApplicationDescription::match_fold(&mut input.clone())? {
            true => Payload::new(input.top::<ApplicationDescription>()?),
            false => Payload::decode(input)?,
        };
        Ok(Self { error, result, reference: Ref::decode(input)? })
    }
}

impl Request {
    /// Writes the payload of an Any frame for a peer of the given generation.
    ///
    /// # Errors
    /// If a value in it cannot be encoded, or the peer's release has no such
    /// request. The buffer then holds a part of it, which
    /// [`write`](super::write()) cuts off.
    pub fn encode(&self, generation: Generation, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Watch(watch) => watch.encode(out),
            Self::Spawn(spawn) => spawn.encode(generation, out),
            Self::ApplicationStart(start) => start.encode(generation, out),
            Self::ApplicationInfo(info) => info.encode(out),
        }
    }

    /// The reference that the answer brings back.
    pub fn reference(&self) -> Ref {
        match self {
            Self::Watch(watch) => watch.reference,
            Self::Spawn(spawn) => spawn.reference,
            Self::ApplicationStart(start) => start.reference,
            Self::ApplicationInfo(info) => info.reference,
        }
    }

    /// The order byte of the frame (`docs/wire/ENP.md` section 8): by target
    /// where that has a number, so that link and unlink stay in order.
    pub fn order(&self) -> u8 {
        match self {
            Self::Watch(watch) => watch.order(),
            _ => 0,
        }
    }
}
