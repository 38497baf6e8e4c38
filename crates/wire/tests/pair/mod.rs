//! A dialing and an accepting machine that talk to each other.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::sync::Arc;

use postroad_edf::Atom;
use postroad_wire::ehs::{Accept, AcceptStep, Dial, Established, Fingerprint, HandshakeError, Introduction};
use postroad_wire::{Cookie, NetworkFlags, Version};

pub(crate) fn cookie() -> Cookie {
    Cookie::new("secret")
}

/// A node with one entry in each table.
pub(crate) fn introduction(node: &str) -> Arc<Introduction> {
    let node = Atom::new(node).unwrap();
    let mut introduction = Introduction::new(node, 1_700_000_000);
    introduction.version = Version::new("pair", "1");
    introduction.flags = NetworkFlags::ENABLE | NetworkFlags::IMPORTANT_DELIVERY;
    introduction.max_message_size = 1 << 20;
    introduction.atoms.push((256, node));
    introduction.types.push((4096, "#main/Order".into()));
    introduction.errors.push((32768, "normal".into()));
    introduction.into()
}

pub(crate) fn dialer() -> Arc<Introduction> {
    introduction("dialer@localhost")
}

pub(crate) fn acceptor() -> Arc<Introduction> {
    introduction("acceptor@localhost")
}

/// Both sides of a handshake, and what may be wrong with it.
pub(crate) struct Pair {
    pub(crate) dialer: Arc<Introduction>,
    pub(crate) acceptor: Arc<Introduction>,
    pub(crate) dialer_cookie: Cookie,
    pub(crate) acceptor_cookie: Cookie,
    pub(crate) expected: Option<Atom>,
    /// The certificate that the dialer saw, and the one the acceptor serves.
    pub(crate) shown_certificate: Option<Fingerprint>,
    pub(crate) own_certificate: Option<Fingerprint>,
    pub(crate) pool_size: u16,
    /// What either side sends behind its last message.
    pub(crate) behind_final_accept: Vec<u8>,
    pub(crate) behind_introduce: Vec<u8>,
    /// What was sent, filled by [`run`](Self::run).
    pub(crate) sent_by_dialer: Vec<Vec<u8>>,
    pub(crate) sent_by_acceptor: Vec<Vec<u8>>,
}

type Outcome = Result<Established, HandshakeError>;

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            dialer: dialer(),
            acceptor: acceptor(),
            dialer_cookie: cookie(),
            acceptor_cookie: cookie(),
            expected: None,
            shown_certificate: None,
            own_certificate: None,
            pool_size: 3,
            behind_final_accept: Vec::new(),
            behind_introduce: Vec::new(),
            sent_by_dialer: Vec::new(),
            sent_by_acceptor: Vec::new(),
        }
    }

    pub(crate) fn dial(&self) -> Dial {
        let (cookie, salt) = (self.dialer_cookie.clone(), [1; 32]);
        Dial::new(self.dialer.clone(), self.expected, cookie, salt, self.shown_certificate)
    }

    pub(crate) fn accept(&self) -> Accept {
        let (cookie, salt) = (self.acceptor_cookie.clone(), [2; 32]);
        Accept::new(self.acceptor.clone(), cookie, salt, self.own_certificate)
    }

    /// Lets both sides talk to the end: what became of the dialer and of the
    /// acceptor. A side that is left alone says at what stage.
    pub(crate) fn run(&mut self) -> (Outcome, Outcome) {
        let (mut dial, mut accept) = (self.dial(), self.accept());
        let (mut dialed, mut accepted) = (None, None);
        loop {
            let mut to_acceptor = dial.poll_transmit().unwrap_or_default();
            if matches!(dialed, Some(Ok(_))) {
                to_acceptor.extend(&self.behind_final_accept);
            }
            if accepted.is_none() && !to_acceptor.is_empty() {
                accepted = self.accepted(&mut accept, &to_acceptor);
            }
            self.sent_by_dialer.push(to_acceptor);

            let mut to_dialer = accept.poll_transmit().unwrap_or_default();
            if to_dialer.is_empty() {
                let dialed = dialed.unwrap_or_else(|| Err(dial.closed()));
                return (dialed, accepted.unwrap_or_else(|| Err(accept.closed())));
            }
            if accept.stage() == postroad_wire::ehs::Stage::FinalAccept {
                to_dialer.extend(&self.behind_introduce);
            }
            if dialed.is_none() {
                dialed = dial.receive(&to_dialer).transpose();
            }
            self.sent_by_acceptor.push(to_dialer);
        }
    }

    /// Lets the acceptor take bytes, and agree to everything.
    fn accepted(&self, accept: &mut Accept, bytes: &[u8]) -> Option<Outcome> {
        let mut arrived = bytes;
        loop {
            match accept.receive(arrived).transpose()? {
                Err(error) => return Some(Err(error)),
                Ok(AcceptStep::Introduced(_)) => {
                    let dsn = vec!["127.0.0.1:11144".to_owned()];
                    accept.accept("connection".to_owned(), self.pool_size, dsn).unwrap();
                }
                Ok(AcceptStep::Established(established)) => return Some(Ok(established)),
                Ok(other) => panic!("{other:?}"),
            }
            arrived = &[];
        }
    }
}
