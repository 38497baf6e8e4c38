//! What a process has been sent and not handled yet.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;
use postroad_wire::enp::Code;

use super::{Asker, Envelope, Priority};
use crate::Atom;
use crate::actor::Exit;
use crate::inspect::{Depths, ProcessState};
use crate::sync::{AtomicBool, AtomicUsize, Mutex};

/// Four lanes under one short lock, and whether somebody is emptying them.
///
/// A run takes the whole main lane at once, so that sender and receiver meet
/// once per batch. The other lanes are rare, looked at before every message,
/// and allocated on first use.
pub(crate) struct Mailbox {
    queues: Line<Mutex<Queues>>,
    /// Something lies in the urgent or the system lane.
    pressing: AtomicBool,
    /// About how many envelopes the run has taken ahead.
    ahead: AtomicUsize,
    /// The most envelopes a lane holds, if it is bounded.
    capacity: Option<usize>,
    /// The node it is on.
    home: Atom,
}

/// Something that senders write, on a cache line of its own: what the receiver
/// looks at for every message does not lie beside it.
#[repr(align(64))]
struct Line<T>(T);

struct Queues {
    state: State,
    /// A run is due to end the process, whatever lies in the lanes.
    killed: bool,
    main: VecDeque<Envelope>,
    aside: Option<Box<Aside>>,
    /// How much the process has taken, questions about its state not counted.
    taken: u64,
}

#[derive(Default)]
struct Aside {
    /// Who waits for what the process says of itself.
    askers: Vec<Asker>,
    urgent: VecDeque<Envelope>,
    /// The requests to end that are among the urgent ones.
    exits: HashSet<Exit, RandomState>,
    system: VecDeque<Envelope>,
    log: VecDeque<Envelope>,
}

impl Aside {
    /// Takes a request to end in, which no bound of messages keeps out. The same
    /// request of the same process waits once. `limit` is how many may wait
    /// before another one is refused; one is let in always.
    fn push_exit(&mut self, envelope: Envelope, limit: Option<usize>) -> Result<(), Refused> {
        if let Envelope::Exit(exit) = &envelope
            && exit.requested
        {
            if self.exits.contains(&**exit) {
                return Err(Refused { envelope, error: None });
            }
            if limit.is_some_and(|limit| self.exits.len() >= limit.max(1)) {
                return Err(Refused { envelope, error: Some(PushError::Full) });
            }
            self.exits.insert((**exit).clone());
        }
        self.urgent.push_back(envelope);
        Ok(())
    }

    /// Takes in somebody who asks. No bound of messages keeps them out, but not
    /// many wait: a process that hangs may be asked again and again.
    fn push_asker(&mut self, asker: Asker) -> Result<(), Refused> {
        self.askers.retain(|asker| !asker.is_closed());
        if self.askers.len() >= MOST_ASKERS {
            return Err(Refused { envelope: Envelope::Inspect(asker), error: Some(PushError::Full) });
        }
        self.askers.push(asker);
        Ok(())
    }

    fn next_pressing(&mut self) -> Option<Envelope> {
        if let Some(asker) = self.askers.pop() {
            return Some(Envelope::Inspect(asker));
        }
        let next = self.urgent.pop_front().or_else(|| self.system.pop_front());
        if let Some(Envelope::Exit(exit)) = &next
            && exit.requested
        {
            self.exits.remove(&**exit);
        }
        next
    }

    /// Whether something has to be handled before the main lane.
    fn is_pressing(&self) -> bool {
        !(self.askers.is_empty() && self.urgent.is_empty() && self.system.is_empty())
    }

    fn len(&self) -> usize {
        self.urgent.len() + self.system.len() + self.log.len()
    }
}

impl Queues {
    fn len(&self) -> usize {
        self.main.len() + self.aside.as_ref().map_or(0, |aside| aside.len())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.aside.as_ref().is_none_or(|aside| aside.askers.is_empty())
    }

