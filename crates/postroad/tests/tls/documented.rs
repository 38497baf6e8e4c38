//! What `docs/tls.md` tells operators to type.

use std::process::Command;

use postroad::Node;
use postroad::network::AcceptorOptions;
use postroad::tls::{ClientAuth, Identity, TlsOptions, Trust, Verify};

use crate::rotation::Directory;
use crate::support::COOKIE;
use crate::{dial, to};

/// The commands, in the order they are told.
fn commands() -> String {
    let text = include_str!("../../../../docs/tls.md");
    text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

#[tokio::test]
async fn certificates_made_as_documented() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("left out: there is no openssl here");
        return;
    }
    let directory = Directory::new();
    let script = format!("set -e\n{}", commands());
    let made = Command::new("sh").args(["-c", &script]).current_dir(directory.path("")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let identity = Identity::from_files(directory.path("node.crt"), directory.path("node.key")).unwrap();
    assert_eq!(
        identity.status().certificate.names,
        ["db.example.com", "10.0.1.50", "postroad:db@db.example.com"]
    );
    let trust = Trust::from_file(directory.path("ca.crt")).unwrap();
    let options = TlsOptions::new()
        .identity(identity)
        .trust(trust)
        .client_auth(ClientAuth::Required)
        .verify(Verify::NodeName);
    let start = async |name: &str| {
        let node = Node::builder(name).cookie(COOKIE).acceptor(AcceptorOptions::bind("127.0.0.1", 0));
        node.without_registrar().tls(options.clone()).start().await.unwrap()
    };
    let (db, other) = (start("db@db.example.com").await, start("other@db.example.com").await);
    // The certificate is that of the one, not of the other.
    assert!(dial(&other, &db, to(&db)).await.is_err());
    assert!(dial(&db, &other, to(&other)).await.is_err());
    // The names being right, nothing is in the way.
    let route = to(&other).verify(Verify::AuthorityOnly);
    let error = dial(&db, &other, route).await;
    assert!(error.is_ok(), "{error:?}");
    let fingerprint = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", "node.crt"])
        .current_dir(directory.path(""))
        .output()
        .unwrap();
    let printed = String::from_utf8(fingerprint.stdout).unwrap().to_lowercase().replace(':', "");
    assert!(
        printed.trim().ends_with(&hex::encode(
            db.network().tls().identity.as_ref().unwrap().status().certificate.sha256
        ))
    );
}
