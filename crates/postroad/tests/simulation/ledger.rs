//! What was done and what came of it, and whether that is as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postroad::{
    Alias, Atom, CallError, Event, ExitReason, Pid, ProcessId, RelationError, SendError, Target, Watched,
};
use tokio::time::Instant;

use crate::player::{By, Fate};
use crate::publications::{Publications, Registration, Standing};

/// No request takes longer than this, whatever happens on the roads.
const LONGEST: Duration = Duration::from_secs(30);

/// The number of a player: each life has its own.
pub type Who = u32;

/// Shared by all players of a world.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Book>>);

struct Book {
    begun: Instant,
    trace: Vec<String>,
    faults: Vec<String>,
    lives: BTreeMap<Who, Life>,
    relations: BTreeMap<(Who, Watched, By), Relation>,
    /// When a node, by its number, has lost which peer.
    disconnects: Vec<(usize, Atom, Instant)>,
    notes: BTreeMap<(Who, u64), Note>,
    /// The last number that a player was given by another one.
    last: BTreeMap<(Who, Who), u64>,
    asked: BTreeMap<u64, Asked>,
    aliases: Vec<Made>,
    publications: Publications,
    /// From then on everything arrives.
    calm: Option<Instant>,
}

struct Life {
    pid: Pid,
    node: usize,
    /// The name that leads to it, if it has got it.
    name: Option<ProcessId>,
    next_note: u64,
    /// By which reasons it may have ended.
    reasons: Vec<ExitReason>,
    /// Orders that it has not finished.
    orders: usize,
    watches: Option<BTreeSet<(Watched, By)>>,
}

/// An alias, and whose it is.
struct Made {
    alias: Alias,
    owner: Who,
    released: bool,
}

/// How often a relation was made and not ended yet; more than once if a notice
/// lies in the mailbox.
#[derive(Default)]
struct Relation {
    since: Vec<Instant>,
}

struct Note {
    to: Who,
    by_alias: Option<Alias>,
    sent: Sent,
    received: bool,
    at: Instant,
}

/// What the sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    UnderWay,
    /// Handed over; if it was important, acknowledged.
    Done {
        important: bool,
    },
    Refused,
    Unknown,
}

#[derive(Default)]
struct Asked {
    handled: usize,
}

impl Ledger {
    pub fn new(calm: bool) -> Self {
        let begun = Instant::now();
        Self(Arc::new(Mutex::new(Book {
            begun,
            trace: Vec::new(),
            faults: Vec::new(),
            lives: BTreeMap::new(),
            relations: BTreeMap::new(),
            disconnects: Vec::new(),
            notes: BTreeMap::new(),
            last: BTreeMap::new(),
            asked: BTreeMap::new(),
            aliases: Vec::new(),
            publications: Publications::default(),
            calm: calm.then_some(begun),
        })))
    }

    pub fn say(&self, line: impl AsRef<str>) {
        self.0.lock().say(line.as_ref());
    }

    pub fn fault(&self, line: impl AsRef<str>) {
        self.0.lock().fault(line.as_ref());
    }

    /// The trace, and what went wrong.
    pub fn read(&self) -> (Vec<String>, Vec<String>) {
        let book = self.0.lock();
        (book.trace.clone(), book.faults.clone())
    }

    pub fn calm(&self) {
        self.0.lock().calm.get_or_insert_with(Instant::now);
    }

    pub fn born(&self, who: Who, pid: Pid, node: usize) {
        let mut book = self.0.lock();
        book.say(&format!("{who} is born on node {node}"));
        let life =
            Life { pid, node, name: None, next_note: 0, reasons: Vec::new(), orders: 0, watches: None };
        book.lives.insert(who, life);
    }

    pub fn named(&self, who: Who, name: ProcessId) {
        if let Some(life) = self.0.lock().lives.get_mut(&who) {
            life.name = Some(name);
        }
    }

