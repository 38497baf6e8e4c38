//! Drives the handshake machines of `postroad-wire` over a stream.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::Cookie;
use postroad_wire::ehs::{
    self, Accept, AcceptStep, Dial, Established, Introduction, Join, JoinRequest, Joined, Stage,
};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connection::Reservation;
use super::demands::Demand;
use super::transport::{DialError, Stream};
use crate::Atom;
use crate::tls::{Answering, TlsHandshakeError};

/// Why the two nodes did not agree.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer said something wrong, proved another cookie, or closed the
    /// connection instead of answering.
    #[error(transparent)]
    Protocol(#[from] ehs::HandshakeError),
    /// There is no secure connection, or the certificate does not fit the name.
    #[error("TLS: {0}")]
    Tls(#[from] TlsHandshakeError),
    /// The stream broke.
    #[error("the connection broke during the handshake: {0}")]
    Io(Arc<std::io::Error>),
    /// The peer took too long.
    #[error("no handshake within {0:?}: the other side is connected, but silent or too slow")]
    Timeout(Duration),
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
    /// The peer wants to add a link to a connection that does not exist, has
    /// all its links, or has seen this very request before.
    #[error("{0} asked to join a connection that takes no link of it")]
    JoinRefused(Atom),
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<DialError> for HandshakeError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Tcp(error) => error.into(),
            DialError::Tls(error) => error.into(),
        }
    }
}

