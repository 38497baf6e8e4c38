//! One subscription at the peer for all subscribers of a node, if the event
//! keeps nothing.

use std::time::Duration;

use postroad::edf::ErrorValue;
use postroad::{Payload, Pid, Ref};
use postroad_wire::NetworkFlags;
use postroad_wire::ehs::Introduction;
use postroad_wire::enp::any::{Answer, LastEvents, PublishedEvent, Request, Verb, Watch};
use postroad_wire::enp::{Head, Name, Priority, Subject};

use super::*;
use crate::support::puppet::puppet;
use crate::support::scripted::{Link, introduction};
use crate::support::{Echo, builder};

/// A node, and a peer that has events and follows a script.
struct Scene {
    node: Node,
    link: Link,
    echo: Pid,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let mut producer = introduction("producer");
        producer.flags = producer.flags.with(NetworkFlags::TUNNELS);
        Self::with(name, producer).await
    }

    async fn with(name: &str, producer: Introduction) -> Self {
        let node = builder(name).pool_size(1).start().await.unwrap();
        let link = Link::to(&node, producer).await;
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let mut scene = Self { node, link, echo };
        scene.is_asked_nothing().await;
        scene
    }

    fn event(&self) -> Event {
        Event { name: Atom::new(NAME).unwrap(), node: self.link.local.node }
    }

    /// Checks that everything the node has asked for has been heard.
    async fn is_asked_nothing(&mut self) {
        self.link.send_message(self.echo, &1u8).await;
        assert_eq!(self.link.hears::<u8>().await, 1);
    }

    async fn hears(&mut self) -> Watch {
        match self.link.hears_request().await {
            Request::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }

    async fn answers(&mut self, reference: Ref, error: Option<&str>, last: LastEvents) {
        let answer = Answer { error: error.map(ErrorValue::new), result: Payload::new(last), reference };
        let answer = self.link.encode(&answer);
        self.link.send_frame(&Head::Any, &answer).await;
    }

    /// Grants what is asked for next: what, and for whom.
    async fn grants(&mut self) -> (Verb, u64) {
        let Watch { verb, source, reference, .. } = self.hears().await;
        self.answers(reference, None, None).await;
        (verb, source.id)
    }

    /// Has somebody monitor the event, which is granted; who was said to ask.
    async fn monitored(&mut self, subscriber: &Strings) -> u64 {
        let event = self.event();
        let (subscribed, (verb, asker)) = tokio::join!(monitor(subscriber, event), self.grants());
        assert!(subscribed.unwrap().is_empty());
        assert_eq!(verb, Verb::Monitor);
        asker
    }

    /// One that asked for itself, one that asked for all, one that asked nobody.
    async fn three(&mut self) -> [Strings; 3] {
        let three = [puppet(&self.node).await, puppet(&self.node).await, puppet(&self.node).await];
        assert_eq!(self.monitored(&three[0]).await, three[0].pid.id);
        assert_eq!(self.monitored(&three[1]).await, Pid::CORE);
        monitor(&three[2], self.event()).await.unwrap();
        three
    }

    async fn publishes(&mut self, number: u32) {
        let (priority, name) = (Priority::Normal, Name::Inline(NAME.as_bytes()));
        let payload = self.link.encode(&number);
        self.link.send_frame(&Head::Event { from: 1001, priority, timestamp: 1, name }, &payload).await;
    }

    async fn ends_the_event(&mut self) {
        let subject = Subject::Event(Name::Inline(NAME.as_bytes()));
        let payload = self.link.encode(&ErrorValue::new("kill"));
        self.link.send_frame(&Head::Terminate { subject }, &payload).await;
    }

    fn killed(&self) -> Notice {
        Notice::Down(Down { subject: Watched::Event(self.event()), reason: ExitReason::Kill })
    }
}

