//! Links, monitors and exit signals on one node (semantics/TESTS.md C, F and G).
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use postroad::inspect::ListProcesses;
use postroad::{
    Actor, Context, Down, Exit, ExitReason, Node, Pid, ProcessId, RelationError, SpawnError, SpawnOptions,
    Watched,
};
use support::puppet::{Notice, Strings, Wish, child, puppet, puppet_with, wish};
use support::{Echo, node};
use tokio::sync::mpsc;

fn reasons() -> [ExitReason; 4] {
    [ExitReason::Kill, ExitReason::error("of its own"), ExitReason::Shutdown, ExitReason::Panic]
}

/// Ends a puppet with a reason, in the way that belongs to it.
async fn end(node: &Node, puppet: &Strings, reason: &ExitReason) {
    match reason {
        ExitReason::Kill => assert!(node.kill(puppet.pid)),
        ExitReason::Panic => puppet.panic().await,
        _ => puppet.end(reason.clone()).await,
    }
}

fn down(subject: Watched, reason: ExitReason) -> Notice {
    Notice::Down(Down { subject, reason })
}

fn exit(subject: Watched, reason: ExitReason) -> Notice {
    Notice::Exit(Exit { subject, reason, requested: false })
}

fn name(node: &Node, name: &str) -> Watched {
    Watched::Name(ProcessId { name: postroad::Atom::new(name).unwrap(), node: node.name() })
}

async fn monitor(watcher: &Strings, target: Watched) -> Result<(), RelationError> {
    wish(watcher, Wish::Monitor, target).await
}

async fn link(watcher: &Strings, target: Watched) -> Result<(), RelationError> {
    wish(watcher, Wish::Link, target).await
}

async fn new_alias(puppet: &Strings) -> postroad::Alias {
    puppet
        .act(|ctx| {
            let alias = ctx.create_alias();
            Box::pin(async move { alias })
        })
        .await
}

async fn monitors(puppet: &Strings) -> Vec<Watched> {
    puppet
        .act(|ctx| {
            let monitors = ctx.monitors();
            Box::pin(async move { monitors })
        })
        .await
}

/// A named puppet with an alias: itself and the three ways to watch it.
async fn target(node: &Node, called: &str) -> (Strings, [Watched; 3]) {
    let target = puppet_with(node, SpawnOptions::new().name(called)).await;
    let alias = new_alias(&target).await;
    let ways = [Watched::Pid(target.pid), name(node, called), Watched::Alias(alias)];
    (target, ways)
}

#[tokio::test]
async fn conformance_f01_f02_f03_a_monitor_tells_the_end_and_its_reason_once() {
    let node = node("monitors").await;
    for reason in reasons() {
        for kind in 0..3 {
            let (target, ways) = target(&node, "watched").await;
            let way = ways[kind];
            let mut watchers = [puppet(&node).await, puppet(&node).await];
            for watcher in &mut watchers {
                monitor(watcher, way).await.unwrap();
                assert_eq!(monitors(watcher).await, [way]);
                watcher.notices.try_recv().unwrap_err();
            }
            end(&node, &target, &reason).await;
            for watcher in &mut watchers {
                assert_eq!(watcher.told().await, down(way, reason.clone()));
                assert_eq!(node.mailbox_len(target.pid), None, "nothing is left of it");
                assert!(monitors(watcher).await.is_empty());
                assert!(watcher.told_so_far().await.is_empty());
            }
        }
    }
    node.stop().await;
}

