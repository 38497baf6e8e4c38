//! An end that was under way on a link when that broke is told all the same.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postroad::network::{DownReason, MemoryNetwork, NetworkEvent};
use postroad::{Atom, Down, ExitReason, Node, Pid, ProcessId, Watched};

use support::puppet::{Notice, Strings, Wish, puppet, wish};
use support::{COOKIE, Echo};

const UNDER_WAY: Duration = Duration::from_millis(50);

struct Scene {
    network: MemoryNetwork,
    here: Node,
    there: Node,
    watcher: Strings,
    target: Strings,
}

async fn scene() -> Scene {
    let network = MemoryNetwork::new();
    network.set_delay(UNDER_WAY..=UNDER_WAY);
    let node = |name| Node::builder(name).memory_network(&network).cookie(COOKIE).start();
    let (here, there) = (node("one@here").await.unwrap(), node("two@there").await.unwrap());
    here.network().connect("two@there").await.unwrap();
    let (watcher, target) = (puppet(&here).await, puppet(&there).await);
    Scene { network, here, there, watcher, target }
}

impl Scene {
    /// Everything that is under way is lost.
    async fn break_links(&self) {
        tokio::time::sleep(UNDER_WAY / 2).await;
        assert!(self.network.reset("here", "there") > 0);
    }

    fn name(&self, name: &str) -> ProcessId {
        ProcessId { name: Atom::new(name).unwrap(), node: self.there.name() }
    }

    /// So many processes that the watcher monitors.
    async fn monitored(&self, count: usize) -> Vec<Pid> {
        self.network.set_delay(Duration::ZERO..=Duration::ZERO);
        let mut targets = Vec::new();
        for _ in 0..count {
            let target = self.there.spawn::<Echo>(()).await.unwrap();
            wish(&self.watcher, Wish::Monitor, Watched::Pid(target)).await.unwrap();
            targets.push(target);
        }
        self.network.set_delay(UNDER_WAY..=UNDER_WAY);
        targets
    }

    /// So many notices of ends, in the order of the processes.
    async fn told(&mut self, count: usize) -> Vec<Notice> {
        let mut told = Vec::new();
        while told.len() < count {
            told.push(self.watcher.told().await);
        }
        told.sort_by_key(|notice| match notice {
            Notice::Down(Down { subject, .. }) => *subject,
            other => panic!("{other:?}"),
        });
        told
    }

    async fn end(self) {
        self.here.stop().await;
        self.there.stop().await;
    }
}

fn killed(pid: Pid) -> Notice {
    Notice::Down(Down { subject: Watched::Pid(pid), reason: ExitReason::Kill })
}

#[tokio::test(start_paused = true)]
async fn when_the_link_has_a_successor() {
    let mut scene = scene().await;
    let mut events = scene.here.network().subscribe();
    wish(&scene.watcher, Wish::Monitor, Watched::Pid(scene.target.pid)).await.unwrap();
    scene.there.kill(scene.target.pid);
    scene.break_links().await;
    assert_eq!(scene.watcher.told().await, killed(scene.target.pid));
    assert!(events.try_recv().is_err(), "the connection is there all the time");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn once_although_it_had_arrived() {
    let mut scene = scene().await;
    wish(&scene.watcher, Wish::Monitor, Watched::Pid(scene.target.pid)).await.unwrap();
    scene.there.kill(scene.target.pid);
    assert_eq!(scene.watcher.told().await, killed(scene.target.pid));
    scene.break_links().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.watcher.told_so_far().await, []);
    scene.end().await;
}

/// To tell of it again would tell who watches the name now, so the connection
/// is given up.
#[tokio::test(start_paused = true)]
async fn unless_it_could_be_taken_for_the_end_of_another_one() {
    let mut scene = scene().await;
    let mut events = scene.here.network().subscribe();
    let named = Watched::Name(scene.name("named"));
    scene.there.register_name("named", scene.target.pid).unwrap();
    wish(&scene.watcher, Wish::Monitor, named).await.unwrap();
    scene.there.unregister_name("named").unwrap();
    let unregistered = Notice::Down(Down { subject: named, reason: ExitReason::Unregistered });
    assert_eq!(scene.watcher.told().await, unregistered);
    scene.there.register_name("named", scene.target.pid).unwrap();
    wish(&scene.watcher, Wish::Monitor, named).await.unwrap();
    scene.break_links().await;
    let lost = Notice::Down(Down { subject: named, reason: ExitReason::NoConnection });
    assert_eq!(scene.watcher.told().await, lost);
    let down = events.recv().await.unwrap();
    assert!(matches!(down, NetworkEvent::Disconnected { reason: DownReason::Lost, .. }), "{down:?}");
    scene.end().await;
}

/// Of each link fewer went than are remembered of one.
#[tokio::test(start_paused = true)]
async fn however_many_went_by_other_links() {
    let mut scene = scene().await;
    let mut events = scene.here.network().subscribe();
    let targets = scene.monitored(5000).await;
    for pid in &targets {
        scene.there.kill(*pid);
    }
    scene.break_links().await;
    let mut told = scene.told(targets.len()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    told.extend(scene.watcher.told_so_far().await);
    assert_eq!(told, targets.into_iter().map(killed).collect::<Vec<_>>());
    assert!(events.try_recv().is_err(), "the connection is there all the time");
    scene.end().await;
}

/// Their reasons are more than is remembered of a link. It is another one that
/// the network's chance breaks first.
#[tokio::test(start_paused = true)]
async fn unless_too_much_went_by_that_link() {
    let mut scene = scene().await;
    let mut events = scene.here.network().subscribe();
    let targets = scene.monitored(150).await;
    while scene.there.network().info().peers[0].links < 3 {
        tokio::time::sleep(UNDER_WAY).await;
    }
    let (by_one_link, others): (Vec<_>, Vec<_>) = targets.iter().partition(|pid| pid.id % 3 == 0);
    let reason = ExitReason::error("a long story ".repeat(2500));
    for pid in &by_one_link {
        scene.there.send_exit(*pid, reason.clone()).await.unwrap();
    }
    scene.told(by_one_link.len()).await;
    assert!(scene.network.reset_one("here", "there"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(events.try_recv().is_err(), "another link is lost, and replaced");
    scene.break_links().await;
    let down = tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap();
    assert!(matches!(down, NetworkEvent::Disconnected { reason: DownReason::Lost, .. }), "{down:?}");
    let lost = |pid| Notice::Down(Down { subject: Watched::Pid(pid), reason: ExitReason::NoConnection });
    assert_eq!(scene.told(others.len()).await, others.into_iter().map(lost).collect::<Vec<_>>());
    scene.end().await;
}
