//! Dialing over static routes, cookies, and how connections end.

use std::time::{Duration, Instant};

use postroad::network::{DownReason, NetworkRoute, exact};
use serde_json::json;

use crate::peer::{Peer, by_pid, named};
use crate::road::{Dialer, all_links, connect, end, go_route, is_connected, lost, pair, rust_route};
use crate::support::{Echo, builder, node, port};
use crate::within;

#[tokio::test]
async fn rust_dials_go() {
    let (node, go) = pair(Dialer::Rust).await;
    let peer = node.network().peer(go.name()).unwrap();
    assert_eq!((peer.name, peer.creation, peer.dialed), (go.atom(), go.creation(), true));
    assert_eq!((peer.pool_size, peer.links), (3, 3));
    let info = go.info(node.name()).await;
    assert_eq!(info["name"], node.name().as_str());
    assert_eq!(info["creation"], node.creation().to_string());
    assert_eq!(go.ask("nodes", json!({})).await, json!([node.name().as_str()]));
    end(node, go).await;
}

#[tokio::test]
async fn go_dials_rust() {
    let (node, go) = pair(Dialer::Go).await;
    let peer = node.network().peer(go.name()).unwrap();
    assert_eq!((peer.name, peer.creation, peer.dialed), (go.atom(), go.creation(), false));
    assert_eq!((peer.pool_size, peer.links), (3, 3));
    let info = go.info(node.name()).await;
    assert_eq!(info["creation"], node.creation().to_string());
    assert_eq!((&info["pool_size"], &info["links"]), (&json!(3), &json!(3)));
    end(node, go).await;
}