    /// It ends, or may end, for this reason.
    pub fn may_end(&self, who: Who, reason: ExitReason) {
        let mut book = self.0.lock();
        book.say(&format!("{who} ends: {reason}"));
        if let Some(life) = book.lives.get_mut(&who) {
            life.reasons.push(reason);
        }
    }

    pub fn ordered(&self, who: Who) {
        if let Some(life) = self.0.lock().lives.get_mut(&who) {
            life.orders += 1;
        }
    }

    pub fn finished(&self, who: Who, what: &str, begun: Instant) {
        let mut book = self.0.lock();
        if begun.elapsed() > LONGEST {
            book.fault(&format!("{who}: {what} took {:?}", begun.elapsed()));
        }
        if let Some(life) = book.lives.get_mut(&who) {
            life.orders -= 1;
        }
    }

    pub fn is_busy(&self, who: Who) -> bool {
        self.0.lock().lives.get(&who).is_some_and(|life| life.orders > 0)
    }

    pub fn watched(
        &self,
        who: Who,
        target: Watched,
        by: By,
        begun: Instant,
        outcome: &Result<impl Sized, RelationError>,
    ) {
        let mut book = self.0.lock();
        let text = book.text(&target);
        book.say(&format!("{who} watches {text} by {by:?}: {}", short(outcome)));
        let has = book.relations.get(&(who, target, by)).is_some_and(|relation| !relation.since.is_empty());
        if matches!(outcome, Err(RelationError::Exists)) && !has {
            book.fault(&format!("{who} does not watch {text} by {by:?}, and cannot: it exists"));
        }
        if outcome.is_ok() {
            book.relations.entry((who, target, by)).or_default().since.push(begun);
        }
    }

    pub fn unwatched(&self, who: Who, target: Watched, by: By, outcome: &Result<(), RelationError>) {
        let mut book = self.0.lock();
        let text = book.text(&target);
        book.say(&format!("{who} watches {text} by {by:?} no more: {}", short(outcome)));
        if outcome.is_ok() && book.relations.entry((who, target, by)).or_default().since.pop().is_none() {
            book.fault(&format!("{who} has ended a relation by {by:?} with {text} that it did not have"));
        }
        if let Watched::Event(event) = target {
            book.publications.unsubscribed(who, event);
        }
    }

    /// A notice has come.
    pub fn told(&self, who: Who, target: Watched, by: By, reason: &ExitReason) {
        let mut book = self.0.lock();
        let text = book.text(&target);
        book.say(&format!("{who} is told by {by:?} of {text}: {reason}"));
        let Some(node) = book.lives.get(&who).map(|life| life.node) else { return };
        let relation = book.relations.entry((who, target, by)).or_default();
        if relation.since.is_empty() {
            book.fault(&format!("{who} is told by {by:?} of {text} ({reason}), which it does not watch"));
            return;
        }
        let since = relation.since.remove(0);
        if let Watched::Event(event) = target {
            book.publications.unsubscribed(who, event);
        }
        if !book.is_allowed(node, &target, since, reason) {
            book.fault(&format!("{who} is told by {by:?} of {text}: {reason}, which is not so"));
        }
    }

    pub fn disconnected(&self, node: usize, peer: Atom) {
        let mut book = self.0.lock();
        book.say(&format!("node {node} has lost {peer}"));
        book.disconnects.push((node, peer, Instant::now()));
    }

    pub fn alias_made(&self, who: Who, alias: Alias) {
        let mut book = self.0.lock();
        book.aliases.push(Made { alias, owner: who, released: false });
        let text = book.text(&Watched::Alias(alias));
        book.say(&format!("{who} makes {text}"));
    }

    pub fn alias_released(&self, who: Who, alias: Alias) {
        let mut book = self.0.lock();
        let text = book.text(&Watched::Alias(alias));
        book.say(&format!("{who} releases {text}"));
        book.aliases.iter_mut().filter(|made| made.alias == alias).for_each(|made| made.released = true);
    }

