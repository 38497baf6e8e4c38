//! The routing table against a table that tries every expression, and against
//! the sentences of the seed (`seed/static-routes.md`) that are about it.

use postroad::network::routes::{
    AddRouteError, Pattern, PatternFault, PatternWarning, RemoveRouteError, ReplaceRouteError, RouteChanges,
    RoutingTable, check_pattern, exact,
};
use proptest::prelude::*;
use regex::Regex;

/// The patterns of the routes for `name`, in order.
fn found(table: &RoutingTable<u32>, name: &str) -> Vec<String> {
    table.lookup(name).iter().map(|entry| entry.pattern().to_owned()).collect()
}

fn table(routes: &[(&str, i64)]) -> RoutingTable<u32> {
    let table = RoutingTable::new();
    for (route, (pattern, weight)) in (0..).zip(routes) {
        table.add(pattern, route, *weight).expect("a valid pattern");
    }
    table
}

/// > Any routes whose patterns match become candidates. If multiple routes
/// > match, they're sorted by weight (higher weights first)
#[test]
fn seed_matching_routes_by_weight() {
    let table = table(&[("prod-.*", 100), ("prod-db@.*", 200), ("staging-.*", 300), (".*@example.com", -1)]);
    assert_eq!(found(&table, "prod-db@example.com"), ["prod-db@.*", "prod-.*", ".*@example.com"]);
}

/// > Exact names like `"prod-db@example.com"` match only that node. Patterns
/// > like `"prod-.*"` match multiple nodes - `prod-db@example.com`,
/// > `prod-api@example.com`, `prod-cache@example.com`.
#[test]
fn seed_a_pattern_matches_several_nodes() {
    let table = table(&[("prod-.*", 100), ("prod-db@example.com", 50)]);
    assert_eq!(found(&table, "prod-db@example.com"), ["prod-.*", "prod-db@example.com"]);
    assert_eq!(found(&table, "prod-api@example.com"), ["prod-.*"]);
    assert_eq!(found(&table, "prod-cache@example.com"), ["prod-.*"]);
    assert!(found(&table, "other@example.com").is_empty());
}

/// > Use anchors (`^` and `$`) for precise matching: `"^prod-db@example.com$"`
/// > matches exactly that name and nothing else.
#[test]
fn seed_anchors_match_exactly() {
    let table = table(&[("^prod-db@example.com$", 100)]);
    assert_eq!(table.lookup("prod-db@example.com").len(), 1);
    for other in
        ["prod-db@example.com.org", "my-prod-db@example.com", "prod-db@example", "prod-db2@example.com"]
    {
        assert!(found(&table, other).is_empty(), "{other}");
    }
}

/// > If you have two routes for `"prod-.*"` - one with weight 100 (the default
/// > datacenter) and one with weight 200 (a faster backup datacenter) - the
/// > framework tries weight 200 first.
#[test]
fn seed_the_higher_weight_is_first() {
    let table = table(&[("prod-.*", 100), ("^prod-.*", 200)]);
    assert_eq!(found(&table, "prod-x@y"), ["^prod-.*", "prod-.*"]);
}

/// > When the framework looks up `prod-db2@example.com`, it finds all matching
/// > routes: the prefix match (`prod-.*`), the suffix match (`.*@example.com`),
/// > and the complex pattern (`^prod-db[0-9]+@example.com$`).
#[test]
fn seed_pattern_matching_examples() {
    let table = table(&[
        ("database@prod", 100),
        ("prod-.*", 100),
        (".*@example.com", 100),
        ("^prod-db[0-9]+@example.com$", 100),
    ]);
    assert_eq!(
        found(&table, "prod-db2@example.com"),
        ["prod-.*", ".*@example.com", "^prod-db[0-9]+@example.com$"]
    );
    assert_eq!(found(&table, "database@prod"), ["database@prod"]);
    assert_eq!(found(&table, "prod-db@example.com"), ["prod-.*", ".*@example.com"]);
}

/// > You can't add the same pattern twice. `AddRoute` returns `gen.ErrTaken` if
/// > the pattern already exists - the pattern is the routing table key.
#[test]
fn seed_the_pattern_is_the_key() {
    let table = table(&[("prod-.*", 100)]);
    let taken = table.add("prod-.*", 7, 200).unwrap_err();
    assert_eq!(taken, AddRouteError::Taken { pattern: "prod-.*".into() });
    assert!(taken.to_string().starts_with("resource is taken"), "{taken}");
    assert_eq!(*table.lookup("prod-x")[0].route(), 0);
}