    /// True if nobody runs: the caller has to start one, and counts as running.
    fn claim_run(&mut self) -> bool {
        let idle = self.state == State::Idle;
        if idle {
            self.state = State::Running;
        }
        idle
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The actor's `init` is under way: envelopes wait.
    Starting,
    /// Nothing to do, nobody runs.
    Idle,
    /// A run is under way.
    Running,
    /// The process has ended.
    Closed,
}

/// What came of an envelope that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The caller has to start a run.
    pub(super) start: bool,
    /// How many envelopes wait in its lane.
    pub(crate) depth: usize,
}

/// Why an envelope was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

/// An envelope that was not taken. What it holds may do anything when it is
/// dropped, so no lock may be held then.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) envelope: Envelope,
    /// `None` if a request to end was not taken because it waits already.
    pub(crate) error: Option<PushError>,
}

/// Envelopes that have left the mailbox: what a run has taken ahead of the main
/// lane, or what nobody will handle.
pub(super) type Batch = VecDeque<Envelope>;

/// How many may ask a process about itself at a time.
pub(crate) const MOST_ASKERS: usize = 16;

/// How often `ahead` is brought up to date, in envelopes.
const AHEAD_EVERY: usize = 64;

/// An idle mailbox keeps room for this many envelopes; a burst's is given back.
const IDLE_CAPACITY: usize = 4;

impl Mailbox {
    pub(super) fn new(home: Atom, capacity: Option<usize>) -> Self {
        let queues =
            Queues { state: State::Starting, killed: false, main: VecDeque::new(), aside: None, taken: 0 };
        Self {
            queues: Line(Mutex::new(queues)),
            pressing: AtomicBool::new(false),
            ahead: AtomicUsize::new(0),
            capacity,
            home,
        }
    }

    /// Takes an envelope in, or gives it back.
    #[inline]
    pub(super) fn push(&self, mut envelope: Envelope, priority: Priority) -> Result<Pushed, Refused> {
        let refused = |envelope, error| Err(Refused { envelope, error: Some(error) });
        let mut queues = self.queues.0.lock();
        if queues.state == State::Closed {
            return refused(envelope, PushError::Closed);
        }
        if let Envelope::Exit(_) | Envelope::Down(_) | Envelope::Demand(_) | Envelope::Inspect(_) = envelope {
            let aside = queues.aside.get_or_insert_default();
            let depth = match envelope {
                Envelope::Exit(ref exit) => {
                    // A peer has as many processes as it says; this node has as many as there are.
                    let limit = self.capacity.filter(|_| exit.subject.node() != self.home);
                    aside.push_exit(envelope, limit)?;
                    aside.urgent.len()
                }
                Envelope::Inspect(asker) => {
                    aside.push_asker(asker)?;
                    aside.askers.len()
                }
                // As many come as the process has asked for: no bound keeps them out.
                _ => {
                    aside.system.push_back(envelope);
                    aside.system.len()
                }
            };
            self.pressing.store(true, Ordering::Release);
            return Ok(Pushed { start: queues.claim_run(), depth });
        }
        let lane = match priority {
            Priority::Max => &mut queues.aside.get_or_insert_default().urgent,
            Priority::High => &mut queues.aside.get_or_insert_default().system,
            Priority::Normal => &mut queues.main,
            Priority::Low => &mut queues.aside.get_or_insert_default().log,
        };
        let full = self.capacity.is_some_and(|capacity| lane.len() >= capacity);
        if let Envelope::Request { reply, .. } = &mut envelope {
            // With an error as data: it may have been handled, or not.
            reply.unanswered(if full { Code::MailboxFull } else { Code::Error });
        }
        if full {
            return refused(envelope, PushError::Full);
        }
        lane.push_back(envelope);
        let depth = lane.len();
        if matches!(priority, Priority::High | Priority::Max) {
            self.pressing.store(true, Ordering::Release);
        }
        Ok(Pushed { start: queues.claim_run(), depth })
    }

