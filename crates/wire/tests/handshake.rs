//! Two of our own machines with each other, and their decisions.
#![allow(clippy::unwrap_used, reason = "a handshake that does not get there fails the test")]

mod pair;

use pair::{Pair, acceptor, cookie, dialer, introduction};
use postroad_edf::Atom;
use postroad_wire::ehs::{
    Accept, AcceptStep, BUSY, Dial, HandshakeError, Introduction, Join, Joined, MAX_CONTROL, MAX_POOL_SIZE,
    Proof, Stage, shared_connection_id,
};
use postroad_wire::{Cookie, NetworkFlags};

#[test]
fn both_sides_hear_what_the_other_said() {
    let (dialed, accepted) = Pair::new().run();
    let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
    assert_eq!(dialed.local, accepted.peer);
    assert_eq!(accepted.local, dialed.peer);
    assert_eq!(dialed.connection_id, accepted.connection_id);
    assert_eq!((dialed.pool_size, accepted.pool_size), (3, 3));
    assert_eq!(dialed.dsn, ["127.0.0.1:11144"]);
}

#[test]
fn bytes_behind_the_handshake_are_the_tail() {
    let mut pair = Pair::new();
    pair.behind_final_accept = b"first frames".to_vec();
    pair.behind_introduce = b"others".to_vec();
    let (dialed, accepted) = pair.run();
    assert_eq!(accepted.unwrap().tail, b"first frames");
    assert_eq!(dialed.unwrap().tail, b"others");
}

#[test]
fn a_pool_of_none_is_a_pool_of_one_and_pools_end_somewhere() {
    for (said, heard) in [(0, 1), (1, 1), (MAX_POOL_SIZE, MAX_POOL_SIZE), (u16::MAX, MAX_POOL_SIZE)] {
        let mut pair = Pair::new();
        pair.pool_size = said;
        let (dialed, accepted) = pair.run();
        assert_eq!(dialed.unwrap().pool_size, heard);
        assert_eq!(accepted.unwrap().pool_size, heard);
    }
}

#[test]
fn certificates_are_proved() {
    let mut pair = Pair::new();
    (pair.shown_certificate, pair.own_certificate) = (Some([7; 20]), Some([7; 20]));
    assert!(pair.run().0.is_ok());
    // Whoever does not care is not shown anything else.
    pair.shown_certificate = None;
    assert!(pair.run().0.is_ok());
}

#[test]
fn a_link_joins() {
    let node = Atom::new("dialer@localhost").unwrap();
    for certificate in [None, Some([7; 20])] {
        let mut join = Join::new(node, "connection", cookie(), [3; 32], certificate);
        let mut accept = Accept::new(acceptor(), cookie(), [4; 32], certificate);
        let step = accept.receive(&[join.poll_transmit().unwrap(), b"sent ahead".to_vec()].concat());
        let Ok(Some(AcceptStep::JoinRequested(request))) = step else { panic!("{step:?}") };
        assert_eq!((request.node, &*request.connection_id), (node, "connection"));
        assert_eq!(request.salt, "03".repeat(32));
        assert_eq!(accept.poll_transmit(), None, "nothing is answered before the decision");
        assert_eq!(accept.accept_join(), Ok(Joined { tail: b"sent ahead".to_vec() }));
        assert_eq!(join.receive(&accept.poll_transmit().unwrap()), Ok(Some(Joined { tail: vec![] })));
        assert_eq!(join.receive(&[]), Err(HandshakeError::OutOfTurn(Stage::Over)));
    }
}

