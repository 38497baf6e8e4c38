//! `#[derive(Message)]` for postroad.
