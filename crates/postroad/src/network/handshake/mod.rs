//! How two nodes agree on a connection, over a stream that one of them dialed.
//!
//! A [`Handshake`] is one way of doing that. [`Ehs`], the way of Ergo's nodes, is
//! there in any case; others are registered with
//! [`NodeBuilder::handshake`](crate::NodeBuilder::handshake), and routes and
//! acceptors name them by their [`Version`]. What is spoken afterwards is a
//! [`Protocol`](super::Protocol), the same behind all of them.

mod ehs;
mod known;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postroad_wire::ehs::{Established, Fingerprint, Introduction, JoinRequest};
use postroad_wire::tunnel::{MAGIC, NegotiationError, Visitor};
use postroad_wire::{Cookie, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::connection::{Connection, Reservation};
use super::demands::Demand;
use super::plan::AttemptError;
use super::protocol::Mismatch;
use super::stack::Stack;
use super::transport::Stream;
use super::tunnel::{self, Guest};
use crate::Atom;
use crate::registrar::BoxFuture;
use crate::tls::{Answering, TlsHandshakeError};

pub use self::ehs::Ehs;
pub(crate) use self::known::Handshakes;

/// A way for two nodes to agree on a connection.
///
/// Both sides must have learned who the other one is, and that it knows the
/// secret. Whoever dials may add further links to a connection later, which
/// must not be possible for anybody else.
///
/// Time limits are kept by the node: it drops a future that takes too long. What
/// is read before the peer has proved itself must be bounded.
pub trait Handshake: fmt::Debug + Send + Sync {
    /// The name and release that routes, acceptors and registrars know it by.
    fn version(&self) -> Version;

    /// Whether the side that dialed speaks first. Then the acceptor can tell by
    /// the first byte who comes for something else: for a tunnel. Where it does not,
    /// connections are made and nobody can ask for a tunnel over them.
    fn dialer_begins(&self) -> bool {
        false
    }

    /// Makes a connection as the side that dialed.
    fn dial<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        dialer: &'a mut Dialer<'_>,
    ) -> BoxFuture<'a, Result<Established, HandshakeError>>;

    /// Adds a link to a connection as the side that dialed; what has come in
    /// behind the handshake.
    fn join<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        joiner: &'a Joiner<'_>,
    ) -> BoxFuture<'a, Result<Vec<u8>, HandshakeError>>;

    /// Answers whoever dialed, for a connection or for a further link.
    fn accept<'a>(
        &'a self,
        stream: &'a mut HandshakeStream<'_>,
        door: &'a Door<'_>,
    ) -> BoxFuture<'a, Result<Accepted, HandshakeError>>;
}

/// What a handshake has on the side that dialed.
pub struct Dialer<'a> {
    /// What this node says about itself.
    pub local: Arc<Introduction>,
    /// Who must be at the other end.
    pub peer: Atom,
    /// The secret that both sides must prove.
    pub cookie: Cookie,
    proceed: &'a mut (dyn FnMut() -> bool + Send),
    has_proved: bool,
}

/// What a handshake has that adds a link.
#[derive(Debug)]
pub struct Joiner<'a> {
    /// This node.
    pub node: Atom,
    /// The connection, as the handshake has called it that made it.
    pub connection_id: &'a str,
    /// The secret that the connection was made with.
    pub cookie: &'a Cookie,
}

/// What a handshake has on the side that accepts.
pub struct Door<'a> {
    /// What this node says about itself.
    pub local: Arc<Introduction>,
    /// The secret that both sides must prove for a new connection.
    pub cookie: Cookie,
    keeper: &'a dyn Doorkeeper,
}

/// What an accepted stream turned out to be.
#[derive(Debug)]
pub enum Accepted {
    /// A new connection, to which [`Door::admit`] has agreed.
    Connection(Established),
    /// A further link.
    Link {
        /// Where it goes, from [`Door::admit_link`].
        place: Place,
        /// What has come in behind the handshake.
        tail: Vec<u8>,
    },
}

