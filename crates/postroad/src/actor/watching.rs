//! Links and monitors: how a process is told of the ends of others.

use super::{Context, Watched};
use crate::Atom;
use crate::error::RelationError;
use crate::node::{ToTarget, router};
use crate::process::Relation;

/// Links and monitors go one way: from the process that makes them to their
/// target, which notices nothing. Each one ends with exactly one notice, or
/// without any if it is taken back or its process ends first.
///
/// Cancellation: a link or monitor whose future is dropped is not made, and its
/// end is not undone.
impl Context {
    /// Links this process to another one: when that ends, or the connection
    /// with its node does, this one gets an [`Exit`](crate::Exit), which ends it
    /// too unless it [traps](Self::set_trap_exit) exits.
    ///
    /// A name ends with its process and when it is given up, an alias when it is
    /// deleted ([`ExitReason::Unregistered`](crate::ExitReason::Unregistered)).
    /// A target on another node is dialed if need be and asked, for five seconds
    /// at most; a process of Ergo before 3.2.0 tells its end only by its name.
    ///
    /// # Errors
    /// See [`RelationError`]. Linking a process to itself is not allowed.
    pub async fn link(&self, to: impl ToTarget) -> Result<(), RelationError> {
        self.watch(to.to_target()?.into(), Relation::Link).await
    }

    /// Ends a link: no notice comes from here on. The target's node is told, and
    /// waited for.
    ///
    /// # Errors
    /// [`RelationError::TargetUnknown`] if there is none, because it was never
    /// made or has brought its notice.
    pub async fn unlink(&self, from: impl ToTarget) -> Result<(), RelationError> {
        self.unwatch(from.to_target()?.into(), Relation::Link).await
    }

    /// Monitors a process: when it ends, or the connection with its node does,
    /// this one is told ([`Actor::handle_down`](crate::Actor::handle_down)).
    /// Otherwise like [`link`](Self::link), and independent of a link.
    pub async fn monitor(&self, target: impl ToTarget) -> Result<(), RelationError> {
        self.watch(target.to_target()?.into(), Relation::Monitor).await
    }

    /// Ends a monitor; see [`unlink`](Self::unlink).
    pub async fn demonitor(&self, target: impl ToTarget) -> Result<(), RelationError> {
        self.unwatch(target.to_target()?.into(), Relation::Monitor).await
    }

    /// Links this process to the connection with a node, which is made if there
    /// is none.
    pub async fn link_node(&self, node: &str) -> Result<(), RelationError> {
        self.watch(Watched::Node(Atom::new(node)?), Relation::Link).await
    }

    /// Ends a link to a node.
    pub async fn unlink_node(&self, node: &str) -> Result<(), RelationError> {
        self.unwatch(Watched::Node(Atom::new(node)?), Relation::Link).await
    }

    /// Monitors the connection with a node, which is made if there is none.
    pub async fn monitor_node(&self, node: &str) -> Result<(), RelationError> {
        self.watch(Watched::Node(Atom::new(node)?), Relation::Monitor).await
    }

    /// Ends the monitor of a node.
    pub async fn demonitor_node(&self, node: &str) -> Result<(), RelationError> {
        self.unwatch(Watched::Node(Atom::new(node)?), Relation::Monitor).await
    }

    /// Whether exit signals reach [`Actor::handle_exit`](crate::Actor::handle_exit)
    /// from now on, instead of ending the process. Off at first. Those of the
    /// parent end it all the same.
    pub fn set_trap_exit(&self, trap: bool) {
        self.process().set_trap_exit(trap);
    }

    /// Whether the process traps exit signals.
    pub fn traps_exit(&self) -> bool {
        self.process().traps_exit()
    }

    /// What this process is linked to.
    pub fn links(&self) -> Vec<Watched> {
        self.watched(Relation::Link)
    }

    /// What this process monitors.
    pub fn monitors(&self) -> Vec<Watched> {
        self.watched(Relation::Monitor)
    }

    fn watched(&self, relation: Relation) -> Vec<Watched> {
        let watches = self.process().watches().into_iter();
        watches.filter(|(_, made)| *made == relation).map(|(target, _)| target).collect()
    }

    async fn watch(&self, target: Watched, relation: Relation) -> Result<(), RelationError> {
        router::watch(self.process(), target, relation).await
    }

    async fn unwatch(&self, target: Watched, relation: Relation) -> Result<(), RelationError> {
        router::unwatch(self.process(), target, relation).await
    }
}
