//! What is different between two configurations.

use std::collections::HashMap;
use std::fmt;

use super::facts::Facts;
use super::transit::Rule;
use super::{Config, NodeTls, ProxyRoute, Route, Transit};

/// What has to be done to make one configuration of another.
#[derive(Debug, Default)]
pub(crate) struct Difference<'a> {
    pub(crate) routes: Vec<Change<'a, Route>>,
    pub(crate) proxy_routes: Vec<Change<'a, ProxyRoute>>,
    /// Whether routes of equal weight are in another order.
    reordered: bool,
    proxy_reordered: bool,
    /// What `[transit]` says now, if that is something else.
    pub(crate) new_transit: Option<Option<&'a Transit>>,
    /// The same, in words.
    pub(crate) transit: Vec<String>,
    /// What `[node]` says and can change while the node runs.
    pub(crate) node: Vec<String>,
    /// What cannot change without a restart.
    pub(crate) fixed: Vec<String>,
}

/// What became of a route.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a, R> {
    Added(&'a R),
    Removed(&'a R),
    Changed {
        old: &'a R,
        new: &'a R,
        /// Whether it has to be behind others that it was not behind before.
        moved: bool,
    },
    /// Only its place is another one, or others had to come before it.
    Moved(&'a R),
}

/// A route of either kind.
pub(crate) trait Described: PartialEq {
    const KIND: &'static str;
    fn pattern(&self) -> &str;
    fn weight(&self) -> i64;
    fn facts(&self) -> Facts;
}

impl<'a> Difference<'a> {
    pub(crate) fn between(old: &'a Config, new: &'a Config) -> Self {
        Self {
            routes: changes(&old.routes, &new.routes),
            proxy_routes: changes(&old.proxy_routes, &new.proxy_routes),
            reordered: reordered(&old.routes, &new.routes),
            proxy_reordered: reordered(&old.proxy_routes, &new.proxy_routes),
            new_transit: (old.transit != new.transit).then_some(new.transit.as_ref()),
            transit: transit(old.transit.as_ref(), new.transit.as_ref()),
            node: old
                .node
                .live_facts()
                .changes(&new.node.live_facts())
                .into_iter()
                .map(|change| format!("~ node: {change}"))
                .collect(),
            fixed: fixed(old, new),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live() == 0 && self.fixed.is_empty()
    }

    /// How many changes take effect without a restart.
    pub(crate) fn live(&self) -> usize {
        let roads = said(&self.routes).count() + said(&self.proxy_routes).count();
        let orders = usize::from(self.reordered) + usize::from(self.proxy_reordered);
        roads + orders + self.transit.len() + self.node.len()
    }
}

impl fmt::Display for Difference<'_> {
    /// One line for each change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> =
            self.fixed.iter().map(|line| format!("{line} (NEEDS A RESTART)")).collect();
        lines.extend(self.node.iter().cloned());
        let order =
            |changed: bool, kind| changed.then(|| format!("~ {kind}s: equal weights in another order"));
        lines.extend(said(&self.routes).map(ToString::to_string));
        lines.extend(order(self.reordered, Route::KIND));
        lines.extend(said(&self.proxy_routes).map(ToString::to_string));
        lines.extend(order(self.proxy_reordered, ProxyRoute::KIND));
        lines.extend(self.transit.iter().cloned());
        f.write_str(&lines.join("\n"))
    }
}

/// What is worth a line of its own.
fn said<'d, 'a, R>(changes: &'d [Change<'a, R>]) -> impl Iterator<Item = &'d Change<'a, R>> {
    changes.iter().filter(|change| !matches!(change, Change::Moved(_)))
}

/// Removals first, then the order of the file. Of routes with equal weight, the
/// first ones stay where they are as long as their order has not changed; what
/// comes behind a new or changed place has to be put behind it.
fn changes<'a, R: Described>(old: &'a [R], new: &'a [R]) -> Vec<Change<'a, R>> {
    let (before, after) = (by_pattern(old), by_pattern(new));
    let removed = old.iter().filter(|route| !after.contains_key(route.pattern())).map(Change::Removed);
    // By weight, the place in the old file of the last route that stays; none if no more do.
    let mut staying: HashMap<i64, Option<usize>> = HashMap::new();
    let others = new.iter().filter_map(|new| {
        let last = staying.entry(new.weight()).or_insert(Some(0));
        let Some(&(place, old)) = before.get(new.pattern()) else {
            *last = None;
            return Some(Change::Added(new));
        };
        *last = last.filter(|last| *last <= place && old.weight() == new.weight()).map(|_| place);
        match (old == new, last.is_none()) {
            (true, false) => None,
            (true, true) => Some(Change::Moved(new)),
            (false, moved) => Some(Change::Changed { old, new, moved }),
        }
    });
    removed.chain(others).collect()
}

