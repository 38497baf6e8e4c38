//! Packets and their layout (`docs/wire/ESRD.md` sections 2, 8 and 9).

use super::Route;
use crate::body::{BodyError, Fields, Writer};

/// Version, type, and the length of the body.
pub const HEADER_LEN: usize = 4;

const VERSION: u8 = 1;

mod kind {
    pub(super) const REGISTER: u8 = 44;
    pub(super) const REGISTER_REPLY: u8 = 45;
    pub(super) const RESOLVE: u8 = 46;
    pub(super) const RESOLVE_REPLY: u8 = 47;
    pub(super) const NODES: u8 = 48;
    pub(super) const NODES_REPLY: u8 = 49;
    pub(super) const NODE_EVENT: u8 = 50;
    pub(super) const LEADS: u8 = 128;
    pub(super) const PROXIES: u8 = 129;
    pub(super) const PROXIES_REPLY: u8 = 130;
}

/// A packet. Names are plain texts, for they come from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet {
    /// 44, TCP: a node announces its routes.
    Register {
        /// The name of the node.
        node: String,
        /// How it can be reached.
        routes: Vec<Route>,
    },
    /// 45, TCP: the answer to that.
    RegisterReply {
        /// Why not, or nothing if it is registered.
        error: Option<String>,
    },
    /// 46, UDP: where is this node?
    Resolve {
        /// The name of the node.
        node: String,
    },
    /// 47, UDP: the answer to that.
    ResolveReply {
        /// How the node can be reached.
        routes: Vec<Route>,
        /// Why not, or nothing if the node is known.
        error: Option<String>,
    },
    /// 48, UDP, since 3.3.0: which nodes are registered here?
    Nodes,
    /// 49, UDP, since 3.3.0: the answer to that.
    NodesReply {
        /// The names of the nodes.
        nodes: Vec<String>,
    },
    /// 50, TCP, since 3.3.0: a node came or went.
    NodeEvent {
        /// The name of the node.
        node: String,
        /// Whether it came.
        joined: bool,
    },
    /// 128, TCP, postroad only: to whom the node leads that is registered by this
    /// link, in the place of what it said before.
    Leads {
        /// Patterns of names.
        to: Vec<String>,
    },
    /// 129, UDP, postroad only: which nodes of this host lead to whom?
    Proxies,
    /// 130, UDP, postroad only: the answer to that.
    ProxiesReply {
        /// One for each node and pattern.
        proxies: Vec<Proxy>,
    },
}

/// A node, and to whom it leads as a proxy (`docs/wire/ESRD.md` section 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The name of the node.
    pub node: String,
    /// A pattern of the names it leads to.
    pub to: String,
}

/// Why bytes are not a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The first byte is another version.
    #[error("registrar packets of version {0}, only version 1 is known; is this port that of a registrar?")]
    WrongVersion(u8),
    /// A type of a release to come, or none at all: to be ignored.
    #[error("registrar packet of unknown type {0}")]
    UnknownType(u8),
    /// There are fewer bytes than the header announces, or none for a header.
    #[error("a registrar packet of {needed} bytes, of which {got} have come")]
    Truncated {
        /// How long the packet is, as far as it is known.
        needed: usize,
        /// How many bytes there are.
        got: usize,
    },
    /// The body is not laid out as specified.
    #[error("the body of a registrar packet of type {kind} is malformed: {source}")]
    Malformed {
        /// The type of the packet.
        kind: u8,
        /// What is wrong with it.
        source: BodyError,
    },
    /// A packet of ours is longer than its length field can say.
    #[error("a registrar packet with a body of {0} bytes, at most 65535 fit; register fewer routes")]
    TooLong(usize),
}

/// What the front of a TCP stream of packets holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketSplit<'a> {
    /// A whole packet, header included.
    Packet {
        /// The packet.
        packet: &'a [u8],
        /// What follows it.
        rest: &'a [u8],
    },
    /// A part of a packet.
    Need {
        /// How many more bytes make a whole one, at least.
        more: usize,
    },
}

