//! What the EDF targets know: types of every kind under the names of the golden
//! vectors, and tables with the vectors' ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use postroad_edf::{
    Alias, Atom, DecodeTables, EncodeTables, ErrorValue, Event, Field, Marshal, MarshalError, Message,
    Payload, Pid, ProcessId, Ref, Registry, Schema, Type, TypeName, Value,
};

#[derive(Message)]
#[message(name = "#example.org/wire/types/Point")]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Message)]
#[message(name = "#example.org/wire/types/Shape")]
struct Shape {
    name: String,
    origin: Point,
    points: Option<Vec<Point>>,
    tags: Option<HashMap<String, i8>>,
    extra: Payload,
    err: Option<ErrorValue>,
}

#[derive(Message)]
#[message(name = "#example.org/wire/types/Ids")]
struct Ids {
    p: Pid,
    n: ProcessId,
    r: Ref,
    a: Alias,
    e: Event,
    at: Atom,
}

#[derive(Message)]
#[message(name = "#example.org/wire/types/Empty")]
struct Empty;

#[derive(Message)]
#[message(name = "#example.org/wire/types/MySlice", transparent)]
struct MySlice(Vec<Point>);

#[derive(Message)]
#[message(name = "#example.org/wire/types/MyMap", transparent)]
struct MyMap(BTreeMap<String, Point>);

#[derive(Message)]
#[message(name = "#example.org/wire/types/MyArray", transparent)]
struct MyArray([u16; 3]);

#[derive(Message)]
#[message(name = "#example.org/wire/types/Tree")]
struct Tree {
    children: Vec<Tree>,
    next: Option<Box<Tree>>,
}

#[derive(Message, Clone, Copy)]
#[message(name = "#example.org/wire/types/MyInt")]
#[repr(isize)]
enum MyInt {
    Minus = -3,
    One = 1,
}

#[derive(Message)]
#[message(name = "#example.org/wire/types/Blob", marshal)]
struct Blob(Vec<u8>);

impl Marshal for Blob {
    fn marshal(&self, out: &mut Vec<u8>) -> Result<(), MarshalError> {
        out.extend(&self.0);
        Ok(())
    }

    fn unmarshal(bytes: &[u8]) -> Result<Self, MarshalError> {
        Ok(Self(bytes.into()))
    }
}

/// The registry of all targets. `Deep` and `Itself` are known by schema only.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
        let registry = Registry::new();
        registry.register::<Vec<Option<Vec<Point>>>>().expect("free");
        registry.register::<HashMap<Atom, Value>>().expect("free");
        registry.register::<[String; 2]>().expect("free");
        registry.register::<Vec<Empty>>().expect("free");
        let schema = |name: &str, fields: &[&str]| {
            let fields = fields.iter().map(|ty| Field::new("field", ty.parse::<Type>().expect("a type")));
            let name = TypeName::new(name).expect("a name");
            registry.register_schema(name, Schema::Struct(fields.collect())).expect("free");
        };
        schema(
            "#example.org/wire/types/Deep",
            &["[]map[string][]#example.org/wire/types/Point", "map[atom]any", "[2][]string"],
        );
        schema("#example.org/wire/types/Itself", &["#example.org/wire/types/Itself"; 2]);
        registry
    });
    &REGISTRY
}

/// Tables as the vectors use them; with all features or with none.
pub fn tables(features: bool) -> &'static (EncodeTables, DecodeTables) {
    static TABLES: LazyLock<[(EncodeTables, DecodeTables); 2]> = LazyLock::new(|| [make(false), make(true)]);
    &TABLES[usize::from(features)]
}

fn make(features: bool) -> (EncodeTables, DecodeTables) {
    let (mut encode, mut decode) = (EncodeTables::default(), DecodeTables::default());
    for (text, id) in [("worker", 300), ("node@localhost", 256), ("last", 64535)] {
        let atom = Atom::new(text).expect("short");
        encode.insert_atom(atom, id);
        decode.insert_atom(id, atom);
    }
    for (id, name) in (5000..).zip(["Point", "Shape", "MySlice", "MyMap", "Blob", "MyArray", "Ids", "Deep"]) {
        let name = format!("#example.org/wire/types/{name}");
        encode.insert_type(TypeName::new(&name).expect("a name"), id);
        decode.insert_type(id, &name);
    }
    for (text, id) in [("timed out", 32768), ("unknown process", 40000), ("normal", 65534)] {
        encode.insert_error(text, id);
        decode.insert_error(id, text.into());
    }
    for target in [&mut encode.features, &mut decode.features] {
        (target.pointers, target.wrapped_errors) = (features, features);
    }
    (encode, decode)
}
