//! [`Timers`]: the deadlines of many sessions or exchanges, kept by one task, the driver.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use event_listener::Event;
use futures::future::{Either, select};

use crate::{
    contain::{Contained, Panicked},
    runtime::Runtime,
    sync::{Mutex, lock},
};

/// If a deadline is late by more than this, the whole process was stopped (by a debugger, a frozen container, a suspended
/// machine) or starved of CPU. Otherwise no timer of a runtime is a second late.
const STOPPED: Duration = Duration::from_secs(1);

/// The extra time before deadlines count after such a stop: input that clients sent in time may still wait in sockets and
/// queues. The same length as [`STOPPED`].
const MOMENT: Duration = STOPPED;

/// What has deadlines.
pub(crate) trait Timed {
    /// Distinguishes those with the same deadline.
    fn number(&self) -> u64;

    /// Called when the deadlines of these have come. A panic of one must not affect the others.
    fn fire(due: &[Arc<Self>]);
}

/// The next deadline of each session or exchange: at most one entry for each.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    /// Deadlines are stored as nanoseconds since this instant, which takes half the space.
    begin: Instant,
    queue: Mutex<Queue<T>>,
    changed: Event,
}

#[derive(Debug)]
struct Queue<T> {
    // By nanoseconds, and by number, since several may have the same deadline.
    entries: BTreeMap<(u64, u64), Weak<T>>,
    closed: bool,
}

impl<T: Timed> Timers<T> {
    pub(crate) fn new(begin: Instant) -> Self {
        let queue = Queue { entries: BTreeMap::new(), closed: false };
        Self { begin, queue: Mutex::new(queue), changed: Event::new() }
    }

    /// Moves a deadline from `old` to `new`. Returns `true` if it is now the earliest of all: then call
    /// [`Timers::notify`].
    pub(crate) fn set(&self, timed: &Arc<T>, old: Option<Instant>, new: Option<Instant>) -> bool {
        let mut queue = lock(&self.queue);
        let first = queue.entries.keys().next().map(|(at, _)| *at);
        if let Some(old) = old {
            queue.entries.remove(&(self.nanos(old), timed.number()));
        }
        let new = new.map(|new| self.nanos(new));
        if let Some(new) = new {
            queue.entries.insert((new, timed.number()), Arc::downgrade(timed));
        }
        new.is_some_and(|new| first.is_none_or(|first| new < first))
    }

    /// Removes and returns all due entries; usually none.
    fn take_due(&self, now: Instant) -> Vec<Weak<T>> {
        let (mut queue, now) = (lock(&self.queue), self.nanos(now));
        let mut due = Vec::new();
        while let Some(first) = queue.entries.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        due
    }

    /// The earliest deadline.
    fn first(&self, queue: &Queue<T>) -> Option<Instant> {
        queue.entries.keys().next().map(|(at, _)| self.begin + Duration::from_nanos(*at))
    }

    /// Nanoseconds since `begin`, saturating after 584 years.
    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Wakes the driver.
    pub(crate) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// Ends the driver.
    pub(crate) fn close(&self) {
        let entries = {
            let mut queue = lock(&self.queue);
            queue.closed = true;
            std::mem::take(&mut queue.entries)
        };
        drop(entries); // outside the lock
        self.changed.notify(usize::MAX);
    }

    /// Fires all due deadlines, and returns whose they were. Also called outside the driver, in case it is late.
    pub(crate) async fn catch_up(&self, runtime: &dyn Runtime) -> Vec<Arc<T>> {
        let mut wanted = self.first(&lock(&self.queue)).unwrap_or(runtime.now());
        while runtime.now().saturating_duration_since(wanted) > STOPPED {
            wanted = runtime.now() + MOMENT; // the process may be stopped again
            if Contained::new(|| runtime.sleep_until(wanted)).await.is_err() {
                break; // the runtime is ending
            }
        }
        let due = self.take_due(runtime.now());
        let due: Vec<_> = due.iter().filter_map(Weak::upgrade).collect();
        T::fire(&due);
        due
    }

    /// The driver: keeps the deadlines until [`Timers::close`].
    pub(crate) async fn drive(&self, runtime: &dyn Runtime) {
        loop {
            if !self.catch_up(runtime).await.is_empty() {
                continue; // some may be due again
            }
            let (next, changed) = {
                let queue = lock(&self.queue);
                if queue.closed {
                    return;
                }
                (self.first(&queue), self.changed.listen())
            };
            match next {
                None => changed.await,
                Some(at) => match select(Contained::new(|| runtime.sleep_until(at)), changed).await {
                    // The timer panicked, probably because the runtime is ending: wait for the next change of a
                    // deadline.
                    Either::Left((Err(Panicked), changed)) => changed.await,
                    Either::Left((Ok(()), _)) | Either::Right(_) => {}
                },
            }
        }
    }
}
