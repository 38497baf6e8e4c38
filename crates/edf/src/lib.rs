//! The Ergo Data Format: terms, codec, caches and the type registry.
//!
//! Everything here is bytes and values: no sockets, no clock, no task. The
//! format itself is specified in `docs/wire/EDF.md`; code cites its sections.
//!
//! # A message
//!
//! A message is a Rust type with a name on the wire. Nodes written in Go know
//! the same type as `#<package path>/<Type>`.
//!
//! ```
//! use postroad_edf::{DecodeTables, Decoder, EncodeTables, Encoder, Message, Pid, Registry};
//!
//! #[derive(Message, Debug, PartialEq)]
//! #[message(name = "#main/Order")]
//! struct Order {
//!     id: u64,
//!     items: Vec<String>,
//!     note: Option<Vec<String>>,
//! }
//!
//! let order = Order { id: 7, items: vec!["tea".into()], note: None };
//! let mut bytes = Vec::new();
//! Encoder::new(&mut bytes, &EncodeTables::default()).top(&order)?;
//!
//! let (tables, registry) = (DecodeTables::default(), Registry::new());
//! let read: Order = Decoder::new(&bytes, &tables, &registry).top()?;
//! assert_eq!(read, order);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Integers keep their width: Go's `int` is [`isize`] and its `uint` [`usize`],
//! not `i64` and `u64`. Only what can be nil in Go goes into an `Option`:
//! slices, maps, errors, `any` and pointers. `any` is [`Value`] or [`Payload`].
//! The derive macro tells the rest: [`macro@Message`].
//!
//! # A message of any type
//!
//! Whoever receives does not know what comes. [`Decoder::payload`] gives the
//! Rust type that the [`Registry`] has for the name, inside a [`Payload`].
//!
//! ```
//! # use postroad_edf::{DecodeTables, Decoder, EncodeTables, Encoder, Message, Opaque, Registry};
//! # #[derive(Message, Debug, PartialEq)]
//! # #[message(name = "#main/BareOrder")]
//! # struct Order { id: u64 }
//! # let (tables, registry) = (DecodeTables::default(), Registry::new());
//! # let mut bytes = Vec::new();
//! # Encoder::new(&mut bytes, &EncodeTables::default()).top(&Order { id: 7 })?;
//! let payload = Decoder::new(&bytes, &tables, &registry).payload()?;
//! assert_eq!(payload.downcast_ref::<Order>(), Some(&Order { id: 7 }));
//!
//! // A type that nobody knows here stays what it is.
//! let stranger = b"\x83\x00\x06#a/Any\x01\x02";
//! let payload = Decoder::new(stranger, &tables, &registry).payload()?;
//! let opaque = payload.downcast::<Opaque>().expect("nobody has registered it");
//! assert_eq!((&*opaque.name, &opaque.bytes[..]), ("#a/Any", &[1, 2][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A type known at run time
//!
//! EDF does not describe itself, so a [`Value`] needs a [`Schema`].
//!
//! ```
//! use postroad_edf::{DecodeTables, Decoder, Field, Registry, Schema, TypeName, Value};
//!
//! let registry = Registry::new();
//! let fields = vec![Field::new("Celsius", "float32".parse()?), Field::new("At", "atom".parse()?)];
//! registry.register_schema(TypeName::new("#lab/Reading")?, Schema::Struct(fields))?;
//!
//! let bytes = b"\x83\x00\x0c#lab/Reading\x41\xac\x00\x00\x00\x04roof";
//! let tables = DecodeTables::default();
//! let Value::Struct(reading) = Decoder::new(bytes, &tables, &registry).value()? else {
//!     unreachable!("the schema says it is a struct")
//! };
//! assert_eq!(reading.get("Celsius"), Some(&Value::Float32(21.5)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A connection
//!
//! Two nodes announce numbers for the atoms, types and errors that they will
//! send, and each may send other names than it uses itself. [`EncodeTables`]
//! holds what this side announced, [`DecodeTables`] what the other one did,
//! and with it the [`Limits`] for what comes from there.
//!
//! ```
//! use postroad_edf::{Atom, AtomMapping, EncodeTables, Encoder};
//!
//! let mut tables = EncodeTables::default();
//! tables.insert_atom(Atom::new("outside@example.com")?, 300);
//! tables.mapping = Some(AtomMapping::new([(Atom::new("inside@10.0.0.7")?, Atom::new("outside@example.com")?)])?);
//!
//! let mut bytes = Vec::new();
//! Encoder::new(&mut bytes, &tables).top(&Atom::new("inside@10.0.0.7")?)?;
//! assert_eq!(bytes, [0x8c, 0x01, 0x2c]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `json` adds `Value::to_json`.

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
pub use decoder::{DecodeError, Decoder, Limits, Unreadable};
pub use edf::{Edf, Message, Nilable, Registered};
pub use encoder::{EncodeError, Encoder, MarshalFailure, Mismatch};
pub use error_value::ErrorValue;
pub use marshal::{Marshal, MarshalError};
pub use opaque::Opaque;
pub use payload::Payload;
pub use postroad_edf_derive::Message;
#[doc(hidden)]
pub use postroad_edf_derive::PostroadMessage;
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

    /// Nil, for all types with a name that can be nil.
    pub const NIL: &[u8] = &[crate::tag::NIL];
}
