//! Configuration files: a node with all its roads, in TOML.

mod acceptor;
mod cookie;
mod difference;
mod facts;
mod flags;
mod node;
mod registrar;
mod roads;
mod route;
mod section;
mod source;
mod tls;
mod units;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use facts::Facts;
use route::Patterns;
use section::{At, Reader};

pub(crate) use acceptor::Acceptor;
pub(crate) use difference::{Change, Difference};
pub(crate) use node::NodeSettings;
pub(crate) use registrar::{Embedded, Registrar};
pub(crate) use roads::Roads;
pub(crate) use route::{DEFAULT_WEIGHT, ProxyRoute, Route};
pub(crate) use source::{Notes, Severity, Source};
pub(crate) use tls::Tls;

/// A file that shows every key.
pub(crate) const EXAMPLE: &str = include_str!("../../../../docs/node.toml");

/// What a configuration file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) node: NodeSettings,
    pub(crate) acceptors: Vec<Acceptor>,
    pub(crate) registrar: Registrar,
    pub(crate) resolvers: BTreeMap<String, Registrar>,
    pub(crate) tls: Option<NodeTls>,
    pub(crate) routes: Vec<Route>,
    pub(crate) proxy_routes: Vec<ProxyRoute>,
    /// The files it depends on, besides itself.
    pub(crate) files: Vec<PathBuf>,
}

/// What `[tls]` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeTls {
    pub(crate) settings: Tls,
    /// Nothing goes over the network but by TLS.
    pub(crate) required: bool,
}

/// What is known while a file is read.
pub(crate) struct Reading<'a> {
    reader: &'a Reader,
    cookies_in_file: bool,
    files: RefCell<Vec<PathBuf>>,
    resolvers: Vec<String>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or something in it is wrong: says all that is.
    pub(crate) fn load(path: &Path) -> anyhow::Result<(Self, Notes)> {
        let source = Source::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (config, notes) = Self::read(source);
        anyhow::ensure!(!notes.has_errors(), "{} cannot be used\n\n{notes}", path.display(),);
        Ok((config, notes))
    }

    /// Reads a text, and says what is wrong with it. If that is an error, the
    /// rest is of no use.
    pub(crate) fn read(source: Source) -> (Self, Notes) {
        let reader = Reader::new(Arc::new(source));
        let config = Self::of(&reader);
        (config, reader.into_notes())
    }

    /// Takes over what can change while a node runs.
    pub(crate) fn take_live(&mut self, new: Self) {
        self.node.cookie = new.node.cookie;
        self.node.log = new.node.log;
        self.routes = new.routes;
        self.proxy_routes = new.proxy_routes;
        self.files = new.files;
    }

    fn of(reader: &Reader) -> Self {
        let mut root = reader.root();
        let node = root.section("node");
        let named = root.named_sections("resolver");
        let reading = Reading {
            reader,
            cookies_in_file: node.as_ref().is_some_and(|node| {
                matches!(node.peek("cookies_in_file"), Some(toml::de::DeValue::Boolean(true)))
            }),
            files: RefCell::default(),
            resolvers: named.iter().map(|(name, _)| name.get_ref().clone()).collect(),
        };
        let mut resolvers = BTreeMap::new();
        for (name, section) in named {
            if name.get_ref() == route::OWN_REGISTRAR {
                reader.error(name.span(), "`registrar` means the node's own; choose another name");
            }
            resolvers.insert(name.into_inner(), Registrar::read(section, &reading));
        }
        let tls = root.section("tls").map(|mut section| {
            let required = section.bool("required").is_some_and(At::into_inner);
            let settings = Tls::read(&mut section, &reading, tls::Side::Both);
            section.finish();
            NodeTls { settings, required }
        });
        let mut patterns = Patterns::default();
        let routes = root.sections("route").into_iter();
        let routes = routes.filter_map(|section| Route::read(section, &reading, &mut patterns)).collect();
        let mut patterns = Patterns::default();
        let proxy_routes = root.sections("proxy_route").into_iter();
        let proxy_routes =
            proxy_routes.filter_map(|section| ProxyRoute::read(section, &reading, &mut patterns)).collect();
        let acceptors = root.sections("acceptor").into_iter();
        let config = Self {
            node: node.map(|section| NodeSettings::read(section, &reading)).unwrap_or_default(),
            acceptors: acceptors.map(|section| Acceptor::read(section, &reading)).collect(),
            registrar: root
                .section("registrar")
                .map(|section| Registrar::read(section, &reading))
                .unwrap_or_default(),
            resolvers,
            tls,
            routes,
            proxy_routes,
            files: reading.files.into_inner(),
        };
        root.finish();
        config
    }
}

impl NodeTls {
    fn facts(&self) -> Facts {
        self.settings.facts().with("required", &self.required.then_some("true"))
    }
}

impl Reading<'_> {
    /// A change of that file is a change of the configuration.
    fn depends_on(&self, path: &Path) {
        self.files.borrow_mut().push(path.to_owned());
    }

    fn check_resolver(&self, name: &At<String>) {
        let known = || self.resolvers.iter().map(String::as_str).chain([route::OWN_REGISTRAR]);
        if !known().any(|known| known == name.get_ref()) {
            let help = match source::closest(name.get_ref(), known()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("describe it in [resolver.{}]", name.get_ref()),
            };
            self.reader.error_with_help(name.span(), format!("no resolver {:?}", name.get_ref()), help);
        }
    }
}

#[cfg(test)]
mod tests;
