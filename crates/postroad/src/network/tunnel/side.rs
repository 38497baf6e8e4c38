//! One more stream of a connection, for a tunnel.
//!
//! The side that dialed the connection dials it, the same way. The other side
//! can only ask for it, by a Summon frame: its peer may be behind NAT.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use postroad_wire::tunnel::{
    Admit, Answer, Knock, NegotiationError, Refusal, Request, Stage, Talk, Token, Visitor,
};
use postroad_wire::{Cookie, NetworkFlags};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::error::TunnelError;
use super::{arrive, carry};
use crate::Atom;
use crate::network::acceptor::Acceptor;
use crate::network::complaints::Matter;
use crate::network::connection::Connection;
use crate::network::handshake::{Doorkeeper, HandshakeError};
use crate::network::log::log;
use crate::network::places::Place;
use crate::network::plan::AttemptError;
use crate::network::transport::Stream;
use crate::registrar::BoxFuture;
use crate::tls::TlsHandshakeError;

/// A stream between the two ends of a connection, who have proved themselves.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) stream: Stream,
    pub(super) talk: Talk,
}

/// Who dialed one more stream of a connection.
pub(in crate::network) struct Guest {
    connection: Arc<Connection>,
    token: Option<Token>,
    talk: Talk,
}

impl Side {
    /// One more stream to the peer of a connection, within `limit`. It is this
    /// side that asks on it.
    pub(super) async fn open(connection: &Arc<Connection>, limit: Duration) -> Result<Self, TunnelError> {
        let peer = connection.peer.name;
        let opening = async {
            match &connection.redial {
                Some(_) => dial(connection, None, limit).await,
                None => summon(connection).await,
            }
        };
        tokio::select! {
            () = connection.ended() => Err(TunnelError::ConnectionLost(peer)),
            opened = tokio::time::timeout(limit, opening) => {
                opened.unwrap_or(Err(TunnelError::Timeout { peer, limit }))
            }
        }
    }

    /// Asks, and waits for an answer. The stream then belongs to the tunnel.
    pub(super) async fn ask(
        mut self,
        peer: Atom,
        request: &Request,
        limit: Duration,
    ) -> Result<(Stream, Answer), TunnelError> {
        let asked = self.talk.ask(request);
        let asking = async {
            write(&mut self.stream, &asked).await.map_err(|error| TunnelError::Dial { peer, error })?;
            let mut bytes = Vec::new();
            loop {
                if let Some(answer) = self.talk.answer(&bytes).map_err(TunnelError::with(peer))? {
                    return Ok(answer);
                }
                // And no more: what is behind an answer comes from the other end of the tunnel.
                let read = read(&mut self.stream, self.talk.wants()).await;
                bytes = read.map_err(|error| TunnelError::Dial { peer, error })?;
                if bytes.is_empty() {
                    return Err(TunnelError::with(peer)(NegotiationError::Closed(Stage::Answer)));
                }
            }
        };
        let answer =
            tokio::time::timeout(limit, asking).await.unwrap_or(Err(TunnelError::Timeout { peer, limit }))?;
        Ok((self.stream, answer))
    }

    /// Answers, and hands the stream over; nothing if the peer is gone.
    pub(super) async fn reply(mut self, answer: &Answer) -> Option<Stream> {
        let bytes = self.talk.reply(answer);
        write(&mut self.stream, &bytes).await.ok()?;
        match answer {
            Answer::Opened { .. } => Some(self.stream),
            _ => {
                let _ = self.stream.shutdown().await;
                None
            }
        }
    }

    /// What the peer wants.
    async fn hear(&mut self, peer: Atom) -> Result<Request, TunnelError> {
        let mut bytes = Vec::new();
        loop {
            if let Some(request) = self.talk.request(&bytes).map_err(TunnelError::with(peer))? {
                return Ok(request);
            }
            bytes = read(&mut self.stream, MUCH).await.map_err(|error| TunnelError::Dial { peer, error })?;
            if bytes.is_empty() {
                return Err(TunnelError::with(peer)(NegotiationError::Closed(Stage::Request)));
            }
        }
    }
}

