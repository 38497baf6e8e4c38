//! What holds for any bytes and any frame.
#![allow(clippy::unwrap_used, reason = "a case that does not get to its point fails")]

mod pair;

use std::convert::Infallible;
use std::time::Duration;

use pair::{Pair, acceptor, cookie, dialer};
use postroad_edf::{DecodeTables, Registry};
use postroad_wire::Version;
use postroad_wire::ehs::{Accept, AcceptStep, Dial, Join};
use postroad_wire::enp::any::{AnyMessage, Generation};
use postroad_wire::enp::compress::{Level, pack, unpack};
use postroad_wire::enp::fragment::{Assembler, AssemblyLimits, fragments};
use postroad_wire::enp::{
    Code, Delivery, Frame, Head, Method, Name, Priority, Split, Subject, Target, split, write,
};
use postroad_wire::esrd::{Packet, Proxy, Route};
use postroad_wire::tunnel::Refusal;
use proptest::prelude::*;
use proptest::sample::select;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

/// Bytes that begin like a message and may get past the first checks.
fn likely(front: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    bytes().prop_map(move |bytes| [front, &bytes].concat())
}

/// One of some messages, a few bytes of it changed.
fn damaged(messages: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (select(messages), changes).prop_map(|(mut message, changes)| {
        for (place, byte) in changes {
            let place = place.index(message.len());
            message[place] = byte;
        }
        message
    })
}

/// What both sides say in a handshake without flaw.
fn conversation() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut pair = Pair::new();
    let (dialed, accepted) = pair.run();
    dialed.unwrap();
    accepted.unwrap();
    (pair.sent_by_dialer, pair.sent_by_acceptor)
}

/// Where to cut a stream into chunks.
fn chunked<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..20)
}

fn ids() -> impl Strategy<Value = [u64; 3]> {
    any::<[u64; 3]>()
}

/// A name of a frame, owned: text or id.
fn name() -> impl Strategy<Value = Result<Vec<u8>, u16>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..=255).prop_map(Ok), any::<u16>().prop_map(Err),]
}

fn borrowed(name: &Result<Vec<u8>, u16>) -> Name<'_> {
    match name {
        Ok(text) => Name::Inline(text),
        Err(id) => Name::Cached(*id),
    }
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let priorities = select(vec![Priority::Normal, Priority::High, Priority::Max]);
    (priorities, any::<bool>()).prop_map(|(priority, important)| Delivery { priority, important })
}

