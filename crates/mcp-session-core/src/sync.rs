//! What this crate uses where two threads meet, and [`lock`], the only function of this crate that locks a mutex.
//!
//! All of it is from std and `futures`, except in the models of `cargo xtask loom`: there it is loom's, which tries every
//! interleaving. `event-listener` has a switch of its own.
//!
//! loom's `Arc` has no `Weak`, and there is no `Arc<dyn Trait>`. So elsewhere this crate uses std's, in models too; what
//! whichever thread is the last drops is [`Shared`], so that loom sees the order of the drops.

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, loom))]
mod tests;

#[cfg(not(all(test, loom)))]
pub(crate) use {
    futures::task::AtomicWaker,
    std::sync::{Mutex, MutexGuard, OnceLock, atomic},
};
#[cfg(all(test, loom))]
pub(crate) use {
    loom::sync::{Mutex, MutexGuard, atomic},
    model::{AtomicWaker, OnceLock},
};

/// An `Arc` whose last owner may be any thread, and drops what it holds there.
#[cfg(not(all(test, loom)))]
pub(crate) type Shared<T> = std::sync::Arc<T>;
#[cfg(all(test, loom))]
pub(crate) type Shared<T> = loom::sync::Arc<T>;

/// Atomics that only count. Nothing is decided by them, so models leave them out: each of their values that a load may
/// return would be an interleaving more.
pub(crate) use std::sync::atomic as counting;

use std::sync::PoisonError;

use atomic::{AtomicUsize, Ordering::Relaxed};

/// Locks `mutex`, ignoring poisoning: every critical section leaves its data consistent, even if it panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds `n` to `count` and returns `true`, if the sum is at most `most`. Otherwise it changes nothing, so a refusal takes no
/// room from others, not even for a moment.
pub(crate) fn acquire(count: &AtomicUsize, n: usize, most: usize) -> bool {
    let add = |count: usize| count.checked_add(n).filter(|sum| *sum <= most);
    count.fetch_update(Relaxed, Relaxed, add).is_ok()
}

/// A value that all threads write, in cache lines of its own: what is beside it is read by all threads too. Aligned to two lines,
/// because processors fetch two at a time.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

/// The number of shards or stripes: `many`, but two in a model, which visits each of them in every interleaving.
pub(crate) const fn shards(many: usize) -> usize {
    if cfg!(all(test, loom)) { 2 } else { many }
}

/// Defines a static. In a model, every interleaving has its own.
macro_rules! global {
    ($(#[$doc:meta])* $name:ident: $type:ty = $value:expr) => {
        #[cfg(not(all(test, loom)))]
        $(#[$doc])*
        static $name: $type = $value;
        #[cfg(all(test, loom))]
        loom::lazy_static! {
            $(#[$doc])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use global;
