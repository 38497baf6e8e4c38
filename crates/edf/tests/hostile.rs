//! Bytes that somebody made up: each costs a named error and nothing else
//! (the table of decode bombs in `docs/wire/QUIRKS.md` section 3).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;

use postroad_edf::{
    DecodeError, DecodeTables, Decoder, Edf, EncodeError, EncodeTables, Encoder, ErrorValue, Field, Limits,
    Message, Payload, Registry, Schema, Text, Type, TypeName, Value,
};

/// Counts what the current thread holds, so that a test can tell how much
/// memory its input was given at most.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // The cells are gone while the thread ends; nobody counts then.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: everything is left to the system's allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` holds at most, in bytes, beyond what was held before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

#[derive(Message, Debug, Default, Clone, PartialEq)]
#[message(name = "#hostile/Empty")]
struct Empty;

#[derive(Message, Debug)]
#[message(name = "#hostile/Table", transparent)]
struct Table(HashMap<u64, u64>);

/// 2 KiB in memory, 128 bytes on the wire.
#[derive(Message, Debug)]
#[message(name = "#hostile/Large")]
struct Large {
    places: [Option<Vec<u64>>; 128],
}

#[derive(Message, Debug)]
#[message(name = "#hostile/Tree")]
struct Tree {
    children: Vec<Tree>,
}

fn registry() -> Registry {
    let registry = Registry::new();
    registry.register::<[u64; 4096]>().unwrap();
    registry.register::<Vec<Large>>().unwrap();
    registry.register::<Vec<Empty>>().unwrap();
    let known = |name: &str, schema| registry.register_schema(TypeName::new(name).unwrap(), schema).unwrap();
    known("#hostile/Nothing", Schema::Struct(vec![]));
    known("#hostile/Map", Schema::Map(Type::Uint64, Type::Uint64));
    let itself = Type::Registered(TypeName::new("#hostile/Itself").unwrap());
    known("#hostile/Itself", Schema::Struct(vec![Field::new("a", itself.clone()), Field::new("b", itself)]));
    registry
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x83];
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text.bytes());
    bytes
}

fn folded(fold: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82];
    bytes.extend((fold.len() as u16).to_be_bytes());
    bytes.extend(fold);
    bytes.extend(value);
    bytes
}

/// Both ways of reading refuse the bytes, and hold less than `limit` bytes meanwhile.
fn refused(bytes: &[u8], limit: isize) -> DecodeError {
    let (tables, registry) = (DecodeTables::default(), registry());
    let (payload, held) = peak(|| Decoder::new(bytes, &tables, &registry).payload());
    assert!(held <= limit, "{held} bytes of memory for a payload of {} bytes", bytes.len());
    assert!(payload.is_err(), "{payload:?}");
    let (value, held) = peak(|| Decoder::new(bytes, &tables, &registry).value());
    assert!(held <= limit, "{held} bytes of memory for a value of {} bytes", bytes.len());
    value.unwrap_err()
}

#[test]
fn a_long_array_of_numbers() {
    let error = refused(&folded(&[0x9e, 0x10, 0, 0, 0, 0x9a], &[0]), 4096);
    assert!(matches!(error, DecodeError::TooManyElements { count: 0x1000_0000, left: 1 }));
    // The same for a type that Rust knows.
    refused(&folded(&[0x9e, 0, 0, 0x10, 0, 0x9a], &[0]), 4096);
}

#[test]
fn a_registered_map_that_announces_much() {
    for known in ["#hostile/Table", "#hostile/Map"] {
        let mut bytes = name(known);
        bytes.extend([0x83, 0x7f, 0xff, 0xff, 0xff]);
        let error = refused(&bytes, 4096);
        assert!(matches!(error, DecodeError::TooManyElements { count: 0x7fff_ffff, .. }), "{error:?}");
    }
}

