//! Connections that are to be there all the time, whoever needs them: a node
//! behind NAT is reached over the one that it has made with its gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use postroad::Network;
use postroad::network::NetworkEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

/// How long to wait before the next attempt: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The nodes that this one is kept connected with.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<String, JoinHandle<()>>);

impl Kept {
    /// These are the ones from now on. Connections with others stay until they
    /// end by themselves.
    pub(super) fn set(&mut self, network: &Network, names: &[String]) {
        self.0.retain(|name, task| {
            let stays = names.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        for name in names {
            let keep = || tokio::spawn(keep(network.clone(), name.clone()));
            self.0.entry(name.clone()).or_insert_with(keep);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for task in self.0.values() {
            task.abort();
        }
    }
}

async fn keep(network: Network, name: String) {
    let (first, longest) = PAUSES;
    let mut pause = first / 2;
    loop {
        // Before it is looked at: its end is not missed.
        let mut events = network.subscribe();
        match network.connect(&name).await {
            Ok(_) => {
                tracing::info!(node = name, "connected, to stay so");
                pause = first;
                while network.peer(&name).is_some() {
                    match events.recv().await {
                        Ok(NetworkEvent::Disconnected { peer, .. }) if peer.as_str() == name => break,
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
                tracing::warn!(node = name, "the connection that is to be kept was lost");
            }
            Err(error) => {
                tracing::warn!(node = name, %error, "cannot be connected with, though it is to be; tried again");
                pause = (pause * 2).min(longest);
            }
        }
        tokio::time::sleep(pause).await;
    }
}
