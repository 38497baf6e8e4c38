//! `postroad demo`: what it shows, it checks itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Stdio};

/// Two at a time: they share nothing but the machine.
#[test]
fn the_demo_keeps_its_promises() {
    let demos = [(); 2].map(|()| {
        Command::new(env!("CARGO_BIN_EXE_postroad"))
            .arg("demo")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    for demo in demos {
        let output = demo.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}\n{errors}");
        let claims = text.lines().filter(|line| line.starts_with("  yes ")).count();
        assert!(claims >= 14, "{text}");
        assert!(text.contains(&format!("{claims} of {claims} hold")), "{text}");
        assert!(!text.contains("  NO  "), "{text}");
    }
}
