//! Links and monitors between nodes (semantics/TESTS.md X).
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use postroad::edf::ErrorValue;
use postroad::network::NetworkRoute;
use postroad::{
    Actor, Alias, Atom, Context, Down, Exit, ExitReason, Node, Payload, Pid, ProcessId, Ref, RelationError,
    SpawnOptions, Watched,
};
use postroad_wire::enp::any::{Answer, Request, Verb, Watch, WatchTarget};
use postroad_wire::enp::{Frame, Head, Name, Subject};
use support::puppet::{Notice, Strings, Wish, puppet, puppet_with, told_exactly, wish};
use support::scripted::{Link, introduction};
use support::{Echo, builder, node, port};
use tokio::sync::Notify;

/// Two nodes; the first one knows the way to the second.
async fn pair(name: &str) -> (Node, Node) {
    let (near, far) = (node(name).await, node(name).await);
    lead(&near, &far);
    (near, far)
}

fn lead(near: &Node, far: &Node) {
    let route = NetworkRoute::to("127.0.0.1", port(far));
    near.network().add_route(&postroad::network::exact(far.name().as_str()), route, 100).unwrap();
}

/// A node, and the link of a peer that it has a connection with.
async fn scripted(name: &str) -> (Node, Link) {
    let near = builder(name).pool_size(1).start().await.unwrap();
    let mut link = Link::to(&near, introduction("peer")).await;
    let echo = near.spawn::<Echo>(()).await.unwrap();
    link.send_message(echo, &1u8).await;
    assert_eq!(link.hears::<u8>().await, 1, "the node has the connection");
    (near, link)
}

struct Target {
    puppet: Strings,
    pid: Pid,
    name: ProcessId,
    alias: Alias,
}

impl Target {
    async fn on(node: &Node, called: &str) -> Self {
        let puppet = puppet_with(node, SpawnOptions::new().name(called)).await;
        let alias = puppet.act(|ctx| {
            let alias = ctx.create_alias();
            Box::pin(async move { alias })
        });
        let (pid, alias) = (puppet.pid, alias.await);
        let name = ProcessId { name: Atom::new(called).unwrap(), node: node.name() };
        Self { puppet, pid, name, alias }
    }

    fn ways(&self) -> [Watched; 3] {
        [Watched::Pid(self.pid), Watched::Name(self.name), Watched::Alias(self.alias)]
    }
}

async fn watched(puppet: &Strings) -> (Vec<Watched>, Vec<Watched>) {
    puppet
        .act(|ctx: &mut Context| {
            let watched = (ctx.links(), ctx.monitors());
            Box::pin(async move { watched })
        })
        .await
}

fn down(subject: Watched, reason: &ExitReason) -> Notice {
    Notice::Down(Down { subject, reason: reason.clone() })
}

fn exit(subject: Watched, reason: &ExitReason) -> Notice {
    Notice::Exit(Exit { subject, reason: reason.clone(), requested: false })
}

