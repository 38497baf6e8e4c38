//! The JSON notation of the vectors' values (`vectors/README.md`).

use postroad_edf::{
    Alias, Array, Atom, ErrorValue, Event, Map, Named, Pid, ProcessId, Ref, Registry, Schema, Slice, Struct,
    Text, Time, Type, Value,
};
use serde_json::Value as Json;

pub(crate) struct Notation<'a> {
    registry: &'a Registry,
}

impl<'a> Notation<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Self { registry }
    }

    /// The value that `{"type", "value"}` or null stands for; none if the
    /// notation only describes a long one.
    pub(crate) fn any(&self, json: &Json) -> Option<Value> {
        if json.is_null() {
            return Some(Value::Nil);
        }
        let ty: Type = json["type"].as_str().unwrap().parse().unwrap();
        self.value(&ty, &json["value"])
    }

    /// Whether the notation stands for `value` or describes it.
    pub(crate) fn matches(&self, value: &Value, json: &Json) -> bool {
        match self.any(json) {
            // Not by `==`, for which a NaN is not itself.
            Some(expected) => format!("{value:?}") == format!("{expected:?}"),
            None => {
                let bytes = match value {
                    Value::String(text) => text.as_bytes(),
                    Value::Error(error) => error.text().as_bytes(),
                    Value::Binary(bytes) => bytes,
                    _ => return false,
                };
                let json = &json["value"];
                let first = json["first"].as_str().unwrap();
                let first = if matches!(value, Value::Binary(_)) { hex(first) } else { first.into() };
                json["len"].as_u64() == Some(bytes.len() as u64) && bytes.starts_with(&first)
            }
        }
    }

    fn value(&self, ty: &Type, json: &Json) -> Option<Value> {
        Some(match ty {
            Type::Bool => Value::Bool(json.as_bool().unwrap()),
            Type::Int8 => Value::Int8(number(json)),
            Type::Int16 => Value::Int16(number(json)),
            Type::Int32 => Value::Int32(number(json)),
            Type::Int64 => Value::Int64(number(json)),
            Type::Int => Value::Int(number(json)),
            Type::Uint8 => Value::Uint8(number(json)),
            Type::Uint16 => Value::Uint16(number(json)),
            Type::Uint32 => Value::Uint32(number(json)),
            Type::Uint64 => Value::Uint64(number(json)),
            Type::Uint => Value::Uint(number(json)),
            Type::Float32 => Value::Float32(f32::from_bits(bits(json) as u32)),
            Type::Float64 => Value::Float64(f64::from_bits(bits(json))),
            Type::String => Value::String(text(json)?),
            Type::Binary => Value::Binary(binary(json)?.into()),
            Type::Atom => Value::Atom(atom(json)),
            Type::Error if json.is_null() => Value::Nil,
            Type::Error => Value::Error(ErrorValue::new(text(json)?)),
            Type::Time => Value::Time(Time {
                seconds: number(&json["unix_sec"]),
                nanoseconds: number(&json["nsec"]),
                offset: (json["utc"] != true).then(|| number(&json["offset_sec"])),
            }),
            Type::Pid => Value::Pid(Pid {
                node: atom(&json["node"]),
                id: number(&json["id"]),
                creation: number(&json["creation"]),
            }),
            Type::ProcessId => {
                Value::ProcessId(ProcessId { node: atom(&json["node"]), name: atom(&json["name"]) })
            }
            Type::Event => Value::Event(Event { node: atom(&json["node"]), name: atom(&json["name"]) }),
            Type::Ref => {
                let (node, creation, id) = reference(json);
                Value::Ref(Ref { node, creation, id })
            }
            Type::Alias => {
                let (node, creation, id) = reference(json);
                Value::Alias(Alias { node, creation, id })
            }
            Type::Any => self.any(json)?,
            Type::Slice(element) => {
                Value::Slice(Slice { element: (**element).clone(), items: self.items(element, json)? })
            }
            Type::Array(_, element) => Value::Array(Array {
                element: (**element).clone(),
                items: self.items(element, json)?.unwrap(),
            }),
            Type::Map(key, value) => Value::Map(Box::new(Map {
                key: (**key).clone(),
                value: (**value).clone(),
                pairs: match json["pairs"].as_array() {
                    None => None,
                    Some(pairs) => Some(
                        pairs
                            .iter()
                            .map(|pair| Some((self.value(key, &pair[0])?, self.value(value, &pair[1])?)))
                            .collect::<Option<_>>()?,
                    ),
                },
            })),
            Type::Registered(name) => {
                let definition = self.registry.definition(*name).unwrap_or_else(|| panic!("unknown {name}"));
                let under = match &definition.schema {
                    Schema::Struct(fields) => {
                        let values = json["fields"].as_array().unwrap();
                        assert_eq!(values.len(), fields.len(), "{name}");
                        let fields = fields
                            .iter()
                            .zip(values)
                            .map(|(field, value)| {
                                assert_eq!(value[0], *field.name, "{name}");
                                self.value(&field.ty, &value[1])
                            })
                            .collect::<Option<_>>()?;
                        return Some(Value::Struct(Struct { definition, fields }));
                    }
                    Schema::Slice(element) => Type::slice(element.clone()),
                    Schema::Array(len, element) => Type::array(*len, element.clone()),
                    Schema::Map(key, value) => Type::map(key.clone(), value.clone()),
                    Schema::Scalar(ty) => ty.clone(),
                    Schema::Marshal => {
                        let value = Value::Binary(marshaled(json).into());
                        return Some(Value::Named(Box::new(Named { definition, value })));
                    }
                    other => panic!("{name}: {other:?}"),
                };
                let value = self.value(&under, json)?;
                Value::Named(Box::new(Named { definition, value }))
            }
            other => panic!("no notation for {other}"),
        })
    }

    /// `Some(None)` is nil.
    #[allow(clippy::option_option)]
    fn items(&self, element: &Type, json: &Json) -> Option<Option<Vec<Value>>> {
        match json.as_array() {
            None => {
                assert_eq!(json["nil"], true, "{json}");
                Some(None)
            }
            Some(items) => {
                items.iter().map(|item| self.value(element, item)).collect::<Option<_>>().map(Some)
            }
        }
    }
}

