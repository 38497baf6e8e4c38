//! What other nodes may have started here, and which of them.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use parking_lot::Mutex;

use super::factory::{Factory, as_one};
use super::{Network, Refusal};
use crate::actor::{Actor, register};
use crate::error::InvalidName;
use crate::node::{node_name, process_name};
use crate::process::discard;
use crate::{Atom, Message, Payload};

/// Which nodes something is enabled or disabled for.
///
/// A node is known by the name it proved with a cookie: whoever knows that
/// cookie can have any name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// All of them.
    Any,
    /// These, by their names.
    Only(Vec<String>),
}

impl Nodes {
    /// The nodes of these names.
    pub fn only<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Only(names.into_iter().map(Into::into).collect())
    }
}

/// Which nodes may have something started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferedTo {
    /// Every node.
    Anyone,
    /// These, in the order of their names; nobody if there is none.
    Nodes(BTreeSet<Atom>),
}

/// Something that other nodes may have started here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfferInfo {
    /// The name it is asked for by.
    pub name: Atom,
    /// Who may ask.
    pub offered_to: OfferedTo,
}

/// Why something was not enabled.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EnableError {
    /// The name is empty or too long.
    #[error("not a name: {0}")]
    Name(InvalidName),
    /// It was to be enabled for a node that cannot be.
    #[error("not the name of a node: {0}")]
    Node(InvalidName),
    /// Another actor is enabled under this name; disable that first.
    #[error("resource is taken: another actor is enabled as {name}")]
    Taken {
        /// The name.
        name: Atom,
    },
}

/// Why something was not disabled.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DisableError {
    /// Nothing is enabled under this name.
    #[error("unknown name")]
    Unknown,
    /// It is enabled for everyone, so it cannot be disabled for some: enable it
    /// for those that shall have it.
    #[error("not allowed: {name} is enabled for any node; enable it for those that are to have it instead")]
    EnabledForAny {
        /// The name.
        name: Atom,
    },
}

impl Network {
    /// Lets other nodes start processes of this actor by `name`
    /// ([`RemoteNode::spawn`](super::RemoteNode::spawn)), with one argument: its
    /// `Args`; with none if that is `()`, with any number if it is a
    /// `Vec<Payload>`.
    ///
    /// Enabled for some nodes it is so for others no more if it was for all;
    /// otherwise the nodes are added to those it is enabled for already.
    pub fn enable_spawn<A: Actor>(&self, name: &str, nodes: Nodes) -> Result<(), EnableError>
    where
        A::Args: Message,
    {
        register::<A::Args>(&self.node().registry);
        self.enable_spawn_with::<A>(name, nodes, as_one::<A::Args>)
    }

    /// [`enable_spawn`](Self::enable_spawn) for an actor whose `Args` are made
    /// of the list of arguments by `arguments`: `None` if they are not what the
    /// actor needs, which the other node is told.
    pub fn enable_spawn_with<A: Actor>(
        &self,
        name: &str,
        nodes: Nodes,
        arguments: impl Fn(Vec<Payload>) -> Option<A::Args> + Send + Sync + 'static,
    ) -> Result<(), EnableError> {
        self.inner().spawns.enable(name, Factory::of::<A, _>(arguments), &nodes)
    }

    /// Lets other nodes start no processes by `name` any more, or not these.
    /// Those that run are not touched.
    pub fn disable_spawn(&self, name: &str, nodes: Nodes) -> Result<(), DisableError> {
        self.inner().spawns.disable(name, &nodes)
    }

    /// Lets other nodes start this application; see
    /// [`enable_spawn`](Self::enable_spawn) for what nodes are added to what.
    pub fn enable_application_start(&self, name: &str, nodes: Nodes) -> Result<(), EnableError> {
        self.inner().applications.enable(name, (), &nodes)
    }

    /// Lets other nodes not start this application any more, or not these.
    pub fn disable_application_start(&self, name: &str, nodes: Nodes) -> Result<(), DisableError> {
        self.inner().applications.disable(name, &nodes)
    }
}

/// What is offered, by name.
pub(crate) struct Offers<T>(Mutex<BTreeMap<Atom, Offer<T>>>);

struct Offer<T> {
    what: T,
    to: OfferedTo,
}

impl<T> Default for Offers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + PartialEq> Offers<T> {
    /// Offers something to any node, or to these: to any others no more if it
    /// was offered to all, and to others as well if it was offered to some.
    pub(super) fn enable(&self, name: &str, what: T, nodes: &Nodes) -> Result<(), EnableError> {
        let name = process_name(name).map_err(EnableError::Name)?;
        let nodes = match nodes {
            Nodes::Any => None,
            Nodes::Only(names) => {
                let names = names.iter().map(|name| node_name(name)).collect::<Result<BTreeSet<_>, _>>();
                Some(names.map_err(EnableError::Node)?)
            }
        };
        match self.0.lock().entry(name) {
            Entry::Vacant(place) => {
                place.insert(Offer { what, to: nodes.map_or(OfferedTo::Anyone, OfferedTo::Nodes) });
            }
            Entry::Occupied(place) if place.get().what != what => return Err(EnableError::Taken { name }),
            Entry::Occupied(place) => match (&mut place.into_mut().to, nodes) {
                (OfferedTo::Nodes(known), Some(nodes)) => known.extend(nodes),
                (to, nodes) => *to = nodes.map_or(OfferedTo::Anyone, OfferedTo::Nodes),
            },
        }
        Ok(())
    }

