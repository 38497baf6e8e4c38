//! A message of any type into the Rust type that is registered for it: what is
//! read is written, and that is read as the same type.
#![no_main]

mod edf_known;

use libfuzzer_sys::fuzz_target;
use postroad_edf::{Decoder, Encoder};

fuzz_target!(|data: &[u8]| {
    for features in [false, true] {
        let (encode, decode) = edf_known::tables(features);
        let registry = edf_known::registry();
        let Ok(payload) = Decoder::new(data, decode, registry).payload() else { continue };
        let mut bytes = Vec::new();
        // Nil is no message, and strings may be longer than Ergo reads.
        if payload.encode_top(&mut Encoder::new(&mut bytes, encode)).is_err() {
            continue;
        }
        let again = Decoder::new(&bytes, decode, registry).payload().expect("what was written can be read");
        assert_eq!(payload.type_name(), again.type_name());
    }
});
