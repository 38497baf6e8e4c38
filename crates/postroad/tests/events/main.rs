//! What is published reaches who subscribes, here and elsewhere
//! (semantics/TESTS.md B11, F04, G04, H and Y).
#![allow(missing_docs, clippy::unwrap_used)]

mod local;
mod remote;
mod scripted;
mod shared;
#[path = "../support/mod.rs"]
mod support;

use postroad::{
    Atom, Down, Event, EventError, EventOptions, EventToken, Exit, ExitReason, Node, PublishError, Published,
    RelationError, Watched,
};
use support::puppet::{Notice, Strings};

const NAME: &str = "numbers";

fn event_of(node: &Node) -> Event {
    Event { name: Atom::new(NAME).unwrap(), node: node.name() }
}

fn published(node: &Node, number: u32) -> Notice {
    Notice::Published(event_of(node), Some(number))
}

fn exit(node: &Node, reason: ExitReason) -> Notice {
    Notice::Exit(Exit { subject: Watched::Event(event_of(node)), reason, requested: false })
}

fn down(node: &Node, reason: ExitReason) -> Notice {
    Notice::Down(Down { subject: Watched::Event(event_of(node)), reason })
}

fn started() -> Notice {
    Notice::Start(Atom::new(NAME).unwrap())
}

fn stopped() -> Notice {
    Notice::Stop(Atom::new(NAME).unwrap())
}

async fn register(producer: &Strings, options: EventOptions) -> Result<EventToken, EventError> {
    producer.act(move |ctx| Box::pin(async move { ctx.register_event(NAME, options) })).await
}

async fn unregister(producer: &Strings) -> Result<(), EventError> {
    producer.act(|ctx| Box::pin(async move { ctx.unregister_event(NAME) })).await
}

async fn publish(producer: &Strings, token: EventToken, number: u32) -> Result<(), PublishError> {
    producer.act(move |ctx| Box::pin(async move { ctx.publish(NAME, &token, number).await })).await
}

async fn link(subscriber: &Strings, event: Event) -> Result<Vec<Published>, RelationError> {
    subscriber.act(move |ctx| Box::pin(ctx.link_event(event))).await
}

async fn monitor(subscriber: &Strings, event: Event) -> Result<Vec<Published>, RelationError> {
    subscriber.act(move |ctx| Box::pin(ctx.monitor_event(event))).await
}

async fn unlink(subscriber: &Strings, event: Event) -> Result<(), RelationError> {
    subscriber.act(move |ctx| Box::pin(ctx.unlink_event(event))).await
}

async fn demonitor(subscriber: &Strings, event: Event) -> Result<(), RelationError> {
    subscriber.act(move |ctx| Box::pin(ctx.demonitor_event(event))).await
}

/// The numbers that were kept, oldest first.
fn numbers(last: &[Published]) -> Vec<u32> {
    last.iter().map(|published| *published.downcast_ref().unwrap()).collect()
}
