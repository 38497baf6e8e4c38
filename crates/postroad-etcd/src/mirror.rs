//! What is known of the cluster: as etcd told it last, and what a change of it
//! means. Pure.

use std::collections::BTreeMap;

use postroad::Atom;
use postroad::registrar::{ApplicationRoute, ApplicationState, Endpoint, ProxyEndpoint, RegistrarEvent};

use crate::api::{Event, KeyValue};
use crate::config::Config;
use crate::keys::{Keys, Subject};
use crate::proxy::Proxies;
use crate::value::{self, ValueError};

/// How many nodes, applications and items of configuration are kept. What
/// comes in excess is dropped, loudly.
const LIMIT: usize = 100_000;

/// The longest value that is looked at, in bytes.
pub(crate) const MAX_VALUE: usize = 256 << 10;

/// The cluster, as one of its nodes sees it.
#[derive(Debug)]
pub(crate) struct Mirror {
    own: Atom,
    keys: Keys,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    nodes: BTreeMap<Atom, Node>,
    /// By application, then by node.
    applications: BTreeMap<Atom, BTreeMap<Atom, ApplicationRoute>>,
    /// How many entries that are.
    placements: usize,
    config: Config,
    proxies: Proxies,
}

#[derive(Debug)]
struct Node {
    /// Tells one registration from another of the same name.
    create_revision: i64,
    /// Nothing if its value could not be read: it is there all the same.
    endpoints: Option<Vec<Endpoint>>,
}

impl Mirror {
    pub(crate) fn new(own: Atom, keys: Keys) -> Self {
        Self { own, keys, seen: Seen::default() }
    }

    /// Where a node is: nothing if it is not registered, or not readably.
    pub(crate) fn endpoints(&self, node: Atom) -> Option<&[Endpoint]> {
        self.seen.nodes.get(&node)?.endpoints.as_deref()
    }

    /// All nodes but the own one.
    pub(crate) fn nodes(&self) -> Vec<Atom> {
        self.seen.nodes.keys().copied().filter(|node| *node != self.own).collect()
    }

    /// Where an application is, in no order. The own node is left out.
    pub(crate) fn application(&self, name: Atom) -> Vec<ApplicationRoute> {
        let nodes = self.seen.applications.get(&name).into_iter().flatten();
        nodes.filter(|(node, _)| **node != self.own).map(|(_, route)| route.clone()).collect()
    }

    /// The gateways that lead to a node, without the own one.
    pub(crate) fn proxies(&self, to: Atom) -> Vec<ProxyEndpoint> {
        self.seen.proxies.to(to, Some(self.own))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.seen.config
    }

    /// Takes all that etcd holds in the place of what was known; tells the
    /// difference.
    pub(crate) fn replace(&mut self, all: &[KeyValue]) -> Vec<RegistrarEvent> {
        let old = std::mem::take(&mut self.seen);
        for kv in all {
            self.put(kv);
        }
        let mut events = Vec::new();
        for (&name, nodes) in &old.applications {
            for &node in nodes.keys() {
                if self.seen.applications.get(&name).is_none_or(|nodes| !nodes.contains_key(&node)) {
                    events.push(RegistrarEvent::ApplicationStopped { name, node });
                }
            }
        }
        for (&node, was) in &old.nodes {
            if self.seen.nodes.get(&node).is_none_or(|is| is.create_revision != was.create_revision) {
                events.extend(self.left(node));
            }
        }
        for (&node, is) in &self.seen.nodes {
            if old.nodes.get(&node).is_none_or(|was| was.create_revision != is.create_revision) {
                events.extend(self.joined(node));
            }
        }
        for (name, nodes) in &self.seen.applications {
            for (node, route) in nodes {
                let was = old.applications.get(name).and_then(|nodes| nodes.get(node));
                if was != Some(route) {
                    events.push(told(route));
                }
            }
        }
        let new = std::mem::replace(&mut self.seen.config, old.config);
        events.extend(self.seen.config.replace(new));
        events
    }

    /// Takes one change; tells what it means.
    pub(crate) fn apply(&mut self, event: &Event) -> Option<RegistrarEvent> {
        let kv = event.kv.as_ref()?;
        if event.kind == Event::DELETE { self.delete(&kv.key) } else { self.put(kv) }
    }