/// > Both patterns match `prod-db@example.com`, but they're different strings,
/// > so both can be added to the routing table.
#[test]
fn seed_different_patterns_for_one_node() {
    let table = table(&[("^prod-db@example.com$", 200), ("prod-db@example.com", 100)]);
    assert_eq!(found(&table, "prod-db@example.com"), ["^prod-db@example.com$", "prod-db@example.com"]);
}

/// > The sample patterns of "Multiple Routes and Failover": both patterns match.
/// > The framework sorts them by weight and tries weight-200 first.
#[test]
fn seed_primary_and_backup() {
    let table = table(&[("prod-db@example.com", 100), ("^prod-db@.*", 200)]);
    assert_eq!(found(&table, "prod-db@example.com"), ["^prod-db@.*", "prod-db@example.com"]);
}

/// > You get back all routes whose patterns match the node name, sorted by
/// > weight. The highest-weight route is first
#[test]
fn seed_querying_routes() {
    let table = table(&[("a", 1), ("b", 3), ("^a", 2)]);
    let routes = table.lookup("ab@host");
    assert_eq!(
        routes.iter().map(|entry| (*entry.route(), entry.weight())).collect::<Vec<_>>(),
        [(1, 3), (2, 2), (0, 1)]
    );
    assert!(table.lookup("x@host").is_empty());
}

/// > It's not a regex match - it's a literal string key lookup in the routing
/// > table. If you added `"prod-.*"`, you must remove `"prod-.*"` exactly.
#[test]
fn seed_removal_is_by_literal_key() {
    let table = table(&[("prod-.*", 100), ("prod-db", 100)]);
    for absent in ["prod-x", "prod-", "^prod-.*", "prod-.*$", "prod-(", ""] {
        assert_eq!(table.remove(absent).unwrap_err(), RemoveRouteError::Unknown { pattern: absent.into() });
    }
    assert_eq!(table.remove("prod-.*").unwrap().pattern(), "prod-.*");
    assert_eq!(found(&table, "prod-db"), ["prod-db"]);
    assert!(table.remove("prod-.*").unwrap_err().to_string().starts_with("unknown"));
    table.add("prod-.*", 9, 100).unwrap();
    assert_eq!(found(&table, "prod-db"), ["prod-db", "prod-.*"]);
}

/// Proxy routes "have the same pattern matching and weight semantics as direct
/// routes": any type of route can be in a table.
#[test]
fn seed_one_table_for_every_kind_of_route() {
    let table = RoutingTable::new();
    table.add("backend-.*@internal.local", "gateway@dmz.example.com", 100).unwrap();
    table.add("backend-db@internal.local", "second@dmz.example.com", 200).unwrap();
    let routes = table.lookup("backend-db@internal.local");
    assert_eq!(routes[0].to_string(), "`backend-db@internal.local` weight 200: second@dmz.example.com");
    assert_eq!(*routes[1].route(), "gateway@dmz.example.com");
}

#[test]
fn equal_weights_stay_in_the_order_of_adding() {
    let patterns: Vec<String> = (0..50).map(|n| format!("node.{{{n},}}")).collect();
    let table = RoutingTable::new();
    for pattern in &patterns {
        table.add(pattern, 0, 7).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(found(&table, &"node".repeat(30)), patterns);
    }
    table.remove("node.{0,}").unwrap();
    table.add("node.{0,}", 0, 7).unwrap();
    assert_eq!(found(&table, &"node".repeat(30)).last().unwrap(), "node.{0,}");
}

#[test]
fn an_empty_pattern_matches_every_node_and_says_so() {
    let table = RoutingTable::new();
    let warnings = table.add("", 0, 0).unwrap();
    assert_eq!(warnings, [PatternWarning::MatchesEverything { pattern: "".into() }]);
    assert_eq!(table.lookup("any@node").len(), 1);
    assert_eq!(table.lookup("").len(), 1);
}