/// What an accepted stream is for.
pub(super) enum Arrived {
    Connection(Established),
    Link(Place, Vec<u8>),
    /// It belongs to a connection, but is no link of it.
    Side(Guest),
}

/// What the accepting side says about a connection that it agrees to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Admission {
    /// How many links the connection is to have.
    pub pool_size: u16,
    /// Where further links may be opened: `host:port`, as this node sees itself.
    pub addresses: Vec<String>,
}

/// A place for a link in a connection. Dropped, it is free again.
#[derive(Debug)]
pub struct Place(pub(super) Reservation);

/// The stream that a handshake is carried on over.
#[derive(Debug)]
pub struct HandshakeStream<'a> {
    stream: &'a mut Stream,
    /// What was read to find out who comes.
    ahead: Vec<u8>,
    /// What came of that instead.
    broken: Option<io::Error>,
}

/// Why the two nodes did not agree.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer said something wrong, proved another cookie, or closed the
    /// connection instead of answering.
    #[error(transparent)]
    Protocol(#[from] postroad_wire::ehs::HandshakeError),
    /// Of a handshake other than [`Ehs`]: the peer did not prove who it is, or
    /// that it knows the secret.
    #[error("the peer did not prove who it is: {0}")]
    Unproven(Arc<dyn Error + Send + Sync>),
    /// Of a handshake other than [`Ehs`]: the peer broke its rules.
    #[error("the peer broke the rules of the handshake: {0}")]
    Broken(Arc<dyn Error + Send + Sync>),
    /// The handshake led to another node than the one that was wanted, or let
    /// one in that nobody had admitted.
    #[error("the handshake ended with {0}, which is not the node it was about")]
    AnotherNode(Atom),
    /// There is no secure connection, or the certificate does not fit the name.
    #[error("TLS: {0}")]
    Tls(#[from] TlsHandshakeError),
    /// Whoever dialed has gone before a single byte came.
    #[error("whoever dialed closed before a word was said")]
    NothingSaid,
    /// The stream broke.
    #[error("the connection broke during the handshake: {0}")]
    Io(Arc<io::Error>),
    /// The peer took too long.
    #[error("no handshake within {0:?}: the other side is connected, but silent or too slow")]
    Timeout(Duration),
    /// One more stream of a connection was not what it was said to be.
    #[error(transparent)]
    Tunnel(#[from] NegotiationError),
    /// Somebody else came through the tunnel than the one who asked for it.
    #[error("{came} shakes hands in a tunnel that was opened for another node")]
    WrongClient {
        /// Who came.
        came: Atom,
    },
    /// A connection with that peer exists or is being made from here.
    #[error("{0} is connected already, or is being dialed from here")]
    Duplicate(Atom),
    /// The peer came in by itself and showed less than this node's static routes
    /// to it demand.
    #[error(
        "{peer} may not come in here: the static route `{pattern}` to it demands {demand}; let the acceptor demand \
         as much, or say that it may be weaker than routes"
    )]
    WeakerThanRoute {
        /// The peer, as it says.
        peer: Atom,
        /// The pattern of the route.
        pattern: Box<str>,
        /// What is missing.
        demand: Demand,
    },
    /// The two sides have agreed, and do not speak the same protocol.
    #[error(transparent)]
    AnotherProtocol(#[from] Box<Mismatch>),
    /// The peer wants to add a link to a connection that does not exist, has
    /// all its links, or has seen this very request before.
    #[error(
        "{0} asked to join a connection that takes no link of it: that connection has ended here, is another one's, \
          or has all its links; or two nodes have this name"
    )]
    JoinRefused(Atom),
}

