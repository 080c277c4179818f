//! [`Ladder`]: by which steps a child ends. Its stdin is closed, then its group gets SIGTERM, then SIGKILL.
//!
//! The order is the specification's. The group, because what people start is often a wrapper (`npx`, `sh -c`, `uvx`) that
//! passes on no signal.

use std::time::{Duration, Instant};

/// How long a child has on each rung before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LadderBudgets {
    /// After its stdin was closed. 2 seconds: a server that obeys ends in milliseconds; Node and Python flush and exit well within.
    pub close: Duration,
    /// After SIGTERM. 2 seconds, for the same reason.
    pub terminate: Duration,
}

impl Default for LadderBudgets {
    fn default() -> Self {
        Self { close: Duration::from_secs(2), terminate: Duration::from_secs(2) }
    }
}

impl LadderBudgets {
    /// Sets both.
    pub const fn new(close: Duration, terminate: Duration) -> Self {
        Self { close, terminate }
    }

    /// The longest time from the first step to the end of [`Ladder`].
    pub fn total(self) -> Duration {
        self.close + self.terminate + AFTER_KILL
    }
}

/// How long to wait for the dead after SIGKILL. 1 second: the kernel needs no longer, unless a process waits for a device.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// What is still there of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alive {
    /// The child itself.
    Leader,
    /// Not the child, but others of its group.
    Group,
    /// Nobody.
    Nobody,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Close the child's stdin.
    CloseInput,
    /// Send SIGTERM to the group.
    Terminate,
    /// Send SIGKILL to the group.
    Kill,
    /// Wait until something changes, at most until then.
    Wait(Instant),
    /// It is over.
    Done(Outcome),
}

/// What ended a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It had ended already.
    Gone,
    /// The end of its stdin.
    Closed,
    /// SIGTERM: the child, or what it had left in its group.
    Terminated,
    /// SIGKILL: the child, or what it had left in its group.
    Killed,
    /// Not even SIGKILL, within a second.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    Bottom,
    Closed,
    Terminated,
    Killed,
}

/// The ladder of one child. It looks at no clock and sends nothing: call [`next`](Self::next) until it is
/// [`Step::Done`].
///
/// ```
/// use std::time::{Duration, Instant};
/// use mcp_session_gateway::child::ladder::{Alive, Ladder, LadderBudgets, Outcome, Step};
///
/// let (now, second) = (Instant::now(), Duration::from_secs(1));
/// let mut ladder = Ladder::new(LadderBudgets::new(second, second));
/// assert_eq!(ladder.next(now, Alive::Leader), Step::CloseInput);
/// assert_eq!(ladder.next(now, Alive::Leader), Step::Wait(now + second));
/// assert_eq!(ladder.next(now + second, Alive::Leader), Step::Terminate);
/// assert_eq!(ladder.next(now + second, Alive::Nobody), Step::Done(Outcome::Terminated));
/// ```
#[derive(Debug)]
pub struct Ladder {
    budgets: LadderBudgets,
    rung: Rung,
    until: Option<Instant>,
}

impl Ladder {
    /// Creates a ladder that has not begun.
    pub fn new(budgets: LadderBudgets) -> Self {
        Self { budgets, rung: Rung::Bottom, until: None }
    }

    /// From now on no rung takes any time.
    pub fn hurry(&mut self, now: Instant) {
        self.budgets = LadderBudgets::new(Duration::ZERO, Duration::ZERO);
        if self.rung != Rung::Killed {
            self.until = self.until.map(|until| until.min(now));
        }
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Instant, alive: Alive) -> Step {
        let Self { budgets, rung, .. } = *self;
        match (rung, alive) {
            (Rung::Bottom, Alive::Leader) => self.climb(now, Rung::Closed, budgets.close, Step::CloseInput),
            // Nobody is there to obey the end of the input.
            (Rung::Bottom | Rung::Closed, Alive::Group) => self.terminate(now),
            (Rung::Bottom, Alive::Nobody) => Step::Done(Outcome::Gone),
            (Rung::Closed, Alive::Leader) => self.wait(now).unwrap_or_else(|| self.terminate(now)),
            (Rung::Closed, Alive::Nobody) => Step::Done(Outcome::Closed),
            (Rung::Terminated, Alive::Leader | Alive::Group) => {
                self.wait(now).unwrap_or_else(|| self.climb(now, Rung::Killed, AFTER_KILL, Step::Kill))
            }
            (Rung::Terminated, Alive::Nobody) => Step::Done(Outcome::Terminated),
            (Rung::Killed, Alive::Leader | Alive::Group) => {
                self.wait(now).unwrap_or(Step::Done(Outcome::Left))
            }
            (Rung::Killed, Alive::Nobody) => Step::Done(Outcome::Killed),
        }
    }

