//! What kind of world a seed makes: how much goes wrong there, and by which
//! roads nodes reach each other.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use postroad::network::{MemoryNetwork, NetworkProxyRoute, ProxyFlags, TransitOptions, TransitRule, exact};
use postroad::tls::{ClientAuth, Identity, TlsOptions, Trust, Verify};
use postroad::{Node, NodeBuilder};

use crate::authority::{Authority, Leaf};

/// The nodes with processes.
pub const NODES: usize = 3;

/// The number of the node that leads from the first one to the last one.
pub const GATEWAY: usize = NODES;

/// The two nodes that do not reach each other but by the gateway.
pub const APART: (usize, usize) = (0, 2);

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Calm,
    /// Links break.
    Links,
    /// Links break, roads are cut.
    Roads,
    /// All that, and nodes are restarted.
    Nodes,
}

/// The kind of world that a seed makes.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub weather: Weather,
    /// Two of the nodes reach each other by a gateway only.
    pub gateway: bool,
    /// All roads are encrypted, with certificates on both sides.
    tls: bool,
}

impl Setting {
    pub fn of(seed: u64) -> Self {
        let weather = [Weather::Calm, Weather::Links, Weather::Roads, Weather::Nodes, Weather::Nodes];
        let weather = weather[(seed % 5) as usize];
        let (gateway, tls) = match seed / 5 % 8 {
            1 => (true, false),
            2 => (false, true),
            5 => (true, true),
            _ => (false, false),
        };
        Self { weather, gateway, tls }
    }

    pub fn nodes(self) -> usize {
        NODES + usize::from(self.gateway)
    }

    pub async fn start_node(self, network: &MemoryNetwork, number: usize) -> Node {
        let name = node_name(number);
        let mut builder = Node::builder(&name)
            .memory_network(network)
            .cookie("simulated")
            .pool_size(2)
            .keepalive(Duration::from_secs(1))
            .shutdown_timeout(Duration::from_secs(4));
        let [dial, handshake, connect] =
            if self.is_slow() { [3, 5, 10] } else { [1, 2, 5] }.map(Duration::from_secs);
        builder = builder.timeouts(dial, handshake, connect);
        if self.tls {
            builder = with_tls(builder, number);
        }
        if number == GATEWAY {
            let anybody = TransitRule::new("node-.*", "node-.*").unwrap();
            builder = builder.transit(TransitOptions::new().allow(anybody));
        }
        let node = builder.start().await.unwrap();
        if let Some(target) = self.beyond(number) {
            let flags = ProxyFlags { encryption: self.tls, ..ProxyFlags::default() };
            let route = NetworkProxyRoute::via(node_name(GATEWAY)).flags(flags);
            node.network().add_proxy_route(&exact(&node_name(target)), route, 1).unwrap();
        }
        node
    }

    /// How long what is said is under way, in milliseconds: one of these.
    pub fn delays(self) -> [RangeInclusive<u64>; 5] {
        // To get through a gateway takes four times as many roads.
        [0..=0, 0..=3, 1..=40, 20..=20, if self.gateway { 5..=80 } else { 5..=250 }]
    }

    /// A node that has stopped is missed when all attempts to get a link back have failed.
    pub fn missed_after(self) -> Duration {
        Duration::from_secs(if self.is_slow() { 10 } else { 6 })
    }

    /// Whether more has to go back and forth before two nodes are connected.
    fn is_slow(self) -> bool {
        self.gateway || self.tls
    }

    /// Whether there is no road between them.
    pub fn are_apart(self, one: usize, other: usize) -> bool {
        self.beyond(one) == Some(other)
    }

    /// Which node that one reaches by the gateway only.
    fn beyond(self, number: usize) -> Option<usize> {
        match APART {
            (one, other) if self.gateway && number == one => Some(other),
            (one, other) if self.gateway && number == other => Some(one),
            _ => None,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weather, gateway, tls } = self;
        let gateway = if *gateway { ", a gateway" } else { "" };
        write!(f, "{weather:?}{gateway}{}", if *tls { ", TLS" } else { "" })
    }
}

/// With a certificate, and a demand for one.
fn with_tls(builder: NodeBuilder, number: usize) -> NodeBuilder {
    static CERTIFICATES: OnceLock<(Trust, Vec<Identity>)> = OnceLock::new();
    let (trust, identities) = CERTIFICATES.get_or_init(|| {
        let authority = Authority::new("simulation");
        let identity = |number| authority.issue(Leaf::node(&node_name(number))).identity();
        (authority.trust(), (0..=GATEWAY).map(identity).collect())
    });
    let options = TlsOptions::new().identity(identities[number].clone()).trust(trust.clone());
    let options = options.verify(Verify::NodeName).client_auth(ClientAuth::Required);
    builder.tls(options.required(true))
}

pub fn host(number: usize) -> String {
    format!("host-{number}")
}

pub fn node_name(number: usize) -> String {
    format!("node-{number}@{}", host(number))
}
