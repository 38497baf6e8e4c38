use std::collections::BTreeMap;
use std::sync::Arc;

use postroad_edf::Atom;
use postroad_wire::Cookie;
use postroad_wire::ehs::{
    Accept, AcceptStep, Dial, Fingerprint, HandshakeError, Introduction, Join, Proof, Stage, fingerprint,
};

use crate::recorded::{Recorded, Session, text, value};

/// The handshake frames of one link, by side.
struct Link<'a> {
    place: String,
    /// The dialing and the accepting side.
    sides: [&'a str; 2],
    dialed: Vec<Recorded<'a>>,
    accepted: Vec<Recorded<'a>>,
    dialer: Cookie,
    acceptor: Cookie,
    certificate: Option<Fingerprint>,
    /// The name of the accepting node.
    acceptor_name: Atom,
}

impl<'a> Link<'a> {
    fn all(session: &'a Session) -> Vec<Self> {
        let certificate = session.certificate().map(|der| fingerprint(&der));
        session
            .links()
            .into_iter()
            .map(|(link, dialer, acceptor)| {
                let (dialed, accepted) = session
                    .frames()
                    .filter(|frame| frame.link == link && frame.layer == "ehs")
                    .partition(|frame| frame.by == dialer);
                Self {
                    place: format!("{} link {link}", session.name),
                    sides: [dialer, acceptor],
                    dialed,
                    accepted,
                    dialer: session.cookie(dialer),
                    acceptor: session.cookie(acceptor),
                    certificate,
                    acceptor_name: Atom::new(session.node(acceptor).unwrap()).unwrap(),
                }
            })
            .filter(|link| !link.dialed.is_empty())
            .collect()
    }

