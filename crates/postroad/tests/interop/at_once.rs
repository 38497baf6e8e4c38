//! Both nodes dial at once. Ergo has no rule for that: whichever connection it
//! registers first it keeps, and it may dial several times for several senders.

use std::time::Duration;

use postroad::network::NetworkEvent;
use serde_json::json;
use tokio::sync::broadcast::error::TryRecvError;

use crate::peer::{Peer, by_pid};
use crate::road::{all_links, end, go_route, rust_route};
use crate::support::{Echo, node, port, unique};
use crate::within;

/// How often both dial. One round in a few meets in the middle.
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smaller_name_is_rust() {
    meet("a-rust", "z-go").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smaller_name_is_go() {
    meet("z-rust", "a-go").await;
}

/// Whatever comes of the dials, the two agree on one connection at last, which
/// carries both ways, and no end is announced without a beginning.
async fn meet(rust: &str, go: &str) {
    let name = unique(go);
    let (node, go) = tokio::join!(node(rust), Peer::named(&name, &[]));
    rust_route(&node, &go, go.port());
    go_route(&go, &node, port(&node)).await;
    let echo = node.spawn::<Echo>(()).await.unwrap();
    let mut events = node.network().subscribe();
    let there = json!({"node": node.name().as_str()});
    let value = json!({"type": "uint8", "value": 7});
    for _ in 0..ROUNDS {
        let network = node.network();
        let (ours, first, second) = tokio::join!(
            network.connect(go.name()),
            go.try_ask("connect", there.clone()),
            go.try_ask("connect", there.clone()),
        );
        assert!(ours.is_ok() || first.is_ok() || second.is_ok(), "{ours:?} {first:?} {second:?}");
        within("an answer both ways", async {
            loop {
                let here = node.call_with_timeout::<u8>(go.pid("echo"), 7u8, Duration::from_secs(1)).await;
                let back = go.call(by_pid(echo), value.clone()).await;
                if here.is_ok() && back.is_ok() {
                    break;
                }
            }
        })
        .await;
        all_links(&node, &go).await;
        assert!(node.network().disconnect(go.name()).await);
        within("the end at both sides", async {
            while go.try_ask("node_info", there.clone()).await.is_ok()
                || node.network().peer(go.name()).is_some()
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    let mut up = false;
    let mut ends = 0;
    loop {
        match events.try_recv() {
            Ok(NetworkEvent::Connected { .. }) => assert!(!std::mem::replace(&mut up, true)),
            Ok(NetworkEvent::Disconnected { .. }) => {
                ends += 1;
                assert!(std::mem::replace(&mut up, false));
            }
            Ok(_) => {}
            Err(TryRecvError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!up && ends >= ROUNDS, "{ends} ends");
    println!("{ends} ends in {ROUNDS} rounds");
    end(node, go).await;
}
