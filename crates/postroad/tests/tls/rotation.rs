//! Certificates and roots that change while nodes run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postroad::Node;
use postroad::tls::{CertificateFault, Identity, Source, TlsError, TlsOptions, Trust};
use tokio::sync::watch;

use crate::support::all_links;
use crate::support::authority::{Authority, Issued, Leaf};
use crate::support::log::Log;
use crate::{answers, dial, fault, node, refused, to};

/// A directory of its own, gone with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postroad-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, issued: &Issued) -> Identity {
        fs::write(self.path("tls.crt"), &issued.chain).unwrap();
        fs::write(self.path("tls.key"), &issued.key).unwrap();
        Identity::from_files(self.path("tls.crt"), self.path("tls.key")).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until it is as wanted.
async fn until(mut news: watch::Receiver<u64>, wanted: impl Fn() -> bool) {
    let waiting = async {
        while !wanted() {
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("the change is noticed");
}

fn sha256(identity: &Identity) -> [u8; 32] {
    identity.status().certificate.sha256
}

/// Dials anew: what is shown now.
async fn dial_again(here: &Node, there: &Node) -> bool {
    here.network().disconnect(there.name().as_str()).await;
    // The other side may still hold the old connection; its end is on the way.
    while there.network().peer(here.name().as_str()).is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    dial(here, there, to(there)).await.is_ok()
}

#[tokio::test]
async fn by_the_program_while_connections_live() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (identity, trust) = (old.identity(), old.trust());
    let (there, echo) = node("there", TlsOptions::new().identity(identity.clone())).await;
    let (here, _) = node("here", TlsOptions::new().trust(trust.clone())).await;
    dial(&here, &there, to(&there)).await.unwrap();
    let next = new.issue(Leaf::local());
    identity.update_pem(next.chain.as_bytes(), next.key.as_bytes()).unwrap();
    assert_eq!(sha256(&identity), next.sha256());
    assert_eq!(identity.status().source, Source::Program);
    // The live connection stays, the next one shows the new certificate.
    answers(&here, echo).await;
    assert!(!dial_again(&here, &there).await);
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(fault(&attempt), CertificateFault::UnknownAuthority), "{attempt}");
    trust.update_pem(new.pem.as_bytes()).unwrap();
    assert_eq!(trust.status().certificates.len(), 1);
    dial(&here, &there, to(&there)).await.unwrap();
    answers(&here, echo).await;
}

#[tokio::test]
async fn what_cannot_be_used_does_not_replace() {
    let authority = Authority::new("ours");
    let identity = authority.identity();
    let before = sha256(&identity);
    let other = authority.issue(Leaf::local());
    let error = identity.update_pem(other.chain.as_bytes(), b"no key").unwrap_err();
    assert!(matches!(error, TlsError::NoKey));
    assert_eq!(sha256(&identity), before);
    assert!(matches!(identity.reload(), Err(TlsError::NothingToReload)));
}

/// Links that join later show what is in use by then.
#[tokio::test]
async fn further_links_use_the_new_certificate() {
    let authority = Authority::new("ours");
    let identity = authority.identity();
    let (there, echo) = node("there", TlsOptions::new().identity(identity.clone())).await;
    let forwarder = crate::support::forwarder::Forwarder::to(crate::support::port(&there)).await;
    let trust = authority.trust();
    let (here, _) = node("here", TlsOptions::new().trust(trust.clone())).await;
    let route = postroad::network::NetworkRoute::to("127.0.0.1", forwarder.port).tls(true);
    dial(&here, &there, route).await.unwrap();
    all_links(&here, &there).await;
    let creation = here.network().peer(there.name().as_str()).unwrap().creation;
    // Both change: only links that are made with both new ones can join.
    let next = Authority::new("next");
    let issued = next.issue(Leaf::local());
    identity.update_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
    trust.update_pem(next.pem.as_bytes()).unwrap();
    let mut events = here.network().subscribe();
    let made = forwarder.accepted();
    forwarder.cut();
    while forwarder.accepted() < made + 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    all_links(&here, &there).await;
    answers(&here, echo).await;
    assert_eq!(here.network().peer(there.name().as_str()).unwrap().creation, creation);
    assert!(events.try_recv().is_err(), "the connection lived on");
}

