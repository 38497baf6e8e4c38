//! What processes of this node watch at the peer (`docs/wire/ENP.md` section 8).

use std::sync::Arc;

use postroad_edf::{Payload, Ref};
use postroad_wire::enp::any::{LastEvents, Request, Verb, Watch, WatchTarget};
use postroad_wire::tunnel::Operations;

use super::asking::ASK_TIMEOUT;
use super::subscriptions::{Outcome, Part, keeps_nothing};
use super::withdrawn::Withdrawal;
use super::{AskError, Connection};
use crate::Pid;
use crate::actor::Watched;
use crate::error::{RelationError, SendError};
use crate::network::Refusal;
use crate::node::Target;
use crate::process::{Over, Process, Relation};

impl Connection {
    /// Has a process told of the end of something of the peer, or of the
    /// connection; what the peer answers.
    ///
    /// Cancel safe: a relation that is not made is taken back.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        process: &Arc<Process>,
        target: Watched,
        relation: Relation,
    ) -> Result<Payload, RelationError> {
        self.check_incarnation_of(&target)?;
        self.check_permitted(&target, relation)?;
        process.begin_watch(target, relation, Over::number(self.number))?;
        let mut attempt = Attempt { connection: self, process, target, relation, asked: Asked::Nothing };
        let answer = match self.watch_over(process, target, relation)? {
            Part::Itself => attempt.ask_itself().await?,
            Part::ForAll => match attempt.ask_for_all().await? {
                Some(answer) => answer,
                None => attempt.ask_itself().await?,
            },
            Part::Further => Payload::new(LastEvents::None),
        };
        let has_a_name = matches!(target, Watched::Name(_) | Watched::Event(_));
        let may_be_left = has_a_name && attempt.asked == Asked::Itself;
        // From here on it is the relation that holds, not the attempt.
        std::mem::forget(attempt);
        if !process.confirm_watch(&target, relation) {
            // It may be noted among those who watch the present one of that name.
            let last = ![Relation::Link, Relation::Monitor]
                .iter()
                .any(|relation| process.wants_to_watch(&target, *relation));
            self.forget_watcher(process.pid.id, &target, relation, last);
            if may_be_left {
                // What has ended is the former one of that name, and the peer may
                // have answered for the present one.
                self.tell_watched_no_more(process.pid, target, relation);
            }
        }
        Ok(answer)
    }

    /// Has the peer told that a process watches something no more, and waits
    /// until it knows: what comes next may be another wish.
    pub(crate) async fn unwatch(self: &Arc<Self>, watcher: Pid, target: Watched, relation: Relation) {
        if let Some((reference, request)) = self.withdrawal(watcher, target, relation) {
            // It may have ended there, or the connection has: then there is nothing left to end.
            let _ = self.ask_for_certain(watcher.id, reference, request).await;
        }
    }

    /// A process that watched something of the peer has ended.
    pub(crate) fn watch_no_more(self: &Arc<Self>, watcher: Pid, target: Watched, relation: Relation) {
        if self.forget_watcher(watcher.id, &target, relation, true) {
            self.tell_watched_no_more(watcher, target, relation);
        }
    }

    pub(super) fn tell_watched_no_more(self: &Arc<Self>, watcher: Pid, target: Watched, relation: Relation) {
        if let Some((_, request)) = self.withdrawal(watcher, target, relation) {
            self.tell(watcher.id, request);
        }
    }

    /// What tells the peer that a process watches something no more, which is
    /// noted; nothing if the peer need not know.
    fn withdrawal(&self, watcher: Pid, target: Watched, relation: Relation) -> Option<(Ref, Request)> {
        let wish = wish(watcher, target, Wanted::No, relation)?;
        let reference = self.new_reference(ASK_TIMEOUT);
        self.withdrawn.note(reference.id, Withdrawal { watcher, target, relation });
        Some((reference, wish(reference)))
    }

    fn check_incarnation_of(&self, target: &Watched) -> Result<(), SendError> {
        match target {
            Watched::Pid(pid) => self.check_incarnation(&Target::Pid(*pid)),
            Watched::Alias(alias) => self.check_incarnation(&Target::Alias(*alias)),
            Watched::Name(_) | Watched::Event(_) | Watched::Node(_) => Ok(()),
        }
    }

    /// Whether the way to the peer allows the relation. That the connection ends
    /// is nobody's secret.
    fn check_permitted(&self, target: &Watched, relation: Relation) -> Result<(), RelationError> {
        let operation = match relation {
            Relation::Link => Operations::LINK,
            Relation::Monitor => Operations::MONITOR,
        };
        let permitted = matches!(target, Watched::Node(_)) || self.permits(operation);
        if permitted { Ok(()) } else { Err(RelationError::WayForbids { node: self.peer.name }) }
    }

    fn not_watched(&self, error: AskError) -> RelationError {
        let node = self.peer.name;
        match error {
            AskError::Send(error) => error.into(),
            AskError::NoConnection { node } => RelationError::NoConnection { node },
            AskError::Timeout(_) => RelationError::Timeout { node },
            AskError::Refused(refusal) => match refusal {
                Refusal::ProcessUnknown => RelationError::ProcessUnknown,
                Refusal::ProcessTerminated => RelationError::ProcessTerminated,
                Refusal::AliasUnknown => RelationError::AliasUnknown,
                Refusal::EventUnknown => RelationError::EventUnknown,
                Refusal::TargetExists => RelationError::Exists,
                Refusal::NotAllowed => RelationError::NotAllowed { node },
                other => RelationError::Refused { node, error: other.into() },
            },
        }
    }
}

