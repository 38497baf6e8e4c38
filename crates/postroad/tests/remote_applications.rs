//! Applications that one node has another one start, or describe.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use postroad::application::{ApplicationSpec, MemberSpec, StartOptions};
use postroad::edf::ErrorValue;
use postroad::network::{NetworkRoute, Nodes, RemoteInfoError, RemoteNode, RemoteStartError};
use postroad::registrar::{ApplicationMode, ApplicationState};
use postroad::{
    Actor, Answer, Atom, Context, Environment, ExitReason, Message, NetworkFlags, Node, NodeBuilder, Payload,
    Pid, Reply, SpawnOptions,
};
use postroad_wire::enp::Head;
use postroad_wire::enp::any::{self, ApplicationStart, Request};
use support::scripted::{Desk, Link, introduction};
use support::{Echo, builder, port};

/// Sells, and tells by whose order.
struct Teller;

/// Where a teller comes from.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(name = "#postroad/remote_applications/Origin")]
struct Origin {
    parent: Pid,
    leader: Pid,
    /// Its variables: `NAME=value`.
    variables: Vec<String>,
}

impl Actor for Teller {
    type Args = ();
    type Messages = ();
    type Requests = (bool,);

    async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self)
    }
}

impl Answer<bool> for Teller {
    type Reply = Origin;

    async fn answer(&mut self, _: bool, ctx: &mut Context) -> Result<Reply<Origin>, ExitReason> {
        let environment = ctx.environment();
        let variables = environment.names().map(|name| {
            let value: String = ctx.env(name).unwrap_or_default();
            format!("{name}={value}")
        });
        let variables = variables.collect();
        Ok(Reply::Now(Origin { parent: ctx.parent(), leader: ctx.leader(), variables }))
    }
}
fn variables(list: &[(&str, &str)]) -> Environment {
    let mut environment = Environment::new();
    for (name, value) in list {
        environment.set(name, &(*value).to_owned()).unwrap();
    }
    environment
}

/// Two nodes, of which the second is connected as the handle says.
async fn pair(here: NodeBuilder) -> (Node, Node, RemoteNode) {
    let here = here.start().await.unwrap();
    let environment = variables(&[("node", "theirs"), ("place", "theirs")]);
    let there = builder("there").environment(environment).start().await.unwrap();
    let route = NetworkRoute::to("127.0.0.1", port(&there));
    let remote = here.network().connect_with(there.name().as_str(), route).await.unwrap();
    (here, there, remote)
}

/// A permanent application with one process, the teller.
fn shop() -> ApplicationSpec {
    ApplicationSpec::new("shop")
        .mode(ApplicationMode::Permanent)
        .member(MemberSpec::new::<Teller>(()).name("teller"))
}

#[tokio::test]
async fn conformance_u01_u03_an_application_is_started_from_another_node() {
    let (here, there, remote) = pair(builder("here")).await;
    there.network().enable_application_start("shop", Nodes::Any).unwrap();
    there.load_application(shop()).unwrap();
    remote.start_application("shop").await.unwrap();
    let info = there.application_info("shop").unwrap();
    assert_eq!((info.state, info.mode), (ApplicationState::Running, ApplicationMode::Permanent));
    assert_eq!(info.started_by, Some(here.name()));
    let teller: Origin = there.call("teller", true).await.unwrap();
    assert_eq!((teller.parent, teller.leader), (here.pid(), here.pid()));
    let error = remote.start_application("shop").await.unwrap_err();
    let RemoteStartError::Running { node, name } = error else { panic!("{error}") };
    assert_eq!((node, name.as_str()), (there.name(), "shop"));
    there.stop_application("shop").await.unwrap();
    remote
        .start_application_with("shop", StartOptions::new().mode(ApplicationMode::Transient))
        .await
        .unwrap();
    assert_eq!(there.application_info("shop").unwrap().mode, ApplicationMode::Transient);
    here.stop().await;
    there.stop().await;
}