/// Nobody asks for it: the files change, and the next connection shows it.
#[tokio::test]
async fn by_files_that_change() {
    let (directory, authority) = (Directory::new(), Authority::new("ours"));
    let identity = directory.write(&authority.issue(Leaf::host("elsewhere")));
    let (there, echo) = node("there", TlsOptions::new().identity(identity.clone())).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;
    let attempt = refused(&here, &there, to(&there)).await;
    assert!(matches!(fault(&attempt), CertificateFault::WrongName { .. }), "{attempt}");
    let next = authority.issue(Leaf::local());
    fs::write(directory.path("tls.crt"), &next.chain).unwrap();
    fs::write(directory.path("tls.key"), &next.key).unwrap();
    until(identity.changes(), || sha256(&identity) == next.sha256()).await;
    assert!(identity.status().failure.is_none());
    dial(&here, &there, to(&there)).await.unwrap();
    answers(&here, echo).await;
}

/// Roots of a route as well, also of one that was added later.
#[tokio::test]
async fn roots_of_a_route_by_a_file() {
    let (directory, old, new) = (Directory::new(), Authority::new("old"), Authority::new("new"));
    fs::write(directory.path("ca.pem"), &old.pem).unwrap();
    let trust = Trust::from_file(directory.path("ca.pem")).unwrap();
    let (there, _) = node("there", TlsOptions::new().identity(new.identity())).await;
    let (here, _) = node("here", TlsOptions::new()).await;
    let route = to(&there).trust(trust.clone());
    refused(&here, &there, route.clone()).await;
    // Both for a while: how an authority is replaced without an interruption.
    fs::write(directory.path("ca.pem"), format!("{}{}", old.pem, new.pem)).unwrap();
    until(trust.changes(), || trust.status().certificates.len() == 2).await;
    dial(&here, &there, route).await.unwrap();
}

/// Links that follow are made by a route that was never added, too.
#[tokio::test]
async fn roots_of_a_route_that_is_given() {
    let (directory, old, new) = (Directory::new(), Authority::new("old"), Authority::new("new"));
    fs::write(directory.path("ca.pem"), &old.pem).unwrap();
    let trust = Trust::from_file(directory.path("ca.pem")).unwrap();
    let (there, _) = node("there", TlsOptions::new().identity(old.identity())).await;
    let (here, _) = node("here", TlsOptions::new()).await;
    let route = to(&there).trust(trust.clone());
    here.network().connect_with(there.name().as_str(), route).await.unwrap();
    fs::write(directory.path("ca.pem"), &new.pem).unwrap();
    until(trust.changes(), || trust.status().certificates[0].subject.contains("new")).await;
}

/// As Kubernetes does it: the files are links into a directory that is a link
/// itself and is replaced at once.
#[tokio::test]
async fn by_a_swap_of_symbolic_links() {
    let (directory, authority) = (Directory::new(), Authority::new("ours"));
    let version = |name: &str, issued: &Issued| {
        fs::create_dir(directory.path(name)).unwrap();
        fs::write(directory.path(name).join("tls.crt"), &issued.chain).unwrap();
        fs::write(directory.path(name).join("tls.key"), &issued.key).unwrap();
    };
    let swap = |name: &str| {
        symlink(name, directory.path("..new")).unwrap();
        fs::rename(directory.path("..new"), directory.path("..data")).unwrap();
    };
    version("..1", &authority.issue(Leaf::local()));
    swap("..1");
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), directory.path(file)).unwrap();
    }
    let identity = Identity::from_files(directory.path("tls.crt"), directory.path("tls.key")).unwrap();
    let (there, _) = node("there", TlsOptions::new().identity(identity.clone())).await;
    for number in 2..5 {
        let next = authority.issue(Leaf::local());
        version(&format!("..{number}"), &next);
        swap(&format!("..{number}"));
        until(identity.changes(), || sha256(&identity) == next.sha256()).await;
        assert!(identity.status().failure.is_none());
    }
    there.stop().await;
}

