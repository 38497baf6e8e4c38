//! Nodes on a network in memory, what is done there, and what goes wrong: all
//! of it follows one seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use postroad::network::{MemoryNetwork, NetworkEvent};
use postroad::{Alias, Atom, Event, ExitReason, Node, Pid, ProcessId, Target, Watched};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::ledger::{Ledger, Who};
use crate::player::{Begin, By, Fate, Order, Player, Wake};
use crate::setting::{APART, NODES, Setting, Weather, host, node_name};

const SEATS_PER_NODE: usize = 3;
const STEPS: usize = 70;

/// The seat whose event many subscribe to.
const FAVOURITE: usize = 0;

/// How many of the last aliases are talked to.
const ALIASES: usize = 6;

pub struct World {
    chance: StdRng,
    network: MemoryNetwork,
    setting: Setting,
    ledger: Ledger,
    nodes: Vec<Node>,
    seats: Vec<Seat>,
    /// The processes that were in these seats before.
    former: Vec<(Who, Pid)>,
    healing: Vec<(Instant, usize, usize)>,
    next_who: Who,
    next_question: u64,
}

/// A place for a player, one after the other.
struct Seat {
    node: usize,
    who: Who,
    pid: Pid,
    orders: mpsc::UnboundedSender<Order>,
}

/// What came of a seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace: Vec<String>,
    pub faults: Vec<String>,
}

impl World {
    pub async fn run(seed: u64) -> Outcome {
        let mut world = Self::begin(seed).await;
        for _ in 0..STEPS {
            sleep(world.between(0..=300)).await;
            world.heal_what_is_due(Instant::now());
            match world.chance.random_range(0..10) {
                0..2 => world.trouble().await,
                2 => world.end_or_spawn().await,
                _ => world.order(),
            }
        }
        world.end().await
    }

    async fn begin(seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let network = MemoryNetwork::seeded(chance.random());
        let setting = Setting::of(seed);
        let delay: RangeInclusive<u64> = setting.delays().choose(&mut chance).unwrap().clone();
        network.set_delay(Duration::from_millis(*delay.start())..=Duration::from_millis(*delay.end()));
        let ledger = Ledger::new(setting.weather == Weather::Calm);
        ledger.say(format!("seed {seed}, {setting}, roads take {delay:?} ms"));
        if setting.gateway {
            network.partition(&host(APART.0), &host(APART.1));
        }
        let mut world = Self {
            chance,
            network,
            setting,
            ledger,
            nodes: Vec::new(),
            seats: Vec::new(),
            former: Vec::new(),
            healing: Vec::new(),
            next_who: 0,
            next_question: 0,
        };
        for number in 0..setting.nodes() {
            let node = world.start_node(number).await;
            world.nodes.push(node);
        }
        for seat in 0..NODES * SEATS_PER_NODE {
            let taken = world.sit_down(seat, seat % NODES).await;
            world.seats.push(taken);
        }
        world.tell(FAVOURITE, Order::Publish);
        world
    }

    async fn start_node(&mut self, number: usize) -> Node {
        let node = self.setting.start_node(&self.network, number).await;
        let (mut events, ledger) = (node.network().subscribe(), self.ledger.clone());
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(NetworkEvent::Disconnected { peer, .. }) => ledger.disconnected(number, peer),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        node
    }

    async fn sit_down(&mut self, seat: usize, number: usize) -> Seat {
        let (orders, received) = mpsc::unbounded_channel();
        let who = self.next_who;
        self.next_who += 1;
        let traps = self.chance.random_bool(0.8);
        let event = event_name(seat);
        let begin = Begin { who, node: number, event, traps, ledger: self.ledger.clone(), orders: received };
        let node = &self.nodes[number];
        let pid = node.spawn::<Player>(begin).await.unwrap();
        // Whoever sat here before may still be clearing its place.
        if node.register_name(&seat_name(seat), pid).is_ok() {
            self.ledger
                .named(who, ProcessId { name: Atom::new(&seat_name(seat)).unwrap(), node: node.name() });
        }
        Seat { node: number, who, pid, orders }
    }

