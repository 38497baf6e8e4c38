//! Types described in files, one JSON object per line.

use std::path::Path;

use anyhow::{Context as _, ensure};
use postroad_edf::{Field, RegisterError, Registry, Schema, Type, TypeName};
use serde_json::Value as Json;

/// The types that a stock Ergo node registers: those of v3.2.0, and the
/// messages of the handshake and the registrar that 3.3.0 adds.
const STOCK: &str = include_str!("ergo_types.jsonl");

/// Registers the stock types; those that are known by then stay what they are.
pub(super) fn register_stock(registry: &Registry) -> anyhow::Result<()> {
    for line in STOCK.lines() {
        let (name, schema) = parse(line).with_context(|| format!("stock type {line}"))?;
        match registry.register_schema(name, schema) {
            Ok(()) | Err(RegisterError::Taken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Registers the types of a file.
pub(super) fn register_file(registry: &Registry, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", file.display(), number + 1);
        let (name, schema) = parse(line).with_context(place)?;
        registry.register_schema(name, schema).with_context(place)?;
    }
    Ok(())
}

fn parse(line: &str) -> anyhow::Result<(TypeName, Schema)> {
    let json: Json = serde_json::from_str(line)?;
    let name = TypeName::new(text(&json, "name")?)?;
    let ty = |key| -> anyhow::Result<Type> { Ok(text(&json, key)?.parse()?) };
    let schema = match text(&json, "kind")? {
        "struct" => {
            let fields =
                json["fields"].as_array().context(r#"a struct needs "fields": [["Name","type"],...]"#)?;
            Schema::Struct(fields.iter().map(field).collect::<anyhow::Result<_>>()?)
        }
        "slice" => Schema::Slice(ty("item")?),
        "array" => {
            let len = json["len"].as_u64().and_then(|len| u32::try_from(len).ok());
            Schema::Array(len.context(r#"an array needs "len": a number"#)?, ty("item")?)
        }
        "map" => Schema::Map(ty("key")?, ty("item")?),
        "marshaler" | "binary_marshaler" => Schema::Marshal,
        _ => Schema::Scalar(ty("kind")?),
    };
    Ok((name, schema))
}

fn text<'a>(json: &'a Json, key: &str) -> anyhow::Result<&'a str> {
    json[key].as_str().with_context(|| format!("{key:?} is missing"))
}

fn field(json: &Json) -> anyhow::Result<Field> {
    let pair = json.as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(pair.len() == 2, r#"{json} is not of the form ["Name","type"]"#);
    let [name, ty] = [&pair[0], &pair[1]].map(|json| json.as_str().unwrap_or_default());
    Ok(Field::new(name, ty.parse()?))
}
