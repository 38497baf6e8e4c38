//! Nodes on a network in memory: the same nodes, without sockets.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postroad::network::{AcceptorOptions, DownReason, MemoryNetwork, NetworkEvent};
use postroad::{Atom, CallError, Event, EventOptions, Node, Pid, Published, StartError};
use support::puppet::puppet;
use support::{COOKIE, Echo, next, probe};
use tokio::time::Instant;

/// Two hosts whose nodes give signs of life every second.
struct Pair {
    network: MemoryNetwork,
    here: Node,
    there: Node,
}

async fn node(network: &MemoryNetwork, name: &str) -> Node {
    support::log::install();
    let builder = Node::builder(name).memory_network(network).cookie(COOKIE);
    builder.keepalive(Duration::from_secs(1)).start().await.unwrap()
}

async fn pair() -> Pair {
    let network = MemoryNetwork::new();
    let (here, there) = (node(&network, "one@here").await, node(&network, "two@there").await);
    here.network().connect("two@there").await.unwrap();
    while here.network().info().peers[0].links < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Pair { network, here, there }
}

impl Pair {
    async fn echo(&self) -> Pid {
        self.there.spawn::<Echo>(()).await.unwrap()
    }

    async fn end(self) {
        self.here.stop().await;
        self.there.stop().await;
        drop((self.here, self.there));
        assert_eq!(self.network.streams(), 0, "nodes that have stopped hold no stream");
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 0, "nor a task");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_and_talk() {
    let pair = pair().await;
    let echo = pair.echo().await;
    assert_eq!(pair.here.call::<u32>(echo, 7u32).await.unwrap(), 7);
    let large = vec![1u8; 3 << 20];
    assert_eq!(pair.here.call::<Vec<u8>>(echo, large.clone()).await.unwrap(), large, "more than a window");
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_under_way_for_as_long_as_it_is_said() {
    let pair = pair().await;
    let echo = pair.echo().await;
    pair.network.set_delay(Duration::from_millis(300)..=Duration::from_millis(300));
    let begun = Instant::now();
    pair.here.call::<u32>(echo, 7u32).await.unwrap();
    assert_eq!(begun.elapsed().as_millis() / 10, 60, "there and back");
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_when_a_road_is_cut_arrives_when_it_is_healed() {
    let pair = pair().await;
    let (receiver, mut inbox) = probe(&pair.there).await;
    pair.network.set_delay(Duration::from_millis(10)..=Duration::from_millis(10));
    pair.here.send(receiver, 1u32).await.unwrap();
    pair.network.silence("here", "there");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(inbox.try_recv().is_err());
    pair.network.heal("here", "there");
    assert_eq!(next::<u32>(&mut inbox).await, 1);
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_noticed_by_silence_and_nobody_is_reached_across_it() {
    let pair = pair().await;
    let echo = pair.echo().await;
    let mut events = pair.here.network().subscribe();
    pair.network.partition("there", "here");
    let cut = Instant::now();
    let lost = pair.here.call::<u32>(echo, 7u32).await;
    assert!(matches!(lost, Err(CallError::NoConnection { .. } | CallError::Timeout(_))), "{lost:?}");
    let down = events.recv().await.unwrap();
    assert!(matches!(down, NetworkEvent::Disconnected { reason: DownReason::Lost, .. }), "{down:?}");
    assert!(cut.elapsed() < Duration::from_secs(15), "{:?}", cut.elapsed());
    assert!(pair.here.network().connect("two@there").await.is_err());
    pair.network.heal("here", "there");
    pair.here.network().connect("two@there").await.unwrap();
    assert_eq!(pair.here.call::<u32>(echo, 8u32).await.unwrap(), 8);
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn links_that_break_are_replaced() {
    let pair = pair().await;
    let echo = pair.echo().await;
    let connected = pair.here.network().peer("two@there").unwrap().connected;
    assert!(pair.network.reset_one("here", "there"));
    assert_eq!(pair.network.reset("there", "here"), 2);
    assert!(!pair.network.reset_one("here", "there"), "all are broken");
    for number in 0..30u32 {
        assert_eq!(pair.here.call::<u32>(echo, number).await.unwrap(), number);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let peer = pair.here.network().peer("two@there").unwrap();
    assert_eq!(peer.links, 3);
    assert!(peer.connected - connected >= Duration::from_secs(3), "it is the same connection");
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_crashes_says_no_goodbye_and_who_writes_to_it_later_is_told() {
    let pair = pair().await;
    let mut events = pair.here.network().subscribe();
    pair.network.crash("there");
    pair.there.stop().await;
    assert!(events.try_recv().is_err(), "nobody has told");
    pair.network.boot("there");
    let booted = Instant::now();
    let again = node(&pair.network, "two@there").await;
    while pair.here.network().peer("two@there").is_some_and(|peer| peer.links > 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(booted.elapsed() < Duration::from_secs(2), "before it was silent for three seconds");
    let down = events.recv().await.unwrap();
    assert!(matches!(down, NetworkEvent::Disconnected { .. }), "{down:?}");
    assert!(again.creation() > pair.there.creation());
    again.stop().await;
    pair.end().await;
}

/// While the clock stands still unless somebody waits: nobody waits for those
/// who say nothing.
#[tokio::test(start_paused = true)]
async fn conformance_s07_silent_clients_delay_nobody() {
    let pair = pair().await;
    let dials = |name: &'static str| {
        let network = pair.network.clone();
        async move {
            let node = node(&network, name).await;
            let connected = node.network().connect("two@there").await;
            node.stop().await;
            connected
        }
    };
    let streams = pair.network.streams();
    // They are taken in, and do not learn of it.
    pair.network.silence("there", "silent");
    let silent = ["three@silent", "four@silent", "five@silent"].map(|name| tokio::spawn(dials(name)));
    while pair.network.streams() < streams + silent.len() {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    dials("six@loud").await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    assert!(silent.iter().all(|dials| !dials.is_finished()), "they are still at it");
    for dials in silent {
        dials.await.unwrap().unwrap_err();
    }
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_is_taken_once_on_each_host() {
    let network = MemoryNetwork::new();
    let bind = |name: &str| {
        let acceptor = AcceptorOptions::bind(name.split_once('@').unwrap().1, 1000);
        Node::builder(name).memory_network(&network).cookie(COOKIE).acceptor(acceptor).start()
    };
    let (first, elsewhere) = (bind("a@one").await.unwrap(), bind("b@two").await.unwrap());
    let taken = bind("c@one").await;
    assert!(matches!(taken, Err(StartError::Listen { .. })), "{taken:?}");
    first.stop().await;
    bind("c@one").await.unwrap().stop().await;
    elsewhere.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_published_bears_the_time_of_the_network() {
    let pair = pair().await;
    let token = pair.there.register_event("news", EventOptions::new().buffer(2)).unwrap();
    pair.there.publish("news", &token, 1u32).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    pair.there.publish("news", &token, 2u32).await.unwrap();
    let event = Event { name: Atom::new("news").unwrap(), node: pair.there.name() };
    let subscriber = puppet(&pair.here).await;
    let kept = subscriber.act(move |ctx| Box::pin(ctx.link_event(event))).await.unwrap();
    let times: Vec<_> = kept.iter().map(Published::timestamp).collect();
    assert_eq!(times[1] - times[0], 3_000_000_000);
    drop(subscriber);
    pair.end().await;
}
