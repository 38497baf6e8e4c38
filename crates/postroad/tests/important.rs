//! Important delivery: what is sent is acknowledged, or it is not known.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::edf::ErrorValue;
use postroad::network::NetworkRoute;
use postroad::{
    Actor, Answer, Atom, CallError, Context, ExitReason, NetworkFlags, Node, Pid, ProcessId, Reply,
    SendError, SpawnOptions,
};
use postroad_wire::enp::{Code, Delivery, Frame, Head, Target};
use support::careful::{Careful, Stuck};
use support::scripted::{Desk, Link, introduction};
use support::{Echo, builder, next, node, port, probe};
use tokio::sync::mpsc;

/// What a peer says of itself that acknowledges.
const ACKNOWLEDGES: NetworkFlags = NetworkFlags::ENABLE.with(NetworkFlags::IMPORTANT_DELIVERY);

async fn pair() -> (Node, Node) {
    let (here, there) = (node("here").await, node("there").await);
    let route = NetworkRoute::to("127.0.0.1", port(&there));
    here.network().connect_with(there.name().as_str(), route).await.unwrap();
    (here, there)
}

fn unknown(there: &Node) -> Pid {
    Pid { node: there.name(), id: 1_000_000, creation: there.creation() }
}

fn name(name: &str, node: &Node) -> ProcessId {
    ProcessId { name: Atom::new(name).unwrap(), node: node.name() }
}

/// What a process can be asked to do by the test.
struct Helper;

/// Make an alias.
#[derive(Debug, Clone, Copy, PartialEq, postroad::Message)]
#[message(name = "#postroad/important/MakeAlias")]
struct MakeAlias;

/// Send a number to that process, with everything being important.
#[derive(Debug, postroad::Message)]
#[message(name = "#postroad/important/SendTo")]
struct SendTo(Pid);

impl Actor for Helper {
    type Args = ();
    type Messages = ();
    type Requests = (MakeAlias, SendTo);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_other(&mut self, _: postroad::Payload, _: &mut Context) -> Result<(), ExitReason> {
        Ok(())
    }
}

impl Answer<MakeAlias> for Helper {
    type Reply = postroad::Alias;

    async fn answer(
        &mut self,
        _: MakeAlias,
        ctx: &mut Context,
    ) -> Result<Reply<postroad::Alias>, ExitReason> {
        Ok(Reply::Now(ctx.create_alias()))
    }
}

impl Answer<SendTo> for Helper {
    type Reply = String;

    async fn answer(&mut self, SendTo(to): SendTo, ctx: &mut Context) -> Result<Reply<String>, ExitReason> {
        let plain = ctx.send(to, 1u8).await.is_ok();
        ctx.set_important_delivery(true);
        let important = ctx.send(to, 1u8).await;
        ctx.set_important_delivery(false);
        let said = important.map_or_else(|error| error.to_string(), |()| "delivered".into());
        Ok(Reply::Now(format!("{plain} {said}")))
    }
}

