//! The golden vectors through Rust types: each line whose type has one here is
//! read as that type and written again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::type_complexity, reason = "nesting is the point")]

mod golden;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use golden::{Folder, bytes, is_values, tables};
use postroad_edf::{
    Alias, Atom, DecodeTables, Decoder, EncodeTables, Encoder, ErrorValue, Event, Marshal, MarshalError,
    Message, Payload, Pid, ProcessId, Ref, Registry, Time, Value,
};
use serde_json::Value as Json;

#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[message(name = "#example.org/wire/types/Point")]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Message, Debug)]
#[message(name = "#example.org/wire/types/Outer")]
struct Outer {
    point: Point,
    z: i32,
}

#[derive(Message, Debug)]
#[message(name = "#example.org/wire/types/Shape")]
struct Shape {
    name: String,
    origin: Point,
    points: Option<Vec<Point>>,
    tags: Option<HashMap<String, i8>>,
    extra: Payload,
    err: Option<ErrorValue>,
}

#[derive(Message, Debug)]
#[message(name = "#example.org/wire/types/Ids")]
struct Ids {
    p: Pid,
    n: ProcessId,
    r: Ref,
    a: Alias,
    e: Event,
    at: Atom,
}

#[derive(Message, Debug)]
#[message(name = "#example.org/wire/types/Deep")]
struct Deep {
    l: Option<Vec<Option<BTreeMap<String, Option<Vec<Point>>>>>>,
    m: Option<HashMap<Atom, Value>>,
    a: [Option<Vec<String>>; 2],
}

#[derive(Message, Debug)]
#[message(name = "#example.org/wire/types/Empty")]
struct Empty;

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/wire/types/Blob", marshal)]
struct Blob(Vec<u8>);

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/wire/types/Bin", marshal)]
struct Bin(Vec<u8>);

macro_rules! marshal_as_is {
    ($($ty:ident)*) => {$(
        impl Marshal for $ty {
            fn marshal(&self, out: &mut Vec<u8>) -> Result<(), MarshalError> {
                out.extend(&self.0);
                Ok(())
            }

            fn unmarshal(bytes: &[u8]) -> Result<Self, MarshalError> {
                Ok(Self(bytes.into()))
            }
        }
    )*};
}
marshal_as_is!(Blob Bin);

#[derive(Message, Debug)]
#[message(name = "#example.org/wire/types/WithMarshaler")]
struct WithMarshaler {
    id: i8,
    b: Blob,
    n: Bin,
}

macro_rules! named {
    ($($name:ident = $ty:ty;)*) => {$(
        #[derive(Message, Debug)]
        #[message(name = concat!("#example.org/wire/types/", stringify!($name)), transparent)]
        struct $name($ty);
    )*};
}

named! {
    MyBool = bool;
    MyF32 = f32;
    MyI8 = i8;
    MyInt = isize;
    MyU64 = u64;
    MySlice = Vec<Point>;
    MyAnySlice = Vec<Payload>;
    MyArray = [u16; 3];
    MyMap = BTreeMap<String, Point>;
}

#[derive(Message, Debug, PartialEq, Eq, Hash)]
#[message(name = "#example.org/wire/types/MyStr", transparent)]
struct MyStr(String);

/// One line of `edf*.jsonl`.
struct Line {
    place: String,
    json: Json,
    registry: Registry,
}

impl Line {
    fn all() -> Vec<Self> {
        let folders = Folder::all().into_iter();
        folders
            .flat_map(|folder| {
                let lines = folder.lines(is_values).into_iter();
                lines.map(move |(place, json)| Self { place, json, registry: folder.registry.clone() })
            })
            .collect()
    }

    fn by_name(name: &str) -> Self {
        Self::all().into_iter().find(|line| line.json["name"] == name).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        bytes(&self.json).unwrap()
    }

    fn tables(&self) -> (EncodeTables, DecodeTables) {
        tables(&self.json)
    }

    fn decode<T: Message>(&self) -> T {
        let (_, tables) = self.tables();
        Decoder::new(&self.bytes(), &tables, &self.registry)
            .top()
            .unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }

