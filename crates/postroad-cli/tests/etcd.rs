//! Nodes with a configuration file that find each other through a real etcd:
//! `./test etcd`, or with etcd and etcdctl installed
//! `cargo test -p postroad-cli --features real-etcd --test etcd`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../postroad-etcd/tests/real/etcd.rs"]
#[allow(dead_code, reason = "the registrar's own tests use the rest")]
mod etcd;
mod folder;
mod program;

use std::net::TcpListener;

use etcd::Etcd;
use folder::Folder;
use program::{Node, free_port, run, stderr, stdout};
use serde_json::{Value as Json, json};

/// A node that registers with etcd, on loopback.
fn member(name: &str, registrar: &str) -> String {
    format!(
        "[node]\nname = \"{name}-{}@127.0.0.1\"\ncookie_file = \"cookie\"\n\
         [[acceptor]]\nlisten = \"127.0.0.1:0\"\n[registrar]\n{registrar}",
        std::process::id()
    )
}

fn kind(etcd: &Etcd) -> String {
    format!("kind = \"etcd\"\nendpoints = [\"127.0.0.1:{}\"]\ncluster = \"shop\"\n", etcd.client_port(0))
}

#[test]
fn two_configured_nodes_find_each_other() {
    let etcd = Etcd::start();
    let folder = Folder::new("etcd");
    folder.put("a.toml", &member("a", &kind(&etcd)));
    folder.put("b.toml", &member("b", &kind(&etcd)));
    let a = Node::run(&["--config", &folder.path("a.toml"), "--no-watch"]);
    let b = Node::run(&["--config", &folder.path("b.toml"), "--no-watch"]);
    for (from, to) in [("a.toml", &b), ("b.toml", &a)] {
        let output = run(&["ping", "--config", &folder.path(from), &to.name, "--count", "1"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("1 of 1 calls answered"), "{output:?}");
    }
    // Etcd's keys are those of the cluster that the file names, and go with the node.
    let keys = || etcd.ctl(&["get", "--prefix", "--keys-only", "services/ergo/cluster/shop/"]);
    assert!(keys().contains(&a.name) && keys().contains(&b.name), "{}", keys());
    let gone = a.name.clone();
    a.stop("-TERM");
    assert!(!keys().contains(&gone), "{}", keys());
    let output = run(&["ping", "--config", &folder.path("b.toml"), &gone, "--count", "1"]);
    assert!(!output.status.success());
    b.stop("-TERM");
}

#[test]
fn a_route_asks_etcd_and_a_password_is_never_shown() {
    let mut etcd = Etcd::start();
    etcd.ctl(&["user", "add", "root:a root password"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]);
    etcd.client_flags = vec!["--user".to_owned(), "root:a root password".to_owned()];
    let folder = Folder::new("etcd-resolver");
    folder.put("password", "a root password\n");
    folder.put("wrong", "a wrong password\n");
    let access = kind(&etcd) + "user = \"root\"\npassword_file = \"password\"\n";
    folder.put("found.toml", &member("found", &access));
    let found = Node::run(&["--config", &folder.path("found.toml"), "--no-watch"]);
    let asking = |password: &str| {
        let access = access.replace("\"password\"", &format!("{password:?}"));
        member("asker", "kind = \"none\"\n")
            + &format!("[resolver.etcd]\n{access}[[route]]\npattern = '^found-'\nresolver = \"etcd\"\n")
    };
    folder.put("asker.toml", &asking("password"));
    let output = run(&["ping", "--config", &folder.path("asker.toml"), &found.name, "--count", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = run(&["explain", "--config", &folder.path("asker.toml"), &found.name]);
    assert!(stdout(&output).contains(&format!("127.0.0.1:{}", found.port)), "{}", stdout(&output));
    let output = run(&["check", &folder.path("asker.toml")]);
    assert!(stdout(&output).contains("user root, password ***"), "{}", stdout(&output));

    folder.put("asker.toml", &asking("wrong"));
    let output = run(&["ping", "--config", &folder.path("asker.toml"), &found.name, "--count", "1"]);
    assert!(stderr(&output).contains("check user name, password and role"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("a wrong password"), "{}", stderr(&output));
    found.stop("-TERM");
}

/// What a node would be handed out a guest is handed out too, without registering.
#[test]
fn routes_that_etcd_hands_out_are_explained_and_used() {
    let etcd = Etcd::start();
    let folder = Folder::new("etcd-routes");
    let hidden = Node::start("hidden", &["--no-registrar"]);
    let route = format!(r#"{{"pattern": "^hidden-", "host": "127.0.0.1", "port": {}}}"#, hidden.port);
    etcd.put("services/ergo/cluster/shop/postroad/routes/hidden", &route);
    etcd.put("services/ergo/cluster/shop/postroad/routes/wrong", r#"{"pattern": "^hidden", "port": 0}"#);
    folder.put("asker.toml", &member("asker", &kind(&etcd)));
    // Whoever registers writes.
    let revision = || {
        let all: Json = serde_json::from_str(&etcd.ctl(&["get", "x", "-w", "json"])).unwrap();
        all["header"]["revision"].as_i64().unwrap()
    };
    let before = revision();
    let explain = ["explain", "--config", &folder.path("asker.toml"), &hidden.name];
    let output = run(&explain);
    let road = format!("  1. route of the registrar `^hidden-` weight 0: dial 127.0.0.1:{}", hidden.port);
    assert_eq!(stdout(&output).matches("route of the registrar").count(), 1, "{}", stdout(&output));
    assert!(stdout(&output).contains(&road), "{}", stdout(&output));
    assert!(stderr(&output).contains("route of the registrar skipped"), "{}", stderr(&output));
    let output = run(&[&explain[..], &["--probe", "--json"]].concat());
    assert!(output.status.success(), "{} {}", stdout(&output), stderr(&output));
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    let handed_out = json!({"kind": "handed_out", "pattern": "^hidden-", "weight": 0});
    assert_eq!(
        (&json["plan"]["steps"][0]["reason"], &json["probe"][0]["reason"]),
        (&handed_out, &handed_out)
    );
    assert_eq!((&json["note"], &json["plan"]["discovery"]), (&Json::Null, &"withheld".into()));
    let output = run(&["ping", "--config", &folder.path("asker.toml"), &hidden.name, "--count", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(revision(), before, "nobody has registered");

    let output = run(&[&explain[..], &["--offline", "--json"]].concat());
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    let step = &json["plan"]["steps"][0];
    assert_eq!((&step["kind"], &step["ask"]["for"]), (&"ask".into(), &"addresses".into()));
    assert_eq!(step["reason"], json!({"kind": "discovery", "pattern": null, "weight": null}));
    assert_eq!(json["note"], "the registrar was not asked for routes that it hands out");
    drop(etcd);
    let output = run(&explain);
    assert!(stdout(&output).contains("does not say which routes it hands out"), "{}", stdout(&output));
    let output = run(&[&explain[..], &["--json"]].concat());
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    let failed = &json["plan"]["failed"][0];
    assert_eq!((&failed["stage"], &failed["port"]), (&"resolve".into(), &Json::Null), "{json}");
}

/// Of an etcd that takes connections and says nothing.
#[test]
fn a_silent_etcd_keeps_nobody_from_a_route_of_the_file() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new("etcd-silent");
    let target = Node::start("target", &["--no-registrar"]);
    let registrar = format!("kind = \"etcd\"\nendpoints = [\"{}\"]\n", silent.local_addr().unwrap());
    let asker = member("asker", &registrar);
    let route = format!("[[route]]\npattern = '^target-'\nhost = '127.0.0.1'\nport = {}\n", target.port);
    folder.put("asker.toml", &(asker + &route));
    let config = folder.path("asker.toml");
    for command in [
        &["explain", "--config", &config, &target.name, "--probe"][..],
        &["ping", "--config", &config, &target.name, "--count", "1"],
    ] {
        let output = run(command);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_err(), "it was not even asked");
    let quick = member("asker", &registrar).replace("[node]", "[node]\ndial_timeout = \"100ms\"");
    folder.put("asker.toml", &quick);
    let output = run(&["explain", "--config", &config, &target.name]);
    let why = "does not say which routes it hands out: no answer within 100ms";
    assert!(stdout(&output).contains(why), "{}", stdout(&output));
}

#[test]
fn an_etcd_that_cannot_be_reached_is_named_with_what_to_do() {
    let folder = Folder::new("etcd-gone");
    let (one, two) = (free_port(), free_port());
    let registrar = format!("kind = \"etcd\"\nendpoints = [\"127.0.0.1:{one}\", \"127.0.0.1:{two}\"]\n");
    folder.put("node.toml", &member("alone", &registrar));
    let output = run(&["node", "--config", &folder.path("node.toml")]);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "unable to register",
        &format!("127.0.0.1:{one}"),
        &format!("127.0.0.1:{two}"),
        "is etcd running there",
    ] {
        assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
    }
}

/// Leaving an etcd that does not answer takes a while; who insists does not wait.
#[test]
fn a_second_signal_ends_a_node_at_once() {
    let etcd = Etcd::start();
    let folder = Folder::new("insist");
    folder.put("a.toml", &member("a", &kind(&etcd)));
    let mut a = Node::run(&["--config", &folder.path("a.toml"), "--no-watch"]);
    etcd.freeze(0);
    a.signal("-INT");
    assert_eq!(a.line(), format!("{} stops", a.name));
    a.signal("-INT");
    assert_eq!(a.line(), format!("{} ends at once", a.name));
    etcd.thaw(0);
}
