//! From socket to socket by way of a pipe: the bytes stay in the system.
//!
//! A portion has left the pipe before the next one comes. So when the system says
//! that somebody would have to wait it is clear for whom: who fills waits for the
//! source, who empties for the sink.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// There are so many pipes at most: each is two files. Who gets none copies.
const MOST: usize = 64;

/// So much is moved at once, in bytes: what a pipe holds.
const PORTION: usize = 64 << 10;

/// The number of the signal.
const SIGPIPE: u32 = 13;

/// Nobody waits in the system.
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// The pipes of a node.
#[derive(Debug)]
pub(super) struct Pipes {
    empty: Mutex<Vec<Pipe>>,
    more: Arc<Semaphore>,
}

/// Whoever drops it with something in it has it closed.
#[derive(Debug)]
struct Pipe {
    inner: OwnedFd,
    outer: OwnedFd,
    holds: usize,
    _one: OwnedSemaphorePermit,
}

/// Passes on what is there, `most` bytes at most, and tells `came` as soon as it
/// is here. Nothing if that cannot be done this way: then it is still there.
///
/// Waits for the source without a pipe. Not cancel safe.
pub(super) async fn pass(
    source: &TcpStream,
    sink: &TcpStream,
    pipes: &Pipes,
    most: usize,
    came: impl FnOnce(usize),
) -> io::Result<Option<usize>> {
    loop {
        source.readable().await?;
        let Some(mut pipe) = pipes.take() else { return Ok(None) };
        let filled = source.try_io(Interest::READABLE, || pipe.fill(source, most));
        match filled {
            Ok(filled) => {
                came(filled);
                while pipe.holds > 0 {
                    sink.async_io(Interest::WRITABLE, || pipe.empty(sink)).await?;
                }
                pipes.give_back(pipe);
                return Ok(Some(filled));
            }
            Err(error) => {
                pipes.give_back(pipe);
                match error.kind() {
                    io::ErrorKind::WouldBlock => {}
                    // This system, or this kind of socket, is not to be spliced.
                    io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::PermissionDenied => return Ok(None),
                    // It is told once only: whoever reads next would see a regular end.
                    _ => return Err(error),
                }
            }
        }
    }
}

impl Pipes {
    fn take(&self) -> Option<Pipe> {
        if !broken_pipes_are_ignored() {
            return None;
        }
        let kept = self.empty.lock().pop();
        kept.or_else(|| Pipe::new(self.more.clone().try_acquire_owned().ok()?).ok())
    }

    fn give_back(&self, pipe: Pipe) {
        self.empty.lock().push(pipe);
    }

    /// How many pipes there are that nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.empty.lock().len()
    }
}

/// Whether a write to a stream that was reset is an error. Where `SIGPIPE` has its
/// effect it would be the end of the program: sockets are written to without it,
/// but a splice cannot be told so.
fn broken_pipes_are_ignored() -> bool {
    static IGNORED: LazyLock<bool> = LazyLock::new(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (SIGPIPE - 1)) != 0)
    });
    *IGNORED
}

impl Default for Pipes {
    fn default() -> Self {
        Self { empty: Mutex::default(), more: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Pipe {
    fn new(one: OwnedSemaphorePermit) -> io::Result<Self> {
        let (outer, inner) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        Ok(Self { inner, outer, holds: 0, _one: one })
    }

    fn fill(&mut self, source: &TcpStream, most: usize) -> io::Result<usize> {
        self.holds = splice(source, None, &self.inner, None, most.min(PORTION), FLAGS)?;
        Ok(self.holds)
    }

    fn empty(&mut self, sink: &TcpStream) -> io::Result<()> {
        self.holds -= splice(&self.outer, None, sink, None, self.holds, FLAGS)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The two ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (near, far) = tokio::join!(TcpStream::connect(("127.0.0.1", port)), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    fn kept(pipes: &Pipes) -> (usize, usize) {
        (pipes.free(), pipes.more.available_permits())
    }

    /// As a copy would be: and not taken for a regular end.
    #[tokio::test]
    async fn a_source_that_is_reset_is_an_error() {
        let ((client, source), (sink, _target)) = (pair().await, pair().await);
        let pipes = Pipes::default();
        client.set_zero_linger().unwrap();
        drop(client);
        let error = pass(&source, &sink, &pipes, usize::MAX, |_| ()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(kept(&pipes), (1, MOST - 1), "an empty pipe is kept");
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order_and_the_pipe_comes_back() {
        let ((mut client, source), (sink, mut target)) = (pair().await, pair().await);
        let (pipes, total) = (Pipes::default(), 3 << 20);
        let sent: Vec<u8> = (0..total).map(|at| (at / 251) as u8).collect();
        let sending = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let passing = async {
            let mut counted = 0;
            while pass(&source, &sink, &pipes, usize::MAX, |came| counted += came).await.unwrap() != Some(0) {
            }
            assert_eq!(counted, total);
            drop(sink);
        };
        let mut got = Vec::new();
        let (read, ..) = tokio::join!(target.read_to_end(&mut got), sending, passing);
        assert_eq!(read.unwrap(), total);
        assert!(got == sent);
        assert_eq!(kept(&pipes), (1, MOST - 1), "one was enough, and is free again");
    }

    #[tokio::test]
    async fn no_more_passes_at_once_than_may() {
        let ((mut client, source), (sink, mut target)) = (pair().await, pair().await);
        let pipes = Pipes::default();
        client.write_all(&[7; 1500]).await.unwrap();
        for left in [1000, 500] {
            source.readable().await.unwrap();
            assert_eq!(pass(&source, &sink, &pipes, 1000, |_| ()).await.unwrap(), Some(left));
        }
        target.read_exact(&mut [0; 1500]).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_has_no_pipe() {
        let ((_client, source), (sink, _target)) = (pair().await, pair().await);
        let pipes = Pipes::default();
        let mut passing = std::pin::pin!(pass(&source, &sink, &pipes, usize::MAX, |_| ()));
        let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(passing.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        let (empty, more) = kept(&pipes);
        assert_eq!(empty + more, MOST);
    }

    /// What was on its way is counted, and nobody else gets to see it.
    #[tokio::test]
    async fn a_pipe_with_something_left_in_it_is_closed() {
        let ((mut client, source), (sink, target)) = (pair().await, pair().await);
        let (pipes, mut counted) = (Pipes::default(), 0);
        socket2::SockRef::from(&target).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(target);
        sink.readable().await.unwrap();
        client.write_all(&[7; 1000]).await.unwrap();
        pass(&source, &sink, &pipes, usize::MAX, |came| counted += came).await.unwrap_err();
        assert_eq!((counted, kept(&pipes)), (1000, (0, MOST)));
    }

    #[tokio::test]
    async fn without_a_pipe_nothing_is_taken() {
        let ((mut client, mut source), (sink, _target)) = (pair().await, pair().await);
        let pipes = Pipes { more: Arc::new(Semaphore::new(0)), ..Pipes::default() };
        client.write_all(b"still there").await.unwrap();
        assert_eq!(pass(&source, &sink, &pipes, usize::MAX, |_| ()).await.unwrap(), None);
        let mut bytes = [0; 11];
        source.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"still there");
    }
}
