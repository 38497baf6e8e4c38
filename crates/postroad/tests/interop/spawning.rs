//! Processes that one node has the other start, both ways.

use postroad::network::{Nodes, RemoteSpawnError};
use postroad::{
    Actor, Answer, Context, Environment, ExitReason, Node, NodeBuilder, Payload, Pid, Reply, SpawnOptions,
};
use serde_json::{Value as Json, json};

use crate::peer::{Peer, by_pid, pid, pid_json};
use crate::road::{Dialer, connect, courier, end, pair};
use crate::support::builder;

/// Tells its parent and leader, and gives back what it was given.
pub(crate) struct Hatchling(Vec<Payload>);

impl Actor for Hatchling {
    type Args = Vec<Payload>;
    type Messages = ();
    type Requests = (bool, String, u8);

    async fn init(mut given: Vec<Payload>, _: &mut Context) -> Result<Self, ExitReason> {
        if given.len() == 1 && given[0].downcast_ref::<String>().is_some_and(|text| text == "fail") {
            return Err(ExitReason::error("out of coffee"));
        }
        given.reverse();
        Ok(Self(given))
    }
}

/// The next thing it was given.
impl Answer<bool> for Hatchling {
    type Reply = Payload;

    async fn answer(&mut self, _: bool, _: &mut Context) -> Result<Reply<Payload>, ExitReason> {
        Ok(self.0.pop().map_or(Reply::Now(Payload::new(())), Reply::Now))
    }
}

/// Who its `parent` or `leader` is.
impl Answer<String> for Hatchling {
    type Reply = Pid;

    async fn answer(&mut self, who: String, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        Ok(Reply::Now(if who == "leader" { ctx.leader() } else { ctx.parent() }))
    }
}

/// Its variable `theirs`.
impl Answer<u8> for Hatchling {
    type Reply = String;

    async fn answer(&mut self, _: u8, ctx: &mut Context) -> Result<Reply<String>, ExitReason> {
        Ok(Reply::Now(ctx.env("theirs").unwrap_or_default()))
    }
}

pub(crate) fn text(value: &str) -> Json {
    json!({"type": "string", "value": value})
}

#[tokio::test]
async fn go_has_processes_started() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        node.network().enable_spawn::<Hatchling>("hatchling", Nodes::only([go.name()])).unwrap();
        let (driver, number) = (go.pid("driver"), json!({"type": "int64", "value": "7"}));
        let core = Pid { id: Pid::CORE, ..driver };
        for (command, parent) in [("remote_spawn", core), ("spawn_on", driver)] {
            let wish = json!({
                "node": node.name().as_str(), "name": "hatchling", "register": command,
                "args": [text("first"), number], "env": {"THEIRS": text("shown")},
            });
            let hatched = pid(&go.ask(command, wish.clone()).await);
            assert_eq!(node.whereis(command), Some(hatched));
            for (who, expected) in [("parent", parent), ("leader", core)] {
                assert_eq!(
                    node.call::<Pid>(hatched, who.to_owned()).await.unwrap(),
                    expected,
                    "{command}: {who}"
                );
            }
            assert_eq!(node.call::<String>(hatched, 0u8).await.unwrap(), "shown");
            let next = async || go.call(by_pid(hatched), json!({"sample": "bool_true"})).await.unwrap();
            assert_eq!(next().await, text("first"));
            assert_eq!(next().await, number);
            assert_eq!(go.try_ask(command, wish).await.unwrap_err(), "resource is taken");
        }
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_is_refused_at_once() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let wish =
            |arguments: Json| json!({"node": node.name().as_str(), "name": "hatchling", "args": arguments});
        for command in ["remote_spawn", "spawn_on"] {
            let refusal = async |arguments| go.refusal(command, wish(arguments)).await;
            assert_eq!(refusal(json!([])).await, "unknown name");
            node.network().enable_spawn::<Hatchling>("hatchling", Nodes::only(["somebody@else"])).unwrap();
            assert_eq!(refusal(json!([])).await, "not allowed");
            node.network().enable_spawn::<Hatchling>("hatchling", Nodes::Any).unwrap();
            assert_eq!(refusal(json!([text("fail")])).await, "out of coffee");
            node.network().disable_spawn("hatchling", Nodes::Any).unwrap();
            node.network().enable_spawn_with::<Hatchling>("hatchling", Nodes::Any, |_| None).unwrap();
            assert_eq!(refusal(json!([])).await, "incorrect value or argument");
            node.network().disable_spawn("hatchling", Nodes::Any).unwrap();
        }
        end(node, go).await;
    }
}

