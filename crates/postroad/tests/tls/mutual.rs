//! Certificates of those who dial.

use postroad::Node;
use postroad::network::{AcceptorOptions, NetworkRoute, exact};
use postroad::tls::{ClientAuth, TlsHandshakeError, TlsOptions, Verify};

use crate::support::authority::{Authority, Issued, Leaf};
use crate::support::log::Log;
use crate::support::{COOKIE, all_links, unique};
use crate::{answers, dial, node, refused, tls_error, to};

fn asks(authority: &Authority, client_auth: ClientAuth) -> TlsOptions {
    TlsOptions::new().identity(authority.identity()).trust(authority.trust()).client_auth(client_auth)
}

#[tokio::test]
async fn each_proves_to_the_other_who_it_is() {
    let authority = Authority::new("ours");
    let (there, echo) = node("there", asks(&authority, ClientAuth::Required)).await;
    let options = TlsOptions::new().trust(authority.trust()).identity(authority.identity());
    let (here, _) = node("here", options).await;
    dial(&here, &there, to(&there)).await.unwrap();
    answers(&here, echo).await;
    all_links(&here, &there).await;
    all_links(&there, &here).await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_told_to() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let (there, _) = node("there", asks(&authority, ClientAuth::Required)).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(tls_error(&attempt), TlsHandshakeError::CertificateRequired), "{attempt}");
    assert!(attempt.error.is_distrust());
    log.says(&["WARN", "handshake failed", "the peer showed no certificate"]).await;
}

#[tokio::test]
async fn who_shows_a_stranger_s_certificate_is_refused() {
    let log = Log::start();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for client_auth in [ClientAuth::Required, ClientAuth::Optional] {
        let (there, _) = node("there", asks(&ours, client_auth)).await;
        let options = TlsOptions::new().trust(ours.trust()).identity(theirs.identity());
        let (here, _) = node("here", options).await;
        let attempt = refused(&here, &there, to(&there)).await;
        assert!(matches!(tls_error(&attempt), TlsHandshakeError::CertificateRefused { .. }), "{attempt}");
        assert!(attempt.to_string().contains("does not know its authority"), "{attempt}");
    }
    log.says(&["handshake failed", "is from an unknown authority"]).await;
    let (there, _) = node("there", asks(&ours, ClientAuth::Required)).await;
    let expired = ours.issue(Leaf::local().expired()).identity();
    let (here, _) = node("here", TlsOptions::new().trust(ours.trust()).identity(expired)).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(attempt.to_string().contains("it has expired"), "{attempt}");
}

#[tokio::test]
async fn a_certificate_may_be_optional() {
    let authority = Authority::new("ours");
    let (there, echo) = node("there", asks(&authority, ClientAuth::Optional)).await;
    for options in [
        TlsOptions::new().trust(authority.trust()),
        TlsOptions::new().trust(authority.trust()).identity(authority.identity()),
    ] {
        let (here, _) = node("here", options).await;
        dial(&here, &there, to(&there)).await.unwrap();
        answers(&here, echo).await;
    }
}

#[tokio::test]
async fn clients_may_be_pinned() {
    let authority = Authority::new("ours");
    let (friend, stranger) = (Leaf::host("friend").self_signed(), Leaf::host("stranger").self_signed());
    let options = TlsOptions::new()
        .identity(authority.identity())
        .client_auth(ClientAuth::Required)
        .verify(Verify::Pinned(vec![friend.sha256()]));
    let (there, _) = node("there", options).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let attempt = refused(&here, &there, to(&there).identity(stranger.identity())).await;
    assert!(matches!(tls_error(&attempt), TlsHandshakeError::CertificateRefused { .. }), "{attempt}");
    dial(&here, &there, to(&there).identity(friend.identity())).await.unwrap();
}

