//! The guides of docs/gateways.md: their files are taken out of the page and run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod folder;
mod program;

use std::collections::BTreeMap;
use std::process::Output;

use folder::Folder;
use program::{Node, free_port, postroad, run, stderr, stdout};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::Value as Json;

const PAGE: &str = include_str!("../../../docs/gateways.md");

/// The files of a guide, as they can be run here: all addresses are on
/// loopback, each port stands for one that is free, and cookies and
/// certificates that they name are there.
struct Guide {
    folder: Folder,
    /// Which port stands for which.
    ports: BTreeMap<String, u16>,
}

impl Guide {
    fn of(title: &str) -> Self {
        let section = PAGE.split("\n## ").find_map(|section| section.strip_prefix(title)).unwrap();
        let files: Vec<(&str, &str)> = section
            .split("```toml\n# ")
            .skip(1)
            .map(|block| block.split("\n```").next().unwrap().split_once('\n').unwrap())
            .collect();
        let name = title.to_lowercase().replace(' ', "-");
        let mut guide = Self { folder: Folder::new(&format!("guide-{name}")), ports: BTreeMap::new() };
        let mut issuers = BTreeMap::new();
        for (file, text) in &files {
            let here: String = text.lines().map(|line| guide.here(line) + "\n").collect();
            guide.folder.put(file, &here);
            let node = quoted(text, "name = ").next().unwrap();
            for cookie in quoted(text, "cookie_file = ") {
                guide.folder.put(cookie, &format!("the text of {cookie}"));
            }
            for (chain, key) in quoted(text, "chain = ").zip(quoted(text, "key = ")) {
                let issuer = guide.issuer(&mut issuers, chain.split_once('/').unwrap().0);
                let (own, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
                let says = format!("postroad:{node}");
                params.subject_alt_names.push(SanType::URI(says.as_str().try_into().unwrap()));
                guide.folder.put(chain, &params.signed_by(&own, issuer).unwrap().pem());
                guide.folder.put(key, &own.serialize_pem());
            }
            for authority in quoted(text, "trust = ") {
                guide.issuer(&mut issuers, authority.strip_suffix("/ca.pem").unwrap());
            }
        }
        for (file, _) in files {
            let output = run(&["check", &guide.path(file)]);
            assert!(stdout(&output).contains("no errors, no warnings"), "{}", stderr(&output));
        }
        guide
    }

    /// A line with addresses of this machine.
    fn here(&mut self, line: &str) -> String {
        let mut port = |said: &str| *self.ports.entry(said.to_owned()).or_insert_with(free_port);
        if line.starts_with("host = ") {
            "host = \"127.0.0.1\"".to_owned()
        } else if let Some(said) = line.strip_prefix("port = ") {
            format!("port = {}", port(said))
        } else if let Some(address) = line.strip_prefix("listen = ") {
            let said = address.trim_matches('"').rsplit_once(':').unwrap().1;
            format!("listen = \"127.0.0.1:{}\"", port(said))
        } else {
            line.to_owned()
        }
    }

    /// The authority of the files in that folder.
    fn issuer<'a>(
        &self,
        issuers: &'a mut BTreeMap<String, CertifiedIssuer<'static, KeyPair>>,
        of: &str,
    ) -> &'a CertifiedIssuer<'static, KeyPair> {
        issuers.entry(of.to_owned()).or_insert_with(|| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            std::fs::create_dir_all(self.path(of)).unwrap();
            self.folder.put(&format!("{of}/ca.pem"), &issuer.pem());
            issuer
        })
    }

    fn path(&self, file: &str) -> String {
        self.folder.path(file)
    }

    fn start(&self, file: &str) -> Node {
        Node::run(&["--config", &self.path(file), "--no-watch"])
    }

    /// Calls the process `echo` of a node, with the roads of a file and under a
    /// name of its own.
    fn ping(&self, file: &str, name: &str, to: &str) -> Output {
        run(&["ping", "--config", &self.path(file), "--as", name, to, "--count", "3"])
    }

    /// A command that asks a node, by the acceptor that stands for this port.
    fn ask(&self, arguments: &[&str], node: &Node, port: &str, cookie: &str) -> Output {
        let route = format!("^{}$=127.0.0.1:{}", node.name, self.ports[port]);
        let cookie = self.path(cookie);
        let [command, more @ ..] = arguments else { panic!("which command?") };
        let common = ["--no-registrar", "--route", &route, "--cookie-file", &cookie];
        postroad(&[&[*command, &node.name], &common[..], more].concat()).output().unwrap()
    }
}

