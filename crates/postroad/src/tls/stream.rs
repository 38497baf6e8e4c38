//! A stream with TLS in two halves.
//!
//! Both share the session behind a lock that is held to encrypt or decrypt a
//! portion, never while the socket is read or written: neither half waits for
//! the other's road.

use std::io::{self, Read as _, Write as _};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use rustls::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::network::{ReadHalf, Stream, WriteHalf};

/// So much is read from the socket at once, in bytes.
const RECEIVE: usize = 64 << 10;

/// So much is encrypted at once, in bytes: eight records.
const PORTION: usize = 128 << 10;

/// Room for what is sent is kept up to this, in bytes: enough for small messages.
const KEPT: usize = 4 << 10;

/// The incoming half.
#[derive(Debug)]
pub(crate) struct TlsReadHalf {
    socket: ReadHalf,
    session: Arc<Mutex<Connection>>,
    /// What came from the socket; `taken` of it has been decrypted.
    received: Vec<u8>,
    taken: usize,
    progress: Progress,
    /// What ended the session. It comes up after what was good has been handed over.
    broken: Option<rustls::Error>,
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
    /// The place in the stream up to which it had arrived, as far as that was
    /// read, and the place in the plain bytes that this was found to be.
    mark: u64,
    plain_mark: u64,
}

/// The outgoing half. What was accepted by `write` is on its way after `flush`.
/// Dropped, it tells the peer that nothing more will come, as far as that is
/// possible without waiting.
#[derive(Debug)]
pub(crate) struct TlsWriteHalf {
    socket: WriteHalf,
    session: Arc<Mutex<Connection>>,
    /// Encrypted bytes, `sent` of which the system has taken.
    out: Vec<u8>,
    sent: usize,
    said_goodbye: bool,
}

/// Splits a stream whose handshake is over.
pub(crate) fn split(stream: TlsStream<Stream>) -> (TlsReadHalf, TlsWriteHalf) {
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
    let (read, write) = socket.split();
    let read = TlsReadHalf {
        socket: read,
        session: session.clone(),
        received: Vec::new(),
        taken: 0,
        progress: Progress { plain, ..Progress::default() },
        broken: None,
    };
    (read, TlsWriteHalf { socket: write, session, out: Vec::new(), sent: 0, said_goodbye: false })
}

impl TlsReadHalf {
    /// Notes how much has arrived at this moment, in the system's buffer and
    /// here.
    pub(crate) fn mark_arrived(&mut self) -> io::Result<()> {
        self.socket.mark_arrived()?;
        let progress = &mut self.progress;
        progress.mark = progress.decrypted + (self.received.len() - self.taken) as u64;
        progress.plain_mark = progress.plain;
        Ok(())
    }

    /// Whether everything was handed over that had arrived when it was noted:
    /// all whole records of it.
    pub(crate) fn has_read_marked(&self) -> bool {
        let progress = &self.progress;
        self.socket.has_read_marked()
            && progress.decrypted >= progress.mark
            && progress.handed_over >= progress.plain_mark
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
                    if buf.remaining() == 0 {
                        return Ok(false);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match &self.broken {
                    Some(error) if buf.filled().len() == before => {
                        return Err(io::Error::other(error.clone()));
                    }
                    Some(_) => return Ok(false),
                    None => {}
                },
                // A program that was killed says no goodbye; frames say how long they are,
                // so whoever cuts the stream gains nothing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                Err(error) => return Err(error),
            }
            let mut waiting = &self.received[self.taken..];
            if waiting.is_empty() {
                return Ok(false);
            }
            let taken = session.read_tls(&mut waiting)?;
            self.taken += taken;
            let state = match session.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.broken = Some(error);
                    continue;
                }
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

