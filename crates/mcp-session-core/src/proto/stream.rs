//! [`Stream`]: an ordered, bounded queue of events with one reader and one end.

use std::{collections::VecDeque, mem, time::Instant};

use bytes::Bytes;

use super::{Changes, SessionConfig, Wake, event::HEARTBEAT};

/// The queue is full: wait for [`Wake::Handler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream's queue is full")]
pub struct Full;

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event, and whether it was the last one: then the stream has ended with it.
    Event(Bytes, bool),
    /// Nothing yet: wait for [`Wake::Reader`].
    Pending,
    /// The end. The body closes properly.
    End,
    /// The end by force, with events unsent. The body must not pretend that it is complete.
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Nothing more comes; what waits, and the end itself, have yet to be taken.
    Ending,
    /// The end was taken, or there is nobody to take it.
    Over,
    Cut,
}

/// An ordered sequence of events on its way to one reader.
#[derive(Debug)]
pub struct Stream<T> {
    tag: T,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    life: Life,
    /// Since when nothing has been pushed: heartbeats count from here.
    quiet_since: Instant,
    /// A heartbeat fell due while an earlier event was still unread.
    stalled: bool,
    /// Somebody was refused with [`Full`] and waits for space.
    awaited: bool,
}

impl<T: Clone> Stream<T> {
    /// An open, empty stream.
    pub fn new(now: Instant, tag: T, out: &mut Changes<T>) -> Self {
        out.tally.streams_opened += 1;
        out.wake(Wake::Reader(tag.clone()));
        Self {
            tag,
            queue: VecDeque::new(),
            queued_bytes: 0,
            life: Life::Open,
            quiet_since: now,
            stalled: false,
            awaited: false,
        }
    }

    /// Queues an event.
    ///
    /// # Errors
    ///
    /// [`Full`] if the queue holds as many events or bytes as it may. [`Wake::Handler`] tells when to try again.
    pub fn push(
        &mut self,
        now: Instant,
        event: &Bytes,
        config: &SessionConfig,
        out: &mut Changes<T>,
    ) -> Result<(), Full> {
        let fits = self.queue.len() < config.queue_events
            && (self.queue.is_empty() || self.queued_bytes + event.len() <= config.queue_bytes);
        if !fits {
            self.awaited = true;
            return Err(Full);
        }
        self.push_unbounded(now, event.clone(), out);
        Ok(())
    }

    /// Queues an event beyond the bounds: for what must never wait and comes at most once for something that was
    /// bounded, such as the one terminal answer.
    pub fn push_unbounded(&mut self, now: Instant, event: Bytes, out: &mut Changes<T>) {
        if self.life == Life::Open {
            self.queued_bytes += event.len();
            self.queue.push_back(event);
            self.quiet_since = now;
            out.wake(Wake::Reader(self.tag.clone()));
        }
    }

    /// Ends the stream after what is queued.
    pub fn end(&mut self, out: &mut Changes<T>) {
        if self.life == Life::Open {
            self.set(Life::Ending, out);
        }
    }

    /// Ends the stream now, by force. What is queued is lost.
    pub fn cut(&mut self, out: &mut Changes<T>) {
        if matches!(self.life, Life::Open | Life::Ending) {
            out.tally.streams_cut += 1;
            self.finish(Life::Cut, out);
        }
    }

    /// The reader has gone: what is queued has nobody to go to.
    pub fn disconnect(&mut self, out: &mut Changes<T>) {
        if matches!(self.life, Life::Open | Life::Ending) {
            out.tally.streams_ended += 1;
            self.finish(Life::Over, out);
        }
    }

    /// Takes the next event.
    pub fn poll_event(&mut self, out: &mut Changes<T>) -> Next {
        match self.life {
            Life::Over => return Next::End,
            Life::Cut => return Next::Cut,
            Life::Open | Life::Ending => {}
        }
        let event = self.queue.pop_front();
        let last = self.life == Life::Ending && self.queue.is_empty();
        if last {
            out.tally.streams_ended += 1;
            self.finish(Life::Over, out);
        }
        match event {
            Some(event) => {
                self.queued_bytes = self.queued_bytes.saturating_sub(event.len());
                self.stalled = false;
                if mem::take(&mut self.awaited) {
                    out.wake(Wake::Handler(self.tag.clone()));
                }
                Next::Event(event, last)
            }
            None if last => Next::End,
            None => Next::Pending,
        }
    }

    /// Queues a heartbeat if the stream was silent for long enough. Returns whether its reader has taken all that
    /// came before: a sign of life.
    pub fn handle_silence(&mut self, now: Instant, config: &SessionConfig, out: &mut Changes<T>) -> bool {
        if self.next_timeout(config).is_none_or(|due| now < due) {
            return false;
        }
        let alive = self.queue.is_empty();
        if alive {
            self.push_unbounded(now, Bytes::from_static(HEARTBEAT), out);
        } else {
            // Its reader would get this comment only after what it does not read: a second one tells nothing.
            self.quiet_since = now;
            self.stalled = true;
        }
        alive
    }

