//! What ends a TLS handshake besides certificates, and what keeps a node from
//! starting.

use std::time::{Duration, Instant};

use postroad::network::{AcceptorOptions, NetworkRoute};
use postroad::tls::{ClientAuth, Identity, TlsError, TlsHandshakeError, TlsOptions, Trust, Verify};
use postroad::{Node, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::authority::{Authority, Leaf};
use crate::support::log::Log;
use crate::support::{builder, port};
use crate::{answers, dial, node, refused, tls_error, to};

#[tokio::test]
async fn a_plain_node_on_a_tls_port() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let (there, _) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let (here, _) = node("here", TlsOptions::new()).await;
    let attempt = refused(&here, &there, NetworkRoute::to("127.0.0.1", port(&there))).await;
    // It is told in the language of TLS, which it does not speak.
    assert!(attempt.to_string().contains("TLS is on at both sides or at none"), "{attempt}");
    log.says(&["WARN", "handshake failed", "the peer does not speak TLS"]).await;
}

#[tokio::test]
async fn a_tls_node_on_a_plain_port() {
    let log = Log::start();
    let (there, _) = node("there", TlsOptions::new()).await;
    let (here, _) = node("here", TlsOptions::new()).await;
    let attempt = refused(&here, &there, to(&there).insecure_skip_verify(true)).await;
    assert!(matches!(tls_error(&attempt), TlsHandshakeError::Closed), "{attempt}");
    assert!(!attempt.error.is_distrust());
    log.says(&["WARN", "handshake failed", "the peer speaks TLS to a plain acceptor"]).await;
}

#[tokio::test]
async fn who_dials_a_tls_port_and_leaves_is_said_to_have_left() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let (there, _) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port(&there))).await.unwrap();
    stream.write_all(&[0x16]).await.unwrap();
    drop(stream);
    log.says(&["WARN", "handshake failed", "whoever dialed closed during the TLS handshake"]).await;
}

/// Something that answers, but not in TLS.
#[tokio::test]
async fn a_server_of_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let (here, _) = node("here", TlsOptions::new()).await;
    let (there, _) = node("there", TlsOptions::new()).await;
    let route = NetworkRoute::to("127.0.0.1", port).tls(true).insecure_skip_verify(true);
    let attempt = refused(&here, &there, route).await;
    assert!(matches!(tls_error(&attempt), TlsHandshakeError::PlainPeer), "{attempt}");
}

#[tokio::test]
async fn a_server_that_is_silent_costs_the_dial_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = builder("here")
        .timeouts(Duration::from_millis(100), Duration::from_secs(60), Duration::from_secs(60))
        .start()
        .await
        .unwrap();
    let (there, _) = node("there", TlsOptions::new()).await;
    let port = listener.local_addr().unwrap().port();
    let route = NetworkRoute::to("127.0.0.1", port).tls(true).insecure_skip_verify(true);
    let attempt = refused(&here, &there, route).await;
    assert!(
        matches!(tls_error(&attempt), TlsHandshakeError::Timeout(time) if *time == Duration::from_millis(100)),
        "{attempt}"
    );
}

/// Those who connect and say nothing, or stop in the middle of TLS, hold up
/// nobody, and are thrown out at the deadline.
#[tokio::test]
async fn silent_clients_hold_up_nobody() {
    let authority = Authority::new("ours");
    let there = builder("there")
        .tls(TlsOptions::new().identity(authority.identity()))
        .timeouts(Duration::from_secs(3), Duration::from_secs(2), Duration::from_secs(15))
        .start()
        .await
        .unwrap();
    let mut silent = Vec::new();
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00", b"\x16"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port(&there))).await.unwrap();
        stream.write_all(begun).await.unwrap();
        silent.push(stream);
    }
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let begun = Instant::now();
    dial(&here, &there, to(&there)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for mut stream in silent {
        let ended = async { stream.read_to_end(&mut Vec::new()).await };
        let _ = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("closed at the deadline");
    }
}

