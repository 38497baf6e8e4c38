//! The node's routes: adding, changing, asking for them.

use std::sync::Arc;

use super::Network;
use super::connect::ConnectError;
use super::plan::{NoRoute, Plan};
use super::proxy_route::NetworkProxyRoute;
use super::route::NetworkRoute;
use super::routes::{
    AddRouteError, AddRoutesError, ChangeRoutesError, Entry, Matches, Pattern, PatternWarning,
    RemoveRouteError, ReplaceRouteError, RouteChanges, RoutingTable,
};
use crate::Atom;
use crate::tls::Watched;

/// Routes. None of these touches a live connection: what changes holds from the
/// next attempt to connect on.
impl Network {
    /// Adds a static route: nodes whose name contains a match of the regular
    /// expression `pattern` are reached by `route`. Of several routes that
    /// match, the one with the highest weight is tried first; ties in the order
    /// they were added. The pattern is the key: see [`AddRouteError::Taken`].
    ///
    /// A pattern that is not anchored matches anywhere in a name;
    /// [`exact`](super::exact) makes one that matches one name only. What looks
    /// like a mistake is accepted as it is, logged and returned.
    pub fn add_route(
        &self,
        pattern: &str,
        route: NetworkRoute,
        weight: i64,
    ) -> Result<Vec<PatternWarning>, AddRouteError> {
        one(self.add_routes([(pattern, route, weight)]))
    }