#[test]
fn bad_patterns_say_where_and_why() {
    let fault = |pattern: &str| match RoutingTable::new().add(pattern, 0, 0).unwrap_err() {
        AddRouteError::InvalidPattern { position, fault, .. } => (position, fault),
        other => panic!("{other}"),
    };
    assert_eq!(fault("prod-(db"), (6, PatternFault::UnclosedGroup));
    assert_eq!(fault("prod)"), (5, PatternFault::UnopenedGroup));
    assert_eq!(fault("é[a-"), (2, PatternFault::UnclosedClass));
    assert_eq!(fault("[^]"), (1, PatternFault::UnclosedClass));
    assert_eq!(fault("x[b-a]"), (3, PatternFault::BackwardRange));
    assert_eq!(fault("*.example.com"), (1, PatternFault::NothingToRepeat));
    assert_eq!(fault("a|+"), (3, PatternFault::NothingToRepeat));
    assert_eq!(fault("({2})"), (2, PatternFault::NothingToRepeat));
    assert_eq!(fault("prod-**"), (7, PatternFault::RepeatedTwice));
    assert_eq!(fault("a{1001}"), (2, PatternFault::RepetitionCount));
    assert_eq!(fault("a{3,2}"), (2, PatternFault::RepetitionCount));
    assert_eq!(fault("a{99999999999}"), (2, PatternFault::RepetitionCount));
    assert_eq!(fault("db\\"), (3, PatternFault::TrailingBackslash));
    assert_eq!(fault("\\y"), (1, PatternFault::UnknownEscape));
    assert_eq!(fault("[\\b]"), (2, PatternFault::UnknownEscape));
    assert_eq!(fault("\\x{110000}"), (1, PatternFault::UnknownEscape));
    assert_eq!(fault("(a)\\1"), (4, PatternFault::BackReference));
    assert_eq!(fault("a(?=b)"), (2, PatternFault::LookAround));
    assert_eq!(fault("(?<!b)a"), (1, PatternFault::LookAround));
    assert_eq!(fault("(?x)a"), (1, PatternFault::UnknownGroup));
    assert_eq!(fault("(?P<a-b>c)"), (1, PatternFault::UnknownGroup));
    assert_eq!(fault("(?P<a>x)(?<a>y)"), (9, PatternFault::GroupNameTaken));
    assert_eq!(fault("a\\C"), (2, PatternFault::UnknownEscape));
    assert_eq!(fault("(?i-)"), (1, PatternFault::UnknownGroup));
    assert_eq!(fault("\\p{Klingon}"), (1, PatternFault::UnknownClass));
    assert_eq!(fault("[[:letter:]]"), (2, PatternFault::UnknownClass));
    assert_eq!(fault(&"(".repeat(200)), (101, PatternFault::TooDeep));
    let message = RoutingTable::new().add("*-db@prod", 0, 0).unwrap_err().to_string();
    assert_eq!(
        message,
        "`*-db@prod` is not a valid pattern: at character 1, there is nothing before it to repeat; \
         for any text write `.*`"
    );
}

#[test]
fn oversized_patterns_are_refused() {
    let table = RoutingTable::new();
    assert!(table.add(&"a".repeat(1024), 0, 0).is_ok());
    assert_eq!(table.add(&"a".repeat(1025), 0, 0), Err(AddRouteError::TooLong { len: 1025 }));
    let pattern = "(((ab|c){1000}){1000}){1000}";
    assert_eq!(table.add(pattern, 0, 0), Err(AddRouteError::TooLarge { pattern: pattern.into() }));
    assert_eq!(table.list().len(), 1);
}

/// > it checks all static routes against that name using Go's
/// > `regexp.MatchString`.
///
/// Rust's `regex` reads these differently.
#[test]
fn seed_patterns_are_read_as_go_reads_them() {
    for (pattern, yes, no) in [
        (r"^\d$", "1", "٣"),
        (r"^\w$", "a", "é"),
        (r"^\W$", "é", "a"),
        (r"^\s$", " ", "\u{b}"),
        (r"^[[:space:]]$", "\u{b}", "a"),
        (r"x\b", "xé", "xa"),
        (r"^\Qa.b*\E+$", "a.b***", "a.b*a.b*"),
        (r"^\Qa.b", "a.bc", "axbc"),
        (r"^[a&&b]$", "&", "c"),
        (r"^[[ab]$", "[", "c"),
        (r"^[+--c]$", ",", "b"),
        (r"^[\d-x]$", "-", "y"),
        (r"^[]a]$", "]", "b"),
        (r"^\<$", "<", "a"),
        (r"^a{,2}$", "a{,2}", "aa"),
        (r"^a{x$", "a{x", "a"),
        (r"^a{02}$", "a{02}", "aa"),
        (r"^\101\x42\x{43}$", "ABC", "abc"),
        (r"^(?i)é$", "É", "e"),
        (r"(?i)^PROD-\d$", "prod-1", "prod-x"),
        (r"^(?i:a)b$", "Ab", "AB"),
        (r"^a(?i)b|c$", "aB", "d"),
        (r"(?i)^\W$", "-", "k"),
        (r"^\pL\p{Greek}\P{Greek}\p{^Greek}$", "éαaa", "éaaa"),
        (r"^(?s).$", "\n", ""),
        (r"^.$", "a", "\n"),
        (r"(?m)^b$", "a\nb", "ab"),
        (r"^[^a]$", "\n", "a"),
        (r"^(?P<host>a)(?<port>b)$", "ab", "a"),
        (r"^a*?b+?$", "b", "a"),
        (r"\Ab\z", "b", "ab"),
    ] {
        let table = table(&[(pattern, 0)]);
        assert_eq!(table.lookup(yes).len(), 1, "{pattern} does not match {yes:?}");
        assert_eq!(table.lookup(no).len(), 0, "{pattern} matches {no:?}");
    }
}

