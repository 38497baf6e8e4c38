//! Gateways as operators run them: configured by files, looked at, closed and
//! drained by `postroad tunnels`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod folder;
mod program;

use std::process::Output;

use folder::Folder;
use postroad::network::{NetworkProxyRoute, NetworkRoute};
use program::{Node, free_port, postroad, run, stderr, stdout};
use serde_json::Value as Json;

/// A node that listens here and registers nowhere.
fn hermit(name: &str, port: u16) -> String {
    format!(
        "[node]\nname = \"{name}@127.0.0.1\"\ncookie_file = \"cookie\"\n[registrar]\nkind = \"none\"\n\
         [[acceptor]]\nlisten = \"127.0.0.1:{port}\"\n"
    )
}

fn route(name: &str, port: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = {port}\n")
}

/// `postroad tunnels` of a node, by the acceptor on this port, with this cookie.
fn tunnels(node: &Node, port: &str, cookie: &str, more: &[&str]) -> Output {
    ask("tunnels", node, port, cookie, more)
}

fn ask(command: &str, node: &Node, port: &str, cookie: &str, more: &[&str]) -> Output {
    let route = format!("^{}$=127.0.0.1:{port}", node.name.replace('.', "[.]"));
    postroad(&[command, &node.name, "--no-registrar", "--route", &route])
        .args(more)
        .env("POSTROAD_COOKIE", cookie)
        .output()
        .unwrap()
}

/// What it says on success.
fn told(output: &Output) -> &str {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}

/// A client in this program that goes to a node through a gateway.
async fn client(name: &str, gateway: &Node, target: &str) -> postroad::Node {
    let client = program::guest(&format!("{name}-{}@127.0.0.1", std::process::id())).await;
    let network = client.network();
    let by = NetworkRoute::to("127.0.0.1", gateway.port.parse().unwrap());
    network.add_route(&postroad::network::exact(&gateway.name), by, 1).unwrap();
    let proxy = NetworkProxyRoute::via(&gateway.name);
    network.add_proxy_route(&postroad::network::exact(target), proxy, 1).unwrap();
    client
}

async fn echo(client: &postroad::Node, target: &str, number: u64) -> u64 {
    client.call::<u64>(("echo", target), number).await.unwrap()
}

/// Listed by whoever may look; closed and drained by operators only.
#[tokio::test(flavor = "multi_thread")]
async fn tunnels_are_listed_closed_and_drained() {
    let folder = Folder::new("tunnels");
    folder.put("operators", "the cookie of operators");
    let target = Node::start("target", &["--no-registrar"]);
    let (name, orders) = (format!("gate-{}", std::process::id()), free_port());
    let operators = format!(
        "[[acceptor]]\nlisten = \"127.0.0.1:{orders}\"\ncookie_file = \"operators\"\noperators = true\n"
    );
    let rules = "[transit]\n[[transit.rule]]\nfrom = '.*'\nto = 'target-.*'\n";
    let file = hermit(&name, 0).replace("[[acceptor]]", &(operators + "[[acceptor]]"));
    folder.put("gate.toml", &(file + &route(&target.name, &target.port) + rules));
    let gateway = Node::run(&["--config", &folder.path("gate.toml"), "--no-watch"]);
    let orders = orders.to_string();
    let client = client("client", &gateway, &target.name).await;
    assert_eq!(echo(&client, &target.name, 1).await, 1);

    let listed = tunnels(&gateway, &gateway.port, "a cookie", &["--json"]);
    let json: Json = serde_json::from_str(told(&listed)).unwrap();
    assert_eq!((&json["gateway"], &json["draining"]), (&true.into(), &false.into()));
    let first = &json["tunnels"][0];
    assert_eq!(first["client"], client.name().as_str());
    assert_eq!(first["through"], serde_json::json!([gateway.name]));
    assert_eq!(first["target"], target.name);
    assert_eq!(first["operations"], serde_json::json!(["link", "monitor", "important_delivery"]));
    assert!(first["bytes_to_target"].as_u64().unwrap() > 100, "{json}");
    let id = first["id"].to_string();
    let shown = tunnels(&gateway, &gateway.port, "a cookie", &[]);
    let row: Vec<&str> = told(&shown).lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], [&id, client.name().as_str(), &gateway.name, &target.name]);

    for order in [&["--close", &id][..], &["--drain"], &["--resume"]] {
        let refused = tunnels(&gateway, &gateway.port, "a cookie", order);
        assert!(!refused.status.success());
        assert!(stderr(&refused).contains("takes no orders from who comes in here"), "{}", stderr(&refused));
    }
    let locked = tunnels(&gateway, &orders, "a cookie", &["--drain"]);
    assert!(stderr(&locked).contains("no route to"), "{}", stderr(&locked));
    assert_eq!(echo(&client, &target.name, 2).await, 2);

    let order = |more: &[&str]| tunnels(&gateway, &orders, "the cookie of operators", more);
    assert_eq!(told(&order(&["--close", &id])), format!("tunnel {id} is closed\n"));
    assert!(stderr(&order(&["--close", &id])).contains("unknown tunnel"));
    // The client opens another one in its place, while what it sends finds other links.
    assert_eq!(echo(&client, &target.name, 3).await, 3);
    assert!(told(&order(&["--drain"])).contains("takes no new tunnels; "));
    assert!(told(&order(&[])).contains("is draining: it takes no new tunnels"));
    client.network().disconnect(&target.name).await;
    let error = client.network().connect(&target.name).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{} refused: it takes no new tunnels", gateway.name)), "{error}");
    assert!(told(&order(&["--resume"])).contains("takes tunnels again"));
    client.network().connect(&target.name).await.unwrap();
    assert!(told(&tunnels(&target, &target.port, "a cookie", &[])).contains("is no gateway"));
    client.stop().await;
}

