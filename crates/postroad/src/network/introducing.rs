//! What this node says about itself in handshakes.

use std::sync::Arc;

use parking_lot::Mutex;
use postroad_wire::NetworkFlags;
use postroad_wire::ehs::Introduction;

use super::{NetworkInner, OFFERED};
use crate::node::NodeInner;

/// Id of the first entry of the atom and the type cache (`docs/wire/EDF.md` section 8).
const FIRST_ATOM: u16 = 256;
const FIRST_TYPE: u16 = 4096;
const FIRST_ERROR: u16 = 32768;

/// More errors than this do not fit into an introduction.
const MOST_ERRORS: usize = 1 << 14;

/// The errors a stock node registers (`docs/wire/EDF.md` section 12).
const STOCK_ERRORS: [&str; 15] = [
    "incorrect value or argument",
    "timed out",
    "not supported",
    "unknown",
    "unknown name",
    "not allowed",
    "unknown process",
    "process terminated",
    "unknown meta process",
    "unknown application",
    "resource is taken",
    "normal",
    "shutdown",
    "kill",
    "panic",
];

impl NetworkInner {
    /// What this node says about itself, to a peer that may do at most this.
    pub(super) fn introduction(&self, node: &NodeInner, most: Option<NetworkFlags>) -> Arc<Introduction> {
        let mut introduction = Introduction::new(node.name, node.creation);
        introduction.version = node.version.clone();
        introduction.flags = self.offered(most);
        introduction.max_message_size = self.options.max_message_size as u64;
        introduction.atoms = vec![(FIRST_ATOM, node.name)];
        introduction.types =
            (FIRST_TYPE..).zip(node.registry.names().into_iter().map(|name| name.as_str().into())).collect();
        introduction.errors = self.errors();
        Arc::new(introduction.fit())
    }

    /// The errors that a stock node registers and those of the program, each once.
    fn errors(&self) -> Vec<(u16, Box<str>)> {
        let mut errors: Vec<Box<str>> = STOCK_ERRORS.map(Into::into).to_vec();
        let own = &self.options.errors;
        errors.extend(own.iter().filter(|text| !STOCK_ERRORS.contains(&&***text)).take(MOST_ERRORS).cloned());
        errors[STOCK_ERRORS.len()..].sort_unstable();
        errors.dedup();
        (FIRST_ERROR..).zip(errors).collect()
    }

    /// What this node offers to a peer that may do at most this.
    pub(super) fn offered(&self, most: Option<NetworkFlags>) -> NetworkFlags {
        let period = self.options.keepalive.map_or(0, |period| period.as_secs().clamp(1, 255) as u8);
        let mut offered = OFFERED.with_keepalive(period);
        for (on, flag) in [
            (self.tunnels.has_transit(), NetworkFlags::PROXY_TRANSIT),
            (self.options.accept_tunnels, NetworkFlags::PROXY_ACCEPT),
        ] {
            offered = if on { offered.with(flag) } else { offered };
        }
        self.limited(offered, most)
    }

    /// What a peer may do here that was told this, and may do at most that. It may
    /// pass as soon as this node is a gateway, whenever that is: what it was told of
    /// that is how it was when the connection was made.
    pub(super) fn allowed(&self, announced: NetworkFlags, most: Option<NetworkFlags>) -> NetworkFlags {
        let transit = NetworkFlags::ENABLE | NetworkFlags::PROXY_TRANSIT;
        announced | self.limited(transit, most)
    }

    fn limited(&self, flags: NetworkFlags, most: Option<NetworkFlags>) -> NetworkFlags {
        let flags = flags.at_most(self.options.flags);
        most.map_or(flags, |most| flags.at_most(most))
    }
}

/// What an acceptor says about its node. It is the same for one caller after the
/// other, so it is made anew only when there is something else to say: who has
/// proved nothing costs no tables.
#[derive(Debug, Default)]
pub(super) struct Introducing(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    introduction: Arc<Introduction>,
    /// How many types were registered then: there is never one less.
    types: usize,
}

impl Introducing {
    /// To a peer that may do at most this.
    pub(super) fn introduction(&self, node: &NodeInner, most: Option<NetworkFlags>) -> Arc<Introduction> {
        let (flags, types) = (node.network.offered(most), node.registry.count());
        let mut kept = self.0.lock();
        if let Some(Kept { introduction, types: known }) = &*kept
            && (introduction.flags, *known) == (flags, types)
        {
            return introduction.clone();
        }
        let introduction = node.network.introduction(node, most);
        *kept = Some(Kept { introduction: introduction.clone(), types });
        introduction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edf::{Registry, Schema, TypeName};
    use crate::{NetworkMode, Node};

    #[tokio::test]
    async fn errors_of_the_program_follow_those_of_stock_nodes() {
        let builder = Node::builder("errors@introducing").network(NetworkMode::Disabled);
        let node =
            builder.errors(["out of stock", "timed out"]).errors(["closed", "closed"]).start().await.unwrap();
        let errors = node.network().0.network.introduction(&node.network().0, None).errors.clone();
        let texts: Vec<_> = errors.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts, [&STOCK_ERRORS[..], &["closed", "out of stock"]].concat());
        let ids: Vec<_> = errors.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (FIRST_ERROR..).take(17).collect::<Vec<_>>());
        node.stop().await;
    }

    #[tokio::test]
    async fn it_is_made_anew_when_there_is_something_else_to_say() {
        let registry = Registry::empty();
        let builder = Node::builder("kept@introducing").registry(registry.clone());
        let node = builder.network(NetworkMode::Disabled).start().await.unwrap();
        let (inner, introducing) = (&node.network().0, Introducing::default());
        let first = introducing.introduction(inner, None);
        assert!(Arc::ptr_eq(&first, &introducing.introduction(inner, None)));

        registry
            .register_schema(TypeName::new("#introducing/New").unwrap(), Schema::Struct(Vec::new()))
            .unwrap();
        let second = introducing.introduction(inner, None);
        assert_eq!(second.types.len(), first.types.len() + 1);
        let less = introducing.introduction(inner, Some(NetworkFlags::NONE));
        assert_ne!(less.flags, second.flags);
        assert!(!Arc::ptr_eq(&second, &introducing.introduction(inner, None)), "one is kept");
        node.stop().await;
    }
}
