//! What a broken or hostile peer may send, and the name that each of it gets.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod pair;

use pair::{Pair, acceptor, cookie, dialer, introduction};
use postroad_edf::{Atom, DecodeError, DecodeTables, EncodeTables, Encoder, Pid, Ref, Registry};
use postroad_wire::BodyError;
use postroad_wire::ehs::{
    Accept, AcceptStep, Dial, HandshakeError, Introduction, Join, MAX_CONTROL, MAX_INTRODUCE, Proof, Stage,
};
use postroad_wire::enp::any::{Answer, AnyMessage, Generation, Request, Spawn};
use postroad_wire::enp::compress::{Level, UnpackError, pack, unpack};
use postroad_wire::enp::{Code, Delivery, Frame, FrameError, Head, Method, Name, Target, write};
use postroad_wire::esrd::{Packet, PacketError};

fn accept() -> Accept {
    Accept::new(acceptor(), cookie(), [2; 32], None)
}

fn dial() -> Dial {
    Dial::new(dialer(), None, cookie(), [1; 32], None)
}

/// What a peer with the right cookie begins with.
fn hello() -> Vec<u8> {
    dial().poll_transmit().unwrap()
}

/// An acceptor that has taken a Hello and waits for Introduce, and the bytes it
/// waits for.
fn awaiting_introduce(dialer: Introduction) -> (Accept, Vec<u8>) {
    let mut dial = Dial::new(dialer.into(), None, cookie(), [1; 32], None);
    let mut accept = accept();
    accept.receive(&dial.poll_transmit().unwrap()).unwrap();
    dial.receive(&accept.poll_transmit().unwrap()).unwrap();
    (accept, dial.poll_transmit().unwrap())
}

