//! Values of any type, known only at run time.

use std::sync::Arc;

use bytes::Bytes;

use crate::encoder::{Marker, Mismatch};
use crate::{
    Alias, Atom, DecodeError, Decoder, Definition, Edf, EncodeError, Encoder, ErrorValue, Event, Nilable,
    Pid, ProcessId, Ref, Schema, Text, Time, Type, tag,
};

/// An EDF value together with its type. It encodes to the bytes it came from
/// (given the same tables): a map keeps its pairs in the order of the wire,
/// repeated keys included.
///
/// As a field or an element, and so within `Vec<Value>` and the like, it is
/// EDF's `any`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nil in `any`. Where an error belongs, the nil error.
    Nil,
    /// `bool`
    Bool(bool),
    /// `int8`
    Int8(i8),
    /// `int16`
    Int16(i16),
    /// `int32`
    Int32(i32),
    /// `int64`
    Int64(i64),
    /// `int`
    Int(i64),
    /// `uint8`
    Uint8(u8),
    /// `uint16`
    Uint16(u16),
    /// `uint32`
    Uint32(u32),
    /// `uint64`
    Uint64(u64),
    /// `uint`
    Uint(u64),
    /// `float32`
    Float32(f32),
    /// `float64`
    Float64(f64),
    /// `string`
    String(Text),
    /// `[]byte`
    Binary(Bytes),
    /// `atom`
    Atom(Atom),
    /// `error`
    Error(ErrorValue),
    /// `time`
    Time(Time),
    /// `pid`
    Pid(Pid),
    /// `processid`
    ProcessId(ProcessId),
    /// `ref`
    Ref(Ref),
    /// `alias`
    Alias(Alias),
    /// `event`
    Event(Event),
    /// A slice.
    Slice(Slice),
    /// An array.
    Array(Array),
    /// A map.
    Map(Box<Map>),
    /// A pointer, since Ergo 3.3.0.
    Pointer(Pointer),
    /// A registered struct.
    Struct(Struct),
    /// Any other registered type.
    Named(Box<Named>),
}

/// A slice; `None` is the nil slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The type of the elements.
    pub element: Type,
    /// The elements.
    pub items: Option<Vec<Value>>,
}

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The type of the elements.
    pub element: Type,
    /// The elements.
    pub items: Vec<Value>,
}

/// A map; `None` is the nil map.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// The type of the keys.
    pub key: Type,
    /// The type of the values.
    pub value: Type,
    /// The pairs in the order of the wire. Of equal keys the last one counts.
    pub pairs: Option<Vec<(Value, Value)>>,
}

/// A pointer; `None` is the nil pointer.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    /// The type of what it points to.
    pub element: Type,
    /// What it points to.
    pub target: Option<Box<Value>>,
}

/// A registered struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Struct {
    /// Its name and its fields' names and types.
    pub definition: Arc<Definition>,
    /// The values of the fields, in the order of the definition.
    pub fields: Vec<Value>,
}

/// A registered type that is no struct: a slice, array, map or scalar with a
/// name, or a type with bytes of its own, which are a [`Value::Binary`] here.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Its name and the type under the name.
    pub definition: Arc<Definition>,
    /// The value, without the name.
    pub value: Value,
}

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.pairs.iter().flatten().rev().find(|(found, _)| found == key).map(|(_, value)| value)
    }
}

impl Struct {
    /// The value of the field with this name.
    pub fn get(&self, field: &str) -> Option<&Value> {
        let Schema::Struct(fields) = &self.definition.schema else { return None };
        let place = fields.iter().position(|known| *known.name == *field)?;
        self.fields.get(place)
    }
}

