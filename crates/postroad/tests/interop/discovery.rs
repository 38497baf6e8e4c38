//! Nodes of one host find each other through either's registrar.

use std::sync::Arc;
use std::time::Duration;

use postroad::network::AcceptorOptions;
use postroad::network::routes::Names;
use postroad::registrar::{Embedded, EmbeddedOptions, Registrar, RegistrarError, ResolveError, Resolver};
use postroad::{Atom, Node, SpawnOptions, StartError};
use serde_json::json;

use crate::peer::{Peer, named};
use crate::road::{at, free_port};
use crate::support::{COOKIE, Echo, port, unique};
use crate::within;

/// A Go node that uses the registrar on that port, and may run it.
async fn go(registrar: u16) -> Peer {
    Peer::named(&unique("go"), &["-registrar-port", &registrar.to_string()]).await
}

/// One that only asks.
async fn go_client(name: &str, registrar: u16) -> Result<Peer, String> {
    let flags = ["-registrar-port", &registrar.to_string(), "-registrar-server=false"];
    Peer::try_named(name, &flags).await
}

/// The same for Rust, with an echo; and the node's view of the registrar.
async fn rust(name: &str, registrar: u16, may_serve: bool) -> Result<(Node, Embedded), StartError> {
    let mut options = EmbeddedOptions::port(registrar);
    options.may_serve = may_serve;
    let embedded = Embedded::new(options);
    let builder = Node::builder(name).cookie(COOKIE).registrar(Arc::new(embedded.clone()));
    let node = builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).start().await?;
    node.spawn_with::<Echo>((), SpawnOptions::new().name("echo")).await.unwrap();
    Ok((node, embedded))
}

/// Has Rust find and ask Go.
async fn rust_finds(node: &Node, go: &Peer) {
    assert_eq!(node.call::<u8>(at("echo", go.atom()), 7u8).await.unwrap(), 7);
    assert!(node.network().peer(go.name()).unwrap().dialed);
}

/// Has Go find and ask Rust.
async fn go_finds(go: &Peer, node: &Node) {
    let routes = go.ask("resolve", json!({"name": node.name().as_str()})).await;
    assert_eq!(routes[0]["port"], port(node), "{routes}");
    let value = json!({"type": "uint8", "value": 7});
    assert_eq!(go.call(named("echo", node.name()), value.clone()).await.unwrap(), value);
    assert!(!node.network().peer(go.name()).unwrap().dialed);
}

#[tokio::test]
async fn the_server_is_a_go_node() {
    let registrar = free_port();
    let server = go(registrar).await;
    let (node, embedded) = rust(&unique("rust"), registrar, true).await.unwrap();
    let (other, _) = rust(&unique("other"), registrar, true).await.unwrap();
    assert!(!embedded.is_server(), "somebody serves already");
    let client = go_client(&unique("client"), registrar).await.unwrap();
    rust_finds(&node, &server).await;
    rust_finds(&node, &client).await;
    go_finds(&server, &other).await;
    go_finds(&client, &other).await;
    assert_eq!(client.try_ask("resolve", json!({"name": "nobody@127.0.0.1"})).await.unwrap_err(), "unknown");
    let unknown = node.network().connect("nobody@127.0.0.1").await.unwrap_err().to_string();
    assert!(unknown.contains("does not know"), "{unknown}");
    for node in [node, other] {
        node.stop().await;
    }
}

