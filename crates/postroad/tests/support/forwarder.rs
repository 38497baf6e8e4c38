//! A road that can be cut: a TCP forwarder.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Forwards connections to a port of 127.0.0.1, until it is dropped.
pub struct Forwarder {
    pub port: u16,
    cut: Arc<parking_lot::Mutex<CancellationToken>>,
    accepted: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Forwarder {
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(parking_lot::Mutex::new(CancellationToken::new()));
        let accepted = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let (cuts, count, end) = (cut.clone(), accepted.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let cut = cuts.lock().clone();
                let end = end.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = end.cancelled() => {}
                        () = copy_both(near, far) => {}
                    }
                });
            }
        }));
        Self { port, cut, accepted, stop }
    }

    /// Ends all connections that are open now; new ones are taken.
    pub fn cut(&self) {
        let mut cut = self.cut.lock();
        cut.cancel();
        *cut = CancellationToken::new();
    }

    /// How many connections were made.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn copy_both(mut near: TcpStream, mut far: TcpStream) {
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    let _ = near.shutdown().await;
    let _ = far.shutdown().await;
}
