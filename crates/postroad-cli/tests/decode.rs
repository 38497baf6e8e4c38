//! `postroad decode`, run as people run it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

fn decode(arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_postroad"))
        .arg("decode")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = program.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = program.wait_with_output().unwrap();
    // The program need not read what it does not want.
    let _ = writer.join().unwrap();
    output
}

fn lines(output: &Output) -> Vec<Json> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn errors(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/vectors")
}

#[test]
fn a_value_and_its_type() {
    let output = decode(&["92 07\n"], "");
    assert!(output.status.success());
    assert_eq!(lines(&output), [json!({"protocol": "edf", "type": "int8", "value": 7})]);
}

#[test]
fn values_one_after_the_other_from_the_standard_input() {
    let output = decode(&["-"], "0x9101\n  9601 00000000\n000002 ff");
    assert!(output.status.success(), "{}", errors(&output));
    let [first, second, third] = &lines(&output)[..] else { panic!("{output:?}") };
    assert_eq!(*first, json!({"protocol": "edf", "type": "bool", "value": true}));
    assert_eq!(*second, json!({"protocol": "edf", "type": "int", "value": "72057594037927938"}));
    assert_eq!(*third, json!({"protocol": "edf", "value": null}));
}

#[test]
fn broken_input_says_where_it_stopped_and_why() {
    for (input, expected) in [
        ("8d000568656c", "stopped at byte 3 of 6: end of data in the middle of a value"),
        ("9207 9d", "stopped at byte 3 of 3: unknown type tag 157"),
        ("9cc000", "stopped at byte 3 of 3: the peer has not announced error id 49152"),
        ("4e01000000", "stopped at byte 5 of 5: the packet goes on: 8 bytes belong to it"),
        ("4e0100000009ff65 00", "stopped at byte 8 of 9"),
        ("4e02", "a frame has version 2"),
        ("5701ffffffff", "the packet goes on: 4294967301 bytes belong to it"),
        ("012d0001", "the packet goes on: 5 bytes belong to it"),
        ("0", "these are not hexadecimal digits"),
        ("hello", "these are not hexadecimal digits"),
        ("", "there are no bytes"),
    ] {
        let output = decode(&["-"], input);
        assert!(!output.status.success(), "{input}");
        assert!(errors(&output).contains(expected), "{input}: {}", errors(&output));
    }
}

#[test]
fn a_frame_whose_payload_breaks_off_is_shown_all_the_same() {
    let frame = "4e0100000022ec6500000000000003e900000000000000000000000000000003e98d00ff";
    let output = decode(&["-"], &frame[..68]);
    let [frame] = &lines(&output)[..] else { panic!("{output:?}") };
    assert_eq!(frame["to"], "1001");
    assert_eq!(frame["payload_hex"], "8d");
    assert!(!output.status.success());
    assert!(errors(&output).contains("the payload broke off at byte 34 of 34"), "{}", errors(&output));
}

#[test]
fn frames_within_frames_are_read_to_a_depth() {
    let mut frame = "4e0100000008 00d0".replace(' ', "");
    for _ in 0..2000 {
        let len = frame.len() / 2 + 32;
        frame = format!("4e01{len:08x}00cc{}{frame}", "11".repeat(24));
    }
    let output = decode(&["-"], &frame);
    let [traced] = &lines(&output)[..] else { panic!("{output:?}") };
    assert_eq!(traced["span"], "1111111111111111");
    assert_eq!(traced["inner"]["inner"]["kind"], "Traced");
    assert!(errors(&output).contains("that deep"), "{}", errors(&output));
    assert!(!output.status.success());
}

#[test]
fn a_type_that_nobody_knows_keeps_name_and_bytes() {
    let output = decode(&["83000e236d61696e2f6c6174655479706505"], "");
    assert!(output.status.success());
    assert_eq!(lines(&output), [json!({"protocol": "edf", "type": "#main/lateType", "opaque_hex": "05"})]);
}

#[test]
fn a_schema_file_makes_types_known() {
    let file = late_type("schema");
    let output = decode(&["83000e236d61696e2f6c6174655479706505", "--schema", file.to_str().unwrap()], "");
    std::fs::write(&file, "\n{\"name\":\"#main/x\",\"kind\":\"in8\"}\n").unwrap();
    let refused = decode(&["9207", "--schema", file.to_str().unwrap()], "");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(lines(&output)[0]["value"], json!({"fields": [["A", 5]]}));
    assert!(!refused.status.success());
    assert!(errors(&refused).contains("line 2"), "{}", errors(&refused));
}

