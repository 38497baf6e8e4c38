//! Frames between connected nodes as JSON: the fields by name, and the payload.

use anyhow::anyhow;
use postroad_wire::enp::{self, Code, Delivery, Frame, Head, Name, Subject, Target};
use serde_json::{Map, Value as Json, json};

use super::packet::{Packets, Stop};

/// A packed frame in a traced one is as deep as it gets.
pub(super) const LEVELS: u8 = 2;

/// The longest frame that is unpacked, in bytes.
const MAX_UNPACKED: u64 = 128 << 20;

impl Packets {
    /// A whole frame: its fields by name, and its payload. Of frames within
    /// frames, that many levels are read.
    pub(super) fn frame(&self, bytes: &[u8], levels: u8) -> Result<(Map<String, Json>, Option<Stop>), Stop> {
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
                self.inner(&inner, levels, &mut out).map(|stop| Stop { at: before, ..stop })
            }
            Head::Traced { .. } => self.inner(frame.payload, levels, &mut out).map(|stop| stop.shift(before)),
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
    fn inner(&self, bytes: &[u8], levels: u8, out: &mut Map<String, Json>) -> Option<Stop> {
        let inner = match levels.checked_sub(1) {
            Some(levels) => self.frame(bytes, levels),
            None => Err(Stop::new(0, anyhow!("no node puts frames into each other that deep"))),
        };
        match inner {
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
        240 => "Summon",
        241 => "Decline",
        _ => "unknown",
    }
}
