//! What a registrar or its client may be sent, over TCP or UDP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_wire::esrd::{Packet, split};

fuzz_target!(|data: &[u8]| {
    let _ = split(data);
    let Ok(packet) = Packet::decode(data) else { return };
    let mut again = Vec::new();
    // Text that is not UTF-8 may grow as it is replaced, beyond what fits.
    if packet.encode(&mut again).is_ok() {
        assert_eq!(Packet::decode(&again), Ok(packet));
    }
});
