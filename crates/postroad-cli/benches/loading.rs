//! How long a node takes from its start until 100,000 routes of its file are in
//! force: `cargo bench -p postroad-cli --bench loading`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that does not get to its point fails")]

#[path = "../tests/folder/mod.rs"]
mod folder;
#[path = "../tests/program/mod.rs"]
mod program;

use std::fmt::Write as _;
use std::time::Instant;

const ROUTES: usize = 100_000;
const RUNS: usize = 5;

fn main() {
    let folder = folder::Folder::new("loading");
    let mut text = "[node]\nname = \"loading@127.0.0.1\"\ncookie_file = \"cookie\"\n\
                    [registrar]\nkind = \"none\"\n[[acceptor]]\nlisten = \"127.0.0.1:0\"\n"
        .to_owned();
    for number in 0..ROUTES {
        let pattern = format!(r"^node{number}@(?:east|west)[0-9]+\.example\.com$");
        writeln!(text, "[[route]]\npattern = '{pattern}'\nhost = '10.0.0.1'\nport = 4370\n").unwrap();
    }
    folder.put("node.toml", &text);
    for _ in 0..RUNS {
        let began = Instant::now();
        let node = program::Node::run(&["--config", &folder.path("node.toml")]);
        println!("{ROUTES} routes are in force after {:?}", began.elapsed());
        drop(node);
    }
}