#[test]
fn a_link_joins_by_the_cookie_that_its_connection_was_made_with() {
    let node = Atom::new("dialer@localhost").unwrap();
    let former = || Cookie::new("former");
    let made_with = |id: &str| (id == "old").then(former);
    for (id, proves, expected) in
        [("old", former(), true), ("old", cookie(), false), ("new", cookie(), true), ("new", former(), false)]
    {
        let mut join = Join::new(node, id, proves.clone(), [3; 32], Some([7; 20]));
        let mut accept = Accept::new(acceptor(), cookie(), [4; 32], Some([7; 20]));
        match accept.receive_joins(&join.poll_transmit().unwrap(), made_with) {
            Ok(Some(AcceptStep::JoinRequested(request))) => {
                assert!(expected && request.cookie == proves);
                accept.accept_join().unwrap();
                assert!(join.receive(&accept.poll_transmit().unwrap()).unwrap().is_some());
            }
            Err(HandshakeError::WrongDigest(Proof::Join)) => assert!(!expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_refusal_in_words_is_heard_at_every_stage() {
    let busy = HandshakeError::PeerRejected { reason: BUSY.to_owned() };

    let mut dial = Dial::new(dialer(), None, cookie(), [1; 32], None);
    let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
    accept.reject(BUSY);
    assert_eq!(dial.receive(&accept.poll_transmit().unwrap()), Err(busy.clone()));

    let mut dial = Dial::new(dialer(), None, cookie(), [1; 32], None);
    let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
    accept.receive(&dial.poll_transmit().unwrap()).unwrap();
    dial.receive(&accept.poll_transmit().unwrap()).unwrap();
    accept.receive(&dial.poll_transmit().unwrap()).unwrap().unwrap();
    accept.reject(BUSY);
    assert_eq!(dial.receive(&accept.poll_transmit().unwrap()), Err(busy.clone()));

    let node = Atom::new("dialer@localhost").unwrap();
    let mut join = Join::new(node, "connection", cookie(), [3; 32], None);
    let mut accept = Accept::new(acceptor(), cookie(), [4; 32], None);
    accept.receive(&join.poll_transmit().unwrap()).unwrap().unwrap();
    accept.reject(BUSY);
    assert_eq!(join.receive(&accept.poll_transmit().unwrap()), Err(busy));
}

#[test]
fn decisions_out_of_turn_are_refused() {
    let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
    assert_eq!(accept.accept_join(), Err(HandshakeError::OutOfTurn(Stage::First)));
    assert_eq!(accept.receive(&[]), Err(HandshakeError::OutOfTurn(Stage::Over)));
    let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
    let decision = accept.accept(String::new(), 1, vec![]);
    assert_eq!(decision, Err(HandshakeError::OutOfTurn(Stage::First)));
}

#[test]
fn an_early_end_says_at_what_stage() {
    let mut dial = Dial::new(dialer(), None, cookie(), [1; 32], None);
    let mut accept = Accept::new(acceptor(), cookie(), [2; 32], None);
    assert_eq!(accept.closed(), HandshakeError::Closed(Stage::First));
    assert!(dial.closed().to_string().contains("cookies differ"), "{}", dial.closed());
    accept.receive(&dial.poll_transmit().unwrap()).unwrap();
    dial.receive(&accept.poll_transmit().unwrap()).unwrap();
    assert_eq!(dial.closed(), HandshakeError::Closed(Stage::Accept));
    assert_eq!(accept.closed(), HandshakeError::Closed(Stage::Introduce));
}

#[test]
fn an_introduction_is_cut_to_what_every_release_reads() {
    let mut large = Introduction::clone(&introduction("large@localhost"));
    large.types = (4096..24096).map(|id| (id, format!("#main/{id:0>60}").into())).collect();
    large.atoms = (256..512).map(|id| (id, Atom::new(&format!("atom{id}")).unwrap())).collect();
    large.errors = vec![(32768, "normal".into()), (32769, "x".repeat(40_000).into())];
    large.version.name = "v".repeat(70_000);
    let fitted = large.clone().fit();
    assert_eq!(fitted.atoms, large.atoms);
    assert_eq!(fitted.errors, large.errors[..1], "a text that EDF cannot carry is left out");
    assert_eq!(fitted.types, large.types[..fitted.types.len()], "the first ones stay");

    let mut pair = Pair::new();
    pair.dialer = fitted.clone().into();
    let (dialed, accepted) = pair.run();
    assert_eq!(*accepted.unwrap().peer, fitted);
    let longest = pair.sent_by_dialer.iter().map(Vec::len).max().unwrap();
    let one_more = 4 + large.types[0].1.len();
    let limit = MAX_CONTROL as usize + 6;
    assert!((limit - one_more - 8..limit).contains(&longest), "{longest} of {limit} bytes");
    drop(dialed.unwrap());
    assert_eq!(fitted.clone().fit(), fitted);
}

#[test]
fn flags_that_are_off_are_not_sent() {
    let mut pair = Pair::new();
    let mut dialer = Introduction::clone(&pair.dialer);
    dialer.flags = NetworkFlags::REMOTE_SPAWN;
    pair.dialer = dialer.into();
    assert_eq!(pair.run().1.unwrap().peer.flags, NetworkFlags::NONE);
}

#[test]
fn the_shared_id_does_not_depend_on_who_asks() {
    let one = (Atom::new("a@localhost").unwrap(), 1);
    let other = (Atom::new("b@localhost").unwrap(), 2);
    let id = shared_connection_id(&cookie(), one, other);
    assert_eq!(id, shared_connection_id(&cookie(), other, one));
    assert_eq!(id.len(), 64);
    assert_ne!(id, shared_connection_id(&cookie(), one, (other.0, 3)));
    assert_ne!(id, shared_connection_id(&"other".into(), one, other));
}
