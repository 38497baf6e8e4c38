//! Nodes with a configuration file, run as people run them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod folder;
mod program;

use folder::Folder;
use program::{Node, postroad, run, stderr, stdout};

/// A node that listens somewhere on loopback and registers nowhere.
fn hermit(name: &str) -> String {
    format!(
        "[node]\nname = \"{name}-{}@127.0.0.1\"\ncookie_file = \"cookie\"\n\
         [registrar]\nkind = \"none\"\n[[acceptor]]\nlisten = \"127.0.0.1:0\"\n",
        std::process::id()
    )
}

/// Whether the node lets somebody in who knows this cookie.
fn ping(node: &Node, cookie: &str) -> bool {
    let route = format!("@127=127.0.0.1:{}", node.port);
    let arguments =
        ["ping", &node.name, "--no-registrar", "--route", &route, "--cookie", cookie, "--count", "1"];
    run(&arguments).status.success()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_routes_and_cookie_and_leaves_connections_alone() {
    let folder = Folder::new("sighup");
    let old = hermit("hup")
        + "[[route]]\npattern = '^gone@x$'\nport = 1\n[[route]]\npattern = '^kept@x$'\nport = 2\n";
    folder.put("node.toml", &old);
    let mut node = Node::run(&["--config", &folder.path("node.toml"), "--no-watch"]);

    let guest = program::guest("guest@localhost").await;
    let network = guest.network();
    let route = postroad::network::NetworkRoute::to("127.0.0.1", node.port.parse().unwrap());
    network.add_route("^hup-", route, 100).unwrap();
    let name = node.name.clone();
    let echo = async |number: u64| guest.call::<u64>(("echo", name.as_str()), number).await.unwrap();
    assert_eq!(echo(1).await, 1);
    let mut events = network.subscribe();

    folder.put("cookie", "another cookie");
    let new = old
        .replace("[[route]]\npattern = '^gone@x$'\nport = 1\n", "[[route]]\npattern = '^new@x$'\nport = 3\n")
        .replace("port = 2", "port = 2\nweight = 200")
        .replace("\"none\"", "\"embedded\"");
    folder.put("node.toml", &new);
    node.signal("-HUP");
    let lines: Vec<String> = (0..6).map(|_| node.line()).collect();
    assert_eq!(
        lines,
        [
            format!("{} reloaded: 4 changes in force", folder.path("node.toml")),
            "~ registrar: kind none → embedded (NEEDS A RESTART)".to_owned(),
            "~ node: another cookie".to_owned(),
            "- route `^gone@x$`: weight 100, port 1".to_owned(),
            "+ route `^new@x$`: weight 100, port 3".to_owned(),
            "~ route `^kept@x$`: weight 100 → 200".to_owned(),
        ]
    );
    // Those who come now need the new cookie; who was there is still there.
    assert!(ping(&node, "another cookie"));
    assert!(!ping(&node, "a cookie"));
    assert_eq!(echo(2).await, 2);
    assert!(events.try_recv().is_err(), "the connection was touched");
    guest.stop().await;
    node.stop("-TERM");
}

#[cfg(unix)]
#[test]
fn sighup_changes_proxy_routes() {
    let folder = Folder::new("proxies");
    let proxy = |pattern: &str, rest: &str| format!("[[proxy_route]]\npattern = '{pattern}'\n{rest}");
    let old = proxy("^gone-", "via = \"gate@a\"\n") + &proxy("^far-", "via = \"gate@a\"\nmax_hop = 2\n");
    let new =
        proxy("^far-", "via = \"gate@b\"\nflags = [\"link\"]\n") + &proxy("^new-", "via = \"gate@c\"\n");
    folder.put("node.toml", &(hermit("proxies") + &old));
    let mut node = Node::run(&["--config", &folder.path("node.toml"), "--no-watch"]);
    let mut reload = |proxies: &str| -> Vec<String> {
        folder.put("node.toml", &(hermit("proxies") + proxies));
        node.signal("-HUP");
        (0..4).map(|_| node.line()).collect()
    };
    let there = reload(&new);
    let lines = [
        format!("{} reloaded: 3 changes in force", folder.path("node.toml")),
        "- proxy route `^gone-`: weight 100, via gate@a".to_owned(),
        "~ proxy route `^far-`: via gate@a → gate@b, max_hop 2 → default, flags default → link".to_owned(),
        "+ proxy route `^new-`: weight 100, via gate@c".to_owned(),
    ];
    assert_eq!(there, lines);
    // The table would refuse to remove, replace or add what it does not hold,
    // or holds already: the way back shows that it holds what was said.
    let back = reload(&old);
    assert_eq!(back[1], "- proxy route `^new-`: weight 100, via gate@c");
    assert_eq!(back[2], "+ proxy route `^gone-`: weight 100, via gate@a");
    node.stop("-TERM");
}

#[cfg(unix)]
#[test]
fn a_changed_file_is_noticed_and_a_bad_one_changes_nothing() {
    let folder = Folder::new("change");
    folder.put("node.toml", &hermit("watch"));
    let mut node = Node::run(&["--config", &folder.path("node.toml")]);
    let mut errors = node.errors();

    folder.put("node.toml", &hermit("watch").replace("cookie_file = \"cookie\"", "cookie_fil = \"cookie\""));
    let mut error = || errors.next().unwrap().unwrap();
    let said: Vec<String> = std::iter::repeat_with(&mut error)
        .skip_while(|line| !line.contains("everything stays as it was:"))
        .take_while(|line| !line.contains("did you mean"))
        .collect();
    let place = format!("error: {}:3:1: unknown key `cookie_fil` in [node]", folder.path("node.toml"));
    assert!(said.contains(&place), "{said:#?}");
    assert!(ping(&node, "a cookie"));

    // Only a file that the configuration names has changed.
    folder.put("cookie", "the next");
    folder.put("node.toml", &hermit("watch"));
    assert!(node.line().ends_with("reloaded: 1 change in force"));
    assert_eq!(node.line(), "~ node: another cookie");
    assert!(ping(&node, "the next"));
    folder.put("cookie", "the one after");
    assert!(node.line().ends_with("reloaded: 1 change in force"));
    assert_eq!(node.line(), "~ node: another cookie");
    assert!(ping(&node, "the one after"));
    drop(errors);
    node.stop("-TERM");
}

#[test]
fn options_go_before_the_environment_and_both_before_the_file() {
    let folder = Folder::new("order");
    folder.put("node.toml", &(hermit("file") + "[[route]]\npattern = '^a@x$'\nhost = \"h\"\nport = 1\n"));
    let config = folder.path("node.toml");
    let shown = |arguments: &[&str], name: Option<&str>| {
        let mut command = postroad(&["node", "--config", &config, "--dry-run"]);
        let output = command.args(arguments).envs(name.map(|name| ("POSTROAD_NAME", name))).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    assert!(shown(&[], None).contains("~ node: name default → file-"));
    assert!(shown(&[], Some("env@x")).contains("name default → env@x"));
    let all = shown(&["--name", "flag@x", "--route", "^a@x$=other:2,weight=7"], Some("env@x"));
    assert!(all.contains("name default → flag@x"), "{all}");
    assert!(all.contains("+ route `^a@x$`: weight 7, host other, port 2"), "{all}");
    assert_eq!(all.matches("+ route").count(), 1);
    assert!(!all.contains("a cookie"), "a secret was shown");
}

#[test]
fn check_says_what_is_wrong_or_what_there_is() {
    let folder = Folder::new("check");
    let good = hermit("checked") + "[[route]]\nname = 'a@x'\nport = 1\n";
    folder.put("good.toml", &good);
    folder.put("bad.toml", &(good.clone() + "wieght = 1\n[nodes]\n"));
    folder.put("other.toml", &good.replace("port = 1", "port = 2"));

    let output = run(&["check", &folder.path("good.toml")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("good.toml is good: no errors, no warnings"), "{output:?}");
    assert!(stdout(&output).contains("  routes        1\n"), "{output:?}");

    let output = run(&["check", &folder.path("bad.toml")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("did you mean `weight`?"), "{}", stderr(&output));
    assert!(stderr(&output).contains("did you mean `node`?"), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("bad.toml cannot be used: 2 errors, no warnings"),
        "{}",
        stderr(&output)
    );

    let output = run(&["check", &folder.path("other.toml"), "--against", &folder.path("good.toml")]);
    assert_eq!(stdout(&output), "~ route `^a@x$`: port 1 → 2\n");
    let output = run(&["check", &folder.path("good.toml"), "--against", &folder.path("good.toml")]);
    assert_eq!(stdout(&output), "nothing would change\n");

    let output = run(&["check", "/nowhere.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot read /nowhere.toml"), "{output:?}");
    assert!(stdout(&run(&["check", "--example"])).contains("[[proxy_route]]"));
}

#[test]
fn the_documents_show_what_check_says() {
    let documents = include_str!("../../../docs/configuration.md");
    let block = |language: &str| {
        let (_, rest) = documents.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let folder = Folder::new("documents");
    folder.put("orders.toml", block("toml"));
    let path = folder.path("orders.toml");
    let output = run(&["check", &path]);
    assert_eq!(stderr(&output).replace(&path, "orders.toml"), block("text"));
}

#[test]
fn explain_plans_as_the_configured_node_would() {
    let folder = Folder::new("explain");
    let text = hermit("explainer").replace("\"none\"", "\"embedded\"\nport = 1")
        + "[[route]]\npattern = '^db@'\nhost = \"10.0.0.7\"\nport = 4370\ntimeout = \"2s\"\n\
           [[route]]\npattern = '@prod$'\nresolver = \"registrar\"\nweight = 200\n";
    folder.put("node.toml", &text);
    let explain = ["explain", "--config", &folder.path("node.toml"), "db@prod", "--offline"];
    let output = run(&explain);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert!(lines[1].starts_with("  1. route `@prod$` weight 200: ask "), "{lines:#?}");
    assert!(
        lines[2]
            .starts_with("  2. route `^db@` weight 100: dial 10.0.0.7:4370, the node's cookie, at most 2s")
    );
    let own = format!("explainer-{}@127.0.0.1", std::process::id());
    let output = run(&["explain", "--config", &folder.path("node.toml"), &own]);
    assert!(stderr(&output).contains("is this node itself"), "{output:?}");
}

#[test]
fn a_probe_says_where_each_road_ends_and_what_to_do() {
    let folder = Folder::new("probe");
    folder.put("node.toml", &hermit("probed"));
    folder.put("wrong", "another cookie");
    let node = Node::run(&["--config", &folder.path("node.toml"), "--no-watch"]);
    // Somebody who accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let text = hermit("prober")
        + &format!(
            "[[route]]\npattern = '^probed-'\nhost = '127.0.0.1'\nport = {port}\nweight = 50\n\
             [[route]]\npattern = '^probed'\nhost = '127.0.0.1'\nport = {closed}\n\
             [[route]]\npattern = '^probe'\nhost = '127.0.0.1'\nport = {port}\nweight = 90\ncookie_file = 'wrong'\n\
             [[route]]\npattern = '^prob'\nhost = '127.0.0.1'\nport = {silent_port}\nweight = 80\ntimeout = '200ms'\n\
             [[route]]\npattern = '^pro'\nhost = '127.0.0.1'\nport = {port}\nweight = 70\ntls = true\n",
            port = node.port,
            closed = program::free_port(),
        );
    folder.put("prober.toml", &text);
    let probe = ["explain", "--config", &folder.path("prober.toml"), "--probe"];
    let output = run(&[&probe[..], &[&node.name]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let (_, probed) = stdout(&output).split_once("\n1. ").unwrap();
    let parts: Vec<&str> = probed.split("\n     ").collect();
    let steps: Vec<(&str, &str)> =
        parts.iter().map(|part| part.split_once(' ').unwrap_or((part, ""))).collect();
    let seen: Vec<&str> = steps[1..].iter().map(|(stage, _)| *stage).collect();
    assert_eq!(
        seen,
        [
            "resolve",
            "dial",
            "to", // refused
            "resolve",
            "dial",
            "hello",
            "to", // another cookie
            "resolve",
            "dial",
            "hello",
            "to", // silent
            "resolve",
            "dial",
            "tls",
            "to", // plain
            "resolve",
            "dial",
            "hello",
            "introduce",
            "reached",
        ],
        "{probed}"
    );
    for expected in [
        "nothing listens there: start the node, or correct the port",
        "compare the cookies of both sides",
        "something accepts and says nothing",
        "the acceptor is plain",
        "the node was reached by 1 of 5 steps",
    ] {
        assert!(probed.contains(expected), "{expected}: {probed}");
    }
    // The road ends in another node than the one that was meant.
    let output = run(&[&probe[..], &["probed-other@127.0.0.1"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("another node listens there"), "{}", stdout(&output));
    assert!(stdout(&output).ends_with("the node was not reached\n"));
}

#[cfg(unix)]
#[test]
fn a_cookie_file_that_everybody_may_read_is_warned_about() {
    let folder = Folder::new("readable");
    let again = "[[route]]\npattern = '^somebody@'\nport = 1\ncookie_file = \"cookie\"\n";
    folder.put("node.toml", &(hermit("readable") + again));
    for (mode, warnings) in [(0o604, "1 warning"), (0o640, "no warnings")] {
        folder.permit("cookie", mode);
        let output = run(&["check", &folder.path("node.toml")]);
        assert!(stdout(&output).contains(&format!("no errors, {warnings}\n")), "{output:?}");
        let said = "everybody on this machine may read the cookie file";
        assert_eq!(stderr(&output).contains(said), mode == 0o604, "{}", stderr(&output));
    }
}

/// A file that says `none` serves a node that is given a registrar by an option.
#[test]
fn a_registrar_from_the_command_line_is_what_routes_ask() {
    let folder = Folder::new("given-registrar");
    let asks = "[[route]]\npattern = '^somebody@'\nresolver = \"registrar\"\n";
    folder.put("node.toml", &(hermit("given") + asks));
    let config = folder.path("node.toml");
    let start = ["node", "--dry-run", "--config", &config];
    let refused = run(&start);
    assert!(stderr(&refused).contains("the node has no registrar to ask"), "{}", stderr(&refused));
    let given = run(&[&start[..], &["--registrar-port", "4599"]].concat());
    assert!(given.status.success(), "{}", stderr(&given));
}
