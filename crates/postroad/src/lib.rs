//! Distributed actors over roads you control.

pub mod network;
pub mod registrar;

pub use postroad_edf::Atom;
pub use postroad_wire::Cookie;
