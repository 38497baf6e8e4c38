//! Events of either kind of node, for subscribers on the other.

use postroad::{
    Atom, Down, Event, EventOptions, Exit, ExitReason, Node, Priority, Published, RelationError, Watched,
};
use serde_json::{Value as Json, json};

use crate::peer::Peer;
use crate::road::{Dialer, end, pair};
use crate::support::puppet::{Notice, Strings, puppet};
use crate::within;

const NAME: &str = "numbers";

fn event(node: Atom) -> Event {
    Event { name: Atom::new(NAME).unwrap(), node }
}

fn number(number: u32) -> Json {
    json!({"type": "uint32", "value": number})
}

fn numbers(last: &[Published]) -> Vec<u32> {
    last.iter().map(|published| *published.downcast_ref().unwrap()).collect()
}

async fn told(puppet: &mut Strings) -> Notice {
    within("a notice", puppet.told()).await
}

/// What a process of the Go node subscribes to on the Rust node.
fn rust_event(node: &Node, subscriber: &str) -> Json {
    json!({"event": {"name": NAME, "node": node.name().as_str()}, "as": subscriber})
}

async fn publish(producer: &Strings, token: postroad::EventToken, number: u32, priority: Priority) {
    producer
        .act(move |ctx| {
            ctx.set_priority(priority);
            Box::pin(async move { ctx.publish(NAME, &token, number).await })
        })
        .await
        .unwrap();
}

async fn link(subscriber: &Strings, event: Event) -> Result<Vec<Published>, RelationError> {
    subscriber.act(move |ctx| Box::pin(ctx.link_event(event))).await
}

async fn monitor(subscriber: &Strings, event: Event) -> Result<Vec<Published>, RelationError> {
    subscriber.act(move |ctx| Box::pin(ctx.monitor_event(event))).await
}

#[tokio::test]
async fn conformance_y01_y02_x04_rust_subscribes_to_go() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let event = event(go.atom());
        let (mut linked, mut monitoring) = (puppet(&node).await, puppet(&node).await);
        linked.trap_exit().await;
        let unknown = link(&linked, event).await.unwrap_err();
        assert!(matches!(unknown, RelationError::EventUnknown), "{unknown}");

        go.ask("register_event", json!({"name": NAME, "notify": true, "count": 1})).await;
        assert!(link(&linked, event).await.unwrap().is_empty());
        assert_eq!(go.event("event_start").await["name"], NAME);
        go.ask("publish", json!({"name": NAME, "value": number(1)})).await;
        assert_eq!(told(&mut linked).await, Notice::Published(event, Some(1)));
        let last = monitor(&monitoring, event).await.unwrap();
        assert_eq!(numbers(&last), [1]);
        assert!(last[0].timestamp() > 1_700_000_000_000_000_000);
        go.ask("publish", json!({"name": NAME, "value": number(2)})).await;
        assert_eq!(told(&mut linked).await, Notice::Published(event, Some(2)));
        assert_eq!(told(&mut monitoring).await, Notice::Published(event, Some(2)));

        go.ask("unregister_event", json!({"name": NAME})).await;
        let (subject, reason) = (Watched::Event(event), ExitReason::Unregistered);
        let ended = Exit { subject, reason: reason.clone(), requested: false };
        assert_eq!(told(&mut linked).await, Notice::Exit(ended));
        assert_eq!(told(&mut monitoring).await, Notice::Down(Down { subject, reason }));
        end(node, go).await;
    }
}

/// One process is linked, the other one monitors: 3.1.0 refuses both by one.
#[tokio::test]
async fn conformance_y01_y02_x04_go_subscribes_to_rust() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (linked, monitoring) = (rust_event(&node, "driver"), rust_event(&node, "echo"));
        let mut producer = puppet(&node).await;
        let unknown = go.refusal("monitor", monitoring.clone()).await;
        assert_eq!(unknown, "unknown event");

        let token = register(&producer).await;
        assert_eq!(go.get("link", linked.clone()).await, json!([]));
        assert_eq!(told(&mut producer).await, Notice::Start(Atom::new(NAME).unwrap()));
        publish(&producer, token, 1, Priority::Normal).await;
        let got = go.event("published").await;
        assert_eq!((&got["name"], &got["node"]), (&json!(NAME), &json!(node.name().as_str())));
        assert_eq!((&got["to"], &got["value"]), (&json!("driver"), &number(1)));
        assert_eq!(go.get("monitor", monitoring.clone()).await, json!([number(1)]));
        publish(&producer, token, 2, Priority::High).await;
        // One frame for both.
        for _ in ["driver", "echo"] {
            assert_eq!(go.event("published").await["value"], number(2));
        }
        producer.act(|ctx| Box::pin(async move { ctx.unregister_event(NAME) })).await.unwrap();
        assert_eq!(go.event("exit").await["reason"], "unregistered");
        assert_eq!(go.event("down").await["reason"], "unregistered");
        end(node, go).await;
    }
}

/// Since 3.2.0 Ergo asks once and again for all subscribers of a node.
#[tokio::test]
async fn go_unsubscribes_from_rust() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let mut producer = puppet(&node).await;
        register(&producer).await;
        for (begin, end) in [("link", "unlink"), ("monitor", "demonitor")] {
            for subscriber in ["driver", "echo", "mute"] {
                assert_eq!(go.get(begin, rust_event(&node, subscriber)).await, json!([]), "{begin}");
            }
            assert_eq!(told(&mut producer).await, Notice::Start(Atom::new(NAME).unwrap()));
            for subscriber in ["mute", "driver", "echo"] {
                go.ask(end, rust_event(&node, subscriber)).await;
            }
            assert_eq!(told(&mut producer).await, Notice::Stop(Atom::new(NAME).unwrap()));
        }
        end(node, go).await;
    }
}

/// An event that keeps what was published last.
async fn register(producer: &Strings) -> postroad::EventToken {
    let options = EventOptions::new().notify().buffer(2);
    producer.act(move |ctx| Box::pin(async move { ctx.register_event(NAME, options) })).await.unwrap()
}

#[tokio::test]
async fn conformance_x08_y04_the_loss_of_a_node_ends_its_subscriptions() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let mut producer = puppet(&node).await;
        let options = EventOptions::new().notify();
        producer.act(move |ctx| Box::pin(async move { ctx.register_event(NAME, options) })).await.unwrap();
        go.get("monitor", rust_event(&node, "driver")).await;
        assert_eq!(told(&mut producer).await, Notice::Start(Atom::new(NAME).unwrap()));
        let subscriber = lost_event(&node, &go).await;
        assert!(node.network().disconnect(go.name()).await);
        assert_eq!(told(&mut producer).await, Notice::Stop(Atom::new(NAME).unwrap()));
        assert_eq!(go.event("down").await["reason"], "no connection");
        let mut subscriber = subscriber;
        let down = Down { subject: Watched::Event(event(go.atom())), reason: ExitReason::NoConnection };
        assert_eq!(told(&mut subscriber).await, Notice::Down(down));
        end(node, go).await;
    }
}

/// A process that monitors an event of the Go node.
async fn lost_event(node: &Node, go: &Peer) -> Strings {
    go.ask("register_event", json!({"name": NAME})).await;
    let subscriber = puppet(node).await;
    monitor(&subscriber, event(go.atom())).await.unwrap();
    subscriber
}
