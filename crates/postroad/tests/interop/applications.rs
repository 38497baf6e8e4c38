//! Applications that one node has the other start, both ways.

use postroad::Node;
use postroad::application::{ApplicationMode, ApplicationSpec, MemberSpec};
use postroad::network::{Nodes, RemoteStartError};
use serde_json::json;

use crate::peer::named;
use crate::road::{Dialer, at, end, pair};
use crate::support::Echo;

/// Loads an application with one process.
pub(crate) fn load(node: &Node) {
    let spec = ApplicationSpec::new("shop").mode(ApplicationMode::Permanent).weight(5);
    let spec = spec.description("what Rust runs").version("R7");
    node.load_application(spec.member(MemberSpec::new::<Echo>(()).name("teller"))).unwrap();
}

#[tokio::test]
async fn go_starts_an_application() {
    for dialer in Dialer::BOTH {
        for (mode, expected) in [("", ApplicationMode::Permanent), ("transient", ApplicationMode::Transient)]
        {
            let (node, go) = pair(dialer).await;
            let wish = json!({"node": node.name().as_str(), "name": "shop", "mode": mode});
            let refusal = async || go.refusal("start_application", wish.clone()).await;
            assert_eq!(refusal().await, "unknown name");
            let network = node.network();
            network.enable_application_start("shop", Nodes::only(["somebody@else"])).unwrap();
            assert_eq!(refusal().await, "not allowed");
            network.enable_application_start("shop", Nodes::only([go.name()])).unwrap();
            assert_eq!(refusal().await, "unknown application");
            load(&node);
            // Whether it is told so or not.
            let _ = go.try_ask("start_application", wish.clone()).await;
            let info = node.application_info("shop").unwrap();
            assert_eq!((info.mode, info.started_by), (expected, Some(go.atom())));
            let value = json!({"type": "bool", "value": true});
            assert_eq!(go.call(named("teller", node.name()), value.clone()).await.unwrap(), value);
            assert_eq!(refusal().await, "application is still running");
            end(node, go).await;
        }
    }
}

#[tokio::test]
async fn rust_starts_an_application() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let remote = node.network().connect(go.name()).await.unwrap();
        let error = remote.start_application("shop").await.unwrap_err();
        assert!(matches!(error, RemoteStartError::NameUnknown { .. }), "{error}");
        go.ask("load_application", json!({"name": "bank", "nodes": ["somebody@else"]})).await;
        let error = remote.start_application("bank").await.unwrap_err();
        assert!(matches!(error, RemoteStartError::NotAllowed { .. }), "{error}");
        go.ask("load_application", json!({"name": "shop", "nodes": [node.name().as_str()]})).await;
        remote.start_application("shop").await.unwrap();
        let info = go.ask("application_info", json!({"name": "shop"})).await;
        assert_eq!((&info["state"], &info["mode"]), (&json!("running"), &json!("temporary")));
        if !go.is_of_310() {
            assert_eq!(info["parent"], node.name().as_str());
        }
        let said: String = node.call(at("shop_worker", go.atom()), true).await.unwrap();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["name"], "shop_worker");
        let error = remote.start_application("shop").await.unwrap_err();
        assert!(matches!(error, RemoteStartError::Running), "{error}");
        end(node, go).await;
    }
}
