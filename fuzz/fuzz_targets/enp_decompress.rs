//! Packed frames: never more comes out than the limit allows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_wire::enp::compress::{Level, pack, unpack};
use postroad_wire::enp::{Frame, Head};

const LIMIT: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(Frame { head: Head::Compressed { method, unpacked_len }, payload, .. }) = Frame::parse(data)
    else {
        return;
    };
    let Ok(frame) = unpack(method, unpacked_len, payload, LIMIT) else { return };
    assert!(frame.len() as u64 <= LIMIT);
    assert_eq!(frame.len(), unpacked_len as usize);
    let mut again = Vec::new();
    pack(&frame, method, Level::BestSpeed, &mut again).expect("far from 4 GiB");
    let packed = Frame::parse(&again).expect("a frame of ours");
    assert_eq!(unpack(method, unpacked_len, packed.payload, LIMIT).expect("packed by us"), frame);
});
