//! The locks and atomics of what is modelled: the mailbox, and the table of who
//! waits for which answer. Its unit tests named `model_` run with those of
//! `shuttle`, which tries the orders in which threads may get on.

#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};

#[cfg(all(test, feature = "shuttle"))]
pub(crate) use modelled::Mutex;
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize};

#[cfg(all(test, feature = "shuttle"))]
mod modelled {
    use std::sync::PoisonError;

    use shuttle::sync::MutexGuard;

    /// Shuttle's lock, with the face of `parking_lot`'s.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