    /// The last aliases that were made, and whose they are or were.
    pub fn aliases(&self, most: usize) -> Vec<(Who, Alias)> {
        self.0.lock().aliases.iter().rev().take(most).map(|made| (made.owner, made.alias)).collect()
    }

    pub fn registered(&self, who: Who, event: Event) -> Registration {
        let mut book = self.0.lock();
        book.say(&format!("{who} registers {event}"));
        book.publications.register(event, who)
    }

    pub fn withdrawn(&self, who: Who, registration: Registration) {
        let mut book = self.0.lock();
        book.say(&format!("{who} withdraws registration {registration}"));
        book.publications.withdraw(registration);
    }

    /// The number of what somebody is about to publish.
    pub fn publishes(&self, who: Who, registration: Registration) -> u64 {
        let mut book = self.0.lock();
        let number = book.publications.publish(registration);
        book.say(&format!("{who} publishes {number} of registration {registration}"));
        number
    }

    pub fn wanted(&self, who: Who, registration: Registration, wanted: bool) {
        let mut book = self.0.lock();
        book.say(&format!("{who} is told that registration {registration} is wanted: {wanted}"));
        if let Some(fault) = book.publications.wanted(registration, wanted) {
            book.fault(&format!("{who} {fault}: registration {registration} is wanted: {wanted}"));
        }
    }

    /// It asks for what is published.
    pub fn subscribes(&self, who: Who, event: Event) {
        let mut book = self.0.lock();
        let node = book.lives.get(&who).map(|life| life.pid.node);
        if let Some(node) = node {
            book.publications.subscribes(who, node, event);
        }
    }

    /// It gets what is published from now on, and this.
    pub fn subscribed(&self, who: Who, event: Event, kept: &[(Registration, u64)]) {
        let mut book = self.0.lock();
        book.say(&format!("{who} is given of {event}: {kept:?}"));
        let faults = book.publications.subscribed(who, event, kept);
        faults.iter().for_each(|fault| book.fault(fault));
    }

    /// It does not get what is published.
    pub fn not_subscribed(&self, who: Who, event: Event) {
        self.0.lock().publications.asks_no_more(who, event);
    }

    pub fn issue_came(&self, who: Who, event: Event, issue: (Registration, u64)) {
        let mut book = self.0.lock();
        book.say(&format!("{who} gets {} of {event}, registration {}", issue.1, issue.0));
        let calm = book.calm;
        let faults = book.publications.received(who, event, issue, calm);
        faults.iter().for_each(|fault| book.fault(fault));
    }

    pub fn next_note(&self, from: Who, to: Who, by: Target) -> u64 {
        let mut book = self.0.lock();
        let Some(life) = book.lives.get_mut(&from) else { return 0 };
        life.next_note += 1;
        let number = life.next_note;
        let by_alias = match by {
            Target::Alias(alias) => Some(alias),
            Target::Pid(_) | Target::Name(_) => None,
        };
        let note = Note { to, by_alias, sent: Sent::UnderWay, received: false, at: Instant::now() };
        book.notes.insert((from, number), note);
        number
    }

    pub fn sent(&self, from: Who, number: u64, important: bool, outcome: &Result<(), SendError>) {
        let mut book = self.0.lock();
        let what = if important { "important " } else { "" };
        book.say(&format!("{from} has sent {what}note {number}: {}", short(outcome)));
        if let Some(note) = book.notes.get_mut(&(from, number)) {
            note.sent = match outcome {
                Ok(()) => Sent::Done { important },
                Err(SendError::NoConnection { .. } | SendError::Timeout { .. }) => Sent::Unknown,
                Err(_) => Sent::Refused,
            };
        }
    }