    /// Takes in that the process must end, which no bound keeps out: the parent
    /// may be of another node, but it is this one that asks. True if a run is due.
    pub(super) fn must_end(&self, exit: Envelope) -> bool {
        let mut queues = self.queues.0.lock();
        if queues.state == State::Closed {
            return false;
        }
        // Refused is only what waits already.
        let _ = queues.aside.get_or_insert_default().push_exit(exit, None);
        self.pressing.store(true, Ordering::Release);
        queues.claim_run()
    }

    /// Claims a run that ends the process; true if the caller has to start it,
    /// otherwise one is under way or comes after `init`.
    pub(super) fn start_last_run(&self) -> bool {
        let mut queues = self.queues.0.lock();
        queues.killed = true;
        queues.claim_run()
    }

    /// The actor is there: lets envelopes be handled. True if some wait and
    /// the caller has to start a run.
    pub(super) fn open(&self) -> bool {
        let mut queues = self.queues.0.lock();
        let waiting = !queues.is_empty() || queues.killed;
        if queues.state == State::Starting {
            queues.state = if waiting { State::Running } else { State::Idle };
        }
        waiting
    }

    /// The next envelope: urgent, system, what is left of the batch, main, log.
    /// Notes whether it was one of the first two.
    pub(super) fn next(&self, batch: &mut Batch, urgent: &mut bool) -> Option<Envelope> {
        *urgent = true;
        if self.pressing.load(Ordering::Acquire)
            && let Some(envelope) = self.next_pressing()
        {
            return Some(envelope);
        }
        *urgent = false;
        if let Some(envelope) = batch.pop_front() {
            if batch.len().is_multiple_of(AHEAD_EVERY) {
                self.ahead.store(batch.len(), Ordering::Relaxed);
            }
            return Some(envelope);
        }
        let mut queues = self.queues.0.lock();
        if self.capacity.is_some() {
            // A bound counts what lies in the lane, so nothing is taken ahead.
            batch.extend(queues.main.pop_front());
        } else {
            mem::swap(batch, &mut queues.main);
        }
        queues.taken += batch.len() as u64;
        if let Some(envelope) = batch.pop_front() {
            self.ahead.store(batch.len(), Ordering::Relaxed);
            return Some(envelope);
        }
        self.ahead.store(0, Ordering::Relaxed);
        let envelope = queues.aside.as_mut()?.log.pop_front()?;
        queues.taken += 1;
        Some(envelope)
    }

    fn next_pressing(&self) -> Option<Envelope> {
        let mut queues = self.queues.0.lock();
        let aside = queues.aside.as_mut()?;
        let next = aside.next_pressing();
        if !aside.is_pressing() {
            self.pressing.store(false, Ordering::Release);
        }
        queues.taken += u64::from(next.as_ref().is_some_and(|next| !matches!(next, Envelope::Inspect(_))));
        next
    }

    /// Ends a run if there is nothing left. `put_back` runs while no new run
    /// can start. False if something arrived meanwhile.
    pub(super) fn park(&self, batch: &mut Batch, put_back: impl FnOnce()) -> bool {
        let mut queues = self.queues.0.lock();
        if !queues.is_empty() || queues.killed {
            return false;
        }
        put_back();
        if queues.main.capacity() > IDLE_CAPACITY {
            queues.main = if batch.capacity() <= IDLE_CAPACITY { mem::take(batch) } else { VecDeque::new() };
        }
        queues.aside = None;
        queues.state = State::Idle;
        true
    }

    /// Takes nothing more in. Returns what is there, for the caller to drop
    /// outside of the lock.
    pub(super) fn close(&self) -> Batch {
        let mut queues = self.queues.0.lock();
        queues.state = State::Closed;
        let mut left = mem::take(&mut queues.main);
        if let Some(Aside { askers, urgent, system, log, .. }) = queues.aside.take().map(|aside| *aside) {
            let askers = askers.into_iter().map(Envelope::Inspect);
            left.extend(askers.chain(urgent).chain(system).chain(log));
        }
        left
    }

