//! A gateway lets others know to whom it leads.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::carried::Tunnels;
use crate::network::routes::Names;
use crate::node::NodeInner;
use crate::registrar::{Registrar, RegistrarError, guarded};

/// How long the registrar may take for what is announced at a time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Announces to whom this node leads, if its transit options say so: before this
/// returns, and from then on whenever that changes.
pub(in crate::network) async fn announce(node: &Arc<NodeInner>) {
    let Some(registrar) = node.network.registrar.clone() else { return };
    let mut told = Vec::new();
    tell(&*registrar, &mut told, leads(&node.network.tunnels)).await;
    let announcing = node.clone();
    let keep_up = async move {
        let tunnels = &announcing.network.tunnels;
        loop {
            tunnels.announcements.notified().await;
            tell(&*registrar, &mut told, leads(tunnels)).await;
        }
    };
    let stopping = node.stopping.clone();
    node.tasks.spawn_on(async move { stopping.run_until_cancelled(keep_up).await }, &node.runtime);
}

/// To whom the node leads, as far as others are to know.
fn leads(tunnels: &Tunnels) -> Vec<Names> {
    match tunnels.transit() {
        Some(transit) if transit.announce && !tunnels.is_draining() => transit.targets(),
        _ => Vec::new(),
    }
}

/// Tells what has changed since `told`.
async fn tell(registrar: &dyn Registrar, told: &mut Vec<Names>, leads: Vec<Names>) {
    let deadline = Instant::now() + PATIENCE;
    for to in told.iter().filter(|to| !leads.contains(to)) {
        tell_one(registrar, to, false, deadline).await;
    }
    for to in leads.iter().filter(|to| !told.contains(to)) {
        tell_one(registrar, to, true, deadline).await;
    }
    *told = leads;
}

async fn tell_one(registrar: &dyn Registrar, to: &Names, leads: bool, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let told = guarded(left, || match leads {
        true => registrar.register_proxy(to.clone()),
        false => registrar.unregister_proxy(to.clone()),
    });
    let registrar = || registrar.describe();
    match told.await {
        Ok(Ok(())) => {}
        Ok(Err(error @ RegistrarError::NotSupported)) => {
            tracing::warn!(registrar = registrar(), %to, %error, "nobody will find this gateway by discovery; give other nodes proxy routes");
        }
        Ok(Err(error)) => tracing::warn!(registrar = registrar(), %to, leads, %error, "not announced"),
        Err(broken) => tracing::warn!(registrar = registrar(), %to, leads, ?broken, "not announced"),
    }
}
