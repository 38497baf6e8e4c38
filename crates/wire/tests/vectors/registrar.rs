use postroad_wire::Version;
use postroad_wire::esrd::{Packet, PacketSplit, Proxy, Route, split};
use serde_json::{Value, json};

use crate::recorded::{files, json as read_json, value};

fn version(version: &Version) -> Value {
    json!({"fields": [
        ["Name", version.name],
        ["Release", version.release],
        ["Commit", version.commit],
        ["License", version.license],
    ]})
}

fn routes(routes: &[Route]) -> Value {
    if routes.is_empty() {
        return json!({"nil": true});
    }
    routes
        .iter()
        .map(|route| {
            json!({"fields": [
                ["Host", route.host],
                ["Port", route.port],
                ["TLS", route.tls],
                ["HandshakeVersion", version(&route.handshake_version)],
                ["ProtoVersion", version(&route.proto_version)],
            ]})
        })
        .collect()
}

#[test]
fn vector_registrar_packets_are_read_and_written() {
    let mut kinds = std::collections::BTreeSet::new();
    for path in files("registrar", ".json") {
        for recorded in read_json(&path)["packets"].as_array().unwrap() {
            let Some(text) = recorded["hex"].as_str() else { continue };
            let place = format!("{} packet {}", path.display(), recorded["n"]);
            let bytes = hex::decode(text).unwrap();
            kinds.insert(bytes[1]);
            assert_eq!(split(&bytes), Ok(PacketSplit::Packet { packet: &bytes, rest: &[] }), "{place}");

            let packet = Packet::decode(&bytes).unwrap_or_else(|e| panic!("{place}: {e}"));
            let decoded = &recorded["decoded"];
            let compare =
                |field: &str, read: Value| assert_eq!(value(decoded, field), &read, "{place}: {field}");
            match &packet {
                Packet::Register { node, routes: all } => {
                    compare("Node", json!(node));
                    compare("Routes", routes(all));
                }
                Packet::RegisterReply { error } => compare("Error", json!(error)),
                Packet::Resolve { node } => compare("Node", json!(node)),
                Packet::ResolveReply { routes: all, error } => {
                    compare("Routes", routes(all));
                    compare("Error", json!(error));
                }
                Packet::NodesReply { nodes } => compare("Nodes", json!(nodes)),
                Packet::NodeEvent { node, joined } => {
                    compare("Node", json!(node));
                    compare("Joined", json!(joined));
                }
                _ => {}
            }

            let mut out = b"before".to_vec();
            packet.encode(&mut out).unwrap();
            assert_eq!(hex::encode(&out[6..]), text, "{place}");
        }
    }
    assert!(kinds.is_superset(&[44, 45, 46, 47].into()), "only these types of packets were seen: {kinds:?}");
}

/// Ergo has nothing of the kind: `docs/wire/ESRD.md` section 9.
#[test]
fn our_own_packets_are_as_documented() {
    let one = |text: &str| [&[0x9d, 0, 0, 0, 1], text.as_bytes()].concat();
    for (kind, packet, name, fields) in [
        (
            0x80,
            Packet::Leads { to: vec!["web@x".to_owned()] },
            "#postroad/registrar/Leads",
            one("\0\x05web@x"),
        ),
        (0x81, Packet::Proxies, "#postroad/registrar/Proxies", Vec::new()),
        (
            0x82,
            Packet::ProxiesReply { proxies: vec![Proxy { node: "a@b".to_owned(), to: ".*".to_owned() }] },
            "#postroad/registrar/ProxiesReply",
            one("\0\x03a@b\0\x02.*"),
        ),
    ] {
        let body = [&[0x83, 0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &fields].concat();
        let whole = [&[1, kind, 0, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        let mut out = Vec::new();
        packet.encode(&mut out).unwrap();
        assert_eq!(out, whole);
        assert_eq!(Packet::decode(&whole), Ok(packet));
    }
}
