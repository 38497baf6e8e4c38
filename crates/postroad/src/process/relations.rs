//! Who is to be told when something on this node ends.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use postroad_edf::ErrorValue;

use super::{Due, Envelope, Over, Priority, Process, Relation};
use crate::actor::{Down, Exit, ExitReason, Watched};
use crate::error::RelationError;
use crate::event::Published;
use crate::network::{Connection, Refusal};
use crate::node::NodeInner;
use crate::{Atom, Event};

/// Who watches what is on this node. Sharded by target.
///
/// A target ends in two steps: first it cannot be found any more, then it is
/// taken out of here. Who begins to watch it looks for it under the lock of its
/// shard, and so comes before both or after the first.
#[derive(Default)]
pub(crate) struct Relations {
    shards: [Mutex<HashMap<Watched, Watchers, FixedState>>; SHARDS],
}

const SHARDS: usize = 16;

/// Who is to be told of one end.
#[derive(Default)]
pub(crate) struct Watchers {
    /// Processes of this node.
    processes: HashSet<u64, FixedState>,
    /// Nodes, each by its connection: it is told once, and knows its processes.
    peers: Vec<Arc<Connection>>,
    /// Where the processes watch the target: in this set of watchers, which has
    /// a number of its own. A later bearer of the same name has another one.
    place: Over,
}

impl Relations {
    /// Has a process of this node told, if the target is there. The process
    /// knows it under the lock, so that an end comes before or after both.
    fn add(&self, watcher: &Process, target: Watched, relation: Relation) -> Result<(), RelationError> {
        let node = &watcher.node;
        let mut shard = self.shard(&target).lock();
        find(node, &target)?;
        let watchers = match shard.entry(target) {
            Entry::Occupied(known) => {
                watcher.watch(target, relation, known.get().place)?;
                known.into_mut()
            }
            Entry::Vacant(vacant) => {
                let new = Watchers::new(node);
                watcher.watch(target, relation, new.place)?;
                vacant.insert(new)
            }
        };
        watchers.processes.insert(watcher.pid.id);
        Ok(())
    }

    /// Has a process of a peer told, if the target is there.
    pub(crate) fn add_peer(
        &self,
        node: &NodeInner,
        target: Watched,
        peer: &Arc<Connection>,
        watcher: u64,
        relation: Relation,
    ) -> Result<(), Refusal> {
        let mut shard = self.shard(&target).lock();
        find(node, &target)?;
        peer.note_watcher(target, watcher, relation)?;
        let peers = &mut shard.entry(target).or_insert_with(|| Watchers::new(node)).peers;
        if peers.iter().all(|known| known.number != peer.number) {
            peers.push(peer.clone());
        }
        Ok(())
    }

    /// Has a process told no more of the end of what it has watched there.
    fn remove(&self, target: &Watched, place: Over, watcher: u64) {
        self.change(target, |watchers| {
            if watchers.place == place {
                watchers.processes.remove(&watcher);
            }
        });
    }

    /// Has a peer told no more, unless it has begun to watch the target anew.
    pub(crate) fn remove_peer(&self, target: &Watched, peer: &Connection) {
        self.change(target, |watchers| {
            if !peer.is_watched_by_peer(target) {
                watchers.peers.retain(|known| known.number != peer.number);
            }
        });
    }

    /// Takes out who is to be told of the end of a target. `end` makes it
    /// unfindable, and returns whether it could be found.
    pub(crate) fn take(&self, target: &Watched, end: impl FnOnce() -> bool) -> Watchers {
        let mut shard = self.shard(target).lock();
        if !end() {
            return Watchers::default();
        }
        shard.remove(target).map_or_else(Watchers::default, |watchers| watchers.taken_out(target))
    }

    fn change(&self, target: &Watched, change: impl FnOnce(&mut Watchers)) {
        let mut shard = self.shard(target).lock();
        if let Some(watchers) = shard.get_mut(target) {
            change(watchers);
            if watchers.is_empty() {
                shard.remove(target);
            }
        }
    }

