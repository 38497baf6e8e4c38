//! Everything that a host's network cards see, as packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket};

use crate::lab::Host;

/// Keeps the packets of a host until it is asked for them.
pub(crate) struct Capture {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u8>>,
}

impl Capture {
    /// Packets are kept from the time that this returns.
    pub(crate) fn start(host: &Host) -> Self {
        let (host, enough) = (host.clone(), Arc::new(AtomicBool::new(false)));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let told = enough.clone();
        let thread = std::thread::spawn(move || {
            host.enter();
            let socket = socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL)).unwrap();
            set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(50))).unwrap();
            ready.send(()).unwrap();
            let (mut seen, mut packet) = (Vec::new(), vec![0; 128 << 10]);
            loop {
                match recv(&socket, &mut packet[..], RecvFlags::empty()) {
                    Ok((len, _)) => seen.extend_from_slice(&packet[..len]),
                    // What had come before is in.
                    Err(_) if told.load(Ordering::Relaxed) => return seen,
                    Err(_) => {}
                }
            }
        });
        is_ready.recv().unwrap();
        Self { enough, thread }
    }

    /// All bytes of all packets.
    pub(crate) fn end(self) -> Vec<u8> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Whether a text is among these bytes.
pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
