//! A road that can be cut: forwards TCP connections to an address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Forwards what comes in on a port of its own, until it is cut.
pub(super) struct Road {
    pub(super) name: &'static str,
    pub(super) entrance: SocketAddr,
    carried: Arc<Carried>,
    tasks: TaskTracker,
    cut: CancellationToken,
}

#[derive(Default)]
struct Carried {
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Road {
    /// Opens a road to `exit`.
    pub(super) async fn open(name: &'static str, exit: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let road = Self {
            name,
            entrance: listener.local_addr()?,
            carried: Arc::default(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        };
        let (carried, tasks, cut) = (road.carried.clone(), road.tasks.clone(), road.cut.clone());
        road.tasks.spawn(road.cut.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                carried.connections.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(cut.clone().run_until_cancelled_owned(forward(near, exit, carried.clone())));
            }
        }));
        Ok(road)
    }

    /// Closes the entrance and every connection under way. Nothing of the road
    /// is left when this returns.
    pub(super) async fn cut(&self) {
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many connections it has taken.
    pub(super) fn connections(&self) -> u64 {
        self.carried.connections.load(Ordering::Relaxed)
    }

    /// How many bytes it has carried, both ways.
    pub(super) fn bytes(&self) -> u64 {
        self.carried.bytes.load(Ordering::Relaxed)
    }
}

/// Both ends are closed when one of them is.
async fn forward(near: TcpStream, exit: SocketAddr, carried: Arc<Carried>) {
    let Ok(far) = TcpStream::connect(exit).await else { return };
    // What is small is forwarded at once; a socket that refuses only makes it later.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    // The connection is over for whoever watches the other end of it.
    let _ = tokio::try_join!(copy(from_near, to_far, &carried), copy(from_far, to_near, &carried));
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    carried: &Carried,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..len]).await?;
        carried.bytes.fetch_add(len as u64, Ordering::Relaxed);
    }
}
