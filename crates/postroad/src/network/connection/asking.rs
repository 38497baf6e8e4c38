//! What this node asks the peer's node: links and monitors, processes and
//! applications (`docs/wire/ENP.md` section 8).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postroad_edf::{Payload, Ref};
use postroad_wire::NetworkFlags;
use postroad_wire::enp::Head;
use postroad_wire::enp::any::{Answer, Generation, Request};
use postroad_wire::tunnel::Operations;

use super::{Connection, Peer, log};
use crate::Atom;
use crate::actor::Answered;
use crate::error::{CallError, SendError};
use crate::network::Refusal;
use crate::node::{Awaited, Pending, router};

/// How long an answer of another node is waited for.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why another node did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AskError {
    /// It was not asked.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It said nothing in time. It may have done it all the same.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// The connection ended before it answered. It may have done it all the same.
    #[error("lost the connection with {node} while waiting for its answer")]
    NoConnection { node: Atom },
}

impl Connection {
    /// Asks the peer's node for something and waits for its answer, five
    /// seconds at most. `link_by` is whose order the question keeps: what goes
    /// out for one process takes one link.
    ///
    /// Cancel safe: a dropped future stops waiting. The peer may have been
    /// asked, and its answer is dropped when it comes.
    pub(crate) async fn ask(
        &self,
        link_by: u64,
        request: impl FnOnce(Ref) -> Request,
    ) -> Result<Payload, AskError> {
        self.ask_within(ASK_TIMEOUT, link_by, request).await
    }

    /// [`ask`](Self::ask), with this limit.
    pub(crate) async fn ask_within(
        &self,
        limit: Duration,
        link_by: u64,
        request: impl FnOnce(Ref) -> Request,
    ) -> Result<Payload, AskError> {
        let reference = self.new_reference(limit);
        let (pending, left) = self.place_question(link_by, reference, request(reference))?;
        self.in_time(limit, self.answered_after(link_by, left, pending)).await
    }

    /// [`ask`](Self::ask), and the question goes out whatever becomes of the
    /// future.
    pub(super) async fn ask_for_certain(
        self: &Arc<Self>,
        link_by: u64,
        reference: Ref,
        request: Request,
    ) -> Result<Payload, AskError> {
        let (pending, left) = self.place_question(link_by, reference, request)?;
        self.place_at_once(link_by, left);
        self.in_time(ASK_TIMEOUT, self.answered_after(link_by, None, pending)).await
    }

    /// Sends a question without waiting; who waits for its answer, and what is
    /// left to be sent. A request need not be `Sync`: it is gone before anything
    /// is waited for.
    fn place_question(
        &self,
        link_by: u64,
        reference: Ref,
        request: Request,
    ) -> Result<(Pending<'_>, Option<Vec<u8>>), SendError> {
        let awaited = Awaited::Node(self.number, reference.id);
        let pending = self.node().calls.wait(awaited, self.number, self.peer.name);
        let left = self.place(link_by, |out| self.write_request(out, &request))?;
        Ok((pending, left))
    }

    async fn in_time(
        &self,
        limit: Duration,
        answered: impl Future<Output = Result<Answered, SendError>>,
    ) -> Result<Payload, AskError> {
        match tokio::time::timeout(limit, answered).await {
            Ok(answered) => answered?.map_err(|error| match error {
                CallError::Answer(error) => AskError::Refused(error.into()),
                _ => AskError::NoConnection { node: self.peer.name },
            }),
            Err(_) => Err(AskError::Timeout(limit)),
        }
    }

    /// Sends what is left of a question, and waits for its answer.
    pub(super) async fn answered_after(
        &self,
        link_by: u64,
        left: Option<Vec<u8>>,
        pending: Pending<'_>,
    ) -> Result<Answered, SendError> {
        self.place_left(link_by, left).await?;
        // The connection may have ended before it knew of this question.
        if self.is_down() {
            self.node().calls.connection_lost(self.number);
        }
        Ok(pending.answered().await)
    }