/// Why a further link did not join.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    #[error("no stream: {0}")]
    Way(#[from] AttemptError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// What the accepting side decides by.
pub(super) trait Doorkeeper: Send + Sync {
    /// The cookie that this connection was made with, if there is one.
    fn made_with(&self, connection_id: &str) -> Option<Cookie>;
    /// The place of this link in that connection, if it takes it; may wait for one.
    fn admit_link<'a>(&'a self, request: &'a JoinRequest) -> BoxFuture<'a, Option<Reservation>>;
    /// Whether a connection with this peer may be made now; may wait for the
    /// end of one that is about to be noticed.
    fn admit_peer<'a>(
        &'a self,
        peer: &'a Introduction,
        stream: &'a Stream,
    ) -> BoxFuture<'a, Result<(), HandshakeError>>;
    /// The connection that one more stream of somebody is for; may wait for it.
    fn admit_side<'a>(&'a self, visitor: &'a Visitor) -> BoxFuture<'a, Option<Arc<Connection>>>;
    /// Whether this is the node that is expected on this stream.
    fn expects(&self, node: Atom) -> bool;
    /// Who was let in to make a connection.
    fn admitted(&self) -> Option<Atom>;
    /// How many links the connection shall have, and where to dial them.
    fn pool(&self, stream: &Stream) -> (u16, Vec<String>);
}

impl Dialer<'_> {
    /// To be called when the peer has proved the secret, before this node says
    /// who it is: the two sides may have dialed at once.
    ///
    /// # Errors
    /// The handshake is to be given up with this error: the peer's own dial goes
    /// before this one.
    pub fn proved(&mut self) -> Result<(), HandshakeError> {
        self.has_proved = true;
        if (self.proceed)() { Ok(()) } else { Err(HandshakeError::Duplicate(self.peer)) }
    }
}

impl Door<'_> {
    /// The secret that a connection was made with, if there is one of this id:
    /// whoever adds a link to it must prove that one.
    pub fn made_with(&self, connection_id: &str) -> Option<Cookie> {
        self.keeper.made_with(connection_id)
    }

    /// Lets a peer in, that has proved the secret, to make a connection. May wait
    /// a moment for the end of another one.
    ///
    /// # Errors
    /// The handshake is to be given up with this error.
    ///
    /// Cancel safe.
    pub async fn admit(
        &self,
        peer: &Introduction,
        stream: &HandshakeStream<'_>,
    ) -> Result<Admission, HandshakeError> {
        self.expect(peer.node, stream)?;
        self.keeper.admit_peer(peer, stream.stream).await?;
        let (pool_size, addresses) = self.keeper.pool(stream.stream);
        Ok(Admission { pool_size, addresses })
    }

    /// Lets a peer add a link, that has proved the secret of the connection. May
    /// wait a moment for a place.
    ///
    /// # Errors
    /// The handshake is to be given up with this error.
    ///
    /// Cancel safe.
    pub async fn admit_link(
        &self,
        request: &JoinRequest,
        stream: &HandshakeStream<'_>,
    ) -> Result<Place, HandshakeError> {
        self.expect(request.node, stream)?;
        let place = self.keeper.admit_link(request).await;
        place.map(Place).ok_or(HandshakeError::JoinRefused(request.node))
    }

    /// Whether this node may come by this stream at all.
    fn expect(&self, node: Atom, stream: &HandshakeStream<'_>) -> Result<(), HandshakeError> {
        stream.stream.check_node_name(node).map_err(TlsHandshakeError::from)?;
        if self.keeper.expects(node) { Ok(()) } else { Err(HandshakeError::WrongClient { came: node }) }
    }
}

impl HandshakeError {
    /// The peer did not prove who it is, or that it knows the secret: a node does
    /// not look for another address of it then.
    pub fn unproven(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unproven(why.into().into())
    }