    /// Adds several static routes, each with its pattern and weight, as
    /// [`add_route`](Self::add_route) does: all in one step, or none of them.
    /// For many routes this is much faster than one call for each.
    ///
    /// What looks like a mistake is returned with the place of its route among
    /// those given, counted from 0.
    ///
    /// # Errors
    /// Names the first entry that cannot be added.
    pub fn add_routes<P>(
        &self,
        routes: impl IntoIterator<Item = (P, NetworkRoute, i64)>,
    ) -> Result<Vec<(usize, PatternWarning)>, AddRoutesError>
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        let options = &self.inner().options;
        let check = |route: &NetworkRoute| route.check_with(options).map_err(AddRouteError::from);
        let routes = checked(routes, check)?;
        for (_, route, _) in &routes {
            Watched::add(self.node(), &route.pins.tls);
        }
        self.add_to(&self.inner().tables.routes, routes)
    }

    /// Replaces the route that was added with exactly this pattern, in one
    /// step: there is no moment without it. Among routes of equal weight it
    /// keeps its place.
    pub fn replace_route(
        &self,
        pattern: &str,
        route: NetworkRoute,
        weight: i64,
    ) -> Result<(), ReplaceRouteError> {
        route.check_with(&self.inner().options)?;
        Watched::add(self.node(), &route.pins.tls);
        self.inner().tables.routes.replace(pattern, route, weight)?;
        self.inner().try_again();
        Ok(())
    }

    /// Removes the route that was added with exactly this pattern; one that the
    /// registrar has handed out only if there is no other.
    pub fn remove_route(&self, pattern: &str) -> Result<(), RemoveRouteError> {
        self.inner().tables.routes.remove(pattern)?;
        self.inner().try_again();
        Ok(())
    }

    /// The static routes that match a node's name, in the order they would be
    /// tried. What the registrar has handed out is among them only if none of
    /// the node's own matches; it is not tried where a proxy route leads. Nobody is asked and nothing is dialed.
    pub fn route(&self, name: &str) -> Result<Matches<NetworkRoute>, ConnectError> {
        matching(&self.inner().tables.routes, crate::node::node_name(name)?)
    }

    /// All static routes, in the order they were added.
    pub fn routes(&self) -> Vec<Arc<Entry<NetworkRoute>>> {
        self.inner().tables.routes.list()
    }

    /// Adds a static proxy route: nodes whose name contains a match of
    /// `pattern` are reached through another node. Patterns, weights and errors
    /// are as with [`add_route`](Self::add_route); the two kinds of route do
    /// not share patterns.
    pub fn add_proxy_route(
        &self,
        pattern: &str,
        route: NetworkProxyRoute,
        weight: i64,
    ) -> Result<Vec<PatternWarning>, AddRouteError> {
        one(self.add_proxy_routes([(pattern, route, weight)]))
    }

    /// Adds several static proxy routes, as [`add_routes`](Self::add_routes)
    /// does: all in one step, or none of them.
    ///
    /// # Errors
    /// Names the first entry that cannot be added.
    pub fn add_proxy_routes<P>(
        &self,
        routes: impl IntoIterator<Item = (P, NetworkProxyRoute, i64)>,
    ) -> Result<Vec<(usize, PatternWarning)>, AddRoutesError>
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        let own = self.node().name;
        let routes =
            checked(routes, |route: &NetworkProxyRoute| route.check_for(own).map_err(AddRouteError::from))?;
        self.add_to(&self.inner().tables.proxy_routes, routes)
    }

    /// Replaces the proxy route that was added with exactly this pattern, as
    /// [`replace_route`](Self::replace_route) does.
    pub fn replace_proxy_route(
        &self,
        pattern: &str,
        route: NetworkProxyRoute,
        weight: i64,
    ) -> Result<(), ReplaceRouteError> {
        route.check_for(self.node().name)?;
        self.inner().tables.proxy_routes.replace(pattern, route, weight)?;
        self.inner().try_again();
        Ok(())
    }

    /// Removes the proxy route that was added with exactly this pattern.
    pub fn remove_proxy_route(&self, pattern: &str) -> Result<(), RemoveRouteError> {
        self.inner().tables.proxy_routes.remove(pattern)?;
        self.inner().try_again();
        Ok(())
    }

    /// The static proxy routes whose pattern matches a node's name, in the
    /// order they would be tried. Those that lead to another node
    /// ([`NetworkProxyRoute::to`]) are among them, and would not be tried.
    pub fn proxy_route(&self, name: &str) -> Result<Matches<NetworkProxyRoute>, ConnectError> {
        matching(&self.inner().tables.proxy_routes, crate::node::node_name(name)?)
    }

    /// All static proxy routes, in the order they were added.
    pub fn proxy_routes(&self) -> Vec<Arc<Entry<NetworkProxyRoute>>> {
        self.inner().tables.proxy_routes.list()
    }

    /// Makes several changes of routes and proxy routes, all of them in one step
    /// or none: nobody is looked for by half of them.
    ///
    /// # Errors
    /// Names the first change that cannot be made.
    pub fn change_routes(
        &self,
        routes: RouteChanges<NetworkRoute>,
        proxy_routes: RouteChanges<NetworkProxyRoute>,
    ) -> Result<(), ChangeRoutesError> {
        let (inner, own) = (self.inner(), self.node().name);
        routes.check(|route| route.check_with(&inner.options))?;
        proxy_routes.check(|route| route.check_for(own))?;
        let tls: Vec<_> = routes.routes().map(|route| route.pins.tls.clone()).collect();
        let warnings = inner.tables.change(routes, proxy_routes)?;
        tls.iter().for_each(|tls| Watched::add(self.node(), tls));
        inner.try_again();
        for warning in warnings {
            tracing::warn!(node = %own, %warning, "check this route");
        }
        Ok(())
    }

    /// What [`connect`](Self::connect) would do to reach a node, and why.
    /// Resolvers are asked, nothing is dialed.
    ///
    /// Cancel safe.
    pub async fn explain(&self, name: &str) -> Result<Plan, ConnectError> {
        let name = crate::node::node_name(name)?;
        self.inner().explain(self.node(), name).await
    }

    fn add_to<P, R>(
        &self,
        table: &RoutingTable<R>,
        routes: Vec<(P, R, i64)>,
    ) -> Result<Vec<(usize, PatternWarning)>, AddRoutesError>
    where
        P: AsRef<str> + TryInto<Pattern, Error: Into<AddRouteError>>,
    {
        let warnings = table.add_all(routes)?;
        self.inner().try_again();
        for (_, warning) in &warnings {
            tracing::warn!(node = %self.node().name, %warning, "check this route");
        }
        Ok(warnings)
    }
}

/// The routes, if all of them can be used.
fn checked<P: AsRef<str>, R>(
    routes: impl IntoIterator<Item = (P, R, i64)>,
    check: impl Fn(&R) -> Result<(), AddRouteError>,
) -> Result<Vec<(P, R, i64)>, AddRoutesError> {
    let check = |(index, (pattern, route, weight)): (usize, (P, R, i64))| match check(&route) {
        Ok(()) => Ok((pattern, route, weight)),
        Err(source) => Err(AddRoutesError { index, pattern: pattern.as_ref().into(), source: source.into() }),
    };
    routes.into_iter().enumerate().map(check).collect()
}

/// What adding several routes says of a single one.
fn one(
    added: Result<Vec<(usize, PatternWarning)>, AddRoutesError>,
) -> Result<Vec<PatternWarning>, AddRouteError> {
    match added {
        Ok(warnings) => Ok(warnings.into_iter().map(|(_, warning)| warning).collect()),
        Err(error) => Err(*error.source),
    }
}

fn matching<R>(table: &RoutingTable<R>, name: Atom) -> Result<Matches<R>, ConnectError> {
    let matches = table.lookup(name.as_str());
    if matches.is_empty() {
        return Err(ConnectError::NoRoute(Arc::new(NoRoute::unmatched(name))));
    }
    Ok(matches)
}
