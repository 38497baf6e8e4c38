//! Which certificates of dialed nodes are accepted.

use std::time::SystemTime;

use postroad::network::NetworkRoute;
use postroad::tls::{CertificateFault, TlsOptions, Verify};

use crate::support::authority::{Authority, DAY, Issued, Leaf};
use crate::support::{port, unique};
use crate::{answers, dial, fault, node, refused, to};

fn shows(issued: &Issued) -> TlsOptions {
    TlsOptions::new().identity(issued.identity())
}

#[tokio::test]
async fn a_certificate_for_the_dialed_host_is_accepted() {
    let authority = Authority::new("ours");
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    for host in ["127.0.0.1", "localhost"] {
        let (there, echo) = node("there", shows(&authority.issue(Leaf::host(host)))).await;
        assert!(there.network().acceptors()[0].tls);
        dial(&here, &there, NetworkRoute::to(host, port(&there)).tls(true)).await.unwrap();
        answers(&here, echo).await;
        there.stop().await;
    }
    here.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_and_its_names_are_said() {
    let authority = Authority::new("ours");
    let (there, _) = node("there", shows(&authority.issue(Leaf::host("db.example.com")))).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(
        fault(&attempt),
        CertificateFault::WrongName { expected, has } if expected == "127.0.0.1" && has == &["db.example.com"]
    ));
    let text = attempt.to_string();
    assert!(
        text.ends_with("tls: the peer's certificate is not for 127.0.0.1: it is for db.example.com"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_for_the_name_of_the_node() {
    let authority = Authority::new("ours");
    let name = unique("there");
    let issued = authority.issue(Leaf::node(&name));
    let there = postroad::Node::builder(name.clone())
        .cookie(crate::support::COOKIE)
        .acceptor(postroad::network::AcceptorOptions::bind("127.0.0.1", 0))
        .without_registrar()
        .tls(shows(&issued))
        .start()
        .await
        .unwrap();
    let options = TlsOptions::new().trust(authority.trust()).verify(Verify::NodeName);
    let (here, _) = node("here", options.clone()).await;
    dial(&here, &there, to(&there)).await.unwrap();
    // Another node with that certificate is not that node.
    let (thief, _) = node("thief", shows(&issued)).await;
    let attempt = refused(&here, &thief, to(&thief)).await;
    let CertificateFault::WrongName { expected, has } = fault(&attempt) else { panic!("{attempt}") };
    assert_eq!(*expected, format!("postroad:{}", thief.name()));
    assert_eq!(has, &[format!("postroad:{name}")]);
    // Neither is one with a certificate for the host.
    let (local, _) = node("local", shows(&authority.issue(Leaf::local()))).await;
    assert!(matches!(fault(&refused(&here, &local, to(&local)).await), CertificateFault::WrongName { .. }));
    // The host counts for nothing here, and for everything by default.
    let attempt = refused(&here, &there, to(&there).verify(Verify::HostName));
    here.network().disconnect(&name).await;
    assert!(matches!(fault(&attempt.await), CertificateFault::WrongName { .. }));
}

#[tokio::test]
async fn any_name_will_do_if_only_the_authority_counts() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let options = TlsOptions::new().trust(ours.trust()).verify(Verify::AuthorityOnly);
    let (here, _) = node("here", options).await;
    let (there, echo) = node("there", shows(&ours.issue(Leaf::host("elsewhere.example.com")))).await;
    dial(&here, &there, to(&there)).await.unwrap();
    answers(&here, echo).await;
    let (stranger, _) = node("stranger", shows(&theirs.issue(Leaf::local()))).await;
    let attempt = refused(&here, &stranger, to(&stranger)).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
}

/// Authorities of one name are not one authority.
#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let (ours, theirs) = (Authority::new("same name"), Authority::new("same name"));
    let (here, _) = node("here", TlsOptions::new().trust(ours.trust())).await;
    let (there, _) = node("there", shows(&theirs.issue(Leaf::local()))).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(attempt.error.is_distrust() && attempt.stage == postroad::network::Stage::Tls, "{attempt}");
    let (there, _) = node("there", shows(&Authority::new("third").issue(Leaf::local()))).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
}

#[tokio::test]
async fn a_pinned_certificate_needs_neither_authority_nor_name() {
    let pinned = Leaf::host("whatever").of_authority().self_signed();
    let other = Leaf::local().self_signed();
    let (here, _) = node("here", TlsOptions::new()).await;
    let (there, echo) = node("there", shows(&pinned)).await;
    let pins = Verify::Pinned(vec![[0; 32], pinned.sha256()]);
    dial(&here, &there, to(&there).verify(pins.clone())).await.unwrap();
    answers(&here, echo).await;
    let (there, _) = node("other", shows(&other)).await;
    let attempt = refused(&here, &there, to(&there).verify(pins)).await;
    assert!(
        matches!(fault(&attempt), CertificateFault::NotPinned { sha256 } if *sha256 == other.sha256()),
        "{attempt}"
    );
    assert!(attempt.to_string().contains(&hex::encode(other.sha256())), "{attempt}");
}

#[tokio::test]
async fn certificates_out_of_their_time_are_refused_and_the_time_is_said() {
    let authority = Authority::new("ours");
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let old = authority.issue(Leaf::local().expired());
    let pinned = Verify::Pinned(vec![old.sha256()]);
    let (there, _) = node("there", shows(&old)).await;
    for route in [to(&there), to(&there).verify(Verify::AuthorityOnly), to(&there).verify(pinned)] {
        let attempt = refused(&here, &there, route).await;
        let CertificateFault::Expired { not_after } = fault(&attempt) else { panic!("{attempt}") };
        let age = SystemTime::now().duration_since(*not_after).unwrap();
        assert!((DAY..DAY * 11 / 10).contains(&age), "{age:?}");
        assert!(attempt.to_string().contains("expired on 20"), "{attempt}");
    }
    let (there, _) = node("there", shows(&authority.issue(Leaf::local().early()))).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(fault(&attempt), CertificateFault::NotYetValid { .. }), "{attempt}");
}