    /// Reads the line as a `T` and as a message that turns out to be one, and
    /// writes both again.
    fn check<T: Message>(&self) {
        let (encode_tables, decode_tables) = self.tables();
        let bytes = self.bytes();
        let encode = |value: &dyn Fn(&mut Encoder<'_>)| {
            let mut out = Vec::new();
            value(&mut Encoder::new(&mut out, &encode_tables));
            hex::encode(out)
        };
        let typed: T = self.decode();
        let again = encode(&|out| out.top(&typed).unwrap());

        self.registry.register::<T>().unwrap();
        let mut decoder = Decoder::new(&bytes, &decode_tables, &self.registry);
        let payload = decoder.payload().unwrap();
        assert!(payload.is::<T>(), "{}: {payload:?} is no {}", self.place, std::any::type_name::<T>());
        let left_over = self.json["left_over"].as_u64().unwrap_or(0);
        assert_eq!(decoder.remaining().len() as u64, left_over, "{}", self.place);
        if self.json["dir"] != "decode" && !has_larger_map(&self.json["value"]) {
            assert_eq!(again, hex::encode(&bytes), "{}", self.place);
            assert_eq!(encode(&|out| payload.encode_top(out).unwrap()), again, "{}", self.place);
        }
    }
}

/// A map of two pairs or more comes out in an order of its own.
fn has_larger_map(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(has_larger_map),
        Json::Object(members) => members.iter().any(|(key, value)| {
            (key == "pairs" && value.as_array().is_some_and(|pairs| pairs.len() > 1)) || has_larger_map(value)
        }),
        _ => false,
    }
}

/// A string that is not UTF-8 is no `String`.
fn has_raw_text(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(has_raw_text),
        Json::Object(members) => members.iter().any(|(key, value)| key == "bytes_hex" || has_raw_text(value)),
        _ => false,
    }
}

macro_rules! typed {
    ($line:expr, $($expression:literal => $ty:ty,)*) => {
        match $line.json["value"]["type"].as_str().unwrap_or_default() {
            $($expression => $line.check::<$ty>(),)*
            _ => return false,
        }
    };
}

/// Whether the line has a type that is written down here.
fn check(line: &Line) -> bool {
    typed! { line,
        "bool" => bool,
        "int8" => i8,
        "int16" => i16,
        "int32" => i32,
        "int64" => i64,
        "int" => isize,
        "uint8" => u8,
        "uint16" => u16,
        "uint32" => u32,
        "uint64" => u64,
        "uint" => usize,
        "float32" => f32,
        "float64" => f64,
        "string" => String,
        "binary" => Vec<u8>,
        "atom" => Atom,
        "error" => ErrorValue,
        "time" => Time,
        "pid" => Pid,
        "processid" => ProcessId,
        "ref" => Ref,
        "alias" => Alias,
        "event" => Event,
        "[]error" => Option<Vec<Option<ErrorValue>>>,
        "[]string" => Option<Vec<String>>,
        "[]int64" => Option<Vec<i64>>,
        "[]bool" => Option<Vec<bool>>,
        "[]atom" => Option<Vec<Atom>>,
        "[]pid" => Option<Vec<Pid>>,
        "[][]int8" => Option<Vec<Option<Vec<i8>>>>,
        "[][][]uint16" => Option<Vec<Option<Vec<Option<Vec<u16>>>>>>,
        "[]any" => Option<Vec<Value>>,
        "[0]string" => [String; 0],
        "[2]string" => [String; 2],
        "[4]uint8" => [u8; 4],
        "[2][]int8" => [Option<Vec<i8>>; 2],
        "[2]any" => [Payload; 2],
        "map[string]int32" => Option<HashMap<String, i32>>,
        "map[atom]any" => Option<HashMap<Atom, Option<Value>>>,
        "map[pid][]string" => Option<HashMap<Pid, Option<Vec<String>>>>,
        "map[string]map[uint8]bool" => Option<HashMap<String, Option<BTreeMap<u8, bool>>>>,
        "map[string][]string" => Option<HashMap<String, Option<Vec<String>>>>,
        "map[[2]int8]string" => Option<BTreeMap<[i8; 2], String>>,
        "map[uint16]string" => Option<BTreeMap<u16, String>>,
        "map[uint16]error" => Option<BTreeMap<u16, Option<ErrorValue>>>,
        "map[uint8]uint8" => Option<HashMap<u8, u8>>,
        "#example.org/wire/types/Point" => Point,
        "#example.org/wire/types/Outer" => Outer,
        "#example.org/wire/types/Shape" => Shape,
        "#example.org/wire/types/Ids" => Ids,
        "#example.org/wire/types/Deep" => Deep,
        "#example.org/wire/types/Empty" => Empty,
        "#example.org/wire/types/Blob" => Blob,
        "#example.org/wire/types/Bin" => Bin,
        "#example.org/wire/types/WithMarshaler" => WithMarshaler,
        "#example.org/wire/types/MyBool" => MyBool,
        "#example.org/wire/types/MyF32" => MyF32,
        "#example.org/wire/types/MyI8" => MyI8,
        "#example.org/wire/types/MyInt" => MyInt,
        "#example.org/wire/types/MyU64" => MyU64,
        "#example.org/wire/types/MyAnySlice" => MyAnySlice,
        "#example.org/wire/types/MyArray" => MyArray,
        "#example.org/wire/types/MyStr" => MyStr,
        "[]#example.org/wire/types/Point" => Option<Vec<Point>>,
        "[]#example.org/wire/types/MySlice" => Option<Vec<Option<MySlice>>>,
        "map[#example.org/wire/types/MyStr]#example.org/wire/types/MyInt" => Option<HashMap<MyStr, MyInt>>,
        "[1]#example.org/wire/types/Point" => [Point; 1],
    }
    true
}