/// Looks for a whole packet at the front of `stream`. Packets end at 65,539
/// bytes, so a buffer needs no more.
///
/// # Errors
/// [`PacketError::WrongVersion`]: the stream is of no use any more.
pub fn split(stream: &[u8]) -> Result<PacketSplit<'_>, PacketError> {
    match *stream {
        [version, ..] if version != VERSION => Err(PacketError::WrongVersion(version)),
        [_, _, high, low, ..] => {
            let len = HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
            Ok(match stream.split_at_checked(len) {
                Some((packet, rest)) => PacketSplit::Packet { packet, rest },
                None => PacketSplit::Need { more: len - stream.len() },
            })
        }
        _ => Ok(PacketSplit::Need { more: HEADER_LEN - stream.len() }),
    }
}

impl Packet {
    /// Reads a packet: a datagram, or what [`split`] cut out of a stream. Bytes
    /// behind it are ignored, as in Ergo.
    ///
    /// # Errors
    /// Over UDP the datagram is to be ignored, over TCP the link is to be
    /// closed; but [`PacketError::UnknownType`] is to be ignored everywhere.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let packet = match split(bytes)? {
            PacketSplit::Packet { packet, .. } => packet,
            PacketSplit::Need { more } => {
                return Err(PacketError::Truncated { needed: bytes.len() + more, got: bytes.len() });
            }
        };
        let (kind, body) = (packet[1], &packet[HEADER_LEN..]);
        let type_name = type_name(kind).ok_or(PacketError::UnknownType(kind))?;
        Self::read(kind, type_name, body).map_err(|source| PacketError::Malformed { kind, source })
    }

    /// Appends the packet to `out`.
    ///
    /// # Errors
    /// [`PacketError::TooLong`]; `out` is then as it was. What a v3.2.0 peer
    /// reads is less: see the limits in the [module](super).
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), PacketError> {
        let start = out.len();
        let kind = self.kind();
        out.extend_from_slice(&[VERSION, kind, 0, 0]);
        let mut body = Writer::of_registered(out, type_name(kind).unwrap_or_default());
        self.write(&mut body);
        let len = out.len() - start - HEADER_LEN;
        let Ok(announced) = u16::try_from(len) else {
            out.truncate(start);
            return Err(PacketError::TooLong(len));
        };
        out[start + 2..start + HEADER_LEN].copy_from_slice(&announced.to_be_bytes());
        Ok(())
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Register { .. } => kind::REGISTER,
            Self::RegisterReply { .. } => kind::REGISTER_REPLY,
            Self::Resolve { .. } => kind::RESOLVE,
            Self::ResolveReply { .. } => kind::RESOLVE_REPLY,
            Self::Nodes => kind::NODES,
            Self::NodesReply { .. } => kind::NODES_REPLY,
            Self::NodeEvent { .. } => kind::NODE_EVENT,
            Self::Leads { .. } => kind::LEADS,
            Self::Proxies => kind::PROXIES,
            Self::ProxiesReply { .. } => kind::PROXIES_REPLY,
        }
    }

    fn read(kind: u8, type_name: &str, body: &[u8]) -> Result<Self, BodyError> {
        let (name, mut fields) = Fields::of_registered(body)?;
        if name != type_name.as_bytes() {
            return Err(BodyError::UnknownType);
        }
        Ok(match kind {
            kind::REGISTER => {
                Self::Register { node: read_name(&mut fields)?, routes: read_routes(&mut fields)? }
            }
            kind::REGISTER_REPLY => Self::RegisterReply { error: read_error(&mut fields)? },
            kind::RESOLVE => Self::Resolve { node: read_name(&mut fields)? },
            kind::RESOLVE_REPLY => {
                Self::ResolveReply { routes: read_routes(&mut fields)?, error: read_error(&mut fields)? }
            }
            kind::NODES_REPLY => {
                let nodes =
                    (0..fields.slice(2)?).map(|_| read_name(&mut fields)).collect::<Result<_, _>>()?;
                Self::NodesReply { nodes }
            }
            kind::NODE_EVENT => Self::NodeEvent { node: read_name(&mut fields)?, joined: fields.bool()? },
            kind::LEADS => {
                let to = (0..fields.slice(2)?).map(|_| read_text(&mut fields)).collect::<Result<_, _>>()?;
                Self::Leads { to }
            }
            kind::PROXIES => Self::Proxies,
            kind::PROXIES_REPLY => {
                let proxies =
                    (0..fields.slice(4)?).map(|_| read_proxy(&mut fields)).collect::<Result<_, _>>()?;
                Self::ProxiesReply { proxies }
            }
            _ => Self::Nodes,
        })
    }

    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Register { node, routes } => {
                out.text(node);
                write_routes(out, routes);
            }
            Self::RegisterReply { error } => out.error(error.as_deref()),
            Self::Resolve { node } => out.text(node),
            Self::ResolveReply { routes, error } => {
                write_routes(out, routes);
                out.error(error.as_deref());
            }
            Self::Nodes => {}
            Self::NodesReply { nodes } => {
                out.slice(nodes.len());
                nodes.iter().for_each(|node| out.text(node));
            }
            Self::NodeEvent { node, joined } => {
                out.text(node);
                out.bool(*joined);
            }
            Self::Leads { to } => {
                out.slice(to.len());
                to.iter().for_each(|to| out.text(to));
            }
            Self::Proxies => {}
            Self::ProxiesReply { proxies } => {
                out.slice(proxies.len());
                for Proxy { node, to } in proxies {
                    out.text(node);
                    out.text(to);
                }
            }
        }
    }
}

