//! Processes here share one subscription to an event of a Go node, which takes
//! it for that of this node.

use postroad::{Atom, Down, Event, Exit, ExitReason, Published, RelationError, Watched};
use serde_json::json;

use crate::road::{Dialer, end, pair};
use crate::support::puppet::{Notice, Strings, puppet};
use crate::within;

const NAME: &str = "prices";

async fn told(subscriber: &mut Strings) -> Notice {
    within("a notice", subscriber.told()).await
}

async fn subscribe(subscriber: &Strings, links: bool, event: Event) {
    let subscribed = subscriber.act(move |ctx| {
        Box::pin(
            async move { if links { ctx.link_event(event).await } else { ctx.monitor_event(event).await } },
        )
    });
    let last: Result<Vec<Published>, RelationError> = subscribed.await;
    assert!(last.unwrap().is_empty());
}

async fn unsubscribe(subscriber: &Strings, links: bool, event: Event) {
    let gone = subscriber.act(move |ctx| {
        Box::pin(async move {
            if links { ctx.unlink_event(event).await } else { ctx.demonitor_event(event).await }
        })
    });
    gone.await.unwrap();
}

/// Nothing has been published when the first ones come.
#[tokio::test]
async fn each_gets_what_an_event_in_go_has_kept() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let event = Event { name: Atom::new(NAME).unwrap(), node: go.atom() };
        go.ask("register_event", json!({"name": NAME, "count": 2})).await;
        for _ in 0..4 {
            subscribe(&puppet(&node).await, true, event).await;
        }
        go.ask("publish", json!({"name": NAME, "value": {"type": "uint32", "value": 7}})).await;
        for _ in 0..2 {
            let last = puppet(&node).await.act(move |ctx| Box::pin(ctx.link_event(event))).await.unwrap();
            let last: Vec<u32> = last.iter().map(|kept| *kept.downcast_ref().unwrap()).collect();
            assert_eq!(last, [7]);
        }
        end(node, go).await;
    }
}

/// The Go node knows neither how many there are nor when they come and go.
#[tokio::test]
async fn many_share_one_subscription_to_an_event_in_go() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let event = Event { name: Atom::new(NAME).unwrap(), node: go.atom() };
        let mut subscribers = Vec::new();
        for _ in 0..6 {
            let subscriber = puppet(&node).await;
            subscriber.trap_exit().await;
            subscribers.push(subscriber);
        }
        let publish = async |number: u32| {
            let value = json!({"type": "uint32", "value": number});
            go.ask("publish", json!({"name": NAME, "value": value})).await;
        };
        go.ask("register_event", json!({"name": NAME, "notify": true})).await;
        for links in [true, false] {
            for subscriber in &subscribers {
                subscribe(subscriber, links, event).await;
            }
            assert_eq!(go.event("event_start").await["name"], NAME);
            publish(1).await;
            for subscriber in &mut subscribers {
                assert_eq!(told(subscriber).await, Notice::Published(event, Some(1)));
            }
            unsubscribe(&subscribers[0], links, event).await;
            publish(2).await;
            for subscriber in &mut subscribers[1..] {
                assert_eq!(told(subscriber).await, Notice::Published(event, Some(2)));
            }
            assert_eq!(subscribers[0].told_so_far().await, []);
            for subscriber in &subscribers[1..] {
                unsubscribe(subscriber, links, event).await;
            }
            assert_eq!(go.event("event_stop").await["name"], NAME);
        }

        for (number, subscriber) in subscribers.iter().enumerate() {
            subscribe(subscriber, number % 2 == 0, event).await;
        }
        assert_eq!(go.event("event_start").await["name"], NAME);
        go.ask("unregister_event", json!({"name": NAME})).await;
        let (subject, reason) = (Watched::Event(event), ExitReason::Unregistered);
        for (number, subscriber) in subscribers.iter_mut().enumerate() {
            let expected = match number % 2 {
                0 => Notice::Exit(Exit { subject, reason: reason.clone(), requested: false }),
                _ => Notice::Down(Down { subject, reason: reason.clone() }),
            };
            assert_eq!(told(subscriber).await, expected);
            assert_eq!(subscriber.told_so_far().await, []);
        }

        // One of the same name is another one.
        go.ask("register_event", json!({"name": NAME, "notify": true})).await;
        for subscriber in &subscribers {
            subscribe(subscriber, false, event).await;
        }
        assert_eq!(go.event("event_start").await["name"], NAME);
        publish(3).await;
        for subscriber in &mut subscribers {
            assert_eq!(told(subscriber).await, Notice::Published(event, Some(3)));
        }
        end(node, go).await;
    }
}
