//! What holds for every call of somebody else's registrar.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

/// How a call went wrong that should have ended in an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It did not end in time.
    TimedOut,
    /// It panicked.
    Panicked,
}

/// Runs a call of a registrar or resolver: for so long at most, and a panic is
/// its own. `call` makes the future; that may panic too.
pub(crate) async fn guarded<T, F: Future<Output = T>>(
    limit: Duration,
    call: impl FnOnce() -> F,
) -> Result<T, Broken> {
    let future = catch_unwind(AssertUnwindSafe(call)).map_err(|_| Broken::Panicked)?;
    let mut future = std::pin::pin!(future);
    let caught = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(_) => Poll::Ready(Err(Broken::Panicked)),
    });
    tokio::time::timeout(limit, caught).await.unwrap_or(Err(Broken::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_in_time_or_is_broken() {
        let limit = Duration::from_secs(1);
        assert_eq!(guarded(limit, || async { 7 }).await, Ok(7));
        assert_eq!(guarded(limit, std::future::pending::<()>).await, Err(Broken::TimedOut));
        assert_eq!(
            guarded(limit, || async { panic!("in the future") }).await,
            Err::<(), _>(Broken::Panicked)
        );
        let early = || -> std::future::Ready<()> { panic!("before there is a future") };
        assert_eq!(guarded(limit, early).await, Err(Broken::Panicked));
    }
}