    fn put(&mut self, kv: &KeyValue) -> Option<RegistrarEvent> {
        let key = std::str::from_utf8(&kv.key).ok()?;
        let keys = self.keys.clone();
        let subject = keys.read(key)?;
        if !fits(key, &kv.value) {
            return None;
        }
        let put = match subject {
            Subject::Node(node) => self.put_node(node, kv),
            Subject::Application { name, node } => self.put_application(name, node, &kv.value),
            Subject::Config(place, item) => {
                if self.seen.config.len() >= LIMIT && self.seen.config.get(item).is_none() {
                    return full(key);
                }
                let text = String::from_utf8_lossy(&kv.value);
                Ok(self.seen.config.set(place, item, Some(value::config_value(&text))))
            }
            Subject::Proxy(node) => value::node(node).map(|node| {
                self.seen.proxies.put(node, &kv.value);
                None
            }),
            Subject::StaticRoute(_) => Ok(None),
        };
        put.unwrap_or_else(|error: ValueError| {
            tracing::warn!(key, %error, "value in etcd cannot be read: ignored");
            None
        })
    }

    fn put_node(&mut self, node: &str, kv: &KeyValue) -> Result<Option<RegistrarEvent>, ValueError> {
        let name = value::node(node)?;
        if self.seen.nodes.len() >= LIMIT && !self.seen.nodes.contains_key(&name) {
            return Ok(full(node));
        }
        let endpoints = value::decode_endpoints(&kv.value)
            .inspect_err(|error| tracing::warn!(node, %error, "routes of a node in etcd cannot be read"))
            .ok();
        let entry = Node { create_revision: kv.create_revision, endpoints };
        let old = self.seen.nodes.insert(name, entry);
        let is_new = old.is_none_or(|old| old.create_revision != kv.create_revision);
        Ok(if is_new { self.joined(name) } else { None })
    }

    fn put_application(
        &mut self,
        name: &str,
        node: &str,
        value: &[u8],
    ) -> Result<Option<RegistrarEvent>, ValueError> {
        let Some(route) = value::decode_application(name, node, value)? else { return Ok(None) };
        let nodes = self.seen.applications.get(&route.name);
        if nodes.is_none_or(|nodes| !nodes.contains_key(&route.node)) {
            if self.seen.placements >= LIMIT {
                return Ok(full(name));
            }
            self.seen.placements += 1;
        }
        let event = told(&route);
        let nodes = self.seen.applications.entry(route.name).or_default();
        let old = nodes.insert(route.node, route.clone());
        Ok((old != Some(route)).then_some(event))
    }

    fn delete(&mut self, key: &[u8]) -> Option<RegistrarEvent> {
        let key = std::str::from_utf8(key).ok()?;
        let keys = self.keys.clone();
        match keys.read(key)? {
            Subject::Node(node) => {
                let node = Atom::existing(node)?;
                self.seen.nodes.remove(&node)?;
                self.left(node)
            }
            Subject::Application { name, node } => {
                let (name, node) = (Atom::existing(name)?, Atom::existing(node)?);
                let nodes = self.seen.applications.get_mut(&name)?;
                nodes.remove(&node)?;
                self.seen.placements -= 1;
                if nodes.is_empty() {
                    self.seen.applications.remove(&name);
                }
                Some(RegistrarEvent::ApplicationStopped { name, node })
            }
            Subject::Config(place, item) => self.seen.config.set(place, item, None),
            Subject::Proxy(node) => {
                self.seen.proxies.remove(Atom::existing(node)?);
                None
            }
            Subject::StaticRoute(_) => None,
        }
    }

    fn joined(&self, node: Atom) -> Option<RegistrarEvent> {
        (node != self.own).then_some(RegistrarEvent::NodeJoined { node })
    }

    fn left(&self, node: Atom) -> Option<RegistrarEvent> {
        (node != self.own).then_some(RegistrarEvent::NodeLeft { node })
    }
}

/// Whether a value is short enough to be looked at; one that is not is logged.
pub(crate) fn fits(key: &str, value: &[u8]) -> bool {
    let fits = value.len() <= MAX_VALUE;
    if !fits {
        tracing::warn!(key, bytes = value.len(), limit = MAX_VALUE, "value in etcd too long: ignored");
    }
    fits
}

