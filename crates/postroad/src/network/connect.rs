//! Executes plans: one attempt per peer at a time, everyone else waits for the
//! same outcome.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::connection::Connection;
use super::{NetworkInner, NetworkMode};
use crate::Atom;
use crate::error::InvalidName;
use crate::node::NodeInner;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing led there; says what was tried.
    #[error(transparent)]
    NoRoute(Arc<NoRoute>),
    /// The name is no node name.
    #[error("not a node name: {0}")]
    Name(InvalidName),
    /// The name is that of this node.
    #[error("not allowed: {0} is this node itself")]
    OwnName(Atom),
    /// This node has no network, or has been stopped.
    #[error("network stack is stopped")]
    Stopped,
}

type Outcome = Result<Arc<Connection>, ConnectError>;

/// Whom this node is dialing.
#[derive(Default)]
pub(super) struct Dialing {
    peers: Mutex<HashMap<Atom, watch::Receiver<Option<Outcome>>>>,
    /// Notified whenever a connection is made.
    connected: Notify,
}

impl Dialing {
    pub(super) fn is_dialing(&self, peer: Atom) -> bool {
        self.peers.lock().contains_key(&peer)
    }

    pub(super) fn connected(&self) {
        self.connected.notify_waiters();
    }
}

/// interim
#[derive(Debug, thiserror::Error)]
#[error("no route to {name}: {attempts:?}")]
pub struct NoRoute { name: Atom, attempts: Vec<String> }

impl NetworkInner {
    /// The connection with a node: the one there is, or a new one.
    pub(crate) async fn connection(&self, node: &Arc<NodeInner>, peer: Atom) -> Outcome {
        if let Some(connection) = self.connected(peer) {
            return Ok(connection);
        }
        let mut outcome = self.dial(node, peer)?;
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(ConnectError::Stopped)),
            Err(_) => Err(ConnectError::Stopped),
        }
    }

    /// Begins to connect, unless somebody has begun already.
    pub(crate) fn connect_in_background(&self, node: &Arc<NodeInner>, peer: Atom) {
        let _ = self.dial(node, peer);
    }

    fn dial(&self, node: &Arc<NodeInner>, peer: Atom) -> Result<watch::Receiver<Option<Outcome>>, ConnectError> {
        if self.mode == NetworkMode::Disabled || node.is_stopping() {
            return Err(ConnectError::Stopped);
        }
        if peer == node.name {
            return Err(ConnectError::OwnName(peer));
        }
        let mut peers = self.dialing.peers.lock();
        if let Some(outcome) = peers.get(&peer) {
            return Ok(outcome.clone());
        }
        let (publish, outcome) = watch::channel(None);
        peers.insert(peer, outcome.clone());
        let dialer = node.clone();
        node.tasks.spawn_on(
            async move {
                let network = &dialer.network;
                let result = tokio::select! {
                    () = dialer.stopping.cancelled() => Err(ConnectError::Stopped),
                    result = network.execute(&dialer, peer) => result,
                };
                network.dialing.peers.lock().remove(&peer);
                publish.send_replace(Some(result));
            },
            &node.runtime,
        );
        Ok(outcome)
    }

    async fn execute(&self, node: &Arc<NodeInner>, peer: Atom) -> Outcome {
        let mut attempts = Vec::new();
        let mut endpoints = Vec::new();
        for route in self.routes.lookup(peer.as_str()).iter() {
            let r = route.route();
            endpoints.push((r.host.clone(), r.port, r.cookie.clone()));
        }
        if endpoints.is_empty() && let Some(registrar) = &self.registrar {
            match registrar.resolve(peer).await {
                Ok(found) => for e in found { endpoints.push((e.host, e.port, None)); },
                Err(error) => attempts.push(error.to_string()),
            }
        }
        for (host, port, cookie) in endpoints {
            let cookie = cookie.unwrap_or_else(|| self.cookie());
            let attempt = async {
                let mut stream = super::transport::Stream::dial(&host, port, self.options.dial_timeout).await.map_err(|e| e.to_string())?;
                let established = super::handshake::dial(&mut stream, self.introduction(node), peer, cookie.clone(), self.options.handshake_timeout).await.map_err(|e| e.to_string())?;
                let redial = super::Redial { host: host.clone(), port, cookie, dial_timeout: self.options.dial_timeout, handshake_timeout: self.options.handshake_timeout };
                Ok::<_, String>(self.dialed(node, stream, established, redial))
            };
            match attempt.await {
                Ok(connection) => return Ok(connection),
                Err(error) => attempts.push(format!("{host}:{port}: {error}")),
            }
        }
        Err(ConnectError::NoRoute(Arc::new(NoRoute { name: peer, attempts })))
    }
}