/// A body in a handshake frame.
fn framed(body: &[u8]) -> Vec<u8> {
    [&[87, 1][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

#[test]
fn wrong_magic() {
    // A browser, a TLS client, and an ENP frame.
    for first in [&b"G"[..], &[0x16, 3, 1, 2, 0], &[0x4e, 1, 0, 0, 0, 8, 0, 208]] {
        let error = accept().receive(first).unwrap_err();
        assert_eq!(error, HandshakeError::WrongMagic { stage: Stage::First, got: first[0] });
        assert!(error.to_string().contains("TLS"), "{error}");
        let error = dial().receive(first).unwrap_err();
        assert_eq!(error, HandshakeError::WrongMagic { stage: Stage::Hello, got: first[0] });
    }
}

#[test]
fn wrong_version() {
    let error = accept().receive(&[87, 2]).unwrap_err();
    assert_eq!(error, HandshakeError::WrongVersion { stage: Stage::First, got: 2 });
}

#[test]
fn wrong_digest() {
    let mut pair = Pair::new();
    pair.acceptor_cookie = "another".into();
    let (dialed, accepted) = pair.run();
    assert_eq!(accepted, Err(HandshakeError::WrongDigest(Proof::Hello)));
    assert!(accepted.unwrap_err().to_string().contains("cookie"));
    assert_eq!(dialed, Err(HandshakeError::Closed(Stage::Hello)));
    assert_eq!(pair.sent_by_acceptor, Vec::<Vec<u8>>::new(), "the acceptor says nothing");
}

#[test]
fn wrong_digest_of_the_answer() {
    // An acceptor that knows nothing but sends a Hello of its own.
    let stranger = Dial::new(acceptor(), None, "another".into(), [5; 32], None).poll_transmit().unwrap();
    assert_eq!(dial().receive(&stranger), Err(HandshakeError::WrongDigest(Proof::HelloReply)));
    // An acceptor that sends the dialer's own Hello back.
    assert_eq!(dial().receive(&hello()), Err(HandshakeError::WrongDigest(Proof::HelloReply)));
}

#[test]
fn wrong_digest_of_a_replayed_introduction() {
    let (_, introduce) = awaiting_introduce(Introduction::clone(&dialer()));
    let mut accept = Accept::new(acceptor(), cookie(), [9; 32], None);
    accept.receive(&hello()).unwrap();
    assert_eq!(accept.receive(&introduce), Err(HandshakeError::WrongDigest(Proof::Introduce)));
}

#[test]
fn wrong_digest_of_a_join() {
    let node = Atom::new("dialer@localhost").unwrap();
    let mut join = Join::new(node, "connection", "another".into(), [3; 32], None);
    let error = accept().receive(&join.poll_transmit().unwrap()).unwrap_err();
    assert_eq!(error, HandshakeError::WrongDigest(Proof::Join));

    let mut other = Join::new(node, "other", cookie(), [3; 32], None);
    let mut accept = accept();
    accept.receive(&other.poll_transmit().unwrap()).unwrap();
    accept.accept_join().unwrap();
    let error = join.receive(&accept.poll_transmit().unwrap()).unwrap_err();
    assert_eq!(error, HandshakeError::WrongDigest(Proof::JoinReply));
}

#[test]
fn wrong_certificate() {
    for served in [None, Some([8; 20])] {
        let mut pair = Pair::new();
        (pair.shown_certificate, pair.own_certificate) = (Some([7; 20]), served);
        assert_eq!(pair.run().0, Err(HandshakeError::WrongCertificate));
    }
}

#[test]
fn wrong_name() {
    let expected = Atom::new("expected@localhost").unwrap();
    let mut pair = Pair::new();
    pair.expected = Some(expected);
    let (dialed, accepted) = pair.run();
    let got = pair.acceptor.node;
    assert_eq!(dialed, Err(HandshakeError::WrongName { expected, got }));
    assert_eq!(
        accepted,
        Err(HandshakeError::Closed(Stage::FinalAccept)),
        "the acceptor does not register it"
    );
}

#[test]
fn same_name() {
    let mut pair = Pair::new();
    pair.dialer = introduction("acceptor@localhost");
    assert_eq!(pair.run().1, Err(HandshakeError::SameName(pair.acceptor.node)));
}

#[test]
fn invalid_name() {
    for name in ["", "@", "node", "node@", "@host", "a@b@c"] {
        let mut pair = Pair::new();
        pair.dialer = introduction(name);
        assert_eq!(pair.run().1, Err(HandshakeError::InvalidName(Atom::new(name).unwrap())));
    }
}

#[test]
fn zero_creation() {
    let mut pair = Pair::new();
    pair.dialer = Introduction { creation: 0, ..Introduction::clone(&pair.dialer) }.into();
    assert_eq!(pair.run().1, Err(HandshakeError::ZeroCreation(pair.dialer.node)));
}

#[test]
fn oversized_handshake_messages() {
    let announced = MAX_CONTROL + 1;
    let header = [&[87, 1][..], &announced.to_be_bytes()].concat();
    let error = accept().receive(&header).unwrap_err();
    assert_eq!(error, HandshakeError::TooLong { stage: Stage::First, announced, limit: MAX_CONTROL });

    let (mut accept, _) = awaiting_introduce(Introduction::clone(&dialer()));
    assert_eq!(accept.receive(&header), Ok(None), "an Introduce may be longer");
    let (mut accept, _) = awaiting_introduce(Introduction::clone(&dialer()));
    let announced = MAX_INTRODUCE + 1;
    let error = accept.receive(&[&[87, 1][..], &announced.to_be_bytes()].concat()).unwrap_err();
    assert_eq!(error, HandshakeError::TooLong { stage: Stage::Introduce, announced, limit: MAX_INTRODUCE });
}

#[test]
fn truncated_handshake_messages() {
    let (_, introduce) = awaiting_introduce(Introduction::clone(&dialer()));
    for (message, awaiting) in [(hello(), false), (introduce, true)] {
        // Cut off, the machine waits; announced shorter, it is malformed.
        for len in 6..message.len() {
            let machine =
                || if awaiting { awaiting_introduce(Introduction::clone(&dialer())).0 } else { accept() };
            assert_eq!(machine().receive(&message[..len]), Ok(None));
            let outcome = machine().receive(&framed(&message[6..len]));
            assert!(matches!(outcome, Err(HandshakeError::Malformed { .. })), "{len}: {outcome:?}");
        }
    }
}

#[test]
fn filler_in_handshake_messages() {
    let padded = framed(&[&hello()[6..], &[0; 3]].concat());
    let source = BodyError::LeftOver(3);
    let error = accept().receive(&padded).unwrap_err();
    assert_eq!(error, HandshakeError::Malformed { stage: Stage::First, source });
}

#[test]
fn types_that_do_not_belong_into_a_handshake() {
    // Ergo decodes these and allocates gigabytes (docs/wire/QUIRKS.md section 3).
    let array = [0x82, 0, 6, 0x9e, 0x10, 0, 0, 0, 0x9a, 0];
    let source = BodyError::WrongTag { expected: 0x83, got: 0x82 };
    let error = accept().receive(&framed(&array)).unwrap_err();
    assert_eq!(error, HandshakeError::Malformed { stage: Stage::First, source });

    let name = b"#ergo.services/ergo/gen/ProcessOptions";
    let registered = [&[0x83, 0, name.len() as u8][..], name, &[0xff; 100]].concat();
    let error = accept().receive(&framed(&registered)).unwrap_err();
    let malformed = |source| HandshakeError::Malformed { stage: Stage::First, source };
    assert_eq!(error, malformed(BodyError::UnknownType));

    let cached = [0x83, 0x10, 0, 0, 0];
    assert_eq!(accept().receive(&framed(&cached)), Err(malformed(BodyError::CachedType(4096))));
}

#[test]
fn messages_out_of_order() {
    let (_, introduce) = awaiting_introduce(Introduction::clone(&dialer()));
    let error = accept().receive(&introduce).unwrap_err();
    assert!(matches!(error, HandshakeError::Unexpected { stage: Stage::First, .. }), "{error}");
    let mut accept = accept();
    accept.receive(&hello()).unwrap();
    let error = accept.receive(&hello()).unwrap_err();
    assert!(matches!(error, HandshakeError::Unexpected { stage: Stage::Introduce, .. }), "{error}");
}

/// An introduction with a type cache of 10,000 names of the given length.
fn many_types(name_len: usize) -> Introduction {
    let mut introduction = Introduction::clone(&dialer());
    introduction.types =
        (0..10_000).map(|n| (4096 + n, format!("#{n:0>width$}", width = name_len - 1).into())).collect();
    introduction
}

#[test]
fn type_cache_of_10_000_names() {
    let introduction = many_types(20);
    let (mut accept, introduce) = awaiting_introduce(introduction.clone());
    assert!(introduce.len() > MAX_CONTROL as usize);
    let step = accept.receive(&introduce).unwrap().unwrap();
    assert_eq!(step, AcceptStep::Introduced(introduction.into()));
    // With longer names there are too many bytes, which the header says.
    let (mut accept, introduce) = awaiting_introduce(many_types(30));
    let error = accept.receive(&introduce[..6]).unwrap_err();
    assert!(matches!(error, HandshakeError::TooLong { stage: Stage::Introduce, .. }), "{error}");
    // Ours are cut instead.
    let (mut accept, introduce) = awaiting_introduce(many_types(30).fit());
    assert!(introduce.len() < MAX_CONTROL as usize);
    assert!(matches!(accept.receive(&introduce), Ok(Some(AcceptStep::Introduced(_)))));
}

#[test]
fn counts_without_entries() {
    let (mut accept, mut introduce) = awaiting_introduce(Introduction::clone(&dialer()));
    let table = introduce.windows(5).position(|bytes| bytes == [0x9f, 0, 0, 0, 1]).unwrap();
    introduce[table + 1..table + 5].fill(0xff);
    let error = accept.receive(&introduce).unwrap_err();
    let HandshakeError::Malformed { source: BodyError::Count { count, .. }, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(count, u32::MAX);
}

/// A frame to the process 7, as the peer would write it.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let to = Target::Pid(7);
    let head = Head::Message { from: 1, delivery: Delivery::default(), message_id: 0, to };
    write::<()>(&mut out, 0, &head, |out| {
        out.extend_from_slice(payload);
        Ok(())
    })
    .unwrap();
    out
}

#[test]
fn truncated_frames() {
    let heads = [
        Head::Message { from: 1, delivery: Delivery::default(), message_id: 2, to: Target::Pid(3) },
        Head::Message {
            from: 1,
            delivery: Delivery::default(),
            message_id: 2,
            to: Target::Name(Name::Inline(b"echo")),
        },
        Head::Request {
            from: 1,
            delivery: Delivery::default(),
            reference: [1, 2, 3],
            to: Target::Alias([4, 5, 6]),
        },
        Head::Request {
            from: 1,
            delivery: Delivery::default(),
            reference: [1, 2, 3],
            to: Target::Name(Name::Cached(256)),
        },
        Head::Any,
        Head::Compressed { method: Method::Zlib, unpacked_len: 9 },
        Head::Fragment { sequence: 1, index: 0, total: 1 },
    ];
    for head in heads {
        let mut whole = Vec::new();
        write::<()>(&mut whole, 0, &head, |out| {
            out.push(0xff);
            Ok(())
        })
        .unwrap();
        assert_eq!(Frame::parse(&whole).unwrap().head, head);
        for len in 0..whole.len() {
            let error = Frame::parse(&whole[..len]).unwrap_err();
            assert!(matches!(error, FrameError::TooShort { missing: 1.., .. }), "{len}: {error}");
        }
    }
}

#[test]
fn truncated_errors_in_frames() {
    let delivery = Delivery::default();
    let answer = |code| Head::ResponseError { from: 1, delivery, to: 2, reference: [0; 3], code };
    for (head, least) in
        [(Head::Exit { from: 1, to: 2 }, 3), (answer(Code::Error), 3), (answer(Code::MailboxFull), 0)]
    {
        let mut whole = Vec::new();
        write::<()>(&mut whole, 0, &head, |out| {
            out.extend_from_slice(&[0x9c, 0xff, 0xff]);
            Ok(())
        })
        .unwrap();
        let head_len = whole.len() - 3;
        assert_eq!(Frame::parse(&whole[..head_len + least]).unwrap().head, head);
        assert!(Frame::parse(&whole[..head_len + least - 1]).is_err());
    }
}

#[test]
fn unknown_codes_methods_and_types_of_frames() {
    let mut answer = vec![0x4e, 1, 0, 0, 0, 50, 0, 130];
    answer.resize(50, 0);
    answer[49] = 4;
    assert_eq!(Frame::parse(&answer), Err(FrameError::UnknownCode(4)));
    let packed = [0x4e, 1, 0, 0, 0, 14, 0, 200, 103, 0, 0, 0, 8, 0];
    assert_eq!(Frame::parse(&packed), Err(FrameError::UnknownMethod(103)));
    let unknown = [0x4e, 1, 0, 0, 0, 9, 0, 203, 5];
    assert_eq!(Frame::parse(&unknown).unwrap().head, Head::Unknown(203));
}

#[test]
fn names_that_do_not_fit_into_a_frame() {
    let mut out = b"before".to_vec();
    let to = Target::Name(Name::Inline(&[b'n'; 256]));
    let head = Head::Message { from: 1, delivery: Delivery::default(), message_id: 0, to };
    assert!(write::<()>(&mut out, 0, &head, |_| Ok(())).is_err());
    assert_eq!(out, b"before");
}

fn unpack_frame(packed: &[u8], limit: u64) -> Result<Vec<u8>, UnpackError> {
    let frame = Frame::parse(packed).unwrap();
    let Head::Compressed { method, unpacked_len } = frame.head else { panic!("{:?}", frame.head) };
    unpack(method, unpacked_len, frame.payload, limit)
}

const METHODS: [Method; 3] = [Method::Lzw, Method::Zlib, Method::Gzip];

#[test]
fn decompression_bomb() {
    let bomb = frame(&vec![0; 2 << 20]);
    for method in METHODS {
        let mut packed = Vec::new();
        pack(&bomb, method, Level::BestSize, &mut packed).unwrap();
        assert!(packed.len() < bomb.len() / 100, "{method:?}: {} bytes", packed.len());
        let error = unpack_frame(&packed, 1 << 20).unwrap_err();
        assert!(matches!(error, UnpackError::TooLong { limit: 0x10_0000, .. }), "{error}");
        // One that lies about its size stops at what it said.
        packed[9..13].copy_from_slice(&1000u32.to_be_bytes());
        let error = unpack_frame(&packed, 1 << 20).unwrap_err();
        assert!(matches!(error, UnpackError::WrongLength { announced: 1000, unpacked: 1001 }), "{error}");
        // One that announces more than comes out costs nothing of that.
        packed[9..13].copy_from_slice(&u32::MAX.to_be_bytes());
        let error = unpack_frame(&packed, 0).unwrap_err();
        assert!(matches!(error, UnpackError::WrongLength { announced: u32::MAX, .. }), "{error}");
    }
}

#[test]
fn nested_compression() {
    for method in METHODS {
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        pack(&frame(&[0xff; 2000]), method, Level::Default, &mut once).unwrap();
        pack(&once, method, Level::Default, &mut twice).unwrap();
        assert!(matches!(unpack_frame(&twice, 0), Err(UnpackError::Nested)));
    }
}

#[test]
fn damaged_compression() {
    let whole = frame(&(0..=255).cycle().take(4000).collect::<Vec<u8>>());
    for method in METHODS {
        let mut packed = Vec::new();
        pack(&whole, method, Level::Default, &mut packed).unwrap();
        assert_eq!(unpack_frame(&packed, 0).unwrap(), whole);
        for len in (14..packed.len()).step_by(5).chain([packed.len() - 1]) {
            assert!(unpack_frame(&packed[..len], 0).is_err(), "{method:?} cut at {len}");
        }
    }
}

#[test]
fn compression_of_what_is_not_one_frame() {
    let whole = frame(&[0xff; 20]);
    let twice = [&whole[..], &whole].concat();
    let mut short = whole.clone();
    short[5] = 7;
    for method in METHODS {
        let unpacked = |inner: &[u8]| {
            let mut packed = Vec::new();
            pack(inner, method, Level::Default, &mut packed).unwrap();
            unpack_frame(&packed, 0)
        };
        assert!(matches!(unpacked(&twice), Err(UnpackError::NotOneFrame { .. })));
        assert!(matches!(unpacked(&whole[..20]), Err(UnpackError::NotOneFrame { .. })));
        assert!(matches!(unpacked(&short), Err(UnpackError::NoFrame(_))));
    }
}

fn decode(payload: &[u8]) -> Result<AnyMessage, DecodeError> {
    AnyMessage::decode(payload, Generation::V320Dev, &DecodeTables::default(), &Registry::new())
}

/// A reference and a process, for requests.
fn identities() -> (Ref, Pid) {
    let node = Atom::new("dialer@localhost").unwrap();
    (Ref { node, creation: 1, id: [1, 2, 3] }, Pid { node, id: 1001, creation: 1 })
}

#[test]
fn unknown_atom_id() {
    let (reference, source) = identities();
    let mut tables = EncodeTables::default();
    tables.insert_atom(reference.node, 300);
    let mut payload = Vec::new();
    let answer = Answer { error: None, result: postroad_edf::Payload::new(source), reference };
    Encoder::new(&mut payload, &tables).top(&answer).unwrap();
    assert!(matches!(decode(&payload), Err(DecodeError::UnknownAtomId(300))));
}

#[test]
fn unregistered_type() {
    let mut payload = vec![0x83, 0, 9];
    payload.extend_from_slice(b"#main/New\x01\x02");
    assert!(matches!(decode(&payload), Ok(AnyMessage::Unknown(_))));
    // Not even a registered type.
    assert!(decode(&[0x91, 1]).is_err());
}

#[test]
fn another_release_s_layout() {
    let (reference, parent) = identities();
    let spawn = Request::Spawn(Box::new(Spawn::new(reference.node, parent, reference)));
    for wrote in [Generation::V320Dev, Generation::V320, Generation::V330] {
        let mut payload = Vec::new();
        let tables = EncodeTables::default();
        spawn.encode(wrote, &mut Encoder::new(&mut payload, &tables)).unwrap();
        let read =
            |generation| AnyMessage::decode(&payload, generation, &DecodeTables::default(), &Registry::new());
        let Ok(AnyMessage::Request(Request::Spawn(same))) = read(wrote) else { panic!("{:?}", read(wrote)) };
        assert_eq!((same.parent, same.reference), (parent, reference));
    }
}

#[test]
fn bad_registrar_packets() {
    let mut packet = Vec::new();
    Packet::Resolve { node: "r@localhost".into() }.encode(&mut packet).unwrap();
    for len in 0..packet.len() {
        let error = Packet::decode(&packet[..len]).unwrap_err();
        assert!(matches!(error, PacketError::Truncated { .. }), "{len}: {error}");
    }
    assert_eq!(Packet::decode(&[&[2], &packet[1..]].concat()), Err(PacketError::WrongVersion(2)));
    assert_eq!(Packet::decode(&[&[1, 51], &packet[2..]].concat()), Err(PacketError::UnknownType(51)));
    // The type of another packet.
    let error = Packet::decode(&[&[1, 44], &packet[2..]].concat()).unwrap_err();
    assert_eq!(error, PacketError::Malformed { kind: 44, source: BodyError::UnknownType });
    // A name that is no atom.
    let long = Packet::Resolve { node: "x".repeat(256) };
    let mut packet = Vec::new();
    long.encode(&mut packet).unwrap();
    assert!(matches!(Packet::decode(&packet), Err(PacketError::Malformed { kind: 46, .. })));
    // Too many routes for the length field.
    let routes = vec![postroad_wire::esrd::Route::to_port(1); 3000];
    let mut out = b"before".to_vec();
    let error = Packet::ResolveReply { routes, error: None }.encode(&mut out).unwrap_err();
    assert!(matches!(error, PacketError::TooLong(_)), "{error}");
    assert_eq!(out, b"before");
}
