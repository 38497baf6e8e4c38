//! The files of golden vectors, those of this crate and those of the folder that
//! the environment variable `POSTROAD_VECTORS` names.

use std::path::{Path, PathBuf};

use postroad_edf::{
    Atom, AtomMapping, DecodeTables, EncodeTables, ErrorValue, Field, RegisterError, Registry, Schema, Type,
    TypeName,
};
use serde_json::Value as Json;

/// A folder of vectors and the types that they use.
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) registry: Registry,
}

impl Folder {
    /// The folder of this crate, and the one of the environment.
    pub(crate) fn all() -> Vec<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
        let given = std::env::var_os("POSTROAD_VECTORS").map(PathBuf::from);
        let folders = std::iter::once(own.clone()).chain(given);
        folders
            .map(|path| {
                let registry = Registry::new();
                register(&path, &registry);
                register(&own, &registry);
                Self { path, registry }
            })
            .collect()
    }

    /// The lines of all files that `wanted` chooses by name.
    pub(crate) fn lines(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, Json)> {
        lines(&self.path, wanted)
    }
}

fn lines(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(String, Json)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("the vectors in {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let json: Json = serde_json::from_str(line).unwrap();
            let name = json["name"].as_str().unwrap_or_default();
            found.push((format!("{}:{} {name}", file.display(), number + 1), json));
        }
    }
    found
}

/// Registers the types of a folder; those that a folder before it knows stay.
fn register(folder: &Path, registry: &Registry) {
    for (place, json) in lines(folder, |file| file.ends_with("types.jsonl")) {
        let name = TypeName::new(json["name"].as_str().unwrap()).unwrap();
        let ty = |key: &str| json[key].as_str().unwrap().parse::<Type>().unwrap();
        let schema = match json["kind"].as_str().unwrap() {
            "struct" => Schema::Struct(
                json["fields"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|field| {
                        let [name, ty] = &field.as_array().unwrap()[..] else { panic!("{place}: {field}") };
                        Field::new(name.as_str().unwrap(), ty.as_str().unwrap().parse().unwrap())
                    })
                    .collect(),
            ),
            "slice" => Schema::Slice(ty("item")),
            "array" => Schema::Array(json["len"].as_u64().unwrap() as u32, ty("item")),
            "map" => Schema::Map(ty("key"), ty("item")),
            "marshaler" | "binary_marshaler" => Schema::Marshal,
            _ => Schema::Scalar(ty("kind")),
        };
        match registry.register_schema(name, schema) {
            Ok(()) | Err(RegisterError::Taken { .. }) => {}
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

/// The tables of a line: `options` are those of the side that encodes.
pub(crate) fn tables(line: &Json) -> (EncodeTables, DecodeTables) {
    let (mut encode, mut decode) = (EncodeTables::default(), DecodeTables::default());
    let entries = |key: &str| -> Vec<(String, Json)> {
        line["options"][key].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let id = |json: Json| json.as_u64().unwrap() as u16;
    for (text, json) in entries("atom_cache") {
        let (atom, id) = (Atom::new(&text).unwrap(), id(json));
        encode.insert_atom(atom, id);
        decode.insert_atom(id, atom);
    }
    for (text, json) in entries("reg_cache") {
        let id = id(json);
        encode.insert_type(TypeName::new(&text).unwrap(), id);
        decode.insert_type(id, &text);
    }
    for (text, json) in entries("err_cache") {
        let id = id(json);
        encode.insert_error(&text, id);
        decode.insert_error(id, ErrorValue::new(text));
    }
    let pairs: Vec<_> = entries("atom_mapping")
        .iter()
        .map(|(local, wire)| (Atom::new(local).unwrap(), Atom::new(wire.as_str().unwrap()).unwrap()))
        .collect();
    if !pairs.is_empty() {
        let mapping = AtomMapping::new(pairs).unwrap();
        encode.mapping = Some(mapping.clone());
        decode.mapping = Some(mapping);
    }
    for feature in line["options"]["features"].as_array().into_iter().flatten() {
        match feature.as_str().unwrap() {
            "pointers" => (encode.features.pointers, decode.features.pointers) = (true, true),
            "wrapped_errors" => {
                (encode.features.wrapped_errors, decode.features.wrapped_errors) = (true, true);
            }
            other => panic!("unknown feature {other}"),
        }
    }
    (encode, decode)
}

pub(crate) fn bytes(line: &Json) -> Option<Vec<u8>> {
    if let Some(hex) = line["hex"].as_str() {
        return Some(hex::decode(hex).unwrap());
    }
    let parts = line["hex_parts"].as_array()?;
    let mut bytes = Vec::new();
    for part in parts {
        let part_bytes = hex::decode(part[0].as_str().unwrap()).unwrap();
        bytes.extend(part_bytes.repeat(part[1].as_u64().unwrap() as usize));
    }
    Some(bytes)
}

/// The file holds values, not types or errors.
pub(crate) fn is_values(file: &str) -> bool {
    file.starts_with("edf") && file.ends_with(".jsonl") && !is_errors(file) && !file.ends_with("types.jsonl")
}

pub(crate) fn is_errors(file: &str) -> bool {
    file.starts_with("edf") && file.ends_with("errors.jsonl")
}
