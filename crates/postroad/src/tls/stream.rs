//! A stream with TLS in two halves.
//!
//! Both share the session behind a lock that is held to encrypt or decrypt a
//! portion, never while the socket is read or written: neither half waits for
//! the other's road.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsStream;

/// So much is read from the socket at once, in bytes.
const RECEIVE: usize = 64 << 10;

/// So much is encrypted at once, in bytes: eight records.
const PORTION: usize = 128 << 10;

/// The incoming half.
#[derive(Debug)]
pub(crate) struct TlsReadHalf {
    socket: OwnedReadHalf,
    session: Arc<Mutex<Connection>>,
    /// What came from the socket; `waiting` of it has not been decrypted yet.
    received: Box<[u8]>,
    waiting: std::ops::Range<usize>,
    progress: Progress,
}

/// How far a reader is, to tell when what had arrived by a certain moment has
/// been handed over.
#[derive(Debug, Default)]
struct Progress {
    /// How many bytes of the stream were decrypted, how many bytes that gave,
    /// and how many of these were handed over.
    decrypted: u64,
    plain: u64,
    handed_over: u64,
    /// The place in the stream up to which it had arrived, and the place in the
    /// plain bytes that this was found to be.
    mark: u64,
    plain_mark: u64,
}

/// The outgoing half. What was accepted by `write` is on its way after `flush`.
/// Dropped, it tells the peer that nothing more will come, as far as that is
/// possible without waiting.
#[derive(Debug)]
pub(crate) struct TlsWriteHalf {
    socket: OwnedWriteHalf,
    session: Arc<Mutex<Connection>>,
    /// Encrypted bytes, `sent` of which the system has taken.
    out: Vec<u8>,
    sent: usize,
    said_goodbye: bool,
}

/// Splits a stream whose handshake is over.
pub(crate) fn split(stream: TlsStream<TcpStream>) -> (TlsReadHalf, TlsWriteHalf) {
    let (socket, mut session) = match stream {
        TlsStream::Client(stream) => {
            let (socket, session) = stream.into_inner();
            (socket, Connection::Client(session))
        }
        TlsStream::Server(stream) => {
            let (socket, session) = stream.into_inner();
            (socket, Connection::Server(session))
        }
    };
    session.set_buffer_limit(None);
    // What came in behind the handshake. An error comes up again when it is read.
    let plain = session.process_new_packets().map_or(0, |state| state.plaintext_bytes_to_read()) as u64;
    let session = Arc::new(Mutex::new(session));
    let (read, write) = socket.into_split();
    let read = TlsReadHalf {
        socket: read,
        session: session.clone(),
        received: vec![0; RECEIVE].into_boxed_slice(),
        waiting: 0..0,
        progress: Progress { plain, ..Progress::default() },
    };
    (read, TlsWriteHalf { socket: write, session, out: Vec::new(), sent: 0, said_goodbye: false })
}

impl TlsReadHalf {
    /// Notes how much has arrived at this moment, in the system's buffer and
    /// here.
    pub(crate) fn mark_arrived(&mut self) -> io::Result<()> {
        let progress = &mut self.progress;
        let arrived = rustix::io::ioctl_fionread(self.socket.as_ref())? + self.waiting.len() as u64;
        progress.mark = progress.decrypted + arrived;
        progress.plain_mark = progress.plain;
        Ok(())
    }

    /// Whether everything was handed over that had arrived when it was noted:
    /// all whole records of it.
    pub(crate) fn has_read_marked(&self) -> bool {
        let progress = &self.progress;
        progress.decrypted >= progress.mark && progress.handed_over >= progress.plain_mark
    }

    /// Fills `buf` from what is here already; true if the stream has ended.
    fn take(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let before = buf.filled().len();
        let mut session = self.session.lock();
        loop {
            match session.reader().read(buf.initialize_unfilled()) {
                Ok(0) => return Ok(true),
                Ok(n) => {
                    buf.advance(n);
                    self.progress.handed_over += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A program that was killed says no goodbye; frames say how long they are,
                // so whoever cuts the stream gains nothing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                Err(error) => return Err(error),
            }
            if buf.remaining() == 0 || self.waiting.is_empty() {
                return Ok(false);
            }
            let mut waiting = &self.received[self.waiting.clone()];
            let taken = session.read_tls(&mut waiting)?;
            self.waiting.start += taken;
            let state = match session.process_new_packets() {
                Ok(state) => state,
                // It comes up again, after what was good has been handed over.
                Err(_) if buf.filled().len() > before => return Ok(false),
                Err(error) => return Err(io::Error::other(error)),
            };
            let progress = &mut self.progress;
            let below_mark = progress.decrypted < progress.mark;
            progress.decrypted += taken as u64;
            progress.plain = progress.handed_over + state.plaintext_bytes_to_read() as u64;
            if below_mark {
                progress.plain_mark = progress.plain;
            }
            if taken == 0 {
                return Ok(true);
            }
        }
    }
}

impl AsyncRead for TlsReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        loop {
            let ended = this.take(buf)?;
            if ended || buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut received = ReadBuf::new(&mut this.received);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut received))?;
            this.waiting = 0..received.filled().len();
            if this.waiting.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl TlsWriteHalf {
    /// Takes what the session has to send.
    fn collect(out: &mut Vec<u8>, session: &mut Connection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(out)?;
        }
        Ok(())
    }

    /// Hands everything to the system.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn say_goodbye(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.said_goodbye, true) {
            return Ok(());
        }
        let mut session = self.session.lock();
        session.send_close_notify();
        Self::collect(&mut self.out, &mut session)
    }
}

impl AsyncWrite for TlsWriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_out(cx))?;
        let taken = {
            let mut session = this.session.lock();
            let taken = session.writer().write(&bytes[..bytes.len().min(PORTION)])?;
            Self::collect(&mut this.out, &mut session)?;
            taken
        };
        // What the system does not take now goes with the next call.
        let _ = this.poll_out(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_goodbye()?;
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for TlsWriteHalf {
    fn drop(&mut self) {
        // Half of a record must not be followed by the start of another one.
        if self.say_goodbye().is_ok() {
            let _ = self.socket.try_write(&self.out[self.sent..]);
        }
    }
}
