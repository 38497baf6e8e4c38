//! Where gateways say they lead (`docs/discovery.md`, proxies): a JSON object, for
//! Ergo has nothing of the kind.

use std::collections::BTreeMap;

use postroad::Atom;
use postroad::network::routes::Names;
use postroad::registrar::ProxyEndpoint;
use serde::{Deserialize, Serialize};

/// So many patterns a gateway may have.
pub(crate) const MAX_PATTERNS: usize = 16;

/// So many gateways are looked at. For a node that cannot be found all their
/// patterns are tried, and strangers write them.
const MAX_GATEWAYS: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    to: Vec<String>,
}

/// The value of a gateway that leads to nodes of these names.
pub(crate) fn encode<'a>(to: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let to: Vec<&str> = to.into_iter().collect();
    serde_json::json!({ "to": to }).to_string().into_bytes()
}

/// Patterns that cannot be read are left out, with a line in the log.
fn decode(gateway: &str, value: &[u8]) -> Result<Vec<Names>, serde_json::Error> {
    let Written { to } = serde_json::from_slice(value)?;
    if to.len() > MAX_PATTERNS {
        tracing::warn!(gateway, patterns = to.len(), limit = MAX_PATTERNS, "the rest of them is ignored");
    }
    let read = |pattern: &String| {
        Names::matching(pattern)
            .inspect_err(|error| tracing::warn!(gateway, %error, "pattern of a gateway in etcd ignored"))
            .ok()
    };
    Ok(to.iter().take(MAX_PATTERNS).filter_map(read).collect())
}

/// Which gateways lead where.
#[derive(Debug, Default)]
pub(crate) struct Proxies(BTreeMap<Atom, Vec<Names>>);

impl Proxies {
    /// Takes what a gateway says in the place of what it said before.
    pub(crate) fn put(&mut self, gateway: Atom, value: &[u8]) {
        let name = gateway.as_str();
        if self.0.len() >= MAX_GATEWAYS && !self.0.contains_key(&gateway) {
            tracing::error!(gateway = name, limit = MAX_GATEWAYS, "too many gateways in etcd: ignored");
            return;
        }
        match decode(name, value) {
            Ok(names) => {
                self.0.insert(gateway, names);
            }
            Err(error) => {
                tracing::warn!(gateway = name, %error, "where a gateway leads cannot be read: ignored");
                self.0.remove(&gateway);
            }
        }
    }

    pub(crate) fn remove(&mut self, gateway: Atom) {
        self.0.remove(&gateway);
    }

    /// Those that lead to a node, in the order of their names, without `own`.
    pub(crate) fn to(&self, name: Atom, own: Option<Atom>) -> Vec<ProxyEndpoint> {
        let leads = |gateway: &Atom, names: &[Names]| {
            Some(*gateway) != own && *gateway != name && names.iter().any(|to| to.contains(name.as_str()))
        };
        let leading = self.0.iter().filter(|(gateway, names)| leads(gateway, names));
        leading.map(|(gateway, _)| ProxyEndpoint { to: name, proxy: *gateway }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(name: &str) -> Atom {
        Atom::new(name).unwrap()
    }

    #[test]
    fn gateways_lead_to_whole_names_that_their_patterns_match() {
        let mut proxies = Proxies::default();
        proxies.put(atom("b@dmz"), &encode(["db-.*@private", "web@private"]));
        proxies.put(atom("a@dmz"), &encode(["db-1@private"]));
        let to = |proxies: &Proxies, name| -> Vec<&str> {
            proxies.to(atom(name), Some(atom("a@dmz"))).iter().map(|found| found.proxy.as_str()).collect()
        };
        assert_eq!(to(&proxies, "db-1@private"), ["b@dmz"], "not through the own node");
        assert_eq!(proxies.to(atom("db-1@private"), None).len(), 2);
        assert_eq!(to(&proxies, "db-1@private.evil"), [""; 0]);
        assert!(proxies.to(atom("b@dmz"), None).is_empty());
        proxies.put(atom("b@dmz"), &encode(["web@private"]));
        assert_eq!(to(&proxies, "db-1@private"), [""; 0]);
        proxies.remove(atom("b@dmz"));
        assert_eq!(to(&proxies, "web@private"), [""; 0]);
    }

    #[test]
    fn what_makes_no_sense_leads_nowhere_and_takes_no_room() {
        let mut proxies = Proxies::default();
        let gateway = atom("gateway@dmz");
        for garbage in ["", "x", "[]", r#"{"to": "db@x"}"#, r#"{"to": [], "cookie": "s"}"#] {
            proxies.put(gateway, br#"{"to": [".*"]}"#);
            proxies.put(gateway, garbage.as_bytes());
            assert!(proxies.to(atom("db@x"), None).is_empty(), "{garbage}");
        }
        proxies.put(gateway, br#"{"to": ["(", "a)|(b", "db@x"]}"#);
        assert_eq!(proxies.to(atom("db@x"), None), [ProxyEndpoint { to: atom("db@x"), proxy: gateway }]);
        let many: Vec<String> = (0..1000).map(|number| format!("db{number}@x")).collect();
        proxies.put(gateway, &encode(many.iter().map(String::as_str)));
        let reached = |number: usize| !proxies.to(atom(&many[number]), None).is_empty();
        assert!(reached(MAX_PATTERNS - 1) && !reached(MAX_PATTERNS));
        for number in 0..2 * MAX_GATEWAYS {
            proxies.put(atom(&format!("g{number}@dmz")), br#"{"to": ["web@x"]}"#);
        }
        assert_eq!(proxies.to(atom("web@x"), None).len(), MAX_GATEWAYS - 1);
    }
}
