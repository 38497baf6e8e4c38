//! Applications that one node has the other start, both ways.

use postroad::application::{ApplicationMode, ApplicationSpec, MemberSpec, StartOptions};
use postroad::network::{Nodes, RemoteInfoError, RemoteStartError};
use postroad::registrar::ApplicationState;
use postroad::{Atom, Environment, Node};
use serde_json::{Value as Json, json};

use crate::peer::{Peer, named};
use crate::road::{Dialer, at, connect, end, pair};
use crate::spawning::{Hatchling, text};
use crate::support::{Echo, builder, node, unique};

/// An application without processes.
fn shop() -> ApplicationSpec {
    let spec = ApplicationSpec::new("shop").mode(ApplicationMode::Permanent).weight(5);
    spec.description("what Rust runs").version("R7").tag("blue").tag("eu").role("till", "teller")
}

/// Loads an application with one process.
pub(crate) fn load(node: &Node) {
    node.load_application(shop().member(MemberSpec::new::<Echo>(()).name("teller"))).unwrap();
}

/// Has the Go node start the application of the Rust node until it is told that
/// it has: an answer that comes fast may be lost on Ergo (`docs/wire/QUIRKS.md`).
async fn started(node: &Node, go: &Peer, wish: Json) {
    for _ in 0..4 {
        match go.try_ask("start_application", wish.clone()).await {
            Ok(_) => return,
            Err(error) => assert_eq!(error, "timed out"),
        }
        node.stop_application("shop").await.unwrap();
    }
    panic!("{wish}: Go is never told that it was started")
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
            started(&node, &go, wish.clone()).await;
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
        assert!(matches!(error, RemoteStartError::Running { .. }), "{error}");
        end(node, go).await;
    }
}

/// A mode of the near end, and variables: those that are exposed, and those of
/// this start.
#[tokio::test]
async fn rust_starts_an_application_with_options() {
    for exposed in [true, false] {
        let mut ours = Environment::new();
        ours.set("ours", &"shown".to_owned()).unwrap();
        let node = builder("rust").environment(ours).expose_env_remote_application_start(exposed);
        let (node, go) = tokio::join!(node.start(), Peer::start("go"));
        let node = node.unwrap();
        connect(Dialer::Rust, &node, &go).await;
        go.ask("load_application", json!({"name": "shop", "nodes": []})).await;
        let mut own = Environment::new();
        own.set("own", &7i64).unwrap();
        let options = StartOptions::new().mode(ApplicationMode::Transient).environment(own);
        let remote = node.network().connect(go.name()).await.unwrap();
        remote.start_application_with("shop", options).await.unwrap();
        let info = go.ask("application_info", json!({"name": "shop"})).await;
        assert_eq!((&info["state"], &info["mode"]), (&json!("running"), &json!("transient")));
        let said: String = node.call(at("shop_worker", go.atom()), true).await.unwrap();
        let said: Json = serde_json::from_str(&said).unwrap();
        assert_eq!(said["env"]["OWN"], json!({"type": "int64", "value": "7"}));
        assert_eq!(said["env"]["OURS"], if exposed { text("shown") } else { Json::Null });
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_starts_an_application_with_variables() {
    for exposed in [true, false] {
        let flags = if exposed { &["-expose-env"][..] } else { &[] };
        let name = unique("go");
        let (node, go) = tokio::join!(node("rust"), Peer::named(&name, flags));
        connect(Dialer::Go, &node, &go).await;
        node.network().enable_application_start("shop", Nodes::Any).unwrap();
        let member = MemberSpec::with::<Hatchling>(Vec::new).name("hatchling");
        node.load_application(shop().member(member)).unwrap();
        let wish = json!({
            "node": node.name().as_str(), "name": "shop", "env": {"THEIRS": text("shown")},
        });
        started(&node, &go, wish).await;
        assert_eq!(node.call::<String>("hatchling", 0u8).await.unwrap(), "shown");
        let hatchling = node.whereis("hatchling").unwrap();
        let names = node.process_info(hatchling).unwrap().variables;
        assert_eq!(names.iter().any(|name| name == "DISABLE_METRICS"), exposed, "{names:?}");
        end(node, go).await;
    }
}

#[tokio::test]
async fn rust_has_applications_described() {
    let (node, go) = pair(Dialer::Rust).await;
    let remote = node.network().connect(go.name()).await.unwrap();
    let error = remote.application_info("shop").await.unwrap_err();
    if go.is_of_310() {
        assert!(matches!(error, RemoteInfoError::NotSupported { .. }), "{error}");
        return end(node, go).await;
    }
    assert!(matches!(error, RemoteInfoError::ApplicationUnknown { .. }), "{error}");
    go.ask("load_application", json!({"name": "shop", "nodes": []})).await;
    let info = remote.application_info("shop").await.unwrap();
    assert_eq!((info.name.as_str(), &*info.description, &*info.version), ("shop", "what Go runs", "R7"));
    assert_eq!(
        (info.weight, info.state, info.mode),
        (3, ApplicationState::Loaded, ApplicationMode::Temporary)
    );
    assert_eq!(info.tags, ["blue", "eu"]);
    assert_eq!(info.roles, [("till".to_owned(), Atom::new("shop_worker").unwrap())].into());
    assert_eq!((info.uptime, info.started_by, info.members.len()), (None, None, 0));
    let options = StartOptions::new().mode(ApplicationMode::Permanent);
    remote.start_application_with("shop", options).await.unwrap();
    let info = remote.application_info("shop").await.unwrap();
    assert_eq!((info.state, info.mode), (ApplicationState::Running, ApplicationMode::Permanent));
    assert_eq!(info.started_by, Some(node.name()));
    assert!(info.uptime.is_some_and(|uptime| uptime.as_secs() < 3600));
    assert_eq!(info.members.len(), 1);
    let said: String = node.call(info.members[0], true).await.unwrap();
    assert!(said.contains("shop_worker"), "{said}");
    end(node, go).await;
}