/// What an application's state is told as.
fn told(route: &ApplicationRoute) -> RegistrarEvent {
    let &ApplicationRoute { name, node, weight, mode, state, .. } = route;
    match state {
        ApplicationState::Loaded => RegistrarEvent::ApplicationLoaded { name, node, weight },
        ApplicationState::Running => RegistrarEvent::ApplicationStarted { name, node, weight, mode },
        ApplicationState::Stopping => RegistrarEvent::ApplicationStopping { name, node },
    }
}

fn full(what: &str) -> Option<RegistrarEvent> {
    tracing::error!(what, limit = LIMIT, "the cluster in etcd has too many entries: ignored");
    None
}

/// The order in which applications are given: running ones first, then by
/// weight, the heaviest first, then by name.
pub(crate) fn sort_applications(routes: &mut [ApplicationRoute]) {
    let rank = |route: &ApplicationRoute| {
        (route.state != ApplicationState::Running, std::cmp::Reverse(route.weight), route.node)
    };
    routes.sort_by_key(rank);
}

#[cfg(test)]
mod tests {
    use postroad::registrar::{ApplicationMode, ConfigValue};
    use postroad_wire::Version;
    use postroad_wire::stored::ErgoRelease;

    use super::*;

    const NODES: &str = "services/ergo/cluster/c/routes/nodes/";
    const APPS: &str = "services/ergo/cluster/c/routes/applications/";

    fn atom(name: &str) -> Atom {
        Atom::new(name).unwrap()
    }

    fn mirror() -> Mirror {
        Mirror::new(atom("own@h"), Keys::new("c", "own@h"))
    }

