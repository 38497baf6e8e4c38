//! Senders, a run and a kill, in any order that threads may get on in.
#![allow(clippy::unwrap_used, reason = "a model that does not get to its point fails")]

use std::collections::HashMap;
use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

use super::tests::{message, number, pid};
use super::*;

/// How many orders of events are tried for each model.
const ORDERS: usize = 2_000;

const SENDERS: u32 = 3;
const EACH: u32 = 3;

/// A mailbox with whoever runs the process.
struct Scene {
    mailbox: Mailbox,
    running: AtomicBool,
    handled: Mutex<Vec<u32>>,
    killed: AtomicBool,
    runs: AtomicUsize,
}

impl Scene {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(pid().node, None),
            running: AtomicBool::new(false),
            handled: Mutex::new(Vec::new()),
            killed: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
        })
    }

    /// What a run does: handles what there is, and goes when there is nothing.
    fn run(&self) {
        assert!(!self.running.swap(true, Ordering::SeqCst), "two runs at once");
        self.runs.fetch_add(1, Ordering::SeqCst);
        let mut batch = Batch::new();
        loop {
            if self.killed.load(Ordering::SeqCst) {
                return self.end(batch);
            }
            if let Some(envelope) = self.mailbox.next(&mut batch, &mut false) {
                self.handled.lock().unwrap().extend(number(Some(envelope)));
            } else if self.mailbox.park(&mut batch, || self.running.store(false, Ordering::SeqCst)) {
                return;
            }
        }
    }

    fn end(&self, batch: Batch) {
        let left = self.mailbox.close();
        self.handled
            .lock()
            .unwrap()
            .extend(batch.into_iter().chain(left).filter_map(|left| number(Some(left))));
    }

    /// Sends some messages, and starts a run where it has to. Which were taken.
    fn send(self: &Arc<Self>, sender: u32) -> Vec<u32> {
        let mut taken = Vec::new();
        for place in 0..EACH {
            let text = sender * EACH + place;
            let priority = if sender == 0 { Priority::High } else { Priority::Normal };
            match self.mailbox.push(message(text), priority) {
                Ok(pushed) => {
                    taken.push(text);
                    if pushed.start {
                        self.run();
                    }
                }
                Err(refused) => assert_eq!(refused.error, Some(PushError::Closed)),
            }
        }
        taken
    }

    fn send_all(self: &Arc<Self>) -> Vec<thread::JoinHandle<Vec<u32>>> {
        (0..SENDERS)
            .map(|sender| {
                let scene = self.clone();
                thread::spawn(move || scene.send(sender))
            })
            .collect()
    }

    /// Each message was handled once, those of one sender in order.
    fn check(&self, taken: &[u32]) {
        let handled = self.handled.lock().unwrap();
        let mut sorted = handled.clone();
        sorted.sort_unstable();
        let mut due = taken.to_vec();
        due.sort_unstable();
        assert_eq!(sorted, due, "handled once, what was taken");
        let mut last = HashMap::new();
        for text in handled.iter() {
            let before = last.insert(text / EACH, *text);
            assert!(before.is_none_or(|before| before < *text), "{handled:?}");
        }
    }
}

fn join(threads: Vec<thread::JoinHandle<Vec<u32>>>) -> Vec<u32> {
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn model_every_message_is_handled_once_and_nobody_sleeps_on_one() {
    let model = || {
        let scene = Scene::new();
        let senders = scene.send_all();
        // The actor's `init` ends while messages come in.
        if scene.mailbox.open() {
            scene.run();
        }
        scene.check(&join(senders));
        assert!(scene.runs.load(Ordering::SeqCst) >= 1);
        assert_eq!(scene.mailbox.len(), 0);
    };
    shuttle::check_random(model, ORDERS);
    shuttle::check_pct(model, ORDERS, 3);
}

#[test]
fn model_what_a_killed_process_was_sent_is_refused_or_handed_back() {
    let model = || {
        let scene = Scene::new();
        assert!(!scene.mailbox.open());
        let senders = scene.send_all();
        scene.killed.store(true, Ordering::SeqCst);
        if scene.mailbox.start_last_run() {
            scene.run();
        }
        scene.check(&join(senders));
        assert!(scene.mailbox.push(message(99), Priority::Normal).is_err(), "it has ended");
    };
    shuttle::check_random(model, ORDERS);
    shuttle::check_pct(model, ORDERS, 3);
}
