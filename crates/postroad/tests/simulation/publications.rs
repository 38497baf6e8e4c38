//! What was published as which event, and who has got it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postroad::{Atom, Event};
use tokio::time::Instant;

use crate::ledger::Who;

/// So many of the last publications are kept for who subscribes later.
pub const KEPT: usize = 2;

/// What goes to another node is under way no longer than this, whatever happens on the roads.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// The number of a registration: a later event of the same name is another one.
pub type Registration = u32;

/// All registrations, and what came of them.
#[derive(Default)]
pub struct Publications {
    registered: Vec<Registered>,
    subscriptions: BTreeMap<(Who, Registration), Subscription>,
    asked: Vec<Asked>,
    /// The last number that came to somebody.
    last: BTreeMap<(Who, Registration), u64>,
    /// Counts what happens, as time stands still most of the time.
    step: u64,
}

struct Registered {
    event: Event,
    producer: Who,
    withdrawn: bool,
    /// What the producer was told last: that somebody subscribes, or nobody.
    wanted: bool,
    /// When each was published, and at which step; numbers begin with 1.
    issues: Vec<(Instant, u64)>,
}

/// From when it is certain that everything comes, until it ends.
struct Subscription {
    begun: u64,
    /// What comes next, if that is known.
    next: Option<u64>,
    received: BTreeSet<u64>,
}

/// That somebody asks for what is published, and gets it if it is granted.
struct Asked {
    who: Who,
    node: Atom,
    event: Event,
    since: Instant,
    until: Option<Instant>,
}

impl Asked {
    fn is_of(&self, who: Who, event: Event) -> bool {
        self.who == who && self.event == event
    }

    /// Whether what is published then is for it, or reaches its node within `late`
    /// of the end.
    fn covers(&self, at: Instant, late: Duration) -> bool {
        self.since <= at && self.until.is_none_or(|until| at <= until + late)
    }
}

/// Somebody who is there, and what it subscribes to.
pub struct Standing<'a> {
    pub alive: &'a [Who],
    pub subscribes: &'a dyn Fn(Who, Event) -> bool,
}

impl Publications {
    pub fn register(&mut self, event: Event, producer: Who) -> Registration {
        self.registered.push(Registered {
            event,
            producer,
            withdrawn: false,
            wanted: false,
            issues: Vec::new(),
        });
        (self.registered.len() - 1) as Registration
    }

    pub fn withdraw(&mut self, registration: Registration) {
        self.registered[registration as usize].withdrawn = true;
    }

    /// Who has registered events of this name, and whether it took them back.
    pub fn producers(&self, event: Event) -> impl Iterator<Item = (Who, bool)> {
        let same = self.registered.iter().filter(move |registered| registered.event == event);
        same.map(|registered| (registered.producer, registered.withdrawn))
    }

    /// The number of what is about to be published.
    pub fn publish(&mut self, registration: Registration) -> u64 {
        self.step += 1;
        let issues = &mut self.registered[registration as usize].issues;
        issues.push((Instant::now(), self.step));
        issues.len() as u64
    }