/// What passed is counted for each neighbour, also when no tunnel is left; the
/// target's operator sees through whom a guest came, and what it may do.
#[tokio::test(flavor = "multi_thread")]
async fn transit_is_counted_for_each_neighbour() {
    let folder = Folder::new("transit");
    let target = Node::start("target", &["--no-registrar"]);
    let name = format!("counting-{}", std::process::id());
    let rules = "[transit]\n[[transit.rule]]\nfrom = '.*'\nto = 'target-.*'\n";
    folder.put("gate.toml", &(hermit(&name, 0) + &route(&target.name, &target.port) + rules));
    let gateway = Node::run(&["--config", &folder.path("gate.toml"), "--no-watch"]);
    let client = client("counted", &gateway, &target.name).await;
    assert_eq!(echo(&client, &target.name, 1).await, 1);
    let asked = |command, node: &Node, more: &[&str]| ask(command, node, &node.port, "a cookie", more);
    let json = |command, node: &Node| -> Json {
        serde_json::from_str(told(&asked(command, node, &["--json"]))).unwrap()
    };
    let of = |all: &Json, name: &str| -> Json {
        let mut all = all.as_array().unwrap().iter();
        all.find(|one| one["node"] == name).unwrap_or_else(|| panic!("{name}: {all:?}")).clone()
    };

    let (name, operations) = (client.name(), ["link", "monitor", "important_delivery"]);
    let at_target = json("connections", &target);
    let guest = of(&at_target, name.as_str());
    assert_eq!(guest["through"], serde_json::json!([gateway.name]));
    assert_eq!(guest["operations"], serde_json::json!(operations));
    let direct = of(&at_target, &gateway.name);
    assert_eq!((&direct["through"], &direct["operations"]), (&serde_json::json!([]), &Json::Null));
    assert_eq!((&direct["transit_in"], &direct["transit_out"]), (&0.into(), &0.into()));
    let shown = asked("connections", &target, &[]);
    let row = told(&shown).lines().find(|line| line.starts_with(name.as_str())).unwrap();
    assert!(row.contains(&format!("  {}  {}  in", gateway.name, operations.join(","))), "{row}");

    client.network().disconnect(&target.name).await;
    let listed = loop {
        let listed = json("tunnels", &gateway);
        if listed["tunnels"].as_array().unwrap().is_empty() {
            break listed;
        }
    };
    let near = of(&listed["neighbours"], name.as_str());
    let far = of(&listed["neighbours"], &target.name);
    assert!(near["transit_in"].as_u64().unwrap() > 100 && near["transit_out"].as_u64().unwrap() > 100);
    assert_eq!((&near["transit_in"], &near["transit_out"]), (&far["transit_out"], &far["transit_in"]));
    let neighbours = json("connections", &gateway);
    for neighbour in [near, far] {
        let same = of(&neighbours, neighbour["node"].as_str().unwrap());
        assert_eq!(same["transit_in"], neighbour["transit_in"]);
        assert_eq!(same["transit_out"], neighbour["transit_out"]);
    }
    let shown = asked("tunnels", &gateway, &[]);
    let totals: Vec<&str> = told(&shown).lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    assert!(totals[0].starts_with("NEIGHBOUR ") && totals.len() == 3, "{totals:?}");
    assert!(totals[1].starts_with(name.as_str()) && totals[2].starts_with(&target.name), "{totals:?}");
    client.stop().await;
}

