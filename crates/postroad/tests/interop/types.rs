//! The registered types of `interop/types`, in Rust, and what the other types
//! of the samples are here.

use std::collections::{BTreeMap, HashMap};

use postroad::edf::{ErrorValue, Marshal, MarshalError, Payload, Ref, Registry, Time, Value};
use postroad::{Alias, Atom, Event, Message, Pid, ProcessId};

#[derive(Message, Debug)]
#[message(name = "#example.org/postroad/interop/types/Empty")]
pub(crate) struct Empty;

#[derive(Message, Debug, Clone, Copy, PartialEq)]
#[message(name = "#example.org/postroad/interop/types/Point")]
pub(crate) struct Point {
    pub(crate) x: i32,
    pub(crate) y: i32,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/postroad/interop/types/Outer")]
pub(crate) struct Outer {
    pub(crate) point: Point,
    pub(crate) z: i32,
}

#[derive(Message, Debug)]
#[message(name = "#example.org/postroad/interop/types/Shape")]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) origin: Point,
    pub(crate) points: Points,
    pub(crate) tags: Option<HashMap<String, i8>>,
    pub(crate) extra: Payload,
    pub(crate) err: Option<ErrorValue>,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/postroad/interop/types/Ids")]
pub(crate) struct Ids {
    pub(crate) p: Pid,
    pub(crate) n: ProcessId,
    pub(crate) r: Ref,
    pub(crate) a: Alias,
    pub(crate) e: Event,
    pub(crate) at: Atom,
}

/// A slice of Go, which may be nil.
type Points = Option<Vec<Point>>;

#[derive(Message, Debug)]
#[message(name = "#example.org/postroad/interop/types/Deep")]
pub(crate) struct Deep {
    pub(crate) l: Option<Vec<Option<BTreeMap<String, Points>>>>,
    pub(crate) m: Option<HashMap<Atom, Payload>>,
    pub(crate) a: [Option<Vec<String>>; 2],
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/postroad/interop/types/WithMarshaler")]
pub(crate) struct WithMarshaler {
    pub(crate) id: i8,
    pub(crate) b: Blob,
    pub(crate) n: Bin,
}

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/postroad/interop/types/Blob", marshal)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

#[derive(Message, Debug, PartialEq)]
#[message(name = "#example.org/postroad/interop/types/Bin", marshal)]
pub(crate) struct Bin(pub(crate) Vec<u8>);

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

macro_rules! named {
    ($($name:ident($ty:ty);)*) => {$(
        #[derive(Message, Debug, PartialEq)]
        #[message(name = concat!("#example.org/postroad/interop/types/", stringify!($name)), transparent)]
        pub(crate) struct $name(pub(crate) $ty);
    )*};
}

named! {
    MyBool(bool);
    MyI8(i8);
    MyU16(u16);
    MyU64(u64);
    MyInt(isize);
    MyF32(f32);
    MySlice(Points);
    MyStrSlice(Option<Vec<String>>);
    MyAnySlice(Option<Vec<Value>>);
    MyArray([u16; 3]);
    MyMap(Option<BTreeMap<String, Point>>);
}

#[derive(Message, Debug, PartialEq, Eq, Hash)]
#[message(name = "#example.org/postroad/interop/types/MyStr", transparent)]
pub(crate) struct MyStr(pub(crate) String);

/// Ergo's own.
#[derive(Message, Debug)]
#[message(name = "#ergo.services/ergo/gen/Version")]
struct Version {
    name: String,
    release: String,
    commit: String,
    license: String,
}

macro_rules! rust_types {
    ($($expression:literal => $ty:ty,)*) => {
        /// A registry that has a Rust type for every type of the samples.
        pub(crate) fn registry() -> Registry {
            let registry = Registry::new();
            assert!(registry.conflicts().is_empty(), "{:?}", registry.conflicts());
            $(registry.register::<$ty>().unwrap();)*
            registry
        }

        /// Whether a message of that EDF type is of the Rust type for it.
        pub(crate) fn is_typed(expression: &str, message: &Payload) -> bool {
            match expression {
                $($expression => message.is::<$ty>(),)*
                _ => panic!("no Rust type is given for {expression}"),
            }
        }
    };
}

rust_types! {
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
    "pid" => Pid,
    "processid" => ProcessId,
    "ref" => Ref,
    "alias" => Alias,
    "event" => Event,
    "time" => Time,
    "error" => ErrorValue,
    "[]string" => Option<Vec<String>>,
    "[]bool" => Option<Vec<bool>>,
    "[]int8" => Option<Vec<i8>>,
    "[]int16" => Option<Vec<i16>>,
    "[]int32" => Option<Vec<i32>>,
    "[]int64" => Option<Vec<i64>>,
    "[]int" => Option<Vec<isize>>,
    "[]uint16" => Option<Vec<u16>>,
    "[]uint32" => Option<Vec<u32>>,
    "[]uint64" => Option<Vec<u64>>,
    "[]uint" => Option<Vec<usize>>,
    "[]float32" => Option<Vec<f32>>,
    "[]float64" => Option<Vec<f64>>,
    "[]binary" => Option<Vec<Vec<u8>>>,
    "[]atom" => Option<Vec<Atom>>,
    "[]error" => Option<Vec<Option<ErrorValue>>>,
    "[]time" => Option<Vec<Time>>,
    "[]pid" => Option<Vec<Pid>>,
    "[]processid" => Option<Vec<ProcessId>>,
    "[]ref" => Option<Vec<Ref>>,
    "[]alias" => Option<Vec<Alias>>,
    "[]event" => Option<Vec<Event>>,
    "[][]int8" => Option<Vec<Option<Vec<i8>>>>,
    "[][][]uint16" => Option<Vec<Option<Vec<Option<Vec<u16>>>>>>,
    "[][2]uint16" => Option<Vec<[u16; 2]>>,
    "[]map[string]bool" => Option<Vec<Option<HashMap<String, bool>>>>,
    "[]any" => Option<Vec<Payload>>,
    "[]#example.org/postroad/interop/types/Point" => Points,
    "[]#example.org/postroad/interop/types/MySlice" => Option<Vec<MySlice>>,
    "[]#example.org/postroad/interop/types/Blob" => Option<Vec<Blob>>,
    "[0]string" => [String; 0],
    "[2]string" => [String; 2],
    "[4]uint8" => [u8; 4],
    "[2][]int8" => [Option<Vec<i8>>; 2],
    "[2][2]bool" => [[bool; 2]; 2],
    "[2]any" => [Payload; 2],
    "[1]#example.org/postroad/interop/types/Point" => [Point; 1],
    "map[string]int32" => Option<HashMap<String, i32>>,
    "map[atom]any" => Option<HashMap<Atom, Payload>>,
    // No Rust map has keys of any type.
    "map[any]string" => Value,
    "map[pid][]string" => Option<HashMap<Pid, Option<Vec<String>>>>,
    "map[string]map[uint8]bool" => Option<HashMap<String, Option<BTreeMap<u8, bool>>>>,
    "map[string][]string" => Option<HashMap<String, Option<Vec<String>>>>,
    "map[uint16]error" => Option<BTreeMap<u16, Option<ErrorValue>>>,
    "map[#example.org/postroad/interop/types/MyStr]#example.org/postroad/interop/types/MyInt" =>
        Option<HashMap<MyStr, MyInt>>,
    "#example.org/postroad/interop/types/Point" => Point,
    "#example.org/postroad/interop/types/Empty" => Empty,
    "#example.org/postroad/interop/types/Outer" => Outer,
    "#example.org/postroad/interop/types/Shape" => Shape,
    "#example.org/postroad/interop/types/Ids" => Ids,
    "#example.org/postroad/interop/types/Deep" => Deep,
    "#example.org/postroad/interop/types/WithMarshaler" => WithMarshaler,
    "#example.org/postroad/interop/types/MyBool" => MyBool,
    "#example.org/postroad/interop/types/MyI8" => MyI8,
    "#example.org/postroad/interop/types/MyU16" => MyU16,
    "#example.org/postroad/interop/types/MyU64" => MyU64,
    "#example.org/postroad/interop/types/MyInt" => MyInt,
    "#example.org/postroad/interop/types/MyF32" => MyF32,
    "#example.org/postroad/interop/types/MyStr" => MyStr,
    "#example.org/postroad/interop/types/MySlice" => MySlice,
    "#example.org/postroad/interop/types/MyStrSlice" => MyStrSlice,
    "#example.org/postroad/interop/types/MyAnySlice" => MyAnySlice,
    "#example.org/postroad/interop/types/MyArray" => MyArray,
    "#example.org/postroad/interop/types/MyMap" => MyMap,
    "#example.org/postroad/interop/types/Blob" => Blob,
    "#example.org/postroad/interop/types/Bin" => Bin,
    "#ergo.services/ergo/gen/Version" => Version,
    // Known to every postroad node.
    "#ergo.services/ergo/gen/NetworkFlags" => postroad_wire::NetworkFlags,
    "#ergo.services/ergo/gen/MessageEvent" => postroad_wire::enp::any::PublishedEvent,
}