    /// The producer is told whether anybody subscribes; what is wrong with that.
    pub fn wanted(&mut self, registration: Registration, wanted: bool) -> Option<&'static str> {
        let registered = &mut self.registered[registration as usize];
        let again = registered.wanted == wanted;
        registered.wanted = wanted;
        again.then_some("is told so again")
    }

    /// Somebody of a node asks for what is published.
    pub fn subscribes(&mut self, who: Who, node: Atom, event: Event) {
        if self.asking(who, event).is_none() {
            self.asked.push(Asked { who, node, event, since: Instant::now(), until: None });
        }
    }

    /// Somebody gets nothing of what is published from now on.
    pub fn asks_no_more(&mut self, who: Who, event: Event) {
        let mut asked = self.asked.iter_mut();
        if let Some(asked) = asked.find(|asked| asked.is_of(who, event) && asked.until.is_none()) {
            asked.until = Some(Instant::now());
        }
    }

    /// Somebody subscribes, and is given what was kept.
    pub fn subscribed(&mut self, who: Who, event: Event, kept: &[(Registration, u64)]) -> Vec<String> {
        let mut faults = Vec::new();
        let ascending = kept.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 == pair[1].1);
        if !ascending || kept.len() > KEPT {
            faults.push(format!("{who} is given {kept:?} of {event}"));
        }
        for (registration, number) in kept {
            faults.extend(self.misplaced(who, event, *registration, *number));
        }
        self.step += 1;
        let last = kept.last().copied();
        let registration = last.map(|(registration, _)| registration).or_else(|| self.present(event));
        if let Some(registration) = registration {
            let next = last.map(|(_, number)| number + 1);
            let received = kept.iter().map(|(_, number)| *number).collect();
            let subscription = Subscription { begun: self.step, next, received };
            self.subscriptions.insert((who, registration), subscription);
        }
        faults
    }

    /// A subscription has ended. What was published before may still come.
    pub fn unsubscribed(&mut self, who: Who, event: Event) {
        self.asks_no_more(who, event);
        let registered = &self.registered;
        self.subscriptions.retain(|(subscriber, registration), _| {
            *subscriber != who || registered[*registration as usize].event != event
        });
    }

    /// Something published has come; what is wrong with it. `calm`: from then on
    /// nothing is lost.
    pub fn received(
        &mut self,
        who: Who,
        event: Event,
        (registration, number): (Registration, u64),
        calm: Option<Instant>,
    ) -> Vec<String> {
        let mut faults: Vec<_> = self.misplaced(who, event, registration, number).into_iter().collect();
        let last = self.last.insert((who, registration), number).unwrap_or(0);
        if last >= number {
            faults.push(format!("{who} gets {number} of {event} after {last}"));
        }
        let may_come_again = self.may_come_both_ways(who, event, (registration, number));
        if let Some(subscription) = self.subscriptions.get_mut(&(who, registration)) {
            if !subscription.received.insert(number) && !may_come_again {
                faults.push(format!("{who} gets {number} of {event}, which it was given when it subscribed"));
            }
            let expected = subscription.next.unwrap_or(number);
            subscription.next = Some(expected.max(number + 1));
            let issues = &self.registered[registration as usize].issues;
            let missed = (expected..number).find(|missed| {
                calm.is_some_and(|calm| issues.get(*missed as usize - 1).is_some_and(|(at, _)| *at >= calm))
            });
            faults.extend(missed.map(|missed| format!("{who} gets {number} of {event}, and not {missed}")));
        }
        faults
    }

    /// What is wrong at a time when nothing is under way.
    pub fn check(&self, standing: &Standing<'_>, calm: Option<Instant>) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, registered) in self.registered.iter().enumerate() {
            let Registered { event, producer, wanted, issues, .. } = registered;
            if registered.withdrawn || !standing.alive.contains(producer) {
                continue;
            }
            let subscribers = standing.alive.iter().filter(|who| (standing.subscribes)(**who, *event));
            if *wanted != (subscribers.count() > 0) {
                faults.push(format!("{producer} believes that somebody wants {event}: {wanted}"));
            }
            for ((who, registration), subscription) in &self.subscriptions {
                let stands = *registration == number as Registration && standing.alive.contains(who);
                let lost = (1..).zip(issues).find(|(issue, (at, step))| {
                    stands
                        && *step > subscription.begun
                        && calm.is_some_and(|calm| *at >= calm)
                        && !subscription.received.contains(issue)
                });
                if let Some((issue, _)) = lost {
                    faults.push(format!("{who} has not got {issue} of {event}, and nothing had happened"));
                }
            }
        }
        faults
    }

    /// Whether somebody who was given something published when it subscribed may
    /// get it besides: what its own former subscription has left in its mailbox, and
    /// what was under way to others of its node.
    fn may_come_both_ways(
        &self,
        who: Who,
        event: Event,
        (registration, number): (Registration, u64),
    ) -> bool {
        let issues = self.registered.get(registration as usize).map(|registered| &registered.issues);
        let Some((at, _)) = issues.and_then(|issues| issues.get(number as usize - 1)) else { return false };
        let Some(asking) = self.asking(who, event) else { return true };
        let mut others = self.asked.iter().filter(|asked| asked.event == event && asked.node == asking.node);
        let is_under_way = event.node != asking.node && asking.since <= *at + UNDER_WAY;
        others.any(|other| match other.until {
            Some(_) if other.who == who => other.covers(*at, Duration::ZERO),
            _ => other.who != who && is_under_way && other.covers(*at, UNDER_WAY),
        })
    }

    /// What somebody asks for, or gets, at present.
    fn asking(&self, who: Who, event: Event) -> Option<&Asked> {
        self.asked.iter().find(|asked| asked.is_of(who, event) && asked.until.is_none())
    }

    fn misplaced(&self, who: Who, event: Event, registration: Registration, number: u64) -> Option<String> {
        let registered = self.registered.get(registration as usize);
        let right = registered
            .is_some_and(|registered| registered.event == event && number <= registered.issues.len() as u64);
        (!right)
            .then(|| format!("{who} gets {number} of registration {registration}, which is not of {event}"))
    }

    /// The registration that the event has now.
    fn present(&self, event: Event) -> Option<Registration> {
        let last = self.registered.iter().rposition(|registered| registered.event == event)?;
        Some(last as Registration)
    }
}