/// The accepting side decides how many links there are.
#[tokio::test]
async fn pools_of_other_sizes() {
    let single = builder("single").pool_size(1).start().await.unwrap();
    let go = Peer::named(&crate::support::unique("go"), &["-pool", "5"]).await;
    go_route(&go, &single, port(&single)).await;
    go.ask("connect", json!({"node": single.name().as_str()})).await;
    assert_eq!(go.info(single.name()).await["pool_size"], 1);
    let node = node("rust").await;
    rust_route(&node, &go, go.port());
    node.network().connect(go.name()).await.unwrap();
    within("five links", async {
        while node.network().peer(go.name()).unwrap().links < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    single.stop().await;
    end(node, go).await;
}

#[tokio::test]
async fn a_go_node_without_features_is_a_peer_too() {
    for dialer in Dialer::BOTH {
        let node = node("rust").await;
        let go = Peer::named(&crate::support::unique("go"), &["-flags", "none"]).await;
        connect(dialer, &node, &go).await;
        let back: u8 = node.call(go.pid("echo"), 7u8).await.unwrap();
        assert_eq!(back, 7);
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let value = json!({"type": "uint8", "value": 7});
        assert_eq!(go.call(by_pid(echo), value.clone()).await.unwrap(), value);
        end(node, go).await;
    }
}

/// A hidden Go node, which has no acceptor, is reached over its own connection.
#[tokio::test]
async fn a_hidden_go_node_dials() {
    let node = node("rust").await;
    let go = Peer::named(&crate::support::unique("go"), &["-acceptor=false"]).await;
    connect(Dialer::Go, &node, &go).await;
    assert_eq!(node.call::<u8>(go.pid("echo"), 7u8).await.unwrap(), 7);
    end(node, go).await;
}

#[tokio::test]
async fn go_with_a_wrong_cookie_is_turned_away() {
    let (node, go, friend) = tokio::join!(node("rust"), Peer::start("go"), Peer::start("friend"));
    let route =
        |cookie| json!({"pattern": "rust", "host": "127.0.0.1", "port": port(&node), "cookie": cookie});
    go.ask("add_route", route("a guess")).await;
    let begun = Instant::now();
    let error = go.try_ask("connect", json!({"node": node.name().as_str()})).await.unwrap_err();
    // Ergo says no more than that.
    assert_eq!(error, "no route");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(node.network().peers().is_empty());
    // Nobody else notices, and with the right cookie it comes in.
    connect(Dialer::Go, &node, &friend).await;
    go.ask("remove_route", json!({"pattern": "rust"})).await;
    go.ask("add_route", route(crate::support::COOKIE)).await;
    go.ask("connect", json!({"node": node.name().as_str()})).await;
    all_links(&node, &go).await;
    assert!(is_connected(&node, friend.name()));
    friend.stop().await;
    end(node, go).await;
}

#[tokio::test]
async fn rust_with_a_wrong_cookie_is_told_so() {
    let (node, go, friend) = tokio::join!(node("rust"), Peer::start("go"), Peer::start("friend"));
    let guess = NetworkRoute::to("127.0.0.1", go.port()).cookie("a guess");
    node.network().add_route(&exact(go.name()), guess, 1).unwrap();
    let begun = Instant::now();
    let error = node.network().connect(go.name()).await.unwrap_err().to_string();
    assert!(error.contains("cookie"), "{error}");
    let error = node.call::<u8>(go.pid("echo"), 1u8).await.unwrap_err().to_string();
    assert!(error.contains("cookie"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(go.ask("nodes", json!({})).await, json!([]));
    // Nobody else notices, and with the right cookie it comes in.
    connect(Dialer::Rust, &node, &friend).await;
    node.network().remove_route(&exact(go.name())).unwrap();
    rust_route(&node, &go, go.port());
    assert_eq!(node.call::<u8>(go.pid("echo"), 1u8).await.unwrap(), 1);
    friend.stop().await;
    end(node, go).await;
}

/// A Go node under another name than the one that was dialed.
#[tokio::test]
async fn who_answers_under_another_name_is_refused() {
    let (node, go) = tokio::join!(node("rust"), Peer::start("go"));
    let route = NetworkRoute::to("127.0.0.1", go.port());
    node.network().add_route("impostor", route, 1).unwrap();
    let error = node.network().connect("impostor@127.0.0.1").await.unwrap_err().to_string();
    assert!(error.contains(go.name()), "{error}");
    assert!(node.network().peers().is_empty());
    end(node, go).await;
}

#[tokio::test]
async fn rust_closes_a_connection() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        go.ask("monitor", json!({"node": node.name().as_str()})).await;
        let mut events = node.network().subscribe();
        assert!(node.network().disconnect(go.name()).await);
        assert_eq!(lost(&mut events, go.name()).await, DownReason::Closed);
        let down = go.event("down").await;
        assert_eq!(down["target"], json!({"node": node.name().as_str()}), "{dialer:?} dials");
        // It is found again by whoever has a route.
        within("another connection", async {
            match dialer {
                Dialer::Rust => while node.network().connect(go.name()).await.is_err() {},
                Dialer::Go => {
                    let rust = json!({"node": node.name().as_str()});
                    while go.try_ask("connect", rust.clone()).await.is_err() {}
                }
            }
        })
        .await;
        all_links(&node, &go).await;
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_closes_a_connection() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let mut events = node.network().subscribe();
        go.ask("disconnect", json!({"node": node.name().as_str()})).await;
        assert_eq!(lost(&mut events, go.name()).await, DownReason::Lost, "{dialer:?} dials");
        assert!(!is_connected(&node, go.name()));
        end(node, go).await;
    }
}

#[tokio::test]
async fn a_node_that_stops_is_missed() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        go.ask("monitor", json!({"node": node.name().as_str()})).await;
        node.stop().await;
        let down = go.event("down").await;
        assert_eq!(down["target"], json!({"node": node.name().as_str()}), "{dialer:?} dials");
        let error = go.call(named("x", node.name()), json!({"sample": "bool_true"})).await.unwrap_err();
        assert_eq!(error, "no route");

        let (node, go) = pair(dialer).await;
        let mut events = node.network().subscribe();
        let name = go.name().to_owned();
        go.stop().await;
        assert_eq!(lost(&mut events, &name).await, DownReason::Lost, "{dialer:?} dials");
        node.stop().await;
    }
}