#[test]
fn surprising_patterns_come_with_a_warning() {
    let warnings = |pattern: &str| -> Vec<String> {
        RoutingTable::new().add(pattern, 0, 0).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        warnings("prod-*"),
        ["`prod-*` is a regular expression, where `-*` is any number of `-`; for any text write `prod-.*`"]
    );
    assert_eq!(
        warnings("^node-?@host$"),
        [
            "`^node-?@host$` is a regular expression, where `-?` is any number of `-`; for any text write `^node-.@host$`"
        ]
    );
    assert_eq!(
        warnings("db@prod"),
        [r"`db@prod` also matches `zdb@prodz`; to leave that out write `^db@prod$`"]
    );
    assert_eq!(
        warnings("^db@prod.org$"),
        [r"`^db@prod.org$` also matches `db@prodzorg`; to leave that out write `^db@prod\.org$`"]
    );
    for many_on_purpose in ["^db@", r"@10\.0\.0\.1$"] {
        assert!(warnings(many_on_purpose).is_empty());
    }
    assert_eq!(warnings("prod-.*"), ["`prod-.*` also matches `zprod-`; to leave that out write `^prod-.*`"]);
    assert_eq!(warnings(".*@prod"), ["`.*@prod` also matches `@prodz`; to leave that out write `.*@prod$`"]);
    assert_eq!(warnings("a$b"), ["`a$b` matches no name at all"]);
    assert_eq!(warnings(".*"), ["`.*` matches every node"]);
    for fine in [r"^db@prod\.org$", "^prod-.*", r".*@prod\.org$", "prod", "^db[0-9]+@prod$", ".*-eu-.*"] {
        assert!(warnings(fine).is_empty(), "{fine}: {:?}", warnings(fine));
    }
}

#[test]
fn a_pattern_can_be_checked_without_a_table() {
    assert_eq!(check_pattern("^db@prod$"), Ok(vec![]));
    assert_eq!(check_pattern("prod-*").unwrap().len(), 1);
    assert_eq!(check_pattern("("), RoutingTable::new().add("(", 0, 0));
}

#[test]
fn what_is_not_there_is_not_replaced() {
    let table = table(&[("a", 1), ("b", 1)]);
    for unknown in ["c", "(", "^a"] {
        let error = table.replace(unknown, 9, 9).unwrap_err();
        assert_eq!(error, ReplaceRouteError::Unknown { pattern: unknown.into() });
    }
    table.replace("a", 7, 1).unwrap();
    assert_eq!(found(&table, "ab"), ["a", "b"], "it keeps its place");
    assert_eq!(*table.lookup("ab")[0].route(), 7);
}

#[test]
fn the_list_has_every_route_once_in_the_order_of_adding() {
    let patterns = ["b|a|c", "", "a$b", "^a$", r"\bx\b", "z"];
    let table = table(&patterns.map(|pattern| (pattern, 5)));
    table.remove("z").unwrap();
    let list = table.list();
    assert_eq!(list.iter().map(|entry| entry.pattern()).collect::<Vec<_>>(), &patterns[..5]);
}

