//! What Ergo can ask for and this node does not offer: Ergo says so itself, and
//! nothing hangs.

use serde_json::json;

use crate::peer::by_pid;
use crate::road::{Dialer, end, pair};
use crate::support::Echo;

/// Important delivery is not announced.
#[tokio::test]
async fn important_messages_are_refused_by_go_itself() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let important = json!({"to": by_pid(echo), "value": {"sample": "bool_true"}, "important": true});
        for command in ["send", "call"] {
            assert_eq!(
                go.try_ask(command, important.clone()).await.unwrap_err(),
                "not supported",
                "{command}"
            );
        }
        let plain = go.call(by_pid(echo), json!({"sample": "bool_true"})).await.unwrap();
        assert_eq!(plain, json!({"type": "bool", "value": true}));
        end(node, go).await;
    }
}
