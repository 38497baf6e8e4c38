//! What is read from configuration files, and what is said about wrong ones.

use super::*;

fn read(text: &str) -> (Config, Notes) {
    let source = Source { path: "node.toml".into(), text: text.to_owned() };
    let Loaded { config, notes, .. } = Config::read(source, Files::default(), &Said::default());
    (config, notes)
}

/// What is wrong, without the lines of the file.
fn complaints(text: &str) -> Vec<String> {
    let shown = read(text).1.to_string();
    shown.split("\n\n").filter(|note| !note.is_empty()).map(said).collect()
}

/// The first line of a note, and its help.
fn said(note: &str) -> String {
    let help = note.lines().find_map(|line| line.trim_start().strip_prefix("= "));
    let first = note.lines().next().unwrap();
    help.map_or(first.to_owned(), |help| format!("{first}; {help}"))
}

fn good(text: &str) -> Config {
    let (config, notes) = read(text);
    assert!(!notes.has_errors(), "{notes}");
    config
}

fn difference(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (good(old), good(new));
    Difference::between(&old, &new).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_example_is_read_and_says_every_key() {
    let folder = std::env::temp_dir().join(format!("postroad-example-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("tls")).unwrap();
    std::fs::write(folder.join("cookie"), "content").unwrap();
    for (name, chain, key) in [("node", "node.pem", "node.key"), ("partner", "partner.pem", "partner.key")] {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example.com")]).unwrap();
        std::fs::write(folder.join("tls").join(chain), made.cert.pem()).unwrap();
        std::fs::write(folder.join("tls").join(key), made.signing_key.serialize_pem()).unwrap();
    }
    for (chain, authority) in [("node.pem", "ca.pem"), ("partner.pem", "partner-ca.pem")] {
        std::fs::copy(folder.join("tls").join(chain), folder.join("tls").join(authority)).unwrap();
    }
    let source = Source { path: folder.join("node.toml"), text: EXAMPLE.to_owned() };
    let Loaded { config, notes, mut files } = Config::read(source, Files::default(), &Said::default());
    assert!(!files.changed());
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!notes.has_errors(), "{notes}");
    assert_eq!(config.node.name.as_deref(), Some("app@app1.example.com"));
    assert_eq!(config.node.max_message_size, Some(64 << 20));
    assert_eq!(config.node.cookie, Some("content".into()));
    assert_eq!((config.routes.len(), config.acceptors.len(), config.proxy_routes.len()), (4, 2, 1));
    assert_eq!(config.routes[0].pattern, r"^prod-db@example\.com$");
    assert_eq!(config.routes[3].atoms[1], ("process_manager".to_owned(), "proc_mgr".to_owned()));
    assert!(files.changed(), "all files that it named are gone");
    // Nothing in it has a default that the documents would not say.
    assert!(config.node.fixed_facts().to_string().starts_with(
        "name app@app1.example.com, pool_size 3, max_message_size 64MiB, dial_timeout 3s, \
         handshake_timeout 5s, connect_timeout 15s, retry_pause 500ms, keepalive 15s, on_failure fail, proxy_order before_discovery"
    ));
}

#[test]
fn every_key_is_in_the_documents() {
    let documents = include_str!("../../../../docs/configuration.md");
    for line in EXAMPLE.lines().filter(|line| !line.starts_with(['#', '['])) {
        if let Some((key, _)) = line.split_once(" = ") {
            assert!(documents.contains(&format!("`{key}`")), "{key} is not in docs/configuration.md");
        }
    }
}

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    let (_, notes) = read("[node]\nname = \"a@b\"\n\n[[route]]\nname = \"c@d\"\nport = 1\nwieght = 3\n");
    assert_eq!(
        notes.to_string(),
        "error: node.toml:7:1: unknown key `wieght` in [route]\n  \
           |\n\
         7 | wieght = 3\n  \
           | ^^^^^^\n  \
           = did you mean `weight`?"
    );
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_lines() {
    let text = r#"
        [nod]
        name = "x"
        [[route]]
        pattern = 'a(b'
        port = 0
        timeout = "3 fortnights"
        [[route]]
        pattern = "^c@d$"
        host = "h:80"
        port = 70000
        tls = { verify = "hostname" }
        on_failure = "discovr"
        [[route]]
        pattern = "^c@d$"
        weight = "heavy"
        [[route]]
        port = 3
    "#;
    let complaints = complaints(text);
    let expected = [
        "error: node.toml:2:10: unknown key `nod` in the file; did you mean `node`?",
        "error: node.toml:5:21: `a(b` is not a valid pattern: at character 2, ",
        "error: node.toml:6:16: `port` must be a whole number from 1 to 65535, not 0",
        "error: node.toml:7:19: `timeout` must be a time above zero, such as \"3s\", \"500ms\" or \"1m30s\", \
         not \"3 fortnights\"",
        "error: node.toml:10:16: \"h:80\" is not a host",
        "error: node.toml:11:16: `port` must be a whole number from 1 to 65535, not 70000",
        "error: node.toml:12:26: `verify` cannot be \"hostname\"; did you mean \"host_name\"?",
        "error: node.toml:13:22: `on_failure` cannot be \"discovr\"; did you mean \"discover\"?",
        "error: node.toml:14:9: the route leads nowhere: give it a `port`",
        "error: node.toml:15:19: resource is taken: line 9 has a route for `^c@d$` already; write a different pattern",
        "error: node.toml:16:18: `weight` must be a whole number",
        "error: node.toml:17:9: for which nodes? Give a `pattern`, or the `name` of one node",
    ];
    for (complaint, expected) in complaints.iter().zip(expected) {
        assert!(complaint.starts_with(expected), "{complaint}\n{expected}");
    }
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
}

#[test]
fn broken_syntax_does_not_hide_the_rest() {
    let complaints = complaints("[node]\nname = \n[[route]]\nport = 1\npatern = \"x\"\n");
    assert!(complaints[0].starts_with("error: node.toml:2:"), "{complaints:#?}");
    assert!(
        complaints.iter().any(|complaint| complaint.contains("did you mean `pattern`?")),
        "{complaints:#?}"
    );
}

#[test]
fn what_has_another_type_is_said_to_have() {
    for (text, expected) in [
        ("node = 3", "1:8: `node` must be a table, not 3"),
        ("[route]\nport = 1", "there may be several of `route`: write [[route]]"),
        ("[node]\nname = true", "2:8: `name` must be a text in quotation marks, not true"),
        ("[node]\nname = \"x\"", "2:8: \"x\" is not of the form name@host"),
        ("[node]\nmax_message_size = 1.5", "must be a size, such as \"64MiB\""),
        ("[node]\nmax_message_size = 3", "must be from 1KiB"),
        ("[node]\nkeepalive = \"500ms\"", "whole seconds from 1s to 255s"),
        ("[node]\nlog = \"===\"", "must be a filter"),
        ("[node]\nflags = [\"spawn\"]", "`flags` cannot be \"spawn\"; there are: remote_spawn"),
        ("[node]\ncookie = \"x\"", "a cookie in plain text; put it into a file of its own"),
        ("[node]\ncookie_file = \"/nowhere/at/all\"", "2:15: cannot read the cookie file /nowhere/at/all"),
        ("[node]\ncookie_env = \"POSTROAD_NOT_SET\"", "the environment variable POSTROAD_NOT_SET"),
        ("[node]\ncookie_env = \"A\"\ncookie_file = \"b\"", "more than one cookie"),
        ("[node]\ncookies_in_file = true\ncookie = \"\"", "the cookie is empty"),
        ("[tls]\nchain = \"/nowhere.pem\"", "`chain` without `key`"),
        ("[tls]\ntrust = \"/nowhere.pem\"", "2:9: `trust` cannot be used: cannot read /nowhere.pem"),
        ("[tls]\npins = [\"abc\"]", "is not the SHA-256 of a certificate; 64 hexadecimal digits"),
        ("[tls]\npins = []", "`pins` is empty"),
        ("[registrar]\nport = 1", "say of which `kind` it is"),
        ("[registrar]\nkind = \"etcd\"", "etcd needs `endpoints`"),
        (
            "[registrar]\nkind = \"etcd\"\nendpoints = [\"h\"]",
            "\"h\" is not an etcd endpoint: it has no port",
        ),
        ("[registrar]\nkind = \"etcd\"\nendpoints = [\"h:1\"]\nuser = \"u\"", "`user` without a password"),
        ("[registrar]\nkind = \"etcd\"\nendpoints = [\"h:1\"]\npassword = \"p\"", "a password in plain text"),
        ("[registrar]\nkind = \"etcd\"\nendpoints = [\"https://h:1\"]", "it says https"),
        (
            "[registrar]\nkind = \"etcd\"\nendpoints = [\"h:1\"]\nergo_release = \"3.3\"",
            "`ergo_release` cannot be \"3.3\"",
        ),
        ("[registrar]\nkind = \"etcd\"\nendpoints = [\"h:1\"]\ntls = {}", "TLS to etcd needs `ca`"),
        ("[registrar]\nkind = \"none\"\nport = 1", "unknown key `port` in [registrar]"),
        ("[resolver.registrar]\nkind = \"embedded\"", "`registrar` means the node's own"),
        (
            "[[route]]\nname = \"a@b\"\nresolver = \"east\"",
            "no resolver \"east\"; describe it in [resolver.east]",
        ),
        ("[[route]]\nname = \"a@b\"\npattern = \"a\"\nport = 1", "both `pattern` and `name`"),
        (
            "[[route]]\nname = \"a@b\"\nport = 1\nhandshake = \"EHS\"",
            "a name and a release, such as \"EHS R1\"",
        ),
        (
            "[[route]]\nname = \"a@b\"\nport = 1\natoms = { a = \"c\", b = \"c\" }",
            "\"c\" already stands for \"a\": there would be no way back",
        ),
        ("[[acceptor]]\nports = 3", "the acceptor has no `listen`"),
        ("[[acceptor]]\nlisten = \"here\"", "2:10: `listen`: \"here\" is not HOST:PORT"),
        ("[[proxy_route]]\nname = \"a@b\"", "has neither a `via`"),
        ("[[proxy_route]]\nname = \"a@b\"\nvia = \"c@d\"\nmax_hop = 0", "from 1 to 255, not 0"),
    ] {
        let complaints = complaints(text);
        assert!(complaints.iter().any(|complaint| complaint.contains(expected)), "{text}: {complaints:#?}");
    }
}

#[test]
fn a_certificate_that_has_expired_is_a_warning() {
    let folder = std::env::temp_dir().join(format!("postroad-expired-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut params = rcgen::CertificateParams::new(["db.example.com".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.join("old.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("old.key"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("other.key"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let read = |text: &str| {
        let source = Source { path: folder.join("node.toml"), text: text.to_owned() };
        Config::read(source, Files::default(), &Said::default()).notes.to_string()
    };
    let expired = read("[tls]\nchain = \"old.pem\"\nkey = \"old.key\"\n");
    let mismatch = read("[tls]\nchain = \"old.pem\"\nkey = \"other.key\"\n");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(expired.contains("node.toml:2:9: this certificate has expired: "), "{expired}");
    assert!(expired.contains("valid until 2020-01-01"), "{expired}");
    assert!(
        mismatch.contains("node.toml:2:9: `chain` and `key` cannot be used: the private key is not"),
        "{mismatch}"
    );
}

#[test]
fn a_surprising_pattern_is_a_warning() {
    let (config, notes) = read("[[route]]\npattern = \"prod-*\"\nport = 1\n");
    assert_eq!((notes.count(Severity::Error), notes.count(Severity::Warning)), (0, 1));
    assert!(
        notes.to_string().contains("warning: node.toml:2:11: `prod-*` is a regular expression"),
        "{notes}"
    );
    assert_eq!(config.routes.len(), 1);
}

#[test]
fn a_file_of_nothing_is_a_node_with_defaults() {
    assert_eq!(good(""), Config::default());
}

#[test]
fn the_difference_is_one_line_for_each_change() {
    let old = r#"
        [node]
        name = "a@b"
        cookies_in_file = true
        cookie = "one"
        [[acceptor]]
        listen = "127.0.0.1:1"
        [[route]]
        pattern = '^gone@'
        port = 1
        [[route]]
        pattern = '^kept@'
        port = 2
        [[route]]
        pattern = '^moved@'
        port = 3
        cookie = "x"
    "#;
    let new = r#"
        [node]
        name = "b@b"
        cookies_in_file = true
        cookie = "two"
        log = "debug"
        [[acceptor]]
        listen = "127.0.0.1:2"
        [registrar]
        kind = "none"
        [[route]]
        pattern = '^kept@'
        port = 2
        [[route]]
        pattern = '^moved@'
        weight = 200
        host = "h"
        port = 3
        cookie = "y"
        [[route]]
        pattern = '^new@'
        port = 4
        tls = true
    "#;
    assert_eq!(
        difference(old, new),
        [
            "~ node: name a@b → b@b (NEEDS A RESTART)",
            "~ registrar: kind embedded → none (NEEDS A RESTART)",
            "- acceptor 127.0.0.1:1 (NEEDS A RESTART)",
            "+ acceptor 127.0.0.1:2 (NEEDS A RESTART)",
            "~ node: another cookie",
            "~ node: log default → debug",
            "- route `^gone@`: weight 100, port 1",
            "~ route `^moved@`: weight 100 → 200, another cookie, host default → h",
            "+ route `^new@`: weight 100, port 4, tls on",
        ]
    );
    assert!(difference(old, old).is_empty());
}

/// What cannot be used changes nothing: neither now nor when it is mended.
#[tokio::test]
async fn a_change_is_made_as_a_whole() {
    let old = good("[[route]]\npattern = '^old$'\nport = 1");
    let mended = good("[[route]]\npattern = '^new$'\nport = 2");
    let roads = Roads::of(&old).unwrap();
    let node = roads.guest(&old, "whole@localhost", Vec::new()).unwrap().start().await.unwrap();
    let network = node.network();
    let patterns = || network.routes().iter().map(|route| route.pattern().to_owned()).collect::<Vec<_>>();
    let through_itself = good(
        "[[route]]\npattern = '^new$'\nport = 2\n[[proxy_route]]\npattern = '^far$'\nvia = 'whole@localhost'",
    );
    let error = roads.change(&Difference::between(&old, &through_itself), &network).unwrap_err();
    assert!(format!("{error:#}").contains("is this node itself"), "{error:#}");
    assert_eq!(patterns(), ["^old$"]);
    roads.change(&Difference::between(&old, &mended), &network).unwrap();
    assert_eq!(patterns(), ["^new$"]);
    node.stop().await;
}

/// After any change the routes are tried as if the node had been started with
/// the new file.
#[tokio::test]
async fn routes_of_equal_weight_are_tried_in_the_order_of_the_file() {
    let file = |routes: &[(&str, i64)]| {
        let route = |(name, weight): &(&str, i64)| {
            format!(
                "[[route]]\npattern = '{name}'\nport = 1\nweight = {weight}\n[[proxy_route]]\npattern = '{name}'\nvia = 'gate@dmz'\nweight = {weight}\n"
            )
        };
        good(&routes.iter().map(route).collect::<String>())
    };
    let mut running = file(&[("a", 1), ("b", 1), ("c", 1), ("d", 2)]);
    let roads = Roads::of(&running).unwrap();
    let node = roads.guest(&running, "order@localhost", Vec::new()).unwrap().start().await.unwrap();
    let network = node.network();
    let abcde = "abcde@x";
    let reordered =
        ["~ routes: equal weights in another order", "~ proxy routes: equal weights in another order"];
    for (routes, orders) in [
        (&[("b", 1), ("a", 1), ("c", 1), ("d", 2)][..], true),
        (&[("e", 1), ("b", 1), ("a", 1), ("c", 1), ("d", 2)], false),
        (&[("e", 2), ("b", 1), ("d", 1), ("a", 1), ("c", 2)], false),
        (&[("d", 1), ("b", 1), ("c", 2), ("e", 2)], true),
        (&[("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 1)], false),
        (&[("c", 1), ("d", 2), ("e", 1), ("a", 1)], true),
    ] {
        let new = file(routes);
        let difference = Difference::between(&running, &new);
        let lines = difference.to_string();
        assert_eq!(
            lines.lines().filter(|line| reordered.contains(line)).count(),
            2 * usize::from(orders),
            "{lines}"
        );
        assert_eq!(lines.lines().count(), difference.live(), "{lines}");
        roads.change(&difference, &network).unwrap();
        let mut expected = routes.to_vec();
        expected.sort_by_key(|(_, weight)| -weight);
        let expected: Vec<_> = expected.into_iter().map(|(name, _)| name.to_owned()).collect();
        let found =
            network.route(abcde).unwrap().iter().map(|entry| entry.pattern().to_owned()).collect::<Vec<_>>();
        let through = network
            .proxy_route(abcde)
            .unwrap()
            .iter()
            .map(|entry| entry.pattern().to_owned())
            .collect::<Vec<_>>();
        assert_eq!((&found, &through), (&expected, &expected), "{lines}");
        running = new;
    }
    node.stop().await;
}

#[test]
fn who_may_pass_is_read() {
    let transit = "[transit]\nmax_hop = 3\nbytes_per_second = \"10MB\"\nidle = false\n\
                   [[transit.rule]]\nfrom = 'app-.*@edge'\nto = 'db@private'\noperations = [\"link\"]\n\
                   [[transit.rule]]\nfrom = '.*'\nto = 'api@private'\nthrough = 'gate@partner'\n";
    let options = good(transit).transit.unwrap().make().unwrap();
    assert_eq!((options.max_hop, options.bytes_per_second, options.idle), (3, Some(10_000_000), None));
    let rules: Vec<String> = options.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "from `app-.*@edge` to `db@private`, for messages, link",
            "from `.*` also through `gate@partner` to `api@private`, \
             for messages, link, monitor, important_delivery, encryption",
        ]
    );
    let usual = good("[transit]").transit.unwrap().make().unwrap();
    let defaults = postroad::network::TransitOptions::new();
    assert_eq!(format!("{usual:?}"), format!("{defaults:?}"));
    assert_eq!(good("").transit, None);
}

#[test]
fn what_is_wrong_with_rules_is_said() {
    let complaints = complaints(
        "[transit]\nmax_hop = 0\nbytes_per_second = 0\nidle = \"soon\"\nmax_tunels = 3\n\
         [[transit.rule]]\nform = '.*'\nto = 'a(b'\noperations = [\"spwan\"]\n\
         [[acceptor]]\nlisten = \"0.0.0.0:1\"\nhandshake = \"EHS R9\"\nprotocol = \"ENP R2\"\noperators = true\n",
    );
    let expected = [
        "error: node.toml:2:11: `max_hop` must be a whole number from 1 to 255, not 0",
        "error: node.toml:3:20: `bytes_per_second` must be above 0; leave it out for no limit",
        "error: node.toml:4:8: `idle` must be a time above zero",
        "error: node.toml:5:1: unknown key `max_tunels` in [transit]; did you mean `max_tunnels`?",
        "error: node.toml:6:1: the rule has no `from`: a pattern that says which clients may pass",
        "error: node.toml:7:1: unknown key `form` in [transit.rule]; did you mean `from`?",
        "error: node.toml:8:8: `a(b` is not a valid pattern",
        "error: node.toml:9:15: `operations` cannot be \"spwan\"; did you mean \"spawn\"?",
        "warning: node.toml:10:1: operators come in here with the node's own cookie",
        "error: node.toml:12:13: no handshake handler for EHS:R9; this program speaks EHS:R1: \"EHS R1\"",
        "error: node.toml:13:12: no proto handler for ENP:R2; this program speaks ENP:R1: \"ENP R1\"",
    ];
    for (complaint, expected) in complaints.iter().zip(expected) {
        assert!(complaint.starts_with(expected), "{complaint}\n{expected}");
    }
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
}

#[test]
fn a_flag_that_does_nothing_is_warned_about() {
    let flags = complaints("[node]\nflags = [\"ack\", \"tracing\", \"remote_spawn\", \"clock_skew\"]\n");
    assert_eq!(
        flags,
        [
            "warning: node.toml:2:17: \"tracing\" has no effect: this version does not do it",
            "warning: node.toml:2:44: \"clock_skew\" has no effect: this version does not do it"
        ]
    );
}

#[test]
fn times_of_the_node_and_of_etcd_are_read() {
    let config = good(
        "[node]\nretry_pause = false\n[registrar]\nkind = \"etcd\"\nendpoints = [\"127.0.0.1:2379\"]\n\
         lease = \"30s\"\ndial_timeout = \"1s\"\nrequest_timeout = \"4s\"\n",
    );
    let node = config.node.builder("times@localhost");
    assert!(format!("{node:?}").contains("retry_pause: 0ns"), "{node:?}");
    let Registrar::Etcd(etcd) = &config.registrar else { panic!("{:?}", config.registrar) };
    assert_eq!(
        etcd.facts().to_string(),
        "kind etcd, endpoints 127.0.0.1:2379, lease 30s, dial_timeout 1s, request_timeout 4s"
    );
    let made = format!("{:?}", etcd.options().unwrap());
    for said in ["lease_ttl: 30s", "dial_timeout: 1s", "request_timeout: 4s"] {
        assert!(made.contains(said), "{made}");
    }
    let complaints = complaints("[registrar]\nkind = \"etcd\"\nendpoints = \"a:1\"\nlease = \"1500ms\"\n");
    assert!(complaints[0].starts_with("error: node.toml:3:"), "{complaints:#?}");
}

/// Each of these would keep a node from starting.
#[test]
fn what_no_node_can_start_with_is_said() {
    let complaints = complaints(
        "[node]\nname = \"own@x\"\n[registrar]\nkind = \"none\"\n\
         [[proxy_route]]\npattern = '^a'\nvia = \"own@x\"\n\
         [[acceptor]]\nlisten = \"0.0.0.0:1\"\nports = 2\nadvertise = \"h:0\"\n\
         [[acceptor]]\nlisten = \"0.0.0.0:1\"\nports = 2\n\
         [[acceptor]]\nlisten = \"0.0.0.0:2\"\n\
         [[acceptor]]\nlisten = \"127.0.0.1:0\"\n[[acceptor]]\nlisten = \"127.0.0.1:0\"\n\
         [[route]]\npattern = '^b'\nport = 1\nhandshake = \"EHS R9\"\nprotocol = \"ENP R2\"\n\
         [[route]]\npattern = '^c'\nresolver = \"registrar\"\n",
    );
    let expected = [
        "error: node.toml:7:7: own@x is this node itself; a proxy is another node",
        "error: node.toml:11:13: nobody can dial h:0: it has no port; say the port by which others reach",
        "error: node.toml:16:10: the acceptor of line 13 listens on 0.0.0.0:2 already; give each acceptor a port",
        "error: node.toml:24:13: no handshake handler for EHS:R9; this program speaks EHS:R1: \"EHS R1\"",
        "error: node.toml:25:12: no proto handler for ENP:R2; this program speaks ENP:R1: \"ENP R1\"",
        "error: node.toml:28:12: the node has no registrar to ask; give it one in [registrar], or the route a",
    ];
    for (complaint, expected) in complaints.iter().zip(expected) {
        assert!(complaint.starts_with(expected), "{complaint}\n{expected}");
    }
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
}

#[test]
fn what_changes_of_rules_is_shown() {
    let rule = |from: &str, rest: &str| format!("[[transit.rule]]\nfrom = '{from}'\nto = 'x@y'\n{rest}");
    let (a, b, c) = (rule("a", ""), rule("b", "operations = []\n"), rule("c", "through = 'g@h'\n"));
    let with = |rules: &[&String]| rules.iter().fold("[transit]\n".to_owned(), |all, rule| all + rule);
    let old = with(&[&a, &b]);
    assert_eq!(
        difference("", &old),
        [
            "+ transit: others may pass by rules",
            "+ transit rule: `a` to `x@y`",
            "+ transit rule: `b` to `x@y`, operations none"
        ]
    );
    assert_eq!(difference(&old, "")[0], "- transit: nobody may pass any more");
    assert_eq!(
        difference(&old, &(with(&[&a, &c]).replace("[transit]\n", "[transit]\nidle = \"9s\"\n"))),
        [
            "~ transit: idle default → 9s",
            "- transit rule: `b` to `x@y`, operations none",
            "+ transit rule: `c` also through `g@h` to `x@y`"
        ]
    );
    assert_eq!(difference(&old, &with(&[&b, &a])), ["~ transit: rules in another order"]);
    assert!(difference(&old, &old).is_empty());
    let kept = |names: &str| format!("[node]\nkeep_connected = {names}\n");
    assert_eq!(difference(&kept("[]"), &kept("['g@h']")), ["~ node: keep_connected default → g@h"]);
}

#[test]
fn a_name_that_no_route_leads_to_is_warned_about() {
    let wanted = "[node]\nkeep_connected = [\"gate@here\", \"gate@thre\"]\n\
                  [[route]]\npattern = '^gate@here$'\nport = 1\n\
                  [[proxy_route]]\nname = \"a@b\"\nvia = \"gate@here\"\n\
                  [[proxy_route]]\nname = \"c@d\"\nvia = \"gtae@here\"\n";
    assert_eq!(alone(wanted), [without_a_route("2:32", "gate@thre"), without_a_route("11:7", "gtae@here")]);
    assert_eq!(complaints(wanted), [""; 0]);
}

#[test]
fn a_proxy_route_through_a_gateway_does_not_lead_to_it() {
    let through =
        |pattern: &str, via: &str| format!("[[proxy_route]]\npattern = '{pattern}'\nvia = \"{via}\"\n");
    let lost = [without_a_route("3:7", "gtae@here")];
    let all = through(".*", "gtae@here");
    assert_eq!(alone(&all), lost);
    assert_eq!(alone(&through("^gtae@here$", "gtae@here")), lost);
    // Once, however many lead through it.
    assert_eq!(alone(&(all.clone() + &through("a@b", "gtae@here"))), lost);
    let known = "[[route]]\npattern = '^gate@here$'\nport = 1\n";
    assert_eq!(alone(&(all.clone() + &through("here", "gate@here") + known)), [""; 0]);
    // Direct routes have patterns of their own.
    assert_eq!(alone(&(all + "[[route]]\npattern = '.*'\nport = 1\n")), [""; 0]);
}

/// What is wrong where there is no registrar.
fn alone(text: &str) -> Vec<String> {
    let complaints = complaints(&format!("{text}[registrar]\nkind = \"none\"\n"));
    complaints.into_iter().filter(|said| said.contains("no route leads to")).collect()
}

fn without_a_route(place: &str, name: &str) -> String {
    format!(
        "warning: node.toml:{place}: no route leads to {name}, and there is no registrar to ask: unless it \
         connects by itself, it is out of reach"
    )
}

/// What the command line says counts, also where the file says otherwise.
#[test]
fn a_file_is_checked_with_what_is_said_besides() {
    let check = |text: &str, said: Said<'_>| {
        let source = Source { path: "node.toml".into(), text: text.to_owned() };
        Config::read(source, Files::default(), &said).notes.has_errors()
    };
    let asks = "[[route]]\npattern = '^a@b$'\nresolver = \"registrar\"\n[registrar]\nkind = ";
    let (none, embedded) = (format!("{asks}\"none\""), format!("{asks}\"embedded\""));
    let registrar = |registrar| Said { registrar: Some(registrar), ..Said::default() };
    assert!(check(&none, Said::default()) && !check(&none, registrar(true)));
    assert!(!check(&embedded, Said::default()) && check(&embedded, registrar(false)));
    let proxy = "[node]\nname = \"a@b\"\n[[proxy_route]]\nname = \"c@d\"\nvia = \"a@b\"\n";
    let other = proxy.replace("via = \"a@b\"", "via = \"e@f\"");
    let named = |name| Said { name: Some(name), ..Said::default() };
    assert!(check(proxy, Said::default()) && !check(proxy, named("e@f")));
    assert!(!check(&other, Said::default()) && check(&other, named("e@f")));
}
