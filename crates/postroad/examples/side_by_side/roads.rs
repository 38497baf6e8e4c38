//! Routes, and how long it takes until a node is connected.

use std::time::{Duration, Instant};

use postroad::network::{AcceptorOptions, NetworkRoute, exact};
use postroad::registrar::EmbeddedOptions;
use postroad::{Node, NodeBuilder};

use crate::{Failure, chosen, lines};

const SIZES: [usize; 4] = [10, 1_000, 10_000, 100_000];
const LOOKUPS: usize = 1_000;
const CONNECTS: usize = 200;

pub(crate) async fn measure(only: &str) -> Result<(), Failure> {
    for size in SIZES {
        if chosen(&format!("routes/{size}/"), only) {
            routes(size).await?;
        }
    }
    if "connect/static_route".contains(only) {
        let (a, b) = (builder("a").without_registrar(), builder("b").without_registrar());
        let (a, b) = (a.start().await?, b.start().await?);
        let port = b.network().acceptors()[0].address.port();
        a.network().add_route(&exact(b.name().as_str()), NetworkRoute::to("127.0.0.1", port), 1)?;
        lines::calls("connect/static_route", connects(&a, &b).await?);
        tokio::join!(a.stop(), b.stop());
    }
    if "connect/embedded_registrar".contains(only) {
        let registrar = EmbeddedOptions::port(free_port()?);
        let b = builder("b").embedded_registrar(registrar.clone()).start().await?;
        let a = builder("a").embedded_registrar(registrar).start().await?;
        lines::calls("connect/embedded_registrar", connects(&a, &b).await?);
        tokio::join!(a.stop(), b.stop());
    }
    Ok(())
}

/// Adding so many routes, one by one; then looking up names that were looked up
/// before, and others.
async fn routes(size: usize) -> Result<(), Failure> {
    let node = builder("routes").without_registrar().start().await?;
    let network = node.network();
    let host = |n: usize| format!("host{}.example.com", n % 97);
    let mut added = Vec::new();
    for n in 0..size {
        let pattern = format!("^db-{n:06}@{}$", host(n).replace('.', r"\."));
        let route = NetworkRoute::to("10.0.0.1", 4370);
        let begun = Instant::now();
        network.add_route(&pattern, route, 100)?;
        added.push(nanoseconds(begun));
    }
    lines::calls(&format!("routes/{size}/add"), added);
    // Each name once at first, so that it is not known yet.
    let turn = || -> Result<Vec<u64>, Failure> {
        let mut took = Vec::new();
        for n in 0..LOOKUPS {
            let n = n * 7919 % size;
            let name = format!("db-{n:06}@{}", host(n));
            let begun = Instant::now();
            let found = network.route(&name)?;
            took.push(nanoseconds(begun));
            if found.len() != 1 {
                return Err(format!("{} routes for {name}", found.len()).into());
            }
        }
        Ok(took)
    };
    let fresh = turn()?.into_iter().take(size).collect();
    lines::calls(&format!("routes/{size}/lookup_new"), fresh);
    lines::calls(&format!("routes/{size}/lookup_seen"), turn()?);
    node.stop().await;
    Ok(())
}

/// Connects and disconnects again and again; how long connecting took.
async fn connects(a: &Node, b: &Node) -> Result<Vec<u64>, Failure> {
    let (here, there) = (a.network(), b.network());
    let mut took = Vec::new();
    for _ in 0..CONNECTS {
        let begun = Instant::now();
        here.connect(b.name().as_str()).await?;
        took.push(nanoseconds(begun));
        here.disconnect(b.name().as_str()).await;
        // So that the next dial does not meet the end of this one.
        while there.peer(a.name().as_str()).is_some() {
            there.disconnect(a.name().as_str()).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(took)
}

fn nanoseconds(begun: Instant) -> u64 {
    begun.elapsed().as_nanos() as u64
}

fn builder(name: &str) -> NodeBuilder {
    Node::builder(format!("{name}-{}@127.0.0.1", std::process::id()))
        .cookie(crate::COOKIE)
        .pool_size(1)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
}

/// A port that was free a moment ago, for TCP and UDP.
fn free_port() -> Result<u16, Failure> {
    loop {
        let port = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}
