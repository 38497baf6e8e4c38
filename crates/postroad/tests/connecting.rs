//! How nodes meet, and what each knows of the other (semantics/TESTS.md S).
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use postroad::network::{AcceptorOptions, ConnectError, PeerInfo};
use postroad::{Node, NodeBuilder};
use postroad_wire::Version;
use support::{COOKIE, registrar_options, unique};

/// A node that is found by a registrar of the test's own.
fn registered(name: &str, registrar: &postroad::registrar::EmbeddedOptions) -> NodeBuilder {
    Node::builder(unique(name))
        .cookie(COOKIE)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .embedded_registrar(registrar.clone())
}

/// What a node knows of a peer, as soon as it knows it.
async fn seen(node: &Node, peer: &Node) -> PeerInfo {
    let mut events = node.network().subscribe();
    loop {
        match node.network().peer(peer.name().as_str()) {
            Some(peer) => return peer,
            None => drop(events.recv().await),
        }
    }
}

#[tokio::test]
async fn conformance_s01_s02_a_registered_node_is_found_and_sees_who_came() {
    let registrar = registrar_options();
    let far = registered("far", &registrar).start().await.unwrap();
    let near = registered("near", &registrar).start().await.unwrap();
    let error = near.network().connect("nobody@127.0.0.1").await.unwrap_err();
    assert!(matches!(error, ConnectError::NoRoute(_)), "{error}");
    assert!(far.network().peer(near.name().as_str()).is_none());
    near.network().connect(far.name().as_str()).await.unwrap();
    assert_eq!(seen(&far, &near).await.name, near.name());
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_s03_s04_each_side_knows_what_the_other_is() {
    let registrar = registrar_options();
    let [small, large] = [567_000, 765_000];
    let far = registered("far", &registrar).version("far program", "1.2").max_message_size(small);
    let near = registered("near", &registrar).version("near program", "3.4").max_message_size(large);
    let (far, near) = (far.start().await.unwrap(), near.start().await.unwrap());
    let there = near.network().connect(far.name().as_str()).await.unwrap();
    let (there, here) = (there.info(), seen(&far, &near).await);
    assert_eq!((there.name, there.version.as_str()), (far.name(), "far program:1.2"));
    assert_eq!((here.name, here.version.as_str()), (near.name(), "near program:3.4"));
    assert_eq!((there.creation, here.creation), (far.creation(), near.creation()));
    assert_eq!((there.max_message_size, here.max_message_size), (small, large));
    assert_eq!((there.flags, here.flags), (far.network().info().flags, near.network().info().flags));
    assert_eq!((there.dialed, here.dialed), (true, false));
    for info in [there, &here] {
        assert_eq!((info.handshake.clone(), info.protocol.clone()), (Version::ehs(), Version::enp()));
    }
    near.stop().await;
    far.stop().await;
}
