//! Dynamic values to bytes, checked against the type that belongs there.

use super::{Array, Map, Named, Slice, Value};
use crate::encoder::{Marker, Mismatch};
use crate::{Edf, EncodeError, Encoder, Schema, Type, tag};

impl Value {
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

    pub(super) fn encode_typed(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
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
