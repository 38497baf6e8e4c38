use postroad_wire::Version;
use postroad_wire::esrd::{Packet, PacketSplit, Route, split};
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
