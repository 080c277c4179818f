//! Why a task cannot be done on this machine, through no fault of the project.

use std::fmt;

/// `test-all` names the step as skipped; who asked for the task itself gets it as an error.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// What a task needs, or why it is not to be had; the outer `Result` is for what went wrong.
pub(crate) type Prepared<T> = anyhow::Result<Result<T, Unavailable>>;
