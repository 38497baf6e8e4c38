//! Values whose type is learnt while reading: messages, and `any` inside them.

use std::sync::Arc;

use crate::decoder::Name;
use crate::encoder::Marker;
use crate::scalar::slice_of_bytes;
use crate::{
    Alias, Atom, DecodeError, Decoder, Edf, EncodeError, Encoder, ErrorValue, Event, Message, Nilable,
    Opaque, Payload, Pid, ProcessId, Ref, Text, Time, Type, Value, tag,
};

/// Reads a message: see [`Decoder::payload`].
pub(crate) fn payload(input: &mut Decoder<'_>) -> Result<Payload, DecodeError> {
    read(input, Place::Top)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// All the bytes belong to the value.
    Top,
    /// More may follow the value.
    Inside,
}

fn read(input: &mut Decoder<'_>, place: Place) -> Result<Payload, DecodeError> {
    fn of<T: Message>(input: &mut Decoder<'_>) -> Result<Payload, DecodeError> {
        T::decode(input).map(Payload::new)
    }
    input.skip_any_tag();
    match input.u8()? {
        tag::REGISTERED => match input.name()? {
            Name::Known(name) => match input.registry().rust_type(name) {
                Some(decode) => decode(input).map_err(|error| error.of(name)),
                None if place == Place::Top && input.registry().definition(name).is_none() => {
                    Ok(Payload::new(Opaque::read(name.as_str(), input)))
                }
                None => value(&Type::Registered(name), input).map_err(|error| error.of(name)),
            },
            Name::Unknown(name) if place == Place::Top => Ok(Payload::new(Opaque::read(name, input))),
            Name::Unknown(name) => Err(DecodeError::UnknownType(name.into())),
        },
        tag::FOLDED => composite(input),
        tag::NIL => Ok(Payload::new(())),
        tag::BOOL => of::<bool>(input),
        tag::INT8 => of::<i8>(input),
        tag::INT16 => of::<i16>(input),
        tag::INT32 => of::<i32>(input),
        tag::INT64 => of::<i64>(input),
        tag::INT => of::<isize>(input),
        tag::UINT8 => of::<u8>(input),
        tag::UINT16 => of::<u16>(input),
        tag::UINT32 => of::<u32>(input),
        tag::UINT64 => of::<u64>(input),
        tag::UINT => of::<usize>(input),
        tag::FLOAT32 => of::<f32>(input),
        tag::FLOAT64 => of::<f64>(input),
        tag::STRING => match input.registry().other_than::<String>(tag::STRING) {
            Some(decode) => decode(input),
            None => string(input),
        },
        tag::BINARY => match input.registry().other_than::<Vec<u8>>(tag::BINARY) {
            Some(decode) => decode(input),
            None => of::<Vec<u8>>(input),
        },
        tag::ATOM => of::<Atom>(input),
        tag::PID => of::<Pid>(input),
        tag::PROCESS_ID => of::<ProcessId>(input),
        tag::REF => of::<Ref>(input),
        tag::ALIAS => of::<Alias>(input),
        tag::EVENT => of::<Event>(input),
        tag::TIME => of::<Time>(input),
        tag::ERROR => match input.registry().other_than::<ErrorValue>(tag::ERROR) {
            Some(decode) => decode(input),
            None => Ok(input.error()?.map_or_else(|| Payload::new(()), Payload::new)),
        },
        tag => Err(DecodeError::UnknownTag(tag)),
    }
}

/// A string that is not UTF-8 stays what it is.
fn string(input: &mut Decoder<'_>) -> Result<Payload, DecodeError> {
    let bytes = input.string()?;
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => Payload::new(String::from(text)),
        Err(_) => Payload::new(Value::String(Text::from(bytes))),
    })
}

fn value(ty: &Type, input: &mut Decoder<'_>) -> Result<Payload, DecodeError> {
    Value::decode_as(ty, input).map(Payload::new)
}

fn composite(input: &mut Decoder<'_>) -> Result<Payload, DecodeError> {
    let mut fold = input.fold()?;
    let bytes = fold.remaining();
    // An expression without registered types has no ids either.
    if !bytes.contains(&tag::REGISTERED)
        && let Some(decode) = input.registry().unnamed(bytes)
    {
        return decode(input);
    }
    let ty = Type::read_whole_fold(&mut fold)?;
    let known = match &ty {
        Type::Registered(name) => input.registry().rust_type(*name),
        ty => ty.key().ok().and_then(|key| input.registry().unnamed(&key)),
    };
    let read = match known {
        Some(decode) => decode(input),
        None if ty == Type::slice(Type::Uint8) => {
            Ok(Payload::new(slice_of_bytes(input, Marker::Plain)?.unwrap_or_default()))
        }
        None => value(&ty, input),
    };
    match ty {
        Type::Registered(name) => read.map_err(|error| error.of(name)),
        _ => read,
    }
}

/// As a field or an element a payload is EDF's `any`.
impl Edf for Payload {
    const MIN_SIZE: usize = 1;

    fn type_of() -> Type {
        Type::Any
    }

    fn is_nil(&self) -> bool {
        Self::is_nil(self)
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if Self::is_nil(self) {
            out.u8(tag::NIL);
            return Ok(());
        }
        out.nested(|out| Self::encode_top(self, out))
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.nested(|input| read(input, Place::Inside))
    }

    fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Self::encode_top(self, out)
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.payload()
    }
}

impl Nilable for Payload {
    const NIL: &'static [u8] = &[tag::NIL];
    const UNTYPED_NIL: bool = true;
}

/// A payload that several hold is written as the payload.
impl Edf for Arc<Payload> {
    const MIN_SIZE: usize = Payload::MIN_SIZE;

    fn type_of() -> Type {
        Payload::type_of()
    }

    fn is_nil(&self) -> bool {
        Payload::is_nil(self)
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Edf::encode(&**self, out)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Payload::decode(input).map(Self::new)
    }

    fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Payload::encode_top(self, out)
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.payload().map(Self::new)
    }
}

/// Nil: what `any` holds when it holds nothing. It cannot be a message by
/// itself (`docs/wire/EDF.md` section 3).
impl Edf for () {
    const MIN_SIZE: usize = 1;

    fn type_of() -> Type {
        Type::Any
    }

    fn is_nil(&self) -> bool {
        true
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.u8(tag::NIL);
        Ok(())
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::decode_top(input)
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match input.value()? {
            Value::Nil => Ok(()),
            value => Err(DecodeError::mismatch(Type::Any, value.type_of())),
        }
    }
}

/// An error by itself, which is not nil.
impl Edf for ErrorValue {
    const MIN_SIZE: usize = 2;

    fn type_of() -> Type {
        Type::Error
    }

    fn write_fold(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.u8(tag::ERROR);
        Ok(())
    }

    fn match_fold(input: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        Ok(input.u8()? == tag::ERROR)
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.error(Some(self))
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.error()?.ok_or(DecodeError::UnexpectedNil)
    }
}

impl Nilable for ErrorValue {
    const NIL: &'static [u8] = &[0xff, 0xff];
    const UNTYPED_NIL: bool = true;
}