    /// Reads from the socket, after everything has been decrypted. Who waits has no
    /// buffer.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.clear();
        self.taken = 0;
        self.received.reserve_exact(RECEIVE);
        let outcome = pin!(self.socket.read_buf(&mut self.received)).poll(cx);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        outcome
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
            let below_mark = this.socket.below_mark();
            let received = ready!(this.poll_receive(cx))?;
            if below_mark > 0 {
                this.progress.mark = this.progress.decrypted + below_mark.min(received as u64);
            }
            if received == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl TlsWriteHalf {
    /// Takes what the session has to send; room for a portion is made at once.
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
        // What the system does not take now goes with the next call. If the road is
        // broken that one says so: a part may have gone out by now, and what is said
        // not to be taken is sent again on another link.
        let _ = this.poll_out(cx);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        Pin::new(&mut self.socket).poll_flush(cx)
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
            let _ = self.poll_out(&mut Context::from_waker(Waker::noop()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::tls::{Answering, Asking, Identity, TlsOptions, Trust};

    /// Two ends of a stream with TLS.
    async fn pair() -> (TlsStream<Stream>, TlsStream<Stream>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let identity =
            Identity::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
        let server = Answering::new(&TlsOptions::new().identity(identity.unwrap())).unwrap();
        let client = Asking::new(&TlsOptions::new().insecure_skip_verify(true), Trust::system).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let near = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let node = crate::Atom::new("node@localhost").unwrap();
        let (near, far) = (Stream::Tcp(near), Stream::Tcp(far));
        let (near, far) = tokio::join!(client.secure(near, "localhost", node), server.secure(far));
        (near.unwrap().stream, far.unwrap().stream)
    }

    async fn arrived(socket: &ReadHalf, bytes: u64) {
        let ReadHalf::Tcp { half, .. } = socket else { panic!("it is plain") };
        let socket = half.as_ref();
        while rustix::io::ioctl_fionread(socket).unwrap() < bytes {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn tells_when_all_that_had_arrived_was_handed_over() {
        let (near, far) = pair().await;
        let ((mut read, _near), (_far, mut write)) = (split(near), split(far));
        write.write_all(&[7; 40_000]).await.unwrap();
        write.flush().await.unwrap();
        arrived(&read.socket, 40_000).await;
        read.mark_arrived().unwrap();
        // What comes later does not count.
        write.write_all(&[8; 40_000]).await.unwrap();
        write.flush().await.unwrap();
        let mut bytes = [0; 1000];
        for _ in 0..40 {
            assert!(!read.has_read_marked());
            read.read_exact(&mut bytes).await.unwrap();
        }
        assert!(read.has_read_marked());
        read.mark_arrived().unwrap();
        assert!(!read.has_read_marked());
        for _ in 0..40 {
            read.read_exact(&mut bytes).await.unwrap();
        }
        assert!(read.has_read_marked());
    }

    /// The rest of a record may take its time.
    #[tokio::test]
    async fn a_part_of_a_record_is_not_waited_for() {
        let (near, far) = pair().await;
        let (mut read, _near) = split(near);
        let TlsStream::Server(far) = far else { panic!("the accepting end") };
        let (mut socket, mut session) = far.into_inner();
        session.writer().write_all(&[7; 1000]).unwrap();
        let mut record = Vec::new();
        session.write_tls(&mut record).unwrap();
        let (front, rest) = record.split_at(record.len() / 2);
        socket.write_all(front).await.unwrap();
        arrived(&read.socket, front.len() as u64).await;
        read.mark_arrived().unwrap();
        assert!(!read.has_read_marked());
        let mut bytes = [0; 1000];
        // The runtime may not have noticed yet that something is there.
        std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut read).poll_read(cx, &mut ReadBuf::new(&mut bytes)).is_pending());
            if read.has_read_marked() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        socket.write_all(rest).await.unwrap();
        read.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [7; 1000]);
    }

    /// What came in behind the handshake has arrived as well.
    #[tokio::test]
    async fn what_was_decrypted_before_the_split_counts() {
        let (mut near, mut far) = pair().await;
        far.write_all(b"hello world").await.unwrap();
        far.flush().await.unwrap();
        near.read_exact(&mut [0; 5]).await.unwrap();
        let (mut read, _near) = split(near);
        read.mark_arrived().unwrap();
        assert!(!read.has_read_marked());
        read.read_exact(&mut [0; 6]).await.unwrap();
        assert!(read.has_read_marked());
    }

    /// Streams by the thousand have nothing to say most of the time.
    #[tokio::test]
    async fn who_waits_has_no_buffer() {
        let (near, far) = pair().await;
        let ((mut read, _near), (_far, mut write)) = (split(near), split(far));
        let mut bytes = vec![0; 100_000];
        write.write_all(&bytes).await.unwrap();
        let room = write.out.capacity();
        assert!(
            room > bytes.len() && room < bytes.len() + 1000,
            "as much as a portion needs, at once: {room}"
        );
        let (written, got) = tokio::join!(write.flush(), read.read_exact(&mut bytes));
        written.unwrap();
        got.unwrap();
        std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut read).poll_read(cx, &mut ReadBuf::new(&mut bytes)).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!((read.received.capacity(), write.out.capacity()), (0, 0));
    }

    /// Who is told that nothing was taken sends it again.
    #[tokio::test]
    async fn what_a_broken_road_may_have_taken_counts_as_taken() {
        let (near, far) = pair().await;
        let (_read, mut write) = split(near);
        let TlsStream::Server(far) = far else { panic!("the accepting end") };
        let (Stream::Tcp(socket), _session) = far.into_inner() else { panic!("it is TCP") };
        socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(socket);
        let bytes = vec![7; 2 * PORTION];
        let mut written = 0;
        let error = loop {
            match write.write(&bytes).await {
                Ok(taken) => written += taken,
                Err(error) => break error,
            }
        };
        assert!(written >= PORTION, "it was encrypted, and handed to the system: {written}, {error}");
        assert!(write.write(&bytes).await.is_err());
    }

    #[tokio::test]
    async fn each_half_ends_for_itself() {
        let (near, far) = pair().await;
        let ((mut near_read, mut near_write), (mut far_read, far_write)) = (split(near), split(far));
        drop(far_write);
        assert_eq!(near_read.read(&mut [0; 1]).await.unwrap(), 0);
        let state = near_read.session.lock().process_new_packets().unwrap();
        assert!(state.peer_has_closed(), "it said goodbye");
        // The other direction is still open.
        near_write.write_all(b"still here").await.unwrap();
        near_write.shutdown().await.unwrap();
        let mut heard = Vec::new();
        far_read.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"still here");
        assert!(far_read.session.lock().process_new_packets().unwrap().peer_has_closed());
    }

    #[tokio::test]
    async fn what_was_changed_on_the_way_is_an_error() {
        let (near, far) = pair().await;
        let (mut read, _near) = split(near);
        let TlsStream::Server(far) = far else { panic!("the accepting end") };
        let (mut socket, mut session) = far.into_inner();
        session.writer().write_all(&[7; 100]).unwrap();
        let mut records = Vec::new();
        session.write_tls(&mut records).unwrap();
        session.writer().write_all(&[8; 100]).unwrap();
        session.write_tls(&mut records).unwrap();
        *records.last_mut().unwrap() ^= 1;
        socket.write_all(&records).await.unwrap();
        let mut bytes = [0; 100];
        read.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [7; 100], "what was good is handed over");
        assert!(read.read(&mut bytes).await.is_err());
        assert!(read.read(&mut bytes).await.is_err());
    }
}