/// New rules hold for who comes; what is open stays.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn rules_are_read_again_and_open_tunnels_stay() {
    let folder = Folder::new("rules");
    let target = Node::start("target", &["--no-registrar"]);
    let name = format!("gatekeeper-{}", std::process::id());
    let rules = |from: &str| format!("[transit]\n[[transit.rule]]\nfrom = '{from}'\nto = 'target-.*'\n");
    let file = hermit(&name, 0) + &route(&target.name, &target.port);
    folder.put("gate.toml", &file);
    let mut gateway = Node::run(&["--config", &folder.path("gate.toml"), "--no-watch"]);
    let early = client("early", &gateway, &target.name).await;
    let error = early.network().connect(&target.name).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("{} refused: it lets no connections pass through it", gateway.name)),
        "{error}"
    );

    // It becomes a gateway for who is connected with it already.
    folder.put("gate.toml", &(file.clone() + &rules("early-.*")));
    gateway.signal("-HUP");
    assert!(gateway.line().ends_with("reloaded: 2 changes in force"));
    assert_eq!(gateway.line(), "+ transit: others may pass by rules");
    assert_eq!(gateway.line(), "+ transit rule: `early-.*` to `target-.*`");
    early.network().connect(&target.name).await.unwrap();
    let late = client("late", &gateway, &target.name).await;
    assert_eq!(echo(&early, &target.name, 1).await, 1);
    let refused = format!("{} refused: ", gateway.name);
    let error = late.network().connect(&target.name).await.unwrap_err().to_string();
    assert!(error.contains(&refused), "{error}");
    let mut events = early.network().subscribe();

    folder.put("gate.toml", &(file + &rules("late-.*")));
    gateway.signal("-HUP");
    assert!(gateway.line().ends_with("reloaded: 2 changes in force"));
    assert_eq!(gateway.line(), "- transit rule: `early-.*` to `target-.*`");
    assert_eq!(gateway.line(), "+ transit rule: `late-.*` to `target-.*`");
    late.network().connect(&target.name).await.unwrap();
    assert_eq!(echo(&early, &target.name, 2).await, 2);
    assert!(events.try_recv().is_err(), "the connection was touched");
    early.network().disconnect(&target.name).await;
    let error = early.network().connect(&target.name).await.unwrap_err().to_string();
    assert!(error.contains(&refused), "{error}");
    early.stop().await;
    late.stop().await;
    gateway.stop("-TERM");
}

/// The program of a gateway is killed while calls are under way: some are told that
/// they are lost, and those that follow go by the second one.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_second_gateway_takes_over_from_one_that_was_killed() {
    const CALLERS: u64 = 4;
    let folder = Folder::new("killed");
    let target = Node::start("target", &["--no-registrar"]);
    let rules = "[transit]\n[[transit.rule]]\nfrom = '.*'\nto = 'target-.*'\n";
    let [first, second] = ["first", "second"].map(|name| {
        let (name, file) = (format!("{name}-{}", std::process::id()), format!("{name}.toml"));
        folder.put(&file, &(hermit(&name, 0) + &route(&target.name, &target.port) + rules));
        Node::run(&["--config", &folder.path(&file), "--no-watch"])
    });
    let client = client("client", &first, &target.name).await;
    let network = client.network();
    let by = NetworkRoute::to("127.0.0.1", second.port.parse().unwrap());
    network.add_route(&postroad::network::exact(&second.name), by, 1).unwrap();
    network.add_proxy_route("^target-", NetworkProxyRoute::via(&second.name), 0).unwrap();
    let path = || network.peer(&target.name).map(|peer| peer.path);
    let way = |gateway: &Node| {
        let names = [client.name().as_str(), &gateway.name, &target.name];
        Some(names.map(|name| postroad::Atom::new(name).unwrap()).to_vec())
    };

    let (outcomes, mut incoming) = tokio::sync::mpsc::unbounded_channel();
    for caller in 0..CALLERS {
        let (client, target, outcomes) = (client.clone(), target.name.clone(), outcomes.clone());
        tokio::spawn(async move {
            for number in (caller << 32).. {
                let answer = client.call::<u64>(("echo", target.as_str()), number).await;
                if outcomes.send(answer.map(|answer| assert_eq!(answer, number))).is_err() {
                    return;
                }
            }
        });
    }
    for _ in 0..100 {
        incoming.recv().await.unwrap().expect("nothing is lost before");
    }
    assert_eq!(path(), way(&first));
    first.signal("-KILL");
    let (mut answered, mut lost) = (0, 0);
    while path() != way(&second) || answered < 100 {
        match incoming.recv().await.unwrap() {
            Ok(()) => answered += 1,
            Err(error) => {
                (answered, lost) = (0, lost + 1);
                assert!(lost <= CALLERS * 10, "more is lost than was under way: {error}");
            }
        }
    }
    drop(incoming);
    client.stop().await;
}

