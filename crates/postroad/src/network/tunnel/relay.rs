//! Bytes both ways, as they come, no faster than they go.

use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::carried::{Carried, Direction};
use super::lent::Lender;
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::splice;
use crate::network::transport::{ReadHalf, Stream, WriteHalf};

/// Why a tunnel ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("both ends have closed")]
    Closed,
    #[error("closed by the operator")]
    Killed,
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error("broken: {0}")]
    Broken(#[from] io::Error),
}

/// How much must have come at once, in bytes, for the next portion to be spliced:
/// for less a pipe costs more than it saves.
const LARGE: usize = 32 << 10;

/// Passes bytes on until both ends have closed, one is lost, nothing comes any more, or
/// somebody closes the tunnel.
///
/// Nothing is taken before what was taken has been written: who is slow slows the
/// other end down, and costs one buffer or pipe here.
pub(super) async fn relay(client: Stream, target: Stream, carried: &Carried, lender: &Lender) -> End {
    let ((from_client, to_client), (from_target, to_target)) = (client.split(), target.split());
    let passing = async {
        tokio::try_join!(
            pass(from_client, to_target, Direction::ToTarget, carried, lender),
            pass(from_target, to_client, Direction::ToClient, carried, lender),
        )
    };
    let idle = async {
        match carried.limit {
            Some(limit) => {
                carried.idle(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = carried.closed.cancelled() => End::Killed,
        limit = idle => End::Idle(limit),
        outcome = passing => match outcome {
            Ok(_) => End::Closed,
            Err(error) => End::Broken(error),
        },
    }
}

/// Passes bytes on one way, until the source has closed; then its sink is closed as
/// far as this direction goes.
async fn pass(
    mut source: ReadHalf,
    mut sink: WriteHalf,
    direction: Direction,
    carried: &Carried,
    lender: &Lender,
) -> io::Result<()> {
    let mut last = 0;
    loop {
        let most = carried.portion();
        let mut wait = Duration::ZERO;
        let came = |bytes| wait = carried.passed(direction, bytes);
        last = if last < LARGE {
            copy(&mut source, &mut sink, lender, most, came).await?
        } else {
            splice(&mut source, &mut sink, lender, most, came).await?
        };
        if last == 0 {
            return sink.shutdown().await;
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Passes on what has come as soon as something has, and tells how much that is;
/// nothing at the end.
async fn copy(
    source: &mut ReadHalf,
    sink: &mut WriteHalf,
    lender: &Lender,
    most: usize,
    came: impl FnOnce(usize),
) -> io::Result<usize> {
    let (buffer, read) = std::future::poll_fn(|cx| {
        // Who waits has no buffer.
        let mut buffer = lender.buffer();
        let most = most.min(buffer.len());
        let mut part = ReadBuf::new(&mut buffer[..most]);
        ready!(Pin::new(&mut *source).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        Poll::Ready(io::Result::Ok((buffer, read)))
    })
    .await?;
    if read > 0 {
        came(read);
        sink.write_all(&buffer[..read]).await?;
        sink.flush().await?;
    }
    Ok(read)
}

/// The same without having the bytes here, where that can be done.
async fn splice(
    source: &mut ReadHalf,
    sink: &mut WriteHalf,
    lender: &Lender,
    most: usize,
    mut came: impl FnMut(usize),
) -> io::Result<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let (Some(from), Some(to)) = (source.socket(), sink.socket())
        && let Some(passed) = splice::pass(from, to, &lender.pipes, most, &mut came).await?
    {
        return Ok(passed);
    }
    copy(source, sink, lender, most, came).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postroad_wire::tunnel::Operations;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::Atom;
    use crate::network::TransitOptions;
    use crate::network::tunnel::Through;
    use crate::network::tunnel::account::{Accounts, Traffic};

    async fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (near, far) = tokio::join!(TcpStream::connect(("127.0.0.1", port)), listener.accept());
        (near.unwrap(), Stream::Tcp(far.unwrap().0))
    }

    struct Relay {
        client: TcpStream,
        target: TcpStream,
        carried: Arc<Carried>,
        /// Of the neighbours towards both ends.
        traffic: [Arc<Traffic>; 2],
        lender: Arc<Lender>,
        ended: tokio::task::JoinHandle<End>,
    }

    impl Relay {
        async fn start(options: TransitOptions) -> Self {
            let name = Atom::new("client@x").unwrap();
            let place = Accounts::default().place(name, name, &options).unwrap();
            let traffic = [Arc::<Traffic>::default(), Arc::default()];
            let through = Through { path: vec![], operations: Operations::NONE };
            let carried = Arc::new(Carried::new(1, place, traffic.clone(), through, options.idle));
            let ((client, near), (target, far)) = (pair().await, pair().await);
            let (lender, relayed) = (Arc::new(Lender::default()), carried.clone());
            let lent = lender.clone();
            let ended = tokio::spawn(async move { relay(near, far, &relayed, &lent).await });
            Self { client, target, carried, traffic, lender, ended }
        }

        fn counted(&self) -> [u64; 6] {
            let info = self.carried.info();
            let [near, far] = self.traffic.each_ref().map(|traffic| {
                [&traffic.came, &traffic.went].map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
            });
            [info.bytes_to_target, info.bytes_to_client, near[0], near[1], far[0], far[1]]
        }
    }

    /// Sends all of it and closes, while the other end takes it.
    async fn send(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
        let sending = async {
            from.write_all(bytes).await.unwrap();
            from.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(to.read_to_end(&mut got), sending);
        read.unwrap();
        assert!(got == bytes);
    }

    /// However it passes, all of it is there and counted, and one direction may be
    /// closed before the other one.
    #[tokio::test]
    async fn much_is_spliced_and_little_is_copied() {
        for (size, spliced) in
            [(8 << 20, cfg!(any(target_os = "linux", target_os = "android"))), (1000, false)]
        {
            let mut relay = Relay::start(TransitOptions::new()).await;
            let bytes: Vec<u8> = (0..size).map(|at| (at / 251) as u8).collect();
            send(&mut relay.client, &mut relay.target, &bytes).await;
            send(&mut relay.target, &mut relay.client, &bytes).await;
            assert_eq!(relay.counted(), [size as u64; 6]);
            assert!(matches!(relay.ended.await.unwrap(), End::Closed));
            #[cfg(any(target_os = "linux", target_os = "android"))]
            assert_eq!(relay.lender.pipes.free() > 0, spliced);
        }
    }

    /// What is limited passes in small portions, spliced or not.
    #[tokio::test(start_paused = true)]
    async fn limits_hold_for_what_is_spliced() {
        let begun = tokio::time::Instant::now();
        // Time is to pass for nothing else.
        let options = TransitOptions::new().bytes_per_second(1 << 20).idle(None);
        let mut relay = Relay::start(options).await;
        send(&mut relay.client, &mut relay.target, &vec![7; 8 << 20]).await;
        let took = begun.elapsed().as_secs_f64();
        assert!((6.5..7.5).contains(&took), "8 MiB at one a second, the first at once: {took}");
        #[cfg(any(target_os = "linux", target_os = "android"))]
        assert!(relay.lender.pipes.free() > 0);
    }
}