/// What is exposed lies at the bottom, what is said for this start near the top.
#[tokio::test]
async fn an_application_gets_the_environment_of_who_starts_it_if_that_is_exposed() {
    for exposed in [true, false] {
        let ours = variables(&[("ours", "ours"), ("node", "ours"), ("spec", "ours")]);
        let here = builder("here").environment(ours).expose_env_remote_application_start(exposed);
        // What is exposed for spawns is another matter.
        let (here, there, remote) = pair(here.expose_env_remote_spawn(!exposed)).await;
        there.network().enable_application_start("shop", Nodes::Any).unwrap();
        let needed = ApplicationSpec::new("store").member(MemberSpec::new::<Teller>(()).name("keeper"));
        there.load_application(needed).unwrap();
        let own = SpawnOptions::new().environment(variables(&[("member", "member")]));
        let member = MemberSpec::new::<Teller>(()).options(own.name("boss"));
        let spec = variables(&[("spec", "spec"), ("start", "spec"), ("place", "spec")]);
        there.load_application(shop().depends_on("store").member(member).environment(spec)).unwrap();
        let start = variables(&[("start", "start"), ("member", "start")]);
        remote.start_application_with("shop", StartOptions::new().environment(start)).await.unwrap();

        let expected = |others: &[&str]| {
            let ours = exposed.then(|| "OURS=ours".to_owned());
            let mut all: Vec<_> = others.iter().copied().map(str::to_owned).chain(ours).collect();
            all.sort();
            all
        };
        let of = async |name: &str| there.call::<Origin>(name, true).await.unwrap().variables;
        let both = ["NODE=theirs", "PLACE=spec", "SPEC=spec", "START=start"];
        assert_eq!(of("teller").await, expected(&[&both[..], &["MEMBER=start"]].concat()));
        assert_eq!(of("boss").await, expected(&[&both[..], &["MEMBER=member"]].concat()));
        let of_needed = expected(&["NODE=theirs", "PLACE=theirs"]);
        let shadowed = exposed.then(|| "SPEC=ours".to_owned());
        assert_eq!(of("keeper").await, of_needed.into_iter().chain(shadowed).collect::<Vec<_>>());
        here.stop().await;
        there.stop().await;
    }
}

#[tokio::test]
async fn an_application_is_described_to_another_node() {
    let (here, there, remote) = pair(builder("here")).await;
    let error = remote.application_info("shop").await.unwrap_err();
    assert!(matches!(error, RemoteInfoError::ApplicationUnknown { .. }), "{error}");
    let error = remote.application_info("").await.unwrap_err();
    assert!(matches!(error, RemoteInfoError::Name(_)), "{error}");
    let store = ApplicationSpec::new("store").member(MemberSpec::new::<Echo>(()));
    there.load_application(store).unwrap();
    let spec = shop().description("sells").version("1.2").weight(-3).depends_on("store");
    let spec = spec.tag("blue").tag("eu").role("till", "nobody").role("till", "teller");
    there.load_application(spec).unwrap();
    assert_eq!(remote.application_info("shop").await.unwrap(), there.application_info("shop").unwrap());
    there.start_application("shop").await.unwrap();
    let mut told = remote.application_info("shop").await.unwrap();
    assert!(told.uptime.take().is_some());
    assert_eq!(told.tags, ["blue", "eu"]);
    assert_eq!(told.roles, [("till".to_owned(), Atom::new("teller").unwrap())].into());
    let mut expected = there.application_info("shop").unwrap();
    expected.uptime = None;
    assert_eq!(told, expected, "and nobody had to be allowed to ask");
    there.stop().await;
    let error = remote.application_info("shop").await.unwrap_err();
    assert!(matches!(error, RemoteInfoError::Connect(_) | RemoteInfoError::NoConnection { .. }), "{error}");
    here.stop().await;
}

#[tokio::test]
async fn conformance_u02_u03_applications_are_enabled_like_processes() {
    let (here, there, remote) = pair(builder("here")).await;
    let network = there.network();
    let error = remote.start_application("shop").await.unwrap_err();
    assert!(matches!(error, RemoteStartError::NameUnknown { .. }), "{error}");
    network.enable_application_start("shop", Nodes::only(["somebody@else"])).unwrap();
    let error = remote.start_application("shop").await.unwrap_err();
    assert!(matches!(error, RemoteStartError::NotAllowed { .. }), "{error}");
    network.enable_application_start("shop", Nodes::only([here.name().as_str()])).unwrap();
    let error = remote.start_application("shop").await.unwrap_err();
    let RemoteStartError::ApplicationUnknown { node, name } = error else { panic!("{error}") };
    assert_eq!((node, name.as_str()), (there.name(), "shop"));
    assert_eq!(network.info().applications.len(), 1);
    network.disable_application_start("shop", Nodes::Any).unwrap();
    let error = remote.start_application("shop").await.unwrap_err();
    assert!(matches!(error, RemoteStartError::NameUnknown { .. }), "{error}");
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn an_application_is_not_started_for_somebody_else() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    node.network().enable_application_start("shop", Nodes::Any).unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let third = Pid { node: Atom::new("third@127.0.0.1").unwrap(), ..link.sender() };
    for (core, expected) in [(third, "not allowed"), (link.sender(), "unknown application")] {
        let start = ApplicationStart::new(Atom::new("shop").unwrap(), core, link.reference(1));
        link.ask(&Request::ApplicationStart(Box::new(start))).await;
        let (answer, _) = link.hears_answer().await;
        assert_eq!(answer.error.unwrap().to_string(), expected);
    }
    node.stop().await;
}

