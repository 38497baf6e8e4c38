//! Distributed actors over roads you control.
pub mod network;
