//! The network protocol: frames on links that have shaken hands
//! (`docs/wire/ENP.md`).
//!
//! * [`split`] cuts what a link brought into frames, [`Frame::parse`] reads one
//!   and [`write()`] appends one; none of them allocates.
//! * [`compress`] packs and unpacks frames, [`fragment`] takes large ones apart
//!   and puts them together.
//!
//! The payload of a frame is one EDF value. Only of those in Any frames, the
//! requests between nodes, does this crate know anything: [`any`].

pub mod any;
pub mod compress;
pub mod fragment;
mod frame;
mod kind;
mod parse;
mod split;
mod write;

pub use frame::{Code, Delivery, Frame, Head, Method, Name, Priority, Subject, Target, order};
pub use parse::FrameError;
pub use split::{HEADER_LEN, Split, SplitError, frames, is_end, order_byte, split};
pub use write::{WriteError, write};
