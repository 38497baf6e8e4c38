//! Somebody waits, answers come and connections go, in any order that threads
//! may get on in.
#![allow(clippy::unwrap_used, reason = "a model that does not get to its point fails")]

use std::sync::Arc;

use postroad_edf::Payload;
use shuttle::future::block_on;
use shuttle::thread;

use super::*;

/// How many orders of events are tried for each model.
const ORDERS: usize = 2_000;

const AWAITED: Awaited = Awaited::Call([1, 0, 0]);
const CONNECTION: u64 = 7;

fn node() -> Atom {
    Atom::new("a@models").unwrap()
}

fn answers(calls: &Arc<Calls>) -> thread::JoinHandle<bool> {
    let calls = calls.clone();
    thread::spawn(move || calls.answer(AWAITED, || Ok(Payload::new(1u8))))
}

fn loses(calls: &Arc<Calls>) -> thread::JoinHandle<()> {
    let calls = calls.clone();
    thread::spawn(move || calls.connection_lost(CONNECTION))
}

fn check(model: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(model, ORDERS);
    shuttle::check_pct(model, ORDERS, 3);
}

#[test]
fn model_who_waits_is_told_once_and_who_answers_whether_it_was_wanted() {
    check(|| {
        let calls = Arc::new(Calls::default());
        let pending = calls.wait(AWAITED, CONNECTION, node());
        let (first, second, lost) = (answers(&calls), answers(&calls), loses(&calls));
        let outcome = block_on(pending.answered());
        let wanted = [first.join().unwrap(), second.join().unwrap()];
        lost.join().unwrap();
        match outcome {
            Ok(_) => assert_eq!(wanted.iter().filter(|wanted| **wanted).count(), 1),
            Err(error) => {
                assert!(matches!(error, CallError::NoConnection { .. }));
                assert_eq!(wanted, [false, false]);
            }
        }
        assert_eq!(calls.len(), 0);
    });
}

#[test]
fn model_who_stops_waiting_leaves_nothing() {
    check(|| {
        let calls = Arc::new(Calls::default());
        let pending = calls.wait(AWAITED, CONNECTION, node());
        let (answered, lost) = (answers(&calls), loses(&calls));
        drop(pending);
        answered.join().unwrap();
        lost.join().unwrap();
        assert_eq!(calls.len(), 0);
    });
}

#[test]
fn model_who_stops_waiting_takes_nothing_from_who_waits_for_the_same() {
    check(|| {
        let calls = Arc::new(Calls::default());
        let stops = calls.clone();
        let former = thread::spawn(move || drop(stops.wait(AWAITED, CONNECTION, node())));
        let pending = calls.wait(AWAITED, CONNECTION, node());
        let answered = answers(&calls);
        let told = block_on(pending.answered());
        let (wanted, ()) = (answered.join().unwrap(), former.join().unwrap());
        // The other one may have come later, and then it is the one that waits.
        let taken_over = matches!(told, Err(CallError::NoAnswer));
        assert!(if told.is_ok() { wanted } else { taken_over });
        assert_eq!(calls.len(), 0);
    });
}
