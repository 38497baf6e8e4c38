//! A type expression: what is read is written and printed, and both mean the
//! same type.
#![no_main]

mod edf_known;

use libfuzzer_sys::fuzz_target;
use postroad_edf::{Decoder, Encoder, Type};

fuzz_target!(|data: &[u8]| {
    let (encode, decode) = edf_known::tables(true);
    let registry = edf_known::registry();
    let Ok(ty) = Type::read_fold(&mut Decoder::new(data, decode, registry)) else { return };
    let mut bytes = Vec::new();
    ty.write_fold(&mut Encoder::new(&mut bytes, encode)).expect("it came in no more than these bytes");
    let again = Type::read_fold(&mut Decoder::new(&bytes, decode, registry)).expect("it was just written");
    assert_eq!(ty, again);
    assert_eq!(ty.to_string().parse::<Type>().as_ref(), Ok(&ty));
});