/// A traceroute for nodes: each step to the gateway and behind it, what is
/// refused, by whom, and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_walks_through_the_gateway() {
    let folder = Folder::new("walk");
    let target = Node::start("target", &["--no-registrar"]);
    let name = format!("walked-{}", std::process::id());
    let rules = "[transit]\n[[transit.rule]]\nfrom = 'probe-.*'\nto = 'target-.*'\n";
    folder.put("gate.toml", &(hermit(&name, 0) + &route(&target.name, &target.port) + rules));
    let gateway = Node::run(&["--config", &folder.path("gate.toml"), "--no-watch"]);
    let proxy = |name: &str| format!("[[proxy_route]]\nname = \"{name}\"\nvia = \"{}\"\n", gateway.name);
    let file = hermit("walker", 0) + &route(&gateway.name, &gateway.port) + &proxy(&target.name);
    folder.put("client.toml", &(file + &proxy("private@127.0.0.1")));
    let probe = |name: &str| {
        let output = run(&["explain", "--config", &folder.path("client.toml"), "--probe", name]);
        let (_, probed) = stdout(&output).split_once("\n1. ").unwrap();
        probed.to_owned()
    };
    let probed = probe(&target.name);
    let stages: Vec<&str> =
        probed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let to_gateway = ["to", "1.", "resolve", "dial", "hello", "introduce", "reached"];
    assert_eq!(stages[..7], to_gateway, "{probed}");
    assert_eq!(stages[7..12], ["hop", "tunnel", "hello", "introduce", "reached"], "{probed}");
    assert!(probed.contains(&format!("{} lets pass; the node comes next", gateway.name)), "{probed}");
    let refused = probe("private@127.0.0.1");
    assert!(refused.contains(&format!("{} REFUSES", gateway.name)), "{refused}");
    assert!(refused.contains("to do:     add a [[transit.rule]] there"), "{refused}");

    for (name, leads_there) in [(&*target.name, true), ("private@127.0.0.1", false)] {
        let output = run(&["explain", "--config", &folder.path("client.toml"), "--probe", "--json", name]);
        assert_eq!(output.status.success(), leads_there, "{output:?}");
        let json: Json = serde_json::from_slice(&output.stdout).unwrap();
        let step = &json["plan"]["steps"][0];
        assert_eq!(
            (&step["kind"], &step["tunnel"]["through"]),
            (&"tunnel".into(), &gateway.name.as_str().into())
        );
        assert_eq!(step["tunnel"]["target_cookie"], "node");
        let way = &json["probe"][0];
        assert_eq!(
            (way["reached"].is_object(), way["through"].as_str()),
            (leads_there, Some(&*gateway.name)),
            "{json}"
        );
        assert_eq!(way["hops"][0]["node"], *gateway.name);
        let expected = if leads_there { "leads_there" } else { "refuses" };
        assert_eq!(way["hops"][0]["answer"], expected);
        let to_gateway = &way["to_proxy"][0];
        assert_eq!((&to_gateway["reason"]["kind"], &to_gateway["failed"]), (&"route".into(), &Json::Null));
        assert!(to_gateway["reached"]["version"].is_string(), "{json}");
        let advice = way["failed"]["to_do"].as_str().unwrap_or_default();
        assert_eq!(advice.starts_with("add a [[transit.rule]] there"), !leads_there, "{json}");
    }
}

