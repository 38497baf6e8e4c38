//! Who may: users and certificates.

use postroad::StartError;
use postroad::registrar::RegistrarEvent;
use postroad_etcd::{EtcdOptions, EtcdTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::etcd::Etcd;
use crate::{Member, unique};

async fn refusal(options: EtcdOptions) -> String {
    match Member::try_start(&unique("refused"), options).await {
        Err(error @ StartError::Register(_)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn users_log_in_and_again_when_their_token_is_worth_nothing_any_more() {
    let mut etcd = Etcd::start();
    etcd.ctl(&["user", "add", "root:a root password"]);
    etcd.ctl(&["role", "add", "nodes"]);
    etcd.ctl(&["role", "grant-permission", "nodes", "--prefix=true", "readwrite", "services/ergo/"]);
    etcd.ctl(&["user", "add", "node:a node password"]);
    etcd.ctl(&["user", "grant-role", "node", "nodes"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]);
    etcd.client_flags = vec!["--user".to_owned(), "root:a root password".to_owned()];

    let nobody = refusal(etcd.options()).await;
    assert!(nobody.contains("user name"), "{nobody}");
    let wrong = refusal(etcd.options().user("node", "a wrong password")).await;
    assert!(wrong.contains("check user name, password"), "{wrong}");
    assert!(!wrong.contains("a wrong password"), "{wrong}");

    let mut a = Member::start(&unique("a"), etcd.options().user("node", "a node password")).await;
    a.event(&RegistrarEvent::Connected).await;
    // Its tokens are in its memory only.
    etcd.kill(0);
    a.disconnected().await;
    etcd.restart(0);
    assert_eq!(a.event(&RegistrarEvent::Connected).await, []);
    let b = Member::start(&unique("b"), etcd.options().user("node", "a node password")).await;
    a.event(&RegistrarEvent::NodeJoined { node: b.name() }).await;

    let elsewhere = etcd.options().user("node", "a node password").cluster("x");
    etcd.ctl(&["role", "revoke-permission", "nodes", "--prefix=true", "services/ergo/"]);
    let denied = refusal(elsewhere).await;
    assert!(denied.contains("permission denied"), "{denied}");
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for loopback, and its key.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let directory = std::env::temp_dir().join(format!("postroad-etcd-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = ours.issue();
    let [ca, certificate, key] =
        [file("ca", &ours.pem()), file("certificate", &certificate), file("key", &key)];
    let flags = |flags: [(&str, &str); 3]| flags.map(|(flag, path)| format!("{flag}={path}")).to_vec();
    let mut server = flags([("--cert-file", &certificate), ("--key-file", &key), ("--trusted-ca-file", &ca)]);
    server.push("--client-cert-auth".to_owned());
    let client = flags([("--cert", &certificate), ("--key", &key), ("--cacert", &ca)]);
    let etcd = Etcd::with(1, "https", server, client);

    let (certificate, key) = ours.issue();
    let tls = EtcdTls::new(ours.pem()).identity(certificate.clone(), key.clone());
    let a = Member::start(&unique("a"), etcd.options().tls(tls.clone())).await;
    let b = Member::start(&unique("b"), etcd.options().tls(tls.clone())).await;
    a.node.network().connect(b.name().as_str()).await.unwrap();

    let others = EtcdTls::new(theirs.pem()).identity(certificate, key);
    let untrusted = refusal(etcd.options().tls(others)).await;
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let misnamed = refusal(etcd.options().tls(tls.server_name("another.example.com"))).await;
    assert!(misnamed.contains("certificate"), "{misnamed}");
    refusal(etcd.options().tls(EtcdTls::new(ours.pem()))).await;
    refusal(etcd.options()).await;
    std::fs::remove_dir_all(directory).unwrap();
}