/// What stands in quotation marks behind this.
fn quoted<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let behind = text.match_indices(key).map(move |(at, key)| &text[at + key.len()..]);
    behind.filter_map(|rest| rest.strip_prefix('"')?.split('"').next())
}

fn succeeded(output: &Output) -> &str {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", stdout(output));
    stderr(output).to_owned()
}

#[test]
fn dmz() {
    let guide = Guide::of("DMZ");
    let (_db, gateway, _app) = (guide.start("db.toml"), guide.start("gateway.toml"), guide.start("app.toml"));
    succeeded(&guide.ping("app.toml", "app-2@office", "db@inside"));
    let not_allowed = refused(&guide.ping("app.toml", "guest@office", "db@inside"));
    assert!(not_allowed.contains("gateway@dmz refused: not allowed"), "{not_allowed}");

    let probe =
        ["explain", "--config", &guide.path("app.toml"), "--probe", "db@inside", "--as", "app-99@office"];
    let output = run(&probe);
    let (_, probed) = succeeded(&output).split_once("\n1. ").unwrap();
    let (_, section) = PAGE.split_once("\n## DMZ").unwrap();
    let (_, shown) = section.split_once("```text\n").unwrap();
    let words = |text: &str| -> Vec<String> {
        let lines =
            text.lines().map(|line| line.split_whitespace().filter(|word| !word.contains('.')).collect());
        lines.collect()
    };
    let shown = shown.split("\n```").next().unwrap().strip_prefix("1. ").unwrap();
    let plain =
        |text: &str| words(&text.replace(":4370", "").replace("gateway.dmz.example.com", "127.0.0.1"));
    assert_eq!(plain(probed), plain(shown), "{probed}");

    let drain = ["tunnels", "--drain"];
    assert!(refused(&guide.ask(&drain, &gateway, "4370", "dmz.cookie")).contains("takes no orders"));
    succeeded(&guide.ask(&drain, &gateway, "4379", "operators.cookie"));
    assert!(refused(&guide.ping("app.toml", "app-2@office", "db@inside")).contains("it is being drained"));
}

#[test]
fn nat() {
    let guide = Guide::of("NAT");
    // The worker comes first: it goes on trying until the gateway is there.
    let worker = guide.start("worker.toml");
    let gateway = guide.start("gateway.toml");
    let _control = guide.start("control.toml");
    assert!(worker.port.is_empty(), "nobody can dial it");
    let connected = || {
        let output = guide.ask(&["connections", "--json"], &gateway, "4370", "gateway.cookie");
        let listed: Json = serde_json::from_str(succeeded(&output)).unwrap();
        listed.as_array().unwrap().iter().any(|peer| peer["node"] == "worker-7@home")
    };
    while !connected() {}
    // The node of that name has no connection with the worker yet.
    succeeded(&guide.ping("control.toml", "control@office", "worker-7@home"));
    let other = refused(&guide.ping("control.toml", "another@office", "worker-7@home"));
    assert!(other.contains("gateway@cloud refused: not allowed"), "{other}");
}

#[test]
fn partner_company() {
    let guide = Guide::of("Partner company");
    let (_api, _gateway) = (guide.start("api.toml"), guide.start("gateway.toml"));
    let _orders = guide.start("orders.toml");
    succeeded(&guide.ping("orders.toml", "orders@partner", "api@ours"));
    let stranger = refused(&guide.ping("orders.toml", "stranger@partner", "api@ours"));
    assert!(stranger.contains("no route to api@ours"), "its certificate is for another name: {stranger}");
    let text = std::fs::read_to_string(guide.path("orders.toml")).unwrap();
    guide.folder.put(
        "plain.toml",
        &text.replace(", \"encryption\"]", "]").replace("[tls]\n", "[tls]\nrequired = false\n"),
    );
    let plain = refused(&guide.ping("plain.toml", "orders@partner", "api@ours"));
    assert!(plain.contains("not allowed without encryption between the two ends"), "{plain}");
}

#[test]
fn two_clouds() {
    let guide = Guide::of("Two clouds");
    let _nodes = ["db.toml", "gateway-b.toml", "gateway-a.toml", "app.toml"].map(|file| guide.start(file));
    succeeded(&guide.ping("app.toml", "app-2@cloud-a", "db@cloud-b"));
    let other = refused(&guide.ping("app.toml", "web@cloud-a", "db@cloud-b"));
    assert!(other.contains("gateway@cloud-b refused: not allowed"), "{other}");
    let unknown = refused(&guide.ping("app.toml", "app-2@cloud-a", "cache@cloud-b"));
    assert!(unknown.contains("gateway@cloud-b refused: not allowed"), "{unknown}");
}
