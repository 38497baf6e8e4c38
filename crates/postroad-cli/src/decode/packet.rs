//! Cuts bytes into packets of Ergo's protocols, and shows each as JSON.

use anyhow::anyhow;
use postroad_edf::{
    DecodeError, DecodeTables, Decoder, EncodeTables, ErrorValue, Opaque, Registry, Struct, Value,
};
use postroad_wire::enp::{self, Split};
use postroad_wire::{NetworkFlags, esrd};
use serde_json::{Map, Value as Json, json};

use super::frame::LEVELS;

/// What bytes can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Protocol {
    /// Values with their type in front.
    Edf,
    /// Messages of the handshake.
    Ehs,
    /// Frames between connected nodes.
    Enp,
    /// Packets of the embedded registrar.
    Esrd,
}

/// A packet that was read.
pub(super) struct Packet {
    pub(super) json: Json,
    /// How many bytes it takes.
    pub(super) len: usize,
    /// Its payload broke off there; the packet itself is whole.
    pub(super) damage: Option<Stop>,
}

/// Where reading ended, and why.
pub(super) struct Stop {
    /// Counted from the first byte of the packet.
    pub(super) at: usize,
    pub(super) why: anyhow::Error,
}

/// Reads packet after packet of one direction, and remembers what an Introduce
/// said about the numbers in those behind it.
pub(super) struct Packets {
    registry: Registry,
    pub(super) tables: DecodeTables,
    protocol: Option<Protocol>,
}

const EHS_HEADER: usize = 6;

impl Packets {
    pub(super) fn new(registry: Registry, protocol: Option<Protocol>) -> Self {
        let mut tables = DecodeTables::default();
        tables.features.pointers = true;
        tables.features.wrapped_errors = true;
        Self { registry, tables, protocol }
    }

    /// Reads the packet at the front of `bytes`, of which there is at least one.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Packet, Stop> {
        match self.protocol.unwrap_or_else(|| Protocol::of(bytes)) {
            Protocol::Edf => self.edf(bytes),
            Protocol::Ehs => self.ehs(bytes),
            Protocol::Enp => self.enp(bytes),
            Protocol::Esrd => self.esrd(bytes),
        }
    }

    fn edf(&self, bytes: &[u8]) -> Result<Packet, Stop> {
        let (json, len) = self.value(bytes)?;
        let mut out = object("edf", &[]);
        match json {
            Json::Object(typed) => out.extend(typed),
            nil => out.extend([("value".to_owned(), nil)]),
        }
        Ok(Packet { json: out.into(), len, damage: None })
    }

    /// `docs/wire/EHS.md` section 2: magic, version, length, one EDF value.
    fn ehs(&mut self, bytes: &[u8]) -> Result<Packet, Stop> {
        let Some((&[magic, version, len @ ..], rest)) = bytes.split_first_chunk::<EHS_HEADER>() else {
            return Err(Stop::short(bytes, EHS_HEADER));
        };
        if (magic, version) != (b'W', 1) {
            return Err(Stop::new(
                0,
                anyhow!("a handshake message begins with 5701, not {magic:02x}{version:02x}"),
            ));
        }
        let len = u32::from_be_bytes(len) as usize;
        let body = rest.get(..len).ok_or_else(|| Stop::short(bytes, EHS_HEADER.saturating_add(len)))?;
        let mut decoder = Decoder::new(body, &self.tables, &self.registry);
        let value =
            decoder.value().map_err(|error| Stop::in_value(body, &decoder, error).shift(EHS_HEADER))?;
        let mut out = object("ehs", &[]);
        if let Json::Object(typed) = value.to_json() {
            out.extend(typed);
        }
        if let Value::Struct(message) = &value
            && message.definition.name.as_str().ends_with("/MessageIntroduce")
        {
            out.extend(flags(message).map(|flags| ("flags".to_owned(), flags)));
            self.introduced(message);
        }
        Ok(Packet { json: out.into(), len: EHS_HEADER + len, damage: None })
    }

    /// Takes the numbers over that a node announces (`docs/wire/EHS.md` section 6).
    fn introduced(&mut self, introduce: &Struct) {
        let mut tables = DecodeTables::default();
        tables.features = self.tables.features;
        for (id, name) in table(introduce, "AtomCache") {
            if let Value::Atom(atom) = name {
                tables.insert_atom(id, *atom);
            }
        }
        for (id, name) in table(introduce, "RegCache") {
            if let Value::String(name) = name {
                tables.insert_type(id, &name.to_string_lossy());
            }
        }
        for (id, error) in table(introduce, "ErrCache") {
            if let Value::Error(error) = error {
                tables.insert_error(id, ErrorValue::new(error.text().clone()));
                // The last id means an error that wraps others, unless it was given to one.
                tables.features.wrapped_errors &= id != *EncodeTables::ERROR_IDS.end();
            }
        }
        self.tables = tables;
    }

    /// `docs/wire/ESRD.md` section 2: version, type, length, one EDF value.
    fn esrd(&self, bytes: &[u8]) -> Result<Packet, Stop> {
        let packet = match esrd::split(bytes) {
            Ok(esrd::PacketSplit::Packet { packet, .. }) => packet,
            Ok(esrd::PacketSplit::Need { more }) => return Err(Stop::short(bytes, bytes.len() + more)),
            Err(error) => return Err(Stop::new(0, error.into())),
        };
        let body = &packet[esrd::HEADER_LEN..];
        let (json, read) = self.value(body).map_err(|stop| stop.shift(esrd::HEADER_LEN))?;
        let mut out = object("esrd", &[("packet", json!(packet[1]))]);
        if let Json::Object(typed) = json {
            out.extend(typed);
        }
        if read < body.len() {
            out.insert("left_over".to_owned(), json!(hex::encode(&body[read..])));
        }
        Ok(Packet { json: out.into(), len: packet.len(), damage: None })
    }

    fn enp(&self, bytes: &[u8]) -> Result<Packet, Stop> {
        match enp::split(bytes, 0) {
            Ok(Split::Frame { frame, .. }) => {
                let (fields, damage) = self.frame(frame, LEVELS)?;
                let mut out = object("enp", &[]);
                out.extend(fields);
                Ok(Packet { json: out.into(), len: frame.len(), damage })
            }
            Ok(Split::Need { more }) => Err(Stop::short(bytes, bytes.len() + more)),
            Err(error) => Err(Stop::new(0, error.into())),
        }
    }

    /// A value with its type in front, and how many bytes it takes. Of a type
    /// that nobody knows, the name and the bytes.
    pub(super) fn value(&self, bytes: &[u8]) -> Result<(Json, usize), Stop> {
        let mut decoder = Decoder::new(bytes, &self.tables, &self.registry);
        match decoder.value() {
            Ok(value) => Ok((value.to_json(), bytes.len() - decoder.remaining().len())),
            Err(error) => {
                let mut payload = Decoder::new(bytes, &self.tables, &self.registry);
                match payload.payload().map(|payload| payload.downcast::<Opaque>()) {
                    Ok(Ok(unknown)) => Ok((
                        json!({"type": unknown.name, "opaque_hex": hex::encode(&unknown.bytes)}),
                        bytes.len(),
                    )),
                    _ => Err(Stop::in_value(bytes, &decoder, error)),
                }
            }
        }
    }
}