/// The one type that a packet's body consists of.
const fn type_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        kind::REGISTER => "#ergo.services/ergo/net/registrar/MessageRegisterRoutes",
        kind::REGISTER_REPLY => "#ergo.services/ergo/net/registrar/MessageRegisterReply",
        kind::RESOLVE => "#ergo.services/ergo/net/registrar/MessageResolveRoutes",
        kind::RESOLVE_REPLY => "#ergo.services/ergo/net/registrar/MessageResolveReply",
        kind::NODES => "#ergo.services/ergo/net/registrar/MessageNodes",
        kind::NODES_REPLY => "#ergo.services/ergo/net/registrar/MessageNodesReply",
        kind::NODE_EVENT => "#ergo.services/ergo/net/registrar/MessageNodeEvent",
        kind::LEADS => "#postroad/registrar/Leads",
        kind::PROXIES => "#postroad/registrar/Proxies",
        kind::PROXIES_REPLY => "#postroad/registrar/ProxiesReply",
        _ => return None,
    })
}

fn read_name(fields: &mut Fields<'_>) -> Result<String, BodyError> {
    fields.atom_text().map(str::to_owned)
}

fn read_text(fields: &mut Fields<'_>) -> Result<String, BodyError> {
    fields.text().map(std::borrow::Cow::into_owned)
}

fn read_proxy(fields: &mut Fields<'_>) -> Result<Proxy, BodyError> {
    Ok(Proxy { node: read_name(fields)?, to: read_text(fields)? })
}

fn read_error(fields: &mut Fields<'_>) -> Result<Option<String>, BodyError> {
    Ok(fields.error()?.map(Into::into))
}

fn read_routes(fields: &mut Fields<'_>) -> Result<Vec<Route>, BodyError> {
    (0..fields.slice(Route::MIN_LEN)?).map(|_| Route::read(fields)).collect()
}

fn write_routes(out: &mut Writer<'_>, routes: &[Route]) {
    out.slice(routes.len());
    routes.iter().for_each(|route| route.write(out));
}
