//! Hosts on networks of their own, in one program: each is a network namespace
//! behind a router with a firewall. Made with `ip` and `nft`, as root.

use std::fs::File;
use std::future::Future;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A router and the hosts around it. All of it goes when this is dropped.
pub(crate) struct Lab {
    router: String,
    hosts: Vec<Host>,
}

/// A host behind the router.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    namespace: String,
    pub(crate) address: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let router = format!("pr{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {router}"));
        let lab = Self { router, hosts: Vec::new() };
        lab.on_router("sysctl -q -w net.ipv4.ip_forward=1");
        lab.on_router("nft add table inet lab");
        lab.on_router("nft add chain inet lab forward { type filter hook forward priority 0 ; }");
        lab
    }

    /// A host on a network that only the router knows as well.
    pub(crate) fn host(&mut self) -> Host {
        let (number, router) = (self.hosts.len(), &self.router);
        let (namespace, network) = (format!("{router}-{number}"), format!("10.77.{number}"));
        run(&format!("ip netns add {namespace}"));
        let host = Host { namespace: namespace.clone(), address: format!("{network}.2") };
        self.hosts.push(host.clone());
        let router = &self.router;
        run(&format!("ip link add h{number} netns {router} type veth peer name uplink netns {namespace}"));
        self.on_router(&format!("ip address add {network}.1/24 dev h{number}"));
        self.on_router(&format!("ip link set h{number} up"));
        host.run(&format!("ip address add {network}.2/24 dev uplink"));
        host.run("ip link set lo up");
        host.run("ip link set uplink up");
        host.run(&format!("ip route add default via {network}.1"));
        host
    }

    /// A host on a private network. `nat` lets its connections out under its own
    /// address, and nothing in.
    pub(crate) fn behind_nat(&mut self, nat: &Host) -> Host {
        let namespace = format!("{}p", nat.namespace);
        run(&format!("ip netns add {namespace}"));
        let host = Host { namespace: namespace.clone(), address: "192.168.77.2".to_owned() };
        self.hosts.push(host.clone());
        run(&format!(
            "ip link add private netns {} type veth peer name uplink netns {namespace}",
            nat.namespace
        ));
        nat.run("ip address add 192.168.77.1/24 dev private");
        nat.run("ip link set private up");
        nat.run("sysctl -q -w net.ipv4.ip_forward=1");
        nat.run("nft add table inet nat");
        nat.run("nft add chain inet nat out { type nat hook postrouting priority 100 ; }");
        nat.run("nft add rule inet nat out oifname uplink masquerade");
        nat.run("nft add chain inet nat guard { type filter hook forward priority 0 ; }");
        nat.run("nft add rule inet nat guard iifname uplink ct state new drop");
        host.run("ip address add 192.168.77.2/24 dev uplink");
        host.run("ip link set lo up");
        host.run("ip link set uplink up");
        host.run("ip route add default via 192.168.77.1");
        host
    }

    /// From now on nothing passes between these two, and nobody is told.
    pub(crate) fn separate(&self, one: &Host, other: &Host) {
        for (from, to) in [(one, other), (other, one)] {
            let pair = format!("ip saddr {} ip daddr {}", from.address, to.address);
            self.on_router(&format!("nft add rule inet lab forward {pair} drop"));
        }
    }

    /// From now on nothing passes to or from this host, and nobody is told.
    pub(crate) fn cut_off(&self, host: &Host) {
        for direction in ["saddr", "daddr"] {
            self.on_router(&format!("nft add rule inet lab forward ip {direction} {} drop", host.address));
        }
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&self) {
        self.on_router("nft flush chain inet lab forward");
    }

    fn on_router(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.router));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let namespaces = self.hosts.iter().map(|host| &host.namespace).chain([&self.router]);
        for namespace in namespaces {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

impl Host {
    /// Runs `work` on a thread and a runtime of this host: all sockets that it
    /// makes are the host's.
    pub(crate) fn start<F>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> std::thread::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static>,
    {
        let host = self.clone();
        std::thread::spawn(move || {
            host.enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work())
        })
    }

    /// Moves the thread that calls this to the host.
    pub(crate) fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    fn run(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.namespace));
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
