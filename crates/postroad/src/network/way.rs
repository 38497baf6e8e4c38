//! Where a stream to a peer comes from, for the first link and those that
//! follow.

use std::sync::Arc;
use std::time::Duration;

use super::plan::{AttemptError, Stage};
use super::transport::{Address, Stream};
use super::tunnel::{Passage, Through};
use crate::Atom;
use crate::node::NodeInner;

/// How a peer is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// By dialing it.
    Address(Address),
    /// Through other nodes.
    Tunnel(Arc<Passage>),
}

impl Way {
    /// A new stream to `peer`, and through whom it leads, if through anybody.
    /// Tells which stages were reached.
    pub(super) async fn open(
        &self,
        node: &Arc<NodeInner>,
        peer: Atom,
        limit: Duration,
        mut reached: impl FnMut(Stage) + Send,
    ) -> Result<(Stream, Option<Arc<Through>>), AttemptError> {
        match self {
            Self::Address(address) => {
                let stream =
                    Stream::dial(&node.network.options.ground, address, peer, limit, reached).await?;
                Ok((stream, None))
            }
            Self::Tunnel(passage) => {
                let (stream, through) = passage.open(node, peer, limit).await?;
                reached(Stage::Tunnel);
                let stream = passage.secure(stream, peer, limit).await?;
                if passage.is_secure() {
                    reached(Stage::Tls);
                }
                Ok((stream, Some(through)))
            }
        }
    }

    /// Whether the two ends speak TLS with each other.
    pub(super) fn is_secure(&self) -> bool {
        match self {
            Self::Address(address) => address.tls.is_some(),
            Self::Tunnel(passage) => passage.is_secure(),
        }
    }
}
