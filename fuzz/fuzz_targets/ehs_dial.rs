//! What an accepting peer may send: the seeds are recorded acceptors, and the
//! salt is the one that was recorded with them.
#![no_main]

#[allow(dead_code, reason = "each target plays one side")]
mod recorded_salt;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use postroad_edf::Atom;
use postroad_wire::Cookie;
use postroad_wire::ehs::{Dial, Introduction, Join};

fuzz_target!(|data: &[u8]| {
    let Some((chunk, bytes)) = data.split_first() else { return };
    let local = Introduction::new(Atom::new("a@localhost").expect("a short name"), 1);
    let mut dial =
        Dial::new(Arc::new(local), None, Cookie::new("vector-cookie"), recorded_salt::DIALER, None);
    for arrived in bytes.chunks(usize::from(*chunk) * 16 + 1) {
        while dial.poll_transmit().is_some() {}
        match dial.receive(arrived) {
            Ok(None) => {}
            Ok(Some(established)) => {
                let (_, _) = established.tables(None);
                break;
            }
            Err(_) => break,
        }
    }
    let node = Atom::new("a@localhost").expect("a short name");
    let mut join = Join::new(node, "id", Cookie::new("vector-cookie"), recorded_salt::DIALER, None);
    let _ = join.receive(bytes);
});
