//! What somebody gets who asks much, and what the others have to bear of it.

use postroad::network::{HopAnswer, ProbeOutcome};
use postroad_wire::enp::Head;
use postroad_wire::tunnel::{Answer, Request};

use crate::liar::Client;
use crate::support::log::Log;
use crate::support::scripted::frame;
use crate::support::{builder, fill, node, probe};
use crate::{gateway, knows, open, stop, through};

/// A probe asks once for each hop, more often than a client: where that is too often
/// it asks again, and says what a client would be told.
#[tokio::test]
async fn a_probe_has_patience_with_limits() {
    let (client, target) = (node("client").await, node("target").await);
    let first = gateway("first", open().requests_per_second(1)).await;
    let (second, third) = (gateway("second", open()).await, gateway("third", open()).await);
    through(&client, &first, &target);
    through(&first, &second, &target);
    through(&second, &third, &target);
    knows(&third, &target);
    let probes = client.network().probe(target.name().as_str()).await.unwrap();
    let answers: Vec<_> = probes[0].hops.iter().map(|hop| (hop.node, hop.answer)).collect();
    let row = [&first, &second, &third].map(|gateway| gateway.name());
    let whole = [HopAnswer::PassesOn, HopAnswer::PassesOn, HopAnswer::LeadsThere];
    assert_eq!(answers, row.into_iter().zip(whole).collect::<Vec<_>>());
    assert!(matches!(probes[0].outcome, ProbeOutcome::Reached { .. }), "{:?}", probes[0].outcome);
    stop([client, first, second, third, target]).await;
}

/// There are answers that nobody waits with until the peer reads: it is said that
/// they are dropped, and not once for each.
#[tokio::test]
async fn who_summons_and_does_not_read_does_not_fill_the_log() {
    /// Enough for more answers than are kept, beside what waits already.
    const SUMMONS: u64 = 160_000;
    let log = Log::start();
    let node = builder("node").pool_size(1).start().await.unwrap();
    let (probe, mut inbox) = probe(&node).await;
    let Client { mut link, .. } = Client::of(&node).await;
    fill(&node, link.sender()).await;
    let summons = (0..SUMMONS).flat_map(|number| frame(&Head::Summon { token: [7, number] }, &[]));
    link.wire.send(&summons.collect::<Vec<_>>()).await;
    // When this has come, those have been read.
    link.send_message(probe, &1u8).await;
    inbox.recv().await.unwrap();
    let lines = log.count("answer dropped: the peer does not read");
    assert!((1..=100).contains(&lines), "{lines}");
    stop([node]).await;
}

/// Who opens and closes in a loop is there in the log, with both ends of what is told,
/// and does not fill it.
#[tokio::test]
async fn tunnels_are_logged_in_bounds() {
    let log = Log::start();
    let gateway = gateway("gateway", open().requests_per_second(1000)).await;
    let target = node("target").await;
    knows(&gateway, &target);
    let client = Client::of(&gateway).await;
    for _ in 0..25 {
        let answer = client.asks(&gateway, Request::Open(client.open(target.name()))).await;
        assert!(matches!(answer, Answer::Opened { .. }), "{answer:?}");
    }
    while !gateway.network().tunnels().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((log.count("tunnel opened"), log.count("tunnel closed")), (20, 20));
    stop([gateway, target]).await;
}
