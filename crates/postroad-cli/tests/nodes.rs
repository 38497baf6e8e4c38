//! `postroad node`, `ping` and `explain`, run as people run them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use program::{Node, free_port, postroad, run, stderr, stdout};

#[test]
fn a_node_is_found_by_the_registrar_and_answers() {
    let registrar = free_port().to_string();
    let node = Node::start("found", &["--registrar-port", &registrar]);
    let explained = run(&["explain", &node.name, "--registrar-port", &registrar]);
    assert!(explained.status.success(), "{}", stderr(&explained));
    assert!(
        stdout(&explained).contains(&format!("discovery: dial 127.0.0.1:{}", node.port)),
        "{explained:?}"
    );
    let output =
        run(&["ping", &node.name, "--cookie", "a cookie", "--registrar-port", &registrar, "--count", "2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("connected with found-"), "{output:?}");
    assert!(stdout(&output).contains("2 of 2 calls answered; round trip min "), "{output:?}");
    #[cfg(unix)]
    node.stop("-TERM");
}

#[test]
fn a_static_route_leads_to_a_node_that_registers_nowhere() {
    let node = Node::start("hermit", &["--no-registrar"]);
    let route = format!("^hermit-=127.0.0.1:{},weight=7,cookie=a cookie", node.port);
    let output = run(&["ping", &node.name, "--no-registrar", "--route", &route, "--count", "5", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["node"], node.name);
    assert_eq!((&json["calls"], &json["answered"]), (&5.into(), &5.into()));
    assert_eq!(json["round_trips_us"].as_array().unwrap().len(), 5);
    assert!(json["min_us"].as_f64().unwrap() <= json["max_us"].as_f64().unwrap());
    #[cfg(unix)]
    node.stop("-INT");
}

#[test]
fn a_wrong_cookie_is_said_to_be_one() {
    let node = Node::start("guarded", &["--no-registrar"]);
    let route = format!("^guarded-=127.0.0.1:{}", node.port);
    let output = run(&["ping", &node.name, "--no-registrar", "--route", &route, "--cookie", "another"]);
    assert!(!output.status.success());
    let errors = stderr(&output);
    assert!(
        errors.contains(&format!("1. route `^guarded-` weight 100: 127.0.0.1:{}: hello: ", node.port)),
        "{errors}"
    );
    assert!(errors.contains("cookies differ"), "{errors}");
    assert!(stdout(&output).is_empty(), "{output:?}");
}

#[test]
fn every_attempt_is_reported() {
    let closed = free_port();
    let first = format!("^nobody@=127.0.0.1:{closed},weight=200");
    let output = run(&[
        "ping",
        "nobody@127.0.0.1",
        "--cookie",
        "c",
        "--no-registrar",
        "--route",
        "nobody=127.0.0.1:1",
        "--route",
        &first,
    ]);
    assert!(!output.status.success());
    let errors = stderr(&output);
    assert!(errors.contains("no route to nobody@127.0.0.1"), "{errors}");
    assert!(
        errors.contains(&format!("1. route `^nobody@` weight 200: 127.0.0.1:{closed}: dial: ")),
        "{errors}"
    );
    assert!(errors.contains("2. route `nobody` weight 100: 127.0.0.1:1: dial: "), "{errors}");
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let node = Node::start("empty", &["--no-registrar"]);
    let route = format!("^empty-=127.0.0.1:{}", node.port);
    let output = run(&[
        "ping",
        &node.name,
        "--no-registrar",
        "--route",
        &route,
        "--cookie",
        "a cookie",
        "--process",
        "nobody",
        "--count",
        "1",
    ]);
    assert!(!output.status.success());
    assert!(stdout(&output).contains("has no process named nobody"), "{output:?}");
    assert!(stdout(&output).contains("0 of 1 calls answered"), "{output:?}");
}

#[test]
fn explain_shows_the_order_and_the_rule() {
    let explain = [
        "explain",
        "db@prod",
        "--no-registrar",
        "--route",
        "^db@=backup.example.com:4370",
        "--route",
        "prod$=[::1]:4371,weight=200,cookie=secret-word",
    ];
    let output = run(&explain);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines[0], "to db@prod:");
    assert!(
        lines[1].starts_with("  1. route `prod$` weight 200: dial [::1]:4371, the route's cookie"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("  2. route `^db@` weight 100: dial backup.example.com:4370"), "{lines:?}");
    assert!(!format!("{output:?}").contains("secret-word"));

    let output = run(&[&explain[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["node"], &json["probe"]), (&"db@prod".into(), &serde_json::Value::Null));
    let [first, second] = &json["plan"]["steps"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!(first["reason"], serde_json::json!({"kind": "route", "pattern": "prod$", "weight": 200}));
    assert_eq!((&first["kind"], &first["dial"]["cookie"]), (&"dial".into(), &"route".into()));
    assert_eq!((&first["dial"]["host"], &first["dial"]["port"]), (&"::1".into(), &4371.into()));
    assert_eq!((&second["reason"]["weight"], &second["dial"]["cookie"]), (&100.into(), &"node".into()));
    assert_eq!(lines[1], format!("  1. {}", first["text"].as_str().unwrap()));
    assert!(!json.to_string().contains("secret-word"));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    for (arguments, expected) in [
        (&["ping", "a@b"][..], "no cookie: give --cookie-file"),
        (&["ping", "a", "--cookie", "c", "--no-registrar"], "name@host"),
        (&["ping", "a@b", "--cookie", "c", "--count", "0"], "--count"),
        (&["ping", "a@b", "--cookie", "", "--no-registrar"], "the cookie is empty"),
        (&["ping", "a@b", "--cookie-file", "/nowhere/at/all"], "cannot read the cookie file"),
        (&["explain", "a@b", "--route", "a=b"], "PATTERN=HOST:PORT"),
        (&["explain", "a@b", "--no-registrar", "--route", "(=b:1"], "`(` is not a valid pattern"),
        (&["explain", "a@b", "--no-registrar", "--route", "a=b:1", "--route", "a=b:2"], "taken"),
        (&["node", "--name", "a", "--cookie", "c"], "name@host"),
        (&["node", "--name", "a@b"], "no cookie"),
    ] {
        let output = run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn what_went_wrong_is_said_once() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let node = ["node", "--name", "a@127.0.0.1", "--cookie", "c", "--no-registrar", "--listen"];
    for (arguments, cause) in [
        ([&node[..], &[&address]].concat(), "ddress already in use"),
        ([&node[..], &["127.0.0.1:0", "--route", "^x=127.0.0.1:0"]].concat(), "has port 0"),
    ] {
        let output = run(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(stderr(&output).matches(cause).count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn the_cookie_may_come_from_a_file_or_the_environment() {
    let node = Node::start("locked", &["--no-registrar"]);
    let route = format!("^locked-=127.0.0.1:{}", node.port);
    let ping = ["ping", &node.name, "--no-registrar", "--route", &route, "--count", "1"];
    let output = postroad(&ping).env("POSTROAD_COOKIE", "a cookie").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let file = std::env::temp_dir().join(format!("postroad-cookie-{}", std::process::id()));
    std::fs::write(&file, "a cookie\n").unwrap();
    let output =
        postroad(&ping).env("POSTROAD_COOKIE", "another").arg("--cookie-file").arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn calls_are_as_far_apart_as_it_is_said() {
    let node = Node::start("watched", &["--no-registrar"]);
    let route = format!("^watched-=127.0.0.1:{},cookie=a cookie", node.port);
    let began = std::time::Instant::now();
    let ping = ["ping", &node.name, "--no-registrar", "--route", &route, "--count", "2", "--interval", "1"];
    let output = run(&ping);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
}

#[cfg(unix)]
#[test]
fn each_line_of_the_log_is_an_object_if_that_is_wanted() {
    let mut node = Node::start("logs", &["--no-registrar", "--log", "debug", "--log-format", "json"]);
    let errors = node.errors();
    node.stop("-TERM");
    let lines: Vec<serde_json::Value> =
        errors.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let texts = [&line["timestamp"], &line["level"], &line["target"], &line["fields"]["message"]];
        assert!(texts.iter().all(|text| text.is_string()), "{line}");
    }
}