    /// The peer broke the rules of the handshake.
    pub fn broken(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken(why.into().into())
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Makes a connection as the side that dialed. When the peer has proved the
/// secret `proceed` says whether a connection with it is still wanted.
pub(super) async fn dial(
    stack: &Stack,
    stream: &mut Stream,
    local: Arc<Introduction>,
    peer: Atom,
    cookie: Cookie,
    timeout: Duration,
    mut proceed: impl FnMut() -> bool + Send,
) -> Result<Established, HandshakeError> {
    let mut dialer = Dialer { local, peer, cookie, proceed: &mut proceed, has_proved: false };
    within(timeout, async {
        let mut established = stack.handshake.dial(&mut HandshakeStream::of(stream), &mut dialer).await?;
        if established.peer.node != peer {
            return Err(HandshakeError::AnotherNode(established.peer.node));
        }
        if !dialer.has_proved {
            dialer.proved()?;
        }
        stack.protocol.greet(stream, &mut established.tail).await?;
        Ok(established)
    })
    .await
}

/// Adds a link as the side that dialed; the stream and what came behind the
/// handshake.
pub(super) async fn join(
    stack: &Stack,
    mut stream: Stream,
    joiner: Joiner<'_>,
    timeout: Duration,
) -> Result<(Stream, Vec<u8>), HandshakeError> {
    within(timeout, async {
        let mut tail = stack.handshake.join(&mut HandshakeStream::of(&mut stream), &joiner).await?;
        stack.protocol.greet(&mut stream, &mut tail).await?;
        Ok((stream, tail))
    })
    .await
}

/// Answers whoever dialed; the stream, and what it is for.
pub(super) async fn accept(
    stack: &Stack,
    stream: Stream,
    tls: Option<&Answering>,
    local: Arc<Introduction>,
    cookie: Cookie,
    timeout: Duration,
    keeper: &dyn Doorkeeper,
) -> Result<(Stream, Arrived), HandshakeError> {
    within(timeout, async {
        // Behind TLS nobody could tell any more.
        if tls.is_some() && stream.ends_unsaid().await {
            return Err(HandshakeError::NothingSaid);
        }
        let mut stream = stream.answer(tls).await?;
        let mut handed = HandshakeStream::of(&mut stream);
        if stack.handshake.dialer_begins() {
            match handed.stream.read_buf(&mut handed.ahead).await {
                Ok(0) if tls.is_none() => return Err(HandshakeError::NothingSaid),
                Err(error) if tls.is_none() && error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(HandshakeError::NothingSaid);
                }
                outcome => handed.broken = outcome.err(),
            }
            if handed.ahead.first() == Some(&MAGIC) {
                let ahead = handed.ahead;
                let guest = tunnel::admit(&mut stream, ahead, local.node, cookie, keeper).await?;
                return Ok((stream, Arrived::Side(guest)));
            }
        }
        let door = Door { local, cookie, keeper };
        let arrived = match stack.handshake.accept(&mut handed, &door).await? {
            Accepted::Connection(Established { peer, .. }) if keeper.admitted() != Some(peer.node) => {
                return Err(HandshakeError::AnotherNode(peer.node));
            }
            Accepted::Connection(mut established) => {
                stack.protocol.greet(&mut stream, &mut established.tail).await?;
                Arrived::Connection(established)
            }
            Accepted::Link { place, mut tail } => {
                stack.protocol.greet(&mut stream, &mut tail).await?;
                Arrived::Link(place, tail)
            }
        };
        Ok((stream, arrived))
    })
    .await
}

async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(HandshakeError::Timeout(timeout)))
}

impl<'a> HandshakeStream<'a> {
    fn of(stream: &'a mut Stream) -> Self {
        Self { stream, ahead: Vec::new(), broken: None }
    }

    /// Of the certificate that the accepting side served, if there is TLS and
    /// the secret is to be bound to it: what is proved with it is worth nothing
    /// on another stream.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.stream.fingerprint()
    }

    /// Whether there is TLS.
    pub fn has_tls(&self) -> bool {
        self.stream.has_tls()
    }
}

impl AsyncRead for HandshakeStream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for HandshakeStream<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for Dialer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Door<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("node", &self.local.node).finish_non_exhaustive()
    }
}