/// Whatever comes instead of a handshake ends that handshake only.
#[tokio::test]
async fn garbage_is_survived() {
    let authority = Authority::new("ours");
    let (there, echo) = node("there", TlsOptions::new().identity(authority.identity())).await;
    let mut seed = 7u64;
    for length in [1usize, 5, 6, 100, 5000, 70_000] {
        let mut stream = TcpStream::connect(("127.0.0.1", port(&there))).await.unwrap();
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        bytes[0] = 0x16;
        // It may have been thrown out before all of it was written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    dial(&here, &there, to(&there)).await.unwrap();
    answers(&here, echo).await;
}

#[tokio::test]
async fn a_node_does_not_start_with_half_of_tls() {
    let authority = Authority::new("ours");
    let identity = || TlsOptions::new().identity(authority.identity());
    let start = async |acceptor: TlsOptions| {
        let acceptor = AcceptorOptions::bind("127.0.0.1", 0).tls(acceptor);
        let node = Node::builder("half@127.0.0.1").acceptor(acceptor).without_registrar();
        match node.start().await {
            Err(StartError::Tls { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(start(TlsOptions::new().required(true)).await, TlsError::NoIdentity));
    assert!(matches!(start(TlsOptions::new().client_auth(ClientAuth::Required)).await, TlsError::NoIdentity));
    assert!(matches!(start(identity().client_auth(ClientAuth::Optional)).await, TlsError::NoTrust));
}

/// Somebody who sets these means clients to be checked.
#[tokio::test]
async fn a_node_does_not_start_with_an_acceptor_that_would_check_nobody() {
    let authority = Authority::new("ours");
    let node = TlsOptions::new().identity(authority.identity());
    let start = async |acceptor: AcceptorOptions| {
        let builder = Node::builder("unchecked@127.0.0.1").tls(node.clone()).without_registrar();
        builder.acceptor(acceptor).start().await
    };
    let acceptor = |tls| AcceptorOptions::bind("127.0.0.1", 0).tls(tls);
    let error = async |acceptor| match start(acceptor).await {
        Err(StartError::Tls { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let trusts = || TlsOptions::new().trust(authority.trust());
    for tls in [trusts(), TlsOptions::new().verify(Verify::NodeName), trusts().client_auth(ClientAuth::None)]
    {
        assert!(matches!(error(acceptor(tls)).await, TlsError::ClientsNotAsked));
    }
    for tls in [
        trusts().client_auth(ClientAuth::Required),
        TlsOptions::new().required(true),
        TlsOptions::new().identity(authority.identity()),
    ] {
        assert!(matches!(error(acceptor(tls).plain()).await, TlsError::PlainWithTls));
    }
    for good in [acceptor(trusts().client_auth(ClientAuth::Optional)), acceptor(TlsOptions::new()).plain()] {
        start(good).await.unwrap().stop().await;
    }
}

#[test]
fn what_is_no_identity() {
    let authority = Authority::new("ours");
    let (one, other) = (authority.issue(Leaf::local()), authority.issue(Leaf::local()));
    let identity = |chain: &str, key: &str| Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(identity("", &one.key), TlsError::NoCertificate));
    assert!(matches!(identity(&one.key, &one.key), TlsError::NoCertificate));
    assert!(matches!(identity(&one.chain, ""), TlsError::NoKey));
    assert!(matches!(identity(&one.chain, &one.chain), TlsError::NoKey));
    assert!(matches!(identity(&one.chain, &other.key), TlsError::KeyMismatch));
    assert!(matches!(identity(&one.chain[..one.chain.len() - 30], &one.key), TlsError::Pem(_)));
    let damaged = one.chain.replacen("MII", "MIX", 1);
    assert!(matches!(identity(&damaged, &one.key), TlsError::Damaged { number: 1 } | TlsError::Pem(_)));
    assert!(matches!(Trust::from_pem(b"nothing"), Err(TlsError::NoCertificate)));
    assert!(matches!(Identity::from_files("/nowhere/chain", "/nowhere/key"), Err(TlsError::Read { .. })));
    let error = Trust::from_file("/nowhere/ca.pem").unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
    assert!(matches!(Trust::from_file("/dev/zero"), Err(TlsError::TooLong { .. })));
}