/// A way that allows less than its route asks for leads there, and is not all right.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_what_is_not_granted() {
    let folder = Folder::new("granted");
    let target = Node::start("target", &["--no-registrar"]);
    let name = format!("granting-{}", std::process::id());
    let rules =
        "[transit]\n[[transit.rule]]\nfrom = 'probe-.*'\nto = 'target-.*'\noperations = [\"monitor\"]\n";
    folder.put("gate.toml", &(hermit(&name, 0) + &route(&target.name, &target.port) + rules));
    let gateway = Node::run(&["--config", &folder.path("gate.toml"), "--no-watch"]);
    let probe = |flags: &str| {
        let way = format!("[[proxy_route]]\nname = \"{}\"\nvia = \"{}\"\n", target.name, gateway.name);
        let file = hermit("wisher", 0) + &route(&gateway.name, &gateway.port) + &way;
        folder.put("client.toml", &format!("{file}flags = {flags}\n"));
        let output = run(&["explain", "--config", &folder.path("client.toml"), "--probe", &target.name]);
        told(&output).to_owned()
    };
    let version = concat!("postroad:", env!("CARGO_PKG_VERSION"));
    let less = probe(r#"["link", "monitor", "spawn"]"#);
    let lines: Vec<&str> = less.lines().map(str::trim).collect();
    let reached = format!("reached    {version}, for messages, monitor");
    let at = lines.iter().position(|line| *line == reached).unwrap_or_else(|| panic!("{less}"));
    assert!(lines[at + 1].starts_with("to do:     the route asks for link, spawn as well: "), "{less}");
    assert!(lines.contains(&format!("reached    {version}").as_str()), "of the gateway itself: {less}");
    let enough = probe(r#"["monitor"]"#);
    assert!(enough.contains(&reached) && !enough.contains("to do:"), "{enough}");
}

#[test]
fn a_refusal_says_under_which_name_and_the_gateway_why_it_got_nowhere() {
    let folder = Folder::new("nowhere");
    let (name, closed) = (format!("dead-end-{}", std::process::id()), free_port());
    let rules = "[transit]\n[[transit.rule]]\nfrom = 'known@.*'\nto = 'gone@.*'\n";
    let way = route("gone@127.0.0.1", &closed.to_string());
    let plain = Node::start("lets-nobody-pass", &["--no-registrar"]);
    let beyond = format!("[[proxy_route]]\nname = \"gone@beyond\"\nvia = \"{}\"\n", plain.name);
    let onward = route(&plain.name, &plain.port) + &beyond;
    let file = hermit(&name, 0).replace("[node]", "[node]\nlog = \"info\"");
    folder.put("gate.toml", &(file + &way + &onward + rules));
    let mut gateway = Node::run(&["--config", &folder.path("gate.toml"), "--no-watch"]);
    let through = format!("[[proxy_route]]\npattern = \"^gone@\"\nvia = \"{}\"\n", gateway.name);
    let file = hermit("client", 0) + &route(&gateway.name, &gateway.port) + &through;
    folder.put("client.toml", &file);

    let config = folder.path("client.toml");
    let ping = ["ping", "gone@127.0.0.1", "--config", &config];
    let refused = run(&ping);
    assert!(
        stderr(&refused).contains("rules of gateways go by names, and this was ping-"),
        "{}",
        stderr(&refused)
    );
    let known = run(&[&ping[..], &["--as", "known@127.0.0.1"]].concat());
    assert!(!stderr(&known).contains("--as"), "{}", stderr(&known));
    run(&["ping", "gone@beyond", "--config", &config, "--as", "known@elsewhere"]);

    let mut log = gateway.errors().map(Result::unwrap);
    let line = log.find(|line| line.contains("tunnel refused") && line.contains("known@")).unwrap();
    let tried = format!(
        "tried=no route to gone@127.0.0.1; 1. route `^gone@127\\.0\\.0\\.1$` weight 100: 127.0.0.1:{closed}: dial: Connection refused"
    );
    assert!(line.contains(&tried), "{line}");
    // Also where it is another node that refuses.
    let line = log.find(|line| line.contains("tunnel refused") && line.contains("known@elsewhere")).unwrap();
    let hop = format!("hop={} ", plain.name);
    assert!(line.contains(&hop) && line.contains("tried=no route to gone@beyond; 1. "), "{line}");
}
