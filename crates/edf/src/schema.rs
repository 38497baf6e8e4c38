//! What registered types consist of, as data.

use crate::{Type, TypeName};

/// What a registered type consists of (`docs/wire/EDF.md` sections 4 and 8).
/// EDF does not describe itself: without this a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schema {
    /// A struct: its fields in the order of the wire.
    Struct(Vec<Field>),
    /// A named slice.
    Slice(Type),
    /// A named array.
    Array(u32, Type),
    /// A named map: key, value.
    Map(Type, Type),
    /// A named scalar or string: the type under the name.
    Scalar(Type),
    /// A type with bytes of its own (`docs/wire/EDF.md` section 9).
    Marshal,
}

impl Schema {
    /// Whether values of both have the same bytes: field names do not travel.
    pub(crate) fn same_shape(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Struct(one), Self::Struct(two)) => {
                one.iter().map(|field| &field.ty).eq(two.iter().map(|field| &field.ty))
            }
            _ => self == other,
        }
    }
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The name, which does not travel.
    pub name: Box<str>,
    /// The type.
    pub ty: Type,
}

impl Field {
    /// A field.
    pub fn new(name: impl Into<Box<str>>, ty: Type) -> Self {
        Self { name: name.into(), ty }
    }
}

/// A registered type: its name and what it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definition {
    /// The name on the wire.
    pub name: TypeName,
    /// What it consists of.
    pub schema: Schema,
}

impl Definition {
    /// A registered type.
    pub fn new(name: TypeName, schema: Schema) -> Self {
        Self { name, schema }
    }
}
