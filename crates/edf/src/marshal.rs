//! Types that bring their own bytes (`docs/wire/EDF.md` section 9).

use crate::decoder::Decoder;
use crate::encoder::MarshalFailure;
use crate::{DecodeError, EncodeError, Encoder, Registered};

/// What a [`Marshal`] implementation may fail with.
pub type MarshalError = Box<dyn std::error::Error + Send + Sync>;

/// A type with bytes of its own, for `#[message(marshal)]`. It stands for Go
/// types that implement `MarshalEDF` and `UnmarshalEDF`, or Go's
/// `MarshalBinary` and `UnmarshalBinary`.
///
/// ```
/// use postroad_edf::{Marshal, MarshalError, Message};
///
/// #[derive(Message)]
/// #[message(name = "#main/Color", marshal)]
/// struct Color([u8; 3]);
///
/// impl Marshal for Color {
///     fn marshal(&self, out: &mut Vec<u8>) -> Result<(), MarshalError> {
///         out.extend(self.0);
///         Ok(())
///     }
///
///     fn unmarshal(bytes: &[u8]) -> Result<Self, MarshalError> {
///         Ok(Self(bytes.try_into()?))
///     }
/// }
/// ```
pub trait Marshal: Sized {
    /// Appends the bytes of the value to `out`, which must be left alone
    /// otherwise.
    fn marshal(&self, out: &mut Vec<u8>) -> Result<(), MarshalError>;

    /// Makes a value of the bytes. They come from a peer: expect anything.
    fn unmarshal(bytes: &[u8]) -> Result<Self, MarshalError>;
}

#[doc(hidden)]
pub fn encode<T: Marshal + Registered>(value: &T, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
    out.sized(|bytes| {
        value
            .marshal(bytes)
            .map_err(|source| EncodeError::Marshal(Box::new(MarshalFailure { name: T::type_name(), source })))
    })
}

#[doc(hidden)]
pub fn decode<T: Marshal + Registered>(input: &mut Decoder<'_>) -> Result<T, DecodeError> {
    T::unmarshal(input.binary()?)
        .map_err(|source| DecodeError::Marshal(Box::new(MarshalFailure { name: T::type_name(), source })))
}
