//! Static routes that the cluster hands out (`docs/discovery.md`, static routes).

use postroad::network::NetworkRoute;
use postroad::registrar::StaticRoute;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::mirror::MAX_VALUE;

/// Reads a route: a JSON object. No cookie, no certificate: secrets do not
/// belong where every node reads.
pub(crate) fn decode(value: &[u8]) -> Result<StaticRoute, serde_json::Error> {
    if value.len() > MAX_VALUE {
        return Err(Error::custom(format_args!("{} bytes, more than {MAX_VALUE}", value.len())));
    }
    let written: Written = serde_json::from_slice(value)?;
    Ok(StaticRoute {
        pattern: written.pattern,
        route: NetworkRoute::to(written.host, written.port).tls(written.tls),
        weight: written.weight,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "visible")]
    pattern: String,
    #[serde(default, deserialize_with = "visible")]
    host: String,
    port: u16,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    weight: i64,
}

/// People are shown these, and no name of a node has control characters.
fn visible<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.contains(char::is_control) {
        true => Err(Error::custom("a control character in pattern or host")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_json_object() {
        let route = decode(br#"{"pattern": "^db@", "host": "10.0.0.9", "port": 4370, "weight": 7}"#).unwrap();
        assert_eq!((route.pattern.as_str(), route.weight), ("^db@", 7));
        assert_eq!(route.route.to_string(), "10.0.0.9:4370");
        let least = decode(br#"{"pattern": "x", "port": 1, "tls": true}"#).unwrap();
        assert_eq!((least.weight, least.route.to_string().contains("TLS")), (0, true));
        for garbage in ["", "x", "{}", r#"{"pattern": "x"}"#, r#"{"pattern": "x", "port": 70000}"#] {
            assert!(decode(garbage.as_bytes()).is_err(), "{garbage}");
        }
        for hidden in
            [r#"{"pattern": "x|\n  2. y", "port": 1}"#, r#"{"pattern": "x", "port": 1, "host": "h\u001b"}"#]
        {
            let error = decode(hidden.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("a control character in pattern or host"), "{error}");
        }
        let long = format!(r#"{{"pattern": "{}", "port": 1}}"#, "x".repeat(MAX_VALUE));
        assert!(decode(long.as_bytes()).unwrap_err().to_string().contains("more than 262144"));
        let unknown = decode(br#"{"pattern": "x", "port": 1, "cookie": "s"}"#).unwrap_err().to_string();
        assert!(unknown.contains("unknown field `cookie`"), "{unknown}");
    }
}