/// A Rust node with a variable, and whether it shows it to others.
fn with_variable(exposed: bool) -> NodeBuilder {
    let mut environment = Environment::new();
    environment.set("ours", &"shown".to_owned()).unwrap();
    builder("rust").environment(environment).expose_env_remote_spawn(exposed)
}

/// What a process of Go says that it was given.
async fn given(node: &Node, hatched: Pid) -> Json {
    let said: String = node.call(hatched, true).await.unwrap();
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn go_starts_processes() {
    for exposed in [true, false] {
        let (node, go) = tokio::join!(with_variable(exposed).start(), Peer::start("go"));
        let node = node.unwrap();
        connect(Dialer::Rust, &node, &go).await;
        let hatchery = json!({"name": "hatchling", "nodes": [node.name().as_str()]});
        go.ask("enable_spawn", hatchery).await;
        let remote = node.network().connect(go.name()).await.unwrap();

        let mut own = Environment::new();
        own.set("own", &7i64).unwrap();
        let options = SpawnOptions::new().name("chick").environment(own);
        let arguments = vec![Payload::new("first".to_owned()), Payload::new(7i64)];
        let hatched = remote.spawn("hatchling", options, arguments).await.unwrap();
        let said = given(&node, hatched).await;
        assert_eq!(said["args"], json!([text("first"), {"type": "int64", "value": "7"}]));
        assert_eq!((&said["parent"], &said["leader"]), (&pid_json(node.pid()), &pid_json(node.pid())));
        assert_eq!(said["name"], "chick");
        assert_eq!(said["env"]["OWN"], json!({"type": "int64", "value": "7"}));
        let ours = if exposed { text("shown") } else { Json::Null };
        assert_eq!(said["env"]["OURS"], ours);

        let again = SpawnOptions::new().name("chick");
        let error = remote.spawn("hatchling", again, ()).await.unwrap_err();
        assert!(matches!(error, RemoteSpawnError::NameTaken { .. }), "{error}");
        let error = remote.spawn("hatchling", SpawnOptions::new(), "fail".to_owned()).await.unwrap_err();
        assert_eq!(error.to_string(), "init failed: out of coffee");
        let error = remote.spawn("duckling", SpawnOptions::new(), ()).await.unwrap_err();
        assert!(matches!(error, RemoteSpawnError::NameUnknown { .. }), "{error}");
        go.ask("enable_spawn", json!({"name": "guest", "nodes": ["somebody@else"]})).await;
        let error = remote.spawn("guest", SpawnOptions::new(), ()).await.unwrap_err();
        assert!(matches!(error, RemoteSpawnError::NotAllowed { .. }), "{error}");
        end(node, go).await;
    }
}

#[tokio::test]
async fn go_starts_children_of_processes() {
    let (node, go) = pair(Dialer::Go).await;
    go.ask("enable_spawn", json!({"name": "hatchling"})).await;
    let there = go.name().to_owned();
    let (hatched, parent, _inbox) = courier(&node, move |ctx| {
        Box::pin(async move {
            let options = SpawnOptions::new().leader(ctx.pid());
            ctx.spawn_on(&there, "hatchling", options, 7i64).await
        })
    })
    .await;
    let said = given(&node, hatched.unwrap()).await;
    assert_eq!((&said["parent"], &said["leader"]), (&pid_json(parent), &pid_json(parent)));
    end(node, go).await;
}

#[tokio::test]
async fn go_that_starts_nothing_is_not_asked() {
    let node = crate::support::node("rust").await;
    let go = Peer::named(&crate::support::unique("go"), &["-flags", "none"]).await;
    crate::road::rust_route(&node, &go, go.port());
    let remote = node.network().connect(go.name()).await.unwrap();
    let error = remote.spawn("hatchling", SpawnOptions::new(), ()).await.unwrap_err();
    assert!(matches!(error, RemoteSpawnError::NotAllowed { .. }), "{error}");
    end(node, go).await;
}
