//! What a dialing peer may send, with and without the cookie: the seeds are
//! recorded dialers, and the salt is the one that was recorded with them.
#![no_main]

#[allow(dead_code, reason = "each target plays one side")]
mod recorded_salt;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use postroad_edf::Atom;
use postroad_wire::Cookie;
use postroad_wire::ehs::{Accept, AcceptStep, Introduction};

fuzz_target!(|data: &[u8]| {
    let Some((chunk, bytes)) = data.split_first() else { return };
    let local = Introduction::new(Atom::new("b@localhost").expect("a short name"), 1);
    let mut accept =
        Accept::new(Arc::new(local), Cookie::new("vector-cookie"), recorded_salt::ACCEPTOR, None);
    for mut arrived in bytes.chunks(usize::from(*chunk) * 16 + 1) {
        loop {
            match accept.receive(arrived) {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(AcceptStep::Introduced(_))) => {
                    accept.accept("id".into(), 3, vec![]).expect("its turn");
                }
                Ok(Some(AcceptStep::JoinRequested(_))) => {
                    accept.accept_join().expect("its turn");
                    return;
                }
                Ok(Some(_)) => return,
            }
            while accept.poll_transmit().is_some() {}
            arrived = &[];
        }
    }
});
