//! What a supervisor decides: who is restarted, who is ended first, and when
//! it is enough. Knows no process and no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::FixedState;
use tokio::time::Instant;

use super::error::SupervisorError;
use super::spec::{Restart, Rules, Strategy};
use crate::actor::ExitReason;
use crate::{Atom, Pid};

/// The children of a supervisor, and what they are going through.
pub(super) struct Children {
    rules: Rules,
    specs: Vec<Spec>,
    /// By place: that of the spec; with simple-one-for-one those that run, by age.
    running: BTreeMap<usize, Child>,
    /// The places of those that have not ended: there may be very many.
    places: HashMap<Pid, usize, FixedState>,
    /// With simple-one-for-one, the place of the next child.
    next: usize,
    /// The restarts within the last period.
    restarts: VecDeque<Instant>,
    step: Option<Step>,
}

struct Spec {
    name: Atom,
    significant: bool,
    disabled: bool,
}

#[derive(Clone, Copy)]
struct Child {
    spec: usize,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Down,
    Up(Pid),
    /// It was asked to end.
    Ending(Pid),
}

/// Children from this place on are ended, then started again.
struct Step {
    from: usize,
    reason: ExitReason,
}

/// What the supervisor is to do, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask a child to end.
    Stop { spec: usize, pid: Pid, reason: ExitReason },
    /// Start a child, in the place of one that has ended.
    Start { spec: usize, instead: Option<Pid> },
}

/// A child as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The name in its spec.
    pub name: Atom,
    /// The process, if it runs.
    pub pid: Option<Pid>,
    /// Whether its end may end the supervisor.
    pub significant: bool,
    /// Whether it is kept from running.
    pub disabled: bool,
}

impl Life {
    fn pid(self) -> Option<Pid> {
        match self {
            Self::Down => None,
            Self::Up(pid) | Self::Ending(pid) => Some(pid),
        }
    }
}