/// Both directions of every recorded session, as one would cut them out of a
/// packet dump: the Introduce makes the numbers behind it readable.
#[test]
fn the_golden_vectors_of_sessions() {
    let mut packets = 0;
    let late = late_type("sessions");
    for (name, session) in sessions() {
        for direction in ["A>B", "B>A"] {
            let frames: Vec<&Json> = session["frames"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|frame| frame["dir"] == direction && frame["conn"] == 0 && frame["layer"] != "tcp")
                .collect();
            let hex: Vec<&str> = frames.iter().map(|frame| frame["hex"].as_str().unwrap()).collect();
            if hex.is_empty() {
                // With a wrong cookie one side never speaks.
                continue;
            }
            let types = vectors().join("edf_test_types.jsonl");
            let output = decode(
                &["-", "--schema", types.to_str().unwrap(), "--schema", late.to_str().unwrap()],
                &hex.join("\n"),
            );
            assert!(output.status.success(), "{name}: {}", errors(&output));
            let decoded = lines(&output);
            assert_eq!(decoded.len(), frames.len(), "{name}");
            for (frame, decoded) in frames.iter().zip(&decoded) {
                assert_eq!(decoded["protocol"], frame["layer"], "{name}");
                if decoded["protocol"] == "enp" {
                    let note = frame["note"].as_str().unwrap();
                    assert!(note.starts_with(decoded["kind"].as_str().unwrap()), "{name}: {note} {decoded}");
                }
                assert_same(&frame["decoded"], decoded, &format!("{name} frame {}", frame["n"]));
                packets += 1;
            }
        }
    }
    std::fs::remove_file(late).unwrap();
    assert!(packets > 200, "only {packets} packets");
}

#[test]
fn the_golden_vectors_of_the_registrar() {
    let session: Json =
        serde_json::from_str(&std::fs::read_to_string(vectors().join("registrar.json")).unwrap()).unwrap();
    let packets: Vec<&Json> =
        session["packets"].as_array().unwrap().iter().filter(|packet| packet["hex"].is_string()).collect();
    let hex: Vec<&str> = packets.iter().map(|packet| packet["hex"].as_str().unwrap()).collect();
    let output = decode(&["-"], &hex.join(""));
    assert!(output.status.success(), "{}", errors(&output));
    let decoded = lines(&output);
    assert_eq!(decoded.len(), packets.len());
    assert!(decoded.len() > 15);
    for (packet, decoded) in packets.iter().zip(&decoded) {
        assert_eq!(decoded["protocol"], "esrd");
        assert_same(&packet["decoded"], decoded, &packet["n"].to_string());
    }
}

/// A schema file with the type that a session registered after its handshake.
fn late_type(test: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("postroad-{test}-{}.jsonl", std::process::id()));
    std::fs::write(&file, r##"{"name":"#main/lateType","kind":"struct","fields":[["A","int8"]]}"##).unwrap();
    file
}

fn sessions() -> Vec<(String, Json)> {
    let mut found: Vec<(String, Json)> = std::fs::read_dir(vectors())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            name.starts_with("session_")
                .then(|| (name, serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()))
        })
        .collect();
    found.sort_by(|one, two| one.0.cmp(&two.0));
    assert!(found.len() >= 10);
    found
}

