//! Messages that somebody else is to handle.

use postroad_edf::Payload;

use crate::error::SendError;

/// A message or request that could not be
/// [forwarded](crate::Context::forward), and why.
#[derive(Debug, thiserror::Error)]
#[error("not forwarded: {error}")]
#[non_exhaustive]
pub struct Unforwarded {
    /// What was to be handed on.
    pub payload: Payload,
    /// Why it was not.
    #[source]
    pub error: SendError,
}
