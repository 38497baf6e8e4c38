//! What goes over TLS links.

use std::time::Duration;

use postroad::network::{MemoryNetwork, NetworkRoute};
use postroad::tls::TlsOptions;
use postroad::{Message, Node, Pid};

use crate::support::COOKIE;
use crate::support::authority::{Authority, Leaf};
use crate::support::forwarder::Forwarder;
use crate::support::{Inbox, next, port, probe};
use crate::{dial, node, to};

/// So that the order can be told.
#[derive(Debug, Message)]
struct Numbered {
    number: u64,
    bytes: Vec<u8>,
}

/// Two nodes with TLS between them, the second with a probe.
async fn pair() -> (Node, Node, Pid, Inbox, Authority) {
    let authority = Authority::new("ours");
    let (there, _) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let (probe, inbox) = probe(&there).await;
    (here, there, probe, inbox, authority)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_arrive_whole() {
    let (here, there, probe, mut inbox, _) = pair().await;
    dial(&here, &there, to(&there)).await.unwrap();
    for size in [1, 16 << 10, (16 << 10) + 1, 1 << 20, 64 << 20] {
        let message: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        here.send(probe, message.clone()).await.unwrap();
        assert!(next::<Vec<u8>>(&mut inbox).await == message, "{size} bytes are those that were sent");
    }
}

/// Both directions at once, each of them full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_at_once() {
    let (here, there, there_probe, mut there_inbox, _) = pair().await;
    let (here_probe, mut here_inbox) = probe(&here).await;
    dial(&here, &there, to(&there)).await.unwrap();
    // The side that was dialed knows of it a moment later, and has no route of its own.
    while there.network().peers().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let flood = |from: Node, to: Pid| async move {
        for number in 0..2000u64 {
            from.send(to, Numbered { number, bytes: vec![number as u8; 10_000] }).await.unwrap();
        }
    };
    let drain = async |inbox: &mut Inbox| {
        for number in 0..2000u64 {
            let Numbered { number: got, bytes } = next(inbox).await;
            assert_eq!((got, bytes.len(), bytes[9_999]), (number, 10_000, number as u8));
        }
    };
    let senders = [tokio::spawn(flood(here, there_probe)), tokio::spawn(flood(there, here_probe))];
    let both = async { tokio::join!(drain(&mut there_inbox), drain(&mut here_inbox)) };
    tokio::time::timeout(Duration::from_secs(30), both).await.expect("all that was sent arrives");
    for sender in senders {
        sender.await.unwrap();
    }
}

/// Links die in the middle of traffic and are replaced: what arrives is in
/// order, and the connection is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_while_links_are_killed() {
    let (here, there, probe, mut inbox, _authority) = pair().await;
    let forwarder = Forwarder::to(port(&there)).await;
    let route = NetworkRoute::to("127.0.0.1", forwarder.port).tls(true);
    dial(&here, &there, route).await.unwrap();
    // Not a multiple: what was under way when a link died is lost, and the last one must not be.
    let number = 22_000u64;
    let sender = here.clone();
    let sending = tokio::spawn(async move {
        for at in 0..number {
            sender.send(probe, Numbered { number: at, bytes: vec![0; 100] }).await.unwrap();
            if at % 4000 == 3999 {
                forwarder.cut();
                // Time for a link to come back: with none left the connection would end.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        forwarder
    });
    let mut last = None;
    while last != Some(number - 1) {
        let Numbered { number: at, .. } =
            tokio::time::timeout(Duration::from_secs(30), next(&mut inbox)).await.expect("more of them");
        assert!(last.is_none_or(|last| last < at), "{at} after {last:?}");
        last = Some(at);
    }
    sending.await.unwrap();
    assert_eq!(here.network().peers().len(), 1);
}

/// A node that stops says goodbye on each link: nothing of it looks like a
/// break.
#[tokio::test]
async fn what_was_sent_before_a_stop_arrives() {
    let (here, there, probe, mut inbox, _) = pair().await;
    dial(&here, &there, to(&there)).await.unwrap();
    for number in 0..1000u64 {
        here.send(probe, number).await.unwrap();
    }
    here.stop().await;
    for number in 0..1000u64 {
        assert_eq!(next::<u64>(&mut inbox).await, number);
    }
}

/// More time than a clock can express is no limit, for further links too.
#[tokio::test]
async fn all_the_time_in_the_world() {
    let (here, there, ..) = pair().await;
    dial(&here, &there, to(&there).timeout(Duration::MAX)).await.unwrap();
    let all = async {
        while here.network().peer(there.name().as_str()).is_none_or(|peer| peer.links < 3) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("all links join");
}

/// A dial with TLS may just take so long; a further link has to be joined as well.
#[tokio::test(start_paused = true)]
async fn a_pool_is_filled_on_a_slow_road() {
    let network = MemoryNetwork::new();
    network.set_delay(Duration::from_millis(225)..=Duration::from_millis(225));
    let authority = Authority::new("ours");
    let tls = TlsOptions::new().identity(authority.issue(Leaf::host("there")).identity());
    let start = async |name, tls| {
        let builder = Node::builder(name).memory_network(&network).cookie(COOKIE).tls(tls);
        let (dial, handshake) = (Duration::from_secs(1), Duration::from_secs(5));
        builder.timeouts(dial, handshake, handshake).start().await.unwrap()
    };
    let there = start("two@there", tls).await;
    let here = start("one@here", TlsOptions::new().trust(authority.trust())).await;
    here.network().connect("two@there").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(here.network().info().peers[0].links, 3);
    here.stop().await;
    there.stop().await;
}
