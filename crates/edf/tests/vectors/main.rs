//! The golden vectors: every line of every `edf*.jsonl` in `vectors/` and in
//! the folder that the environment variable `POSTROAD_VECTORS` names, through
//! the dynamic [`Value`]. Each folder brings its types as `*types.jsonl`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../golden/mod.rs"]
mod golden;
mod notation;

use std::collections::HashMap;

use golden::{Folder, bytes, is_errors, is_values, tables};
use notation::Notation;
use postroad_edf::{
    Atom, DecodeError, DecodeTables, Decoder, EncodeError, EncodeTables, Encoder, ErrorValue, Opaque,
    Payload, Registry, Type, Value,
};

fn encode(value: &Value, tables: &EncodeTables) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, tables).top(value).map(|()| bytes)
}

/// Of pairs with equal keys the last one counts, also for comparison.
fn without_repeated_keys(value: Value) -> Value {
    match value {
        Value::Map(mut map) => {
            if let Some(pairs) = &mut map.pairs {
                let all = std::mem::take(pairs);
                for (place, (key, value)) in all.iter().enumerate() {
                    if !all[place + 1..].iter().any(|(later, _)| later == key) {
                        pairs.push((key.clone(), value.clone()));
                    }
                }
            }
            Value::Map(map)
        }
        value => value,
    }
}

#[test]
fn vectors_encode() {
    let mut count = 0;
    for folder in Folder::all() {
        for (place, line) in folder.lines(is_values) {
            if line["dir"] == "decode" {
                continue;
            }
            let (tables, _) = tables(&line);
            let Some(value) = Notation::new(&folder.registry).any(&line["value"]) else { continue };
            let encoded = encode(&value, &tables).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(hex::encode(encoded), hex::encode(bytes(&line).unwrap()), "{place}");
            count += 1;
        }
    }
    assert!(count > 110, "only {count} vectors encoded");
}

#[test]
fn vectors_decode_and_encode_again() {
    let mut count = 0;
    for folder in Folder::all() {
        let notation = Notation::new(&folder.registry);
        for (place, line) in folder.lines(is_values) {
            // What only Ergo cannot decode must be read all the same.
            let (encode_tables, decode_tables) = tables(&line);
            let bytes = bytes(&line).unwrap();
            let mut decoder = Decoder::new(&bytes, &decode_tables, &folder.registry);
            let value = decoder.value().unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(decoder.remaining().len() as u64, line["left_over"].as_u64().unwrap_or(0), "{place}");
            assert!(
                notation.matches(&without_repeated_keys(value.clone()), &line["value"]),
                "{place}: {value:?} is not {}",
                line["value"]
            );
            let json = value.to_json();
            assert_eq!(
                notation.any(&json).map(|again| format!("{again:?}")),
                Some(format!("{value:?}")),
                "{place}"
            );
            assert_eq!(json["value"]["rfc3339"], line["value"]["value"]["rfc3339"], "{place}");
            if line["dir"] != "decode" {
                let again = encode(&value, &encode_tables).unwrap();
                assert_eq!(hex::encode(again), hex::encode(&bytes), "{place}");
            }
            count += 1;
        }
    }
    assert!(count > 120, "only {count} vectors decoded");
}

/// The way messages take: into a payload of whatever type the registry knows.
#[test]
fn vectors_decode_into_payloads() {
    for folder in Folder::all() {
        for (place, line) in folder.lines(is_values) {
            let (encode_tables, decode_tables) = tables(&line);
            let bytes = bytes(&line).unwrap();
            let mut decoder = Decoder::new(&bytes, &decode_tables, &folder.registry);
            let payload = decoder.payload().unwrap_or_else(|error| panic!("{place}: {error}"));
            let used = bytes.len() - decoder.remaining().len();
            assert_eq!(payload.is_nil(), line["value"].is_null(), "{place}");
            if line["dir"] != "decode" {
                let mut again = Vec::new();
                payload.encode_top(&mut Encoder::new(&mut again, &encode_tables)).unwrap();
                assert_eq!(hex::encode(again), hex::encode(&bytes[..used]), "{place}");
            }
        }
    }
}

