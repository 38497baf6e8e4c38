//! What is kept where (`docs/discovery.md`, keys).

use crate::EtcdError;

const ROOT: &str = "services/ergo";

/// The keys of one cluster, as one of its nodes sees them.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    cluster: String,
    node: String,
    /// All of the cluster but what the configuration tree has for it.
    pub(crate) cluster_prefix: String,
    /// The configuration tree of all clusters.
    pub(crate) config_prefix: String,
}

/// What a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// The routes of a node.
    Node(&'a str),
    /// An application of a node.
    Application { name: &'a str, node: &'a str },
    /// An item of this node's configuration.
    Config(Place, &'a str),
    /// A static route to hand out.
    StaticRoute(&'a str),
    /// Where a gateway leads.
    Proxy(&'a str),
}

/// Where an item of the configuration is, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// `config/CLUSTER/NODE/ITEM`.
    NodeOfAll,
    /// `cluster/CLUSTER/config/NODE/ITEM`.
    Node,
    /// `cluster/CLUSTER/config/*/ITEM`.
    AnyNode,
    /// `config/global/ITEM`.
    Global,
}

impl Keys {
    pub(crate) fn new(cluster: &str, node: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            cluster_prefix: format!("{ROOT}/cluster/{cluster}/"),
            config_prefix: format!("{ROOT}/config/"),
        }
    }

    pub(crate) fn own_node(&self) -> String {
        self.node(&self.node)
    }

    pub(crate) fn node(&self, node: &str) -> String {
        format!("{}routes/nodes/{node}", self.cluster_prefix)
    }

    /// Where all nodes have this application.
    pub(crate) fn application(&self, name: &str) -> String {
        format!("{}routes/applications/{name}/", self.cluster_prefix)
    }

    pub(crate) fn own_application(&self, name: &str) -> String {
        format!("{}{}", self.application(name), self.node)
    }

    /// Where the routes are that are handed out.
    pub(crate) fn static_routes(&self) -> String {
        format!("{}postroad/routes/", self.cluster_prefix)
    }

    /// Where all gateways say where they lead.
    pub(crate) fn proxies(&self) -> String {
        format!("{}postroad/proxies/", self.cluster_prefix)
    }

    pub(crate) fn own_proxy(&self) -> String {
        format!("{}{}", self.proxies(), self.node)
    }

    /// What a key is about; nothing if it is of no concern to this node.
    pub(crate) fn read<'a>(&self, key: &'a str) -> Option<Subject<'a>> {
        if let Some(rest) = key.strip_prefix(&self.cluster_prefix) {
            let parts: Vec<&str> = rest.split('/').collect();
            return match parts[..] {
                _ if parts.contains(&"") => None,
                ["routes", "nodes", node] => Some(Subject::Node(node)),
                ["routes", "applications", name, node] => Some(Subject::Application { name, node }),
                ["config", "*", item] => Some(Subject::Config(Place::AnyNode, item)),
                ["config", node, item] if node == self.node => Some(Subject::Config(Place::Node, item)),
                ["postroad", "routes", name] => Some(Subject::StaticRoute(name)),
                ["postroad", "proxies", node] => Some(Subject::Proxy(node)),
                _ => None,
            };
        }
        let parts: Vec<&str> = key.strip_prefix(&self.config_prefix)?.split('/').collect();
        match parts[..] {
            _ if parts.contains(&"") => None,
            ["global", item] => Some(Subject::Config(Place::Global, item)),
            [cluster, node, item] if cluster == self.cluster && node == self.node => {
                Some(Subject::Config(Place::NodeOfAll, item))
            }
            _ => None,
        }
    }
}

/// Checks what shall be one part of a key.
pub(crate) fn check_part(name: &str) -> Result<(), EtcdError> {
    let why = match name {
        "" => "it is empty",
        _ if name.contains('/') => "it contains a slash, which separates the parts of keys",
        _ => return Ok(()),
    };
    Err(EtcdError::Name { name: name.to_owned(), why })
}

/// The end of the range of all keys that begin with `prefix`.
pub(crate) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Prefixes here end with a slash, which is not the last byte there is.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_ergo_has_them() {
        let keys = Keys::new("shop", "a@host");
        assert_eq!(keys.own_node(), "services/ergo/cluster/shop/routes/nodes/a@host");
        assert_eq!(keys.own_application("web"), "services/ergo/cluster/shop/routes/applications/web/a@host");
        assert_eq!(keys.own_proxy(), "services/ergo/cluster/shop/postroad/proxies/a@host");
        assert_eq!(end_of(&keys.cluster_prefix), b"services/ergo/cluster/shop0");
        let config = |place, item| Some(Subject::Config(place, item));
        for (key, subject) in [
            ("services/ergo/cluster/shop/routes/nodes/b@h", Some(Subject::Node("b@h"))),
            (
                "services/ergo/cluster/shop/routes/applications/web/b@h",
                Some(Subject::Application { name: "web", node: "b@h" }),
            ),
            ("services/ergo/config/shop/a@host/x.y", config(Place::NodeOfAll, "x.y")),
            ("services/ergo/cluster/shop/config/a@host/x", config(Place::Node, "x")),
            ("services/ergo/cluster/shop/config/*/x", config(Place::AnyNode, "x")),
            ("services/ergo/config/global/x", config(Place::Global, "x")),
            ("services/ergo/cluster/shop/postroad/routes/r1", Some(Subject::StaticRoute("r1"))),
            ("services/ergo/cluster/shop/postroad/proxies/b@h", Some(Subject::Proxy("b@h"))),
            // Other clusters and nodes, other places, parts missing or too many.
            ("services/ergo/cluster/other/routes/nodes/b@h", None),
            ("services/ergo/cluster/shop2/routes/nodes/b@h", None),
            ("services/ergo/config/other/a@host/x", None),
            ("services/ergo/config/shop/b@host/x", None),
            ("services/ergo/config/shop/*/x", None),
            ("services/ergo/cluster/shop/config/global/x", None),
            ("services/ergo/cluster/shop/config/x", None),
            ("services/ergo/config/x", None),
            ("services/ergo/config/global//x", None),
            ("services/ergo/cluster/shop/config/*/x/y", None),
            ("services/ergo/cluster/shop/routes/nodes/", None),
            ("services/ergo/cluster/shop/routes/applications/web", None),
            ("services/ergo/cluster/shop/routes/leaving/b@h", None),
            ("elsewhere", None),
        ] {
            assert_eq!(keys.read(key), subject, "{key}");
        }
    }

    #[test]
    fn parts_have_no_slash() {
        assert!(check_part("web").is_ok());
        assert!(check_part("").is_err());
        assert!(check_part("a/b").unwrap_err().to_string().contains("slash"));
    }
}