    fn terminate(&mut self, now: Instant) -> Step {
        self.climb(now, Rung::Terminated, self.budgets.terminate, Step::Terminate)
    }

    fn climb(&mut self, now: Instant, rung: Rung, budget: Duration, step: Step) -> Step {
        self.rung = rung;
        self.until = now.checked_add(budget);
        step
    }

    /// `None` if the time on this rung is over.
    fn wait(&self, now: Instant) -> Option<Step> {
        self.until.filter(|until| now < *until).map(Step::Wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Climbs with what is alive after each step, and returns the steps. Where it waits, the time comes.
    fn climb(alive: impl Fn(usize) -> Alive) -> Vec<Step> {
        let (start, mut ladder) = (Instant::now(), Ladder::new(LadderBudgets::new(SECOND, 2 * SECOND)));
        let (mut now, mut steps) = (start, Vec::new());
        loop {
            let done = steps.iter().filter(|step| !matches!(step, Step::Wait(_))).count();
            let step = ladder.next(now, alive(done));
            steps.push(step);
            match step {
                Step::Wait(until) => now = until,
                Step::Done(_) => {
                    assert!(now - start <= LadderBudgets::new(SECOND, 2 * SECOND).total());
                    return steps.into_iter().filter(|step| !matches!(step, Step::Wait(_))).collect();
                }
                Step::CloseInput | Step::Terminate | Step::Kill => {}
            }
        }
    }

    #[test]
    fn each_child_is_ended_by_the_first_step_that_it_obeys() {
        use Alive::{Group, Leader, Nobody};
        use Step::{CloseInput, Done, Kill, Terminate};
        let ends_at = |last: usize, then| move |steps| if steps >= last { then } else { Leader };
        assert_eq!(climb(|_| Nobody), [Done(Outcome::Gone)]);
        assert_eq!(climb(ends_at(1, Nobody)), [CloseInput, Done(Outcome::Closed)]);
        assert_eq!(climb(ends_at(2, Nobody)), [CloseInput, Terminate, Done(Outcome::Terminated)]);
        assert_eq!(climb(ends_at(3, Nobody)), [CloseInput, Terminate, Kill, Done(Outcome::Killed)]);
        assert_eq!(climb(|_| Leader), [CloseInput, Terminate, Kill, Done(Outcome::Left)]);
        // What it has left in its group.
        assert_eq!(
            climb(|steps| if steps == 0 { Group } else { Nobody }),
            [Terminate, Done(Outcome::Terminated)]
        );
        assert_eq!(climb(|_| Group), [Terminate, Kill, Done(Outcome::Left)]);
        assert_eq!(climb(ends_at(1, Group)), [CloseInput, Terminate, Kill, Done(Outcome::Left)]);
    }

    #[test]
    fn in_a_hurry_no_rung_takes_any_time() {
        let (now, mut ladder) = (Instant::now(), Ladder::new(LadderBudgets::default()));
        assert_eq!(ladder.next(now, Alive::Leader), Step::CloseInput);
        assert!(matches!(ladder.next(now, Alive::Leader), Step::Wait(_)));
        ladder.hurry(now);
        assert_eq!(ladder.next(now, Alive::Leader), Step::Terminate);
        assert_eq!(ladder.next(now, Alive::Leader), Step::Kill);
        ladder.hurry(now);
        assert_eq!(ladder.next(now, Alive::Leader), Step::Wait(now + AFTER_KILL), "the dead take a moment");
    }
}