#[test]
fn vectors_as_rust_types() {
    let checked = Line::all().iter().filter(|line| !has_raw_text(&line.json) && check(line)).count();
    assert!(checked > 100, "only {checked} vectors have a type here");
}

/// Nil slices and maps with a name are nil only within an `Option`.
#[test]
fn vectors_of_named_slices_and_maps() {
    assert!(Line::by_name("reg_slice_nil").decode::<Option<MySlice>>().is_none());
    assert!(Line::by_name("reg_slice_nil").decode::<MySlice>().0.is_empty());
    assert_eq!(Line::by_name("reg_slice").decode::<MySlice>().0, [Point { x: 1, y: 2 }]);
    assert!(Line::by_name("reg_map_nil").decode::<Option<MyMap>>().is_none());
    assert!(Line::by_name("reg_map_empty").decode::<Option<MyMap>>().unwrap().0.is_empty());
    Line::by_name("reg_map_cached").check::<MyMap>();
    Line::by_name("reg_slice_cached").check::<MySlice>();
}

#[test]
fn vectors_mean_what_they_say() {
    let shape: Shape = Line::by_name("reg_struct_full_cached").decode();
    assert_eq!(shape.name, "sq");
    assert_eq!(shape.origin, Point { x: 1, y: 1 });
    assert_eq!(shape.points.unwrap(), [Point { x: 2, y: 0 }, Point { x: 0, y: 3 }]);
    assert_eq!(shape.tags.unwrap(), HashMap::from([("t".into(), 1)]));
    assert!(!shape.extra.is_nil());
    assert!(shape.err.is_some());

    let zero: Shape = Line::by_name("reg_struct_zero").decode();
    assert!(zero.points.is_none() && zero.tags.is_none() && zero.err.is_none());
    assert!(zero.extra.is::<()>());

    let ids: Ids = Line::by_name("reg_struct_ids_mapped").decode();
    assert_eq!(ids.p.node, "node@localhost");
    assert_eq!((ids.p.id, ids.p.creation), (1001, 1_700_000_000));
    assert_eq!(ids.r.id, [262_143, 24_821, 1_700_000_005]);
    assert_eq!(ids.n.name, "worker");
    assert_eq!(ids.at, "local_name");

    let last: HashMap<u8, u8> = Line::by_name("decode_duplicate_map_key").decode();
    assert_eq!(last, HashMap::from([(1, 3)]));

    let time: Time = Line::by_name("time_v2_seconds_offset").decode();
    assert_eq!(time, Time { seconds: -2_209_022_339, nanoseconds: 0, offset: Some(33539) });

    let bytes: Bytes = Line::by_name("binary_5").decode();
    assert_eq!(bytes, [1, 2, 3, 0xfe, 0xff][..]);
}
