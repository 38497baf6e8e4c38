//! The trait of everything that has an EDF form.

use crate::encoder::Marker;
use crate::{
    DecodeError, Decoder, EncodeError, Encoder, RegisterError, Registrar, Schema, Type, TypeName, tag,
};

/// A Rust type that has a form in the Ergo Data Format.
///
/// Messages implement it with `#[derive(Message)]`; everything that messages
/// are made of implements it here. Writing an implementation by hand is rarely
/// needed: a type with bytes of its own takes `#[message(marshal)]`.
///
/// EDF writes a type once, in front of a top-level value or of a value held in
/// `any`; what is inside carries none (`docs/wire/EDF.md` section 1).
/// [`encode_top`](Edf::encode_top) writes both, [`encode`](Edf::encode) the
/// value alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no form in the Ergo Data Format",
    label = "not an EDF type",
    note = "add `#[derive(Message)]` to types of your own",
    note = "EDF has integers to 64 bits, floats, bool, strings, binaries, atoms, identifiers, times (`Time`), errors, \
            slices (`Vec`), arrays, maps and registered types"
)]
pub trait Edf: Sized {
    /// The least number of bytes that a value takes, type not counted.
    /// Announced counts are checked against it.
    const MIN_SIZE: usize;

    /// Whether the type is a slice, array, map or pointer without a name: such
    /// a type is written behind a tag of its own (`docs/wire/EDF.md` section 3).
    const FOLDED: bool = false;

    /// The type expression. Not meant for fast paths.
    fn type_of() -> Type;

    /// Writes the value without its type. After an error `out` holds a part of
    /// it, which the caller cuts off.
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError>;

    /// Reads a value without its type.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// Writes the type as it stands in a type expression.
    fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Self::type_of().write_fold(out)
    }

    /// Reads a type expression and says whether it is this type.
    fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        Ok(Type::read_fold(input)? == Self::type_of())
    }

    /// Writes the type as it stands in front of a top-level value.
    fn write_type(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if Self::FOLDED { out.folded(Self::write_fold) } else { Self::write_fold(out) }
    }

    /// Whether the value is the nil that has no type. Nil cannot be sent as a
    /// message (`docs/wire/EDF.md` section 3), only inside one.
    fn is_nil(&self) -> bool {
        false
    }

    /// Writes the value with its type in front.
    fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if self.is_nil() {
            return Err(EncodeError::NilAtTop);
        }
        self.write_type(out)?;
        self.encode(out)
    }

    /// Reads a value with its type in front, which must be this type.
    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.expect_type::<Self>()?;
        Self::decode(input)
    }

    /// Adds the registered types that this type is made of, itself included.
    #[doc(hidden)]
    fn register_parts(_registrar: &mut Registrar) -> Result<(), RegisterError> {
        Ok(())
    }

    /// What a registered type over this one is described as.
    #[doc(hidden)]
    fn named_schema() -> Schema {
        Schema::Scalar(Self::type_of())
    }

    /// Writes the value as a registered type over this one does: slices and
    /// maps have another marker (`docs/wire/EDF.md` section 4).
    #[doc(hidden)]
    fn encode_named(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.encode(out)
    }

    /// Reads what [`Edf::encode_named`] writes.
    #[doc(hidden)]
    fn decode_named(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::decode(input)
    }

    // What a slice or an array of this type is. `u8` differs, since a slice of
    // bytes is a binary, and numbers are faster in bulk.

    #[doc(hidden)]
    const SLICE_MIN_SIZE: usize = 1;

    #[doc(hidden)]
    const SLICE_FOLDED: bool = true;

    #[doc(hidden)]
    fn slice_type() -> Type {
        Type::slice(Self::type_of())
    }

    #[doc(hidden)]
    fn write_slice_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.u8(tag::SLICE);
        Self::write_fold(out)
    }

    #[doc(hidden)]
    fn match_slice_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        Ok(input.u8()? == tag::SLICE && Self::match_fold(input)?)
    }

    #[doc(hidden)]
    fn decode_top_slice(input: &mut Decoder<'_>) -> Result<Option<Vec<Self>>, DecodeError> {
        input.expect_type::<Vec<Self>>()?;
        Self::decode_slice(input, Marker::Plain)
    }

    #[doc(hidden)]
    fn encode_slice(items: &[Self], out: &mut Encoder<'_>, marker: Marker) -> Result<(), EncodeError> {
        out.slice(marker, items.len())?;
        out.nested(|out| items.iter().try_for_each(|item| item.encode(out)))
    }

    /// `None` is a nil slice.
    #[doc(hidden)]
    fn decode_slice(input: &mut Decoder<'_>, marker: Marker) -> Result<Option<Vec<Self>>, DecodeError> {
        let Some(count) = input.slice(marker, Self::MIN_SIZE)? else { return Ok(None) };
        input.nested(|input| {
            let mut items = Vec::with_capacity(Decoder::first_capacity::<Self>(count));
            for _ in 0..count {
                items.push(Self::decode(input)?);
            }
            Ok(Some(items))
        })
    }

    #[doc(hidden)]
    fn encode_array(items: &[Self], out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| items.iter().try_for_each(|item| item.encode(out)))
    }

    #[doc(hidden)]
    fn decode_array<const N: usize>(input: &mut Decoder<'_>) -> Result<[Self; N], DecodeError> {
        input.elements(N, Self::MIN_SIZE)?;
        let items: Vec<Self> = input.nested(|input| (0..N).map(|_| Self::decode(input)).collect())?;
        items.try_into().map_err(|_| DecodeError::EndOfData)
    }
}

/// A type that can be sent to a process: anything with an EDF form that may
/// change threads and be looked at by several, as what is published is.
/// Implemented for every such type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a message",
    note = "a message has an EDF form (see `Edf`), is `Send` and `Sync` and borrows nothing (`'static`)"
)]
pub trait Message: Edf + Send + Sync + 'static {}

impl<T: Edf + Send + Sync + 'static> Message for T {}

/// A type with a name of its own on the wire (`docs/wire/EDF.md` section 8).
/// Implemented by `#[derive(Message)]`.
pub trait Registered: Message {
    /// The name.
    fn type_name() -> TypeName;

    /// What the type consists of.
    fn schema() -> Schema;
}

/// Types that have a nil on the wire: exactly these can stand in an `Option`.
/// Go's `[]byte` is none of them: its nil is written as an empty one, so this
/// is refused where it is used.
///
/// ```compile_fail,E0080
/// use postroad_edf::{EncodeTables, Encoder};
///
/// let nothing: Option<Vec<u8>> = None;
/// Encoder::new(&mut Vec::new(), &EncodeTables::default()).top(&nothing);
/// ```
#[diagnostic::on_unimplemented(
    message = "EDF has no nil for `{Self}`, so `Option<{Self}>` cannot be carried",
    label = "has no nil on the wire",
    note = "only slices, maps, errors, `any` (`Value`, `Payload`) and pointers (`Box`) can be nil; \
            pointers are understood by postroad, and by Ergo from 3.3.0 on",
    note = "carry a zero value, a `Vec` of at most one element, or an `Option<Value>` instead"
)]
pub trait Nilable: Edf {
    /// The bytes of nil.
    #[doc(hidden)]
    const NIL: &'static [u8];

    /// Whether nil carries no type either, so that it is refused at the top.
    #[doc(hidden)]
    const UNTYPED_NIL: bool = false;
}
