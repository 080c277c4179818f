//! [`Draw`]: what a trial does, all of it from its seed.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use fastrand::Rng;

/// The runtime of the server, named as for `everything --runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Adapter {
    Tokio,
    Smol,
    AsyncStd,
}

impl Adapter {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        }
    }
}

/// When SIGTERM arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This long after the process was started, with no client.
    Start(Duration),
    /// This long after the clients have begun.
    Load(Duration),
    /// After this load has ended, and all descriptors of its clients are closed.
    Quiet(Duration),
}

/// Where the server's stderr leads. Its log is at `debug` in every case, so that a pipe that nobody reads is full at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// To a file, which the trial reads as the truth on each request.
    File,
    /// To a pipe without a reader: each write fails.
    Gone,
    /// To a pipe that is full and that nobody reads: each write blocks.
    Full,
    /// Nowhere: the descriptor is not open.
    Closed,
}

/// How many clients of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mix {
    /// In a session; every other one has a GET stream.
    pub(crate) sessions: u32,
    /// Of the legacy revisions, without an id.
    pub(crate) stateless: u32,
    /// Of 2026-07-28.
    pub(crate) modern: u32,
    /// `subscriptions/listen`.
    pub(crate) listeners: u32,
}

/// A process that is stopped with SIGSTOP and continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// When, counted from SIGTERM; negative is before it.
    pub(crate) at_ms: i64,
    pub(crate) time: Duration,
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) adapter: Adapter,
    pub(crate) moment: Moment,
    pub(crate) stderr: Stderr,
    pub(crate) lame_duck: Duration,
    pub(crate) grace: Duration,
    pub(crate) cancel: Duration,
    pub(crate) finish: Duration,
    /// Clients that read all they get.
    pub(crate) readers: Mix,
    /// Readers in a process of their own, which is stopped for a while.
    pub(crate) apart: Option<(Mix, Stop)>,
    /// Clients that send requests without waiting for answers, and then read all of them.
    pub(crate) flooding: u32,
    /// Readers that close their sending half after each request.
    pub(crate) half_closing: u32,
    /// Clients that read nothing.
    pub(crate) stalled: u32,
    /// Clients that cut their connection, mostly in the middle of an answer.
    pub(crate) cutting: u32,
    /// Clients that send the first part of a request.
    pub(crate) half_sent: u32,
    /// Calls that never end and ignore their cancellation.
    pub(crate) hangs: u32,
    /// Calls that block their thread for this long.
    pub(crate) blocks: Vec<Duration>,
    /// How long a call takes at most.
    pub(crate) longest_call: Duration,
    /// The limit of open descriptors of the server.
    pub(crate) descriptors: Option<u32>,
    /// The server is stopped.
    pub(crate) stop: Option<Stop>,
    /// SIGTERM again, this long after the first.
    pub(crate) again: Option<Duration>,
    /// Whether the time of the exit is judged.
    pub(crate) is_timed: bool,
}

/// What readers get beyond their time on a machine that may be busy.
const PATIENT: Duration = Duration::from_secs(4);

/// After this many milliseconds a server has seen SIGTERM, on a busy machine too.
const SEEN: i64 = 100;

/// What clients get to read answers that a stop has made late.
const MOMENT: Duration = Duration::from_millis(100);

impl Stop {
    /// When the process is continued, counted from SIGTERM; at SIGTERM, if that was before.
    pub(crate) fn end(self) -> Duration {
        let end = self.at_ms + i64::try_from(self.time.as_millis()).unwrap_or(i64::MAX);
        Duration::from_millis(end.max(0).unsigned_abs())
    }
}

