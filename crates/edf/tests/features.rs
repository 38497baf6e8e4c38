//! What later generations of Ergo understand (`docs/wire/EDF.md` section 14),
//! and what tables do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use postroad_edf::{
    Atom, AtomMapping, AtomMappingError, DecodeError, DecodeTables, Decoder, EncodeError, EncodeTables,
    Encoder, ErrorValue, Message, Registry, Time, Value,
};

#[derive(Message, Debug, PartialEq)]
#[message(name = "#features/Chain")]
struct Chain {
    id: u8,
    next: Option<Box<Chain>>,
}

fn tables(pointers: bool, wrapped_errors: bool) -> (EncodeTables, DecodeTables) {
    let (mut encode, mut decode) = (EncodeTables::default(), DecodeTables::default());
    (encode.features.pointers, decode.features.pointers) = (pointers, pointers);
    (encode.features.wrapped_errors, decode.features.wrapped_errors) = (wrapped_errors, wrapped_errors);
    (encode, decode)
}

fn encode<T: Message>(value: &T, tables: &EncodeTables) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, tables).top(value).map(|()| bytes)
}

#[test]
fn pointers() {
    let (encode_tables, decode_tables) = tables(true, false);
    let registry = Registry::new();
    let bytes = encode(&Box::new(7i8), &encode_tables).unwrap();
    assert_eq!(bytes, [0x82, 0, 2, 0xa0, 0x92, 0xa0, 7]);
    assert_eq!(encode(&None::<Box<i8>>, &encode_tables).unwrap(), [0x82, 0, 2, 0xa0, 0x92, 0xff]);
    assert_eq!(*Decoder::new(&bytes, &decode_tables, &registry).top::<Box<i8>>().unwrap(), 7);
    let value = Decoder::new(&bytes, &decode_tables, &registry).value().unwrap();
    assert_eq!(encode(&value, &encode_tables).unwrap(), bytes);

    let chain = Chain { id: 1, next: Some(Box::new(Chain { id: 2, next: None })) };
    let bytes = encode(&chain, &encode_tables).unwrap();
    assert_eq!(bytes[bytes.len() - 4..], [1, 0xa0, 2, 0xff]);
    assert_eq!(Decoder::new(&bytes, &decode_tables, &registry).top::<Chain>().unwrap(), chain);
    let value = Decoder::new(&bytes, &decode_tables, &registry).value().unwrap();
    assert_eq!(encode(&value, &encode_tables).unwrap(), bytes);
}

#[test]
fn pointers_before_they_existed() {
    let (encode_tables, decode_tables) = tables(false, false);
    let registry = Registry::new();
    assert!(matches!(encode(&Box::new(7i8), &encode_tables), Err(EncodeError::NoPointers)));
    let bytes = [0x82, 0, 2, 0xa0, 0x92, 0xa0, 7];
    let error = Decoder::new(&bytes, &decode_tables, &registry).value().unwrap_err();
    assert!(matches!(error, DecodeError::UnknownTag(0xa0)));
}

#[test]
fn a_pointer_to_a_pointer_is_refused() {
    let (encode_tables, decode_tables) = tables(true, false);
    let bytes = [0x82, 0, 3, 0xa0, 0xa0, 0x92, 0xa0, 0xa0, 7];
    let registry = Registry::new();
    let error = Decoder::new(&bytes, &decode_tables, &registry).value().unwrap_err();
    assert!(matches!(error, DecodeError::PointerToPointer));
    let twice = Box::new(Box::new(7i8));
    assert!(matches!(encode(&twice, &encode_tables), Err(EncodeError::PointerToPointer)));
}

#[test]
fn wrapped_errors() {
    let error = ErrorValue::new("outer: inner").wrapping(ErrorValue::new("inner"));
    let registry = Registry::new();
    let (encode_tables, decode_tables) = tables(false, true);
    let bytes = encode(&error, &encode_tables).unwrap();
    assert_eq!(bytes, b"\x9c\xff\xfe\x00\x0couter: inner\x00\x01\x00\x05inner");
    assert_eq!(Decoder::new(&bytes, &decode_tables, &registry).top::<ErrorValue>().unwrap(), error);

    // A peer that does not know them gets the text, and may use their mark as an id.
    let (mut encode_tables, mut decode_tables) = tables(false, false);
    assert_eq!(encode(&error, &encode_tables).unwrap(), b"\x9c\x00\x0couter: inner");
    encode_tables.insert_error("last", 0xfffe);
    decode_tables.insert_error(0xfffe, "last".into());
    let last = ErrorValue::new("last");
    let bytes = encode(&last, &encode_tables).unwrap();
    assert_eq!(bytes, [0x9c, 0xff, 0xfe]);
    assert_eq!(Decoder::new(&bytes, &decode_tables, &registry).top::<ErrorValue>().unwrap(), last);
    encode_tables.features.wrapped_errors = true;
    assert_eq!(encode(&last, &encode_tables).unwrap(), b"\x9c\x00\x04last");
}