#[test]
fn elements_without_bytes() {
    for known in ["#hostile/Empty", "#hostile/Nothing"] {
        let mut array = vec![0x9e, 0x40, 0, 0, 0];
        array.extend(name(known));
        let limit = 2 * 65536 * size_of::<Value>() as isize + 4096;
        assert!(matches!(refused(&folded(&array, &[]), limit), DecodeError::TooManyEmpty(65536)));
        // Many arrays of few do not help.
        let mut arrays = vec![0x9e, 0, 0, 0xff, 0xff];
        arrays.extend([0x9e, 0, 0, 0xff, 0xff]);
        arrays.extend(name(known));
        assert!(matches!(refused(&folded(&arrays, &[]), limit), DecodeError::TooManyEmpty(65536)));
    }
}

#[test]
fn elements_without_bytes_are_read_as_long_as_they_are_few() {
    let (tables, registry) = (DecodeTables::default(), registry());
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, &EncodeTables::default()).top(&vec![Empty; 1000]).unwrap();
    let mut decoder = Decoder::new(&bytes, &tables, &registry);
    assert_eq!(decoder.top::<Vec<Empty>>().unwrap().len(), 1000);
    let value = Decoder::new(&bytes, &tables, &registry).value().unwrap();
    let mut again = Vec::new();
    Encoder::new(&mut again, &EncodeTables::default()).top(&value).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn a_type_expression_that_never_ends() {
    let error = refused(&folded(&[0x9d; 20_000], &[0xff]), 4096);
    assert!(matches!(error, DecodeError::FoldTooLong { len: 20_000, limit: 4096 }));
    let error = refused(&folded(&[0x9d; 4096], &[0xff]), 16384);
    assert!(matches!(error, DecodeError::TooDeep(64)));
}

#[test]
fn any_within_any() {
    let mut bytes = Vec::new();
    for _ in 0..3_000_000 {
        bytes.extend([0x82, 0, 2, 0x9d, 0x84, 0x9d, 0, 0, 0, 1]);
    }
    bytes.push(0xff);
    let error = refused(&bytes, 1 << 16);
    assert!(matches!(error, DecodeError::TooDeep(64)));
}

#[test]
fn a_tree_of_the_same_type() {
    let (tables, registry) = (DecodeTables::default(), registry());
    let mut bytes = name("#hostile/Tree");
    bytes.extend([0x9d, 0, 0, 0, 1].repeat(1_000_000));
    bytes.push(0xff);
    let error = Decoder::new(&bytes, &tables, &registry).top::<Tree>().unwrap_err();
    assert!(matches!(error, DecodeError::TooDeep(64)));
    refused(&bytes, 1 << 16);
}

#[test]
fn a_slice_of_large_structs() {
    let mut fold = vec![0x9d];
    fold.extend(name("#hostile/Large"));
    // As many as the bytes seem to hold, and the first one is broken.
    let mut value = vec![0x9d, 0, 0, 0x10, 0];
    value.resize(5 + 4096 * 128, 0xff);
    value[5] = 0;
    let error = refused(&folded(&fold, &value), 32768);
    assert!(matches!(error, DecodeError::BadMarker { expected: 0x9d, found: 0 }));
    // All of them are nil: now they are paid for, byte by byte.
    value[5] = 0xff;
    let bytes = folded(&fold, &value);
    let (tables, registry) = (DecodeTables::default(), registry());
    let (large, held) = peak(|| Decoder::new(&bytes, &tables, &registry).top::<Vec<Large>>().unwrap());
    assert!(large.iter().all(|large| large.places.iter().all(Option::is_none)));
    assert!(held < 80 * bytes.len() as isize, "{held} bytes of memory for {}", bytes.len());
}

#[test]
fn a_type_that_contains_itself() {
    let error = refused(&name("#hostile/Itself"), 1 << 16);
    assert!(matches!(error, DecodeError::TooDeep(64)));
}

#[test]
fn errors_that_wrap_errors() {
    let mut tables = DecodeTables::default();
    tables.features.wrapped_errors = true;
    let registry = Registry::new();
    let mut bytes = vec![0x9c];
    bytes.extend([0xff, 0xfe, 0, 0, 0, 1].repeat(100_000));
    bytes.extend([0, 0]);
    let error = Decoder::new(&bytes, &tables, &registry).value().unwrap_err();
    assert!(matches!(error, DecodeError::TooDeep(64)));
    let error = Decoder::new(&[0x9c, 0xff, 0xfe, 0, 0, 0xff, 0xff], &tables, &registry).value().unwrap_err();
    assert!(matches!(error, DecodeError::TooManyElements { count: 65535, .. }));
}

