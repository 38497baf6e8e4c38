//! What Ergo can ask for and this node does not offer: it is refused at once,
//! by one side or the other.

use serde_json::{Value as Json, json};

use crate::peer::Peer;
use crate::road::{Dialer, end, pair};

/// What a refused command ends in. Ergo would wait five seconds for an answer
/// that does not come, and say that it timed out.
async fn refusal(go: &Peer, command: &str, fields: Json) -> String {
    go.try_ask(command, fields).await.unwrap_err()
}

#[tokio::test]
async fn events() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let event = json!({"event": {"name": "tick", "node": node.name().as_str()}});
        for command in ["link", "monitor"] {
            assert_eq!(refusal(&go, command, event.clone()).await, "unknown event", "{command}");
        }
        end(node, go).await;
    }
}
