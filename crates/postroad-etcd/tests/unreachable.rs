//! No etcd at start: needs none.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use postroad::Node;
use postroad::network::AcceptorOptions;
use postroad_etcd::{EtcdOptions, EtcdRegistrar};

#[tokio::test]
async fn a_node_says_which_endpoints_it_tried_and_what_to_do() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = |listener: &std::net::TcpListener| listener.local_addr().unwrap().to_string();
    let (mute_address, dead_address) = (address(&mute), address(&dead));
    drop(dead);
    let limit = Duration::from_millis(500);
    let options = EtcdOptions::new([&mute_address, &dead_address]).timeouts(limit, limit);
    let registrar = EtcdRegistrar::new(options).unwrap();
    let began = Instant::now();
    let error = Node::builder("a@127.0.0.1")
        .cookie("a cookie for tests")
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .registrar(Arc::new(registrar))
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for part in [&mute_address, &dead_address, "unable to register", "is etcd running there"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