    fn shard(&self, target: &Watched) -> &Mutex<HashMap<Watched, Watchers, FixedState>> {
        &self.shards[FixedState::default().hash_one(target) as usize >> 8 & (SHARDS - 1)]
    }

    /// How many targets are watched.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl Watchers {
    /// Nobody yet.
    fn new(node: &NodeInner) -> Self {
        Self { place: Over::number(node.new_reference()), ..Self::default() }
    }

    pub(crate) fn of(place: Over, processes: impl Iterator<Item = u64>, peers: Vec<Arc<Connection>>) -> Self {
        Self { processes: processes.collect(), peers, place }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.peers.is_empty()
    }

    /// Has the peers forget who watches the target, before its name can be that
    /// of something new; those who watch nothing of it are not told.
    pub(crate) fn taken_out(mut self, target: &Watched) -> Self {
        self.peers.retain(|peer| peer.forget_watchers(target));
        self
    }

    /// Tells everybody. `by` is the process that ended, or that took back what
    /// has: what it sent before arrives before.
    pub(crate) fn tell(self, node: &NodeInner, target: &Watched, by: u64, reason: &ExitReason) {
        for watcher in self.processes {
            notify(node, watcher, target, self.place, reason);
        }
        if !self.peers.is_empty() {
            let reason = ErrorValue::from(reason);
            for peer in self.peers {
                peer.tell_end(target, by, &reason);
            }
        }
    }
}

/// Whether a target is on this node.
fn find(node: &NodeInner, target: &Watched) -> Result<(), RelationError> {
    match target {
        Watched::Pid(pid) => {
            let listed = (pid.creation == node.creation)
                .then(|| node.processes.with(pid.id, |process| process.is_listed()))
                .flatten()
                .ok_or(RelationError::ProcessUnknown)?;
            if listed { Ok(()) } else { Err(RelationError::ProcessTerminated) }
        }
        Watched::Name(process) => {
            node.processes.by_name(process.name, |_| ()).ok_or(RelationError::ProcessUnknown)
        }
        Watched::Alias(alias) => node.processes.by_alias(*alias, |_| ()).ok_or(RelationError::AliasUnknown),
        Watched::Event(_) => Err(RelationError::EventUnknown),
        Watched::Node(_) => Err(RelationError::Itself),
    }
}

/// Tells a process that something it watches there has ended, if it still does.
pub(crate) fn notify(node: &NodeInner, watcher: u64, target: &Watched, over: Over, reason: &ExitReason) {
    if let Some(process) = node.processes.with(watcher, Arc::clone) {
        let due = process.end_watch(target, Due::BOTH, over, reason);
        process.tell(target, due, reason);
    }
}

impl Process {
    /// Begins to watch something on this node.
    pub(crate) fn watch_here(
        self: &Arc<Self>,
        target: Watched,
        relation: Relation,
    ) -> Result<(), RelationError> {
        if relation == Relation::Link && self.is_own(&target) {
            return Err(RelationError::Itself);
        }
        self.node.relations.add(self, target, relation)
    }

    /// Begins to get what is published on this node, and to watch the event;
    /// what was published last.
    pub(crate) fn subscribe_here(
        self: &Arc<Self>,
        event: Event,
        relation: Relation,
    ) -> Result<Vec<Published>, RelationError> {
        let target = Watched::Event(event);
        let topic = self.node.events.get(event.name).ok_or(RelationError::EventUnknown)?;
        self.begin_watch(target, relation, topic.place())?;
        match topic.subscribe(self, relation) {
            Ok(last) => {
                self.confirm_watch(&target, relation);
                Ok(last)
            }
            Err(error) => {
                self.forget_watch(&target, relation);
                Err(error)
            }
        }
    }

    /// The relation is made: a notice is due if the target has ended since.
    /// Whether it holds.
    pub(crate) fn confirm_watch(self: &Arc<Self>, target: &Watched, relation: Relation) -> bool {
        let Some(reason) = self.confirmed_watch(target, relation) else { return true };
        let due = Due { link: relation == Relation::Link, monitor: relation == Relation::Monitor };
        self.tell(target, due, &reason);
        false
    }

