//! [`Output`]: the wakes and counts of a call, for the caller to act on.

use std::{collections::VecDeque, ops::AddAssign};

use bytes::Bytes;

/// How an exchange ended. Each ends exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The handler's answer, result or error, was delivered; or the client had gone, and the answer was kept for replay
    /// or nobody was left to read it.
    Answered,
    /// The handler did not answer in time: the session synthesized an error, which was delivered.
    Synthesized,
    /// The client cancelled the request: no answer is owed.
    Cancelled,
    /// An answer was due and could not be delivered in time.
    Forced,
}

/// A waiter that should poll again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake<T> {
    /// The reader of the stream: there is an event, or an end.
    Reader(T),
    /// The handler or sender: there is space, a reply, a cancellation, or a drain.
    Handler(T),
}

/// Counts since the last [`Output`] was taken. Gauges are differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were admitted.
    pub admitted: u32,
    /// Gauge: requests that are owed an answer.
    pub running: i32,
    /// Gauge: draining sessions that sent an answer and wait for their client's next requests.
    pub lingering: i32,
    /// Gauge: replies that are not settled yet, running requests included.
    pub replies: i32,
    /// Exchanges that ended as [`Outcome::Answered`].
    pub answered: u32,
    /// Exchanges that ended as [`Outcome::Synthesized`].
    pub synthesized: u32,
    /// Exchanges that ended as [`Outcome::Cancelled`].
    pub cancelled: u32,
    /// Exchanges that ended as [`Outcome::Forced`].
    pub forced: u32,
    /// Streams that were opened.
    pub streams_opened: u32,
    /// Streams that ended: with their last event read, or because their client had gone.
    pub streams_ended: u32,
    /// Streams that were cut before their end was read.
    pub streams_cut: u32,
    /// Clients that did not answer a `ping` and lost their standalone stream.
    pub pings_unanswered: u32,
    /// Requests that were cancelled because nobody could fetch their answer any more.
    pub orphaned: u32,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            admitted,
            running,
            lingering,
            replies,
            answered,
            synthesized,
            cancelled,
            forced,
            streams_opened,
            streams_ended,
            streams_cut,
            pings_unanswered,
            orphaned,
        } = other;
        self.admitted += admitted;
        self.running += running;
        self.lingering += lingering;
        self.replies += replies;
        self.answered += answered;
        self.synthesized += synthesized;
        self.cancelled += cancelled;
        self.forced += forced;
        self.streams_opened += streams_opened;
        self.streams_ended += streams_ended;
        self.streams_cut += streams_cut;
        self.pings_unanswered += pings_unanswered;
        self.orphaned += orphaned;
    }
}

impl Tally {
    /// Whether it counts nothing that has to be reported as well.
    #[doc(hidden)] // for core
    pub fn is_usual(&self) -> bool {
        self.streams_cut + self.forced + self.pings_unanswered + self.orphaned == 0
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => self.answered += 1,
            Outcome::Synthesized => self.synthesized += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Forced => self.forced += 1,
        }
    }
}

/// What has become of a session. Each is reported once in its life, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// `initialize` was answered with a result: the client is told the session's id (C-20).
    Established,
    /// It has started to end, for a reason that stands from now on (S12).
    Ending,
    /// Its id is dead (E-11).
    Dead,
    /// Nothing of it is left.
    Closed,
}

/// The events of a call, as an iterator over them. Mostly there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "an event is reported once"]
pub struct Events(u8);

impl Events {
    /// By their bits, in order.
    const ALL: [Event; 4] = [Event::Established, Event::Ending, Event::Dead, Event::Closed];

    /// Returns `true` if nothing has happened.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns `true` if `event` has happened.
    pub fn contains(self, event: Event) -> bool {
        self.0 & Self::bit(event) != 0
    }

    pub(super) fn insert(&mut self, event: Event) {
        self.0 |= Self::bit(event);
    }

    fn bit(event: Event) -> u8 {
        1 << event as u8
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let first = Self::ALL.get(self.0.trailing_zeros() as usize)?; // no bit: 8 zeros
        self.0 &= !Self::bit(*first);
        Some(*first)
    }
}

/// The wakes, counts and events of a call. Act on them after the lock is released.
#[derive(Debug)]
#[must_use = "waiters have to be woken"]
pub struct Output<T> {
    // Two wakes are kept inline: no call on the common path wakes more, and a `Vec` would allocate for them.
    first: [Option<Wake<T>>; 2],
    // Boxed, because every session has this field and few need it.
    rest: Option<Box<Rest<T>>>,
    /// The counts.
    pub tally: Tally,
    /// What has become of the session.
    pub events: Events,
}

#[derive(Debug)]
struct Rest<T> {
    wakes: Vec<Wake<T>>,
    discarded: Vec<VecDeque<Bytes>>,
}

impl<T> Default for Rest<T> {
    fn default() -> Self {
        Self { wakes: Vec::new(), discarded: Vec::new() }
    }
}

impl<T> Output<T> {
    /// Passes on events that nobody will read. Freeing many of them takes time, so the caller decides when.
    pub(super) fn discard(&mut self, events: VecDeque<Bytes>) {
        self.rest.get_or_insert_default().discarded.push(events);
    }

    /// Takes the events that nobody will read, to free them.
    #[doc(hidden)] // for core
    pub fn take_discarded(&mut self) -> Vec<VecDeque<Bytes>> {
        self.rest.as_mut().map(|rest| std::mem::take(&mut rest.discarded)).unwrap_or_default()
    }

    /// Whether there is no waiter to wake, and nothing to free.
    #[doc(hidden)] // for core
    pub fn is_quiet(&self) -> bool {
        self.first[0].is_none() && self.rest.is_none()
    }

    pub(super) fn wake(&mut self, wake: Wake<T>) {
        match self.first.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(wake),
            None => self.rest.get_or_insert_default().wakes.push(wake),
        }
    }

    /// The waiters to wake, in order. A waiter may appear twice, or although nothing changed for it.
    pub fn into_wakes(self) -> impl Iterator<Item = Wake<T>> {
        self.first.into_iter().flatten().chain(self.rest.into_iter().flat_map(|rest| rest.wakes))
    }
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Self { first: [None, None], rest: None, tally: Tally::default(), events: Events::default() }
    }
}
