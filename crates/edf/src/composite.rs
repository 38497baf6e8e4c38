//! Slices, arrays, maps, pointers, and what can be nil (`docs/wire/EDF.md` section 4).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use crate::encoder::Marker;
use crate::{
    DecodeError, Decoder, Edf, EncodeError, Encoder, Nilable, RegisterError, Registrar, Schema, Type, tag,
};

impl<T: Edf> Edf for Vec<T> {
    const MIN_SIZE: usize = T::SLICE_MIN_SIZE;
    const FOLDED: bool = T::SLICE_FOLDED;

    fn type_of() -> Type {
        T::slice_type()
    }

    #[inline]
    fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        T::write_slice_fold(out)
    }

    #[inline]
    fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        T::match_slice_fold(input)
    }

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        T::encode_slice(self, out, Marker::Plain)
    }

    /// A nil slice comes as an empty one.
    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::decode_slice(input, Marker::Plain).map(Option::unwrap_or_default)
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::decode_top_slice(input).map(Option::unwrap_or_default)
    }

    fn register_parts(registrar: &mut Registrar) -> Result<(), RegisterError> {
        T::register_parts(registrar)
    }

    fn named_schema() -> Schema {
        Schema::Slice(T::type_of())
    }

    fn encode_named(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        T::encode_slice(self, out, Marker::Named)
    }

    fn decode_named(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::decode_slice(input, Marker::Named).map(Option::unwrap_or_default)
    }
}

impl<T: Edf> Nilable for Vec<T> {
    const NIL: &'static [u8] = {
        assert!(
            T::SLICE_FOLDED,
            "Go does not tell a nil []byte from an empty one: use Vec<u8> without Option"
        );
        &[tag::NIL]
    };
}

impl<T: Edf, const N: usize> Edf for [T; N] {
    const MIN_SIZE: usize = N * T::MIN_SIZE;
    const FOLDED: bool = true;

    fn type_of() -> Type {
        Type::array(Self::LEN, T::type_of())
    }

    fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.u8(tag::ARRAY);
        out.u32(Self::LEN);
        T::write_fold(out)
    }

    fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        Ok(input.u8()? == tag::ARRAY && input.u32()? == Self::LEN && T::match_fold(input)?)
    }

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        T::encode_array(self, out)
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        T::decode_array(input)
    }

    fn register_parts(registrar: &mut Registrar) -> Result<(), RegisterError> {
        T::register_parts(registrar)
    }

    fn named_schema() -> Schema {
        Schema::Array(Self::LEN, T::type_of())
    }
}

trait ArrayLen {
    const LEN: u32;
}

impl<T, const N: usize> ArrayLen for [T; N] {
    const LEN: u32 = {
        assert!(N <= u32::MAX as usize, "an EDF array has at most 4294967295 elements");
        N as u32
    };
}

macro_rules! map {
    ($map:ty, [$($bounds:tt)*], $($hasher:ident: $($hasher_bounds:tt)*)?) => {
        impl<K: Edf + $($bounds)*, V: Edf, $($hasher: $($hasher_bounds)*)?> Edf for $map {
            const MIN_SIZE: usize = 1;
            const FOLDED: bool = true;

            fn type_of() -> Type {
                Type::map(K::type_of(), V::type_of())
            }

            fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.u8(tag::MAP);
                K::write_fold(out)?;
                V::write_fold(out)
            }

            fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
                Ok(input.u8()? == tag::MAP && K::match_fold(input)? && V::match_fold(input)?)
            }

            fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                encode_pairs(self.iter(), self.len(), out, Marker::Plain)
            }

            /// A nil map comes as an empty one. Of equal keys the last one counts.
            fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                decode_pairs(input, Marker::Plain)
            }

            fn register_parts(registrar: &mut Registrar) -> Result<(), RegisterError> {
                K::register_parts(registrar)?;
                V::register_parts(registrar)
            }

            fn named_schema() -> Schema {
                Schema::Map(K::type_of(), V::type_of())
            }

            fn encode_named(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                encode_pairs(self.iter(), self.len(), out, Marker::Named)
            }

            fn decode_named(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                decode_pairs(input, Marker::Named)
            }
        }

        impl<K: Edf + $($bounds)*, V: Edf, $($hasher: $($hasher_bounds)*)?> Nilable for $map {
            const NIL: &'static [u8] = &[tag::NIL];
        }
    };
}

map!(HashMap<K, V, S>, [Eq + Hash], S: BuildHasher + Default);
map!(BTreeMap<K, V>, [Ord],);