#[tokio::test]
async fn what_openssl_makes_by_default_is_refused_with_a_hint() {
    let issued = Leaf::local().of_authority().self_signed();
    let trust = postroad::tls::Trust::from_pem(issued.chain.as_bytes()).unwrap();
    let (here, _) = node("here", TlsOptions::new().trust(trust)).await;
    let (there, _) = node("there", shows(&issued)).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(fault(&attempt), CertificateFault::IsAuthority), "{attempt}");
}

/// > Setting `InsecureSkipVerify: true` disables certificate validation. Use
/// > this only for testing or when connecting to nodes with self-signed
/// > certificates you trust but can't properly validate.
#[tokio::test]
async fn seed_unchecked_certificates_on_exactly_one_route() {
    let issued = Leaf::host("whatever").self_signed();
    let (lax, _) = node("lax", shows(&issued)).await;
    let (strict, _) = node("strict", shows(&issued)).await;
    let (here, _) = node("here", TlsOptions::new().trust(Authority::new("ours").trust())).await;
    dial(&here, &lax, to(&lax).insecure_skip_verify(true)).await.unwrap();
    let attempt = refused(&here, &strict, to(&strict)).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
}

/// > `InsecureSkipVerify: false, // enforce certificate validation`
#[tokio::test]
async fn seed_a_route_that_checks_on_a_node_that_does_not() {
    let (there, _) = node("there", shows(&Leaf::host("whatever").self_signed())).await;
    let options = TlsOptions::new().trust(Authority::new("ours").trust()).insecure_skip_verify(true);
    let (here, _) = node("here", options).await;
    let attempt = refused(&here, &there, to(&there).insecure_skip_verify(false)).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
    dial(&here, &there, to(&there)).await.unwrap();
}

/// What a route says of certificates is not lost on a node that checks none.
#[tokio::test]
async fn what_a_route_demands_is_checked_on_a_node_that_does_not() {
    let issued = Leaf::host("whatever").self_signed();
    let (there, _) = node("there", shows(&issued)).await;
    let (here, _) = node("here", TlsOptions::new().insecure_skip_verify(true)).await;
    let attempt = refused(&here, &there, to(&there).trust(Authority::new("ours").trust())).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
    let attempt = refused(&here, &there, to(&there).verify(Verify::Pinned(vec![[0; 32]]))).await;
    assert!(matches!(fault(&attempt), CertificateFault::NotPinned { .. }), "{attempt}");
    let lax = to(&there).verify(Verify::Pinned(vec![[0; 32]])).insecure_skip_verify(true);
    dial(&here, &there, lax).await.unwrap();
}
