//! What Ergo can ask for and this node does not offer: it is refused at once,
//! by one side or the other.

use serde_json::{Value as Json, json};

use crate::peer::{Peer, by_pid};
use crate::road::{Dialer, end, pair};
use crate::support::Echo;

/// What a refused command ends in. Ergo would wait five seconds for an answer
/// that does not come, and say that it timed out.
async fn refusal(go: &Peer, command: &str, fields: Json) -> String {
    go.try_ask(command, fields).await.unwrap_err()
}

/// Important delivery is not announced: Ergo itself refuses.
#[tokio::test]
async fn important_messages() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let echo = node.spawn::<Echo>(()).await.unwrap();
        let important = json!({"to": by_pid(echo), "value": {"sample": "bool_true"}, "important": true});
        for command in ["send", "call"] {
            assert_eq!(refusal(&go, command, important.clone()).await, "not supported", "{command}");
        }
        let plain = go.call(by_pid(echo), json!({"sample": "bool_true"})).await.unwrap();
        assert_eq!(plain, json!({"type": "bool", "value": true}));
        end(node, go).await;
    }
}

/// Spawning from afar is not announced either, which Ergo says in other words.
#[tokio::test]
async fn processes_for_others() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let spawn = json!({"node": node.name().as_str(), "name": "worker"});
        assert_eq!(refusal(&go, "remote_spawn", spawn).await, "not allowed");
        end(node, go).await;
    }
}