    fn kv(key: &str, value: impl Into<Vec<u8>>, create_revision: i64) -> KeyValue {
        let (mod_revision, lease) = (create_revision, 1);
        KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, lease }
    }

    fn node(name: &str, create_revision: i64) -> KeyValue {
        let endpoint = Endpoint {
            host: String::new(),
            port: 1,
            tls: false,
            handshake_version: Version::ehs(),
            proto_version: Version::enp(),
        };
        kv(&format!("{NODES}{name}"), value::encode_endpoints(&[endpoint]), create_revision)
    }

    fn route(name: &str, node: &str, weight: i64, state: ApplicationState) -> ApplicationRoute {
        let mode = Some(ApplicationMode::Transient);
        ApplicationRoute { node: atom(node), name: atom(name), weight, tags: Vec::new(), mode, state }
    }

    fn app(name: &str, node: &str, state: ApplicationState) -> KeyValue {
        let value = value::encode_application(&route(name, node, 5, state), ErgoRelease::default());
        kv(&format!("{APPS}{name}/{node}"), value, 1)
    }

    fn put(kv: KeyValue) -> Event {
        Event { kind: 0, kv: Some(kv) }
    }

    fn delete(key: &str) -> Event {
        Event { kind: Event::DELETE, kv: Some(kv(key, "", 0)) }
    }

    #[test]
    fn a_node_joins_once_for_each_registration() {
        let mut mirror = mirror();
        let b = atom("b@h");
        assert_eq!(mirror.apply(&put(node("b@h", 5))), Some(RegistrarEvent::NodeJoined { node: b }));
        assert_eq!(mirror.apply(&put(node("b@h", 5))), None, "another lease, the same registration");
        assert_eq!(mirror.apply(&put(node("own@h", 6))), None);
        assert_eq!(mirror.nodes(), [b]);
        assert_eq!(mirror.endpoints(b).map(<[_]>::len), Some(1));
        assert_eq!(mirror.apply(&delete(&format!("{NODES}b@h"))), Some(RegistrarEvent::NodeLeft { node: b }));
        assert_eq!(mirror.apply(&delete(&format!("{NODES}b@h"))), None);
        assert_eq!(mirror.apply(&delete(&format!("{NODES}own@h"))), None);
        assert!(mirror.nodes().is_empty());
    }

    #[test]
    fn the_life_of_an_application() {
        let mut mirror = mirror();
        let (name, node, weight) = (atom("web"), atom("own@h"), 5);
        let mode = Some(ApplicationMode::Transient);
        let loaded = RegistrarEvent::ApplicationLoaded { name, node, weight };
        for (state, event) in [
            (ApplicationState::Loaded, loaded.clone()),
            (ApplicationState::Running, RegistrarEvent::ApplicationStarted { name, node, weight, mode }),
            (ApplicationState::Stopping, RegistrarEvent::ApplicationStopping { name, node }),
            (ApplicationState::Loaded, loaded),
        ] {
            assert_eq!(mirror.apply(&put(app("web", "own@h", state))), Some(event));
            assert_eq!(mirror.apply(&put(app("web", "own@h", state))), None, "nothing has changed");
        }
        assert!(mirror.application(name).is_empty(), "the own node is left out");
        let stopped = RegistrarEvent::ApplicationStopped { name, node };
        assert_eq!(mirror.apply(&delete(&format!("{APPS}web/own@h"))), Some(stopped));
    }

    #[test]
    fn garbage_is_ignored() {
        let mut mirror = mirror();
        for (key, value) in [
            (format!("{NODES}not-a-node"), "x".into()),
            (format!("{APPS}web/b@h"), b"garbage".to_vec()),
            (format!("{APPS}web/b@h"), vec![0xff; 100]),
            (format!("{NODES}{}@h", "x".repeat(300)), b"x".to_vec()),
            ("services/ergo/config/global/x".to_owned(), vec![b'x'; MAX_VALUE + 1]),
        ] {
            assert_eq!(mirror.apply(&put(kv(&key, value, 1))), None, "{key}");
        }
        assert_eq!(mirror.apply(&Event { kind: 0, kv: None }), None);
        let joined = mirror.apply(&put(kv(&format!("{NODES}b@h"), "garbage", 1)));
        assert_eq!(
            joined,
            Some(RegistrarEvent::NodeJoined { node: atom("b@h") }),
            "it is there all the same"
        );
        assert_eq!(mirror.endpoints(atom("b@h")), None);
    }

    #[test]
    fn replacing_tells_the_difference() {
        let mut mirror = mirror();
        let config = |value: &str| kv("services/ergo/config/global/x", value, 1);
        mirror.replace(&[
            node("stays@h", 1),
            node("again@h", 2),
            node("gone@h", 3),
            node("own@h", 4),
            app("web", "gone@h", ApplicationState::Running),
            app("web", "stays@h", ApplicationState::Loaded),
            config("int:1"),
        ]);
        let events = mirror.replace(&[
            node("stays@h", 1),
            node("again@h", 9),
            node("new@h", 8),
            app("web", "stays@h", ApplicationState::Running),
            config("int:2"),
        ]);
        let (name, mode, weight) = (atom("web"), Some(ApplicationMode::Transient), 5);
        let update = RegistrarEvent::ConfigUpdated {
            item: "x".into(),
            old: Some(ConfigValue::Int(1)),
            value: Some(ConfigValue::Int(2)),
        };
        let mut sorted: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
        sorted.sort();
        let mut expected: Vec<_> = [
            RegistrarEvent::ApplicationStopped { name, node: atom("gone@h") },
            RegistrarEvent::NodeLeft { node: atom("again@h") },
            RegistrarEvent::NodeLeft { node: atom("gone@h") },
            RegistrarEvent::NodeJoined { node: atom("again@h") },
            RegistrarEvent::NodeJoined { node: atom("new@h") },
            RegistrarEvent::ApplicationStarted { name, node: atom("stays@h"), weight, mode },
            update,
        ]
        .iter()
        .map(|event| format!("{event:?}"))
        .collect();
        expected.sort();
        assert_eq!(sorted, expected);
        let left =
            events.iter().position(|event| *event == RegistrarEvent::NodeLeft { node: atom("again@h") });
        let joined =
            events.iter().position(|event| *event == RegistrarEvent::NodeJoined { node: atom("again@h") });
        assert!(left < joined);
    }

    #[test]
    fn running_and_heavy_applications_come_first() {
        let mut routes = [
            route("web", "a@h", 9, ApplicationState::Loaded),
            route("web", "b@h", 1, ApplicationState::Running),
            route("web", "c@h", 3, ApplicationState::Running),
            route("web", "d@h", -1, ApplicationState::Running),
        ];
        sort_applications(&mut routes);
        assert_eq!(routes.map(|route| route.node.as_str()), ["c@h", "b@h", "d@h", "a@h"]);
    }
}
