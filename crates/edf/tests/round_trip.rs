//! Values of random types survive the wire, and random bytes survive us.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use postroad_edf::{
    Alias, Array, Atom, AtomMapping, DecodeTables, Decoder, Definition, Edf, EncodeTables, Encoder,
    ErrorValue, Event, Field, Map, Message, Named, Pid, Pointer, ProcessId, Ref, Registry, Schema, Slice,
    Struct, Text, Time, Type, TypeName, Value,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The registered types of one case: each is made of those before it only.
type Schemas = Vec<Arc<Definition>>;

const NAMES: [&str; 4] = ["#prop/A", "#prop/B", "#prop/C", "#prop/D"];

fn registry(schemas: &Schemas) -> Registry {
    let registry = Registry::new();
    for definition in schemas {
        registry.register_schema(definition.name, definition.schema.clone()).unwrap();
    }
    registry
}

/// Both tables with every feature, the atoms that values are made of, some of
/// the types, an error, and a mapping.
fn tables() -> (EncodeTables, DecodeTables) {
    let (mut encode, mut decode) = (EncodeTables::default(), DecodeTables::default());
    let (mapped, sent) = (Atom::new("mapped").unwrap(), Atom::new("sent").unwrap());
    for (atom, id) in [(Atom::new("node@host").unwrap(), 300), (sent, 65535)] {
        encode.insert_atom(atom, id);
        decode.insert_atom(id, atom);
    }
    for (name, id) in [(NAMES[0], 4096), (NAMES[2], 65535)] {
        encode.insert_type(TypeName::new(name).unwrap(), id);
        decode.insert_type(id, name);
    }
    encode.insert_error("cached", 32768);
    decode.insert_error(32768, "cached".into());
    (encode.features.pointers, decode.features.pointers) = (true, true);
    (encode.features.wrapped_errors, decode.features.wrapped_errors) = (true, true);
    let mapping = AtomMapping::new([(mapped, sent)]).unwrap();
    encode.mapping = Some(mapping.clone());
    decode.mapping = Some(mapping);
    (encode, decode)
}

fn plain_type() -> impl Strategy<Value = Type> {
    select(vec![
        Type::Bool,
        Type::Int8,
        Type::Int16,
        Type::Int32,
        Type::Int64,
        Type::Int,
        Type::Uint8,
        Type::Uint16,
        Type::Uint32,
        Type::Uint64,
        Type::Uint,
        Type::Float32,
        Type::Float64,
        Type::String,
        Type::Binary,
        Type::Atom,
        Type::Pid,
        Type::ProcessId,
        Type::Ref,
        Type::Alias,
        Type::Event,
        Type::Time,
        Type::Error,
        Type::Any,
    ])
}

/// A type over the first `known` registered ones.
fn ty(known: usize) -> BoxedStrategy<Type> {
    let leaf = if known == 0 {
        plain_type().boxed()
    } else {
        let registered = (0..known).prop_map(|place| Type::Registered(TypeName::new(NAMES[place]).unwrap()));
        prop_oneof![3 => plain_type(), 1 => registered].boxed()
    };
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::slice),
            (0..4u32, inner.clone()).prop_map(|(len, element)| Type::array(len, element)),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| Type::map(key, value)),
            inner.prop_map(|element| match element {
                Type::Pointer(_) => element,
                element => Type::pointer(element),
            }),
        ]
    })
    .boxed()
}

fn schema(known: usize) -> BoxedStrategy<Schema> {
    prop_oneof![
        3 => vec(ty(known), 0..4).prop_map(|types| {
            let field = |(place, ty): (usize, Type)| Field::new(format!("field{place}"), ty);
            Schema::Struct(types.into_iter().enumerate().map(field).collect())
        }),
        1 => ty(known).prop_map(Schema::Slice),
        1 => (0..4u32, ty(known)).prop_map(|(len, element)| Schema::Array(len, element)),
        1 => (ty(known), ty(known)).prop_map(|(key, value)| Schema::Map(key, value)),
        1 => plain_type().prop_map(Schema::Scalar),
        1 => Just(Schema::Marshal),
    ]
    .boxed()
}

