//! Nodes and a real etcd: `./test etcd`, or with etcd and etcdctl installed
//! `cargo test -p postroad-etcd --features real-etcd`.
//!
//! Each test has an etcd of its own, on loopback, with its own data directory.
//! What an operator or an Ergo node would write is written with etcdctl: by
//! other hands than ours.
#![allow(clippy::unwrap_used)]

mod etcd;
mod forwarder;

mod access;
mod applications;
mod configuration;
mod finding;
mod members;
mod outage;
mod proxies;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postroad::network::AcceptorOptions;
use postroad::registrar::{Registrar, RegistrarEvent};
use postroad::{Atom, Node, NodeBuilder, StartError};
use postroad_etcd::{EtcdOptions, EtcdRegistrar};
use tokio::sync::broadcast::Receiver;

/// A name that no other node has.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}@127.0.0.1", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn builder(name: &str) -> NodeBuilder {
    Node::builder(name).cookie("a cookie for tests").acceptor(AcceptorOptions::bind("127.0.0.1", 0))
}

/// A node, its registrar, and what that tells from the beginning.
struct Member {
    node: Node,
    registrar: EtcdRegistrar,
    events: Receiver<RegistrarEvent>,
}

impl Member {
    async fn start(name: &str, options: EtcdOptions) -> Self {
        Self::try_start(name, options).await.unwrap()
    }

    async fn try_start(name: &str, options: EtcdOptions) -> Result<Self, StartError> {
        let registrar = EtcdRegistrar::new(options).unwrap();
        let events = registrar.subscribe().unwrap();
        let node = builder(name).registrar(Arc::new(registrar.clone())).start().await?;
        Ok(Self { node, registrar, events })
    }

    fn name(&self) -> Atom {
        self.node.name()
    }

    fn port(&self) -> u16 {
        self.node.network().acceptors()[0].address.port()
    }

    /// Waits for an event, and gives back those before it.
    async fn event(&mut self, wanted: &RegistrarEvent) -> Vec<RegistrarEvent> {
        self.event_that(|event| event == wanted).await.0
    }

    async fn event_that(
        &mut self,
        wanted: impl Fn(&RegistrarEvent) -> bool,
    ) -> (Vec<RegistrarEvent>, RegistrarEvent) {
        let mut before = Vec::new();
        within(async {
            loop {
                let event = self.events.recv().await.unwrap();
                if wanted(&event) {
                    return (before, event);
                }
                before.push(event);
            }
        })
        .await
    }

    async fn disconnected(&mut self) -> Vec<RegistrarEvent> {
        self.event_that(|event| matches!(event, RegistrarEvent::Disconnected { .. })).await.0
    }

    /// What was told and not taken yet.
    fn told(&mut self) -> Vec<RegistrarEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    async fn nodes(&self) -> BTreeSet<Atom> {
        self.registrar.nodes().await.unwrap().into_iter().collect()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
}

fn atom(name: &str) -> Atom {
    Atom::new(name).unwrap()
}