#[tokio::test]
async fn a_thousand_subscribers_ask_twice_and_the_last_one_takes_it_back() {
    let mut scene = Scene::new("thousand").await;
    let event = scene.event();
    let mut subscribers = Vec::from(scene.three().await);
    while subscribers.len() < 1000 {
        let subscriber = puppet(&scene.node).await;
        assert!(monitor(&subscriber, event).await.unwrap().is_empty());
        subscribers.push(subscriber);
    }
    scene.is_asked_nothing().await;
    let mut linked = puppet(&scene.node).await;
    let (made, asked) = tokio::join!(link(&linked, event), scene.grants());
    assert!(made.unwrap().is_empty());
    assert_eq!(asked, (Verb::Link, Pid::CORE), "a link is another subscription");
    scene.publishes(1).await;
    for subscriber in subscribers.iter_mut().chain([&mut linked]) {
        assert_eq!(subscriber.told().await, Notice::Published(event, Some(1)));
    }

    let (gone, told) = tokio::join!(demonitor(&subscribers[0], event), scene.grants());
    gone.unwrap();
    assert_eq!(told, (Verb::Demonitor, subscribers[0].pid.id), "it had asked for itself");
    for subscriber in &subscribers[1..500] {
        demonitor(subscriber, event).await.unwrap();
    }
    for subscriber in &mut subscribers[500..] {
        assert_eq!(subscriber.told_so_far().await, [], "each publication comes once");
        assert!(scene.node.kill(subscriber.pid));
        assert_eq!(subscriber.notices.recv().await, None, "it has ended");
    }
    scene.publishes(2).await;
    assert_eq!(linked.told().await, Notice::Published(event, Some(2)));
    scene.is_asked_nothing().await;
    unlink(&linked, event).await.unwrap();
    assert_eq!(scene.grants().await, (Verb::Unlink, Pid::CORE));
    assert_eq!(scene.grants().await, (Verb::Demonitor, Pid::CORE));
    scene.is_asked_nothing().await;

    assert_eq!(scene.monitored(&linked).await, linked.pid.id, "it begins anew");
    scene.node.stop().await;
}

#[tokio::test]
async fn the_end_of_an_event_is_told_each_once_and_takes_everything_back() {
    let mut scene = Scene::new("told-once").await;
    let mut three = scene.three().await;
    scene.ends_the_event().await;
    for subscriber in &mut three {
        assert_eq!(subscriber.told().await, scene.killed());
    }
    // Whoever may have a successor of it by now, which publishes to nobody here.
    let for_all = scene.hears().await;
    assert_eq!((for_all.verb, for_all.source.id), (Verb::Demonitor, Pid::CORE));
    assert_eq!(scene.grants().await, (Verb::Demonitor, three[0].pid.id));
    scene.is_asked_nothing().await;

    // Nobody asks for all before it is known that this is taken back.
    for subscriber in &three[..2] {
        assert_eq!(scene.monitored(subscriber).await, subscriber.pid.id);
    }
    scene.answers(for_all.reference, Some("unknown target"), None).await;
    scene.is_asked_nothing().await;
    assert_eq!(scene.monitored(&three[2]).await, Pid::CORE);
    for subscriber in &mut three {
        assert_eq!(subscriber.told_so_far().await, []);
    }
    scene.node.stop().await;
}

#[tokio::test]
async fn an_event_ends_while_the_question_for_all_is_under_way() {
    let mut scene = Scene::new("crossed").await;
    let (mut first, mut second) = (puppet(&scene.node).await, puppet(&scene.node).await);
    assert_eq!(scene.monitored(&first).await, first.pid.id);
    let event = scene.event();
    let crossed = async {
        let Watch { source, reference, .. } = scene.hears().await;
        assert_eq!(source.id, Pid::CORE);
        scene.ends_the_event().await;
        assert_eq!(first.told().await, scene.killed());
        assert_eq!(scene.grants().await, (Verb::Demonitor, first.pid.id));
        // One of the same name is there already, and somebody subscribes to it.
        assert_eq!(scene.monitored(&first).await, first.pid.id);
        scene.answers(reference, None, None).await;
        assert_eq!(scene.grants().await, (Verb::Demonitor, Pid::CORE), "it is not counted on");
    };
    let (subscribed, ()) = tokio::join!(monitor(&second, event), crossed);
    subscribed.unwrap();
    assert_eq!(second.told().await, scene.killed());
    scene.is_asked_nothing().await;
    assert_eq!(scene.monitored(&second).await, Pid::CORE);
    scene.publishes(1).await;
    for subscriber in [&mut first, &mut second] {
        assert_eq!(subscriber.told().await, Notice::Published(event, Some(1)));
        assert_eq!(subscriber.told_so_far().await, []);
    }
    scene.node.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_the_question_for_all_and_who_gives_it_up_takes_it_back() {
    let mut scene = Scene::new("given-up").await;
    let event = scene.event();
    let [first, second, third] =
        [puppet(&scene.node).await, puppet(&scene.node).await, puppet(&scene.node).await];
    assert_eq!(scene.monitored(&first).await, first.pid.id);
    let (heard, give_up) = tokio::sync::oneshot::channel::<()>();
    let given_up = second.act(move |ctx| {
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = give_up => true,
                _ = ctx.monitor_event(event) => false,
            }
        })
    });
    let script = async {
        let asked = scene.hears().await;
        assert_eq!(asked.source.id, Pid::CORE);
        assert_eq!(scene.monitored(&third).await, third.pid.id, "it asks for itself meanwhile");
        heard.send(()).unwrap();
        let taken_back = scene.hears().await;
        assert_eq!((taken_back.verb, taken_back.source.id), (Verb::Demonitor, Pid::CORE));
        scene.answers(asked.reference, None, None).await;
        scene.answers(taken_back.reference, None, None).await;
        scene.is_asked_nothing().await;
    };
    assert!(tokio::join!(given_up, script).0);
    assert_eq!(scene.monitored(&second).await, Pid::CORE, "as if nothing had been asked");
    scene.node.stop().await;
}

