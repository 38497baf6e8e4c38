//! How a tunnel is agreed on: both machines against each other, and what a
//! hostile one may say (`docs/wire/TUNNEL.md`).
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

use postroad_edf::Atom;
use postroad_wire::Cookie;
use postroad_wire::tunnel::{
    Admit, Answer, Kind, Knock, MAX_BODY, NegotiationError, Open, Operations, Refusal, Request, Stage, Talk,
    Token, Visitor, Who,
};
use proptest::prelude::*;

const ASKED: [u8; 32] = [1; 32];
const CHALLENGED: [u8; 32] = [2; 32];
const CERTIFICATE: [u8; 20] = [3; 20];

fn atom(name: &str) -> Atom {
    Atom::new(name).unwrap()
}

fn near() -> Atom {
    atom("near@localhost")
}

fn far() -> Atom {
    atom("far@localhost")
}

/// Both sides of a stream, and what may differ.
struct Pair {
    cookies: [&'static str; 2],
    connections: [&'static str; 2],
    peer: Atom,
    token: Option<Token>,
    shown: Option<[u8; 20]>,
    served: Option<[u8; 20]>,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            cookies: ["secret"; 2],
            connections: ["c0ffee"; 2],
            peer: far(),
            token: None,
            shown: None,
            served: None,
        }
    }
}

type Met = (Visitor, Talk, Talk);

impl Pair {
    fn machines(&self) -> (Knock, Admit) {
        let [dialing, accepting] = self.cookies.map(Cookie::new);
        let knock =
            Knock::new(near(), self.peer, self.connections[0], self.token, dialing, ASKED, self.shown);
        (knock, Admit::new(far(), accepting, CHALLENGED, self.served))
    }

    /// Lets both talk until both have proved themselves, or one has had enough.
    fn run(&self) -> Result<Met, NegotiationError> {
        let (mut knock, mut admit) = self.machines();
        let visitor = loop {
            let said = knock.poll_transmit().expect("its turn");
            if let Some(visitor) = admit.receive(&said)? {
                break visitor;
            }
            assert!(knock.receive(&admit.poll_transmit().expect("its turn"))?.is_none());
        };
        let (welcome, accepting) = admit.welcome()?;
        let dialing = knock.receive(&welcome)?.expect("it is over");
        Ok((visitor, dialing, accepting))
    }
}

fn open() -> Request {
    Request::Open(Open {
        target: atom("db@private"),
        hops: 8,
        operations: Operations::LINK.with(Operations::MONITOR),
        patience: 5000,
        path: vec![near()],
    })
}

#[test]
fn both_sides_prove_themselves_and_talk() {
    let pair =
        Pair { token: Some([9; 16]), shown: Some(CERTIFICATE), served: Some(CERTIFICATE), ..Pair::default() };
    let (visitor, mut dialing, mut accepting) = pair.run().unwrap();
    let (token, cookie) = (Some([9; 16]), Cookie::new("secret"));
    let expected = Visitor { node: near(), connection_id: "c0ffee".into(), token, cookie };
    assert_eq!(visitor, expected);
    assert_eq!(accepting.request(&dialing.ask(&open())).unwrap(), Some(open()));
    let answer =
        Answer::Opened { operations: Operations::LINK, path: vec![near(), far(), atom("db@private")] };
    assert_eq!(dialing.answer(&accepting.reply(&answer)).unwrap(), Some(answer));
}

/// In portions of one byte.
#[test]
fn it_does_not_matter_how_the_stream_is_cut() {
    let (mut knock, mut admit) = Pair::default().machines();
    let feed =
        |bytes: Vec<u8>, admit: &mut Admit| bytes.iter().find_map(|byte| admit.receive(&[*byte]).unwrap());
    assert!(feed(knock.poll_transmit().unwrap(), &mut admit).is_none());
    for byte in admit.poll_transmit().unwrap() {
        assert!(knock.receive(&[byte]).unwrap().is_none());
    }
    assert!(feed(knock.poll_transmit().unwrap(), &mut admit).is_some());
}

#[test]
fn whoever_does_not_know_the_cookie_gets_no_proof_of_it() {
    let pair = Pair { cookies: ["guessed", "secret"], ..Pair::default() };
    let (mut knock, mut admit) = pair.machines();
    admit.receive(&knock.poll_transmit().unwrap()).unwrap();
    knock.receive(&admit.poll_transmit().unwrap()).unwrap();
    let refused = admit.receive(&knock.poll_transmit().unwrap());
    assert_eq!(refused, Err(NegotiationError::WrongProof { who: Who::Dialing }));
    assert_eq!(admit.poll_transmit(), None, "nothing that was made from the cookie");
    assert!(admit.welcome().is_err(), "whoever failed is not let in by mistake");
}

