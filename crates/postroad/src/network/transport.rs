//! Where byte streams come from.
//!
//! A transport is anything that yields a stream: a TCP socket here, a pair of
//! pipes in tests. Handshake, protocol and pools do not know which.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// How often the system asks a silent peer whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long the system tries to deliver what was sent. Probes are for silent
/// roads only; without this one that breaks while we write is given up after a
/// quarter of an hour.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNTAKEN: Duration = Duration::from_secs(45);

/// A connected stream of bytes.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
}

impl Stream {
    /// Connects to the addresses of `host` in turn; within `timeout`, the name
    /// look-up included.
    pub(crate) async fn dial(host: &str, port: u16, timeout: Duration) -> io::Result<Self> {
        let connect = async { Self::tcp(TcpStream::connect((host, port)).await?) };
        tokio::time::timeout(timeout, connect).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {timeout:?}")))
        })
    }

    /// Takes a connected socket: without delay for small writes, with
    /// keepalive probes, and with a limit to how long what is sent may not be
    /// taken.
    pub(crate) fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let options = SockRef::from(&socket);
        options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        options.set_tcp_user_timeout(Some(UNTAKEN))?;
        Ok(Self { socket })
    }

    /// This end.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        let (read, write) = self.socket.into_split();
        (ReadHalf(read), WriteHalf(write))
    }
}

/// The incoming half of a stream.
#[derive(Debug)]
pub(crate) struct ReadHalf(OwnedReadHalf);

/// The outgoing half of a stream; dropped, it tells the peer that nothing
/// more will come.
#[derive(Debug)]
pub(crate) struct WriteHalf(OwnedWriteHalf);

impl ReadHalf {
    /// How many bytes lie in the system's buffer at this moment. Asks the
    /// system, because what the runtime knows may be a moment old.
    pub(crate) fn arrived(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(self.0.as_ref())?)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_gives_up_what_it_cannot_deliver() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = Stream::dial("127.0.0.1", port, Duration::from_secs(10)).await.unwrap();
        assert_eq!(SockRef::from(&stream.socket).tcp_user_timeout().unwrap(), Some(UNTAKEN));
    }
}