#[tokio::test]
async fn each_asks_for_what_an_event_keeps() {
    let mut scene = Scene::new("kept").await;
    let event = scene.event();
    let kept =
        |number: u32| Some(vec![PublishedEvent { event, timestamp: 1, message: Payload::new(number) }]);
    for number in 0..5 {
        let subscriber = puppet(&scene.node).await;
        let script = async {
            let asked = scene.hears().await;
            assert_eq!(asked.source.id, subscriber.pid.id);
            scene.answers(asked.reference, None, kept(number)).await;
        };
        let (last, ()) = tokio::join!(monitor(&subscriber, event), script);
        assert_eq!(numbers(&last.unwrap()), [number]);
    }
    scene.node.stop().await;
}

/// Before 3.2.0 Ergo answers alike whether an event keeps nothing or has nothing yet.
#[tokio::test]
async fn a_peer_that_does_not_say_whether_it_keeps_anything_is_asked_for_each() {
    let mut scene = Scene::with("unsaid", introduction("producer")).await;
    for _ in 0..5 {
        let subscriber = puppet(&scene.node).await;
        assert_eq!(scene.monitored(&subscriber).await, subscriber.pid.id);
    }
    scene.node.stop().await;
}

/// It keeps something after all, or grants nothing to a node as such.
#[tokio::test]
async fn a_peer_that_does_not_let_one_subscribe_for_all_is_asked_for_each() {
    for (name, error, kept) in [("keeps", None, Some(vec![])), ("refuses", Some("not allowed"), None)] {
        let mut scene = Scene::new(name).await;
        let event = scene.event();
        let first = puppet(&scene.node).await;
        assert_eq!(scene.monitored(&first).await, first.pid.id);
        let second = puppet(&scene.node).await;
        let script = async {
            let asked = scene.hears().await;
            assert_eq!(asked.source.id, Pid::CORE);
            scene.answers(asked.reference, error, kept).await;
            if error.is_none() {
                assert_eq!(scene.grants().await, (Verb::Demonitor, Pid::CORE));
            }
            scene.grants().await
        };
        let (subscribed, asked) = tokio::join!(monitor(&second, event), script);
        subscribed.unwrap();
        assert_eq!(asked, (Verb::Monitor, second.pid.id));
        let third = puppet(&scene.node).await;
        assert_eq!(scene.monitored(&third).await, third.pid.id);
        let (gone, told) = tokio::join!(demonitor(&second, event), scene.grants());
        gone.unwrap();
        assert_eq!(told, (Verb::Demonitor, second.pid.id));
        scene.node.stop().await;
    }
}

/// The producer counts the node, and is told of the first and the last subscriber.
#[tokio::test]
async fn a_producer_is_told_of_the_first_and_the_last_of_those_who_share() {
    let far = builder("shared-far").start().await.unwrap();
    let near = builder("shared-near").start().await.unwrap();
    let route = postroad::network::NetworkRoute::to("127.0.0.1", crate::support::port(&far));
    near.network().add_route(&postroad::network::exact(far.name().as_str()), route, 1).unwrap();
    let mut producer = puppet(&far).await;
    let token = register(&producer, EventOptions::new().notify()).await.unwrap();
    let watched = || far.network().peer(near.name().as_str()).unwrap().watched;
    for round in 0..3 {
        let mut subscribers = Vec::new();
        for number in 0..20 {
            let subscriber = puppet(&near).await;
            monitor(&subscriber, event_of(&far)).await.unwrap();
            if number == 0 {
                assert_eq!(producer.told().await, started());
            }
            subscribers.push(subscriber);
        }
        assert!(watched() < 20, "they share");
        publish(&producer, token, round).await.unwrap();
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.told().await, published(&far, round));
        }
        for subscriber in subscribers.drain(1..) {
            assert!(near.kill(subscriber.pid));
        }
        assert_eq!(producer.told_so_far().await, [], "the first one is still there");
        assert!(near.kill(subscribers[0].pid));
        assert_eq!(producer.told().await, stopped());
        while watched() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    near.stop().await;
    far.stop().await;
}