impl Value {
    /// The type; `any` for nil.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Nil => Type::Any,
            Self::Bool(_) => Type::Bool,
            Self::Int8(_) => Type::Int8,
            Self::Int16(_) => Type::Int16,
            Self::Int32(_) => Type::Int32,
            Self::Int64(_) => Type::Int64,
            Self::Int(_) => Type::Int,
            Self::Uint8(_) => Type::Uint8,
            Self::Uint16(_) => Type::Uint16,
            Self::Uint32(_) => Type::Uint32,
            Self::Uint64(_) => Type::Uint64,
            Self::Uint(_) => Type::Uint,
            Self::Float32(_) => Type::Float32,
            Self::Float64(_) => Type::Float64,
            Self::String(_) => Type::String,
            Self::Binary(_) => Type::Binary,
            Self::Atom(_) => Type::Atom,
            Self::Error(_) => Type::Error,
            Self::Time(_) => Type::Time,
            Self::Pid(_) => Type::Pid,
            Self::ProcessId(_) => Type::ProcessId,
            Self::Ref(_) => Type::Ref,
            Self::Alias(_) => Type::Alias,
            Self::Event(_) => Type::Event,
            Self::Slice(slice) => Type::slice(slice.element.clone()),
            // A longer array fails to encode, so its length need not be right.
            Self::Array(array) => {
                Type::array(u32::try_from(array.items.len()).unwrap_or(u32::MAX), array.element.clone())
            }
            Self::Map(map) => Type::map(map.key.clone(), map.value.clone()),
            Self::Pointer(pointer) => Type::pointer(pointer.element.clone()),
            Self::Struct(value) => Type::Registered(value.definition.name),
            Self::Named(value) => Type::Registered(value.definition.name),
        }
    }

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
    fn decode_any(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
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
        let items = match input.slice(marker, 1)? {
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
        input.nested(|input| {
            let mut items = Vec::with_capacity(Decoder::first_capacity::<Self>(count));
            for _ in 0..count {
                items.push(input.counting_empty(|input| Self::decode_as(element, input))?);
            }
            Ok(items)
        })
    }

    fn decode_map(
        key: &Type,
        value: &Type,
        input: &mut Decoder<'_>,
        marker: Marker,
    ) -> Result<Self, DecodeError> {
        let pairs = match input.map(marker, 1)? {
            None => None,
            Some(count) => Some(input.nested(|input| {
                let mut pairs = Vec::with_capacity(Decoder::first_capacity::<(Self, Self)>(count));
                for _ in 0..count {
                    pairs.push(input.counting_empty(|input| {
                        Ok((Self::decode_as(key, input)?, Self::decode_as(value, input)?))
                    })?);
                }
                Ok(pairs)
            })?),
        };
        Ok(Self::Map(Box::new(Map { key: key.clone(), value: value.clone(), pairs })))
    }

    /// Writes the value where the surroundings say that a `ty` belongs.
    pub fn encode_as(&self, ty: &Type, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match (self, ty) {
            (Self::Nil, Type::Any) => out.u8(tag::NIL),
            (_, Type::Any) => return out.nested(|out| self.encode_typed(out)),
            (Self::Nil, Type::Error) => return out.error(None),
            (_, Type::Array(len, _)) if self.type_of() != *ty => {
                if let Self::Array(array) = self {
                    return Err(EncodeError::Count { expected: *len as usize, found: array.items.len() });
                }
                return Err(self.mismatch(ty));
            }
            _ if self.type_of() != *ty => return Err(self.mismatch(ty)),
            _ => return self.encode_body(out),
        }
        Ok(())
    }

    fn mismatch(&self, expected: &Type) -> EncodeError {
        EncodeError::Mismatch(Box::new(Mismatch { expected: expected.clone(), found: self.type_of() }))
    }

    fn encode_typed(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.type_of().write_top(out)?;
        self.encode_body(out)
    }

    fn encode_body(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Nil => {
                out.u8(tag::NIL);
                Ok(())
            }
            Self::Bool(value) => value.encode(out),
            Self::Int8(value) => value.encode(out),
            Self::Int16(value) => value.encode(out),
            Self::Int32(value) => value.encode(out),
            Self::Int64(value) | Self::Int(value) => value.encode(out),
            Self::Uint8(value) => value.encode(out),
            Self::Uint16(value) => value.encode(out),
            Self::Uint32(value) => value.encode(out),
            Self::Uint64(value) | Self::Uint(value) => value.encode(out),
            Self::Float32(value) => value.encode(out),
            Self::Float64(value) => value.encode(out),
            Self::String(value) => value.encode(out),
            Self::Binary(value) => value.encode(out),
            Self::Atom(value) => value.encode(out),
            Self::Error(value) => value.encode(out),
            Self::Time(value) => value.encode(out),
            Self::Pid(value) => value.encode(out),
            Self::ProcessId(value) => value.encode(out),
            Self::Ref(value) => value.encode(out),
            Self::Alias(value) => value.encode(out),
            Self::Event(value) => value.encode(out),
            Self::Slice(slice) => slice.encode(out, Marker::Plain),
            Self::Array(array) => array.encode(out),
            Self::Map(map) => map.encode(out, Marker::Plain),
            Self::Pointer(pointer) => match &pointer.target {
                None => {
                    out.u8(tag::NIL);
                    Ok(())
                }
                Some(target) => {
                    out.u8(tag::POINTER);
                    out.nested(|out| target.encode_as(&pointer.element, out))
                }
            },
            Self::Struct(value) => {
                let Schema::Struct(fields) = &value.definition.schema else {
                    return Err(self.mismatch(&Type::Registered(value.definition.name)));
                };
                let (expected, found) = (fields.len(), value.fields.len());
                if expected != found {
                    return Err(EncodeError::Count { expected, found });
                }
                out.nested(|out| {
                    fields
                        .iter()
                        .zip(&value.fields)
                        .try_for_each(|(field, value)| value.encode_as(&field.ty, out))
                })
            }
            Self::Named(named) => out.nested(|out| named.encode(out)),
        }
    }
}

