//! A peer that starts again within the same second: its name and its creation
//! are those of its former life, only the connection is another one.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use postroad::edf::ErrorValue;
use postroad::{Alias, Atom, Down, Event, Exit, ExitReason, Node, Payload, Pid, ProcessId, Ref, Watched};
use postroad_wire::ehs::Introduction;
use postroad_wire::enp::any::{Answer, LastEvents, Request, Verb, Watch, WatchTarget};
use postroad_wire::enp::{Head, Name, Subject};
use support::puppet::{Notice, Strings, Wish, puppet, told_exactly, wish};
use support::scripted::{Link, introduction};
use support::{Echo, builder};

const TARGET: u64 = 2000;
const ALIAS: [u64; 3] = [7, 8, 9];
const NAME: &str = "worker";
const EVENT: &str = "news";

/// The peer connects, in whichever of its lives.
async fn rise(node: &Node, local: &Introduction, echo: Pid) -> Link {
    let mut link = Link::to(node, local.clone()).await;
    link.send_message(echo, &1u8).await;
    assert_eq!(link.hears::<u8>().await, 1, "the node has this connection");
    link
}

/// One of everything of the peer that can be watched; the node is the last.
fn targets(peer: Pid) -> [Watched; 5] {
    let Pid { node, creation, .. } = peer;
    let name = |text| Atom::new(text).unwrap();
    [
        Watched::Pid(Pid { id: TARGET, ..peer }),
        Watched::Name(ProcessId { name: name(NAME), node }),
        Watched::Alias(Alias { node, creation, id: ALIAS }),
        Watched::Event(Event { name: name(EVENT), node }),
        Watched::Node(node),
    ]
}

/// Links with all of them and monitors all; the peer grants what it is asked for.
async fn watch(watcher: &Strings, link: &mut Link, targets: &[Watched]) {
    let granted = async {
        loop {
            let Request::Watch(Watch { target, reference, .. }) = link.hears_request().await else {
                panic!("another request")
            };
            let result = match target {
                WatchTarget::Event(_) => Payload::new(LastEvents::None),
                _ => Payload::new(()),
            };
            let answer = link.encode(&Answer { error: None, result, reference });
            link.send_frame(&Head::Any, &answer).await;
        }
    };
    let watched = async {
        for target in targets {
            wish(watcher, Wish::Link, *target).await.unwrap();
            wish(watcher, Wish::Monitor, *target).await.unwrap();
        }
    };
    tokio::select! {
        () = watched => {}
        () = granted => {}
    }
}

/// Of each by its link and by its monitor.
fn ends(targets: &[Watched], reason: &ExitReason) -> Vec<Notice> {
    let of = |subject: &Watched| {
        let (subject, exit) = (*subject, reason.clone());
        let exit = Exit { subject, reason: exit, requested: false };
        [Notice::Exit(exit), Notice::Down(Down { subject, reason: reason.clone() })]
    };
    targets.iter().flat_map(of).collect()
}

#[tokio::test]
async fn a_life_within_the_same_second_is_another_one() {
    let node = builder("second").pool_size(1).keepalive(None).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut watcher = puppet(&node).await;
    watcher.trap_exit().await;
    let local = introduction("phoenix");
    let mut link = rise(&node, &local, echo).await;
    let targets = targets(link.sender());
    let of_peer = &targets[..4];

    let lost = ExitReason::NoConnection;
    watch(&watcher, &mut link, &targets).await;
    drop(link);
    let mut link = rise(&node, &local, echo).await;
    told_exactly(&mut watcher, ends(&targets, &lost)).await;

    watch(&watcher, &mut link, &targets).await;
    let burnt = link.encode(&ErrorValue::new("burnt"));
    for subject in [
        Subject::Pid(TARGET),
        Subject::Name(Name::Inline(NAME.as_bytes())),
        Subject::Alias(ALIAS),
        Subject::Event(Name::Inline(EVENT.as_bytes())),
    ] {
        link.send_frame(&Head::Terminate { subject }, &burnt).await;
    }
    told_exactly(&mut watcher, ends(of_peer, &ExitReason::error("burnt"))).await;

    assert!(node.network().disconnect(link.local.node.as_str()).await);
    told_exactly(&mut watcher, ends(&targets[4..], &lost)).await;
    node.stop().await;
}

/// What the former life watched here is nothing to the present one.
#[tokio::test]
async fn a_later_life_is_not_told_what_the_former_one_watched() {
    let node = builder("second").pool_size(1).keepalive(None).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let (watched, watched_again) = (puppet(&node).await, puppet(&node).await);
    let local = introduction("phoenix");
    let mut link = rise(&node, &local, echo).await;
    monitor(&mut link, watched.pid, 1).await;
    monitor(&mut link, watched_again.pid, 2).await;
    drop(link);

    let mut link = rise(&node, &local, echo).await;
    monitor(&mut link, watched_again.pid, 3).await;
    watched.end(ExitReason::Normal).await;
    node.ended(watched.pid).await;
    watched_again.end(ExitReason::Normal).await;
    let frame = link.frame().await;
    let head = postroad_wire::enp::Frame::parse(&frame).unwrap().head;
    assert_eq!(head, Head::Terminate { subject: Subject::Pid(watched_again.pid.id) });
    node.stop().await;
}

/// Has a process of the peer monitor one of the node.
async fn monitor(link: &mut Link, target: Pid, number: u64) {
    let reference = Ref { node: link.local.node, creation: link.local.creation, id: [number, 0, 0] };
    let (source, target) = (link.sender(), WatchTarget::Pid(target));
    link.ask(&Request::Watch(Watch { verb: Verb::Monitor, source, target, reference })).await;
    let (answer, _) = link.hears_answer().await;
    assert_eq!((answer.reference, answer.error), (reference, None));
}
