//! Where byte streams come from.
//!
//! A transport is anything that yields a stream: a TCP socket, with TLS or
//! without, a network in memory. Handshake, protocol and pools do not know
//! which.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use postroad_wire::ehs::Fingerprint;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ground::Ground;
use super::memory::{MemoryListener, MemoryReadHalf, MemoryStream, MemoryWriteHalf};
use super::plan::Stage;
use crate::Atom;
use crate::tls::{
    Answering, Asking, CertificateFault, Secured, TlsHandshakeError, TlsReadHalf, TlsWriteHalf,
};

/// How often the system asks a silent peer whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long the system tries to deliver what was sent. Probes are for silent
/// roads only; without this one that breaks while we write is given up after a
/// quarter of an hour.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNTAKEN: Duration = Duration::from_secs(45);

/// How long an address of a host is dialed before the next one is tried beside
/// it, as RFC 8305 recommends.
const START: Duration = Duration::from_millis(250);

/// A connected stream of bytes.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Memory(Box<MemoryStream>),
    Tls(Box<Secured>),
}

/// Where streams arrive that others open.
pub(super) enum Listener {
    Tcp(TcpListener),
    Memory(MemoryListener),
}

impl Listener {
    /// Waits for a stream; from where it comes.
    ///
    /// Cancel safe.
    pub(super) async fn accept(&mut self) -> io::Result<(Accepted, SocketAddr)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (socket, from) = listener.accept().await?;
                (Accepted(Stream::Tcp(socket)), from)
            }
            Self::Memory(listener) => {
                let (stream, from) = listener.accept().await?;
                (Accepted(Stream::Memory(Box::new(stream))), from)
            }
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Memory(listener) => Ok(listener.local_addr()),
        }
    }
}

/// A stream that somebody opened. It costs nothing yet.
pub(super) struct Accepted(Stream);

impl Accepted {
    /// Makes it ready for use.
    pub(super) fn prepare(self) -> io::Result<Stream> {
        if let Stream::Tcp(socket) = &self.0 {
            prepare(socket)?;
        }
        Ok(self.0)
    }
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Tcp(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsHandshakeError),
}

/// Where to dial, and how.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Without TLS if there is nothing.
    pub(crate) tls: Option<Asking>,
}

impl Stream {
    /// Connects to one of the addresses of a host, to reach `node`; within
    /// `timeout`, the name look-up and the TLS handshake included. Tells which
    /// stages were reached.
    pub(super) async fn dial(
        ground: &Ground,
        address: &Address,
        node: Atom,
        timeout: Duration,
        mut reached: impl FnMut(Stage),
    ) -> Result<Self, DialError> {
        let begun = Instant::now();
        let Address { host, port, tls } = address;
        let connecting = async {
            let found = ground.look_up(host, *port).await?;
            reached(Stage::Resolve);
            ground.connect(&found).await
        };
        let stream = tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| {
            let silence = format!("no connection within {timeout:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, silence))
        })?;
        reached(Stage::Dial);
        match tls {
            None => Ok(stream),
            Some(asking) => {
                let securing = asking.secure(stream, host, node);
                let left = timeout.saturating_sub(begun.elapsed());
                let secured = tokio::time::timeout(left, securing)
                    .await
                    .unwrap_or(Err(TlsHandshakeError::Timeout(timeout)))?;
                reached(Stage::Tls);
                Ok(Self::Tls(Box::new(secured)))
            }
        }
    }

    /// A socket that is connected, ready for use.
    pub(super) fn prepared(socket: TcpStream) -> io::Result<Self> {
        prepare(&socket)?;
        Ok(Self::Tcp(socket))
    }

    /// Waits for the first byte, without taking it; whether the end came instead. Of a
    /// stream that is no socket nobody can tell, and it says no.
    pub(super) async fn ends_unsaid(&self) -> bool {
        match self {
            Self::Tcp(socket) => match socket.peek(&mut [0]).await {
                Ok(count) => count == 0,
                Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
            },
            Self::Memory(_) | Self::Tls(_) => false,
        }
    }

    /// Makes a stream secure that somebody opened, if it shall be. Waits for
    /// the peer as long as it likes.
    pub(crate) async fn answer(self, tls: Option<&Answering>) -> Result<Self, TlsHandshakeError> {
        Ok(match tls {
            None => self,
            Some(answering) => Self::Tls(Box::new(answering.secure(self).await?)),
        })
    }