    pub fn received(&self, who: Who, from: Who, number: u64) {
        let mut book = self.0.lock();
        book.say(&format!("{who} receives note {number} of {from}"));
        let last = book.last.insert((who, from), number).unwrap_or(0);
        if last >= number {
            book.fault(&format!("{who} receives note {number} of {from} after {last}"));
        }
        match book.notes.get_mut(&(from, number)) {
            Some(note) if note.to == who => note.received = true,
            _ => book.fault(&format!("{who} receives note {number} of {from}, which was not for it")),
        }
    }

    /// A player is asked something.
    pub fn handled(&self, who: Who, question: u64) {
        let mut book = self.0.lock();
        book.say(&format!("{who} is asked {question}"));
        book.asked.entry(question).or_default().handled += 1;
        if book.asked[&question].handled > 1 {
            book.fault(&format!("{who} is asked {question} again"));
        }
    }

    pub fn answered(
        &self,
        who: Who,
        question: u64,
        fate: Fate,
        limit: Duration,
        begun: Instant,
        outcome: &Result<u64, CallError>,
    ) {
        let mut book = self.0.lock();
        book.say(&format!("{who} has asked {question} ({fate:?}): {}", short(outcome)));
        let handled = book.asked.get(&question).map_or(0, |asked| asked.handled);
        let right = match outcome {
            Ok(answer) => *answer == question && handled == 1 && fate.answers(),
            Err(CallError::Send(SendError::ProcessUnknown | SendError::Incarnation { .. })) => handled == 0,
            Err(CallError::Send(SendError::Connect(_))) => handled == 0,
            Err(CallError::NoAnswer | CallError::Answer(_)) => true,
            Err(CallError::Timeout(_) | CallError::NoConnection { .. }) => true,
            Err(CallError::Send(SendError::ProcessTerminated | SendError::NoConnection { .. })) => true,
            Err(_) => false,
        };
        if !right {
            book.fault(&format!("{who} has asked {question}, handled {handled} times: {}", short(outcome)));
        }
        if begun.elapsed() > limit + Duration::from_millis(100) {
            book.fault(&format!("{who} has waited {:?} for {question}, not {limit:?}", begun.elapsed()));
        }
    }

    pub fn reported(&self, who: Who, links: Vec<Watched>, monitors: Vec<Watched>) {
        let links = links.into_iter().map(|target| (target, By::Link));
        let watches = links.chain(monitors.into_iter().map(|target| (target, By::Monitor))).collect();
        if let Some(life) = self.0.lock().lives.get_mut(&who) {
            life.watches = Some(watches);
        }
    }

    /// Checks everything, at a time when nothing is under way. `is_there` says
    /// whether a target can be watched from a node.
    pub fn check(&self, alive: &[Who], is_there: impl Fn(usize, &Watched) -> bool) {
        let mut book = self.0.lock();
        let mut faults = Vec::new();
        for who in alive {
            let Some(life) = book.lives.get_mut(who) else { continue };
            let node = life.node;
            let Some(watches) = life.watches.take() else {
                faults.push(format!("{who} does not react"));
                continue;
            };
            for (target, by) in &watches {
                let there = match target {
                    Watched::Alias(alias) => book.leads_to_one_of(alias, alive),
                    _ => is_there(node, target),
                };
                if !there {
                    faults.push(format!("{who} is not told by {by:?} of the end of {}", book.text(target)));
                }
            }
            for ((_, target, by), relation) in
                book.relations.iter().filter(|((watcher, ..), _)| watcher == who)
            {
                let watching = usize::from(watches.contains(&(*target, *by)));
                if relation.since.len() != watching {
                    let (made, text) = (relation.since.len(), book.text(target));
                    faults.push(format!(
                        "{who} watches {text} by {by:?} {watching} times, and should {made}: a notice was lost"
                    ));
                }
            }
        }
        for ((from, number), note) in &book.notes {
            let (to, there) = (note.to, alive.contains(&note.to));
            match note.sent {
                Sent::Done { important: true } if there && !note.received => {
                    faults.push(format!(
                        "important note {number} of {from} was acknowledged, and {to} does not have it"
                    ));
                }
                Sent::Done { .. }
                    if there
                        && !note.received
                        && note.by_alias.is_none_or(|alias| book.leads_to_one_of(&alias, alive))
                        && book.calm.is_some_and(|calm| note.at >= calm) =>
                {
                    faults
                        .push(format!("note {number} of {from} to {to} was lost, and nothing had happened"));
                }
                Sent::Refused if note.received => {
                    faults.push(format!("note {number} of {from} was refused, and {to} has it"));
                }
                Sent::UnderWay if alive.contains(from) => {
                    faults.push(format!("{from} still sends note {number} to {to}"));
                }
                _ => {}
            }
        }
        let subscribes = |who: Who, event: Event| {
            [By::Link, By::Monitor].iter().any(|by| {
                let relation = book.relations.get(&(who, Watched::Event(event), *by));
                relation.is_some_and(|relation| !relation.since.is_empty())
            })
        };
        let standing = Standing { alive, subscribes: &subscribes };
        faults.extend(book.publications.check(&standing, book.calm));
        for fault in faults {
            book.fault(&fault);
        }
    }
}

