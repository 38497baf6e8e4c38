//! Static routes that the cluster hands out (`docs/discovery.md`, static routes).

use postroad::network::NetworkRoute;
use postroad::registrar::StaticRoute;
use serde::Deserialize;

/// Reads a route: a JSON object. No cookie, no certificate: secrets do not
/// belong where every node reads.
pub(crate) fn decode(value: &[u8]) -> Result<StaticRoute, serde_json::Error> {
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
    pattern: String,
    #[serde(default)]
    host: String,
    port: u16,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    weight: i64,
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
        let unknown = decode(br#"{"pattern": "x", "port": 1, "cookie": "s"}"#).unwrap_err().to_string();
        assert!(unknown.contains("unknown field `cookie`"), "{unknown}");
    }
}