#[test]
fn several_routes_are_added_in_one_step_or_not_at_all() {
    let table = table(&[("^old@", 1)]);
    assert!(found(&table, "new@host").is_empty());
    let bad = [("^new@", 7, 1), ("new@(", 8, 1), ("^old@", 9, 1)];
    let error = table.add_all(bad).expect_err("the second is no pattern");
    assert_eq!((error.index, &*error.pattern), (1, "new@("));
    assert!(matches!(*error.source, AddRouteError::InvalidPattern { .. }));
    for twice in [[("^new@", 7, 1), ("^old@", 8, 1)], [("^new@", 7, 1), ("^new@", 8, 1)]] {
        let error = table.add_all(twice).expect_err("the second is there already");
        assert_eq!(error.index, 1);
        assert_eq!(*error.source, AddRouteError::Taken { pattern: twice[1].0.into() });
        assert!(error.to_string().contains(&format!("entry 2 (`{}`)", twice[1].0)), "{error}");
    }
    assert!(found(&table, "new@host").is_empty(), "nor was the first one added");
    assert_eq!(table.list().len(), 1);

    let warnings = table.add_all([("^new@", 7, 1), ("new@host", 8, 2)]).expect("good ones");
    assert!(warnings.iter().all(|(index, _)| *index == 1) && !warnings.is_empty());
    assert_eq!(found(&table, "new@host"), ["new@host", "^new@"]);
    assert_eq!(
        table.list().iter().map(|entry| entry.pattern()).collect::<Vec<_>>()[1..],
        ["^new@", "new@host"]
    );
}

#[test]
fn what_was_remembered_holds_until_the_table_changes() {
    let table = table(&[("a", 1)]);
    let before = table.lookup("ab");
    assert!(std::sync::Arc::ptr_eq(&before, &table.lookup("ab")), "remembered");
    table.add("b", 1, 2).unwrap();
    assert_eq!(found(&table, "ab"), ["b", "a"]);
    assert_eq!(before.len(), 1, "who holds an answer keeps it");
    table.remove("a").unwrap();
    assert_eq!(found(&table, "ab"), ["b"]);
}

/// A pattern as Go writes it and as Rust writes it.
type Pair = (String, String);

fn both(text: impl Into<String>) -> Pair {
    let text = text.into();
    (text.clone(), text)
}

fn pattern() -> impl Strategy<Value = Pair> {
    let item = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "-", "@", "1", "P", "é", "ab", "ab@1"]).prop_map(both),
        2 => Just(both(".")),
        3 => prop::sample::select(vec!["[a-c]", "[^ab]", "[@1-]", "(?i:p)", "(?s:.)", "[^a-zA-Z0-9@é.-]"]).prop_map(both),
        2 => prop::sample::select(vec![
            (r"\d", "[0-9]"), (r"\D", "[^0-9]"), (r"\w", "[0-9A-Za-z_]"), (r"\W", "[^0-9A-Za-z_]"),
            (r"\Q.\E", r"\."), (r"\b", r"(?-u:\b)"), (r"\B", r"(?-u:\B)"),
        ]).prop_map(|(go, rust)| (go.to_owned(), rust.to_owned())),
        1 => prop::sample::select(vec!["^", "$", "(?m:^)", "(?m:$)", ""]).prop_map(both),
    ];
    let tree = item.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..6).prop_map(|items| items.into_iter().unzip()),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|branches| {
                let (go, rust): (Vec<_>, Vec<_>) = branches.into_iter().unzip();
                (format!("({})", go.join("|")), format!("(?:{})", rust.join("|")))
            }),
            3 => (inner, prop::sample::select(vec!["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).prop_map(
                |((go, rust), count)| (format!("(?:{go}){count}"), format!("(?:{rust}){count}")),
            ),
        ]
    });
    (prop::bool::weighted(0.3), tree, prop::bool::weighted(0.3)).prop_map(|(start, (go, rust), end)| {
        let anchored = |text: String| {
            let open = if start { "^" } else { "" };
            format!("{open}{text}{}", if end { "$" } else { "" })
        };
        (anchored(go), anchored(rust))
    })
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!['a', 'b', '-', '@', '1', '.', 'P', 'é', 'c', '\n']),
        0..10,
    )
    .prop_map(String::from_iter)
}

#[derive(Debug, Clone)]
enum Change {
    Add(Pair, i64),
    Remove(prop::sample::Index),
    Replace(prop::sample::Index, i64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (pattern(), -2..3i64).prop_map(|(pattern, weight)| Change::Add(pattern, weight)),
        1 => any::<prop::sample::Index>().prop_map(Change::Remove),
        1 => (any::<prop::sample::Index>(), -2..3i64).prop_map(|(index, weight)| Change::Replace(index, weight)),
    ]
}

