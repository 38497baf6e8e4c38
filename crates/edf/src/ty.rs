//! Type expressions: as data, as folds (`docs/wire/EDF.md` section 3) and as text.

use std::fmt;
use std::sync::Arc;

use crate::{DecodeError, Decoder, EncodeError, EncodeTables, Encoder, TypeName, tag};

/// The type of an EDF value. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// `bool`
    Bool,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `int`: eight bytes, a type of its own.
    Int,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
    /// `uint`: eight bytes, a type of its own.
    Uint,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `string`
    String,
    /// Go's `[]byte`.
    Binary,
    /// [`Atom`](crate::Atom)
    Atom,
    /// [`Pid`](crate::Pid)
    Pid,
    /// [`ProcessId`](crate::ProcessId)
    ProcessId,
    /// [`Ref`](crate::Ref)
    Ref,
    /// [`Alias`](crate::Alias)
    Alias,
    /// [`Event`](crate::Event)
    Event,
    /// [`Time`](crate::Time)
    Time,
    /// [`ErrorValue`](crate::ErrorValue)
    Error,
    /// A value of any type, or nil.
    Any,
    /// `[]T`
    Slice(Arc<Type>),
    /// `[n]T`
    Array(u32, Arc<Type>),
    /// `map[K]V`
    Map(Arc<Type>, Arc<Type>),
    /// `*T`, since Ergo 3.3.0.
    Pointer(Arc<Type>),
    /// A type with a name.
    Registered(TypeName),
}

/// The types that are one tag, with their names.
const PLAIN: [(Type, u8, &str, &str); 24] = [
    (Type::Bool, tag::BOOL, "bool", "bool"),
    (Type::Int8, tag::INT8, "int8", "int8"),
    (Type::Int16, tag::INT16, "int16", "int16"),
    (Type::Int32, tag::INT32, "int32", "int32"),
    (Type::Int64, tag::INT64, "int64", "int64"),
    (Type::Int, tag::INT, "int", "int"),
    (Type::Uint8, tag::UINT8, "uint8", "uint8"),
    (Type::Uint16, tag::UINT16, "uint16", "uint16"),
    (Type::Uint32, tag::UINT32, "uint32", "uint32"),
    (Type::Uint64, tag::UINT64, "uint64", "uint64"),
    (Type::Uint, tag::UINT, "uint", "uint"),
    (Type::Float32, tag::FLOAT32, "float32", "float32"),
    (Type::Float64, tag::FLOAT64, "float64", "float64"),
    (Type::String, tag::STRING, "string", "string"),
    (Type::Binary, tag::BINARY, "binary", "[]uint8"),
    (Type::Atom, tag::ATOM, "atom", "ergo.services/ergo/gen.Atom"),
    (Type::Pid, tag::PID, "pid", "ergo.services/ergo/gen.PID"),
    (Type::ProcessId, tag::PROCESS_ID, "processid", "ergo.services/ergo/gen.ProcessID"),
    (Type::Ref, tag::REF, "ref", "ergo.services/ergo/gen.Ref"),
    (Type::Alias, tag::ALIAS, "alias", "ergo.services/ergo/gen.Alias"),
    (Type::Event, tag::EVENT, "event", "ergo.services/ergo/gen.Event"),
    (Type::Time, tag::TIME, "time", "time.Time"),
    (Type::Error, tag::ERROR, "error", "error"),
    (Type::Any, tag::ANY, "any", "interface {}"),
];

impl Type {
    /// `[]element`
    pub fn slice(element: Self) -> Self {
        Self::Slice(Arc::new(element))
    }

    /// `[len]element`
    pub fn array(len: u32, element: Self) -> Self {
        Self::Array(len, Arc::new(element))
    }

    /// `map[key]value`
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// `*element`
    pub fn pointer(element: Self) -> Self {
        Self::Pointer(Arc::new(element))
    }

    /// Whether the type is written behind a tag of its own at the top.
    pub(crate) fn is_folded(&self) -> bool {
        matches!(self, Self::Slice(_) | Self::Array(..) | Self::Map(..) | Self::Pointer(_))
    }

    /// Whether values may take no bytes; without looking into registered types.
    pub(crate) fn may_be_empty(&self) -> bool {
        matches!(self, Self::Array(..) | Self::Registered(_))
    }