impl Children {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            specs: Vec::new(),
            running: BTreeMap::new(),
            places: HashMap::default(),
            next: 0,
            restarts: VecDeque::new(),
            step: None,
        }
    }

    /// Adds a spec behind the others.
    pub(super) fn add(&mut self, name: Atom, significant: bool) -> Result<usize, SupervisorError> {
        self.at_rest()?;
        if self.specs.iter().any(|spec| spec.name == name) {
            return Err(SupervisorError::Duplicate { name });
        }
        let spec = self.specs.len();
        self.specs.push(Spec { name, significant, disabled: false });
        if !self.is_simple() {
            self.running.insert(spec, Child { spec, life: Life::Down });
        }
        Ok(spec)
    }

    /// Takes the last spec away again: it never ran.
    pub(super) fn remove_last(&mut self) {
        self.specs.pop();
        self.running.retain(|_, child| child.spec < self.specs.len());
    }

    /// The specs that start with the supervisor.
    pub(super) fn initial(&self) -> usize {
        if self.is_simple() { 0 } else { self.specs.len() }
    }

    /// Whether a child may be started by request; its spec.
    pub(super) fn may_start(&self, name: Atom) -> Result<usize, SupervisorError> {
        self.at_rest()?;
        let spec = self.spec(name)?;
        if self.specs[spec].disabled {
            return Err(SupervisorError::ChildDisabled { name });
        }
        if !self.is_simple()
            && let Some(pid) = self.running[&spec].life.pid()
        {
            return Err(SupervisorError::ChildRunning { name, pid });
        }
        Ok(spec)
    }

    /// A child runs.
    pub(super) fn started(&mut self, spec: usize, pid: Pid) {
        let mut place = spec;
        if self.is_simple() {
            place = self.next;
            self.next += 1;
        }
        self.places.insert(pid, place);
        self.running.insert(place, Child { spec, life: Life::Up(pid) });
    }

    /// A child has ended. An error is the reason with which the supervisor is to
    /// end, and with it all children.
    pub(super) fn ended(
        &mut self,
        pid: Pid,
        reason: &ExitReason,
        now: Instant,
    ) -> Result<Vec<Action>, ExitReason> {
        let Some((place, Child { spec, life })) = self.take(pid) else { return Ok(Vec::new()) };
        if life == Life::Ending(pid) {
            return Ok(self.next_of_step());
        }
        let due = self.rules.restart.is_due(reason);
        if let Some(step) = &mut self.step {
            // It fell by itself while others are ended for a restart: one round for both.
            if place >= step.from || due {
                step.from = step.from.min(place);
                return Ok(self.next_of_step());
            }
        }
        if !due {
            return self.end_with(spec, reason).map_or_else(|| Ok(Vec::new()), Err);
        }
        if self.is_too_much(now) {
            return Err(SupervisorError::IntensityExceeded.into_reason());
        }
        let from = match self.rules.strategy {
            Strategy::OneForOne | Strategy::SimpleOneForOne => {
                return Ok(vec![Action::Start { spec, instead: Some(pid) }]);
            }
            Strategy::AllForOne => 0,
            Strategy::RestForOne => place,
        };
        self.step = Some(Step { from, reason: reason.clone() });
        Ok(self.next_of_step())
    }

    /// Keeps a child from running.
    pub(super) fn disable(&mut self, name: Atom) -> Result<Vec<Action>, SupervisorError> {
        self.at_rest()?;
        let disabled = self.spec(name)?;
        self.specs[disabled].disabled = true;
        Ok(stop(self.running.values_mut().filter(|child| child.spec == disabled), &ExitReason::Shutdown))
    }

    /// Lets a child run again; its spec if it is to be started now.
    pub(super) fn enable(&mut self, name: Atom) -> Result<Option<usize>, SupervisorError> {
        self.at_rest()?;
        let spec = self.spec(name)?;
        let is_ending = |child: &Child| child.spec == spec && matches!(child.life, Life::Ending(_));
        if self.running.values().any(is_ending) {
            return Err(SupervisorError::StrategyActive);
        }
        self.specs[spec].disabled = false;
        Ok((!self.is_simple() && self.running[&spec].life == Life::Down).then_some(spec))
    }

    /// Keeps a child from running that was about to be let run, and did not start.
    pub(super) fn keep_disabled(&mut self, spec: usize) {
        self.specs[spec].disabled = true;
    }

    /// Everybody who has not ended, in the order they are to be asked to.
    pub(super) fn left(&self) -> Vec<(usize, Pid)> {
        self.running.values().rev().filter_map(|child| Some((child.spec, child.life.pid()?))).collect()
    }

    pub(super) fn name(&self, spec: usize) -> Atom {
        self.specs[spec].name
    }

    /// The spec of a child that has not ended.
    pub(super) fn spec_of(&self, pid: Pid) -> Option<usize> {
        self.places.get(&pid).map(|place| self.running[place].spec)
    }

    pub(super) fn is_simple(&self) -> bool {
        self.rules.strategy == Strategy::SimpleOneForOne
    }

    /// The children in the order of their specs; a spec that nothing runs of is
    /// listed once.
    pub(super) fn list(&self) -> Vec<ChildInfo> {
        let mut list = Vec::new();
        for (number, spec) in self.specs.iter().enumerate() {
            let info = |pid| ChildInfo {
                name: spec.name,
                pid,
                significant: spec.significant,
                disabled: spec.disabled,
            };
            let before = list.len();
            let of_spec = self.running.values().filter(|child| child.spec == number);
            list.extend(of_spec.filter_map(|child| child.life.pid()).map(|pid| info(Some(pid))));
            if list.len() == before {
                list.push(info(None));
            }
        }
        list
    }

    /// Takes out a child that has ended: its place, and what it was.
    fn take(&mut self, pid: Pid) -> Option<(usize, Child)> {
        let place = self.places.remove(&pid)?;
        let child = self.running.remove(&place)?;
        if !self.is_simple() {
            self.running.insert(place, Child { life: Life::Down, ..child });
        }
        Some((place, child))
    }

    fn at_rest(&self) -> Result<(), SupervisorError> {
        if self.step.is_some() { Err(SupervisorError::StrategyActive) } else { Ok(()) }
    }

    fn spec(&self, name: Atom) -> Result<usize, SupervisorError> {
        let found = self.specs.iter().position(|spec| spec.name == name);
        found.ok_or(SupervisorError::ChildUnknown { name })
    }

    /// Notes a restart; whether it is one too many.
    fn is_too_much(&mut self, now: Instant) -> bool {
        let period = self.rules.period;
        self.restarts.retain(|restart| now.saturating_duration_since(*restart) < period);
        self.restarts.push_back(now);
        self.restarts.len() > self.rules.intensity
    }

    /// With what reason the supervisor ends because a child has ended that is
    /// not restarted, if it does.
    fn end_with(&self, spec: usize, reason: &ExitReason) -> Option<ExitReason> {
        if self.is_simple() || self.rules.restart == Restart::Permanent {
            return None;
        }
        // Who ends for a restart is to run again; who was disabled does not count.
        let left = |child: &Child| child.life != Life::Down && !self.specs[child.spec].disabled;
        let alone = self.step.is_none() && !self.running.values().any(left);
        let over = self.specs[spec].significant || (self.rules.auto_shutdown && alone);
        over.then(|| reason.clone())
    }

    /// Goes on with a restart of several children, if one is under way.
    fn next_of_step(&mut self) -> Vec<Action> {
        let Some(Step { from, reason }) = &self.step else { return Vec::new() };
        let mut range = self.running.range(*from..);
        let is_ending = range.any(|(_, child)| matches!(child.life, Life::Ending(_)));
        let range = self.running.range_mut(*from..).rev().map(|(_, child)| child);
        let up = range.filter(|child| matches!(child.life, Life::Up(_)));
        let asked = match (self.rules.keep_order, is_ending) {
            (true, true) => Vec::new(),
            (true, false) => stop(up.take(1), reason),
            (false, _) => stop(up, reason),
        };
        if is_ending || !asked.is_empty() {
            return asked;
        }
        let from = *from;
        self.step = None;
        let range = self.running.range(from..).map(|(_, child)| child.spec);
        let is_due = |spec: &usize| !self.specs[*spec].disabled;
        range.filter(is_due).map(|spec| Action::Start { spec, instead: None }).collect()
    }
}