impl Slice {
    fn encode(&self, out: &mut Encoder<'_>, marker: Marker) -> Result<(), EncodeError> {
        let Some(items) = &self.items else {
            out.u8(tag::NIL);
            return Ok(());
        };
        out.slice(marker, items.len())?;
        out.nested(|out| items.iter().try_for_each(|item| item.encode_as(&self.element, out)))
    }
}

impl Array {
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.nested(|out| self.items.iter().try_for_each(|item| item.encode_as(&self.element, out)))
    }
}

impl Map {
    fn encode(&self, out: &mut Encoder<'_>, marker: Marker) -> Result<(), EncodeError> {
        let Some(pairs) = &self.pairs else {
            out.u8(tag::NIL);
            return Ok(());
        };
        out.map(marker, pairs.len())?;
        out.nested(|out| {
            pairs.iter().try_for_each(|(key, value)| {
                key.encode_as(&self.key, out)?;
                value.encode_as(&self.value, out)
            })
        })
    }
}

impl Named {
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        let under = match &self.definition.schema {
            Schema::Struct(_) => Type::Registered(self.definition.name),
            Schema::Slice(element) => Type::slice(element.clone()),
            Schema::Array(len, element) => Type::array(*len, element.clone()),
            Schema::Map(key, value) => Type::map(key.clone(), value.clone()),
            Schema::Scalar(ty) => return self.value.encode_as(ty, out),
            Schema::Marshal => Type::Binary,
        };
        match &self.value {
            value if value.type_of() != under => Err(value.mismatch(&under)),
            Value::Slice(slice) => slice.encode(out, Marker::Named),
            Value::Map(map) => map.encode(out, Marker::Named),
            value => value.encode_body(out),
        }
    }
}

/// As a field or an element a value is EDF's `any`.
impl Edf for Value {
    const MIN_SIZE: usize = 1;

    fn type_of() -> Type {
        Type::Any
    }

    fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.encode_as(&Type::Any, out)
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        input.nested(Self::decode_any)
    }

    fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if self.is_nil() { Err(EncodeError::NilAtTop) } else { self.encode_typed(out) }
    }

    fn decode_top(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::decode_any(input)
    }
}

impl Nilable for Value {
    const NIL: &'static [u8] = &[tag::NIL];
    const UNTYPED_NIL: bool = true;
}