/// Whether two routes of one weight have changed places.
fn reordered<R: Described>(old: &[R], new: &[R]) -> bool {
    let before = by_pattern(old);
    let mut last: HashMap<i64, usize> = HashMap::new();
    new.iter().any(|new| match before.get(new.pattern()) {
        Some((place, old)) if old.weight() == new.weight() => {
            last.insert(new.weight(), *place).is_some_and(|last| last > *place)
        }
        _ => false,
    })
}

fn by_pattern<R: Described>(routes: &[R]) -> HashMap<&str, (usize, &R)> {
    routes.iter().enumerate().map(|(place, route)| (route.pattern(), (place, route))).collect()
}

fn transit(old: Option<&Transit>, new: Option<&Transit>) -> Vec<String> {
    let rules = |transit: Option<&'_ Transit>| transit.map_or(Vec::new(), |transit| transit.rules.clone());
    let (before, after) = (rules(old), rules(new));
    let facts = |transit: Option<&Transit>| transit.map(Transit::facts).unwrap_or_default();
    let changes = facts(old).changes(&facts(new)).into_iter();
    let mut lines: Vec<String> = match (old, new) {
        (None, Some(_)) => vec!["+ transit: others may pass by rules".to_owned()],
        (Some(_), None) => vec!["- transit: nobody may pass any more".to_owned()],
        _ => Vec::new(),
    };
    lines.extend(changes.map(|change| format!("~ transit: {change}")));
    let missing = |rules: &[Rule], from: &[Rule], sign| {
        let missing = rules.iter().filter(|rule| !from.contains(rule));
        missing.map(|rule| format!("{sign} transit rule: {rule}")).collect::<Vec<_>>()
    };
    lines.extend(missing(&before, &after, '-'));
    lines.extend(missing(&after, &before, '+'));
    let kept = |rules: Vec<Rule>, others: &[Rule]| -> Vec<Rule> {
        rules.into_iter().filter(|rule| others.contains(rule)).collect()
    };
    if old != new && (lines.is_empty() || kept(before.clone(), &after) != kept(after, &before)) {
        lines.push("~ transit: rules in another order".to_owned());
    }
    lines
}

fn fixed(old: &Config, new: &Config) -> Vec<String> {
    let changed = |what: &str, old: &Facts, new: &Facts| -> Vec<String> {
        old.changes(new).into_iter().map(|change| format!("~ {what}: {change}")).collect()
    };
    let mut fixed = changed("node", &old.node.fixed_facts(), &new.node.fixed_facts());
    fixed.extend(changed("registrar", &old.registrar.facts(), &new.registrar.facts()));
    let tls = |config: &Config| config.tls.as_ref().map(NodeTls::facts).unwrap_or_default();
    fixed.extend(changed("tls", &tls(old), &tls(new)));
    for (name, resolver) in &old.resolvers {
        match new.resolvers.get(name) {
            Some(other) => {
                fixed.extend(changed(&format!("resolver {name}"), &resolver.facts(), &other.facts()));
            }
            None => fixed.push(format!("- resolver {name}: {}", resolver.facts())),
        }
    }
    let added = new.resolvers.iter().filter(|(name, _)| !old.resolvers.contains_key(*name));
    fixed.extend(added.map(|(name, resolver)| format!("+ resolver {name}: {}", resolver.facts())));
    let listens = |config: &Config, key: &str| config.acceptors.iter().any(|acceptor| acceptor.key() == key);
    for acceptor in &old.acceptors {
        let key = acceptor.key();
        match new.acceptors.iter().find(|other| other.key() == key) {
            Some(other) => {
                fixed.extend(changed(&format!("acceptor {key}"), &acceptor.facts(), &other.facts()));
            }
            None => fixed.push(format!("- acceptor {key}")),
        }
    }
    let added = new.acceptors.iter().filter(|acceptor| !listens(old, &acceptor.key()));
    fixed.extend(added.map(|acceptor| format!("+ acceptor {}", acceptor.key())));
    fixed
}

impl Described for Route {
    const KIND: &'static str = "route";

    fn pattern(&self) -> &str {
        &self.pattern
    }

    fn weight(&self) -> i64 {
        self.weight
    }

    fn facts(&self) -> Facts {
        self.facts()
    }
}

impl Described for ProxyRoute {
    const KIND: &'static str = "proxy route";

    fn pattern(&self) -> &str {
        &self.pattern
    }

    fn weight(&self) -> i64 {
        self.weight
    }

    fn facts(&self) -> Facts {
        self.facts()
    }
}

impl<R: Described> fmt::Display for Change<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = R::KIND;
        match self {
            Self::Added(route) => write!(f, "+ {kind} `{}`: {}", route.pattern(), route.facts()),
            Self::Removed(route) => write!(f, "- {kind} `{}`: {}", route.pattern(), route.facts()),
            Self::Changed { old, new, .. } => {
                let changes = old.facts().changes(&new.facts());
                write!(f, "~ {kind} `{}`: {}", new.pattern(), changes.join(", "))
            }
            Self::Moved(route) => write!(f, "~ {kind} `{}`: another place", route.pattern()),
        }
    }
}
