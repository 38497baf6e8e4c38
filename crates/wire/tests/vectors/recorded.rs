//! The files, and what is in them (`vectors/README.md` of the recordings).

use std::fs;
use std::path::{Path, PathBuf};

use postroad_edf::{Field, RegisterError, Registry, Schema, Type, TypeName};
use postroad_wire::Cookie;
use serde_json::Value;

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The files whose name begins and ends as given, at least one.
pub(crate) fn files(prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let more = std::env::var_os("POSTROAD_VECTORS").map(PathBuf::from);
    let files =
        std::iter::once(own_folder()).chain(more).flat_map(|folder| in_folder(&folder, prefix, suffix));
    let files: Vec<_> = files.collect();
    assert!(!files.is_empty(), "no file {prefix}*{suffix}");
    files
}

fn in_folder(folder: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    files.sort();
    files
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A recorded session between two nodes.
pub(crate) struct Session {
    pub(crate) name: String,
    folder: PathBuf,
    json: Value,
}

/// What one side of a link sent, or that the link ended.
pub(crate) struct Recorded<'a> {
    pub(crate) link: i64,
    pub(crate) by: &'a str,
    pub(crate) layer: &'a str,
    pub(crate) note: &'a str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) decoded: &'a Value,
    pub(crate) place: String,
}

impl Session {
    pub(crate) fn all() -> Vec<Self> {
        files("session_", ".json")
            .into_iter()
            .map(|path| Self {
                name: path.display().to_string(),
                folder: path.parent().unwrap().to_owned(),
                json: json(&path),
            })
            .collect()
    }

    /// A registry with the types of this program, and what the folder of the
    /// session and our own say about others.
    pub(crate) fn registry(&self) -> Registry {
        let registry = Registry::new();
        for folder in [self.folder.clone(), own_folder()] {
            for path in in_folder(&folder, "", "types.jsonl") {
                for line in fs::read_to_string(&path).unwrap().lines().filter(|line| !line.trim().is_empty())
                {
                    let definition: Value = serde_json::from_str(line).unwrap();
                    let name = TypeName::new(definition["name"].as_str().unwrap()).unwrap();
                    match registry.register_schema(name, schema(&definition)) {
                        Ok(()) | Err(RegisterError::Taken { .. }) => {}
                        Err(error) => panic!("{}: {error}", path.display()),
                    }
                }
            }
        }
        registry
    }

    /// The links with the name of their dialing and of their accepting side.
    pub(crate) fn links(&self) -> Vec<(i64, &str, &str)> {
        let links = self.json["connections"].as_array().unwrap();
        links
            .iter()
            .map(|link| match link["dialed_by"].as_str().unwrap() {
                "B" => (link["conn"].as_i64().unwrap(), "B", "A"),
                dialer => (link["conn"].as_i64().unwrap(), dialer, "B"),
            })
            .collect()
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = Recorded<'_>> {
        self.json["frames"].as_array().unwrap().iter().map(|frame| Recorded {
            link: frame["conn"].as_i64().unwrap(),
            by: frame["dir"].as_str().unwrap().split('>').next().unwrap(),
            layer: frame["layer"].as_str().unwrap(),
            note: frame["note"].as_str().unwrap(),
            bytes: hex::decode(frame["hex"].as_str().unwrap_or_default()).unwrap(),
            decoded: &frame["decoded"],
            place: format!("{} frame {}", self.name, frame["n"]),
        })
    }

    /// The cookie of a side.
    pub(crate) fn cookie(&self, side: &str) -> Cookie {
        let own = self.json["nodes"][side]["cookie"].as_str();
        Cookie::from(own.unwrap_or_else(|| self.json["cookie"].as_str().unwrap()))
    }

    /// The name of a side, if the recording says it.
    pub(crate) fn node(&self, side: &str) -> Option<&str> {
        self.json["nodes"][side]["name"].as_str()
    }

    /// The certificate of the accepting side, on TLS.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        self.json["tls"]["certificate_der_hex"].as_str().map(|der| hex::decode(der).unwrap())
    }
}

/// What a line of a `*types.jsonl` says a type consists of.
fn schema(definition: &Value) -> Schema {
    let ty = |key: &str| definition[key].as_str().unwrap().parse::<Type>().unwrap();
    let field = |pair: &Value| {
        Field::new(pair[0].as_str().unwrap(), pair[1].as_str().unwrap().parse::<Type>().unwrap())
    };
    match definition["kind"].as_str().unwrap() {
        "struct" => Schema::Struct(definition["fields"].as_array().unwrap().iter().map(field).collect()),
        "slice" => Schema::Slice(ty("item")),
        "array" => Schema::Array(definition["len"].as_u64().unwrap().try_into().unwrap(), ty("item")),
        "map" => Schema::Map(ty("key"), ty("item")),
        "marshaler" | "binary_marshaler" => Schema::Marshal,
        _ => Schema::Scalar(ty("kind")),
    }
}

/// A field of a decoded struct, as text.
pub(crate) fn text<'a>(decoded: &'a Value, field: &str) -> &'a str {
    value(decoded, field).as_str().unwrap()
}

/// A field of a decoded struct.
pub(crate) fn value<'a>(decoded: &'a Value, field: &str) -> &'a Value {
    let fields = decoded["value"]["fields"].as_array().unwrap_or_else(|| panic!("no fields in {decoded}"));
    &fields.iter().find(|pair| pair[0] == field).unwrap_or_else(|| panic!("no {field} in {decoded}"))[1]
}
