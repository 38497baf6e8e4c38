//! Random lives of linked and monitored processes, against a simple model:
//! every end is told exactly once to who watches, and to nobody else.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;

use postroad::network::{NetworkRoute, exact};
use postroad::{Alias, Atom, Down, Exit, ExitReason, Node, ProcessId, RelationError, Watched};
use proptest::prelude::*;
use support::puppet::{Notice, Strings, Wish, puppet, wish};
use support::{builder, port};

const PROCESSES: usize = 6;
const NAMES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Watch { watcher: usize, target: Target, by: By },
    Unwatch { watcher: usize, target: Target, by: By },
    Trap { process: usize, trap: bool },
    TakeName { process: usize, name: usize },
    DropName { name: usize },
    AddAlias { process: usize },
    DeleteAlias { process: usize },
    End { process: usize, how: How },
    Respawn { process: usize },
    Disconnect,
}

/// What is watched: a process, whoever has a name on a node, or the last alias
/// of a process.
#[derive(Debug, Clone, Copy)]
enum Target {
    Pid(usize),
    Name(usize, usize),
    Alias(usize),
    Node(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Link,
    Monitor,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Normal,
    Error,
    Panic,
    Kill,
}

impl By {
    fn wish(self, wanted: bool) -> Wish {
        match (self, wanted) {
            (Self::Link, true) => Wish::Link,
            (Self::Link, false) => Wish::Unlink,
            (Self::Monitor, true) => Wish::Monitor,
            (Self::Monitor, false) => Wish::Demonitor,
        }
    }
}

impl How {
    fn reason(self) -> ExitReason {
        match self {
            Self::Normal => ExitReason::Normal,
            Self::Error => ExitReason::error("a reason of its own"),
            Self::Panic => ExitReason::Panic,
            Self::Kill => ExitReason::Kill,
        }
    }
}

fn steps(nodes: usize) -> impl Strategy<Value = Vec<Step>> {
    let process = || 0..PROCESSES;
    let target = move || {
        prop_oneof![
            4 => process().prop_map(Target::Pid),
            2 => (0..nodes, 0..NAMES).prop_map(|(node, name)| Target::Name(node, name)),
            2 => process().prop_map(Target::Alias),
            1 => (0..nodes).prop_map(Target::Node),
        ]
    };
    let by = || prop_oneof![Just(By::Link), Just(By::Monitor)];
    let how = prop_oneof![Just(How::Normal), Just(How::Error), Just(How::Panic), Just(How::Kill)];
    let step = prop_oneof![
        12 => (process(), target(), by()).prop_map(|(watcher, target, by)| Step::Watch { watcher, target, by }),
        4 => (process(), target(), by()).prop_map(|(watcher, target, by)| Step::Unwatch { watcher, target, by }),
        3 => (process(), any::<bool>()).prop_map(|(process, trap)| Step::Trap { process, trap }),
        3 => (process(), 0..NAMES).prop_map(|(process, name)| Step::TakeName { process, name }),
        1 => (0..NAMES).prop_map(|name| Step::DropName { name }),
        2 => process().prop_map(|process| Step::AddAlias { process }),
        1 => process().prop_map(|process| Step::DeleteAlias { process }),
        4 => (process(), how).prop_map(|(process, how)| Step::End { process, how }),
        3 => process().prop_map(|process| Step::Respawn { process }),
        if nodes > 1 { 1 } else { 0 } => Just(Step::Disconnect),
    ];
    prop::collection::vec(step, 1..40)
}

/// The processes as they are, and as they should be.
struct World {
    nodes: Vec<Node>,
    lives: Vec<Life>,
}

struct Life {
    strings: Strings,
    node: usize,
    alive: bool,
    traps: bool,
    name: Option<usize>,
    aliases: Vec<Alias>,
    watches: Vec<(Watched, By)>,
    /// What it is to be told, in any order.
    due: Vec<Notice>,
}

/// Processes that end, each with its reason and whether it can say so.
type Ends = VecDeque<(usize, ExitReason, bool)>;

impl World {
    async fn new(nodes: usize) -> Self {
        let mut world = Self { nodes: Vec::new(), lives: Vec::new() };
        for _ in 0..nodes {
            world.nodes.push(builder("model").pool_size(2).start().await.unwrap());
        }
        for near in &world.nodes {
            for far in world.nodes.iter().filter(|far| far.name() != near.name()) {
                let route = NetworkRoute::to("127.0.0.1", port(far));
                near.network().add_route(&exact(far.name().as_str()), route, 1).unwrap();
            }
        }
        for process in 0..PROCESSES {
            let life = Life::begin(&world.nodes, process % nodes).await;
            world.lives.push(life);
        }
        world
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Watch { watcher, target, by } => self.watch(watcher, target, by).await,
            Step::Unwatch { watcher, target, by } => self.unwatch(watcher, target, by).await,
            Step::Trap { process, trap } if self.lives[process].alive => {
                let life = &mut self.lives[process];
                life.traps = trap;
                life.strings.act(move |ctx| Box::pin(async move { ctx.set_trap_exit(trap) })).await;
            }
            Step::TakeName { process, name } if self.lives[process].alive => {
                let free = self.holder(self.lives[process].node, name).is_none();
                let life = &mut self.lives[process];
                let taken = self.nodes[life.node].register_name(&text(name), life.strings.pid);
                assert_eq!(taken.is_ok(), free && life.name.is_none());
                if taken.is_ok() {
                    life.name = Some(name);
                }
            }
            Step::DropName { name } => {
                for node in 0..self.nodes.len() {
                    let holder = self.holder(node, name);
                    assert_eq!(self.nodes[node].unregister_name(&text(name)).is_ok(), holder.is_some());
                    if let Some(holder) = holder {
                        self.lives[holder].name = None;
                        self.ended(self.named(node, name), ExitReason::Unregistered).await;
                    }
                }
            }
            Step::AddAlias { process } if self.lives[process].alive => {
                let life = &mut self.lives[process];
                let alias = life.strings.act(|ctx| Box::pin(async { ctx.create_alias() })).await;
                life.aliases.push(alias);
            }
            Step::DeleteAlias { process } if self.lives[process].alive => {
                let life = &mut self.lives[process];
                if let Some(alias) = life.aliases.pop() {
                    let deleted =
                        life.strings.act(move |ctx| Box::pin(async move { ctx.delete_alias(alias) }));
                    deleted.await.unwrap();
                    self.ended(Watched::Alias(alias), ExitReason::Unregistered).await;
                }
            }
            Step::End { process, how } if self.lives[process].alive => {
                let strings = &self.lives[process].strings;
                match how {
                    How::Kill => assert!(self.nodes[self.lives[process].node].kill(strings.pid)),
                    How::Panic => strings.panic().await,
                    How::Normal | How::Error => strings.end(how.reason()).await,
                }
                let speaks = matches!(how, How::Normal | How::Error);
                self.follow(Ends::from([(process, how.reason(), speaks)])).await;
            }
            Step::Respawn { process } if !self.lives[process].alive => {
                self.lives[process] = Life::begin(&self.nodes, self.lives[process].node).await;
            }
            Step::Disconnect => self.disconnect().await,
            _ => {}
        }
        self.settle().await;
    }