/// Each watcher is told once of what it still watched, in whatever order its
/// wishes and the end come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_q07_relations_are_made_and_taken_back_while_their_target_ends() {
    const ROUNDS: usize = 200;
    let node = node("at-once").await;
    let mut watchers = Vec::new();
    for _ in 0..8 {
        watchers.push(puppet(&node).await);
    }
    for round in 0..ROUNDS {
        let target = puppet(&node).await.pid;
        let mut rounds = Vec::new();
        for (number, watcher) in watchers.drain(..).enumerate() {
            rounds.push(tokio::spawn(async move {
                let way = Watched::Pid(target);
                let made = monitor(&watcher, way).await;
                let demonitors = made.is_ok() && number % 2 == 0;
                let taken_back = demonitors && wish(&watcher, Wish::Demonitor, way).await.is_ok();
                (watcher, made.is_ok() && !taken_back)
            }));
        }
        // At the beginning, in the middle or behind what the watchers wish.
        for _ in 0..round % 16 {
            tokio::task::yield_now().await;
        }
        assert!(node.kill(target));
        for watching in rounds {
            let (mut watcher, due) = watching.await.unwrap();
            if due {
                assert_eq!(watcher.told().await, down(Watched::Pid(target), ExitReason::Kill));
            }
            assert_eq!(watcher.told_so_far().await, []);
            assert!(monitors(&watcher).await.is_empty());
            watchers.push(watcher);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn every_way_of_watching_brings_a_notice_of_its_own() {
    let node = node("ways").await;
    let (target, ways) = target(&node, "watched").await;
    let mut watcher = puppet(&node).await;
    watcher.trap_exit().await;
    for way in ways {
        monitor(&watcher, way).await.unwrap();
        link(&watcher, way).await.unwrap();
    }
    target.end(ExitReason::Shutdown).await;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(watcher.told().await);
    }
    for way in ways {
        assert!(told.contains(&down(way, ExitReason::Shutdown)), "{told:?}");
        assert!(told.contains(&exit(way, ExitReason::Shutdown)), "{told:?}");
    }
    assert!(watcher.told_so_far().await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn conformance_f02_f03_a_name_or_alias_taken_back_ends_alone() {
    let node = node("taken-back").await;
    let (target, [by_pid, by_name, by_alias]) = target(&node, "watched").await;
    let mut watcher = puppet(&node).await;
    for way in [by_pid, by_name, by_alias] {
        monitor(&watcher, way).await.unwrap();
    }
    node.unregister_name("watched").unwrap();
    assert_eq!(watcher.told().await, down(by_name, ExitReason::Unregistered));
    let Watched::Alias(alias) = by_alias else { unreachable!() };
    target.act(move |ctx| Box::pin(async move { ctx.delete_alias(alias) })).await.unwrap();
    assert_eq!(watcher.told().await, down(by_alias, ExitReason::Unregistered));
    assert_eq!(monitors(&watcher).await, [by_pid]);
    node.stop().await;
}

#[tokio::test]
async fn conformance_f05_g05_what_is_not_there_cannot_be_watched() {
    let node = node("not-there").await;
    let watcher = puppet(&node).await;
    let gone = puppet(&node).await;
    let alias = new_alias(&gone).await;
    assert!(node.kill(gone.pid));
    while node.mailbox_len(gone.pid).is_some() {
        tokio::task::yield_now().await;
    }
    for way in [Watched::Pid(gone.pid), name(&node, "nobody")] {
        assert!(matches!(monitor(&watcher, way).await, Err(RelationError::ProcessUnknown)));
        assert!(matches!(link(&watcher, way).await, Err(RelationError::ProcessUnknown)));
    }
    let way = Watched::Alias(alias);
    assert!(matches!(monitor(&watcher, way).await, Err(RelationError::AliasUnknown)));
    assert!(matches!(link(&watcher, way).await, Err(RelationError::AliasUnknown)));
    assert!(monitors(&watcher).await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn conformance_f06_a_relation_is_made_and_ended_once() {
    let node = node("once").await;
    let (target, [by_pid, ..]) = target(&node, "watched").await;
    let mut watcher = puppet(&node).await;
    let pid = target.pid;
    monitor(&watcher, by_pid).await.unwrap();
    assert!(matches!(monitor(&watcher, by_pid).await, Err(RelationError::Exists)));
    link(&watcher, by_pid).await.unwrap();
    watcher.act(move |ctx| Box::pin(async move { ctx.demonitor(pid).await })).await.unwrap();
    let again = watcher.act(move |ctx| Box::pin(async move { ctx.demonitor(pid).await })).await;
    assert!(matches!(again, Err(RelationError::TargetUnknown)));
    watcher.act(move |ctx| Box::pin(async move { ctx.unlink(pid).await })).await.unwrap();
    target.end(ExitReason::Normal).await;
    while node.mailbox_len(pid).is_some() {
        tokio::task::yield_now().await;
    }
    assert!(watcher.told_so_far().await.is_empty(), "what was taken back brings no notice");
    node.stop().await;
}

#[tokio::test]
async fn conformance_f08_g07_a_process_may_monitor_itself_but_not_be_linked_to_itself() {
    let node = node("itself").await;
    let (itself, ways) = target(&node, "narcissus").await;
    for way in ways {
        assert!(matches!(link(&itself, way).await, Err(RelationError::Itself)));
        monitor(&itself, way).await.unwrap();
    }
    node.stop().await;
}

#[tokio::test]
async fn conformance_g01_g02_g03_a_link_ends_the_process_unless_it_traps_exits() {
    let node = node("links").await;
    for reason in reasons() {
        for kind in 0..3 {
            let (target, ways) = target(&node, "watched").await;
            let (mut fragile, mut sturdy) = (puppet(&node).await, puppet(&node).await);
            sturdy.trap_exit().await;
            link(&fragile, ways[kind]).await.unwrap();
            link(&sturdy, ways[kind]).await.unwrap();
            end(&node, &target, &reason).await;
            assert_eq!(sturdy.told().await, exit(ways[kind], reason.clone()));
            assert_eq!(fragile.told().await, Notice::Terminated(reason.clone()));
            assert!(sturdy.told_so_far().await.is_empty());
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn conformance_g06_a_link_goes_one_way() {
    let node = node("one-way").await;
    let (target, [by_pid, ..]) = target(&node, "watched").await;
    let mut watcher = puppet(&node).await;
    link(&watcher, by_pid).await.unwrap();
    watcher.end(ExitReason::error("bad day")).await;
    assert_eq!(watcher.told().await, Notice::Terminated(ExitReason::error("bad day")));
    target.act(|_| Box::pin(async {})).await;
    node.stop().await;
}

#[tokio::test]
async fn conformance_c01_c02_exits_of_strangers_are_trapped_while_asked_to() {
    let node = node("trap").await;
    let (stranger, mut target) = (puppet(&node).await, puppet(&node).await);
    let (from, to) = (stranger.pid, target.pid);
    let send = |reason: ExitReason| {
        stranger.act(move |ctx| Box::pin(async move { ctx.send_exit(to, reason).await.unwrap() }))
    };
    let traps = async |target: &Strings| {
        target
            .act(|ctx| {
                let traps = ctx.traps_exit();
                Box::pin(async move { traps })
            })
            .await
    };
    assert!(!traps(&target).await);
    target.trap_exit().await;
    assert!(traps(&target).await);
    send(ExitReason::Shutdown).await;
    let exit = Exit { subject: Watched::Pid(from), reason: ExitReason::Shutdown, requested: true };
    assert_eq!(target.told().await, Notice::Exit(exit));
    target
        .act(|ctx| {
            ctx.set_trap_exit(false);
            Box::pin(async {})
        })
        .await;
    send(ExitReason::error("again")).await;
    assert_eq!(target.told().await, Notice::Terminated(ExitReason::error("again")));
    node.stop().await;
}

#[tokio::test]
async fn conformance_c03_exits_of_the_parent_cannot_be_trapped() {
    let node = node("parent").await;
    let parent = puppet(&node).await;
    for linked in [false, true] {
        let options = if linked { SpawnOptions::new().link_parent() } else { SpawnOptions::new() };
        let mut sturdy = child(&parent, options).await.unwrap();
        sturdy.trap_exit().await;
        let pid = sturdy.pid;
        if linked {
            parent.end(ExitReason::Normal).await;
            assert_eq!(sturdy.told().await, Notice::Terminated(ExitReason::Normal));
        } else {
            let asked = parent
                .act(move |ctx| Box::pin(async move { ctx.send_exit(pid, ExitReason::Shutdown).await }));
            asked.await.unwrap();
            assert_eq!(sturdy.told().await, Notice::Terminated(ExitReason::Shutdown));
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn a_child_is_linked_from_its_first_moment() {
    let node = node("child").await;
    let mut parent = puppet(&node).await;
    parent.trap_exit().await;
    let first = child(&parent, SpawnOptions::new().link_child()).await.unwrap();
    first.end(ExitReason::error("so soon")).await;
    assert_eq!(parent.told().await, exit(Watched::Pid(first.pid), ExitReason::error("so soon")));
    child(&parent, SpawnOptions::new().name("only")).await.unwrap();
    assert!(child(&parent, SpawnOptions::new().name("only").link_child()).await.is_err());
    assert!(parent.told_so_far().await.is_empty(), "who spawns in vain is told by the error");
    node.stop().await;
}

/// Has children in its last moments.
struct Dying(mpsc::UnboundedSender<Result<Pid, SpawnError>>);

impl Actor for Dying {
    type Args = mpsc::UnboundedSender<Result<Pid, SpawnError>>;
    type Messages = ();
    type Requests = ();

    async fn init(born: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(born))
    }

    async fn terminated(&mut self, _: &ExitReason, ctx: &mut Context) {
        let new = SpawnOptions::new;
        for options in [new().link_parent(), new().link_child(), new()] {
            let _ = self.0.send(ctx.spawn_with::<Echo>((), options).await);
        }
    }
}

#[tokio::test]
async fn who_is_about_to_end_has_no_children_linked() {
    let node = node("dying").await;
    let (born, mut births) = mpsc::unbounded_channel();
    let dying = node.spawn::<Dying>(born).await.unwrap();
    node.send_exit(dying, ExitReason::Normal).await.unwrap();
    for _ in 0..2 {
        let birth = births.recv().await.unwrap();
        assert!(matches!(birth, Err(SpawnError::ParentTerminated)), "{birth:?}");
    }
    let orphan = births.recv().await.unwrap().expect("that one asks for nothing");
    node.ended(dying).await;
    assert_eq!(node.processes(&ListProcesses::default()).processes[0].pid, orphan);
    assert_eq!(node.process_count(), 1);
    node.stop().await;
}

/// Says that it begins, and goes on beginning.
struct Unborn;

impl Actor for Unborn {
    type Args = mpsc::UnboundedSender<()>;
    type Messages = ();
    type Requests = ();

    async fn init(begun: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        let _ = begun.send(());
        std::future::pending().await
    }
}

/// The child is not to be there before its parent knows of it.
#[tokio::test]
async fn a_parent_that_is_killed_while_its_child_begins_leaves_none() {
    let node = node("killed").await;
    for options in [SpawnOptions::new().link_parent(), SpawnOptions::new().link_child()] {
        let parent = puppet(&node).await;
        let pid = parent.pid;
        let (begun, mut begins) = mpsc::unbounded_channel();
        let spawning = tokio::spawn(async move {
            parent
                .act(move |ctx| {
                    Box::pin(async move { ctx.spawn_with::<Unborn>(begun, options).await.is_ok() })
                })
                .await
        });
        begins.recv().await.unwrap();
        assert_eq!(node.process_count(), 2);
        assert!(node.kill(pid));
        while node.process_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(spawning.await.is_err(), "nobody is told");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_bounded_mailbox_keeps_no_notice_out() {
    let node = node("full").await;
    let (target, [by_pid, by_name, _]) = target(&node, "watched").await;
    let mut watcher = puppet_with(&node, SpawnOptions::new().mailbox_capacity(1)).await;
    watcher.trap_exit().await;
    monitor(&watcher, by_pid).await.unwrap();
    monitor(&watcher, by_name).await.unwrap();
    link(&watcher, by_pid).await.unwrap();
    link(&watcher, by_name).await.unwrap();
    target.end(ExitReason::Normal).await;
    for _ in 0..4 {
        watcher.told().await;
    }
    node.stop().await;
}
