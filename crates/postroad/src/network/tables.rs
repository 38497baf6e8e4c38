//! Both routing tables of a node, which are read and changed together.

use std::sync::Arc;

use parking_lot::RwLock;

use super::proxy_route::NetworkProxyRoute;
use super::route::NetworkRoute;
use super::routes::{ChangeRoutesError, Matches, PatternWarning, RouteChanges, RoutingTable};
use crate::Atom;
use crate::process::discard;

/// The static routes of a node, and its static proxy routes.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) routes: RoutingTable<NetworkRoute>,
    pub(super) proxy_routes: RoutingTable<NetworkProxyRoute>,
    /// Nobody sees one of them changed and the other not yet.
    both: RwLock<()>,
}

/// Those of the routes that match `name` which count there. What was handed out
/// does not where a proxy route of the node's own leads from `own`.
pub(super) fn heeded(
    own: Atom,
    name: Atom,
    routes: &Matches<NetworkRoute>,
    proxies: &Matches<NetworkProxyRoute>,
) -> Matches<NetworkRoute> {
    let are_handed_out = routes.first().is_some_and(|entry| entry.is_handed_out());
    let gives_way = are_handed_out && proxies.iter().any(|entry| entry.route().leads(own, name));
    if gives_way { Arc::default() } else { routes.clone() }
}

impl Tables {
    /// What matches `name`.
    pub(super) fn lookup(&self, name: Atom) -> (Matches<NetworkRoute>, Matches<NetworkProxyRoute>) {
        let _both = self.both.read();
        (self.routes.lookup(name.as_str()), self.proxy_routes.lookup(name.as_str()))
    }

    /// Changes both in one step, or neither.
    pub(super) fn change(
        &self,
        routes: RouteChanges<NetworkRoute>,
        proxy_routes: RouteChanges<NetworkProxyRoute>,
    ) -> Result<Vec<PatternWarning>, ChangeRoutesError> {
        let mut routes = self.routes.prepare(routes)?;
        let mut proxy_routes = self.proxy_routes.prepare(proxy_routes)?;
        let mut warnings = std::mem::take(&mut routes.warnings);
        warnings.append(&mut proxy_routes.warnings);
        let former = {
            let _both = self.both.write();
            (routes.publish(), proxy_routes.publish())
        };
        discard(former);
        Ok(warnings)
    }
}