#[tokio::test]
async fn conformance_v02_v04_v06_important_messages_are_acknowledged() {
    let (here, there) = pair().await;
    let (somebody, mut inbox) = probe(&there).await;
    there.register_name("somebody", somebody).unwrap();
    let helper = there.spawn::<Helper>(()).await.unwrap();
    let alias: postroad::Alias = there.call(helper, MakeAlias).await.unwrap();

    here.send_important(somebody, 1u8).await.unwrap();
    assert_eq!(next::<u8>(&mut inbox).await, 1);
    here.send_important(name("somebody", &there), 2u8).await.unwrap();
    assert_eq!(next::<u8>(&mut inbox).await, 2);
    here.send_important(alias, 3u8).await.unwrap();

    let error = here.send_important(unknown(&there), 4u8).await.unwrap_err();
    assert!(matches!(error, SendError::ProcessUnknown), "{error}");
    let error = here.send_important(name("nobody", &there), 4u8).await.unwrap_err();
    assert!(matches!(error, SendError::ProcessUnknown), "{error}");
    let gone = postroad::Alias { id: [1, 2, 3], ..alias };
    let error = here.send_important(gone, 4u8).await.unwrap_err();
    assert!(matches!(error, SendError::ProcessUnknown), "{error}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn conformance_w04_w05_w06_important_calls_are_refused_at_once() {
    let (here, there) = pair().await;
    let echo = there.spawn::<Echo>(()).await.unwrap();
    there.register_name("echo", echo).unwrap();
    let helper = there.spawn::<Helper>(()).await.unwrap();
    let alias: postroad::Alias = there.call(helper, MakeAlias).await.unwrap();

    assert_eq!(here.call_important::<u8>(echo, 1u8).await.unwrap(), 1);
    assert_eq!(here.call_important::<u8>(name("echo", &there), 2u8).await.unwrap(), 2);
    let made: postroad::Alias = here.call_important(alias, MakeAlias).await.unwrap();
    assert_ne!(made, alias);

    let error = here.call_important::<u8>(unknown(&there), 1u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{error}");
    let error = here.call_important::<u8>(name("nobody", &there), 1u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{error}");
    let gone = postroad::Alias { id: [1, 2, 3], ..alias };
    let error = here.call_important::<u8>(gone, 1u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{error}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn full_mailboxes_and_ending_processes_are_told_apart() {
    let (here, there) = pair().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let bounded = SpawnOptions::new().mailbox_capacity(1);
    let full = there.spawn_with::<Stuck>(tell.clone(), bounded).await.unwrap();
    here.send_important(full, 1u8).await.unwrap();
    told.recv().await.unwrap();
    here.send_important(full, 2u8).await.unwrap();
    let error = here.send_important(full, 3u8).await.unwrap_err();
    assert!(matches!(error, SendError::MailboxFull), "{error}");

    let stuck = there.spawn::<Stuck>(tell.clone()).await.unwrap();
    here.send_important(stuck, 1u8).await.unwrap();
    told.recv().await.unwrap();
    let limit = Duration::from_millis(20);
    let error = here.call_important_with_timeout::<u8>(stuck, 1u8, limit).await.unwrap_err();
    assert!(
        matches!(error, CallError::Timeout(waited) if waited == limit),
        "delivered, not answered: {error}"
    );

    let ending = there.spawn::<Stuck>(tell).await.unwrap();
    there.send_exit(ending, ExitReason::Shutdown).await.unwrap();
    told.recv().await.unwrap();
    let error = here.send_important(ending, 1u8).await.unwrap_err();
    assert!(matches!(error, SendError::ProcessTerminated), "{error}");
    let error = there.send_important(ending, 1u8).await.unwrap_err();
    assert!(matches!(error, SendError::ProcessTerminated), "the same here: {error}");
    let error = here.call_important::<u8>(ending, 1u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::ProcessTerminated)), "{error}");
    let call = here.call_important::<u8>(full, 1u8);
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::MailboxFull)), "{error}");
    for stuck in [full, stuck, ending] {
        assert!(there.kill(stuck));
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn a_process_can_make_all_it_sends_important() {
    let (here, there) = pair().await;
    let helper = here.spawn::<Helper>(()).await.unwrap();
    let (somebody, mut inbox) = probe(&there).await;
    let said: String = here.call(helper, SendTo(unknown(&there))).await.unwrap();
    assert_eq!(said, "true unknown process", "a plain message is gone, an important one is missed");
    let said: String = here.call(helper, SendTo(somebody)).await.unwrap();
    assert_eq!(said, "true delivered");
    for _ in 0..2 {
        next::<u8>(&mut inbox).await;
    }
    here.stop().await;
    there.stop().await;
}

/// A node, and a peer that acknowledges what it likes.
async fn with_peer(flags: NetworkFlags) -> (Node, Link) {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut introduction = introduction("peer");
    introduction.flags = flags;
    let mut link = Link::to(&node, introduction).await;
    let echo = node.spawn::<Echo>(()).await.unwrap();
    link.send_request(echo, [7, 0, u64::MAX], &1u8).await;
    assert_eq!(link.hears::<u8>().await, 1, "the node has the connection");
    (node, link)
}

/// The message id of the next frame, an important message.
async fn important_id(link: &mut Link) -> u64 {
    let frame = link.frame().await;
    match Frame::parse(&frame).unwrap().head {
        Head::Message { delivery, message_id, .. } if delivery.important => message_id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_peer_that_does_not_acknowledge() {
    let (node, mut link) = with_peer(NetworkFlags::ENABLE).await;
    let to = link.sender();
    let error = node.send_important(to, 1u8).await.unwrap_err();
    assert!(matches!(error, SendError::NotSupported { node } if node == to.node), "{error}");
    let error = node.call_important::<u8>(to, 2u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::NotSupported { .. })), "{error}");
    node.send(to, 3u8).await.unwrap();
    assert_eq!(link.hears::<u8>().await, 3, "the first that it hears of");
    node.stop().await;
}

#[tokio::test]
async fn every_code_means_what_it_says() {
    let (node, mut link) = with_peer(ACKNOWLEDGES).await;
    let to = link.sender();
    for (code, ack) in [(Code::Ok, true), (Code::Ok, false), (Code::Terminated, false), (Code::Error, false)]
    {
        let sender = node.clone();
        let sending = tokio::spawn(async move { sender.send_important(to, 1u8).await });
        let reference = [important_id(&mut link).await, 0, 0];
        let (from, addressee) = (to.id, Pid::CORE);
        let head = if ack {
            Head::Ack { from, to: addressee, reference, code }
        } else {
            Head::ResponseError { from, delivery: Delivery::default(), to: addressee, reference, code }
        };
        let payload = match code {
            Code::Error => link.encode(&ErrorValue::new("meta process mailbox is full")),
            _ => Vec::new(),
        };
        link.send_frame(&head, &payload).await;
        match (code, sending.await.unwrap()) {
            (Code::Ok, Ok(())) | (Code::Terminated, Err(SendError::ProcessTerminated)) => {}
            (Code::Error, Err(SendError::Refused { error, .. })) => {
                assert_eq!(error.to_string(), "meta process mailbox is full");
            }
            other => panic!("{other:?}"),
        }
    }
    node.stop().await;
}

/// That a request has arrived is no answer; that it has not is one.
#[tokio::test]
async fn an_acknowledgement_ends_a_call_only_if_it_failed() {
    let (node, mut link) = with_peer(ACKNOWLEDGES).await;
    let (to, caller) = (link.sender(), node.clone());
    let calling = tokio::spawn(async move { caller.call_important::<u8>(to, 1u8).await });
    let frame = link.frame().await;
    let Head::Request { reference, delivery, .. } = Frame::parse(&frame).unwrap().head else {
        panic!("a request")
    };
    assert!(delivery.important);
    for code in [Code::Ok, Code::UnknownProcess] {
        link.send_frame(&Head::Ack { from: to.id, to: Pid::CORE, reference, code }, &[]).await;
    }
    let error = calling.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{error}");
    node.stop().await;
}

/// Neither another peer, nor what the peer acknowledges to another process, nor the
/// end of the connection makes a message delivered.
#[tokio::test]
async fn only_the_peer_acknowledges() {
    let (node, mut link) = with_peer(ACKNOWLEDGES).await;
    let mut forger = {
        let mut introduction = introduction("forger");
        introduction.flags = ACKNOWLEDGES;
        Link::to(&node, introduction).await
    };
    let (to, sender) = (link.sender(), node.clone());
    let sending = tokio::spawn(async move { sender.send_important(to, 1u8).await });
    let reference = [important_id(&mut link).await, 0, 0];
    let delivery = Delivery::default();
    let forged = Head::ResponseError { from: to.id, delivery, to: Pid::CORE, reference, code: Code::Ok };
    forger.send_frame(&forged, &[]).await;
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mistaken = Head::ResponseError { from: to.id, delivery, to: 1001, reference, code: Code::Ok };
    link.send_frame(&mistaken, &[]).await;
    for link in [&mut forger, &mut link] {
        link.send_request(echo, [7, 0, u64::MAX], &1u8).await;
        assert_eq!(link.hears::<u8>().await, 1, "what it sent before has been handled");
    }
    assert!(!sending.is_finished());
    node.network().disconnect(to.node.as_str()).await;
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::NoConnection { .. }), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn silence_is_no_delivery() {
    let (node, mut link) = with_peer(ACKNOWLEDGES).await;
    let (to, sender) = (link.sender(), node.clone());
    let sending = tokio::spawn(async move { sender.send_important(to, 1u8).await });
    important_id(&mut link).await;
    tokio::time::pause();
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Timeout { .. }), "{error}");
    tokio::time::resume();
    node.stop().await;
}

