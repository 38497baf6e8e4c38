//! Numbers, strings, binaries, identifiers and times (`docs/wire/EDF.md` section 4).

use bytes::Bytes;

use crate::decoder::utf8;
use crate::encoder::Marker;
use crate::{
    Alias, Atom, DecodeError, Decoder, Edf, EncodeError, Encoder, Event, Pid, ProcessId, Ref, Text, Time,
    Type, tag,
};

/// The type expression of a type that is one tag.
macro_rules! plain_type {
    ($ty:ident, $tag:expr) => {
        fn type_of() -> Type {
            Type::$ty
        }

        #[inline]
        fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
            out.u8($tag);
            Ok(())
        }

        #[inline]
        fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
            Ok(input.u8()? == $tag)
        }
    };
}

/// A number of `N` bytes on the wire, the high one first.
trait Number<const N: usize>: Copy {
    fn to_wire(self) -> [u8; N];
    fn from_wire(bytes: [u8; N]) -> Result<Self, DecodeError>;
}

/// A number and arrays of it.
macro_rules! number {
    ($ty:ident, $tag:expr, $size:expr) => {
        const MIN_SIZE: usize = $size;

        plain_type!($ty, $tag);

        #[inline]
        fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
            out.bytes(&self.to_wire());
            Ok(())
        }

        #[inline]
        fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
            Self::from_wire(input.array()?)
        }

        fn encode_array(items: &[Self], out: &mut Encoder<'_>) -> Result<(), EncodeError> {
            out.numbers(items, Self::to_wire);
            Ok(())
        }

        fn decode_array<const N: usize>(input: &mut Decoder<'_>) -> Result<[Self; N], DecodeError> {
            input.elements(N, $size)?;
            let mut items = [Self::default(); N];
            for item in &mut items {
                *item = Self::decode(input)?;
            }
            Ok(items)
        }
    };
}

/// Slices of a number, in bulk.
macro_rules! number_slice {
    ($size:expr) => {
        fn encode_slice(items: &[Self], out: &mut Encoder<'_>, marker: Marker) -> Result<(), EncodeError> {
            out.slice(marker, items.len())?;
            out.numbers(items, Self::to_wire);
            Ok(())
        }

        fn decode_slice(input: &mut Decoder<'_>, marker: Marker) -> Result<Option<Vec<Self>>, DecodeError> {
            let Some(count) = input.slice(marker, $size)? else { return Ok(None) };
            let (chunks, _) = input.bytes(count * $size)?.as_chunks();
            // All the bytes are there, so there is no harm in making room at once.
            let mut items = Vec::with_capacity(count);
            for chunk in chunks {
                items.push(Self::from_wire(*chunk)?);
            }
            Ok(Some(items))
        }
    };
}

macro_rules! numbers {
    ($($rust:ty: $ty:ident, $tag:expr;)*) => {$(
        impl Number<{ size_of::<$rust>() }> for $rust {
            #[inline]
            fn to_wire(self) -> [u8; size_of::<$rust>()] {
                self.to_be_bytes()
            }

            #[inline]
            fn from_wire(bytes: [u8; size_of::<$rust>()]) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(bytes))
            }
        }

        impl Edf for $rust {
            number!($ty, $tag, size_of::<Self>());
            number_slice!(size_of::<Self>());
        }
    )*};
}

numbers! {
    i8: Int8, tag::INT8;
    i16: Int16, tag::INT16;
    i32: Int32, tag::INT32;
    i64: Int64, tag::INT64;
    u16: Uint16, tag::UINT16;
    u32: Uint32, tag::UINT32;
    u64: Uint64, tag::UINT64;
    f32: Float32, tag::FLOAT32;
    f64: Float64, tag::FLOAT64;
}

/// `int` and `uint` have eight bytes on every machine.
macro_rules! words {
    ($($rust:ty as $wire:ty: $ty:ident, $tag:expr;)*) => {$(
        impl Number<8> for $rust {
            #[inline]
            fn to_wire(self) -> [u8; 8] {
                (self as $wire).to_be_bytes()
            }

            #[inline]
            fn from_wire(bytes: [u8; 8]) -> Result<Self, DecodeError> {
                Self::try_from(<$wire>::from_be_bytes(bytes)).map_err(|_| DecodeError::IntTooLarge)
            }
        }

        impl Edf for $rust {
            number!($ty, $tag, 8);
            number_slice!(8);
        }
    )*};
}

words! {
    isize as i64: Int, tag::INT;
    usize as u64: Uint, tag::UINT;
}

impl Number<1> for u8 {
    #[inline]
    fn to_wire(self) -> [u8; 1] {
        [self]
    }

    #[inline]
    fn from_wire([byte]: [u8; 1]) -> Result<Self, DecodeError> {
        Ok(byte)
    }
}

/// Go's `[]byte` is a binary: no marker, and nil is the same as empty. With a
/// name it is a slice like others.
impl Edf for u8 {
    number!(Uint8, tag::UINT8, 1);

