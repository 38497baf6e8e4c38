//! Every EDF type: the named samples of `interop/types`, as Ergo encodes them.

use std::path::PathBuf;

use postroad::edf::{
    DecodeError, DecodeTables, Decoder, EncodeTables, Encoder, Field, Opaque, Payload, Registry, Schema,
    Type, TypeName, Value,
};
use postroad::{CallError, Node};
use serde_json::{Value as Json, json};

use crate::PATIENCE;
use crate::peer::{Peer, by_pid};
use crate::road::{Dialer, at, connect, end};
use crate::support::{Echo, builder};
use crate::types;

/// The one type among the samples that every postroad node knows.
const KNOWN: &str = "#ergo.services/ergo/gen/MessageEvent";

/// A value with a name that both programs know.
struct Sample {
    name: String,
    /// Its type.
    ty: String,
    /// What Ergo's encoder makes of it when no cache is at hand.
    bytes: Vec<u8>,
}

impl Sample {
    /// All samples, from the golden vectors.
    fn all() -> Vec<Self> {
        lines("interop/vectors/data/edf_3.2.0.jsonl")
            .into_iter()
            .filter(|line| line["options"].is_null())
            .map(|line| Self {
                name: line["name"].as_str().unwrap().to_owned(),
                ty: line["value"]["type"].as_str().unwrap().to_owned(),
                bytes: bytes(&line),
            })
            .collect()
    }

    fn read(&self, registry: &Registry) -> Result<Payload, DecodeError> {
        Decoder::new(&self.bytes, &DecodeTables::default(), registry).payload()
    }

    /// Asks Go's echo for the value it has been read as.
    async fn ask(&self, node: &Node, go: &Peer, value: Payload) -> Result<Payload, CallError> {
        node.call_with_timeout(at("echo", go.atom()), value, PATIENCE).await
    }

    /// Has Go ask a Rust echo for the same value.
    async fn be_asked(&self, go: &Peer, echo: postroad::Pid) -> Result<Json, String> {
        go.call(by_pid(echo), json!({"sample": self.name})).await
    }
}

fn lines(path: &str) -> Vec<Json> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(line: &Json) -> Vec<u8> {
    if let Some(whole) = line["hex"].as_str() {
        return hex::decode(whole).unwrap();
    }
    let part = |part: &Json| {
        hex::decode(part[0].as_str().unwrap()).unwrap().repeat(part[1].as_u64().unwrap() as usize)
    };
    line["hex_parts"].as_array().unwrap().iter().flat_map(part).collect()
}

fn encode(value: &Payload) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode_top(&mut Encoder::new(&mut bytes, &EncodeTables::default())).unwrap();
    bytes
}

/// The types of the samples, by what they consist of.
fn schemas() -> Registry {
    let registry = Registry::empty();
    let of_ergo = ["#ergo.services/ergo/gen/NetworkFlags", "#ergo.services/ergo/gen/Version"];
    let stock = lines("crates/edf/vectors/registered_types.jsonl").into_iter();
    let stock = stock.filter(|line| of_ergo.iter().any(|name| line["name"] == *name));
    for line in lines("interop/vectors/data/interop_types.jsonl").into_iter().chain(stock) {
        let ty = |key: &str| line[key].as_str().unwrap().parse::<Type>().unwrap();
        let field = |field: &Json| {
            Field::new(field[0].as_str().unwrap(), field[1].as_str().unwrap().parse::<Type>().unwrap())
        };
        let schema = match line["kind"].as_str().unwrap() {
            "struct" => Schema::Struct(line["fields"].as_array().unwrap().iter().map(field).collect()),
            "slice" => Schema::Slice(ty("item")),
            "array" => Schema::Array(line["len"].as_u64().unwrap() as u32, ty("item")),
            "map" => Schema::Map(ty("key"), ty("item")),
            "marshaler" | "binary_marshaler" => Schema::Marshal,
            _ => Schema::Scalar(ty("kind")),
        };
        registry.register_schema(TypeName::new(line["name"].as_str().unwrap()).unwrap(), schema).unwrap();
    }
    registry
}

