//! Configuration in its four places.

use std::collections::BTreeMap;

use postroad::registrar::{ConfigValue, Registrar, RegistrarError, RegistrarEvent};

use crate::etcd::Etcd;
use crate::{Member, unique};

fn text(text: &str) -> Option<ConfigValue> {
    Some(ConfigValue::Text(text.to_owned()))
}

fn updated(item: &str, old: Option<ConfigValue>, value: Option<ConfigValue>) -> RegistrarEvent {
    RegistrarEvent::ConfigUpdated { item: item.into(), old, value }
}

#[tokio::test]
async fn the_most_particular_place_counts_and_changes_are_told() {
    let etcd = Etcd::start();
    let name = unique("a");
    let places = [
        format!("services/ergo/config/shop/{name}/x"),
        format!("services/ergo/cluster/shop/config/{name}/x"),
        "services/ergo/cluster/shop/config/*/x".to_owned(),
        "services/ergo/config/global/x".to_owned(),
    ];
    for (place, value) in places.iter().zip(["1", "2", "3", "4"]) {
        etcd.put(place, value);
    }
    let mut a = Member::start(&name, etcd.options().cluster("shop")).await;
    assert_eq!(a.event(&RegistrarEvent::Connected).await, [updated("x", None, text("1"))]);
    assert_eq!(a.registrar.config_item("x").await.ok(), text("1"), "loaded before the node is there");
    for (place, (old, value)) in places.iter().zip([("1", "2"), ("2", "3"), ("3", "4")]) {
        etcd.delete(place);
        assert_eq!(a.event(&updated("x", text(old), text(value))).await, []);
        assert_eq!(a.registrar.config_item("x").await.ok(), text(value));
    }
    etcd.put(&places[2], "3");
    assert_eq!(a.event(&updated("x", text("4"), text("3"))).await, []);
    // What is shadowed changes nothing.
    etcd.put(&places[3], "other");
    etcd.delete(&places[2]);
    assert_eq!(a.event(&updated("x", text("3"), text("other"))).await, []);
    etcd.delete(&places[3]);
    assert_eq!(a.event(&updated("x", text("other"), None)).await, []);
    assert!(matches!(a.registrar.config_item("x").await, Err(RegistrarError::Unknown)));
}

#[tokio::test]
async fn values_have_types_and_items_are_asked_for_by_name() {
    let etcd = Etcd::start();
    for (item, value) in [
        ("port", "int:4370"),
        ("ratio", "float:0x1p-1"),
        ("verbose", "bool:T"),
        ("database.host", "db.internal"),
        ("broken", "int:many"),
    ] {
        etcd.put(&format!("services/ergo/config/global/{item}"), value);
    }
    etcd.put("services/ergo/config/global/too/many/parts", "x");
    etcd.put("services/ergo/config/no-part", "x");
    etcd.put("services/ergo/config/default/somebody@else/port", "int:1");
    let a = Member::start(&unique("a"), etcd.options()).await;
    let all = ["port", "ratio", "verbose", "database.host", "broken", "no-part", "parts", "nothing"];
    let config = a.registrar.config(&all).await.unwrap();
    let expected = [
        ("port", ConfigValue::Int(4370)),
        ("ratio", ConfigValue::Float(0.5)),
        ("verbose", ConfigValue::Bool(true)),
        ("database.host", ConfigValue::Text("db.internal".to_owned())),
        ("broken", ConfigValue::Text("int:many".to_owned())),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(item, value)| (item.to_owned(), value)).collect();
    assert_eq!(config, expected);
    assert!(a.registrar.config(&[]).await.unwrap().is_empty());
}
