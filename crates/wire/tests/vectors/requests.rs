use std::collections::BTreeMap;

use postroad_edf::{Encoder, Registry, TypeName};
use postroad_wire::enp::any::{AnyMessage, Generation, Request, register};
use postroad_wire::enp::{Frame, Head};

use crate::handshakes::introductions;
use crate::recorded::Session;

#[test]
fn vector_requests_and_answers_are_read_and_written() {
    assert_eq!(Registry::new().conflicts(), []);
    let mut seen = BTreeMap::<String, usize>::new();
    for session in Session::all() {
        let registry = session.registry();
        register(&registry).unwrap();
        let introductions = introductions(&session);
        for (_, name) in introductions.values().flat_map(|introduction| &introduction.types) {
            // The recorded nodes had registered all these types.
            TypeName::new(name).unwrap();
        }
        for recorded in session.frames().filter(|frame| frame.layer == "enp") {
            let frame = Frame::parse(&recorded.bytes).unwrap();
            if frame.head != Head::Any {
                continue;
            }
            let place = &recorded.place;
            let sender = &introductions[recorded.by];
            let receiver = introductions.iter().find(|(side, _)| **side != recorded.by).unwrap().1;
            // A release writes its own layout, whoever reads it.
            let generation = Generation::of(sender);
            assert_eq!(generation, Generation::of(receiver), "{place}");

            let message = AnyMessage::decode(frame.payload, generation, &sender.decode_tables(), &registry)
                .unwrap_or_else(|e| panic!("{place}: {e}"));
            let mut again = Vec::new();
            let tables = sender.encode_tables();
            let mut out = Encoder::new(&mut again, &tables);
            let kind = match &message {
                AnyMessage::Request(request) => {
                    request.encode(generation, &mut out).unwrap();
                    if !matches!(request, Request::Watch(_)) {
                        assert_eq!(request.order(), frame.order, "{place}");
                    }
                    format!("{:?}", std::mem::discriminant(request))
                }
                AnyMessage::Answer(answer) => {
                    out.top(answer).unwrap();
                    "answer".to_owned()
                }
                other => panic!("{place}: {other:?}"),
            };
            *seen.entry(kind).or_default() += 1;
            assert_eq!(hex::encode(again), hex::encode(frame.payload), "{place}");
        }
    }
    assert!(seen.len() >= 4, "only these kinds were seen: {seen:?}");
}