/// A route that calls itself otherwise than the pattern that it is read as.
struct Misnamed;

impl AsRef<str> for Misnamed {
    fn as_ref(&self) -> &str {
        "another name"
    }
}

impl From<Misnamed> for Pattern {
    fn from(_: Misnamed) -> Self {
        Self::read("^db@").expect("a valid pattern")
    }
}

#[test]
fn a_route_is_kept_under_the_pattern_that_it_matches_by() {
    let table = RoutingTable::new();
    table.add_all([(Misnamed, 0, 0)]).unwrap();
    assert_eq!(found(&table, "db@prod"), ["^db@"]);
    assert!(matches!(table.add("^db@", 0, 0), Err(AddRouteError::Taken { .. })));
    table.remove("^db@").unwrap();
    assert!(table.lookup("db@prod").is_empty());
}

/// What was handed out counts where nothing else does, also under the same
/// pattern, and comes back when that is gone.
#[test]
fn a_route_that_was_handed_out_gives_way_to_all_others() {
    let table = RoutingTable::new();
    table.add_handed_out("^db", 1, 900).unwrap();
    table.add_handed_out("@prod$", 2, 7).unwrap();
    let routes = |name| table.lookup(name).iter().map(|entry| *entry.route()).collect::<Vec<_>>();
    assert_eq!(routes("db@prod"), [1, 2]);
    table.add("^db", 3, -1).unwrap();
    assert_eq!((routes("db@prod"), routes("web@prod")), (vec![3], vec![2]));
    assert!(matches!(table.add_handed_out("^db", 4, 0), Err(AddRouteError::Taken { .. })));
    let listed: Vec<_> = table.list().iter().map(|entry| (*entry.route(), entry.is_handed_out())).collect();
    assert_eq!(listed, [(1, true), (2, true), (3, false)]);
    assert_eq!(*table.remove("^db").unwrap().route(), 3);
    assert_eq!(routes("db@prod"), [1, 2]);
    assert!(matches!(table.replace("^db", 5, 0), Err(ReplaceRouteError::Unknown { .. })));
    assert_eq!(*table.remove("^db").unwrap().route(), 1);
    assert_eq!(routes("db@prod"), [2]);
}

#[test]
fn several_changes_are_one_step_or_none() {
    let table = table(&[("a", 1), ("b", 1), ("c", 1)]);
    let routes = || table.lookup("abcd").iter().map(|entry| *entry.route()).collect::<Vec<_>>();
    let before = routes();
    for bad in [
        RouteChanges::new().remove("a").replace("b", 7, 1).add("c", 7, 1),
        RouteChanges::new().remove("a").replace("a", 7, 1),
        RouteChanges::new().remove("a").remove("a"),
        RouteChanges::new().replace("a", 7, 1).add("d", 7, 1).add("(", 7, 1),
        RouteChanges::new().remove("a").add("d", 7, 1).add("d", 8, 1),
    ] {
        let changes = format!("{bad:?}");
        let error = table.change(bad).unwrap_err().to_string();
        assert!(error.contains("no route was"), "{error}");
        assert_eq!((routes(), table.list().len()), (before.clone(), 3), "{changes}");
    }
    // Replaced ones keep their place, those that are added anew lose it.
    let changes =
        RouteChanges::new().remove("a").remove("c").replace("b", 7, 1).add("d", 8, 1).add("a", 9, 1);
    assert_eq!(table.change(changes).unwrap(), []);
    assert_eq!(found(&table, "abcd"), ["b", "d", "a"]);
    assert_eq!(routes(), [7, 8, 9]);
    assert_eq!(found(&table, "c"), [""; 0]);
}

