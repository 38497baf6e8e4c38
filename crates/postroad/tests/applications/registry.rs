//! What a registrar is told of applications, and what is made of what it says.

use std::sync::Arc;

use parking_lot::Mutex;
use postroad::application::{ApplicationError, ApplicationMode, RouteError, StartOptions, WeightedRouter};
use postroad::network::NetworkRoute;
use postroad::registrar::{
    ApplicationRoute, ApplicationState, BoxFuture, Endpoint, RegisterError, Registered, Registrar,
    RegistrarError, Registration, ResolveError, Resolver,
};
use postroad::{Atom, CallError, NetworkMode, Node};
use tokio::sync::mpsc;

use super::support::{Echo, builder, port};
use super::{names, three};

/// Writes down what it is told, and says where applications are.
#[derive(Debug)]
struct Ledger {
    told: mpsc::UnboundedSender<Result<ApplicationRoute, Atom>>,
    routes: Mutex<Vec<ApplicationRoute>>,
    hangs: bool,
}

impl Resolver for Ledger {
    fn resolve(&self, _: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async { Err(ResolveError::Unknown) })
    }

    fn resolve_application(&self, _: Atom) -> BoxFuture<'_, Result<Vec<ApplicationRoute>, ResolveError>> {
        Box::pin(async { Ok(self.routes.lock().clone()) })
    }

    fn describe(&self) -> String {
        "a ledger".to_owned()
    }
}

impl Registrar for Ledger {
    fn register(&self, _: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async { Ok(Registered::default()) })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn register_application(&self, route: ApplicationRoute) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async {
            let _ = self.told.send(Ok(route));
            if self.hangs {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn unregister_application(&self, name: Atom) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            let _ = self.told.send(Err(name));
            Ok(())
        })
    }
}

fn ledger(hangs: bool) -> (Arc<Ledger>, mpsc::UnboundedReceiver<Result<ApplicationRoute, Atom>>) {
    let (told, receiver) = mpsc::unbounded_channel();
    (Arc::new(Ledger { told, routes: Mutex::default(), hangs }), receiver)
}

