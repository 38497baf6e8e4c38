//! TLS between nodes: real sockets, certificates made for each test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod digest;
mod documented;
mod mutual;
mod refusals;
mod rotation;
mod routes;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod verifying;

use postroad::Node;
use postroad::network::{AttemptError, ConnectError, FailedAttempt, NetworkRoute, NoRoute, Stage, exact};
use postroad::tls::{CertificateFault, TlsHandshakeError, TlsOptions};

use self::support::{Echo, builder, port};

/// A node with these options, and an echo process.
async fn node(name: &str, tls: TlsOptions) -> (Node, postroad::Pid) {
    let node = builder(name).tls(tls).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    (node, echo)
}

/// A route to where that node listens.
fn to(node: &Node) -> NetworkRoute {
    NetworkRoute::to("127.0.0.1", port(node)).tls(true)
}

/// Dials over this route, and nothing else.
async fn dial(from: &Node, node: &Node, route: NetworkRoute) -> Result<(), ConnectError> {
    let pattern = exact(node.name().as_str());
    let _ = from.network().remove_route(&pattern);
    from.network().add_route(&pattern, route, 1).unwrap();
    from.network().connect(node.name().as_str()).await.map(drop)
}

/// Dials over a route that cannot work, and tells what was tried.
async fn refused(from: &Node, node: &Node, route: NetworkRoute) -> FailedAttempt {
    match dial(from, node, route).await {
        Err(ConnectError::NoRoute(no_route)) => only(&no_route).clone(),
        other => panic!("{other:?}"),
    }
}

fn only(no_route: &NoRoute) -> &FailedAttempt {
    assert_eq!(no_route.attempts.len(), 1, "{no_route}");
    &no_route.attempts[0]
}

/// What the TLS handshake of that attempt ended with.
fn tls_error(attempt: &FailedAttempt) -> &TlsHandshakeError {
    assert_eq!(attempt.stage, Stage::Tls, "{attempt}");
    match &attempt.error {
        AttemptError::Tls(error) => error,
        other => panic!("{other:?}"),
    }
}

/// What was wrong with the certificate that was seen in that attempt.
fn fault(attempt: &FailedAttempt) -> &CertificateFault {
    assert!(attempt.error.is_distrust());
    match tls_error(attempt) {
        TlsHandshakeError::Certificate(fault) => fault,
        other => panic!("{other:?}"),
    }
}

/// A message goes there and comes back.
async fn answers(from: &Node, echo: postroad::Pid) {
    assert_eq!(from.call::<u8>(echo, 7u8).await.unwrap(), 7);
}