    /// Ends a relation on this side; the connection it was over, if there is
    /// somebody to be told.
    pub(crate) fn unwatch(
        &self,
        target: &Watched,
        relation: Relation,
    ) -> Result<Option<Arc<Connection>>, RelationError> {
        let (over, last) = self.forget_watch(target, relation).ok_or(RelationError::TargetUnknown)?;
        if self.forget_here(target, relation, over, last) {
            return Ok(None);
        }
        let connection = self.connection(target, over);
        Ok(connection.filter(|connection| connection.forget_watcher(self.pid.id, target, relation, last)))
    }

    /// The connection that something is watched over. Nothing if that has been
    /// replaced: its relations end with it, and what is watched over the present
    /// one is none of them.
    fn connection(&self, target: &Watched, over: Over) -> Option<Arc<Connection>> {
        let present = self.node.network.connected(target.node());
        present.filter(|present| Over::number(present.number) == over)
    }

    /// Forgets a relation that is no more where its target is, if that is this
    /// node; whether it is.
    fn forget_here(&self, target: &Watched, relation: Relation, over: Over, last: bool) -> bool {
        let is_here = self.node.is_local(target.node());
        match target {
            Watched::Event(event) if is_here => {
                self.node.events.unsubscribe(event.name, over, self.pid.id, relation);
            }
            _ if is_here && last => self.node.relations.remove(target, over, self.pid.id),
            _ => {}
        }
        is_here
    }

    /// Hands over the notices of an end that are due.
    pub(crate) fn tell(self: &Arc<Self>, subject: &Watched, due: Due, reason: &ExitReason) {
        if due.link {
            let exit = Exit { subject: *subject, reason: reason.clone(), requested: false };
            self.hand(Envelope::Exit(Box::new(exit)));
        }
        if due.monitor {
            let down = Down { subject: *subject, reason: reason.clone() };
            self.hand(Envelope::Down(Box::new(down)));
        }
    }

    /// Puts a notice into the mailbox, which no bound keeps out. One that comes
    /// too late has nobody to tell.
    fn hand(self: &Arc<Self>, notice: Envelope) {
        if let Ok(delivered) = self.push(notice, Priority::High) {
            delivered.start();
        }
    }

    /// Whether it is this process, under whatever address.
    fn is_own(&self, target: &Watched) -> bool {
        match target {
            Watched::Pid(pid) => *pid == self.pid,
            Watched::Name(process) => self.name() == Some(process.name),
            Watched::Alias(alias) => self.aliases().contains(alias),
            Watched::Event(_) | Watched::Node(_) => false,
        }
    }

    /// Ends everything it watches, without a notice: nobody would read it.
    pub(super) fn watch_nothing(&self) {
        for (target, relation, over) in self.take_watches() {
            if !self.forget_here(&target, relation, over, true)
                && let Some(connection) = self.connection(&target, over)
            {
                connection.watch_no_more(self.pid, target, relation);
            }
        }
    }
}

/// A name, an alias or an event of this node is taken back by `by`, while its
/// process lives on. `end` makes it unfindable; whether it could be found.
pub(crate) fn withdraw(node: &NodeInner, target: Watched, by: u64, end: impl FnOnce() -> bool) -> bool {
    let mut ended = false;
    let watchers = node.relations.take(&target, || {
        ended = end();
        ended
    });
    watchers.tell(node, &target, by, &ExitReason::Unregistered);
    ended
}

/// The name of a process of this node, as it is watched.
pub(crate) fn own_name(node: &NodeInner, name: Atom) -> Watched {
    Watched::Name(crate::ProcessId { name, node: node.name })
}