#[tokio::test]
async fn conformance_w08_important_answers_are_confirmed() {
    let (here, there) = pair().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    for (home, caller) in [(&there, &here), (&here, &here)] {
        let careful = home.spawn::<Careful>(tell.clone()).await.unwrap();
        assert_eq!(caller.call::<u8>(careful, 7u8).await.unwrap(), 7);
        told.recv().await.unwrap().unwrap();
        let error = caller.call::<u8>(careful, "no".to_owned()).await.unwrap_err();
        assert!(matches!(&error, CallError::Answer(error) if error.to_string() == "no"), "{error}");
        told.recv().await.unwrap().unwrap();
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn conformance_w08_an_answer_to_nobody_is_reported() {
    let (here, there) = pair().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let careful = there.spawn::<Careful>(tell).await.unwrap();
    // Callers that give up before or after they are answered.
    let hurried = std::time::Duration::ZERO;
    for _ in 0..20 {
        let answer = here.call_with_timeout::<u8>(careful, 7u8, hurried).await;
        match (answer, told.recv().await.unwrap()) {
            (Ok(7), Ok(())) | (Err(CallError::Timeout(_)), Err(SendError::ResponseIgnored)) => {}
            other => panic!("{other:?}"),
        }
    }
    here.stop().await;
    there.stop().await;
}

/// The peer calls, and confirms the answer by its ids or not at all.
#[tokio::test]
async fn conformance_w08_a_peer_confirms_by_the_ids() {
    let (node, mut link) = with_peer(ACKNOWLEDGES).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let careful = node.spawn::<Careful>(tell).await.unwrap();
    let said = [
        (Code::Ok, None),
        (Code::UnknownProcess, None),
        (Code::Error, Some("response ignored")),
        (Code::Error, Some("out of coffee")),
    ];
    for (number, (code, text)) in said.into_iter().enumerate() {
        let reference = [number as u64, 5, u64::MAX];
        link.send_request(careful, reference, &1u8).await;
        let frame = link.frame().await;
        match Frame::parse(&frame).unwrap().head {
            Head::Response { delivery, reference: answered, to, .. } => {
                assert!(delivery.important);
                assert_eq!((answered, to), (reference, link.sender().id));
            }
            other => panic!("{other:?}"),
        }
        let (from, to) = (link.sender().id, careful.id);
        let head = Head::ResponseError { from, delivery: Delivery::default(), to, reference, code };
        let payload = text.map_or_else(Vec::new, |text| link.encode(&ErrorValue::new(text)));
        link.send_frame(&head, &payload).await;
        match (code, text, told.recv().await.unwrap()) {
            (Code::Ok, _, Ok(()))
            | (Code::UnknownProcess, _, Err(SendError::ProcessUnknown))
            | (_, Some("response ignored"), Err(SendError::ResponseIgnored))
            | (_, Some("out of coffee"), Err(SendError::Refused { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn a_caller_whose_node_confirms_nothing_is_told_that_there_is_no_answer() {
    let (node, mut link) = with_peer(NetworkFlags::ENABLE).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let careful = node.spawn::<Careful>(tell).await.unwrap();
    link.send_request(careful, [1, 0, u64::MAX], &1u8).await;
    let frame = link.frame().await;
    let head = Frame::parse(&frame).unwrap().head;
    assert!(matches!(head, Head::ResponseError { code: Code::Terminated, .. }), "{head:?}");
    assert!(matches!(told.recv().await.unwrap(), Err(SendError::NotSupported { .. })));
    node.stop().await;
}

/// The node confirms answers of the peer: taken, or not.
#[tokio::test]
async fn answers_of_the_peer_are_confirmed() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let desk = Desk::open().await;
    let mut local = introduction("peer");
    local.flags = ACKNOWLEDGES;
    desk.leads(&node, local.node);
    let to = Pid { node: local.node, id: 1001, creation: local.creation };
    let caller = node.clone();
    let calling = tokio::spawn(async move { caller.call::<u8>(to, 1u8).await });
    let mut callee = desk.called(local).await;
    callee.hello().await;
    callee.introduce().await;
    let mut link = callee.agreed().await;
    let frame = link.frame().await;
    let Head::Request { reference, from, .. } = Frame::parse(&frame).unwrap().head else {
        panic!("a request")
    };
    let delivery = Delivery { important: true, ..Delivery::default() };
    let answer = Head::Response { from: to.id, delivery, to: from, reference };
    let payload = link.encode(&9u8);
    let taken = (Code::Ok, String::new());
    let ignored = (Code::Error, "response ignored".to_owned());
    for expected in [taken, ignored] {
        link.send_frame(&answer, &payload).await;
        assert_eq!(confirmation(&mut link, to.id, reference).await, expected);
    }
    assert_eq!(calling.await.unwrap().unwrap(), 9);
    let gone = Head::Response { from: to.id, delivery, to: 999_999, reference };
    link.send_frame(&gone, &payload).await;
    assert_eq!(confirmation(&mut link, to.id, reference).await, (Code::UnknownProcess, String::new()));
    node.stop().await;
}

/// What the node says of an important answer of this process.
async fn confirmation(link: &mut Link, responder: u64, asked: [u64; 3]) -> (Code, String) {
    let frame = link.frame().await;
    let Frame { head, payload, order } = Frame::parse(&frame).unwrap();
    match head {
        Head::ResponseError { to, reference, code, delivery, .. } => {
            assert_eq!((to, reference, delivery.important, order), (responder, asked, false, 0));
            let text = match code {
                Code::Error => link.decode::<ErrorValue>(payload).to_string(),
                _ => String::new(),
            };
            (code, text)
        }
        other => panic!("{other:?}"),
    }
}

/// A peer's important messages are acknowledged in the form that it takes.
#[tokio::test]
async fn important_messages_of_the_peer_are_acknowledged() {
    for flags in [ACKNOWLEDGES, ACKNOWLEDGES.with(NetworkFlags::ACK)] {
        let (node, mut link) = with_peer(flags).await;
        let (somebody, mut inbox) = probe(&node).await;
        let delivery = Delivery { important: true, ..Delivery::default() };
        let from = link.sender().id;
        let head = |to| Head::Message { from, delivery, message_id: 77, to: Target::Pid(to) };
        let payload = link.encode(&5u8);
        for (to, payload, expected) in [
            (somebody.id, &payload[..], Code::Ok),
            (999_999, &payload[..], Code::UnknownProcess),
            (somebody.id, &b"no value"[..], Code::Error),
        ] {
            link.send_frame(&head(to), payload).await;
            let frame = link.frame().await;
            let (reference, code) = match Frame::parse(&frame).unwrap().head {
                Head::Ack { reference, code, to, .. } if flags.allows(NetworkFlags::ACK) => {
                    assert_eq!(to, from);
                    (reference, code)
                }
                Head::ResponseError { reference, code, to, .. } if !flags.allows(NetworkFlags::ACK) => {
                    assert_eq!(to, from);
                    (reference, code)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!((reference, code), ([77, 0, 0], expected));
        }
        assert_eq!(next::<u8>(&mut inbox).await, 5);
        node.stop().await;
    }
}

/// Who asks for it all the same is told, instead of waiting for nothing.
#[tokio::test]
async fn a_node_that_is_not_to_acknowledge_refuses() {
    let node = builder("node").pool_size(1).network_flags(NetworkFlags::ENABLE).start().await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    assert!(!link.peer.flags.allows(NetworkFlags::IMPORTANT_DELIVERY));
    let (somebody, mut inbox) = probe(&node).await;
    let important = Delivery { important: true, ..Delivery::default() };
    for (delivery, number) in [(important, 5u8), (Delivery::default(), 6)] {
        let to = Target::Pid(somebody.id);
        let head = Head::Message { from: link.sender().id, delivery, message_id: 77, to };
        let payload = link.encode(&number);
        link.send_frame(&head, &payload).await;
    }
    let frame = link.frame().await;
    let frame = Frame::parse(&frame).unwrap();
    match frame.head {
        Head::ResponseError { reference, code, .. } => {
            assert_eq!((reference, code), ([77, 0, 0], Code::Error))
        }
        other => panic!("{other:?}"),
    }
    let why: ErrorValue = link.decode(frame.payload);
    assert_eq!(why.text().to_string_lossy(), "not allowed");
    assert_eq!(next::<u8>(&mut inbox).await, 6, "only what asks for nothing is delivered");
    node.stop().await;
}
