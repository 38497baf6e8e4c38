//! A gateway lets others know to whom it leads.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Tunnels;
use crate::network::routes::Names;
use crate::node::NodeInner;
use crate::registrar::{Registrar, RegistrarError, guarded};

/// How long the registrar may take for all announcements.
const PATIENCE: Duration = Duration::from_secs(5);

/// Announces to whom this node leads, if its options say so: before this
/// returns, and whenever that changes.
pub(in crate::network) async fn announce(node: &Arc<NodeInner>) {
    let Some(registrar) = node.network.registrar.clone() else { return };
    let mut announced = Vec::new();
    bring_up_to_date(&*registrar, &node.network.tunnels, &mut announced).await;
    let (stopping, announcing) = (node.stopping.clone(), node.clone());
    let keep_up = async move {
        let tunnels = &announcing.network.tunnels;
        loop {
            tunnels.announcements.notified().await;
            bring_up_to_date(&*registrar, tunnels, &mut announced).await;
        }
    };
    node.tasks.spawn_on(async move { stopping.run_until_cancelled(keep_up).await }, &node.runtime);
}

async fn bring_up_to_date(registrar: &dyn Registrar, tunnels: &Tunnels, announced: &mut Vec<Names>) {
    let due = tunnels.leads_to();
    let deadline = Instant::now() + PATIENCE;
    for to in announced.iter().filter(|to| !due.contains(to)) {
        tell(registrar, to, false, deadline).await;
    }
    for to in due.iter().filter(|to| !announced.contains(to)) {
        tell(registrar, to, true, deadline).await;
    }
    *announced = due;
}

impl Tunnels {
    /// To whom others are told that this node leads.
    fn leads_to(&self) -> Vec<Names> {
        let transit = self.transit.load();
        let announcing = transit.as_ref().filter(|transit| transit.announce && !self.is_draining());
        announcing.map_or_else(Vec::new, |transit| transit.targets())
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
