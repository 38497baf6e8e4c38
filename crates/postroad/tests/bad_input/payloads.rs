//! Peers that are connected and send values that cannot be read. A message is
//! lost and said to be; a request is answered.

use std::mem::ManuallyDrop;

use postroad::Message;
use postroad::edf::{EncodeTables, Encoder, Opaque, Payload, Pid};
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
    let within = vec![Payload::new(Opaque::new("#main/New", vec![1u8, 2]))];
    let payload = link.encode(&within);
    scene.end().await;
    unreadable(&payload, "unknown type #main/New").await;
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
