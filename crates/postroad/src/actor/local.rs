//! Messages that stay on their node.

use postroad_edf::{DecodeError, Decoder, Edf, EncodeError, Encoder, Type};

/// Carries what has no EDF form, as closures have none, to a process of this
/// node. To another node it cannot be sent, and from there none can come.
#[derive(Debug)]
pub(crate) struct Local<T>(pub(crate) T);

impl<T: Send + 'static> Edf for Local<T> {
    const MIN_SIZE: usize = 0;

    fn type_of() -> Type {
        Type::Any
    }

    fn encode(&self, _: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Err(EncodeError::Local(std::any::type_name::<T>()))
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Err(DecodeError::EndOfData)
    }
}
