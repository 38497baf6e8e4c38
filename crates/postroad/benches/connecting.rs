//! How long it takes until a node is connected: over a static route, and by
//! what the embedded registrar knows.
//!
//! Both nodes live in this program and are connected over loopback. A round is
//! plan, dial, handshake and adoption of the first link; the end of the
//! connection is not measured.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use postroad::network::{AcceptorOptions, NetworkRoute, exact};
use postroad::registrar::EmbeddedOptions;
use postroad::{Node, NodeBuilder};
use tokio::runtime::Runtime;

/// Connects and disconnects that often; how long connecting took.
async fn rounds(from: &Node, to: &Node, rounds: u64) -> Duration {
    let (here, there) = (from.network(), to.network());
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let begun = Instant::now();
        here.connect(to.name().as_str()).await.expect("the other node listens");
        spent += begun.elapsed();
        here.disconnect(to.name().as_str()).await;
        // So that the next dial does not meet the end of this one.
        while there.peer(from.name().as_str()).is_some() {
            there.disconnect(from.name().as_str()).await;
            tokio::task::yield_now().await;
        }
    }
    spent
}

fn builder(name: &str) -> NodeBuilder {
    Node::builder(format!("{name}-{}@127.0.0.1", std::process::id()))
        .cookie("a cookie for benches")
        .pool_size(1)
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0))
}

async fn start(builder: NodeBuilder) -> Node {
    builder.start().await.expect("a free port")
}

/// A port that was free a moment ago, for TCP and UDP.
fn registrar() -> EmbeddedOptions {
    loop {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = udp.local_addr().expect("it is bound").port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return EmbeddedOptions::port(port);
        }
    }
}

fn connecting(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("connect");
    group.bench_function("static-route", |bencher| {
        let (a, b) = runtime.block_on(async {
            let a = start(builder("a").without_registrar()).await;
            let b = start(builder("b").without_registrar()).await;
            let port = b.network().acceptors()[0].address.port();
            let route = NetworkRoute::to("127.0.0.1", port);
            a.network().add_route(&exact(b.name().as_str()), route, 1).expect("a valid pattern");
            (a, b)
        });
        bencher.iter_custom(|count| runtime.block_on(rounds(&a, &b, count)));
        runtime.block_on(async { tokio::join!(a.stop(), b.stop()) });
    });
    group.bench_function("embedded-registrar", |bencher| {
        let (a, b) = runtime.block_on(async {
            let registrar = registrar();
            let b = start(builder("b").embedded_registrar(registrar.clone())).await;
            let a = start(builder("a").embedded_registrar(registrar)).await;
            (a, b)
        });
        bencher.iter_custom(|count| runtime.block_on(rounds(&a, &b, count)));
        runtime.block_on(async { tokio::join!(a.stop(), b.stop()) });
    });
}

criterion_group! {
    name = connect;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = connecting
}
criterion_main!(connect);
