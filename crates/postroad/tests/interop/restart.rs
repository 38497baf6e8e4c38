//! Nodes that die and come back under the same name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postroad::network::AcceptorOptions;
use postroad::{CallError, Node, SendError, SpawnOptions};
use serde_json::json;

use crate::peer::{Peer, by_pid, named};
use crate::road::{Dialer, at, connect, end, free_port, go_route, lost, pair, rust_route};
use crate::support::{COOKIE, Echo, node, port, unique};
use crate::{PATIENCE, within};

/// Waits until a node that starts now has another creation than one that has
/// this: it is the second of its start.
async fn another_incarnation(creation: i64) {
    while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed() <= creation {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn go_on(name: &str, port: u16) -> Peer {
    Peer::named(name, &["-port", &port.to_string()]).await
}

#[tokio::test]
async fn a_restarted_go_node_is_found_again() {
    for crash in [false, true] {
        let (name, port) = (unique("phoenix"), free_port());
        let (node, go) = tokio::join!(node("rust"), go_on(&name, port));
        rust_route(&node, &go, port);
        let (old, old_alias, creation) = (go.pid("echo"), go.alias("echo"), go.creation());
        assert_eq!(node.call::<u8>(old, 1u8).await.unwrap(), 1);
        let mut events = node.network().subscribe();
        if crash {
            drop(go)
        } else {
            go.stop().await
        }
        lost(&mut events, &name).await;
        assert!(node.network().peers().is_empty());

        another_incarnation(creation).await;
        let go = go_on(&name, port).await;
        assert_eq!(node.call::<u8>(at("echo", go.atom()), 2u8).await.unwrap(), 2);
        assert_eq!(node.call::<u8>(go.pid("echo"), 3u8).await.unwrap(), 3);
        let error = node.call::<u8>(old, 4u8).await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::Incarnation { .. })), "{error}");
        let error = node.send(old_alias, 5u8).await.unwrap_err();
        assert!(matches!(error, SendError::Incarnation { .. }), "{error}");
        end(node, go).await;
    }
}

/// The new one dials, and may come before the end of the old one is noticed.
#[tokio::test]
async fn a_restarted_go_node_comes_back_by_itself() {
    let name = unique("phoenix");
    let (node, go) = tokio::join!(node("rust"), Peer::named(&name, &[]));
    connect(Dialer::Go, &node, &go).await;
    let (old, creation) = (go.pid("echo"), go.creation());
    another_incarnation(creation).await;
    drop(go);
    let go = Peer::named(&name, &[]).await;
    connect(Dialer::Go, &node, &go).await;
    assert_eq!(node.network().peer(&name).unwrap().creation, go.creation());
    let error = node.call::<u8>(old, 1u8).await.unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::Incarnation { .. })), "{error}");
    assert_eq!(node.call::<u8>(go.pid("echo"), 2u8).await.unwrap(), 2);
    end(node, go).await;
}

async fn rust_on(name: &str, port: u16) -> Node {
    let builder = Node::builder(name).cookie(COOKIE).without_registrar();
    let node = builder.acceptor(AcceptorOptions::bind("127.0.0.1", port)).start().await.unwrap();
    node.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
    node
}

#[tokio::test]
async fn a_restarted_rust_node_is_found_again() {
    for dialer in Dialer::BOTH {
        let name = unique("phoenix");
        let (node, go) = tokio::join!(rust_on(&name, free_port()), Peer::start("go"));
        connect(dialer, &node, &go).await;
        if dialer == Dialer::Rust {
            go_route(&go, &node, port(&node)).await;
        }
        let value = json!({"type": "uint8", "value": 1});
        let old = node.whereis("echo").unwrap();
        assert_eq!(go.call(by_pid(old), value.clone()).await.unwrap(), value);
        go.ask("monitor", json!({"node": name})).await;
        let port = port(&node);
        node.stop().await;
        assert_eq!(go.event("down").await["target"], json!({"node": name}));

        let node = rust_on(&name, port).await;
        assert_eq!(go.call(named("echo", node.name()), value.clone()).await.unwrap(), value);
        let error = go.call(by_pid(old), value).await.unwrap_err();
        assert_eq!(error, "process ID belongs to the previous incarnation");
        end(node, go).await;
    }
}

#[tokio::test]
async fn a_call_ends_with_the_node_it_went_to() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let call = tokio::spawn({
            let (node, mute) = (node.clone(), go.pid("mute"));
            async move { node.call_with_timeout::<u8>(mute, 1u8, 100 * PATIENCE).await }
        });
        go.event("request").await;
        let name = go.atom();
        go.kill();
        let error = within("the end of the call", call).await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::NoConnection { node } if node == name), "{error}");
        node.stop().await;
    }
}