/// A pair of nodes, and what Go says of each sample.
async fn nodes(dialer: Dialer, registry: Registry) -> (Node, Peer, Vec<(Sample, Json)>) {
    let node = builder("rust").registry(registry).start();
    let (node, go) = tokio::join!(node, Peer::start("go"));
    let node = node.unwrap();
    connect(dialer, &node, &go).await;
    let told = go.ask("samples", json!({})).await;
    let told = told.as_array().unwrap();
    let samples = Sample::all();
    let names: Vec<_> = samples.iter().map(|sample| json!(sample.name)).collect();
    assert_eq!(names, told.iter().map(|sample| sample["name"].clone()).collect::<Vec<_>>());
    assert_eq!(names.len(), 135);
    let told = told.iter().map(|sample| json!({"type": sample["type"], "value": sample["value"]}));
    let fits = |(sample, _): &(Sample, Json)| go.longest(sample.bytes.len()) == sample.bytes.len();
    let samples = samples.into_iter().zip(told).filter(fits).collect();
    (node, go, samples)
}

/// Every sample goes to Go's echo and back, and from Go to a Rust echo and back.
async fn all_come_back(registry: fn() -> Registry, check: fn(&Sample, &Payload)) {
    for dialer in Dialer::BOTH {
        let (node, go, samples) = nodes(dialer, registry()).await;
        let echo = node.spawn::<Echo>(()).await.unwrap();
        for (sample, told) in &samples {
            let name = &sample.name;
            let value = sample.read(node.registry()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let answer = sample.ask(&node, &go, value).await;
            let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
            check(sample, &answer);
            assert_eq!(hex::encode(encode(&answer)), hex::encode(&sample.bytes), "{name}");
            assert_eq!(sample.be_asked(&go, echo).await.as_ref(), Ok(told), "{name}");
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn every_sample_as_a_dynamic_value() {
    all_come_back(schemas, |sample, answer| {
        if sample.ty.contains('#') && sample.ty != KNOWN {
            let value =
                answer.downcast_ref::<Value>().unwrap_or_else(|| panic!("{}: {answer:?}", sample.name));
            assert_eq!(value.type_of().to_string(), sample.ty);
        }
    })
    .await;
}

#[tokio::test]
async fn every_sample_as_a_rust_type() {
    all_come_back(types::registry, |sample, answer| {
        // A string that is not UTF-8 is no Rust string.
        let expected = sample.name != "string_not_utf8";
        assert_eq!(types::is_typed(&sample.ty, answer), expected, "{}: {answer:?}", sample.name);
    })
    .await;
}

/// A node that knows none of the types keeps what it gets as it is, if the type
/// stands at the top; inside other data nobody could tell where it ends
/// (`docs/wire/EDF.md` section 1).
#[tokio::test]
async fn samples_of_unknown_types() {
    for dialer in Dialer::BOTH {
        let (node, go, samples) = nodes(dialer, Registry::empty()).await;
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let mut numbered = Vec::new();
        for (sample, told) in &samples {
            let name = sample.name.as_str();
            let value = match sample.read(node.registry()) {
                Ok(value) => value,
                Err(DecodeError::UnknownType(_)) => {
                    let error = sample.be_asked(&go, echo).await.unwrap_err();
                    assert!(error.contains("unknown type #example.org/postroad/interop"), "{name}: {error}");
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            };
            let answer =
                sample.ask(&node, &go, value).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            if sample.ty.starts_with('#') && sample.ty != KNOWN {
                let opaque = answer.downcast_ref::<Opaque>();
                assert_eq!(opaque.map(|opaque| &*opaque.name), Some(&*sample.ty), "{name}");
                if encode(&answer) != sample.bytes {
                    numbered.push(name);
                    continue;
                }
            }
            assert_eq!(hex::encode(encode(&answer)), hex::encode(&sample.bytes), "{name}");
            assert_eq!(sample.be_asked(&go, echo).await.as_ref(), Ok(told), "{name}");
        }
        // Types and errors within these came as numbers that only Go gave out:
        // on the way back they would mean others.
        assert_eq!(numbered, ["struct_full", "struct_deep", "reg_slice_any"]);
        end(node, go).await;
    }
}