    /// Offers something no more: to nobody, or to these. When the last node is
    /// gone nobody is left, and it is still known.
    pub(super) fn disable(&self, name: &str, nodes: &Nodes) -> Result<(), DisableError> {
        let name = Atom::existing(name).ok_or(DisableError::Unknown)?;
        let mut offers = self.0.lock();
        match nodes {
            Nodes::Any => {
                let removed = offers.remove(&name);
                drop(offers);
                // What users wrote may use the node when it is dropped.
                removed.map(discard).ok_or(DisableError::Unknown)
            }
            Nodes::Only(names) => match &mut offers.get_mut(&name).ok_or(DisableError::Unknown)?.to {
                OfferedTo::Anyone => Err(DisableError::EnabledForAny { name }),
                OfferedTo::Nodes(known) => {
                    known.retain(|node| !names.iter().any(|name| node.as_str() == name));
                    Ok(())
                }
            },
        }
    }

    /// What this node gets if it asks for that name.
    pub(super) fn for_node(&self, name: Atom, node: Atom) -> Result<T, Refusal> {
        let offers = self.0.lock();
        let offer = offers.get(&name).ok_or(Refusal::NameUnknown)?;
        match &offer.to {
            OfferedTo::Nodes(nodes) if !nodes.contains(&node) => Err(Refusal::NotAllowed),
            _ => Ok(offer.what.clone()),
        }
    }

    pub(super) fn list(&self) -> Vec<OfferInfo> {
        let offers = self.0.lock();
        offers.iter().map(|(name, offer)| OfferInfo { name: *name, offered_to: offer.to.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers() -> Offers<u8> {
        Offers::default()
    }

    fn asks(offers: &Offers<u8>, node: &str) -> Result<u8, Refusal> {
        offers.for_node(Atom::new("worker").unwrap(), Atom::new(node).unwrap())
    }

    #[test]
    fn conformance_t07_the_last_one_that_is_disabled_leaves_nobody() {
        let offers = offers();
        assert_eq!(asks(&offers, "a@h"), Err(Refusal::NameUnknown));
        offers.enable("worker", 1, &Nodes::only(["a@h"])).unwrap();
        offers.enable("worker", 1, &Nodes::only(["b@h"])).unwrap();
        assert_eq!((asks(&offers, "a@h"), asks(&offers, "b@h")), (Ok(1), Ok(1)));
        assert_eq!(asks(&offers, "c@h"), Err(Refusal::NotAllowed));
        offers.disable("worker", &Nodes::only(["a@h"])).unwrap();
        assert_eq!(asks(&offers, "a@h"), Err(Refusal::NotAllowed));
        offers.disable("worker", &Nodes::only(["b@h"])).unwrap();
        assert_eq!(asks(&offers, "b@h"), Err(Refusal::NotAllowed));
        assert_eq!(offers.list()[0].offered_to, OfferedTo::Nodes(BTreeSet::new()));
        offers.disable("worker", &Nodes::Any).unwrap();
        assert_eq!(asks(&offers, "b@h"), Err(Refusal::NameUnknown));
        assert!(matches!(offers.disable("worker", &Nodes::Any), Err(DisableError::Unknown)));
    }

    #[test]
    fn what_is_open_is_restricted_by_enabling_and_not_by_disabling() {
        let offers = offers();
        offers.enable("worker", 1, &Nodes::Any).unwrap();
        assert_eq!(asks(&offers, "a@h"), Ok(1));
        let refused = offers.disable("worker", &Nodes::only(["a@h"]));
        assert!(matches!(refused, Err(DisableError::EnabledForAny { .. })));
        assert_eq!(asks(&offers, "a@h"), Ok(1), "and nobody is locked out");
        offers.enable("worker", 1, &Nodes::only(["b@h"])).unwrap();
        assert_eq!((asks(&offers, "a@h"), asks(&offers, "b@h")), (Err(Refusal::NotAllowed), Ok(1)));
        offers.enable("worker", 1, &Nodes::Any).unwrap();
        assert_eq!(asks(&offers, "a@h"), Ok(1));
    }

    #[test]
    fn a_name_stands_for_one_thing() {
        let offers = offers();
        offers.enable("worker", 1, &Nodes::only(["a@h"])).unwrap();
        assert!(matches!(offers.enable("worker", 2, &Nodes::Any), Err(EnableError::Taken { .. })));
        assert_eq!((asks(&offers, "a@h"), asks(&offers, "b@h")), (Ok(1), Err(Refusal::NotAllowed)));
        assert!(matches!(offers.enable("", 1, &Nodes::Any), Err(EnableError::Name(_))));
        assert!(matches!(offers.enable("x", 1, &Nodes::only(["x"])), Err(EnableError::Node(_))));
    }
}
