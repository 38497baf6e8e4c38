//! What proves the right to publish.

use std::fmt;

use postroad_edf::{DecodeError, Decoder, Edf, EncodeError, Encoder, Type};
use rand::Rng;

use crate::Ref;
use crate::node::NodeInner;

/// The right to publish an event, which whoever has it may give away.
///
/// It cannot be guessed, and is not shown by `Debug`. In a message it travels
/// as a [`Ref`], as in Ergo; the event can be published on its own node only.
#[derive(Clone, Copy)]
pub struct EventToken(Ref);

impl EventToken {
    pub(super) fn new(node: &NodeInner) -> Self {
        Self(Ref { node: node.name, creation: node.creation, id: rand::rng().random() })
    }

    /// Whether it is the same one. Takes as long wherever they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        let differing = self.0.id.iter().zip(other.0.id).fold(0, |differing, (a, b)| differing | (a ^ b));
        differing == 0 && self.0.node == other.0.node && self.0.creation == other.0.creation
    }
}

impl fmt::Debug for EventToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventToken(..)")
    }
}

/// A token that came as a message of its own from another node, which does not
/// say what it is.
impl From<Ref> for EventToken {
    fn from(reference: Ref) -> Self {
        Self(reference)
    }
}

impl From<EventToken> for Ref {
    fn from(token: EventToken) -> Self {
        token.0
    }
}

impl Edf for EventToken {
    const MIN_SIZE: usize = Ref::MIN_SIZE;

    fn type_of() -> Type {
        Ref::type_of()
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.0.encode(out)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ref::decode(input).map(Self)
    }
}