#[test]
fn every_truncation_is_an_error() {
    let (tables, registry) = (DecodeTables::default(), Registry::new());
    let value = vec![
        Payload::new(7isize),
        Payload::new(String::from("text")),
        Payload::new(vec![1u8, 2]),
        Payload::new(ErrorValue::new("broken")),
        Payload::new(HashMap::from([(1u8, vec![2u64])])),
    ];
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, &EncodeTables::default()).top(&value).unwrap();
    for len in 0..bytes.len() {
        let mut decoder = Decoder::new(&bytes[..len], &tables, &registry);
        assert!(decoder.value().is_err(), "{len} of {} bytes", bytes.len());
    }
    assert!(Decoder::new(&bytes, &tables, &registry).value().is_ok());
}

#[test]
fn limits_are_the_owners() {
    let registry = Registry::new();
    let mut bytes = folded(&[0x9d, 0x84], &[]);
    for _ in 0..9 {
        bytes.extend([0x9d, 0, 0, 0, 1, 0x82, 0, 2, 0x9d, 0x84]);
    }
    bytes.push(0xff);
    let mut tables = DecodeTables::default();
    assert!(Decoder::new(&bytes, &tables, &registry).value().is_ok());
    let mut limits = Limits::default();
    limits.nesting = 10;
    tables.limits = limits;
    let error = Decoder::new(&bytes, &tables, &registry).value().unwrap_err();
    assert!(matches!(error, DecodeError::TooDeep(10)));
}

#[test]
fn many_elements_for_few_bytes() {
    let registry = Registry::new();
    let mut bytes = folded(&[0x9d, 0x84], &[0x9d]);
    bytes.extend(5_000_000u32.to_be_bytes());
    bytes.resize(bytes.len() + 5_000_000, 0xff);
    let tables = DecodeTables::default();
    let error = Decoder::new(&bytes, &tables, &registry).value().unwrap_err();
    assert!(matches!(error, DecodeError::TooManyDynamic(4_194_304)));
    // A Rust type takes what it takes.
    assert_eq!(
        Decoder::new(&bytes, &tables, &registry).top::<Vec<Option<Value>>>().unwrap().len(),
        5_000_000
    );
}

#[test]
fn strings_that_are_not_utf8() {
    let (tables, registry) = (DecodeTables::default(), Registry::new());
    let bytes = [0x8d, 0, 2, 0xff, b'x'];
    let decoder = || Decoder::new(&bytes, &tables, &registry);
    assert!(matches!(decoder().top::<String>(), Err(DecodeError::NotUtf8)));
    let text = Text::from(&b"\xffx"[..]);
    assert_eq!(decoder().top::<Text>().unwrap(), text);
    assert_eq!(decoder().value().unwrap(), Value::String(text.clone()));
    let payload = decoder().payload().unwrap();
    assert_eq!(payload.downcast_ref::<Value>(), Some(&Value::String(text)));
    let mut again = Vec::new();
    payload.encode_top(&mut Encoder::new(&mut again, &EncodeTables::default())).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn a_value_too_deep_for_peers_is_not_sent() {
    let mut value = Value::Nil;
    for _ in 0..100 {
        let items = Some(vec![value]);
        value = Value::Slice(postroad_edf::Slice { element: Type::Any, items });
    }
    let mut bytes = Vec::new();
    let error = value.encode_top(&mut Encoder::new(&mut bytes, &EncodeTables::default())).unwrap_err();
    assert!(matches!(error, EncodeError::TooDeep(64)), "{error:?}");
    let mut tables = EncodeTables::default();
    tables.nesting = 200;
    bytes.clear();
    assert!(value.encode_top(&mut Encoder::new(&mut bytes, &tables)).is_ok());

    let mut tree = Tree { children: vec![] };
    for _ in 0..100 {
        tree = Tree { children: vec![tree] };
    }
    let error = tree.encode_top(&mut Encoder::new(&mut bytes, &EncodeTables::default())).unwrap_err();
    assert!(matches!(error, EncodeError::TooDeep(64)), "{error:?}");
}