fn schemas() -> impl Strategy<Value = Schemas> {
    let named = |place: usize| {
        schema(place)
            .prop_map(move |schema| Arc::new(Definition::new(TypeName::new(NAMES[place]).unwrap(), schema)))
    };
    (named(0), named(1), named(2), named(3)).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

fn atom() -> impl Strategy<Value = Atom> {
    select(vec!["", "node@host", "mapped", "other", "тест"]).prop_map(|text| Atom::new(text).unwrap())
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        ".{0,12}".prop_map(Text::from),
        vec(any::<u8>(), 0..12).prop_map(|bytes| Text::from(&bytes[..])),
    ]
}

fn error() -> impl Strategy<Value = ErrorValue> {
    let plain = prop_oneof![text(), Just(Text::from("cached"))].prop_map(ErrorValue::new);
    plain.prop_recursive(3, 4, 2, |inner| {
        (text(), vec(inner, 1..3))
            .prop_map(|(text, wrapped)| wrapped.into_iter().fold(ErrorValue::new(text), ErrorValue::wrapping))
    })
}

fn time() -> impl Strategy<Value = Time> {
    let minutes = prop_oneof![-32768..-1i32, 0..32768i32];
    let offset = (minutes, 0..60i32).prop_map(|(minutes, seconds)| minutes * 60 + seconds * minutes.signum());
    (any::<i64>(), 0..1_000_000_000u32, proptest::option::of(offset))
        .prop_map(|(seconds, nanoseconds, offset)| Time { seconds, nanoseconds, offset })
}