impl Protocol {
    /// No EDF value begins like a packet of another protocol.
    fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(b'N') => Self::Enp,
            Some(b'W') => Self::Ehs,
            Some(1) => Self::Esrd,
            _ => Self::Edf,
        }
    }
}

impl Stop {
    pub(super) fn new(at: usize, why: anyhow::Error) -> Self {
        Self { at, why }
    }

    fn short(bytes: &[u8], needed: usize) -> Self {
        Self::new(bytes.len(), anyhow!("the packet goes on: {needed} bytes belong to it"))
    }

    fn in_value(bytes: &[u8], decoder: &Decoder<'_>, error: DecodeError) -> Self {
        let hint = match error {
            DecodeError::UnknownType(_) => "; describe it with --schema",
            DecodeError::UnknownAtomId(_)
            | DecodeError::UnknownTypeId(_)
            | DecodeError::UnknownErrorId(_) => "; put the Introduce message of the same direction in front",
            _ => "",
        };
        Self::new(bytes.len() - decoder.remaining().len(), anyhow!("{error}{hint}"))
    }

    /// The same place, counted from `len` bytes further to the front.
    pub(super) fn shift(self, len: usize) -> Self {
        Self { at: self.at + len, ..self }
    }
}

/// The entries of a map from numbers in an Introduce.
fn table<'a>(introduce: &'a Struct, field: &str) -> impl Iterator<Item = (u16, &'a Value)> {
    let pairs = match introduce.get(field) {
        Some(Value::Map(map)) => map.pairs.as_deref().unwrap_or_default(),
        _ => &[],
    };
    pairs.iter().filter_map(|(id, value)| match id {
        Value::Uint16(id) => Some((*id, value)),
        _ => None,
    })
}

/// What a node says in its Introduce that it is willing to do, as words.
fn flags(introduce: &Struct) -> Option<Json> {
    /// The names Ergo gives them.
    const NAMES: [(NetworkFlags, &str); 13] = [
        (NetworkFlags::ENABLE, "Enable"),
        (NetworkFlags::REMOTE_SPAWN, "EnableRemoteSpawn"),
        (NetworkFlags::REMOTE_APPLICATION_START, "EnableRemoteApplicationStart"),
        (NetworkFlags::FRAGMENTATION, "EnableFragmentation"),
        (NetworkFlags::PROXY_TRANSIT, "EnableProxyTransit"),
        (NetworkFlags::PROXY_ACCEPT, "EnableProxyAccept"),
        (NetworkFlags::IMPORTANT_DELIVERY, "EnableImportantDelivery"),
        (NetworkFlags::SIMULTANEOUS_CONNECT, "EnableSimultaneousConnect"),
        (NetworkFlags::CLOCK_SKEW, "EnableClockSkew"),
        (NetworkFlags::TRACING, "EnableTracing"),
        (NetworkFlags::WRAPPED_ERRORS, "EnableWrappedErrors"),
        (NetworkFlags::SCHEMA_EVOLUTION, "EnableSchemaEvolution"),
        (NetworkFlags::ACK, "EnableAck"),
    ];
    let Some(Value::Named(flags)) = introduce.get("Flags") else { return None };
    let Value::Binary(bytes) = &flags.value else { return None };
    let flags = NetworkFlags::from_bits(u64::from_be_bytes(*bytes.first_chunk()?));
    let mut on: Vec<String> =
        NAMES.iter().filter(|(flag, _)| flags.allows(*flag)).map(|(_, name)| (*name).to_owned()).collect();
    on.extend(flags.keepalive().map(|seconds| format!("keepalive every {seconds} s")));
    Some(json!(on))
}

fn object(protocol: &str, fields: &[(&str, Json)]) -> Map<String, Json> {
    let first = ("protocol".to_owned(), json!(protocol));
    std::iter::once(first).chain(fields.iter().map(|(key, json)| ((*key).to_owned(), json.clone()))).collect()
}
