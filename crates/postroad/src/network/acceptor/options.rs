//! Where a node listens, as it is configured and as it is shown.

use std::net::SocketAddr;
use std::sync::Arc;

use postroad_edf::AtomMapping;
use postroad_wire::{Cookie, NetworkFlags, Version};
use tracing::level_filters::LevelFilter;

use crate::registrar::Registrar;
use crate::tls::{Answering, ClientAuth, TlsError, TlsOptions};

/// The port acceptors try first: Ergo's default.
pub const DEFAULT_PORT: u16 = 11144;

/// Where a node listens, and what it tells others about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcceptorOptions {
    /// The host name or address to bind; the host part of the node's name
    /// if absent.
    pub bind_host: Option<String>,
    /// The first port to try; 0 lets the system choose one.
    pub port: u16,
    /// How many ports to try, from `port` upwards.
    pub port_count: u16,
    /// The host that others are told to dial, if it is not the host part of the
    /// node's name (NAT, containers).
    pub advertise_host: Option<String>,
    /// The port that others are told to dial, if it is not the one listened on.
    pub advertise_port: Option<u16>,
    /// The cookie of whoever comes in here; the node's if absent or empty.
    pub cookie: Option<Cookie>,
    /// What holds for TLS here; what is not said holds as the node says it. The
    /// acceptor speaks TLS if it or the node has an identity.
    pub tls: TlsOptions,
    /// Whether it is without TLS although there is an identity.
    pub plain: bool,
    /// Whether nodes are let in also if a static route to them demands more than
    /// they show here. Default false.
    pub weaker_than_routes: bool,
    /// The handshake that is spoken here, one that the node knows; [`Ehs`](crate::network::Ehs)
    /// if absent.
    pub handshake: Option<Version>,
    /// The protocol that is spoken here, one that the node knows; ENP if absent.
    pub protocol: Option<Version>,
    /// What whoever comes in here may do at most; what the node allows if absent.
    pub flags: Option<NetworkFlags>,
    /// Which atoms are said otherwise to whoever comes in here.
    pub mapping: Option<AtomMapping>,
    /// How much is logged about who comes in here, under the target
    /// [`CONNECTION_LOG`](crate::network::CONNECTION_LOG).
    pub log_level: Option<LevelFilter>,
    /// Whether who comes in here may change what the node does for others: close
    /// its tunnels, drain it. Default false.
    pub operators: bool,
    /// The registrar that is told about this acceptor; the node's if absent.
    pub registrar: Option<Arc<dyn Registrar>>,
}

impl Default for AcceptorOptions {
    /// Binds the node's host, ports from 11144 up to 50000, as Ergo does.
    fn default() -> Self {
        Self {
            bind_host: None,
            port: DEFAULT_PORT,
            port_count: 50000 - DEFAULT_PORT,
            advertise_host: None,
            advertise_port: None,
            cookie: None,
            tls: TlsOptions::default(),
            plain: false,
            weaker_than_routes: false,
            handshake: None,
            protocol: None,
            flags: None,
            mapping: None,
            log_level: None,
            operators: false,
            registrar: None,
        }
    }
}

impl AcceptorOptions {
    /// Listens on exactly this address. Port 0 lets the system choose.
    pub fn bind(host: impl Into<String>, port: u16) -> Self {
        Self { bind_host: Some(host.into()), port, port_count: 1, ..Self::default() }
    }

    /// Tries this many ports from the first one upwards.
    pub fn port_count(mut self, count: u16) -> Self {
        self.port_count = count;
        self
    }

    /// Tells others to dial this address instead of the one listened on.
    pub fn advertise(mut self, host: impl Into<String>, port: u16) -> Self {
        self.advertise_host = Some(host.into());
        self.advertise_port = Some(port);
        self
    }

    /// Demands this cookie from whoever comes in here. An empty one stands for
    /// the node's.
    pub fn cookie(mut self, cookie: impl Into<Cookie>) -> Self {
        self.cookie = Some(cookie.into());
        self
    }

