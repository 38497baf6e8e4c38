//! Applications, published and found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postroad::registrar::{
    ApplicationMode, ApplicationRoute, ApplicationState, Registrar, RegistrarError, RegistrarEvent,
    ResolveError, Resolver,
};
use postroad_etcd::EtcdRegistrar;

use crate::etcd::Etcd;
use crate::{Member, atom, unique};

const APPLICATIONS: &str = "services/ergo/cluster/default/routes/applications/";

/// Ergo's own: webapp of demo@localhost, weight 100, permanent, running.
const WEBAPP: &str = "gwAoI2VyZ28uc2VydmljZXMvZXJnby9nZW4vQXBwbGljYXRpb25Sb3V0ZQAOZGVtb0Bsb2NhbGhvc3QABndlYmFwcAAAAAAAAABkAAAAAAAAAAMAAAAC";

/// The same of long@localhost, in the layout of 3.2, with 100,000 empty tags.
fn long_webapp() -> String {
    let mut value = STANDARD.decode(WEBAPP).unwrap();
    let state = value.split_off(value.len() - 4);
    value.extend([&[0x9d][..], &100_000u32.to_be_bytes(), &[0; 200_000], &state].concat());
    let at = value.windows(4).position(|name| name == b"demo").unwrap();
    value[at..at + 4].copy_from_slice(b"long");
    STANDARD.encode(value)
}

fn route(member: &Member, weight: i64, state: ApplicationState) -> ApplicationRoute {
    let mode = Some(ApplicationMode::Transient);
    ApplicationRoute {
        node: member.name(),
        name: atom("webapp"),
        weight,
        tags: vec!["blue".to_owned()],
        mode,
        state,
    }
}

#[tokio::test]
async fn the_life_of_an_application_as_others_see_it() {
    let etcd = Etcd::start();
    let a = Member::start(&unique("a"), etcd.options()).await;
    let mut b = Member::start(&unique("b"), etcd.options()).await;
    b.event(&RegistrarEvent::Connected).await;
    let (name, node, weight, mode) = (atom("webapp"), a.name(), 7, Some(ApplicationMode::Transient));
    for (state, event) in [
        (ApplicationState::Loaded, RegistrarEvent::ApplicationLoaded { name, node, weight }),
        (ApplicationState::Running, RegistrarEvent::ApplicationStarted { name, node, weight, mode }),
        (ApplicationState::Stopping, RegistrarEvent::ApplicationStopping { name, node }),
        (ApplicationState::Loaded, RegistrarEvent::ApplicationLoaded { name, node, weight }),
    ] {
        a.registrar.register_application(route(&a, weight, state)).await.unwrap();
        assert_eq!(b.event(&event).await, []);
        assert_eq!(b.registrar.resolve_application(name).await.unwrap(), [route(&a, weight, state)]);
    }
    assert!(matches!(a.registrar.resolve_application(name).await, Err(ResolveError::Unknown)), "not its own");
    a.registrar.unregister_application(name).await.unwrap();
    assert_eq!(b.event(&RegistrarEvent::ApplicationStopped { name, node }).await, []);
    let gone = a.registrar.unregister_application(name).await;
    assert!(matches!(gone, Err(RegistrarError::Unknown)));

    a.registrar.register_application(route(&a, weight, ApplicationState::Running)).await.unwrap();
    a.node.stop().await;
    b.event(&RegistrarEvent::ApplicationStopped { name, node }).await;
}

#[tokio::test]
async fn applications_of_ergo_nodes_are_found_by_their_whole_name() {
    let etcd = Etcd::start();
    etcd.put(&format!("{APPLICATIONS}webapp/demo@localhost"), WEBAPP);
    etcd.put(&format!("{APPLICATIONS}webapplication/demo@localhost"), WEBAPP);
    etcd.put(&format!("{APPLICATIONS}webapp/strange@localhost"), "garbage");
    // It could be read, but is too long to be looked at.
    etcd.put_long(&format!("{APPLICATIONS}webapp/long@localhost"), long_webapp().as_bytes());
    let a = Member::start(&unique("a"), etcd.options()).await;
    let b = Member::start(&unique("b"), etcd.options()).await;
    b.registrar.register_application(route(&b, 200, ApplicationState::Loaded)).await.unwrap();
    let apart = EtcdRegistrar::new(etcd.options()).unwrap();
    let found = apart.resolve_application(atom("webapp")).await.unwrap();
    let nodes: Vec<_> = found.iter().map(|route| (route.node.as_str(), route.weight)).collect();
    assert_eq!(nodes, [("demo@localhost", 100), (b.name().as_str(), 200)], "running ones first");
    let demo = &a.registrar.resolve_application(atom("webapp")).await.unwrap()[0];
    assert_eq!((demo.mode, demo.state), (Some(ApplicationMode::Permanent), ApplicationState::Running));
    assert!(matches!(a.registrar.resolve_application(atom("web")).await, Err(ResolveError::Unknown)));
}

#[tokio::test]
async fn names_that_keys_cannot_hold_are_refused() {
    let etcd = Etcd::start();
    let a = Member::start(&unique("a"), etcd.options()).await;
    let slash = ApplicationRoute { name: atom("a/b"), ..route(&a, 1, ApplicationState::Running) };
    let refused = a.registrar.register_application(slash).await.unwrap_err();
    assert!(matches!(&refused, RegistrarError::Name { name, .. } if name == "a/b"), "{refused}");
    let foreign = ApplicationRoute { node: atom("b@h"), ..route(&a, 1, ApplicationState::Running) };
    assert!(matches!(a.registrar.register_application(foreign).await, Err(RegistrarError::Name { .. })));
}