    async fn watch(&mut self, watcher: usize, target: Target, by: By) {
        let Some(target) = self.resolve(target).filter(|_| self.lives[watcher].alive) else { return };
        let expected = self.allows(watcher, target, by);
        let outcome = wish(&self.lives[watcher].strings, by.wish(true), target).await;
        let agree = match (&outcome, expected) {
            (Ok(()), Ok(())) => true,
            (Err(error), Err(text)) => error.to_string().starts_with(text),
            _ => false,
        };
        assert!(agree, "{watcher} watches {target:?}: {outcome:?} instead of {expected:?}");
        if outcome.is_ok() {
            self.lives[watcher].watches.push((target, by));
        }
    }

    async fn unwatch(&mut self, watcher: usize, target: Target, by: By) {
        let Some(target) = self.resolve(target).filter(|_| self.lives[watcher].alive) else { return };
        let life = &mut self.lives[watcher];
        let place = life.watches.iter().position(|watch| *watch == (target, by));
        let outcome = wish(&life.strings, by.wish(false), target).await;
        match place {
            Some(place) => {
                outcome.unwrap();
                life.watches.swap_remove(place);
            }
            None => assert!(matches!(outcome, Err(RelationError::TargetUnknown)), "{outcome:?}"),
        }
    }

    /// What is to come of a wish to watch.
    fn allows(&self, watcher: usize, target: Watched, by: By) -> Result<(), &'static str> {
        let life = &self.lives[watcher];
        let owner = self.owner(target);
        if by == By::Link && owner == Some(watcher) {
            return Err("not allowed");
        }
        if life.watches.contains(&(target, by)) {
            return Err("target is already exist");
        }
        match target {
            Watched::Node(node) if node == self.nodes[life.node].name() => Err("not allowed"),
            Watched::Alias(_) if owner.is_none() => Err("unknown alias"),
            Watched::Pid(_) | Watched::Name(_) if owner.is_none() => Err("unknown process"),
            _ => Ok(()),
        }
    }

    async fn disconnect(&mut self) {
        let [near, far] = &*self.nodes else { return };
        near.network().disconnect(far.name().as_str()).await;
        while !(near.network().info().peers.is_empty() && far.network().info().peers.is_empty()) {
            tokio::task::yield_now().await;
        }
        let mut ends = Ends::new();
        for process in 0..PROCESSES {
            let own = self.nodes[self.lives[process].node].name();
            let lost: Vec<_> = self.lives[process]
                .watches
                .iter()
                .filter(|(target, _)| target.node() != own)
                .copied()
                .collect();
            for watch in lost {
                self.tell(process, watch, &ExitReason::NoConnection, &mut ends);
            }
        }
        self.follow(ends).await;
    }

    /// Something has ended, but no process.
    async fn ended(&mut self, subject: Watched, reason: ExitReason) {
        let mut ends = Ends::new();
        self.tell_all(subject, &reason, &mut ends);
        self.follow(ends).await;
    }

    /// Follows the ends of processes to those of others, and waits for them.
    async fn follow(&mut self, mut ends: Ends) {
        let mut dead = Vec::new();
        while let Some((process, reason, speaks)) = ends.pop_front() {
            let life = &mut self.lives[process];
            if !std::mem::take(&mut life.alive) {
                continue;
            }
            life.watches.clear();
            life.due.clear();
            let mut subjects = vec![Watched::Pid(life.strings.pid)];
            subjects.extend(life.aliases.drain(..).map(Watched::Alias));
            if let (node, Some(name)) = (life.node, life.name.take()) {
                subjects.push(self.named(node, name));
            }
            for subject in subjects {
                self.tell_all(subject, &reason, &mut ends);
            }
            dead.push((process, reason, speaks));
        }
        for (process, reason, speaks) in dead {
            let Life { strings, node, .. } = &mut self.lives[process];
            if speaks {
                let last = loop {
                    if let Notice::Terminated(last) = strings.told().await {
                        break last;
                    }
                };
                assert_eq!(last, reason);
            }
            while self.nodes[*node].mailbox_len(strings.pid).is_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    fn tell_all(&mut self, subject: Watched, reason: &ExitReason, ends: &mut Ends) {
        for process in 0..PROCESSES {
            for by in [By::Link, By::Monitor] {
                if self.lives[process].watches.contains(&(subject, by)) {
                    self.tell(process, (subject, by), reason, ends);
                }
            }
        }
    }

    fn tell(&mut self, process: usize, watch: (Watched, By), reason: &ExitReason, ends: &mut Ends) {
        let life = &mut self.lives[process];
        life.watches.retain(|known| *known != watch);
        let (subject, reason) = (watch.0, reason.clone());
        match watch.1 {
            By::Monitor => life.due.push(Notice::Down(Down { subject, reason })),
            By::Link if life.traps => {
                life.due.push(Notice::Exit(Exit { subject, reason, requested: false }));
            }
            By::Link => ends.push_back((process, reason, true)),
        }
    }

    /// Waits until everybody who lives was told what it is to be told, and
    /// checks that it was nothing else.
    async fn settle(&mut self) {
        for life in self.lives.iter_mut().filter(|life| life.alive) {
            while !life.due.is_empty() {
                let notice = life.strings.told().await;
                let place = life.due.iter().position(|due| *due == notice);
                life.due
                    .swap_remove(place.unwrap_or_else(|| panic!("{notice:?}, not one of {:?}", life.due)));
            }
            assert_eq!(life.strings.told_so_far().await, []);
            let mut said = life.strings.act(|ctx| Box::pin(async { (ctx.links(), ctx.monitors()) })).await;
            let of = |by| life.watches.iter().filter(move |watch| watch.1 == by).map(|watch| watch.0);
            let mut should = (of(By::Link).collect::<Vec<_>>(), of(By::Monitor).collect::<Vec<_>>());
            for list in [&mut said.0, &mut said.1, &mut should.0, &mut should.1] {
                list.sort_by_key(|watched| format!("{watched:?}"));
            }
            assert_eq!(said, should);
        }
    }

    fn resolve(&self, target: Target) -> Option<Watched> {
        match target {
            Target::Pid(process) => Some(Watched::Pid(self.lives[process].strings.pid)),
            Target::Name(node, name) => Some(self.named(node, name)),
            Target::Alias(process) => self.lives[process].aliases.last().copied().map(Watched::Alias),
            Target::Node(node) => Some(Watched::Node(self.nodes[node].name())),
        }
    }

    fn owner(&self, target: Watched) -> Option<usize> {
        let mut lives = self.lives.iter();
        lives.position(|life| {
            life.alive
                && match target {
                    Watched::Pid(pid) => life.strings.pid == pid,
                    Watched::Alias(alias) => life.aliases.contains(&alias),
                    Watched::Name(_) => life.name.is_some_and(|name| self.named(life.node, name) == target),
                    _ => false,
                }
        })
    }

    fn holder(&self, node: usize, name: usize) -> Option<usize> {
        self.owner(self.named(node, name))
    }

    fn named(&self, node: usize, name: usize) -> Watched {
        Watched::Name(ProcessId { name: Atom::new(&text(name)).unwrap(), node: self.nodes[node].name() })
    }
}

impl Life {
    async fn begin(nodes: &[Node], node: usize) -> Self {
        let strings = puppet(&nodes[node]).await;
        let (name, aliases, watches, due) = (None, Vec::new(), Vec::new(), Vec::new());
        Self { strings, node, alive: true, traps: false, name, aliases, watches, due }
    }
}

fn text(name: usize) -> String {
    format!("name-{name}")
}

fn live(nodes: usize, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(nodes).await;
        for step in steps {
            world.take(step).await;
        }
        for node in &world.nodes {
            node.stop().await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn on_one_node_every_end_is_told_once(steps in steps(1)) {
        live(1, steps);
    }
}

proptest! {
    // A connection that ends takes its time.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn between_nodes_every_end_is_told_once(steps in steps(2)) {
        live(2, steps);
    }
}
