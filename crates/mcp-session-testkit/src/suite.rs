//! [`Suite`]: scenarios that are the tests of an executable.
//!
//! A [`Scenario`] is a test that is written once and run on several subjects: runtimes, servers, stores. A [`Suite`] gives
//! it a subject and a name. [`run`] is the `main` of an executable whose tests are suites; in its `Cargo.toml`, the
//! executable has `harness = false`:
//!
//! ```toml
//! [[test]]
//! name = "mine" # tests/mine.rs
//! harness = false
//! ```
//!
//! ```no_run
//! use std::process::ExitCode;
//! use mcp_session_testkit::{SimRuntime, behaviour, contract, suite};
//!
//! fn main() -> ExitCode {
//!     suite::run([
//!         contract::suite("sim_laws", || SimRuntime::new(1)), // put your own `TestBed` here
//!         behaviour::suite("sim", || SimRuntime::new(1)),
//!     ])
//! }
//! ```
//!
//! The executable takes the arguments of every Rust test: a filter, `--skip`, `--exact`, `--ignored`, `--test-threads`,
//! `--list`. Its tests are named `suite::scenario` and run in parallel, three for each core. A scenario that panics fails its own test only.
//! Output is not captured: what a scenario prints appears at once, and the message of a panic names the test's thread.

use std::{collections::HashSet, fmt, num::NonZeroUsize, panic::resume_unwind, process::ExitCode, thread};

use libtest_mimic::{Arguments, Completion, Trial};

/// What a scenario needs of a server beyond what every adapter has. [`Suite::without`] says that a server lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// HTTP/2 is served on the same port.
    Http2,
    /// Requests sent before the answers to earlier ones are answered in order.
    Pipelining,
    /// Extensions in a chunked body are ignored.
    ChunkExtensions,
    /// Head and body of an answer that is ready at once leave in one write.
    OneWrite,
    /// Requests know the address of their client.
    PeerAddr,
}

/// A test that is written once and run on several subjects of type `T`, such as runtimes.
///
/// ```
/// use mcp_session_testkit::{SimRuntime, behaviour};
///
/// // One scenario, for a debugger, or in a loop that looks for a race.
/// let mut all = behaviour::scenarios().into_iter();
/// let scenario = all.find(|scenario| scenario.name == "s_5_exactly_one_answer_sse").unwrap();
/// for seed in 0..10 {
///     scenario.run(&SimRuntime::new(seed));
/// }
/// ```
pub struct Scenario<T> {
    /// Its name, unique among the scenarios of a suite.
    pub name: &'static str,
    /// What it needs beyond what every subject has.
    pub needs: Needs,
    run: fn(&T),
}

impl<T> Scenario<T> {
    /// Creates a scenario that every subject can run. `run` panics if the subject does not behave as described.
    pub fn new(name: &'static str, run: fn(&T)) -> Self {
        Self { name, needs: Needs::Nothing, run }
    }

    /// Sets what it needs.
    #[must_use]
    pub fn with_needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// Runs it on this thread.
    ///
    /// # Panics
    ///
    /// If the subject does not behave as the scenario describes.
    pub fn run(&self, subject: &T) {
        (self.run)(subject);
    }
}

impl<T> Clone for Scenario<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Scenario<T> {}

impl<T> fmt::Debug for Scenario<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// Scenarios with their subject, such as the behaviour of sessions on one runtime.
pub struct Suite {
    name: String,
    tests: Vec<Test>,
}

struct Test {
    name: &'static str,
    needs: Needs,
    run: Box<dyn FnOnce() + Send>,
    /// Why it is not run unless it is asked for.
    ignored: Option<String>,
}

