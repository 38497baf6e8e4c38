//! What arrives on a link: frames, and what Any frames ask for. Whatever is read
//! is written again as long as it was.
#![no_main]

#[allow(dead_code, reason = "each target plays one side")]
mod recorded_salt;

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use postroad_edf::{Atom, DecodeTables, EncodeTables, Encoder, Registry};
use postroad_wire::Cookie;
use postroad_wire::ehs::{Dial, Introduction};
use postroad_wire::enp::any::{AnyMessage, Generation};
use postroad_wire::enp::{Frame, Head, Split, split, write};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// The tables of the recorded acceptor, whose ids the seeds use.
static TABLES: LazyLock<DecodeTables> = LazyLock::new(|| {
    let (_, recorded) = include_bytes!("../seeds/ehs_dial/full").split_first().expect("a seed");
    let local = Introduction::new(Atom::new("a@localhost").expect("a short name"), 1);
    let salt = recorded_salt::DIALER;
    let mut dial = Dial::new(Arc::new(local), None, Cookie::new("vector-cookie"), salt, None);
    let established = dial.receive(recorded).expect("a recorded acceptor").expect("a whole handshake");
    established.peer.decode_tables()
});

fuzz_target!(|data: &[u8]| {
    let mut stream = data;
    while let Ok(Split::Frame { frame: bytes, rest }) = split(stream, 1 << 20) {
        stream = rest;
        let Ok(frame) = Frame::parse(bytes) else { continue };
        let mut again = Vec::new();
        let len = write::<Infallible>(&mut again, frame.order, &frame.head, |out| {
            out.extend_from_slice(frame.payload);
            Ok(())
        });
        assert_eq!(len, Ok(bytes.len()));
        assert_eq!(Frame::parse(&again), Ok(frame));
        if frame.head == Head::Any {
            any(frame.payload);
        }
    }
});

fn any(payload: &[u8]) {
    let encode = EncodeTables::default();
    for generation in [Generation::V320Dev, Generation::V320, Generation::V330] {
        let Ok(AnyMessage::Request(request)) = AnyMessage::decode(payload, generation, &TABLES, &REGISTRY)
        else {
            continue;
        };
        let mut again = Vec::new();
        if request.encode(generation, &mut Encoder::new(&mut again, &encode)).is_ok() {
            let read = AnyMessage::decode(&again, generation, &TABLES, &REGISTRY);
            assert!(matches!(read, Ok(AnyMessage::Request(_))), "{read:?}");
        }
    }
}