/// Notes of those that run that they are asked to end.
fn stop<'a>(children: impl Iterator<Item = &'a mut Child>, reason: &ExitReason) -> Vec<Action> {
    let mut actions = Vec::new();
    for child in children {
        if let Life::Up(pid) = child.life {
            child.life = Life::Ending(pid);
            actions.push(Action::Stop { spec: child.spec, pid, reason: reason.clone() });
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::supervisor::Strategy;

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    fn rules(strategy: Strategy, restart: Restart, keep_order: bool) -> Rules {
        let period = Duration::from_secs(5);
        Rules { strategy, restart, intensity: 1000, period, keep_order, auto_shutdown: true }
    }

    fn name(spec: usize) -> Atom {
        Atom::new(NAMES[spec]).unwrap()
    }

    /// Does what children say, and holds them to it.
    struct Stage {
        children: Children,
        up: Vec<(usize, Pid)>,
        ending: Vec<Pid>,
        /// The specs whose child has ended by itself, and is not to run again.
        rests: Vec<usize>,
        /// Why the supervisor ends.
        over: Option<ExitReason>,
        next: u64,
    }

    impl Stage {
        fn new(rules: Rules) -> Self {
            let children = Children::new(rules);
            let mut stage = Self { children, up: vec![], ending: vec![], rests: vec![], over: None, next: 1 };
            for (spec, name) in NAMES.iter().enumerate() {
                stage.children.add(Atom::new(name).unwrap(), false).unwrap();
                stage.start(spec);
            }
            stage
        }

        fn start(&mut self, spec: usize) {
            assert!(self.up.iter().all(|(running, _)| *running != spec), "it runs");
            let pid = Pid { node: Atom::new("stage@test").unwrap(), id: self.next, creation: 1 };
            self.next += 1;
            self.up.push((spec, pid));
            self.rests.retain(|rests| *rests != spec);
            self.children.started(spec, pid);
        }

        fn act(&mut self, actions: Vec<Action>) {
            for action in actions {
                match action {
                    Action::Start { spec, .. } => self.start(spec),
                    Action::Stop { pid, .. } => {
                        assert!(self.up.iter().any(|(_, up)| *up == pid), "it runs");
                        assert!(!self.ending.contains(&pid), "it is asked once");
                        self.ending.push(pid);
                    }
                }
            }
        }

        /// A child ends, asked or not.
        fn end(&mut self, pid: Pid, reason: &ExitReason) {
            let place = self.up.iter().position(|(_, up)| *up == pid).expect("it runs");
            let (spec, _) = self.up.remove(place);
            let asked = self.ending.contains(&pid);
            self.ending.retain(|ending| *ending != pid);
            if !asked && !self.children.rules.restart.is_due(reason) {
                self.rests.push(spec);
            }
            match self.children.ended(pid, reason, Instant::now()) {
                Ok(actions) => self.act(actions),
                Err(reason) => self.over = Some(reason),
            }
        }

        /// Whether nobody runs, or is about to, who is not disabled.
        fn is_deserted(&self) -> bool {
            let mut up = self.up.iter();
            self.children.at_rest().is_ok() && up.all(|(spec, _)| self.children.specs[*spec].disabled)
        }

        fn pid(&self, spec: usize) -> Option<Pid> {
            self.up.iter().find(|(up, _)| *up == spec).map(|(_, pid)| *pid)
        }

        /// Everybody who was asked to end does.
        fn settle(&mut self) {
            while let Some(pid) = self.ending.pop() {
                self.end(pid, &ExitReason::Shutdown);
            }
        }
    }

    #[test]
    fn who_falls_in_front_of_the_range_widens_it() {
        let mut stage = Stage::new(rules(Strategy::RestForOne, Restart::Transient, true));
        let (a, c, d) = (stage.pid(0).unwrap(), stage.pid(2).unwrap(), stage.pid(3).unwrap());
        stage.end(c, &ExitReason::Kill);
        assert_eq!(stage.ending, [d]);
        stage.end(a, &ExitReason::Kill);
        assert!(stage.children.may_start(name(0)).is_err(), "the step is not over");
        stage.end(d, &ExitReason::Kill);
        assert_eq!(stage.ending, [stage.pid(1).unwrap()], "it stands behind who has fallen");
        stage.settle();
        assert_eq!(stage.up.iter().map(|(spec, _)| *spec).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    /// A supervisor does not stay for who was disabled, but for the round that
    /// waits for it.
    #[test]
    fn a_round_that_waits_for_the_disabled_is_no_end_of_the_supervisor() {
        let mut stage = Stage::new(rules(Strategy::RestForOne, Restart::Transient, false));
        for disabled in [2, 3] {
            let asked = stage.children.disable(name(disabled)).unwrap();
            stage.act(asked);
        }
        stage.end(stage.pid(1).unwrap(), &ExitReason::Kill);
        stage.end(stage.pid(0).unwrap(), &ExitReason::Normal);
        assert_eq!(stage.over, None, "the second one is to run again");
        stage.settle();
        stage.end(stage.pid(1).expect("it runs again"), &ExitReason::Normal);
        assert_eq!(stage.over, Some(ExitReason::Normal));
    }

    /// Among very many the end of one takes no longer, and those left keep their
    /// order: the youngest is asked to end first.
    #[test]
    fn dynamic_children_are_found_at_once_and_keep_their_order() {
        const MANY: u64 = 100_000;
        let pid = |id| Pid { node: Atom::new("stage@test").unwrap(), id, creation: 1 };
        let mut children = Children::new(rules(Strategy::SimpleOneForOne, Restart::Temporary, false));
        for spec in [0, 1] {
            children.add(name(spec), false).unwrap();
        }
        let spec_of = |id: u64| usize::from(id.is_multiple_of(5));
        (0..MANY).for_each(|id| children.started(spec_of(id), pid(id)));
        let begin = std::time::Instant::now();
        for id in (0..MANY).rev().filter(|id| !id.is_multiple_of(1000)) {
            assert_eq!(children.spec_of(pid(id)), Some(spec_of(id)));
            assert_eq!(children.ended(pid(id), &ExitReason::Normal, Instant::now()), Ok(Vec::new()));
            assert_eq!(children.spec_of(pid(id)), None);
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}; looking through all of them takes minutes");
        let left: Vec<_> = children.left().into_iter().map(|(_, pid)| pid.id).collect();
        let expected: Vec<_> = (0..MANY).rev().filter(|id| id.is_multiple_of(1000)).collect();
        assert_eq!(left, expected);
        children.started(1, pid(MANY));
        assert_eq!(children.left()[0], (1, pid(MANY)), "the youngest");
        let listed: Vec<_> = children.list().iter().filter_map(|child| child.pid).collect();
        assert_eq!(listed.len(), expected.len() + 1);
    }

    #[test]
    fn restarts_count_for_one_period() {
        let mut one = rules(Strategy::OneForOne, Restart::Transient, false);
        one.intensity = 2;
        let mut children = Stage::new(one).children;
        let begin = Instant::now();
        assert!([0, 1].map(|_| children.is_too_much(begin)).iter().all(|much| !much));
        assert!(!children.is_too_much(begin + Duration::from_secs(5)));
        assert!(!children.is_too_much(begin + Duration::from_secs(6)));
        assert!(children.is_too_much(begin + Duration::from_secs(7)));
    }

    proptest! {
        /// Whatever falls, is disabled or enabled, in whatever order: the supervisor
        /// ends with the last one that ends by itself and is not restarted; or in the
        /// end nothing is under way, and exactly those run that are to.
        #[test]
        fn everybody_who_is_to_run_does_in_the_end(
            strategy in select(vec![Strategy::OneForOne, Strategy::AllForOne, Strategy::RestForOne]),
            restart in select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary]),
            keep_order in any::<bool>(),
            auto_shutdown in any::<bool>(),
            events in vec((0usize..4, 0u8..5), 0..40),
        ) {
            let rules = Rules { auto_shutdown, ..rules(strategy, restart, keep_order) };
            let mut stage = Stage::new(rules);
            for (spec, event) in events {
                match event {
                    0 | 1 => if let Some(pid) = stage.pid(spec) {
                        let reason = if event == 0 { ExitReason::Kill } else { ExitReason::Normal };
                        stage.end(pid, &reason);
                        let was_last = stage.rests.contains(&spec) && stage.is_deserted();
                        let is_over = was_last && auto_shutdown && restart != Restart::Permanent;
                        prop_assert_eq!(&stage.over, &is_over.then_some(reason));
                    },
                    2 => if let Ok(actions) = stage.children.disable(name(spec)) {
                        stage.act(actions);
                    },
                    3 => if let Ok(Some(spec)) = stage.children.enable(name(spec)) {
                        stage.start(spec);
                    },
                    _ => if let Some(pid) = stage.ending.first().copied() {
                        stage.end(pid, &ExitReason::Shutdown);
                    },
                }
                if stage.over.is_some() {
                    return Ok(());
                }
            }
            stage.settle();
            prop_assert_eq!(&stage.over, &None);
            prop_assert!(stage.children.at_rest().is_ok());
            for (spec, info) in stage.children.list().iter().enumerate() {
                prop_assert_eq!(info.pid, stage.pid(spec));
                prop_assert_eq!(info.pid.is_none(), info.disabled || stage.rests.contains(&spec));
            }
        }
    }
}
