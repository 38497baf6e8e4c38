//! A road to a Go node whose links can be cut one by one.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Forwards links to a port of 127.0.0.1, until it is dropped.
///
/// Ergo begins to read a new link while what came over the one it replaces
/// still waits in its buffers, and so lets later messages overtake earlier
/// ones. No sender can prevent that; it takes a road on which the new link comes
/// after the old one has been read to its end. This is such a road.
pub(crate) struct Bridge {
    pub(crate) port: u16,
    links: Arc<Mutex<VecDeque<Link>>>,
    /// Written while a link is being cut: no new one gets through.
    gate: Arc<RwLock<()>>,
    stop: CancellationToken,
}

struct Link {
    cut: CancellationToken,
    end: JoinHandle<()>,
}

impl Bridge {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (links, gate, stop) =
            (Arc::<Mutex<VecDeque<Link>>>::default(), Arc::<RwLock<()>>::default(), CancellationToken::new());
        let (open, passing, end) = (links.clone(), gate.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                let cut = end.child_token();
                let link = carry(near, target, passing.clone(), cut.clone());
                open.lock().push_back(Link { cut, end: tokio::spawn(link) });
            }
        }));
        Self { port, links, gate, stop }
    }

    /// Cuts the oldest link: this side loses it at once, the other has read and
    /// closed it when this returns.
    pub(crate) async fn cut(&self) {
        let _nobody_passes = self.gate.write().await;
        let link = {
            let mut links = self.links.lock();
            links.retain(|link| !link.end.is_finished());
            links.pop_front().expect("a link to cut")
        };
        link.cut.cancel();
        link.end.await.unwrap();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn carry(mut near: TcpStream, target: u16, gate: Arc<RwLock<()>>, cut: CancellationToken) {
    drop(gate.read().await);
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let whole = cut.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await;
    drop(near);
    if whole.is_none() {
        let _ = far.shutdown().await;
        let mut rest = [0; 4096];
        while matches!(far.read(&mut rest).await, Ok(read) if read > 0) {}
    }
}
