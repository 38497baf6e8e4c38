//! Variables and leaders: what processes inherit.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use postroad::{
    Actor, Answer, Context, Environment, ExitReason, Message, NetworkMode, Node, Pid, Reply, SpawnOptions,
};
use support::unique;

/// Tells what it has inherited, and spawns its like.
struct Heir;

/// What an heir has.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(name = "#postroad/environment/Estate")]
struct Estate {
    parent: Pid,
    leader: Pid,
    names: Vec<String>,
    /// Empty if there is none.
    region: String,
}

/// Wants to know.
#[derive(Debug, Message)]
#[message(name = "#postroad/environment/Tell")]
struct Tell;

/// Spawn an heir, and set this region afterwards; an empty one is removed.
#[derive(Debug, Message)]
#[message(name = "#postroad/environment/Bear")]
struct Bear(String);

impl Actor for Heir {
    type Args = ();
    type Messages = ();
    type Requests = (Tell, Bear);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Answer<Tell> for Heir {
    type Reply = Estate;

    async fn answer(&mut self, _: Tell, ctx: &mut Context) -> Result<Reply<Estate>, ExitReason> {
        let names = ctx.environment().names().map(str::to_owned).collect();
        Ok(Reply::Now(Estate {
            parent: ctx.parent(),
            leader: ctx.leader(),
            names,
            region: ctx.env("region").unwrap_or_default(),
        }))
    }
}

impl Answer<Bear> for Heir {
    type Reply = Pid;

    async fn answer(&mut self, Bear(region): Bear, ctx: &mut Context) -> Result<Reply<Pid>, ExitReason> {
        let child = ctx.spawn::<Heir>(()).await?;
        if region.is_empty() {
            ctx.remove_env("Region");
        } else {
            ctx.set_env("Region", &region)?;
        }
        Ok(Reply::Now(child))
    }
}

async fn estate(node: &Node, heir: Pid) -> Estate {
    node.call(heir, Tell).await.unwrap()
}

fn region(region: &str) -> Environment {
    let mut environment = Environment::new();
    environment.set("Region", &region.to_owned()).unwrap();
    environment
}

async fn node() -> Node {
    let mut environment = region("north");
    environment.set("limit", &7u32).unwrap();
    let builder = Node::builder(unique("heirs")).network(NetworkMode::Disabled);
    builder.environment(environment).start().await.unwrap()
}

#[tokio::test]
async fn conformance_a03_a04_a05_a_node_has_variables() {
    let node = node().await;
    assert_eq!(node.environment().names().collect::<Vec<_>>(), ["LIMIT", "REGION"]);
    assert_eq!(node.env::<u32>("Limit"), Some(7));
    assert_eq!(node.env::<String>("rEGION").as_deref(), Some("north"));
    assert_eq!(node.env::<u32>("region"), None, "it is no number");
    node.remove_env("LIMIT");
    assert_eq!(node.env::<u32>("limit"), None);
    assert_eq!(node.environment().names().collect::<Vec<_>>(), ["REGION"]);
    node.set_env("limit", &8u32).unwrap();
    assert_eq!(node.env::<u32>("limit"), Some(8));
    node.stop().await;
}

#[tokio::test]
async fn conformance_b02_a_process_inherits_and_is_isolated() {
    let node = node().await;
    let plain = node.spawn::<Heir>(()).await.unwrap();
    let own = SpawnOptions::new().environment(region("south"));
    let other = node.spawn_with::<Heir>((), own).await.unwrap();
    let mut less = Environment::new();
    less.remove("limit");
    let less = node.spawn_with::<Heir>((), SpawnOptions::new().environment(less)).await.unwrap();
    node.set_env("region", &"west".to_owned()).unwrap();

    assert_eq!(estate(&node, plain).await.region, "north", "as it was at the spawn");
    assert_eq!(estate(&node, other).await.region, "south");
    assert_eq!(estate(&node, less).await.names, ["REGION"]);
    let late = node.spawn::<Heir>(()).await.unwrap();
    assert_eq!(estate(&node, late).await.region, "west");

    let child: Pid = node.call(other, Bear("east".into())).await.unwrap();
    assert_eq!(estate(&node, other).await.region, "east");
    assert_eq!(estate(&node, child).await.region, "south");
    let _: Pid = node.call(other, Bear(String::new())).await.unwrap();
    assert_eq!(estate(&node, other).await.names, ["LIMIT"]);
    assert_eq!(node.env::<String>("region").as_deref(), Some("west"), "the node's own is untouched");
    node.stop().await;
}

#[tokio::test]
async fn conformance_b05_leaders_are_inherited() {
    let node = node().await;
    let first = node.spawn::<Heir>(()).await.unwrap();
    let Estate { parent, leader, .. } = estate(&node, first).await;
    assert_eq!((parent, leader), (node.pid(), node.pid()));
    let led = node.spawn_with::<Heir>((), SpawnOptions::new().leader(first)).await.unwrap();
    let Estate { parent, leader, .. } = estate(&node, led).await;
    assert_eq!((parent, leader), (node.pid(), first));
    let child: Pid = node.call(led, Bear(String::new())).await.unwrap();
    let Estate { parent, leader, .. } = estate(&node, child).await;
    assert_eq!((parent, leader), (led, first));
    node.stop().await;
}
