//! The reason why a task cannot run on this machine, through no fault of the project.

use std::fmt;

/// `test-all` shows the step as skipped; a task run on its own returns it as an error.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// The prerequisites of a task, or why they are not available; the outer `Result` is for other errors.
pub(crate) type Prepared<T> = anyhow::Result<Result<T, Unavailable>>;
