//! Peers that are connected and send values that cannot be read. A message is
//! lost and said to be; a request is answered.

use std::mem::ManuallyDrop;

use postroad::edf::{EncodeTables, Encoder, Opaque, Payload, Pid};
use postroad::{Actor, Context, ExitReason, Message};
use postroad_wire::enp::{Delivery, Head, Name, Target};

use super::Scene;
use super::support::probe;
use super::support::scripted::{SENDER, message_to, request_to};

const ASKED: [u64; 3] = [9, 0, u64::MAX];

/// Sends a payload that cannot be read, as a message and as a request.
async fn unreadable(payload: &[u8], part: &str) {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    link.send_frame(&message_to(scene.echo), payload).await;
    scene.log.says(&["frame dropped", link.local.node.as_str(), part]).await;
    link.send_frame(&request_to(scene.echo, ASKED), payload).await;
    let refusal = link.hears_refusal(ASKED).await;
    assert!(refusal.contains("malformed value") && refusal.contains(part), "{refusal}");
    scene.serves(&mut link).await;
    scene.end().await;
}

#[tokio::test]
async fn garbage() {
    unreadable(b"GET / HTTP/1.1", "unknown type tag 71").await;
}

#[tokio::test]
async fn truncated_value() {
    // A string of 255 bytes of which 2 are there.
    unreadable(&[0x8d, 0, 255, b'a', b'b'], "end of data").await;
}

/// Panics when it is dropped.
#[derive(Message)]
struct Touchy(u8);

impl Drop for Touchy {
    fn drop(&mut self) {
        panic!("touched");
    }
}

#[derive(Message)]
struct Tray {
    touchy: Touchy,
    rest: u32,
}

#[tokio::test]
async fn what_panics_while_it_is_decoded() {
    let tray = ManuallyDrop::new(Tray { touchy: Touchy(1), rest: 2 });
    let mut payload = Vec::new();
    Encoder::new(&mut payload, &EncodeTables::default()).top(&*tray).unwrap();
    payload.pop();
    unreadable(&payload, "decoding it panicked: touched").await;
}

/// What the peer calls the same but describes otherwise.
#[derive(Message, Debug, PartialEq)]
#[message(name = "#payloads/Parcel")]
struct Parcel {
    weight: u32,
    to: String,
}

fn parcel(rest: &[u8]) -> Vec<u8> {
    [b"\x83\x00\x10#payloads/Parcel", rest].concat()
}

#[tokio::test]
async fn fields_that_are_not_there() {
    unreadable(&parcel(&[0, 0, 0, 7]), "#payloads/Parcel cannot be read: end of data").await;
    unreadable(&parcel(&[0, 0, 0, 7]), "compare its fields").await;
    unreadable(&parcel(&[0, 0, 0, 7, 0, 1, 0xff]), "#payloads/Parcel cannot be read: a string is not UTF-8")
        .await;
}

#[tokio::test]
async fn more_fields_than_are_known_are_complained_of() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let (probe, mut inbox) = probe(&scene.node).await;
    link.send_frame(&message_to(probe), &parcel(&[0, 0, 0, 7, 0, 1, b'x', 0, 0, 9])).await;
    let (_, payload) = inbox.recv().await.unwrap();
    assert_eq!(payload.downcast_ref(), Some(&Parcel { weight: 7, to: "x".into() }));
    scene.log.says(&["bytes follow the value", "Parcel", "left=3", link.local.node.as_str()]).await;
    scene.serves(&mut link).await;
    scene.end().await;
}

#[tokio::test]
async fn a_peer_that_sends_nothing_else_does_not_fill_the_log() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    for _ in 0..1000 {
        link.send_frame(&message_to(scene.echo), b"GET / HTTP/1.1").await;
    }
    scene.serves(&mut link).await;
    let lines = scene.log.count("frame dropped");
    assert!((1..100).contains(&lines), "{lines} lines");
    scene.end().await;
}

/// Understands nothing.
struct Deaf;