/// Compares everything that the vector says, of what it says in full.
fn assert_same(expected: &Json, decoded: &Json, place: &str) {
    match expected {
        Json::Object(fields) if fields.contains_key("first") && fields.contains_key("len") => {
            let text = decoded.as_str().unwrap_or_else(|| panic!("{place}: {decoded}"));
            assert_eq!(text.len() as u64, fields["len"].as_u64().unwrap(), "{place}");
            assert!(text.starts_with(fields["first"].as_str().unwrap()), "{place}");
        }
        Json::Object(fields) if fields.contains_key("repeat") => {
            let text = fields["repeat"].as_str().unwrap().repeat(fields["count"].as_u64().unwrap() as usize);
            assert_eq!(*decoded, text, "{place}");
        }
        Json::Object(fields) if decoded.get("marshaler_bytes").is_some() && fields.contains_key("fields") => {
            assert_flags(&expected["fields"], decoded, place);
        }
        Json::Object(value) if value.contains_key("fields") => {
            let fields = value["fields"].as_array().unwrap();
            let found = decoded["fields"].as_array().unwrap_or_else(|| panic!("{place}: {decoded}"));
            // The vectors leave the type tables of most Introduces out; and types
            // that postroad itself speaks have its own names for the fields.
            let is_shortened = fields.len() < found.len();
            let mut found = found.iter();
            for field in fields {
                let same = found.find(|found| !is_shortened || found[0] == field[0]);
                let same = same.unwrap_or_else(|| panic!("{place}: no {} in {decoded}", field[0]));
                assert_same(&field[1], &same[1], &format!("{place}.{}", field[0]));
            }
        }
        // A map has no order, and the vectors sorted theirs.
        Json::Object(value) if value.contains_key("pairs") => {
            let sorted = |json: &Json| {
                let mut pairs = json["pairs"].as_array().unwrap().clone();
                pairs.sort_by_key(ToString::to_string);
                Json::from(pairs)
            };
            assert_same(&sorted(expected), &sorted(decoded), place);
        }
        Json::Object(fields) => {
            for (key, expected) in fields {
                // Without the important flag this is garbage, and means nothing.
                if key == "message_id" && fields["important"] == false {
                    continue;
                }
                // What came out of a packed frame; the frame inside tells the same.
                if key == "unpacked_len_actual" || is_implied(key, decoded) {
                    continue;
                }
                let found = decoded.get(key).unwrap_or_else(|| panic!("{place}: no {key} in {decoded}"));
                assert_same(expected, found, &format!("{place}.{key}"));
            }
        }
        Json::Array(items) => {
            let found = decoded.as_array().unwrap_or_else(|| panic!("{place}: {decoded}"));
            assert_eq!(items.len(), found.len(), "{place}");
            for (number, (item, found)) in items.iter().zip(found).enumerate() {
                assert_same(item, found, &format!("{place}[{number}]"));
            }
        }
        plain => assert_eq!(plain, decoded, "{place}"),
    }
}

/// The vectors show a flags byte where the frame has one without use.
fn is_implied(key: &str, decoded: &Json) -> bool {
    let kind = decoded["kind"].as_str().unwrap_or_default();
    (key == "priority" && (kind.starts_with("Terminate") || kind == "MessageExit"))
        || (key == "important" && kind.starts_with("MessageEvent"))
}

/// The vectors name Ergo's two types with bytes of their own by their fields,
/// one bit each; of one of them nothing is written.
fn assert_flags(expected: &Json, decoded: &Json, place: &str) {
    let bytes = decoded["marshaler_bytes"].as_str().unwrap();
    if bytes.is_empty() {
        return;
    }
    let bits = u64::from_str_radix(bytes, 16).unwrap();
    for (bit, field) in expected.as_array().unwrap().iter().enumerate() {
        assert_eq!(field[1] == true, bits >> bit & 1 == 1, "{place}: {}", field[0]);
    }
}

#[test]
fn the_flags_of_an_introduce_are_named() {
    let (_, session) = sessions().into_iter().find(|(name, _)| name == "session_send.json").unwrap();
    let introduces = session["frames"].as_array().unwrap().iter().filter(|f| f["note"] == "MessageIntroduce");
    let mut count = 0;
    for frame in introduces {
        let output = decode(&["-"], frame["hex"].as_str().unwrap());
        let fields = frame["decoded"]["value"]["fields"].as_array().unwrap();
        let flags = fields.iter().find(|field| field[0] == "Flags").unwrap();
        let on: Vec<&Json> = flags[1]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|flag| flag[1] == true)
            .map(|flag| &flag[0])
            .collect();
        assert_eq!(lines(&output)[0]["flags"], json!(on));
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn what_the_program_derives_itself_hides_nothing() {
    let answer = postroad_wire::enp::any::Answer {
        error: None,
        result: postroad_edf::Payload::new(7u8),
        reference: postroad_edf::Ref {
            node: postroad_edf::Atom::new("a@b").unwrap(),
            creation: 1,
            id: [1, 2, 3],
        },
    };
    let mut bytes = Vec::new();
    postroad_edf::Encoder::new(&mut bytes, &postroad_edf::EncodeTables::default()).top(&answer).unwrap();
    let output = decode(&[&hex::encode(bytes)], "");
    assert!(output.status.success(), "{}", errors(&output));
    let [answer] = &lines(&output)[..] else { panic!("{output:?}") };
    let fields = answer["value"]["fields"].as_array().unwrap();
    let fields: Vec<&str> = fields.iter().map(|field| field[0].as_str().unwrap()).collect();
    assert_eq!(fields, ["Error", "Result", "Ref"]);
    // A message of the demo, of which a user has never heard.
    let name = "#postroad/demo/Order";
    let order = format!("83{:04x}{}05", name.len(), hex::encode(name));
    assert_eq!(lines(&decode(&[&order], "")), [json!({"protocol": "edf", "type": name, "opaque_hex": "05"})]);
}