    /// This end.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Memory(stream) => Ok(stream.local_addr()),
            Self::Tls(secured) => secured.stream.get_ref().0.local_addr(),
        }
    }

    /// Of the certificate that the accepting side served, if the cookie is to
    /// be bound to it.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Tcp(_) | Self::Memory(_) => None,
            Self::Tls(secured) => secured.fingerprint,
        }
    }

    /// Whether there is TLS with the peer.
    pub(crate) fn has_tls(&self) -> bool {
        matches!(self, Self::Tls(secured) if !secured.with_neighbour)
    }

    /// The same as the end of a tunnel: its TLS, if there is any, is with the
    /// gateway, and says nothing about the node at the other end.
    pub(crate) fn carried(mut self) -> Self {
        if let Self::Tls(secured) = &mut self {
            secured.is_with_neighbour();
        }
        self
    }

    /// Whether who dialed has shown a certificate, which was good.
    pub(crate) fn client_has_shown_certificate(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.client_has_shown)
    }

    /// Whether the certificate of who dialed, if its names count, has this one.
    pub(crate) fn check_node_name(&self, node: Atom) -> Result<(), CertificateFault> {
        match self {
            Self::Tcp(_) | Self::Memory(_) => Ok(()),
            Self::Tls(secured) => secured.check_node_name(node),
        }
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Tcp { half: read, read: 0, mark: 0 }, WriteHalf::Tcp(write))
            }
            Self::Memory(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Memory { half: read, read: 0, mark: 0 }, WriteHalf::Memory(write))
            }
            Self::Tls(secured) => {
                let (read, write) = crate::tls::split(secured.stream);
                (ReadHalf::Tls(Box::new(read)), WriteHalf::Tls(Box::new(write)))
            }
        }
    }
}

/// Connects to the first of these addresses that answers. Each has a start over
/// the next, so that one which swallows everything, as IPv6 does in many places,
/// does not use up the time of all.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut dials = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in addresses {
        dials.spawn(TcpStream::connect(*address));
        match tokio::time::timeout(START, dials.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
    while let Some(dialed) = dials.join_next().await {
        match dialed {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

/// Listens on TCP at an address.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted node gets its port back at once.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Small writes go out without delay, a peer that is gone is noticed, and so is
/// one that takes nothing of what is sent.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let options = SockRef::from(socket);
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    options.set_tcp_user_timeout(Some(UNTAKEN))?;
    Ok(())
}

/// The incoming half of a stream.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp {
        half: OwnedReadHalf,
        /// How many bytes were read.
        read: u64,
        /// How many bytes had come in when that was noted.
        mark: u64,
    },
    Memory {
        half: MemoryReadHalf,
        read: u64,
        mark: u64,
    },
    Tls(Box<TlsReadHalf>),
}

/// The outgoing half of a stream; dropped, it tells the peer that nothing
/// more will come.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Memory(MemoryWriteHalf),
    Tls(Box<TlsWriteHalf>),
}

impl ReadHalf {
    /// Notes how much has arrived at this moment. Asks the system, because what
    /// the runtime knows may be a moment old.
    pub(crate) fn mark_arrived(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp { half, read, mark } => {
                *mark = *read + rustix::io::ioctl_fionread(half.as_ref())?;
                Ok(())
            }
            Self::Memory { half, read, mark } => {
                *mark = *read + half.arrived();
                Ok(())
            }
            Self::Tls(half) => half.mark_arrived(),
        }
    }

    /// The socket, if there is nothing between it and whoever reads.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp { half, .. } => Some(half.as_ref()),
            Self::Memory { .. } | Self::Tls(_) => None,
        }
    }

    /// How much of what had arrived when it was noted has not been read. It may
    /// be less: what arrived encrypted is counted as it comes.
    pub(crate) fn below_mark(&self) -> u64 {
        match self {
            Self::Tcp { read, mark, .. } | Self::Memory { read, mark, .. } => mark.saturating_sub(*read),
            Self::Tls(half) if half.has_read_marked() => 0,
            Self::Tls(_) => u64::MAX,
        }
    }

    /// Whether everything has been read that had arrived when it was noted.
    pub(crate) fn has_read_marked(&self) -> bool {
        match self {
            Self::Tcp { read, mark, .. } | Self::Memory { read, mark, .. } => read >= mark,
            Self::Tls(half) => half.has_read_marked(),
        }
    }
}

impl WriteHalf {
    /// The socket, if there is nothing between it and whoever writes.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Memory(_) | Self::Tls(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp { half, read, .. } => {
                let before = buf.filled().len();
                let outcome = Pin::new(half).poll_read(cx, buf);
                *read += (buf.filled().len() - before) as u64;
                outcome
            }
            Self::Memory { half, read, .. } => {
                let before = buf.filled().len();
                let outcome = Pin::new(half).poll_read(cx, buf);
                *read += (buf.filled().len() - before) as u64;
                outcome
            }
            Self::Tls(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Memory(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Tls(half) => Pin::new(half).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(half) => Pin::new(half).poll_flush(cx),
            Self::Memory(half) => Pin::new(half).poll_flush(cx),
            Self::Tls(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Self::Memory(half) => Pin::new(half).poll_shutdown(cx),
            Self::Tls(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    /// A full queue swallows all further attempts, as a firewall does.
    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_use_up_the_time_of_the_next() {
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let full = full.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(queued) = tokio::time::timeout(START, TcpStream::connect(silent)).await {
            waiting.push(queued.unwrap());
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        for addresses in [[silent, good], [good, silent]] {
            let connected = tokio::time::timeout(Duration::from_secs(10), connect(&addresses)).await;
            assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), good);
        }
        assert_eq!(connect(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn the_system_gives_up_what_it_cannot_deliver() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        prepare(&socket).unwrap();
        assert_eq!(SockRef::from(&socket).tcp_user_timeout().unwrap(), Some(UNTAKEN));
    }
}
