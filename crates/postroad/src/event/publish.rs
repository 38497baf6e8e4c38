//! What a publication goes through: the buffer, other nodes, mailboxes.

use std::sync::Arc;
use std::time::Duration;

use postroad_edf::{Message, Payload};
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;

use super::{EventToken, FanOut, Published, Topic};
use crate::error::PublishError;
use crate::network::{Connection, Outgoing};
use crate::node::NodeInner;
use crate::{Atom, Event, Pid};

/// A publisher gives the nodes that lag behind so much time, all together.
const PATIENCE: Duration = Duration::from_millis(50);

/// A publisher that finds more than this waiting in a mailbox lets others run.
const PATIENT_DEPTH: usize = 4096;

/// Publishes to everybody who subscribes.
pub(crate) async fn publish<M: Message>(
    node: &Arc<NodeInner>,
    from: Pid,
    outgoing: Outgoing,
    name: Atom,
    token: &EventToken,
    message: M,
) -> Result<(), PublishError> {
    let topic = node.events.get(name).ok_or(PublishError::EventUnknown)?;
    if !topic.token.is(token) {
        return Err(PublishError::NotOwner);
    }
    let event = Event { name, node: node.name };
    let now = node.network.options.ground.unix_time().as_nanos();
    let timestamp = i64::try_from(now).unwrap_or(i64::MAX);
    let published = Published::new(event, from, timestamp, Arc::new(Payload::new(message)));
    publish_payload(&topic, outgoing, published).await
}

async fn publish_payload(
    topic: &Arc<Topic>,
    outgoing: Outgoing,
    published: Published,
) -> Result<(), PublishError> {
    let reach = topic.accept(&published).ok_or(PublishError::EventUnknown)?;
    // First of all, so that this node's subscribers get it whatever comes.
    let mut fan_out = FanOut::new(reach.subscribers, published.clone(), outgoing.priority);
    let slow = send_to_nodes(topic, &reach.peers, outgoing, &published);
    drop(published);
    fan_out.reach_all().await;
    if fan_out.refused() > 0 {
        topic.missed_here(fan_out.refused());
    }
    if !slow.is_empty() {
        wait_for(&slow, outgoing.from).await;
    }
    // A receiver that lags is given time; a publisher that never waits would keep its thread.
    if fan_out.depth() > PATIENT_DEPTH {
        yield_now().await;
    }
    consume_budget().await;
    Ok(())
}

/// Sends one frame to each node; those that a publisher should wait for.
fn send_to_nodes(
    topic: &Topic,
    peers: &[Arc<Connection>],
    outgoing: Outgoing,
    published: &Published,
) -> Vec<Arc<Connection>> {
    let mut slow = Vec::new();
    for peer in peers {
        match peer.publish(outgoing, published) {
            Ok(false) => {}
            Ok(true) => slow.push(peer.clone()),
            Err(error) => {
                let missed = topic.missed_there();
                // Once would be too seldom and each time too often.
                if missed.is_power_of_two() {
                    tracing::warn!(event = %topic.name, ?peer, %error, missed, "publication did not reach a node");
                }
            }
        }
    }
    slow
}

/// Waits until what was published can go on. Who has not caught up by then is
/// not waited for again until it has.
async fn wait_for(slow: &[Arc<Connection>], from: u64) {
    let all = async {
        for peer in slow {
            peer.catch_up(from).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        for peer in slow {
            peer.note_lag(from);
        }
    }
}
