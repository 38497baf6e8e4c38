//! Dynamic values as JSON, for people and their tools.

use serde_json::{Value as Json, json};

use crate::{Atom, ErrorValue, Schema, Text, Time, Type, Value};

impl Value {
    /// The value as JSON, without loss, in the notation of the golden vectors:
    /// `{"type": ..., "value": ...}` here and wherever EDF has `any`, null for
    /// nil. Integers that JavaScript would round, and so all of 64 bits, are
    /// strings; binaries are hexadecimal; structs and maps are lists of pairs,
    /// so that their order stays.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Nil => Json::Null,
            value => json!({ "type": value.type_of().to_string(), "value": value.untyped() }),
        }
    }

    /// The value where its type is known.
    fn untyped(&self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Bool(value) => json!(value),
            Self::Int8(value) => json!(value),
            Self::Int16(value) => json!(value),
            Self::Int32(value) => json!(value),
            Self::Int64(value) | Self::Int(value) => json!(value.to_string()),
            Self::Uint8(value) => json!(value),
            Self::Uint16(value) => json!(value),
            Self::Uint32(value) => json!(value),
            Self::Uint64(value) | Self::Uint(value) => json!(value.to_string()),
            Self::Float32(value) => {
                json!({ "float": format!("{value:?}"), "bits": format!("{:08x}", value.to_bits()) })
            }
            Self::Float64(value) => {
                json!({ "float": format!("{value:?}"), "bits": format!("{:016x}", value.to_bits()) })
            }
            Self::String(text) => text_json(text),
            Self::Binary(bytes) => json!(hex(bytes)),
            Self::Atom(atom) => json!(atom.as_str()),
            Self::Error(error) => error_json(error),
            Self::Time(time) => time_json(*time),
            Self::Pid(pid) => json!({
                "node": pid.node.as_str(), "id": pid.id.to_string(), "creation": pid.creation.to_string(),
            }),
            Self::ProcessId(id) => json!({ "node": id.node.as_str(), "name": id.name.as_str() }),
            Self::Event(event) => json!({ "node": event.node.as_str(), "name": event.name.as_str() }),
            Self::Ref(reference) => reference_json(reference.node, reference.creation, reference.id),
            Self::Alias(alias) => reference_json(alias.node, alias.creation, alias.id),
            Self::Slice(slice) => match &slice.items {
                None => nil(),
                Some(items) => items.iter().map(|item| item.within(&slice.element)).collect(),
            },
            Self::Array(array) => array.items.iter().map(|item| item.within(&array.element)).collect(),
            Self::Map(map) => match &map.pairs {
                None => nil(),
                Some(pairs) => json!({
                    "pairs": pairs
                        .iter()
                        .map(|(key, value)| json!([key.within(&map.key), value.within(&map.value)]))
                        .collect::<Json>(),
                }),
            },
            Self::Pointer(pointer) => match &pointer.target {
                None => nil(),
                Some(target) => json!({ "pointer": target.within(&pointer.element) }),
            },
            Self::Struct(value) => {
                let Schema::Struct(fields) = &value.definition.schema else { return Json::Null };
                let pairs = fields.iter().zip(&value.fields);
                json!({
                    "fields": pairs
                        .map(|(field, value)| json!([*field.name, value.within(&field.ty)]))
                        .collect::<Json>(),
                })
            }
            Self::Named(named) => match (&named.definition.schema, &named.value) {
                (Schema::Marshal, Self::Binary(bytes)) => json!({ "marshaler_bytes": hex(bytes) }),
                (_, value) => value.untyped(),
            },
        }
    }

    /// The value where a `ty` is expected: with its type only in `any`.
    fn within(&self, ty: &Type) -> Json {
        if matches!(ty, Type::Any) { self.to_json() } else { self.untyped() }
    }
}

fn nil() -> Json {
    json!({ "nil": true })
}

fn text_json(text: &Text) -> Json {
    match text.as_str() {
        Some(text) => json!(text),
        None => json!({ "bytes_hex": hex(text.as_bytes()) }),
    }
}

fn error_json(error: &ErrorValue) -> Json {
    if error.wrapped().is_empty() {
        return text_json(error.text());
    }
    let wrapped: Json = error.wrapped().iter().map(error_json).collect();
    json!({ "text": text_json(error.text()), "wrapped": wrapped })
}

fn time_json(time: Time) -> Json {
    json!({
        "unix_sec": time.seconds.to_string(),
        "nsec": time.nanoseconds,
        "offset_sec": time.offset.unwrap_or(0),
        "utc": time.offset.is_none(),
        "rfc3339": time.to_string(),
    })
}

fn reference_json(node: Atom, creation: i64, id: [u64; 3]) -> Json {
    json!({ "node": node.as_str(), "creation": creation.to_string(), "id": id.map(|id| id.to_string()) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