/// Dials the peer of a connection once more, the way the connection was dialed.
async fn dial(
    connection: &Arc<Connection>,
    token: Option<Token>,
    limit: Duration,
) -> Result<Side, TunnelError> {
    let peer = connection.peer.name;
    let Some(redial) = &connection.redial else { return Err(TunnelError::ConnectionLost(peer)) };
    let node = connection.node();
    let opened = redial.way.open(node, peer, limit, |_| ()).await;
    let (mut stream, _) = opened.map_err(|error| match error {
        AttemptError::Dial(error) => TunnelError::Dial { peer, error },
        AttemptError::Tls(error) => TunnelError::Tls { peer, error },
        AttemptError::Tunnel(error) => error,
        _ => TunnelError::ConnectionLost(peer),
    })?;
    let cookie = redial.cookie.clone();
    let mut machine =
        Knock::new(node.name, peer, &connection.id, token, cookie, nonce(), stream.fingerprint());
    loop {
        let broken = |error| TunnelError::Dial { peer, error };
        if let Some(bytes) = machine.poll_transmit() {
            write(&mut stream, &bytes).await.map_err(broken)?;
        }
        let bytes = read(&mut stream, MUCH).await.map_err(broken)?;
        if bytes.is_empty() {
            return Err(TunnelError::with(peer)(machine.closed()));
        }
        if let Some(talk) = machine.receive(&bytes).map_err(TunnelError::with(peer))? {
            return Ok(Side { stream, talk });
        }
    }
}

/// Has the peer of a connection dial it once more.
async fn summon(connection: &Arc<Connection>) -> Result<Side, TunnelError> {
    let lost = || TunnelError::ConnectionLost(connection.peer.name);
    let tunnels = &connection.node().network.tunnels;
    let token: Token = rand::rng().random();
    let (deliver, summoned) = oneshot::channel();
    tunnels.summoned.lock().insert(token, Summoned { from: connection.number, deliver });
    let _expected = Expected { connection, token };
    connection.summon(token).await.map_err(|_| lost())?;
    let side = summoned.await.map_err(|_| lost())?;
    side.map_err(|reason| TunnelError::Refused { hop: connection.peer.name, reason })
}

/// Who waits for a stream that the peer of a connection was asked to dial.
#[derive(Debug)]
pub(super) struct Summoned {
    /// The number of the connection.
    from: u64,
    deliver: oneshot::Sender<Result<Side, Refusal>>,
}

impl Summoned {
    /// Hands over what the peer of this connection has answered to its Summon.
    fn answer(connection: &Connection, token: Token, answer: Result<Side, Refusal>) {
        let mut summoned = connection.node().network.tunnels.summoned.lock();
        let Entry::Occupied(waiting) = summoned.entry(token) else { return };
        if waiting.get().from == connection.number {
            // Who does not wait any more has told why.
            let _ = waiting.remove().deliver.send(answer);
        }
    }
}

/// A stream is waited for until this is dropped.
struct Expected<'a> {
    connection: &'a Connection,
    token: Token,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.connection.node().network.tunnels.summoned.lock().remove(&self.token);
    }
}

/// Has somebody who dialed and knocked prove which connection it belongs to.
/// `bytes` is what it has said so far.
pub(in crate::network) async fn admit(
    stream: &mut Stream,
    mut bytes: Vec<u8>,
    own: Atom,
    cookie: Cookie,
    doorkeeper: &dyn Doorkeeper,
) -> Result<Guest, HandshakeError> {
    let mut machine = Admit::new(own, cookie, nonce(), stream.fingerprint());
    let visitor = loop {
        if let Some(visitor) = machine.receive_for(&bytes, |connection| doorkeeper.made_with(connection))? {
            break visitor;
        }
        if let Some(bytes) = machine.poll_transmit() {
            write(stream, &bytes).await.map_err(HandshakeError::Io)?;
        }
        bytes = read(stream, MUCH).await.map_err(HandshakeError::Io)?;
        if bytes.is_empty() {
            return Err(machine.closed().into());
        }
    };
    let Visitor { node, token, .. } = visitor;
    stream.check_node_name(node).map_err(TlsHandshakeError::from)?;
    if !doorkeeper.expects(node) {
        return Err(HandshakeError::WrongClient { came: node });
    }
    let Some(connection) = doorkeeper.admit_side(&visitor).await else {
        write(stream, &machine.refuse(Refusal::UnknownConnection)?).await.map_err(HandshakeError::Io)?;
        let _ = stream.shutdown().await;
        return Err(HandshakeError::JoinRefused(node));
    };
    let (welcome, talk) = machine.welcome()?;
    write(stream, &welcome).await.map_err(HandshakeError::Io)?;
    Ok(Guest { connection, token, talk })
}

