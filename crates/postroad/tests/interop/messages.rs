//! Messages by pid, name and alias, both ways.

use postroad::{Alias, ExitReason, Pid, Target};
use serde_json::json;

use crate::peer::{by_alias, by_pid, named, pid_json};
use crate::road::{Dialer, at, courier, end, is_connected, pair};
use crate::support::next;
use crate::within;

#[tokio::test]
async fn go_gets_messages_by_pid_name_and_alias() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (pid, alias, name) = (go.pid("driver"), go.alias("driver"), at("driver", go.atom()));
        let (sent, sender, _inbox) = courier(&node, move |ctx| {
            Box::pin(async move {
                ctx.send(pid, "by pid".to_owned()).await?;
                ctx.send(name, "by name".to_owned()).await?;
                ctx.send(alias, "by alias".to_owned()).await
            })
        })
        .await;
        sent.unwrap();
        // Sent to one process by three addresses, messages may overtake each
        // other in Ergo (docs/wire/ENP.md section 3).
        let mut ways = Vec::new();
        for _ in 0..3 {
            let event = go.event("message").await;
            assert_eq!(event["to"], "driver");
            assert_eq!(event["from"], pid_json(sender), "{dialer:?} dials");
            let way = event["via"].as_str().unwrap().to_owned();
            assert_eq!(event["value"], json!({"type": "string", "value": format!("by {way}")}));
            ways.push(way);
        }
        ways.sort();
        assert_eq!(ways, ["alias", "name", "pid"]);
        end(node, go).await;
    }
}

#[tokio::test]
async fn rust_gets_messages_by_pid_name_and_alias() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (alias, pid, mut inbox) = courier(&node, |ctx| {
            Box::pin(async move {
                ctx.register_name("clerk").unwrap();
                ctx.create_alias()
            })
        })
        .await;
        for to in [by_pid(pid), named("clerk", node.name()), by_alias(alias)] {
            for priority in ["normal", "high", "max"] {
                let value = json!({"type": "string", "value": priority});
                go.ask("send", json!({"to": to, "value": value, "priority": priority})).await;
                let (from, message) = within("a message", inbox.recv()).await.unwrap();
                assert_eq!(from, go.pid("driver"), "{dialer:?} dials");
                assert_eq!(message.downcast::<String>().unwrap(), priority);
            }
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn an_echo_finds_its_way_back() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let targets = [
            Target::Pid(go.pid("echo")),
            Target::Alias(go.alias("echo")),
            Target::Name(postroad::ProcessId { name: postroad::Atom::new("echo").unwrap(), node: go.atom() }),
        ];
        for to in targets {
            let (sent, _, mut inbox) =
                courier(&node, move |ctx| Box::pin(async move { ctx.send(to, 42i64).await })).await;
            sent.unwrap();
            assert_eq!(within("the echo", next::<i64>(&mut inbox)).await, 42);
        }
        let echo = node.spawn::<crate::support::Echo>(()).await.unwrap();
        go.send(by_pid(echo), json!({"sample": "struct_ids"})).await;
        let back = go.event("message").await;
        assert_eq!((&back["to"], &back["from"]), (&json!("driver"), &pid_json(echo)));
        assert_eq!(back["value"]["type"], "#example.org/postroad/interop/types/Ids");
        end(node, go).await;
    }
}

/// A message for nobody is dropped and costs nothing else.
#[tokio::test]
async fn messages_for_nobody_leave_the_connection_alone() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (_, pid, mut inbox) = courier(&node, |_| Box::pin(async {})).await;
        let nobody = Pid { id: 999_999, ..pid };
        let no_alias = Alias { node: node.name(), creation: node.creation(), id: [1, 2, 3] };
        for to in [by_pid(nobody), named("nobody", node.name()), by_alias(no_alias)] {
            go.send(to, json!({"sample": "bool_true"})).await;
        }
        let gone = Pid { id: 999_999, ..go.pid("echo") };
        node.send(gone, true).await.unwrap();
        node.send(("nobody", go.atom()), true).await.unwrap();
        node.send(Alias { id: [1, 2, 3], ..go.alias("echo") }, true).await.unwrap();

        go.send(by_pid(pid), json!({"sample": "int64_max"})).await;
        assert_eq!(within("a message", next::<i64>(&mut inbox)).await, i64::MAX);
        node.send(("driver", go.atom()), i64::MIN).await.unwrap();
        let event = go.event("message").await;
        assert_eq!(event["value"], json!({"type": "int64", "value": i64::MIN.to_string()}));
        assert!(is_connected(&node, go.name()));
        end(node, go).await;
    }
}

#[tokio::test]
async fn requests_to_end_cross() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (_, pid, mut inbox) = courier(&node, |_| Box::pin(async {})).await;
        go.ask("send_exit", json!({"to": by_pid(pid), "reason": "enough"})).await;
        assert!(within("its end", inbox.recv()).await.is_none(), "{dialer:?} dials");

        node.send_exit(go.pid("driver"), ExitReason::error("enough")).await.unwrap();
        let exit = go.event("exit").await;
        assert_eq!((&exit["to"], &exit["reason"]), (&json!("driver"), &json!("enough")));
        end(node, go).await;
    }
}
