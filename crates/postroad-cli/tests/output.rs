//! What becomes of a program that nobody reads, or whose disk is full.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use program::{Running, free_port, postroad, run, stderr};

const COMMANDS: [&[&str]; 3] =
    [&["check", "--example"], &["explain", "a@b", "--no-registrar"], &["decode", "9207"]];

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_command_whose_reader_has_left_ends_without_a_word() {
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = postroad(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn a_command_that_cannot_write_says_so() {
    for arguments in COMMANDS {
        let output = postroad(arguments).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = "postroad: cannot write to the standard output: No space left on device (os error 28)\n";
        assert_eq!(stderr(&output), said, "{arguments:?}");
    }
}

#[test]
fn a_node_goes_on_when_nothing_can_be_printed_or_logged() {
    let address = format!("127.0.0.1:{}", free_port());
    let common = ["--cookie", "a cookie", "--no-registrar"];
    let name = format!("mute-{}@127.0.0.1", std::process::id());
    let mut node = postroad(&["node", "--name", &name, "--listen", &address, "--log", "trace"]);
    node.args(common).stdin(Stdio::null()).stdout(full()).stderr(full());
    let mut node = Running(node.spawn().unwrap());
    let route = format!("^mute-={address}");
    let ping = ["ping", &name, "--route", &route, "--count", "1"];
    let ping = [&ping[..], &common].concat();
    // It cannot say when it is ready.
    let began = Instant::now();
    let mut pinged = run(&ping);
    while !pinged.status.success() && began.elapsed() < Duration::from_secs(20) {
        pinged = run(&ping);
    }
    assert!(pinged.status.success(), "{}", stderr(&pinged));
    assert!(Command::new("kill").args(["-TERM", &node.0.id().to_string()]).status().unwrap().success());
    assert!(node.0.wait().unwrap().success());
}
