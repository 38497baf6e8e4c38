//! What a peer's node asks of a node, beside messages and calls.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::edf::ErrorValue;
use postroad::{Actor, Alias, Atom, CallError, Context, Event, ExitReason, Payload, Pid, ProcessId, Reply};
use postroad_wire::enp::any::{
    Answer, ApplicationInfo, ApplicationStart, LastEvents, Request, Spawn, Verb, Watch, WatchTarget,
};
use postroad_wire::enp::{Frame, Head, Subject, order};
use support::log::Log;
use support::scripted::{Link, introduction};
use support::{Echo, builder};

/// All there is to watch on a node.
fn targets(node: Atom, creation: i64) -> [WatchTarget; 4] {
    let name = Atom::new("something").unwrap();
    [
        WatchTarget::Pid(Pid { node, id: 1001, creation }),
        WatchTarget::Name(ProcessId { name, node }),
        WatchTarget::Alias(Alias { node, creation, id: [5, 6, 7] }),
        WatchTarget::Event(Event { name, node }),
    ]
}

const VERBS: [Verb; 4] = [Verb::Link, Verb::Unlink, Verb::Monitor, Verb::Demonitor];

async fn refused(link: &mut Link, request: &Request) -> (String, Payload, u8) {
    link.ask(request).await;
    let (Answer { error, result, reference }, order) = link.hears_answer().await;
    assert_eq!(reference, request.reference(), "the reference comes back as it was");
    (error.expect("it is refused").to_string(), result, order)
}

#[tokio::test]
async fn every_watch_of_what_is_not_there_is_answered() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let source = link.sender();
    for (number, (verb, target)) in VERBS
        .iter()
        .flat_map(|verb| targets(node.name(), node.creation()).map(|target| (*verb, target)))
        .enumerate()
    {
        let watch = Watch { verb, source, target, reference: link.reference(number as u64) };
        let (error, result, byte) = refused(&mut link, &Request::Watch(watch)).await;
        let why = match (verb, target) {
            (Verb::Unlink | Verb::Demonitor, _) => "unknown target",
            (_, WatchTarget::Pid(_) | WatchTarget::Name(_)) => "unknown process",
            (_, WatchTarget::Alias(_)) => "unknown alias",
            (_, WatchTarget::Event(_)) => "unknown event",
        };
        assert_eq!((&*error, byte), (why, order(source.id)), "{watch:?}");
        match (verb, target) {
            (Verb::Link | Verb::Monitor, WatchTarget::Event(_)) => {
                assert!(matches!(result.downcast_ref::<LastEvents>(), Some(None)), "{watch:?}: {result:?}");
            }
            _ => assert!(result.is::<()>(), "{watch:?}: {result:?}"),
        }
    }
    node.stop().await;
}

/// Ergo loses answers that come fast, and whoever asked may try again.
#[tokio::test]
async fn what_is_watched_already_is_granted_again_and_its_end_is_told_once() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let (target, echo) = (node.spawn::<Echo>(()).await.unwrap(), node.spawn::<Echo>(()).await.unwrap());
    for (number, verb) in [Verb::Link, Verb::Link, Verb::Monitor, Verb::Monitor].into_iter().enumerate() {
        let reference = link.reference(number as u64);
        let watch = Watch { verb, source: link.sender(), target: WatchTarget::Pid(target), reference };
        link.ask(&Request::Watch(watch)).await;
        let (answer, _) = link.hears_answer().await;
        assert_eq!((answer.error, answer.reference), (None, reference), "{verb:?}");
    }
    assert!(node.kill(target));
    let frame = link.frame().await;
    let Frame { head: Head::Terminate { subject }, .. } = Frame::parse(&frame).unwrap() else {
        panic!("an end is told: {frame:?}")
    };
    assert!(matches!(subject, Subject::Pid(id) if id == target.id), "{subject:?}");
    link.send_request(echo, [7, 0, u64::MAX], &1u8).await;
    assert_eq!(link.hears::<u8>().await, 1, "and nothing else is told");
    node.stop().await;
}

