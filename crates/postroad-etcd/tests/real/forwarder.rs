//! A road to etcd that can be cut.

use std::net::SocketAddr;

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub(crate) struct Forwarder {
    pub(crate) port: u16,
    /// Cancelled when the road is cut; replaced when it is mended.
    open: Arc<Mutex<CancellationToken>>,
}

impl Forwarder {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(CancellationToken::new()));
        let is_open = open.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let cut = is_open.lock().clone();
                tokio::spawn(cut.run_until_cancelled_owned(forward(near, port)));
            }
        });
        Self { port: own, open }
    }

    /// Ends all connections, and every new one at once.
    pub(crate) fn cut(&self) {
        self.open.lock().cancel();
    }

    pub(crate) fn mend(&self) {
        *self.open.lock() = CancellationToken::new();
    }
}

async fn forward(mut near: TcpStream, port: u16) {
    let far: SocketAddr = ([127, 0, 0, 1], port).into();
    if let Ok(mut far) = TcpStream::connect(far).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