impl Book {
    fn say(&mut self, line: &str) {
        let line = format!("{:>9.3} {line}", self.begun.elapsed().as_secs_f64());
        self.trace.push(line);
    }

    fn fault(&mut self, line: &str) {
        self.say(&format!("FAULT: {line}"));
        self.faults.push(line.to_owned());
    }

    /// Whether a watcher on that node may be told this of something that it has
    /// watched since then.
    fn is_allowed(&self, node: usize, target: &Watched, since: Instant, reason: &ExitReason) -> bool {
        let mut disconnects = self.disconnects.iter();
        let lost =
            disconnects.any(|(at, peer, when)| *at == node && *peer == target.node() && *when >= since);
        let ended = |life: &Life| life.reasons.contains(reason);
        match target {
            Watched::Pid(pid) => {
                lost && *reason == ExitReason::NoConnection
                    || self.lives.values().any(|life| life.pid == *pid && ended(life))
            }
            Watched::Name(name) => {
                lost && *reason == ExitReason::NoConnection
                    || self.lives.values().any(|life| life.name == Some(*name) && ended(life))
            }
            Watched::Alias(alias) => {
                let by_owner = |made: &Made| self.lives.get(&made.owner).is_some_and(ended);
                let released = |made: &Made| made.released && *reason == ExitReason::Unregistered;
                lost && *reason == ExitReason::NoConnection
                    || self
                        .aliases
                        .iter()
                        .any(|made| made.alias == *alias && (released(made) || by_owner(made)))
            }
            Watched::Event(event) => {
                lost && *reason == ExitReason::NoConnection
                    || self.publications.producers(*event).any(|(producer, withdrawn)| {
                        withdrawn && *reason == ExitReason::Unregistered
                            || self.lives.get(&producer).is_some_and(ended)
                    })
            }
            Watched::Node(_) => lost && *reason == ExitReason::NoConnection,
        }
    }

    /// Whether an alias is that of somebody who is there.
    fn leads_to_one_of(&self, alias: &Alias, alive: &[Who]) -> bool {
        let stands = |made: &Made| made.alias == *alias && !made.released && alive.contains(&made.owner);
        self.aliases.iter().any(stands)
    }

    /// A target, without what differs from run to run.
    fn text(&self, target: &Watched) -> String {
        match target {
            Watched::Pid(pid) => match self.lives.iter().find(|(_, life)| life.pid == *pid) {
                Some((who, _)) => format!("player {who}"),
                None => format!("{pid}"),
            },
            Watched::Alias(alias) => match self.aliases.iter().position(|made| made.alias == *alias) {
                Some(number) => format!("alias {number}"),
                None => format!("{alias}"),
            },
            other => other.to_string(),
        }
    }
}

fn short<T, E: std::fmt::Display>(outcome: &Result<T, E>) -> String {
    match outcome {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
