//! On one node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postroad::{Actor, Context, EventToken, Priority, Ref, SpawnOptions};
use tokio::sync::mpsc;

use super::*;
use crate::support::node;
use crate::support::puppet::{puppet, puppet_with};

#[tokio::test]
async fn conformance_h01_h02_h03_h04_h05_subscribers_come_get_what_is_published_and_go() {
    let node = node("events").await;
    let event = event_of(&node);
    let (mut producer, mut first, mut second) =
        (puppet(&node).await, puppet(&node).await, puppet(&node).await);
    let token = register(&producer, EventOptions::new().notify().buffer(1)).await.unwrap();

    assert!(link(&first, event).await.unwrap().is_empty());
    assert_eq!(producer.told().await, started());
    publish(&producer, token, 1).await.unwrap();
    assert_eq!(first.told().await, published(&node, 1));

    let last = monitor(&second, event).await.unwrap();
    assert_eq!(numbers(&last), [1]);
    assert_eq!(last[0].event(), event);
    assert!(last[0].timestamp() > 1_700_000_000_000_000_000);
    publish(&producer, token, 2).await.unwrap();
    assert_eq!(first.told().await, published(&node, 2));
    assert_eq!(second.told().await, published(&node, 2));

    unlink(&first, event).await.unwrap();
    assert!(producer.told_so_far().await.is_empty(), "somebody is left, and was told of once");
    demonitor(&second, event).await.unwrap();
    assert_eq!(producer.told().await, stopped());
    publish(&producer, token, 3).await.unwrap();
    assert!(first.told_so_far().await.is_empty() && second.told_so_far().await.is_empty());
    assert!(matches!(unlink(&first, event).await, Err(RelationError::TargetUnknown)));
    node.stop().await;
}

#[tokio::test]
async fn conformance_h06_the_end_of_the_last_subscriber_is_an_end_of_demand() {
    let node = node("demand").await;
    let mut producer = puppet(&node).await;
    register(&producer, EventOptions::new().notify()).await.unwrap();
    for _ in 0..2 {
        let subscriber = puppet(&node).await;
        link(&subscriber, event_of(&node)).await.unwrap();
        monitor(&subscriber, event_of(&node)).await.unwrap();
        assert_eq!(producer.told().await, started());
        assert!(node.kill(subscriber.pid));
        assert_eq!(producer.told().await, stopped());
        assert_eq!(node.event_info(NAME).unwrap().subscriptions, 0);
    }
    node.stop().await;
}