/// A value of this type.
fn value(ty: &Type, schemas: &Schemas) -> BoxedStrategy<Value> {
    let ids = (atom(), any::<i64>(), any::<[u64; 3]>());
    let list = |element: &Type| vec(value(element, schemas), 0..4);
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int8 => any::<i8>().prop_map(Value::Int8).boxed(),
        Type::Int16 => any::<i16>().prop_map(Value::Int16).boxed(),
        Type::Int32 => any::<i32>().prop_map(Value::Int32).boxed(),
        Type::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
        Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Uint8 => any::<u8>().prop_map(Value::Uint8).boxed(),
        Type::Uint16 => any::<u16>().prop_map(Value::Uint16).boxed(),
        Type::Uint32 => any::<u32>().prop_map(Value::Uint32).boxed(),
        Type::Uint64 => any::<u64>().prop_map(Value::Uint64).boxed(),
        Type::Uint => any::<u64>().prop_map(Value::Uint).boxed(),
        Type::Float32 => any::<f32>().prop_map(Value::Float32).boxed(),
        Type::Float64 => any::<f64>().prop_map(Value::Float64).boxed(),
        Type::String => text().prop_map(Value::String).boxed(),
        Type::Binary => vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Binary(bytes.into())).boxed(),
        Type::Atom => atom().prop_map(Value::Atom).boxed(),
        Type::Pid => (atom(), any::<u64>(), any::<i64>())
            .prop_map(|(node, id, creation)| Value::Pid(Pid { node, id, creation }))
            .boxed(),
        Type::ProcessId => {
            (atom(), atom()).prop_map(|(node, name)| Value::ProcessId(ProcessId { node, name })).boxed()
        }
        Type::Event => (atom(), atom()).prop_map(|(node, name)| Value::Event(Event { node, name })).boxed(),
        Type::Ref => ids.prop_map(|(node, creation, id)| Value::Ref(Ref { node, creation, id })).boxed(),
        Type::Alias => {
            ids.prop_map(|(node, creation, id)| Value::Alias(Alias { node, creation, id })).boxed()
        }
        Type::Time => time().prop_map(Value::Time).boxed(),
        Type::Error => prop_oneof![1 => Just(Value::Nil), 3 => error().prop_map(Value::Error)].boxed(),
        Type::Any => {
            let schemas = schemas.clone();
            let inner = prop_oneof![plain_type(), plain_type().prop_map(Type::slice)];
            inner
                .prop_filter("no endless any", |ty| !matches!(ty, Type::Any))
                .prop_flat_map(move |ty| value(&ty, &schemas))
                .boxed()
        }
        Type::Slice(element) => {
            let of = (**element).clone();
            proptest::option::of(list(element))
                .prop_map(move |items| Value::Slice(Slice { element: of.clone(), items }))
                .boxed()
        }
        Type::Array(len, element) => {
            let of = (**element).clone();
            vec(value(element, schemas), *len as usize)
                .prop_map(move |items| Value::Array(Array { element: of.clone(), items }))
                .boxed()
        }
        Type::Map(key, value_ty) => {
            let (key_of, value_of) = ((**key).clone(), (**value_ty).clone());
            proptest::option::of(vec((value(key, schemas), value(value_ty, schemas)), 0..3))
                .prop_map(move |pairs| {
                    Value::Map(Box::new(Map { key: key_of.clone(), value: value_of.clone(), pairs }))
                })
                .boxed()
        }
        Type::Pointer(element) => {
            let of = (**element).clone();
            proptest::option::of(value(element, schemas).prop_map(Box::new))
                .prop_map(move |target| Value::Pointer(Pointer { element: of.clone(), target }))
                .boxed()
        }
        Type::Registered(name) => {
            let definition = schemas.iter().find(|definition| definition.name == *name).unwrap().clone();
            let under = match &definition.schema {
                Schema::Struct(fields) => {
                    let fields: Vec<_> = fields.iter().map(|field| value(&field.ty, schemas)).collect();
                    return fields
                        .prop_map(move |fields| {
                            Value::Struct(Struct { definition: definition.clone(), fields })
                        })
                        .boxed();
                }
                Schema::Slice(element) => Type::slice(element.clone()),
                Schema::Array(len, element) => Type::array(*len, element.clone()),
                Schema::Map(key, value) => Type::map(key.clone(), value.clone()),
                Schema::Scalar(ty) => ty.clone(),
                _ => Type::Binary,
            };
            value(&under, schemas)
                .prop_map(move |value| {
                    Value::Named(Box::new(Named { definition: definition.clone(), value }))
                })
                .boxed()
        }
        other => panic!("no strategy for {other}"),
    }
}

fn case() -> impl Strategy<Value = (Schemas, Value)> {
    (schemas(), ty(NAMES.len()))
        .prop_flat_map(|(schemas, ty)| {
            let value = value(&ty, &schemas);
            (Just(schemas), value)
        })
        .prop_filter("nil is no message", |(_, value)| !value.is_nil())
}

fn encode<T: Message>(value: &T, tables: &EncodeTables) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, tables).top(value).unwrap();
    bytes
}

/// Not by `==`, for which a NaN is not itself.
fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

#[derive(Message, Debug, Clone, PartialEq)]
#[message(name = "#prop/Typed")]
struct Typed {
    numbers: Vec<i64>,
    text: String,
    bytes: Bytes,
    words: BTreeMap<String, isize>,
    by_id: HashMap<u16, Option<Vec<Atom>>>,
    fixed: [u32; 3],
    failed: Option<ErrorValue>,
    next: Option<Box<Typed>>,
    time: Time,
}

fn typed() -> impl Strategy<Value = Typed> {
    let leaf = (
        vec(any::<i64>(), 0..9),
        ".{0,9}",
        vec(any::<u8>(), 0..9),
        proptest::collection::btree_map("[a-z]{0,3}", any::<isize>(), 0..4),
        proptest::collection::hash_map(any::<u16>(), proptest::option::of(vec(atom(), 0..3)), 0..4),
        any::<[u32; 3]>(),
        proptest::option::of(error()),
        time(),
    )
        .prop_map(|(numbers, text, bytes, words, by_id, fixed, failed, time)| Typed {
            numbers,
            text,
            bytes: bytes.into(),
            words,
            by_id,
            fixed,
            failed,
            next: None,
            time,
        });
    leaf.prop_recursive(3, 4, 1, |inner| {
        (inner.clone(), inner).prop_map(|(mut first, next)| {
            first.next = Some(Box::new(next));
            first
        })
    })
}

