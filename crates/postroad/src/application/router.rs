//! Sends to an application wherever it runs.

use std::time::Duration;

use postroad_edf::Message;
use rand::Rng;

use crate::Atom;
use crate::error::{CallError, InvalidName, SendError};
use crate::node::{Node, process_name};
use crate::registrar::{ApplicationState, Broken, ResolveError, guarded};

/// How long the registrar may take to say where an application runs.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);

/// Sends to the processes of an application on one of the nodes that run it:
/// each time another one, those more often that have the greater weight, and the
/// next one where that one cannot be reached.
///
/// Where it runs is what this node and its registrar know: without a registrar
/// that is this node alone. The embedded registrar knows of no applications,
/// that of etcd does (`postroad-etcd`).
#[derive(Debug, Clone)]
pub struct WeightedRouter {
    node: Node,
    application: Atom,
    tag: Option<String>,
}

/// Why nothing was sent to an application, or why it did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The registrar did not say where it runs, and it does not run here.
    #[error("{application} does not run here, and where it does is not known: {source}")]
    Resolve {
        /// The application.
        application: Atom,
        /// What the registrar said.
        source: ResolveError,
    },
    /// No node runs it, or none with the tag that is wanted.
    #[error("no node runs {application}{}, as far as this node and its registrar know", with_tag(tag.as_deref()))]
    NotRunning {
        /// The application.
        application: Atom,
        /// The tag that it must have, if one is wanted.
        tag: Option<String>,
    },
    /// None of the nodes that run it could be sent to.
    #[error("none of the {tried} nodes that run {application} took it; the last one, {node}: {source}")]
    Send {
        /// The application.
        application: Atom,
        /// How many nodes were tried.
        tried: usize,
        /// The node that was tried last.
        node: Atom,
        /// What went wrong there.
        source: SendError,
    },
    /// The request went out and may have been handled, but there is no answer.
    #[error("{node} took the request: {source}")]
    Call {
        /// The node.
        node: Atom,
        /// What became of it.
        source: CallError,
    },
}

impl WeightedRouter {
    /// Sends from `node`.
    ///
    /// # Errors
    /// If the name is empty or too long.
    pub fn new(node: &Node, application: &str) -> Result<Self, InvalidName> {
        Ok(Self { node: node.clone(), application: process_name(application)?, tag: None })
    }

