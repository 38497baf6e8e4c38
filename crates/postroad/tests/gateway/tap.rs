//! Somebody who sits on a road: hears what passes, changes it, or takes nothing
//! any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use postroad::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::support::port;

/// What the system keeps of what a tap does not take, at most, in bytes.
const KEPT: u32 = 64 << 10;

/// Leads to a node.
pub(crate) struct Tap {
    pub(crate) port: u16,
    does: Arc<Does>,
}

struct Does {
    seen: Mutex<Vec<u8>>,
    tampers: AtomicBool,
    frozen: watch::Sender<bool>,
}

impl Tap {
    pub(crate) async fn to(node: &Node) -> Self {
        let (listener, target) = (listener(), port(node));
        let port = listener.local_addr().unwrap().port();
        let (seen, tampers, frozen) = (Mutex::default(), AtomicBool::new(false), watch::Sender::new(false));
        let does = Arc::new(Does { seen, tampers, frozen });
        let tap = Self { port, does: does.clone() };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = socket().connect(([127, 0, 0, 1], target).into());
                let Ok(far) = far.await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let opened = Arc::<AtomicBool>::default();
                tokio::spawn(does.clone().pass(near_in, far_out, opened.clone(), false));
                tokio::spawn(does.clone().pass(far_in, near_out, opened, true));
            }
        });
        tap
    }

    /// Whether this has passed.
    pub(crate) fn saw(&self, text: &str) -> bool {
        self.does.seen.lock().windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Changes what the two ends of tunnels say to each other, or leaves it be.
    pub(crate) fn tamper(&self, tampers: bool) {
        self.does.tampers.store(tampers, Ordering::Relaxed);
    }

    /// Takes nothing any more and closes nothing, or goes on.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.does.frozen.send_replace(frozen);
    }
}

impl Does {
    /// Passes on what one side says; `answers` if that is the side that was dialed,
    /// `opened` when the stream belongs to the ends of a tunnel.
    async fn pass(
        self: Arc<Self>,
        mut source: OwnedReadHalf,
        mut sink: OwnedWriteHalf,
        opened: Arc<AtomicBool>,
        answers: bool,
    ) {
        let mut frozen = self.frozen.subscribe();
        let (mut buffer, mut said) = (vec![0; 64 << 10], Vec::new());
        while let Ok(read @ 1..) = source.read(&mut buffer).await {
            let bytes = &mut buffer[..read];
            if frozen.wait_for(|frozen| !frozen).await.is_err() {
                return;
            }
            self.seen.lock().extend_from_slice(bytes);
            if opened.load(Ordering::Relaxed) {
                bytes[read - 1] ^= u8::from(self.tampers.load(Ordering::Relaxed));
            } else if answers {
                said.extend_from_slice(bytes);
                opened.store(has_opened(&said), Ordering::Relaxed);
            }
            if sink.write_all(bytes).await.is_err() {
                return;
            }
        }
    }
}

/// Whether this side of a negotiation has agreed (docs/wire/TUNNEL.md sections 2
/// and 5): what follows is the tunnel.
fn has_opened(mut said: &[u8]) -> bool {
    while let [80, _, kind, high, low, rest @ ..] = said {
        let body = usize::from(u16::from_be_bytes([*high, *low]));
        if rest.len() < body {
            return false;
        }
        if *kind == 7 {
            return true;
        }
        said = &rest[body..];
    }
    false
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(KEPT).unwrap();
    socket
}

fn listener() -> TcpListener {
    let socket = socket();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket.listen(16).unwrap()
}

/// How many bytes the system takes for somebody who takes nothing, as a frozen tap.
pub(crate) async fn room() -> u64 {
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    let (stream, deaf) = tokio::join!(TcpStream::connect(("127.0.0.1", port)), listener.accept());
    let (stream, _deaf) = (stream.unwrap(), deaf.unwrap());
    crate::liar::fill(&stream).await
}
