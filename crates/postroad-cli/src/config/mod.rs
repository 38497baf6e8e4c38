//! Configuration files: a node with all its roads, in TOML.

mod acceptor;
mod atoms;
mod certificates;
mod difference;
mod etcd;
mod facts;
mod files;
mod flags;
mod node;
mod operations;
mod patterns;
mod registrar;
mod roads;
mod route;
mod secret;
mod section;
mod source;
mod tls;
mod transit;
mod units;
mod wanted;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use toml::de::DeValue;

use acceptor::Ports;
use facts::Facts;
use patterns::{Patterns, Understood};
use section::{At, Reader};

pub(crate) use acceptor::Acceptor;
pub(crate) use difference::Difference;
use difference::{Change, Described};
pub(crate) use files::Files;
pub(crate) use node::NodeSettings;
pub(crate) use registrar::{Embedded, Registrar};
pub(crate) use roads::Roads;
pub(crate) use route::{DEFAULT_WEIGHT, ProxyRoute, Route};
use source::Source;
pub(crate) use source::{Notes, Severity};
pub(crate) use tls::Tls;
pub(crate) use transit::Transit;
use wanted::Wanted;

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
    /// Nobody may pass unless it is said.
    pub(crate) transit: Option<Transit>,
    patterns: Understood,
    proxy_patterns: Understood,
}

/// A file that was read.
pub(crate) struct Loaded {
    /// Of no use if there are errors.
    config: Config,
    notes: Notes,
    /// What it depends on, itself included.
    files: Files,
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
    files: RefCell<Files>,
    /// The node's own name, if the file says it.
    name: Option<String>,
    /// Whether the node has none.
    no_registrar: bool,
    resolvers: Vec<String>,
    wanted: RefCell<Wanted>,
}

/// What goes before the file, and is known when it is checked.
#[derive(Default)]
pub(crate) struct Said<'a> {
    pub(crate) name: Option<&'a str>,
    /// Whether the node has a registrar.
    pub(crate) registrar: Option<bool>,
}

impl Config {
    /// Reads a file, for a node of which something is said already.
    ///
    /// # Errors
    /// Only if it cannot be read; what is wrong in it is in the notes.
    pub(crate) fn load(path: &Path, said: &Said<'_>) -> anyhow::Result<Loaded> {
        let mut files = Files::default();
        files.add(path);
        let source = Source::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::read(source, files, said))
    }

    fn read(source: Source, files: Files, said: &Said<'_>) -> Loaded {
        let reader = Reader::new(Arc::new(source));
        let (config, files) = Self::of(&reader, files, said);
        Loaded { config, notes: reader.into_notes(), files }
    }

    /// Takes over what can change while a node runs.
    pub(crate) fn take_live(&mut self, new: Self) {
        self.node.cookie = new.node.cookie;
        self.node.log = new.node.log;
        self.node.keep_connected = new.node.keep_connected;
        self.routes = new.routes;
        self.proxy_routes = new.proxy_routes;
        self.transit = new.transit;
    }

    fn of(reader: &Reader, files: Files, said: &Said<'_>) -> (Self, Files) {
        let mut root = reader.root();
        let node = root.section("node");
        let named = root.named_sections("resolver");
        let text = |value: Option<&DeValue<'_>>| value.and_then(DeValue::as_str).map(str::to_owned);
        let reading = Reading {
            reader,
            cookies_in_file: node
                .as_ref()
                .is_some_and(|node| matches!(node.peek("cookies_in_file"), Some(DeValue::Boolean(true)))),
            files: RefCell::new(files),
            name: said
                .name
                .map(str::to_owned)
                .or_else(|| node.as_ref().and_then(|node| text(node.peek("name")))),
            no_registrar: said.registrar.map_or_else(
                || {
                    let registrar = root.peek("registrar").and_then(|registrar| registrar.as_table());
                    let kind = registrar.and_then(|registrar| registrar.get("kind"));
                    text(kind.map(|kind| kind.get_ref())).as_deref() == Some("none")
                },
                |registrar| !registrar,
            ),
            resolvers: named.iter().map(|(name, _)| name.get_ref().clone()).collect(),
            wanted: RefCell::default(),
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
            let settings = Tls::read(&mut section, tls::Side::Both);
            section.finish();
            NodeTls { settings, required }
        });
        let mut patterns = Patterns::default();
        let routes = root.sections("route").into_iter();
        let routes = routes.filter_map(|section| Route::read(section, &reading, &mut patterns)).collect();
        let understood = patterns.check(reader);
        let mut proxy_patterns = Patterns::default();
        let proxy_routes = root.sections("proxy_route").into_iter();
        let proxy_routes = proxy_routes
            .filter_map(|section| ProxyRoute::read(section, &reading, &mut proxy_patterns))
            .collect();
        let proxy_understood = proxy_patterns.check(reader);
        let mut ports = Ports::default();
        let acceptors = root.sections("acceptor").into_iter();
        let config = Self {
            node: node.map(|section| NodeSettings::read(section, &reading)).unwrap_or_default(),
            acceptors: acceptors.map(|section| Acceptor::read(section, &reading, &mut ports)).collect(),
            registrar: root
                .section("registrar")
                .map(|section| Registrar::read(section, &reading))
                .unwrap_or_default(),
            resolvers,
            tls,
            routes,
            proxy_routes,
            transit: root.section("transit").map(Transit::read),
            patterns: understood,
            proxy_patterns: proxy_understood,
        };
        root.finish();
        if reading.no_registrar {
            let wanted = reading.wanted.take();
            wanted.check(reading.name.as_deref(), &config.routes, &config.proxy_routes, reader);
        }
        (config, reading.files.into_inner())
    }
}

impl Loaded {
    /// What is to be said about the file.
    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What the file says, if nothing is wrong with it.
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        self.parts().0
    }

    /// The same, and the files to watch in any case.
    pub(crate) fn parts(self) -> (anyhow::Result<Config>, Files) {
        let Self { config, notes, files } = self;
        let usable = match notes.has_errors() {
            true => Err(anyhow::anyhow!("the configuration cannot be used\n\n{notes}")),
            false => Ok(config),
        };
        (usable, files)
    }
}

impl NodeTls {
    fn facts(&self) -> Facts {
        self.settings.facts().with("required", &self.required.then_some("true"))
    }
}

impl Reading<'_> {
    /// A change of that file, which is about to be read, is a change of the
    /// configuration. Whether that is new.
    fn depends_on(&self, path: &Path) -> bool {
        self.files.borrow_mut().add(path)
    }

    fn check_resolver(&self, name: &At<String>) {
        let known = || self.resolvers.iter().map(String::as_str).chain([route::OWN_REGISTRAR]);
        if !known().any(|known| known == name.get_ref()) {
            let help = match source::closest(name.get_ref(), known()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("describe it in [resolver.{}]", name.get_ref()),
            };
            self.reader.error_with_help(name.span(), format!("no resolver {:?}", name.get_ref()), help);
        } else if name.get_ref() == route::OWN_REGISTRAR && self.no_registrar {
            self.reader.error_with_help(
                name.span(),
                "the node has no registrar to ask",
                "give it one in [registrar], or the route a [resolver.NAME] of its own",
            );
        }
    }
}

#[cfg(test)]
mod tests;
