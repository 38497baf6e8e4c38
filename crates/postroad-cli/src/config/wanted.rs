//! Nodes that a node is to connect with by itself, and whether it has a route.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use postroad::network::exact;
use postroad::network::routes::RoutingTable;

use super::route::{DEFAULT_WEIGHT, ProxyRoute, Route};
use super::section::{At, Reader};

/// Their names, each with one place that says it.
#[derive(Default)]
pub(super) struct Wanted(BTreeMap<String, Range<usize>>);

impl Wanted {
    pub(super) fn add(&mut self, name: &At<String>) {
        if !self.0.contains_key(name.get_ref()) {
            self.0.insert(name.get_ref().clone(), name.span());
        }
    }

    /// Warns of those for which there is no route, when no registrar can be asked
    /// for one. A proxy route through a node is none to the node itself.
    pub(super) fn check(self, own: Option<&str>, routes: &[Route], proxies: &[ProxyRoute], reader: &Reader) {
        let of_routes = || routes.iter().map(|route| route.pattern.as_str());
        let to_gateway = |proxy: &&ProxyRoute| proxy.via.as_deref().map(exact) == Some(proxy.pattern.clone());
        let of_proxies = proxies.iter().filter(|proxy| !to_gateway(proxy));
        let named: HashSet<&str> =
            of_routes().chain(of_proxies.map(|proxy| proxy.pattern.as_str())).collect();
        // Reading every pattern takes long, and most gateways have a route by name.
        let tables = LazyCell::new(|| {
            let (direct, proxied) = (RoutingTable::new(), RoutingTable::new());
            // What is no pattern has been complained about.
            for pattern in of_routes() {
                let _ = direct.add(pattern, (), DEFAULT_WEIGHT);
            }
            for proxy in proxies {
                let _ = proxied.add(&proxy.pattern, proxy.via.as_deref(), DEFAULT_WEIGHT);
            }
            (direct, proxied)
        });
        let leads_to = |name: &str| {
            let by_pattern = || {
                let (direct, proxied) = &*tables;
                !direct.lookup(name).is_empty()
                    || proxied.lookup(name).iter().any(|proxy| *proxy.route() != Some(name))
            };
            named.contains(exact(name).as_str()) || by_pattern()
        };
        for (name, place) in self.0 {
            if own != Some(&name) && !leads_to(&name) {
                let message = format!(
                    "no route leads to {name}, and there is no registrar to ask: unless it connects by itself, \
                     it is out of reach"
                );
                reader.warning(place, message);
            }
        }
    }
}
