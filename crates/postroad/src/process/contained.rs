//! Where what users wrote may panic without taking anything else along.

use std::any::{Any, type_name};
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::Process;

/// How work for a process ended that was not done.
#[derive(Debug)]
pub(super) enum Cut {
    /// The process was killed.
    Killed,
    /// The work panicked, with this text.
    Panicked(String),
}

/// Does work of a process until it is done, it panics or the process is killed.
/// What is left of the work is dropped, which may panic as well.
pub(super) async fn until_killed<T>(process: &Process, work: impl Future<Output = T>) -> Result<T, Cut> {
    let mut killed = pin!(process.kill.notified());
    let mut work = pin!(Some(work));
    let end = poll_fn(|cx| {
        if killed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Cut::Killed));
        }
        let Some(work) = work.as_mut().as_pin_mut() else {
            unreachable!("the work is taken away below only");
        };
        match catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(Cut::Panicked(text(panic)))),
        }
    })
    .await;
    report::<T>(catch_unwind(AssertUnwindSafe(|| work.set(None))));
    end
}

/// Drops something that may hold a user's values. A panic of theirs is logged
/// and goes no further.
pub(crate) fn discard<T>(value: T) {
    report::<T>(catch_unwind(AssertUnwindSafe(|| drop(value))));
}

/// Runs something of a user's; if it panics, the text of that.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(text)
}

fn report<T>(dropped: Result<(), Box<dyn Any + Send>>) {
    if let Err(panic) = dropped {
        tracing::error!(of = type_name::<T>(), panic = text(panic), "panic in a drop");
    }
}

/// The text of a panic, without what was thrown: that may panic when dropped.
fn text(panic: Box<dyn Any + Send>) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".to_owned());
    if let Err(worse) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(worse);
    }
    text
}