#[test]
fn the_proof_is_bound_to_both_ends_and_the_certificate() {
    let meant_for_another = Pair { peer: atom("other@localhost"), ..Pair::default() };
    let wrong = |pair: Pair| pair.run().unwrap_err();
    assert_eq!(wrong(meant_for_another), NegotiationError::WrongProof { who: Who::Dialing });
    let in_between = Pair { shown: Some([4; 20]), served: Some(CERTIFICATE), ..Pair::default() };
    assert_eq!(wrong(in_between), NegotiationError::WrongProof { who: Who::Dialing });
    let stripped = Pair { shown: Some(CERTIFICATE), served: None, ..Pair::default() };
    assert_eq!(wrong(stripped), NegotiationError::WrongProof { who: Who::Dialing });
    let does_not_look = Pair { shown: None, served: Some(CERTIFICATE), ..Pair::default() };
    does_not_look.run().unwrap();
}

/// What is in between with a certificate of its own learns nothing that it could
/// use: what the dialing side proves holds for that certificate only.
#[test]
fn a_proof_that_was_made_for_another_certificate_is_worth_nothing() {
    let (mut knock, mut admit) =
        Pair { shown: Some([4; 20]), served: Some(CERTIFICATE), ..Pair::default() }.machines();
    admit.receive(&knock.poll_transmit().unwrap()).unwrap();
    knock.receive(&admit.poll_transmit().unwrap()).unwrap();
    let passed_on = admit.receive(&knock.poll_transmit().unwrap());
    assert_eq!(passed_on, Err(NegotiationError::WrongProof { who: Who::Dialing }));
}

/// Who knows the cookie must prove the certificate as well.
#[test]
fn a_welcome_without_the_certificate_is_not_enough() {
    let welcome = {
        let (mut knock, mut admit) = Pair::default().machines();
        admit.receive(&knock.poll_transmit().unwrap()).unwrap();
        knock.receive(&admit.poll_transmit().unwrap()).unwrap();
        admit.receive(&knock.poll_transmit().unwrap()).unwrap();
        admit.welcome().unwrap().0
    };
    let pair = Pair { shown: Some(CERTIFICATE), served: Some(CERTIFICATE), ..Pair::default() };
    let (mut knock, mut admit) = pair.machines();
    admit.receive(&knock.poll_transmit().unwrap()).unwrap();
    knock.receive(&admit.poll_transmit().unwrap()).unwrap();
    assert_eq!(knock.receive(&welcome).unwrap_err(), NegotiationError::WrongCertificate);
}

/// A connection keeps the cookie that it was made with, whatever holds at the door
/// by now.
#[test]
fn the_cookie_of_the_connection_is_what_is_proved() {
    let made_with = |id: &str| (id == "c0ffee").then(|| Cookie::new("of old"));
    let meet = |known: &'static str, id: &'static str| {
        let pair = Pair { cookies: [known, "of today"], connections: [id; 2], ..Pair::default() };
        let (mut knock, mut admit) = pair.machines();
        admit.receive_for(&knock.poll_transmit().unwrap(), made_with)?;
        knock.receive(&admit.poll_transmit().unwrap())?;
        let visitor = admit.receive_for(&knock.poll_transmit().unwrap(), made_with)?.expect("it has proved");
        knock.receive(&admit.welcome()?.0)?.expect("it is over");
        Ok(visitor.cookie)
    };
    let wrong = Err(NegotiationError::WrongProof { who: Who::Dialing });
    assert_eq!(meet("of old", "c0ffee"), Ok(Cookie::new("of old")));
    assert_eq!(meet("of today", "c0ffee"), wrong);
    assert_eq!(meet("of old", "another"), wrong);
    assert_eq!(meet("of today", "another"), Ok(Cookie::new("of today")));
}

/// What was recorded does not help: the challenge is another one.
#[test]
fn a_recorded_proof_is_worth_nothing() {
    let (mut knock, mut admit) = Pair::default().machines();
    let knocked = knock.poll_transmit().unwrap();
    admit.receive(&knocked).unwrap();
    knock.receive(&admit.poll_transmit().unwrap()).unwrap();
    let proof = knock.poll_transmit().unwrap();
    let mut again = Admit::new(far(), Cookie::new("secret"), [7; 32], None);
    again.receive(&knocked).unwrap();
    assert_eq!(again.receive(&proof), Err(NegotiationError::WrongProof { who: Who::Dialing }));
}

