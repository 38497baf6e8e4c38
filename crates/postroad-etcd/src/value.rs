//! Values (`docs/discovery.md`, values): base64 of EDF for nodes and
//! applications, plain text for configuration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postroad::Atom;
use postroad::registrar::{
    ApplicationMode, ApplicationRoute, ApplicationState, ConfigValue, Endpoint, MAX_TAGS,
};
use postroad_wire::BodyError;
use postroad_wire::esrd::Route;
use postroad_wire::stored::{self, ErgoRelease};

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("it is no base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("it is not what belongs there: {0}")]
    Body(#[from] BodyError),
    #[error("{0:?} is not a name")]
    Name(String),
    #[error("it says {said}, its key says {key}")]
    Key { said: String, key: String },
}

pub(crate) fn encode_endpoints(endpoints: &[Endpoint]) -> Vec<u8> {
    let routes: Vec<Route> = endpoints
        .iter()
        .map(|endpoint| Route {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: endpoint.tls,
            handshake_version: endpoint.handshake_version.clone(),
            proto_version: endpoint.proto_version.clone(),
        })
        .collect();
    STANDARD.encode(stored::encode_routes(&routes)).into_bytes()
}

/// Hosts are as they were written: possibly empty.
pub(crate) fn decode_endpoints(value: &[u8]) -> Result<Vec<Endpoint>, ValueError> {
    let routes = stored::decode_routes(&STANDARD.decode(value)?)?;
    let endpoint = |route: Route| Endpoint {
        host: route.host,
        port: route.port,
        tls: route.tls,
        handshake_version: route.handshake_version,
        proto_version: route.proto_version,
    };
    Ok(routes.into_iter().map(endpoint).collect())
}

pub(crate) fn encode_application(route: &ApplicationRoute, release: ErgoRelease) -> Vec<u8> {
    let stored = stored::ApplicationRoute {
        node: route.node.as_str().to_owned(),
        name: route.name.as_str().to_owned(),
        weight: route.weight,
        tags: route.tags.clone(),
        mode: match route.mode {
            None => 0,
            Some(ApplicationMode::Temporary) => 1,
            Some(ApplicationMode::Transient) => 2,
            Some(ApplicationMode::Permanent) => 3,
        },
        state: match route.state {
            ApplicationState::Loaded => 1,
            ApplicationState::Running => 2,
            ApplicationState::Stopping => 3,
        },
    };
    STANDARD.encode(stored.encode(release)).into_bytes()
}

/// Reads an application from its key and value. Nothing if its state is none
/// that is known: such a route is of no use to anybody here.
pub(crate) fn decode_application(
    name: &str,
    node: &str,
    value: &[u8],
) -> Result<Option<ApplicationRoute>, ValueError> {
    let stored = stored::ApplicationRoute::decode(&STANDARD.decode(value)?)?;
    for (said, key) in [(&stored.name, name), (&stored.node, node)] {
        if said != key {
            return Err(ValueError::Key { said: said.clone(), key: key.to_owned() });
        }
    }
    let state = match stored.state {
        1 => ApplicationState::Loaded,
        2 => ApplicationState::Running,
        3 => ApplicationState::Stopping,
        _ => return Ok(None),
    };
    let mode = match stored.mode {
        1 => Some(ApplicationMode::Temporary),
        2 => Some(ApplicationMode::Transient),
        3 => Some(ApplicationMode::Permanent),
        _ => None,
    };
    let mut tags = stored.tags;
    tags.truncate(MAX_TAGS);
    let (node, name) = (atom(node)?, atom(name)?);
    Ok(Some(ApplicationRoute { node, name, weight: stored.weight, tags, mode, state }))
}

/// A name that came from etcd.
pub(crate) fn atom(text: &str) -> Result<Atom, ValueError> {
    Atom::from_peer(text).map_err(|_| ValueError::Name(text.to_owned()))
}

/// The name of a node that came from etcd.
pub(crate) fn node(text: &str) -> Result<Atom, ValueError> {
    let name = atom(text)?;
    if name.host().is_empty() { Err(ValueError::Name(text.to_owned())) } else { Ok(name) }
}

/// Reads a value of the configuration: `int:`, `float:` and `bool:` begin
/// values that are no texts. What cannot be read so is a text, all of it.
pub(crate) fn config_value(text: &str) -> ConfigValue {
    let typed = match text.split_once(':') {
        Some(("int", number)) => number.parse().ok().map(ConfigValue::Int),
        Some(("float", number)) => float(number).map(ConfigValue::Float),
        Some(("bool", value)) => match value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(ConfigValue::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(ConfigValue::Bool(false)),
            _ => None,
        },
        _ => None,
    };
    typed.unwrap_or_else(|| ConfigValue::Text(text.to_owned()))
}

/// A number as Go reads it: decimal or hexadecimal, `inf`, `nan` without a
/// sign; one that is too large is none.
fn float(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => hexadecimal(digits)?,
        None => digits.parse::<f64>().ok()?,
    };
    let says_infinite = digits.starts_with(['i', 'I']);
    let signed_nan = number.is_nan() && digits.len() != text.len();
    if signed_nan || number.is_infinite() && !says_infinite {
        return None;
    }
    Some(if negative { -number } else { number })
}