    /// The most envelopes a lane holds, if it is bounded.
    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// How far the process is, how much waits in each lane, and how much it has
    /// been given since it began.
    pub(crate) fn look(&self) -> (ProcessState, Depths, u64) {
        let queues = self.queues.0.lock();
        let state = match queues.state {
            State::Closed => ProcessState::Terminated,
            _ if queues.killed => ProcessState::Killed,
            State::Starting => ProcessState::Init,
            State::Idle => ProcessState::Idle,
            State::Running => ProcessState::Running,
        };
        let main = (queues.main.len() + self.ahead.load(Ordering::Relaxed)) as u64;
        let depths = queues.aside.as_ref().map_or_else(Depths::default, |aside| Depths {
            urgent: aside.urgent.len() as u64,
            system: aside.system.len() as u64,
            log: aside.log.len() as u64,
            main: 0,
        });
        (state, Depths { main, ..depths }, queues.taken + queues.len() as u64)
    }

    /// How many envelopes wait.
    pub(crate) fn len(&self) -> usize {
        self.queues.0.lock().len() + self.ahead.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod models;

#[cfg(test)]
mod tests {
    use postroad_edf::Payload;

    use super::*;
    use crate::Pid;
    use crate::actor::{ExitReason, Watched};

    pub(super) fn pid() -> Pid {
        Pid { node: Atom::new("mailbox@test").unwrap(), id: 1001, creation: 1 }
    }

    pub(super) fn message(number: u32) -> Envelope {
        Envelope::Message { from: pid(), payload: Payload::new(number) }
    }

    fn exit(from: Pid, reason: ExitReason) -> Envelope {
        Envelope::Exit(Box::new(Exit { subject: Watched::Pid(from), reason, requested: true }))
    }

    /// How a push went; nothing if the envelope waits already.
    fn push(mailbox: &Mailbox, envelope: Envelope, priority: Priority) -> Result<Option<Pushed>, PushError> {
        match mailbox.push(envelope, priority) {
            Ok(pushed) => Ok(Some(pushed)),
            Err(Refused { error: Some(error), .. }) => Err(error),
            Err(Refused { error: None, .. }) => Ok(None),
        }
    }

    fn next(mailbox: &Mailbox, batch: &mut Batch) -> Option<Envelope> {
        mailbox.next(batch, &mut false)
    }

    fn starts_a_run(mailbox: &Mailbox, envelope: Envelope) -> bool {
        push(mailbox, envelope, Priority::Normal).unwrap().unwrap().start
    }

    pub(super) fn number(envelope: Option<Envelope>) -> Option<u32> {
        match envelope? {
            Envelope::Message { payload, .. } => payload.downcast().ok(),
            Envelope::Request { .. }
            | Envelope::Down(_)
            | Envelope::Event(_)
            | Envelope::Demand(_)
            | Envelope::Inspect(_) => None,
            Envelope::Exit(_) => Some(0),
        }
    }

    #[test]
    fn lanes_are_emptied_by_urgency() {
        let mailbox = Mailbox::new(pid().node, None);
        let mut batch = Batch::new();
        mailbox.open();
        assert!(starts_a_run(&mailbox, message(1)), "the first push starts a run");
        assert!(!starts_a_run(&mailbox, message(2)));
        assert_eq!(number(next(&mailbox, &mut batch)), Some(1));
        push(&mailbox, message(9), Priority::Low).unwrap();
        push(&mailbox, message(3), Priority::High).unwrap();
        push(&mailbox, message(4), Priority::Max).unwrap();
        assert_eq!(number(next(&mailbox, &mut batch)), Some(4));
        assert_eq!(number(next(&mailbox, &mut batch)), Some(3));
        assert_eq!(
            number(next(&mailbox, &mut batch)),
            Some(2),
            "what a run has taken ahead comes after urgent ones"
        );
        assert!(!mailbox.park(&mut batch, || {}), "the log lane is not empty");
        assert_eq!(number(next(&mailbox, &mut batch)), Some(9));
        assert!(next(&mailbox, &mut batch).is_none());
        assert!(mailbox.park(&mut batch, || {}));
        assert!(starts_a_run(&mailbox, message(5)), "a parked mailbox needs a new run");
    }

    #[test]
    fn nothing_is_handled_before_the_actor_is_there() {
        let mailbox = Mailbox::new(pid().node, None);
        assert!(!starts_a_run(&mailbox, message(1)));
        assert!(mailbox.open(), "what came during init starts a run");
        let mut batch = Batch::new();
        assert_eq!(number(next(&mailbox, &mut batch)), Some(1));
    }

    #[test]
    fn a_bound_refuses_messages_but_never_an_exit() {
        let mailbox = Mailbox::new(pid().node, Some(1));
        mailbox.open();
        push(&mailbox, message(1), Priority::Max).unwrap();
        assert_eq!(push(&mailbox, message(2), Priority::Max), Err(PushError::Full));
        let exit = exit(pid(), ExitReason::Shutdown);
        assert!(push(&mailbox, exit, Priority::Normal).is_ok());
        assert_eq!(mailbox.len(), 2);
        push(&mailbox, message(3), Priority::Normal).unwrap();
        assert_eq!(push(&mailbox, message(4), Priority::Normal), Err(PushError::Full));
    }

    #[test]
    fn exits_of_a_peer_do_not_pile_up() {
        let exit = |id, reason: &str| {
            let from = Pid { node: Atom::new("peer@test").unwrap(), id, creation: 1 };
            super::tests::exit(from, ExitReason::from_text(reason))
        };
        let mailbox = Mailbox::new(pid().node, Some(2));
        mailbox.open();
        for _ in 0..1000 {
            push(&mailbox, exit(1, "go"), Priority::Max).unwrap();
        }
        assert_eq!(mailbox.len(), 1, "the same request waits once");
        push(&mailbox, exit(1, "go away"), Priority::Max).unwrap();
        assert_eq!(mailbox.len(), 2, "another reason is another request");
        assert_eq!(push(&mailbox, exit(2, "go"), Priority::Max), Err(PushError::Full));
        let own = super::tests::exit(pid(), ExitReason::Shutdown);
        push(&mailbox, own, Priority::Max).unwrap();
        assert_eq!(mailbox.len(), 3, "this node's own processes are not kept out");
        mailbox.must_end(exit(3, "shutdown"));
        assert_eq!(mailbox.len(), 4, "nor this node, in the name of a parent elsewhere");
        let mut batch = Batch::new();
        while next(&mailbox, &mut batch).is_some() {}
        push(&mailbox, exit(1, "go"), Priority::Max).unwrap();
        assert_eq!(mailbox.len(), 1, "what was handled can be asked again");
    }

    #[test]
    fn a_kill_is_not_lost_beside_the_start_or_the_end_of_a_run() {
        let mailbox = Mailbox::new(pid().node, None);
        assert!(!mailbox.start_last_run(), "init is under way");
        assert!(mailbox.open(), "its end starts the last run");

        let mailbox = Mailbox::new(pid().node, None);
        mailbox.open();
        let mut batch = Batch::new();
        push(&mailbox, message(1), Priority::Normal).unwrap();
        while next(&mailbox, &mut batch).is_some() {}
        assert!(!mailbox.start_last_run(), "a run is under way, although it found nothing more");
        assert!(!mailbox.park(&mut batch, || panic!("the actor is not put to rest")));
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let mailbox = Mailbox::new(pid().node, None);
        mailbox.open();
        push(&mailbox, message(1), Priority::Normal).unwrap();
        assert_eq!(mailbox.close().len(), 1, "what was there is the caller's to drop");
        assert_eq!(push(&mailbox, message(2), Priority::Normal), Err(PushError::Closed));
        assert_eq!(mailbox.len(), 0);
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mailbox = Mailbox::new(pid().node, None);
        let mut batch = Batch::new();
        mailbox.open();
        for round in 0..3 {
            for n in 0..1000 {
                push(&mailbox, message(round * 1000 + n), Priority::Normal).unwrap();
            }
            while next(&mailbox, &mut batch).is_some() {}
            assert!(mailbox.park(&mut batch, || {}));
            assert!(mailbox.queues.0.lock().main.capacity() <= IDLE_CAPACITY);
        }
    }
}
