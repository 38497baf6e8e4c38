//! The Ergo Data Format: terms, codec, caches and the type registry.
//!
//! Everything here is bytes and values: no sockets, no clock, no task. The
//! format itself is specified in `docs/wire/EDF.md`; code cites its sections.

mod any;
mod atom;
mod composite;
mod decoder;
mod edf;
mod encoder;
mod error_value;
#[cfg(feature = "json")]
mod json;
mod marshal;
mod opaque;
mod payload;
mod registry;
mod scalar;
mod schema;
mod tables;
mod tag;
mod term;
mod text;
mod time;
mod ty;
mod type_name;
mod value;

pub use atom::{Atom, AtomError};
pub use decoder::{DecodeError, Decoder, Limits};
pub use edf::{Edf, Message, Nilable, Registered};
pub use encoder::{EncodeError, Encoder, MarshalFailure, Mismatch};
pub use error_value::ErrorValue;
pub use marshal::{Marshal, MarshalError};
pub use opaque::Opaque;
pub use payload::Payload;
pub use postroad_edf_derive::Message;
pub use registry::{RegisterError, Registry};
pub use schema::{Definition, Field, Schema};
pub use tables::{AtomMapping, AtomMappingError, DecodeTables, EncodeTables, Features};
pub use term::{Alias, Event, Pid, ProcessId, Ref};
pub use text::Text;
pub use time::{Time, TimeRangeError};
pub use ty::{ParseTypeError, Type};
pub use type_name::{TypeName, TypeNameError};
pub use value::{Array, Map, Named, Pointer, Slice, Struct, Value};

#[doc(hidden)]
pub use registry::Registrar;

/// What `#[derive(Message)]` writes code with. Not for use by hand.
#[doc(hidden)]
pub mod derived {
    pub use inventory;

    pub use crate::encoder::Marker;
    pub use crate::marshal::{decode, encode};
    pub use crate::registry::{Registrar, Registration};
    pub use crate::type_name::{LazyTypeName, instance_name};
}