fn encode_pairs<'a, K: Edf + 'a, V: Edf + 'a>(
    mut pairs: impl Iterator<Item = (&'a K, &'a V)>,
    len: usize,
    out: &mut Encoder<'_>,
    marker: Marker,
) -> Result<(), EncodeError> {
    out.map(marker, len)?;
    out.nested(|out| {
        pairs.try_for_each(|(key, value)| {
            key.encode(out)?;
            value.encode(out)
        })
    })
}

fn decode_pairs<K: Edf, V: Edf, M: Pairs<K, V>>(
    input: &mut Decoder<'_>,
    marker: Marker,
) -> Result<M, DecodeError> {
    let Some(count) = input.map(marker, K::MIN_SIZE + V::MIN_SIZE)? else { return Ok(M::with_capacity(0)) };
    input.nested(|input| {
        let mut pairs = M::with_capacity(Decoder::first_capacity::<(K, V)>(count));
        for _ in 0..count {
            let key = K::decode(input)?;
            pairs.put(key, V::decode(input)?);
        }
        Ok(pairs)
    })
}

/// What both kinds of map can do.
trait Pairs<K, V> {
    fn with_capacity(count: usize) -> Self;
    fn put(&mut self, key: K, value: V);
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> Pairs<K, V> for HashMap<K, V, S> {
    fn with_capacity(count: usize) -> Self {
        Self::with_capacity_and_hasher(count, S::default())
    }

    fn put(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}

impl<K: Ord, V> Pairs<K, V> for BTreeMap<K, V> {
    fn with_capacity(_count: usize) -> Self {
        Self::new()
    }

    fn put(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}

/// `None` is nil. On the wire an `Option` has the type of what is in it.
impl<T: Nilable> Edf for Option<T> {
    const MIN_SIZE: usize = if T::MIN_SIZE < T::NIL.len() { T::MIN_SIZE } else { T::NIL.len() };
    const FOLDED: bool = T::FOLDED;

    fn type_of() -> Type {
        T::type_of()
    }

    fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        T::write_fold(out)
    }

    fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        T::match_fold(input)
    }

    fn write_type(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write_type(out),
            None if T::FOLDED => out.folded(T::write_fold),
            None => T::write_fold(out),
        }
    }

    fn is_nil(&self) -> bool {
        match self {
            Some(value) => value.is_nil(),
            None => T::UNTYPED_NIL,
        }
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.encode(out),
            None => {
                out.bytes(T::NIL);
                Ok(())
            }
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        if input.skip(T::NIL) { Ok(None) } else { T::decode(input).map(Some) }
    }

    fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.encode_top(out),
            None if T::UNTYPED_NIL => Err(EncodeError::NilAtTop),
            None => {
                self.write_type(out)?;
                self.encode(out)
            }
        }
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.skip_any_tag();
        if T::UNTYPED_NIL && input.skip(&[tag::NIL]) {
            return Ok(None);
        }
        if !T::FOLDED && T::type_of() == Type::Any {
            return T::decode_top(input).map(Some);
        }
        input.expect_type::<Self>()?;
        Self::decode(input)
    }

    fn register_parts(registrar: &mut Registrar) -> Result<(), RegisterError> {
        T::register_parts(registrar)
    }

    fn named_schema() -> Schema {
        T::named_schema()
    }

    fn encode_named(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.encode_named(out),
            None => self.encode(out),
        }
    }

    fn decode_named(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        if input.skip(T::NIL) { Ok(None) } else { T::decode_named(input).map(Some) }
    }
}

/// A pointer, since Ergo 3.3.0 (`docs/wire/EDF.md` section 14); use
/// `Option<Box<T>>` where the peer may send nil.
impl<T: Edf> Edf for Box<T> {
    const MIN_SIZE: usize = 1;
    const FOLDED: bool = true;

    fn type_of() -> Type {
        Type::pointer(T::type_of())
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if !out.features().pointers {
            return Err(EncodeError::NoPointers);
        }
        out.u8(tag::POINTER);
        out.nested(|out| T::encode(self, out))
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            tag::POINTER => input.nested(T::decode).map(Self::new),
            tag::NIL => Err(DecodeError::UnexpectedNil),
            found => Err(DecodeError::BadMarker { expected: tag::POINTER, found }),
        }
    }

    fn register_parts(registrar: &mut Registrar) -> Result<(), RegisterError> {
        T::register_parts(registrar)
    }
}

impl<T: Edf> Nilable for Box<T> {
    const NIL: &'static [u8] = &[tag::NIL];
}
