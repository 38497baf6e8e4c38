//! Everything that was recorded from Ergo itself, replayed.
//!
//! The tests read every file of their kind in `vectors/`, and also in the
//! folder that the environment variable `POSTROAD_VECTORS` names.

#![allow(clippy::unwrap_used, reason = "a recording that cannot be read fails the test")]

mod frames;
mod handshakes;
mod recorded;
mod registrar;
mod requests;