    const SLICE_MIN_SIZE: usize = 4;
    const SLICE_FOLDED: bool = false;

    fn slice_type() -> Type {
        Type::Binary
    }

    #[inline]
    fn write_slice_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.u8(tag::BINARY);
        Ok(())
    }

    #[inline]
    fn match_slice_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        Ok(input.u8()? == tag::BINARY)
    }

    fn decode_top_slice(input: &mut Decoder<'_>) -> Result<Option<Vec<Self>>, DecodeError> {
        input.skip_any_tag();
        if let [tag::FOLDED, 0, 2, tag::SLICE, tag::UINT8, ..] = input.remaining() {
            input.bytes(5)?;
            return slice_of_bytes(input, Marker::Plain);
        }
        input.expect_type::<Vec<Self>>()?;
        Self::decode_slice(input, Marker::Plain)
    }

    #[inline]
    fn encode_slice(items: &[Self], out: &mut Encoder<'_>, marker: Marker) -> Result<(), EncodeError> {
        match marker {
            Marker::Plain => out.count(items.len())?,
            Marker::Named => out.slice(marker, items.len())?,
        }
        out.bytes(items);
        Ok(())
    }

    #[inline]
    fn decode_slice(input: &mut Decoder<'_>, marker: Marker) -> Result<Option<Vec<Self>>, DecodeError> {
        match marker {
            Marker::Plain => Ok(Some(input.binary()?.to_vec())),
            Marker::Named => slice_of_bytes(input, marker),
        }
    }
}

/// Reads bytes that are written as a slice: of a named byte slice type, or of
/// one that Go did not register (`docs/wire/EDF.md` section 3).
pub(crate) fn slice_of_bytes(
    input: &mut Decoder<'_>,
    marker: Marker,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some(count) = input.slice(marker, 1)? else { return Ok(None) };
    Ok(Some(input.bytes(count)?.to_vec()))
}

impl Edf for bool {
    const MIN_SIZE: usize = 1;

    plain_type!(Bool, tag::BOOL);

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.u8(u8::from(*self));
        Ok(())
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(input.u8()? == 1)
    }
}

/// Types that are written as a string.
macro_rules! strings {
    ($($rust:ty, $as_bytes:ident, $from:expr;)*) => {$(
        impl Edf for $rust {
            const MIN_SIZE: usize = 2;

            plain_type!(String, tag::STRING);

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.string(self.$as_bytes())
            }

            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                $from(input.string()?)
            }
        }
    )*};
}

strings! {
    String, as_bytes, |bytes| utf8(bytes).map(Self::from);
    Box<str>, as_bytes, |bytes| utf8(bytes).map(Self::from);
    Text, as_bytes, |bytes: &[u8]| Ok(Self::from(bytes));
}

impl Edf for Bytes {
    const MIN_SIZE: usize = 4;

    plain_type!(Binary, tag::BINARY);

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.count(self.len())?;
        out.bytes(self);
        Ok(())
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.binary().map(Self::copy_from_slice)
    }
}

impl Edf for Atom {
    const MIN_SIZE: usize = 2;

    plain_type!(Atom, tag::ATOM);

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.atom(*self);
        Ok(())
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.atom()
    }
}

impl Edf for Pid {
    const MIN_SIZE: usize = 18;

    plain_type!(Pid, tag::PID);

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.atom(self.node);
        out.u64(self.id);
        out.u64(self.creation as u64);
        Ok(())
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { node: input.atom()?, id: input.u64()?, creation: input.u64()? as i64 })
    }
}

/// The node comes before the name.
macro_rules! names {
    ($($rust:ident, $tag:expr;)*) => {$(
        impl Edf for $rust {
            const MIN_SIZE: usize = 4;

            plain_type!($rust, $tag);

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.atom(self.node);
                out.atom(self.name);
                Ok(())
            }

            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Ok(Self { node: input.atom()?, name: input.atom()? })
            }
        }
    )*};
}

names! {
    ProcessId, tag::PROCESS_ID;
    Event, tag::EVENT;
}

macro_rules! references {
    ($($rust:ident, $tag:expr;)*) => {$(
        impl Edf for $rust {
            const MIN_SIZE: usize = 34;

            plain_type!($rust, $tag);

            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.atom(self.node);
                out.u64(self.creation as u64);
                self.id.iter().for_each(|id| out.u64(*id));
                Ok(())
            }

            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                Ok(Self {
                    node: input.atom()?,
                    creation: input.u64()? as i64,
                    id: [input.u64()?, input.u64()?, input.u64()?],
                })
            }
        }
    )*};
}

references! {
    Ref, tag::REF;
    Alias, tag::ALIAS;
}

impl Edf for Time {
    const MIN_SIZE: usize = 16;

    plain_type!(Time, tag::TIME);

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.write(out)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::read(input)
    }
}