#[tokio::test]
async fn the_server_is_a_rust_node() {
    let registrar = free_port();
    let (server, embedded) = rust(&unique("rust"), registrar, true).await.unwrap();
    assert!(embedded.is_server());
    let (other, _) = rust(&unique("other"), registrar, true).await.unwrap();
    // It would serve if nobody did.
    let may_serve = go(registrar).await;
    let client = go_client(&unique("client"), registrar).await.unwrap();
    rust_finds(&server, &client).await;
    rust_finds(&other, &client).await;
    go_finds(&may_serve, &server).await;
    go_finds(&may_serve, &other).await;
    assert_eq!(client.try_ask("resolve", json!({"name": "nobody@127.0.0.1"})).await.unwrap_err(), "unknown");
    // Who stops is forgotten.
    let gone = other.name();
    other.stop().await;
    within("the end of the registration", async {
        while client.try_ask("resolve", json!({"name": gone.as_str()})).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn names_are_taken_once() {
    let (by_go, by_rust) = (free_port(), free_port());
    let (_server, taken) = (go(by_go).await, unique("taken"));
    let _first = go_client(&taken, by_go).await.unwrap();
    let error = rust(&taken, by_go, true).await.unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");

    let (server, _) = rust(&unique("server"), by_rust, true).await.unwrap();
    let (first, _) = rust(&taken, by_rust, true).await.unwrap();
    for name in [taken, server.name().to_string()] {
        let error = go_client(&name, by_rust).await.err().expect("the name is taken");
        assert!(error.contains("taken"), "{error}");
    }
    first.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn rust_takes_over_from_go() {
    let registrar = free_port();
    let server = go(registrar).await;
    let (heir, embedded) = rust(&unique("heir"), registrar, true).await.unwrap();
    let client = go_client(&unique("client"), registrar).await.unwrap();
    server.stop().await;
    within("the take-over", async {
        while !embedded.is_server() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let (late, _) = rust(&unique("late"), registrar, false).await.unwrap();
    // Ergo registers again after a second.
    within("the client to register again", async {
        while late.network().connect(client.name()).await.is_err() {}
    })
    .await;
    rust_finds(&late, &client).await;
    go_finds(&client, &heir).await;
    for node in [heir, late] {
        node.stop().await;
    }
}

#[tokio::test]
async fn go_takes_over_from_rust() {
    let registrar = free_port();
    let (server, _) = rust(&unique("server"), registrar, true).await.unwrap();
    let heir = go(registrar).await;
    let (client, embedded) = rust(&unique("client"), registrar, false).await.unwrap();
    server.stop().await;
    let late = within("the take-over", async {
        loop {
            if let Ok(late) = go_client(&unique("late"), registrar).await {
                break late;
            }
        }
    })
    .await;
    within("the client to register again", async {
        let name = json!({"name": client.name().as_str()});
        while late.try_ask("resolve", name.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(!embedded.is_server());
    go_finds(&late, &client).await;
    rust_finds(&client, &heir).await;
    client.stop().await;
}

/// What gateways announce is nothing that a Go node is shown: neither one that
/// serves nor one that asks is any worse off.
#[tokio::test]
async fn go_nodes_do_not_stumble_over_gateways() {
    let to = || Names::matching("private-.*").unwrap();
    let name = Atom::new("private-1@127.0.0.1").unwrap();

    let by_go = free_port();
    let server = go(by_go).await;
    let (gateway, embedded) = rust(&unique("gateway"), by_go, true).await.unwrap();
    assert!(matches!(embedded.register_proxy(to()).await, Err(RegistrarError::NotSupported)));
    assert!(matches!(embedded.resolve_proxy(name).await, Err(ResolveError::NotSupported)));
    let client = go_client(&unique("client"), by_go).await.unwrap();
    go_finds(&server, &gateway).await;
    go_finds(&client, &gateway).await;
    // Who takes over understands it.
    server.stop().await;
    let (late, asking) = within("the take-over", async {
        loop {
            if embedded.is_server()
                && let Ok(late) = rust(&unique("late"), by_go, false).await
            {
                break late;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    within("the announcement", async {
        while asking.resolve_proxy(name).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    within("the client to register again", async {
        while late.network().connect(client.name()).await.is_err() {}
    })
    .await;
    rust_finds(&late, &client).await;
    let another = go_client(&unique("another"), by_go).await.unwrap();
    go_finds(&another, &late).await;
    for node in [gateway, late] {
        node.stop().await;
    }
}
