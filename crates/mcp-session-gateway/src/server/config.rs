//! [`ServerConfig`]: one named server.

use std::time::Duration;

use http::HeaderName;

use crate::{
    child::{command::CommandLine, ladder::LadderBudgets},
    limits::Limits,
};

/// One named server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Its name, in paths, logs and metrics.
    pub name: String,
    /// What is started.
    pub command: CommandLine,
    /// Which client gets which child.
    pub mode: Mode,
    /// What it may use.
    pub limits: Limits,
    /// How long its children may take to end.
    pub budgets: LadderBudgets,
    /// What happens when a shared child dies, or children do not start.
    pub restart: RestartPolicy,
    /// The number of children that are started before they are needed, in [`Mode::Request`]. 2: one is used while the next
    /// one starts.
    pub warm: usize,
    /// Headers of `initialize` whose values a session's own child gets as variables, in [`Mode::Session`] only.
    pub header_env: Vec<HeaderEnv>,
    /// Where the children's stderr goes.
    pub stderr: StderrTo,
}

impl ServerConfig {
    /// Creates a server with a child per session and default limits.
    pub fn new(name: impl Into<String>, command: CommandLine) -> Self {
        Self {
            name: name.into(),
            command,
            mode: Mode::default(),
            limits: Limits::default(),
            budgets: LadderBudgets::default(),
            restart: RestartPolicy::default(),
            warm: 2,
            header_env: Vec::new(),
            stderr: StderrTo::default(),
        }
    }
}

/// Which client gets which child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Each session has its own child. A request without a session gets a child for itself.
    #[default]
    Session,
    /// All clients have one child. It must keep nothing for a single client.
    Shared,
    /// Each request has its own child, started before it comes. For servers without state.
    Request,
}

/// A header of `initialize` that becomes a variable of the session's child.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderEnv {
    /// The header.
    pub header: HeaderName,
    /// The name of the variable.
    pub variable: String,
}

impl HeaderEnv {
    /// The value of `header` becomes `variable`.
    pub fn new(header: HeaderName, variable: impl Into<String>) -> Self {
        Self { header, variable: variable.into() }
    }
}

/// When a shared child that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Restart {
    /// Never.
    Never,
    /// If it has ended with an error or by a signal.
    OnFailure,
    /// However it has ended.
    #[default]
    Always,
}

/// What happens when a shared child dies, or children do not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartPolicy {
    /// When a shared child is started again.
    pub restart: Restart,
    /// The delay before the first restart; each further one doubles. 100 ms: the clients of one crash are served again
    /// within a second.
    pub first_delay: Duration,
    /// The maximum delay. 10 seconds.
    pub max_delay: Duration,
    /// The number of failures in a row that are a crash loop. 5: with the default delays, after 3 seconds.
    pub crash_loop_after: u32,
    /// A child that lived this long was no failure in a row. 30 seconds.
    pub settled_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
            crash_loop_after: 5,
            settled_after: Duration::from_secs(30),
        }
    }
}

/// Where the stderr of children goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StderrTo {
    /// Into the gateway's log, a line an event, with the server's name and the session's prefix.
    #[default]
    Log,
    /// To the client, as `notifications/message`. In [`Mode::Shared`] and [`Mode::Request`] into the log: nobody owns it.
    Client,
    /// Nowhere.
    Discard,
}