/// A description as an Ergo node of 3.2.0 gives it, and what is none.
#[tokio::test]
async fn a_peer_describes_what_it_likes() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let desk = Desk::open().await;
    let mut local = introduction("peer");
    local.types = vec![(4096, "#ergo.services/ergo/net/proto/MessageApplicationInfo".into())];
    let name = local.node;
    desk.leads(&node, name);
    let asker = node.clone();
    let connecting = tokio::spawn(async move { asker.network().connect(name.as_str()).await.unwrap() });
    let mut callee = desk.called(local).await;
    callee.hello().await;
    callee.introduce().await;
    let mut link = callee.agreed().await;
    let remote = connecting.await.unwrap();

    let shop = || any::ApplicationDescription {
        name: Atom::new("shop").unwrap(),
        weight: 3,
        tags: vec![Atom::new("blue").unwrap()],
        roles: [("till".to_owned(), Atom::new("teller").unwrap())].into(),
        description: "sells".to_owned(),
        version: postroad_wire::Version::new("shop", "1.2"),
        environment: [("LIMIT".to_owned(), Payload::new(7u32))].into(),
        depends: any::ApplicationDepends::default(),
        mode: 0,
        state: 1,
        parent: Atom::empty(),
        uptime: 1_795_000_000,
        group: Vec::new(),
    };
    let mut asked = async |result: Result<Payload, &str>| {
        let remote = remote.clone();
        let asking = tokio::spawn(async move { remote.application_info("shop").await });
        let request = link.hears_request().await;
        assert!(matches!(&request, Request::ApplicationInfo(info) if info.name.as_str() == "shop"));
        let error = result.as_ref().err().map(|text| ErrorValue::new(*text));
        let result = result.unwrap_or_else(|_| Payload::new(()));
        let payload = link.encode(&any::Answer { error, result, reference: request.reference() });
        link.send_frame(&Head::Any, &payload).await;
        asking.await.unwrap()
    };
    let told = asked(Ok(Payload::new(shop()))).await.unwrap();
    assert_eq!(
        (told.weight, told.mode, told.state),
        (3, ApplicationMode::Temporary, ApplicationState::Loaded)
    );
    assert_eq!((told.uptime, told.started_by, &*told.version), (None, None, "1.2"));
    assert_eq!((told.tags, told.roles), (vec!["blue".to_owned()], shop().roles));
    let other = any::ApplicationDescription { name: Atom::new("bank").unwrap(), ..shop() };
    for wrong in [
        Payload::new(()),
        Payload::new(7u8),
        Payload::new(other),
        Payload::new(any::ApplicationDescription { state: 9, ..shop() }),
        Payload::new(any::ApplicationDescription { mode: -1, ..shop() }),
    ] {
        let error = asked(Ok(wrong)).await.unwrap_err();
        assert!(matches!(error, RemoteInfoError::Malformed { .. }), "{error}");
    }
    let error = asked(Err("not supported")).await.unwrap_err();
    assert!(matches!(error, RemoteInfoError::NotSupported { .. }), "{error}");
    let error = asked(Err("out of coffee")).await.unwrap_err();
    assert!(error.to_string().contains("out of coffee"), "{error}");
    node.stop().await;
}

/// The name, state and members of an application are no secret of the node's; only
/// starting it is something that may be barred. Ergo does the same.
#[tokio::test]
async fn who_may_start_no_application_is_told_of_it_all_the_same() {
    let here = builder("here").start().await.unwrap();
    let flags = NetworkFlags::ENABLE.with(NetworkFlags::TUNNELS);
    let there = builder("there").network_flags(flags).application(shop()).start().await.unwrap();
    there.network().enable_application_start("shop", Nodes::Any).unwrap();
    let route = NetworkRoute::to("127.0.0.1", port(&there));
    let remote = here.network().connect_with(there.name().as_str(), route).await.unwrap();
    let error = remote.start_application("shop").await.unwrap_err();
    assert!(matches!(error, RemoteStartError::NotAllowed { .. }), "{error}");
    let info = remote.application_info("shop").await.unwrap();
    assert_eq!((info.name.as_str(), info.state), ("shop", ApplicationState::Running));

    // Who asks to start it in spite of the flags is refused.
    let mut link = Link::to(&there, introduction("peer")).await;
    let start = ApplicationStart::new(Atom::new("shop").unwrap(), link.sender(), link.reference(1));
    link.ask(&Request::ApplicationStart(Box::new(start))).await;
    let (answer, _) = link.hears_answer().await;
    assert_eq!(answer.error.unwrap().to_string(), "not allowed");
    here.stop().await;
    there.stop().await;
}

/// Ergo before 3.2.0 drops the question without a word.
#[tokio::test]
async fn a_peer_that_describes_nothing_is_not_asked() {
    let node = builder("node").pool_size(1).start().await.unwrap();
    let mut link = Link::to(&node, introduction("peer")).await;
    let question = any::ApplicationInfo { name: Atom::new("shop").unwrap(), reference: link.reference(1) };
    link.ask(&Request::ApplicationInfo(question)).await;
    let (answer, _) = link.hears_answer().await;
    assert_eq!(answer.error.unwrap().to_string(), "unknown application", "by now they are connected");
    let remote = node.network().connect(link.local.node.as_str()).await.unwrap();
    let error = remote.application_info("shop").await.unwrap_err();
    assert!(matches!(error, RemoteInfoError::NotSupported { .. }), "{error}");
    node.stop().await;
}
