//! Who stands for which type.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use postroad_edf::{
    DecodeError, DecodeTables, Decoder, EncodeTables, Encoder, Field, Message, Opaque, Payload,
    RegisterError, Registered, Registry, Schema, Text, Type, TypeName, Value,
};

#[derive(Message, Debug, PartialEq)]
#[message(name = "#registry/Leaf")]
struct Leaf {
    weight: u8,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#registry/Branch")]
struct Branch {
    leaves: Vec<Leaf>,
    branches: Vec<Branch>,
}

mod one {
    use super::Message;

    #[derive(Message, Debug, PartialEq)]
    #[message(name = "#registry/Twice")]
    pub(crate) struct Mine(pub(crate) u8);
}

mod two {
    use super::Message;

    #[derive(Message)]
    #[message(name = "#registry/Twice")]
    pub(crate) struct Yours(pub(crate) String);
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#registry/Versioned", unlinked)]
struct Old {
    id: u32,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#registry/Versioned", unlinked)]
struct New {
    id: u32,
    label: String,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#registry/Wrapper")]
struct Wrapper<T> {
    inner: Inner<T>,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#registry/Inner")]
struct Inner<T> {
    items: Vec<T>,
}

fn name(text: &str) -> TypeName {
    TypeName::new(text).unwrap()
}

fn encode<T: Message>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, &EncodeTables::default()).top(value).unwrap();
    bytes
}

fn payload(bytes: &[u8], registry: &Registry) -> Payload {
    Decoder::new(bytes, &DecodeTables::default(), registry).payload().unwrap()
}

#[test]
fn parts_come_before_the_whole() {
    let names = Registry::new().names();
    let place = |wanted: TypeName| names.iter().position(|name| *name == wanted).unwrap();
    assert!(place(Leaf::type_name()) < place(Branch::type_name()));
    assert_eq!(names, Registry::new().names());
}

#[test]
fn a_name_linked_twice_belongs_to_one_and_is_reported() {
    let registry = Registry::new();
    let [RegisterError::Taken { name, by, wanted }] = registry.conflicts() else {
        panic!("{:?}", registry.conflicts());
    };
    assert_eq!(&**name, "#registry/Twice");
    assert!(by.ends_with("one::Mine") && wanted.ends_with("two::Yours"), "{by}, {wanted}");
    let bytes = encode(&one::Mine(7));
    assert_eq!(payload(&bytes, &registry).downcast_ref(), Some(&one::Mine(7)));
    assert!(matches!(registry.register::<two::Yours>(), Err(RegisterError::Taken { .. })));
    // It can still be sent, and read by whoever asks for it.
    let bytes = encode(&two::Yours("x".into()));
    let yours: two::Yours = Decoder::new(&bytes, &DecodeTables::default(), &registry).top().unwrap();
    assert_eq!(yours.0, "x");
}

#[test]
fn a_name_with_several_layouts() {
    let registry = Registry::new();
    assert!(!registry.names().contains(&Old::type_name()));
    let (old, new) = (Old { id: 1 }, New { id: 1, label: "x".into() });
    let bytes = encode(&new);
    assert_eq!(Decoder::new(&bytes, &DecodeTables::default(), &registry).top::<New>().unwrap(), new);
    assert!(payload(&bytes, &registry).is::<Opaque>());
    registry.register::<Old>().unwrap();
    assert!(registry.register::<New>().is_err());
    assert_eq!(payload(&encode(&old), &registry).downcast_ref(), Some(&old));
}

#[test]
fn generic_types_are_known_once_registered() {
    let wrapper = Wrapper { inner: Inner { items: vec![Leaf { weight: 1 }] } };
    let bytes = encode(&wrapper);
    let registry = Registry::new();
    let opaque = payload(&bytes, &registry);
    assert_eq!(&*opaque.downcast_ref::<Opaque>().unwrap().name, "#registry/Wrapper[registry.Leaf]");
    assert_eq!(encode(&opaque), bytes);
    registry.register::<Wrapper<Leaf>>().unwrap();
    assert_eq!(payload(&bytes, &registry).downcast_ref(), Some(&wrapper));
    // Its parts came along.
    let value = Decoder::new(&bytes, &DecodeTables::default(), &registry).value().unwrap();
    assert_eq!(encode(&value), bytes);
}

#[test]
fn composites_come_as_the_type_that_is_registered() {
    let map = BTreeMap::from([(String::from("k"), 1i32)]);
    let bytes = encode(&map);
    let registry = Registry::new();
    assert!(payload(&bytes, &registry).is::<Value>());
    registry.register::<BTreeMap<String, i32>>().unwrap();
    registry.register::<BTreeMap<String, i32>>().unwrap();
    assert_eq!(payload(&bytes, &registry).downcast_ref(), Some(&map));
    let taken = registry.register::<HashMap<String, i32>>().unwrap_err();
    assert!(taken.to_string().starts_with("map[string]int32 is taken"), "{taken}");

    // Also of registered types, by name and by id.
    let leaves = vec![Leaf { weight: 1 }];
    registry.register::<Vec<Leaf>>().unwrap();
    assert_eq!(payload(&encode(&leaves), &registry).downcast_ref(), Some(&leaves));
    let (mut encode_tables, mut decode_tables) = (EncodeTables::default(), DecodeTables::default());
    encode_tables.insert_type(Leaf::type_name(), 5000);
    decode_tables.insert_type(5000, "#registry/Leaf");
    let mut short = Vec::new();
    Encoder::new(&mut short, &encode_tables).top(&leaves).unwrap();
    assert!(short.len() < encode(&leaves).len());
    let read = Decoder::new(&short, &decode_tables, &registry).payload().unwrap();
    assert_eq!(read.downcast_ref(), Some(&leaves));
}

#[test]
fn strings_and_binaries_come_as_the_type_that_is_registered() {
    let (text, binary) = (encode(&String::from("x")), encode(&vec![1u8]));
    let registry = Registry::new();
    assert!(payload(&text, &registry).is::<String>());
    assert!(payload(&binary, &registry).is::<Vec<u8>>());
    registry.register::<Text>().unwrap();
    registry.register::<Bytes>().unwrap();
    assert_eq!(payload(&text, &registry).downcast_ref(), Some(&Text::from("x")));
    assert_eq!(payload(&binary, &registry).downcast_ref(), Some(&Bytes::from_static(&[1])));
    assert!(registry.register::<String>().is_err());
    let registry = Registry::new();
    registry.register::<String>().unwrap();
    assert!(registry.register::<Text>().is_err());
    assert!(payload(&text, &registry).is::<String>());
}

#[test]
fn schemas_and_rust_types_must_agree() {
    let registry = Registry::new();
    let leaf = Schema::Struct(vec![Field::new("Weight", Type::Uint8)]);
    registry.register_schema(Leaf::type_name(), leaf.clone()).unwrap();
    let other = Schema::Struct(vec![Field::new("Weight", Type::Uint16)]);
    let taken = registry.register_schema(Leaf::type_name(), other.clone()).unwrap_err();
    assert!(taken.to_string().ends_with("registry::Leaf, so it cannot stand for this schema"), "{taken}");

    // First the schema, then the Rust type.
    registry.register_schema(Old::type_name(), Schema::Struct(vec![Field::new("ID", Type::Uint32)])).unwrap();
    let bytes = encode(&Old { id: 1 });
    let before = payload(&bytes, &registry);
    let Some(Value::Struct(value)) = before.downcast_ref() else { panic!("{before:?}") };
    assert_eq!(value.get("ID"), Some(&Value::Uint32(1)));
    registry.register::<Old>().unwrap();
    assert_eq!(payload(&bytes, &registry).downcast_ref(), Some(&Old { id: 1 }));
    assert!(registry.register::<New>().is_err());

    registry.register_schema(name("#registry/Free"), leaf.clone()).unwrap();
    registry.register_schema(name("#registry/Free"), leaf).unwrap();
    assert!(registry.register_schema(name("#registry/Free"), other).is_err());
}

#[test]
fn what_fails_leaves_no_trace() {
    let registry = Registry::new();
    registry.register::<Old>().unwrap();
    let names = registry.names();
    // The inner type is registered first, then the outer one is refused.
    assert!(registry.register::<Vec<Wrapper<New>>>().is_err());
    assert_eq!(registry.names(), names);
    assert!(registry.definition(<Inner<New>>::type_name()).is_none());
}

#[test]
fn a_type_known_after_the_handshake_is_found_by_its_id() {
    let registry = Registry::new();
    let mut tables = DecodeTables::default();
    tables.insert_type(4096, "#registry/Late");
    let bytes = [0x83, 0x10, 0x00, 0x07];
    let before = Decoder::new(&bytes, &tables, &registry).payload().unwrap();
    assert_eq!(*before.downcast_ref::<Opaque>().unwrap().bytes, [7]);
    registry
        .register_schema(name("#registry/Late"), Schema::Struct(vec![Field::new("x", Type::Uint8)]))
        .unwrap();
    let after = Decoder::new(&bytes, &tables, &registry).payload().unwrap();
    assert!(
        matches!(after.downcast_ref::<Value>(), Some(Value::Struct(value)) if value.fields == [Value::Uint8(7)])
    );
}

#[test]
fn an_unknown_type_inside_makes_the_message_unreadable() {
    let registry = Registry::new();
    let tables = DecodeTables::default();
    let mut bytes = vec![0x82, 0, 2, 0x9d, 0x84, 0x9d, 0, 0, 0, 1];
    bytes.extend(encode(&Opaque::new("#registry/Nobody", vec![1])));
    let error = Decoder::new(&bytes, &tables, &registry).payload().unwrap_err();
    assert!(matches!(error, DecodeError::UnknownType(name) if &*name == "#registry/Nobody"));
    registry.register::<Vec<Payload>>().unwrap();
    let error = Decoder::new(&bytes, &tables, &registry).payload().unwrap_err();
    assert!(matches!(error, DecodeError::UnknownType(name) if &*name == "#registry/Nobody"));
}