/// Whatever the bytes are: no panic, and what can be read can be written and
/// read again as the same value.
fn survive(bytes: &[u8], registry: &Registry) {
    let (encode_tables, decode_tables) = tables();
    let _ = Decoder::new(bytes, &decode_tables, registry).payload();
    let _ = Decoder::new(bytes, &decode_tables, registry).top::<Typed>();
    let _ = Decoder::new(bytes, &decode_tables, registry).top::<Vec<Option<BTreeMap<Atom, [Value; 2]>>>>();
    let Ok(value) = Decoder::new(bytes, &decode_tables, registry).value() else { return };
    if value.is_nil() {
        return;
    }
    let mut again = Vec::new();
    if Encoder::new(&mut again, &encode_tables).top(&value).is_ok() {
        let read = Decoder::new(&again, &decode_tables, registry).value().unwrap();
        assert_eq!(shown(&read), shown(&value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_of_any_type((schemas, value) in case()) {
        let registry = registry(&schemas);
        let (encode_tables, decode_tables) = tables();
        let bytes = encode(&value, &encode_tables);
        let mut decoder = Decoder::new(&bytes, &decode_tables, &registry);
        let read = decoder.value().unwrap();
        prop_assert!(decoder.remaining().is_empty());
        prop_assert_eq!(shown(&read), shown(&value));
        prop_assert_eq!(encode(&read, &encode_tables), bytes.clone());
        // As a message, too. Only a slice of bytes comes as what it is in Go: a
        // binary, for which there is a shorter form.
        let payload = Decoder::new(&bytes, &decode_tables, &registry).payload().unwrap();
        if !payload.is::<Vec<u8>>() {
            prop_assert_eq!(encode(&payload, &encode_tables), bytes.clone());
        }
        // And with the names of its types written out.
        let mut plain = EncodeTables::default();
        plain.features = encode_tables.features;
        let mut plain_decode = DecodeTables::default();
        plain_decode.features = decode_tables.features;
        let long = encode(&value, &plain);
        let read = Decoder::new(&long, &plain_decode, &registry).value().unwrap();
        prop_assert_eq!(shown(&read), shown(&value));
    }

    #[test]
    fn type_expressions_as_text(ty in ty(NAMES.len())) {
        prop_assert_eq!(ty.to_string().parse::<Type>().unwrap(), ty);
    }

    #[test]
    fn truncated_and_changed_bytes_never_panic(
        (schemas, value) in case(),
        cut in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let registry = registry(&schemas);
        let mut bytes = encode(&value, &tables().0);
        survive(&bytes[..cut.index(bytes.len())], &registry);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        survive(&bytes, &registry);
    }

    #[test]
    fn any_bytes_never_panic(bytes in vec(prop_oneof![any::<u8>(), 0x82..0xb0u8, 0..4u8], 0..60)) {
        survive(&bytes, &Registry::new());
    }

    #[test]
    fn rust_types(value in typed()) {
        let (encode_tables, decode_tables) = tables();
        let registry = Registry::new();
        let bytes = encode(&value, &encode_tables);
        let read: Typed = Decoder::new(&bytes, &decode_tables, &registry).top().unwrap();
        prop_assert_eq!(&read, &value);
        let payload = Decoder::new(&bytes, &decode_tables, &registry).payload().unwrap();
        prop_assert_eq!(payload.downcast_ref::<Typed>(), Some(&value));
        // The dynamic value keeps the order of maps, so it gives the same bytes.
        let dynamic = Decoder::new(&bytes, &decode_tables, &registry).value().unwrap();
        prop_assert_eq!(encode(&dynamic, &encode_tables), bytes);
    }
}
