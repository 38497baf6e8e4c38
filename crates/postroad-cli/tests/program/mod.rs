//! Runs the program.
#![allow(dead_code, unreachable_pub, reason = "each test program uses some of it")]

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

pub fn postroad(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postroad"));
    command.args(arguments);
    let variables = std::env::vars().map(|(name, _)| name);
    for name in variables.filter(|name| name.starts_with("POSTROAD_")).chain(["RUST_LOG".to_owned()]) {
        command.env_remove(name);
    }
    command
}

pub fn run(arguments: &[&str]) -> Output {
    postroad(arguments).output().unwrap()
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A port that was free a moment ago, for TCP and UDP.
pub fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A program that is killed when dropped.
pub struct Running(pub Child);

/// A running `postroad node`; killed when dropped.
pub struct Node {
    program: Running,
    lines: Lines<BufReader<ChildStdout>>,
    pub name: String,
    /// Where it listens, the last one if there are several; empty if nowhere.
    pub port: String,
}

impl Node {
    pub fn start(name: &str, options: &[&str]) -> Self {
        let name = format!("{name}-{}@127.0.0.1", std::process::id());
        let mut arguments = vec!["--name", &name, "--cookie", "a cookie", "--listen", "127.0.0.1:0"];
        arguments.extend(options);
        Self::run(&arguments)
    }

    /// Waits until it is ready.
    pub fn run(arguments: &[&str]) -> Self {
        let mut command = postroad(&["node"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = Running(command.spawn().unwrap());
        let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
        let mut port = String::new();
        let mut name = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some((_, found)) = line.split_once(" listens on 127.0.0.1:") {
                found.clone_into(&mut port);
            }
            if let Some((ready, _)) = line.split_once(" is ready") {
                ready.clone_into(&mut name);
                break;
            }
        }
        let mut node = Self { program, lines, name, port };
        assert!(!node.name.is_empty(), "the node did not start: {}", node.errors_to_the_end());
        node
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        match self.lines.next() {
            Some(line) => line.unwrap(),
            None => panic!("the node ended: {}", self.errors_to_the_end()),
        }
    }

    /// What it prints to the standard error.
    pub fn errors(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.program.0.stderr.take().unwrap()).lines()
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let pid = self.program.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    #[cfg(unix)]
    pub fn stop(mut self, signal: &str) {
        self.signal(signal);
        let rest: Vec<String> = self.lines.by_ref().map(Result::unwrap).collect();
        let status = self.program.0.wait().unwrap();
        let errors = self.errors_to_the_end();
        assert!(status.success(), "{status}: {errors}");
        assert_eq!(rest, [format!("{} stops", self.name)], "{errors}");
    }

    fn errors_to_the_end(&mut self) -> String {
        let mut errors = String::new();
        if let Some(mut stderr) = self.program.0.stderr.take() {
            stderr.read_to_string(&mut errors).unwrap();
        }
        errors
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node in the test's own program, which dials and cannot be dialed.
pub async fn guest(name: &str) -> postroad::Node {
    postroad::Node::builder(name)
        .cookie("a cookie")
        .network(postroad::NetworkMode::Hidden)
        .without_registrar()
        .start()
        .await
        .unwrap()
}
