//! Requests and every way they end, both ways.

use std::time::{Duration, Instant};

use postroad::edf::{ErrorValue, Payload};
use postroad::{Actor, CallError, Context, ExitReason, Node, Pid, Reply, SendError, SpawnOptions, ToTarget};
use serde_json::{Value as Json, json};

use crate::PATIENCE;
use crate::peer::{Peer, by_alias, by_pid, named};
use crate::road::{Dialer, at, courier, end, pair};
use crate::support::{Adder, Echo};

/// Asks a Go process, with patience.
async fn ask<R: postroad::Message>(
    node: &Node,
    to: impl ToTarget,
    request: impl postroad::Message,
) -> Result<R, CallError> {
    node.call_with_timeout(to, request, PATIENCE).await
}

fn text(value: &str) -> Json {
    json!({"type": "string", "value": value})
}

#[tokio::test]
async fn go_answers_by_pid_name_and_alias() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        assert_eq!(ask::<String>(&node, go.pid("echo"), "a".to_owned()).await.unwrap(), "a");
        assert_eq!(ask::<String>(&node, at("echo", go.atom()), "b".to_owned()).await.unwrap(), "b");
        assert_eq!(ask::<String>(&node, go.alias("echo"), "c".to_owned()).await.unwrap(), "c");
        // A process asks as well as the node does.
        let echo = go.pid("echo");
        let (answer, ..) = courier(&node, move |ctx| {
            Box::pin(async move { ctx.call_with_timeout::<isize>(echo, 7isize, PATIENCE).await })
        })
        .await;
        assert_eq!(answer.unwrap(), 7);
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_answers_with_errors() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let fail = go.pid("fail");
        let refused = |error: &str| ask::<()>(&node, fail, error.to_owned());
        let error = refused("no luck today").await.unwrap_err();
        assert!(matches!(&error, CallError::Answer(error) if *error.text() == "no luck today"), "{error}");
        // Errors that Ergo announces travel as numbers.
        let error = ask::<()>(&node, fail, ErrorValue::new("not allowed")).await.unwrap_err();
        assert!(matches!(&error, CallError::Answer(error) if *error.text() == "not allowed"), "{error}");
        let error = ask::<()>(&node, fail, 1u8).await.unwrap_err();
        assert!(error.to_string().contains("incorrect value or argument"), "{error}");
        // Three errors have codes of their own.
        let error = refused("unknown process").await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::ProcessUnknown)), "{error}");
        let error = refused("process mailbox is full").await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::MailboxFull)), "{error}");
        let error = refused("process terminated").await.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::ProcessTerminated)), "{error}");
        // And no error at all is a nil answer.
        ask::<()>(&node, fail, false).await.unwrap();
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_does_not_answer() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let patience = Duration::from_millis(200);
        let begun = Instant::now();
        let late = node.call_with_timeout::<()>(go.pid("mute"), 1u8, patience).await.unwrap_err();
        assert!(matches!(late, CallError::Timeout(_)), "{late}");
        // Ergo tells nobody that a process does not exist, unless the request
        // is important.
        let unknown = node.call_with_timeout::<()>(("nobody", go.atom()), 1u8, patience).await.unwrap_err();
        assert!(matches!(unknown, CallError::Timeout(_)), "{unknown}");
        assert!(begun.elapsed() >= 2 * patience);
        let other = ask::<i64>(&node, go.pid("echo"), "text".to_owned()).await.unwrap_err();
        assert!(matches!(other, CallError::UnexpectedAnswer { .. }), "{other}");
        let error = ErrorValue::new("out of stock");
        let told = ask::<i64>(&node, go.pid("echo"), error.clone()).await.unwrap_err();
        assert!(matches!(&told, CallError::Answer(text) if *text == error), "{told}");
        assert_eq!(
            ask::<ErrorValue>(&node, go.pid("echo"), error.clone()).await.unwrap(),
            error,
            "if asked for"
        );
        assert_eq!(ask::<u8>(&node, go.pid("echo"), 1u8).await.unwrap(), 1, "later calls are not affected");
        end(node, go).await;
    }
}