impl Draw {
    pub(crate) fn new(seed: u64, adapter: Adapter) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let load = ms(rng, 20..500);
        let moment = match rng.u32(0..100) {
            0..10 => Moment::Start(Duration::from_micros(rng.u64(0..30_000))),
            10..25 => Moment::Quiet(load),
            _ => Moment::Load(load),
        };
        let stderr = match rng.u32(0..100) {
            0..70 => Stderr::File,
            70..80 => Stderr::Gone,
            80..90 => Stderr::Full,
            _ => Stderr::Closed,
        };
        let lame_duck = if chance(rng, 25) { ms(rng, 1..300) } else { Duration::ZERO };
        let (grace, cancel) = (ms(rng, 0..900), ms(rng, 0..500));
        // Readers share two cores with the servers of other trials: less time would measure the machine.
        let finish = ms(rng, 400..700);
        let mix = |rng: &mut Rng| Mix {
            sessions: rng.u32(0..8),
            stateless: rng.u32(0..4),
            modern: rng.u32(0..5),
            listeners: rng.u32(0..4),
        };
        let readers = mix(rng);
        let stop = |rng: &mut Rng| Stop { at_ms: rng.i64(-200..800), time: ms(rng, 50..2_000) };
        let apart = chance(rng, 15).then(|| (mix(rng), stop(rng)));
        let some = |rng: &mut Rng, percent, most| if chance(rng, percent) { rng.u32(1..=most) } else { 0 };
        let flooding = some(rng, 25, 2);
        let half_closing = some(rng, 25, 2);
        let stalled = some(rng, 25, 4);
        let cutting = some(rng, 30, 4);
        let half_sent = some(rng, 20, 4);
        let hangs = some(rng, 30, 4);
        let blocks = match rng.u32(0..100) {
            0..10 => (0..rng.u32(1..3)).map(|_| ms(rng, 50..300)).collect(),
            10..15 => (0..rng.u32(1..4)).map(|_| ms(rng, 300..3_000)).collect(),
            _ => Vec::new(),
        };
        let longest_call = ms(rng, 10..1_000);
        let descriptors = chance(rng, 10).then(|| rng.u32(24..48));
        let stopped = chance(rng, 15).then(|| stop(rng));
        let again = chance(rng, 20).then(|| ms(rng, 1..1_800));
        let mut draw = Self {
            seed,
            adapter,
            moment,
            stderr,
            lame_duck,
            grace,
            cancel,
            finish,
            readers,
            apart,
            flooding,
            half_closing,
            stalled,
            cutting,
            half_sent,
            hangs,
            blocks,
            longest_call,
            descriptors,
            stop: stopped,
            again,
            is_timed: true,
        };
        draw.settle();
        draw
    }

    /// The same on a machine that may be busy.
    pub(crate) fn patient(mut self) -> Self {
        self.finish += PATIENT;
        self.is_timed = false;
        self
    }

    /// Takes out what contradicts the moment.
    fn settle(&mut self) {
        match self.moment {
            Moment::Load(_) => {}
            Moment::Start(_) => self.stop = None,
            // Nothing may be left of these clients, so nothing may be running for them.
            Moment::Quiet(_) => {
                (self.hangs, self.stalled, self.half_sent) = (0, 0, 0);
                (self.stop, self.apart, self.descriptors) = (None, None, None);
            }
        }
    }

    /// The sum of the phases.
    pub(crate) fn ceiling(&self) -> Duration {
        self.lame_duck + self.grace + self.cancel + self.finish
    }

    /// When it must have exited, counted from SIGTERM, if it is continued at `continued`: at its ceiling, or as soon as it is
    /// continued and its clients have had a moment. One that was stopped before it can have seen the signal has all of its time
    /// then.
    pub(crate) fn due(&self, continued: Duration) -> Duration {
        let due = match self.stop {
            Some(stop) if stop.at_ms < SEEN => continued + self.ceiling(),
            Some(_) => self.ceiling().max(continued + MOMENT),
            None => self.ceiling(),
        };
        due + self.waits()
    }

    /// For how long blocked threads may hold up a deadline: README, Limits.
    pub(crate) fn waits(&self) -> Duration {
        match self.adapter {
            Adapter::Tokio => Duration::ZERO,
            Adapter::Smol | Adapter::AsyncStd => self.blocked(),
        }
    }

    /// The longest time that a thread of the server is blocked.
    pub(crate) fn blocked(&self) -> Duration {
        self.blocks.iter().sum()
    }
}

