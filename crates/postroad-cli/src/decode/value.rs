//! EDF values as JSON, in the notation of the golden vectors: nothing is lost
//! to JSON's numbers, and every value tells its type.

use postroad::edf::{ErrorValue, Named, Schema, Struct, Text, Time, Type, Value};
use postroad::{Alias, Atom, Event, Pid, ProcessId, Ref};
use postroad_wire::NetworkFlags;
use serde_json::{Value as Json, json};

/// `{"type", "value"}`, or null for nil.
pub(super) fn typed(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        value => json!({"type": value.type_of().to_string(), "value": plain(value)}),
    }
}

/// A value whose type is known from where it stands.
fn plain(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int8(value) => json!(value),
        Value::Int16(value) => json!(value),
        Value::Int32(value) => json!(value),
        Value::Uint8(value) => json!(value),
        Value::Uint16(value) => json!(value),
        Value::Uint32(value) => json!(value),
        Value::Int64(value) | Value::Int(value) => json!(value.to_string()),
        Value::Uint64(value) | Value::Uint(value) => json!(value.to_string()),
        Value::Float32(value) => {
            json!({"float": value.to_string(), "bits": format!("{:08x}", value.to_bits())})
        }
        Value::Float64(value) => {
            json!({"float": value.to_string(), "bits": format!("{:016x}", value.to_bits())})
        }
        Value::String(value) => text(value),
        Value::Binary(value) => json!(hex::encode(value)),
        Value::Atom(value) => atom(*value),
        Value::Error(value) => error(value),
        Value::Time(value) => time(*value),
        Value::Pid(Pid { node, id, creation }) => {
            json!({"node": atom(*node), "id": id.to_string(), "creation": creation.to_string()})
        }
        Value::ProcessId(ProcessId { name, node }) | Value::Event(Event { name, node }) => {
            json!({"name": atom(*name), "node": atom(*node)})
        }
        Value::Ref(Ref { node, creation, id }) | Value::Alias(Alias { node, creation, id }) => {
            json!({"node": atom(*node), "creation": creation.to_string(), "id": ids(*id)})
        }
        Value::Slice(slice) => slice.items.as_ref().map_or_else(nil, |items| elements(&slice.element, items)),
        Value::Array(array) => elements(&array.element, &array.items),
        Value::Map(map) => map.pairs.as_ref().map_or_else(nil, |pairs| {
            let pairs =
                pairs.iter().map(|(key, value)| json!([part(&map.key, key), part(&map.value, value)]));
            json!({"pairs": pairs.collect::<Vec<_>>()})
        }),
        Value::Pointer(pointer) => pointer
            .target
            .as_ref()
            .map_or_else(nil, |target| json!({"pointer": part(&pointer.element, target)})),
        Value::Struct(value) => fields(value),
        Value::Named(value) => named(value),
        other => json!(format!("{other:?}")),
    }
}

/// A value within another one, where a `ty` belongs.
fn part(ty: &Type, value: &Value) -> Json {
    if *ty == Type::Any { typed(value) } else { plain(value) }
}

/// The ids of a reference.
pub(super) fn ids(ids: [u64; 3]) -> Json {
    json!(ids.map(|id| id.to_string()))
}

/// A text; bytes if it is not UTF-8.
pub(super) fn bytes_as_text(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"bytes_hex": hex::encode(bytes)}),
    }
}

fn text(text: &Text) -> Json {
    bytes_as_text(text.as_bytes())
}

fn atom(atom: Atom) -> Json {
    json!(atom.as_str())
}

fn error(value: &ErrorValue) -> Json {
    match value.wrapped() {
        [] => text(value.text()),
        wrapped => {
            json!({"error": text(value.text()), "wraps": wrapped.iter().map(error).collect::<Vec<_>>()})
        }
    }
}

fn time(Time { seconds, nanoseconds, offset }: Time) -> Json {
    json!({
        "unix_sec": seconds.to_string(),
        "nsec": nanoseconds,
        "offset_sec": offset.unwrap_or_default(),
        "utc": offset.is_none(),
    })
}

fn nil() -> Json {
    json!({"nil": true})
}

fn elements(ty: &Type, items: &[Value]) -> Json {
    items.iter().map(|item| part(ty, item)).collect()
}

fn fields(value: &Struct) -> Json {
    let types = match &value.definition.schema {
        Schema::Struct(fields) => fields.as_slice(),
        _ => &[],
    };
    let fields =
        types.iter().zip(&value.fields).map(|(field, value)| json!([&*field.name, part(&field.ty, value)]));
    json!({"fields": fields.collect::<Vec<_>>()})
}

fn named(named: &Named) -> Json {
    match (&named.definition.schema, &named.value) {
        (Schema::Marshal, Value::Binary(bytes)) => match flags(named, bytes) {
            Some(flags) => json!({"marshaler_bytes": hex::encode(bytes), "flags": flags}),
            None => json!({"marshaler_bytes": hex::encode(bytes)}),
        },
        (_, value) => plain(value),
    }
}

/// What a node says that it is willing to do, as words.
fn flags(named: &Named, bytes: &[u8]) -> Option<Json> {
    /// The names Ergo gives them.
    const NAMES: [(NetworkFlags, &str); 13] = [
        (NetworkFlags::ENABLE, "Enable"),
        (NetworkFlags::REMOTE_SPAWN, "EnableRemoteSpawn"),
        (NetworkFlags::REMOTE_APPLICATION_START, "EnableRemoteApplicationStart"),
        (NetworkFlags::FRAGMENTATION, "EnableFragmentation"),
        (NetworkFlags::PROXY_TRANSIT, "EnableProxyTransit"),
        (NetworkFlags::PROXY_ACCEPT, "EnableProxyAccept"),
        (NetworkFlags::IMPORTANT_DELIVERY, "EnableImportantDelivery"),
        (NetworkFlags::SIMULTANEOUS_CONNECT, "EnableSimultaneousConnect"),
        (NetworkFlags::CLOCK_SKEW, "EnableClockSkew"),
        (NetworkFlags::TRACING, "EnableTracing"),
        (NetworkFlags::WRAPPED_ERRORS, "EnableWrappedErrors"),
        (NetworkFlags::SCHEMA_EVOLUTION, "EnableSchemaEvolution"),
        (NetworkFlags::ACK, "EnableAck"),
    ];
    if named.definition.name.as_str() != "#ergo.services/ergo/gen/NetworkFlags" {
        return None;
    }
    let flags = NetworkFlags::from_bits(u64::from_be_bytes(*bytes.first_chunk()?));
    let mut on: Vec<String> =
        NAMES.iter().filter(|(flag, _)| flags.allows(*flag)).map(|(_, name)| (*name).to_owned()).collect();
    on.extend(flags.keepalive().map(|seconds| format!("keepalive every {seconds} s")));
    Some(json!(on))
}