impl Suite {
    /// Creates a suite of these scenarios. `subject` makes a new subject for each, on the thread of its test.
    pub fn new<T: 'static>(
        name: impl Into<String>,
        scenarios: impl IntoIterator<Item = Scenario<T>>,
        subject: impl Fn() -> T + Clone + Send + 'static,
    ) -> Self {
        let tests = scenarios.into_iter().map(|scenario| {
            let subject = subject.clone();
            let run = Box::new(move || scenario.run(&subject()));
            Test { name: scenario.name, needs: scenario.needs, run, ignored: None }
        });
        Self { name: name.into(), tests: tests.collect() }
    }

    /// Says that the server under test lacks an ability, and why. Scenarios that need it are listed as ignored, with
    /// the reason.
    ///
    /// # Panics
    ///
    /// If no scenario of the suite needs it.
    #[must_use]
    pub fn without(mut self, needs: Needs, reason: &str) -> Self {
        let mut lacking = self.tests.iter_mut().filter(|test| test.needs == needs).peekable();
        assert!(lacking.peek().is_some(), "no scenario of {} needs {needs:?}", self.name);
        lacking.for_each(|test| test.ignored = Some(reason.to_owned()));
        self
    }

    /// Runs all scenarios on this thread, except those that are ignored: a whole suite as one `#[test]`.
    ///
    /// # Panics
    ///
    /// If a scenario panics. Those after it are not run.
    pub fn check(self) {
        self.tests.into_iter().filter(|test| test.ignored.is_none()).for_each(|test| (test.run)());
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<_> = self.tests.iter().map(|test| test.name).collect();
        f.debug_struct("Suite").field("name", &self.name).field("tests", &tests).finish()
    }
}

/// How many tests run at once for each core, unless `--test-threads` says otherwise. 3: over sockets and on real runtimes, most of
/// a test's time is spent waiting.
const PER_CORE: usize = 3;

/// Runs the suites that the arguments of the process select. The result is the exit code of `main`.
///
/// # Panics
///
/// If two tests have the same name.
pub fn run(suites: impl IntoIterator<Item = Suite>) -> ExitCode {
    let mut args = Arguments::from_args();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    args.test_threads.get_or_insert(PER_CORE * cores);
    let mut names = HashSet::new();
    let mut trials = Vec::new();
    for Suite { name: suite, tests } in suites {
        for test in tests {
            let name = format!("{suite}::{}", test.name);
            assert!(names.insert(name.clone()), "two tests are named {name}");
            trials.push(test.into_trial(name, &args));
        }
    }
    libtest_mimic::run(&args, trials).exit_code()
}

impl Test {
    fn into_trial(self, name: String, args: &Arguments) -> Trial {
        let Self { run, ignored, .. } = self;
        // The flag would hide the reason, so it is set only where it selects tests.
        let flag = ignored.is_some() && args.ignored;
        let ignored = ignored.filter(|_| !args.ignored && !args.include_ignored);
        let thread = thread::Builder::new().name(name.clone()); // the message of a panic names it
        let test = move || match ignored {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => match thread.spawn(run).expect("a thread").join() {
                Ok(()) => Ok(Completion::Completed),
                Err(panic) => resume_unwind(panic),
            },
        };
        Trial::ignorable_test(name, test).with_ignored_flag(flag)
    }
}

/// Lists the scenarios of a file, in a function `scenarios`. The functions are private to the file, so one that is not
/// listed is dead code. A name may be followed by what the scenario [`Needs`].
macro_rules! scenarios {
    (TestBed; $($name:ident,)+) => {
        pub(super) fn scenarios<B: $crate::TestBed>() -> Vec<$crate::suite::Scenario<B>> {
            vec![$($crate::suite::Scenario::new(stringify!($name), |bed| $name(&$crate::Watchdog::new(bed)))),+]
        }
    };
    (Store; $($name:ident,)+) => {
        pub(super) fn scenarios<B: $crate::TestBed, M: AsyncFn(Arc<dyn Runtime>) -> Store>()
        -> Vec<$crate::suite::Scenario<(B, M)>> {
            vec![$(
                $crate::suite::Scenario::new(stringify!($name), |(bed, make)| {
                    $name(&$crate::Watchdog::new(bed), make);
                })
            ),+]
        }
    };
    (ServeHarness; $($name:ident $(: $needs:ident)?,)+) => {
        pub(super) fn scenarios<H: $crate::wire::ServeHarness>() -> Vec<$crate::suite::Scenario<H>> {
            vec![$(
                $crate::suite::Scenario::new(stringify!($name), |harness| $crate::wire::run(harness, $name))
                    $(.with_needs($crate::suite::Needs::$needs))?
            ),+]
        }
    };
}

pub(crate) use scenarios;