/// Why a further link did not join.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    #[error("dial: {0}")]
    Dial(#[from] DialError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// How a stream begins that speaks TLS: the content type of its first record.
const TLS_HANDSHAKE: u8 = 0x16;

/// What an accepted stream turned out to be.
pub(super) enum Accepted {
    Connection(Established),
    Link(Reservation, Joined),
}

/// What the accepting side decides by.
pub(super) trait Doorkeeper: Send + Sync {
    /// The cookie that this connection was made with, if there is one.
    fn made_with(&self, connection_id: &str) -> Option<Cookie>;
    /// The place of this link in that connection, if it takes it; may wait for one.
    fn admit_link(&self, request: &JoinRequest) -> impl Future<Output = Option<Reservation>> + Send;
    /// Whether a connection with this peer may be made now; may wait for the
    /// end of one that is about to be noticed.
    fn admit_peer(
        &self,
        peer: &Introduction,
        stream: &Stream,
    ) -> impl Future<Output = Result<(), HandshakeError>> + Send;
    /// How many links the connection shall have, and where to dial them.
    fn pool(&self, stream: &Stream) -> (u16, Vec<String>);
}

/// Makes a connection as the side that dialed. When the peer has proved the
/// cookie `proceed` says whether a connection with it is still wanted.
pub(super) async fn dial(
    stream: &mut Stream,
    local: Arc<Introduction>,
    expected: Atom,
    cookie: Cookie,
    timeout: Duration,
    mut proceed: impl FnMut() -> bool,
) -> Result<Established, HandshakeError> {
    let mut machine = Dial::new(local, Some(expected), cookie, salt(), stream.fingerprint());
    within(timeout, async {
        loop {
            send_all(stream, machine.poll_transmit()).await?;
            let Some(bytes) = receive(stream).await? else { return Err(machine.closed().into()) };
            let before = machine.stage();
            let outcome = machine.receive(&bytes);
            if before == Stage::Hello && machine.stage() == Stage::Accept && !proceed() {
                return Err(HandshakeError::Duplicate(expected));
            }
            send_all(stream, machine.poll_transmit()).await?;
            if let Some(established) = outcome? {
                return Ok(established);
            }
        }
    })
    .await
}

/// Adds a link as the side that dialed; the stream and what came behind the
/// handshake.
pub(super) async fn join(
    mut stream: Stream,
    node: Atom,
    connection: &str,
    cookie: &Cookie,
    timeout: Duration,
) -> Result<(Stream, Vec<u8>), HandshakeError> {
    let mut machine = Join::new(node, connection, cookie.clone(), salt(), stream.fingerprint());
    let tail = within(timeout, async {
        loop {
            send_all(&mut stream, machine.poll_transmit()).await?;
            let Some(bytes) = receive(&mut stream).await? else { return Err(machine.closed().into()) };
            if let Some(joined) = machine.receive(&bytes)? {
                return Ok(joined.tail);
            }
        }
    })
    .await?;
    Ok((stream, tail))
}

/// Answers whoever dialed; the stream, and what it is for.
pub(super) async fn accept(
    socket: TcpStream,
    tls: Option<&Answering>,
    local: Arc<Introduction>,
    cookie: Cookie,
    timeout: Duration,
    doorkeeper: &impl Doorkeeper,
) -> Result<(Stream, Accepted), HandshakeError> {
    within(timeout, async {
        let mut stream = Stream::accept(socket, tls).await?;
        let accepted = converse(&mut stream, local, cookie, doorkeeper).await?;
        Ok((stream, accepted))
    })
    .await
}

async fn converse(
    stream: &mut Stream,
    local: Arc<Introduction>,
    cookie: Cookie,
    doorkeeper: &impl Doorkeeper,
) -> Result<Accepted, HandshakeError> {
    let mut machine = Accept::new(local, cookie, salt(), stream.fingerprint());
    let mut bytes = receive(stream).await?.ok_or_else(|| HandshakeError::from(machine.closed()))?;
    if bytes.first() == Some(&TLS_HANDSHAKE) && !stream.has_tls() {
        return Err(TlsHandshakeError::PeerSpeaksTls.into());
    }
    loop {
        let outcome = machine.receive_joins(&bytes, |connection| doorkeeper.made_with(connection));
        bytes.clear();
        match outcome? {
            Some(AcceptStep::JoinRequested(request)) => {
                stream.check_node_name(request.node).map_err(TlsHandshakeError::from)?;
                let Some(place) = doorkeeper.admit_link(&request).await else {
                    return Err(HandshakeError::JoinRefused(request.node));
                };
                let joined = machine.accept_join()?;
                send_all(stream, machine.poll_transmit()).await?;
                return Ok(Accepted::Link(place, joined));
            }
            Some(AcceptStep::Introduced(peer)) => {
                stream.check_node_name(peer.node).map_err(TlsHandshakeError::from)?;
                doorkeeper.admit_peer(&peer, stream).await?;
                let (pool_size, addresses) = doorkeeper.pool(stream);
                let random: [u8; 16] = rand::rng().random();
                machine.accept(ehs::connection_id(random), pool_size, addresses)?;
                // The peer may have sent ahead.
                continue;
            }
            Some(AcceptStep::Established(established)) => return Ok(Accepted::Connection(established)),
            Some(_) | None => {}
        }
        send_all(stream, machine.poll_transmit()).await?;
        bytes = receive(stream).await?.ok_or_else(|| HandshakeError::from(machine.closed()))?;
    }
}

async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(HandshakeError::Timeout(timeout)))
}

async fn send_all(stream: &mut Stream, bytes: Option<Vec<u8>>) -> Result<(), HandshakeError> {
    match bytes {
        Some(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(stream.flush().await?)
        }
        None => Ok(()),
    }
}

/// What has arrived; nothing if the peer has closed.
async fn receive(stream: &mut Stream) -> Result<Option<Vec<u8>>, HandshakeError> {
    let mut bytes = Vec::with_capacity(4096);
    match stream.read_buf(&mut bytes).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(bytes)),
        // How a peer that closed with unread bytes of ours looks.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(None),
        // A program that was killed says no goodbye.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        // Whether a certificate of ours is accepted, TLS 1.3 tells behind its handshake.
        Err(error) if stream.has_tls() => Err(TlsHandshakeError::of_io(error).into()),
        Err(error) => Err(error.into()),
    }
}

fn salt() -> [u8; 32] {
    rand::rng().random()
}
