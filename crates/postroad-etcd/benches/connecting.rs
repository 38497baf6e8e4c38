//! How long it takes until a node is connected that etcd knows:
//! `cargo bench -p postroad-etcd --bench connecting`. Needs etcd and etcdctl.
//!
//! Nodes and etcd are on this machine. A round is plan, resolving, dial,
//! handshake and adoption of the first link; resolving asks no etcd, because the
//! registrar follows it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that does not get to its point fails")]

#[path = "../tests/real/etcd.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod etcd;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use postroad::Node;
use postroad::network::AcceptorOptions;
use postroad_etcd::EtcdRegistrar;

use self::etcd::Etcd;

const ROUNDS: usize = 500;

#[tokio::main]
async fn main() {
    let is_here = |program: &str| {
        let version = if program == "etcd" { "--version" } else { "version" };
        let ran = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    if let Some(absent) = ["etcd", "etcdctl"].into_iter().find(|program| !is_here(program)) {
        println!("connect/etcd: skipped, because there is no {absent} on this machine");
        return;
    }
    let etcd = Etcd::start();
    let (a, b) = (node("a", &etcd).await, node("b", &etcd).await);
    let (name, here, there) = (b.name().as_str(), a.network(), b.network());
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        here.connect(name).await.unwrap();
        took.push(begun.elapsed());
        here.disconnect(name).await;
        // So that the next dial does not meet the end of this one.
        while there.peer(a.name().as_str()).is_some() {
            there.disconnect(a.name().as_str()).await;
            tokio::task::yield_now().await;
        }
    }
    took.sort_unstable();
    let at = |share: f64| took[((ROUNDS - 1) as f64 * share) as usize];
    println!("connect/etcd: median {:?}, 99 % within {:?}, {ROUNDS} rounds", at(0.5), at(0.99));
    a.stop().await;
    b.stop().await;
}

/// A node that the others know of, too.
async fn node(name: &str, etcd: &Etcd) -> Node {
    let registrar = EtcdRegistrar::new(etcd.options()).unwrap();
    let builder = Node::builder(format!("{name}-{}@127.0.0.1", std::process::id()))
        .cookie("a cookie for benches")
        .pool_size(1)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
        .registrar(Arc::new(registrar));
    builder.start().await.unwrap()
}