/// One line, with what differs from a plain trial.
impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIGTERM at {:?}, stderr {:?}, ", self.moment, self.stderr)?;
        let Self { lame_duck, grace, cancel, finish, readers, .. } = self;
        write!(f, "lame duck {lame_duck:?}, grace {grace:?}, cancel {cancel:?}, finish {finish:?}; ")?;
        write!(f, "{} in sessions, {} without, ", readers.sessions, readers.stateless)?;
        write!(f, "{} modern, {} listeners", readers.modern, readers.listeners)?;
        for (count, what) in [
            (self.flooding, "flooding"),
            (self.half_closing, "half-closing"),
            (self.stalled, "stalled"),
            (self.cutting, "cutting"),
            (self.half_sent, "half-sent"),
            (self.hangs, "hanging calls"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if !self.blocks.is_empty() {
            write!(f, ", blocks {:?}", self.blocks)?;
        }
        write!(f, ", calls up to {:?}", self.longest_call)?;
        if let Some((mix, stop)) = &self.apart {
            write!(f, ", a stopped client process {mix:?} {stop:?}")?;
        }
        if let Some(descriptors) = self.descriptors {
            write!(f, ", {descriptors} descriptors")?;
        }
        if let Some(stop) = &self.stop {
            write!(f, ", server stopped {stop:?}")?;
        }
        if let Some(again) = &self.again {
            write!(f, ", SIGTERM again after {again:?}")?;
        }
        Ok(())
    }
}

fn ms(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_trial_again_on_every_adapter() {
        for seed in 0..500 {
            let draw = Draw::new(seed, Adapter::Tokio);
            assert_eq!(draw, Draw::new(seed, Adapter::Tokio));
            assert_eq!(Draw { adapter: Adapter::Smol, ..draw.clone() }, Draw::new(seed, Adapter::Smol));
            assert!(draw.ceiling() < Duration::from_millis(2_500), "{draw}");
        }
    }

    #[test]
    fn every_fault_is_drawn_in_a_hundred_trials() {
        let draws: Vec<Draw> = (0..100).map(|seed| Draw::new(seed, Adapter::Tokio)).collect();
        let reached = |what: &str, is: &dyn Fn(&Draw) -> bool| {
            assert!(draws.iter().any(is), "no trial of a hundred has {what}");
        };
        reached("a start", &|draw| matches!(draw.moment, Moment::Start(_)));
        reached("a quiet end", &|draw| matches!(draw.moment, Moment::Quiet(_)));
        for stderr in [Stderr::File, Stderr::Gone, Stderr::Full, Stderr::Closed] {
            reached("this stderr", &|draw| draw.stderr == stderr);
        }
        reached("a flood", &|draw| draw.flooding > 0);
        reached("half-closing clients", &|draw| draw.half_closing > 0);
        reached("stalled clients", &|draw| draw.stalled > 0);
        reached("cutting clients", &|draw| draw.cutting > 0);
        reached("half a request", &|draw| draw.half_sent > 0);
        reached("hanging calls", &|draw| draw.hangs > 0);
        reached("a long block", &|draw| draw.blocked() > draw.ceiling());
        reached("few descriptors", &|draw| draw.descriptors.is_some());
        reached("a stopped server", &|draw| draw.stop.is_some());
        reached("a stopped client process", &|draw| draw.apart.is_some());
        reached("a second signal", &|draw| draw.again.is_some());
        reached("an escalation", &|draw| {
            draw.again.is_some_and(|again| again > Duration::from_millis(1_100))
        });
    }
}
