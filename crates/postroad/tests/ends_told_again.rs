//! What was under way on a link when that broke is told all the same: an end, or
//! that something is watched no more.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postroad::network::{DownReason, MemoryNetwork, NetworkEvent};
use postroad::{
    Atom, Context, Down, Event, EventOptions, ExitReason, Node, Pid, ProcessId, RelationError, Watched,
};

use support::puppet::{Act, Notice, Strings, Wish, puppet, wish};
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

/// Otherwise the peer keeps the relation as long as the connection lives.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_has_ended_is_forgotten_by_the_peer() {
    let scene = scene().await;
    wish(&scene.watcher, Wish::Monitor, Watched::Pid(scene.target.pid)).await.unwrap();
    scene.here.kill(scene.watcher.pid);
    scene.break_links().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.there.network().info().peers[0].watched, 0);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_relation_that_was_taken_back_is_forgotten_by_the_peer() {
    let scene = scene().await;
    wish(&scene.watcher, Wish::Monitor, Watched::Pid(scene.target.pid)).await.unwrap();
    let lost = async {
        scene.break_links().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        scene.there.network().info().peers[0].watched
    };
    let demonitor = wish(&scene.watcher, Wish::Demonitor, Watched::Pid(scene.target.pid));
    let (taken_back, watched) = tokio::join!(demonitor, lost);
    taken_back.unwrap();
    assert_eq!(watched, 0);
    scene.end().await;
}

impl Scene {
    fn event(&self) -> Event {
        Event { name: Atom::new("prices").unwrap(), node: self.there.name() }
    }

    /// So many who subscribe, and share in one subscription.
    async fn subscribed(&self, count: usize) -> Vec<Strings> {
        self.network.set_delay(Duration::ZERO..=Duration::ZERO);
        let mut subscribers = Vec::new();
        for _ in 0..count {
            let subscriber = puppet(&self.here).await;
            subscribe(&subscriber, self.event()).await.unwrap();
            subscribers.push(subscriber);
        }
        self.network.set_delay(UNDER_WAY..=UNDER_WAY);
        subscribers
    }

    fn watched(&self) -> usize {
        self.there.network().info().peers[0].watched
    }
}

async fn subscribe(subscriber: &Strings, event: Event) -> Result<(), RelationError> {
    let subscribed = subscriber.act(move |ctx| -> Act<'_, _> { Box::pin(ctx.monitor_event(event)) });
    subscribed.await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_subscription_for_all_that_was_taken_back_is_forgotten_by_the_peer() {
    let scene = scene().await;
    let token = scene.there.register_event("prices", EventOptions::new()).unwrap();
    let subscribers = scene.subscribed(5).await;
    assert_eq!(scene.watched(), 2, "one for itself, one for all");
    for subscriber in subscribers {
        assert!(scene.here.kill(subscriber.pid));
    }
    scene.break_links().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.watched(), 0);
    assert_eq!(scene.there.event_info("prices").unwrap().nodes, 0);
    for mut subscriber in scene.subscribed(5).await {
        scene.there.publish("prices", &token, 7u32).await.unwrap();
        assert_eq!(subscriber.told().await, Notice::Published(scene.event(), Some(7)));
    }
    assert_eq!(scene.watched(), 2);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_for_all_that_was_lost_is_not_counted_on() {
    let scene = scene().await;
    let token = scene.there.register_event("prices", EventOptions::new()).unwrap();
    let first = scene.subscribed(1).await;
    let lost = puppet(&scene.here).await;
    let (asked, ()) = tokio::join!(subscribe(&lost, scene.event()), scene.break_links());
    assert!(matches!(asked, Err(RelationError::Timeout { .. })), "{asked:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let others = scene.subscribed(3).await;
    assert_eq!(scene.watched(), 2, "one for itself, one for all");
    scene.there.publish("prices", &token, 7u32).await.unwrap();
    for mut subscriber in first.into_iter().chain(others) {
        assert_eq!(subscriber.told().await, Notice::Published(scene.event(), Some(7)));
    }
    scene.end().await;
}

/// The subscription that it had by itself is not wanted any more.
#[tokio::test(start_paused = true)]
async fn who_subscribes_again_and_shares_has_taken_its_own_subscription_back() {
    let scene = scene().await;
    let event = scene.event();
    scene.there.register_event("prices", EventOptions::new()).unwrap();
    let subscribers = scene.subscribed(2).await;
    let again = subscribers[0].act(move |ctx: &mut Context| -> Act<'_, _> {
        Box::pin(async move {
            let _ = tokio::time::timeout(Duration::from_millis(1), ctx.demonitor_event(event)).await;
            ctx.monitor_event(event).await.map(drop)
        })
    });
    let (again, ()) = tokio::join!(again, scene.break_links());
    again.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.watched(), 1, "the one for all");
    scene.end().await;
}

/// The answers come by another link than the one that the requests took.
#[tokio::test(start_paused = true)]
async fn unless_the_relation_is_there_again() {
    let scene = scene().await;
    let target = scene.there.spawn::<Echo>(()).await.unwrap();
    assert_ne!(target.id % 3, scene.watcher.pid.id % 3);
    for _ in 0..12 {
        let _ = wish(&scene.watcher, Wish::Monitor, Watched::Pid(target)).await;
        let begins = scene.watcher.act(move |ctx: &mut Context| -> Act<'_, _> {
            Box::pin(async move {
                let _ = tokio::time::timeout(Duration::from_millis(1), ctx.demonitor(target)).await;
                ctx.monitor(target).await
            })
        });
        let breaks = async {
            tokio::time::sleep(UNDER_WAY * 3 / 2).await;
            assert!(scene.network.reset_one("here", "there"));
        };
        let (begun, ()) = tokio::join!(begins, breaks);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(scene.there.network().info().peers[0].watched, usize::from(begun.is_ok()));
    }
    scene.end().await;
}