    fn between(&mut self, millis: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.chance.random_range(millis))
    }

    fn heal_what_is_due(&mut self, now: Instant) {
        let network = &self.network;
        self.healing.retain(|(at, one, other)| {
            let due = *at <= now;
            if due {
                network.heal(&host(*one), &host(*other));
            }
            !due
        });
    }

    /// Something goes wrong.
    async fn trouble(&mut self) {
        let (one, other) = self.two_nodes();
        let most = match self.setting.weather {
            Weather::Calm => return,
            Weather::Links => 3,
            Weather::Roads => 6,
            Weather::Nodes => 8,
        };
        let (near, far) = (host(one), host(other));
        if self.setting.are_apart(one, other) {
            // There is no road between them.
            self.ledger.say(format!("{near} disconnects from {far}"));
            self.nodes[one].network().disconnect(&node_name(other)).await;
            return;
        }
        match self.chance.random_range(0..most) {
            0 | 1 => {
                let broken = self.network.reset_one(&near, &far);
                self.ledger.say(format!("a link between {near} and {far} breaks: {broken}"));
            }
            2 => {
                let broken = self.network.reset(&near, &far);
                self.ledger.say(format!("{broken} links between {near} and {far} break"));
            }
            3 => {
                self.ledger.say(format!("no road between {near} and {far}"));
                self.network.partition(&near, &far);
                self.heal_later(one, other);
            }
            4 => {
                self.ledger.say(format!("no road from {near} to {far}"));
                self.network.silence(&near, &far);
                self.heal_later(one, other);
            }
            5 => {
                self.ledger.say(format!("{near} disconnects from {far}"));
                self.nodes[one].network().disconnect(&node_name(other)).await;
            }
            6 => self.restart(one, false).await,
            _ => self.restart(one, true).await,
        }
    }

    fn heal_later(&mut self, one: usize, other: usize) {
        let lasts = self.between(50..=6000);
        self.healing.push((Instant::now() + lasts, one, other));
    }

    /// A node ends, by a crash of its host or in order, and begins anew.
    async fn restart(&mut self, number: usize, crash: bool) {
        self.ledger.say(format!("node {number} {}", if crash { "crashes" } else { "stops" }));
        if crash {
            self.network.crash(&host(number));
        }
        self.stop_node(number).await;
        if crash {
            sleep(self.between(0..=4000)).await;
            self.network.boot(&host(number));
        }
        self.nodes[number] = self.start_node(number).await;
        self.ledger.say(format!("node {number} is there again"));
        for seat in 0..self.seats.len() {
            if self.seats[seat].node == number {
                self.replace(seat).await;
            }
        }
    }

    async fn stop_node(&mut self, number: usize) {
        for seat in self.seats.iter().filter(|seat| seat.node == number) {
            self.ledger.may_end(seat.who, ExitReason::Shutdown);
            self.ledger.may_end(seat.who, ExitReason::Kill);
        }
        let node = self.nodes[number].clone();
        if timeout(Duration::from_secs(20), node.stop()).await.is_err() {
            self.ledger.fault(format!("node {number} does not stop"));
        }
        if node.process_count() > 0 {
            self.ledger.fault(format!("node {number} has stopped with processes"));
        }
        let requests = node.network().info().requests;
        if requests > 0 {
            self.ledger.fault(format!("node {number} has stopped and waits for {requests} answers"));
        }
    }

    async fn replace(&mut self, seat: usize) {
        let former = &self.seats[seat];
        self.former.push((former.who, former.pid));
        self.seats[seat] = self.sit_down(seat, former.node).await;
    }

    async fn end_or_spawn(&mut self) {
        let seat = self.chance.random_range(0..self.seats.len());
        if !self.is_alive(seat) {
            return self.replace(seat).await;
        }
        let Seat { node, who, pid, .. } = self.seats[seat];
        match self.chance.random_range(0..5) {
            0 => self.tell(seat, Order::End(ExitReason::Normal)),
            1 => self.tell(seat, Order::End(ExitReason::error("of its own"))),
            2 => self.tell(seat, Order::Panic),
            3 => {
                self.ledger.may_end(who, ExitReason::Kill);
                self.nodes[node].kill(pid);
            }
            _ => {
                // Somebody else asks it to; who traps exits may go on.
                let from = &self.nodes[self.chance.random_range(0..NODES)];
                self.ledger.say(format!("{who} is asked to end"));
                let _ =
                    timeout(Duration::from_secs(1), from.send_exit(pid, ExitReason::error("asked to"))).await;
            }
        }
    }

    /// Somebody is told to do something.
    fn order(&mut self) {
        let seat = self.chance.random_range(0..self.seats.len());
        let (who, pid) = self.somebody();
        let mut times = 1;
        let order = match self.chance.random_range(0..14) {
            0..4 => {
                let (target, by) = self.target(pid);
                Order::Watch(target, by)
            }
            4 => {
                let (target, by) = self.target(pid);
                Order::Unwatch(target, by)
            }
            5..9 => {
                times = self.chance.random_range(1..6);
                let (who, to) = self.address(seat, (who, pid));
                Order::Send { to, who, important: self.chance.random_bool(0.5) }
            }
            9..11 => {
                times = self.chance.random_range(1..6);
                Order::Publish
            }
            11 => {
                let orders = [Order::Withdraw, Order::MakeAlias, Order::MakeAlias, Order::ReleaseAlias];
                orders.choose(&mut self.chance).unwrap().clone()
            }
            _ => {
                self.next_question += 1;
                let fates = [
                    Fate::AtOnce,
                    Fate::AtOnce,
                    Fate::AtOnce,
                    Fate::Later,
                    Fate::Later,
                    Fate::Never,
                    Fate::Fatal,
                ];
                let fate = *fates.choose(&mut self.chance).unwrap();
                let (_, to) = self.address(seat, (who, pid));
                Order::Ask { to, question: self.next_question, fate, limit: self.between(300..=4000) }
            }
        };
        for _ in 0..times {
            self.tell(seat, order.clone());
        }
    }

    /// Somebody who plays, or did.
    fn somebody(&mut self) -> (Who, Pid) {
        if self.chance.random_bool(0.1)
            && let Some(former) = self.former.choose(&mut self.chance)
        {
            return *former;
        }
        let seat = self.seats.choose(&mut self.chance).unwrap();
        (seat.who, seat.pid)
    }

    /// By which that one is talked to, or somebody else.
    fn address(&mut self, seat: usize, (who, pid): (Who, Pid)) -> (Who, Target) {
        let alias = if self.chance.random_bool(0.3) { self.alias() } else { None };
        match alias {
            Some((owner, alias)) if owner != self.seats[seat].who => (owner, Target::Alias(alias)),
            _ => (who, Target::Pid(pid)),
        }
    }

    fn alias(&mut self) -> Option<(Who, Alias)> {
        self.ledger.aliases(ALIASES).choose(&mut self.chance).copied()
    }

    /// What somebody may watch, and how.
    fn target(&mut self, pid: Pid) -> (Watched, By) {
        let by = if self.chance.random_bool(0.5) { By::Link } else { By::Monitor };
        let chosen = self.chance.random_range(0..self.seats.len());
        match self.chance.random_range(0..14) {
            0 => (Watched::Node(Atom::new(&node_name(self.chance.random_range(0..NODES))).unwrap()), by),
            1..4 => (Watched::Name(self.named(chosen)), by),
            4..6 => self.subscription(chosen),
            6..8 => self.subscription(FAVOURITE),
            8..10 => (self.alias().map_or(Watched::Pid(pid), |(_, alias)| Watched::Alias(alias)), by),
            _ => (Watched::Pid(pid), by),
        }
    }

    /// One of the two ways to subscribe: who does so by both gets everything twice.
    fn subscription(&self, to: usize) -> (Watched, By) {
        let node = self.nodes[self.seats[to].node].name();
        let event = Event { name: Atom::new(&event_name(to)).unwrap(), node };
        let by = if to.is_multiple_of(2) { By::Link } else { By::Monitor };
        (Watched::Event(event), by)
    }

    fn named(&self, seat: usize) -> ProcessId {
        let node = self.nodes[self.seats[seat].node].name();
        ProcessId { name: Atom::new(&seat_name(seat)).unwrap(), node }
    }

    fn tell(&self, seat: usize, order: Order) {
        let Seat { node, who, pid, orders } = &self.seats[seat];
        if self.is_alive(seat) {
            self.ledger.ordered(*who);
            let _ = orders.send(order);
            let _ = self.nodes[*node].try_send(*pid, Wake);
        }
    }

    fn is_alive(&self, seat: usize) -> bool {
        let Seat { node, pid, .. } = self.seats[seat];
        self.nodes[node].mailbox_len(pid).is_some()
    }

    fn two_nodes(&mut self) -> (usize, usize) {
        let nodes = self.nodes.len();
        let one = self.chance.random_range(0..nodes);
        (one, (one + self.chance.random_range(1..nodes)) % nodes)
    }

    /// The roads are good again: what was said is checked, what is said now
    /// arrives, and all comes to an end.
    async fn end(mut self) -> Outcome {
        self.ledger.say("all is well again");
        self.heal_what_is_due(Instant::now() + Duration::from_secs(3600));
        sleep(Duration::from_secs(15)).await;
        self.settle().await;
        self.ledger.calm();
        for from in 0..self.seats.len() {
            for to in 0..self.seats.len() {
                let (pid, who) = (self.seats[to].pid, self.seats[to].who);
                if from != to && self.is_alive(to) {
                    let to = Target::Pid(pid);
                    self.tell(from, Order::Send { to, who, important: false });
                }
            }
        }
        self.publish_and_release().await;
        self.settle().await;
        self.ledger.say("everybody leaves what many subscribe to, and comes again");
        let (event, by) = self.subscription(FAVOURITE);
        for order in [Order::Unwatch(event, by), Order::Watch(event, by)] {
            for seat in 0..self.seats.len() {
                self.tell(seat, order.clone());
            }
            self.settle().await;
        }
        self.ledger.say("those on node 0 are killed");
        for seat in 0..self.seats.len() {
            let Seat { node, who, pid, .. } = self.seats[seat];
            if node == 0 {
                self.ledger.may_end(who, ExitReason::Kill);
                self.nodes[node].kill(pid);
            }
        }
        self.settle().await;
        self.ledger.say("node 1 stops");
        self.stop_node(1).await;
        self.settle().await;
        self.ledger.say("the last ones end");
        for seat in 0..self.seats.len() {
            self.tell(seat, Order::End(ExitReason::Normal));
        }
        sleep(Duration::from_secs(3)).await;
        for (number, node) in self.nodes.iter().enumerate() {
            let info = node.network().info();
            if node.process_count() > 0 || info.requests > 0 {
                self.ledger.fault(format!("node {number} has something left"));
            }
            for peer in info.peers.iter().filter(|peer| peer.watching + peer.watched > 0) {
                self.ledger.fault(format!("node {number} has relations left with {}", peer.name));
            }
        }
        for number in (0..self.nodes.len()).filter(|number| *number != 1) {
            self.stop_node(number).await;
        }
        let Self { network, ledger, nodes, .. } = self;
        drop(nodes);
        // Who follows the events of a node has to notice its end.
        sleep(Duration::from_secs(1)).await;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if tasks > 0 || network.streams() > 0 {
            ledger.fault(format!("{tasks} tasks and {} streams are left", network.streams()));
        }
        let (trace, faults) = ledger.read();
        Outcome { trace, faults }
    }

    /// Everybody publishes and releases an alias, and each one's event and alias
    /// are watched from another node.
    async fn publish_and_release(&mut self) {
        let seats = self.seats.len();
        for seat in 0..seats {
            self.tell(seat, Order::Publish);
            self.tell(seat, Order::MakeAlias);
        }
        self.settle().await;
        let aliases = self.ledger.aliases(seats);
        for seat in 0..seats {
            let next = (seat + 1) % seats;
            for event in [next, FAVOURITE] {
                let (event, by) = self.subscription(event);
                self.tell(seat, Order::Watch(event, by));
            }
            if let Some((_, alias)) = aliases.iter().find(|(owner, _)| *owner == self.seats[next].who) {
                self.tell(seat, Order::Watch(Watched::Alias(*alias), By::Monitor));
            }
        }
        self.settle().await;
        for seat in 0..seats {
            self.tell(seat, Order::Publish);
            self.tell(seat, Order::Publish);
            self.tell(seat, Order::ReleaseAlias);
        }
    }

    /// Waits until nobody has anything to do, and checks.
    async fn settle(&mut self) {
        let mut seconds = 0;
        while (0..self.seats.len())
            .any(|seat| self.is_alive(seat) && self.ledger.is_busy(self.seats[seat].who))
        {
            sleep(Duration::from_secs(1)).await;
            seconds += 1;
            if seconds > 300 {
                return self.ledger.fault("somebody never gets done");
            }
        }
        sleep(self.setting.missed_after()).await;
        for seat in 0..self.seats.len() {
            self.tell(seat, Order::Report);
        }
        sleep(Duration::from_secs(1)).await;
        let alive: Vec<_> = (0..self.seats.len()).filter(|seat| self.is_alive(*seat)).collect();
        let living: Vec<_> = alive.iter().map(|seat| self.seats[*seat].who).collect();
        self.ledger.check(&living, |node, target| match target {
            Watched::Pid(pid) => alive.iter().any(|seat| self.seats[*seat].pid == *pid),
            Watched::Name(name) => {
                let held = |seat: usize| self.nodes[self.seats[seat].node].whereis(name.name.as_str());
                alive.iter().any(|seat| self.named(*seat) == *name && held(*seat).is_some())
            }
            Watched::Node(name) => self.nodes[node].network().peer(name.as_str()).is_some(),
            Watched::Event(event) => {
                let node = self.nodes.iter().find(|node| node.name() == event.node);
                node.is_some_and(|node| node.event_info(event.name.as_str()).is_some())
            }
            Watched::Alias(_) => unreachable!("the ledger knows where aliases lead"),
        });
    }
}

/// What the one in this seat publishes as.
fn event_name(seat: usize) -> String {
    format!("event-{seat}")
}

fn seat_name(seat: usize) -> String {
    format!("seat-{seat}")
}
