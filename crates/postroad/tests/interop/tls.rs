//! TLS between the two, and what the handshake proves of certificates
//! (`docs/wire/EHS.md` sections 4 and 9).
//!
//! Go v320 shows no certificate when it dials and asks for none when it
//! accepts; whom it trusts can only be said by the system's roots.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use postroad::network::{AttemptError, ConnectError, HandshakeError, NetworkRoute, exact};
use postroad::tls::{CertificateFault, ClientAuth, TlsHandshakeError, TlsOptions};
use postroad::{Node, Pid};
use postroad_wire::ehs::HandshakeError as Ehs;
use serde_json::json;

use crate::bridge::Bridge;
use crate::order::{go_records, kill_link};
use crate::peer::{Peer, by_pid};
use crate::road::{all_links, end};
use crate::support::authority::{Authority, Issued, Leaf};
use crate::support::between::in_between;
use crate::support::log::Log;
use crate::support::{Echo, builder, port, unique};

/// PEM files for the Go node, gone with the test.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postroad-interop-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, pem: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A Go node that shows this certificate, and trusts this authority.
    async fn go(&self, shows: &Issued, trusts: &Authority) -> Peer {
        let (chain, key) = (self.write("go.crt", &shows.chain), self.write("go.key", &shows.key));
        let trust = self.write("ca.crt", &trusts.pem);
        assert!(Path::new(&trust).exists());
        let flags = ["-tls-cert", &chain, "-tls-key", &key, "-tls-trust", &trust];
        Peer::named(&unique("go"), &flags).await
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A Go node with the certificate that Ergo's helper makes: self-signed, with a
/// key on the curve P-521.
async fn self_signed() -> Peer {
    Peer::named(&unique("go"), &["-tls"]).await
}

async fn rust(tls: TlsOptions) -> (Node, Pid) {
    let node = builder("rust").tls(tls).start().await.unwrap();
    let echo = node.spawn::<Echo>(()).await.unwrap();
    (node, echo)
}

fn secure(port: u16) -> NetworkRoute {
    NetworkRoute::to("127.0.0.1", port).tls(true)
}

async fn rust_dials(node: &Node, go: &Peer, route: NetworkRoute) -> Result<(), ConnectError> {
    let pattern = exact(go.name());
    let _ = node.network().remove_route(&pattern);
    node.network().add_route(&pattern, route, 1).unwrap();
    node.network().connect(go.name()).await.map(drop)
}

async fn go_dials(go: &Peer, node: &Node, port: u16) -> Result<(), String> {
    let pattern = exact(node.name().as_str());
    let route = json!({"pattern": pattern, "host": "127.0.0.1", "port": port, "tls": true});
    go.ask("add_route", route).await;
    go.try_ask("connect", json!({"node": node.name().as_str()})).await.map(drop)
}

/// Short and long messages, both ways.
async fn they_talk(node: &Node, echo: Pid, go: &Peer) {
    for size in [1, 20_000, go.longest(1 << 20)] {
        let message: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let back: Vec<u8> = node.call(go.pid("echo"), message.clone()).await.unwrap();
        assert!(back == message, "{size} bytes come back as they were");
    }
    let value = json!({"type": "uint8", "value": 7});
    assert_eq!(go.call(by_pid(echo), value.clone()).await.unwrap(), value);
}

fn certificate_fault(error: &ConnectError) -> &CertificateFault {
    match error {
        ConnectError::NoRoute(no_route) => match &no_route.attempts[0].error {
            AttemptError::Tls(TlsHandshakeError::Certificate(fault)) => fault,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

/// What an Ergo node with the certificate of Ergo's own helper needs of a route.
#[tokio::test]
async fn rust_dials_go_with_a_self_signed_certificate() {
    let ((node, echo), go) = tokio::join!(rust(TlsOptions::new()), self_signed());
    rust_dials(&node, &go, secure(go.port()).insecure_skip_verify(true)).await.unwrap();
    all_links(&node, &go).await;
    they_talk(&node, echo, &go).await;
    end(node, go).await;
}

/// Go, which does not check certificates here, still checks that the one it
/// sees is that of a node with the cookie.
#[tokio::test]
async fn go_dials_rust_with_a_self_signed_certificate() {
    let identity = Leaf::host("whatever").self_signed().identity();
    let ((node, echo), go) = tokio::join!(rust(TlsOptions::new().identity(identity)), Peer::start("go"));
    go_dials(&go, &node, port(&node)).await.unwrap();
    all_links(&node, &go).await;
    they_talk(&node, echo, &go).await;
    end(node, go).await;
}

#[tokio::test]
async fn both_check_certificates_of_one_authority() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let options = TlsOptions::new().identity(authority.identity()).trust(authority.trust());
    for rust_begins in [true, false] {
        let (node, echo) = rust(options.clone()).await;
        let go = files.go(&authority.issue(Leaf::local()), &authority).await;
        if rust_begins {
            rust_dials(&node, &go, secure(go.port())).await.unwrap();
        } else {
            go_dials(&go, &node, port(&node)).await.unwrap();
        }
        all_links(&node, &go).await;
        they_talk(&node, echo, &go).await;
        end(node, go).await;
    }
}

#[tokio::test]
async fn neither_accepts_a_certificate_of_a_stranger() {
    let log = Log::start();
    let (files, ours, theirs) = (Files::new(), Authority::new("ours"), Authority::new("theirs"));
    let (node, _) = rust(TlsOptions::new().identity(ours.identity()).trust(ours.trust())).await;
    let go = files.go(&theirs.issue(Leaf::local()), &theirs).await;
    let error = rust_dials(&node, &go, secure(go.port())).await.unwrap_err();
    assert!(matches!(certificate_fault(&error), CertificateFault::UnknownAuthority), "{error}");
    assert_eq!(go_dials(&go, &node, port(&node)).await.unwrap_err(), "no route");
    log.says(&["handshake failed", "refused the certificate of this node"]).await;
    end(node, go).await;
}

#[tokio::test]
async fn neither_accepts_a_certificate_for_another_host() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let elsewhere = || authority.issue(Leaf::host("elsewhere.example.com"));
    let options = TlsOptions::new().identity(elsewhere().identity()).trust(authority.trust());
    let (node, _) = rust(options).await;
    let go = files.go(&elsewhere(), &authority).await;
    let error = rust_dials(&node, &go, secure(go.port())).await.unwrap_err();
    assert!(matches!(certificate_fault(&error), CertificateFault::WrongName { .. }), "{error}");
    assert_eq!(go_dials(&go, &node, port(&node)).await.unwrap_err(), "no route");
    end(node, go).await;
}

/// Somebody whose certificate nobody checks, and who does not know the cookie.
#[tokio::test]
async fn both_find_out_who_stands_in_between() {
    let authority = Authority::new("ours");
    let shows = authority.issue(Leaf::local());
    let (node, _) = rust(TlsOptions::new().identity(authority.identity())).await;
    let files = Files::new();
    let (chain, key) = (files.write("crt", &shows.chain), files.write("key", &shows.key));
    let go = Peer::named(&unique("go"), &["-tls-cert", &chain, "-tls-key", &key]).await;
    let theirs = authority.issue(Leaf::local());

    let before_go = in_between(go.port(), &theirs, &authority).await;
    let error = rust_dials(&node, &go, secure(before_go).insecure_skip_verify(true)).await.unwrap_err();
    let ConnectError::NoRoute(no_route) = &error else { panic!("{error}") };
    assert!(
        matches!(
            no_route.attempts[0].error,
            AttemptError::Handshake(HandshakeError::Protocol(Ehs::WrongCertificate))
        ),
        "{error}"
    );
    let before_rust = in_between(port(&node), &theirs, &authority).await;
    assert_eq!(go_dials(&go, &node, before_rust).await.unwrap_err(), "no route");
    assert!(node.network().peers().is_empty());

    // Where that is a load balancer, both can be told so.
    let route = secure(before_go).insecure_skip_verify(true).certificate_digest(false);
    rust_dials(&node, &go, route).await.unwrap();
    all_links(&node, &go).await;
    let other = Peer::named(&unique("go"), &["-tls-fingerprint=false"]).await;
    go_dials(&other, &node, before_rust).await.unwrap();
    all_links(&node, &other).await;
    other.stop().await;
    end(node, go).await;
}

/// A node that demands certificates of those who dial is not for Go v320.
#[tokio::test]
async fn go_has_no_certificate_to_show() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let asks = TlsOptions::new().identity(authority.identity()).trust(authority.trust());
    let go = Peer::start("go").await;
    let (strict, _) = rust(asks.clone().client_auth(ClientAuth::Required)).await;
    assert_eq!(go_dials(&go, &strict, port(&strict)).await.unwrap_err(), "no route");
    log.says(&["handshake failed", "the peer showed no certificate"]).await;
    let (node, echo) = rust(asks.client_auth(ClientAuth::Optional)).await;
    go_dials(&go, &node, port(&node)).await.unwrap();
    all_links(&node, &go).await;
    they_talk(&node, echo, &go).await;
    strict.stop().await;
    end(node, go).await;
}

#[tokio::test]
async fn tls_at_one_side_only() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let (plain_go, secure_go) = tokio::join!(Peer::start("go"), self_signed());
    let (node, _) = rust(TlsOptions::new().identity(authority.identity())).await;
    let (plain, _) = rust(TlsOptions::new()).await;
    let route = secure(plain_go.port()).insecure_skip_verify(true);
    let error = rust_dials(&node, &plain_go, route).await.unwrap_err().to_string();
    assert!(error.contains("a plain acceptor does that"), "{error}");
    let error = rust_dials(&node, &secure_go, NetworkRoute::to("127.0.0.1", secure_go.port())).await;
    assert!(error.unwrap_err().to_string().contains("hello"));
    assert_eq!(go_dials(&plain_go, &plain, port(&plain)).await.unwrap_err(), "no route");
    log.says(&["handshake failed", "the peer speaks TLS to a plain acceptor"]).await;
    plain.stop().await;
    plain_go.stop().await;
    end(node, secure_go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_on_links_that_rust_dialed_while_they_are_killed() {
    let ((node, _), go) = tokio::join!(rust(TlsOptions::new()), self_signed());
    let bridge = Bridge::to(go.port()).await;
    rust_dials(&node, &go, secure(bridge.port).insecure_skip_verify(true)).await.unwrap();
    all_links(&node, &go).await;
    go_records(&node, &go, async || {
        bridge.cut().await;
        all_links(&node, &go).await;
    })
    .await;
    end(node, go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_on_links_that_rust_accepted_while_they_are_killed() {
    let identity = Authority::new("ours").identity();
    let ((node, _), go) = tokio::join!(rust(TlsOptions::new().identity(identity)), Peer::start("go"));
    go_dials(&go, &node, port(&node)).await.unwrap();
    all_links(&node, &go).await;
    go_records(&node, &go, async || kill_link(&node, &go, 0).await).await;
    end(node, go).await;
}
