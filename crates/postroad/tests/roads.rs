//! Nodes that talk to each other over real sockets.

mod support;

use postroad::network::NetworkRoute;
use support::{Adder, Echo, next, node, port, probe};

#[tokio::test]
async fn a_static_route_carries_messages_and_calls() {
    let (a, b) = (node("a").await, node("b").await);
    a.network().add_route(b.name().as_str(), NetworkRoute::to("127.0.0.1", port(&b)), 100).unwrap();
    let adder = b.spawn_with::<Adder>(0, postroad::SpawnOptions::new().name("adder")).await.unwrap();
    for number in 1..=1000i64 {
        a.send(adder, number).await.unwrap();
    }
    let sum: i64 = a.call(("adder", b.name()), false).await.unwrap();
    assert!(sum <= 500_500);
    let sum: i64 = a.call(adder, false).await.unwrap();
    assert_eq!(sum, 500_500);
    let (probe, mut inbox) = probe(&a).await;
    let echo = b.spawn::<Echo>(()).await.unwrap();
    let _ = probe;
    let back: String = a.call(echo, "hello".to_owned()).await.unwrap();
    assert_eq!(back, "hello");
    b.send(probe, vec![1u8, 2, 3]).await.unwrap();
    assert_eq!(next::<Vec<u8>>(&mut inbox).await, [1, 2, 3]);
    a.stop().await;
    b.stop().await;
}