#[test]
fn a_visitor_may_be_turned_away() {
    let (mut knock, mut admit) = Pair::default().machines();
    admit.receive(&knock.poll_transmit().unwrap()).unwrap();
    knock.receive(&admit.poll_transmit().unwrap()).unwrap();
    admit.receive(&knock.poll_transmit().unwrap()).unwrap().unwrap();
    let refused = admit.refuse(Refusal::UnknownConnection).unwrap();
    let error = knock.receive(&refused).unwrap_err();
    assert_eq!(error, NegotiationError::Refused { hop: far(), reason: Refusal::UnknownConnection });
    assert_eq!(error.to_string(), "far@localhost refused: it knows no such connection; connect anew");
}

/// A tunnel is not even read about before both have proved themselves.
#[test]
fn a_request_before_the_proof_is_out_of_turn() {
    let (_, dialing, _) = Pair::default().run().unwrap();
    let asked = dialing.ask(&open());
    let (_, mut admit) = Pair::default().machines();
    let error = NegotiationError::Unexpected { stage: Stage::Knock, got: Kind::Open };
    assert_eq!(admit.receive(&asked), Err(error));
    let (mut knock, mut admit) = Pair::default().machines();
    admit.receive(&knock.poll_transmit().unwrap()).unwrap();
    let error = NegotiationError::Unexpected { stage: Stage::Proof, got: Kind::Open };
    assert_eq!(admit.receive(&asked), Err(error));
}

#[test]
fn a_welcome_before_the_challenge_proves_nothing() {
    let (mut knock, _) = Pair::default().machines();
    let welcome = {
        let (mut other, mut admit) = Pair::default().machines();
        admit.receive(&other.poll_transmit().unwrap()).unwrap();
        other.receive(&admit.poll_transmit().unwrap()).unwrap();
        admit.receive(&other.poll_transmit().unwrap()).unwrap();
        admit.welcome().unwrap().0
    };
    let error = NegotiationError::Unexpected { stage: Stage::Challenge, got: Kind::Welcome };
    assert_eq!(knock.receive(&welcome).unwrap_err(), error);
}

#[test]
fn headers_are_refused_as_soon_as_they_are_there() {
    let receive = |bytes: &[u8]| Pair::default().machines().1.receive(bytes).unwrap_err();
    let stage = Stage::Knock;
    assert_eq!(receive(&[0x57]), NegotiationError::WrongMagic { stage, got: 0x57 });
    assert_eq!(receive(&[0x50, 2]), NegotiationError::WrongVersion { stage, got: 2 });
    assert_eq!(receive(&[0x50, 1, 99, 0, 0]), NegotiationError::UnknownKind { stage, got: 99 });
    let announced = MAX_BODY + 1;
    let [high, low] = announced.to_be_bytes();
    assert_eq!(receive(&[0x50, 1, 1, high, low]), NegotiationError::TooLong { stage, announced });
    let ahead = NegotiationError::SpokeAhead { stage, bytes: 1 };
    let knock = [Pair::default().machines().0.poll_transmit().unwrap(), vec![0]].concat();
    assert_eq!(receive(&knock), ahead);
}

#[test]
fn a_path_has_an_end() {
    let mut body = vec![0, 0, 35];
    (0..35).for_each(|_| body.extend([0, 1, b'a']));
    let arrival = [&[0x50, 1, 6, 0, body.len() as u8], &body[..]].concat();
    let (_, _, mut accepting) = Pair::default().run().unwrap();
    let error = NegotiationError::PathTooLong { stage: Stage::Request, len: 35 };
    assert_eq!(accepting.request(&arrival), Err(error));
}

/// Who asked for the stream asks on it, and does so behind its Welcome.
#[test]
fn whoever_summoned_may_ask_at_once() {
    for token in [Some([9; 16]), None] {
        let (mut knock, mut admit) = Pair { token, ..Pair::default() }.machines();
        admit.receive(&knock.poll_transmit().unwrap()).unwrap();
        knock.receive(&admit.poll_transmit().unwrap()).unwrap();
        admit.receive(&knock.poll_transmit().unwrap()).unwrap().unwrap();
        let (welcome, talk) = admit.welcome().unwrap();
        let asked = talk.ask(&open());
        let met = knock.receive(&[&welcome[..], &asked].concat());
        match token {
            Some(_) => assert_eq!(met.unwrap().unwrap().request(&[]), Ok(Some(open()))),
            None => {
                let ahead = NegotiationError::SpokeAhead { stage: Stage::Welcome, bytes: asked.len() };
                assert_eq!(met.unwrap_err(), ahead);
            }
        }
    }
}