/// Does what the one wants who dialed one more stream of a connection and came
/// in by this door. It has this place until it has said what it wants.
pub(in crate::network) async fn received(
    stream: Stream,
    guest: Guest,
    door: Option<&Arc<Acceptor>>,
    place: impl Send,
) {
    let Guest { connection, token, talk } = guest;
    let side = Side { stream, talk };
    match token {
        None => serve(side, &connection, door, place).await,
        Some(token) => Summoned::answer(&connection, token, Ok(side)),
    }
}

/// Dials the peer once more because it asks for that, and does what it wants; or
/// tells it why not.
pub(in crate::network) fn obey(connection: &Arc<Connection>, token: Token) {
    let peer = connection.peer.name;
    if !connection.peer.flags.allows(NetworkFlags::TUNNELS) {
        log!(connection.log, DEBUG, %peer, "asked to dial for a tunnel by a node that knows of none");
        return;
    }
    let place = match may_obey(connection) {
        Ok(place) => place,
        Err(reason) => {
            log!(connection.log, DEBUG, %peer, %reason, "asked to dial for a tunnel: not done");
            return connection.decline(token, reason);
        }
    };
    let node = connection.node().clone();
    let connection = connection.clone();
    let stopping = node.stopping.clone();
    let obeying = async move {
        let limit = connection.node().network.options.handshake_timeout;
        let dialed = tokio::time::timeout(limit, dial(&connection, Some(token), limit)).await;
        let reason = match dialed.unwrap_or(Err(TunnelError::Timeout { peer, limit })) {
            Ok(side) => {
                let door = Acceptor::behind(connection.node());
                return serve(side, &connection, door.as_ref(), place).await;
            }
            Err(error) => {
                log!(connection.log, DEBUG, %peer, %error, "asked to dial for a tunnel, in vain");
                if let TunnelError::Timeout { .. } = error { Refusal::TimedOut } else { Refusal::Unreachable }
            }
        };
        connection.decline(token, reason);
    };
    node.tasks.spawn_on(stopping.run_until_cancelled_owned(obeying), &node.runtime);
}

/// Whether the peer is dialed once more if it asks for that now.
fn may_obey(connection: &Connection) -> Result<Place<Atom>, Refusal> {
    let tunnels = &connection.node().network.tunnels;
    let is_useful = connection.allows(NetworkFlags::PROXY_ACCEPT)
        || tunnels.has_transit() && connection.allows(NetworkFlags::PROXY_TRANSIT);
    if connection.redial.is_none() || !connection.has_sides() || !is_useful {
        return Err(Refusal::NotAccepted);
    }
    let places = &tunnels.obeyed;
    places.take(connection.peer.name).ok_or(Refusal::TooManyRequests)
}

/// The peer does not dial once more although it was asked to.
pub(in crate::network) fn declined(connection: &Connection, token: Token, reason: Refusal) {
    Summoned::answer(connection, token, Err(reason));
}

/// Hears what the peer of a connection wants of a new stream, and does it.
/// Boxed, because a tunnel may lead through a tunnel.
fn serve<'a>(
    mut side: Side,
    connection: &'a Arc<Connection>,
    door: Option<&'a Arc<Acceptor>>,
    place: impl Send + 'a,
) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let network = &connection.node().network;
        let limit = network.options.handshake_timeout;
        let heard = tokio::time::timeout(limit, side.hear(connection.peer.name)).await;
        drop(place);
        match heard.unwrap_or(Err(TunnelError::Timeout { peer: connection.peer.name, limit })) {
            Ok(Request::Open(open)) => carry::carry(side, connection, open).await,
            Ok(Request::Arrival { operations, path }) => {
                arrive::arrive(side, connection, operations, path, door).await;
            }
            Ok(_) => {}
            Err(error) => {
                if let Some(unsaid) = network.complaints.about((connection.peer.name, Matter::Stream)) {
                    log!(connection.log, WARN, peer = %connection.peer.name, %error, unsaid, "a stream for a tunnel came to nothing");
                }
            }
        }
    })
}

fn nonce() -> [u8; 32] {
    rand::rng().random()
}

/// As much is read at once as a message has by far, in bytes.
const MUCH: usize = 1024;

type Outcome<T> = Result<T, Arc<std::io::Error>>;

async fn write(stream: &mut Stream, bytes: &[u8]) -> Outcome<()> {
    stream.write_all(bytes).await?;
    Ok(stream.flush().await?)
}

/// What has arrived, `most` bytes of it; nothing at the end.
async fn read(stream: &mut Stream, most: usize) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most.min(MUCH));
    match stream.take(most as u64).read_buf(&mut bytes).await {
        Ok(_) => Ok(bytes),
        // How a peer that was killed looks, or one that closed with unread bytes of ours.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(Arc::new(error)),
    }
}
