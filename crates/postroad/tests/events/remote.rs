//! Across nodes.

use std::time::Duration;

use postroad::network::{NetworkRoute, exact};
use postroad::{Actor, Context, Handle, Pid};
use tokio::sync::mpsc;

use super::*;
use crate::support::puppet::puppet;
use crate::support::{node, port};

/// Two nodes; the first one knows the way to the second.
async fn pair(name: &str) -> (Node, Node) {
    let (near, far) = (node(&format!("{name}-near")).await, node(&format!("{name}-far")).await);
    let route = NetworkRoute::to("127.0.0.1", port(&far));
    near.network().add_route(&exact(far.name().as_str()), route, 1).unwrap();
    (near, far)
}

fn frames_in(node: &Node, peer: &Node) -> u64 {
    node.network().peer(peer.name().as_str()).unwrap().frames_in
}

#[tokio::test]
async fn conformance_y01_y02_f04_g04_x04_publications_and_the_end_travel() {
    let (near, far) = pair("published").await;
    let event = event_of(&far);
    let producer = puppet(&far).await;
    let (mut linked, mut monitoring) = (puppet(&near).await, puppet(&near).await);
    linked.trap_exit().await;
    let unknown = monitor(&monitoring, event).await.unwrap_err();
    assert!(matches!(unknown, RelationError::EventUnknown), "{unknown}");
    for reason in [ExitReason::Unregistered, ExitReason::Shutdown] {
        let token = register(&producer, EventOptions::new().buffer(2)).await.unwrap();
        assert!(link(&linked, event).await.unwrap().is_empty());
        publish(&producer, token, 1).await.unwrap();
        assert_eq!(linked.told().await, published(&far, 1));
        let last = monitor(&monitoring, event).await.unwrap();
        assert_eq!(numbers(&last), [1]);
        assert_eq!(last[0].event(), event);
        assert!(last[0].timestamp() > 1_700_000_000_000_000_000);
        publish(&producer, token, 2).await.unwrap();
        assert_eq!(linked.told().await, published(&far, 2));
        assert_eq!(monitoring.told().await, published(&far, 2));
        match reason {
            ExitReason::Unregistered => unregister(&producer).await.unwrap(),
            _ => producer.end(reason.clone()).await,
        }
        assert_eq!(linked.told().await, exit(&far, reason.clone()));
        assert_eq!(monitoring.told().await, down(&far, reason));
    }
    assert!(linked.told_so_far().await.is_empty() && monitoring.told_so_far().await.is_empty());
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_y03_a_node_gets_one_frame_whatever_the_number_of_its_subscribers() {
    let (near, far) = pair("one-frame").await;
    let producer = puppet(&far).await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    let mut subscribers = Vec::new();
    for _ in 0..300 {
        let subscriber = puppet(&near).await;
        link(&subscriber, event_of(&far)).await.unwrap();
        subscribers.push(subscriber);
    }
    monitor(&subscribers[0], event_of(&far)).await.unwrap();
    let before = frames_in(&near, &far);
    for number in 0..10 {
        publish(&producer, token, number).await.unwrap();
    }
    assert_eq!(subscribers[0].told().await, published(&far, 0), "twice, being linked and monitoring");
    for subscriber in &mut subscribers {
        while subscriber.told().await != published(&far, 9) {}
    }
    let frames = frames_in(&near, &far) - before;
    assert!((10..20).contains(&frames), "{frames} frames, signs of life among them");
    let info = far.event_info(NAME).unwrap();
    assert_eq!((info.subscriptions, info.nodes, info.missed), (0, 1, 0));
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_y04_x08_the_loss_of_a_node_ends_its_subscriptions_on_both_sides() {
    let (near, far) = pair("lost").await;
    let mut producer = puppet(&far).await;
    register(&producer, EventOptions::new().notify()).await.unwrap();
    let (mut linked, mut monitoring) = (puppet(&near).await, puppet(&near).await);
    linked.trap_exit().await;
    link(&linked, event_of(&far)).await.unwrap();
    assert_eq!(producer.told().await, started());
    monitor(&monitoring, event_of(&far)).await.unwrap();
    assert!(near.network().disconnect(far.name().as_str()).await);
    assert_eq!(linked.told().await, exit(&far, ExitReason::NoConnection));
    assert_eq!(monitoring.told().await, down(&far, ExitReason::NoConnection));
    assert_eq!(producer.told().await, stopped());
    assert_eq!(far.event_info(NAME).unwrap().nodes, 0);

    link(&linked, event_of(&far)).await.unwrap();
    assert_eq!(producer.told().await, started(), "it is found again");
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_subscriber_elsewhere_leaves_in_every_way() {
    let (near, far) = pair("leaving").await;
    let event = event_of(&far);
    let mut producer = puppet(&far).await;
    let token = register(&producer, EventOptions::new().notify()).await.unwrap();
    let mut subscriber = puppet(&near).await;
    link(&subscriber, event).await.unwrap();
    monitor(&subscriber, event).await.unwrap();
    assert_eq!(producer.told().await, started());
    unlink(&subscriber, event).await.unwrap();
    publish(&producer, token, 1).await.unwrap();
    assert_eq!(subscriber.told().await, published(&far, 1), "by the monitor, once");
    assert!(producer.told_so_far().await.is_empty());
    demonitor(&subscriber, event).await.unwrap();
    assert_eq!(producer.told().await, stopped());
    assert!(matches!(demonitor(&subscriber, event).await, Err(RelationError::TargetUnknown)));

    link(&subscriber, event).await.unwrap();
    assert_eq!(producer.told().await, started());
    assert!(near.kill(subscriber.pid));
    assert_eq!(producer.told().await, stopped());
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn what_one_process_publishes_stays_in_order() {
    const MANY: u32 = 5_000;
    let (near, far) = pair("order").await;
    let producer = puppet(&far).await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    let (mut here, mut there) = (puppet(&far).await, puppet(&near).await);
    link(&here, event_of(&far)).await.unwrap();
    link(&there, event_of(&far)).await.unwrap();
    producer
        .act(move |ctx| {
            Box::pin(async move {
                for number in 0..MANY {
                    ctx.publish(NAME, &token, number).await.unwrap();
                }
            })
        })
        .await;
    for subscriber in [&mut here, &mut there] {
        for number in 0..MANY {
            assert_eq!(subscriber.told().await, published(&far, number));
        }
    }
    assert_eq!(far.event_info(NAME).unwrap().missed, 0);
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn nobody_is_dialed_for_an_event() {
    let far = node("undialed").await;
    let token = far.register_event(NAME, EventOptions::new()).unwrap();
    far.publish(NAME, &token, 1u32).await.unwrap();
    assert!(far.network().peers().is_empty());
    let lonely = puppet(&far).await;
    let nowhere = Event { node: Atom::new("nowhere@127.0.0.1").unwrap(), ..event_of(&far) };
    let failed = tokio::time::timeout(Duration::from_secs(30), link(&lonely, nowhere)).await.unwrap();
    assert!(matches!(failed, Err(RelationError::Send(_))), "{failed:?}");
    far.stop().await;
}

/// Says what it gets, and how much waits at another one at that moment.
struct Listener {
    said: mpsc::UnboundedSender<(u32, Option<usize>)>,
    other: Option<Pid>,
}

impl Actor for Listener {
    type Args = (Event, mpsc::UnboundedSender<(u32, Option<usize>)>);
    type Messages = (Pid, u32);
    type Requests = ();

    async fn init((event, said): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
        ctx.monitor_event(event).await?;
        Ok(Self { said, other: None })
    }

    async fn handle_event(&mut self, published: Published, ctx: &mut Context) -> Result<(), ExitReason> {
        let number = published.downcast_ref::<u32>().copied().unwrap_or_default();
        self.handle(number, ctx).await
    }
}

impl Handle<Pid> for Listener {
    async fn handle(&mut self, other: Pid, _: &mut Context) -> Result<(), ExitReason> {
        self.other = Some(other);
        Ok(())
    }
}

impl Handle<u32> for Listener {
    async fn handle(&mut self, number: u32, ctx: &mut Context) -> Result<(), ExitReason> {
        let _ = self.said.send((number, self.other.and_then(|other| ctx.node().mailbox_len(other))));
        Ok(())
    }
}

/// So many that a link does not hand a publication to all of them in one go.
const VERY_MANY: usize = 5_000;

#[tokio::test]
async fn others_run_while_a_publication_goes_to_very_many_and_what_comes_later_waits() {
    let (near, far) = pair("very-many").await;
    let producer = puppet(&far).await;
    let token = register(&producer, EventOptions::new()).await.unwrap();
    let (said, mut first_said) = mpsc::unbounded_channel();
    let first = near.spawn::<Listener>((event_of(&far), said)).await.unwrap();
    let (said, _others_said) = mpsc::unbounded_channel();
    for _ in 2..VERY_MANY {
        near.spawn::<Listener>((event_of(&far), said.clone())).await.unwrap();
    }
    let (said, mut last_said) = mpsc::unbounded_channel();
    let last = near.spawn::<Listener>((event_of(&far), said)).await.unwrap();
    near.send(first, last).await.unwrap();

    publish(&producer, token, 1).await.unwrap();
    publish(&producer, token, 2).await.unwrap();
    producer.act(move |ctx| Box::pin(async move { ctx.send(last, 3u32).await.unwrap() })).await;
    assert_eq!(first_said.recv().await.unwrap(), (1, Some(0)), "the last one has nothing yet");
    for number in 1..=3 {
        assert_eq!(last_said.recv().await.unwrap(), (number, None));
    }
    near.stop().await;
    far.stop().await;
}