/// An event of this node, as it is watched.
pub(crate) fn own_event(node: &NodeInner, name: Atom) -> Watched {
    Watched::Event(Event { name, node: node.name })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{Actor, Context, NetworkMode, Node, SpawnOptions};

    /// Passes on what it is told.
    struct Watcher(mpsc::UnboundedSender<(Relation, ExitReason)>);

    impl Actor for Watcher {
        type Args = mpsc::UnboundedSender<(Relation, ExitReason)>;
        type Messages = ();
        type Requests = ();

        async fn init(told: Self::Args, ctx: &mut Context) -> Result<Self, ExitReason> {
            ctx.set_trap_exit(true);
            Ok(Self(told))
        }

        async fn handle_exit(&mut self, exit: Exit, _: &mut Context) -> Result<(), ExitReason> {
            let _ = self.0.send((Relation::Link, exit.reason));
            Ok(())
        }

        async fn handle_down(&mut self, down: Down, _: &mut Context) -> Result<(), ExitReason> {
            let _ = self.0.send((Relation::Monitor, down.reason));
            Ok(())
        }
    }

    /// The name is taken anew after its former bearer cannot be found any more,
    /// and before who watched that has been told.
    #[tokio::test]
    async fn a_name_that_is_taken_anew_at_once_is_another_one() {
        let node = Node::builder("anew@localhost").network(NetworkMode::Disabled).start().await.unwrap();
        let inner = node.inner();
        let (told, mut says) = mpsc::unbounded_channel();
        let spawn = async || node.spawn::<Watcher>(told.clone()).await.unwrap();
        let process = |pid| inner.process(pid).unwrap();
        let (watcher, leaver) = (process(spawn().await), process(spawn().await));
        let (former, later) = (process(spawn().await), process(spawn().await));
        let name = Atom::new("till").unwrap();
        let target = own_name(inner, name);
        let free = || inner.processes.unregister_name(name, &former);

        assert!(inner.processes.register_name(name, &former));
        watcher.watch_here(target, Relation::Link).unwrap();
        leaver.watch_here(target, Relation::Link).unwrap();
        let watchers = inner.relations.take(&target, free);
        assert!(inner.processes.register_name(name, &later));
        watcher.watch_here(target, Relation::Monitor).unwrap();
        leaver.watch_here(target, Relation::Monitor).unwrap();
        leaver.unwatch(&target, Relation::Link).unwrap();
        watchers.tell(inner, &target, former.pid.id, &ExitReason::Unregistered);

        assert_eq!(says.recv().await, Some((Relation::Link, ExitReason::Unregistered)));
        assert_eq!(watcher.watches(), [(target, Relation::Monitor)], "which is of the later one");
        node.kill(later.pid);
        for _ in [&watcher, &leaver] {
            assert_eq!(says.recv().await, Some((Relation::Monitor, ExitReason::Kill)));
        }
        assert_eq!((watcher.watches(), leaver.watches()), (Vec::new(), Vec::new()));
        assert_eq!(inner.relations.len(), 0);
        assert!(says.try_recv().is_err(), "each once");
        node.stop().await;
    }

    /// The later bearer may be the former one.
    #[tokio::test]
    async fn a_name_that_its_bearer_takes_again_is_another_one() {
        let node = Node::builder("again@localhost").network(NetworkMode::Disabled).start().await.unwrap();
        let inner = node.inner();
        let (told, mut says) = mpsc::unbounded_channel();
        let watcher = inner.process(node.spawn::<Watcher>(told.clone()).await.unwrap()).unwrap();
        let bearer = node.spawn_with::<Watcher>(told, SpawnOptions::new().name("till")).await.unwrap();
        let bearer = inner.process(bearer).unwrap();
        let name = Atom::new("till").unwrap();
        let target = own_name(inner, name);
        watcher.watch_here(target, Relation::Monitor).unwrap();
        let watchers = inner.relations.take(&target, || inner.processes.unregister_name(name, &bearer));
        assert!(inner.processes.register_name(name, &bearer));
        watcher.watch_here(target, Relation::Link).unwrap();
        watchers.tell(inner, &target, bearer.pid.id, &ExitReason::Unregistered);
        assert_eq!(says.recv().await, Some((Relation::Monitor, ExitReason::Unregistered)));
        assert_eq!(watcher.watches(), [(target, Relation::Link)]);
        watcher.unwatch(&target, Relation::Link).unwrap();
        assert_eq!(inner.relations.len(), 0);
        node.stop().await;
    }
}