#[tokio::test]
async fn the_registrar_is_told_what_an_application_does() {
    let (ledger, mut told) = ledger(false);
    let node = builder("ledger").registrar(ledger).start().await.unwrap();
    node.load_application(three("shop").0.weight(7).tag("blue").tag("eu")).unwrap();
    node.start_application_with("shop", StartOptions::new().mode(ApplicationMode::Transient)).await.unwrap();
    node.stop_application("shop").await.unwrap();
    node.unload_application("shop").unwrap();
    for (state, mode) in [
        (ApplicationState::Loaded, None),
        (ApplicationState::Running, Some(ApplicationMode::Transient)),
        (ApplicationState::Stopping, Some(ApplicationMode::Transient)),
        (ApplicationState::Loaded, None),
    ] {
        let route = told.recv().await.unwrap().unwrap();
        assert_eq!((route.state, route.mode, route.weight), (state, mode, 7));
        assert_eq!(route.tags, ["blue", "eu"]);
        assert_eq!((route.node, route.name.as_str()), (node.name(), "shop"));
    }
    assert_eq!(told.recv().await.unwrap().unwrap_err().as_str(), "shop");
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_registrar_that_hangs_holds_up_no_application() {
    let (ledger, mut told) = ledger(true);
    let node = builder("ledger").network(NetworkMode::Hidden).registrar(ledger).start().await.unwrap();
    let began = tokio::time::Instant::now();
    node.load_application(three("shop").0).unwrap();
    node.start_application("shop").await.unwrap();
    node.stop_application("shop").await.unwrap();
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    for state in [ApplicationState::Loaded, ApplicationState::Running] {
        assert_eq!(told.recv().await.unwrap().unwrap().state, state, "each is given five seconds");
    }
    assert!(began.elapsed() >= std::time::Duration::from_secs(5));
    node.stop().await;
}

fn route(node: &Node, weight: i64, state: ApplicationState) -> ApplicationRoute {
    let name = Atom::new("shop").unwrap();
    ApplicationRoute { node: node.name(), name, weight, tags: Vec::new(), mode: None, state }
}

#[tokio::test]
async fn a_weighted_router_finds_who_runs_it_and_goes_on_to_the_next() {
    let (ledger, _told) = ledger(false);
    let near = builder("near").registrar(ledger.clone()).start().await.unwrap();
    let shop = WeightedRouter::new(&near, "shop").unwrap();
    let nobody = shop.send("till", 1u32).await.unwrap_err();
    assert!(matches!(nobody, RouteError::NotRunning { .. }), "{nobody}");

    let (far, gone) = (super::support::node("far").await, super::support::node("gone").await);
    for node in [&far, &gone] {
        let to = NetworkRoute::to("127.0.0.1", port(node));
        let pattern = format!("^{}$", node.name().as_str().replace('.', "\\."));
        near.network().add_route(&pattern, to, 100).unwrap();
    }
    far.spawn_with::<Echo>((), postroad::SpawnOptions::new().name("till")).await.unwrap();
    gone.stop().await;
    *ledger.routes.lock() = vec![
        route(&gone, 1_000_000, ApplicationState::Running),
        route(&far, 0, ApplicationState::Running),
        route(&near, 5, ApplicationState::Loaded),
    ];
    assert_eq!(shop.send("till", 1u32).await.unwrap(), far.name(), "the first one is gone");
    assert_eq!(shop.call::<u32>("till", 7u32).await.unwrap(), 7);

    ledger.routes.lock().remove(1);
    let failed = shop.call::<u32>("till", 7u32).await.unwrap_err();
    assert!(matches!(failed, RouteError::Send { tried: 1, node, .. } if node == gone.name()), "{failed}");

    near.load_application(three("shop").0).unwrap();
    near.start_application("shop").await.unwrap();
    assert_eq!(names(near.running_applications()), ["shop"]);
    near.spawn_with::<Echo>((), postroad::SpawnOptions::new().name("till")).await.unwrap();
    ledger.routes.lock().clear();
    assert_eq!(shop.send("till", 1u32).await.unwrap(), near.name());
    let answered = shop.call::<u32>("a", 7u32).await.unwrap_err();
    assert!(
        matches!(answered, RouteError::Call { source: CallError::Answer(_), .. }),
        "what was handled is not sent again: {answered}"
    );
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn tags_and_roles_are_names_and_not_too_many() {
    let node = builder("near").network(NetworkMode::Hidden).without_registrar().start().await.unwrap();
    let long = "x".repeat(256);
    for spec in [three("a").0.tag(""), three("a").0.tag(&long), three("a").0.role(&long, "till")] {
        let error = node.load_application(spec).unwrap_err();
        assert!(matches!(error, ApplicationError::Name(_)), "{error}");
    }
    let many = (0..65).fold(three("a").0, |spec, number| spec.tag(number.to_string()));
    let error = node.load_application(many).unwrap_err();
    assert_eq!(error.to_string(), "application has 65 tags: a; give it 64 at most");
    node.stop().await;
}

/// Here as elsewhere; and a tag that nobody has is said.
#[tokio::test]
async fn a_weighted_router_chooses_by_tag() {
    let (ledger, _told) = ledger(false);
    let near = builder("near").registrar(ledger.clone()).start().await.unwrap();
    near.load_application(three("shop").0.weight(1_000_000).tag("blue")).unwrap();
    near.start_application("shop").await.unwrap();
    let far = super::support::node("far").await;
    near.network().add_route("^far", NetworkRoute::to("127.0.0.1", port(&far)), 100).unwrap();
    let green = vec!["blue-green".to_owned(), "green".to_owned()];
    *ledger.routes.lock() =
        vec![ApplicationRoute { tags: green, ..route(&far, 1, ApplicationState::Running) }];
    for node in [&near, &far] {
        node.spawn_with::<Echo>((), postroad::SpawnOptions::new().name("till")).await.unwrap();
    }
    let shop = WeightedRouter::new(&near, "shop").unwrap();
    for (tag, node) in [("blue", &near), ("green", &far)] {
        assert_eq!(shop.clone().tagged(tag).unwrap().send("till", 1u32).await.unwrap(), node.name());
    }
    let nobody = shop.clone().tagged("red").unwrap().send("till", 1u32).await.unwrap_err();
    assert_eq!(
        nobody.to_string(),
        "no node runs shop with the tag red, as far as this node and its registrar know"
    );
    shop.tagged("").unwrap_err();
    near.stop().await;
    far.stop().await;
}