#[tokio::test]
async fn conformance_x01_x02_x03_x10_an_end_is_told_to_other_nodes_once() {
    let (near, far) = pair("told").await;
    for reason in [ExitReason::Shutdown, ExitReason::error("of its own"), ExitReason::Kill] {
        let target = Target::on(&far, "target").await;
        let mut watchers = Vec::new();
        for _ in 0..3 {
            let watcher = puppet(&near).await;
            watcher.trap_exit().await;
            for way in target.ways() {
                wish(&watcher, Wish::Link, way).await.unwrap();
                wish(&watcher, Wish::Monitor, way).await.unwrap();
                assert!(matches!(wish(&watcher, Wish::Monitor, way).await, Err(RelationError::Exists)));
            }
            let (links, monitors) = watched(&watcher).await;
            assert_eq!((links.len(), monitors.len()), (3, 3));
            watchers.push(watcher);
        }
        match reason {
            ExitReason::Kill => assert!(far.kill(target.pid)),
            _ => target.puppet.end(reason.clone()).await,
        }
        for mut watcher in watchers {
            let notices = target.ways().into_iter().flat_map(|way| [exit(way, &reason), down(way, &reason)]);
            told_exactly(&mut watcher, notices.collect()).await;
            assert_eq!(watched(&watcher).await, (vec![], vec![]));
        }
    }
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn an_untrapped_link_over_the_network_ends_the_process() {
    let (near, far) = pair("untrapped").await;
    let target = Target::on(&far, "target").await;
    let mut watcher = puppet(&near).await;
    wish(&watcher, Wish::Link, Watched::Pid(target.pid)).await.unwrap();
    target.puppet.end(ExitReason::error("both of us")).await;
    assert_eq!(watcher.told().await, Notice::Terminated(ExitReason::error("both of us")));
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_f02_f03_what_is_taken_back_there_is_told_here() {
    let (near, far) = pair("withdrawn").await;
    let target = Target::on(&far, "target").await;
    let mut watcher = puppet(&near).await;
    for way in target.ways() {
        wish(&watcher, Wish::Monitor, way).await.unwrap();
    }
    far.unregister_name("target").unwrap();
    assert_eq!(watcher.told().await, down(Watched::Name(target.name), &ExitReason::Unregistered));
    let alias = target.alias;
    target.puppet.act(move |ctx| Box::pin(async move { ctx.delete_alias(alias) })).await.unwrap();
    assert_eq!(watcher.told().await, down(Watched::Alias(alias), &ExitReason::Unregistered));
    assert_eq!(watched(&watcher).await.1, [Watched::Pid(target.pid)]);
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_x05_x06_x07_x09_a_lost_connection_ends_every_relation_over_it() {
    let (near, far) = pair("lost").await;
    let target = Target::on(&far, "target").await;
    let mut watcher = puppet(&near).await;
    watcher.trap_exit().await;
    let mut ways = target.ways().to_vec();
    ways.push(Watched::Node(far.name()));
    for way in &ways {
        wish(&watcher, Wish::Link, *way).await.unwrap();
        wish(&watcher, Wish::Monitor, *way).await.unwrap();
    }
    assert!(near.network().disconnect(far.name().as_str()).await);
    let lost = ExitReason::NoConnection;
    told_exactly(&mut watcher, ways.iter().flat_map(|way| [exit(*way, &lost), down(*way, &lost)]).collect())
        .await;
    target.puppet.act(|_| Box::pin(async {})).await;
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_peer_that_stops_is_told_of_by_the_ends_of_its_processes_or_by_its_own() {
    let (near, far) = pair("stops").await;
    let target = Target::on(&far, "target").await;
    let mut watcher = puppet(&near).await;
    wish(&watcher, Wish::Monitor, Watched::Pid(target.pid)).await.unwrap();
    wish(&watcher, Wish::Monitor, Watched::Node(far.name())).await.unwrap();
    far.stop().await;
    let expected = vec![
        down(Watched::Pid(target.pid), &ExitReason::Shutdown),
        down(Watched::Node(far.name()), &ExitReason::NoConnection),
    ];
    told_exactly(&mut watcher, expected).await;
    near.stop().await;
}

#[tokio::test]
async fn conformance_x13_a_restarted_node_is_another_one_and_nobody_dials_it() {
    let near = node("near").await;
    let name = support::unique("phoenix");
    let rise = async || {
        let builder = Node::builder(&name).cookie(support::COOKIE).without_registrar();
        builder.acceptor(postroad::network::AcceptorOptions::bind("127.0.0.1", 0)).start().await.unwrap()
    };
    let first = rise().await;
    lead(&near, &first);
    let target = Target::on(&first, "target").await;
    let mut watcher = puppet(&near).await;
    wish(&watcher, Wish::Monitor, Watched::Pid(target.pid)).await.unwrap();
    wish(&watcher, Wish::Monitor, Watched::Name(target.name)).await.unwrap();
    wish(&watcher, Wish::Monitor, Watched::Node(first.name())).await.unwrap();
    first.stop().await;
    let shutdown = ExitReason::Shutdown;
    let expected = vec![
        down(Watched::Pid(target.pid), &shutdown),
        down(Watched::Name(target.name), &shutdown),
        down(Watched::Node(first.name()), &ExitReason::NoConnection),
    ];
    told_exactly(&mut watcher, expected).await;
    let second = rise().await;
    let network = near.network().info();
    assert!(network.peers.is_empty(), "the end of a node is no reason to dial it");
    assert!(network.unreachable.is_empty());
    near.network().remove_route(&postroad::network::exact(&name)).unwrap();
    lead(&near, &second);
    let gone = wish(&watcher, Wish::Monitor, Watched::Pid(target.pid)).await;
    let Err(RelationError::Send(postroad::SendError::Incarnation { .. })) = gone else { panic!("{gone:?}") };
    near.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn conformance_f05_g05_what_is_not_there_is_said_to_be_unknown() {
    let (near, far) = pair("unknown").await;
    let target = Target::on(&far, "target").await;
    let watcher = puppet(&near).await;
    let nobody = Watched::Name(ProcessId { name: Atom::new("nobody").unwrap(), node: far.name() });
    let (pid, alias) = (Pid { id: 999_999, ..target.pid }, Alias { id: [1, 2, 3], ..target.alias });
    for relation in [Wish::Link, Wish::Monitor] {
        for way in [nobody, Watched::Pid(pid)] {
            assert!(matches!(wish(&watcher, relation, way).await, Err(RelationError::ProcessUnknown)));
        }
        let unknown = wish(&watcher, relation, Watched::Alias(alias)).await;
        assert!(matches!(unknown, Err(RelationError::AliasUnknown)));
    }
    let strangers = Watched::Node(Atom::new("nowhere@127.0.0.1").unwrap());
    assert!(matches!(wish(&watcher, Wish::Monitor, strangers).await, Err(RelationError::Send(_))));
    let itself = Watched::Node(near.name());
    assert!(matches!(wish(&watcher, Wish::Monitor, itself).await, Err(RelationError::Itself)));
    assert_eq!(watched(&watcher).await, (vec![], vec![]));
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn conformance_x12_what_is_taken_back_here_brings_no_notice() {
    let (near, far) = pair("taken-back").await;
    let target = Target::on(&far, "target").await;
    let mut watcher = puppet(&near).await;
    watcher.trap_exit().await;
    for way in target.ways() {
        wish(&watcher, Wish::Link, way).await.unwrap();
        wish(&watcher, Wish::Monitor, way).await.unwrap();
        wish(&watcher, Wish::Unlink, way).await.unwrap();
        assert!(matches!(wish(&watcher, Wish::Unlink, way).await, Err(RelationError::TargetUnknown)));
    }
    wish(&watcher, Wish::Demonitor, Watched::Pid(target.pid)).await.unwrap();
    wish(&watcher, Wish::Demonitor, Watched::Alias(target.alias)).await.unwrap();
    target.puppet.end(ExitReason::Normal).await;
    told_exactly(&mut watcher, vec![down(Watched::Name(target.name), &ExitReason::Normal)]).await;
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn an_end_comes_after_what_was_sent_before_it() {
    let (near, far) = pair("order").await;
    for _ in 0..50 {
        let target = Target::on(&far, "target").await;
        let (reader, mut inbox) = support::probe(&near).await;
        let mut watcher = puppet(&near).await;
        wish(&watcher, Wish::Monitor, Watched::Pid(target.pid)).await.unwrap();
        lead(&far, &near);
        target
            .puppet
            .act(move |ctx| {
                Box::pin(async move {
                    for number in 0..100u32 {
                        ctx.send(reader, number).await.unwrap();
                    }
                })
            })
            .await;
        target.puppet.end(ExitReason::Normal).await;
        assert_eq!(watcher.told().await, down(Watched::Pid(target.pid), &ExitReason::Normal));
        for number in 0..100 {
            let (_, got) = inbox.try_recv().expect("all that was sent has been delivered");
            assert_eq!(got.downcast::<u32>().ok(), Some(number));
        }
        far.network().remove_route(&postroad::network::exact(near.name().as_str())).unwrap();
    }
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn many_processes_may_watch_many_others() {
    let near = Arc::new(builder("many").pool_size(3).start().await.unwrap());
    let far = node("many").await;
    lead(&near, &far);
    let mut targets = Vec::new();
    for _ in 0..30 {
        targets.push(puppet(&far).await);
    }
    let mut watchers = Vec::new();
    for _ in 0..30 {
        watchers.push(puppet(&near).await);
    }
    for watcher in &watchers {
        for target in &targets {
            wish(watcher, Wish::Monitor, Watched::Pid(target.pid)).await.unwrap();
        }
    }
    for target in &targets {
        target.end(ExitReason::Normal).await;
    }
    for mut watcher in watchers {
        let ends = targets.iter().map(|target| down(Watched::Pid(target.pid), &ExitReason::Normal));
        told_exactly(&mut watcher, ends.collect()).await;
    }
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_reason_that_is_too_long_to_travel_is_cut_off() {
    let (near, far) = pair("long").await;
    let target = Target::on(&far, "target").await;
    let mut watcher = puppet(&near).await;
    wish(&watcher, Wish::Monitor, Watched::Pid(target.pid)).await.unwrap();
    target.puppet.end(ExitReason::Error("\u{e9}".repeat(20_000).into())).await;
    let cut = ExitReason::Error("\u{e9}".repeat(16_383).into());
    assert_eq!(watcher.told().await, down(Watched::Pid(target.pid), &cut));
    near.stop().await;
    far.stop().await;
}

/// Ends by the first message, and takes its time.
struct Lingering(Arc<Notify>);

impl Actor for Lingering {
    type Args = Arc<Notify>;
    type Messages = ();
    type Requests = ();

    async fn init(gate: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(gate))
    }

    async fn terminated(&mut self, _: &ExitReason, _: &mut Context) {
        self.0.notified().await;
    }
}

#[tokio::test]
async fn the_end_of_a_name_is_told_before_it_can_be_that_of_its_successor() {
    let (near, far) = pair("successor").await;
    let gate = Arc::new(Notify::new());
    let named = SpawnOptions::new().name("worker");
    let old = far.spawn_with::<Lingering>(gate.clone(), named.clone()).await.unwrap();
    let worker = Watched::Name(ProcessId { name: Atom::new("worker").unwrap(), node: far.name() });
    let (mut here, mut there) = (puppet(&near).await, puppet(&far).await);
    for watcher in [&here, &there] {
        wish(watcher, Wish::Monitor, worker).await.unwrap();
    }
    let burnt = ExitReason::error("burnt");
    far.send_exit(old, burnt.clone()).await.unwrap();
    for watcher in [&mut here, &mut there] {
        assert_eq!(watcher.told().await, down(worker, &burnt));
    }
    let new = puppet_with(&far, named).await;
    let mut late = puppet(&near).await;
    for watcher in [&here, &there, &late] {
        wish(watcher, Wish::Monitor, worker).await.unwrap();
    }
    gate.notify_one();
    far.ended(old).await;
    // Whatever the old one's end has caused has been sent before this answer.
    wish(&late, Wish::Link, Watched::Pid(new.pid)).await.unwrap();
    wish(&late, Wish::Unlink, Watched::Pid(new.pid)).await.unwrap();
    for watcher in [&mut here, &mut there, &mut late] {
        assert_eq!(watcher.told_so_far().await, []);
    }
    new.end(ExitReason::Normal).await;
    for watcher in [&mut here, &mut there, &mut late] {
        assert_eq!(watcher.told().await, down(worker, &ExitReason::Normal));
    }
    near.stop().await;
    far.stop().await;
}

/// The peer tells of the end of the former one while it answers for the present.
#[tokio::test]
async fn an_end_that_crosses_the_answer_does_not_hide_the_next_one() {
    let (near, mut link) = scripted("crossing").await;
    let worker = Watched::Name(ProcessId { name: Atom::new("worker").unwrap(), node: link.local.node });
    let head = Head::Terminate { subject: Subject::Name(Name::Inline(b"worker")) };
    let mut watcher = puppet(&near).await;

    let crossed = async {
        let reference = link.hears_request().await.reference();
        let burnt = link.encode(&ErrorValue::new("burnt"));
        link.send_frame(&head, &burnt).await;
        answer(&mut link, reference, None).await;
        let Request::Watch(Watch { verb, .. }) = link.hears_request().await else {
            panic!("another request")
        };
        assert_eq!(verb, Verb::Demonitor, "the peer is to forget about the present one");
    };
    let (watched, ()) = tokio::join!(wish(&watcher, Wish::Monitor, worker), crossed);
    watched.unwrap();
    assert_eq!(watcher.told().await, down(worker, &ExitReason::error("burnt")));

    let again = async {
        let reference = link.hears_request().await.reference();
        answer(&mut link, reference, Some("target is already exist")).await;
    };
    let (watched, ()) = tokio::join!(wish(&watcher, Wish::Monitor, worker), again);
    watched.expect("it is as good as a new one");
    let drowned = link.encode(&ErrorValue::new("drowned"));
    link.send_frame(&head, &drowned).await;
    assert_eq!(watcher.told().await, down(worker, &ExitReason::error("drowned")));
    near.stop().await;
}

/// The peer has answered for the present one, and tells of the end of the former
/// one then: it takes the watcher for one that is still there.
#[tokio::test]
async fn an_end_that_follows_the_answer_leaves_nothing_behind_at_the_peer() {
    let (near, mut link) = scripted("followed").await;
    let worker = Watched::Name(ProcessId { name: Atom::new("worker").unwrap(), node: link.local.node });
    let head = Head::Terminate { subject: Subject::Name(Name::Inline(b"worker")) };
    let mut watcher = puppet(&near).await;
    watcher.trap_exit().await;
    for (begin, begins, ends) in
        [(Wish::Monitor, Verb::Monitor, Verb::Demonitor), (Wish::Link, Verb::Link, Verb::Unlink)]
    {
        let granted = async |link: &mut Link| {
            let Request::Watch(Watch { verb, reference, .. }) = link.hears_request().await else {
                panic!("another request")
            };
            answer(link, reference, None).await;
            verb
        };
        let (watched, verb) = tokio::join!(wish(&watcher, begin, worker), granted(&mut link));
        watched.unwrap();
        assert_eq!(verb, begins);
        let burnt = link.encode(&ErrorValue::new("burnt"));
        link.send_frame(&head, &burnt).await;
        watcher.told().await;
        // What it wishes now comes behind what is taken back.
        let both = async { (granted(&mut link).await, granted(&mut link).await) };
        let (again, verbs) = tokio::join!(wish(&watcher, begin, worker), both);
        again.unwrap();
        assert_eq!(verbs, (ends, begins));
        let burnt = link.encode(&ErrorValue::new("burnt"));
        link.send_frame(&head, &burnt).await;
        watcher.told().await;
        assert_eq!(granted(&mut link).await, ends);
    }
    assert_eq!(watcher.told_so_far().await, []);
    near.stop().await;
}

/// Whatever it is that makes room: that is watched no more, or has ended.
#[tokio::test]
async fn a_peer_has_as_many_relations_as_the_node_allows() {
    let near = builder("bound").pool_size(1).max_relations(3).start().await.unwrap();
    let mut link = Link::to(&near, introduction("peer")).await;
    let mut next = 0;
    let mut asks = async |link: &mut Link, verb: Verb, target: Pid| {
        next += 1;
        let reference = Ref { node: link.local.node, creation: link.local.creation, id: [next, 0, 0] };
        let watch = Watch { verb, source: link.sender(), target: WatchTarget::Pid(target), reference };
        link.ask(&Request::Watch(watch)).await;
        let (answer, _) = link.hears_answer().await;
        assert_eq!(answer.reference, reference);
        answer.error.map(|error| error.text().to_string_lossy().into_owned())
    };
    let echo = async || near.spawn::<Echo>(()).await.unwrap();
    let (one, two, three) = (echo().await, echo().await, echo().await);
    let refused = Some("too many relations: a node may have 3 here".to_owned());
    assert_eq!(asks(&mut link, Verb::Monitor, one).await, None);
    assert_eq!(asks(&mut link, Verb::Link, one).await, None);
    assert_eq!(asks(&mut link, Verb::Monitor, two).await, None);
    assert_eq!(asks(&mut link, Verb::Monitor, three).await, refused);
    assert_eq!(asks(&mut link, Verb::Demonitor, two).await, None);
    assert_eq!(asks(&mut link, Verb::Link, three).await, None);
    assert_eq!(asks(&mut link, Verb::Link, two).await, refused);

    assert!(near.kill(one));
    let end = link.frame().await;
    let subject = Subject::Pid(one.id);
    assert_eq!(Frame::parse(&end).unwrap().head, Head::Terminate { subject });
    assert_eq!(asks(&mut link, Verb::Monitor, two).await, None);
    assert_eq!(asks(&mut link, Verb::Monitor, three).await, None);
    assert_eq!(asks(&mut link, Verb::Link, two).await, refused);
    assert_eq!(near.network().peer(link.local.node.as_str()).unwrap().watched, 3);
    near.stop().await;
}

/// The target ends while the peer has not answered an unlink yet: what was taken
/// back is over from then on, whatever the peer says; what was not is told once.
#[tokio::test]
async fn an_end_during_an_unlink_is_no_end_of_what_is_taken_back() {
    let (near, mut link) = scripted("unlinking").await;
    let echo = near.spawn::<Echo>(()).await.unwrap();
    let target = Pid { id: 2000, ..link.sender() };
    let (head, burnt) = (Head::Terminate { subject: Subject::Pid(target.id) }, ExitReason::error("burnt"));
    let (target, payload) = (Watched::Pid(target), link.encode(&ErrorValue::new("burnt")));
    let left = [down(target, &burnt), exit(target, &burnt)];
    for ((undo, verb), left) in
        [(Wish::Unlink, Verb::Unlink), (Wish::Demonitor, Verb::Demonitor)].into_iter().zip(left)
    {
        let mut watcher = puppet(&near).await;
        watcher.trap_exit().await;
        for made in [Wish::Link, Wish::Monitor] {
            let granted = async {
                let reference = link.hears_request().await.reference();
                answer(&mut link, reference, None).await;
            };
            let (made, ()) = tokio::join!(wish(&watcher, made, target), granted);
            made.unwrap();
        }
        let ended = async {
            let Request::Watch(watch) = link.hears_request().await else { panic!("another request") };
            assert_eq!(watch.verb, verb);
            link.send_frame(&head, &payload).await;
            answer(&mut link, watch.reference, Some("unknown target")).await;
        };
        let (undone, ()) = tokio::join!(wish(&watcher, undo, target), ended);
        undone.unwrap();
        told_exactly(&mut watcher, vec![left]).await;
        link.send_frame(&head, &payload).await;
        link.send_message(echo, &1u8).await;
        assert_eq!(link.hears::<u8>().await, 1, "the end was told again before that");
        assert_eq!(watcher.told_so_far().await, []);
        assert!(matches!(wish(&watcher, undo, target).await, Err(RelationError::TargetUnknown)));
    }
    near.stop().await;
}

async fn answer(link: &mut Link, reference: Ref, error: Option<&str>) {
    let answer = Answer { error: error.map(ErrorValue::new), result: Payload::new(()), reference };
    let answer = link.encode(&answer);
    link.send_frame(&Head::Any, &answer).await;
}