    /// When [`Stream::handle_silence`] wants to be called.
    pub fn next_timeout(&self, config: &SessionConfig) -> Option<Instant> {
        config.heartbeat_due(self.quiet_since).filter(|_| self.is_open())
    }

    /// Whether more may be pushed.
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether its reader has taken the end, or has gone.
    pub fn is_over(&self) -> bool {
        self.life == Life::Over
    }

    /// Whether it was ended by force.
    pub fn is_cut(&self) -> bool {
        self.life == Life::Cut
    }

    /// Whether a heartbeat fell due while its reader had left an earlier event unread.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// What finds its waiters.
    pub fn tag(&self) -> &T {
        &self.tag
    }

    fn finish(&mut self, life: Life, out: &mut Changes<T>) {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.set(life, out);
    }

    fn set(&mut self, life: Life, out: &mut Changes<T>) {
        self.life = life;
        if mem::take(&mut self.awaited) {
            out.wake(Wake::Handler(self.tag.clone())); // whoever waits for space waits in vain
        }
        out.wake(Wake::Reader(self.tag.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::start;

    fn event(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn small() -> SessionConfig {
        SessionConfig { queue_events: 3, queue_bytes: 4, ..SessionConfig::default() }
    }

    fn wakes(out: &mut Changes<&'static str>) -> Vec<Wake<&'static str>> {
        mem::take(out).into_wakes().collect()
    }

    #[test]
    fn the_queue_is_bounded_in_events_and_bytes_and_a_taken_event_wakes_the_sender() {
        let (now, config, out) = (start(), small(), &mut Changes::default());
        let mut stream = Stream::new(now, "s", out);
        assert_eq!(stream.push(now, &event("longer than the limit"), &config, out), Ok(()));
        assert_eq!(stream.push(now, &event("x"), &config, out), Err(Full));
        let _ = wakes(out);
        assert_eq!(stream.poll_event(out), Next::Event(event("longer than the limit"), false));
        assert_eq!(wakes(out), [Wake::Handler("s")]);
        for _ in 0..3 {
            assert_eq!(stream.push(now, &event("x"), &config, out), Ok(()));
        }
        assert_eq!(stream.push(now, &event("x"), &config, out), Err(Full));
    }

    #[test]
    fn the_last_event_says_so_and_the_end_counts_once() {
        let (now, out) = (start(), &mut Changes::default());
        let mut stream = Stream::new(now, "s", out);
        stream.push_unbounded(now, event("a"), out);
        stream.push_unbounded(now, event("b"), out);
        stream.end(out);
        stream.push_unbounded(now, event("too late"), out);
        assert_eq!(stream.poll_event(out), Next::Event(event("a"), false));
        assert_eq!(stream.poll_event(out), Next::Event(event("b"), true));
        assert_eq!(stream.poll_event(out), Next::End);
        stream.disconnect(out);
        stream.cut(out);
        assert_eq!((out.tally.streams_opened, out.tally.streams_ended, out.tally.streams_cut), (1, 1, 0));
    }

    #[test]
    fn an_end_that_nobody_takes_is_no_end() {
        let (now, out) = (start(), &mut Changes::default());
        let mut stream = Stream::new(now, "s", out);
        stream.end(out);
        assert!(!stream.is_over());
        stream.cut(out);
        assert_eq!(stream.poll_event(out), Next::Cut);
        assert_eq!((out.tally.streams_opened, out.tally.streams_ended, out.tally.streams_cut), (1, 0, 1));
    }

    #[test]
    fn d_42_silence_gets_one_comment_and_an_unread_one_means_stalled() {
        let (now, config, out) = (start(), small(), &mut Changes::default());
        let mut stream = Stream::new(now, "s", out);
        let later = now + config.heartbeat;
        assert_eq!(stream.next_timeout(&config), Some(later));
        assert!(!stream.handle_silence(later - Duration::from_millis(1), &config, out));
        assert_eq!(stream.poll_event(out), Next::Pending);
        assert!(stream.handle_silence(later, &config, out));
        assert!(!stream.handle_silence(later + config.heartbeat, &config, out));
        assert!(stream.is_stalled());
        assert_eq!(stream.poll_event(out), Next::Event(event(":\n\n"), false));
        assert!(!stream.is_stalled());
        assert_eq!(stream.poll_event(out), Next::Pending);
    }

    #[test]
    fn d_42_a_heartbeat_of_zero_is_none() {
        let config = SessionConfig { heartbeat: Duration::ZERO, ..small() };
        let (now, out) = (start(), &mut Changes::default());
        let mut stream = Stream::new(now, "s", out);
        for _unread in 0..2 {
            assert_eq!(stream.next_timeout(&config), None);
            for later in [Duration::ZERO, Duration::from_secs(24 * 60 * 60)] {
                assert!(!stream.handle_silence(now + later, &config, out));
            }
            assert!(!stream.is_stalled());
            stream.push_unbounded(now, event("a"), out);
        }
        assert_eq!(stream.poll_event(out), Next::Event(event("a"), false));
    }
}
