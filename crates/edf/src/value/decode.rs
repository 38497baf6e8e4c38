//! Bytes to dynamic values, guided by their type.

use std::sync::Arc;

use super::{Array, Map, Named, Pointer, Slice, Struct, Value};
use crate::encoder::Marker;
use crate::{DecodeError, Decoder, Definition, Edf, Schema, Type, tag};

impl Value {
    /// Reads a value of this type, without the type in front.
    pub fn decode_as(ty: &Type, input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(match ty {
            Type::Bool => Self::Bool(Edf::decode(input)?),
            Type::Int8 => Self::Int8(Edf::decode(input)?),
            Type::Int16 => Self::Int16(Edf::decode(input)?),
            Type::Int32 => Self::Int32(Edf::decode(input)?),
            Type::Int64 => Self::Int64(Edf::decode(input)?),
            Type::Int => Self::Int(Edf::decode(input)?),
            Type::Uint8 => Self::Uint8(Edf::decode(input)?),
            Type::Uint16 => Self::Uint16(Edf::decode(input)?),
            Type::Uint32 => Self::Uint32(Edf::decode(input)?),
            Type::Uint64 => Self::Uint64(Edf::decode(input)?),
            Type::Uint => Self::Uint(Edf::decode(input)?),
            Type::Float32 => Self::Float32(Edf::decode(input)?),
            Type::Float64 => Self::Float64(Edf::decode(input)?),
            Type::String => Self::String(Edf::decode(input)?),
            Type::Binary => Self::Binary(Edf::decode(input)?),
            Type::Atom => Self::Atom(Edf::decode(input)?),
            Type::Error => input.error()?.map_or(Self::Nil, Self::Error),
            Type::Time => Self::Time(Edf::decode(input)?),
            Type::Pid => Self::Pid(Edf::decode(input)?),
            Type::ProcessId => Self::ProcessId(Edf::decode(input)?),
            Type::Ref => Self::Ref(Edf::decode(input)?),
            Type::Alias => Self::Alias(Edf::decode(input)?),
            Type::Event => Self::Event(Edf::decode(input)?),
            Type::Any => input.nested(Self::decode_any)?,
            Type::Slice(element) => Self::decode_slice(element, input, Marker::Plain)?,
            Type::Array(len, element) => Self::decode_array(*len, element, input)?,
            Type::Map(key, value) => Self::decode_map(key, value, input, Marker::Plain)?,
            Type::Pointer(element) => Self::Pointer(Pointer {
                target: match input.u8()? {
                    tag::NIL => None,
                    tag::POINTER => Some(Box::new(input.nested(|input| Self::decode_as(element, input))?)),
                    found => return Err(DecodeError::BadMarker { expected: tag::POINTER, found }),
                },
                element: (**element).clone(),
            }),
            Type::Registered(name) => {
                let definition = input
                    .registry()
                    .definition(*name)
                    .ok_or_else(|| DecodeError::UnknownType(name.as_str().into()))?;
                input.nested(|input| {
                    input.counting_empty(|input| Self::decode_registered(definition, input))
                })?
            }
        })
    }

    /// Reads a value with its type in front, or nil.
    pub(super) fn decode_any(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match Type::read_top(input)? {
            None => Ok(Self::Nil),
            Some(ty) => Self::decode_as(&ty, input),
        }
    }

    fn decode_registered(definition: Arc<Definition>, input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let value = match &definition.schema {
            Schema::Struct(fields) => {
                let fields =
                    fields.iter().map(|field| Self::decode_as(&field.ty, input)).collect::<Result<_, _>>()?;
                return Ok(Self::Struct(Struct { definition, fields }));
            }
            Schema::Slice(element) => Self::decode_slice(element, input, Marker::Named)?,
            Schema::Array(len, element) => Self::decode_array(*len, element, input)?,
            Schema::Map(key, value) => Self::decode_map(key, value, input, Marker::Named)?,
            Schema::Scalar(ty) => Self::decode_as(ty, input)?,
            Schema::Marshal => Self::Binary(Edf::decode(input)?),
        };
        Ok(Self::Named(Box::new(Named { definition, value })))
    }

    fn decode_slice(element: &Type, input: &mut Decoder<'_>, marker: Marker) -> Result<Self, DecodeError> {
        let items = match input.count(marker.or(tag::SLICE))? {
            None => None,
            Some(count) => Some(Self::decode_items(count, element, input)?),
        };
        Ok(Self::Slice(Slice { element: element.clone(), items }))
    }

    fn decode_array(len: u32, element: &Type, input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let items = Self::decode_items(len as usize, element, input)?;
        Ok(Self::Array(Array { element: element.clone(), items }))
    }

    fn decode_items(count: usize, element: &Type, input: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        let may_be_empty = element.may_be_empty();
        many(count, may_be_empty, input, |input| Self::decode_as(element, input))
    }

    fn decode_map(
        key: &Type,
        value: &Type,
        input: &mut Decoder<'_>,
        marker: Marker,
    ) -> Result<Self, DecodeError> {
        let pairs = match input.count(marker.or(tag::MAP))? {
            None => None,
            Some(count) => {
                let may_be_empty = key.may_be_empty() && value.may_be_empty();
                Some(many(count, may_be_empty, input, |input| {
                    Ok((Self::decode_as(key, input)?, Self::decode_as(value, input)?))
                })?)
            }
        };
        Ok(Self::Map(Box::new(Map { key: key.clone(), value: value.clone(), pairs })))
    }
}

/// Reads elements one level deeper. Those that may be without bytes are not
/// limited by the bytes that are there, so the empty ones are counted.
fn many<T>(
    count: usize,
    may_be_empty: bool,
    input: &mut Decoder<'_>,
    mut read: impl FnMut(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    if !may_be_empty {
        input.elements(count, 1)?;
    }
    input.nested(|input| {
        let mut elements = Vec::with_capacity(Decoder::first_capacity::<T>(count));
        for _ in 0..count {
            input.dynamic_element()?;
            elements.push(input.counting_empty(&mut read)?);
        }
        Ok(elements)
    })
}
