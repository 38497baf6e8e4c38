//! `#[derive(Message)]` in all its forms.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use postroad_edf::{
    DecodeTables, Decoder, EncodeTables, Encoder, Marshal, MarshalError, Message, Payload, Registered,
    Registry, TypeName, Value,
};

#[derive(Message, Debug, Clone, PartialEq, Default)]
#[message(name = "#derive/Point")]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Message, Debug, Clone, PartialEq)]
struct Named {
    point: Point,
    more: Vec<Point>,
    maybe: Option<Vec<String>>,
    tags: BTreeMap<String, isize>,
    any: Value,
    #[message(skip)]
    local: u32,
}

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#derive/Path", transparent)]
struct Path(Vec<Point>);

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#derive/Celsius", transparent)]
struct Celsius(f64);

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#derive/Unit")]
struct Unit;

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#derive/Pair")]
struct Pair<A, B>(A, B);

#[derive(Message, Debug, Clone, Copy, PartialEq)]
#[message(name = "#derive/Level")]
#[repr(isize)]
enum Level {
    System = -100,
    Info = 1,
}

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#derive/Color", marshal)]
struct Color([u8; 3]);

impl Marshal for Color {
    fn marshal(&self, out: &mut Vec<u8>) -> Result<(), MarshalError> {
        out.extend(self.0);
        Ok(())
    }

    fn unmarshal(bytes: &[u8]) -> Result<Self, MarshalError> {
        Ok(Self(bytes.try_into()?))
    }
}

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#derive/MaybePath")]
struct MaybePath {
    path: Option<Path>,
}

fn encode<T: Message>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, &EncodeTables::default()).top(value).unwrap();
    bytes
}

/// Through bytes and back: as the type, as a payload, as a dynamic value.
fn round_trip<T: Message + PartialEq + std::fmt::Debug>(value: T) {
    let (tables, registry) = (DecodeTables::default(), Registry::new());
    registry.register::<T>().unwrap();
    let bytes = encode(&value);
    let mut decoder = Decoder::new(&bytes, &tables, &registry);
    assert_eq!(decoder.top::<T>().unwrap(), value);
    assert!(decoder.remaining().is_empty());
    let payload = Decoder::new(&bytes, &tables, &registry).payload().unwrap();
    assert_eq!(*payload.downcast_ref::<T>().unwrap(), value);
    assert_eq!(encode(&payload), bytes);
    let dynamic = Decoder::new(&bytes, &tables, &registry).value().unwrap();
    assert_eq!(encode(&dynamic), bytes);
    assert_eq!(encode(&Payload::new(dynamic)), bytes);
}

#[test]
fn every_form_travels() {
    let point = Point { x: 1, y: -2 };
    round_trip(point.clone());
    round_trip(Named {
        point: point.clone(),
        more: vec![point.clone(), Point::default()],
        maybe: Some(vec!["a".into()]),
        tags: BTreeMap::from([("k".into(), -1)]),
        any: Value::Int(5),
        local: 0,
    });
    round_trip(Path(vec![point.clone()]));
    round_trip(Celsius(36.6));
    round_trip(Unit);
    round_trip(Pair(point.clone(), String::from("b")));
    round_trip(Level::System);
    round_trip(Color([1, 2, 3]));
    round_trip(vec![point]);
    round_trip(vec![Some(Path(vec![])), None]);
    round_trip(MaybePath { path: None });
    round_trip([Level::Info, Level::System]);
}

#[test]
fn names() {
    assert_eq!(Point::type_name().as_str(), "#derive/Point");
    assert_eq!(Named::type_name().as_str(), "#postroad-edf/Named");
    assert_eq!(<Pair<Point, Vec<String>>>::type_name().as_str(), "#derive/Pair[derive.Point,[]string]");
    assert!(Registry::new().names().contains(&TypeName::new("#derive/Unit").unwrap()));
}