fn code() -> impl Strategy<Value = Code> {
    select(vec![Code::Ok, Code::UnknownProcess, Code::MailboxFull, Code::Terminated, Code::Error])
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_value_or_an_error(bytes in bytes()) {
        everything(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_handshake_header(
        bytes in likely(b"\x57\x01\0\0\0\xb7\x83\0\x2e#ergo.services/ergo/net/handshake/MessageHello")
    ) {
        everything(&bytes);
    }

    #[test]
    fn damaged_handshakes(message in damaged([conversation().0, conversation().1].concat())) {
        everything(&message);
        let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
        accept.receive(&conversation().0[0]).unwrap();
        let _ = accept.receive(&message);
    }

    #[test]
    fn any_bytes_behind_a_frame_header(kind: u8, mut bytes in likely(b"\x4e\x01\0\0\0\0\0\0")) {
        let len = bytes.len() as u32;
        bytes[2..6].copy_from_slice(&len.to_be_bytes());
        bytes[7] = kind;
        everything(&bytes);
        prop_assert_eq!(split(&bytes, 0), Ok(Split::Frame { frame: &bytes, rest: &[] }));
    }

    #[test]
    fn a_handshake_does_not_depend_on_segments(to_acceptor in cuts(), to_dialer in cuts()) {
        let (dialed, accepted) = conversation();
        let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
        let (mut sent, mut established) = (Vec::new(), None);
        for chunk in chunked(&dialed.concat(), &to_acceptor) {
            let mut arrived = chunk;
            while let Some(step) = accept.receive(arrived).unwrap() {
                arrived = &[];
                match step {
                    AcceptStep::Introduced(_) => {
                        let dsn = vec!["127.0.0.1:11144".to_owned()];
                        accept.accept("connection".to_owned(), 3, dsn).unwrap();
                    }
                    AcceptStep::Established(done) => {
                        established = Some(done);
                        break;
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            sent.extend(accept.poll_transmit().into_iter().flatten());
        }
        prop_assert_eq!(established.unwrap().peer, dialer());
        prop_assert_eq!(&sent, &accepted.concat());

        let mut dial = Dial::new(dialer(), None, cookie(), [1; 32], None);
        let (mut sent, mut established) = (dial.poll_transmit().unwrap(), None);
        for chunk in chunked(&accepted.concat(), &to_dialer).into_iter().filter(|chunk| !chunk.is_empty()) {
            established = dial.receive(chunk).unwrap();
            sent.extend(dial.poll_transmit().into_iter().flatten());
        }
        prop_assert_eq!(established.unwrap().peer, acceptor());
        prop_assert_eq!(&sent, &dialed.concat());
    }

    #[test]
    fn frames_are_read_as_they_were_written(
        (from, to, number) in any::<(u64, u64, u64)>(),
        (ids, alias) in (ids(), ids()),
        name in name(),
        delivery in delivery(),
        code in code(),
        order: u8,
        timestamp: i64,
        payload in prop::collection::vec(any::<u8>(), 3..50),
    ) {
        let name = borrowed(&name);
        let targets = [Target::Pid(to), Target::Name(name), Target::Alias(alias)];
        let subjects = [Subject::Pid(to), Subject::Name(name), Subject::Alias(alias), Subject::Event(name)];
        let heads = [
            Head::Event { from, priority: delivery.priority, timestamp, name },
            Head::Exit { from, to },
            Head::Response { from, delivery, to, reference: ids },
            Head::ResponseError { from, delivery, to, reference: ids, code },
            Head::Ack { from, to, reference: ids, code },
            Head::Any,
            Head::Compressed { method: Method::Lzw, unpacked_len: number as u32 },
            Head::Extend,
            Head::Fragment { sequence: number as u32, index: to as u16, total: from as u16 },
            Head::Keepalive,
            Head::Summon { token: [from, to] },
            Head::Decline { token: [from, to], reason: Refusal::TooManyRequests },
            Head::ClockSkew { sent: timestamp, received: from as i64, answered: to as i64 },
        ];
        let messages = targets.map(|to| Head::Message { from, delivery, message_id: number, to });
        let requests = targets.map(|to| Head::Request { from, delivery, reference: ids, to });
        let ends = subjects.map(|subject| Head::Terminate { subject });
        let mut stream = Vec::new();
        let heads: Vec<_> = heads.into_iter().chain(messages).chain(requests).chain(ends).collect();
        for head in &heads {
            let len = write::<Infallible>(&mut stream, order, head, |out| {
                out.extend_from_slice(&payload);
                Ok(())
            });
            prop_assert!(len.unwrap() > payload.len());
        }
        let mut rest = &stream[..];
        for head in heads {
            let Ok(Split::Frame { frame, rest: behind }) = split(rest, 0) else { panic!("{rest:?}") };
            prop_assert_eq!(Frame::parse(frame), Ok(Frame { order, head, payload: &payload }));
            rest = behind;
        }
        prop_assert_eq!(rest, &[] as &[u8]);
    }

    #[test]
    fn order_bytes_are_never_zero_for_processes(from: u64, to: u64, ids in ids(), delivery in delivery()) {
        let reference = ids;
        for target in [Target::Pid(to), Target::Alias(ids), Target::Name(Name::Cached(256))] {
            let message = Head::Message { from, delivery, message_id: 0, to: target };
            let request = Head::Request { from, delivery, reference, to: target };
            prop_assert!(message.order() > 0);
            prop_assert_eq!(message.order(), request.order());
        }
        let end = Head::Terminate { subject: Subject::Pid(to) };
        prop_assert_eq!(end.order(), 0);
        prop_assert_eq!(Head::Any.order(), 0);
    }

    #[test]
    fn what_is_packed_comes_out(payload in prop::collection::vec(0u8..4, 1..8_000), order: u8) {
        let mut frame = Vec::new();
        write::<Infallible>(&mut frame, order, &Head::Any, |out| {
            out.extend_from_slice(&payload);
            Ok(())
        })
        .unwrap();
        for method in [Method::Lzw, Method::Zlib, Method::Gzip] {
            let mut packed = Vec::new();
            pack(&frame, method, Level::BestSpeed, &mut packed).unwrap();
            let parsed = Frame::parse(&packed).unwrap();
            prop_assert_eq!(parsed.order, order);
            let unpacked = unpack(method, frame.len() as u32, parsed.payload, frame.len() as u64).unwrap();
            prop_assert_eq!(&unpacked, &frame);
        }
        let now = Duration::ZERO;
        let mut assembler = Assembler::new(AssemblyLimits { frame: 1 << 20, open: 1 << 20 });
        let mut whole = None;
        for (head, part) in fragments(&frame, 1, 0) {
            let Head::Fragment { sequence, index, total } = head else { panic!("{head:?}") };
            whole = assembler.insert(now, None, sequence, index, total, part).unwrap();
        }
        prop_assert_eq!(whole.unwrap(), frame);
    }

    #[test]
    fn registrar_packets_are_read_as_they_were_written(
        node in "[a-z]{0,20}@[a-z.]{0,20}",
        host in ".{0,20}",
        ports in prop::collection::vec(any::<(u16, bool)>(), 0..10),
        error in prop::option::of(".{0,40}"),
        joined: bool,
    ) {
        let routes: Vec<_> = ports
            .into_iter()
            .map(|(port, tls)| Route {
                host: host.clone(),
                tls,
                proto_version: Version::new(host.clone(), "R2"),
                ..Route::to_port(port)
            })
            .collect();
        let packets = [
            Packet::Register { node: node.clone(), routes: routes.clone() },
            Packet::RegisterReply { error: error.clone() },
            Packet::Resolve { node: node.clone() },
            Packet::ResolveReply { routes, error },
            Packet::Nodes,
            Packet::NodesReply { nodes: vec![node.clone(); 3] },
            Packet::NodeEvent { node: node.clone(), joined },
            Packet::Leads { to: vec![host.clone(); 3] },
            Packet::Proxies,
            Packet::ProxiesReply { proxies: vec![Proxy { node, to: host }; 2] },
        ];
        for packet in packets {
            let mut out = Vec::new();
            packet.encode(&mut out).unwrap();
            prop_assert_eq!(Packet::decode(&out), Ok(packet));
            // Bytes of an earlier datagram behind it do not count.
            out.extend_from_slice(b"behind");
            prop_assert!(Packet::decode(&out).is_ok());
        }
    }
}

/// Gives bytes to everything that reads bytes of a peer.
fn everything(bytes: &[u8]) {
    let mut accept = Accept::new(acceptor(), cookie(), [2; 32], Some([0; 20]));
    let _ = accept.receive(bytes);
    let mut dial = Dial::new(dialer(), None, cookie(), [1; 32], Some([0; 20]));
    let _ = dial.receive(bytes);
    let mut join = Join::new(dialer().node, "connection", cookie(), [3; 32], None);
    let _ = join.receive(bytes);
    let _ = split(bytes, 100);
    if let Ok(frame) = Frame::parse(bytes) {
        let mut again = Vec::new();
        let len = write::<Infallible>(&mut again, frame.order, &frame.head, |out| {
            out.extend_from_slice(frame.payload);
            Ok(())
        });
        assert_eq!(len, Ok(bytes.len()));
    }
    for method in [Method::Lzw, Method::Zlib, Method::Gzip] {
        let _ = unpack(method, 1000, bytes, 1000);
    }
    let _ = Packet::decode(bytes);
    for generation in [Generation::V320Dev, Generation::V320, Generation::V330] {
        let _ = AnyMessage::decode(bytes, generation, &DecodeTables::default(), &REGISTRY);
    }
}

static REGISTRY: std::sync::LazyLock<Registry> = std::sync::LazyLock::new(Registry::new);