    /// Only to nodes where the application has this [tag](super::ApplicationSpec::tag):
    /// to a canary, or past it. In the place of one that was said before.
    ///
    /// # Errors
    /// If the tag is empty or too long.
    pub fn tagged(mut self, tag: &str) -> Result<Self, InvalidName> {
        process_name(tag)?;
        self.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// Sends a message to a process of the application by name. Returns the node
    /// it was sent to, which is no promise that it arrived there.
    pub async fn send<M: Message + Clone>(&self, process: &str, message: M) -> Result<Atom, RouteError> {
        let nodes = self.nodes().await?;
        let mut last = None;
        for node in &nodes {
            match self.node.send((process, *node), message.clone()).await {
                Ok(()) => return Ok(*node),
                Err(source) => last = Some((*node, source)),
            }
        }
        Err(self.nobody(nodes.len(), last))
    }

    /// Sends a request to a process of the application by name, and waits for its
    /// answer, five seconds at most. Only a request that was not sent is sent to
    /// the next node: none is handled twice.
    pub async fn call<R: Message>(
        &self,
        process: &str,
        request: impl Message + Clone,
    ) -> Result<R, RouteError> {
        let nodes = self.nodes().await?;
        let mut last = None;
        for node in &nodes {
            match self.node.call((process, *node), request.clone()).await {
                Err(CallError::Send(source)) => last = Some((*node, source)),
                called => return called.map_err(|source| RouteError::Call { node: *node, source }),
            }
        }
        Err(self.nobody(nodes.len(), last))
    }

    fn nobody(&self, tried: usize, last: Option<(Atom, SendError)>) -> RouteError {
        let application = self.application;
        match last {
            Some((node, source)) => RouteError::Send { application, tried, node, source },
            None => RouteError::NotRunning { application, tag: self.tag.clone() },
        }
    }

    /// The nodes that run the application, in the order in which they are to be
    /// tried this time.
    async fn nodes(&self) -> Result<Vec<Atom>, RouteError> {
        let application = self.application;
        let here = self.node.application_info(application.as_str()).ok();
        let here = here.filter(|info| info.state == ApplicationState::Running && self.wants(&info.tags));
        let mut weights: Vec<_> = here.iter().map(|info| (self.node.name(), info.weight)).collect();
        match self.elsewhere().await {
            Ok(routes) => weights.extend(routes),
            Err(source) if weights.is_empty() => return Err(RouteError::Resolve { application, source }),
            Err(error) => tracing::debug!(%application, %error, "only this node is known to run it"),
        }
        let mut rng = rand::rng();
        Ok(order(weights, |below| rng.random_range(0..below)))
    }

    fn wants(&self, tags: &[String]) -> bool {
        self.tag.as_ref().is_none_or(|tag| tags.contains(tag))
    }

    async fn elsewhere(&self) -> Result<Vec<(Atom, i64)>, ResolveError> {
        let Some(registrar) = self.node.network().registrar() else { return Ok(Vec::new()) };
        let asked = guarded(RESOLVE_PATIENCE, || registrar.resolve_application(self.application));
        let routes = match asked.await {
            Ok(Err(ResolveError::Unknown)) => Vec::new(),
            Ok(routes) => routes?,
            Err(Broken::TimedOut) => return Err(ResolveError::Timeout(RESOLVE_PATIENCE)),
            Err(Broken::Panicked) => return Err(ResolveError::Panicked),
        };
        let running = routes
            .into_iter()
            .filter(|route| route.state == ApplicationState::Running && self.wants(&route.tags));
        let others = running.filter(|route| route.node != self.node.name());
        Ok(others.map(|route| (route.node, route.weight)).collect())
    }
}

fn with_tag(tag: Option<&str>) -> String {
    tag.map_or_else(String::new, |tag| format!(" with the tag {tag}"))
}

/// Draws the nodes one after the other, each with a chance of its weight among
/// those that are left. Those without a weight come last, in any order.
fn order(mut weights: Vec<(Atom, i64)>, mut random_below: impl FnMut(u64) -> u64) -> Vec<Atom> {
    let mut drawn = Vec::with_capacity(weights.len());
    while !weights.is_empty() {
        let weight = |weight: i64| u64::try_from(weight).unwrap_or(0);
        let total = weights.iter().fold(0u64, |sum, (_, own)| sum.saturating_add(weight(*own)));
        let place = if total == 0 {
            random_below(weights.len() as u64) as usize
        } else {
            let mut left = random_below(total);
            let hit = weights.iter().position(|(_, own)| {
                let hit = left < weight(*own);
                left = left.saturating_sub(weight(*own));
                hit
            });
            hit.unwrap_or(0)
        };
        drawn.push(weights.swap_remove(place).0);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn node(number: usize) -> Atom {
        Atom::new(&format!("n{number}@weights")).unwrap()
    }

    #[test]
    fn the_first_one_is_drawn_by_weight() {
        let weights = || vec![(node(0), 1), (node(1), 3), (node(2), 0)];
        let mut first = [0; 3];
        for draw in 0..4 {
            let mut draws = [draw, 0, 0].into_iter();
            let order = order(weights(), |_| draws.next().unwrap());
            first[(0..3).find(|number| order[0] == node(*number)).unwrap()] += 1;
            assert_eq!(order[2], node(2), "what has no weight comes last");
        }
        assert_eq!(first, [1, 3, 0]);
    }

    proptest! {
        #[test]
        fn each_is_drawn_once(weights in vec(any::<i64>(), 0..8), seed in any::<u64>()) {
            let nodes: Vec<_> = weights.iter().enumerate().map(|(n, weight)| (node(n), *weight)).collect();
            let mut drawn = order(nodes.clone(), |below| seed % below);
            drawn.sort_by_key(|node| node.to_string());
            prop_assert_eq!(drawn, nodes.iter().map(|(node, _)| *node).collect::<Vec<_>>());
        }
    }
}