/// A relation that is being made. Dropped, it is taken back.
struct Attempt<'a> {
    connection: &'a Arc<Connection>,
    process: &'a Arc<Process>,
    target: Watched,
    relation: Relation,
    asked: Asked,
}

/// What the peer may have of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// The relation of the process.
    Itself,
    /// The one of this node, for all its processes.
    ForAll,
}

impl Attempt<'_> {
    async fn ask_itself(&mut self) -> Result<Payload, RelationError> {
        self.asked = Asked::Itself;
        let pid = self.process.pid;
        match self.ask_as(pid).await {
            Ok(answer) => {
                if let Watched::Event(event) = self.target {
                    self.connection.learn_sharing(event, pid.id, self.relation, &answer);
                }
                Ok(answer)
            }
            // Left over from one whose end has crossed the answer. It is as good:
            // the peer tells of the end of what is there now.
            Err(AskError::Refused(Refusal::TargetExists)) => Ok(Payload::new(())),
            Err(error) => {
                if !matches!(error, AskError::Timeout(_)) {
                    self.asked = Asked::Nothing;
                }
                Err(self.connection.not_watched(error))
            }
        }
    }

    /// Asks for this process and all that come later; nothing if it must ask for
    /// itself.
    async fn ask_for_all(&mut self) -> Result<Option<Payload>, RelationError> {
        self.asked = Asked::ForAll;
        let asked = self.ask_as(self.connection.node().core()).await;
        let outcome = match &asked {
            Ok(answer) if keeps_nothing(answer) => Outcome::Granted,
            Ok(_) => Outcome::Kept,
            Err(AskError::Refused(Refusal::TargetExists)) => Outcome::Granted,
            Err(AskError::Refused(_)) => Outcome::Refused,
            Err(AskError::Send(_)) => Outcome::NotAsked,
            Err(AskError::Timeout(_) | AskError::NoConnection { .. }) => Outcome::Unknown,
        };
        self.settle(outcome);
        match outcome {
            Outcome::Granted => Ok(Some(Payload::new(LastEvents::None))),
            Outcome::Kept | Outcome::Refused => Ok(None),
            Outcome::NotAsked | Outcome::Unknown => {
                asked.map(Some).map_err(|error| self.connection.not_watched(error))
            }
        }
    }

    async fn ask_as(&self, asker: Pid) -> Result<Payload, AskError> {
        match wish(asker, self.target, Wanted::Yes, self.relation) {
            Some(wish) => self.connection.ask(asker.id, wish).await,
            None => Ok(Payload::new(())),
        }
    }

    /// The question for all has come to an end.
    fn settle(&mut self, outcome: Outcome) {
        self.asked = Asked::Nothing;
        if let Watched::Event(event) = self.target {
            self.connection.settle_for_all(event, self.process.pid.id, self.relation, outcome);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Self { connection, process, target, relation, .. } = *self;
        if let Some((_, last)) = process.forget_watch(&target, relation) {
            connection.forget_watcher(process.pid.id, &target, relation, last);
        }
        match self.asked {
            Asked::Nothing => {}
            Asked::Itself => connection.tell_watched_no_more(process.pid, target, relation),
            Asked::ForAll => self.settle(Outcome::Unknown),
        }
    }
}