/// A peer that asks in the name of others, or for what is not ours.
#[tokio::test]
async fn conformance_x14_no_relay() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let (peer, third) = (link.sender(), Atom::new("third@127.0.0.1").unwrap());
    let stranger = Pid { node: third, ..peer };
    let reference = link.reference(1);
    for verb in VERBS {
        for target in targets(third, 1) {
            let watch = Watch { verb, source: peer, target, reference };
            let (error, ..) = refused(&mut link, &Request::Watch(watch)).await;
            assert_eq!(error, "not allowed", "{watch:?}");
        }
        for target in targets(node.name(), node.creation()) {
            let watch = Watch { verb, source: stranger, target, reference };
            let (error, ..) = refused(&mut link, &Request::Watch(watch)).await;
            assert_eq!(error, "not allowed", "{watch:?}");
        }
    }
    let spawn = Spawn::new(Atom::new("worker").unwrap(), stranger, reference);
    let (error, ..) = refused(&mut link, &Request::Spawn(Box::new(spawn))).await;
    assert_eq!(error, "not allowed");
    let start = ApplicationStart::new(Atom::new("shop").unwrap(), stranger, reference);
    let (error, ..) = refused(&mut link, &Request::ApplicationStart(Box::new(start))).await;
    assert_eq!(error, "not allowed");
    node.stop().await;
}

/// Their layouts differ between releases, which are told apart by the types
/// that a peer announces.
#[tokio::test]
async fn spawn_and_applications_of_every_release_are_answered() {
    const SINCE_V320: &str = "#ergo.services/ergo/net/proto/MessageApplicationInfo";
    const SINCE_V330: &str = "#ergo.services/ergo/gen/Tracing";
    let node = builder("node").pool_size(1).start().await.unwrap();
    for release in [&[][..], &[SINCE_V320], &[SINCE_V320, SINCE_V330]] {
        let mut introduction = introduction("peer");
        introduction.types = (4096..).zip(release.iter().map(|name| (*name).into())).collect();
        let mut link = Link::to(&node, introduction).await;
        let core = Pid { id: Pid::CORE, ..link.sender() };
        let name = Atom::new("worker").unwrap();

        let spawn = Spawn::new(name, link.sender(), link.reference(1));
        let (error, result, byte) = refused(&mut link, &Request::Spawn(Box::new(spawn))).await;
        assert_eq!((&*error, byte), ("unknown name", order(link.sender().id)));
        let nobody = Pid { node: Atom::empty(), id: 0, creation: 0 };
        assert_eq!(result.downcast_ref::<Pid>(), Some(&nobody), "a process id that is none");

        let start = ApplicationStart::new(name, core, link.reference(2));
        let (error, result, byte) = refused(&mut link, &Request::ApplicationStart(Box::new(start))).await;
        assert_eq!((&*error, result.is::<()>(), byte), ("unknown name", true, 0));

        let info = ApplicationInfo { name, reference: link.reference(3) };
        let (error, result, byte) = refused(&mut link, &Request::ApplicationInfo(info)).await;
        assert_eq!((&*error, result.is::<()>(), byte), ("unknown application", true, 0));
    }
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_dropped_by_name() {
    let log = Log::start();
    let node = builder("node").pool_size(1).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let unknown = postroad::edf::Opaque::new("#ergo.services/ergo/net/proto/MessageUpdateCache", vec![1u8]);
    link.send_frame(&Head::Any, &link.encode(&unknown)).await;
    log.says(&["frame dropped", "it asks for #ergo.services/ergo/net/proto/MessageUpdateCache"]).await;
    link.send_frame(&Head::Any, b"GET / HTTP/1.1").await;
    log.says(&["frame dropped", "cannot be decoded"]).await;
    let answer = Answer { error: None, result: Payload::new(()), reference: link.reference(1) };
    link.send_frame(&Head::Any, &link.encode(&answer)).await;
    log.says(&["answer to no request"]).await;
    link.send_request(echo, [7, 0, u64::MAX], &1u8).await;
    assert_eq!(link.hears::<u8>().await, 1, "the link lives on");
    node.stop().await;
}

/// Answers everything with a long error.
struct Stern;

impl Actor for Stern {
    type Args = ();
    type Messages = ();
    type Requests = ();

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn answer_other(&mut self, _: Payload, _: &mut Context) -> Result<Reply<Payload>, ExitReason> {
        Ok(Reply::Error(ErrorValue::new("no".repeat(15_000))))
    }
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_holds_up_nobody_by_errors() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let stern = node.spawn::<Stern>(()).await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    // 30 MB of answers: more than the sockets and the node hold.
    for number in 0..1000 {
        link.send_request(stern, [number, 0, u64::MAX], &1u8).await;
    }
    let error = node.call_with_timeout::<u8>(stern, 1u8, Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, CallError::Answer(_)), "{error}");
    node.stop().await;
}