/// `DIGITS.DIGITSpEXPONENT`; the exponent must be there.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.chars().chain(fraction.chars());
    let mut value = 0.0;
    let mut count = 0;
    for digit in digits {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
        count += 1;
    }
    let exponent = exponent.parse::<i32>().ok()?;
    let scale = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    // In two steps: the scale alone may be out of range although the number is not.
    let half = scale / 2;
    (count > 0).then(|| value * 2f64.powi(half) * 2f64.powi(scale - half))
}

#[cfg(test)]
mod tests {
    use postroad_wire::Version;
    use proptest::prelude::*;

    use super::*;

    /// Ergo's own: `docs/discovery.md`, values.
    const ONE_ROUTE: &str = "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRlnQAAAAEAACuIAAADRUhTAAJSMQAAAANNSVQAA0VOUAACUjEAAAADTUlU";
    const WITH_HOST: &str = "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRlnQAAAAEACDEwLjAuMC41OpgBAANFSFMAAlIxAAAAA01JVAADRU5QAAJSMQAAAANNSVQ=";
    const EMPTY: &str = "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRlnQAAAAA=";
    const NIL: &str = "ggAhnYMAHSNlcmdvLnNlcnZpY2VzL2VyZ28vZ2VuL1JvdXRl/w==";
    const WEBAPP: &str = "gwAoI2VyZ28uc2VydmljZXMvZXJnby9nZW4vQXBwbGljYXRpb25Sb3V0ZQAOZGVtb0Bsb2NhbGhvc3QABndlYmFwcAAAAAAAAABkAAAAAAAAAAMAAAAC";

    /// The same of 3.2.0, as its registrar put it into etcd (`interop/registrar`).
    const SHOP: &str = "gwAoI2VyZ28uc2VydmljZXMvZXJnby9nZW4vQXBwbGljYXRpb25Sb3V0ZQAOZXJnb0AxMjcuMC4wLjEABHNob3AAAAAAAAAAHgAAAAAAAAAB/wAAAAI=";

    /// The same with the tags `blue` and `eu`.
    const TAGGED: &str = "gwAoI2VyZ28uc2VydmljZXMvZXJnby9nZW4vQXBwbGljYXRpb25Sb3V0ZQAOZXJnb0AxMjcuMC4wLjEABHNob3AAAAAAAAAAHgAAAAAAAAABnQAAAAIABGJsdWUAAmV1AAAAAg==";

    fn endpoint(host: &str, port: u16, tls: bool) -> Endpoint {
        let (handshake_version, proto_version) = (Version::ehs(), Version::enp());
        Endpoint { host: host.to_owned(), port, tls, handshake_version, proto_version }
    }

    fn webapp() -> ApplicationRoute {
        ApplicationRoute {
            node: Atom::new("demo@localhost").unwrap(),
            name: Atom::new("webapp").unwrap(),
            weight: 100,
            tags: Vec::new(),
            mode: Some(ApplicationMode::Permanent),
            state: ApplicationState::Running,
        }
    }

