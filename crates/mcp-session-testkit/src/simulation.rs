//! Random schedules of clients, handlers, stores, nodes and shutdowns, in virtual time, with invariants.
//!
//! A *schedule* is drawn from a seed: a few nodes with their limits, perhaps with a store, some clients with their steps, what
//! goes wrong, and the order in which ready tasks run. It runs against real [`Endpoint`](mcp_session_core::Endpoint)s on
//! [`SimRuntime`](crate::SimRuntime), so it takes no time, and the same seed does the same thing again.
//!
//! | part | what it does |
//! |---|---|
//! | clients | sessions of each revision, requests without one, 2026-07-28, listeners; several clients in a session; ids used twice; questions answered late, twice or never; DELETE in the middle |
//! | network | slow readers, readers that stop, cuts, proxies that hide them, uploads that break off; coming back with `Last-Event-ID` |
//! | handlers | answer at once, later or never; notify, ask, panic, ignore cancellation, leave tasks behind; hooks that hang or panic |
//! | stores | slow, failing with and without effect, hanging, panicking, losing what they acknowledged; messages late and twice |
//! | nodes | one to four behind a balancer; stopped, killed, started again; shut down at any moment, hurried, escalated |
//!
//! # What must be true
//!
//! | invariant | |
//! |---|---|
//! | `answered-twice`, `no-answer`, `invented`, `result-lost`, `answer-late` | each admitted request gets one answer: that of its handler, at once |
//! | `handled-twice`, `refused-and-handled`, `admitted-late`, `born-late` | what is refused is not handled, and nothing is admitted once draining has begun |
//! | `twin`, `not-cancelled`, `given-up` | no two calls of a session run with one id; what its client has cancelled or given up stops, and nothing else |
//! | `after-end`, `foreign` | nothing follows an end; nothing is on the stream of another request or session |
//! | `ids`, `lost`, `repeated`, `progress`, `reply-lost`, `expired-event`, `unstored`, `listeners`, `note-failed`, `tell-failed` | a reader sees each event once and in order, wherever it comes back |
//! | `live-404`, `dead-used`, `expired`, `outlived`, `ended-twice`, `hook-twice`, `not-ended` | a live id is known at every node, a dead one at none; a session in use does not expire, and ends once |
//! | `ceiling`, `loosened`, `waits`, `report` | a shutdown is over by its ceiling, at once if nothing is left to do; its report says what was |
//! | `caps`, `leaked` | no limit is exceeded, and what is over has no place any more |
//! | `cut`, `broken`, `uninvited`, `status`, `malformed` | whoever reads gets a proper end, and only statuses that have a reason |
//! | `left`, `hangs`, `panic` | in the end there is no task, timer, handler, request or stream, and nobody waits |
//!
//! # A failure
//!
//! [`Simulation::run`] stops at the first violation, makes its plan as small as it can, and returns the [`Failure`]: its
//! `Display` is the plan, the last steps, and the numbers with which [`replay`] does the same again.
//!
//! ```
//! use mcp_session_testkit::simulation::{Replay, Simulation, replay};
//!
//! let mut simulation = Simulation::new(7);
//! simulation.schedules = 20;
//! let report = simulation.run(|_| {});
//! assert!(report.failure.is_none(), "{}", report.failure.unwrap());
//! assert_eq!(report.schedules, 20);
//!
//! // One schedule again, as text. The same seed does the same thing.
//! let again = || replay(&Replay::new(7));
//! assert!(again().violation.is_none());
//! assert_eq!(again().trace, again().trace);
//! ```

mod book;
mod client;
mod coverage;
mod handler;
mod log;
mod network;
mod plan;
mod probe;
mod process;
mod run;
mod shrink;
mod store;
mod swarm;
mod world;

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use self::{book::Violation, coverage::Coverage, plan::Plan};

/// Many schedules.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Simulation {
    /// How many. 1,000.
    pub schedules: u64,
    /// The seed of the first one; the others follow.
    pub seed: u64,
    /// How many run at the same time. As many as the machine has processors.
    pub threads: NonZeroUsize,
}

impl Simulation {
    /// 1,000 schedules from this seed on.
    pub fn new(seed: u64) -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { schedules: 1_000, seed, threads }
    }

    /// Runs all schedules, or those up to the first that violates an invariant. `progress` gets the number of those that
    /// are over, from time to time.
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Report {
        let (next, over, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let coverage = Mutex::new(Coverage::default());
        let found = Mutex::new(None::<(u64, Violation)>);
        let work = || {
            let mut mine = Coverage::default();
            while !stop.load(Relaxed) {
                let number = next.fetch_add(1, Relaxed);
                if number >= self.schedules {
                    break;
                }
                let outcome = run::run(Plan::draw(self.seed.wrapping_add(number)), false);
                mine.add(&outcome.coverage);
                if let Some(violation) = outcome.violation {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    // The first one, whichever thread is faster.
                    if found.as_ref().is_none_or(|(first, _)| number < *first) {
                        *found = Some((number, violation));
                    }
                    stop.store(true, Relaxed);
                }
                let over = over.fetch_add(1, Relaxed) + 1;
                if over % 100 == 0 {
                    progress(over);
                }
            }
            coverage.lock().unwrap_or_else(PoisonError::into_inner).add(&mine);
        };
        thread::scope(|scope| {
            for _ in 0..self.threads.get() {
                scope.spawn(work);
            }
        });
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failure = found.map(|(number, violation)| {
            let seed = self.seed.wrapping_add(number);
            shrink::shrink(seed, number + 1, &violation)
        });
        let coverage = coverage.into_inner().unwrap_or_else(PoisonError::into_inner);
        Report {
            schedules: over.into_inner(),
            failure,
            missing: coverage.missing(),
            coverage: coverage.to_string(),
        }
    }
}

