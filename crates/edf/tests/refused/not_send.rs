use std::collections::BTreeMap;
use std::rc::Rc;

use postroad_edf::{Marshal, MarshalError, Message};

#[derive(Message)]
#[message(marshal)]
struct Shared(Rc<BTreeMap<u8, u8>>);

impl Marshal for Shared {
    fn marshal(&self, _out: &mut Vec<u8>) -> Result<(), MarshalError> {
        Ok(())
    }

    fn unmarshal(_bytes: &[u8]) -> Result<Self, MarshalError> {
        Ok(Self(Rc::default()))
    }
}

fn main() {}
