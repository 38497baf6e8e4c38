use std::convert::Infallible;

use postroad_wire::enp::compress::{Level, pack, unpack};
use postroad_wire::enp::{
    Code, Delivery, Frame, Head, Method, Name, Priority, Split, Subject, Target, split, write,
};
use serde_json::{Map, Value, json};

use crate::recorded::Session;

/// The fields of a frame as the recordings name them.
fn fields(frame: &Frame<'_>, kind: u8) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("type", kind.into());
    put("order", frame.order.into());
    let id = |id: u64| Value::from(id.to_string());
    let ids = |three: [u64; 3]| Value::from(three.map(id).to_vec());
    let mut put_name = |field: &str, name: Name<'_>| match name {
        Name::Inline(name) => put(field, String::from_utf8_lossy(name).into()),
        Name::Cached(id) => put(&format!("{field}_cache_id"), id.into()),
    };
    match frame.head {
        Head::Message { to: Target::Name(name), .. } | Head::Request { to: Target::Name(name), .. } => {
            put_name("to_name", name);
        }
        Head::Event { name, .. } => put_name("event_name", name),
        Head::Terminate { subject: Subject::Name(name) } => put_name("target_name", name),
        Head::Terminate { subject: Subject::Event(name) } => put_name("target_event", name),
        _ => {}
    }
    let mut put_delivery = |Delivery { priority, important }: Delivery| {
        put("priority", (priority as u8).into());
        put("important", important.into());
    };
    match frame.head {
        Head::Message { delivery, .. }
        | Head::Request { delivery, .. }
        | Head::Response { delivery, .. }
        | Head::ResponseError { delivery, .. } => put_delivery(delivery),
        Head::Event { priority, .. } => put_delivery(Delivery { priority, important: false }),
        Head::Exit { .. } => put_delivery(Delivery { priority: Priority::Max, important: false }),
        Head::Ack { .. } => put_delivery(Delivery::default()),
        _ => {}
    }
    match frame.head {
        Head::Message { to: Target::Pid(to), .. }
        | Head::Request { to: Target::Pid(to), .. }
        | Head::Response { to, .. }
        | Head::ResponseError { to, .. }
        | Head::Ack { to, .. }
        | Head::Exit { to, .. } => put("to", id(to)),
        Head::Message { to: Target::Alias(to), .. } | Head::Request { to: Target::Alias(to), .. } => {
            put("to_alias", ids(to));
        }
        Head::Terminate { subject: Subject::Pid(pid) } => put("target", id(pid)),
        Head::Terminate { subject: Subject::Alias(alias) } => put("target_alias", ids(alias)),
        _ => {}
    }
    match frame.head {
        Head::Message { from, .. }
        | Head::Request { from, .. }
        | Head::Response { from, .. }
        | Head::ResponseError { from, .. }
        | Head::Ack { from, .. }
        | Head::Event { from, .. }
        | Head::Exit { from, .. } => put("from", id(from)),
        _ => {}
    }
    match frame.head {
        Head::Terminate { .. } => put("priority", 1.into()),
        Head::Message { message_id, .. } => put("message_id", id(message_id)),
        Head::Request { reference, .. } | Head::Response { reference, .. } => put("ref", ids(reference)),
        Head::ResponseError { reference, code, .. } | Head::Ack { reference, code, .. } => {
            put("ref", ids(reference));
            put(
                "code",
                match code {
                    Code::Ok => 0,
                    Code::UnknownProcess => 1,
                    Code::MailboxFull => 2,
                    Code::Terminated => 3,
                    Code::Error => 255,
                }
                .into(),
            );
        }
        Head::Event { timestamp, .. } => put("timestamp", timestamp.to_string().into()),
        Head::Compressed { method, unpacked_len } => {
            put("compression", (method as u8).into());
            put("unpacked_len", unpacked_len.into());
        }
        _ => {}
    }
    fields
}

/// Compares what is read with what Ergo's decoder said, the payload apart.
fn compare(frame: &Frame<'_>, kind: u8, decoded: &Value, place: &str) {
    let fields = fields(frame, kind);
    for (name, value) in &fields {
        assert_eq!(&decoded[name], value, "{place}: {name}");
    }
    for name in decoded.as_object().unwrap().keys() {
        let resolved = fields.contains_key(&format!("{name}_cache_id"));
        let elsewhere = ["payload", "inner", "unpacked_len_actual"].contains(&name.as_str());
        assert!(fields.contains_key(name) || resolved || elsewhere, "{place}: {name} was not read");
    }
}

/// Writes what was read, and compares with the bytes it was read from.
fn write_again(frame: &Frame<'_>, bytes: &[u8], place: &str) {
    let mut out = b"before".to_vec();
    let len = write::<Infallible>(&mut out, frame.order, &frame.head, |out| {
        out.extend_from_slice(frame.payload);
        Ok(())
    });
    assert_eq!(len, Ok(bytes.len()), "{place}");
    assert_eq!(hex::encode(&out[6..]), hex::encode(bytes), "{place}");
}

#[test]
fn vector_frames_are_read_and_written() {
    let mut kinds = std::collections::BTreeSet::new();
    for session in Session::all() {
        for recorded in session.frames().filter(|frame| frame.layer == "enp") {
            let (place, bytes) = (&recorded.place, &recorded.bytes);
            assert_eq!(split(bytes, 0), Ok(Split::Frame { frame: bytes, rest: &[] }), "{place}");
            let frame = Frame::parse(bytes).unwrap_or_else(|e| panic!("{place}: {e}"));
            kinds.insert(bytes[7]);
            compare(&frame, bytes[7], recorded.decoded, place);
            write_again(&frame, bytes, place);
        }
    }
    assert!(kinds.len() >= 18, "only these types of frames were seen: {kinds:?}");
}

#[test]
fn vector_packed_frames_unpack() {
    let mut methods = std::collections::BTreeSet::new();
    for session in Session::all() {
        for recorded in session.frames().filter(|frame| frame.layer == "enp") {
            let frame = Frame::parse(&recorded.bytes).unwrap();
            let Head::Compressed { method, unpacked_len } = frame.head else { continue };
            let place = &recorded.place;
            methods.insert(method as u8);
            let inner =
                unpack(method, unpacked_len, frame.payload, 0).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert_eq!(recorded.decoded["unpacked_len_actual"], json!(inner.len()), "{place}");
            let unpacked = Frame::parse(&inner).unwrap_or_else(|e| panic!("{place}: {e}"));
            compare(&unpacked, inner[7], &recorded.decoded["inner"], place);
            write_again(&unpacked, &inner, place);

            for level in [Level::Default, Level::BestSpeed, Level::BestSize] {
                let mut again = Vec::new();
                let len = pack(&inner, method, level, &mut again).unwrap();
                assert_eq!(len, again.len(), "{place}");
                let packed = Frame::parse(&again).unwrap();
                assert_eq!(packed.order, frame.order, "{place}");
                assert_eq!(packed.head, frame.head, "{place}");
                assert_eq!(unpack(method, unpacked_len, packed.payload, 0).unwrap(), inner, "{place}");
                if method == Method::Lzw {
                    assert_eq!(again, recorded.bytes, "{place}: LZW has one encoding");
                }
            }
        }
    }
    assert_eq!(methods.into_iter().collect::<Vec<_>>(), [100, 101, 102]);
}