    #[test]
    fn routes_are_ergos_byte_for_byte() {
        for (golden, endpoints) in [
            (ONE_ROUTE, vec![endpoint("", 11144, false)]),
            (WITH_HOST, vec![endpoint("10.0.0.5", 15000, true)]),
            (NIL, Vec::new()),
        ] {
            assert_eq!(decode_endpoints(golden.as_bytes()).as_ref(), Ok(&endpoints));
            assert_eq!(encode_endpoints(&endpoints), golden.as_bytes());
        }
        assert_eq!(decode_endpoints(EMPTY.as_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn applications_are_ergos_byte_for_byte() {
        assert_eq!(decode_application("webapp", "demo@localhost", WEBAPP.as_bytes()), Ok(Some(webapp())));
        assert_eq!(encode_application(&webapp(), ErgoRelease::V3_1), WEBAPP.as_bytes());
        let shop = ApplicationRoute {
            node: Atom::new("ergo@127.0.0.1").unwrap(),
            name: Atom::new("shop").unwrap(),
            weight: 30,
            mode: Some(ApplicationMode::Temporary),
            ..webapp()
        };
        assert_eq!(decode_application("shop", "ergo@127.0.0.1", SHOP.as_bytes()), Ok(Some(shop.clone())));
        assert_eq!(encode_application(&shop, ErgoRelease::V3_2), SHOP.as_bytes());
        let tagged = ApplicationRoute { tags: vec!["blue".to_owned(), "eu".to_owned()], ..shop };
        let read = decode_application("shop", "ergo@127.0.0.1", TAGGED.as_bytes());
        assert_eq!(read, Ok(Some(tagged.clone())));
        assert_eq!(encode_application(&tagged, ErgoRelease::V3_2), TAGGED.as_bytes());
        let many = ApplicationRoute { tags: vec!["t".to_owned(); 60_000], ..tagged };
        let value = encode_application(&many, ErgoRelease::V3_2);
        let read = decode_application("shop", "ergo@127.0.0.1", &value).unwrap().unwrap();
        assert_eq!(read.tags.len(), MAX_TAGS);
        let other = decode_application("web", "demo@localhost", WEBAPP.as_bytes());
        assert!(matches!(other, Err(ValueError::Key { .. })), "a value under another key: {other:?}");
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        assert!(matches!(decode_endpoints(b"not base64!"), Err(ValueError::Base64(_))));
        assert!(matches!(decode_endpoints(WEBAPP.as_bytes()), Err(ValueError::Body(_))));
        assert!(matches!(decode_endpoints(b""), Err(ValueError::Body(BodyError::EndOfData { .. }))));
        assert!(decode_application("webapp", "demo@localhost", ONE_ROUTE.as_bytes()).is_err());
        let mut strange = stored::ApplicationRoute::decode(&STANDARD.decode(WEBAPP).unwrap()).unwrap();
        (strange.mode, strange.state) = (0, 0);
        let strange = STANDARD.encode(strange.encode(ErgoRelease::V3_1));
        assert_eq!(decode_application("webapp", "demo@localhost", strange.as_bytes()), Ok(None));
    }

    #[test]
    fn configuration_is_read_as_go_does() {
        let text = |text: &str| ConfigValue::Text(text.to_owned());
        let (int, float, bool) = (ConfigValue::Int, ConfigValue::Float, ConfigValue::Bool);
        for (written, read) in [
            ("", text("")),
            ("plain", text("plain")),
            (" int:5", text(" int:5")),
            ("int:42", int(42)),
            ("int:-9223372036854775808", int(i64::MIN)),
            ("int:+7", int(7)),
            ("int:9223372036854775808", text("int:9223372036854775808")),
            ("int: 5", text("int: 5")),
            ("int:", text("int:")),
            ("int:0x10", text("int:0x10")),
            ("int:1_000", text("int:1_000")),
            ("float:2.5", float(2.5)),
            ("float:-1e3", float(-1000.0)),
            ("float:.5", float(0.5)),
            ("float:0x1p-2", float(0.25)),
            ("float:-0X1.8p1", float(-3.0)),
            ("float:inf", float(f64::INFINITY)),
            ("float:-Infinity", float(f64::NEG_INFINITY)),
            ("float:1e999", text("float:1e999")),
            ("float:0x1", text("float:0x1")),
            ("float:0x.p1", text("float:0x.p1")),
            ("float:0x1p99999", text("float:0x1p99999")),
            ("float:+-1", text("float:+-1")),
            ("float:-nan", text("float:-nan")),
            ("float:1_0", text("float:1_0")),
            ("float:", text("float:")),
            ("bool:T", bool(true)),
            ("bool:0", bool(false)),
            ("bool:yes", text("bool:yes")),
            ("string:x", text("string:x")),
        ] {
            assert_eq!(config_value(written), read, "{written}");
        }
        assert!(config_value("float:NaN").as_float().unwrap().is_nan());
    }

    proptest! {
        #[test]
        fn whatever_etcd_holds_nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,40}") {
            let _ = decode_endpoints(&value);
            let _ = decode_application("a", "b@c", &value);
            let value = STANDARD.encode(value);
            let _ = decode_endpoints(value.as_bytes());
            let _ = decode_application("a", "b@c", value.as_bytes());
            for kind in ["", "int:", "float:", "float:0x", "bool:"] {
                let _ = config_value(&format!("{kind}{text}"));
            }
        }
    }
}