#[test]
fn ids_out_of_range_are_not_used() {
    let mut tables = EncodeTables::default();
    let atom = Atom::new("worker").unwrap();
    tables.insert_atom(atom, 255);
    tables.insert_error("boom", 32767);
    assert_eq!(encode(&atom, &tables).unwrap(), b"\x8c\x00\x06worker");
    assert_eq!(encode(&ErrorValue::new("boom"), &tables).unwrap(), b"\x9c\x00\x04boom");
}

#[test]
fn a_mapping_must_be_reversible() {
    let atom = |text| Atom::new(text).unwrap();
    let (a, b, c) = (atom("a"), atom("b"), atom("c"));
    let error = AtomMapping::new([(a, c), (b, c)]).unwrap_err();
    assert_eq!(error, AtomMappingError::Ambiguous { first: a, second: b, wire: c });
    assert_eq!(AtomMapping::new([(a, b), (a, c)]).unwrap_err(), AtomMappingError::Twice(a));
    // Two names may change places.
    let swap = AtomMapping::new([(a, b), (b, a)]).unwrap();
    assert_eq!((swap.wire(a), swap.local(b), swap.wire(c)), (b, a, c));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let tables = EncodeTables::default();
    assert!(matches!(encode(&"x".repeat(65534), &tables), Err(EncodeError::StringTooLong(65534))));
    assert!(encode(&"x".repeat(65533), &tables).is_ok());
    let long = ErrorValue::new("x".repeat(32768));
    assert!(matches!(encode(&long, &tables), Err(EncodeError::ErrorTooLong(32768))));
    let minute = Time { offset: Some(-60), ..Time::ZERO };
    assert!(matches!(encode(&minute, &tables), Err(EncodeError::Time(_))));
    let far = Time { offset: Some(i32::MAX), ..Time::ZERO };
    assert!(encode(&far, &tables).is_err());
    let odd = Time { nanoseconds: 1_000_000_000, ..Time::ZERO };
    assert!(encode(&odd, &tables).is_err());
    assert_eq!(hex::encode(encode(&Time::ZERO, &tables).unwrap()), "af0f01000000000000000000000000ffff");
}

#[test]
fn a_value_of_the_wrong_type_inside_is_refused() {
    let slice = postroad_edf::Slice { element: postroad_edf::Type::Int8, items: Some(vec![Value::Int16(1)]) };
    let error = encode(&Value::Slice(slice), &EncodeTables::default()).unwrap_err();
    assert_eq!(error.to_string(), "a value of type int16 stands where int8 belongs");
}

#[test]
fn a_message_of_another_type_is_named() {
    let bytes = encode(&vec![1i64], &EncodeTables::default()).unwrap();
    let (tables, registry) = (DecodeTables::default(), Registry::new());
    let error = Decoder::new(&bytes, &tables, &registry).top::<Vec<String>>().unwrap_err();
    assert_eq!(error.to_string(), "a value of type []int64 stands where []string belongs");
    let error = Decoder::new(&bytes, &tables, &registry).top::<bool>().unwrap_err();
    assert_eq!(error.to_string(), "a value of type []int64 stands where bool belongs");
    let error = Decoder::new(&[0xff], &tables, &registry).top::<bool>().unwrap_err();
    assert!(matches!(error, DecodeError::UnexpectedNil));
}

#[test]
fn times_turn_into_system_times_and_back() {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    for time in [
        UNIX_EPOCH,
        UNIX_EPOCH + Duration::new(1_700_000_000, 5),
        UNIX_EPOCH - Duration::new(1, 5),
        UNIX_EPOCH - Duration::new(1, 0),
    ] {
        let there = Time::from(time);
        assert!(there.nanoseconds < 1_000_000_000);
        assert_eq!(SystemTime::try_from(there).unwrap(), time);
    }
}