/// A file that is half written, a certificate without its key: what is in use
/// stays, it is said once and loudly, and it is tried again.
#[tokio::test]
async fn half_of_a_rotation_is_kept_out() {
    let log = Log::start();
    let (directory, authority) = (Directory::new(), Authority::new("ours"));
    let first = authority.issue(Leaf::local());
    let identity = directory.write(&first);
    let next = authority.issue(Leaf::local());
    let half = &next.chain[..next.chain.len() / 2];
    let (there, echo) = node("there", TlsOptions::new().identity(identity.clone())).await;
    let (here, _) = node("here", TlsOptions::new().trust(authority.trust())).await;

    fs::write(directory.path("tls.crt"), half).unwrap();
    assert!(matches!(identity.reload(), Err(TlsError::Pem(_) | TlsError::NoCertificate)));
    let status = identity.status();
    assert_eq!(status.certificate.sha256, first.sha256());
    assert!(matches!(status.failure.unwrap().error, TlsError::Pem(_) | TlsError::NoCertificate));
    log.says(&["ERROR", "not replaced: the one in use stays", "tls.crt"]).await;
    dial(&here, &there, to(&there)).await.unwrap();
    answers(&here, echo).await;

    fs::write(directory.path("tls.crt"), &next.chain).unwrap();
    for _ in 0..3 {
        assert!(matches!(identity.reload(), Err(TlsError::KeyMismatch)));
    }
    assert_eq!(sha256(&identity), first.sha256());
    log.says(&["ERROR", "the private key is not that of the first certificate"]).await;
    assert_eq!(log.count("the private key is not that of"), 1, "said once, not at each attempt");

    fs::remove_file(directory.path("tls.key")).unwrap();
    assert!(matches!(identity.reload(), Err(TlsError::Read { .. })));

    fs::write(directory.path("tls.key"), &next.key).unwrap();
    until(identity.changes(), || sha256(&identity) == next.sha256()).await;
    assert!(identity.status().failure.is_none());
    assert!(!identity.reload().unwrap(), "nothing new");
}

/// What is taken back is no failure any more.
#[tokio::test]
async fn a_failure_ends_when_the_files_are_as_before() {
    let (directory, authority) = (Directory::new(), Authority::new("ours"));
    let first = authority.issue(Leaf::local());
    let identity = directory.write(&first);
    fs::write(directory.path("tls.key"), "gone").unwrap();
    identity.reload().unwrap_err();
    assert!(identity.status().failure.is_some());
    fs::write(directory.path("tls.key"), &first.key).unwrap();
    assert!(!identity.reload().unwrap());
    assert!(identity.status().failure.is_none());
}

/// What the program gives goes before the files it was read from.
#[tokio::test]
async fn files_are_left_alone_after_an_update() {
    let (directory, authority) = (Directory::new(), Authority::new("ours"));
    let identity = directory.write(&authority.issue(Leaf::local()));
    let next = authority.issue(Leaf::local());
    identity.update_pem(next.chain.as_bytes(), next.key.as_bytes()).unwrap();
    let third = authority.issue(Leaf::local());
    fs::write(directory.path("tls.crt"), &third.chain).unwrap();
    fs::write(directory.path("tls.key"), &third.key).unwrap();
    assert!(matches!(identity.reload(), Err(TlsError::NothingToReload)));
    assert_eq!(sha256(&identity), next.sha256());
}

/// A node that stops, and handles that are dropped, leave no task behind.
#[tokio::test]
async fn nobody_watches_for_a_stopped_node() {
    let (directory, authority) = (Directory::new(), Authority::new("ours"));
    let identity = directory.write(&authority.issue(Leaf::local()));
    let (there, _) = node("there", TlsOptions::new().identity(identity.clone())).await;
    tokio::time::timeout(Duration::from_secs(20), there.stop()).await.expect("its tasks end");
    // Another node watches it anew.
    let (again, _) = node("again", TlsOptions::new().identity(identity.clone())).await;
    let next = directory.write(&authority.issue(Leaf::local()));
    until(identity.changes(), || sha256(&identity) == sha256(&next)).await;
    again.stop().await;
}