/// Whoever looks while routes are swapped finds one of them, and not both.
#[test]
fn no_lookup_finds_changes_half_made() {
    let table = table(&[("^db@a", 1)]);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            for _ in 0..20_000 {
                assert_eq!(table.lookup("db@a").len(), 1);
            }
        });
        let (mut here, mut there) = ("^db@a", "db@a$");
        while !looking.is_finished() {
            table.change(RouteChanges::new().remove(here).add(there, 1, 1)).unwrap();
            std::mem::swap(&mut here, &mut there);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The table finds what a table finds that runs each expression, in the
    /// same order, after any adding, removing and replacing.
    #[test]
    fn finds_what_trying_every_expression_finds(
        changes in prop::collection::vec(change(), 1..24),
        names in prop::collection::vec(name(), 1..12),
    ) {
        let table = RoutingTable::new();
        let mut model: Vec<(String, Regex, i64, u32)> = Vec::new();
        for (route, change) in (0..).zip(changes) {
            match change {
                Change::Add((go, rust), weight) => {
                    let added = table.add(&go, route, weight);
                    if model.iter().any(|(pattern, ..)| *pattern == go) {
                        prop_assert_eq!(added, Err(AddRouteError::Taken { pattern: go.into() }));
                    } else {
                        prop_assert!(added.is_ok(), "{added:?}");
                        model.push((go, Regex::new(&rust).unwrap(), weight, route));
                    }
                }
                Change::Remove(index) if !model.is_empty() => {
                    let (pattern, ..) = model.remove(index.index(model.len()));
                    let removed = table.remove(&pattern).unwrap();
                    prop_assert_eq!(removed.pattern(), pattern);
                }
                Change::Replace(index, weight) if !model.is_empty() => {
                    let index = index.index(model.len());
                    let (pattern, _, former_weight, former_route) = &mut model[index];
                    let former = table.replace(pattern, route, weight).unwrap();
                    prop_assert_eq!((former.weight(), *former.route()), (*former_weight, *former_route));
                    (*former_weight, *former_route) = (weight, route);
                }
                Change::Remove(_) | Change::Replace(..) => {}
            }
            for name in &names {
                let mut expected: Vec<_> = model.iter().filter(|(_, regex, ..)| regex.is_match(name)).collect();
                expected.sort_by_key(|(_, _, weight, _)| std::cmp::Reverse(*weight));
                let expected: Vec<_> =
                    expected.into_iter().map(|(pattern, _, _, route)| (pattern.clone(), *route)).collect();
                let found: Vec<_> = table
                    .lookup(name)
                    .iter()
                    .map(|entry| (entry.pattern().to_owned(), *entry.route()))
                    .collect();
                prop_assert_eq!(found, expected, "for {:?}", name);
            }
        }
        let listed: Vec<_> = table.list().iter().map(|entry| entry.pattern().to_owned()).collect();
        prop_assert_eq!(listed, model.into_iter().map(|(pattern, ..)| pattern).collect::<Vec<_>>());
    }

    /// A warning's example is true, and what it suggests leaves the example out.
    #[test]
    fn warnings_tell_the_truth(body in "[a-z.@-]{1,8}", open in "(\\^|\\.\\*)?", close in "(\\$|\\.\\*)?") {
        let pattern = format!("{open}{body}{close}");
        for warning in RoutingTable::new().add(&pattern, 0, 0).unwrap() {
            match warning {
                PatternWarning::MatchesMore { example, instead, .. } => {
                    let table = table(&[(&pattern, 0), (&instead, 0)]);
                    prop_assert_eq!(found(&table, &example), [pattern.clone()]);
                }
                PatternWarning::MatchesEverything { .. } => {
                    prop_assert!(Regex::new(&pattern).unwrap().is_match(""));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// Any text is either a pattern or refused, without a panic.
    #[test]
    fn any_text_is_accepted_or_refused(pattern in "\\PC{0,40}", soup in r"[\]\[()|\\*+?{}^$a-dQE0-9,:<>=!PpimsU-]{0,30}") {
        for pattern in [pattern, soup] {
            let table = RoutingTable::new();
            match table.add(&pattern, 0, 0) {
                Ok(_) => prop_assert!(table.remove(&pattern).is_ok()),
                Err(AddRouteError::InvalidPattern { position, .. }) => {
                    prop_assert!(position >= 1 && position <= pattern.chars().count() + 1);
                }
                Err(error) => prop_assert_eq!(error, AddRouteError::TooLarge { pattern: pattern.into() }),
            }
        }
    }

    /// An exact pattern matches its name and no other.
    #[test]
    fn exact_matches_the_name_only(name in "\\PC{0,20}", other in "\\PC{0,20}") {
        let table = table(&[(&exact(&name), 0)]);
        prop_assert_eq!(table.lookup(&name).len(), 1);
        prop_assert_eq!(table.lookup(&other).len(), usize::from(name == other));
        prop_assert_eq!(table.lookup(&format!("{name}{other}")).len(), usize::from(other.is_empty()));
    }
}