    fn plain(&self) -> Option<&'static (Self, u8, &'static str, &'static str)> {
        PLAIN.iter().find(|(plain, ..)| plain == self)
    }

    /// Writes the type as it stands in front of a top-level value.
    pub(crate) fn write_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if self.is_folded() { out.folded(|out| self.write_fold(out)) } else { self.write_fold(out) }
    }

    /// Writes the type expression (`docs/wire/EDF.md` section 3).
    pub fn write_fold(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Slice(element) => {
                out.u8(tag::SLICE);
                element.write_fold(out)
            }
            Self::Array(len, element) => {
                out.u8(tag::ARRAY);
                out.u32(*len);
                element.write_fold(out)
            }
            Self::Map(key, value) => {
                out.u8(tag::MAP);
                key.write_fold(out)?;
                value.write_fold(out)
            }
            Self::Pointer(element) => {
                if !out.features().pointers {
                    return Err(EncodeError::NoPointers);
                }
                if matches!(**element, Self::Pointer(_)) {
                    return Err(EncodeError::PointerToPointer);
                }
                out.u8(tag::POINTER);
                element.write_fold(out)
            }
            Self::Registered(name) => out.registered(*name),
            plain => {
                if let Some((_, tag, ..)) = plain.plain() {
                    out.u8(*tag);
                }
                Ok(())
            }
        }
    }

    /// The type expression without ids, which is the same on every connection.
    pub(crate) fn key(&self) -> Result<Vec<u8>, EncodeError> {
        let (mut key, mut tables) = (Vec::new(), EncodeTables::default());
        tables.features.pointers = true;
        self.write_fold(&mut Encoder::new(&mut key, &tables))?;
        Ok(key)
    }

    /// Reads a type expression.
    pub fn read_fold(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            tag::SLICE => input.nested(Self::read_fold).map(Self::slice),
            tag::ARRAY => {
                let len = input.u32()?;
                Ok(Self::array(len, input.nested(Self::read_fold)?))
            }
            tag::MAP => input.nested(|input| {
                let key = Self::read_fold(input)?;
                Ok(Self::map(key, Self::read_fold(input)?))
            }),
            tag::POINTER if input.features().pointers => match input.nested(Self::read_fold)? {
                Self::Pointer(_) => Err(DecodeError::PointerToPointer),
                element => Ok(Self::pointer(element)),
            },
            tag::REGISTERED => input.name()?.known().map(Self::Registered),
            tag => Self::of_tag(tag).ok_or(DecodeError::UnknownTag(tag)),
        }
    }

    /// Reads the type in front of a top-level value; `None` is nil.
    pub(crate) fn read_top(input: &mut Decoder<'_>) -> Result<Option<Self>, DecodeError> {
        input.skip_any_tag();
        match input.u8()? {
            tag::NIL => Ok(None),
            tag::FOLDED => Self::read_folded(input).map(Some),
            tag::REGISTERED => Ok(Some(Self::Registered(input.name()?.known()?))),
            tag => match Self::of_tag(tag) {
                None | Some(Self::Any) => Err(DecodeError::UnknownTag(tag)),
                found => Ok(found),
            },
        }
    }

    /// Reads what follows the tag of a composite type.
    pub(crate) fn read_folded(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::read_whole_fold(&mut input.fold()?)
    }

    /// Reads a type expression that must be composite and end with the bytes.
    pub(crate) fn read_whole_fold(fold: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let found = Self::read_fold(fold)?;
        fold.finish_fold()?;
        match found.plain() {
            Some((_, tag, ..)) => Err(DecodeError::NotComposite(*tag)),
            None => Ok(found),
        }
    }

    fn of_tag(tag: u8) -> Option<Self> {
        PLAIN.iter().find(|plain| plain.1 == tag).map(|plain| plain.0.clone())
    }

    /// The type as Go prints it within the name of a generic type.
    pub(crate) fn go_name(&self) -> String {
        match self {
            Self::Slice(element) => format!("[]{}", element.go_name()),
            Self::Array(len, element) => format!("[{len}]{}", element.go_name()),
            Self::Map(key, value) => format!("map[{}]{}", key.go_name(), value.go_name()),
            Self::Pointer(element) => format!("*{}", element.go_name()),
            Self::Registered(name) => {
                let name = &name.as_str()[1..];
                let end = name.find('[').unwrap_or(name.len());
                match name[..end].rfind('/') {
                    Some(slash) => format!("{}.{}", &name[..slash], &name[slash + 1..]),
                    None => name.into(),
                }
            }
            plain => plain.plain().map_or_else(String::new, |plain| plain.3.into()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slice(element) => write!(f, "[]{element}"),
            Self::Array(len, element) => write!(f, "[{len}]{element}"),
            Self::Map(key, value) => write!(f, "map[{key}]{value}"),
            Self::Pointer(element) => write!(f, "*{element}"),
            Self::Registered(name) => f.write_str(name.as_str()),
            plain => f.write_str(plain.plain().map_or("", |plain| plain.2)),
        }
    }
}

/// A text that is no type expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no EDF type; types look like int64, []string, [4]uint8, map[atom]any, #main/Order")]
#[non_exhaustive]
pub struct ParseTypeError(pub Box<str>);

/// Reads what `Display` writes.
impl std::str::FromStr for Type {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, ParseTypeError> {
        parse(text, crate::Limits::DEFAULT.nesting).ok_or_else(|| ParseTypeError(text.into()))
    }
}

fn parse(text: &str, levels: usize) -> Option<Type> {
    let inner = |text| parse(text, levels.checked_sub(1)?);
    if let Some(element) = text.strip_prefix("[]") {
        return inner(element).map(Type::slice);
    }
    if let Some(element) = text.strip_prefix('*') {
        return inner(element).map(Type::pointer);
    }
    if let Some(rest) = text.strip_prefix("map[") {
        let (key, value) = split_bracket(rest)?;
        return Some(Type::map(inner(key)?, inner(value)?));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (len, element) = rest.split_once(']')?;
        return Some(Type::array(len.parse().ok()?, inner(element)?));
    }
    if text.starts_with('#') {
        return TypeName::new(text).ok().map(Type::Registered);
    }
    PLAIN.iter().find(|plain| plain.2 == text).map(|plain| plain.0.clone())
}

/// Splits at the bracket that closes one opened before `text`.
fn split_bracket(text: &str) -> Option<(&str, &str)> {
    let mut open = 1;
    for (place, letter) in text.char_indices() {
        match letter {
            '[' => open += 1,
            ']' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((&text[..place], &text[place + 1..]));
        }
    }
    None
}
