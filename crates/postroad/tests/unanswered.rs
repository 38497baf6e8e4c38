//! Another node that is asked for something, and says nothing, says no, or is
//! gone before it answers.
#![allow(clippy::unwrap_used, reason = "a test that does not get to its point fails")]

mod support;

use std::time::Duration;

use postroad::edf::ErrorValue;
use postroad::network::{RemoteSpawnError, RemoteStartError};
use postroad::{NetworkFlags, Node, Payload, Pid, Ref, RelationError, SpawnOptions, Watched};
use postroad_wire::enp::any::{Answer, Request, Verb, Watch};
use postroad_wire::enp::{Head, Subject};
use support::puppet::{Wish, puppet, wish};
use support::scripted::{Link, introduction};
use support::{Echo, builder};

/// A node, and a peer that starts whatever it is asked for.
async fn with_peer() -> (Node, Link) {
    let node = builder("node").pool_size(1).keepalive(None).start().await.unwrap();
    let mut local = introduction("peer");
    local.flags = local.flags.with(NetworkFlags::REMOTE_SPAWN).with(NetworkFlags::REMOTE_APPLICATION_START);
    let link = Link::to(&node, local).await;
    while node.network().peer(link.local.node.as_str()).is_none() {
        tokio::task::yield_now().await;
    }
    (node, link)
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Silence,
    Refusal,
    Loss,
}

const FATES: [Fate; 3] = [Fate::Silence, Fate::Refusal, Fate::Loss];

impl Fate {
    /// Lets this become of a question that the peer has heard.
    async fn befall(self, node: &Node, link: &mut Link, reference: Ref) {
        match self {
            // Until who asked has lost patience.
            Self::Silence => tokio::time::pause(),
            Self::Refusal => {
                let error = Some(ErrorValue::new("not on a Monday"));
                let answer = link.encode(&Answer { error, result: Payload::new(()), reference });
                link.send_frame(&Head::Any, &answer).await;
            }
            Self::Loss => assert!(node.network().disconnect(link.local.node.as_str()).await),
        }
    }

    /// Time goes on as usual.
    fn is_over(self) {
        if self == Self::Silence {
            tokio::time::resume();
        }
    }
}

#[tokio::test]
async fn a_relation_is_not_made() {
    for (begins, ends) in [(Wish::Link, Verb::Unlink), (Wish::Monitor, Verb::Demonitor)] {
        for fate in FATES {
            let (node, mut link) = with_peer().await;
            let mut watcher = puppet(&node).await;
            watcher.trap_exit().await;
            let target = Watched::Pid(Pid { id: 2000, ..link.sender() });
            let asked = async {
                let reference = link.hears_request().await.reference();
                fate.befall(&node, &mut link, reference).await;
            };
            let (made, ()) = tokio::join!(wish(&watcher, begins, target), asked);
            fate.is_over();
            let peer = link.local.node;
            match (fate, made.unwrap_err()) {
                (Fate::Silence, RelationError::Timeout { node }) => assert_eq!(node, peer),
                (Fate::Refusal, RelationError::Refused { node, error }) => {
                    assert_eq!((node, error.to_string().as_str()), (peer, "not on a Monday"));
                }
                (Fate::Loss, RelationError::NoConnection { node }) => assert_eq!(node, peer),
                (_, error) => panic!("{fate:?}: {error}"),
            }
            if fate == Fate::Silence {
                is_taken_back(&node, &mut link, ends).await;
            }
            assert_eq!(watcher.told_so_far().await, [], "of what it does not watch");
            node.stop().await;
        }
    }
}

/// The peer is told, as it may have made the relation; its target ends before it hears of that.
async fn is_taken_back(node: &Node, link: &mut Link, verb: Verb) {
    let taken_back = link.hears_request().await;
    assert!(matches!(&taken_back, Request::Watch(Watch { verb: heard, .. }) if *heard == verb));
    let reason = link.encode(&ErrorValue::new("burnt"));
    link.send_frame(&Head::Terminate { subject: Subject::Pid(2000) }, &reason).await;
    let echo = node.spawn::<Echo>(()).await.unwrap();
    link.send_message(echo, &1u8).await;
    assert_eq!(link.hears::<u8>().await, 1, "the end has been read before");
}

#[tokio::test]
async fn an_application_is_not_started() {
    for fate in FATES {
        let (node, mut link) = with_peer().await;
        let remote = node.network().connect(link.local.node.as_str()).await.unwrap();
        let asked = async {
            let reference = link.hears_request().await.reference();
            fate.befall(&node, &mut link, reference).await;
        };
        let (started, ()) = tokio::join!(remote.start_application("shop"), asked);
        fate.is_over();
        let peer = link.local.node;
        match (fate, started.unwrap_err()) {
            (Fate::Silence, RemoteStartError::Timeout { node, .. }) => assert_eq!(node, peer),
            (Fate::Refusal, RemoteStartError::Refused { node, name, reason }) => {
                let said = (node, name.as_str(), reason.as_str());
                assert_eq!(said, (peer, "shop", "not on a Monday"));
            }
            (Fate::Loss, RemoteStartError::NoConnection { node }) => assert_eq!(node, peer),
            (_, error) => panic!("{fate:?}: {error}"),
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn a_process_is_not_started() {
    for fate in FATES {
        let (node, mut link) = with_peer().await;
        let remote = node.network().connect(link.local.node.as_str()).await.unwrap();
        let asked = async {
            let reference = link.hears_request().await.reference();
            fate.befall(&node, &mut link, reference).await;
        };
        let options = SpawnOptions::new().init_timeout(Duration::from_secs(8));
        let (started, ()) = tokio::join!(remote.spawn("worker", options, ()), asked);
        fate.is_over();
        let peer = link.local.node;
        match (fate, started.unwrap_err()) {
            (Fate::Silence, RemoteSpawnError::Timeout { node, limit }) => {
                assert_eq!((node, limit), (peer, Duration::from_secs(6)), "strangers have five seconds");
            }
            (Fate::Refusal, RemoteSpawnError::Init(reason)) => {
                assert_eq!(reason.to_string(), "not on a Monday");
            }
            (Fate::Loss, RemoteSpawnError::NoConnection { node }) => assert_eq!(node, peer),
            (_, error) => panic!("{fate:?}: {error}"),
        }
        node.stop().await;
    }
}