    /// Asks the peer's node for something that nobody waits for. Does not wait
    /// itself.
    pub(super) fn tell(self: &Arc<Self>, link_by: u64, request: Request) {
        match self.place(link_by, |out| self.write_request(out, &request)) {
            Ok(left) => self.place_at_once(link_by, left),
            Err(error) => log!(self.log, DEBUG, peer = %self.peer.name, %error, "the peer was not told"),
        }
    }

    /// Whether the peer may be asked for this: it offers it, or does not say
    /// what it offers at all. And the gateways in between let it be asked.
    pub(crate) fn may_ask_for(&self, what: NetworkFlags, operation: Operations) -> bool {
        let offered = !self.peer.flags.allows(NetworkFlags::ENABLE) || self.peer.flags.allows(what);
        offered && self.permits(operation)
    }

    /// Whether the peer answers who wants an application described: Ergo's nodes
    /// do since 3.2.0, and those of this library, which speak of tunnels. One
    /// that says nothing of what it does may be either.
    pub(crate) fn describes_applications(&self) -> bool {
        let Peer { flags, generation, .. } = &self.peer;
        let is_ours = flags.allows(NetworkFlags::TUNNELS) || !flags.allows(NetworkFlags::ENABLE);
        is_ours || *generation >= Generation::V320
    }

    /// Hands the answer to whoever waits for it.
    pub(super) fn answer_in(&self, Answer { error, result, reference }: Answer) {
        if let Some(withdrawal) = self.withdrawn.is_known(reference.id) {
            self.withdrawal_is_known(withdrawal);
        }
        let answer = || error.map_or(Ok(result), |error| Err(CallError::Answer(error)));
        if !self.node().calls.answer(Awaited::Node(self.number, reference.id), answer) {
            log!(self.log, DEBUG, peer = %self.peer.name, %reference, "answer to no request");
        }
    }

    /// The reference of a question that is answered in time.
    pub(super) fn new_reference(&self, limit: Duration) -> Ref {
        // Since 3.3.0 the last id is when the answer is of no use any more.
        let node = self.node();
        let dated = self.peer.generation >= Generation::V330;
        let deadline = if dated { router::deadline(node, limit) } else { 0 };
        Ref { node: node.name, creation: node.creation, id: [node.new_reference(), 0, deadline] }
    }

    fn write_request(&self, out: &mut Vec<u8>, request: &Request) -> Result<(), SendError> {
        self.write_ordered(out, request.order(), &Head::Any, None, |out| {
            request.encode(self.peer.generation, &mut self.asking_encoder(out))
        })
    }
}

#[cfg(test)]
mod tests {
    use postroad_wire::enp::any::ApplicationInfo;

    use super::*;
    use crate::network::{AcceptorOptions, Connection, DownReason, NetworkRoute};
    use crate::{Atom, Node};

    async fn pair() -> (Node, Node, Arc<Connection>) {
        let start = async |name: &str| {
            let builder = Node::builder(name).cookie("asking").without_registrar();
            builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).start().await.unwrap()
        };
        let (asker, asked) = (start("asker@127.0.0.1").await, start("asked@127.0.0.1").await);
        let port = asked.network().acceptors()[0].address.port();
        let route = NetworkRoute::to("127.0.0.1", port);
        asker.network().connect_with(asked.name().as_str(), route).await.unwrap();
        let connection = asker.network().node().network.connected(asked.name()).unwrap();
        (asker, asked, connection)
    }

    fn info(reference: Ref) -> Request {
        Request::ApplicationInfo(ApplicationInfo { name: Atom::new("shop").unwrap(), reference })
    }

    #[tokio::test]
    async fn a_question_is_answered_or_ends_with_the_connection() {
        let (asker, asked, connection) = pair().await;
        let refused = connection.ask(1001, info).await.unwrap_err();
        assert!(matches!(refused, AskError::Refused(Refusal::ApplicationUnknown)), "{refused}");
        connection.tell(1001, info(connection.new_reference(ASK_TIMEOUT)));
        connection.shut_down(DownReason::Closed);
        let lost = connection.ask(1001, info).await.unwrap_err();
        assert!(matches!(lost, AskError::Send(SendError::NoConnection { .. })), "{lost}");
        asker.stop().await;
        asked.stop().await;
    }
}