/// Who knows the cookie can introduce itself under any name, unless
/// certificates say which.
#[tokio::test]
async fn a_client_cannot_take_the_name_of_another_node() {
    let log = Log::start();
    let authority = Authority::new("ours");
    let (there, _) = node("there", asks(&authority, ClientAuth::Required).verify(Verify::NodeName)).await;
    let (honest, thief) = (unique("honest"), unique("thief"));
    let issued = authority.issue(Leaf::node(&honest));
    let start = async |name: &str, issued: &Issued| {
        let options = TlsOptions::new().trust(authority.trust()).identity(issued.identity());
        let node = Node::builder(name).cookie(COOKIE).network(postroad::NetworkMode::Hidden).tls(options);
        node.without_registrar().start().await.unwrap()
    };
    let honest = start(&honest, &issued).await;
    dial(&honest, &there, to(&there)).await.unwrap();
    all_links(&honest, &there).await;
    all_links(&there, &honest).await;
    let thief = start(&thief, &issued).await;
    assert!(dial(&thief, &there, to(&there)).await.is_err());
    log.says(&["handshake failed", &format!("is not for postroad:{}", thief.name())]).await;
    assert!(there.network().peer(thief.name().as_str()).is_none());
}

/// An acceptor of its own for partners: their authority, and no TLS for
/// neighbours.
#[tokio::test]
async fn each_acceptor_has_its_own_rules() {
    let (ours, partners) = (Authority::new("ours"), Authority::new("partners"));
    let strict = TlsOptions::new().trust(partners.trust()).client_auth(ClientAuth::Required);
    let there = crate::support::builder("there")
        .tls(TlsOptions::new().identity(ours.identity()))
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0).tls(strict))
        .acceptor(AcceptorOptions::bind("127.0.0.1", 0).plain())
        .start()
        .await
        .unwrap();
    let acceptors = there.network().acceptors();
    assert_eq!(acceptors.iter().map(|acceptor| acceptor.tls).collect::<Vec<_>>(), [true, true, false]);
    let at = |index: usize| NetworkRoute::to("127.0.0.1", acceptors[index].address.port());
    for (index, route, works) in [
        (0, at(0).trust(ours.trust()), true),
        (1, at(1).trust(ours.trust()), false),
        (1, at(1).trust(ours.trust()).identity(ours.identity()), false),
        (1, at(1).trust(ours.trust()).identity(partners.identity()), true),
        (2, at(2), true),
        (2, at(2).tls(true), false),
    ] {
        let (here, _) = node("here", TlsOptions::new()).await;
        assert_eq!(dial(&here, &there, route).await.is_ok(), works, "acceptor {index}");
    }
}

/// A route says how certificates of its nodes are checked: also when they come
/// in by themselves.
#[tokio::test]
async fn who_comes_in_shows_the_certificate_that_a_route_to_it_demands() {
    let log = Log::start();
    let ours = Authority::new("ours");
    let trust = ours.trust();
    for (client_auth, shows, verify, let_in) in [
        (ClientAuth::None, true, Verify::HostName, false),
        (ClientAuth::Optional, false, Verify::HostName, false),
        (ClientAuth::Optional, true, Verify::HostName, true),
        (ClientAuth::Required, true, Verify::NodeName, false),
    ] {
        let options = match client_auth {
            ClientAuth::None => TlsOptions::new().identity(ours.identity()),
            asks => TlsOptions::new().identity(ours.identity()).trust(trust.clone()).client_auth(asks),
        };
        let (there, _) = node("there", options).await;
        let mut options = TlsOptions::new().trust(ours.trust());
        if shows {
            options = options.identity(ours.identity());
        }
        let (here, _) = node("here", options).await;
        let pattern = exact(here.name().as_str());
        let route = to(&here).trust(trust.clone()).verify(verify);
        there.network().add_route(&pattern, route, 1).unwrap();
        assert_eq!(dial(&here, &there, to(&there)).await.is_ok(), let_in, "{client_auth:?}, shows: {shows}");
        if !let_in {
            log.says(&["handshake failed", here.name().as_str(), "demands a certificate"]).await;
            there.network().replace_route(&pattern, to(&here), 1).unwrap();
            dial(&here, &there, to(&there)).await.unwrap();
        }
    }
}
