//! Cuts bytes into packets of Ergo's protocols, and shows each as JSON.

use anyhow::anyhow;
use postroad_edf::{
    DecodeError, DecodeTables, Decoder, EncodeTables, ErrorValue, Opaque, Registry, Struct, Value,
};
use postroad_wire::enp::{self, Code, Delivery, Frame, Head, Name, Split, Subject, Target};
use postroad_wire::{NetworkFlags, esrd};
use serde_json::{Map, Value as Json, json};

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
    tables: DecodeTables,
    protocol: Option<Protocol>,
}

/// The longest frame that is unpacked, in bytes.
const MAX_UNPACKED: u64 = 128 << 20;

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
                let (fields, damage) = self.frame(frame)?;
                let mut out = object("enp", &[]);
                out.extend(fields);
                Ok(Packet { json: out.into(), len: frame.len(), damage })
            }
            Ok(Split::Need { more }) => Err(Stop::short(bytes, bytes.len() + more)),
            Err(error) => Err(Stop::new(0, error.into())),
        }
    }

    /// A whole frame: its fields by name, and its payload.
    fn frame(&self, bytes: &[u8]) -> Result<(Map<String, Json>, Option<Stop>), Stop> {
        let frame = Frame::parse(bytes).map_err(|error| Stop::new(enp::HEADER_LEN, error.into()))?;
        let kind = bytes[enp::HEADER_LEN - 1];
        let mut out = Map::new();
        out.insert("kind".into(), json!(kind_name(kind)));
        out.insert("type".into(), json!(kind));
        out.insert("order".into(), json!(frame.order));
        self.head(&frame.head, &mut out);
        let before = bytes.len() - frame.payload.len();
        let damage = match frame.head {
            Head::Compressed { method, unpacked_len } => {
                let inner = enp::compress::unpack(method, unpacked_len, frame.payload, MAX_UNPACKED)
                    .map_err(|error| Stop::new(before, error.into()))?;
                self.inner(&inner, &mut out).map(|stop| Stop { at: before, ..stop })
            }
            Head::Traced { .. } => self.inner(frame.payload, &mut out).map(|stop| stop.shift(before)),
            Head::Fragment { .. } | Head::Unknown(_) => {
                out.insert("payload_hex".into(), json!(hex::encode(frame.payload)));
                None
            }
            _ if frame.payload.is_empty() => None,
            _ => self.payload(frame.payload, &mut out).map(|stop| stop.shift(before)),
        };
        Ok((out, damage))
    }

    /// A frame within a frame. What cannot be read of it does not hide the
    /// frame around it.
    fn inner(&self, bytes: &[u8], out: &mut Map<String, Json>) -> Option<Stop> {
        match self.frame(bytes) {
            Ok((inner, damage)) => {
                out.insert("inner".into(), inner.into());
                damage
            }
            Err(stop) => {
                out.insert("payload_hex".into(), json!(hex::encode(bytes)));
                Some(stop)
            }
        }
    }

    fn payload(&self, payload: &[u8], out: &mut Map<String, Json>) -> Option<Stop> {
        match self.value(payload) {
            Ok((json, read)) => {
                out.insert("payload".into(), json);
                if read < payload.len() {
                    out.insert("left_over".into(), json!(hex::encode(&payload[read..])));
                }
                None
            }
            Err(stop) => {
                out.insert("payload_hex".into(), json!(hex::encode(payload)));
                Some(stop)
            }
        }
    }

    fn head(&self, head: &Head<'_>, out: &mut Map<String, Json>) {
        let mut put = |key: &str, json: Json| out.insert(key.to_owned(), json);
        match *head {
            Head::Message { from, delivery, message_id, to } => {
                put("from", number(from));
                deliver(delivery, &mut put);
                if delivery.important {
                    put("message_id", number(message_id));
                }
                self.target(to, &mut put);
            }
            Head::Request { from, delivery, reference, to } => {
                put("from", number(from));
                deliver(delivery, &mut put);
                put("ref", ids(reference));
                self.target(to, &mut put);
            }
            Head::Response { from, delivery, to, reference } => {
                put("from", number(from));
                deliver(delivery, &mut put);
                put("to", number(to));
                put("ref", ids(reference));
            }
            Head::ResponseError { from, delivery, to, reference, code } => {
                put("from", number(from));
                deliver(delivery, &mut put);
                put("to", number(to));
                put("ref", ids(reference));
                put("code", code_number(code));
            }
            Head::Ack { from, to, reference, code } => {
                put("from", number(from));
                put("to", number(to));
                put("ref", ids(reference));
                put("code", code_number(code));
            }
            Head::Event { from, priority, timestamp, name } => {
                put("from", number(from));
                put("priority", json!(priority as u8));
                put("timestamp", json!(timestamp.to_string()));
                self.name("event_name", name, &mut put);
            }
            Head::Exit { from, to } => {
                put("from", number(from));
                put("to", number(to));
            }
            Head::Terminate { subject } => match subject {
                Subject::Pid(id) => drop(put("target", number(id))),
                Subject::Name(name) => self.name("target_name", name, &mut put),
                Subject::Alias(alias) => drop(put("target_alias", ids(alias))),
                Subject::Event(name) => self.name("target_event", name, &mut put),
            },
            Head::Compressed { method, unpacked_len } => {
                put("compression", json!(method as u8));
                put("unpacked_len", json!(unpacked_len));
            }
            Head::Fragment { sequence, index, total } => {
                put("sequence", json!(sequence));
                put("index", json!(index));
                put("total", json!(total));
            }
            Head::Traced { trace, span } => {
                put("trace", json!(trace.map(|id| format!("{id:016x}"))));
                put("span", json!(format!("{span:016x}")));
            }
            Head::ClockSkew { sent, received, answered } => {
                put("sent", json!(sent.to_string()));
                put("received", json!(received.to_string()));
                put("answered", json!(answered.to_string()));
            }
            _ => {}
        }
    }

    fn target(&self, target: Target<'_>, put: &mut impl FnMut(&str, Json) -> Option<Json>) {
        match target {
            Target::Pid(id) => drop(put("to", number(id))),
            Target::Name(name) => self.name("to_name", name, put),
            Target::Alias(alias) => drop(put("to_alias", ids(alias))),
        }
    }

    fn name(&self, key: &str, name: Name<'_>, put: &mut impl FnMut(&str, Json) -> Option<Json>) {
        match name {
            Name::Inline(bytes) => drop(put(key, text(bytes))),
            Name::Cached(id) => {
                put(key, self.tables.atom(id).map_or(Json::Null, |atom| json!(atom.as_str())));
                put(&format!("{key}_cache_id"), json!(id));
            }
        }
    }

    /// A value with its type in front, and how many bytes it takes. Of a type
    /// that nobody knows, the name and the bytes.
    fn value(&self, bytes: &[u8]) -> Result<(Json, usize), Stop> {
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
    fn new(at: usize, why: anyhow::Error) -> Self {
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
    fn shift(self, len: usize) -> Self {
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

/// A text; its bytes if it is not UTF-8.
fn text(bytes: &[u8]) -> Json {
    std::str::from_utf8(bytes).map_or_else(|_| json!({"bytes_hex": hex::encode(bytes)}), |text| json!(text))
}

/// The ids of a reference.
fn ids(ids: [u64; 3]) -> Json {
    json!(ids.map(|id| id.to_string()))
}

fn number(id: u64) -> Json {
    json!(id.to_string())
}

fn deliver(delivery: Delivery, put: &mut impl FnMut(&str, Json) -> Option<Json>) {
    put("priority", json!(delivery.priority as u8));
    put("important", json!(delivery.important));
}

fn code_number(code: Code) -> Json {
    json!(match code {
        Code::Ok => 0,
        Code::UnknownProcess => 1,
        Code::MailboxFull => 2,
        Code::Terminated => 3,
        Code::Error => 255,
    })
}

/// The names of frame types (`docs/wire/ENP.md` sections 2 and 15).
fn kind_name(kind: u8) -> &'static str {
    match kind {
        99 => "Extend",
        101 => "MessagePID",
        102 => "MessageName",
        103 => "MessageNameCache",
        104 => "MessageAlias",
        105 => "MessageEvent",
        106 => "MessageEventCache",
        107 => "MessageExit",
        121 => "RequestPID",
        122 => "RequestName",
        123 => "RequestNameCache",
        124 => "RequestAlias",
        129 => "Response",
        130 => "ResponseError",
        131 => "Ack",
        181 => "TerminatePID",
        182 => "TerminateName",
        183 => "TerminateNameCache",
        184 => "TerminateAlias",
        185 => "TerminateEvent",
        186 => "TerminateEventCache",
        199 => "Any",
        200 => "Z",
        202 => "Fragment",
        204 => "Traced",
        208 => "Keepalive",
        209 => "ClockSkew",
        _ => "unknown",
    }
}