    /// What holds for TLS here; what is not said holds as the node says it.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = tls;
        self
    }

    /// Accepts without TLS, also if the node has an identity or asks clients
    /// for theirs. What this acceptor itself says about TLS contradicts it.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Lets nodes in also if this node's static routes to them demand more than
    /// they show here: TLS, a cookie of the route's own, a certificate that is
    /// checked as the route says. Without this they are refused, because messages
    /// to them would take the connection that they made. It is needed where a
    /// peer cannot show as much when it dials: Ergo nodes show no certificates.
    pub fn weaker_than_routes(mut self) -> Self {
        self.weaker_than_routes = true;
        self
    }

    /// Whether a node that says `node` about TLS can start with this acceptor,
    /// as far as TLS is concerned.
    ///
    /// # Errors
    /// What is missing, or would have no effect although somebody relies on it.
    pub fn check_tls(&self, node: &TlsOptions) -> Result<(), TlsError> {
        self.answering(node).map(drop)
    }

    /// How to answer with TLS, if this acceptor does.
    pub(super) fn answering(&self, node: &TlsOptions) -> Result<Option<Answering>, TlsError> {
        let TlsOptions { trust, verify, client_auth, .. } = &self.tls;
        let asks = |client_auth: Option<ClientAuth>| client_auth.unwrap_or_default() != ClientAuth::None;
        let tls = self.tls.over(node);
        if self.plain && (self.tls.demand_tls() || asks(*client_auth)) {
            return Err(TlsError::PlainWithTls);
        }
        if (trust.is_some() || verify.is_some()) && !asks(tls.client_auth) {
            return Err(TlsError::ClientsNotAsked);
        }
        let wanted = tls.identity.is_some() || tls.required == Some(true) || asks(tls.client_auth);
        if self.plain || !wanted { Ok(None) } else { Answering::new(&tls).map(Some) }
    }

    /// Speaks this handshake, which the node must know
    /// ([`NodeBuilder::handshake`](crate::NodeBuilder::handshake)).
    pub fn handshake(mut self, version: Version) -> Self {
        self.handshake = Some(version);
        self
    }

    /// Speaks this protocol, which the node must know
    /// ([`NodeBuilder::protocol`](crate::NodeBuilder::protocol)), also with whom
    /// a gateway brings in here.
    pub fn protocol(mut self, version: Version) -> Self {
        self.protocol = Some(version);
        self
    }

    /// Allows whoever comes in here at most this. What is asked for in spite
    /// of it is refused.
    pub fn network_flags(mut self, flags: NetworkFlags) -> Self {
        self.flags = Some(flags);
        self
    }

    /// Says other names to whoever comes in here, as
    /// [`NetworkRoute::atom_mapping`](crate::network::NetworkRoute::atom_mapping) does.
    pub fn atom_mapping(mut self, mapping: AtomMapping) -> Self {
        self.mapping = Some(mapping).filter(|mapping| !mapping.is_empty());
        self
    }

    /// Logs about the connections that come in here up to this level, as
    /// [`NetworkRoute::log_level`](crate::network::NetworkRoute::log_level) does.
    pub fn log_level(mut self, level: LevelFilter) -> Self {
        self.log_level = Some(level);
        self
    }

    /// Takes whoever comes in here for an operator, who may close tunnels and
    /// drain the node by asking its [`Inspector`](crate::inspect::Inspector). Give
    /// the acceptor a cookie of its own, or certificates to ask for: else every
    /// peer is one. Who comes in through a tunnel is none.
    pub fn operators(mut self) -> Self {
        self.operators = true;
        self
    }

    /// Tells this registrar about the acceptor, and the node's does not hear of
    /// it. It is not asked for other nodes; routes that it hands out are dropped.
    pub fn registrar(mut self, registrar: Arc<dyn Registrar>) -> Self {
        self.registrar = Some(registrar);
        self
    }
}

/// A listening acceptor, as [`Network::acceptors`](crate::network::Network::acceptors) shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptorInfo {
    /// The address it listens on.
    pub address: SocketAddr,
    /// The host that others are told, if it is not that of the node's name.
    pub advertise_host: Option<String>,
    /// The port that others are told.
    pub advertise_port: u16,
    /// Whether it has a cookie of its own.
    pub own_cookie: bool,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The handshake that it speaks.
    pub handshake: Version,
    /// The protocol that it speaks.
    pub protocol: Version,
    /// Whether who comes in here is an operator.
    pub operators: bool,
}