impl From<WatchTarget> for Watched {
    fn from(target: WatchTarget) -> Self {
        match target {
            WatchTarget::Pid(pid) => Self::Pid(pid),
            WatchTarget::Name(process) => Self::Name(process),
            WatchTarget::Alias(alias) => Self::Alias(alias),
            WatchTarget::Event(event) => Self::Event(event),
        }
    }
}

enum Wanted {
    Yes,
    No,
}

/// What the peer is asked for; nothing if it need not know.
fn wish(
    source: Pid,
    target: Watched,
    wanted: Wanted,
    relation: Relation,
) -> Option<impl FnOnce(Ref) -> Request> {
    let target = match target {
        Watched::Pid(pid) => WatchTarget::Pid(pid),
        Watched::Name(process) => WatchTarget::Name(process),
        Watched::Alias(alias) => WatchTarget::Alias(alias),
        Watched::Event(event) => WatchTarget::Event(event),
        Watched::Node(_) => return None,
    };
    let verb = match (wanted, relation) {
        (Wanted::Yes, Relation::Link) => Verb::Link,
        (Wanted::Yes, Relation::Monitor) => Verb::Monitor,
        (Wanted::No, Relation::Link) => Verb::Unlink,
        (Wanted::No, Relation::Monitor) => Verb::Demonitor,
    };
    Some(move |reference| Request::Watch(Watch { verb, source, target, reference }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{AcceptorOptions, DownReason, NetworkRoute};
    use crate::node::router;
    use crate::{Actor, Context, Down, ExitReason, Handle, Node, SpawnOptions};

    /// Monitors the process named `target` there, then ends or says so.
    struct Watcher(tokio::sync::mpsc::UnboundedSender<()>);

    impl Actor for Watcher {
        type Args = (Target, tokio::sync::mpsc::UnboundedSender<()>);
        type Messages = (bool,);
        type Requests = ();

        async fn init((target, done): Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
            ctx.monitor(target).await?;
            ctx.link(target).await?;
            Ok(Self(done))
        }
    }

    impl Handle<bool> for Watcher {
        async fn handle(&mut self, _: bool, _: &mut Context) -> Result<(), ExitReason> {
            let _ = self.0.send(());
            Ok(())
        }
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn conformance_f07_x12_a_watcher_that_ends_leaves_nothing_behind() {
        let (near, far) = (start("watching-near@127.0.0.1").await, start("watching-far@127.0.0.1").await);
        let route = NetworkRoute::to("127.0.0.1", far.network().acceptors()[0].address.port());
        near.network().connect_with(far.name().as_str(), route).await.unwrap();
        let connection = near.network().node().network.connected(far.name()).unwrap();
        let relations = |node: &Node| node.network().node().relations.len();
        let (done, mut says) = tokio::sync::mpsc::unbounded_channel();
        for (watched, target) in [(&far, far.clone()), (&near, near.clone())] {
            let nobody = Target::Pid(target.pid());
            let args = (nobody, done.clone());
            assert!(near.spawn::<Watcher>(args).await.is_err(), "a node is no process");
            let named = SpawnOptions::new().name("target");
            // It watches a third one that outlives all.
            let anchor = near.spawn_with::<Anchor>((), SpawnOptions::new()).await.unwrap();
            let args = (Target::Pid(anchor), done.clone());
            target.spawn_with::<Anchor>((), named).await.unwrap();
            let to = Target::Name(crate::ProcessId {
                name: crate::Atom::new("target").unwrap(),
                node: watched.name(),
            });
            let watcher = near.spawn::<Watcher>((to, done.clone())).await.unwrap();
            let local = near.spawn::<Watcher>(args).await.unwrap();
            near.send(watcher, true).await.unwrap();
            says.recv().await.unwrap();
            assert!(relations(watched) > 0);
            assert!(near.kill(watcher) && near.kill(local));
            until(|| relations(&near) == 0 && relations(&far) == 0).await;
            assert!(connection.watches_nothing());
            watched.unregister_name("target").unwrap();
        }
        near.stop().await;
        far.stop().await;
    }

    async fn start(name: &str) -> Node {
        let builder = Node::builder(name).cookie("watching").without_registrar();
        builder.acceptor(AcceptorOptions::bind("127.0.0.1", 0)).start().await.unwrap()
    }

    /// Passes on what it is told of ends.
    struct Told(tokio::sync::mpsc::UnboundedSender<Down>);

    impl Actor for Told {
        type Args = tokio::sync::mpsc::UnboundedSender<Down>;
        type Messages = ();
        type Requests = ();

        async fn init(told: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
            Ok(Self(told))
        }

        async fn handle_down(&mut self, down: Down, _: &mut Context) -> Result<(), ExitReason> {
            let _ = self.0.send(down);
            Ok(())
        }
    }

    /// The former connection is not at its end yet when a relation over it is
    /// taken back: that is no reason to forget the ones over the new connection.
    #[tokio::test]
    async fn a_relation_over_a_replaced_connection_takes_none_of_the_next_one_along() {
        let (near, far) = (start("replaced-near@127.0.0.1").await, start("replaced-far@127.0.0.1").await);
        let (inner, other) = (near.inner().clone(), far.inner().clone());
        let route = NetworkRoute::to("127.0.0.1", far.network().acceptors()[0].address.port());
        near.network().add_route(&crate::network::exact(far.name().as_str()), route, 1).unwrap();
        let anchor = far.spawn_with::<Anchor>((), SpawnOptions::new().name("target")).await.unwrap();
        let by_name = crate::ProcessId { name: crate::Atom::new("target").unwrap(), node: far.name() };
        let targets = [Watched::Name(by_name), Watched::Node(far.name())];
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let watcher = near.spawn::<Told>(tell).await.unwrap();
        let watcher = inner.process(watcher).unwrap();
        for target in targets {
            router::watch(&watcher, target, Relation::Link).await.unwrap();
        }

        // As when the peer dials anew, up to the moment before the former one's end.
        let former = inner.network.connected(far.name()).unwrap();
        former.claim_end(DownReason::Replaced);
        other.network.connected(near.name()).unwrap().shut_down(DownReason::Closed);
        for target in targets {
            router::watch(&watcher, target, Relation::Monitor).await.unwrap();
            router::unwatch(&watcher, target, Relation::Link).await.unwrap();
        }
        former.end();

        let mut told = async || {
            let told = tokio::time::timeout(std::time::Duration::from_secs(10), told.recv()).await;
            told.expect("the monitor is still there").unwrap()
        };
        assert!(far.kill(anchor));
        let down = told().await;
        assert_eq!(down, Down { subject: targets[0], reason: ExitReason::Kill });
        inner.network.connected(far.name()).unwrap().shut_down(DownReason::Closed);
        let down = told().await;
        assert_eq!(down, Down { subject: targets[1], reason: ExitReason::NoConnection });
        near.stop().await;
        far.stop().await;
    }

    struct Anchor;

    impl Actor for Anchor {
        type Args = ();
        type Messages = ();
        type Requests = ();

        async fn init((): (), _: &mut Context) -> Result<Self, ExitReason> {
            Ok(Self)
        }
    }
}