    /// The recorded salt of a Hello or a Join; any if none was recorded.
    fn salt(frames: &[Recorded<'_>]) -> [u8; 32] {
        let hello = frames.iter().find(|frame| matches!(frame.note, "MessageHello" | "MessageJoin"));
        hello.map_or([0; 32], |hello| hex::decode(text(hello.decoded, "Salt")).unwrap().try_into().unwrap())
    }

    fn bytes(frames: &[Recorded<'_>]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect()
    }

    fn dial(&self, local: Arc<Introduction>) -> Dial {
        Dial::new(local, None, self.dialer.clone(), Self::salt(&self.dialed), self.certificate)
    }

    fn accept(&self, local: Arc<Introduction>) -> Accept {
        Accept::new(local, self.acceptor.clone(), Self::salt(&self.accepted), self.certificate)
    }

    /// Plays the acceptor with the recorded bytes of the dialer. Returns what it
    /// sent and what became of it.
    fn play_acceptor(&self, local: Arc<Introduction>, chunk: usize) -> (Vec<u8>, Outcome) {
        let mut accept = self.accept(local);
        let mut sent = Vec::new();
        let mut steps = Vec::new();
        for bytes in Self::bytes(&self.dialed).chunks(chunk) {
            let mut arrived = bytes;
            loop {
                let step = accept.receive(arrived);
                sent.extend(accept.poll_transmit().into_iter().flatten());
                arrived = &[];
                match step {
                    Err(error) => return (sent, Outcome { steps, error: Some(error) }),
                    Ok(None) => break,
                    Ok(Some(step)) => {
                        match &step {
                            AcceptStep::JoinRequested(_) if self.answer().is_some() => {
                                let joined = accept.accept_join().unwrap();
                                assert!(joined.tail.is_empty(), "{}", self.place);
                            }
                            AcceptStep::Introduced(_) => {
                                let Some(answer) = self.answer() else {
                                    steps.push(step);
                                    return (sent, Outcome { steps, error: None });
                                };
                                let dsn = value(answer.decoded, "PoolDSN").as_array().unwrap();
                                accept
                                    .accept(
                                        text(answer.decoded, "ID").to_owned(),
                                        text(answer.decoded, "PoolSize").parse().unwrap(),
                                        dsn.iter().map(|dsn| dsn.as_str().unwrap().to_owned()).collect(),
                                    )
                                    .unwrap();
                            }
                            _ => {}
                        }
                        let over = !matches!(step, AcceptStep::Introduced(_));
                        steps.push(step);
                        sent.extend(accept.poll_transmit().into_iter().flatten());
                        if over {
                            return (sent, Outcome { steps, error: None });
                        }
                    }
                }
            }
        }
        (sent, Outcome { steps, error: None })
    }

    /// The recorded Accept of the acceptor.
    fn answer(&self) -> Option<&Recorded<'a>> {
        self.accepted.iter().find(|frame| frame.note == "MessageAccept")
    }

    /// Who introduced itself here as dialer, seen by a node of another name.
    fn dialer_introduction(&self) -> Option<Arc<Introduction>> {
        let observer = Arc::new(Introduction::new(Atom::new("observer@nowhere").unwrap(), 1));
        let (_, outcome) = self.play_acceptor(observer, usize::MAX);
        outcome.steps.into_iter().find_map(|step| match step {
            AcceptStep::Introduced(peer) => Some(peer),
            _ => None,
        })
    }

    /// Who introduced itself here as acceptor, seen by a node of another name.
    fn acceptor_introduction(&self) -> Option<Arc<Introduction>> {
        let observer = Arc::new(Introduction::new(Atom::new("observer@nowhere").unwrap(), 1));
        let mut dial = self.dial(observer);
        dial.receive(&Self::bytes(&self.accepted)).unwrap().map(|established| established.peer)
    }
}

struct Outcome {
    steps: Vec<AcceptStep>,
    error: Option<HandshakeError>,
}

/// What both sides of a session said about themselves.
pub(crate) fn introductions(session: &Session) -> BTreeMap<&str, Arc<Introduction>> {
    Link::all(session)
        .into_iter()
        .filter(|link| link.dialed.iter().any(|frame| frame.note == "MessageIntroduce"))
        .flat_map(|link| {
            let [dialer, acceptor] = link.sides;
            [(dialer, link.dialer_introduction().unwrap()), (acceptor, link.acceptor_introduction_or_name())]
        })
        .collect()
}

#[test]
fn vector_sessions_replay_as_dialer() {
    let mut replayed = 0;
    for session in Session::all() {
        for link in Link::all(&session) {
            let place = &link.place;
            let sent = Link::bytes(&link.dialed);
            if link.dialed[0].note == "MessageJoin" {
                let join = link.dialed[0].decoded;
                let mut machine = Join::new(
                    Atom::new(text(join, "Node")).unwrap(),
                    text(join, "ConnectionID"),
                    link.dialer.clone(),
                    Link::salt(&link.dialed),
                    link.certificate,
                );
                assert_eq!(machine.poll_transmit().unwrap(), sent, "{place}");
                let joined = machine.receive(&Link::bytes(&link.accepted)).unwrap();
                match &joined {
                    Some(joined) => assert!(joined.tail.is_empty(), "{place}"),
                    // The acceptor is gone or does not answer a join it does not know.
                    None => assert_eq!(machine.closed(), HandshakeError::Closed(Stage::Join), "{place}"),
                }
                assert_eq!(joined.is_some(), link.answer().is_some(), "{place}");
                replayed += 1;
                continue;
            }
            let Some(local) = link.dialer_introduction() else {
                // Nothing but a Hello was sent: the cookies differ.
                let nobody = Arc::new(Introduction::new(Atom::new("a@localhost").unwrap(), 1));
                let mut dial = link.dial(nobody);
                assert_eq!(dial.poll_transmit().unwrap(), sent, "{place}");
                assert_eq!(dial.closed(), HandshakeError::Closed(Stage::Hello), "{place}");
                replayed += 1;
                continue;
            };
            let mut dial = link.dial(local.clone());
            let mut own = dial.poll_transmit().unwrap();
            let mut established = None;
            for frame in &link.accepted {
                assert_eq!(established, None, "{place}");
                established = dial.receive(&frame.bytes).unwrap();
                own.extend(dial.poll_transmit().into_iter().flatten());
            }
            assert!(own == sent, "{place}: other bytes than recorded");
            match established {
                Some(established) => {
                    let answer = link.answer().unwrap();
                    assert_eq!(established.connection_id, text(answer.decoded, "ID"), "{place}");
                    assert_eq!(established.pool_size.to_string(), text(answer.decoded, "PoolSize"));
                    assert_eq!(established.peer.node, link.acceptor_name, "{place}");
                    assert_eq!(established.local, local);
                    assert!(established.tail.is_empty());
                }
                // The names are equal: the acceptor closed instead of accepting.
                None => assert_eq!(dial.closed(), HandshakeError::Closed(Stage::Accept), "{place}"),
            }
            replayed += 1;
        }
    }
    assert!(replayed >= 19, "only {replayed} links were replayed");
}

#[test]
fn vector_sessions_replay_as_acceptor() {
    let mut endings = [0; 4];
    for session in Session::all() {
        for link in Link::all(&session) {
            let place = &link.place;
            let local = link.acceptor_introduction_or_name();
            for chunk in [usize::MAX, 1000, 1] {
                let (sent, outcome) = link.play_acceptor(local.clone(), chunk);
                assert!(sent == Link::bytes(&link.accepted), "{place}: other bytes than recorded");
                match (outcome.steps.last(), outcome.error) {
                    (Some(AcceptStep::Established(established)), None) => {
                        endings[0] += 1;
                        assert_eq!(established.local, local, "{place}");
                        assert!(established.tail.is_empty(), "{place}");
                    }
                    (Some(AcceptStep::JoinRequested(request)), None) => {
                        endings[1] += 1;
                        let join = link.dialed[0].decoded;
                        assert_eq!(request.node.as_str(), text(join, "Node"), "{place}");
                        assert_eq!(request.connection_id, text(join, "ConnectionID"), "{place}");
                        assert_eq!(request.salt, text(join, "Salt"), "{place}");
                    }
                    (None, Some(HandshakeError::WrongDigest(Proof::Hello))) => endings[2] += 1,
                    (None, Some(HandshakeError::SameName(name))) => {
                        endings[3] += 1;
                        assert_eq!(name, link.acceptor_name, "{place}");
                    }
                    (_, error) => panic!("{place}: an ending that was not recorded: {error:?}"),
                }
            }
        }
    }
    assert!(endings.iter().all(|count| *count > 0), "not every ending was seen: {endings:?}");
}

impl Link<'_> {
    /// What the acceptor said about itself, or at least its name.
    fn acceptor_introduction_or_name(&self) -> Arc<Introduction> {
        let recorded = self.accepted.iter().any(|frame| frame.note == "MessageIntroduce");
        if recorded { self.acceptor_introduction() } else { None }
            .unwrap_or_else(|| Arc::new(Introduction::new(self.acceptor_name, 1)))
    }
}