#[tokio::test]
async fn rust_answers_by_pid_name_and_alias() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let adder = node.spawn_with::<Adder>(1, SpawnOptions::new().name("adder")).await.unwrap();
        go.send(by_pid(adder), json!({"type": "int64", "value": "41"})).await;
        // Typed handlers.
        let sum = json!({"type": "int64", "value": "42"});
        let request = json!({"type": "bool", "value": false});
        assert_eq!(go.call(by_pid(adder), request.clone()).await.unwrap(), sum);
        assert_eq!(go.call(named("adder", node.name()), request).await.unwrap(), sum);
        // What has no handler reaches the one for everything else.
        let (alias, echo) = aliased_echo(&node).await;
        for to in [by_pid(echo), by_alias(alias)] {
            assert_eq!(go.call(to, text("other")).await.unwrap(), text("other"));
        }
        end(node, go).await;
    }
}

/// An echo with an alias.
async fn aliased_echo(node: &Node) -> (postroad::Alias, Pid) {
    struct Aliased;

    impl Actor for Aliased {
        type Args = tokio::sync::oneshot::Sender<postroad::Alias>;
        type Messages = ();
        type Requests = ();

        async fn init(tell: Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
            let _ = tell.send(ctx.create_alias());
            Ok(Self)
        }

        async fn answer_other(
            &mut self,
            request: Payload,
            _: &mut Context,
        ) -> Result<Reply<Payload>, ExitReason> {
            Ok(Reply::Now(request))
        }
    }

    let (tell, told) = tokio::sync::oneshot::channel();
    let pid = node.spawn::<Aliased>(tell).await.unwrap();
    (told.await.unwrap(), pid)
}

#[tokio::test]
async fn rust_answers_in_every_way() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let adder = node.spawn::<Adder>(5).await.unwrap();
        assert_eq!(go.call(by_pid(adder), text("nil")).await.unwrap(), Json::Null);
        assert_eq!(
            go.call(by_pid(adder), text("later")).await.unwrap(),
            json!({"type": "int64", "value": "7"})
        );
        let failure = async |to: Json, request: &str| go.call(to, text(request)).await.unwrap_err();
        assert_eq!(failure(by_pid(adder), "no luck today").await, "no luck today");
        // One of the errors that both announce.
        assert_eq!(failure(by_pid(adder), "not allowed").await, "not allowed");
        assert_eq!(failure(by_pid(adder), "never").await, "process terminated");
        let other = go.call(by_pid(adder), json!({"sample": "pid"})).await.unwrap_err();
        assert_eq!(other, "not supported", "no handler for this type");
        let last = go.call(by_pid(adder), json!({"sample": "bool_true"})).await.unwrap();
        assert_eq!(last, json!({"type": "int64", "value": "5"}));
        assert_eq!(failure(by_pid(adder), "nil").await, "unknown process", "that was its last answer");
        assert_eq!(failure(named("nobody", node.name()), "nil").await, "unknown process");
        end(node, go).await;
    }
}

#[tokio::test]
async fn rust_does_not_answer() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let panicking = node.spawn::<Adder>(0).await.unwrap();
        assert_eq!(go.call(by_pid(panicking), text("panic")).await.unwrap_err(), "process terminated");
        let options = SpawnOptions::new().mailbox_capacity(1);
        let hanging = node.spawn_with::<Adder>(0, options).await.unwrap();
        assert_eq!(hang(&go, hanging).await, "timed out");
        // It handles that request for ever; one more waits, and a third finds no room.
        go.send(by_pid(hanging), json!({"type": "int64", "value": "1"})).await;
        assert_eq!(go.call(by_pid(hanging), text("nil")).await.unwrap_err(), "process mailbox is full");
        let echo = node.spawn::<Echo>(()).await.unwrap();
        assert_eq!(go.call(by_pid(echo), text("x")).await.unwrap(), text("x"), "others are not affected");
        node.kill(hanging);
        end(node, go).await;
    }
}

/// A call that nobody answers within its second.
async fn hang(go: &Peer, to: Pid) -> String {
    go.try_ask("call", json!({"to": by_pid(to), "value": text("hang"), "timeout": 1})).await.unwrap_err()
}