#[tokio::test]
async fn demand_that_comes_and_goes_waits_once_in_a_full_mailbox() {
    let node = node("flapping").await;
    let mut producer = puppet_with(&node, SpawnOptions::new().mailbox_capacity(1)).await;
    register(&producer, EventOptions::new().notify()).await.unwrap();
    let subscriber = puppet(&node).await;
    let event = event_of(&node);
    let flapping = node.clone();
    // While the producer is busy: what it has not been told yet is not told twice.
    producer
        .act(move |ctx| {
            Box::pin(async move {
                for _ in 0..100 {
                    link(&subscriber, event).await.unwrap();
                    unlink(&subscriber, event).await.unwrap();
                }
                link(&subscriber, event).await.unwrap();
                assert!(flapping.mailbox_len(ctx.pid()).unwrap() <= 1);
                std::mem::forget(subscriber);
            })
        })
        .await;
    assert_eq!(producer.told().await, started());
    assert!(producer.told_so_far().await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn conformance_h07_what_is_refused() {
    let node = node("refused").await;
    let (producer, other) = (puppet(&node).await, puppet(&node).await);
    let token = register(&producer, EventOptions::new()).await.unwrap();
    let taken = register(&other, EventOptions::new()).await;
    assert!(matches!(taken, Err(EventError::Taken { .. })));
    assert_eq!(taken.unwrap_err().to_string(), "resource is taken: the event numbers");

    let forged = EventToken::from(Ref { node: node.name(), creation: node.creation(), id: [1, 2, 3] });
    let wrong = publish(&producer, forged, 1).await.unwrap_err();
    assert_eq!(wrong.to_string(), "not an owner");
    let unknown = node.publish("no such", &token, 1u32).await.unwrap_err();
    assert_eq!(unknown.to_string(), "unknown event");
    assert!(matches!(unregister(&other).await, Err(EventError::NotOwner)));
    assert!(matches!(node.unregister_event(NAME), Err(EventError::NotOwner)));
    assert!(matches!(node.unregister_event("no such"), Err(EventError::Unknown)));
    let nowhere = Event { name: Atom::new("no such").unwrap(), node: Atom::empty() };
    let unknown = link(&other, nowhere).await.unwrap_err();
    assert!(matches!(unknown, RelationError::EventUnknown), "{unknown}");
    let too_long = node.register_event(&"x".repeat(300), EventOptions::new());
    assert!(matches!(too_long, Err(EventError::Invalid(_))));
    assert_eq!(format!("{token:?}"), "EventToken(..)", "a token is not shown");

    link(&other, event_of(&node)).await.unwrap();
    assert!(matches!(link(&other, event_of(&node)).await, Err(RelationError::Exists)));
    node.stop().await;
}

#[tokio::test]
async fn conformance_h08_the_last_ones_are_kept_oldest_first() {
    let node = node("kept").await;
    let token = node.register_event(NAME, EventOptions::new().buffer(3)).unwrap();
    for number in 1..=5 {
        node.publish(NAME, &token, number as u32).await.unwrap();
    }
    let subscriber = puppet(&node).await;
    let local = Event { node: Atom::empty(), ..event_of(&node) };
    assert_eq!(numbers(&link(&subscriber, local).await.unwrap()), [3, 4, 5]);
    assert_eq!(numbers(&monitor(&subscriber, event_of(&node)).await.unwrap()), [3, 4, 5]);
    node.stop().await;
}

#[tokio::test]
async fn conformance_h09_whoever_has_the_token_publishes() {
    let node = node("delegated").await;
    let (producer, delegate) = (puppet(&node).await, puppet(&node).await);
    let mut subscriber = puppet(&node).await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    link(&subscriber, event_of(&node)).await.unwrap();
    publish(&delegate, EventToken::from(Ref::from(token)), 7).await.unwrap();
    assert_eq!(subscriber.told().await, published(&node, 7));
    node.stop().await;
}

async fn listed(producer: &Strings) -> Vec<Atom> {
    producer.act(|ctx| Box::pin(async move { ctx.events() })).await
}

#[tokio::test]
async fn conformance_b11_an_event_is_listed_until_it_is_unregistered() {
    let node = node("listed").await;
    let producer = puppet(&node).await;
    register(&producer, EventOptions::new()).await.unwrap();
    assert_eq!(listed(&producer).await, [NAME]);
    assert_eq!(node.events(), [NAME]);
    unregister(&producer).await.unwrap();
    assert!(listed(&producer).await.is_empty() && node.events().is_empty());
    register(&producer, EventOptions::new()).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn conformance_f04_g04_the_end_of_an_event_is_told_once_with_its_reason() {
    let node = node("ends").await;
    let event = event_of(&node);
    for reason in [ExitReason::Unregistered, ExitReason::Kill, ExitReason::error("own"), ExitReason::Shutdown]
    {
        let producer = puppet(&node).await;
        register(&producer, EventOptions::new().notify()).await.unwrap();
        let (mut linked, mut monitoring) = (puppet(&node).await, puppet(&node).await);
        linked.trap_exit().await;
        link(&linked, event).await.unwrap();
        monitor(&monitoring, event).await.unwrap();
        match &reason {
            ExitReason::Unregistered => unregister(&producer).await.unwrap(),
            ExitReason::Kill => assert!(node.kill(producer.pid)),
            other => producer.end(other.clone()).await,
        }
        assert_eq!(linked.told().await, exit(&node, reason.clone()));
        assert_eq!(monitoring.told().await, down(&node, reason));
        assert!(linked.told_so_far().await.is_empty() && monitoring.told_so_far().await.is_empty());
        assert!(matches!(unlink(&linked, event).await, Err(RelationError::TargetUnknown)));
        assert!(node.events().is_empty());
    }
    let producer = puppet(&node).await;
    register(&producer, EventOptions::new()).await.unwrap();
    let mut bound = puppet(&node).await;
    link(&bound, event).await.unwrap();
    producer.end(ExitReason::error("own")).await;
    assert_eq!(
        bound.told().await,
        Notice::Terminated(ExitReason::error("own")),
        "a link ends who does not trap"
    );
    node.stop().await;
}

#[tokio::test]
async fn who_is_linked_and_monitors_gets_everything_twice() {
    let node = node("twice").await;
    let (producer, mut subscriber) = (puppet(&node).await, puppet(&node).await);
    subscriber.trap_exit().await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    link(&subscriber, event_of(&node)).await.unwrap();
    monitor(&subscriber, event_of(&node)).await.unwrap();
    publish(&producer, token, 1).await.unwrap();
    unlink(&subscriber, event_of(&node)).await.unwrap();
    publish(&producer, token, 2).await.unwrap();
    let told = subscriber.told_so_far().await;
    assert_eq!(told, [published(&node, 1), published(&node, 1), published(&node, 2)]);
    node.stop().await;
}

#[tokio::test]
async fn an_event_without_subscribers_costs_nobody_anything() {
    let node = node("nobody").await;
    let token = node.register_event(NAME, EventOptions::new()).unwrap();
    node.publish(NAME, &token, 1u32).await.unwrap();
    let info = node.event_info(NAME).unwrap();
    assert_eq!((info.published, info.missed, info.subscriptions, info.nodes), (1, 0, 0, 0));
    assert_eq!(info.producer, node.pid());
    node.unregister_event(NAME).unwrap();
    assert!(node.event_info(NAME).is_none());
    node.stop().await;
}

#[tokio::test]
async fn a_full_mailbox_misses_what_others_get() {
    let node = node("full").await;
    let (producer, mut other) = (puppet(&node).await, puppet(&node).await);
    let mut full = puppet_with(&node, SpawnOptions::new().mailbox_capacity(2)).await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    link(&full, event_of(&node)).await.unwrap();
    link(&other, event_of(&node)).await.unwrap();
    // The subscriber is busy while all is published.
    full.act(move |_| {
        Box::pin(async move {
            for number in 0..5 {
                publish(&producer, token, number).await.unwrap();
            }
            std::mem::forget(producer);
        })
    })
    .await;
    assert_eq!(full.told_so_far().await, [published(&node, 0), published(&node, 1)]);
    for number in 0..5 {
        assert_eq!(other.told().await, published(&node, number));
    }
    assert_eq!(node.event_info(NAME).unwrap().missed, 3);
    node.stop().await;
}

/// Reports in which order numbers come; is busy until it may begin.
struct Ordered(mpsc::UnboundedSender<u32>);

impl Actor for Ordered {
    type Args = (mpsc::UnboundedSender<u32>, tokio::sync::oneshot::Receiver<()>);
    type Messages = (bool,);
    type Requests = ();

    async fn init((seen, begin): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.link_event(NAME).await?;
        let _ = begin.await;
        Ok(Self(seen))
    }

    async fn handle_event(&mut self, published: Published, _: &mut Context) -> Result<(), ExitReason> {
        let _ = self.0.send(*published.downcast_ref().unwrap());
        Ok(())
    }
}

impl postroad::Handle<bool> for Ordered {
    async fn handle(&mut self, _: bool, _: &mut Context) -> Result<(), ExitReason> {
        Ok(())
    }
}

#[tokio::test]
async fn the_publisher_says_how_urgent_it_is() {
    let node = node("lanes").await;
    let producer = puppet(&node).await;
    let token = register(&producer, EventOptions::new().notify()).await.unwrap();
    let (seen, mut order) = mpsc::unbounded_channel();
    let (begin, may_begin) = tokio::sync::oneshot::channel();
    let spawning = tokio::spawn({
        let node = node.clone();
        async move { node.spawn::<Ordered>((seen, may_begin)).await }
    });
    let mut producer = producer;
    assert_eq!(producer.told().await, started());
    for (number, priority) in
        [(4, Priority::Low), (3, Priority::Normal), (2, Priority::High), (1, Priority::Max)]
    {
        producer
            .act(move |ctx| {
                ctx.set_priority(priority);
                Box::pin(async {})
            })
            .await;
        publish(&producer, token, number).await.unwrap();
    }
    begin.send(()).unwrap();
    spawning.await.unwrap().unwrap();
    for number in 1..=4 {
        assert_eq!(order.recv().await, Some(number));
    }
    node.stop().await;
}

/// Counts how many of it are left.
#[derive(postroad::edf::Message)]
#[message(name = "#events/Counted", marshal)]
struct Counted(Arc<AtomicUsize>);

impl postroad::edf::Marshal for Counted {
    fn marshal(&self, _: &mut Vec<u8>) -> Result<(), postroad::edf::MarshalError> {
        Ok(())
    }

    fn unmarshal(_: &[u8]) -> Result<Self, postroad::edf::MarshalError> {
        Err("it does not travel".into())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        panic!("what a user drops may panic");
    }
}

#[tokio::test]
async fn a_message_is_shared_and_dropped_once() {
    let node = node("shared").await;
    let left = Arc::new(AtomicUsize::new(0));
    let counted = || {
        left.fetch_add(1, Ordering::SeqCst);
        Counted(left.clone())
    };
    let token = node.register_event(NAME, EventOptions::new().buffer(1)).unwrap();
    let subscribers = [puppet(&node).await, puppet(&node).await];
    for subscriber in &subscribers {
        link(subscriber, event_of(&node)).await.unwrap();
    }
    node.publish(NAME, &token, counted()).await.unwrap();
    for mut subscriber in subscribers {
        assert_eq!(subscriber.told().await, Notice::Published(event_of(&node), None));
        unlink(&subscriber, event_of(&node)).await.unwrap();
    }
    assert_eq!(left.load(Ordering::SeqCst), 1, "it is kept for who comes later");
    node.publish(NAME, &token, counted()).await.unwrap();
    assert_eq!(left.load(Ordering::SeqCst), 1, "the next one takes its place");
    node.unregister_event(NAME).unwrap();
    assert_eq!(left.load(Ordering::SeqCst), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_later_event_of_the_same_name_is_another() {
    let node = node("anew").await;
    let (producer, mut subscriber) = (puppet(&node).await, puppet(&node).await);
    for number in 1..=3 {
        let token = register(&producer, EventOptions::new().buffer(1)).await.unwrap();
        assert!(monitor(&subscriber, event_of(&node)).await.unwrap().is_empty());
        publish(&producer, token, number).await.unwrap();
        assert_eq!(subscriber.told().await, published(&node, number));
        unregister(&producer).await.unwrap();
        assert_eq!(subscriber.told().await, down(&node, ExitReason::Unregistered));
        assert!(matches!(publish(&producer, token, 9).await, Err(PublishError::EventUnknown)));
    }
    node.stop().await;
}

#[tokio::test]
async fn who_leaves_in_the_middle_is_the_only_one_that_gets_nothing() {
    let node = node("crowd").await;
    let producer = puppet(&node).await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..600 {
        let subscriber = puppet(&node).await;
        link(&subscriber, event_of(&node)).await.unwrap();
        crowd.push(subscriber);
    }
    for (round, step) in [(1, 3), (2, 2), (3, 1)] {
        let (leave, stay): (Vec<_>, Vec<_>) =
            crowd.into_iter().enumerate().partition(|(place, _)| place % step == 0);
        for (_, subscriber) in &leave {
            unlink(subscriber, event_of(&node)).await.unwrap();
        }
        assert_eq!(node.event_info(NAME).unwrap().subscriptions, stay.len());
        publish(&producer, token, round).await.unwrap();
        crowd = stay.into_iter().map(|(_, subscriber)| subscriber).collect();
        for subscriber in &mut crowd {
            assert_eq!(subscriber.told().await, published(&node, round));
        }
        for (_, mut subscriber) in leave {
            assert!(subscriber.told_so_far().await.is_empty());
        }
    }
    assert!(crowd.is_empty());
    node.stop().await;
}
