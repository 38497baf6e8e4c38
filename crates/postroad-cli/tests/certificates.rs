//! Configured nodes and their certificates, run as people run them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod folder;
mod program;

use std::io::{BufReader, Lines};
use std::process::ChildStderr;

use folder::Folder;
use postroad::network::NetworkRoute;
use postroad::tls::{Identity, Trust};
use program::{Node, run, stderr, stdout};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Who signs the certificates of a test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate for loopback and its key, in one text, so that they are
/// replaced together.
struct Issued {
    pem: String,
    sha256: String,
}

impl Authority {
    fn new(folder: &Folder) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        folder.put("ca.pem", &authority.pem());
        Self(authority)
    }

    fn issue(&self, adjust: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        adjust(&mut params);
        let (chain, key) = (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem());
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let digits = identity.status().certificate.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        Issued { pem: chain + &key, sha256: digits }
    }
}

/// A node that listens on loopback with TLS, or, without, one that dials.
fn config(name: &str, rest: &str) -> String {
    format!(
        "[node]\nname = \"{name}-{}@127.0.0.1\"\ncookie_file = \"cookie\"\n[registrar]\nkind = \"none\"\n\
         [[acceptor]]\nlisten = \"127.0.0.1:0\"\n{rest}",
        std::process::id()
    )
}

const SHOWN: &str = "[tls]\nchain = \"node.pem\"\nkey = \"node.pem\"\nrequired = true\n";

fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, wanted: &str) -> String {
    lines.map(Result::unwrap).find(|line| line.contains(wanted)).expect("the node ended")
}

/// Whether a node shows this certificate to who dials it now.
fn shows(folder: &Folder, node: &Node, certificate: &Issued) -> bool {
    let route = format!(
        "[[route]]\nname = \"{}\"\nport = {}\ntls = {{ pins = [\"{}\"] }}\n",
        node.name, node.port, certificate.sha256
    );
    folder.put("dialer.toml", &config("dialer", &route));
    run(&["ping", "--config", &folder.path("dialer.toml"), &node.name, "--count", "1"]).status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_under_a_running_node_and_bad_ones_are_not_taken() {
    let folder = Folder::new("certificates");
    let authority = Authority::new(&folder);
    let [first, second] = [(); 2].map(|()| authority.issue(|_| ()));
    folder.put("node.pem", &first.pem);
    folder.put("node.toml", &config("shown", SHOWN));
    let arguments = ["--config", &folder.path("node.toml"), "--no-watch", "--log", "postroad=info"];
    let mut node = Node::run(&arguments);
    let mut said = node.errors();

    let guest = program::guest("guest@localhost").await;
    let network = guest.network();
    let route = NetworkRoute::to("127.0.0.1", node.port.parse().unwrap()).tls(true);
    let trust = Trust::from_file(folder.path("ca.pem")).unwrap();
    network.add_route("^shown-", route.trust(trust), 100).unwrap();
    let name = node.name.clone();
    let echo = async |number: u64| guest.call::<u64>(("echo", name.as_str()), number).await.unwrap();
    assert_eq!(echo(1).await, 1);
    let mut events = network.subscribe();
    assert!(shows(&folder, &node, &first));

    folder.put("node.pem", &second.pem);
    line_with(&mut said, "replaced");
    assert!(shows(&folder, &node, &second));
    assert!(!shows(&folder, &node, &first), "the pin is not looked at");

    folder.put("node.pem", "garbage");
    let complaint = line_with(&mut said, "not replaced: the one in use stays");
    assert!(complaint.contains("ERROR") && complaint.contains("node.pem"), "{complaint}");
    assert!(shows(&folder, &node, &second));
    // Asked to read all again, it finds a file that it cannot use.
    node.signal("-HUP");
    line_with(&mut said, "everything stays as it was");
    line_with(&mut said, "`chain` and `key` cannot be used");
    assert!(shows(&folder, &node, &second));

    assert_eq!(echo(2).await, 2);
    assert!(events.try_recv().is_err(), "the connection was touched");
    guest.stop().await;
    drop(said);
    node.stop("-TERM");
}

#[test]
fn a_probe_ends_at_tls_if_the_certificate_has_expired_and_says_when() {
    let folder = Folder::new("expired");
    let authority = Authority::new(&folder);
    let expired = authority.issue(|params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    folder.put("node.pem", &expired.pem);
    folder.put("node.toml", &config("old", SHOWN));
    let node = Node::run(&["--config", &folder.path("node.toml"), "--no-watch"]);
    let route = format!(
        "[[route]]\nname = \"{}\"\nport = {}\ntls = {{ trust = \"ca.pem\" }}\n",
        node.name, node.port
    );
    folder.put("prober.toml", &config("prober", &route));
    let output = run(&["explain", "--config", &folder.path("prober.toml"), "--probe", &node.name]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let (_, probed) = stdout(&output).split_once("\n1. ").unwrap();
    let steps: Vec<&str> = probed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(steps, ["resolve", "dial", "tls", "to", "the"], "{probed}");
    for expected in ["expired on 2020-01-01", "to do:     renew the certificate of the node that is dialed"] {
        assert!(probed.contains(expected), "{expected}: {probed}");
    }
    assert!(probed.ends_with("the node was not reached\n"), "{probed}");
    node.stop("-TERM");
}