/// What many schedules have shown.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// How many were run.
    pub schedules: u64,
    /// The first violation.
    pub failure: Option<Failure>,
    /// What a run of 20,000 schedules or more must reach, and this one has not.
    pub missing: Vec<String>,
    /// How often each input met each phase, and how it went: a line each.
    pub coverage: String,
}

/// A schedule that violates an invariant.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
    /// The seed of the schedule.
    pub seed: u64,
    /// The number of schedules up to this one.
    pub after: u64,
    /// The smallest schedule that was found to do the same.
    pub smallest: Replay,
    /// The plan of the smallest.
    pub plan: String,
    /// The last steps of the smallest.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, text, seed, after, smallest, plan, trace } = self;
        writeln!(f, "{plan}\n{trace}")?;
        writeln!(f, "violation: {invariant}: {text}")?;
        writeln!(f, "found: seed {seed}, after {after} schedules")?;
        write!(f, "again: cargo xtask sim --replay {smallest}")
    }
}

/// Which schedule to run again.
///
/// As text: its seed, and what differs from the schedule of the seed: `7`, `7:order=3`, `7:order=3:keep=0-2,5`.
///
/// ```
/// use mcp_session_testkit::simulation::Replay;
///
/// let replay: Replay = "7:order=3:keep=0-2,5".parse()?;
/// assert_eq!((replay.seed, replay.order, replay.keep.as_deref()), (7, Some(3), Some(&[0, 1, 2, 5][..])));
/// assert_eq!(replay.to_string(), "7:order=3:keep=0-2,5");
/// assert!("seven".parse::<Replay>().is_err());
/// # Ok::<(), mcp_session_testkit::simulation::InvalidReplay>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// The seed.
    pub seed: u64,
    /// The seed of the order in which ready tasks run, if it is not that of the plan.
    pub order: Option<u64>,
    /// The numbers of the parts that the plan keeps, if it does not keep all.
    pub keep: Option<Vec<usize>>,
}

impl Replay {
    /// The whole schedule of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, order: None, keep: None }
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::draw(self.seed);
        if let Some(keep) = &self.keep {
            plan = plan.only(|part| keep.binary_search(&part).is_ok());
        }
        plan.order = self.order.unwrap_or(plan.order);
        plan
    }
}

/// A text that says no [`Replay`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidReplay;

impl fmt::Display for InvalidReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be like 7, 7:order=3 or 7:order=3:keep=0-2,5")
    }
}

impl std::error::Error for InvalidReplay {}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        if let Some(order) = self.order {
            write!(f, ":order={order}")?;
        }
        let Some(keep) = &self.keep else { return Ok(()) };
        f.write_str(":keep=")?;
        for (n, run) in keep.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match run {
                [one] => write!(f, "{comma}{one}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Replay {
    type Err = InvalidReplay;

    fn from_str(text: &str) -> Result<Self, InvalidReplay> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| InvalidReplay);
        let mut parts = text.split(':');
        let mut replay = Self::new(number(parts.next().unwrap_or_default())?);
        for part in parts {
            match part.split_once('=').ok_or(InvalidReplay)? {
                ("order", order) => replay.order = Some(number(order)?),
                ("keep", runs) => {
                    let mut keep = Vec::new();
                    for run in runs.split(',').filter(|run| !run.is_empty()) {
                        let (first, last) = run.split_once('-').unwrap_or((run, run));
                        keep.extend(number(first)? as usize..=number(last)? as usize);
                    }
                    keep.sort_unstable();
                    replay.keep = Some(keep);
                }
                _ => return Err(InvalidReplay),
            }
        }
        Ok(replay)
    }
}

/// One schedule, run again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Replayed {
    /// The name of the invariant that it violates, and what was seen.
    pub violation: Option<(&'static str, String)>,
    /// What it does.
    pub plan: String,
    /// What happened, a line for each step.
    pub trace: String,
}

/// Runs one schedule again, and writes down what happens.
pub fn replay(replay: &Replay) -> Replayed {
    let plan = replay.plan();
    let text = format!("{plan:#?}");
    let outcome = run::run(plan, true);
    let violation = outcome.violation.map(|violation| (violation.invariant, violation.text));
    Replayed { violation, plan: text, trace: outcome.trace }
}
