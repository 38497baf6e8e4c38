//! A real etcd for one test.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postroad_etcd::EtcdOptions;

/// An etcd cluster. It ends with this.
pub(crate) struct Etcd {
    directory: PathBuf,
    members: Vec<Member>,
    /// What etcd and etcdctl are started with besides.
    server_flags: Vec<String>,
    pub(crate) client_flags: Vec<String>,
    scheme: &'static str,
}

struct Member {
    client: u16,
    peer: u16,
    running: Option<Child>,
}

impl Etcd {
    /// One member.
    pub(crate) fn start() -> Self {
        Self::with(1, "http", Vec::new(), Vec::new())
    }

    /// So many members.
    pub(crate) fn of(count: usize) -> Self {
        Self::with(count, "http", Vec::new(), Vec::new())
    }

    pub(crate) fn with(
        count: usize,
        scheme: &'static str,
        server_flags: Vec<String>,
        client_flags: Vec<String>,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("postroad-etcd-{}-{number}", std::process::id()));
        // Held until all are known, so that they differ.
        let held: Vec<_> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |at: usize| held[at].local_addr().unwrap().port();
        let member = |at| Member { client: port(2 * at), peer: port(2 * at + 1), running: None };
        let members = (0..count).map(member).collect();
        drop(held);
        let mut etcd = Self { directory, members, server_flags, client_flags, scheme };
        (0..count).for_each(|at| etcd.spawn(at));
        etcd.wait_until_healthy();
        etcd
    }

    /// How nodes reach it.
    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions::new(self.members.iter().map(|member| format!("127.0.0.1:{}", member.client)))
    }

    pub(crate) fn client_port(&self, member: usize) -> u16 {
        self.members[member].client
    }

    /// Kills a member; its data stay.
    pub(crate) fn kill(&mut self, member: usize) {
        let mut child = self.members[member].running.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a member again that was killed.
    pub(crate) fn restart(&mut self, member: usize) {
        self.spawn(member);
        self.wait_until_healthy();
    }

    /// Stops the process of a member where it is, and lets it go on.
    pub(crate) fn freeze(&self, member: usize) {
        self.signal(member, "-STOP");
    }

    pub(crate) fn thaw(&self, member: usize) {
        self.signal(member, "-CONT");
    }

    fn signal(&self, member: usize, signal: &str) {
        let id = self.members[member].running.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// What etcdctl says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        match self.try_ctl(arguments) {
            Ok(text) => text,
            Err(text) => panic!("etcdctl {arguments:?}: {text}"),
        }
    }

    pub(crate) fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().expect("etcdctl; install etcd-client");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let running = self.members.iter().filter(|member| member.running.is_some());
        let endpoints: Vec<_> =
            running.map(|member| format!("{}://127.0.0.1:{}", self.scheme, member.client)).collect();
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoints.join(",")]);
        command.args(&self.client_flags).args(arguments);
        command
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    /// Puts a value that is too long for a command line.
    pub(crate) fn put_long(&self, key: &str, value: &[u8]) {
        let mut put = self.command(&["put", "--", key]);
        let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        put.stdin.take().unwrap().write_all(value).unwrap();
        assert!(put.wait().unwrap().success());
    }

    /// Does all that, at once: a command in each line.
    pub(crate) fn transact(&self, commands: &str) {
        let mut txn = self.command(&["txn"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // No conditions, the commands, and none for the other case.
        write!(txn.stdin.take().unwrap(), "\n{commands}\n\n").unwrap();
        assert!(txn.wait().unwrap().success());
    }

    /// A value; nothing if the key is not there.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        Some(self.ctl(&["get", "--print-value-only", key])).filter(|value| !value.is_empty())
    }

    pub(crate) fn delete(&self, key: &str) {
        assert_eq!(self.ctl(&["del", key]), "1", "{key} is there");
    }

    /// A lease that nobody keeps alive.
    pub(crate) fn lease(&self, seconds: u32) -> String {
        let granted = self.ctl(&["lease", "grant", &seconds.to_string()]);
        granted.split_whitespace().nth(1).expect("lease ID granted with …").to_owned()
    }

    /// The leases that exist.
    pub(crate) fn leases(&self) -> Vec<String> {
        let listed = self.ctl(&["lease", "list"]);
        listed.lines().skip(1).map(str::to_owned).collect()
    }

    /// Forgets all changes until now.
    pub(crate) fn compact(&self) {
        let status = self.ctl(&["get", "nothing", "-w", "json"]);
        let (_, rest) = status.split_once("\"revision\":").expect("a revision");
        let revision: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.ctl(&["compact", "--physical", &revision]);
    }

    fn spawn(&mut self, at: usize) {
        let peers: Vec<_> = self
            .members
            .iter()
            .enumerate()
            .map(|(at, member)| format!("m{at}=http://127.0.0.1:{}", member.peer))
            .collect();
        let member = &self.members[at];
        let client = format!("{}://127.0.0.1:{}", self.scheme, member.client);
        let peer = format!("http://127.0.0.1:{}", member.peer);
        let child = Command::new("etcd")
            .args(["--name", &format!("m{at}")])
            .arg("--data-dir")
            .arg(self.directory.join(format!("m{at}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(","), "--log-level", "panic"])
            .args(&self.server_flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd; install etcd-server");
        self.members[at].running = Some(child);
    }

    fn wait_until_healthy(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        // Asking is waiting: etcdctl does not give up at once.
        while let Err(error) = self.try_ctl(&["--command-timeout", "5s", "get", "--keys-only", "nothing"]) {
            // With authentication it answers as soon as it can refuse.
            if error.contains("user name is empty") || error.contains("permission") {
                return;
            }
            assert!(Instant::now() < deadline, "etcd does not start: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.running.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
