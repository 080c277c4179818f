//! The driver: one task per endpoint that keeps every deadline of every session.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use event_listener::Event;
use futures::future::{Either, select};

use crate::{
    contain::{Contained, Panicked},
    env::Env,
    session::{Inner, Session},
    sync::lock,
};

/// The next deadline of each session, at most one entry a session.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Deadlines count from here: as a number they take half the space.
    begin: Instant,
    queue: Mutex<Queue>,
    changed: Event,
}

#[derive(Debug, Default)]
struct Queue {
    // By nanoseconds. The number keeps sessions with the same deadline apart.
    entries: BTreeMap<(u64, u64), Weak<Inner>>,
    closed: bool,
}

impl Timers {
    pub(crate) fn new(begin: Instant) -> Self {
        Self { begin, queue: Mutex::default(), changed: Event::new() }
    }

    /// Moves the deadline of a session from `old` to `new`. Returns whether the driver has to be told, by
    /// [`Timers::notify`], that it is the first of all.
    pub(crate) fn set(&self, session: &Arc<Inner>, old: Option<Instant>, new: Option<Instant>) -> bool {
        let mut queue = lock(&self.queue);
        let first = queue.entries.keys().next().map(|(at, _)| *at);
        if let Some(old) = old {
            queue.entries.remove(&(self.nanos(old), session.number()));
        }
        let new = new.map(|new| self.nanos(new));
        if let Some(new) = new {
            queue.entries.insert((new, session.number()), Arc::downgrade(session));
        }
        new.is_some_and(|new| first.is_none_or(|first| new < first))
    }

    /// Takes what is due. Nothing is, mostly: then it costs a look.
    fn take_due(&self, now: Instant) -> Vec<Weak<Inner>> {
        let (mut queue, now) = (lock(&self.queue), self.nanos(now));
        let mut due = Vec::new();
        while let Some(first) = queue.entries.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        due
    }

    /// What is due first.
    fn first(&self, queue: &Queue) -> Option<Instant> {
        queue.entries.keys().next().map(|(at, _)| self.begin + Duration::from_nanos(*at))
    }

    /// 584 years fit.
    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Tells the driver to look again.
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
}

/// A deadline that is late by more than this was held up together with everything else: the process was stopped (a debugger,
/// a frozen container, a suspended machine), or got no processor. No timer of a runtime is late by a second otherwise.
const STOPPED: Duration = Duration::from_secs(1);

/// How long everybody else gets then, before deadlines count: what clients sent in time waits in sockets and queues, and has
/// yet to be read. As long as what makes the difference.
const MOMENT: Duration = STOPPED;

/// Does what is due, should the driver be late. Returns whose deadlines these were.
pub(crate) async fn catch_up(env: &Env) -> Vec<Session> {
    let runtime = &env.runtime;
    let mut wanted = env.timers.first(&lock(&env.timers.queue)).unwrap_or(runtime.now());
    while runtime.now().saturating_duration_since(wanted) > STOPPED {
        wanted = runtime.now() + MOMENT; // and it may be stopped once more
        if Contained::new(|| runtime.sleep_until(wanted)).await.is_err() {
            break; // the runtime is about to end
        }
    }
    let due = env.timers.take_due(env.runtime.now());
    let due: Vec<_> = due.iter().filter_map(Weak::upgrade).map(Session::from).collect();
    Session::each(due.iter().cloned(), Session::fire);
    due
}

/// Keeps the deadlines until the endpoint is gone.
pub(crate) async fn drive(env: Arc<Env>) {
    loop {
        if !catch_up(&env).await.is_empty() {
            continue; // some may be due again
        }
        let (next, changed) = {
            let queue = lock(&env.timers.queue);
            if queue.closed {
                return;
            }
            (env.timers.first(&queue), env.timers.changed.listen())
        };
        match next {
            None => changed.await,
            Some(at) => match select(Contained::new(|| env.runtime.sleep_until(at)), changed).await {
                // A timer that panics, as that of a runtime that is about to end: what moves next moves this.
                Either::Left((Err(Panicked), changed)) => changed.await,
                Either::Left((Ok(()), _)) | Either::Right(_) => {}
            },
        }
    }
}