fn number<T: std::str::FromStr>(json: &Json) -> T {
    let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    text.parse().unwrap_or_else(|_| panic!("{json} is out of range"))
}

fn bits(json: &Json) -> u64 {
    u64::from_str_radix(json["bits"].as_str().unwrap(), 16).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn repeated(json: &Json) -> Option<String> {
    Some(json["repeat"].as_str()?.repeat(json["count"].as_u64()? as usize))
}

fn text(json: &Json) -> Option<Text> {
    if let Some(text) = json.as_str() {
        return Some(text.into());
    }
    match json["bytes_hex"].as_str() {
        Some(bytes) => Some(Text::from(&hex(bytes)[..])),
        None => repeated(json).map(Text::from),
    }
}

fn binary(json: &Json) -> Option<Vec<u8>> {
    if json["nil"] == true {
        return Some(Vec::new());
    }
    match json.as_str() {
        Some(text) => Some(hex(text)),
        None => repeated(json).map(|text| hex(&text)),
    }
}

fn atom(json: &Json) -> Atom {
    let text = text(json).unwrap();
    Atom::new(text.as_str().unwrap()).unwrap()
}

fn reference(json: &Json) -> (Atom, i64, [u64; 3]) {
    let id = &json["id"];
    (atom(&json["node"]), number(&json["creation"]), [number(&id[0]), number(&id[1]), number(&id[2])])
}

/// The bytes of a type that brings its own. The two of Ergo itself are given by
/// their fields, one bit each (`docs/wire/EDF.md` section 9).
fn marshaled(json: &Json) -> Vec<u8> {
    if let Some(bytes) = json["marshaler_bytes"].as_str().or(json["binary_marshaler_bytes"].as_str()) {
        return hex(bytes);
    }
    let fields = json["fields"].as_array().unwrap();
    if fields.iter().any(|field| field[0] == "EnableEncryption") {
        // NetworkProxyFlags: nothing at all.
        return Vec::new();
    }
    let on = |place: usize| u64::from(fields[place][1] == true);
    let flags = if on(0) == 0 { 0 } else { (0..fields.len()).map(|place| on(place) << place).sum() };
    flags.to_be_bytes().to_vec()
}
