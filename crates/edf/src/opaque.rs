//! Values of types that nobody knows here.

use std::fmt;

use bytes::Bytes;

use crate::{DecodeError, Decoder, Edf, EncodeError, Encoder, Type, tag};

/// A top-level value of a registered type that this program does not know: its
/// name and all the bytes that came after it. It encodes to what it came from,
/// but only at the top: within other data there is no telling where such a
/// value ends (`docs/wire/EDF.md` section 1), so it cannot be read there.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opaque {
    /// The name of the type.
    pub name: Box<str>,
    /// The value. Identifiers, atoms and errors in it may be written as ids of
    /// the peer that made it, and then mean nothing to others.
    pub bytes: Bytes,
}

impl Opaque {
    /// A value as it would have come from a peer.
    pub fn new(name: impl Into<Box<str>>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    pub(crate) fn read(name: &str, input: &mut Decoder<'_>) -> Self {
        let bytes = Bytes::copy_from_slice(input.take_all());
        Self { name: name.into(), bytes }
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({}, {} bytes)", self.name.escape_debug(), self.bytes.len())
    }
}

impl Edf for Opaque {
    const MIN_SIZE: usize = 3;

    fn type_of() -> Type {
        Type::Any
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.named(&self.name)?;
        out.bytes(&self.bytes);
        Ok(())
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Err(match input.u8()? {
            tag::REGISTERED => DecodeError::UnknownType(input.name()?.as_str().into()),
            other => DecodeError::UnknownTag(other),
        })
    }

    fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.encode(out)
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.skip_any_tag();
        match input.u8()? {
            tag::REGISTERED => {
                let name = input.name()?;
                Ok(Self::read(name.as_str(), input))
            }
            other => Err(DecodeError::UnknownTag(other)),
        }
    }
}
