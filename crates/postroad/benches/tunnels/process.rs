//! A process of its own for each part: this very program, in another role.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// It ends with this.
pub(crate) struct Process {
    child: Child,
    says: Mutex<BufReader<ChildStdout>>,
    hears: Option<ChildStdin>,
}

impl Process {
    pub(crate) fn start(role: &str, arguments: &[String]) -> Self {
        // Tunnels take files, more than most systems allow by themselves.
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n 65536 2>/dev/null || ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""])
            .arg(own)
            .arg(role);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let says = Mutex::new(BufReader::new(child.stdout.take().unwrap()));
        let hears = child.stdin.take();
        Self { child, says, hears }
    }

    /// What it says until it is ready.
    pub(crate) fn ready(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut says = self.says.lock().unwrap();
        loop {
            let mut line = String::new();
            assert!(says.read_line(&mut line).unwrap() > 0, "it has ended: {lines:?}");
            match line.trim() {
                "ready" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.hears.as_mut().unwrap(), "{line}").unwrap();
    }

    /// For how long its threads have run.
    pub(crate) fn worked(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let ran = |task: std::fs::DirEntry| -> Option<u64> {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse().ok()
        };
        Duration::from_nanos(tasks.filter_map(|task| ran(task.ok()?)).sum())
    }

    /// How many files it may have open.
    pub(crate) fn files(&self) -> usize {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
    }

    /// The memory that it has, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.hears.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
