//! The Ergo Data Format: terms, codec, caches and the type registry.
//!
//! Everything here is bytes and values: no sockets, no clock, no task. The
//! format itself is specified in `docs/wire/EDF.md`; code cites its sections.

mod atom;
mod payload;
mod term;

pub use atom::{Atom, AtomError};
pub use payload::Payload;
pub use term::{Alias, Event, Pid, ProcessId, Ref};
