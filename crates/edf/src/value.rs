//! Values of any type, known only at run time.

mod decode;
mod encode;

use std::sync::Arc;

use bytes::Bytes;

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