/// The first words of the other end may come at once with the answer: whoever reads
/// what is wanted and no more leaves them alone.
#[test]
fn who_reads_what_is_wanted_stops_behind_the_answer() {
    let (_, mut asking, answering) = Pair::default().run().unwrap();
    let opened = Answer::Opened { operations: Operations::LINK, path: vec![near(), far()] };
    let stream = [answering.reply(&opened), b"who is there?".to_vec()].concat();
    let (mut rest, mut answer) = (&stream[..], asking.answer(&[]));
    while answer == Ok(None) {
        let (read, left) = rest.split_at(asking.wants());
        assert!(!read.is_empty());
        (rest, answer) = (left, asking.answer(read));
    }
    assert_eq!((answer, rest), (Ok(Some(opened)), &b"who is there?"[..]));
}

/// A stranger's guesses fill no table of names.
#[test]
fn the_name_of_a_stranger_is_not_kept() {
    let name = "a-stranger-nobody-knows@localhost";
    let mut body = vec![1; 32];
    body.extend([0, name.len() as u8]);
    body.extend(name.as_bytes());
    body.extend([0, 0, 0]);
    let knock = [&[0x50, 1, 1, 0, body.len() as u8], &body[..]].concat();
    let (_, mut admit) = Pair::default().machines();
    assert_eq!(admit.receive(&knock), Ok(None));
    assert_eq!(Atom::existing(name), None);
}

/// The bytes as they are, so that they stay so.
#[test]
fn golden_bytes() {
    let (mut knock, mut admit) = Pair { token: Some([9; 16]), ..Pair::default() }.machines();
    let hello = knock.poll_transmit().unwrap();
    let front = "5001010049";
    let nonce = "01".repeat(32);
    let names = format!("000e{}0006{}", hex::encode("near@localhost"), hex::encode("c0ffee"));
    assert_eq!(hex::encode(&hello), format!("{front}{nonce}{names}01{}", "09".repeat(16)));
    admit.receive(&hello).unwrap();
    let challenge = admit.poll_transmit().unwrap();
    assert_eq!(hex::encode(&challenge), format!("5001020020{}", "02".repeat(32)));
    knock.receive(&challenge).unwrap();
    assert_eq!(
        hex::encode(knock.poll_transmit().unwrap()),
        "5001030020bac98cea7bf868167fceb4e09e975f421ede578a400dbb267b8774d62ab07195"
    );
    let (_, dialing, accepting) = Pair::default().run().unwrap();
    let names = [hex::encode("db@private"), hex::encode("near@localhost")];
    let asked = format!("5001050024000a{}0800030000138801000e{}", names[0], names[1]);
    assert_eq!(hex::encode(dialing.ask(&open())), asked);
    let refused = Answer::Refused { hop: far(), reason: Refusal::HopsExhausted };
    assert_eq!(
        hex::encode(accepting.reply(&refused)),
        format!("5001080010000d{}03", hex::encode("far@localhost"))
    );
}

proptest! {
    /// Whatever arrives ends in a value or a named error.
    #[test]
    fn any_bytes_end_in_a_named_error(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..50) {
        let (mut knock, mut admit) = Pair::default().machines();
        let (_, mut dialing, mut accepting) = Pair::default().run().unwrap();
        for portion in bytes.chunks(cut) {
            let _ = (admit.receive(portion), knock.receive(portion));
            let _ = (accepting.request(portion), dialing.answer(portion));
        }
    }

    #[test]
    fn requests_and_answers_round_trip(
        hops: u8, bits: u16, patience: u32, names in prop::collection::vec("[a-z]{1,9}@[a-z]{1,9}", 0..34), code: u8,
    ) {
        let path: Vec<Atom> = names.iter().map(|name| atom(name)).collect();
        let operations = Operations::from_bits(bits);
        let requests = [
            Request::Open(Open { target: far(), hops, operations, patience, path: path.clone() }),
            Request::Arrival { operations, path: path.clone() },
        ];
        for request in requests {
            let (_, dialing, mut accepting) = Pair::default().run().unwrap();
            prop_assert_eq!(accepting.request(&dialing.ask(&request)).unwrap(), Some(request));
        }
        let reason = if (1..=16).contains(&code) { Refusal::Loop } else { Refusal::Other(code) };
        for answer in [Answer::Opened { operations, path }, Answer::Refused { hop: near(), reason }] {
            let (_, mut dialing, accepting) = Pair::default().run().unwrap();
            prop_assert_eq!(dialing.answer(&accepting.reply(&answer)).unwrap(), Some(answer));
        }
    }
}
