//! A gateway lets others know to whom it leads.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::TransitOptions;
use crate::network::routes::Names;
use crate::node::NodeInner;
use crate::registrar::{Registrar, RegistrarError, guarded};

/// How long the registrar may take for all announcements.
const PATIENCE: Duration = Duration::from_secs(5);

/// Announces to whom this node leads, if its options say so: before this
/// returns, and for as long as the node takes new tunnels.
pub(in crate::network) async fn announce(node: &Arc<NodeInner>) {
    let network = &node.network;
    let (Some(transit), Some(registrar)) = (&network.options.transit, &network.registrar) else { return };
    if !transit.announce {
        return;
    }
    tell_all(&**registrar, transit, true).await;
    let (registrar, announcing) = (registrar.clone(), node.clone());
    let keep_up = async move {
        let tunnels = &announcing.network.tunnels;
        let Some(transit) = &announcing.network.options.transit else { return };
        let mut announced = true;
        loop {
            if announced == tunnels.is_draining() {
                announced = !announced;
                tell_all(&*registrar, transit, announced).await;
            }
            tunnels.announcements.notified().await;
        }
    };
    let stopping = node.stopping.clone();
    node.tasks.spawn_on(async move { stopping.run_until_cancelled(keep_up).await }, &node.runtime);
}

async fn tell_all(registrar: &dyn Registrar, transit: &TransitOptions, leads: bool) {
    let deadline = Instant::now() + PATIENCE;
    for to in transit.targets() {
        tell(registrar, to, leads, deadline).await;
    }
}

async fn tell(registrar: &dyn Registrar, to: &Names, leads: bool, deadline: Instant) {
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