#[test]
fn vector_introductions_hold_what_the_nodes_said() {
    let mut seen = 0;
    for session in Session::all() {
        for link in Link::all(&session) {
            for (introduction, frames) in [
                (link.dialer_introduction(), &link.dialed),
                (Some(link.acceptor_introduction_or_name()), &link.accepted),
            ] {
                let Some(frame) = frames.iter().find(|frame| frame.note == "MessageIntroduce") else {
                    continue;
                };
                let introduction = introduction.unwrap();
                if !frame.decoded["value"].is_object() {
                    continue;
                }
                let place = &frame.place;
                assert_eq!(introduction.node.as_str(), text(frame.decoded, "Node"), "{place}");
                assert_eq!(introduction.creation.to_string(), text(frame.decoded, "Creation"), "{place}");
                let size = introduction.max_message_size.to_string();
                assert_eq!(size, text(frame.decoded, "MaxMessageSize"), "{place}");
                let pairs = value(frame.decoded, "AtomCache")["pairs"].as_array().into_iter().flatten();
                let said = pairs.map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_str().unwrap()));
                let read = introduction.atoms.iter().map(|(id, atom)| (u64::from(*id), atom.as_str()));
                assert_eq!(read.collect::<BTreeMap<_, _>>(), said.collect(), "{place}");
                assert!(introduction.types.iter().all(|(id, name)| *id >= 4096 && name.starts_with('#')));
                assert!(introduction.errors.iter().all(|(id, _)| *id >= 32768));
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} introductions were compared");
}
