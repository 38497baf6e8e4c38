//! With a peer that follows a script: what travels, and what a bad peer gets.

use postroad::{Pid, Ref};
use postroad_wire::enp::any::{LastEvents, Request, Verb, Watch, WatchTarget};
use postroad_wire::enp::{self, Frame, Head, Name};

use super::*;
use crate::support::puppet::puppet;
use crate::support::scripted::{Link, introduction};
use crate::support::{next, node, port, probe};

async fn connected(node: &Node) -> Link {
    Link::to(node, introduction("scripted")).await
}

/// Has a process of the peer monitor the event, and returns what was kept.
async fn subscribe(link: &mut Link, node: &Node, source: u64, number: u64) -> Vec<u32> {
    let reference = Ref { node: link.local.node, creation: link.local.creation, id: [number, 0, 0] };
    let source = Pid { id: source, ..link.sender() };
    let target = WatchTarget::Event(event_of(node));
    link.ask(&Request::Watch(Watch { verb: Verb::Monitor, source, target, reference })).await;
    let (answer, order) = link.hears_answer().await;
    assert_eq!(answer.reference, reference);
    assert!(answer.error.is_none(), "{answer:?}");
    assert_eq!(order, enp::order(source.id));
    let last = answer.result.downcast::<LastEvents>().unwrap_or_else(|other| panic!("{other:?}"));
    let last = last.into_iter().flatten();
    last.map(|kept| *kept.message.downcast_ref().unwrap()).collect()
}

fn event_frame(name: Name<'_>, payload: &[u8]) -> Vec<u8> {
    let head = Head::Event { from: 1001, priority: enp::Priority::Normal, timestamp: 1, name };
    crate::support::scripted::frame(&head, payload)
}

#[tokio::test]
async fn conformance_y01_y03_one_frame_for_all_subscribers_of_a_node() {
    let node = node("wire").await;
    let mut link = connected(&node).await;
    let token = node.register_event(NAME, EventOptions::new().buffer(2)).unwrap();
    assert!(subscribe(&mut link, &node, 2001, 1).await.is_empty());
    for number in 1..=3u32 {
        node.publish(NAME, &token, number).await.unwrap();
        let bytes = link.frame().await;
        let Frame { head, payload, order } = Frame::parse(&bytes).unwrap();
        let Head::Event { from, timestamp, name, .. } = head else { panic!("{head:?}") };
        assert_eq!((from, order), (Pid::CORE, enp::order(Pid::CORE)));
        assert!(timestamp > 1_700_000_000_000_000_000);
        assert_eq!(name, Name::Inline(NAME.as_bytes()));
        assert_eq!(link.decode::<u32>(payload), number);
        // A second subscriber there means no second frame.
        if number == 2 {
            assert_eq!(subscribe(&mut link, &node, 2002, 2).await, [1, 2]);
        }
    }
    node.unregister_event(NAME).unwrap();
    let end = link.frame().await;
    let Frame { head, payload, .. } = Frame::parse(&end).unwrap();
    assert_eq!(head, Head::Terminate { subject: enp::Subject::Event(Name::Inline(NAME.as_bytes())) });
    assert_eq!(*link.decode::<postroad::edf::ErrorValue>(payload).text(), "unregistered");
    node.stop().await;
}

#[tokio::test]
async fn a_bad_publication_costs_itself_only() {
    let (node, far) = (node("hostile").await, node("honest").await);
    let route = postroad::network::NetworkRoute::to("127.0.0.1", port(&far));
    node.network().add_route(&postroad::network::exact(far.name().as_str()), route, 1).unwrap();
    let token = far.register_event(NAME, EventOptions::new()).unwrap();
    let mut subscriber = puppet(&node).await;
    link(&subscriber, event_of(&far)).await.unwrap();
    let (inbox, mut messages) = probe(&node).await;

    let mut peer = connected(&node).await;
    let value = peer.encode(&7u32);
    let bad = [
        // Of the same name, but of the peer: nobody subscribes to that.
        event_frame(Name::Inline(NAME.as_bytes()), &value),
        event_frame(Name::Inline(b"nobody ever heard of it"), &value),
        event_frame(Name::Inline(&[0xff, 0xfe]), &value),
        event_frame(Name::Cached(40_000), &value),
        event_frame(Name::Inline(NAME.as_bytes()), &[]),
        event_frame(Name::Inline(NAME.as_bytes()), &[0xee; 9]),
    ];
    for frame in bad {
        peer.wire.send(&frame).await;
    }
    peer.send_message(inbox, &8u32).await;
    assert_eq!(next::<u32>(&mut messages).await, 8, "the link lives on");
    assert!(subscriber.told_so_far().await.is_empty());
    far.publish(NAME, &token, 9u32).await.unwrap();
    assert_eq!(subscriber.told().await, published(&far, 9));
    node.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_node_that_does_not_read_misses_what_others_get() {
    const MANY: u64 = 400;
    let node = node("stalled").await;
    let token = node.register_event(NAME, EventOptions::new()).unwrap();
    let mut link = connected(&node).await;
    subscribe(&mut link, &node, 2001, 1).await;
    let other = puppet(&node).await;
    super::link(&other, event_of(&node)).await.unwrap();
    let mut other = other;
    for _ in 0..MANY {
        node.publish(NAME, &token, vec![7u8; 64 << 10]).await.unwrap();
    }
    for _ in 0..MANY {
        assert_eq!(other.told().await, Notice::Published(event_of(&node), None));
    }
    let info = node.event_info(NAME).unwrap();
    assert_eq!(info.published, MANY);
    assert!((1..MANY).contains(&info.missed), "{info:?}");
    // Who reads again gets what comes then.
    let waiting = MANY - info.missed;
    for _ in 0..waiting {
        link.frame().await;
    }
    node.publish(NAME, &token, 5u32).await.unwrap();
    let bytes = link.frame().await;
    let Frame { payload, .. } = Frame::parse(&bytes).unwrap();
    assert_eq!(link.decode::<u32>(payload), 5);
    node.stop().await;
}

#[tokio::test]
async fn what_is_too_long_for_a_node_is_kept_from_it_and_no_question_is_left_open() {
    let node = node("long").await;
    let token = node.register_event(NAME, EventOptions::new().buffer(1)).unwrap();
    node.publish(NAME, &token, vec![7u8; 100_000]).await.unwrap();
    let mut local = introduction("small");
    local.max_message_size = 10_000;
    let mut link = Link::to(&node, local).await;
    assert!(subscribe(&mut link, &node, 2001, 1).await.is_empty());
    node.publish(NAME, &token, vec![7u8; 100_000]).await.unwrap();
    node.publish(NAME, &token, 5u32).await.unwrap();
    let bytes = link.frame().await;
    let Frame { payload, .. } = Frame::parse(&bytes).unwrap();
    assert_eq!(link.decode::<u32>(payload), 5);
    assert_eq!(node.event_info(NAME).unwrap().missed, 1);
    node.stop().await;
}
