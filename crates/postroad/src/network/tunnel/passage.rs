//! A stream to a node through a gateway, as the client asks for it.

use std::sync::Arc;
use std::time::Duration;

use postroad_wire::tunnel::{Answer, Open, Operations, Request};
use postroad_wire::{Cookie, NetworkFlags};
use tokio::time::Instant;

use super::error::TunnelError;
use super::side::Side;
use super::{Through, leads_on};
use crate::Atom;
use crate::network::NetworkInner;
use crate::network::connection::Connection;
use crate::network::plan::{AttemptError, Tunnel};
use crate::network::transport::Stream;
use crate::node::NodeInner;
use crate::registrar::BoxFuture;
use crate::tls::{Asking, TlsHandshakeError};

/// How a node is reached through a gateway: for the first link and those that
/// follow.
#[derive(Debug, Clone)]
pub(in crate::network) struct Passage {
    proxy: Atom,
    /// Of the connection with the proxy, if that must be made.
    cookie: Option<Cookie>,
    hops: u8,
    operations: Operations,
    timeout: Duration,
    /// How the two ends speak TLS with each other, if they do; and the host
    /// that the certificate is for.
    tls: Option<(Asking, String)>,
    /// What may be done over the connection, from its second link on.
    granted: Option<Operations>,
}

/// What is asked of a gateway, by the client or by another gateway.
pub(super) struct Order {
    pub(super) target: Atom,
    pub(super) hops: u8,
    pub(super) operations: Operations,
    /// So far, the one that asks included.
    pub(super) path: Vec<Atom>,
}

type Opened = (Stream, Through);

impl Passage {
    pub(in crate::network) fn new(tunnel: &Tunnel, tls: Option<Asking>) -> Self {
        let Tunnel { proxy, cookie, max_hop, flags, timeout, ends, .. } = tunnel;
        let mut operations = flags.operations();
        if tls.is_some() {
            operations = operations.with(Operations::ENCRYPTION);
        }
        Self {
            proxy: *proxy,
            cookie: cookie.clone(),
            hops: *max_hop,
            operations,
            timeout: *timeout,
            tls: tls.map(|asking| (asking, ends.endpoint.host.clone())),
            granted: None,
        }
    }

    /// The same for further links, which must be allowed as much as the first.
    pub(in crate::network) fn after(&self, first: &Through) -> Self {
        Self { granted: Some(first.operations), ..self.clone() }
    }

    pub(in crate::network) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// A new stream to `target`. Connects with the proxy first, if need be.
    ///
    /// Boxed, because the proxy may be reached through another one.
    pub(in crate::network) fn open<'a>(
        &'a self,
        node: &'a Arc<NodeInner>,
        target: Atom,
        limit: Duration,
    ) -> BoxFuture<'a, Result<(Stream, Arc<Through>), AttemptError>> {
        Box::pin(async move {
            let (stream, through) = self.place(node, target, self.hops, limit).await?;
            let expected = self.granted.unwrap_or(self.operations.both(Operations::ENCRYPTION));
            if !through.operations.allow(expected) {
                return Err(TunnelError::Narrowed(self.proxy).into());
            }
            Ok((stream.carried(), Arc::new(through)))
        })
    }

    /// Through how many nodes the way may lead.
    pub(in crate::network) fn hops(&self) -> u8 {
        self.hops
    }

    /// Asks for a stream through so many nodes at most, and closes it at once; all
    /// nodes on the way, both ends included.
    pub(in crate::network) async fn ask(
        &self,
        node: &Arc<NodeInner>,
        target: Atom,
        hops: u8,
        limit: Duration,
    ) -> Result<Vec<Atom>, TunnelError> {
        let (_, through) = self.place(node, target, hops, limit).await?;
        Ok(through.path)
    }

    async fn place(
        &self,
        node: &Arc<NodeInner>,
        target: Atom,
        hops: u8,
        limit: Duration,
    ) -> Result<Opened, TunnelError> {
        let limit = limit.min(self.timeout);
        let connecting =
            node.network.connect_with_proxy(node, target, self.proxy, self.cookie.clone(), limit);
        let (connection, left) = connecting.await?;
        let order = Order { target, hops, operations: self.operations, path: vec![node.name] };
        order.place(&connection, left).await
    }

    /// Speaks TLS with the other end, if that is wanted.
    pub(in crate::network) async fn secure(
        &self,
        stream: Stream,
        target: Atom,
        limit: Duration,
    ) -> Result<Stream, AttemptError> {
        let Some((asking, host)) = &self.tls else { return Ok(stream) };
        let limit = limit.min(self.timeout);
        let secured = tokio::time::timeout(limit, asking.secure(stream, host, target)).await;
        let secured = secured.unwrap_or(Err(TlsHandshakeError::Timeout(limit)));
        Ok(Stream::Tls(Box::new(secured.map_err(AttemptError::Tls)?)))
    }
}

impl Order {
    /// Asks the gateway at the other end of a connection, and waits for its
    /// answer for so long.
    pub(super) async fn place(
        self,
        gateway: &Arc<Connection>,
        limit: Duration,
    ) -> Result<Opened, TunnelError> {
        let proxy = gateway.peer.name;
        // Whether it lets pass it says when it is asked: it may have been told to since.
        if !gateway.peer.flags.allows(NetworkFlags::TUNNELS) || !gateway.has_sides() {
            return Err(TunnelError::NoGateway(proxy));
        }
        let begun = Instant::now();
        let side = Side::open(gateway, limit).await?;
        let left = limit.saturating_sub(begun.elapsed());
        let Self { target, hops, operations, path } = self;
        let patience = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Open(Open { target, hops, operations, patience, path: path.clone() });
        match side.ask(proxy, &request, left).await? {
            (stream, Answer::Opened { operations: granted, path: whole }) => {
                if !leads_on(&whole, &path, proxy, target) {
                    return Err(TunnelError::WrongPath(proxy));
                }
                Ok((stream, Through { path: whole, operations: granted.both(operations) }))
            }
            (_, Answer::Refused { hop, reason }) => Err(TunnelError::Refused { hop, reason }),
            _ => Err(TunnelError::WrongPath(proxy)),
        }
    }
}

impl NetworkInner {
    /// The connection with a proxy: the one there is, or a new one, made with
    /// this cookie; and how much of the time is left. `target` is what it is for.
    pub(super) async fn connect_with_proxy(
        &self,
        node: &Arc<NodeInner>,
        target: Atom,
        proxy: Atom,
        cookie: Option<Cookie>,
        limit: Duration,
    ) -> Result<(Arc<Connection>, Duration), TunnelError> {
        let _waiting = self.dialing.wait_for(target, proxy).ok_or(TunnelError::Circle(proxy))?;
        let begun = Instant::now();
        match tokio::time::timeout(limit, self.connect_by_cookie(node, proxy, cookie)).await {
            Ok(Ok(connection)) => Ok((connection, limit.saturating_sub(begun.elapsed()))),
            Ok(Err(error)) => Err(TunnelError::Proxy(Box::new(error))),
            Err(_) => Err(TunnelError::Timeout { peer: proxy, limit }),
        }
    }
}
