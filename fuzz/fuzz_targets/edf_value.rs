//! A value of any type into its dynamic form: what is read is written and read
//! again as the same value.
#![no_main]

mod edf_known;

use libfuzzer_sys::fuzz_target;
use postroad_edf::{Decoder, Encoder};

fuzz_target!(|data: &[u8]| {
    for features in [false, true] {
        let (encode, decode) = edf_known::tables(features);
        let registry = edf_known::registry();
        let Ok(value) = Decoder::new(data, decode, registry).value() else { continue };
        let mut bytes = Vec::new();
        // Nil is no message, and strings may be longer than Ergo reads.
        if Encoder::new(&mut bytes, encode).top(&value).is_err() {
            continue;
        }
        let mut decoder = Decoder::new(&bytes, decode, registry);
        let again = decoder.value().expect("what was written can be read");
        assert!(decoder.remaining().is_empty());
        // Not by `==`, for which a NaN is not itself.
        assert_eq!(format!("{value:?}"), format!("{again:?}"));
        value.to_json();
    }
});