/// The same values for a program that knows none of the registered types.
#[test]
fn vectors_of_unknown_types_stay_what_they_are() {
    // Only what this test binary links is known, which is nothing.
    let registry = Registry::new();
    let mut count = 0;
    for folder in Folder::all() {
        for (place, line) in folder.lines(is_values) {
            let Some(name) = line["value"]["type"].as_str().filter(|ty| ty.starts_with('#')) else {
                continue;
            };
            let (encode_tables, decode_tables) = tables(&line);
            let bytes = bytes(&line).unwrap();
            let payload = Decoder::new(&bytes, &decode_tables, &registry).payload().unwrap();
            let opaque = payload.downcast::<Opaque>().unwrap_or_else(|other| panic!("{place}: {other:?}"));
            assert_eq!(*opaque.name, *name, "{place}");
            let mut again = Vec::new();
            Payload::new(opaque).encode_top(&mut Encoder::new(&mut again, &encode_tables)).unwrap();
            assert_eq!(hex::encode(again), hex::encode(&bytes), "{place}");
            count += 1;
        }
    }
    assert!(count > 30, "only {count} vectors of registered types");
}

#[test]
fn vectors_that_must_not_decode() {
    let mut count = 0;
    for folder in Folder::all() {
        for (place, line) in folder.lines(is_errors) {
            let Some(bytes) = bytes(&line) else { continue };
            let (_, tables) = tables(&line);
            let value = Decoder::new(&bytes, &tables, &folder.registry).value();
            let payload = Decoder::new(&bytes, &tables, &folder.registry).payload();
            if line["ergo_only"] == true {
                continue;
            }
            assert!(value.is_err(), "{place}: {value:?}");
            // As a message, a type that nobody knows is kept as it is.
            if !matches!(value, Err(DecodeError::UnknownType(_))) {
                assert!(payload.is_err(), "{place}: {payload:?}");
            }
            count += 1;
        }
    }
    assert!(count >= 13, "only {count} vectors refused");
}

/// What Go cannot encode and Rust can express at all.
#[test]
fn vectors_that_must_not_encode() {
    for folder in Folder::all() {
        for (place, line) in folder.lines(is_errors) {
            if line["kind"] != "encode_error" {
                continue;
            }
            let tables = EncodeTables::default();
            let long = "x".repeat(256);
            match line["name"].as_str().unwrap() {
                "enc_nil" => {
                    assert!(matches!(encode(&Value::Nil, &tables), Err(EncodeError::NilAtTop)));
                    let mut bytes = Vec::new();
                    assert!(Encoder::new(&mut bytes, &tables).top(&()).is_err());
                    assert!(Encoder::new(&mut bytes, &tables).top(&None::<ErrorValue>).is_err());
                }
                "enc_atom_256" | "enc_pid_node_256" => assert!(Atom::new(&long).is_err()),
                "enc_pointer" => {
                    let pointer = Value::Pointer(postroad_edf::Pointer {
                        element: Type::Bool,
                        target: Some(Box::new(Value::Bool(true))),
                    });
                    assert!(matches!(encode(&pointer, &tables), Err(EncodeError::NoPointers)));
                }
                // Values of these types do not compile: `Edf` is not implemented for them.
                "enc_unregistered_struct"
                | "enc_any_holding_unregistered"
                | "enc_chan"
                | "enc_custom_error_type_pointer"
                | "enc_custom_error_type_value" => {}
                // A vector that came later says itself what it refuses.
                _ => {
                    if let Some(value) = Notation::new(&folder.registry).any(&line["value"]) {
                        assert!(encode(&value, &tables).is_err(), "{place}");
                    }
                }
            }
        }
    }
}

/// The texts of a stock node's errors, as ids and as texts.
#[test]
fn vectors_of_registered_errors() {
    let (mut encode_tables, mut decode_tables) = (EncodeTables::default(), DecodeTables::default());
    let registry = Registry::new();
    let mut errors = HashMap::new();
    for folder in Folder::all() {
        for (place, line) in folder.lines(|file| file == "registered_errors.jsonl") {
            let text = line["text"].as_str().unwrap_or_else(|| panic!("{place}"));
            let id = line["observed_id"].as_u64().unwrap() as u16;
            encode_tables.insert_error(text, id);
            decode_tables.insert_error(id, text.into());
            errors.insert(text.to_owned(), id);
        }
    }
    assert!(errors.len() >= 15);
    for (text, id) in errors {
        let value = Value::Error(ErrorValue::new(text));
        let short = encode(&value, &encode_tables).unwrap();
        assert_eq!(short, [0x9c, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
        assert_eq!(Decoder::new(&short, &decode_tables, &registry).value().unwrap(), value);
        let full = encode(&value, &EncodeTables::default()).unwrap();
        assert_eq!(Decoder::new(&full, &DecodeTables::default(), &registry).value().unwrap(), value);
    }
}