impl Actor for Deaf {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

#[tokio::test]
async fn what_nobody_handles_is_named_as_the_peer_names_it() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let deaf = scene.node.spawn::<Deaf>(()).await.unwrap();
    link.send_message(deaf, &Opaque::new("#main/New", vec![1u8, 2])).await;
    scene.log.says(&["unhandled message", "Deaf", "payload=\"#main/New\""]).await;
    link.send_message(deaf, &vec![1u32]).await;
    scene.log.says(&["unhandled message", "Deaf", "payload=\"[]uint32\""]).await;
    scene.end().await;
}

#[tokio::test]
async fn an_answer_of_an_unknown_type_is_named_as_the_peer_names_it() {
    let scene = Scene::new().await;
    let asked = Opaque::new("#main/New", vec![1u8, 2]);
    let error = scene.neighbour.call::<u8>(scene.echo, asked).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer is a #main/New, not a u8");
    scene.end().await;
}

#[tokio::test]
async fn elements_that_are_not_there() {
    // An array of 2^28 numbers in 10 bytes (`docs/wire/QUIRKS.md` section 3).
    unreadable(&[0x82, 0, 6, 0x9e, 0x10, 0, 0, 0, 0x9a, 0], "elements are announced").await;
}

#[tokio::test]
async fn nested_too_deeply() {
    let mut nested = vec![0x82, 0, 2, 0x9d, 0x84];
    for _ in 0..100_000 {
        nested.extend([0x9d, 0, 0, 0, 1, 0x82, 0, 2, 0x9d, 0x84]);
    }
    unreadable(&nested, "nested deeper").await;
}

#[tokio::test]
async fn unknown_atom_id() {
    let mut tables = EncodeTables::default();
    let peer = postroad::Atom::new("somebody@nowhere").unwrap();
    tables.insert_atom(peer, 300);
    let mut payload = Vec::new();
    Encoder::new(&mut payload, &tables).top(&Pid { node: peer, id: 1, creation: 1 }).unwrap();
    unreadable(&payload, "has not announced atom id 300").await;
}

#[tokio::test]
async fn unknown_atom_id_as_target() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let (delivery, to) = (Delivery::default(), Target::Name(Name::Cached(999)));
    let payload = link.encode(&1u8);
    link.send_frame(&Head::Message { from: SENDER, delivery, message_id: 0, to }, &payload).await;
    scene.log.says(&["frame dropped", "names the atom 999"]).await;
    link.send_frame(&Head::Request { from: SENDER, delivery, reference: ASKED, to }, &payload).await;
    assert!(link.hears_refusal(ASKED).await.contains("names the atom 999"));
    scene.end().await;
}

#[tokio::test]
async fn unknown_type_id() {
    unreadable(&[0x83, 0x20, 0, 1], "has not announced type id 8192").await;
}

#[tokio::test]
async fn unregistered_type_within_other_data() {
    let scene = Scene::new().await;
    let link = scene.link().await;
    let within = |name| link.encode(&vec![Payload::new(Opaque::new(name, vec![1u8, 2]))]);
    let (new, lines) = (within("#main/New"), within("#main/N\new"));
    scene.end().await;
    unreadable(&new, "unknown type #main/New").await;
    unreadable(&lines, "unknown type #main/N\\new").await;
}

#[tokio::test]
async fn unregistered_type() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    let (probe, mut inbox) = probe(&scene.node).await;
    let unheard_of = Opaque::new("#main/New", vec![1u8, 2]);
    link.send_message(probe, &unheard_of).await;
    let (_, payload) = inbox.recv().await.unwrap();
    assert_eq!(payload.downcast_ref::<Opaque>(), Some(&unheard_of), "it arrives as it is");
    link.send_request(scene.echo, ASKED, &unheard_of).await;
    let answer = link.hears::<Opaque>().await;
    assert_eq!(answer, unheard_of, "and goes back as it came");
    scene.end().await;
}

#[tokio::test]
async fn exit_without_a_reason() {
    let scene = Scene::new().await;
    let mut link = scene.link().await;
    link.send_frame(&Head::Exit { from: SENDER, to: scene.echo.id }, &[0x8d, 0, 1, b'x']).await;
    scene.log.says(&["frame dropped", "a value of type"]).await;
    scene.serves(&mut link).await;
    scene.end().await;
}
